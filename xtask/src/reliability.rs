//! The counted gates of RELIABILITY.md, what each has counted, and what it must reach.
//!
//! A gate counts by lines of its tests that begin with `counted: N`, or where there are none by tests that have passed. It
//! fails where anything in it fails, and where it has counted less than it must: what was made smaller does not pass.

use crate::run::{Program, Result, cargo, heading};
use serde_json::json;
use std::sync::Mutex;
use std::time::Instant;

/// The tests of the engine as a whole, and those of the program. Built as `cargo xtask test` builds them, so once for both.
const WHOLE: &str = "whole";
const PROGRAM: &str = "halite";

/// What is to be counted, how many of it at least, where, and what the names of its tests begin with.
const GATES: &[(&str, u64, &str, &str)] = &[
    ("bits flipped and files cut short", 110_000, WHOLE, "damage::"),
    ("states that crashes leave", 190_000, WHOLE, "crashes::"),
    ("stories with an error at every step", 36, WHOLE, "faults::on_"),
    ("steps at which the storage panics", 400, WHOLE, "panics::"),
    ("outcomes of requests that create something", 2_600, WHOLE, "faults::creates_in_doubt"),
    ("states of two writers and a collector", 1_200_000, WHOLE, "protocol::"),
    ("engines that take over from each other", 5, WHOLE, "fencing::"),
    ("states of two tiers after a crash", 500, WHOLE, "tiers::what_was_acknowledged"),
    ("tests of fragments under way at once", 7, WHOLE, "in_flight::"),
    ("tests of stores that lie", 3, WHOLE, "liars::"),
    ("tests of reads that come out wrong", 4, WHOLE, "misreads::"),
    ("tests of histories that have an order", 4, WHOLE, "serializable::"),
    ("futures dropped at every poll", 20, WHOLE, "cancel::"),
    ("inputs to fuzz targets", 1_300_000, WHOLE, "fuzz::"),
    ("processes killed", 100, PROGRAM, "kill::"),
    ("processes out of memory", 20, PROGRAM, "out_of_memory::"),
    ("acknowledgements audited", 180, PROGRAM, "system_calls::every_acknowledged"),
    ("system calls that failed", 200, PROGRAM, "system_calls::what_is_acknowledged"),
];

/// So many gates run side by side, so that nothing waits for the last test of another one, or for a disk.
const AT_ONCE: usize = 2;

/// A program that counts, and how much it must count.
pub(crate) struct Gate {
    pub(crate) what: &'static str,
    pub(crate) least: u64,
    pub(crate) program: Program,
}

/// What a gate came to.
struct Outcome {
    what: &'static str,
    least: u64,
    counted: u64,
    seconds: f64,
    succeeded: bool,
    command: String,
}

impl Outcome {
    fn passed(&self) -> bool {
        self.succeeded && self.counted >= self.least
    }
}

/// Runs all gates and prints what they have counted, as a table or as JSON.
pub(crate) fn reliability(json: bool) -> Result {
    let test = |target, names| {
        let which = ["test", "--workspace", "--features", crate::test::FEATURES, "--test", target, names];
        cargo(&[&which[..], &["--", "--nocapture"]].concat())
    };
    let gate = |what, least, program| Gate { what, least, program };
    let replayed = crate::sim(Some(crate::REPLAYS), None, Some(crate::REPLAYS), None);
    // It is built apart from all others, so beside them.
    let mut gates = vec![gate("seeds simulated", crate::SEEDS, crate::simulated())];
    gates.extend(GATES.iter().map(|&(what, least, target, names)| gate(what, least, test(target, names))));
    gates.push(gate("seeds that leave the same trace twice", crate::REPLAYS, replayed));
    gates.push(gate("cores whose threads are interleaved", 4, crate::interleaved()));
    gates.push(gate("planted bugs found", 66, crate::planted()));
    run(gates, AT_ONCE, json)
}

