#![allow(clippy::unwrap_used)]
use super::*;
use crate::backends::{Backend, Memory};
use crate::{Durability, ErrorKind, Options, Ttl};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn open(backend: &Memory, options: Options) -> Db {
    let backend: Arc<dyn Backend> = Arc::new(backend.clone());
    Db::open_with(crate::Db::builder(backend).options(options)).unwrap()
}

fn deferred() -> WriteOptions {
    WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() }
}

#[test]
fn all_calls_do_what_the_async_ones_do() {
    for memory in [Memory::new(), Memory::create_only()] {
        let db = open(&memory, Options { segment_bytes_max: 4096, ..Options::default() });
        for number in 0..300 {
            db.put(format!("key:{number:03}"), vec![number as u8; 50]).unwrap();
        }
        let before = db.snapshot();
        db.delete("key:007").unwrap();
        db.write(WriteBatch::new().put("a", "1").delete("key:008")).unwrap();
        db.put_with("gone", "soon", WriteOptions { ttl: Some(Duration::ZERO), ..deferred() }).unwrap();
        db.flush().unwrap();
        assert_eq!(db.get("gone").unwrap(), None);
        assert!(!db.contains("key:007").unwrap() && before.contains("key:007").unwrap());
        assert_eq!(before.get_entry("key:008").unwrap().unwrap().value, vec![8; 50]);
        assert_eq!(db.get_entry("a").unwrap().unwrap().value, "1");
        assert_eq!((db.prefix("key:").count(), before.prefix("key:").count()), (298, 300));
        let last: Vec<_> = db.scan(.."key:003").rev().limit(2).map(|entry| entry.unwrap().key).collect();
        assert_eq!(last, ["key:002", "key:001"]);
        let keys: Vec<_> = db.scan("key:005"..).keys_only().limit(3).map(|entry| entry.unwrap().key).collect();
        assert_eq!(keys, ["key:005", "key:006", "key:009"]);
        let seqs: Vec<_> = db.watch("key:", 300).until(301).map(|commit| commit.unwrap().seq).collect();
        assert_eq!(seqs, [300, 301]);
        db.compact().unwrap();
        assert!(db.verify().unwrap().damage.is_empty());
        assert_eq!(before.scan(..).count(), 300);
        drop(before);
        db.close().unwrap();
        assert_eq!(db.get("a").unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(db.scan(..).next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
        let db = db.reopen().unwrap();
        assert_eq!(db.prefix("key:").filter(Result::is_ok).count(), 298);
    }
}

#[test]
fn many_threads_call_at_once() {
    let db = open(&Memory::new(), Options { segment_bytes_max: 16 << 10, ..Options::default() });
    std::thread::scope(|scope| {
        for writer in 0..8_u32 {
            let db = db.clone();
            scope.spawn(move || {
                for number in 0..200_u32 {
                    let key = format!("{writer}:{number:03}");
                    db.put(&key, key.repeat(5)).unwrap();
                    assert_eq!(db.get(&key).unwrap().unwrap(), key.repeat(5));
                }
                assert_eq!(db.prefix(format!("{writer}:")).count(), 200);
            });
        }
    });
    assert_eq!(db.scan(..).count(), 1600);
    db.close().unwrap();
}

/// Writers find what they have written, and snapshots stay as they are, while others seal and merge.
#[test]
fn threads_write_read_seal_and_merge_at_once() {
    const ROUNDS: u32 = 400;
    let db = open(&Memory::new(), Options { segment_bytes_max: 8 << 10, ..Options::default() });
    let key = |writer: u32, round: u32| format!("{writer}:{:02}", round % 50);
    let value = |round: u32| (!round.is_multiple_of(7)).then(|| round.to_string().repeat(30));
    let write = |writer: u32| {
        for round in 0..ROUNDS {
            match value(round) {
                Some(value) => db.put(key(writer, round), value).unwrap(),
                None => db.delete(key(writer, round)).unwrap(),
            }
            assert_eq!(db.get(key(writer, round)).unwrap(), value(round).map(Into::into));
        }
    };
    let writers_left = AtomicU32::new(4);
    let are_writing = || writers_left.load(Ordering::Relaxed) > 0;
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (write, writers_left) = (&write, &writers_left);
            scope.spawn(move || {
                let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| write(writer)));
                writers_left.fetch_sub(1, Ordering::Relaxed);
                written.unwrap();
            });
        }
        scope.spawn(|| {
            while are_writing() {
                let snapshot = db.snapshot();
                let forward: Vec<_> = snapshot.scan(..).map(|entry| entry.unwrap().key).collect();
                let mut backward: Vec<_> = snapshot.scan(..).rev().map(|entry| entry.unwrap().key).collect();
                backward.reverse();
                assert_eq!(forward, backward);
            }
        });
        scope.spawn(|| {
            while are_writing() {
                db.flush().unwrap();
                db.compact().unwrap();
            }
        });
    });
    for writer in 0..4 {
        for round in ROUNDS - 50..ROUNDS {
            assert_eq!(db.get(key(writer, round)).unwrap(), value(round).map(Into::into), "{writer} {round}");
        }
    }
    assert!(db.verify().unwrap().damage.is_empty());
    db.close().unwrap();
}

