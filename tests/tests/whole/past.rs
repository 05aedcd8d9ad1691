//! The past shows what was there, for as long as the store was told to keep it, and goes after that; and what is held
//! until a date is there until then.
//!
//! Values are overwritten, deleted and expire, segments are merged, writers come, go and die. A reader of a moment sees the
//! state of that moment to the byte, and nothing stays that no moment, no checkpoint and no version needs.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite::backends::{Memory, SimulatedOptions};
use halite::{CheckpointOptions, Db, ErrorKind, Options, ReadOnly, Why, WriteOptions};
use halite_tests::history::{Loss, State, compare};
use halite_tests::random::Random;
use halite_tests::world::{Store, World, process, read_all, small_options, soundness};
use std::sync::Arc;
use std::time::Duration;

const STEP: u64 = 100;
const WINDOW: u64 = 5_000;

fn options() -> Options {
    let (retention, retention_step) = (Some(Duration::from_millis(WINDOW)), Some(Duration::from_millis(STEP)));
    Options { retention, retention_step, ..small_options() }
}

fn simulated(append: bool) -> Store {
    Store::simulated(SimulatedOptions { seed: 5, append, yields: true, ..SimulatedOptions::default() })
}

fn stores() -> Vec<Store> {
    [true, false].into_iter().flat_map(|append| [Store::memory(append), simulated(append)]).collect()
}

async fn change(db: &Db, random: &mut Random) {
    for n in 0..25 {
        let key = halite_tests::ops::key(random.below(30) as u16);
        let ttl = random.chance(20).then(|| Duration::from_millis(random.below(3_000) + 1));
        match random.chance(25) {
            true => db.delete(&key).await.unwrap(),
            false => {
                let value = format!("{n} {} {}", random.number(), "x".repeat(random.below(150) as usize));
                db.put_with(&key, value, WriteOptions { ttl, ..WriteOptions::default() }).await.unwrap();
            }
        }
    }
}

async fn open_at_time(world: &World, time: u64) -> halite::Result<ReadOnly> {
    Db::builder(world.store.backend()).clock(Arc::new(world.clock.clone())).open_at_time(time).await
}

async fn read(reader: &ReadOnly) -> State {
    let found: State = reader.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap();
    for key in (0..30).map(halite_tests::ops::key) {
        assert_eq!(reader.get(&key).await.unwrap().as_ref(), found.get(&key));
    }
    found
}

/// Checks that all of `moments` show that are young enough, and counts those that are gone.
async fn check(world: &World, db: &Db, moments: &[(u64, State)]) -> usize {
    let (from, now) = (db.stats().past_from.unwrap(), world.clock.millis());
    let mut gone = 0;
    for (time, state) in moments {
        match open_at_time(world, *time).await {
            Ok(reader) => {
                assert_eq!(reader.time().unwrap(), *time);
                compare(state, &read(&reader).await).unwrap_or_else(|wrong| panic!("at {time}, now {now}: {wrong}"));
                assert!(!reader.refresh().await.unwrap());
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Gone, "{error:?}");
                assert!(*time < from && time + WINDOW <= now, "at {time}, now {now}, kept from {from}: {error}");
                gone += 1;
            }
        }
    }
    gone
}

#[test]
fn the_past_shows_what_was_there() {
    for store in stores() {
        let mut world = World::new(store, options(), 5);
        let mut random = Random::new(5);
        let mut moments: Vec<(u64, State)> = Vec::new();
        let mut gone = 0;
        for round in 0..24 {
            process(async {
                // Told once, the store keeps to it.
                world.options = if round == 0 { options() } else { small_options() };
                let db = world.open().await.unwrap();
                change(&db, &mut random).await;
                if round % 4 == 2 {
                    db.compact().await.unwrap();
                }
                // What has entered is sealed by itself.
                tokio::time::sleep(Duration::from_millis(3 * STEP)).await;
                moments.push((world.clock.millis(), read_all(&db).await.unwrap()));
                world.clock.advance(STEP + random.below(800));
                if round % 6 == 5 {
                    gone = check(&world, &db, &moments).await;
                    soundness(&db).await.unwrap();
                }
                assert!(db.stats().moments <= 2 * (WINDOW / STEP + 2));
                if round % 3 == 0 {
                    db.close().await.unwrap();
                } else {
                    world.db = Some(db);
                }
            });
            if world.db.is_some() {
                let loss = if round % 2 == 0 { Loss::Kill } else { Loss::PowerCut };
                world.end(loss, round);
            }
        }
        assert!((5..20).contains(&gone), "{gone} of {} moments are gone", moments.len());
        process(async {
            // Nobody needs it any more: then it goes, and the space with it.
            world.options = Options { retention: Some(Duration::ZERO), ..small_options() };
            let db = world.open().await.unwrap();
            db.compact().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let stats = db.stats();
            assert_eq!((stats.moments, stats.past_from, stats.past_bytes), (0, None, 0));
            let error = open_at_time(&world, world.clock.millis()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Gone);
            db.collect().await.unwrap();
            assert_eq!(db.collectable().await.unwrap(), []);
            let segments = world.store.backend().list("segments").try_collect::<Vec<_>>().await.unwrap();
            // At most the file of the log that takes the next commits.
            assert!(segments.len() as u64 <= db.stats().segments + 1, "{segments:?}");
            db.close().await.unwrap();
        });
    }
}

