//! FORMAT.md is checked here against the code: its tables against those of the modules, these against the constants
//! under them, and its worked examples against what the encoders write.

#![allow(clippy::unwrap_used)]

use super::digest::Digest;
use super::footer::FOOTER_LEN;
use super::fragment::{FRAGMENT_HEADER_LEN, Fragment, FragmentKind, Slice};
use super::frame::{Kind, NewRecord, Stream};
use super::header::{HEADER_LEN, Header, Layout};
use super::manifest::{
    CheckpointMeta, Log, LogState, Manifest, Past, Proof, Purpose, RangeTombstone, Retention, RunMeta, SegmentMeta,
};
use super::mark::{END_LEN, End, MARK_LEN, Mark};
use super::names::{FragmentId, SegmentId};
use super::preamble::PREAMBLE_LEN;
use bytes::BytesMut;
use std::fmt::Write;

const DOCUMENT: &str = include_str!("../../../FORMAT.md");

/// Asserts that the document holds `block` from the beginning of a line to the end of one.
#[track_caller]
pub(crate) fn document_holds(block: &str) {
    let block = block.trim_end();
    let whole_lines = format!("\n{DOCUMENT}\n").contains(&format!("\n{block}\n"));
    assert!(whole_lines, "FORMAT.md should hold, but does not:\n\n{block}\n");
}

/// The tables in the documentation at the top of a module.
pub(super) fn tables(source: &str) -> Vec<Vec<&str>> {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let mut tables = vec![Vec::new()];
    for line in lines {
        match tables.last_mut() {
            Some(table) if line.starts_with('|') => table.push(line),
            Some(table) if !table.is_empty() => tables.push(Vec::new()),
            _ => {}
        }
    }
    tables.retain(|table| !table.is_empty());
    tables
}

/// Follows the columns offset and size: each row must begin where the one before ends. Gives where the last ends.
pub(super) fn end_of_table(rows: &[&str]) -> usize {
    rows.iter().fold(0, |end, row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        match (cells[1].parse::<usize>(), cells[2].parse::<usize>()) {
            (Ok(offset), Ok(size)) => {
                assert_eq!(offset, end, "{row}");
                end + size
            }
            _ => end,
        }
    })
}

#[test]
fn the_modules_tables_stand_in_the_document() {
    for source in [
        include_str!("preamble.rs"),
        include_str!("names.rs"),
        include_str!("header.rs"),
        include_str!("frame.rs"),
        include_str!("compressed.rs"),
        include_str!("mark.rs"),
        include_str!("tail.rs"),
        include_str!("fragment.rs"),
        include_str!("block.rs"),
        include_str!("fences.rs"),
        include_str!("hints.rs"),
        include_str!("statistics.rs"),
        include_str!("footer.rs"),
        include_str!("manifest.rs"),
    ] {
        let tables = tables(source);
        assert!(!tables.is_empty());
        tables.iter().for_each(|table| document_holds(&table.join("\n")));
    }
}

#[test]
fn the_tables_fit_the_constants() {
    let ends = |source| tables(source).iter().map(|table| end_of_table(table)).collect::<Vec<usize>>();
    assert_eq!(ends(include_str!("preamble.rs")), [PREAMBLE_LEN]);
    assert_eq!(ends(include_str!("header.rs")), [HEADER_LEN]);
    assert_eq!(ends(include_str!("mark.rs")), [MARK_LEN, END_LEN]);
    assert_eq!(ends(include_str!("fragment.rs")), [FRAGMENT_HEADER_LEN]);
    assert_eq!(ends(include_str!("footer.rs")), [FOOTER_LEN]);
}

/// The manifest's fields in the order of their declaration, which is that of their encoding.
#[test]
fn the_manifests_fields_stand_in_the_document() {
    let source = include_str!("manifest.rs");
    for name in
        ["Manifest", "Log", "RunMeta", "SegmentMeta", "RangeTombstone", "Retired", "CheckpointMeta", "Past", "Proof"]
    {
        document_holds(&fields_of(source, name));
    }
    document_holds(&fields_of(include_str!("names.rs"), "SegmentId"));
    document_holds(&fields_of(include_str!("manifest/past.rs"), "Retention"));
}

