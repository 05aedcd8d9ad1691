//! Several fragments under way at once: they are acknowledged in their order, and the log ends at the first that is absent.
//!
//! A writer on an object store has one create held up, or answered wrongly, while the ones behind it are done. Whatever
//! becomes of it then (a crash, another writer, an answer that is lost), nothing behind it is acknowledged, believed or kept
//! before it is there.
#![allow(clippy::unwrap_used)]

use futures::FutureExt;
use futures::future::join_all;
use halite::backends::{ErrorKind as StoreError, Fault, Memory, Repeat, Simulated, SimulatedOptions, Step};
use halite::{Db, Durability, ErrorKind, Options, WriteOptions};
use halite_tests::far::Far;
use halite_tests::history::Loss;
use halite_tests::world::{Store, World, assert_sound, process, read_all, runtime, small_options};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use std::{panic, thread};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Each commit is a fragment of its own, and the segments have three of them.
fn options() -> Options {
    Options { fragment_bytes: 1, segment_fragments_max: 3, unsealed_max: 4, ..small_options() }
}

fn world() -> World {
    let options_of_store = SimulatedOptions { append: false, lock: false, ..SimulatedOptions::default() };
    World::new(Store::simulated(options_of_store), options(), 1)
}

/// Whether `step` creates this fragment of the log, or its fence.
fn creates(step: &Step<'_>, number: u64) -> bool {
    step.op == "create" && step.path.starts_with("log/") && step.path.ends_with(&format!("/{number:016x}"))
}

/// The numbers of the fragments that hold something.
fn fragments(disk: &Simulated) -> Vec<u64> {
    let files = disk.files().into_iter().filter(|(path, len)| path.as_str().starts_with("log/") && *len > 160);
    let number = |path: &str| u64::from_str_radix(path.rsplit('/').next().unwrap(), 16).unwrap();
    files.map(|(path, _)| number(path.as_str())).collect()
}

/// Lets all go as far as it goes.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

/// Puts keys `k0`, `k1`, …, all at once, each by a task of its own.
fn put_all(db: &Db, count: usize) -> Vec<JoinHandle<halite::Result<()>>> {
    let put = |n| {
        let db = db.clone();
        tokio::spawn(async move { db.put(format!("k{n}"), "x").await })
    };
    (0..count).map(put).collect()
}

/// A store whose writer has put five keys at once, of which the fragment of number `missing` is held up.
async fn with_one_missing(world: &mut World, missing: u64) -> (Db, Vec<JoinHandle<halite::Result<()>>>) {
    with_one_missing_and(world, missing, true).await
}

/// The same; full segments are sealed meanwhile, or all of the log is there.
async fn with_one_missing_and(
    world: &mut World,
    missing: u64,
    sealed: bool,
) -> (Db, Vec<JoinHandle<halite::Result<()>>>) {
    let db = world.open().await.unwrap();
    let disk = world.store.simulator().clone();
    if !sealed {
        disk.stall_when(|step| step.path.starts_with("segments/"));
    }
    // The first that asks for it, and nobody after it: not the fence.
    let asked = AtomicBool::new(false);
    disk.stall_when(move |step| creates(step, missing) && !asked.swap(true, Ordering::Relaxed));
    let puts = put_all(&db, 5);
    settle().await;
    // Four may be under way: one is held up, the others are there. (Those before it may have been sealed by now.)
    let behind: Vec<u64> = fragments(&disk).into_iter().filter(|number| *number >= missing).collect();
    assert_eq!(behind, (missing + 1..5.min(missing + 4)).collect::<Vec<_>>());
    for (number, put) in puts.iter().enumerate() {
        assert_eq!(put.is_finished(), (number as u64) < missing, "{number}, where {missing} is missing");
    }
    assert_eq!(read_all(&db).await.unwrap().len(), missing as usize, "what is not acknowledged is not visible");
    (db, puts)
}

#[test]
fn none_is_acknowledged_before_those_below_it() {
    for missing in 0..5 {
        let mut world = world();
        process(async {
            let (db, puts) = with_one_missing(&mut world, missing).await;
            world.store.simulator().resume();
            for put in puts {
                put.await.unwrap().unwrap();
            }
            assert_eq!(read_all(&db).await.unwrap().len(), 5);
            assert_sound(&db).await;
            db.close().await.unwrap();
        });
        process(async { assert_eq!(read_all(&world.open().await.unwrap()).await.unwrap().len(), 5) });
    }
}

