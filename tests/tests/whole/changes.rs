//! Changes of one key that depend on what it holds, and how long keys live.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::future::join_all;
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, ErrorKind, Options, Ttl, WriteBatch, WriteOptions};
use halite_tests::world::{Store, World, bytes, ends, process, small_options};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn millis(millis: u64) -> Option<Ttl> {
    Some(Ttl::Remaining(Duration::from_millis(millis)))
}

/// Runs `story` on growing files and on fragments, in memory and simulated.
fn everywhere(options: Options, story: impl AsyncFn(Db, &mut World)) {
    for append in [true, false] {
        let simulated = SimulatedOptions { seed: 4, append, yields: true, ..SimulatedOptions::default() };
        for store in [Store::memory(append), Store::simulated(simulated)] {
            let mut world = World::new(store, options.clone(), 4);
            process(async {
                let db = world.open().await.unwrap();
                story(db.clone(), &mut world).await;
                db.close().await.unwrap();
            });
        }
    }
}

async fn value(db: &Db, key: &str) -> Option<Bytes> {
    db.get(key).await.unwrap()
}

#[test]
fn a_swap_happens_only_where_it_was_expected() {
    everywhere(small_options(), async |db, _| {
        type Held = Option<&'static [u8]>;
        let steps: [(Held, Held, bool, Held); 9] = [
            (Some(b"1"), Some(b"2"), false, None),
            (None, None, true, None),
            (None, Some(b"1"), true, Some(b"1")),
            (None, Some(b"2"), false, Some(b"1")),
            (Some(b""), Some(b"2"), false, Some(b"1")),
            (Some(b"1"), Some(b""), true, Some(b"")),
            (None, Some(b"3"), false, Some(b"")),
            (Some(b""), None, true, None),
            (Some(b""), None, false, None),
        ];
        for (expected, new, done, left) in steps {
            assert_eq!(db.compare_and_swap("key", expected, new).await.unwrap(), done, "{expected:?} to {new:?}");
            assert_eq!(value(&db, "key").await.as_deref(), left);
        }
        let too_long = db.compare_and_swap(vec![0; (64 << 10) + 1], None, Some(b"1")).await;
        assert_eq!(too_long.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// One of many that want a lock has it, at a time.
#[test]
fn of_many_swaps_one_happens() {
    everywhere(small_options(), async |db, _| {
        for round in 0..5 {
            let takers = (0..8).map(|n| {
                let db = db.clone();
                async move { db.compare_and_swap("lock", None, Some(format!("{n}").as_bytes())).await.unwrap() }
            });
            let taken = ends("takers", join_all(takers)).await.unwrap();
            assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "round {round}");
            db.delete("lock").await.unwrap();
        }
    });
}

/// All increments count, each sum is returned once, and those that come together share their syncs.
#[test]
fn increments_add_up() {
    everywhere(small_options(), async |db, _| {
        let levels = [Durability::Synced, Durability::Written, Durability::Deferred];
        let tasks = (0..32_usize).map(|task| {
            let db = db.clone();
            async move {
                let mut sums = Vec::new();
                for _ in 0..8 {
                    let options = WriteOptions { durability: levels[task % 3], ttl: None };
                    sums.push(db.increment_with("n", 1, options).await.unwrap());
                }
                sums
            }
        });
        let mut sums = ends("increments", join_all(tasks)).await.unwrap().concat();
        sums.sort_unstable();
        assert_eq!(sums, (1..=32 * 8).collect::<Vec<_>>());
        assert_eq!(value(&db, "n").await, Some(bytes(b"256")));
    });
}

#[test]
fn what_is_no_number_stays_as_it_is() {
    everywhere(small_options(), async |db, _| {
        for (held, delta) in [
            ("", 1),
            ("one", 1),
            ("1.5", 1),
            ("9223372036854775808", 1),
            ("9223372036854775807", 1),
            ("-9223372036854775808", -1),
            ("\u{663}", 1),
        ] {
            db.put("n", held).await.unwrap();
            let error = db.increment("n", delta).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
            assert_eq!(value(&db, "n").await.as_deref(), Some(held.as_bytes()));
        }
        db.put("n", "9223372036854775807").await.unwrap();
        assert_eq!(db.increment("n", i64::MIN).await.unwrap(), -1);
        assert_eq!(db.increment("n", 0).await.unwrap(), -1);
    });
}

#[test]
fn updates_see_the_newest_value() {
    everywhere(small_options(), async |db, _| {
        let push = |letter: char| {
            let db = db.clone();
            async move {
                let change = |found: Option<Bytes>| Some([&found.unwrap_or_default()[..], &[letter as u8]].concat());
                db.update("word", change).await.unwrap()
            }
        };
        ends("updates", join_all("abcdefgh".chars().map(push))).await.unwrap();
        let mut word = value(&db, "word").await.unwrap().to_vec();
        word.sort_unstable();
        assert_eq!(word, b"abcdefgh");
        assert_eq!(db.update("word", |_| None::<Bytes>).await.unwrap(), None);
        assert_eq!(db.update("word", |found| found).await.unwrap(), None);
        assert_eq!(value(&db, "word").await, None);
        let error = db.update("word", |_| Some(vec![0; (1 << 30) + 1])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn lifetimes_are_set_lifted_and_told() {
    everywhere(small_options(), async |db, world| {
        assert_eq!(db.ttl("a").await.unwrap(), None);
        assert!(!db.expire("a", SECOND).await.unwrap() && !db.persist("a").await.unwrap());
        db.put("a", "1").await.unwrap();
        assert_eq!(db.ttl("a").await.unwrap(), Some(Ttl::Forever));
        assert!(db.expire("a", 2 * SECOND).await.unwrap());
        world.clock.advance(500);
        assert_eq!(db.ttl("a").await.unwrap(), millis(1500));
        assert_eq!(value(&db, "a").await, Some(bytes(b"1")));
        assert!(db.persist("a").await.unwrap() && db.persist("a").await.unwrap());
        assert_eq!(db.ttl("a").await.unwrap(), Some(Ttl::Forever));
        assert!(db.expire("a", SECOND).await.unwrap());
        // Sealed and merged, it is as it was.
        db.compact().await.unwrap();
        world.clock.advance(999);
        assert_eq!(db.ttl("a").await.unwrap(), millis(1));
        world.clock.advance(1);
        assert_eq!((db.ttl("a").await.unwrap(), value(&db, "a").await), (None, None));
        assert!(!db.persist("a").await.unwrap(), "what has expired does not come back");
        db.put("a", "2").await.unwrap();
        assert!(db.expire("a", Duration::ZERO).await.unwrap());
        assert_eq!(value(&db, "a").await, None);
    });
}

/// A counter that is reset every second: counting does not make it live longer.
#[test]
fn increments_and_updates_keep_the_expiry() {
    everywhere(small_options(), async |db, world| {
        let second = WriteOptions { ttl: Some(SECOND), ..WriteOptions::default() };
        assert_eq!(db.increment_with("n", 1, second).await.unwrap(), 1);
        world.clock.advance(600);
        assert_eq!(db.increment("n", 1).await.unwrap(), 2);
        db.update("n", |found| found).await.unwrap();
        assert_eq!(db.ttl("n").await.unwrap(), millis(400));
        assert_eq!(db.increment_with("n", 1, second).await.unwrap(), 3);
        assert_eq!(db.ttl("n").await.unwrap(), millis(1000));
        world.clock.advance(1000);
        assert_eq!(db.increment("n", 1).await.unwrap(), 1);
        assert_eq!(db.ttl("n").await.unwrap(), Some(Ttl::Forever));
        // A swap is a put.
        assert!(db.expire("n", SECOND).await.unwrap());
        assert!(db.compare_and_swap("n", Some(b"1"), Some(b"2")).await.unwrap());
        assert_eq!(db.ttl("n").await.unwrap(), Some(Ttl::Forever));
    });
}

#[test]
fn a_database_may_have_a_lifetime_for_all() {
    let options = Options { ttl: Some(SECOND), ..small_options() };
    everywhere(options, async |db, world| {
        let forever = WriteOptions { ttl: Some(WriteOptions::FOR_EVER), ..WriteOptions::default() };
        let minute = WriteOptions { ttl: Some(60 * SECOND), ..WriteOptions::default() };
        db.put("put", "1").await.unwrap();
        db.put_with("for ever", "1", forever).await.unwrap();
        db.put_with("minute", "1", minute).await.unwrap();
        let at = world.clock.millis() + 7000;
        let batch =
            WriteBatch::new().put("batch", "1").put_expiring("own", "1", at).put_expiring("never", "1", u64::MAX);
        db.write(batch.clone()).await.unwrap();
        db.compare_and_swap("swap", None, Some(b"1")).await.unwrap();
        db.increment("increment", 1).await.unwrap();
        db.update_with("update", |_| Some("1"), forever).await.unwrap();
        let transaction = db.begin();
        transaction.put("transaction", "1").unwrap();
        transaction.put_with("transaction for ever", "1", WriteOptions::FOR_EVER).unwrap();
        transaction.commit().await.unwrap();
        for (key, ttl) in [
            ("put", millis(1000)),
            ("for ever", Some(Ttl::Forever)),
            ("minute", millis(60_000)),
            ("batch", millis(1000)),
            ("own", millis(7000)),
            ("never", Some(Ttl::Forever)),
            ("swap", millis(1000)),
            ("increment", millis(1000)),
            ("update", Some(Ttl::Forever)),
            ("transaction", millis(1000)),
            ("transaction for ever", Some(Ttl::Forever)),
        ] {
            assert_eq!(db.ttl(key).await.unwrap(), ttl, "{key}");
        }
        db.write_with(batch, minute).await.unwrap();
        assert_eq!(
            (db.ttl("batch").await.unwrap(), db.ttl("never").await.unwrap()),
            (millis(60_000), Some(Ttl::Forever))
        );
        assert!(db.persist("put").await.unwrap());
        assert_eq!(db.ttl("put").await.unwrap(), Some(Ttl::Forever));
    });
}

/// A clock set back does not make anything live longer.
#[test]
fn lifetimes_go_by_the_largest_time_seen() {
    everywhere(small_options(), async |db, world| {
        let now = world.clock.millis();
        db.put("a", "1").await.unwrap();
        assert!(db.expire("a", 10 * SECOND).await.unwrap());
        world.clock.advance(4000);
        assert_eq!(db.ttl("a").await.unwrap(), millis(6000));
        world.clock.set(now - 100_000);
        assert_eq!(db.ttl("a").await.unwrap(), millis(6000));
        assert!(db.expire("a", SECOND).await.unwrap());
        assert_eq!(db.ttl("a").await.unwrap(), millis(1000));
        world.clock.set(now + 5000);
        assert_eq!(db.ttl("a").await.unwrap(), None);
    });
}
