//! Transactions: what each isolation promises, anomaly by anomaly, and what ends them.
//!
//! Names of anomalies are those of Berenson et al., "A Critique of ANSI SQL Isolation Levels", and Fekete et al., "A
//! Read-Only Transaction Anomaly Under Snapshot Isolation".
#![allow(clippy::unwrap_used)]

mod anomalies;
mod endings;
mod reads;
mod transact;

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

/// Empty worlds of growing files and of fragments, in memory and simulated.
fn worlds() -> impl Iterator<Item = World> {
    let stores = [true, false].into_iter().flat_map(|append| {
        let simulated = SimulatedOptions { seed: 9, append, yields: true, ..SimulatedOptions::default() };
        [Store::memory(append), Store::simulated(simulated)]
    });
    stores.map(|store| World::new(store, small_options(), 9))
}

/// Runs `story` in each of the [`worlds`].
fn everywhere(story: impl AsyncFn(Db, World)) {
    for mut world in worlds() {
        process(async {
            let db = world.open().await.unwrap();
            story(db.clone(), world).await;
            assert_eq!(db.stats().transactions, 0, "a transaction has left its place in the window open");
            db.close().await.unwrap();
        });
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