/// The process is killed. What lies behind the gap is not replayed, by this opening or a later one, and is deleted.
#[test]
fn what_lies_behind_a_gap_is_no_part_of_the_log() {
    for (missing, sealed) in (0..5).flat_map(|missing| [(missing, true), (missing, false)]) {
        let mut world = world();
        let killed = process(async {
            let killed = with_one_missing_and(&mut world, missing, sealed).await;
            world.end(Loss::Kill, 0);
            killed
        });
        drop(killed);
        // An opening that dies as soon as it has set its fence; then two that do not.
        let disk = world.store.simulator().clone();
        let is_second = AtomicBool::new(false);
        let creates_manifest = |step: &Step<'_>| step.op == "create" && step.path.starts_with("manifest/");
        disk.stall_when(move |step| creates_manifest(step) && is_second.swap(true, Ordering::Relaxed));
        process(async {
            let opening = tokio::time::timeout(Duration::from_secs(60), world.open()).await;
            assert!(opening.is_err(), "it is held up");
        });
        disk.resume();
        for _ in 0..2 {
            process(async {
                let db = world.open().await.unwrap();
                let keys: Vec<_> = read_all(&db).await.unwrap().into_keys().collect();
                let expected: Vec<_> = (0..missing).map(|n| format!("k{n}").into_bytes()).collect();
                assert_eq!(keys, expected);
                settle().await;
                assert_eq!(fragments(&disk).len(), 0, "{missing} was missing");
                assert_sound(&db).await;
                db.close().await.unwrap();
            });
        }
    }
}

/// Another writer takes over while a fragment is on its way, and then it arrives: too late.
#[test]
fn a_fragment_that_arrives_behind_the_fence_comes_to_nothing() {
    for missing in 0..5 {
        let mut world = world();
        process(async {
            let (old, puts) = with_one_missing(&mut world, missing).await;
            let new = world.rival().open().await.unwrap();
            world.store.simulator().resume();
            for (number, put) in puts.into_iter().enumerate() {
                let told = put.await.unwrap().map_err(|error| error.kind());
                let is_acknowledged = (number as u64) < missing;
                let expected = match (number as u64).checked_sub(missing) {
                    None => Ok(()),
                    Some(0..4) => Err(ErrorKind::Unknown),
                    // It had not been sent.
                    Some(_) => Err(ErrorKind::Fenced),
                };
                assert_eq!(told, expected, "{number}");
                assert_eq!(new.get(format!("k{number}")).await.unwrap().is_some(), is_acknowledged, "{number}");
            }
            assert_eq!(old.put("later", "x").await.unwrap_err().kind(), ErrorKind::Fenced);
            new.put("k", "new").await.unwrap();
            settle().await;
            assert_sound(&new).await;
            new.close().await.unwrap();
        });
    }
}

/// The answer to a create in the middle is lost, or it fails for certain, when those behind it are there: once or for good, the
/// request done or not.
#[test]
fn a_doubt_in_the_middle_is_settled_before_anything_behind_it() {
    use Repeat::{Forever, Once};
    use StoreError::{Io, Unknown};
    for (kind, applied, repeat, settled) in [
        (Unknown, true, Once, true),
        (Unknown, false, Once, true),
        (Unknown, true, Forever, true),
        (Unknown, false, Forever, false),
        (Io, true, Once, false),
        (Io, false, Once, false),
    ] {
        let story = format!("{kind:?} applied={applied} {repeat:?}");
        let mut world = world();
        process(async {
            let (db, puts) = with_one_missing(&mut world, 1).await;
            let disk = world.store.simulator().clone();
            disk.fail_when(Fault { at_step: 0, kind, repeat, applied }, |step| creates(step, 1));
            disk.resume();
            let told = join_all(puts).await.into_iter().map(|put| put.unwrap().map_err(|error| error.kind()));
            let told: Vec<_> = told.collect();
            let expected = if settled { Ok(()) } else { Err(ErrorKind::Unknown) };
            assert_eq!((told[0], &told[1..]), (Ok(()), &[expected; 4][..]), "{story}");
            assert_eq!(read_all(&db).await.unwrap().len(), if settled { 5 } else { 1 }, "{story}: what is visible");
            if !settled {
                assert_eq!(db.put("later", "x").await.unwrap_err().kind(), ErrorKind::Poisoned, "{story}");
            }
            disk.heal();
            let again = db.reopen().await.unwrap();
            let there = read_all(&again).await.unwrap().len();
            assert_eq!(there, if settled || applied { 5 } else { 1 }, "{story}: what was found again");
            again.close().await.unwrap();
        });
    }
}

