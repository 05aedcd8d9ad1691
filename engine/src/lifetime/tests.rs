//! A clock that leaps years ahead, and comes back: nothing is lost that had not expired.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Clock, ErrorKind, Options, ReadOnly};
use bytes::Bytes;
use futures::TryStreamExt;
use halite_backends::{Backend, Memory};
use std::sync::atomic::{AtomicU64, Ordering};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const YEAR: u64 = 365 * 24 * HOUR;
/// Some time in 2026.
const TODAY: u64 = 56 * YEAR;
const LEAP: u64 = 10 * YEAR;

#[derive(Debug)]
struct Hand(AtomicU64);

impl Hand {
    fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn both() -> [Memory; 2] {
    [Memory::new(), Memory::create_only()]
}

fn builder(memory: &Memory, hand: &Arc<Hand>) -> crate::Builder {
    let options =
        Options { segment_bytes_max: 4096, refresh_interval: None, merge_in_background: false, ..Options::default() };
    let backend: Arc<dyn Backend> = Arc::new(memory.clone());
    Db::builder(backend).options(options).clock(hand.clone())
}

async fn put(db: &Db, key: &str, ttl: u64) {
    let ttl = Some(Duration::from_millis(ttl));
    db.put_with(key, vec![7; 1000], WriteOptions { ttl, ..WriteOptions::default() }).await.unwrap();
}

async fn keys(db: &Db) -> Vec<Bytes> {
    db.scan(..).keys_only().map_ok(|entry| entry.key).try_collect().await.unwrap()
}

async fn keys_of(reader: &ReadOnly) -> Vec<Bytes> {
    reader.scan(..).keys_only().map_ok(|entry| entry.key).try_collect().await.unwrap()
}

/// A database that holds a key that has expired, some that will, and some that never do.
async fn filled(memory: &Memory, hand: &Arc<Hand>) -> Db {
    let db = builder(memory, hand).open().await.unwrap();
    put(&db, "a minute", MINUTE).await;
    put(&db, "an hour", HOUR).await;
    put(&db, "three years", 3 * YEAR).await;
    for number in 0..10 {
        db.put(format!("ever {number}"), vec![7; 1000]).await.unwrap();
        put(&db, &format!("hours {number}"), 2 * HOUR).await;
    }
    hand.set(TODAY + 10 * MINUTE);
    assert_eq!(keys(&db).await.len(), 22);
    db
}

#[tokio::test]
async fn a_leap_that_is_taken_back_has_lost_nothing() {
    for memory in both() {
        let hand = Arc::new(Hand(AtomicU64::new(TODAY)));
        let db = filled(&memory, &hand).await;
        hand.set(TODAY + LEAP);
        // Readers believe it.
        assert_eq!(keys(&db).await.len(), 10);
        assert_eq!(db.get("three years").await.unwrap(), None);
        assert!(db.stats().clock_ahead_millis > LEAP / 2);
        // What lasts does not: seals, merges, checkpoints, copies, and another opening.
        put(&db, "meanwhile", MINUTE).await;
        assert!(matches!(db.ttl("meanwhile").await.unwrap(), Some(Ttl::Remaining(_))));
        let report = db.compact().await.unwrap();
        assert_eq!((report.dropped_expired, report.records_out), (1, 23), "only what had expired before");
        db.checkpoint("meanwhile").await.unwrap();
        let clone = Memory::new();
        db.clone_to(Arc::new(clone.clone())).await.unwrap();
        let reader = builder(&memory, &hand).open_read_only().await.unwrap();
        assert_eq!(keys_of(&reader).await.len(), 11);
        let copied = Memory::new();
        reader.clone_to(Arc::new(copied.clone())).await.unwrap();
        db.close().await.unwrap();
        let db = builder(&memory, &hand).open().await.unwrap();
        assert_eq!(keys(&db).await.len(), 11);
        db.put("unsealed", "1").await.unwrap();
        db.compact().await.unwrap();
        // As if it crashed, with a log to replay.
        drop(db);
        let db = builder(&memory, &hand).open().await.unwrap();
        db.compact().await.unwrap();

        // Half an hour later somebody sets the clock right.
        hand.set(TODAY + 40 * MINUTE);
        assert_eq!(db.stats().clock_ahead_millis, 0);
        assert_eq!(keys(&db).await.len(), 24);
        assert!(
            matches!(db.ttl("an hour").await.unwrap(), Some(Ttl::Remaining(left)) if left.as_millis() as u64 <= 20 * MINUTE)
        );
        assert_eq!(keys_of(&reader).await.len(), 23);
        let checkpoint = builder(&memory, &hand).open_at("meanwhile").await.unwrap();
        assert_eq!(keys_of(&checkpoint).await.len(), 23);
        for copy in [clone, copied] {
            let copy = builder(&copy, &hand).open().await.unwrap();
            assert_eq!(keys(&copy).await.len(), 23);
            copy.close().await.unwrap();
        }
        // And time goes on.
        hand.set(TODAY + 3 * HOUR);
        let report = db.compact().await.unwrap();
        assert_eq!((report.dropped_expired, keys(&db).await.len()), (11, 13));
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_leap_that_is_confirmed_counts_for_good() {
    for memory in both() {
        let hand = Arc::new(Hand(AtomicU64::new(TODAY)));
        let db = filled(&memory, &hand).await;
        hand.set(TODAY + LEAP);
        db.confirm_time().await.unwrap();
        assert_eq!(db.stats().clock_ahead_millis, 0);
        // Durably: a crash takes it back no more than the clock does.
        drop(db);
        hand.set(TODAY);
        let db = builder(&memory, &hand).open().await.unwrap();
        assert_eq!(keys(&db).await.len(), 10);
        assert_eq!(db.compact().await.unwrap().dropped_expired, 13);
        db.close().await.unwrap();
    }
}

/// What a transaction has taken for expired is there again.
#[tokio::test]
async fn a_transaction_does_not_rest_on_a_time_that_was_taken_back() {
    let hand = Arc::new(Hand(AtomicU64::new(TODAY)));
    let db = filled(&Memory::new(), &hand).await;
    hand.set(TODAY + LEAP);
    let transaction = db.begin();
    assert_eq!(transaction.get("an hour").await.unwrap(), None);
    transaction.put("is gone", "an hour").unwrap();
    hand.set(TODAY + 20 * MINUTE);
    assert_eq!(transaction.commit().await.unwrap_err().kind(), ErrorKind::Conflict);
    let absent = db.transact(|transaction| async move {
        let absent = transaction.get("an hour").await?.is_none();
        transaction.put("is gone", absent.to_string())?;
        Ok(absent)
    });
    assert!(!absent.await.unwrap());
    db.close().await.unwrap();
}
