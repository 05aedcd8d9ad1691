#![allow(clippy::unwrap_used)]
use super::testing::*;
use super::*;
#[cfg(feature = "lz4")]
use crate::format::compressed::Codec;
use crate::format::frame::Kind;
#[cfg(feature = "lz4")]
use crate::format::frame::NewRecord;
use crate::format::fuzz::Dice;
#[cfg(feature = "lz4")]
use crate::format::header::Layout;
use crate::format::manifest::SegmentMeta;
use crate::format::names::Name;
use crate::hash::{Fingerprint, hash};
use crate::range::Course;
#[cfg(feature = "lz4")]
use crate::turn::Turn;
use crate::verify::findings;
use crate::{Error, ErrorKind, KeyRange, Result};
use bytes::Bytes;
use halite_backends::{Backend, Memory};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

type Rows = Vec<(Vec<u8>, TestRecord)>;

/// Walks a course; values are read where they are wanted.
async fn walk(segment: &Arc<Segment>, course: &Course, keys_only: bool) -> Result<Rows> {
    let mut cursor = SegmentCursor::new(segment.clone(), course.clone(), keys_only);
    let mut rows = Vec::new();
    loop {
        match cursor.advance()? {
            Step::Ready => {}
            Step::End => return Ok(rows),
            Step::Again => continue,
            Step::Need(range) => {
                assert!(segment.mapped(range.clone()).is_none());
                cursor.supply(segment.read(range).await?, u64::MAX);
                continue;
            }
        }
        let value = match cursor.value() {
            _ if keys_only => Bytes::new(),
            ValueAt::Here(value) => value.stored().0.clone(),
            ValueAt::At { offset, len } => {
                let record = segment.read_record(offset, len).await?;
                cursor.check(record.key(), record.seq())?;
                record.value().stored().0.clone()
            }
        };
        let facts = *cursor.facts();
        let value = (facts.kind == Kind::Put).then(|| value.to_vec());
        let key = cursor.key().to_vec();
        if let Some(shared) = cursor.shared_key() {
            assert_eq!(shared, key);
        }
        rows.push((key.clone(), TestRecord { key, value, seq: facts.seq, expires_at: facts.expires_at }));
    }
}

fn expected(model: &BTreeMap<Vec<u8>, TestRecord>, course: &Course, keys_only: bool) -> Rows {
    let rows = model.iter().filter(|(key, _)| course.range.contains(key));
    let rows = rows.map(|(key, record)| {
        let mut record = record.clone();
        if keys_only {
            record.value = record.value.map(|_| Vec::new());
        }
        (key.clone(), record)
    });
    if course.is_backward() { rows.rev().collect() } else { rows.collect() }
}

/// Reads `segment` in every way and compares with what it must hold.
async fn check(segment: &Arc<Segment>, records: &[TestRecord], dice: &mut Dice) {
    let model = newest(records);
    check_meta(&segment.meta, records, &model);
    let mut ranges = vec![KeyRange::from(..)];
    for _ in 0..40 {
        let bound = |dice: &mut Dice| match dice.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(Bytes::from(any_key(dice))),
            _ => Bound::Excluded(Bytes::from(any_key(dice))),
        };
        ranges.push(KeyRange { start: bound(dice), end: bound(dice) });
    }
    ranges.push(KeyRange::prefix("a shared prefix 001"));
    for course in ranges.iter().flat_map(Course::both_over) {
        for keys_only in [false, true] {
            let found = walk(segment, &course, keys_only).await.unwrap();
            assert!(found == expected(&model, &course, keys_only), "{course:?} keys_only={keys_only}");
        }
    }

    let mut hints = segment.hints().await.unwrap();
    let mut hinted = BTreeMap::new();
    while let Some(hint) = hints.next().unwrap() {
        let record = segment.read_record(hint.offset, hint.len).await.unwrap();
        if let Some(mapped) = segment.mapped_record(hint.offset, hint.len) {
            let mapped = mapped.unwrap();
            assert_eq!((mapped.key(), mapped.value(), mapped.seq()), (record.key(), record.value(), record.seq()));
            assert_eq!((mapped.kind(), mapped.expires_at()), (record.kind(), record.expires_at()));
        }
        assert_eq!(hint.fingerprint, Fingerprint::of(hash(HASH_SEED, record.key())));
        hinted.insert(record.key().to_vec(), record.seq());
    }
    assert!(hinted.into_iter().eq(model.iter().map(|(key, record)| (key.clone(), record.seq))));

    for (key, record) in &model {
        assert!(segment.may_contain(hash(HASH_SEED, key)).await.unwrap());
        let located = segment.locate(key).await.unwrap().unwrap();
        assert_eq!(located.facts, record.facts());
        check_lookup(segment, key, Some(record)).await;
        assert_eq!(segment.read_record(located.offset, located.len).await.unwrap().key(), key);
    }
    for _ in 0..100 {
        let key = any_key(dice);
        assert_eq!(segment.locate(&key).await.unwrap().is_some(), model.contains_key(&key));
        check_lookup(segment, &key, model.get(&key)).await;
    }
    let findings = findings(segment).await.unwrap();
    assert!(findings.damage.is_empty(), "{:?}", findings.damage);
    assert_eq!(findings.records, segment.meta.records);
}

