//! Several seals under way at once: their segments are brought in in the order of the log, whichever was written first, and
//! nothing of the log is deleted that no manifest has replaced.
//!
//! A writer on an object store has the upload of one segment held up, or failing, while the next one is there; or the deletes
//! behind a seal take for ever.
#![allow(clippy::unwrap_used)]

use halite::backends::{ErrorKind as StoreError, Fault, Repeat, Simulated, SimulatedOptions, Step};
use halite::{Db, ErrorKind, Options};
use halite_tests::history::Loss;
use halite_tests::world::{Store, World, assert_sound, process, read_all, small_options};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Each commit is a fragment, and each fragment a segment.
fn world() -> World {
    let store = SimulatedOptions { append: false, lock: false, ..SimulatedOptions::default() };
    let options = Options {
        fragment_bytes: 1,
        segment_fragments_max: 1,
        unsealed_max: 8,
        merge_in_background: false,
        ..small_options()
    };
    World::new(Store::simulated(store), options, 1)
}

/// Lets all go as far as it goes.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(20)).await;
}

async fn put(db: &Db, keys: std::ops::Range<usize>) {
    for n in keys {
        db.put(format!("k{n}"), "x").await.unwrap();
    }
}

/// The names in `folder`, but for fences.
fn names(disk: &Simulated, folder: &str) -> Vec<String> {
    let files = disk.files().into_iter().map(|(path, len)| (path.to_string(), len));
    let there = files.filter(|(path, len)| path.starts_with(folder) && (folder != "log/" || *len > 160));
    there.map(|(path, _)| path).collect()
}

fn begins(step: &Step<'_>) -> bool {
    step.op == "upload" && step.effect == "begin" && step.path.starts_with("segments/")
}

/// Tells the step that begins the first segment that is written from now on. (A step may be looked at more than once.)
fn begins_first() -> impl Fn(&Step<'_>) -> bool + Send + 'static {
    let first = OnceLock::new();
    move |step| begins(step) && first.get_or_init(|| step.path.to_owned()) == step.path
}

/// Holds up all segments that are written from now on, and gives their names in the order in which they begin.
fn stall_uploads(disk: &Simulated) -> Arc<Mutex<Vec<String>>> {
    let begun = Arc::new(Mutex::new(Vec::<String>::new()));
    let noted = begun.clone();
    disk.stall_when(move |step| {
        let mut noted = noted.lock().unwrap();
        if begins(step) && !noted.iter().any(|path| path == step.path) {
            noted.push(step.path.to_owned());
        }
        begins(step)
    });
    begun
}

/// The first segment's upload is held up. Those behind it are there meanwhile, and no manifest knows of them; all of the log is
/// where it was, also after a crash. When it goes on so do all.
#[test]
fn a_segment_is_brought_in_after_all_before_it() {
    for is_killed in [false, true] {
        let mut world = world();
        let killed = process(async {
            let db = world.open().await.unwrap();
            let disk = world.store.simulator().clone();
            disk.stall_when(begins_first());
            put(&db, 0..5).await;
            settle().await;
            assert_eq!(names(&disk, "segments/").len(), 3, "those behind it are there");
            assert_eq!(db.stats().runs, 0, "and are not the database's");
            assert_eq!(names(&disk, "log/").len(), 5);
            assert_eq!(read_all(&db).await.unwrap().len(), 5);
            if is_killed {
                world.end(Loss::Kill, 0);
                return Some(db);
            }
            disk.resume();
            settle().await;
            assert_eq!(db.stats().runs, 4, "the fifth is not full before the sixth comes");
            assert_eq!(names(&disk, "log/").len(), 1);
            assert_sound(&db).await;
            db.close().await.unwrap();
            None
        });
        drop(killed);
        process(async {
            let db = world.open().await.unwrap();
            assert_eq!(read_all(&db).await.unwrap().len(), 5, "is_killed={is_killed}");
            settle().await;
            assert_sound(&db).await;
            db.close().await.unwrap();
        });
        let disk = world.store.simulator();
        assert_eq!((names(disk, "segments/").len(), names(disk, "log/").len()), (5, 0), "is_killed={is_killed}");
    }
}

/// What was sealed before stays, what comes behind is not brought in though it may be written, and nothing is lost. What the
/// store does not take for a while is tried again until it does; what it refuses for good stops writing.
#[test]
fn behind_a_seal_that_fails_none_is_brought_in() {
    for failing in 0..4 {
        let mut world = world();
        process(async {
            let db = world.open().await.unwrap();
            let disk = world.store.simulator().clone();
            let begun = stall_uploads(&disk);
            put(&db, 0..6).await;
            settle().await;
            let failing_path = begun.lock().unwrap()[failing].clone();
            disk.fail_when(fails(StoreError::PermissionDenied, Repeat::Once), move |step| step.path == failing_path);
            disk.resume();
            settle().await;
            assert_eq!(db.stats().runs, failing as u64);
            assert_eq!(names(&disk, "log/").len(), 6 - failing, "{failing}: what was not sealed is in the log");
            assert_eq!(db.put("later", "x").await.unwrap_err().kind(), ErrorKind::Poisoned);
            assert_eq!(read_all(&db).await.unwrap().len(), 6);
            let again = db.reopen().await.unwrap();
            settle().await;
            assert_eq!(read_all(&again).await.unwrap().len(), 6);
            assert_sound(&again).await;
            again.close().await.unwrap();
            // Those that were written for nothing are gone.
            assert_eq!((names(&disk, "segments/").len(), names(&disk, "log/").len()), (6, 0), "{failing}");
        });
    }
}

fn fails(kind: StoreError, repeat: Repeat) -> Fault {
    Fault { at_step: 0, kind, repeat, applied: false }
}

/// It is tried again, under another name each time. That it fails once is nobody's business. As long as it fails those behind it
/// wait, and who waits for it is told why; when the store takes it all goes on. Answers that were lost leave nothing behind.
#[test]
fn a_segment_that_the_store_does_not_take_is_written_again() {
    for (lasts, applied) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut world = world();
        let story = format!("lasts={lasts} applied={applied}");
        process(async {
            let db = world.open().await.unwrap();
            let disk = world.store.simulator().clone();
            let kind = if applied { StoreError::Unknown } else { StoreError::Io };
            let repeat = if lasts { Repeat::Forever } else { Repeat::Once };
            let (is_failing, finished) = (Arc::new(AtomicBool::new(true)), AtomicU64::new(0));
            let failing = is_failing.clone();
            // From the third segment on.
            disk.fail_when(Fault { applied, ..fails(kind, repeat) }, move |step| {
                let is_end = step.op == "upload" && step.effect == "put";
                is_end && finished.fetch_add(1, Ordering::Relaxed) >= 2 && failing.load(Ordering::Relaxed)
            });
            put(&db, 0..6).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!((db.stats().runs, db.stats().seal_failure), (2, None), "{story}");
            if lasts {
                settle().await;
                assert_eq!((db.stats().runs, db.stats().failure), (2, None), "{story}");
                assert!(db.stats().seal_failure.is_some_and(|told| told.contains("cannot be reached")), "{story}");
                assert_eq!(db.checkpoint("now").await.unwrap_err().kind(), ErrorKind::Io, "{story}");
                assert_eq!(read_all(&db).await.unwrap().len(), 6, "{story}");
                is_failing.store(false, Ordering::Relaxed);
            }
            // The longest pause.
            tokio::time::sleep(Duration::from_secs(31)).await;
            let stats = db.stats();
            assert_eq!((stats.runs, stats.seal_failure, stats.failure), (5, None, None), "{story}");
            put(&db, 6..8).await;
            assert_eq!(read_all(&db).await.unwrap().len(), 8, "{story}");
            assert_sound(&db).await;
            db.close().await.unwrap();
            assert_eq!((names(&disk, "segments/").len(), names(&disk, "log/").len()), (8, 0), "{story}");
        });
    }
}