#[test]
fn the_manifests_rules_stand_in_the_document() {
    let lines = include_str!("manifest/rules.rs").lines().map_while(|line| line.strip_prefix("//!"));
    let rules: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
    let first = rules.iter().position(|line| line.starts_with("1. ")).unwrap();
    document_holds(&rules[first..].join("\n"));
}

/// A table of the fields of a struct, made from its declaration.
fn fields_of(source: &str, name: &str) -> String {
    let (_, rest) = source.split_once(&format!("pub(crate) struct {name} {{\n")).unwrap();
    let (body, _) = rest.split_once("\n}").unwrap();
    let mut table = format!("| {name} | type | meaning |\n| --- | --- | --- |\n");
    let mut meaning = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            meaning.push(text.trim());
        } else if let Some((field, kind)) = line.strip_prefix("pub(crate) ").and_then(|line| line.split_once(": ")) {
            let kind = kind.trim_end_matches(',');
            writeln!(table, "| `{field}` | `{kind}` | {} |", meaning.join(" ")).unwrap();
            meaning.clear();
        }
    }
    table
}

/// A hex dump with one field to a line, long ones in rows of 16 bytes.
pub(crate) fn dump(bytes: &[u8], first_offset: u64, fields: &[(usize, &str)]) -> String {
    let mut out = String::new();
    let mut rest = bytes;
    let mut offset = first_offset;
    for &(len, label) in fields {
        let (field, behind) = rest.split_at(len);
        rest = behind;
        for (number, row) in field.chunks(16).enumerate() {
            let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
            let label = if number == 0 { label } else { "" };
            writeln!(out, "{}", format!("{offset:5}  {:47}  {label}", hex.join(" ")).trim_end()).unwrap();
            offset += row.len() as u64;
        }
        if field.is_empty() {
            writeln!(out, "{offset:5}  {:47}  {label}", "").unwrap();
        }
    }
    assert!(rest.is_empty(), "{} bytes have no label", rest.len());
    out
}

const DATABASE: [u8; 16] =
    [0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf];
const SEGMENT: SegmentId = SegmentId { epoch: 1, nonce: 0xc1a1_c1a1_c1a1_c1a1, number: 1 };
const STREAM: Stream = Stream { salt: 0x5a17_5a17_5a17_5a17, base_seq: 1 };
pub(crate) const HASH_SEED: u64 = 0x5eed_5eed_5eed_5eed;
/// The first moment of 2026.
const NOW: u64 = 1_767_225_600_000;

pub(crate) fn header() -> Header {
    Header {
        database: DATABASE,
        id: SEGMENT,
        salt: STREAM.salt,
        hash_seed: HASH_SEED,
        base_seq: STREAM.base_seq,
        created: NOW,
        layout: Layout::Dense,
        predecessor: None,
    }
}

/// Two writes of the committer and the end mark; gives where the second write begins, too.
pub(crate) fn frames() -> (BytesMut, usize) {
    let mut out = BytesMut::new();
    let here = |out: &BytesMut| (HEADER_LEN + out.len()) as u64;
    let put = NewRecord {
        compressed: false,
        seq: 1,
        kind: Kind::Put,
        key: b"apple",
        value: b"green",
        expires_at: Some(NOW + 90_000),
        last_of_batch: false,
    };
    let delete = NewRecord { seq: 2, kind: Kind::Tombstone, key: b"pear", value: b"", expires_at: None, ..put };

    Mark { durable: here(&out), time: NOW }.encode(&STREAM, here(&out), &mut out);
    put.encode(&STREAM, here(&out), &mut out);
    let offset = here(&out);
    NewRecord { last_of_batch: true, ..delete }.encode(&STREAM, offset, &mut out);
    let second = out.len();

    let durable = here(&out);
    Mark { durable, time: NOW + 7 }.encode(&STREAM, durable, &mut out);
    let offset = here(&out);
    NewRecord { seq: 3, key: b"", value: b"empty key", expires_at: None, ..put }.encode(&STREAM, offset, &mut out);
    let offset = here(&out);
    let kind = Kind::RangeTombstone;
    NewRecord { seq: 4, kind, key: b"b", value: b"d", expires_at: None, last_of_batch: true, ..put }
        .encode(&STREAM, offset, &mut out);
    let offset = here(&out);
    End { len: offset + END_LEN as u64, records: 4, last_seq: 4, durable, time: NOW + 8 }
        .encode(&STREAM, offset, &mut out);
    (out, second)
}

