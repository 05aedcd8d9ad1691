//! Transactions: what each isolation promises, anomaly by anomaly, and what ends them.
//!
//! Names of anomalies are those of Berenson et al., "A Critique of ANSI SQL Isolation Levels", and Fekete et al., "A
//! Read-Only Transaction Anomaly Under Snapshot Isolation".
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::TryStreamExt;
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, ErrorKind, Isolation, Options, Transaction, TransactionOptions, WriteOptions};
use halite_tests::random::Random;
use halite_tests::world::{Store, World, bytes, ends, process, read_all, small_options};
use std::cell::Cell;
use std::time::Duration;

const BOTH: [Isolation; 2] = [Isolation::Serializable, Isolation::Snapshot];

fn begin(db: &Db, isolation: Isolation) -> Transaction {
    db.begin_with(TransactionOptions { isolation, ..TransactionOptions::default() })
}

/// Runs `story` on growing files and on fragments, in memory and simulated.
fn everywhere(story: impl AsyncFn(Db, World)) {
    for append in [true, false] {
        let simulated = SimulatedOptions { seed: 9, append, yields: true, ..SimulatedOptions::default() };
        for store in [Store::memory(append), Store::simulated(simulated)] {
            let mut world = World::new(store, small_options(), 9);
            process(async {
                let db = world.open().await.unwrap();
                story(db.clone(), world).await;
                assert_eq!(db.stats().transactions, 0, "a transaction has left its place in the window open");
                db.close().await.unwrap();
            });
        }
    }
}

async fn with(db: &Db, records: &[(&str, &str)]) {
    for (key, value) in records {
        db.put(key, value).await.unwrap();
    }
}

async fn text(transaction: &Transaction, key: &str) -> Option<String> {
    transaction.get(key).await.unwrap().map(|value| String::from_utf8(value.to_vec()).unwrap())
}

async fn number(transaction: &Transaction, key: &str) -> i64 {
    text(transaction, key).await.map_or(0, |value| value.parse().unwrap())
}

async fn keys(transaction: &Transaction, prefix: &str) -> Vec<Bytes> {
    transaction.prefix(prefix).map_ok(|entry| entry.key).try_collect().await.unwrap()
}

async fn conflicts(transaction: Transaction) -> bool {
    match ends("commit", transaction.commit()).await.unwrap() {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
            true
        }
    }
}

mod anomalies {
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
}

mod reads {
    use super::*;

    #[test]
    fn a_transaction_reads_its_own_writes() {
        everywhere(async |db, world| {
            with(&db, &[("a", "1"), ("b", "1"), ("d", "1")]).await;
            let transaction = db.begin();
            transaction.put("b", "2").unwrap();
            transaction.put("c", "2").unwrap();
            transaction.delete("d").unwrap();
            transaction.put_with("e", "2", Duration::ZERO).unwrap();
            transaction.put_with("f", "2", Duration::from_millis(5)).unwrap();
            transaction.put("g", "3").unwrap();
            transaction.delete("g").unwrap();
            // Its time stands still.
            world.clock.advance(1000);
            let expected = [("a", "1"), ("b", "2"), ("c", "2"), ("f", "2")];
            let found: Vec<_> = transaction.scan(..).try_collect().await.unwrap();
            let pairs: Vec<_> = found.iter().map(|entry| (entry.key.clone(), entry.value.clone())).collect();
            assert_eq!(pairs, expected.map(|(key, value)| (Bytes::from(key), Bytes::from(value))));
            assert!(found[0].seq > 0 && found[1..].iter().all(|entry| entry.seq == 0));
            for key in ["a", "b", "c", "d", "e", "f", "g"] {
                let expected = expected.iter().find(|(other, _)| *other == key).map(|(_, value)| *value);
                assert_eq!(text(&transaction, key).await.as_deref(), expected, "{key}");
                assert_eq!(transaction.contains(key).await.unwrap(), expected.is_some());
            }
            assert_eq!(db.get("c").await.unwrap(), None);
            let keys: Vec<_> = transaction.scan("b"..="f").keys_only().limit(2).try_collect().await.unwrap();
            assert!(keys.iter().map(|entry| &entry.key[..]).eq([b"b", b"c"]));
            assert!(keys.iter().all(|entry| entry.value.is_empty()));
            transaction.commit().await.unwrap();
            assert_eq!(keys_of(&db).await, ["a", "b", "c"], "what expired while it was open is gone");
        });
    }

    async fn keys_of(db: &Db) -> Vec<String> {
        read_all(db).await.unwrap().into_keys().map(|key| String::from_utf8(key).unwrap()).collect()
    }

