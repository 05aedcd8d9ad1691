//! Instances killed at any point: by fuel at many, by time, by memory, by what they print.

use super::{Place, block_on, fuel};
use halite::Durability;
use halite_tests::history::{History, Loss, Value};
use halite_tests::random::Random;
use halite_tests::world::{bytes, read_all, soundness};
use halite_wasmtime::{End, Limits, Outcome};
use std::time::Duration;

/// A script for the shell, and what it commits.
pub(super) struct Script {
    pub(super) lines: String,
    /// For each line that commits something: its number among the answers, and the commit.
    commits: Vec<(usize, usize)>,
}

impl Script {
    /// Draws `count` lines, and enters what they commit.
    pub(super) fn draw(random: &mut Random, history: &mut History, count: usize) -> Script {
        let (mut lines, mut commits) = (String::new(), Vec::new());
        for answer in 0..count {
            let key = format!("k{}", random.below(12));
            match random.below(20) {
                0 => lines.push_str("flush\n"),
                1 => lines.push_str(&format!("exists {key}x --format\n")),
                2..6 => {
                    lines.push_str(&format!("delete {key}\n"));
                    commits.push((answer, history.enter(vec![(key.into_bytes(), None)])));
                }
                _ => {
                    // Some are larger than a page of memory.
                    let len = if random.chance(5) { 70_000 } else { random.below(200) as usize };
                    let value = format!("{}:{}", history.len(), "v".repeat(len));
                    lines.push_str(&format!("put {key} {value}\n"));
                    let value = Value { bytes: bytes(value.as_bytes()), expires_at: None };
                    commits.push((answer, history.enter(vec![(key.into_bytes(), Some(value))])));
                }
            }
        }
        Script { lines, commits }
    }

    /// Whatever was answered with `OK` is durable.
    pub(super) fn acknowledge(&self, outcome: &Outcome, history: &mut History) {
        // An answer whose line is not finished was not given.
        let whole = outcome.out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let answers: Vec<_> = whole.lines().collect();
        for &(answer, commit) in &self.commits {
            if let Some(&text) = answers.get(answer) {
                assert_eq!(text, "OK", "{outcome:?}");
                history.acknowledge(commit, Durability::Synced);
            }
        }
    }
}

/// Opens what is left, natively, judges it, and closes it (or leaves it as a crash would).
pub(super) fn judge(place: &Place, history: &mut History, close: bool, story: &str) {
    block_on(async {
        let db = place.open().await;
        let found = read_all(&db).await.expect(story);
        let survivors = history.judge(&found, 0, Loss::Kill).unwrap_or_else(|wrong| panic!("{story}: {wrong}"));
        history.keep(&survivors);
        soundness(&db).await.expect(story);
        if close {
            db.close().await.expect(story);
        }
    });
}

/// Every time a new store: opening, committing and closing are cut short at points that lie close together.
#[test]
fn out_of_fuel_anywhere() {
    const POINTS: u64 = 64;
    let draw = || {
        let mut history = History::default();
        (Script::draw(&mut Random::new(7), &mut history, 30), history)
    };
    let whole = Place::new("wasi-fuel").feed(&["shell"], &draw().0.lines);
    assert_eq!(whole.end, End::Exit(0), "{whole:?}");
    let mut answered = Vec::new();
    for point in 0..POINTS {
        let place = Place::new("wasi-fuel");
        let (script, mut history) = draw();
        let run = place.wasi(&["shell"]).input(script.lines.as_str()).limits(fuel(whole.fuel * point / POINTS));
        let outcome = block_on(run.finish()).unwrap();
        assert_eq!(outcome.end, End::OutOfFuel);
        answered.push(outcome.out.lines().count());
        script.acknowledge(&outcome, &mut history);
        judge(&place, &mut history, point % 2 == 0, &format!("killed at {point} of {POINTS}"));
    }
    assert!(answered.iter().any(|&answers| answers > 0 && answers < 30), "some are in the middle: {answered:?}");
}

#[test]
fn out_of_time() {
    let place = Place::new("wasi-time");
    let limits = Limits { time: Some(Duration::from_millis(300)), ..Limits::default() };
    // More than it can load in that time.
    let bench = place.wasi(&["--store", "halite-data", "bench", "--n", "1000000000"]).limits(limits);
    assert_eq!(block_on(bench.finish()).unwrap().end, End::OutOfTime);
    block_on(async {
        let db = place.open().await;
        soundness(&db).await.unwrap();
    });
}

#[test]
fn out_of_memory() {
    let place = Place::new("wasi-memory");
    place.ok(&["put", "before", "1"]);
    let large = vec![b'x'; 3 << 20];
    let mut ends = Vec::new();
    for memory in (1..=16).map(|pages| pages << 20) {
        let limits = Limits { memory_bytes: Some(memory), ..Limits::default() };
        let put = place.wasi(&["put", "large", "-"]).input(large.clone()).limits(limits);
        // An instance that needs more from the start does not start.
        let Ok(outcome) = block_on(put.finish()) else { continue };
        assert!(outcome.memory_bytes <= memory, "{outcome:?}");
        // What cannot even be read is an I/O error to it.
        assert!(matches!(outcome.end, End::OutOfMemory | End::Exit(0 | 4)), "{outcome:?}");
        ends.push(outcome.end);
        let listed = place.ok(&["list", "--keys"]);
        assert!(listed == "before\n" || listed == "before\nlarge\n", "{listed}");
    }
    assert!(ends.contains(&End::OutOfMemory) && ends.ends_with(&[End::Exit(0)]), "{ends:?}");
}

#[test]
fn too_much_output() {
    let place = Place::new("wasi-output");
    let value = "x".repeat(5000);
    place.ok(&["put", "a", &value]);
    let limits = Limits { output_bytes: 1000, ..Limits::default() };
    let outcome = block_on(place.wasi(&["get", "a"]).limits(limits).finish()).unwrap();
    assert!(!outcome.end.is_success() && outcome.out.len() <= 1000, "{outcome:?}");
    assert_eq!(place.ok(&["get", "a"]), value + "\n");
}

#[test]
fn limits_need_their_metering() {
    // The smallest module: magic, and version 1.
    let program = halite_wasmtime::Program::compile(b"\0asm\x01\0\0\0", halite_wasmtime::Metering::default()).unwrap();
    let refused = block_on(halite_wasmtime::Run::new(&program).limits(fuel(1)).finish()).unwrap_err();
    assert!(refused.to_string().contains("fuel"), "{refused}");
    let refused = block_on(halite_wasmtime::Run::new(&program).finish()).unwrap_err();
    assert!(refused.to_string().contains("_start"), "{refused}");
    assert!(halite_wasmtime::Program::compile(b"no module", halite_wasmtime::Metering::default()).is_err());
}