/// The intervals run between calls: nobody calls here, and yet what was deferred is written.
#[test]
fn background_work_needs_no_calls() {
    let options = Options { flush_interval: Duration::from_millis(1), ..Options::default() };
    let db = open(&Memory::new(), options);
    db.put_with("key", "value", deferred()).unwrap();
    while db.stats().unwritten_bytes > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn the_last_handle_writes_what_was_deferred() {
    let memory = Memory::new();
    let db = open(&memory, Options { flush_interval: Duration::from_secs(3600), ..Options::default() });
    db.put_with("key", "value", deferred()).unwrap();
    let (snapshot, scan) = (db.snapshot(), db.scan(..));
    drop(db);
    assert_eq!((snapshot.get("key").unwrap().unwrap(), scan.count()), ("value".into(), 1));
    drop(snapshot);
    let db = open(&memory, Options::default());
    assert_eq!(db.get("key").unwrap().unwrap(), "value");
}

#[test]
fn ranges_are_deleted() {
    let db = open(&Memory::new(), Options::default());
    for key in ["a", "b1", "b2", "c", "d"] {
        db.put(key, "").unwrap();
    }
    db.delete_prefix("b").unwrap();
    db.delete_range_with("d".., deferred()).unwrap();
    assert_eq!(db.scan(..).map(|entry| entry.unwrap().key).collect::<Vec<_>>(), ["a", "c"]);
    db.delete_range(.."b").unwrap();
    let numbers = db.collection::<u32, u32>("numbers");
    (0..5).for_each(|number| numbers.put(number, &number).unwrap());
    numbers.delete_range(1..=2).unwrap();
    assert_eq!(numbers.scan(..).count(), 3);
    numbers.clear().unwrap();
    assert_eq!((numbers.scan(..).count(), db.scan(..).count()), (0, 1));
    db.clear().unwrap();
    assert_eq!(db.scan(..).count(), 0);
}

#[tokio::test]
async fn in_async_code_it_refuses_and_does_not_panic() {
    let refused = Db::open("mem:").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("halite::Db"), "{refused}");
    let db = std::thread::scope(|scope| {
        let elsewhere = scope.spawn(|| open(&Memory::new(), Options::default()));
        elsewhere.join().unwrap()
    });
    assert_eq!(db.put("key", "value").unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(db.scan(..).next().unwrap().unwrap_err().kind(), ErrorKind::InvalidInput);
    // The async handle serves here, and dropping the database blocks nobody.
    db.as_async().put("key", "value").await.unwrap();
    drop(db);
}

#[test]
fn a_store_that_cannot_be_opened_leaves_nothing_behind() {
    let memory = Memory::new();
    let options = Options { create_if_missing: false, ..Options::default() };
    let builder = crate::Db::builder(Arc::new(memory)).options(options);
    assert_eq!(Db::open_with(builder).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn any_future_can_be_run() {
    let db = open(&Memory::new(), Options::default());
    let both = futures::future::try_join(db.as_async().put("a", "1"), db.as_async().put("b", "2"));
    db.run(both).unwrap().unwrap();
    assert_eq!(db.scan(..).count(), 2);
}

#[test]
fn collections_block_too() {
    let db = open(&Memory::new(), Options::default());
    let visits = db.collection::<(String, u32), u64>("visits");
    for day in 0..200 {
        visits.put(("home".to_owned(), day), &u64::from(day)).unwrap();
    }
    let before = db.snapshot();
    let mut batch = WriteBatch::new();
    visits.delete_in(&mut batch, ("home".to_owned(), 7));
    visits.put_in(&mut batch, ("about".to_owned(), 0), &1).unwrap();
    db.write(batch).unwrap();
    visits.delete(("home".to_owned(), 8)).unwrap();
    assert_eq!(visits.get(("home".to_owned(), 9)).unwrap(), Some(9));
    assert!(!visits.contains(("home".to_owned(), 7)).unwrap());
    assert_eq!((visits.prefix(("home",)).count(), visits.scan(..).keys().count()), (198, 199));
    let old = before.collection::<(String, u32), u64>("visits");
    let sum: u64 = old.scan(..).map(|visit| visit.unwrap().1).sum();
    assert_eq!((sum, old.name()), (199 * 200 / 2, "visits"));
    let transaction = db.begin();
    let inside = transaction.collection::<(String, u32), u64>("visits");
    inside.delete_range(..("home".to_owned(), 198)).unwrap();
    inside.put(("home".to_owned(), 200), &200).unwrap();
    inside.put_with(("home".to_owned(), 201), &201, Duration::from_secs(3600)).unwrap();
    inside.delete(("home".to_owned(), 198)).unwrap();
    let left: Vec<_> = inside.scan(..).rev().map(|visit| visit.unwrap().1).collect();
    assert_eq!(left, [201, 200, 199]);
    assert_eq!(inside.prefix(("home",)).limit(1).keys().next().unwrap().unwrap().1, 199);
    inside.clear().unwrap();
    transaction.commit().unwrap();
    assert_eq!(visits.scan(..).count(), 0);
}

#[test]
fn one_key_is_changed_on_what_it_holds() {
    let db = open(&Memory::new(), Options::default());
    assert!(db.compare_and_swap("key", None, Some(b"1")).unwrap());
    assert!(!db.compare_and_swap_with("key", Some(b"2"), None, deferred()).unwrap());
    assert_eq!(db.increment("key", 4).unwrap(), 5);
    assert_eq!(db.increment_with("key", -6, deferred()).unwrap(), -1);
    let doubled = db.update("key", |found| found.map(|found| [&found[..], &found[..]].concat())).unwrap();
    assert_eq!(doubled.unwrap(), "-1-1");
    assert_eq!(db.update_with("key", |_| None::<Bytes>, deferred()).unwrap(), None);
    assert_eq!(db.ttl("key").unwrap(), None);
    db.put("key", "value").unwrap();
    let hour = Duration::from_secs(3600);
    assert!(db.expire("key", hour).unwrap() && matches!(db.ttl("key").unwrap(), Some(Ttl::Remaining(_))));
    assert!(db.persist("key").unwrap() && db.ttl("key").unwrap() == Some(Ttl::Forever));
    assert!(db.expire_with("key", WriteOptions { ttl: Some(Duration::ZERO), ..deferred() }).unwrap());
    assert!(!db.contains("key").unwrap());
}

/// Threads move money between accounts; each sees the sum as it must be, and nothing is lost.
#[test]
fn threads_run_transactions() {
    let db = open(&Memory::new(), Options::default());
    let account = |number: u32| format!("account:{number}");
    (0..4).for_each(|number| db.put(account(number), "100").unwrap());
    std::thread::scope(|scope| {
        for mover in 0..4 {
            let db = db.clone();
            scope.spawn(move || {
                for round in 0..50_u32 {
                    let (from, to) = (account((mover + round) % 4), account((mover * round + 1) % 4));
                    db.transact(|transaction| {
                        let number = |key: &str| -> Result<i64> {
                            let value = transaction.get(key)?.unwrap();
                            Ok(std::str::from_utf8(&value).unwrap().parse().unwrap())
                        };
                        let sum: i64 = transaction.prefix("account:").map(|entry| value_of(&entry.unwrap())).sum();
                        assert_eq!(sum, 400);
                        transaction.put(&from, (number(&from)? - 1).to_string())?;
                        transaction.put(&to, (number(&to)? + 1).to_string())
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!(db.prefix("account:").map(|entry| value_of(&entry.unwrap())).sum::<i64>(), 400);
}

fn value_of(entry: &Entry) -> i64 {
    std::str::from_utf8(&entry.value).unwrap().parse().unwrap()
}

#[test]
fn transactions_end_as_async_ones_do() {
    let db = open(&Memory::new(), Options::default());
    db.put("a", "1").unwrap();
    let (first, second) = (db.begin(), db.begin());
    let keys: Vec<_> = first.scan(..).rev().keys_only().limit(9).map(|entry| entry.unwrap().key).collect();
    assert_eq!(keys, ["a"]);
    first.put_with("b", "2", Duration::from_secs(60)).unwrap();
    first.delete("a").unwrap();
    first.delete_prefix("c").unwrap();
    first.delete_range("d"..).unwrap();
    assert_eq!((first.get_entry("b").unwrap().unwrap().seq, first.contains("a").unwrap()), (0, false));
    assert_eq!((first.seq(), first.seq()), (second.seq(), 1));
    assert!(second.contains("a").unwrap());
    second.put("a", "2").unwrap();
    first.commit_with(Durability::Deferred).unwrap();
    assert_eq!(second.commit().unwrap_err().kind(), ErrorKind::Conflict);
    let third = db.begin();
    third.put("a", "3").unwrap();
    third.rollback();
    assert!(!db.contains("a").unwrap());
    // One that rolls itself back has an answer, and one that fails has an error; neither leaves a trace.
    let answer = db.transact(|transaction| {
        transaction.put("a", "4")?;
        transaction.rollback();
        Ok(7)
    });
    assert_eq!(answer.unwrap(), 7);
    let refused = db.transact(|transaction| transaction.put("a", "5").and(transaction.put(vec![0; 70_000], "")));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    // Without an end to conflicts it gives up in the end.
    let mut attempts = 0;
    let options = crate::TransactionOptions { attempts_max: 3, ..Default::default() };
    let lost = db.transact_with(options, |transaction| {
        attempts += 1;
        transaction.get("b")?;
        db.put("b", attempts.to_string())?;
        transaction.put("a", "6")
    });
    assert_eq!((lost.unwrap_err().kind(), attempts), (ErrorKind::Conflict, 3));
    assert!(!db.contains("a").unwrap());
    // A transaction is a handle, too.
    let last = db.begin();
    drop(db);
    last.put("a", "7").unwrap();
    assert_eq!(last.get("a").unwrap().unwrap(), "7");
    last.commit().unwrap();
}

#[test]
fn readers_and_copies_block_too() {
    let (memory, backups, clone) = (Memory::new(), Memory::new(), Memory::new());
    let shared = |memory: &Memory| -> Arc<dyn Backend> { Arc::new(memory.clone()) };
    let db = open(&memory, Options::default());
    db.put("key", "old").unwrap();
    assert_eq!(db.checkpoint("monday").unwrap().seq, 1);
    let options = Options { refresh_interval: None, ..Options::default() };
    let reader = ReadOnly::open_with(crate::Db::builder(shared(&memory)).options(options)).unwrap();
    let names = db.collection::<u32, String>("names");
    names.put(1, &"Ada".to_owned()).unwrap();
    names.put(2, &"Grace".to_owned()).unwrap();
    db.put("key", "new").unwrap();
    assert_eq!((reader.get("key").unwrap().unwrap(), reader.seq().unwrap()), ("old".into(), 1));
    assert!(reader.refresh().unwrap() && !reader.refresh().unwrap());
    assert_eq!(reader.get_entry("key").unwrap().unwrap().value, "new");
    assert!(reader.contains("key").unwrap() && reader.prefix("k").count() == 1);
    let last: Vec<_> = reader.collection::<u32, String>("names").scan(..).rev().map(Result::unwrap).collect();
    assert_eq!(last, [(2, "Grace".to_owned()), (1, "Ada".to_owned())]);
    assert!(reader.verify().unwrap().damage.is_empty() && reader.time().unwrap() > 0);
    assert_eq!(reader.checkpoints().unwrap(), db.checkpoints().unwrap());
    assert_eq!((reader.stats().unwrap().visible_seq, reader.tree().unwrap().runs.len()), (4, 1));
    reader.backup(shared(&backups), "first").unwrap();
    let monday = ReadOnly::open_at(crate::Db::builder(shared(&memory)), "monday").unwrap();
    monday.clone_to(shared(&clone)).unwrap();
    assert_eq!(open(&clone, Options::default()).get("key").unwrap().unwrap(), "old");
    assert!(db.delete_checkpoint("monday").unwrap());
    db.backup(shared(&backups), "second").unwrap();
    let restored = Memory::new();
    Db::restore(shared(&backups), Some("first"), shared(&restored)).unwrap();
    assert_eq!(open(&restored, Options::default()).get("key").unwrap().unwrap(), "new");
    assert!(Db::delete_backup(shared(&backups), "first").unwrap());
    let (copied, salvaged) = (Memory::new(), Memory::new());
    db.clone_to(shared(&copied)).unwrap();
    assert!(repair(shared(&copied), shared(&salvaged)).unwrap().losses.is_empty());
    let mut told = 0;
    db.verify_with(VerifyOptions::default(), |_| told += 1).unwrap();
    assert!(told > 0);
    reader.close().unwrap();
    assert_eq!(reader.get("key").unwrap_err().kind(), ErrorKind::Closed);
}