/// Asks for `key` by filter and index, waiting and not.
async fn check_lookup(segment: &Segment, key: &[u8], expected: Option<&TestRecord>) {
    let hash = hash(HASH_SEED, key);
    let waiting = segment.find(hash, key).await.unwrap();
    for lookup in [waiting, segment.look_up(hash, key).unwrap()] {
        match lookup {
            Lookup::Found(record) => {
                let expected = expected.unwrap();
                assert_eq!((record.key(), record.seq()), (&expected.key[..], expected.seq));
                assert_eq!(record.value().stored().0, expected.value.as_deref().unwrap_or_default());
            }
            Lookup::Filtered | Lookup::Absent | Lookup::Unfiltered => assert!(expected.is_none()),
            Lookup::NeedsRead => assert!(segment.mapped(0..1).is_none()),
        }
    }
}

fn check_meta(meta: &SegmentMeta, records: &[TestRecord], model: &BTreeMap<Vec<u8>, TestRecord>) {
    let counted: Vec<TestRecord> = if meta.sorted { model.values().cloned().collect() } else { records.to_vec() };
    assert_eq!((meta.records, meta.entries), (counted.len() as u64, model.len() as u64));
    assert_eq!(meta.min_seq, counted.iter().map(|record| record.seq).min().unwrap());
    assert_eq!(meta.max_seq, counted.iter().map(|record| record.seq).max().unwrap());
    assert_eq!(meta.tombstones, counted.iter().filter(|record| record.value.is_none()).count() as u64);
    assert_eq!(meta.expiring, counted.iter().filter(|record| record.expires_at.is_some()).count() as u64);
    assert_eq!(meta.min_expiry, counted.iter().filter_map(|record| record.expires_at).min());
    assert_eq!(meta.max_expiry, counted.iter().filter_map(|record| record.expires_at).max());
    assert_eq!(Some((&meta.min_key, &meta.max_key)), model.keys().next().zip(model.keys().next_back()));
    assert!(meta.live_bytes <= meta.record_bytes && (meta.live_bytes == meta.record_bytes || !meta.sorted));
}

async fn write(backend: &dyn Backend, sorted: bool, records: &[TestRecord]) -> SegmentMeta {
    if sorted { write_sorted(backend, 1, records).await } else { write_dense(backend, 1, records).await }
}

#[tokio::test]
async fn segments_hold_what_was_written() {
    let mut dice = Dice::new(1);
    for count in [1, 2, 15, 40, 300, 1500] {
        for sorted in [false, true] {
            let records = any_records(&mut dice, count, 1000);
            let memory = Memory::new();
            let meta = write(&memory, sorted, &records).await;
            check(&open(&memory, &meta).await.unwrap(), &records, &mut dice).await;
            check(&open(&Unmapped(memory), &meta).await.unwrap(), &records, &mut dice).await;
        }
    }
}

