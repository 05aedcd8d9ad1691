//! Range deletes: all keys of a range go at the cost of one record, none comes back, and their space does.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, ErrorKind, Isolation, KeyRange, Options, TransactionOptions, WriteBatch, WriteOptions};
use halite_tests::random::Random;
use halite_tests::world::{Store, World, assert_sound, process, small_options};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Bound;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

const DEFERRED: WriteOptions = WriteOptions { durability: Durability::Deferred, ttl: None };

/// Runs `story` on growing files and on fragments, mapped and not.
fn everywhere(options: &Options, story: impl AsyncFn(Db, &mut World)) {
    for append in [true, false] {
        let simulated = SimulatedOptions { seed: 3, append, yields: true, ..SimulatedOptions::default() };
        for store in [Store::memory(append), Store::simulated(simulated)] {
            let mut world = World::new(store, options.clone(), 3);
            process(async {
                let db = world.open().await.unwrap();
                story(db, &mut world).await;
            });
        }
    }
}

fn quiet(options: Options) -> Options {
    Options { merge_in_background: false, ..options }
}

fn name(number: u64) -> String {
    format!("key{number:06}")
}

async fn fill(db: &Db, numbers: std::ops::Range<u64>, len: usize) {
    for chunk in numbers.collect::<Vec<_>>().chunks(500) {
        let batch = chunk.iter().fold(WriteBatch::new(), |batch, &n| batch.put(name(n), vec![n as u8; len]));
        db.write_with(batch, DEFERRED).await.unwrap();
    }
}

async fn keys(entries: impl Stream<Item = halite::Result<halite::Entry>>) -> Vec<Bytes> {
    entries.map_ok(|entry| entry.key).try_collect().await.unwrap()
}

#[test]
fn to_clear_is_one_record_and_gives_all_space_back_unread() {
    everywhere(&quiet(small_options()), async |db, world| {
        fill(&db, 0..3000, 20).await;
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        let before = db.stats();
        assert!(before.segments > 3);
        db.clear().await.unwrap();
        let after = db.stats();
        assert_eq!(after.memtable_records, 1);
        assert!(after.log_bytes - before.log_bytes < 100, "{} bytes", after.log_bytes - before.log_bytes);
        assert_eq!(keys(db.scan(..)).await, Vec::<Bytes>::new());
        assert!(!db.contains(name(7)).await.unwrap());
        db.put(name(7), "again").await.unwrap();
        let report = db.compact().await.unwrap();
        assert_eq!((report.dropped_covered, report.records_out), (3000, 1));
        let stats = db.stats();
        assert_eq!((stats.segments, stats.records, stats.range_tombstones), (1, 1, 0));
        assert!(stats.merge_bytes_written < 2000, "{} bytes", stats.merge_bytes_written);
        db.delete_prefix("key").await.unwrap();
        db.compact().await.unwrap();
        let stats = db.stats();
        assert_eq!((stats.segments, stats.segment_bytes, stats.range_tombstones), (0, 0, 0));
        assert_sound(&db).await;
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        assert_eq!(keys(db.scan(..)).await, Vec::<Bytes>::new());
        db.close().await.unwrap();
    });
}

/// What was written and deleted before a seal is not even sealed; where nothing is left, there is no segment.
#[test]
fn nothing_of_a_log_is_sealed_that_it_deletes_itself() {
    everywhere(&quiet(Options::default()), async |db, world| {
        fill(&db, 0..100, 20).await;
        db.delete_range(name(10)..).await.unwrap();
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        let tree = db.tree().await.unwrap();
        assert_eq!((tree.runs.len(), tree.runs[0].segments[0].entries), (1, 10));
        assert_eq!(db.stats().range_tombstones, 0, "nothing older is there to hide");
        assert_sound(&db).await;
        fill(&db, 200..300, 20).await;
        db.clear().await.unwrap();
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        assert_eq!((db.tree().await.unwrap().runs.len(), db.stats().range_tombstones), (1, 1));
        assert_eq!(keys(db.scan(..)).await, Vec::<Bytes>::new());
        db.compact().await.unwrap();
        assert_eq!(db.stats().segment_bytes, 0);
        db.close().await.unwrap();
    });
}

