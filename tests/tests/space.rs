//! Space comes back by itself: whatever is overwritten, deleted or has expired for long enough, what lies on the disk
//! stays within a bound of what is alive, without anyone calling `compact`.
#![allow(clippy::unwrap_used, reason = "in a test a failure is the message")]

use futures::TryStreamExt;
use halite::{Db, Durability, Options, WriteBatch, WriteOptions};
use halite_tests::random::Random;
use halite_tests::world::{Store, World, assert_sound, process};
use std::time::Duration;

const SEGMENT: u64 = 16 << 10;

fn options() -> Options {
    Options { durability: Durability::Deferred, segment_bytes_max: SEGMENT, ..Options::default() }
}

fn world() -> World {
    World::new(Store::memory(true), options(), 7)
}

fn key(number: u64) -> String {
    format!("key {number:012}")
}

/// Keys that nothing ever touches again: the oldest run, so that nothing else is.
async fn put_base(db: &Db) {
    let batch = (0..300).fold(WriteBatch::new(), |batch, number| batch.put(format!("base {number}"), [7; 100]));
    db.write(batch).await.unwrap();
}

/// Lets the background finish: time is virtual and moves when all tasks wait.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

/// Bytes of keys and values that are alive, and of the sealed segments.
async fn sizes(db: &Db) -> (u64, u64) {
    let entries = db.scan(..).map_ok(|entry| (entry.key.len() + entry.value.len()) as u64);
    let live = entries.try_fold(0, |sum, len| async move { Ok(sum + len) }).await.unwrap();
    (live, db.stats().segment_bytes)
}

/// A segment may be half dead before it is rewritten, records and index take a third more than keys and values, and
/// runs that are small wait for seven others: three times what is alive, and some segments.
async fn assert_bounded(db: &Db) {
    settle().await;
    let (live, on_disk) = sizes(db).await;
    assert!(on_disk <= 3 * live + 6 * SEGMENT, "{on_disk} bytes on disk, {live} alive: {:?}", db.stats());
    assert_sound(db).await;
}

fn with_ttl(ttl: Duration) -> WriteOptions {
    WriteOptions { durability: Durability::Deferred, ttl: Some(ttl) }
}

#[test]
fn of_overwrites() {
    process(async {
        let db = world().open().await.unwrap();
        put_base(&db).await;
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            db.put(key(random.below(500)), [1; 100]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_bounded(&db).await;
    });
}

#[test]
fn of_a_queue() {
    process(async {
        for len in [0, 100] {
            let db = world().open().await.unwrap();
            put_base(&db).await;
            for number in 0..20_000 {
                db.put(key(number), vec![1; len]).await.unwrap();
                db.delete(key(number.saturating_sub(300))).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_bounded(&db).await;
        }
    });
}

#[test]
fn of_what_expires_while_more_comes() {
    process(async {
        let mut world = world();
        let db = world.open().await.unwrap();
        put_base(&db).await;
        for number in 0..20_000 {
            db.put_with(key(number), [1; 100], with_ttl(Duration::from_secs(30))).await.unwrap();
            world.clock.advance(100);
            tokio::task::yield_now().await;
        }
        assert_bounded(&db).await;
    });
}

#[test]
fn of_what_expires_when_nothing_is_written_any_more() {
    process(async {
        let mut world = world();
        let db = world.open().await.unwrap();
        put_base(&db).await;
        for number in 0..3_000 {
            db.put_with(key(number), [1; 100], with_ttl(Duration::from_secs(3600))).await.unwrap();
            tokio::task::yield_now().await;
        }
        settle().await;
        world.clock.advance(3_600_000);
        tokio::time::sleep(Duration::from_secs(3700)).await;
        assert_bounded(&db).await;
    });
}
