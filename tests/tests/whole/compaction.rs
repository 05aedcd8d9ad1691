//! Compaction at a limited rate: how far it is, how it is given up, and how many runs it leaves.
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use futures::TryStreamExt;
use halite::{CompactOptions, Db, Durability, ErrorKind, Options, WriteOptions};
use halite_tests::world::{Store, World, assert_sound, process, read_all};
use std::num::NonZeroU64;
use std::time::Duration;
use tokio::time::Instant;

const DEFERRED: WriteOptions = WriteOptions { durability: Durability::Deferred, ttl: None };

fn worlds(options: Options) -> [World; 2] {
    [true, false].map(|append| World::new(Store::memory(append), options.clone(), 3))
}

fn quiet() -> Options {
    Options { merge_in_background: false, segment_bytes_max: 16 << 10, ..Options::default() }
}

async fn fill(db: &Db, rounds: u32) {
    for number in 0..rounds * 1000 {
        db.put_with(format!("key {:04}", number % 1000), vec![number as u8; 100], DEFERRED).await.unwrap();
    }
    db.flush().await.unwrap();
}

fn at_rate(rate: u64) -> CompactOptions {
    CompactOptions { bytes_per_second: NonZeroU64::new(rate) }
}

#[test]
fn it_keeps_to_its_rate_and_tells_how_far_it_is() {
    for mut world in worlds(quiet()) {
        process(async {
            let db = world.open().await.unwrap();
            fill(&db, 3).await;
            let begun = Instant::now();
            let compacting = tokio::spawn({
                let db = db.clone();
                async move { db.compact_with(at_rate(20_000)).await.unwrap() }
            });
            let mut told = Vec::new();
            while !compacting.is_finished() {
                tokio::time::sleep(Duration::from_millis(200)).await;
                told.extend(db.stats().merging);
            }
            let report = compacting.await.unwrap();
            let seconds = begun.elapsed().as_secs_f64();
            let expected = report.bytes_after as f64 / 20_000.0;
            assert!(
                (0.7 * expected..1.1 * expected).contains(&seconds),
                "{seconds} s for {} bytes",
                report.bytes_after
            );
            assert!(told.len() > 10 && told.windows(2).all(|two| two[0].records_done <= two[1].records_done));
            let (first, last) = (told[told.len() / 4], told[told.len() - 1]);
            assert!(first.records_done > 0 && last.records_done <= last.records_total, "{last:?}");
            assert_eq!(last.records_total, report.records_in);
            let end = first.elapsed + first.remaining().unwrap();
            assert!((0.5..2.0).contains(&(end.as_secs_f64() / seconds)), "{first:?} of {seconds} s");
            assert!(db.stats().merging.is_none());
            db.close().await.unwrap();
        });
    }
}

#[test]
fn one_that_is_cancelled_leaves_everything_as_it_was() {
    for mut world in worlds(quiet()) {
        process(async {
            let db = world.open().await.unwrap();
            fill(&db, 3).await;
            let before = read_all(&db).await.unwrap();
            let compacting = tokio::spawn({
                let db = db.clone();
                async move { db.compact_with(at_rate(20_000)).await }
            });
            tokio::time::sleep(Duration::from_secs(2)).await;
            let stats = db.stats();
            assert!(stats.merging.is_some());
            db.cancel_compaction();
            let error = compacting.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert_eq!((db.stats().segment_bytes, db.stats().segments), (stats.segment_bytes, stats.segments));
            assert_eq!(read_all(&db).await.unwrap(), before);
            let files: Vec<_> = world.store.backend().list("segments").try_collect().await.unwrap();
            let named = db.stats().segments;
            assert!(
                (named..=named + 1).contains(&(files.len() as u64)),
                "what it wrote is not gone; the log may be there"
            );
            // It was that one only.
            assert!(db.compact().await.unwrap().dropped_superseded > 0);
            assert_eq!(read_all(&db).await.unwrap(), before);
            assert_sound(&db).await;
            db.close().await.unwrap();
        });
    }
}

/// A database that closes does not wait for a merge that takes its time.
#[test]
fn closing_gives_up_a_slow_merge() {
    for mut world in worlds(quiet()) {
        process(async {
            let db = world.open().await.unwrap();
            fill(&db, 3).await;
            let compacting = tokio::spawn({
                let db = db.clone();
                async move { db.compact_with(at_rate(10)).await }
            });
            tokio::time::sleep(Duration::from_secs(100)).await;
            let begun = Instant::now();
            db.close().await.unwrap();
            assert!(begun.elapsed() < Duration::from_secs(2));
            assert_eq!(compacting.await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        });
    }
}

#[test]
fn there_are_never_too_many_runs_for_long() {
    let options = Options { runs_max: 5, merge_in_background: true, ..quiet() };
    // Where memory holds no keys, a quarter as many.
    let asked = Options { runs_max: 20, memory_budget: Some(0), ..options.clone() };
    for mut world in worlds(options).into_iter().chain(worlds(asked)) {
        process(async {
            let db = world.open().await.unwrap();
            for number in 0..20_000 {
                db.put_with(format!("key {number:05}"), [7; 100], DEFERRED).await.unwrap();
                tokio::task::yield_now().await;
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
            let stats = db.stats();
            assert!(stats.runs <= 5 && stats.segments > 50, "{} runs of {} segments", stats.runs, stats.segments);
            assert!(stats.merge_bytes_written < 12 * stats.segment_bytes, "{stats:?}");
            assert_eq!(db.scan(..).try_fold(0, |count, _| async move { Ok(count + 1) }).await.unwrap(), 20_000);
            db.close().await.unwrap();
        });
    }
}

#[test]
fn a_host_may_drive_the_background_itself() {
    for mut world in worlds(quiet()) {
        process(async {
            let db = world.open().await.unwrap();
            fill(&db, 6).await;
            let before = (db.stats().segment_bytes, read_all(&db).await.unwrap());
            assert!(!db.maintain(Duration::ZERO).await.unwrap(), "that was not enough");
            while !db.maintain(Duration::from_millis(1)).await.unwrap() {}
            let after = db.stats();
            assert!(after.segment_bytes < before.0 / 2 && after.merges > 1, "{} then {after:?}", before.0);
            assert_eq!(read_all(&db).await.unwrap(), before.1);
            let files: Vec<_> = world.store.backend().list("segments").try_collect().await.unwrap();
            assert!(files.len() as u64 <= after.segments + 1, "{files:?}");
            let merges = after.merges;
            assert!(db.maintain(Duration::from_secs(1)).await.unwrap());
            assert_eq!(db.stats().merges, merges, "there was nothing left to do");
            db.close().await.unwrap();
            assert_eq!(db.maintain(Duration::from_secs(1)).await.unwrap_err().kind(), ErrorKind::Closed);
        });
    }
}
