//! What continuous integration runs: the checks, then every test of the workspace, counted.

use crate::check;
use crate::run::{Result, cargo, heading, install};

/// Of the engine: those that its own tests are run with again.
pub(crate) const FEATURES: &str = "zstd,metrics,explored";

pub(crate) fn test() -> Result {
    check::check()?;
    let command = crate::wasm::command()?;
    heading("tests: unit, integration, documentation, and the engine under WASI");
    install("strace", "-V", "strace");
    let mut total = Count::default();
    let tests = cargo(&["test", "--workspace", "--features", crate::servers::FEATURES, "--no-fail-fast"]);
    let tests = tests.var(crate::wasm::COMMAND, command.display().to_string());
    let succeeded = tests.watch(|line| total.add(line))?;
    heading("simulation");
    let simulated = crate::simulated().run();
    total.note(simulated.is_ok());
    let succeeded = simulated.is_ok() && succeeded;
    heading("tests: what features that are off by default bring");
    let named = ["format::compressed", "value::", "meters::", "interleaved"];
    let features = crate::engine_with(FEATURES, &named);
    let succeeded = features.watch(|line| total.add(line))? && succeeded;
    heading("tests: object stores, on real servers");
    let succeeded = crate::servers::test(&mut |line| total.add(line))? && succeeded;
    heading("tests of the tests: every bug that is planted for them is found");
    let planted = crate::planted();
    let succeeded = planted.watch(|line| total.add(line))? && succeeded;
    // A run that died before it could count itself still counts.
    if !succeeded && total.failed == 0 {
        total.failed = 1;
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if succeeded { Ok(()) } else { Err(format!("failed: {tests}")) }
}

/// The sum of the runs' summaries.
#[derive(Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
}

impl Count {
    /// Adds a program that is a test by itself.
    fn note(&mut self, succeeded: bool) {
        self.passed += u64::from(succeeded);
        self.failed += u64::from(!succeeded);
    }

    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`; any other adds nothing.
    fn add(&mut self, line: &str) {
        let Some(summary) = line.strip_prefix("test result: ") else { return };
        let count = |what: &str| -> u64 {
            let before = summary.split(what).next().unwrap_or_default();
            before.split(|c: char| !c.is_ascii_digit()).next_back().and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        self.passed += count(" passed");
        self.failed += count(" failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_summed() {
        let mut total = Count::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.25s",
            "a line about 7 passed things",
        ] {
            total.add(line);
        }
        assert_eq!(total, Count { passed: 13, failed: 2 });
    }
}
