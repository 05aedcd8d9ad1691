//! Clones and backups show, to the byte, what was there when they were made, however the making was disturbed.
//!
//! The place of a copy crashes and fails at every step, the source dies under it, writers go on writing; histories part
//! and meet again in one place of backups.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use halite::backends::{Backend, ErrorKind as Kind, Fault, Local, Memory, Path, Repeat, Simulated, SimulatedOptions};
use halite::{CopyReport, Db, Durability, ErrorKind, Options, ReadOnly, WriteOptions};
use halite_tests::history::{State, compare};
use halite_tests::random::Random;
use halite_tests::scratch::Folder;
use halite_tests::world::{Store, World, process, read_all, small_options, soundness};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

async fn open(backend: &(impl Backend + Clone)) -> Db {
    Db::builder(Arc::new(backend.clone())).options(small_options()).open().await.unwrap()
}

async fn open_at(backend: &(impl Backend + Clone), name: &str) -> halite::Result<ReadOnly> {
    Db::builder(Arc::new(backend.clone())).open_at(name).await
}

async fn shown(reader: &ReadOnly) -> State {
    let found = reader.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect();
    assert!(reader.verify().await.unwrap().damage.is_empty());
    found.await.unwrap()
}

/// Overwrites and deletes some keys.
async fn change(db: &Db, random: &mut Random) {
    for n in 0..60 {
        let key = format!("{:02}", random.below(40));
        let options = WriteOptions { durability: Durability::Deferred, ttl: None };
        match random.chance(20) {
            true => db.delete_with(&key, options).await.unwrap(),
            false => db.put_with(&key, vec![n; random.below(250) as usize], options).await.unwrap(),
        }
    }
}

/// All backups are there, in order, and show what they should.
async fn check(backups: &(impl Backend + Clone), expected: &BTreeMap<String, State>) {
    let reader = Db::builder(Arc::new(backups.clone())).open_read_only().await.unwrap();
    let listed: Vec<_> = reader.checkpoints().unwrap().into_iter().map(|backup| backup.name).collect();
    assert_eq!(listed, expected.keys().cloned().collect::<Vec<_>>());
    for (name, state) in expected {
        compare(state, &shown(&open_at(backups, name).await.unwrap()).await).unwrap();
    }
}

/// Opens a copy, compares it, and writes to it.
async fn check_database(backend: &(impl Backend + Clone), expected: &State) {
    let db = open(backend).await;
    compare(expected, &read_all(&db).await.unwrap()).unwrap();
    soundness(&db).await.unwrap();
    db.put("own", "value").await.unwrap();
    db.compact().await.unwrap();
    db.close().await.unwrap();
    let db = open(backend).await;
    assert_eq!(read_all(&db).await.unwrap().len(), expected.len() + 1);
    db.close().await.unwrap();
}

fn simulated(append: bool) -> Simulated {
    Simulated::new(SimulatedOptions { seed: 7, append, ..SimulatedOptions::default() })
}

#[test]
fn backups_hold_what_was_there_and_only_what_is_new_is_written() {
    for (append, target_appends) in [(true, true), (true, false), (false, true), (false, false)] {
        process(async {
            let source = simulated(append);
            let target = if target_appends { Memory::new() } else { Memory::create_only() };
            // A merge between two backups would be something new.
            let options = Options { merge_in_background: false, ..small_options() };
            let open = async || Db::builder(Arc::new(source.clone())).options(options.clone()).open().await.unwrap();
            let mut db = open().await;
            let mut random = Random::new(3);
            let mut expected = BTreeMap::new();
            for round in 0..12 {
                change(&db, &mut random).await;
                let name = format!("{round:02}");
                let state = read_all(&db).await.unwrap();
                let report = db.backup(Arc::new(target.clone()), &name).await.unwrap();
                assert_eq!(report.seq, db.snapshot().seq());
                assert_eq!(report.segments_shared, 0);
                expected.insert(name, state);
                let again = db.backup(Arc::new(target.clone()), format!("{round:02} again")).await.unwrap();
                assert_eq!((again.segments_copied, again.bytes_copied), (0, 0), "nothing is new");
                assert_eq!(again.bytes_kept, report.bytes_kept + report.bytes_copied);
                assert!(Db::delete_backup(Arc::new(target.clone()), format!("{round:02} again")).await.unwrap());
                if round % 4 == 1 {
                    db.compact().await.unwrap();
                }
                if round % 5 == 2 {
                    db.close().await.unwrap();
                    db = open().await;
                }
                if expected.len() > 4 {
                    let name = expected.keys().nth(random.below(4) as usize).unwrap().clone();
                    assert!(Db::delete_backup(Arc::new(target.clone()), &name).await.unwrap());
                    assert!(!Db::delete_backup(Arc::new(target.clone()), &name).await.unwrap());
                    expected.remove(&name);
                }
                check(&target, &expected).await;
            }
            let (name, state) = expected.last_key_value().unwrap();
            for asked in [Some(&**name), None] {
                let place = simulated(!append);
                Db::restore(Arc::new(target.clone()), asked, Arc::new(place.clone())).await.unwrap();
                check_database(&place, state).await;
            }
            // Only what is there for the newest is left, once the others are gone.
            for name in expected.keys().take(expected.len() - 1) {
                assert!(Db::delete_backup(Arc::new(target.clone()), name).await.unwrap());
            }
            let newest = open_at(&target, name).await.unwrap();
            let files: Vec<_> = target.list("segments").try_collect().await.unwrap();
            assert_eq!(files.len() as u64, newest.stats().unwrap().segments, "{files:?}");
            db.close().await.unwrap();
        });
    }
}

