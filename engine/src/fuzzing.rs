//! What a fuzzer may feed: each decoder of `format`, with what must hold of whatever it accepts.
//!
//! Each target takes any bytes. It gives them to its decoder as they are, and again with the checksum set right where that
//! can be done, so that a fuzzer need not guess it. A decoder must not panic, and what it accepts must come back as it was
//! when it is encoded again. `tests/fuzz` drives them under `cargo fuzz`, `tests/tests/whole/fuzz.rs` on the stable toolchain.

use crate::format::block::{self, BlockCursor};
use crate::format::checksum;
use crate::format::compressed::Parts;
use crate::format::fences::Fences;
use crate::format::filter::Filter;
use crate::format::footer::Footer;
use crate::format::fragment::Fragment;
use crate::format::frame::{self, Frame, NewRecord, Record, Stream};
use crate::format::header::{HEADER_LEN, Header};
use crate::format::hints::Hints;
use crate::format::manifest::Manifest;
use crate::format::names::Name;
use crate::format::statistics::Statistics;
use crate::format::tail::{Replay, Step};
use bytes::{Bytes, BytesMut};

/// A function that takes any bytes, and panics where what it tests is broken.
pub type Target = fn(&[u8]);

/// Each target by its name.
pub const TARGETS: &[(&str, Target)] = &[
    ("block", block),
    ("compressed", compressed),
    ("fences", fences),
    ("filter", filter),
    ("footer", footer),
    ("fragment", fragment),
    ("frame", frame),
    ("header", header),
    ("hints", hints),
    ("log", log),
    ("manifest", manifest),
    ("name", name),
    ("statistics", statistics),
];

/// No codec makes more than two to this power bytes of one.
const RATIO_MAX_LOG2: usize = 15;

/// Bytes of a checksum.
const CRC_LEN: usize = 4;

const STREAM: Stream = Stream { salt: 0, base_seq: 1 };
const OFFSET: u64 = HEADER_LEN as u64;

/// `bytes` with their last four made the checksum of all before, as of salt 0 and offset `offset`.
fn sealed(bytes: &[u8], offset: u64) -> Vec<u8> {
    let body = &bytes[..bytes.len().saturating_sub(CRC_LEN)];
    [body, &checksum::crc(0, offset, body).to_le_bytes()].concat()
}

fn block(bytes: &[u8]) {
    let mut whole = [bytes, &[0; CRC_LEN]].concat();
    block::seal(&STREAM, OFFSET, &mut whole);
    for bytes in [bytes.to_vec(), whole] {
        let mut cursor = BlockCursor::empty();
        if cursor.open(&STREAM, OFFSET, bytes.into()).is_err() {
            continue;
        }
        while let Ok(true) = cursor.advance() {}
        for key in [&b""[..], b"key020", b"z"] {
            if let Ok(true) = cursor.seek(key) {
                assert!(cursor.key() >= key, "a seek ends before its key");
            }
            let mut retreated = cursor.seek_behind(key, false).and_then(|()| cursor.retreat());
            while let Ok(true) = retreated {
                retreated = cursor.retreat();
            }
        }
    }
}

fn compressed(bytes: &[u8]) {
    let Ok(mut parts) = Parts::new(bytes) else { return };
    // What it says that it holds is believed part by part, so that memory grows with what was really there.
    let (len, mut value) = (parts.len(), Vec::new());
    assert!(len <= bytes.len() << RATIO_MAX_LOG2, "more than so few bytes can hold");
    while value.len() < len.min(64 << 20) {
        match parts.next(&mut value) {
            Ok(_) if value.len() < len => {}
            _ => break,
        }
    }
    assert!(value.len() <= len, "more than was declared");
}

fn fences(bytes: &[u8]) {
    let index = 1000..1000 + bytes.len() as u64;
    for count in [1, 3] {
        if let Ok(fences) = Fences::decode(Bytes::copy_from_slice(bytes), OFFSET, index.clone(), count) {
            assert!((0..fences.len()).all(|block| fences.block(block).end <= index.end), "a block behind the index");
            assert!(fences.find(b"key") < fences.len());
        }
    }
}

fn filter(bytes: &[u8]) {
    if let Ok(filter) = Filter::decode(Bytes::copy_from_slice(bytes), OFFSET) {
        for hash in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            filter.may_contain(hash);
        }
    }
}

