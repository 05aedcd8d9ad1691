#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::fuzz::Dice;
use crate::format::manifest::SegmentMeta;
use crate::format::names::Name;
use crate::segment::testing::*;
use crate::version::Run;
use crate::{ErrorKind, memtable::Memtable};
use futures::{FutureExt, StreamExt, TryStreamExt};
use halite_backends::{Backend, Memory};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Runs (of segments) and memtables, oldest first, beside all records in the order of their seqs.
#[derive(Default)]
struct Database {
    memory: Memory,
    runs: Vec<Vec<SegmentMeta>>,
    memtables: Vec<Arc<Memtable>>,
    records: Vec<TestRecord>,
    next_segment: u64,
}

impl Database {
    fn next_seq(&self) -> Seq {
        self.records.last().map_or(1, |record| record.seq + 1)
    }

    async fn add_run(&mut self, dice: &mut Dice) {
        let count = 1 + dice.below(300);
        let records = any_records(dice, count, self.next_seq());
        let number = self.next_segment + 1;
        let metas = match dice.below(3) {
            0 => vec![write_dense(&self.memory, number, &records).await],
            1 => write_run(&self.memory, number, &records, usize::MAX).await,
            _ => write_run(&self.memory, number, &records, 1 + dice.below(40)).await,
        };
        self.next_segment += metas.len() as u64;
        self.runs.push(metas);
        self.records.extend(records);
    }

    fn add_memtable(&mut self, dice: &mut Dice) {
        let count = dice.below(300);
        let records = any_records(dice, count, self.next_seq());
        self.memtables.push(memtable(&records));
        self.records.extend(records);
    }

    async fn version(&self, mapped: bool) -> Arc<Version> {
        let backend: Box<dyn Backend> =
            if mapped { Box::new(self.memory.clone()) } else { Box::new(Unmapped(self.memory.clone())) };
        let mut runs = Vec::new();
        for metas in self.runs.iter().rev() {
            let mut segments = Vec::new();
            for meta in metas {
                segments.push(open(&*backend, meta).await.unwrap());
            }
            runs.push(Arc::new(Run::new(segments)));
        }
        Arc::new(Version::new(self.memtables.iter().rev().cloned().collect(), runs))
    }

    /// What a scan must show.
    fn expected(&self, at: Seq, now: u64, range: &KeyRange, keys_only: bool) -> Vec<Entry> {
        let visible = self.records.iter().filter(|record| record.seq <= at && range.contains(&record.key));
        let newest: BTreeMap<&[u8], &TestRecord> = visible.map(|record| (&record.key[..], record)).collect();
        let entry = |record: &&TestRecord| {
            let value = record.value.clone()?;
            let value = if keys_only { Bytes::new() } else { value.into() };
            let TestRecord { seq, expires_at, ref key, .. } = **record;
            let alive = expires_at.is_none_or(|at| at > now);
            alive.then(|| Entry { key: key.clone().into(), value, seq, expires_at })
        };
        newest.values().filter_map(entry).collect()
    }
}

fn any_range(dice: &mut Dice) -> KeyRange {
    let bound = |dice: &mut Dice| match dice.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(Bytes::from(any_key(dice))),
        _ => Bound::Excluded(Bytes::from(any_key(dice))),
    };
    match dice.below(6) {
        0 => KeyRange::from(..),
        1 => KeyRange::prefix(any_key(dice)),
        _ => KeyRange { start: bound(dice), end: bound(dice) },
    }
}

