//! Checkpoints show what was there when they were taken, for as long as they are kept, and cost nothing after.
//!
//! Values are overwritten, deleted and expire, segments are merged, writers come, go and die; a checkpoint shows its state
//! to the byte, and when it is let go of the space that only it needed comes back. On growing files and on fragments.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite::backends::{Path, SimulatedOptions};
use halite::{Db, Durability, ErrorKind, WriteOptions};
use halite_tests::history::{Loss, State, compare};
use halite_tests::kept;
use halite_tests::random::Random;
use halite_tests::world::{Store, World, process, read_all, small_options, soundness};
use std::collections::BTreeMap;
use std::time::Duration;

fn stores() -> Vec<Store> {
    let kinds = [true, false].into_iter().flat_map(|append| {
        let options = SimulatedOptions { seed: 3, append, yields: true, ..SimulatedOptions::default() };
        [Store::memory(append), Store::simulated(options)]
    });
    kinds.collect()
}

/// Overwrites, deletes, and lets expire.
async fn change(db: &Db, random: &mut Random) {
    for n in 0..80 {
        let key = halite_tests::ops::key(random.below(40) as u16);
        let durability = if n % 20 == 0 { Durability::Synced } else { Durability::Deferred };
        let ttl = random.chance(20).then(|| Duration::from_millis(random.below(3_000)));
        match random.chance(20) {
            true => db.delete_with(&key, WriteOptions { durability, ttl: None }).await.unwrap(),
            false => {
                let value = format!("{n} {} {}", random.number(), "x".repeat(random.below(200) as usize));
                db.put_with(&key, value, WriteOptions { durability, ttl }).await.unwrap();
            }
        }
    }
}

async fn check(world: &World, db: &Db, expected: &BTreeMap<String, State>) {
    let listed: Vec<String> = db.checkpoints().await.unwrap().into_iter().map(|checkpoint| checkpoint.name).collect();
    assert_eq!(listed, expected.keys().cloned().collect::<Vec<_>>(), "in the order in which they were taken");
    for (name, state) in expected {
        compare(state, &kept::read(world, name).await.unwrap()).unwrap();
        let reader = world.open_at(name).await.unwrap();
        assert!(reader.verify().await.unwrap().damage.is_empty());
        assert!(reader.stats().unwrap().segments > 0);
    }
}

/// Files of segments that no version names.
async fn superfluous(world: &World, db: &Db) -> Vec<String> {
    let files: Vec<_> = world.store.backend().list("segments").try_collect().await.unwrap();
    let tree = db.tree().await.unwrap();
    let named: Vec<&str> = tree.runs.iter().flat_map(|run| &run.segments).map(|segment| &*segment.file).collect();
    files.iter().map(|meta| meta.path.to_string()).filter(|name| !named.contains(&&**name)).collect()
}

#[test]
fn checkpoints_stay_as_they_are_and_space_comes_back() {
    for store in stores() {
        let mut world = World::new(store, small_options(), 5);
        process(async {
            let mut db = world.open().await.unwrap();
            let mut random = Random::new(5);
            let mut expected = BTreeMap::new();
            for round in 0..20 {
                change(&db, &mut random).await;
                let name = format!("round {round:02}");
                let state = read_all(&db).await.unwrap();
                let checkpoint = db.checkpoint(&name).await.unwrap();
                assert_eq!((&*checkpoint.name, checkpoint.time), (&*name, world.clock.millis()));
                assert_eq!(checkpoint.seq, db.snapshot().seq());
                assert_eq!(world.open_at(&name).await.unwrap().time().unwrap(), checkpoint.time);
                expected.insert(name, state);
                world.clock.advance(random.below(1_500));
                if round % 7 == 3 {
                    db.compact().await.unwrap();
                }
                if round % 5 == 4 {
                    db.close().await.unwrap();
                    db = world.open().await.unwrap();
                }
                check(&world, &db, &expected).await;
                if expected.len() > 5 {
                    let name = expected.keys().nth(random.below(5) as usize).unwrap().clone();
                    assert!(db.delete_checkpoint(&name).await.unwrap());
                    assert!(!db.delete_checkpoint(&name).await.unwrap());
                    expected.remove(&name);
                }
            }
            db.compact().await.unwrap();
            let newest = expected.keys().last().unwrap().clone();
            for name in expected.keys() {
                assert_ne!(
                    superfluous(&world, &db).await.len(),
                    0,
                    "{name} and those after it need more than there is"
                );
                assert!(db.delete_checkpoint(name).await.unwrap());
                tokio::time::sleep(Duration::from_secs(1)).await;
                if *name != newest {
                    compare(&expected[&newest], &kept::read(&world, &newest).await.unwrap()).unwrap();
                }
            }
            assert_eq!(db.stats().runs, 1);
            // At most the file of the log that takes the next commits.
            let superfluous = superfluous(&world, &db).await;
            assert!(superfluous.len() <= 1, "what checkpoints held is still there: {superfluous:?}");
            let manifests = world.store.backend().list("manifest").try_collect::<Vec<_>>().await.unwrap();
            assert_eq!(manifests.len(), 1, "so are manifests: {manifests:?}");
            db.close().await.unwrap();
        });
    }
}