#[tokio::test]
async fn many_blocks_and_few_keys() {
    let mut dice = Dice::new(2);
    for sorted in [false, true] {
        let numbered: Vec<_> = (0..20_000)
            .map(|n| put(format!("{:07}", n * 7 % 20_000), vec![b'v'; 280 + n % 40], n as u64 + 1))
            .collect();
        let memory = Memory::new();
        let meta = write(&memory, sorted, &numbered).await;
        let segment = open(&memory, &meta).await.unwrap();
        assert!(segment.fences().await.unwrap().len() > 3);
        check(&segment, &numbered, &mut dice).await;

        let overwritten: Vec<_> = (0..5000).map(|n| put([n as u8 % 3], n.to_string(), n + 1)).collect();
        let memory = Memory::new();
        let meta = write(&memory, sorted, &overwritten).await;
        check(&open(&memory, &meta).await.unwrap(), &overwritten, &mut dice).await;
    }
}

/// What a walk over all of a segment that is not mapped asks for: how often, and how many bytes.
async fn fetched(segment: &Arc<Segment>, course: &Course, keys_only: bool, count: usize) -> (usize, u64) {
    let mut cursor = SegmentCursor::new(segment.clone(), course.clone(), keys_only);
    let (mut records, mut fetches, mut bytes) = (0, 0, 0);
    loop {
        match cursor.advance().unwrap() {
            Step::Ready => records += 1,
            Step::Need(range) => {
                (fetches, bytes) = (fetches + 1, bytes + range.end - range.start);
                cursor.supply(segment.read(range).await.unwrap(), u64::MAX);
            }
            Step::Again => {}
            Step::End => break,
        }
    }
    assert_eq!(records, count);
    (fetches, bytes)
}

/// Keys can be listed past large values without touching them.
#[tokio::test]
async fn keys_only_leaves_large_values_alone() {
    let records: Vec<_> = (0..50).map(|n| put(format!("key{n:03}"), vec![1; 100_000], n + 1)).collect();
    for sorted in [false, true] {
        let memory = Memory::new();
        let meta = write(&memory, sorted, &records).await;
        let segment = open(&Unmapped(memory), &meta).await.unwrap();
        for course in Course::both_over(&KeyRange::from(..)) {
            let (_, bytes) = fetched(&segment, &course, true, 50).await;
            assert!(bytes < 10_000, "{course:?}: {bytes}");
        }
    }
}

/// Where bytes must be fetched, both ways do so in few large pieces, and few bytes twice.
#[tokio::test]
async fn both_ways_fetch_alike() {
    let records: Vec<_> =
        (0..20_000).map(|n| put(format!("key{n:05}"), vec![1; 100 + n % 100], n as u64 + 1)).collect();
    let memory = Memory::new();
    let meta = write(&memory, true, &records).await;
    let segment = open(&Unmapped(memory), &meta).await.unwrap();
    segment.fences().await.unwrap();
    let [forward, backward] = Course::both_over(&KeyRange::from(..));
    let (fetches, bytes) = fetched(&segment, &forward, false, records.len()).await;
    let (index, records_len) = (segment.footer().index.clone(), segment.meta.record_bytes);
    assert!(fetches < 15 && bytes < records_len * 21 / 20, "{fetches} {bytes} {records_len}");
    let (back_fetches, back_bytes) = fetched(&segment, &backward, false, records.len()).await;
    let blocks = segment.fences().await.unwrap().len();
    assert!(back_fetches <= fetches + blocks + 1, "{back_fetches} {fetches} {blocks}");
    assert!(back_bytes < bytes + (index.end - index.start) + bytes / 20, "{back_bytes} {bytes}");
}

