#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::fuzz;
use proptest::prelude::*;

const STREAM: Stream = Stream { salt: 0x0123_4567_89ab_cdef, base_seq: 1000 };

fn put<'a>(key: &'a [u8], value: &'a [u8]) -> NewRecord<'a> {
    NewRecord { seq: 1007, kind: Kind::Put, key, value, compressed: false, expires_at: None, last_of_batch: true }
}

fn tombstone(key: &[u8]) -> NewRecord<'_> {
    NewRecord { kind: Kind::Tombstone, ..put(key, b"") }
}

fn range_tombstone<'a>(start: &'a [u8], end: &'a [u8]) -> NewRecord<'a> {
    NewRecord { kind: Kind::RangeTombstone, ..put(start, end) }
}

fn encoded(record: &NewRecord<'_>, offset: u64) -> Vec<u8> {
    let mut out = BytesMut::from(&b"before"[..]);
    let len = record.encode(&STREAM, offset, &mut out);
    assert_eq!(len, record.encoded_len(&STREAM));
    assert_eq!(out.len(), 6 + len);
    assert_eq!(peek_len(&out[6..]), Some(len as u64));

    let mut without_value = BytesMut::new();
    let value_crc = checksum::append(0, record.value);
    assert_eq!(record.encode_without_value(&STREAM, offset, value_crc, &mut without_value), len);
    assert_eq!([&without_value, record.value].concat(), out[6..]);
    let whole = decode_record_unverified(&STREAM, offset, &out[6..]);
    assert_eq!(decode_record_apart(&STREAM, offset, &without_value, record.value), whole);
    out[6..].to_vec()
}

/// What does not fit together is noticed, without a checksum.
#[test]
fn a_record_apart_has_just_its_value() {
    let record = put(b"key", b"value");
    let mut head = BytesMut::new();
    record.encode_without_value(&STREAM, 128, 0, &mut head);
    assert!(decode_record_apart(&STREAM, 128, &head, b"value").is_ok());
    for (head, value) in
        [(&head[..], &b"valu"[..]), (&head, b"values"), (&head[..head.len() - 1], b"value"), (b"", b"")]
    {
        assert!(decode_record_apart(&STREAM, 128, head, value).is_err());
    }
}

/// Checked in parts, as a long record is, it is the same as checked at once.
#[test]
fn an_unchecked_record_becomes_one_by_its_checksum() {
    let mut bytes = encoded(&put(b"key", b"value"), 128);
    let sum = |unchecked: &Unchecked<'_>| {
        let (seed, covered) = unchecked.covered();
        covered.iter().fold(seed, |crc, byte| checksum::append(crc, &[*byte]))
    };
    let unchecked = Unchecked::new(&STREAM, 128, &bytes).unwrap();
    let crc = sum(&unchecked);
    assert_eq!(unchecked.check(crc), decode_record(&STREAM, 128, &bytes));
    assert!(Unchecked::new(&STREAM, 128, &bytes[..bytes.len() - 1]).is_err());
    *bytes.last_mut().unwrap() ^= 1;
    let unchecked = Unchecked::new(&STREAM, 128, &bytes).unwrap();
    let crc = sum(&unchecked);
    assert_eq!(unchecked.check(crc), decode_record(&STREAM, 128, &bytes));
}

/// Encodes, decodes in both ways with and without bytes behind, and compares.
fn check(record: &NewRecord<'_>, offset: u64) {
    let mut bytes = encoded(record, offset);
    let len = bytes.len();
    for _ in 0..2 {
        let Frame::Record(got) = decode(&STREAM, offset, &bytes).unwrap() else { panic!("no record") };
        // What is found by its key is no range.
        let of_a_key = decode_record(&STREAM, offset, &bytes);
        assert_eq!(of_a_key.ok(), Some(got).filter(|_| record.kind != Kind::RangeTombstone));
        assert_eq!(is_range_tombstone(&bytes), record.kind == Kind::RangeTombstone);
        let NewRecord { seq, kind, key, value, compressed, expires_at, last_of_batch } = *record;
        assert_eq!(got, Record { seq, kind, key, value, compressed, expires_at, last_of_batch, len });
        assert_eq!(decode_record_unverified(&STREAM, offset, &bytes).unwrap(), got);
        bytes.extend([0xff; 40]);
    }
}

