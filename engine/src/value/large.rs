//! Tests of values that are shared and not copied, and checked in turns.
#![allow(clippy::unwrap_used)]

use super::tests::{backends, polls};
use super::*;
use crate::backends::{Backend, Memory};
use crate::{Compression, Db, Options, WriteBatch, WriteOptions};
use futures::TryStreamExt;
use std::sync::Arc;

async fn open(backend: &Arc<dyn Backend>) -> Db {
    let options = Options { segment_bytes_max: 256 << 10, merge_in_background: false, ..Options::default() };
    Db::builder(backend.clone()).options(options).open().await.unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut dice = crate::format::fuzz::Dice::new(seed);
    let mut value: Vec<u8> = (0..len / 8 + 1).flat_map(|_| dice.next().to_le_bytes()).collect();
    value.truncate(len);
    value
}

const LENS: [usize; 9] =
    [LARGE_LEN - 1, LARGE_LEN, LARGE_LEN + 1, 100, 300_000, 1 << 20, (1 << 20) + 1, 0, 3 * (1 << 20) + 7];

async fn check(db: &Db, values: &[Vec<u8>]) {
    let view = db.snapshot();
    for (number, value) in values.iter().enumerate() {
        let key = format!("{number:03}");
        assert!(db.get(&key).await.unwrap().unwrap() == *value, "{key}");
        assert!(view.get(&key).await.unwrap().unwrap() == *value, "{key}");
    }
    let forward: Vec<_> = db.scan(..).try_collect().await.unwrap();
    assert!(forward.iter().map(|entry| &entry.value[..]).eq(values.iter().map(|value| &value[..])));
    let backward: Vec<_> = db.scan(..).rev().try_collect().await.unwrap();
    assert!(backward.iter().rev().map(|entry| &entry.value[..]).eq(values.iter().map(|value| &value[..])));
    let report = db.verify().await.unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
}

/// By each way in, in memtables, sealed, replayed after a kill and merged, on every kind of backend.
#[tokio::test]
async fn large_values_come_back() {
    for backend in backends() {
        let db = open(&backend).await;
        let mut values: Vec<_> = LENS.iter().map(|&len| noise(len, len as u64)).collect();
        for (number, value) in values.iter().enumerate() {
            let key = format!("{number:03}");
            match number % 3 {
                0 => db.put(key, value).await.unwrap(),
                1 => db.put_bytes(key, value.clone()).await.unwrap(),
                _ => {
                    let txn = db.begin();
                    txn.put(key, value).unwrap();
                    txn.commit().await.unwrap();
                }
            }
        }
        check(&db, &values).await;
        // All over again, in one batch, smaller and larger ones mixed.
        values.reverse();
        let batch = values.iter().enumerate().fold(WriteBatch::new(), |batch, (number, value)| match number % 2 {
            0 => batch.put(format!("{number:03}"), value),
            _ => batch.put_bytes(format!("{number:03}"), value.clone()),
        });
        db.write_with(batch, WriteOptions::default()).await.unwrap();
        check(&db, &values).await;
        let db = db.reopen().await.unwrap();
        check(&db, &values).await;
        db.compact().await.unwrap();
        check(&db, &values).await;
        db.persist("004").await.unwrap();
        assert!(db.compare_and_swap("004", Some(&values[4][..]), Some(&values[0][..])).await.unwrap());
        assert!(db.get("004").await.unwrap().unwrap() == values[0]);
        db.close().await.unwrap();
    }
}

/// The caller's memory is the memtable's, and the map's is the reader's.
#[tokio::test]
async fn nothing_is_copied_that_need_not_be() {
    let backend: Arc<dyn Backend> = Arc::new(Memory::new());
    let db = Db::open("mem:").await.unwrap();
    let value = Bytes::from(noise(1 << 20, 1));
    db.put_bytes("key", value.clone()).await.unwrap();
    assert_eq!(db.get("key").await.unwrap().unwrap().as_ptr(), value.as_ptr());
    db.write(WriteBatch::new().put("small", "1").put_bytes("more", value.clone())).await.unwrap();
    assert_eq!(db.get("more").await.unwrap().unwrap().as_ptr(), value.as_ptr());
    db.close().await.unwrap();

    let db = open(&backend).await;
    db.put_bytes("key", value.clone()).await.unwrap();
    // Longer than a segment, it is sealed at once.
    while db.stats().segments == 0 {
        tokio::task::yield_now().await;
    }
    let (once, again) = (db.get("key").await.unwrap().unwrap(), db.get("key").await.unwrap().unwrap());
    assert!(once == value && once.as_ptr() == again.as_ptr() && once.as_ptr() != value.as_ptr());
    db.close().await.unwrap();
}

/// Writes, reads, replays, merges and verifications of long values give way to others.
#[tokio::test]
async fn no_poll_takes_long() {
    let value = Bytes::from(noise(24 << 20, 3));
    let turns = value.len() / (2 << 20);
    for backend in [Arc::new(Memory::new()) as Arc<dyn Backend>, Arc::new(Memory::create_only())] {
        let db = open(&backend).await;
        let (count, written) = polls(db.put("copied", &value)).await;
        written.unwrap();
        assert!(count > turns, "{count} polls to copy it in");
        let (count, written) = polls(db.put_bytes("shared", value.clone())).await;
        written.unwrap();
        assert!(count > turns, "{count} polls to share it");
        let (count, opened) = polls(db.reopen()).await;
        let db = opened.unwrap();
        assert!(count > 4 * turns, "{count} polls to replay both");
        let (count, read) = polls(db.get("copied")).await;
        assert!(read.unwrap().unwrap() == value);
        assert!(count > turns, "{count} polls to read it");
        let (count, read) = polls(db.scan(..).try_collect::<Vec<_>>()).await;
        assert_eq!(read.unwrap().len(), 2);
        assert!(count > 2 * turns, "{count} polls to scan both");
        let (count, report) = polls(db.verify()).await;
        assert_eq!(report.unwrap().damage.len(), 0);
        assert!(count > 2 * turns, "{count} polls to verify both");
        db.close().await.unwrap();
    }
}

/// Of values that do not compress nothing is kept but what the caller brought.
#[tokio::test]
async fn large_values_that_do_not_compress_are_shared_too() {
    let options = Options { compression: Compression::Lz4, ..Options::default() };
    let db = Db::builder(Arc::new(Memory::new())).options(options).open().await.unwrap();
    let (noise, text) = (Bytes::from(noise(3 << 20, 1)), Bytes::from(b"a line of text\n".repeat(1 << 20)));
    db.put_bytes("noise", noise.clone()).await.unwrap();
    db.put_bytes("text", text.clone()).await.unwrap();
    assert_eq!(db.get("noise").await.unwrap().unwrap().as_ptr(), noise.as_ptr());
    assert!(db.get("text").await.unwrap().unwrap() == text);
    db.close().await.unwrap();
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let db = Db::open("mem:").await.unwrap();
    // Memory that is never touched.
    let beyond = Bytes::from(vec![0; (1 << 30) + 1]);
    for refused in [
        db.put("key", &beyond).await,
        db.put_bytes("key", beyond.clone()).await,
        db.write(WriteBatch::new().put_bytes("key", beyond.clone())).await,
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("max=1073741824"), "{refused}");
    }
    assert!(db.get("key").await.unwrap().is_none());
    db.close().await.unwrap();
}