/// Runs gates, so many of them side by side, and prints what they have counted.
pub(crate) fn run(gates: Vec<Gate>, at_once: usize, json: bool) -> Result {
    let (waiting, done) = (Mutex::new(gates.iter().enumerate()), Mutex::new(Vec::new()));
    let next = || waiting.lock().expect("no gate panics").next();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((place, gate)) = next() {
                    let outcome = gate.run();
                    done.lock().expect("no gate panics").push((place, outcome));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no gate panics");
    done.sort_by_key(|(place, _)| *place);
    let outcomes = done.into_iter().map(|(_, outcome)| outcome).collect::<Result<Vec<_>>>()?;
    match json {
        true => println!("{:#}", outcomes.iter().map(as_json).collect::<serde_json::Value>()),
        false => outcomes.iter().for_each(|outcome| println!("{}", as_line(outcome))),
    }
    match outcomes.iter().find(|outcome| !outcome.passed()) {
        None => Ok(()),
        Some(failed) => Err(format!("{}: {} of {}: {}", failed.what, failed.counted, failed.least, failed.command)),
    }
}

impl Gate {
    fn run(&self) -> Result<Outcome> {
        heading(self.what);
        let (began, mut count) = (Instant::now(), Count::default());
        let succeeded = self.program.capture(|line| count.add(line))?;
        let (seconds, counted) = (began.elapsed().as_secs_f64(), count.total());
        let Gate { what, least, ref program } = *self;
        Ok(Outcome { what, least, counted, seconds, succeeded, command: program.to_string() })
    }
}

/// What the output of a gate has counted so far.
#[derive(Default)]
struct Count {
    counted: u64,
    passed: u64,
}

impl Count {
    fn add(&mut self, line: &str) {
        let number = |text: &str| text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        // Behind the name of its test, where the harness has not ended that line.
        if let Some((_, counted)) = line.split_once("counted: ") {
            self.counted += number(counted);
        } else if let Some(passed) = line.strip_prefix("test result: ok. ") {
            self.passed += number(passed);
        } else if let Some(inputs) = line.strip_prefix("stat::number_of_executed_units: ") {
            self.counted += number(inputs);
        } else if line.ends_with(": all right") || line.contains(" planted bugs found") {
            self.counted += number(line);
        }
    }

    fn total(&self) -> u64 {
        if self.counted > 0 { self.counted } else { self.passed }
    }
}

fn as_line(outcome: &Outcome) -> String {
    let Outcome { what, least, counted, seconds, .. } = outcome;
    let verdict = if outcome.passed() { "passed" } else { "FAILED" };
    format!("{verdict}  {counted:>9} of at least {least:>9}  {seconds:>6.0} s  {what}")
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    json!({
        "gate": outcome.what,
        "counted": outcome.counted,
        "least": outcome.least,
        "seconds": outcome.seconds.round(),
        "passed": outcome.passed(),
        "command": outcome.command,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gate whose tests have other names counts nothing, and is noticed only when all are run.
    #[test]
    fn the_tests_of_each_gate_are_there() {
        for &(what, _, target, names) in GATES {
            let (module, test) = names.split_once("::").expect("a module and the beginning of its tests' names");
            let folder =
                crate::run::root().join(if target == WHOLE { "tests/tests/whole" } else { "cli/tests/halite" });
            let files = [folder.join(format!("{module}.rs")), folder.join(module).join("mod.rs")];
            let source = files.iter().find_map(|file| std::fs::read_to_string(file).ok());
            let source = source.unwrap_or_else(|| panic!("{what}: no module {module}"));
            assert!(
                source.contains(&format!("fn {test}")) || source.contains(&format!("mod {test}")),
                "{what}: {test}"
            );
        }
    }

    #[test]
    fn what_is_counted_is_summed_and_else_what_has_passed() {
        let mut count = Count::default();
        count.add("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        assert_eq!(count.total(), 3);
        count.add("counted: 60 kills");
        count.add("test a_load_killed ... counted: 40 kills");
        assert_eq!(count.total(), 100);
        for (line, expected) in [
            ("20000 seeds from 1: all right", 20_000),
            ("56 of 56 planted bugs found, of 38 classes", 56),
            ("stat::number_of_executed_units: 381289", 381_289),
            ("test result: FAILED. 3 passed; 1 failed", 0),
        ] {
            let mut count = Count::default();
            count.add(line);
            assert_eq!(count.total(), expected, "{line}");
        }
    }
}
