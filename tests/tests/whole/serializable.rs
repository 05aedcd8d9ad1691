//! Histories of transactions that run at the same time, judged: some serial order must explain each.
//!
//! Tasks append to and read a few lists in transactions, on a simulated store that answers late, with segments so small
//! that they fill and are sealed meanwhile. Where tasks meet is drawn from a seed. What they have seen is judged by
//! [`elle`]; that the same tasks do meet is shown by snapshot isolation, under which some of the same histories have
//! cycles, of the one kind that it allows.
//!
//! Other histories go through several lives of the database: a write fails, and what was under way may have happened or not.
#![allow(clippy::unwrap_used)]

use futures::TryStreamExt;
use futures::future::join_all;
use halite::backends::{self, Fault, Repeat, SimulatedOptions};
use halite::{Db, Durability, ErrorKind, Isolation, Transaction, TransactionOptions};
use halite_tests::elle::{Edge, Event, Graph, Observed, Outcome, Value, graph};
use halite_tests::history::Loss;
use halite_tests::random::{Random, mix};
use halite_tests::world::{Store, World, ends, process, small_options};
use std::cell::{Cell, RefCell};

const TASKS: u64 = 6;
const TRANSACTIONS: u64 = 14;

/// What all tasks share.
struct Notes {
    history: RefCell<Vec<Observed>>,
    time: Cell<u64>,
    value: Cell<Value>,
}

impl Notes {
    fn tick(&self) -> u64 {
        self.time.set(self.time.get() + 1);
        self.time.get()
    }
}

fn list(value: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(value).unwrap();
    text.split(',').filter(|value| !value.is_empty()).map(|value| value.parse().unwrap()).collect()
}

fn key(number: u32) -> String {
    format!("list:{number}")
}

async fn read(transaction: &Transaction, number: u32, by_scan: bool) -> Vec<Value> {
    if by_scan {
        let entry = transaction.prefix(key(number)).limit(1).try_next().await.unwrap();
        return entry.map_or(Vec::new(), |entry| list(&entry.value));
    }
    transaction.get(key(number)).await.unwrap().map_or(Vec::new(), |value| list(&value))
}

async fn append(transaction: &Transaction, number: u32, notes: &Notes, events: &mut Vec<Event>, by_scan: bool) {
    let mut values = read(transaction, number, by_scan).await;
    events.push(Event::Read(number, values.clone()));
    notes.value.set(notes.value.get() + 1);
    values.push(notes.value.get());
    let text: Vec<_> = values.iter().map(ToString::to_string).collect();
    transaction.put(key(number), text.join(",")).unwrap();
    events.push(Event::Append(number, notes.value.get()));
}

/// Runs a transaction, and commits it at `level`, any if `None`.
async fn one(
    db: &Db,
    isolation: Isolation,
    random: &mut Random,
    keys: u64,
    level: Option<Durability>,
    notes: &Notes,
) -> (Observed, Option<ErrorKind>) {
    let began = notes.tick();
    let transaction = db.begin_with(TransactionOptions { isolation, ..TransactionOptions::default() });
    let mut events = Vec::new();
    for _ in 0..1 + random.below(4) {
        let (number, by_scan) = (random.below(keys) as u32, random.chance(30));
        match random.chance(40) {
            true => append(&transaction, number, notes, &mut events, by_scan).await,
            false => events.push(Event::Read(number, read(&transaction, number, by_scan).await)),
        }
        for _ in 0..random.below(4) {
            tokio::task::yield_now().await;
        }
    }
    let any = random.pick(&[Durability::Synced, Durability::Written, Durability::Deferred]);
    let level = level.unwrap_or(any);
    let (outcome, failed) = match random.chance(5) {
        true => {
            transaction.rollback();
            (Outcome::Aborted, None)
        }
        false => match transaction.commit_with(level).await.map_err(|error| error.kind()) {
            Ok(()) => (Outcome::Committed, None),
            Err(ErrorKind::Conflict) => (Outcome::Aborted, None),
            Err(ErrorKind::Unknown) => (Outcome::Unknown, Some(ErrorKind::Unknown)),
            Err(kind) => (Outcome::Aborted, Some(kind)),
        },
    };
    (Observed { events, outcome, time: (began, notes.tick()) }, failed)
}

/// Reads all lists in one transaction, after which nothing comes.
async fn read_lists(db: &Db, keys: u64, notes: &Notes) {
    let began = notes.tick();
    let all = db.begin();
    let mut events = Vec::new();
    for number in 0..keys as u32 {
        events.push(Event::Read(number, read(&all, number, false).await));
    }
    all.commit().await.unwrap();
    notes.history.borrow_mut().push(Observed { events, outcome: Outcome::Committed, time: (began, notes.tick()) });
}