#[tokio::test]
async fn what_the_manifest_does_not_mean_is_refused() {
    let memory = Memory::new();
    let records = [put("a", "1", 5), put("b", "2", 6)];
    let meta = write_sorted(&memory, 1, &records).await;
    let other = write_sorted(&memory, 2, &records).await;
    let refused = async |meta: &SegmentMeta, database, seed| {
        let error = open_as(&memory, meta, database, seed).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert_eq!(error.place().unwrap().0, Name::Segment(meta.id).path().as_str());
        error.to_string()
    };
    assert!(refused(&meta, [0; 16], HASH_SEED).await.contains("another database"));
    assert!(refused(&meta, DATABASE, 1).await.contains("another hash seed"));
    let mut missing = meta.clone();
    missing.id.number = 77;
    assert!(refused(&missing, DATABASE, HASH_SEED).await.contains("is missing"));
    for wrong in [
        SegmentMeta { len: meta.len + 1, ..meta.clone() },
        SegmentMeta { len: 0, ..meta.clone() },
        SegmentMeta { salt: 0, ..meta.clone() },
        SegmentMeta { base_seq: 0, ..meta.clone() },
        SegmentMeta { footer_crc: !meta.footer_crc, ..meta.clone() },
        SegmentMeta { sorted: false, ..meta.clone() },
        SegmentMeta { entries: 3, ..meta.clone() },
        SegmentMeta { id: other.id, ..meta.clone() },
    ] {
        refused(&wrong, DATABASE, HASH_SEED).await;
    }
}

#[tokio::test]
async fn places_without_a_record_are_damage() {
    let memory = Memory::new();
    let meta = write_dense(&memory, 1, &[put("a", "1", 5), put("b", "2", 6)]).await;
    let segment = open(&memory, &meta).await.unwrap();
    for (offset, len) in [(0, 10), (149, 0), (149, 9), (149, 11), (150, 10), (149, u32::MAX), (u32::MAX, u32::MAX)] {
        let error = segment.mapped_record(offset, len).unwrap().unwrap_err();
        assert_eq!(error.place().unwrap().1, u64::from(offset));
        assert_eq!(segment.read_record(offset, len).await.unwrap_err().kind(), ErrorKind::Corruption);
    }
}

/// Everything that a reader may ask: the answers, or the first error.
async fn ask_everything(backend: &dyn Backend, meta: &SegmentMeta, keys: &[&str]) -> Result<Vec<String>> {
    let segment = open(backend, meta).await?;
    let mut answers = Vec::new();
    for keys_only in [false, true] {
        for range in [KeyRange::from(..), KeyRange::from("b".."zz"), KeyRange::from("key3"..)] {
            for course in Course::both_over(&range) {
                answers.push(format!("{:?}", walk(&segment, &course, keys_only).await?));
            }
        }
    }
    for key in keys {
        answers.push(format!("{:?}", segment.locate(key.as_bytes()).await?));
        answers.push(format!("{}", segment.may_contain(hash(HASH_SEED, key.as_bytes())).await?));
    }
    let mut hints = segment.hints().await?;
    while let Some(hint) = hints.next()? {
        let record = segment.read_record(hint.offset, hint.len).await?;
        answers.push(format!("{hint:?} {record:?}"));
    }
    Ok(answers)
}

/// Every byte flipped once: readers give right answers or an error with file and offset; verification finds it.
#[tokio::test]
async fn every_flipped_byte_is_noticed() {
    let mut records: Vec<_> = (0..12).map(|n| put(format!("key{n}"), vec![b'v'; n * 60], n as u64 + 1)).collect();
    records.push(TestRecord { value: None, ..put("key3", "", 20) });
    records.push(TestRecord { expires_at: Some(77), ..put("", "expiring", 21) });
    let keys = ["", "key0", "key3", "key11", "a", "zz"];
    for sorted in [false, true] {
        let memory = Memory::new();
        let meta = write(&memory, sorted, &records).await;
        let path = Name::Segment(meta.id).path();
        let right = ask_everything(&memory, &meta, &keys).await.unwrap();
        let bytes = file_of(&memory, &meta).await;
        for at in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1 << (at % 8);
            let damaged_store = Memory::new();
            damaged_store.create(&path, damaged.into()).await.unwrap();
            for mapped in [true, false] {
                let store: Box<dyn Backend> =
                    if mapped { Box::new(damaged_store.clone()) } else { Box::new(Unmapped(damaged_store.clone())) };
                let place_is_given = |error: &Error| {
                    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
                    let (file, offset) = error.place().unwrap();
                    assert!(file == path.as_str() && offset.abs_diff(at as u64) < 1000, "{at}: {error}");
                };
                match ask_everything(&*store, &meta, &keys).await {
                    Ok(answers) => assert_eq!(answers, right, "byte {at}"),
                    Err(error) => place_is_given(&error),
                }
                match open(&*store, &meta).await {
                    Ok(segment) => {
                        let findings = findings(&segment).await.unwrap();
                        assert!(!findings.damage.is_empty(), "byte {at} of {} sorted={sorted}", bytes.len());
                        let offset = findings.damage[0].offset;
                        assert!(offset.abs_diff(at as u64) < 1000, "byte {at}: {:?}", findings.damage);
                    }
                    Err(error) => place_is_given(&error),
                }
            }
        }
    }
}