#[test]
fn known_bytes() {
    let bytes = encoded(&NewRecord { expires_at: Some(300), ..put(b"key", b"value") }, 128);
    assert_eq!(bytes[4..], *b"\x29\x07\x03\x05\xac\x02keyvalue");
    assert_eq!(bytes[..4], checksum::crc(STREAM.salt, 128, &bytes[4..]).to_le_bytes());
    let bytes = encoded(&tombstone(b""), 128);
    assert_eq!(bytes[4..], *b"\x22\x07\x00\x00");
}

#[test]
fn limits_come_back() {
    let key = vec![7; KEY_LEN_MAX];
    // Miri takes minutes for each MiB.
    let value = vec![9; if cfg!(miri) { 3 << 10 } else { 3 << 20 }];
    check(&put(b"", b""), 128);
    check(&put(&key, &value), 128);
    check(&tombstone(&key), u64::from(u32::MAX) - 100_000);
    let behind = [&key[..], &[0]].concat();
    check(&range_tombstone(b"", b""), 128);
    check(&range_tombstone(b"", b"\0"), 128);
    check(&range_tombstone(&key, &behind), 128);
    check(&range_tombstone(&behind, b""), 128);
    check(&NewRecord { compressed: true, ..put(b"k", b"v") }, 128);
    check(&NewRecord { seq: u64::MAX, expires_at: Some(u64::MAX), last_of_batch: false, ..put(b"k", b"v") }, 128);
    check(&NewRecord { seq: STREAM.base_seq, expires_at: Some(0), ..put(b"k", b"v") }, 128);
    let last = put(b"k", b"v");
    check(&last, STREAM_LEN_MAX - last.encoded_len(&STREAM) as u64);
}

#[test]
#[cfg_attr(miri, ignore = "minutes")]
fn damage_and_displacement_are_noticed() {
    let key = [0x61; 200];
    for record in [
        put(b"", b""),
        put(b"key", b"value"),
        put(&key, &key),
        tombstone(b"key"),
        range_tombstone(b"key", b"kez"),
        NewRecord { expires_at: Some(1_700_000_000_000), last_of_batch: false, ..put(b"key", &key) },
    ] {
        let bytes = encoded(&record, 4096);
        fuzz::every_damage_is_noticed(&bytes, |bytes| decode(&STREAM, 4096, bytes).map(|_| ()));
        for offset in (0..8192).filter(|&offset| offset != 4096) {
            assert!(decode(&STREAM, offset, &bytes).is_err());
        }
        assert!(decode(&Stream { salt: 0, ..STREAM }, 4096, &bytes).is_err());
    }
}

#[test]
fn zeros_and_nothing_are_no_frames() {
    for len in 0..100 {
        assert!(decode(&STREAM, 128, &vec![0; len]).is_err());
        assert!(decode_record_unverified(&STREAM, 128, &vec![0; len]).is_err());
    }
}