/// The history of a seed, and how many of its transactions have committed.
fn history(seed: u64, append: bool, isolation: Isolation) -> (Graph, usize) {
    let simulated = SimulatedOptions { seed, append, yields: true, ..SimulatedOptions::default() };
    let mut world = World::new(Store::simulated(simulated), small_options(), seed);
    let notes = Notes { history: RefCell::default(), time: Cell::new(0), value: Cell::new(0) };
    process(async {
        let db = world.open().await.unwrap();
        let keys = 2 + mix(seed, 1) % 4;
        let task = |number: u64| {
            let (db, notes) = (db.clone(), &notes);
            async move {
                let mut random = Random::new(mix(seed, 100 + number));
                for _ in 0..TRANSACTIONS {
                    let (observed, failed) = one(&db, isolation, &mut random, keys, None, notes).await;
                    assert_eq!(failed, None);
                    notes.history.borrow_mut().push(observed);
                    // So that what others hold in their segments is sealed under them.
                    if random.chance(20) {
                        let more = "x".repeat(random.below(1500) as usize);
                        db.put(format!("other:{number}"), more).await.unwrap();
                    }
                }
            }
        };
        ends("all tasks", join_all((0..TASKS).map(task))).await.unwrap();
        read_lists(&db, keys, &notes).await;
        db.close().await.unwrap();
    });
    let history = notes.history.into_inner();
    let committed = history.iter().filter(|one| one.outcome == Outcome::Committed).count();
    let story = format!("seed {seed} append={append} {isolation:?}");
    (graph(&history).unwrap_or_else(|anomaly| panic!("{story}: {anomaly}")), committed)
}

const LIVES: u64 = 3;

/// Tasks that run until a write fails, in one life of the database after the other. Which write fails, whether it has happened
/// all the same, and how the process ends after that, is drawn from the seed. Returns the history, and how many commits are
/// unknown in it.
fn history_of_lives(seed: u64, append: bool) -> (Vec<Observed>, usize) {
    let simulated = SimulatedOptions { seed, append, yields: true, ..SimulatedOptions::default() };
    let mut world = World::new(Store::simulated(simulated), small_options(), seed);
    let notes = Notes { history: RefCell::default(), time: Cell::new(0), value: Cell::new(0) };
    let keys = 2 + mix(seed, 1) % 3;
    let mut random = Random::new(mix(seed, 2));
    for life in 0..LIVES {
        process(async {
            let mut db = world.open().await.unwrap();
            for reopened in 0..2 {
                fail_a_write(&world, &mut random);
                let task = |number: u64| {
                    let (db, notes) = (db.clone(), &notes);
                    async move {
                        let mut random = Random::new(mix(seed, 1000 * life + 100 * reopened + number));
                        for _ in 0..TRANSACTIONS {
                            let level = Some(Durability::Synced);
                            let isolation = Isolation::Serializable;
                            let (observed, failed) = one(&db, isolation, &mut random, keys, level, notes).await;
                            notes.history.borrow_mut().push(observed);
                            if let Some(kind) = failed {
                                // With `Io`, no space could be set aside: nothing has happened.
                                let expected = [ErrorKind::Unknown, ErrorKind::Poisoned, ErrorKind::Io];
                                assert!(expected.contains(&kind), "{kind:?}");
                                return;
                            }
                        }
                    }
                };
                ends("all tasks", join_all((0..TASKS).map(task))).await.unwrap();
                world.store.simulator().clear_faults();
                // The same process goes on, the first time.
                if reopened == 0 {
                    db = ends("reopening", db.reopen()).await.unwrap().unwrap();
                }
            }
        });
        world.end(random.pick(&[Loss::Kill, Loss::PowerCut]), random.number());
    }
    process(async {
        let db = world.open().await.unwrap();
        read_lists(&db, keys, &notes).await;
        db.close().await.unwrap();
    });
    let history = notes.history.into_inner();
    let unknown = history.iter().filter(|one| one.outcome == Outcome::Unknown).count();
    (history, unknown)
}

/// Plans that one of the next writes to the log, or its sync, fails.
fn fail_a_write(world: &World, random: &mut Random) {
    let disk = world.store.simulator();
    let at_step = disk.steps() + 5 + random.below(60);
    let kind = random.pick(&[backends::ErrorKind::Io, backends::ErrorKind::Unknown]);
    let fault = Fault { at_step, kind, repeat: Repeat::Once, applied: random.chance(50) };
    disk.fail_when(fault, |step| step.op == "append" || step.op == "sync" || step.path.starts_with("log/"));
}

/// Story: commits fail with unknown outcomes, the database is opened anew in the same process and in others, and goes on.
/// What was acknowledged is there, what was refused is not, what is unknown is one of both for everybody, and an order
/// explains it all.
#[test]
fn lives_that_end_badly_have_one_order() {
    let (mut unknown, mut committed) = (0, 0);
    for (seed, append) in (1..=30).flat_map(|seed| [(seed, true), (seed, false)]) {
        let (history, of_it) = history_of_lives(seed, append);
        let story = format!("seed {seed} append={append}");
        let graph = graph(&history).unwrap_or_else(|anomaly| panic!("{story}: {anomaly}"));
        if let Some(cycle) = graph.cycle(&ALL) {
            panic!("{story}: no order explains {cycle}");
        }
        unknown += of_it;
        committed += history.iter().filter(|one| one.outcome == Outcome::Committed).count();
    }
    assert!(unknown > 100 && committed > 2000, "{unknown} unknown, {committed} committed: too tame");
}