async fn check(database: &Database, version: &Arc<Version>, dice: &mut Dice) {
    let range = any_range(dice);
    let newest = database.next_seq() - 1;
    let sealed = version.runs.first().map_or(0, |run| run.max_seq);
    let at = [newest, Seq::MAX, sealed + dice.below((newest - sealed) as usize + 1) as u64][dice.below(3)];
    let now = [0, 1000, u64::MAX][dice.below(3)];
    let keys_only = dice.below(2) == 0;
    let mut expected = database.expected(at, now, &range, keys_only);
    let mut scan = Scan::new(View { version: version.clone(), at, now }, range.clone(), None);
    if keys_only {
        scan = scan.keys_only();
    }
    let backward = dice.below(2) == 0;
    if backward {
        expected.reverse();
        scan = scan.rev();
    }
    if dice.below(3) == 0 {
        let limit = dice.below(50);
        expected.truncate(limit);
        scan = scan.limit(limit);
    }
    let found: Vec<Entry> = scan.by_ref().try_collect().await.unwrap();
    assert!(found == expected, "{range:?} at={at} now={now} keys_only={keys_only} backward={backward}");
    assert!(scan.next().await.is_none());
}

#[tokio::test]
async fn scans_show_what_the_model_holds() {
    let mut dice = Dice::new(1);
    for round in 0..60 {
        let mut database = Database::default();
        for _ in 0..round % 6 {
            database.add_run(&mut dice).await;
        }
        for _ in 0..dice.below(4) {
            database.add_memtable(&mut dice);
        }
        for mapped in [true, false] {
            let version = database.version(mapped).await;
            for _ in 0..40 {
                check(&database, &version, &mut dice).await;
            }
        }
    }
}

#[tokio::test]
async fn what_is_written_later_does_not_show() {
    let memtable = memtable(&[put("a", "1", 1), put("b", "2", 2)]);
    let version = Arc::new(Version::new(vec![memtable.clone()], vec![]));
    let scan = || Scan::new(View { version: version.clone(), at: 2, now: 0 }, KeyRange::from(..), None);
    let (mut scan, mut backward) = (scan(), scan().rev());
    assert_eq!(scan.next().await.unwrap().unwrap().key, "a");
    assert_eq!(backward.next().await.unwrap().unwrap().key, "b");
    let mut piece = BytesMut::new();
    let stream = crate::format::frame::Stream { salt: 0x5a17, base_seq: 1 };
    let len = put("aa", "3", 3).new_record().encode(&stream, 1000, &mut piece) as u32;
    let placed = crate::memtable::Placed { start: 0, len, hash: crate::hash::hash(HASH_SEED, b"aa"), seq: 3 };
    memtable.insert(piece.freeze(), 1000, &[placed]);
    assert_eq!(scan.next().await.unwrap().unwrap().key, "b");
    assert!(scan.next().await.is_none());
    assert_eq!(backward.next().await.unwrap().unwrap().key, "a");
    assert!(backward.next().await.is_none());
}

/// Damage in the middle: all before it, then the error with its place, then nothing.
#[tokio::test]
async fn after_an_error_the_scan_ends() {
    let records: Vec<_> = (0..100).map(|n| put(format!("key{n:03}"), vec![b'v'; 100], n + 1)).collect();
    for dense in [false, true] {
        let memory = Memory::new();
        let meta =
            if dense { write_dense(&memory, 1, &records).await } else { write_sorted(&memory, 1, &records).await };
        let located = open(&memory, &meta).await.unwrap().locate(b"key050").await.unwrap().unwrap();
        let mut bytes = file_of(&memory, &meta).await.to_vec();
        bytes[located.offset as usize + 30] ^= 1;
        let damaged = Memory::new();
        damaged.create(&Name::Segment(meta.id).path(), bytes.into()).await.unwrap();
        for mapped in [true, false] {
            let backend: Box<dyn Backend> =
                if mapped { Box::new(damaged.clone()) } else { Box::new(Unmapped(damaged.clone())) };
            let segment = open(&*backend, &meta).await.unwrap();
            let path = segment.path().clone();
            let version = Arc::new(Version::new(vec![], vec![Arc::new(Run::new(vec![segment]))]));
            let scan =
                |range: KeyRange| Scan::new(View { version: version.clone(), at: Seq::MAX, now: 0 }, range, None);
            let fails = async |mut scan: Scan| {
                let error = scan.next().await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Corruption);
                assert_eq!(error.place(), Some((path.as_str(), u64::from(located.offset))));
                assert!(scan.next().await.is_none() && scan.next().await.is_none());
            };
            let mut forward = scan(KeyRange::from("key02"..));
            for number in 20..50 {
                assert_eq!(forward.next().await.unwrap().unwrap().key, format!("key{number:03}"));
            }
            fails(forward).await;
            // In a sorted segment the whole chunk, some 4 KiB, is lost to who comes from above: behind damage nobody knows
            // where records begin.
            let mut backward = scan(KeyRange::from(.."key08")).rev();
            let last = if dense { 51 } else { 70 };
            for number in (last..80).rev() {
                assert_eq!(backward.next().await.unwrap().unwrap().key, format!("key{number:03}"));
            }
            fails(backward).await;
        }
    }
}