/// The segments of a store of one file each, by checkpoints that share them: each goes when the last that needs it does.
#[test]
fn a_segment_goes_with_the_last_checkpoint_that_needs_it() {
    for append in [true, false] {
        let mut world = World::new(Store::memory(append), small_options(), 1);
        process(async {
            let db = world.open().await.unwrap();
            let mut segments = Vec::new();
            for n in 0..3 {
                db.put(format!("key {n}"), "value").await.unwrap();
                db.checkpoint(format!("{n}")).await.unwrap();
                segments.push(db.tree().await.unwrap().runs[0].segments[0].file.clone());
            }
            db.compact().await.unwrap();
            let there = async |file: &str| world.store.backend().exists(&Path::new(file).unwrap()).await.unwrap();
            // The first segment is in all three, the last in one.
            for (delete, gone) in [("1", &[][..]), ("2", &[2, 1]), ("0", &[2, 1, 0])] {
                db.delete_checkpoint(delete).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
                for (index, file) in segments.iter().enumerate() {
                    assert_eq!(there(file).await, !gone.contains(&index), "segment {index} after deleting {delete}");
                }
            }
            soundness(&db).await.unwrap();
            db.close().await.unwrap();
        });
    }
}

#[test]
fn what_cannot_be_is_refused() {
    for store in stores() {
        let mut world = World::new(store, small_options(), 1);
        process(async {
            assert_eq!(world.open_at("a").await.unwrap_err().kind(), ErrorKind::NotFound);
            let db = world.open().await.unwrap();
            let empty = db.checkpoint("a").await.unwrap();
            assert_eq!((empty.bytes, empty.seq), (0, 0));
            db.put("k", "v").await.unwrap();
            assert_eq!(db.checkpoint("a").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(db.checkpoint("").await.unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(db.checkpoint("x".repeat(256)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
            let long = "☂".repeat(85);
            db.checkpoint(&long).await.unwrap();
            assert_eq!(world.open_at("b").await.unwrap_err().kind(), ErrorKind::NotFound);
            assert!(kept::read(&world, "a").await.unwrap().is_empty());
            let reader = world.open_at(&long).await.unwrap();
            reader.close().await;
            assert_eq!(reader.get("k").await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(reader.scan(..).try_next().await.unwrap_err().kind(), ErrorKind::Closed);
            // Nothing of that has stopped writing.
            db.put("k", "w").await.unwrap();
            assert_eq!(kept::read(&world, &long).await.unwrap().len(), 1);
            db.close().await.unwrap();
            assert_eq!(db.checkpoint("c").await.unwrap_err().kind(), ErrorKind::Closed);
            assert_eq!(kept::read(&world, &long).await.unwrap().len(), 1, "without a writer, too");
        });
    }
}

/// A checkpoint taken while others write holds all that was acknowledged before, and a prefix of what came after.
#[test]
fn a_checkpoint_under_writes_is_a_prefix() {
    for store in stores() {
        let mut world = World::new(store, small_options(), 1);
        process(async {
            let db = world.open().await.unwrap();
            let writer = {
                let db = db.clone();
                tokio::spawn(async move {
                    for n in 0..600_u32 {
                        let options = WriteOptions { durability: Durability::Deferred, ttl: None };
                        db.put_with(format!("{n:04}"), [7; 60], options).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                })
            };
            for round in 0..8 {
                let before = read_all(&db).await.unwrap().len();
                let name = format!("{round}");
                db.checkpoint(&name).await.unwrap();
                let after = read_all(&db).await.unwrap().len();
                let found = kept::read(&world, &name).await.unwrap();
                assert!((before..=after).contains(&found.len()));
                let first: Vec<_> = (0..found.len()).map(|n| format!("{n:04}").into_bytes()).collect();
                assert_eq!(found.into_keys().collect::<Vec<_>>(), first);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            writer.await.unwrap();
            db.close().await.unwrap();
        });
    }
}

/// Damage in a segment that only a checkpoint needs is found, and told as such.
#[test]
fn damage_in_a_checkpoint_is_found() {
    let store = Store::simulated(SimulatedOptions::default());
    let mut world = World::new(store, small_options(), 1);
    process(async {
        let db = world.open().await.unwrap();
        db.put("k", "old").await.unwrap();
        db.checkpoint("a").await.unwrap();
        let file = Path::new(&*db.tree().await.unwrap().runs[0].segments[0].file).unwrap();
        db.put("k", "new").await.unwrap();
        db.compact().await.unwrap();
        assert!(world.store.simulator().flip_bit(&file, 160, 3));
        let reader = world.open_at("a").await.unwrap();
        assert_eq!(reader.get("k").await.unwrap_err().kind(), ErrorKind::Corruption);
        assert_eq!(reader.verify().await.unwrap().damage[0].file, file.to_string());
        // What the database itself names is whole; by digests it looks at what it keeps as well.
        assert!(db.verify().await.unwrap().damage.is_empty());
        let found = soundness(&db).await.unwrap_err();
        assert!(found.contains("digest") && found.contains(file.as_str()), "{found}");
        world.store.simulator().remove_file(&file);
        let error = world.open_at("a").await.unwrap_err();
        assert_eq!((error.kind(), error.place().unwrap().0), (ErrorKind::Corruption, file.as_str()));
        db.close().await.unwrap();
    });
}

/// A writer that was overtaken, and does not know it, deletes nothing that a checkpoint of its successor needs.
#[test]
fn a_zombie_leaves_the_checkpoints_of_its_successor() {
    for append in [true, false] {
        for pause in (0..60).step_by(4) {
            let options =
                SimulatedOptions { seed: 9, append, lock: false, yields: true, ..SimulatedOptions::default() };
            let mut world = World::new(Store::simulated(options), small_options(), 9);
            let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let (old, new) = (runtime().unwrap(), runtime().unwrap());
            let first = old.block_on(world.open()).unwrap();
            let task = old.spawn(async move {
                let mut random = Random::new(1);
                for round in 0..6 {
                    for n in 0..40_u64 {
                        let options = WriteOptions { durability: Durability::Deferred, ttl: None };
                        if first.put_with(format!("{:02}", random.below(20)), [n as u8; 90], options).await.is_err() {
                            return;
                        }
                    }
                    let _ = first.compact().await;
                    let _ = first.checkpoint(format!("old {round}")).await;
                    let _ = first.delete_checkpoint(format!("old {}", round / 2)).await;
                }
            });
            let turns = |count: u64| {
                old.block_on(async {
                    for _ in 0..count {
                        tokio::task::yield_now().await;
                    }
                })
            };
            turns(pause * 40);
            let second = new.block_on(world.open()).unwrap();
            let mut expected = new.block_on(read_all(&second)).unwrap();
            new.block_on(second.checkpoint("new")).unwrap();
            turns(500);
            new.block_on(second.put("late", "value")).unwrap();
            new.block_on(second.compact()).unwrap();
            turns(100_000);
            task.abort();
            let found = new.block_on(kept::read(&world, "new")).unwrap();
            compare(&expected, &found).unwrap_or_else(|wrong| panic!("append={append} pause={pause}: {wrong}"));
            expected.insert(b"late".to_vec(), "value".into());
            compare(&expected, &new.block_on(read_all(&second)).unwrap()).unwrap();
            for checkpoint in new.block_on(second.checkpoints()).unwrap() {
                new.block_on(kept::read(&world, &checkpoint.name)).unwrap();
            }
            new.block_on(second.close()).unwrap();
        }
    }
}

/// A process that dies leaves the next one to give back what only a deleted checkpoint needed.
#[test]
fn the_next_opening_gives_back_what_a_crash_left() {
    for append in [true, false] {
        let store = Store::simulated(SimulatedOptions { seed: 3, append, ..SimulatedOptions::default() });
        let mut world = World::new(store, small_options(), 3);
        process(async {
            let db = world.open().await.unwrap();
            db.put("k", "old").await.unwrap();
            db.checkpoint("a").await.unwrap();
            db.put("k", "new").await.unwrap();
            db.compact().await.unwrap();
            db.delete_checkpoint("a").await.unwrap();
            world.db = Some(db);
        });
        world.end(Loss::Kill, 0);
        process(async {
            let db = world.open().await.unwrap();
            assert_eq!(db.get("k").await.unwrap().as_deref(), Some(&b"new"[..]));
            assert_eq!(superfluous(&world, &db).await, Vec::<String>::new());
            db.close().await.unwrap();
        });
    }
}
