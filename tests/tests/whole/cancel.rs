//! Every public future dropped at every one of its polls.
//!
//! A future is polled once and dropped, then (in a new copy of the store) polled twice and dropped, and so on until it
//! completes. Each time another writer is at work beside it. Afterwards nothing hangs; what the dropped call was to do has
//! happened wholly or not at all; other writers have got their answers; and a fresh engine finds the same state.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use futures::future::BoxFuture;
use halite::backends::SimulatedOptions;
use halite::{Db, Durability, ErrorKind, WriteBatch, WriteOptions};
use halite_tests::history::{Loss, State};
use halite_tests::ops::{Op, put};
use halite_tests::play::{Policy, play};
use halite_tests::world::{FOR_EVER, Store, World, bytes, ends, process, read_all, small_options, soundness};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// When a future is dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// Right after its last poll.
    AtOnce,
    /// When it has been woken, instead of the next poll.
    WhenWoken,
}

/// Polls `future` up to `polls` times and drops it then. Its output, if it came to that.
async fn polled<F: Future>(future: F, polls: u32, moment: Moment) -> Option<F::Output> {
    let mut left = polls;
    let mut future = pin!(Some(future));
    poll_fn(|context| {
        if left > 0 {
            left -= 1;
            let running = future.as_mut().as_pin_mut().expect("dropped only when all is over");
            match running.poll(context) {
                Poll::Ready(output) => return Poll::Ready(Some(output)),
                Poll::Pending if left > 0 || moment == Moment::WhenWoken => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        future.set(None);
        Poll::Ready(None)
    })
    .await
}

type Act = fn(Db) -> BoxFuture<'static, halite::Result<()>>;

/// What `act` changes: the keys it writes with what it leaves there.
type Change = &'static [(&'static str, Option<&'static str>)];

fn base(append: bool) -> World {
    let options = SimulatedOptions { seed: 3, append, yields: true, ..SimulatedOptions::default() };
    let mut world = World::new(Store::simulated(options), small_options(), 3);
    let mut before: Vec<Op> =
        (0..3).flat_map(|_| (8..20).map(|key| Op::Write(put(key, 300), Durability::Deferred))).collect();
    before.push(Op::Close);
    play(&mut world, &before, Policy::Strict).unwrap();
    world
}

fn after(before: &State, change: Change) -> State {
    let mut state = before.clone();
    for (key, value) in change {
        match value {
            Some(value) => state.insert(key.as_bytes().to_vec(), bytes(value.as_bytes())),
            None => state.remove(key.as_bytes()),
        };
    }
    state
}

/// The other writer: five puts, each acknowledged.
async fn company(db: Db, label: &'static str) -> halite::Result<()> {
    for n in 0..5 {
        db.put(format!("{label}{n}"), "here").await?;
    }
    Ok(())
}

fn with_company(mut state: State, label: &str) -> State {
    state.extend((0..5).map(|n| (format!("{label}{n}").into_bytes(), bytes(b"here"))));
    state
}

/// Drops `act` at each of its polls.
fn drop_everywhere(change: Change, act: Act) {
    for append in [true, false] {
        let base = base(append);
        for moment in [Moment::AtOnce, Moment::WhenWoken] {
            let mut polls = 0;
            while !drop_once(&base, change, act, polls, moment) {
                polls += 1;
                assert!(polls < 100_000, "the call never completes");
            }
        }
    }
}

/// One drop after so many polls. True if the call completed before.
fn drop_once(base: &World, change: Change, act: Act, polls: u32, moment: Moment) -> bool {
    let story = format!("dropped {moment:?} after {polls} polls");
    let mut world = base.fork(base.store.kill());
    let before = world.expected();
    let (completed, state) = process(async {
        let db = world.open().await.unwrap();
        let other = tokio::spawn(company(db.clone(), "beside"));
        let outcome = polled(act(db.clone()), polls, moment).await;
        ends("the other writer", other).await.expect(&story).unwrap().expect(&story);
        ends("a later writer", company(db.clone(), "later")).await.expect(&story).expect(&story);
        ends("flush", db.flush()).await.expect(&story).expect(&story);
        let state = read_all(&db).await.expect(&story);
        soundness(&db).await.expect(&story);
        ends("close", db.close()).await.expect(&story).expect(&story);
        (outcome.map(|outcome| outcome.expect(&story)), state)
    });
    let companies = |state| with_company(with_company(state, "beside"), "later");
    let (undone, done) = (companies(before.clone()), companies(after(&before, change)));
    assert!(state == done || (completed.is_none() && state == undone), "{story}: half done, or lost: {state:?}");
    same_at_next_opening(&mut world, &state, &story);
    completed.is_some()
}

fn same_at_next_opening(world: &mut World, state: &State, story: &str) {
    process(async {
        let db = world.open().await.expect(story);
        assert_eq!(&read_all(&db).await.expect(story), state, "{story}: another state at the next opening");
        soundness(&db).await.expect(story);
    });
}

fn level(durability: Durability) -> WriteOptions {
    WriteOptions { durability, ttl: None }
}

#[test]
fn put_synced() {
    drop_everywhere(&[("new", Some("1"))], |db| Box::pin(async move { db.put("new", "1").await }));
}

#[test]
fn put_written() {
    let act: Act = |db| Box::pin(async move { db.put_with("new", "1", level(Durability::Written)).await });
    drop_everywhere(&[("new", Some("1"))], act);
}

#[test]
fn put_deferred() {
    let act: Act = |db| Box::pin(async move { db.put_with("new", "1", level(Durability::Deferred)).await });
    drop_everywhere(&[("new", Some("1"))], act);
}

#[test]
fn delete() {
    drop_everywhere(&[("user:0009", None)], |db| Box::pin(async move { db.delete("user:0009").await }));
}

#[test]
fn write() {
    let act: Act =
        |db| Box::pin(async move { db.write(WriteBatch::new().put("a", "1").delete("user:0009").put("b", "2")).await });
    drop_everywhere(&[("a", Some("1")), ("b", Some("2")), ("user:0009", None)], act);
}

/// Nobody else writes, and no timer helps: what a dropped future has entered becomes visible all the same, and survives
/// the process.
#[test]
fn a_commit_whose_future_was_dropped_needs_no_other() {
    for append in [true, false] {
        for durability in [Durability::Synced, Durability::Written, Durability::Deferred] {
            let story = format!("append={append} {durability:?}");
            let options = SimulatedOptions { seed: 3, append, ..SimulatedOptions::default() };
            let mut world = World::new(Store::simulated(options), small_options(), 3);
            let state = process(async {
                let db = world.open().await.unwrap();
                db.put("before", "1").await.unwrap();
                tokio::time::sleep(FOR_EVER).await;
                drop(polled(db.put_with("alone", "1", level(durability)), 1, Moment::AtOnce).await);
                tokio::time::sleep(FOR_EVER).await;
                let state = read_all(&db).await.unwrap();
                assert_eq!(state.len(), 2, "{story}: it never happened");
                world.end(Loss::Kill, 0);
                state
            });
            same_at_next_opening(&mut world, &state, &story);
        }
    }
}

/// So does a flush.
#[test]
fn a_flush_whose_future_was_dropped_needs_no_other() {
    let mut world = World::new(Store::simulated(SimulatedOptions::default()), small_options(), 3);
    world.options.flush_interval = 10 * FOR_EVER;
    world.options.sync_interval = 10 * FOR_EVER;
    process(async {
        let db = world.open().await.unwrap();
        db.put("before", "1").await.unwrap();
        tokio::time::sleep(FOR_EVER).await;
        db.put_with("deferred", "1", level(Durability::Deferred)).await.unwrap();
        drop(polled(db.flush(), 1, Moment::AtOnce).await);
        tokio::time::sleep(FOR_EVER).await;
        world.end(Loss::PowerCut, 0);
        let db = world.open().await.unwrap();
        assert_eq!(read_all(&db).await.unwrap().len(), 2, "nothing was made durable");
    });
}

#[test]
fn get() {
    drop_everywhere(&[], |db| Box::pin(async move { db.get("user:0009").await.map(drop) }));
}

#[test]
fn contains() {
    drop_everywhere(&[], |db| Box::pin(async move { db.contains("user:0009").await.map(drop) }));
}

#[test]
fn scan() {
    drop_everywhere(&[], |db| Box::pin(async move { db.scan(..).try_for_each(|_| async { Ok(()) }).await }));
}

#[test]
fn backward_scan() {
    drop_everywhere(&[], |db| Box::pin(async move { db.scan(..).rev().try_for_each(|_| async { Ok(()) }).await }));
}

#[test]
fn flush() {
    drop_everywhere(&[], |db| Box::pin(async move { db.flush().await }));
}

#[test]
fn compact() {
    drop_everywhere(&[], |db| Box::pin(async move { db.compact().await.map(drop) }));
}

#[test]
fn verify() {
    drop_everywhere(&[], |db| Box::pin(async move { db.verify().await.map(drop) }));
}

#[test]
fn transaction() {
    let act: Act = |db| {
        Box::pin(async move {
            let transaction = db.begin();
            transaction.get("user:0009").await?;
            transaction.put("a", "1")?;
            transaction.delete("user:0009")?;
            transaction.commit().await
        })
    };
    drop_everywhere(&[("a", Some("1")), ("user:0009", None)], act);
}

/// With someone else's commits in between, so that it is dropped in its second attempt too.
#[test]
fn transact() {
    let act: Act = |db| {
        Box::pin(async move {
            db.transact(|transaction| async move {
                transaction.prefix("beside").try_for_each(|_| async { Ok(()) }).await?;
                tokio::task::yield_now().await;
                transaction.put("a", "1")?;
                transaction.put("b", "2")
            })
            .await
        })
    };
    drop_everywhere(&[("a", Some("1")), ("b", Some("2"))], act);
}

#[test]
fn compare_and_swap() {
    let act: Act = |db| Box::pin(async move { db.compare_and_swap("new", None, Some(b"1")).await.map(drop) });
    drop_everywhere(&[("new", Some("1"))], act);
}

#[test]
fn increment() {
    let act: Act = |db| Box::pin(async move { db.increment("n", 5).await.map(drop) });
    drop_everywhere(&[("n", Some("5"))], act);
}

#[test]
fn expire() {
    let act: Act = |db| Box::pin(async move { db.expire("user:0009", std::time::Duration::ZERO).await.map(drop) });
    drop_everywhere(&[("user:0009", None)], act);
}

/// A dropped close may have closed or not; it can be called again, and loses nothing.
#[test]
fn close() {
    for append in [true, false] {
        let base = base(append);
        for polls in 0.. {
            let story = format!("append={append}: close dropped after {polls} polls");
            let mut world = base.fork(base.store.kill());
            let mut state = world.expected();
            let completed = process(async {
                let db = world.open().await.unwrap();
                db.put_with("deferred", "1", level(Durability::Deferred)).await.unwrap();
                state.insert(b"deferred".to_vec(), bytes(b"1"));
                let completed = polled(db.close(), polls, Moment::AtOnce).await;
                match ends("a put", db.put("late", "1")).await.expect(&story) {
                    Ok(()) => drop(state.insert(b"late".to_vec(), bytes(b"1"))),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{story}: {error:?}"),
                }
                ends("close", db.close()).await.expect(&story).expect(&story);
                completed.is_some()
            });
            same_at_next_opening(&mut world, &state, &story);
            if completed {
                break;
            }
        }
    }
}

/// A dropped opening leaves a store that the next one opens, with a log to replay or without.
#[test]
fn open() {
    for append in [true, false] {
        for killed in [true, false] {
            let mut base = base(append);
            if killed {
                let more =
                    [Op::Write(put(8, 900), Durability::Written), Op::Write(put(9, 900), Durability::Synced), Op::Kill];
                play(&mut base, &more, Policy::Strict).unwrap();
            }
            for polls in 0.. {
                let story = format!("append={append} killed={killed}: open dropped after {polls} polls");
                let mut world = base.fork(base.store.kill());
                let state = world.expected();
                let completed = process(async {
                    let completed = polled(world.open(), polls, Moment::AtOnce).await.map(|db| db.expect(&story));
                    drop(completed.clone());
                    if completed.is_none() {
                        let db = ends("open", world.open()).await.expect(&story).expect(&story);
                        assert_eq!(read_all(&db).await.expect(&story), state, "{story}");
                        ends("close", db.close()).await.expect(&story).expect(&story);
                    }
                    completed.is_some()
                });
                same_at_next_opening(&mut world, &state, &story);
                if completed {
                    break;
                }
            }
        }
    }
}

/// A dropped `reopen` may have opened or not; another follows.
#[test]
fn reopen() {
    for append in [true, false] {
        let base = base(append);
        for polls in 0.. {
            let story = format!("append={append}: reopen dropped after {polls} polls");
            let mut world = base.fork(base.store.kill());
            let mut state = world.expected();
            state.insert(b"before".to_vec(), bytes(b"1"));
            state.insert(b"behind".to_vec(), bytes(b"1"));
            let completed = process(async {
                let db = world.open().await.unwrap();
                db.put("before", "1").await.unwrap();
                let completed = polled(db.reopen(), polls, Moment::AtOnce).await.map(|db| db.expect(&story));
                let next = match &completed {
                    Some(db) => db.clone(),
                    None => ends("reopen", db.reopen()).await.expect(&story).expect(&story),
                };
                ends("a put", next.put("behind", "1")).await.expect(&story).expect(&story);
                ends("close", next.close()).await.expect(&story).expect(&story);
                completed.is_some()
            });
            same_at_next_opening(&mut world, &state, &story);
            if completed {
                break;
            }
        }
    }
}
