//! What an opening after a crash leaves to the background, and what it does not.

#![allow(clippy::unwrap_used)]
use crate::backends::{Backend, Memory, Path};
use crate::format::names;
use crate::publish::read_all;
use crate::{Commit, Db, Durability, ErrorKind, WriteOptions};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Polls `work` to its end while no task of the runtime runs beside it.
fn alone<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

async fn open(backend: &Arc<Memory>) -> Db {
    Db::builder(backend.clone()).open().await.unwrap()
}

fn waiting(db: &Db) -> usize {
    db.core().log.inspect(|queue| queue.unsealed())
}

fn runs(db: &Db) -> usize {
    db.core().versions.load().runs.len()
}

async fn segments(backend: &Memory) -> Vec<Path> {
    let mut listed: Vec<_> = backend.list(names::SEGMENTS).map_ok(|meta| meta.path).try_collect().await.unwrap();
    listed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    listed
}

#[tokio::test]
async fn what_was_replayed_is_served_at_once_and_sealed_later() {
    let backend = Arc::new(Memory::new());
    let db = open(&backend).await;
    for number in 0..100 {
        db.put(format!("key {}", number % 60), format!("value {number}")).await.unwrap();
    }
    db.delete_prefix("key 5").await.unwrap();
    let before: Vec<Commit> = db.watch("", 1).until(101).try_collect().await.unwrap();
    // Without a close.
    drop(db);

    let db = open(&backend).await;
    assert_eq!((waiting(&db), runs(&db)), (1, 0));
    let check = async |db: &Db| {
        assert_eq!(db.get("key 7").await.unwrap().unwrap(), "value 67");
        assert_eq!(db.get("key 55").await.unwrap(), None);
        assert_eq!(db.scan(..).try_collect::<Vec<_>>().await.unwrap().len(), 49);
        let after: Vec<Commit> = db.watch("", 1).until(101).try_collect().await.unwrap();
        assert!(after == before, "the past is still there");
    };
    alone(check(&db));
    assert_eq!(waiting(&db), 1);
    db.core().log.all_sealed().await.unwrap();
    assert_eq!((waiting(&db), runs(&db)), (0, 1));
    check(&db).await;
    db.verify().await.unwrap();
    db.close().await.unwrap();
    assert_eq!(segments(&backend).await.len(), 1, "and nothing else is left");
}

#[tokio::test]
async fn processes_that_die_before_they_seal_anything_do_not_make_the_log_longer_and_longer() {
    let backend = Arc::new(Memory::new());
    for life in 0..6_usize {
        let db = open(&backend).await;
        assert_eq!((waiting(&db), runs(&db)), (life.min(super::replay::WAITING_MAX), life.saturating_sub(2)));
        for before in 0..life {
            assert_eq!(alone(db.get(format!("life {before}"))).unwrap().unwrap(), "lived");
        }
        alone(db.put(format!("life {life}"), "lived")).unwrap();
        drop(db);
    }
    let db = open(&backend).await;
    let all: Vec<Commit> = db.watch("", 1).until(db.snapshot().seq()).try_collect().await.unwrap();
    assert_eq!(all.len(), 6);
    db.verify().await.unwrap();
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_log_that_cannot_be_replayed_leaves_no_copy_of_its_beginning() {
    let backend = Arc::new(Memory::new());
    let db = open(&backend).await;
    let deferred = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
    for number in 0..6_u8 {
        db.put_with([number], vec![number; 1 << 20], deferred).await.unwrap();
    }
    db.flush().await.unwrap();
    db.put("last", "one").await.unwrap();
    drop(db);
    let [log] = &segments(&backend).await[..] else { panic!("there is one segment") };
    let mut damaged = BytesMut::from(&read_all(&*backend, log).await.unwrap()[..]);
    damaged[5 << 20] ^= 1;
    backend.delete(log).await.unwrap();
    backend.create(log, Bytes::from(damaged)).await.unwrap();

    let failed = Db::builder(backend.clone()).open().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Corruption, "{failed}");
    assert_eq!(&segments(&backend).await, std::slice::from_ref(log));
}

#[tokio::test]
async fn what_was_written_anew_is_no_history() {
    let backend = Arc::new(Memory::create_only());
    let db = open(&backend).await;
    for number in 0..10 {
        db.put("key", format!("value {number}")).await.unwrap();
    }
    drop(db);
    let db = open(&backend).await;
    assert_eq!((waiting(&db), runs(&db), db.stats().history_from), (0, 1, 11));
    let gone = db.watch("", 10).try_next().await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Gone, "{gone}");
    let seq = db.snapshot().seq() + 1;
    db.put("key", "later").await.unwrap();
    assert_eq!(db.watch("", 11).try_next().await.unwrap().unwrap().seq, seq);
    drop(db);
    // The manifest says so, too.
    assert_eq!(open(&backend).await.stats().history_from, seq + 1);
}