#[test]
fn a_clone_goes_its_own_way() {
    for (append, target) in [(true, Memory::new()), (false, Memory::create_only()), (true, Memory::create_only())] {
        process(async {
            let source = if append { Memory::new() } else { Memory::create_only() };
            let db = open(&source).await;
            let mut random = Random::new(5);
            change(&db, &mut random).await;
            let before = read_all(&db).await.unwrap();
            let report = db.clone_to(Arc::new(target.clone())).await.unwrap();
            assert!(report.segments_shared > 0 && report.segments_copied == 0, "memory is shared: {report:?}");
            let refused = db.clone_to(Arc::new(target.clone())).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
            // The source loses all that they share.
            change(&db, &mut random).await;
            db.compact().await.unwrap();
            let after = read_all(&db).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            check_database(&target, &before).await;
            compare(&after, &read_all(&db).await.unwrap()).unwrap();
            soundness(&db).await.unwrap();
            db.close().await.unwrap();
        });
    }
}

/// A source of which a copy is to be made, in a place with an earlier backup or an empty one.
struct Story {
    is_backup: bool,
    db: Db,
    target: Simulated,
    /// What the earlier backup holds, if there is one.
    first: State,
    /// What the source holds.
    second: State,
}

impl Story {
    async fn begin(append: bool, is_backup: bool) -> Story {
        let (source, target) = (Memory::new(), simulated(append));
        let db = open(&source).await;
        let mut random = Random::new(9);
        change(&db, &mut random).await;
        let first = read_all(&db).await.unwrap();
        if is_backup {
            db.backup(Arc::new(target.clone()), "first").await.unwrap();
            change(&db, &mut random).await;
            db.compact().await.unwrap();
        }
        change(&db, &mut random).await;
        let second = read_all(&db).await.unwrap();
        Story { is_backup, db, target, first, second }
    }

    /// Makes the copy in `target`.
    async fn make(&self, target: &Simulated) -> halite::Result<CopyReport> {
        let target = Arc::new(target.clone());
        if self.is_backup { self.db.backup(target, "second").await } else { self.db.clone_to(target).await }
    }

    /// The copy whose making was disturbed is whole, or not there at all; made again, it is there.
    async fn examine(&self, target: &Simulated) {
        if !self.is_backup {
            return self.examine_clone(target).await;
        }
        compare(&self.first, &shown(&open_at(target, "first").await.unwrap()).await).unwrap();
        match self.make(target).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}"),
        }
        let expected = [("first", self.first.clone()), ("second", self.second.clone())];
        check(target, &expected.map(|(name, state)| (name.to_owned(), state)).into()).await;
    }

    async fn examine_clone(&self, target: &Simulated) {
        let read_only = Db::builder(Arc::new(target.clone())).open_read_only().await;
        match read_only.map_err(|error| error.kind()) {
            Ok(reader) => return compare(&self.second, &shown(&reader).await).unwrap(),
            Err(kind) => assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::NotAStore), "{kind:?}"),
        }
        let options = Options { create_if_missing: false, ..small_options() };
        let opened = Db::builder(Arc::new(target.clone())).options(options).open().await;
        let kind = opened.unwrap_err().kind();
        assert!(matches!(kind, ErrorKind::NotFound | ErrorKind::NotAStore), "{kind:?}");
        self.make(target).await.unwrap();
        check_database(target, &self.second).await;
    }
}

