//! Snapshots stay as they are, whatever happens to the database they were taken of.
//!
//! Values are overwritten, deleted and expire; segments are sealed, merged and deleted; and each snapshot still shows what
//! the model held when it was taken, on growing files and on fragments, mapped and in memory.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, ErrorKind, Options, Snapshot, WriteOptions};
use halite_tests::history::State;
use halite_tests::random::Random;
use halite_tests::world::{Store, World, bytes, process, small_options};
use std::time::Duration;

async fn shown(snapshot: &Snapshot) -> State {
    snapshot.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap()
}

async fn check(taken: &[(Snapshot, State)], keys: u64) {
    for (snapshot, state) in taken {
        assert_eq!(&shown(snapshot).await, state, "scan at {}", snapshot.seq());
        let backward = snapshot.scan(..).rev().map_ok(|entry| (entry.key.to_vec(), entry.value));
        let backward: Vec<_> = backward.try_collect().await.unwrap();
        assert!(backward.into_iter().eq(state.clone().into_iter().rev()), "backward scan at {}", snapshot.seq());
        for key in (0..keys).map(name) {
            let expected = state.get(key.as_bytes());
            assert_eq!(snapshot.get(&key).await.unwrap().as_ref(), expected, "get {key} at {}", snapshot.seq());
            assert_eq!(snapshot.contains(&key).await.unwrap(), expected.is_some());
        }
        let prefix = shown_prefix(snapshot).await;
        let expected: State = state.clone().into_iter().filter(|(key, _)| key.starts_with(b"key1")).collect();
        assert_eq!(prefix, expected);
    }
}

async fn shown_prefix(snapshot: &Snapshot) -> State {
    snapshot.prefix("key1").map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap()
}

fn name(number: u64) -> String {
    format!("key{number:02}")
}

async fn change(db: &Db, world: &World, random: &mut Random, round: u64) {
    for n in 0..60 {
        let key = name(random.below(30));
        let durability = if n % 20 == 0 { Durability::Synced } else { Durability::Deferred };
        let ttl = random.chance(20).then(|| Duration::from_millis(random.below(3_000)));
        match random.chance(20) {
            true => db.delete_with(&key, WriteOptions { durability, ttl: None }).await.unwrap(),
            false => {
                let value = format!("{round} {n} {}", "x".repeat(random.below(200) as usize));
                db.put_with(&key, value, WriteOptions { durability, ttl }).await.unwrap();
            }
        }
    }
    world.clock.advance(random.below(1_500));
}

fn snapshots_stay(store: Store) {
    let mut world = World::new(store, small_options(), 5);
    process(async {
        let db = world.open().await.unwrap();
        let mut random = Random::new(5);
        let mut taken = Vec::new();
        for round in 0..24 {
            change(&db, &world, &mut random, round).await;
            let snapshot = db.snapshot();
            let state = halite_tests::world::read_all(&db).await.unwrap();
            assert_eq!(shown(&snapshot).await, state);
            taken.push((snapshot, state));
            if round % 7 == 3 {
                db.compact().await.unwrap();
            }
            check(&taken, 30).await;
            if taken.len() > 6 {
                taken.remove(random.below(6) as usize);
            }
        }
        // Once they are let go of, the space of what only they showed comes back.
        taken.clear();
        db.compact().await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(db.stats().segments, 1);
        let files = world.store.backend().list("segments").try_collect::<Vec<_>>().await.unwrap();
        assert!((1..=2).contains(&files.len()), "what snapshots held is still there: {files:?}");
        db.close().await.unwrap();
    });
}

#[test]
fn snapshots_stay_as_they_are() {
    for append in [true, false] {
        snapshots_stay(Store::memory(append));
        snapshots_stay(Store::simulated(SimulatedOptions { seed: 5, append, ..SimulatedOptions::default() }));
    }
}

#[test]
fn a_snapshot_of_a_closed_database_says_so() {
    process(async {
        let db = Db::open("mem:").await.unwrap();
        db.put("a", "1").await.unwrap();
        let snapshot = db.snapshot();
        assert_eq!(snapshot.get("a").await.unwrap(), Some(bytes(b"1")));
        assert_eq!(snapshot.get_entry("a").await.unwrap().unwrap().seq, snapshot.seq());
        db.close().await.unwrap();
        assert_eq!(snapshot.get("a").await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(snapshot.scan(..).try_next().await.unwrap_err().kind(), ErrorKind::Closed);
    });
}

/// It keeps the database open as another handle does.
#[test]
fn a_snapshot_outlives_the_handle_it_was_taken_of() {
    process(async {
        let db = Db::open("mem:").await.unwrap();
        db.put("a", "1").await.unwrap();
        let snapshot = db.snapshot();
        drop(db);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(snapshot.get("a").await.unwrap(), Some(bytes(b"1")));
    });
}

/// Files are opened when they are first needed; those that a snapshot has not looked into yet are merged away meanwhile.
#[test]
fn a_snapshot_keeps_files_that_nobody_has_opened_yet() {
    for append in [true, false] {
        let simulated = SimulatedOptions { seed: 3, append, map: false, ..SimulatedOptions::default() };
        let options = Options { memory_budget: Some(0), merge_in_background: false, ..small_options() };
        let mut world = World::new(Store::simulated(simulated), options, 3);
        process(async {
            let db = world.open().await.unwrap();
            for number in 0..200 {
                db.put(name(number % 50), format!("{number} {}", "x".repeat(200))).await.unwrap();
            }
            db.close().await.unwrap();
            let db = world.open().await.unwrap();
            let snapshot = db.snapshot();
            db.delete_range(..).await.unwrap();
            db.compact().await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(shown(&snapshot).await.len(), 50, "append={append}");
            drop(snapshot);
            db.close().await.unwrap();
        });
    }
}