/// What the encoder refuses to write is damage where it is found, its checksum notwithstanding.
#[test]
fn impossible_records_are_damage() {
    let check = |body: &[u8], offset: u64, complaint: &str| {
        let mut bytes = [&[0; 4], body].concat();
        STREAM.seal(offset, &mut bytes);
        let damage = decode(&STREAM, offset, &bytes).unwrap_err();
        assert!(damage.what.contains(complaint), "{damage}");
        assert_eq!(damage.offset, offset);
        assert!(decode_record_unverified(&STREAM, offset, &bytes).is_err());
    };
    let known = HAS_EXPIRY | COMPRESSED | LAST_OF_BATCH;
    for flags in
        (0..=u8::MAX).filter(|flags| !matches!(flags & !known, KIND_PUT | KIND_TOMBSTONE | KIND_RANGE_TOMBSTONE))
    {
        if flags != KIND_MARK && flags != KIND_END {
            check(&[flags, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 128, "flags");
        }
    }
    check(b"\x02\x00\x01\x01kv", 128, "tombstone with a value");
    check(b"\x03\x00\x01\x01bb", 128, "range tombstone of no range");
    check(b"\x03\x00\x01\x01ba", 128, "range tombstone of no range");
    check(b"\x0b\x00\x01\x00\x05b", 128, "range tombstone of no range, or with an expiry");
    check(b"\x13\x00\x01\x01bc", 128, "range tombstone of no range");
    check(b"\x03\x00\x82\x80\x04\x00", 128, "impossible number"); // A start of 65 538 bytes.
    check(b"\x0a\x00\x01\x00\x05k", 128, "tombstone with a value or expiry");
    check(b"\x12\x00\x01\x00k", 128, "tombstone with a value or expiry");
    check(b"\x01\x00\x81\x80\x04\x00", 128, "impossible number"); // A key of 65 537 bytes.
    check(b"\x01\x00\x00\x81\x80\x80\x80\x04", 128, "impossible number"); // A value of 2^30 + 1 bytes.
    check(b"\x01\x80\x00\x00\x00", 128, "impossible number"); // Not the shortest encoding.
    check(b"\x01\x00\x05\x05key", 128, "record length");
    check(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00", 128, "seq beyond");
    check(b"\x01\x00\x00\x00", STREAM_LEN_MAX - 7, "beyond the longest segment");
    check(b"\x01\x00\x00\x00", u64::MAX - 3, "beyond the longest segment");
}

#[test]
#[should_panic(expected = "a range tombstone holds a range")]
fn a_range_without_keys_is_not_written() {
    encoded(&range_tombstone(b"b", b"b"), 128);
}

#[test]
fn a_mark_is_no_record() {
    let mut out = BytesMut::new();
    Mark { durable: 128, time: 0 }.encode(&STREAM, 128, &mut out);
    assert!(decode_record(&STREAM, 128, &out).is_err());
    assert_eq!(decode(&STREAM, 128, &out).unwrap().len(), MARK_LEN);
}

#[test]
#[should_panic(expected = "key of 65537 bytes")]
fn a_key_too_long_is_not_written() {
    encoded(&put(&[0; KEY_LEN_MAX + 1], b""), 128);
}

/// Mutated frames: no panic from either decoder, and what the verifying one takes is what encodes to those bytes.
#[test]
fn mutated_frames() {
    let mut mark = BytesMut::new();
    Mark { durable: 100, time: 7 }.encode(&STREAM, 128, &mut mark);
    let mut end = BytesMut::new();
    End { len: 128 + 45, records: 1, last_seq: 1, durable: 100, time: 7 }.encode(&STREAM, 128, &mut end);
    let seeds = [
        encoded(&put(b"key", b"value"), 128),
        encoded(&put(&[1; 300], &[2; 200]), 128),
        encoded(&NewRecord { expires_at: Some(1 << 40), ..put(b"key", b"") }, 128),
        encoded(&tombstone(b"key"), 128),
        encoded(&range_tombstone(b"a", b"bb"), 128),
        mark.to_vec(),
        end.to_vec(),
    ];
    fuzz::mutate(&seeds, 200_000, |bytes| {
        let _ = peek_len(bytes);
        if let Ok(record) = decode_record_unverified(&STREAM, 128, bytes) {
            assert!(record.len <= bytes.len());
        }
        let Ok(Frame::Record(record)) = decode(&STREAM, 128, bytes) else { return };
        let Record { seq, kind, key, value, compressed, expires_at, last_of_batch, len } = record;
        let again = encoded(&NewRecord { seq, kind, key, value, compressed, expires_at, last_of_batch }, 128);
        assert_eq!(again, bytes[..len]);
    });
}

proptest! {
    #[test]
    fn any_record_comes_back(
        key in proptest::collection::vec(any::<u8>(), 0..300),
        value in proptest::collection::vec(any::<u8>(), 0..2000),
        seq in 1000..u64::MAX,
        expires_at in any::<Option<u64>>(),
        is_put in any::<bool>(),
        last_of_batch in any::<bool>(),
        offset in 128..u64::from(u32::MAX) - 10_000,
    ) {
        let record = NewRecord { seq, key: &key, last_of_batch, ..put(b"", b"") };
        if is_put {
            check(&NewRecord { value: &value, expires_at, ..record }, offset);
        } else {
            check(&NewRecord { kind: Kind::Tombstone, ..record }, offset);
        }
    }
}
