//! A database in an object store whose futures are polled outside of any runtime, by an executor that knows nothing of tokio.
//!
//! The engine makes pauses and reads ahead, and OpenDAL sends requests and measures their time: each of these panics where
//! there is no runtime, unless somebody sees to it that there is one.
#![allow(clippy::unwrap_used)]

use futures::{StreamExt, TryStreamExt};
use halite::backends::opendal::{Operator, services};
use halite::backends::{Backend, ErrorKind, Limit, Memory, Objects, ObjectsOptions, Path};
use halite::{Db, Limits, Options, VerifyOptions, WarmOptions};
use std::num::{NonZeroU32, NonZeroU64};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor that knows nothing of tokio.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn bucket() -> Arc<dyn Backend> {
    let operator = Operator::new(services::Memory::default()).unwrap();
    Arc::new(Objects::new(operator, ObjectsOptions::default()))
}

#[test]
fn whatever_is_polled_outside_of_the_runtime_goes_on() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (handle, (stop, stopped)) = (runtime.handle().clone(), tokio::sync::oneshot::channel::<()>());
    let driven = thread::spawn(move || runtime.block_on(stopped));
    let store = bucket();
    let open = async {
        // Nothing of it stays in memory, so that scans read ahead.
        let limit = Limit { requests_per_second: NonZeroU32::new(10_000), ..Limit::default() };
        let limits = Limits { read: limit, warm: limit, commit: limit, ..Limits::default() };
        let options = Options { memory_budget: Some(0), segment_bytes_max: 1 << 20, limits, ..Options::default() };
        let db = Db::builder(store.clone()).options(options.clone()).open().await.unwrap();
        (db, Db::builder(store.clone()).options(options))
    };
    let (db, readers) = handle.block_on(open);
    block_on(async {
        let mut batch = halite::WriteBatch::new();
        for n in 0..2000_u32 {
            batch = batch.put(format!("{n:05}"), [7; 1000]);
        }
        db.write(batch).await.unwrap();
        db.checkpoint("sealed").await.unwrap();
        db.compact().await.unwrap();
        db.warm(.., WarmOptions::default()).await.unwrap();
        assert_eq!(db.scan(..).count().await, 2000);
        assert_eq!(db.scan(..).rev().count().await, 2000);
        assert!(db.get("01234").await.unwrap().is_some());
        let rate = NonZeroU64::new(1 << 30);
        let options = VerifyOptions { bytes_per_second: rate, digests: true, ..VerifyOptions::default() };
        let report = db.verify_with(options, |_| {}).await;
        assert!(report.unwrap().damage.is_empty());
        assert!(db.maintain(Duration::from_secs(60)).await.unwrap());

        // Each attempt but the last is spoilt, so that the pauses between them are made.
        let attempts = AtomicU32::new(0);
        let spoilt = db.transact(|txn| {
            let (db, attempts) = (&db, &attempts);
            async move {
                txn.get("contended").await?;
                if attempts.fetch_add(1, Ordering::Relaxed) < 8 {
                    db.put("contended", "other").await?;
                }
                txn.put("contended", "mine")
            }
        });
        spoilt.await.unwrap();

        let (backups, copy) = (bucket(), bucket());
        db.backup(backups.clone(), "one").await.unwrap();
        db.copy_to(copy).await.unwrap();
    });
    let reader = handle.block_on(readers.open_read_only()).unwrap();
    block_on(async {
        let all: Vec<_> = reader.scan(..).try_collect().await.unwrap();
        assert_eq!(all.len(), 2001);
        assert!(reader.verify().await.unwrap().damage.is_empty());
        reader.copy_to(Arc::new(Memory::new())).await.unwrap();
        db.close().await.unwrap();
    });
    drop(stop);
    assert!(driven.join().unwrap().is_err());
}

/// Where there never was a runtime, that is said.
#[test]
fn a_store_without_a_runtime_says_so() {
    let store = bucket();
    let (name, refused) = (Path::new("segments/1").unwrap(), Some(ErrorKind::InvalidInput));
    block_on(async {
        assert_eq!(store.create(&name, "x".into()).await.err().map(|error| error.kind()), refused);
        assert_eq!(store.read_whole(&name).await.err().map(|error| error.kind()), refused);
        assert_eq!(store.exists(&name).await.err().map(|error| error.kind()), refused);
        assert_eq!(store.delete(&name).await.err().map(|error| error.kind()), refused);
        let mut listed = store.list("");
        assert_eq!(listed.next().await.unwrap().err().map(|error| error.kind()), refused);
    });
}