/// Runs `disturb` for each step that making a copy takes, growing and not, of backups and clones.
fn at_every_step(disturb: impl AsyncFn(&Story, u64)) {
    for (append, is_backup) in [(true, true), (false, true), (true, false), (false, false)] {
        process(async {
            let story = Story::begin(append, is_backup).await;
            let before = story.target.kill();
            let begin = before.steps();
            story.make(&before).await.unwrap();
            let steps = before.steps() - begin;
            assert!(steps > 20, "there is something to disturb: {steps}");
            for step in 0..steps {
                disturb(&story, step).await;
            }
            story.db.close().await.unwrap();
        });
    }
}

#[test]
fn the_place_crashes_at_every_step() {
    at_every_step(async |story, step| {
        let target = story.target.kill();
        target.crash_at(target.steps() + step);
        // The answer may have been lost and nothing else.
        let _ = story.make(&target).await;
        for image in [target.kill(), target.power_cut(0), target.power_cut(1), target.power_cut(step + 2)] {
            story.examine(&image).await;
        }
    });
}

#[test]
fn the_place_fails_at_every_step() {
    let kinds = [(Kind::Io, false), (Kind::Io, true), (Kind::NoSpace, false), (Kind::Unknown, true)];
    at_every_step(async |story, step| {
        for (kind, applied) in kinds {
            let target = story.target.kill();
            target.fail(Fault { at_step: target.steps() + step, kind, repeat: Repeat::Once, applied });
            if let Err(error) = story.make(&target).await {
                let kind = error.kind();
                assert!(matches!(kind, ErrorKind::Io | ErrorKind::NoSpace | ErrorKind::Unknown), "{error:?}");
            }
            story.examine(&target).await;
        }
    });
}

/// The source dies under a backup at every so-manieth of its steps; another process goes on, also by itself.
#[test]
fn the_source_crashes_under_it() {
    for append in [true, false] {
        for step in (0..400).step_by(7) {
            process(async {
                let (source, target) = (simulated(append), Memory::new());
                let db = open(&source).await;
                let mut random = Random::new(11);
                change(&db, &mut random).await;
                db.flush().await.unwrap();
                let state = read_all(&db).await.unwrap();
                source.crash_at(source.steps() + step);
                if db.backup(Arc::new(target.clone()), "a").await.is_ok() {
                    check(&target, &[("a".to_owned(), state.clone())].into()).await;
                    return;
                }
                let source = if step % 2 == 0 { source.kill() } else { source.power_cut(0) };
                let db = open(&source).await;
                compare(&state, &read_all(&db).await.unwrap()).unwrap();
                db.backup(Arc::new(target.clone()), "a").await.unwrap();
                check(&target, &[("a".to_owned(), state)].into()).await;
                db.close().await.unwrap();
            });
        }
    }
}

