//! The anomalies of the literature, one by one: which isolation keeps them away.

use super::*;

/// P1: nothing of a transaction is seen before it is committed, nor after it was rolled back.
#[test]
fn dirty_reads_do_not_happen() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            with(&db, &[("a", "1")]).await;
            let (writer, reader) = (begin(&db, isolation), begin(&db, isolation));
            writer.put("a", "2").unwrap();
            writer.delete("b").unwrap();
            assert_eq!(text(&reader, "a").await.as_deref(), Some("1"));
            writer.rollback();
            assert_eq!(text(&reader, "a").await.as_deref(), Some("1"));
            assert_eq!(db.get("a").await.unwrap(), Some(bytes(b"1")));
            assert!(!conflicts(reader).await);
        }
    });
}

/// P2: what was read is read again, whatever others have committed, by key and by scan.
#[test]
fn reads_are_repeatable() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            with(&db, &[("a", "1"), ("b", "1")]).await;
            let reader = begin(&db, isolation);
            assert_eq!(text(&reader, "a").await.as_deref(), Some("1"));
            with(&db, &[("a", "2"), ("b", "2"), ("c", "2")]).await;
            db.delete("b").await.unwrap();
            assert_eq!(text(&reader, "a").await.as_deref(), Some("1"));
            assert_eq!(text(&reader, "b").await.as_deref(), Some("1"));
            assert_eq!(keys(&reader, "").await, ["a", "b"]);
            // It has written nothing: it ran when it began.
            assert!(!conflicts(reader).await);
            db.delete("c").await.unwrap();
        }
    });
}

/// P4: of two that change a key after having read it, one fails.
#[test]
fn updates_are_not_lost() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            with(&db, &[("n", "10")]).await;
            let (one, two) = (begin(&db, isolation), begin(&db, isolation));
            for (transaction, more) in [(&one, 1), (&two, 2)] {
                let sum = number(transaction, "n").await + more;
                transaction.put("n", sum.to_string()).unwrap();
            }
            assert!(!conflicts(two).await);
            assert!(conflicts(one).await);
            assert_eq!(db.get("n").await.unwrap(), Some(bytes(b"12")));
            // So does one whose update came between another's read and its write.
            let late = begin(&db, isolation);
            let sum = number(&late, "n").await + 1;
            db.put("n", "0").await.unwrap();
            late.put("n", sum.to_string()).unwrap();
            assert!(conflicts(late).await);
        }
    });
}

/// A5B: two read both keys and each changes another one. Only serializable transactions are kept from that.
#[test]
fn write_skew() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            with(&db, &[("on call:ada", "yes"), ("on call:bob", "yes")]).await;
            let (ada, bob) = (begin(&db, isolation), begin(&db, isolation));
            for (transaction, key) in [(&ada, "on call:ada"), (&bob, "on call:bob")] {
                assert_eq!(text(transaction, "on call:ada").await.as_deref(), Some("yes"));
                assert_eq!(text(transaction, "on call:bob").await.as_deref(), Some("yes"));
                transaction.put(key, "no").unwrap();
            }
            assert!(!conflicts(ada).await);
            assert_eq!(conflicts(bob).await, isolation == Isolation::Serializable);
        }
    });
}

/// P3: a key comes into a range that was scanned, or goes from it.
#[test]
fn phantoms() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            for present in [true, false] {
                with(&db, &[("task:1", "4h"), ("task:2", "3h")]).await;
                db.delete("task:3").await.unwrap();
                let one = begin(&db, isolation);
                assert_eq!(keys(&one, "task:").await.len(), 2);
                one.put("total", "7h").unwrap();
                match present {
                    true => db.delete("task:1").await.unwrap(),
                    false => db.put("task:3", "1h").await.unwrap(),
                }
                assert_eq!(keys(&one, "task:").await.len(), 2, "{isolation:?}: it shows");
                assert_eq!(conflicts(one).await, isolation == Isolation::Serializable);
            }
        }
    });
}

/// A key that was not there is read as well: others may not put it there meanwhile.
#[test]
fn absence_is_read() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            db.delete("name").await.unwrap();
            let one = begin(&db, isolation);
            assert!(!one.contains("name").await.unwrap());
            one.put("other", "1").unwrap();
            db.put("name", "taken").await.unwrap();
            assert_eq!(conflicts(one).await, isolation == Isolation::Serializable);
        }
    });
}

/// A batch processing of receipts: the report reads a state that no order explains, unless someone is refused.
#[test]
fn read_only_anomaly() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            with(&db, &[("batch", "1"), ("receipts:1", "0")]).await;
            // The receipt's transaction sees batch 1 as open; then batch 2 is opened, and a report on 1 is made.
            let receipt = begin(&db, isolation);
            let batch = text(&receipt, "batch").await.unwrap();
            let next = begin(&db, isolation);
            let number = number(&next, "batch").await + 1;
            next.put("batch", number.to_string()).unwrap();
            assert!(!conflicts(next).await);
            let report = begin(&db, isolation);
            assert_eq!(text(&report, "batch").await.as_deref(), Some("2"));
            assert_eq!(text(&report, "receipts:1").await.as_deref(), Some("0"));
            assert!(!conflicts(report).await);
            receipt.put(format!("receipts:{batch}"), "1").unwrap();
            assert_eq!(conflicts(receipt).await, isolation == Isolation::Serializable);
        }
    });
}

/// What is only written does not fail under serializability: it takes its place in the order. Under snapshot
/// isolation the first committer wins.
#[test]
fn blind_writes() {
    everywhere(async |db, _| {
        for isolation in BOTH {
            let (one, two) = (begin(&db, isolation), begin(&db, isolation));
            one.put("a", "1").unwrap();
            two.put("a", "2").unwrap();
            assert!(!conflicts(one).await);
            assert_eq!(conflicts(two).await, isolation == Isolation::Snapshot);
            let left = if isolation == Isolation::Snapshot { b"1" } else { b"2" };
            assert_eq!(db.get("a").await.unwrap(), Some(bytes(left)));
        }
    });
}
