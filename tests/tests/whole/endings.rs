//! How a database comes to its end while it is at work: opened anew, its runtime gone, its storage out of its mind.
//!
//! Nobody is told what is not true, nobody waits for ever, and the store can be opened again.
#![allow(clippy::unwrap_used)]

use futures::FutureExt;
use halite::backends::{self, Fault, Local, Repeat, SimulatedOptions};
use halite::{Db, Durability, ErrorKind, WriteOptions};
use halite_tests::scratch::Folder;
use halite_tests::world::{Store, World, ends, process, read_all, runtime, small_options};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

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

/// The last handle goes where no runtime is, and what only this process has takes a while to be written: it is written.
#[test]
fn the_last_handle_may_go_outside_of_its_runtime() {
    let options = SimulatedOptions { seed: 2, append: false, lock: false, ..SimulatedOptions::default() };
    let mut world = World::new(Store::simulated(options), small_options(), 2);
    let runtime = runtime();
    let db = runtime.block_on(async {
        let db = world.open().await.unwrap();
        let options = WriteOptions { durability: Durability::Deferred, ttl: None };
        db.put_with("k", "1", options).await.unwrap();
        db
    });
    // The answer is lost, and nothing happened: the committer waits for a moment before it tries again.
    let disk = world.store.simulator();
    let fault =
        Fault { at_step: disk.steps(), kind: backends::ErrorKind::Unknown, repeat: Repeat::Once, applied: false };
    disk.fail_when(fault, |step| step.op == "create");
    drop(db);
    assert_eq!(disk.strikes(), 1);
    runtime.block_on(async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let db = world.open().await.unwrap();
        assert_eq!(db.get("k").await.unwrap().as_deref(), Some(&b"1"[..]));
        db.close().await.unwrap();
    });
}

/// What this process holds of the files below `folder`: descriptors and maps, those of deleted files too.
#[cfg(target_os = "linux")]
fn held(folder: &std::path::Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
    let files = descriptors.filter_map(|fd| Some(std::fs::read_link(fd.ok()?.path()).ok()?.display().to_string()));
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    files.chain(maps.lines().map(str::to_owned)).filter(|held| held.contains(folder)).collect()
}

/// Descriptors and maps of a store: none of what was deleted, however long it was in use, and none at all after its end.
#[cfg(target_os = "linux")]
#[test]
fn nothing_of_a_store_is_held_after_its_end() {
    let folder = Folder::new("held");
    let store = folder.path().join("store");
    for round in 0..4 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let backend = Arc::new(Local::open(&store, true).unwrap());
            let db = Db::builder(backend).options(small_options()).open().await.unwrap();
            for number in 0..120 {
                db.put(format!("k{}", number % 30), vec![number; 400]).await.unwrap();
            }
            let snapshot = db.snapshot();
            read_all(&db).await.unwrap();
            db.compact().await.unwrap();
            assert!(snapshot.get("k1").await.unwrap().is_some());
            drop(snapshot);
            assert!(!held(&store).is_empty(), "round {round}: an open store holds something");
            if round % 2 == 0 {
                db.close().await.unwrap();
                drop(db);
                assert_eq!(held(&store), [""; 0], "round {round}: after the close and the last handle");
            } else {
                drop(db);
            }
        });
        drop(runtime);
        assert_eq!(held(&store), [""; 0], "round {round}: after the runtime's end");
    }
}
