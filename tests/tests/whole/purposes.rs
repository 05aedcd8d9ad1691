//! What requests to an object store are for: each counts for one purpose, and keeps within the limit of that purpose.
//!
//! OpenDAL's store in memory stands for a real one; the backend counts alike on both.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use futures::future::join_all;
use halite::backends::opendal::{Operator, services};
use halite::backends::{Backend, Limit, Objects, ObjectsOptions, Purpose, RequestKind};
use halite::{Db, Limits, Options, VerifyOptions};
use halite_tests::far::Far;
use halite_tests::world::process;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

fn bucket() -> Operator {
    Operator::new(services::Memory::default()).unwrap()
}

fn handle(bucket: &Operator) -> Arc<dyn Backend> {
    Arc::new(Objects::new(bucket.clone(), ObjectsOptions::default()))
}

fn options() -> Options {
    Options { refresh_interval: None, merge_in_background: false, ..Options::default() }
}

/// What was asked of `store`, and is forgotten.
struct Asked {
    store: Arc<dyn Backend>,
    before: Vec<(Purpose, RequestKind, u64, u64)>,
}

impl Asked {
    fn of(store: &Arc<dyn Backend>) -> Asked {
        let mut asked = Asked { store: store.clone(), before: Vec::new() };
        asked.since();
        asked
    }

    /// Requests and bytes since this was called last, by purpose and kind: those of which there were any.
    fn since(&mut self) -> Vec<(Purpose, RequestKind, u64, u64)> {
        let now: Vec<_> =
            self.store.traffic().requests.iter().map(|row| (row.purpose, row.kind, row.count, row.bytes)).collect();
        let before = std::mem::replace(&mut self.before, now.clone());
        let was = |purpose, kind| {
            before.iter().find(|row| (row.0, row.1) == (purpose, kind)).map_or((0, 0), |row| (row.2, row.3))
        };
        let grown = now.into_iter().map(|(purpose, kind, count, bytes)| {
            let was = was(purpose, kind);
            (purpose, kind, count - was.0, bytes - was.1)
        });
        grown.filter(|row| row.2 > 0).collect()
    }

    /// For which purposes something was asked since then, but for looking how long what was listed is: OpenDAL's memory does not
    /// say.
    fn purposes(&mut self) -> Vec<Purpose> {
        let mut purposes: Vec<_> =
            self.since().iter().filter(|row| row.1 != RequestKind::Head).map(|row| row.0).collect();
        purposes.sort_by_key(|purpose| *purpose as u8);
        purposes.dedup();
        purposes
    }
}

/// Requests and bytes of `kind` for `purpose` among `rows`.
fn sum(rows: &[(Purpose, RequestKind, u64, u64)], purpose: Purpose, kind: RequestKind) -> (u64, u64) {
    rows.iter().find(|row| (row.0, row.1) == (purpose, kind)).map_or((0, 0), |row| (row.2, row.3))
}

/// Lets all that goes on in the background come to its end.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

#[test]
fn each_request_counts_for_what_it_is_for() {
    let bucket = bucket();
    process(async {
        let store = handle(&bucket);
        let mut asked = Asked::of(&store);
        // No room for keys in memory: what is not asked for is not read.
        let options = Options { memory_budget: Some(0), segment_bytes_max: 1 << 20, ..options() };
        let db = Db::builder(store.clone()).options(options).open().await.unwrap();
        settle().await;
        assert_eq!(asked.purposes(), [Purpose::Open, Purpose::Publish]);

        for n in 0..3 {
            db.put(format!("{n}"), "1").await.unwrap();
        }
        let rows = asked.since();
        assert_eq!((rows.len(), sum(&rows, Purpose::Commit, RequestKind::Put).0), (1, 3), "{rows:?}");

        // Two segments; the fragments that they were written from go.
        for round in 0..2 {
            join_all((0..2000).map(|n| db.put(format!("{n:04}"), vec![round; 200]))).await;
            db.checkpoint(&format!("{round}")).await.unwrap();
            settle().await;
        }
        let rows = asked.since();
        let sealed = db.stats().segment_bytes;
        assert_eq!(sum(&rows, Purpose::Seal, RequestKind::Put).1, sealed, "{rows:?}");
        let purposes: Vec<_> = rows.iter().map(|row| row.0).collect();
        let expected = [Purpose::Commit, Purpose::Seal, Purpose::Merge, Purpose::Publish, Purpose::Collect];
        assert!(purposes.iter().all(|purpose| expected.contains(purpose)), "{rows:?}");
        assert!(
            expected.iter().filter(|purpose| **purpose != Purpose::Merge).all(|purpose| purposes.contains(purpose)),
            "{rows:?}"
        );

        assert!(db.get("0000").await.unwrap().is_some());
        db.scan(..).try_collect::<Vec<_>>().await.unwrap();
        assert_eq!(asked.purposes(), [Purpose::Read]);

        db.compact().await.unwrap();
        settle().await;
        let rows = asked.since();
        let merged = db.stats().segment_bytes;
        assert!(merged < sealed);
        assert_eq!(sum(&rows, Purpose::Merge, RequestKind::Put).1, merged, "{rows:?}");
        assert!(sum(&rows, Purpose::Merge, RequestKind::Get).1 > merged, "{rows:?}");
        assert_eq!(sum(&rows, Purpose::Read, RequestKind::Get), (0, 0), "{rows:?}");
        asked.since();

        let all = VerifyOptions { digests: true, ..VerifyOptions::default() };
        assert!(db.verify_with(all, |_| {}).await.unwrap().damage.is_empty());
        assert_eq!(asked.purposes(), [Purpose::Verify]);
        let elsewhere = handle(&self::bucket());
        db.clone_to(elsewhere.clone()).await.unwrap();
        assert_eq!(asked.purposes(), [Purpose::Copy]);
        assert_eq!(Asked { store: elsewhere, before: Vec::new() }.purposes(), [Purpose::Copy]);
        db.collect().await.unwrap();
        assert_eq!(asked.purposes(), [Purpose::Collect]);
        let db = db.reopen().await.unwrap();
        settle().await;
        assert_eq!(asked.purposes(), [Purpose::Open, Purpose::Publish]);

        let beside = handle(&bucket);
        let mut asked = Asked::of(&beside);
        let reader = Db::builder(beside.clone()).options(self::options()).open_read_only().await.unwrap();
        assert_eq!(asked.purposes(), [Purpose::Open]);
        db.put("new", "1").await.unwrap();
        assert!(reader.refresh().await.unwrap());
        assert_eq!(asked.purposes(), [Purpose::Follow]);
        assert!(reader.get("0001").await.unwrap().is_some());
        assert_eq!(asked.purposes(), [Purpose::Read]);
        reader.close().await;
        db.close().await.unwrap();
    });
}