/// Writes and merges go on: what is copied is a prefix that holds all that was acknowledged before.
#[test]
fn copies_are_made_under_writes() {
    for append in [true, false] {
        process(async {
            let source =
                Simulated::new(SimulatedOptions { seed: 3, append, yields: true, ..SimulatedOptions::default() });
            let backups = Simulated::new(SimulatedOptions { seed: 4, yields: true, ..SimulatedOptions::default() });
            let db = open(&source).await;
            let reader = Db::builder(Arc::new(source.clone())).options(small_options()).open_read_only().await.unwrap();
            let writer = tokio::spawn({
                let db = db.clone();
                async move {
                    for n in 0..900_u32 {
                        let options = WriteOptions { durability: Durability::Deferred, ttl: None };
                        db.put_with(format!("{n:04}"), [7; 60], options).await.unwrap();
                        tokio::task::yield_now().await;
                        if n % 150 == 149 {
                            db.compact().await.unwrap();
                        }
                    }
                }
            });
            for round in 0..6 {
                let before = read_all(&db).await.unwrap().len();
                let name = format!("{round}");
                db.backup(Arc::new(backups.clone()), &name).await.unwrap();
                let target = Memory::create_only();
                db.clone_to(Arc::new(target.clone())).await.unwrap();
                reader.refresh().await.unwrap();
                let shown_before = shown(&reader).await.len();
                reader.backup(Arc::new(backups.clone()), format!("{name} by a reader")).await.unwrap();
                let after = read_all(&db).await.unwrap().len();
                let clone = Db::builder(Arc::new(target)).options(small_options()).open_read_only().await.unwrap();
                let of_reader = open_at(&backups, &format!("{name} by a reader")).await.unwrap();
                let of_db = open_at(&backups, &name).await.unwrap();
                for (reader, least) in [(clone, before), (of_db, before), (of_reader, shown_before)] {
                    let found = shown(&reader).await;
                    assert!((least..=after).contains(&found.len()), "{least} <= {} <= {after}", found.len());
                    let first: Vec<_> = (0..found.len()).map(|n| format!("{n:04}").into_bytes()).collect();
                    assert_eq!(found.into_keys().collect::<Vec<_>>(), first);
                }
            }
            writer.await.unwrap();
            db.close().await.unwrap();
        });
    }
}

/// A reader copies what is not sealed, too, and what a checkpoint shows.
#[test]
fn readers_copy_what_they_show() {
    for append in [true, false] {
        process(async {
            let (source, backups) = (simulated(append), Memory::new());
            let db = open(&source).await;
            db.put("a", "1").await.unwrap();
            db.checkpoint("kept").await.unwrap();
            db.put("b", "2").await.unwrap();
            // It hides what is sealed, and is not sealed itself.
            db.delete_range(.."b").await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
            let reader = Db::builder(Arc::new(source.clone())).open_read_only().await.unwrap();
            let report = reader.backup(Arc::new(backups.clone()), "newest").await.unwrap();
            assert_eq!(report.seq, reader.seq().unwrap());
            let kept = open_at(&source, "kept").await.unwrap();
            let report = kept.backup(Arc::new(backups.clone()), "old").await.unwrap();
            assert_eq!((report.seq, report.segments_kept), (kept.seq().unwrap(), 1));
            let old = open_at(&backups, "old").await.unwrap();
            assert_eq!((old.seq().unwrap(), old.time().unwrap()), (kept.seq().unwrap(), kept.time().unwrap()));
            assert_eq!(shown(&old).await.into_keys().collect::<Vec<_>>(), [b"a"]);
            let newest = open_at(&backups, "newest").await.unwrap();
            assert_eq!(shown(&newest).await.into_keys().collect::<Vec<_>>(), [b"b"]);
            let clone = Memory::create_only();
            newest.clone_to(Arc::new(clone.clone())).await.unwrap();
            check_database(&clone, &shown(&newest).await).await;
            db.close().await.unwrap();
        });
    }
}

/// A backup is restored and goes another way; both histories are kept in one place, and let go of one by one.
#[test]
fn histories_part_and_meet_in_one_place() {
    process(async {
        let (source, target, place) = (Memory::new(), Memory::create_only(), Memory::new());
        let backups = || Arc::new(target.clone());
        let db = open(&source).await;
        let mut random = Random::new(13);
        let mut expected = BTreeMap::new();
        change(&db, &mut random).await;
        expected.insert("1".to_owned(), read_all(&db).await.unwrap());
        db.backup(backups(), "1").await.unwrap();
        change(&db, &mut random).await;
        db.compact().await.unwrap();
        expected.insert("2".to_owned(), read_all(&db).await.unwrap());
        db.backup(backups(), "2").await.unwrap();
        Db::restore(backups(), Some("1"), Arc::new(place.clone())).await.unwrap();
        let other = open(&place).await;
        compare(&expected["1"], &read_all(&other).await.unwrap()).unwrap();
        other.put("only", "here").await.unwrap();
        expected.insert("3".to_owned(), read_all(&other).await.unwrap());
        let report = other.backup(backups(), "3").await.unwrap();
        assert!(report.segments_kept > 0, "what the first backup has brought: {report:?}");
        db.backup(backups(), "4").await.unwrap();
        expected.insert("4".to_owned(), read_all(&db).await.unwrap());
        check(&target, &expected).await;
        for name in ["1", "4", "2"] {
            assert!(Db::delete_backup(backups(), name).await.unwrap());
            expected.remove(name);
            check(&target, &expected).await;
        }
        other.close().await.unwrap();
        db.close().await.unwrap();
    });
}