#[test]
fn the_background_gives_the_space_back() {
    everywhere(&small_options(), async |db, _| {
        fill(&db, 0..3000, 20).await;
        let live = db.stats().segment_bytes;
        db.delete_range(name(100)..name(2900)).await.unwrap();
        fill(&db, 5000..5200, 20).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let stats = db.stats();
        assert!(stats.segment_bytes < live / 3, "{} of {live} bytes", stats.segment_bytes);
        assert_eq!(keys(db.scan(..)).await.len(), 400);
        db.close().await.unwrap();
    });
}

/// Any range, however written, against a model; the longest keys and bounds beyond them too.
#[test]
fn ranges_of_all_forms_delete_what_they_hold() {
    everywhere(&small_options(), async |db, world| {
        let mut db = db;
        let mut random = Random::new(11);
        let mut model = BTreeMap::new();
        let key = |random: &mut Random| match random.below(12) {
            0 => Vec::new(),
            1 => vec![0xff; 64 << 10],
            2 => [vec![b'm'; (64 << 10) - 1], vec![random.below(2) as u8]].concat(),
            3 => vec![0xff; random.below(3) as usize],
            _ => (0..random.below(3)).map(|_| b'k' + random.below(4) as u8).collect(),
        };
        // A bound may be longer than any key.
        let bound = |random: &mut Random, key: Vec<u8>| match random.below(8) {
            0 => Bound::Unbounded,
            1 => Bound::Included([key, vec![0; 70 << 10]].concat()),
            2 => Bound::Excluded([key, vec![0; 70 << 10]].concat()),
            3..6 => Bound::Included(key),
            _ => Bound::Excluded(key),
        };
        for round in 0..400_u64 {
            if random.chance(70) {
                let (key, value) = (key(&mut random), round.to_le_bytes());
                db.put_with(&key, value, DEFERRED).await.unwrap();
                model.insert(key, Bytes::copy_from_slice(&value));
                continue;
            }
            let (start, end) = (key(&mut random), key(&mut random));
            let range = KeyRange::from((bound(&mut random, start), bound(&mut random, end)));
            db.delete_range_with(range.clone(), DEFERRED).await.unwrap();
            model.retain(|key, _| !range.contains(key));
            let expected: Vec<_> = model.keys().map(|key| Bytes::from(key.clone())).collect();
            assert_eq!(keys(db.scan(..)).await, expected, "after {range:?}");
            let backward = keys(db.scan(..).rev()).await;
            assert!(backward.iter().eq(expected.iter().rev()));
            for key in (0..10).map(|_| key(&mut random)) {
                assert_eq!(db.get(&key).await.unwrap(), model.get(&key).cloned());
            }
            match random.below(12) {
                0 => drop(db.compact().await.unwrap()),
                1 => {
                    db.close().await.unwrap();
                    db = world.open().await.unwrap();
                }
                _ => {}
            }
        }
        assert_sound(&db).await;
        db.close().await.unwrap();
    });
}

#[test]
fn snapshots_go_on_showing_what_was_deleted() {
    everywhere(&small_options(), async |db, _| {
        fill(&db, 0..500, 30).await;
        let all = db.snapshot();
        db.delete_range(name(100)..name(400)).await.unwrap();
        let some = db.snapshot();
        fill(&db, 200..210, 30).await;
        let more = db.snapshot();
        db.clear().await.unwrap();
        for round in 0..3 {
            assert_eq!(keys(all.scan(..)).await.len(), 500);
            assert_eq!(keys(some.scan(..).rev()).await.len(), 200);
            assert_eq!(keys(more.scan(name(150)..).keys_only()).await.len(), 110);
            assert!(all.contains(name(300)).await.unwrap() && !some.contains(name(300)).await.unwrap());
            assert!(more.contains(name(205)).await.unwrap() && !more.contains(name(100)).await.unwrap());
            assert_eq!(keys(db.scan(..)).await.len(), 0);
            if round == 0 {
                fill(&db, 9000..9500, 30).await;
                db.delete_prefix("key009").await.unwrap();
            }
            db.compact().await.unwrap();
        }
        db.close().await.unwrap();
    });
}