/// Damage at many places: each is found, and what lies between them still counts.
#[tokio::test]
async fn verification_goes_on_behind_damage() {
    let records: Vec<_> = (0..200).map(|n| put(format!("key{n:04}"), vec![b'v'; 100], n + 1)).collect();
    for sorted in [false, true] {
        let memory = Memory::new();
        let meta = write(&memory, sorted, &records).await;
        let segment = open(&memory, &meta).await.unwrap();
        let mut damaged = file_of(&memory, &meta).await.to_vec();
        let mut places = Vec::new();
        for number in [3, 4, 50, 120, 199] {
            let located = segment.locate(format!("key{number:04}").as_bytes()).await.unwrap().unwrap();
            places.push(u64::from(located.offset));
            damaged[located.offset as usize + 6] ^= 0xff;
        }
        let store = Memory::new();
        store.create(segment.path(), damaged.into()).await.unwrap();
        let findings = findings(&open(&store, &meta).await.unwrap()).await.unwrap();
        let found: Vec<u64> = findings.damage.iter().map(|damage| damage.offset).collect();
        assert_eq!(found, places, "{:?}", findings.damage);
        assert_eq!(findings.records, 195);
    }
}

/// Whole, but telling of other records than the frames: only verification can know.
#[tokio::test]
async fn parts_that_contradict_each_other_are_found() {
    let records: Vec<_> = (0..50).map(|n| put(format!("key{n:04}"), "value", n + 1)).collect();
    let memory = Memory::new();
    let (bytes, meta) = seal_dense(1, &records).await;
    let records_end = open_bytes(&bytes, &meta).await.footer().records_end() as usize;
    let header = header(1, crate::format::header::Layout::Dense, 1);
    let mut builder = TailBuilder::new(&header);
    let mut hints = open_bytes(&bytes, &meta).await.hints().await.unwrap();
    let mut places = Vec::new();
    while let Some(hint) = hints.next().unwrap() {
        places.push((hint.offset, hint.len));
    }
    // An entry is left out, one has a wrong seq, one hint a wrong fingerprint.
    for (index, (record, &(offset, len))) in records.iter().zip(&places).enumerate().filter(|(index, _)| *index != 7) {
        let seq = if index == 9 { 1000 } else { record.seq };
        builder.push(&record.key, &DenseEntry { offset, len, seq, kind: Kind::Put, expires_at: None });
    }
    for (index, (record, &(offset, len))) in records.iter().zip(&places).enumerate().filter(|(index, _)| *index != 7) {
        let seed = if index == 11 { 0 } else { HASH_SEED };
        builder.hint(hash(seed, &record.key), offset, len);
    }
    let tail = builder.finish(records_end as u64).await;
    let forged = [&bytes[..records_end], &tail.parts.concat()].concat();
    memory.create(&Name::Segment(tail.meta.id).path(), forged.into()).await.unwrap();
    let findings = findings(&open(&memory, &tail.meta).await.unwrap()).await.unwrap();
    let told = findings.damage.iter().map(|damage| damage.what.as_str()).collect::<Vec<_>>().join("\n");
    let (seventh, ninth, eleventh) = (places[7].0, places[9].0, places[11].0);
    assert!(told.contains("newest of its key, but not in the index"), "{told}");
    assert!(findings.damage.iter().any(|damage| damage.offset == u64::from(seventh)), "{told}");
    assert!(told.contains(&format!("index entry does not fit the record at {ninth}")), "{told}");
    assert!(told.contains(&format!("hint does not fit the record at {eleventh}")), "{told}");
    assert!(told.contains(&format!("filter lacks the key of the record at {eleventh}")), "{told}");
    assert!(told.contains("statistics do not fit"), "{told}");
}

