#![allow(clippy::unwrap_used)]
use crate::{Db, ErrorKind, Transaction};
use futures::TryStreamExt;

async fn keys(scan: super::TransactionScan) -> String {
    let entries: Vec<_> = scan.try_collect().await.unwrap();
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.key).into_owned()).collect::<Vec<_>>().join(" ")
}

async fn open(keys: &[&str]) -> Db {
    let db = Db::open("mem:").await.unwrap();
    for key in keys {
        db.put(key, "old").await.unwrap();
    }
    db
}

#[tokio::test]
async fn own_writes_stand_in_their_place_both_ways() {
    let db = open(&["b", "d", "f"]).await;
    let txn = db.begin();
    for key in ["a", "d", "e", "g"] {
        txn.put(key, "new").unwrap();
    }
    txn.delete("f").unwrap();
    assert_eq!(keys(txn.scan(..)).await, "a b d e g");
    assert_eq!(keys(txn.scan(..).rev()).await, "g e d b a");
    assert_eq!(keys(txn.scan("b".."e").rev()).await, "d b");
    assert_eq!(keys(txn.scan("b"..="f").rev().limit(2)).await, "e d");
    let entry = txn.scan(.."e").rev().try_next().await.unwrap().unwrap();
    assert_eq!((&entry.key[..], &entry.value[..]), (&b"d"[..], &b"new"[..]));
}

/// A backward scan that was left at a key has read what lies above it, and nothing below.
#[tokio::test]
async fn what_a_backward_scan_has_read_is_what_it_passed() {
    for (written, conflicts) in [("c", false), ("bz", false), ("d", true), ("e", true), ("z", true)] {
        let db = open(&["b", "d", "f"]).await;
        let txn: Transaction = db.begin();
        assert_eq!(keys(txn.scan(.."g").rev().limit(2)).await, "f d");
        txn.put("other", "1").unwrap();
        db.put(written, "new").await.unwrap();
        let conflicted = match txn.commit().await {
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::Conflict,
        };
        assert_eq!(conflicted, conflicts && written < "g", "{written}");
    }
}
