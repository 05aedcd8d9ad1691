//! Two writers on a store that has no lock: never two acknowledgements that do not both survive.
//!
//! Each writer has a runtime of its own, so that one can be stopped at any of its turns while the other opens, writes,
//! seals, merges and closes, and then goes on as if nothing had happened: a zombie.
#![allow(clippy::unwrap_used)]

use futures::future::join_all;
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, ErrorKind, Options, WriteOptions};
use halite_tests::random::Random;
use halite_tests::world::{FOR_EVER, Store, World, process, read_all, small_options, soundness};
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// What a writer was told, write by write.
type Answers = Arc<Mutex<Vec<(String, Result<(), ErrorKind>)>>>;

struct Writer {
    runtime: Runtime,
    task: Option<JoinHandle<()>>,
    answers: Answers,
}

impl Writer {
    /// A process that will open the store and put `count` keys that begin with `name`. Nothing of it runs yet.
    fn new(world: &mut World, name: &'static str, count: u32) -> Writer {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let answers = Answers::default();
        let noted = answers.clone();
        let mut own = world.rival();
        // On fragments each commit is one, and several are under way.
        let at_once = if own.store.backend().capabilities().append { 1 } else { 3 };
        let task = runtime.spawn(async move {
            let db = match own.open().await {
                Ok(db) => db,
                Err(error) => return noted.lock().unwrap().push(("open".into(), Err(error.kind()))),
            };
            write(&db, name, count, at_once, &noted).await;
            // Whether this works is not the question here; that it returns is.
            let _ = db.close().await;
        });
        Writer { runtime, task: Some(task), answers }
    }

    /// Lets it have so many turns.
    fn turns(&self, turns: u64) {
        self.runtime.block_on(async {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
        });
    }

    fn is_done(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets it come to its end.
    fn finish(&mut self, story: &str) {
        if let Some(task) = self.task.take() {
            let ended = self.runtime.block_on(async { tokio::time::timeout(FOR_EVER, task).await });
            ended.unwrap_or_else(|_| panic!("{story}: a writer hangs")).unwrap();
        }
    }

    fn acknowledged(&self) -> Vec<String> {
        let answers = self.answers.lock().unwrap();
        answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(key, _)| key.clone()).collect()
    }
}

async fn write(db: &Db, name: &str, count: u32, at_once: u32, answers: &Answers) {
    let put = async |n: u32| {
        let key = format!("{name}{n:02}");
        let durability = [Durability::Synced, Durability::Written, Durability::Synced][n as usize % 3];
        let answer =
            db.put_with(&key, format!("{key} {}", "x".repeat(350)), WriteOptions { durability, ttl: None }).await;
        answers.lock().unwrap().push((key, answer.map_err(|error| error.kind())));
    };
    for first in (0..count).step_by(at_once as usize) {
        let last = count.min(first + at_once) - 1;
        join_all((first..=last).map(put)).await;
        if last % 9 == 8 {
            let _ = db.compact().await;
        }
    }
}

/// Opens the store once all writers are gone: what was acknowledged to anyone is there, the keys of each writer are the
/// first so many of those it wrote, and the store is sound.
fn check(world: &mut World, writers: &[(&str, &Writer)], story: &str) {
    let mut last = world.rival();
    let found = process(async {
        let db = last.open().await.expect(story);
        let found = read_all(&db).await.expect(story);
        soundness(&db).await.expect(story);
        db.close().await.expect(story);
        found
    });
    for (name, writer) in writers {
        for key in writer.acknowledged() {
            assert!(found.contains_key(key.as_bytes()), "{story}: {key} was acknowledged and is lost");
        }
        let there: Vec<_> = found.keys().filter(|key| key.starts_with(name.as_bytes())).cloned().collect();
        let first: Vec<_> = (0..there.len()).map(|n| format!("{name}{n:02}").into_bytes()).collect();
        assert_eq!(there, first, "{story}: what survives of {name} is not a prefix");
        for (key, answer) in writer.answers.lock().unwrap().iter() {
            let kind = answer.as_ref().err();
            let is_expected = matches!(kind, None | Some(ErrorKind::Fenced | ErrorKind::Unknown));
            assert!(is_expected, "{story}: {name} was told {kind:?} for {key}");
        }
    }
}