async fn open_bytes(bytes: &Bytes, meta: &SegmentMeta) -> Arc<Segment> {
    let memory = Memory::new();
    memory.create(&Name::Segment(meta.id).path(), bytes.clone()).await.unwrap();
    open(&memory, meta).await.unwrap()
}

#[tokio::test]
async fn an_aborted_segment_does_not_appear() {
    let memory = Memory::new();
    let header = header(1, crate::format::header::Layout::Sorted, 1);
    let mut writer = SortedWriter::new(&memory, &header).await.unwrap();
    writer.push(put("a", "1", 1).new_record(), None).await.unwrap();
    writer.abort().await.unwrap();
    assert!(!memory.exists(&Name::Segment(header.id).path()).await.unwrap());
}

#[tokio::test]
#[should_panic(expected = "keys come in order, each once")]
async fn keys_out_of_order_are_not_written() {
    let memory = Memory::new();
    let header = header(1, crate::format::header::Layout::Sorted, 1);
    let mut writer = SortedWriter::new(&memory, &header).await.unwrap();
    writer.push(put("b", "1", 1).new_record(), None).await.unwrap();
    let _ = writer.push(put("b", "2", 2).new_record(), None).await;
}

/// Futures may be spawned on a runtime of many threads.
#[test]
fn futures_are_send() {
    fn is_send(_: &impl Send) {}
    let memory = Memory::new();
    is_send(&async {
        let meta = write_sorted(&memory, 1, &[put("a", "1", 1)]).await;
        let segment = open(&memory, &meta).await.unwrap();
        let _ = (findings(&segment).await, segment.hints().await, segment.locate(b"a").await);
        let _ = seal_dense(1, &[put("a", "1", 1)]).await;
    });
}

/// A compressed value that does not decompress, in a record whose checksum is right: reading it says where, and so does
/// verification; what stands around it is read as ever.
#[tokio::test]
#[cfg(feature = "lz4")]
async fn a_compressed_value_that_is_damaged_is_found() {
    let good = crate::value::compress(Codec::Lz4, &b"again and ".repeat(100), &mut Turn::default()).await.unwrap();
    let mut bad = good.clone();
    bad[1] ^= 1;
    let memory = Memory::new();
    let mut writer = SortedWriter::new(&memory, &header(1, Layout::Sorted, 1)).await.unwrap();
    for (seq, stored) in [(1, &good), (2, &bad), (3, &good)] {
        let key = [b'a' + seq as u8];
        let record = NewRecord {
            seq,
            kind: Kind::Put,
            key: &key,
            value: stored,
            compressed: true,
            ..put("", "", 1).new_record()
        };
        writer.push(record, None).await.unwrap();
    }
    let meta = writer.finish().await.unwrap().meta;
    for backend in [&memory as &dyn Backend, &Unmapped(memory.clone())] {
        let segment = open(backend, &meta).await.unwrap();
        let findings = findings(&segment).await.unwrap();
        assert_eq!((findings.records, findings.damage.len()), (3, 1));
        let offset = findings.damage[0].offset;
        let mut values = Vec::new();
        for key in ["b", "c", "d"] {
            let located = segment.locate(key.as_bytes()).await.unwrap().unwrap();
            let record = segment.read_record(located.offset, located.len).await.unwrap();
            values.push(record.value().read().await);
        }
        assert_eq!(values[0].as_ref().unwrap(), &b"again and ".repeat(100));
        assert_eq!(values[2].as_ref().unwrap(), values[0].as_ref().unwrap());
        let error = values[1].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.place().unwrap().1), (ErrorKind::Corruption, offset));
    }
}
