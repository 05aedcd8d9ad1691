//! What continuous integration runs: the checks, then every test of the workspace, counted.

use crate::check;
use crate::run::{Result, cargo, heading, install, root};
use crate::tally::Tally;

/// What all tests of the workspace are built with, so that nothing is built twice: those that need servers, and the bugs that
/// are planted for the tests to find, none of which is there until a variable names it.
pub(crate) const FEATURES: &str = "halite-tests/servers,halite-tests/planted";

/// Of the engine: those that its own tests are run with again.
pub(crate) const ENGINE_FEATURES: &str = "zstd,metrics,explored";

/// The test of the tests. It runs others of its program, and comes by itself.
pub(crate) const PLANTED: &str = "planted::every_planted_bug_is_found";

pub(crate) fn test() -> Result {
    check::check()?;
    let command = crate::wasm::command()?;
    heading("tests: unit, integration, documentation, and the engine under WASI");
    install("strace", "-V", "strace");
    let mut total = Tally::default();
    let tests = cargo(&["test", "--workspace", "--features", FEATURES, "--no-fail-fast", "--", "--skip", PLANTED]);
    // Both are there by then: the tests of the command line need the second.
    let native = root().join("target/debug/halite");
    let programs = [(crate::wasm::COMMAND, command), (crate::wasm::NATIVE, native)];
    let tests = programs.into_iter().fold(tests, |tests, (name, path)| tests.var(name, path.display().to_string()));
    let succeeded = tests.watch(|line| total.add(line))?;
    heading("simulation");
    let mut printed = Vec::new();
    let simulated = crate::simulated().capture(|line| printed.push(line.to_owned()))?;
    total.note("simulation", simulated, &printed);
    let succeeded = simulated && succeeded;
    heading("tests: what features that are off by default bring");
    let named = ["format::compressed", "value::", "meters::", "interleaved"];
    let features = crate::engine_with(ENGINE_FEATURES, &named);
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
    for failure in total.failures() {
        println!("{failure}");
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if succeeded { Ok(()) } else { Err(format!("failed: {tests}")) }
}