/// Their uploads take memory.
#[test]
fn no_more_are_written_at_once_than_there_is_memory_for() {
    for (budget, at_once) in [(1 << 30, 4), (0, 2)] {
        let mut world = world();
        world.options.memory_budget = Some(budget);
        process(async {
            let db = world.open().await.unwrap();
            let disk = world.store.simulator().clone();
            let begun = stall_uploads(&disk);
            put(&db, 0..7).await;
            settle().await;
            assert_eq!(begun.lock().unwrap().len(), at_once, "of {budget} bytes");
            disk.resume();
            db.close().await.unwrap();
        });
    }
}

/// Deletes that take for ever hold up the seals behind no more than one at a time, and a close.
#[test]
fn deletes_go_on_behind_the_seals_and_a_close_waits_for_them() {
    let mut world = world();
    process(async {
        let db = world.open().await.unwrap();
        let disk = world.store.simulator().clone();
        disk.stall_when(|step| step.op == "delete" && step.path.starts_with("log/"));
        put(&db, 0..4).await;
        settle().await;
        assert_eq!(db.stats().runs, 3, "sealed, though nothing was deleted");
        assert_eq!(names(&disk, "log/").len(), 4);
        let closing = tokio::spawn({
            let db = db.clone();
            async move { db.close().await }
        });
        settle().await;
        assert!(!closing.is_finished());
        disk.resume();
        closing.await.unwrap().unwrap();
        assert_eq!(names(&disk, "log/").len(), 0);
        assert_eq!(names(&disk, "manifest/").len(), 1);
    });
}

/// When all is sealed and deleted nothing is asked any more.
#[test]
fn an_idle_pipeline_asks_nothing() {
    let mut world = world();
    process(async {
        let db = world.open().await.unwrap();
        put(&db, 0..9).await;
        settle().await;
        let disk = world.store.simulator().clone();
        let steps = disk.steps();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(disk.steps(), steps);
        db.close().await.unwrap();
    });
}