/// A merge that may carry a mebibyte a second takes as long as that, and who reads meanwhile does not wait for it.
#[test]
fn merges_keep_within_their_limit_while_reads_go_on() {
    process(async {
        let far: Arc<dyn Backend> = Arc::new(Far::new(handle(&bucket()), Duration::from_millis(10)));
        let merge =
            Limit { bytes_per_second: NonZeroU64::new(1 << 20), at_once: NonZeroU32::new(2), ..Limit::default() };
        let limits = Limits { merge, ..Limits::default() };
        let options = Options { limits, memory_budget: Some(0), segment_bytes_max: 1 << 20, ..options() };
        let db = Db::builder(far.clone()).options(options).open().await.unwrap();
        for round in 0..2 {
            join_all((0..4000).map(|n| db.put(format!("{n:04}"), vec![round; 400]))).await;
        }
        db.flush().await.unwrap();
        settle().await;
        let mut asked = Asked::of(&far);
        let begun = Instant::now();
        let merging = tokio::spawn({
            let db = db.clone();
            async move { db.compact().await.map(|_| begun.elapsed()) }
        });
        let mut reads = 0;
        while !merging.is_finished() {
            let asked_at = Instant::now();
            assert!(db.get("1234").await.unwrap().is_some());
            assert!(asked_at.elapsed() < Duration::from_millis(300), "{:?}", asked_at.elapsed());
            reads += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = merging.await.unwrap().unwrap();
        let rows = asked.since();
        let carried = sum(&rows, Purpose::Merge, RequestKind::Get).1 + sum(&rows, Purpose::Merge, RequestKind::Put).1;
        let due = Duration::from_secs_f64(carried as f64 / f64::from(1 << 20));
        assert!(due > Duration::from_secs(4) && reads > 60, "{carried} bytes, {reads} reads");
        // The last part is not waited for.
        assert!(took >= due - Duration::from_secs(2) && took < due + Duration::from_secs(4), "{took:?}, {due:?} due");
        db.close().await.unwrap();
    });
}

/// Commits that are held up come to share objects: none is refused, and what was paid for is bounded.
#[test]
fn commits_that_are_held_up_share_objects() {
    process(async {
        let store = handle(&bucket());
        let commit = Limit { requests_per_second: NonZeroU32::new(2), ..Limit::default() };
        let options = Options { limits: Limits { commit, ..Limits::default() }, ..options() };
        let db = Db::builder(store.clone()).options(options).open().await.unwrap();
        settle().await;
        let mut asked = Asked::of(&store);
        let begun = Instant::now();
        let writers = (0..10).map(|writer| {
            let db = db.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    db.put(format!("{writer} {n}"), "1").await.unwrap();
                }
            })
        });
        join_all(writers).await.into_iter().for_each(|ended| ended.unwrap());
        let (objects, _) = sum(&asked.since(), Purpose::Commit, RequestKind::Put);
        let most = 2 + (begun.elapsed().as_secs_f64() * 2.0) as u64;
        assert!((10..=most).contains(&objects), "{objects} objects in {:?}", begun.elapsed());
        assert_eq!(db.scan(..).try_collect::<Vec<_>>().await.unwrap().len(), 100);
        db.close().await.unwrap();
    });
}