    /// A scan of a transaction shows what a model of it does, whatever lies in the store, in memory and in its writes.
    #[test]
    fn scans_agree_with_a_model() {
        everywhere(async |db, _| {
            let mut random = Random::new(77);
            for round in 0..30 {
                for _ in 0..20 {
                    let key = format!("k{}", random.below(40));
                    let options = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
                    match random.chance(25) {
                        true => db.delete_with(key, options).await.unwrap(),
                        false => db.put_with(key, "x".repeat(random.below(90) as usize), options).await.unwrap(),
                    }
                }
                let transaction = begin(&db, random.pick(&BOTH));
                let mut model = read_all(&db).await.unwrap();
                for n in 0..random.below(30) {
                    let key = format!("k{}", random.below(40));
                    if random.chance(40) {
                        transaction.delete(&key).unwrap();
                        model.remove(key.as_bytes());
                    } else {
                        transaction.put(&key, format!("{n}")).unwrap();
                        model.insert(key.into_bytes(), format!("{n}").into());
                    }
                }
                let (from, to) = (format!("k{}", random.below(40)), format!("k{}", random.below(40)));
                let limit = random.pick(&[0, 1, 5, usize::MAX]);
                let found = transaction.scan(from.clone()..to.clone()).limit(limit);
                let found: Vec<_> =
                    found.map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap();
                let inside = |key: &[u8]| from.as_bytes() <= key && key < to.as_bytes();
                let expected = model.iter().filter(|(key, _)| inside(key)).take(limit);
                let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
                assert_eq!(found, expected, "round {round}, {from}..{to}");
                transaction.commit().await.unwrap();
                assert_eq!(read_all(&db).await.unwrap(), model);
            }
        });
    }

    /// What lies behind the entry at which a scan was left was not read.
    #[test]
    fn a_scan_counts_as_far_as_it_got() {
        everywhere(async |db, _| {
            for (write, conflict) in [("0", false), ("a", true), ("c", true), ("d", true), ("da", false), ("x", false)]
            {
                for held in [true, false] {
                    for by_limit in [true, false] {
                        with(&db, &[("b", "1"), ("d", "1"), ("f", "1")]).await;
                        let transaction = db.begin();
                        let mut scan = transaction.scan("a"..);
                        if by_limit {
                            scan = scan.limit(2);
                        }
                        for key in [b"b", b"d"] {
                            assert_eq!(&scan.try_next().await.unwrap().unwrap().key[..], key);
                        }
                        if by_limit {
                            assert!(scan.try_next().await.unwrap().is_none());
                        }
                        let _held = held.then_some(scan);
                        transaction.put("sum", "2").unwrap();
                        db.put(write, "new").await.unwrap();
                        assert_eq!(conflicts(transaction).await, conflict, "{write} held={held} by_limit={by_limit}");
                        db.delete(write).await.unwrap();
                        db.delete("sum").await.unwrap();
                    }
                }
            }
        });
    }

    /// Nor was anything read that was not asked for, and all of it once the scan has come to its end.
    #[test]
    fn a_scan_to_its_end_counts_whole_and_one_not_begun_not_at_all() {
        everywhere(async |db, _| {
            for (begun, write, conflict) in
                [(false, "b", false), (true, "c", true), (true, "a", true), (true, "e", false), (true, "dz", true)]
            {
                with(&db, &[("b", "1")]).await;
                let transaction = db.begin();
                let scan = transaction.scan("a".."e");
                if begun {
                    assert_eq!(scan.try_collect::<Vec<_>>().await.unwrap().len(), 1);
                }
                transaction.put("sum", "1").unwrap();
                db.put(write, "new").await.unwrap();
                assert_eq!(conflicts(transaction).await, conflict, "{write}");
                db.delete(write).await.unwrap();
            }
        });
    }

    /// Its own writes are no reads: others may change what it has only seen as its own.
    #[test]
    fn what_it_has_written_itself_was_not_read() {
        everywhere(async |db, _| {
            let transaction = db.begin();
            transaction.put("a", "mine").unwrap();
            assert_eq!(text(&transaction, "a").await.as_deref(), Some("mine"));
            db.put("a", "yours").await.unwrap();
            assert!(!conflicts(transaction).await);
            assert_eq!(db.get("a").await.unwrap(), Some(bytes(b"mine")));
        });
    }

    /// What was read as there and has expired since would not be there at the moment of the commit.
    #[test]
    fn what_expires_meanwhile_stands_against_it() {
        everywhere(async |db, world| {
            for isolation in BOTH {
                for by_scan in [true, false] {
                    let options = WriteOptions { ttl: Some(Duration::from_millis(100)), ..WriteOptions::default() };
                    db.put_with("session", "1", options).await.unwrap();
                    let (one, two) = (begin(&db, isolation), begin(&db, isolation));
                    for (transaction, seen) in [(&one, "1"), (&two, "2")] {
                        match by_scan {
                            true => assert_eq!(keys(transaction, "session").await.len(), 1),
                            false => assert!(transaction.contains("session").await.unwrap()),
                        }
                        transaction.put(seen, "1").unwrap();
                    }
                    world.clock.advance(99);
                    assert!(!conflicts(one).await);
                    world.clock.advance(1);
                    assert_eq!(conflicts(two).await, isolation == Isolation::Serializable);
                }
            }
        });
    }
}

