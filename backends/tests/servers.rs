//! Real servers through the conformance suite. `cargo xtask servers` starts them and says where they are:
//!
//! | variable | what it names |
//! | --- | --- |
//! | `HALITE_S3` | a bucket whose server keeps its conditions, as a URI |
//! | `HALITE_AZBLOB` | a container, likewise |
//! | `HALITE_S3_DEAF` | a bucket whose server does not hear conditions |
//!
//! Any other store can be put in their place, as a bucket at Amazon: each test makes a prefix of its own there, and leaves
//! what it wrote.
#![allow(clippy::unwrap_used)]

use halite_backends::{Backend, conformance, open_uri};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The store under a new prefix of the bucket that the variable `name` says.
fn store(name: &str) -> impl Fn() -> Arc<dyn Backend> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let uri = std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask servers`"));
    let (bucket, options) = uri.split_once('?').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let run = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    move || {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        open_uri(&format!("{bucket}/{run}-{next}?{options}"), true).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3() {
    let store = store("HALITE_S3");
    conformance::run(&store).await;
}

#[tokio::test]
async fn azblob() {
    let store = store("HALITE_AZBLOB");
    conformance::run(&store).await;
}

/// Such servers are about: the suite must find them.
#[tokio::test]
async fn a_server_that_does_not_hear_conditions_fails() {
    let store = store("HALITE_S3_DEAF");
    let races = tokio::spawn(async move { conformance::racing_creates(&[store()]).await });
    let message = races.await.unwrap_err().into_panic();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("exactly one succeeds"), "{message}");
}