fn footer(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), sealed(bytes, OFFSET)] {
        if let Ok((footer, _)) = Footer::decode(0, OFFSET, &bytes) {
            assert_eq!(footer.encode(0).0[..], bytes, "a footer comes back");
        }
    }
}

fn fragment(bytes: &[u8]) {
    if let Ok((fragment, payload)) = Fragment::decode(bytes) {
        assert_eq!(fragment.encode(&[Bytes::copy_from_slice(payload)]), bytes, "a fragment comes back");
    }
}

/// The frame with which `bytes` begins, its checksum set right.
fn with_checksum(bytes: &[u8], offset: u64) -> Vec<u8> {
    let mut frame = bytes.to_vec();
    let len = frame::peek_len(bytes).and_then(|len| usize::try_from(len).ok());
    if let Some(covered) = len.and_then(|len| bytes.get(CRC_LEN..len)) {
        let crc = checksum::crc(STREAM.salt, offset, covered);
        frame[..CRC_LEN].copy_from_slice(&crc.to_le_bytes());
    }
    frame
}

fn frame(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), with_checksum(bytes, OFFSET)] {
        if let Ok(record) = frame::decode_record_unverified(&STREAM, OFFSET, &bytes) {
            assert!(record.len <= bytes.len(), "a record longer than its bytes");
        }
        let Ok(Frame::Record(record)) = frame::decode(&STREAM, OFFSET, &bytes) else { continue };
        let Record { seq, kind, key, value, compressed, expires_at, last_of_batch, len } = record;
        let mut again = BytesMut::new();
        NewRecord { seq, kind, key, value, compressed, expires_at, last_of_batch }.encode(&STREAM, OFFSET, &mut again);
        assert_eq!(again[..], bytes[..len], "a record comes back");
    }
}

fn header(bytes: &[u8]) {
    if let Ok(header) = Header::decode(bytes) {
        assert_eq!(header.encode(), bytes[..HEADER_LEN], "a header comes back");
    }
}

fn hints(bytes: &[u8]) {
    for count in [1, 5] {
        let mut hints = Hints::decode(Bytes::copy_from_slice(bytes), OFFSET, 1 << 32, count);
        let (mut end, mut found) = (0, 0);
        while let Ok(Some(hint)) = hints.next() {
            assert!(u64::from(hint.offset) >= end, "hints overlap");
            end = u64::from(hint.offset) + u64::from(hint.len);
            found += 1;
        }
        assert!(found <= count);
    }
}

/// A whole log, each of its records with the right checksum as far as they follow each other, and as it is.
fn log(bytes: &[u8]) {
    let mut whole = bytes.to_vec();
    let mut at = 0;
    while let Some(len) = frame::peek_len(&whole[at..]).and_then(|len| usize::try_from(len).ok())
        && len <= whole.len() - at
        && len > 0
    {
        let frame = with_checksum(&whole[at..at + len], OFFSET + at as u64);
        whole[at..at + len].copy_from_slice(&frame);
        at += len;
    }
    for (bytes, declared) in [(bytes, 0), (&whole, 0), (&whole, OFFSET + at as u64)] {
        let mut replay = Replay::new(STREAM, OFFSET, bytes, declared);
        let (mut last_seq, mut records) = (0, 0);
        let tail = loop {
            match replay.step() {
                Step::Batch(batch) => {
                    assert!(batch.last_seq > last_seq, "seqs rise");
                    last_seq = batch.last_seq;
                    records += batch.records().inspect(|record| assert!(record.is_ok())).count() as u64;
                }
                Step::More => {}
                Step::Done(tail) => break tail,
            }
        };
        assert_eq!(tail.records, records, "what is counted was delivered");
        assert!(tail.end <= OFFSET + bytes.len() as u64, "a log ends within its bytes");
    }
}

fn manifest(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), sealed(bytes, 0)] {
        if let Ok(manifest) = Manifest::decode(&bytes) {
            let again = manifest.encode().map(|again| Manifest::decode(&again));
            assert_eq!(again.ok(), Some(Ok(manifest)), "a manifest comes back");
        }
    }
}

fn name(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Some(name) = Name::parse(&text) {
        assert_eq!(name.to_string(), text, "a name comes back");
    }
}

fn statistics(bytes: &[u8]) {
    if let Ok(statistics) = Statistics::decode(bytes, 0) {
        assert_eq!(statistics.encode(), bytes, "statistics come back");
    }
}
