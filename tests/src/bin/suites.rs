//! Suites that need nothing of the machine, for one that has next to nothing: WASI.
//!
//! `suites conformance FOLDER`, `suites model memory`, `suites model FOLDER`, `suites crashes`, `suites simulation`: each
//! prints what it has gone through, and panics where something is wrong. Natively they do the same.

use halite::backends::{Backend, Local, Memory, conformance};
use halite_tests::case::Case;
use halite_tests::scenario;
use halite_tests::suites::model;
use halite_tests::world::{Store, process};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Every so-manieth step of a story is crashed at; the whole of it is the native suite's.
const STRIDE: usize = 9;
const IMAGES: u64 = 4;
const SEEDS: u64 = 6;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match &args[..] {
        ["conformance", folder] => promises(folder),
        ["model", "memory"] => models(|seed| Store::memory(seed % 2 == 0)),
        ["model", folder] => models(|seed| Store::Real(local(folder, seed))),
        ["crashes"] => crashes(),
        ["simulation"] => simulation(),
        _ => {
            eprintln!("usage: suites conformance FOLDER | model memory | model FOLDER | crashes | simulation");
            return ExitCode::from(2);
        }
    };
    println!("{done}");
    ExitCode::SUCCESS
}

/// A new store in `folder`.
fn local(folder: &str, number: impl std::fmt::Display) -> Arc<dyn Backend> {
    Arc::new(Local::open(format!("{folder}/{number}"), true).expect("the folder is lent"))
}

fn promises(folder: &str) -> String {
    let next = AtomicU32::new(0);
    process(conformance::run(|| local(folder, next.fetch_add(1, Ordering::Relaxed))));
    process(conformance::run(|| Arc::new(Memory::new())));
    format!("{} stores kept their promises", next.into_inner())
}

fn models(store: impl Fn(u64) -> Store) -> String {
    (0..SEEDS).for_each(|seed| model(store(seed), seed, 150));
    format!("{SEEDS} seeds")
}

fn crashes() -> String {
    let stories = [
        scenario::first_open(),
        scenario::commits(),
        scenario::merges(),
        scenario::recovery_of_a_power_cut(),
        scenario::transactions(),
        scenario::range_deletes(),
    ];
    let at_every = |append| stories.iter().map(|story| story.crash_at_every(STRIDE, append, IMAGES)).sum::<u64>();
    format!("{} states of {} stories", at_every(true) + at_every(false), stories.len())
}

fn simulation() -> String {
    for seed in 1..=SEEDS {
        if let Err(wrong) = Case::of(seed).run() {
            panic!("seed {seed}: {wrong}");
        }
    }
    format!("{SEEDS} seeds")
}
