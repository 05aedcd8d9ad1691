//! A storage that panics, at every step of a story (F17): in whichever task that is, whoever waits is told, nobody waits for
//! ever, `reopen` makes the database write again, and what was acknowledged is there.
//!
//! A panic in a call that the caller polls is the caller's own; one in the background is caught, and stops writing.
#![allow(clippy::unwrap_used)]

use halite::backends::SimulatedOptions;
use halite::{Db, Durability, Error, ErrorKind, WriteOptions};
use halite_tests::history::{History, Loss, Value};
use halite_tests::ops::value;
use halite_tests::world::{Store, World, bytes, ends, process, read_all, small_options, soundness};

const PUTS: usize = 36;

fn key(number: usize) -> Vec<u8> {
    format!("key{}", number % 9).into_bytes()
}

/// What becomes of `call` in a task of its own; `None` where it panics.
async fn apart<T: Send + 'static>(
    what: &str,
    call: impl Future<Output = halite::Result<T>> + Send + 'static,
) -> Option<halite::Result<T>> {
    ends(what, tokio::spawn(call)).await.unwrap().ok()
}

/// What a caller may hear after a panic.
fn check(error: &Error, story: &str) {
    use ErrorKind::{Closed, Fenced, Poisoned, Unknown};
    // A manifest whose creation was never answered looks like another writer's.
    assert!(matches!(error.kind(), Poisoned | Unknown | Closed | Fenced), "{story}: {error:?}");
}

/// Puts until there are some segments, with a checkpoint and a merge; what was acknowledged enters `history`. Whether all
/// went well.
async fn live(db: &Db, history: &mut History, story: &str) -> bool {
    let mut went_well = true;
    for number in 0..PUTS {
        let level = if number % 3 == 0 { Durability::Synced } else { Durability::Deferred };
        let written = value(number, 0, 300);
        let entered = Value { bytes: bytes(&written), expires_at: None };
        let commit = history.enter(vec![(key(number), Some(entered))]);
        let writer = db.clone();
        let options = WriteOptions { durability: level, ttl: None };
        let put = async move { writer.put_with(key(number), written, options).await };
        let put = apart("a put", put).await;
        went_well &= matches!(put, Some(Ok(())));
        match put {
            Some(Ok(())) => history.acknowledge(commit, level),
            Some(Err(error)) => check(&error, story),
            None => {}
        }
        let other = db.clone();
        let done = match number {
            20 => apart("a checkpoint", async move { other.checkpoint("one").await.map(drop) }).await,
            30 => apart("a merge", async move { other.compact().await.map(drop) }).await,
            _ => None,
        };
        if let Some(Err(error)) = done {
            check(&error, story);
        }
    }
    went_well
}

/// Returns how many steps there are to panic at.
fn panics_everywhere(append: bool) -> u64 {
    for step in 0.. {
        let story = format!("append={append}: a panic at step {step}");
        let simulated = SimulatedOptions { seed: 5, append, lock: false, yields: true, ..SimulatedOptions::default() };
        let mut world = World::new(Store::simulated(simulated), small_options(), 5);
        let disk = world.store.simulator().clone();
        disk.panic_at(step);
        let mut history = History::default();
        let is_over = process(async {
            let db = match apart("open", opening(&mut world)).await {
                Some(Ok(db)) => {
                    let went_well = live(&db, &mut history, &story).await;
                    if went_well && disk.steps() <= step {
                        return true;
                    }
                    ends("reopen", db.reopen()).await.unwrap().unwrap_or_else(|error| panic!("{story}: {error:?}"))
                }
                failed => {
                    failed.into_iter().for_each(|failed| check(&failed.unwrap_err(), &story));
                    world.open().await.unwrap_or_else(|error| panic!("{story}: {error:?}"))
                }
            };
            let found = read_all(&db).await.unwrap();
            let survivors =
                history.judge(&found, world.time(), Loss::Kill).unwrap_or_else(|wrong| panic!("{story}: {wrong}"));
            history.keep(&survivors);
            ends("a put", db.put("after", "all")).await.unwrap().unwrap_or_else(|error| panic!("{story}: {error:?}"));
            soundness(&db).await.unwrap_or_else(|wrong| panic!("{story}: {wrong}"));
            ends("close", db.close()).await.unwrap().unwrap_or_else(|error| panic!("{story}: {error:?}"));
            false
        });
        if is_over {
            return step;
        }
    }
    unreachable!("the story has an end")
}

/// The opening of `world`'s store, to be run by whoever likes.
fn opening(world: &mut World) -> impl Future<Output = halite::Result<Db>> + Send + 'static {
    let builder = Db::builder(world.store.backend()).options(world.options.clone());
    builder.clock(std::sync::Arc::new(world.clock.clone())).seed(77).open()
}

#[test]
fn on_growing_files() {
    let steps = panics_everywhere(true);
    println!("counted: {steps} steps with a panic");
}

#[test]
fn on_fragments() {
    let steps = panics_everywhere(false);
    println!("counted: {steps} steps with a panic");
}
