//! The worked example of a sealed segment in FORMAT.md, checked against what the sealer appends.

#![allow(clippy::unwrap_used)]

use super::{DenseEntry, TailBuilder};
use crate::format::document::{HASH_SEED, PREAMBLE, document_holds, dump, frames, header};
use crate::format::frame::{Frame, Kind, decode};
use crate::format::header::HEADER_LEN;
use crate::hash::hash;
use std::collections::BTreeMap;

#[tokio::test]
async fn example_of_a_sealed_segment() {
    let (frames, _) = frames();
    let mut records = BTreeMap::new();
    let (mut places, mut others) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < frames.len() {
        let offset = (HEADER_LEN + at) as u32;
        let frame = decode(&header().stream(), u64::from(offset), &frames[at..]).unwrap();
        at += frame.len();
        let Frame::Record(record) = frame else { continue };
        let (seq, kind, expires_at, len) = (record.seq, record.kind, record.expires_at, record.len as u32);
        let entry = DenseEntry { offset, len, seq, kind, expires_at };
        if kind == Kind::RangeTombstone {
            others.push(entry);
            continue;
        }
        records.insert(record.key, entry);
        places.push((hash(HASH_SEED, record.key), offset, len));
    }
    assert!(records.values().any(|entry| entry.kind == Kind::Tombstone && entry.expires_at.is_none()));

    let mut builder = TailBuilder::new(&header());
    records.iter().for_each(|(key, entry)| builder.push(key, entry));
    others.iter().for_each(|entry| builder.unindexed(entry));
    places.iter().for_each(|&(hash, offset, len)| builder.hint(hash, offset, len));
    let records_end = (HEADER_LEN + frames.len()) as u64;
    let tail = builder.finish(records_end).await;
    assert_eq!(tail.meta.len, records_end + tail.parts.iter().map(|part| part.len() as u64).sum::<u64>());

    let index = [
        (1, "index block: bytes shared, the first entry"),
        (1, "bytes not shared"),
        (1, "flags: one put"),
        (2, "offset of the record"),
        (1, "its length"),
        (1, "seq above base: 2"),
        (0, "key: empty"),
        (1, "bytes shared"),
        (1, "bytes not shared"),
        (1, "flags: one put, has expiry"),
        (2, "offset of the record"),
        (1, "its length"),
        (1, "seq above base: 0"),
        (6, "expiry"),
        (5, "key: apple"),
        (1, "bytes shared"),
        (1, "bytes not shared"),
        (1, "flags: one tombstone"),
        (2, "offset of the record"),
        (1, "its length"),
        (1, "seq above base: 1"),
        (4, "key: pear"),
        (4, "restart point: the first entry"),
        (4, "restart points"),
        (4, "block checksum"),
    ];
    let fences =
        [(1, "fence: length of the block"), (1, "length of its first key"), (1, "last key: length"), (4, "pear")];
    let hints = [
        (1, "hint: length of the record, after a gap"),
        (1, "gap: the mark"),
        (5, "fingerprint of apple"),
        (1, "length, no gap"),
        (5, "fingerprint of pear"),
        (1, "length, after a gap"),
        (1, "gap: the mark"),
        (5, "fingerprint of the empty key"),
    ];
    let filter = [(32, "filter: one block")];
    let statistics = [
        (8, "statistics: records"),
        (8, "keys"),
        (8, "tombstones"),
        (8, "range tombstones"),
        (8, "records with an expiry"),
        (8, "smallest seq"),
        (8, "largest seq"),
        (8, "earliest expiry"),
        (8, "latest expiry"),
        (8, "bytes of records"),
        (8, "bytes of the newest"),
        (1, "smallest key: length"),
        (1, "largest key: length"),
        (4, "pear"),
    ];
    let footer = [
        (8, "offset of the index"),
        (8, "of the fences"),
        (8, "of the hints"),
        (8, "of the filter"),
        (8, "of the statistics"),
        (8, "of the footer"),
        (4, "checksum of the fences"),
        (4, "of the hints"),
        (4, "of the filter"),
        (4, "of the statistics"),
        (8, "index blocks"),
        (8, "index entries"),
        (8, "hints"),
        (4, "layout: dense"),
        (4, "footer checksum"),
    ];
    let fields = [&index[..], &fences, &hints, &filter, &statistics, &PREAMBLE, &footer].concat();
    let text = dump(&tail.parts.concat(), records_end, &fields);
    document_holds(&text);
}
