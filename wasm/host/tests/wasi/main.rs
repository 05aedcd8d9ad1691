//! The `halite` program as a WASI command, run by wasmtime on folders that native code shares with it.
//!
//! WASI knows no file locks, no mapped files, no synced folders and no threads. What this shows is that the same engine
//! and the same files work without them: that each side reads what the other wrote and recovers what the other left,
//! that two writers are never both acknowledged, and that an instance killed anywhere leaves a store that opens.
#![allow(clippy::unwrap_used)]

mod commands;
mod cross;
#[path = "../../examples/figures"]
mod figures {
    pub(crate) mod command;
    mod line;
}
#[path = "../../examples/in_turn/visits.rs"]
mod in_turn;
mod kills;
mod readme;
mod suites;
mod system_calls;
mod writers;

use halite_tests::scratch::{Folder, cargo_build, install};
use halite_wasmtime::{Access, End, Limits, Metering, Outcome, Program, Run};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const TARGET: &str = "wasm32-wasip1";

/// `halite.wasm`, built and compiled once for all tests of the process.
fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| Program::load(built("halite.wasm"), METERING).unwrap())
}

const METERING: Metering = Metering { fuel: true, time: true };

/// The native program.
fn native() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let build = || cargo_build(&["-p", "halite-cli", "--bin", "halite"], "halite");
    PROGRAM.get_or_init(|| std::env::var_os(NATIVE).map_or_else(build, PathBuf::from))
}

/// The variable that names a native program to run instead of one that is built for it.
const NATIVE: &str = "HALITE_NATIVE";

/// The variable that names a `halite.wasm` to test instead of one that is built for it: that which is handed out.
const COMMAND: &str = "HALITE_WASM";

/// One of the programs for WASI, which are built together: so they share the engine.
fn built(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let given = std::env::var_os(COMMAND).map(PathBuf::from);
    match given {
        Some(path) if name == "halite.wasm" => return path,
        _ => {}
    }
    let folder = FOLDER.get_or_init(|| {
        install(TARGET);
        let command = ["-p", "halite-cli", "--bin", "halite"];
        let others = ["-p", "halite-tests", "--bin", "suites", "--target", TARGET, "--profile", "guest"];
        let args = [if given.is_some() { &[][..] } else { &command }, &others].concat();
        cargo_build(&args, "suites.wasm").parent().unwrap().to_owned()
    });
    folder.join(name)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// A folder that both sides work in.
struct Place(Folder);

impl Place {
    fn new(name: &str) -> Place {
        Place(Folder::new(name))
    }

    /// The store that commands use when none is named.
    fn store(&self) -> PathBuf {
        self.0.path().join("halite-data")
    }

    /// `halite ARGS` under WASI, about to run with the folder as its working folder.
    fn wasi(&self, args: &[&str]) -> Run<'static> {
        let run = Run::new(program()).args(["halite"]).args(args);
        run.folder(self.0.path(), ".", Access::ReadWrite).unwrap()
    }

    fn run(&self, args: &[&str]) -> Outcome {
        block_on(self.wasi(args).finish()).unwrap()
    }

    /// Runs it with `input` on standard input.
    fn feed(&self, args: &[&str], input: &str) -> Outcome {
        block_on(self.wasi(args).input(input).finish()).unwrap()
    }

    /// Runs what must go well, and returns what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let outcome = self.run(args);
        assert_eq!((&outcome.end, outcome.err.as_str()), (&End::Exit(0), ""), "{args:?}: {outcome:?}");
        outcome.out
    }

    /// The library on the store, natively.
    async fn open(&self) -> halite::Db {
        halite::Db::open(self.store().to_str().unwrap()).await.unwrap()
    }
}

fn fuel(fuel: u64) -> Limits {
    Limits { fuel: Some(fuel), ..Limits::default() }
}