fn world(append: bool, seed: u64) -> World {
    let options = SimulatedOptions { seed, append, lock: false, yields: true, ..SimulatedOptions::default() };
    World::new(Store::simulated(options), Options { fragment_bytes: 1, ..small_options() }, seed)
}

/// The first writer is stopped after each of its turns, from its opening on; the second opens, writes and closes; the
/// first goes on.
fn take_over_at_every_turn(append: bool) {
    for pause in 0.. {
        let story = format!("append={append}: taken over after {pause} turns");
        let mut world = world(append, 5);
        let mut first = Writer::new(&mut world, "a", 12);
        first.turns(pause);
        let too_late = first.is_done();
        let mut second = Writer::new(&mut world, "b", 12);
        second.finish(&story);
        assert_eq!(second.acknowledged().len(), 12, "{story}: {:?}", second.answers);
        first.finish(&story);
        check(&mut world, &[("a", &first), ("b", &second)], &story);
        if too_late {
            break;
        }
    }
}

#[test]
fn a_take_over_at_every_turn_on_growing_files() {
    take_over_at_every_turn(true);
}

#[test]
fn a_take_over_at_every_turn_on_fragments() {
    take_over_at_every_turn(false);
}

/// Both run at once, in turns drawn from a seed, and a third comes in at some time.
fn interleaved(append: bool) {
    for seed in 0..150 {
        let story = format!("append={append} seed={seed}");
        let mut random = Random::new(seed);
        let mut world = world(append, seed);
        let mut writers: Vec<Writer> = ["a", "b", "c"].map(|name| Writer::new(&mut world, name, 12)).into();
        let mut patience = 20_000;
        while writers.iter().any(|writer| !writer.is_done()) && patience > 0 {
            patience -= 1;
            let writer = &writers[random.below(3) as usize];
            writer.turns(random.pick(&[1, 3, 10, 40]));
        }
        writers.iter_mut().for_each(|writer| writer.finish(&story));
        let named: Vec<_> = ["a", "b", "c"].into_iter().zip(&writers).collect();
        check(&mut world, &named, &story);
    }
}

#[test]
fn writers_in_random_turns_on_growing_files() {
    interleaved(true);
}

#[test]
fn writers_in_random_turns_on_fragments() {
    interleaved(false);
}

/// Who has been overtaken says so, to all who wait and ever after; reads go on.
#[test]
fn an_overtaken_writer_says_so() {
    for append in [true, false] {
        let mut world = world(append, 9);
        process(async {
            let old = world.open().await.unwrap();
            old.put("k", "old").await.unwrap();
            let new = world.open().await.unwrap();
            new.put("k", "new").await.unwrap();
            let told = join_all((0..5).map(|n| old.put(format!("late{n}"), "x"))).await;
            for outcome in told {
                let kind = outcome.unwrap_err().kind();
                assert!(matches!(kind, ErrorKind::Fenced | ErrorKind::Unknown), "{kind:?}");
            }
            assert_eq!(old.put("later", "x").await.unwrap_err().kind(), ErrorKind::Fenced);
            assert_eq!(old.flush().await.unwrap_err().kind(), ErrorKind::Fenced);
            assert_eq!(old.get("k").await.unwrap().as_deref(), Some(&b"old"[..]), "reads go on, as of before");
            assert_eq!(new.get("k").await.unwrap().as_deref(), Some(&b"new"[..]));
            assert_eq!(read_all(&new).await.unwrap().len(), 1);
            // Back and forth: each claim takes over from the one before.
            let newest = old.reopen().await.unwrap();
            assert_eq!(newest.get("k").await.unwrap().as_deref(), Some(&b"new"[..]));
            newest.put("k", "newest").await.unwrap();
            let kind = new.put("k", "never").await.unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Fenced | ErrorKind::Unknown), "{kind:?}");
            newest.close().await.unwrap();
        });
    }
}
