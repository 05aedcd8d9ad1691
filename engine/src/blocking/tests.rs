#![allow(clippy::unwrap_used)]
use super::*;
use crate::backends::{Backend, Memory};
use crate::{Durability, ErrorKind, Options};
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
}