/// What is kept for the past is told, to the byte, and nothing else is kept.
#[test]
fn the_space_of_the_past_is_accounted_for() {
    for append in [true, false] {
        let mut world = World::new(Store::memory(append), options(), 1);
        process(async {
            let db = world.open().await.unwrap();
            let mut random = Random::new(1);
            for _ in 0..5 {
                change(&db, &mut random).await;
                db.compact().await.unwrap();
                world.clock.advance(2 * STEP);
            }
            let stats = db.stats();
            assert!(stats.moments > 3 && stats.past_bytes > 0, "{stats:?}");
            let segments: Vec<_> = world.store.backend().list("segments").try_collect().await.unwrap();
            let bytes: u64 = segments.iter().map(|meta| meta.len).sum();
            // The log may have a file already.
            let beside = bytes - stats.segment_bytes - stats.past_bytes;
            assert!(beside == 0 || beside == stats.log_bytes, "{beside} {stats:?}");
            let reader = world.open_read_only().await.unwrap();
            let seen = reader.stats().unwrap();
            assert_eq!(
                (seen.moments, seen.past_bytes, seen.past_from),
                (stats.moments, stats.past_bytes, stats.past_from)
            );
            // After all that time the next manifest lets go of everything.
            world.clock.advance(2 * WINDOW);
            db.put("late", "value").await.unwrap();
            db.compact().await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(db.stats().moments <= 2, "{:?}", db.stats());
            assert_eq!(db.collectable().await.unwrap(), []);
            db.close().await.unwrap();
        });
    }
}

/// An idle database keeps the past without writing anything.
#[test]
fn where_nothing_is_written_nothing_happens() {
    for append in [true, false] {
        let mut world = World::new(Store::memory(append), options(), 1);
        process(async {
            let db = world.open().await.unwrap();
            db.put("k", "v").await.unwrap();
            tokio::time::sleep(Duration::from_millis(3 * STEP)).await;
            let manifest = db.stats().manifest;
            tokio::time::sleep(Duration::from_secs(100)).await;
            assert_eq!(db.stats().manifest, manifest);
            db.close().await.unwrap();
        });
    }
}

#[test]
fn what_is_held_stays_until_its_date() {
    for store in stores() {
        let mut world = World::new(store, small_options(), 1);
        process(async {
            let db = world.open().await.unwrap();
            db.put("k", "v").await.unwrap();
            let until = world.clock.millis() + 1_000;
            let held = CheckpointOptions { hold_until: Some(until) };
            assert_eq!(db.checkpoint_with("books", held).await.unwrap().hold_until, Some(until));
            for _ in 0..2 {
                let error = db.delete_checkpoint("books").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Held);
                assert!(error.to_string().contains(&until.to_string()), "{error}");
                world.clock.advance(999);
            }
            // Nothing has stopped writing; a clock that is set back does not count, nor does one that is set back after.
            db.put("k", "w").await.unwrap();
            world.clock.advance(1);
            assert!(!db.delete_checkpoint("other").await.unwrap());
            assert!(db.delete_checkpoint("books").await.unwrap());

            let backups = Arc::new(Memory::create_only());
            let far = CheckpointOptions { hold_until: Some(u64::MAX) };
            db.backup_with(backups.clone(), "for ever", far).await.unwrap();
            db.backup(backups.clone(), "not").await.unwrap();
            assert_eq!(Db::delete_backup(backups.clone(), "for ever").await.unwrap_err().kind(), ErrorKind::Held);
            assert!(Db::delete_backup(backups.clone(), "not").await.unwrap());
            let reader = Db::builder(backups).open_at("for ever").await.unwrap();
            assert_eq!(reader.get("k").await.unwrap().as_deref(), Some(&b"w"[..]));
            db.close().await.unwrap();
        });
    }
}

/// A dry run tells what goes, and the collection takes that and nothing else.
#[test]
fn what_nothing_names_is_told_and_collected() {
    for append in [true, false] {
        let mut world = World::new(simulated(append), Options { merge_in_background: false, ..small_options() }, 2);
        process(async {
            let db = world.open().await.unwrap();
            let mut random = Random::new(2);
            change(&db, &mut random).await;
            db.checkpoint("kept").await.unwrap();
            change(&db, &mut random).await;
            world.db = Some(db);
        });
        // Dead in a merge: its output was written, and named by nothing.
        let backend = world.store.backend();
        process(async {
            let db = world.db.take().unwrap();
            let stray = "segments/0000000000000001-00000000deadbeef-0000000000000007";
            backend.create(&halite::backends::Path::new(stray).unwrap(), "stray".into()).await.unwrap();
            assert_eq!(db.collectable().await.unwrap(), [], "of this epoch: it may be under way");
            world.db = Some(db);
        });
        world.end(Loss::Kill, 1);
        process(async {
            // A reader does not write, and sees what a writer would collect, before there is one of the next epoch.
            let reader = world.open_read_only().await.unwrap();
            assert_eq!(reader.collectable().await.unwrap(), []);
            let db = world.open().await.unwrap();
            let expected = read_all(&db).await.unwrap();
            // The opening looks for it by itself, a moment later.
            let found = db.collectable().await.unwrap();
            assert!(found.iter().all(|file| file.why == Why::Leftover && file.bytes == 5), "{found:?}");
            db.collect().await.unwrap();
            assert_eq!(db.collectable().await.unwrap(), []);
            compare(&expected, &read_all(&db).await.unwrap()).unwrap();
            assert!(!halite_tests::kept::read(&world, "kept").await.unwrap().is_empty());
            soundness(&db).await.unwrap();
            db.close().await.unwrap();
        });
    }
}

#[test]
fn settings_out_of_bounds_are_refused() {
    process(async {
        for (retention, retention_step) in [(1, 0), (10_001, 1)] {
            let (retention, retention_step) =
                (Some(Duration::from_millis(retention)), Some(Duration::from_millis(retention_step)));
            let options = Options { retention, retention_step, ..small_options() };
            let opened = Db::builder(Arc::new(Memory::new())).options(options).open().await;
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    });
}
