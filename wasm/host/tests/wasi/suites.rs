//! The engine's own suites inside wasmtime: the same program as natively, with 32-bit sizes and the calls of WASI.

use super::{TARGET, block_on, built};
use halite_tests::scratch::Folder;
use halite_wasmtime::{Access, Metering, Program, Run};
use std::sync::OnceLock;

fn suite(args: &[&str]) -> String {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    // Nothing stops it, so nothing that would slows it down.
    let program = PROGRAM.get_or_init(|| Program::load(built("suites.wasm"), Metering::default()).unwrap());
    let folder = Folder::new("wasi-suites");
    let run = Run::new(program).args(["suites"]).args(args);
    let outcome = block_on(run.folder(folder.path(), "/data", Access::ReadWrite).unwrap().finish()).unwrap();
    assert!(outcome.end.is_success(), "{TARGET}: {outcome:?}\n{}", outcome.err);
    println!("{args:?}: {}", outcome.out);
    outcome.out
}

/// The number that an answer begins with.
fn count(answer: &str) -> u64 {
    answer.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

#[test]
fn backends_keep_their_promises() {
    assert!(count(&suite(&["conformance", "/data"])) >= 28);
}

#[test]
fn the_model_in_memory() {
    assert!(count(&suite(&["model", "memory"])) >= 6);
}

#[test]
fn the_model_in_a_folder() {
    assert!(count(&suite(&["model", "/data"])) >= 6);
}

#[test]
fn crashes_in_the_middle_of_stories() {
    assert!(count(&suite(&["crashes"])) >= 300);
}

#[test]
fn the_simulation() {
    assert!(count(&suite(&["simulation"])) >= 6);
}