#[test]
fn damage_is_found_and_not_copied() {
    process(async {
        let (source, target) = (simulated(true), simulated(false));
        let db = open(&source).await;
        db.put("k", [1; 500]).await.unwrap();
        db.backup(Arc::new(target.clone()), "whole").await.unwrap();
        db.put("l", [2; 500]).await.unwrap();
        db.checkpoint("sealed").await.unwrap();
        let file = Path::new(&*db.tree().await.unwrap().runs[0].segments[0].file).unwrap();
        assert!(source.flip_bit(&file, 300, 3));
        // Opened now: what is open already has the bytes as they were.
        let sealed = open_at(&source, "sealed").await.unwrap();
        for _ in 0..2 {
            let error = sealed.backup(Arc::new(target.clone()), "damaged").await.unwrap_err();
            assert_eq!((error.kind(), error.place().unwrap().0), (ErrorKind::Corruption, file.as_str()));
            assert!(!target.exists(&file).await.unwrap(), "a damaged copy is left");
        }
        let error = sealed.clone_to(Arc::new(simulated(true))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert_eq!(shown(&open_at(&target, "whole").await.unwrap()).await.len(), 1);
        assert!(source.flip_bit(&file, 300, 3));
        db.backup(Arc::new(target.clone()), "mended").await.unwrap();
        // What has been damaged in the backup is found by verifying it, and not restored.
        assert!(target.flip_bit(&file, 300, 3));
        let mended = open_at(&target, "mended").await.unwrap();
        assert_eq!(mended.verify().await.unwrap().damage[0].file, file.to_string());
        let error = Db::restore(Arc::new(target.clone()), None, Arc::new(Memory::new())).await.unwrap_err();
        assert_eq!((error.kind(), error.place().unwrap().0), (ErrorKind::Corruption, file.as_str()));
        Db::restore(Arc::new(target.clone()), Some("whole"), Arc::new(Memory::new())).await.unwrap();
        db.close().await.unwrap();
    });
}

#[test]
fn what_cannot_be_is_refused() {
    process(async {
        let (source, backups) = (Memory::new(), Memory::new());
        let db = open(&source).await;
        db.put("k", "v").await.unwrap();
        let target = || Arc::new(backups.clone());
        let kind = |outcome: halite::Result<CopyReport>| outcome.unwrap_err().kind();
        assert_eq!(kind(Db::restore(target(), None, Arc::new(Memory::new())).await), ErrorKind::NotFound);
        assert_eq!(Db::delete_backup(target(), "a").await.unwrap_err().kind(), ErrorKind::NotFound);
        db.backup(target(), "a").await.unwrap();
        assert_eq!(kind(db.backup(target(), "a").await), ErrorKind::AlreadyExists);
        assert_eq!(kind(db.backup(target(), "").await), ErrorKind::InvalidInput);
        assert_eq!(kind(db.clone_to(target()).await), ErrorKind::AlreadyExists);
        assert_eq!(kind(Db::restore(target(), Some("b"), Arc::new(Memory::new())).await), ErrorKind::NotFound);
        assert_eq!(kind(Db::restore(target(), None, target()).await), ErrorKind::AlreadyExists);
        // Backups are nobody's database, and a database keeps no backups.
        let opened = Db::builder(target()).open().await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::NotAStore);
        assert_eq!(kind(db.backup(Arc::new(source.clone()), "b").await), ErrorKind::AlreadyExists);
        assert_eq!(Db::delete_backup(Arc::new(source.clone()), "b").await.unwrap_err().kind(), ErrorKind::NotAStore);
        let other = open(&Memory::new()).await;
        assert_eq!(kind(other.backup(target(), "b").await), ErrorKind::InvalidInput);
        let foreign = Memory::new();
        foreign.create(&Path::new("notes").unwrap(), "mine".into()).await.unwrap();
        assert_eq!(kind(db.clone_to(Arc::new(foreign.clone())).await), ErrorKind::NotAStore);
        let lock = backups.lock().await.unwrap();
        assert_eq!(kind(db.backup(target(), "b").await), ErrorKind::InUse);
        drop(lock);
        db.backup(target(), "b").await.unwrap();
        db.close().await.unwrap();
        assert_eq!(kind(db.backup(target(), "c").await), ErrorKind::Closed);
        other.close().await.unwrap();
    });
}

