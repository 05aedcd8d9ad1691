//! What the engine asks of an object store, request by request: each has its price, and its latency.
//!
//! OpenDAL's store in memory stands for a real one; the backend counts alike on both.
#![allow(clippy::unwrap_used)]

mod scans;
mod warm;

use futures::FutureExt;
use futures::future::join_all;
use halite::backends::opendal::{Operator, services};
use halite::backends::{Backend, Objects, ObjectsOptions, Purpose, RequestKind, Traffic};
use halite::{Db, Durability, ErrorKind, KeyRange, Options, Prices, ReadOnly, WarmOptions, WriteOptions};
use halite_tests::far::Far;
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
        assert_eq!(puts(&after, Purpose::Commit) - puts(&before, Purpose::Commit), 20);

        // Who comes while others wait shares their object.
        let all = join_all((0..500).map(|n| db.put(format!("many {n}"), "1"))).await;
        all.into_iter().for_each(|put| put.unwrap());
        let together = handle.traffic();
        assert!(asked(&together) - asked(&after) <= 4, "{together:?}");
        db.close().await.unwrap();
    });
}

/// However quick the store is: commits that are waited for share one request an interval, but for the first after a pause, and
/// with an interval of zero each goes by itself.
#[test]
fn synced_writing_is_one_request_an_interval() {
    for (interval, sent, slowest) in [(100, 21, 101), (0, 2000, 1)] {
        process(async {
            let bucket = Bucket::new();
            let options = Options { flush_interval: Duration::from_millis(interval), ..options() };
            let handle = bucket.handle();
            let db = Db::builder(handle.clone()).options(options).open().await.unwrap();
            settle().await;
            let before = handle.traffic();
            let put = async |n: u64| {
                tokio::time::sleep(Duration::from_millis(n)).await;
                let begun = tokio::time::Instant::now();
                db.put(format!("{n}"), "1").await.unwrap();
                begun.elapsed().as_millis()
            };
            let took = join_all((0..2000).map(put)).await;
            assert_eq!((took[0], took.into_iter().max() <= Some(slowest)), (0, true));
            let commits = |traffic: &Traffic| puts(traffic, Purpose::Commit);
            let found = commits(&handle.traffic()) - commits(&before);
            assert!((sent - 2..=sent).contains(&found), "{found}");
            // A flush does not wait.
            let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
            db.put_with("deferred", "1", deferred).await.unwrap();
            let begun = tokio::time::Instant::now();
            db.flush().await.unwrap();
            assert_eq!(begun.elapsed().as_millis(), 0);
            db.close().await.unwrap();
        });
    }
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

/// Where an object takes longer than the interval, commits of all levels that come meanwhile share one each interval, beside
/// those under way: so none waits for more than its own object and the interval.
#[test]
fn a_slow_store_is_sent_one_request_an_interval() {
    const LATENCY: Duration = Duration::from_millis(350);
    let bucket = Bucket::new();
    process(async {
        let handle = bucket.handle();
        let far = Far::new(handle.clone(), LATENCY);
        let db = Db::builder(Arc::new(far)).options(options()).open().await.unwrap();
        settle().await;
        let before = handle.traffic();
        let put = async |n: u64| {
            tokio::time::sleep(Duration::from_millis(n)).await;
            let durability = [Durability::Synced, Durability::Deferred, Durability::Written][n as usize % 3];
            let begun = tokio::time::Instant::now();
            db.put_with(format!("{n}"), "1", WriteOptions { durability, ttl: None }).await.unwrap();
            begun.elapsed()
        };
        let slowest = join_all((0..2000).map(put)).await.into_iter().max().unwrap();
        let sent = asked(&handle.traffic()) - asked(&before);
        assert!((19..=21).contains(&sent), "{sent}");
        let longest = LATENCY + options().flush_interval + Duration::from_millis(5);
        assert!(slowest <= longest, "{slowest:?}");
        db.close().await.unwrap();
    });
}

/// Writers who were answered together come back one after the other. The first of them does not take a request for itself, for
/// whose interval the others then wait: what they do takes the store's time, not twice that.
#[test]
fn who_was_answered_together_shares_the_next_request() {
    const LATENCY: Duration = Duration::from_millis(100);
    const ROUNDS: u64 = 20;
    let bucket = Bucket::new();
    process(async {
        let handle = bucket.handle();
        let db = Db::builder(Arc::new(Far::new(handle.clone(), LATENCY))).options(options()).open().await.unwrap();
        settle().await;
        let (before, begun) = (handle.traffic(), tokio::time::Instant::now());
        let task = async |n: u64| {
            for round in 0..ROUNDS {
                db.put(format!("{n} {round}"), "1").await.unwrap();
                tokio::time::sleep(Duration::from_micros(20 * n)).await;
            }
        };
        join_all((0..64).map(task)).await;
        let sent = puts(&handle.traffic(), Purpose::Commit) - puts(&before, Purpose::Commit);
        assert!((ROUNDS..=ROUNDS + 2).contains(&sent), "{sent}");
        let took = begun.elapsed();
        assert!(took < LATENCY * (ROUNDS as u32 + 4), "{took:?}");
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

const RECORDS: u64 = 4000;
const VALUE_LEN: usize = 2000;

/// A store of 8 MB in a run of a few segments.
fn merged(bucket: &Bucket) {
    process(async {
        let options = Options { segment_bytes_max: 3 << 20, ..options() };
        let db = Db::builder(bucket.handle()).options(options).open().await.unwrap();
        let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
        for n in 0..RECORDS {
            db.put_with(format!("{n:06}"), [n as u8; VALUE_LEN], deferred).await.unwrap();
        }
        db.compact().await.unwrap();
        assert_eq!(db.stats().runs, 1);
        assert!(db.stats().segments > 2);
        db.close().await.unwrap();
    });
}

/// A hundredth of a request for each run is the bar: one in 160 is what the filter of a run with all keys lets pass, and what is
/// counted here lies seven standard deviations below the bar.
#[test]
fn an_absent_key_among_others_costs_less_than_a_hundredth_of_a_request() {
    const ABSENT: u64 = 20_000;
    let bucket = Bucket::new();
    merged(&bucket);
    process(async {
        let (reader, handle) = bucket.reader().await;
        reader.warm(.., WarmOptions { records: false, ..WarmOptions::default() }).await.unwrap();
        let before = read(&handle.traffic()).0;
        for n in 0..ABSENT {
            assert!(reader.get(format!("{:06} {n}", n % RECORDS)).await.unwrap().is_none());
        }
        let requests = read(&handle.traffic()).0 - before;
        assert!(requests * 100 <= ABSENT, "{requests} requests for {ABSENT} absent keys");
        reader.close().await;
    });
}

/// Where memory does not hold the keys, a seal looks in some of what is older for what has died: in a few large requests.
#[test]
fn a_seal_beside_a_store_that_memory_does_not_hold_asks_for_little() {
    let bucket = Bucket::new();
    merged(&bucket);
    process(async {
        let options = Options { memory_budget: Some(64 << 10), segment_bytes_max: 256 << 10, ..options() };
        let handle = bucket.handle();
        let db = Db::builder(handle.clone()).options(options).open().await.unwrap();
        let before = read(&handle.traffic()).0;
        let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
        for n in (0..RECORDS).step_by(2) {
            db.put_with(format!("{n:06}"), [1; VALUE_LEN], deferred).await.unwrap();
        }
        db.checkpoint("sealed").await.unwrap();
        let (requests, stats) = (read(&handle.traffic()).0 - before, db.stats());
        assert!(stats.seals >= 16 && requests <= 26 * stats.seals, "{requests} requests for {} seals", stats.seals);
        let died = RECORDS / 2 * VALUE_LEN as u64;
        assert!((died / 2..died * 2).contains(&stats.dead_bytes), "{} of {died} bytes", stats.dead_bytes);
        db.close().await.unwrap();
    });
}

fn read(traffic: &Traffic) -> (u64, u64) {
    (traffic.count(RequestKind::Get), traffic.bytes(RequestKind::Get))
}

/// What `reader` asks the store for in order to read these records.
async fn reads(reader: &ReadOnly, handle: &Arc<dyn Backend>, records: impl Iterator<Item = u64>) -> u64 {
    let before = read(&handle.traffic()).0;
    for n in records {
        let value = reader.get(format!("{n:06}")).await.unwrap();
        assert_eq!(value.as_deref(), Some(&[n as u8; VALUE_LEN][..]));
    }
    read(&handle.traffic()).0 - before
}

/// From nothing: the end of the segment, with footer and filter; the index; the record.
#[test]
fn a_point_read_is_three_requests_where_nothing_is_known() {
    let bucket = Bucket::new();
    merged(&bucket);
    process(async {
        let (reader, handle) = bucket.reader().await;
        assert_eq!(reads(&reader, &handle, 1000..1001).await, 3);
        // What is not there is asked of the filter alone.
        let before = read(&handle.traffic()).0;
        assert!(reader.get(format!("{:06}?", RECORDS - 2)).await.unwrap().is_none());
        let found = read(&handle.traffic()).0 - before;
        assert!(found == 1 || found == 3, "{found}: three if the filter is wrong, as one in a hundred times");
        reader.close().await;
    });
}

/// A filter that memory does not hold is not read for each key: an index block and a record are shorter.
#[test]
fn what_memory_does_not_hold_is_not_read_again_for_each_key() {
    const KEYS: u64 = 40_000;
    let bucket = Bucket::new();
    process(async {
        let (db, _) = bucket.open().await;
        let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
        for n in 0..KEYS {
            db.put_with(format!("{n:06}"), [n as u8; 20], deferred).await.unwrap();
        }
        db.compact().await.unwrap();
        db.close().await.unwrap();
    });
    process(async {
        let handle = bucket.handle();
        let options = Options { memory_budget: Some(0), ..options() };
        let reader = Db::builder(handle.clone()).options(options).open_read_only().await.unwrap();
        assert!(reader.get("none").await.unwrap().is_none());
        let before = read(&handle.traffic());
        for n in (0..KEYS).step_by(400) {
            assert!(reader.get(format!("{n:06}")).await.unwrap().is_some());
            assert!(reader.get(format!("{n:06} absent")).await.unwrap().is_none());
        }
        let (after, reads) = (read(&handle.traffic()), 2 * KEYS / 400);
        let (requests, bytes) = (after.0 - before.0, after.1 - before.1);
        assert!(requests <= 2 * reads + 2, "{requests} requests for {reads} reads");
        assert!(bytes <= reads * (16 << 10), "{bytes} bytes for {reads} reads");
        reader.close().await;
    });
}

#[test]
fn many_keys_are_read_at_once() {
    let bucket = Bucket::new();
    merged(&bucket);
    process(async {
        const LATENCY: Duration = Duration::from_millis(100);
        let far = Far::new(bucket.handle(), LATENCY);
        let reader = Db::builder(Arc::new(far.clone())).options(options()).open_read_only().await.unwrap();
        let keys: Vec<String> = (0..RECORDS).step_by(20).map(|n| format!("{n:06}")).chain(["absent".into()]).collect();
        let (before, begun) = (read(&far.traffic()).0, tokio::time::Instant::now());
        // A task may do it: the future goes from thread to thread.
        let (other, wanted) = (reader.clone(), keys.clone());
        let values = tokio::spawn(async move { other.get_many(&wanted).await }).await.unwrap().unwrap();
        for (n, value) in values.iter().enumerate() {
            let expected = (n < 200).then_some([(n * 20) as u8; VALUE_LEN]);
            assert_eq!(value.as_deref(), expected.as_ref().map(|value| &value[..]), "{}", keys[n]);
        }
        let segments = reader.stats().unwrap().segments;
        let requests = read(&far.traffic()).0 - before;
        // Header, footer, filter and fences of each segment; index block and chunk of each key.
        assert!(requests <= 4 * segments + 2 * keys.len() as u64, "{requests}");
        let waited = begun.elapsed().as_millis() / LATENCY.as_millis();
        assert!(waited <= 4 + 2 * (keys.len() as u128).div_ceil(32) + 4, "{waited} latencies");
        assert!(far.at_once() >= 32, "{}", far.at_once());
        reader.close().await;
    });
    process(async {
        let (db, _) = bucket.open().await;
        db.put("000020", "new").await.unwrap();
        db.delete("000040").await.unwrap();
        let snapshot = db.snapshot();
        db.put("000000", "newer").await.unwrap();
        let keys = ["000040", "000020", "000000", "000020", "none"];
        let (old, new) = (Some(vec![0; VALUE_LEN].into()), Some("new".into()));
        assert_eq!(snapshot.get_many(&keys).await.unwrap(), [None, new.clone(), old, new.clone(), None]);
        let now = [None, new.clone(), Some("newer".into()), new, None];
        assert_eq!(db.get_many(&keys).await.unwrap(), now);
        assert!(db.get_many::<&str>(&[]).await.unwrap().is_empty());
        db.close().await.unwrap();
    });
}

/// A read that nobody polls any more holds up no other: each may have been the first to open the segment.
#[test]
fn a_read_that_rests_holds_up_nobody() {
    let bucket = Bucket::new();
    merged(&bucket);
    process(async {
        let far = Far::new(bucket.handle(), Duration::from_millis(10));
        let reader = Db::builder(Arc::new(far)).options(options()).open_read_only().await.unwrap();
        let mut resting = std::pin::pin!(reader.get("000000"));
        assert!((&mut resting).now_or_never().is_none());
        let other = tokio::time::timeout(Duration::from_secs(60), reader.get("000001")).await;
        assert!(other.expect("it does not wait for the first").unwrap().is_some());
        assert!(resting.await.unwrap().is_some());
    });
}