#[tokio::test]
async fn an_error_at_the_beginning_is_told_once() {
    let version = Arc::new(Version::new(vec![], vec![]));
    let closed = Error::new(ErrorKind::Closed, "the database is closed");
    let mut scan = Scan::new(View { version, at: 1, now: 0 }, KeyRange::from(..), Some(closed));
    assert_eq!(scan.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(scan.next().await.is_none());
}

/// Two runs that claim the same seq for one key cannot both be right.
#[tokio::test]
async fn equal_seqs_are_corruption() {
    let memory = Memory::new();
    let records = [put("a", "1", 5)];
    let metas = [write_sorted(&memory, 1, &records).await, write_sorted(&memory, 2, &records).await];
    let mut segments = Vec::new();
    for meta in &metas {
        segments.push(open(&memory, meta).await.unwrap());
    }
    let mut merged = crate::cursor::Merged::new(&segments, Arc::default());
    assert!(!merged.next().await.unwrap().unwrap().superseded());
    assert_eq!(merged.next().await.unwrap_err().kind(), ErrorKind::Corruption);
}

/// Guarantee 3: what does not show takes turns too.
#[tokio::test]
async fn long_silences_and_long_rows_are_cut_into_turns() {
    let deleted = |n: u64| TestRecord { value: None, ..put(format!("{n:05}"), "", n + 1) };
    let hidden: Vec<_> = (0..10_000).map(deleted).collect();
    let shown: Vec<_> = (0..10_000).map(|n| put(format!("{n:05}"), "v", n + 1)).collect();
    let memory = Memory::new();
    let sealed = async |number, records: &[TestRecord]| {
        let meta = write_sorted(&memory, number, records).await;
        let run = Run::new(vec![open(&memory, &meta).await.unwrap()]);
        Arc::new(Version::new(vec![], vec![Arc::new(run)]))
    };
    let in_memory = |records: &[TestRecord]| Arc::new(Version::new(vec![memtable(records)], vec![]));
    for (version, entries) in [
        (sealed(1, &hidden).await, 0),
        (sealed(2, &shown).await, 10_000),
        (in_memory(&hidden), 0),
        (in_memory(&shown), 10_000),
    ] {
        for backward in [false, true] {
            let view = View { version: version.clone(), at: Seq::MAX, now: 0 };
            let scan = Scan::new(view, KeyRange::from(..), None);
            let mut scan = if backward { scan.rev() } else { scan };
            let (mut pending, mut found) = (0, 0);
            loop {
                match scan.next().now_or_never() {
                    None => pending += 1,
                    Some(Some(entry)) => found += usize::from(entry.is_ok()),
                    Some(None) => break,
                }
            }
            assert_eq!(found, entries);
            assert!((9..30).contains(&pending), "{pending}");
        }
    }
}

/// Keys that are copied share memory, and stay what they are.
#[test]
fn copied_keys_stay() {
    let mut keys = BytesMut::new();
    let lens = [0, 10, 4000, 100, 70_000, 1, 5000];
    let copies: Vec<Bytes> = lens.iter().map(|&len| copy_key(&vec![len as u8; len], &mut keys)).collect();
    assert!(copies.iter().zip(lens).all(|(copy, len)| copy == &vec![len as u8; len]));
}

#[test]
fn scans_are_send() {
    fn is_send<T: Send + Unpin + 'static>() {}
    is_send::<Scan>();
}