/// Counts the panics of this thread from now on, those that are caught too.
fn count_panics() -> Arc<AtomicU32> {
    let (panics, here, prior) = (Arc::new(AtomicU32::new(0)), thread::current().id(), panic::take_hook());
    let counted = panics.clone();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == here {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        prior(panic);
    }));
    panics
}

/// Whoever drops the last handle drives the committer, and may do so when the runtime has ended, whose timers panic then: one
/// that tells when the next fragment goes beside one that is held up, and one that tells when a create is sent again whose
/// answer was lost.
#[test]
fn the_committer_outlives_its_runtime() {
    let deferred = WriteOptions { durability: Durability::Deferred, ttl: None };
    let panics = count_panics();
    for is_lost in [false, true] {
        let (mut world, runtime) = (world(), runtime());
        let disk = world.store.simulator().clone();
        let db = runtime.block_on(async {
            let db = world.open().await.unwrap();
            let doubt = Fault { at_step: 0, kind: StoreError::Unknown, repeat: Repeat::Forever, applied: false };
            match is_lost {
                true => disk.fail_when(doubt, |step| creates(step, 0)),
                false => disk.stall_when(|step| creates(step, 0)),
            }
            db.put_with("k", "x", deferred).await.unwrap();
            assert!(db.flush().now_or_never().is_none());
            // A flush that waits holds up nobody.
            db.put_with("l", "x", deferred).await.unwrap();
            db
        });
        drop(runtime);
        drop(db);
        assert_eq!(panics.load(Ordering::Relaxed), 0, "is_lost={is_lost}");
    }
}

/// A fragment that is lost though one was begun after it was acknowledged is damage, and not the end of the log.
#[test]
fn a_fragment_that_is_vouched_for_is_missed() {
    for lost in 0..5_u64 {
        let mut world = world();
        process(async {
            let db = world.open().await.unwrap();
            for n in 0..6 {
                db.put(format!("k{n}"), "x").await.unwrap();
            }
            world.end(Loss::Kill, 0);
            std::mem::forget(db);
        });
        let disk = world.store.simulator().clone();
        // Those of the first segment may have been sealed meanwhile.
        let files = disk.files();
        let name = format!("/{lost:016x}");
        let of_log = files.iter().map(|(path, _)| path).filter(|path| path.as_str().starts_with("log/"));
        let Some(path) = of_log.clone().find(|path| path.as_str().ends_with(&name)) else { continue };
        disk.remove_file(path);
        let opened = process(async { world.open().await.map(drop) });
        assert_eq!(opened.map_err(|error| error.kind()), Err(ErrorKind::Corruption), "{lost}");
    }
}

const LATENCY: Duration = Duration::from_secs(1);

/// The time that `puts` deferred puts of 100 bytes and then a flush take.
fn far_away(options: Options, puts: usize) -> Duration {
    let far = Far::new(Arc::new(Memory::create_only()), LATENCY);
    process(async {
        let db = Db::builder(Arc::new(far.clone())).options(options).open().await.unwrap();
        settle().await;
        let deferred = WriteOptions { durability: Durability::Deferred, ttl: None };
        let begun = Instant::now();
        for n in 0..puts {
            db.put_with(format!("{n:05}"), [7; 100], deferred).await.unwrap();
        }
        db.flush().await.unwrap();
        let taken = begun.elapsed();
        assert_eq!(read_all(&db).await.unwrap().len(), puts);
        db.close().await.unwrap();
        taken
    })
}

/// Twelve full fragments take three times as long as one, where four may be under way; and the ends of segments hold up nothing.
#[test]
fn full_fragments_go_side_by_side() {
    for segment_bytes_max in [64 << 20, 20 << 10] {
        let options = Options {
            fragment_bytes: 10_000,
            segment_bytes_max,
            unsealed_max: 100,
            merge_in_background: false,
            ..Options::default()
        };
        let count = 12 * 10_000 / 120;
        let alone = far_away(Options { fragments_in_flight_max: 1, ..options.clone() }, count);
        assert!(alone >= LATENCY * 12, "{alone:?}");
        let side_by_side = far_away(options, count);
        assert!(side_by_side <= alone / 4 + LATENCY, "{side_by_side:?} instead of {alone:?}");
    }
}