pub(crate) const PREAMBLE: [(usize, &str); 5] = [
    (8, "magic"),
    (4, "format version"),
    (4, "incompatible features"),
    (4, "compatible features"),
    (4, "preamble checksum"),
];

const MARK: [(usize, &str); 4] = [(4, "mark: checksum"), (1, "flags: mark"), (8, "durable below"), (8, "engine time")];

#[test]
fn example_of_a_segment() {
    let (frames, _) = frames();
    let bytes = [&header().encode()[..], &frames].concat();
    let header_fields = [
        (16, "database id"),
        (8, "epoch"),
        (8, "nonce"),
        (8, "segment number"),
        (8, "salt"),
        (8, "hash seed"),
        (8, "base seq"),
        (8, "created"),
        (8, "predecessor: none"),
        (8, ""),
        (8, ""),
        (4, "layout: dense"),
        (4, "header checksum"),
    ];
    let batch = [
        (4, "put: checksum"),
        (1, "flags: put, has expiry"),
        (1, "seq above base: 0"),
        (1, "key length"),
        (1, "value length"),
        (6, "expiry: 90 s after the batch"),
        (5, "key: apple"),
        (5, "value: green"),
        (4, "tombstone: checksum"),
        (1, "flags: tombstone, last of its batch"),
        (1, "seq above base: 1"),
        (1, "key length"),
        (1, "value length"),
        (4, "key: pear"),
    ];
    let put = [
        (4, "put: checksum"),
        (1, "flags: put"),
        (1, "seq above base: 2"),
        (1, "key length"),
        (1, "value length"),
        (9, "value: empty key"),
        (4, "range tombstone: checksum"),
        (1, "flags: range tombstone, last of its batch"),
        (1, "seq above base: 3"),
        (1, "length of the first key"),
        (1, "length of the end"),
        (1, "first key: b"),
        (1, "end: d"),
    ];
    let end = [
        (4, "end mark: checksum"),
        (1, "flags: end mark"),
        (8, "log ends at"),
        (8, "records"),
        (8, "last seq"),
        (8, "durable below"),
        (8, "engine time"),
    ];
    let fields = [&PREAMBLE[..], &header_fields, &MARK, &batch, &MARK, &put, &end].concat();
    document_holds(&dump(&bytes, 0, &fields));
}

#[test]
fn example_of_a_fragment() {
    let (frames, second) = frames();
    let payload = frames.freeze().split_to(second);
    let slice = Slice {
        first_offset: HEADER_LEN as u64,
        segment: SEGMENT.number,
        salt: STREAM.salt,
        base_seq: STREAM.base_seq,
        predecessor: None,
    };
    let fragment = Fragment {
        database: DATABASE,
        id: FragmentId { epoch: SEGMENT.epoch, nonce: SEGMENT.nonce, number: 0 },
        write_nonce: 0x0f0f_0f0f_0f0f_0f0f,
        time: NOW,
        kind: FragmentKind::Data(slice),
    };
    let bytes = fragment.encode(&[payload]);
    let header_fields = [
        (16, "database id"),
        (8, "epoch"),
        (8, "nonce"),
        (8, "fragment number"),
        (8, "write nonce"),
        (8, "engine time"),
        (4, "kind: data"),
        (4, "payload checksum"),
        (8, "payload length"),
        (8, "first offset"),
        (8, "segment number"),
        (8, "salt"),
        (8, "base seq"),
        (8, "predecessor: none"),
        (8, ""),
        (8, ""),
        (4, "zero"),
        (4, "header checksum"),
        (second, "frames, the same as above"),
    ];
    document_holds(&dump(&bytes, 0, &[&PREAMBLE[..], &header_fields].concat()));
}

/// Each field with the length that postcard gives it.
macro_rules! fields {
    ($of:expr; $($field:ident),*) => {
        [$((postcard::to_stdvec(&$of.$field).unwrap().len(), stringify!($field))),*]
    };
}

