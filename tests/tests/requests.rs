//! What the engine asks of an object store, request by request: each has its price, and its latency.
//!
//! OpenDAL's store in memory stands for a real one; the backend counts alike on both.
#![allow(clippy::unwrap_used)]

use futures::future::join_all;
use halite::backends::opendal::{Operator, services};
use halite::backends::{Backend, Objects, ObjectsOptions, Purpose, RequestKind, Traffic};
use halite::{Db, Durability, Options, Prices, ReadOnly, WriteOptions};
use halite_tests::world::process;
use std::sync::Arc;
use std::time::Duration;

/// A bucket, and handles on it that count from zero.
struct Bucket(Operator);

impl Bucket {
    fn new() -> Bucket {
        Bucket(Operator::new(services::Memory::default()).unwrap())
    }

    fn handle(&self) -> Arc<dyn Backend> {
        Arc::new(Objects::new(self.0.clone(), ObjectsOptions::default()))
    }

    async fn open(&self) -> (Db, Arc<dyn Backend>) {
        let handle = self.handle();
        (Db::builder(handle.clone()).options(options()).open().await.unwrap(), handle)
    }

    async fn reader(&self) -> (ReadOnly, Arc<dyn Backend>) {
        let handle = self.handle();
        (Db::builder(handle.clone()).options(options()).open_read_only().await.unwrap(), handle)
    }
}

fn options() -> Options {
    Options { refresh_interval: None, merge_in_background: false, ..Options::default() }
}

/// Requests without deletes, which cost nothing, and without heads: OpenDAL's memory tells no lengths in a list, so that each
/// is asked for.
fn asked(traffic: &Traffic) -> u64 {
    traffic.total() - traffic.count(RequestKind::Delete) - traffic.count(RequestKind::Head)
}

fn puts(traffic: &Traffic, purpose: Purpose) -> u64 {
    let of = |requests: &&halite::backends::Requests| (requests.kind, requests.purpose) == (RequestKind::Put, purpose);
    traffic.requests.iter().filter(of).map(|requests| requests.count).sum()
}

/// Lets all that goes on in the background come to its end.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(10)).await;
}

#[test]
fn an_idle_database_sends_nothing() {
    process(async {
        let bucket = Bucket::new();
        let (db, handle) = bucket.open().await;
        db.put("a", "1").await.unwrap();
        settle().await;
        let before = handle.traffic();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(handle.traffic(), before);
        db.close().await.unwrap();
    });
}

#[test]
fn a_commit_is_one_request_and_commits_share_them() {
    process(async {
        let bucket = Bucket::new();
        let (db, handle) = bucket.open().await;
        settle().await;
        let before = handle.traffic();
        for n in 0..20 {
            db.put(format!("{n}"), "1").await.unwrap();
        }
        let after = handle.traffic();
        assert_eq!(asked(&after) - asked(&before), 20, "{after:?}");
        assert_eq!(puts(&after, Purpose::Log) - puts(&before, Purpose::Log), 20);

        // Who comes while others wait shares their object.
        let all = join_all((0..500).map(|n| db.put(format!("many {n}"), "1"))).await;
        all.into_iter().for_each(|put| put.unwrap());
        let together = handle.traffic();
        assert!(asked(&together) - asked(&after) <= 4, "{together:?}");
        db.close().await.unwrap();
    });
}

#[test]
fn deferred_writing_is_one_request_an_interval() {
    process(async {
        let bucket = Bucket::new();
        let (db, handle) = bucket.open().await;
        settle().await;
        let before = handle.traffic();
        let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
        for n in 0..2000 {
            db.put_with(format!("{n}"), "1", deferred).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let sent = asked(&handle.traffic()) - asked(&before);
        // Two seconds at 100 ms.
        assert!((15..=21).contains(&sent), "{sent}");
        db.close().await.unwrap();
    });
}

/// A store of `segments` sealed segments whose log holds `fragments` fragments, as a crash leaves it.
fn crashed(bucket: &Bucket, segments: u32, fragments: u32) {
    process(async {
        let (db, _) = bucket.open().await;
        for segment in 0..segments {
            for n in 0..50 {
                db.put(format!("{n:03} {segment}"), [7; 100]).await.unwrap();
            }
            db.checkpoint(&format!("{segment}")).await.unwrap();
        }
        for n in 0..fragments {
            db.put(format!("unsealed {n}"), "1").await.unwrap();
        }
        std::mem::forget(db);
    });
}

#[test]
fn a_cold_opening_asks_little_whatever_the_size() {
    for segments in [1, 12] {
        let fragments = 5;
        let bucket = Bucket::new();
        crashed(&bucket, segments, fragments);
        process(async {
            let (reader, handle) = bucket.reader().await;
            let opened = handle.traffic();
            assert!(asked(&opened) <= 4 + u64::from(fragments), "{segments} segments: {opened:?}");
            assert!(reader.get("unsealed 4").await.unwrap().is_some());
            assert_eq!(handle.traffic(), opened, "it is in memory");
            let cold = reader.get("007 0").await.unwrap();
            assert!(cold.is_some());
        });
        process(async {
            let (db, handle) = bucket.open().await;
            let opened = handle.traffic();
            assert!(asked(&opened) <= WRITER_MAX + u64::from(fragments), "{segments} segments: {opened:?}");
            settle().await;
            let lists = |traffic: &Traffic| traffic.count(RequestKind::List);
            assert_eq!(lists(&handle.traffic()), lists(&opened), "leftovers are not looked for anew");
            assert!(db.get("unsealed 4").await.unwrap().is_some());
            db.close().await.unwrap();
        });
        process(async {
            let (_, handle) = bucket.reader().await;
            assert!(asked(&handle.traffic()) <= 4, "{:?}", handle.traffic());
        });
    }
}

/// Requests of an opening for writing after a crash, beside one for each fragment of the log: look what is there, read the
/// newest manifest, claim, and look again; fence the log; write what was replayed, publish it, and look again.
const WRITER_MAX: u64 = 8;

#[test]
fn a_point_read_is_one_request_where_the_index_is_known() {
    let bucket = Bucket::new();
    const KEYS: u64 = 2000;
    process(async {
        let (db, _) = bucket.open().await;
        for n in 0..KEYS {
            db.put_with(
                format!("{n:06}"),
                [7; 300],
                WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() },
            )
            .await
            .unwrap();
        }
        db.close().await.unwrap();
    });
    process(async {
        let (db, handle) = bucket.open().await;
        db.loaded().await.unwrap();
        settle().await;
        let before = handle.traffic();
        for n in (0..KEYS).step_by(10) {
            assert!(db.get(format!("{n:06}")).await.unwrap().is_some());
        }
        let read = asked(&handle.traffic()) - asked(&before);
        assert!(read * 100 <= KEYS / 10 * 105, "{read} requests for {} reads", KEYS / 10);
        for n in 0..1000 {
            assert!(db.get(format!("{n} absent")).await.unwrap().is_none());
        }
        let absent = asked(&handle.traffic()) - asked(&before) - read;
        assert!(absent <= 10, "{absent} requests for 1000 absent keys");
        let cost = Prices::default().estimate(&db.stats());
        assert!(cost.requests > 0.0 && cost.kept_a_month > 0.0, "{cost:?}");
        db.close().await.unwrap();
    });
}