mod ends_of_transactions {
    use super::*;

    fn kind<T: std::fmt::Debug>(outcome: halite::Result<T>) -> ErrorKind {
        outcome.unwrap_err().kind()
    }

    /// In [`Db::transact`] a handle may outlive its transaction; so may a scan.
    #[test]
    fn what_has_ended_says_so() {
        everywhere(async |db, _| {
            with(&db, &[("a", "1"), ("b", "1")]).await;
            let kept = std::cell::RefCell::new(None);
            db.transact(async |transaction| {
                let mut scan = transaction.scan(..);
                scan.try_next().await?;
                transaction.put("c", "1")?;
                *kept.borrow_mut() = Some((transaction, scan));
                Ok(())
            })
            .await
            .unwrap();
            let (transaction, mut scan) = kept.take().unwrap();
            assert_eq!(kind(transaction.get("a").await), ErrorKind::InvalidInput);
            assert_eq!(kind(transaction.put("a", "2")), ErrorKind::InvalidInput);
            assert_eq!(kind(transaction.delete("a")), ErrorKind::InvalidInput);
            assert_eq!(kind(transaction.scan(..).try_next().await), ErrorKind::InvalidInput);
            assert_eq!(kind(scan.try_next().await), ErrorKind::InvalidInput);
            assert!(scan.try_next().await.unwrap().is_none(), "after an error it ends");
            assert_eq!(kind(transaction.commit().await), ErrorKind::InvalidInput);
            assert_eq!(read_all(&db).await.unwrap().len(), 3);
        });
    }

    #[test]
    fn bad_writes_are_refused_at_once_and_end_nothing() {
        everywhere(async |db, _| {
            let transaction = db.begin();
            assert_eq!(kind(transaction.put(vec![0; (64 << 10) + 1], "")), ErrorKind::InvalidInput);
            transaction.put("a", "1").unwrap();
            transaction.commit_with(Durability::Deferred).await.unwrap();
            assert_eq!(db.get("a").await.unwrap(), Some(bytes(b"1")));
        });
    }

    #[test]
    fn after_reopen_and_close_old_transactions_fail() {
        for append in [true, false] {
            let simulated = SimulatedOptions { seed: 9, append, yields: true, ..SimulatedOptions::default() };
            for store in [Store::memory(append), Store::simulated(simulated)] {
                let mut world = World::new(store, small_options(), 9);
                process(async {
                    let db = world.open().await.unwrap();
                    db.put("a", "1").await.unwrap();
                    let [writer, blind, reader] = [(); 3].map(|()| db.begin());
                    assert_eq!(text(&writer, "a").await.as_deref(), Some("1"));
                    writer.put("a", "2").unwrap();
                    blind.put("b", "2").unwrap();
                    assert_eq!(text(&reader, "a").await.as_deref(), Some("1"));
                    let next = db.reopen().await.unwrap();
                    for transaction in [writer, blind] {
                        assert_eq!(kind(ends("commit", transaction.commit()).await.unwrap()), ErrorKind::Fenced);
                    }
                    let late = db.begin();
                    late.put("a", "3").unwrap();
                    assert_eq!(kind(late.commit().await), ErrorKind::Fenced);
                    let runs = Cell::new(0);
                    let again = db.transact(async |transaction| {
                        runs.set(runs.get() + 1);
                        transaction.put("a", "3")
                    });
                    assert_eq!((kind(again.await), runs.get()), (ErrorKind::Fenced, 1));
                    assert_eq!(kind(db.increment("n", 1).await), ErrorKind::Fenced);
                    assert_eq!(read_all(&next).await.unwrap().len(), 1);

                    let open = next.begin();
                    open.put("a", "4").unwrap();
                    next.close().await.unwrap();
                    assert_eq!(kind(open.get("b").await), ErrorKind::Closed);
                    assert_eq!(kind(open.commit().await), ErrorKind::Closed);
                    assert_eq!(kind(next.compare_and_swap("a", None, None).await), ErrorKind::Closed);
                });
            }
        }
    }

