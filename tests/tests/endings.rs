//! How a database comes to its end while it is at work: opened anew, its runtime gone, its storage out of its mind.
//!
//! Nobody is told what is not true, nobody waits for ever, and the store can be opened again.
#![allow(clippy::unwrap_used)]

use futures::FutureExt;
use halite::backends::{Local, SimulatedOptions};
use halite::{Db, Durability, ErrorKind, WriteOptions};
use halite_tests::scratch::Folder;
use halite_tests::world::{Store, World, ends, process, read_all, small_options};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;

/// A put is under way, this or that far, when the handle is opened anew: `Ok` and "nothing happened" are both true.
#[test]
fn a_commit_under_way_when_the_database_is_opened_anew() {
    let mut told = BTreeSet::new();
    for append in [true, false] {
        for (polls, seed) in (0..30).flat_map(|polls| (0..8).map(move |seed| (polls, seed))) {
            let story = format!("append={append} seed={seed}: opened anew after {polls} polls");
            let options = SimulatedOptions { seed, append, yields: true, ..SimulatedOptions::default() };
            let mut world = World::new(Store::simulated(options), small_options(), seed);
            process(async {
                let old = world.open().await.unwrap();
                let mut put = pin!(old.put("k", "1"));
                let polled = (0..polls).find_map(|_| put.as_mut().now_or_never());
                let new = old.reopen().await.unwrap();
                let answer = match polled {
                    Some(answer) => answer,
                    None => ends("the put", put).await.expect(&story),
                };
                let is_there = new.contains("k").await.unwrap();
                let answer = answer.map_err(|error| error.kind());
                match answer {
                    Ok(()) => assert!(is_there, "{story}: acknowledged, and lost"),
                    Err(ErrorKind::Unknown) => {}
                    Err(kind) => assert!(!is_there, "{story}: {kind:?} says that nothing happened, but it did"),
                }
                told.insert(format!("{answer:?}"));
            });
        }
    }
    assert_eq!(told.len(), 3, "all three endings: {told:?}");
}

/// The last handle is dropped while the storage has not taken everything yet, and then the runtime ends.
#[test]
fn a_runtime_that_ends_lets_go_of_the_store() {
    let folder = Folder::new("runtime-ends");
    let backend = || Arc::new(Local::open(folder.path().join("store"), true).unwrap());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for round in 0..3 {
        let runtime = runtime();
        runtime.block_on(async {
            let db = Db::builder(backend()).open().await.unwrap();
            let options = WriteOptions { durability: Durability::Deferred, ttl: None };
            db.put_with(format!("k{round}"), "1", options).await.unwrap();
        });
    }
    runtime().block_on(async {
        let db = Db::builder(backend()).open().await.unwrap();
        read_all(&db).await.unwrap();
        db.close().await.unwrap();
    });
}