/// Of local files a clone is links, a backup and what is restored from it are files of their own.
#[cfg(unix)]
#[test]
fn on_local_files() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new("copies");
    let place = |name: &str| Arc::new(Local::open(folder.path().join(name), true).unwrap());
    let links = |name: &str| {
        let files = std::fs::read_dir(folder.path().join(name).join("segments")).unwrap();
        let links: Vec<_> = files.map(|file| file.unwrap().metadata().unwrap().nlink()).collect();
        assert!(!links.is_empty());
        (*links.iter().min().unwrap(), *links.iter().max().unwrap())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let db = Db::builder(place("source")).options(small_options()).open().await.unwrap();
        change(&db, &mut Random::new(1)).await;
        let state = read_all(&db).await.unwrap();
        let report = db.backup(place("backups"), "a").await.unwrap();
        assert!(report.segments_copied > 0 && report.segments_shared == 0);
        assert_eq!(links("backups"), (1, 1));
        let report = db.clone_to(place("clone")).await.unwrap();
        assert!(report.segments_shared > 0 && report.segments_copied == 0);
        assert_eq!(links("clone"), (2, 2));
        let report = Db::restore(place("backups"), None, place("restored")).await.unwrap();
        assert!(report.segments_copied > 0 && report.segments_shared == 0);
        db.compact().await.unwrap();
        db.close().await.unwrap();
        std::fs::remove_dir_all(folder.path().join("source")).unwrap();
        for name in ["clone", "restored"] {
            check_database(&Local::open(folder.path().join(name), false).unwrap(), &state).await;
        }
        let kept = Db::builder(place("backups")).open_at("a").await.unwrap();
        compare(&state, &shown(&kept).await).unwrap();
    });
}

/// Copies can be made in tasks of their own.
#[test]
fn their_futures_can_be_sent() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    process(async {
        let (source, backups) = (Memory::new(), Memory::new());
        let db = open(&source).await;
        sendable(db.backup(Arc::new(backups.clone()), "a")).await.unwrap();
        sendable(db.clone_to(Arc::new(Memory::new()))).await.unwrap();
        let reader = open_at(&backups, "a").await.unwrap();
        sendable(reader.clone_to(Arc::new(Memory::new()))).await.unwrap();
        sendable(Db::restore(Arc::new(backups), None, Arc::new(Memory::new()))).await.unwrap();
        db.close().await.unwrap();
    });
}

/// A copy that shares nothing goes from any storage to any, beside a writer.
#[test]
fn a_store_moves_from_anywhere_to_anywhere() {
    for from in [true, false] {
        for to in [true, false] {
            let mut world = World::new(Store::memory(from), small_options(), 3);
            process(async {
                let db = world.open().await.unwrap();
                for n in 0..150_u16 {
                    db.put(halite_tests::ops::key(n % 40), format!("{n}")).await.unwrap();
                }
                db.compact().await.unwrap();
                let expected = read_all(&db).await.unwrap();
                let of_reader = Arc::new(if to { Memory::new() } else { Memory::create_only() });
                let reader = world.open_read_only().await.unwrap();
                let report = reader.copy_to(of_reader.clone()).await.unwrap();
                assert_eq!((report.segments_shared, report.bytes_shared), (0, 0));
                assert!(report.segments_copied > 0, "{report:?}");
                let again = reader.copy_to(of_reader.clone()).await.unwrap_err();
                assert_eq!(again.kind(), ErrorKind::AlreadyExists);
                let of_writer = Arc::new(if to { Memory::new() } else { Memory::create_only() });
                assert_eq!(db.copy_to(of_writer.clone()).await.unwrap().segments_shared, 0);
                for copy in [of_reader, of_writer] {
                    let copy = Db::builder(copy).options(small_options()).open().await.unwrap();
                    assert_eq!(read_all(&copy).await.unwrap(), expected);
                    soundness(&copy).await.unwrap();
                    copy.put("its own", "way").await.unwrap();
                    copy.close().await.unwrap();
                }
                assert_eq!(read_all(&db).await.unwrap(), expected);
                db.close().await.unwrap();
            });
        }
    }
}