    /// So much is written while it is open that there is no saying any more whether anything stands against it.
    #[test]
    fn a_transaction_older_than_the_window_is_refused() {
        for (window, segments, refused) in [(0, 1, false), (0, 4, true), (64 << 10, 4, false), (64 << 10, 40, true)] {
            for append in [true, false] {
                let options = Options { transaction_window_bytes: window, ..small_options() };
                let mut world = World::new(Store::memory(append), options, 9);
                process(async {
                    let db = world.open().await.unwrap();
                    let [old, reader] = [(); 2].map(|()| db.begin());
                    assert!(!old.contains("mine").await.unwrap());
                    assert!(!reader.contains("other:0").await.unwrap());
                    old.put("mine", "1").unwrap();
                    for n in 0..segments * 10 {
                        db.put(format!("other:{n}"), "x".repeat(380)).await.unwrap();
                    }
                    let blind = db.begin();
                    blind.put("blind", "1").unwrap();
                    let story = format!("window={window} segments={segments} append={append}");
                    assert_eq!(conflicts(old).await, refused, "{story}");
                    assert!(!reader.contains("other:0").await.unwrap(), "{story}");
                    assert!(!conflicts(reader).await && !conflicts(blind).await, "{story}");
                    // One that begins now is compared with what comes now.
                    let young = db.begin();
                    assert_eq!(young.contains("mine").await.unwrap(), !refused);
                    young.put("young", "1").unwrap();
                    assert!(!conflicts(young).await, "{story}");
                    db.close().await.unwrap();
                });
            }
        }
    }
}

mod transact {
    use super::*;

    /// A hundred tasks that each add one to the same number: none is lost, and none fails.
    #[test]
    fn contended_updates_all_count() {
        everywhere(async |db, _| {
            let tasks = (0..24).map(|task| {
                let db = db.clone();
                async move {
                    let isolation = BOTH[task % 2];
                    let options = TransactionOptions { isolation, attempts_max: 1000, ..TransactionOptions::default() };
                    db.transact_with(options, async |transaction| {
                        let sum = number(&transaction, "n").await + 1;
                        transaction.put("n", sum.to_string())?;
                        Ok(sum)
                    })
                    .await
                    .unwrap()
                }
            });
            let mut sums = ends("24 tasks", futures::future::join_all(tasks)).await.unwrap();
            sums.sort_unstable();
            assert_eq!(sums, (1..=24).collect::<Vec<_>>());
        });
    }

    #[test]
    fn attempts_are_bounded() {
        everywhere(async |db, _| {
            for (attempts_max, expected) in [(0, 1), (1, 1), (7, 7)] {
                let runs = Cell::new(0);
                let options = TransactionOptions { attempts_max, ..TransactionOptions::default() };
                let outcome = db.transact_with(options, async |transaction| {
                    runs.set(runs.get() + 1);
                    transaction.get("a").await?;
                    transaction.put("b", "1")?;
                    db.put("a", "1").await
                });
                assert_eq!(outcome.await.unwrap_err().kind(), ErrorKind::Conflict);
                assert_eq!(runs.get(), expected);
                assert_eq!(db.get("b").await.unwrap(), None);
            }
        });
    }

    /// A failure of the work rolls back and is the answer; so is what it returns after having rolled back itself.
    #[test]
    fn the_work_may_give_up() {
        everywhere(async |db, _| {
            let failed = db.transact(async |transaction| {
                transaction.put("a", "1")?;
                transaction.put(vec![0; 1 << 20], "too long")
            });
            assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::InvalidInput);
            let answer = db.transact(async |transaction| {
                transaction.put("a", "1")?;
                transaction.rollback();
                Ok("not today")
            });
            assert_eq!(answer.await.unwrap(), "not today");
            assert!(read_all(&db).await.unwrap().is_empty());
            let own_commit = db.transact(async |transaction| {
                transaction.put("a", "1")?;
                transaction.commit_with(Durability::Written).await?;
                Ok(3)
            });
            assert_eq!(own_commit.await.unwrap(), 3);
            assert_eq!(db.get("a").await.unwrap(), Some(bytes(b"1")));
        });
    }

    /// Its future can be spawned, whichever way the work is written.
    #[test]
    fn it_runs_on_any_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let db = Db::open("mem:").await.unwrap();
            let (one, two) = (db.clone(), db.clone());
            let keys = ["a".to_owned(), "b".to_owned()];
            let first = tokio::spawn(async move {
                let keys = &keys;
                one.transact(|transaction| async move {
                    transaction.put(&keys[0], "1")?;
                    transaction.get(&keys[1]).await
                })
                .await
            });
            let second = tokio::spawn(async move {
                two.transact(async |transaction| {
                    transaction.get("a").await?;
                    transaction.put("c", "1")
                })
                .await
            });
            first.await.unwrap().unwrap();
            second.await.unwrap().unwrap();
            db.close().await.unwrap();
        });
    }
}
