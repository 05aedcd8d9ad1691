//! The counted gates of RELIABILITY.md, one after the other, with what each has counted and what it must reach.
//!
//! A gate counts by lines of its tests that begin with `counted: N`, or where there are none by tests that have passed. It
//! fails where anything in it fails, and where it has counted less than it must: what was made smaller does not pass.

use crate::run::{Program, Result, cargo, heading};
use serde_json::json;
use std::time::Instant;

/// The tests of the engine as a whole, and those of the program.
const WHOLE: &[&str] = &["-p", "halite-tests", "--test", "whole"];
const PROGRAM: &[&str] = &["-p", "halite-cli", "--test", "halite"];

/// What is to be counted, how many of it at least, where, and what the names of its tests begin with.
const GATES: &[(&str, u64, &[&str], &str)] = &[
    ("bits flipped and files cut short", 60_000, WHOLE, "damage::"),
    ("states that crashes leave", 100_000, WHOLE, "crashes::"),
    ("stories with an error at every step", 34, WHOLE, "faults::on_"),
    ("steps at which the storage panics", 400, WHOLE, "panics::"),
    ("outcomes of requests that create something", 1_000, WHOLE, "faults::creates_in_doubt"),
    ("states of two writers and a collector", 1_200_000, WHOLE, "protocol::"),
    ("engines that take over from each other", 5, WHOLE, "fencing::"),
    ("futures dropped at every poll", 20, WHOLE, "cancel::"),
    ("inputs to fuzz targets", 1_300_000, WHOLE, "fuzz::"),
    ("processes killed", 100, PROGRAM, "kill::"),
    ("acknowledgements audited", 180, PROGRAM, "system_calls::every_acknowledged"),
    ("system calls that failed", 200, PROGRAM, "system_calls::whichever_call_fails"),
];

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
    let mut outcomes = Vec::new();
    for &(what, least, tests, names) in GATES {
        let test = cargo(&[&["test"], tests, &[names, "--", "--nocapture"]].concat());
        outcomes.push(run(what, least, &test)?);
    }
    outcomes.push(run("cores whose threads are interleaved", 4, &crate::interleaved())?);
    outcomes.push(run("seeds simulated", crate::SEEDS, &crate::simulated())?);
    outcomes.push(run("planted bugs found", 60, &crate::planted())?);
    match json {
        true => println!("{:#}", outcomes.iter().map(as_json).collect::<serde_json::Value>()),
        false => outcomes.iter().for_each(|outcome| println!("{}", as_line(outcome))),
    }
    match outcomes.iter().find(|outcome| !outcome.passed()) {
        None => Ok(()),
        Some(failed) => Err(format!("{}: {} of {}: {}", failed.what, failed.counted, failed.least, failed.command)),
    }
}

fn run(what: &'static str, least: u64, program: &Program) -> Result<Outcome> {
    heading(what);
    let (began, mut count) = (Instant::now(), Count::default());
    let succeeded = program.capture(|line| count.add(line))?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Outcome { what, least, counted: count.total(), seconds, succeeded, command: program.to_string() })
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
            ("test result: FAILED. 3 passed; 1 failed", 0),
        ] {
            let mut count = Count::default();
            count.add(line);
            assert_eq!(count.total(), expected, "{line}");
        }
    }
}