/// Whether the second of two transactions, begun together, is refused after the first has committed.
async fn refused(db: &Db, isolation: Isolation, first: &str, second: &str) -> bool {
    let options = TransactionOptions { isolation, ..TransactionOptions::default() };
    let (one, two) = (db.begin_with(options), db.begin_with(options));
    for (transaction, deeds) in [(&one, first), (&two, second)] {
        for deed in deeds.split(", ") {
            let (verb, key) = deed.split_once(' ').unwrap();
            match (verb, key.split_once("..")) {
                ("get", _) => drop(transaction.get(key).await.unwrap()),
                ("put", _) => transaction.put(key, "1").unwrap(),
                ("delete", Some((start, end))) => transaction.delete_range(start..end).unwrap(),
                ("scan", Some((start, end))) => drop(keys(transaction.scan(start..end)).await),
                _ => panic!("{deed}"),
            }
        }
    }
    one.commit().await.unwrap();
    match two.commit().await {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            true
        }
    }
}

#[test]
fn transactions_conflict_where_a_deleted_range_touches_what_they_rest_on() {
    everywhere(&small_options(), async |db, _| {
        for (first, second, serializable, snapshot) in [
            ("delete b..d", "get b, put x", true, false),
            ("delete b..d", "get c, put x", true, false),
            ("delete b..d", "get d, put x", false, false),
            ("delete b..d", "get a, get e, put x", false, false),
            ("delete b..d", "scan a..b, put x", false, false),
            ("delete b..d", "scan a..bb, put x", true, false),
            ("delete b..d", "scan c..cc, put x", true, false),
            ("delete b..d", "scan d..e, put x", false, false),
            ("delete b..d", "put c", false, true),
            ("delete b..d", "put d", false, false),
            ("put c", "delete b..d", false, true),
            ("put d", "delete b..d", false, false),
            ("delete b..d", "delete c..e", false, true),
            ("delete b..d", "delete d..e", false, false),
            ("put c", "delete b..d, get c", false, true),
        ] {
            let both = (
                refused(&db, Isolation::Serializable, first, second).await,
                refused(&db, Isolation::Snapshot, first, second).await,
            );
            assert_eq!(both, (serializable, snapshot), "{first} before {second}");
        }
        db.close().await.unwrap();
    });
}

#[test]
fn a_transaction_sees_what_it_has_deleted_itself() {
    everywhere(&small_options(), async |db, _| {
        fill(&db, 0..200, 30).await;
        let transaction = db.begin();
        transaction.put(name(60), "own").unwrap();
        transaction.delete_range(name(50)..name(150)).unwrap();
        transaction.put(name(70), "later").unwrap();
        transaction.delete_prefix("key00018").unwrap();
        transaction.delete_range(name(9)..name(9)).unwrap();
        let expected: Vec<u64> = (0..50).chain([70]).chain(150..180).chain(190..200).collect();
        let expected: Vec<_> = expected.into_iter().map(|n| Bytes::from(name(n))).collect();
        assert_eq!(keys(transaction.scan(..)).await, expected);
        assert!(keys(transaction.scan(..).rev()).await.iter().eq(expected.iter().rev()));
        assert_eq!(transaction.get(name(60)).await.unwrap(), None);
        assert_eq!(transaction.get(name(70)).await.unwrap().as_deref(), Some(&b"later"[..]));
        assert!(db.contains(name(60)).await.unwrap());
        transaction.commit().await.unwrap();
        assert_eq!(keys(db.scan(..)).await, expected);
        // It is all that it did.
        let transaction = db.begin();
        transaction.delete_range(..).unwrap();
        assert_eq!(keys(transaction.scan(..)).await.len(), 0);
        transaction.commit().await.unwrap();
        assert_eq!(keys(db.scan(..)).await.len(), 0);
        db.close().await.unwrap();
    });
}

