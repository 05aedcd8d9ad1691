//! Reads that give other bytes than the storage holds, once or now and again: they lose nothing, and what an opening goes by is
//! read again before it is believed.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite::backends::{Backend, Path, Repeat, Simulated, SimulatedOptions, Spoil, Step};
use halite::{Db, ErrorKind};
use halite_tests::world::{process, soundness};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const SPOILS: [Spoil; 4] = [Spoil::Flipped, Spoil::Short, Spoil::Elsewhere, Spoil::Stale];

fn disk(append: bool, seed: u64) -> Simulated {
    Simulated::new(SimulatedOptions { seed, append, map: false, ..SimulatedOptions::default() })
}

/// A log of one segment that was not closed, its end not marked as one.
async fn killed(append: bool, seed: u64) -> Simulated {
    let disk = disk(append, seed);
    let db = Db::builder(Arc::new(disk.clone())).open().await.unwrap();
    for number in 0..20 {
        db.put(format!("key {number}"), format!("value {number}")).await.unwrap();
    }
    disk.kill()
}

async fn open_on(disk: &Simulated) -> halite::Result<Db> {
    Db::builder(Arc::new(disk.clone())).open().await
}

async fn assert_whole(db: &Db, what: &str) {
    for number in 0..20 {
        let value = db.get(format!("key {number}")).await.unwrap();
        assert_eq!(value.as_deref(), Some(format!("value {number}").as_bytes()), "{what}");
    }
    soundness(db).await.unwrap_or_else(|wrong| panic!("{what}: {wrong}"));
}

fn reads(folder: &'static str) -> impl Fn(&Step<'_>) -> bool + Send + 'static {
    move |step| step.effect == "read" && step.path.starts_with(folder)
}

#[test]
fn one_wrong_read_of_whatever_is_healed() {
    process(async {
        for (append, log) in [(true, "segments/"), (false, "log/")] {
            for seed in 0..40 {
                for spoil in SPOILS {
                    for folder in [log, "manifest/"] {
                        let disk = killed(append, seed).await;
                        disk.spoil_when(spoil, Repeat::Once, reads(folder));
                        let what = format!("{append} {seed} {spoil:?} {folder}");
                        let db = open_on(&disk).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                        assert_eq!(disk.spoilt(), 1, "{what}");
                        assert_whole(&db, &what).await;
                    }
                }
            }
        }
    });
}

#[test]
fn a_log_of_which_each_other_read_is_wrong_is_refused_and_kept() {
    process(async {
        for spoil in [Spoil::Flipped, Spoil::Short] {
            for seed in 0..40 {
                let disk = killed(true, seed).await;
                disk.spoil_when(spoil, Repeat::Forever, reads("segments/"));
                match open_on(&disk).await {
                    Ok(db) => assert_whole(&db, &format!("{seed} {spoil:?}")).await,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corruption, "{seed} {spoil:?}: {error}"),
                }
                let disk = disk.kill();
                assert_whole(&open_on(&disk).await.unwrap(), &format!("{seed} {spoil:?}, later")).await;
            }
        }
    });
}

#[test]
fn damage_that_stays_is_refused_as_before() {
    process(async {
        let disk = killed(true, 1).await;
        let log = segments_of(&disk).await.remove(0);
        disk.flip_bit(&log, 200, 3);
        let error = open_on(&disk).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
        assert!(error.to_string().contains("a mark at"), "{error}");
    });
}

async fn segments_of(disk: &Simulated) -> Vec<Path> {
    disk.list("segments").map_ok(|meta| meta.path).try_collect().await.unwrap()
}

/// Nothing but the end of a growing log is asked for twice, and that only where there is something.
#[test]
fn what_is_read_right_is_read_once() {
    process(async {
        for (append, folder, expected) in [(true, "segments/", 2), (false, "log/", 20), (true, "manifest/", 1)] {
            let disk = killed(append, 1).await;
            let count = Arc::new(AtomicUsize::new(0));
            let counter = count.clone();
            let is_read = reads(folder);
            disk.stall_when(move |step| {
                counter.fetch_add(usize::from(is_read(step)), Ordering::Relaxed);
                false
            });
            let db = open_on(&disk).await.unwrap();
            let count = count.load(Ordering::Relaxed);
            assert!((1..=expected).contains(&count), "{folder}: {count}");
            drop(db);
        }
    });
}