/// The [only segment](SEGMENT) as its manifest describes it.
fn segment_meta() -> SegmentMeta {
    SegmentMeta {
        id: SEGMENT,
        len: 900,
        salt: STREAM.salt,
        base_seq: 1,
        sorted: false,
        footer_crc: 0xd19e_57ed,
        digest: Digest::of(b"all of its bytes"),
        min_seq: 1,
        max_seq: 4,
        min_key: b"".to_vec(),
        max_key: b"pear".to_vec(),
        records: 4,
        entries: 3,
        tombstones: 1,
        range_tombstones: 1,
        expiring: 1,
        min_expiry: Some(NOW + 90_000),
        max_expiry: Some(NOW + 90_000),
        record_bytes: 63,
        live_bytes: 53,
        dead_bytes: 0,
        swept: 4,
        born: 2,
    }
}

/// A manifest that has one of everything.
fn manifest() -> Manifest {
    let log = Log {
        state: LogState::ClosedCleanly,
        epoch: 1,
        nonce: SEGMENT.nonce,
        first_segment: 2,
        first_fragment: 0,
        last_sealed_seq: 5,
        next_segment: 2,
        next_seq: 6,
        home: None,
    };
    let segment = segment_meta();
    let checkpoint = CheckpointMeta {
        name: "monday".into(),
        manifest: 2,
        seq: 3,
        time: NOW + 8,
        bytes: segment.len,
        hold_until: NOW + 90_000,
    };
    let tombstone = RangeTombstone { start: b"p".to_vec(), end: None, seq: 5 };
    let past = Past { number: 2, digest: Digest::of(b"the manifest before"), time: NOW + 8, is_moment: true };
    let retention = Retention { window: 86_400_000, step: 60_000 };
    Manifest {
        number: 3,
        epoch: 1,
        nonce: SEGMENT.nonce,
        write_nonce: 0x0f0f_0f0f_0f0f_0f0f,
        database: DATABASE,
        hash_seed: HASH_SEED,
        created: NOW,
        engine_time: NOW + 8,
        log,
        runs: vec![RunMeta { segments: vec![segment] }],
        range_tombstones: vec![tombstone],
        history_from: 1,
        retired: vec![],
        checkpoints: vec![checkpoint],
        kept_claims: vec![],
        proof: Some(Proof { create_if_absent: true, listed: true, single_writer_declared: false }),
        purpose: Purpose::Database,
        previous: past.digest,
        past: vec![past],
        retention,
    }
}

#[test]
fn example_of_a_manifest() {
    let manifest = manifest();
    let (log, segment, retention) = (&manifest.log, &manifest.runs[0].segments[0], &manifest.retention);
    let (tombstone, checkpoint, past) = (&manifest.range_tombstones[0], &manifest.checkpoints[0], &manifest.past[0]);
    let bytes = manifest.encode().unwrap();
    let fields = [
        &PREAMBLE[..],
        &[(8, "length of the body")],
        &fields!(manifest; number, epoch, nonce, write_nonce, database, hash_seed, created, engine_time),
        &fields!(log; state, epoch, nonce, first_segment, first_fragment, last_sealed_seq, next_segment, next_seq, home),
        &[(1, "number of runs"), (1, "number of segments in the run")],
        &fields!(segment.id; epoch, nonce, number),
        &fields!(segment; len, salt, base_seq, sorted, footer_crc, digest, min_seq, max_seq, min_key, max_key, records, entries),
        &fields!(segment; tombstones, range_tombstones, expiring, min_expiry, max_expiry, record_bytes, live_bytes),
        &fields!(segment; dead_bytes, swept, born),
        &[(1, "number of range tombstones")],
        &fields!(tombstone; start, end, seq),
        &fields!(manifest; history_from, retired),
        &[(1, "number of checkpoints")],
        &fields!(checkpoint; name, manifest, seq, time, bytes, hold_until),
        &fields!(manifest; kept_claims, proof, purpose, previous),
        &[(1, "number of manifests of the past")],
        &fields!(past; number, digest, time, is_moment),
        &fields!(retention; window, step),
        &[(4, "checksum")],
    ];
    document_holds(&dump(&bytes, 0, &fields.concat()));
}