const ALL: [Edge; 4] = [Edge::Ww, Edge::Wr, Edge::Rw, Edge::Rt];

fn seeds() -> impl Iterator<Item = (u64, bool)> {
    (1..=60).flat_map(|seed| [(seed, true), (seed, false)])
}

#[test]
fn serializable_transactions_have_an_order() {
    let mut all_committed = 0;
    for (seed, append) in seeds() {
        let (graph, committed) = history(seed, append, Isolation::Serializable);
        if let Some(cycle) = graph.cycle(&ALL) {
            panic!("seed {seed} append={append}: no order explains {cycle}");
        }
        all_committed += committed;
    }
    let of = 2 * 60 * (TASKS * TRANSACTIONS + 1) as usize;
    assert!(all_committed > of / 4 && all_committed < of * 9 / 10, "{all_committed} of {of} have committed: too tame");
}

#[test]
fn snapshot_isolation_allows_write_skew_and_nothing_worse() {
    let mut skewed = 0;
    for (seed, append) in seeds() {
        let (graph, _) = history(seed, append, Isolation::Snapshot);
        let worse = graph.cycle(&[Edge::Ww, Edge::Wr, Edge::Rt]).or_else(|| graph.single_cycle());
        if let Some(cycle) = worse {
            panic!("seed {seed} append={append}: not even snapshot isolation explains {cycle}");
        }
        skewed += usize::from(graph.cycle(&ALL).is_some());
    }
    assert!(skewed > 10, "only {skewed} histories show write skew: the tasks hardly meet");
}

/// Money moves between accounts, and every sum of all accounts is the same: as read by scans and by gets, in
/// transactions and in snapshots.
#[test]
fn money_is_neither_made_nor_lost() {
    const ACCOUNTS: u64 = 8;
    for (seed, append) in [(1, true), (2, false), (3, true), (4, false)] {
        for isolation in [Isolation::Serializable, Isolation::Snapshot] {
            let simulated = SimulatedOptions { seed, append, yields: true, ..SimulatedOptions::default() };
            let mut world = World::new(Store::simulated(simulated), small_options(), seed);
            process(async {
                let db = world.open().await.unwrap();
                for account in 0..ACCOUNTS {
                    db.put(format!("account:{account}"), "100").await.unwrap();
                }
                let options = TransactionOptions { isolation, attempts_max: 10_000, ..TransactionOptions::default() };
                let movers = (0..5).map(|number| move_money(db.clone(), options, ACCOUNTS, mix(seed, number)));
                let watchers = (0..3).map(|_| watch_money(db.clone(), options, ACCOUNTS));
                let all = futures::future::join(join_all(movers), join_all(watchers));
                ends("moving money", all).await.unwrap();
                assert_eq!(total(db.snapshot().prefix("account:")).await, 100 * ACCOUNTS as i64);
                db.close().await.unwrap();
            });
        }
    }
}

fn amount(value: &[u8]) -> i64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

async fn total(scan: impl futures::TryStream<Ok = halite::Entry, Error = halite::Error>) -> i64 {
    scan.try_fold(0, |sum, entry| async move { Ok(sum + amount(&entry.value)) }).await.unwrap()
}

async fn move_money(db: Db, options: TransactionOptions, accounts: u64, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..20 {
        let [from, to] = [(); 2].map(|()| format!("account:{}", random.below(accounts)));
        let sum = random.below(60) as i64;
        let (from, to) = (&from, &to);
        let moving = db.transact_with(options, |transaction| async move {
            let have = amount(&transaction.get(from).await?.unwrap());
            tokio::task::yield_now().await;
            if have >= sum {
                transaction.put(from, (have - sum).to_string())?;
                // Read after the write, so that moving to the same account changes nothing.
                let there = amount(&transaction.get(to).await?.unwrap());
                transaction.put(to, (there + sum).to_string())?;
            }
            Ok(())
        });
        moving.await.unwrap();
    }
}

async fn watch_money(db: Db, options: TransactionOptions, accounts: u64) {
    for round in 0..30 {
        let transaction = db.begin_with(options);
        let sum = match round % 2 {
            0 => total(transaction.prefix("account:")).await,
            _ => {
                let mut sum = 0;
                for account in 0..accounts {
                    sum += amount(&transaction.get(format!("account:{account}")).await.unwrap().unwrap());
                    tokio::task::yield_now().await;
                }
                sum
            }
        };
        assert_eq!(sum, 100 * accounts as i64);
        transaction.commit().await.unwrap();
    }
}