/// What is deleted is leaped over: a scan does not look at all of it.
#[test]
fn scans_leap_over_what_is_deleted() {
    process(async {
        let mut world = World::new(Store::memory(true), quiet(Options::default()), 3);
        let db = world.open().await.unwrap();
        fill(&db, 0..100_000, 10).await;
        db.compact().await.unwrap();
        db.delete_range(name(5)..name(99_995)).await.unwrap();
        for scan in [db.scan(..), db.scan(..).rev(), db.scan(..).keys_only(), db.scan(name(1000)..)] {
            let mut scan = scan;
            let mut pauses = 0;
            let mut found = 0;
            // A scan pauses after every thousand records that it has looked at.
            loop {
                let next = poll_fn(|cx| Poll::Ready(Pin::new(&mut scan).poll_next(cx))).await;
                match next {
                    Poll::Ready(Some(entry)) => found += usize::from(entry.is_ok()),
                    Poll::Ready(None) => break,
                    Poll::Pending => pauses += 1,
                }
            }
            assert!(found == 10 || found == 5, "{found}");
            assert!(pauses < 5, "{pauses} pauses");
        }
        db.close().await.unwrap();
    });
}

/// Very many range deletes take room in memory and in the manifest only for as long as something lies under them.
#[test]
fn many_range_deletes_stay_bounded() {
    process(async {
        let options = Options { segment_bytes_max: 256 << 10, ..Options::default() };
        let mut world = World::new(Store::memory(true), options, 3);
        let db = world.open().await.unwrap();
        fill(&db, 0..20_000, 10).await;
        for chunk in (0..40_000_u64).collect::<Vec<_>>().chunks(500) {
            let range = |n: u64| name(n)..format!("{}/", name(n));
            let batch = chunk.iter().fold(WriteBatch::new(), |batch, &n| batch.delete_range(range(n)));
            db.write_with(batch, DEFERRED).await.unwrap();
            assert!(db.stats().memtable_records < 40_000);
        }
        for n in (0..20_000).step_by(997) {
            assert!(!db.contains(name(n)).await.unwrap());
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let stats = db.stats();
        assert!(stats.range_tombstone_bytes < 2 << 20, "{} bytes", stats.range_tombstone_bytes);
        assert_eq!(keys(db.scan(..)).await.len(), 0);
        db.close().await.unwrap();
    });
}

/// A watch tells of a range delete what it deletes of the keys that are watched.
#[test]
fn watches_tell_of_range_deletes() {
    process(async {
        let mut world = World::new(Store::memory(true), quiet(Options::default()), 3);
        let db = world.open().await.unwrap();
        db.put("b1", "1").await.unwrap();
        db.delete_range("a".."b5").await.unwrap();
        db.delete_range("c"..).await.unwrap();
        db.write(WriteBatch::new().delete_range(..).put("b2", "2")).await.unwrap();
        let commits: Vec<_> = db.watch("b", 1).take(3).try_collect().await.unwrap();
        let shown = |change: &halite::Change| (change.range.clone(), change.key.clone());
        let changes: Vec<_> = commits.iter().flat_map(|commit| commit.changes.iter().map(shown)).collect();
        let range = |end: &'static str| Some(KeyRange::from("b"..end));
        let key = |key: &'static str| Bytes::from(key);
        assert_eq!(changes, [(None, key("b1")), (range("b5"), key("b")), (range("c"), key("b")), (None, key("b2"))]);
        db.close().await.unwrap();
    });
}

/// What was deleted does not come back by a repair, be the range delete sealed or in the log.
#[test]
fn a_repair_brings_nothing_deleted_back() {
    everywhere(&quiet(Options::default()), async |db, world| {
        fill(&db, 0..100, 20).await;
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        db.delete_range(name(10)..name(40)).await.unwrap();
        db.close().await.unwrap();
        let db = world.open().await.unwrap();
        db.delete_range(name(60)..).await.unwrap();
        db.put(name(70), "again").await.unwrap();
        let expected = keys(db.scan(..)).await;
        assert_eq!(expected.len(), 31);
        db.flush().await.unwrap();
        db.close().await.unwrap();
        let target = Store::memory(true).backend();
        let report = halite::repair(world.store.backend(), target.clone()).await.unwrap();
        assert_eq!((report.keys, report.losses.len()), (31, 0));
        let db = Db::builder(target).open().await.unwrap();
        assert_eq!(keys(db.scan(..)).await, expected);
        db.close().await.unwrap();
    });
}
