//! Walks over many runs in an object store, with little memory.

use super::{HELD, PEAK, alone};
use futures::TryStreamExt;
use halite::backends::opendal::{Operator, services};
use halite::backends::{Backend, Objects, ObjectsOptions};
use halite::{Db, Options, WriteBatch};
use halite_tests::far::Far;
use halite_tests::world::process;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Runs, each of which has keys everywhere, and of each two MiB.
const RUNS: u64 = 24;
const RECORDS: u64 = 8000;
const VALUE_LEN: usize = 250;
/// Memory for who reads them.
const BUDGET: u64 = 4 << 20;

fn handle(bucket: &Operator) -> Arc<dyn Backend> {
    Arc::new(Objects::new(bucket.clone(), ObjectsOptions::default()))
}

fn options(memory_budget: u64) -> Options {
    Options {
        memory_budget: Some(memory_budget),
        refresh_interval: None,
        merge_in_background: false,
        ..Options::default()
    }
}

/// What who has more memory leaves unmerged.
async fn unmerged() -> Operator {
    let bucket = Operator::new(services::Memory::default()).unwrap();
    for run in 0..RUNS {
        let db = Db::builder(handle(&bucket)).options(options(1 << 30)).open().await.unwrap();
        for first in (0..RECORDS).step_by(1000) {
            let put = |batch: WriteBatch, n| batch.put(format!("{n:06} {run:02}"), [n as u8; VALUE_LEN]);
            db.write((first..first + 1000).fold(WriteBatch::new(), put)).await.unwrap();
        }
        db.close().await.unwrap();
    }
    bucket
}

/// Without its share, each run had half a MiB that was walked over and more than one MiB that was read ahead: all of it. And all of
/// them asked at once, each through a connection that has buffers of its own.
#[test]
fn a_scan_of_many_runs_holds_little_of_each() {
    let _alone = alone();
    process(async {
        let bucket = unmerged().await;
        let far = Far::new(handle(&bucket), Duration::from_millis(20));
        let reader = Db::builder(Arc::new(far.clone())).options(options(BUDGET)).open_read_only().await.unwrap();
        assert_eq!(reader.stats().unwrap().runs, RUNS);
        let before = HELD.load(Ordering::Relaxed);
        // What is kept of what was read leaves room for walks.
        for number in (0..RECORDS).step_by(5) {
            assert!(reader.get(format!("{number:06} 07")).await.unwrap().is_some());
        }
        for _ in 0..2 {
            PEAK.store(HELD.load(Ordering::Relaxed), Ordering::Relaxed);
            let (mut scan, mut count, mut most) = (reader.scan(..), 0, 0);
            while scan.try_next().await.unwrap().is_some() {
                count += 1;
                if count % 1000 == 0 {
                    most = reader.stats().unwrap().memory_bytes.max(most);
                }
            }
            assert_eq!(count, RUNS * RECORDS);
            let peak = PEAK.load(Ordering::Relaxed) - before;
            assert!(peak < BUDGET as usize, "{peak} bytes at once");
            assert!(most < BUDGET, "{most} bytes of memory are told of");
        }
        assert!(far.at_once() <= 4, "{} requests at once", far.at_once());
        reader.close().await;
    });
}

/// Also of the first merge, before which no segment was met.
#[test]
fn what_is_merged_is_as_short_as_memory_is_small() {
    let _alone = alone();
    process(async {
        let bucket = unmerged().await;
        let db = Db::builder(handle(&bucket)).options(options(BUDGET)).open().await.unwrap();
        db.compact().await.unwrap();
        let stats = db.stats();
        assert_eq!((stats.runs, stats.records), (1, RUNS * RECORDS));
        assert!(stats.segments >= RUNS * RECORDS * VALUE_LEN as u64 / BUDGET * 3, "{} segments", stats.segments);
        db.close().await.unwrap();
    });
}
