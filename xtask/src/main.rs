//! The chores of this workspace, as typed commands: `cargo xtask check`, `test`, `wasm`, `sim`, `servers`, `planted`, `reliability`, `miri`,
//! `sanitize`, `fuzz`, `bench`.
//!
//! Continuous integration runs the same ones as people do. The first failure stops, with the command that shows it
//! again. Nothing here is needed to build or use Halite.

mod check;
mod layers;
mod links;
mod nightly;
mod public;
mod reliability;
mod run;
mod scan;
mod servers;
mod tally;
mod test;
mod tidy;
mod wasm;

use clap::{Parser, Subcommand};
use run::{Result, cargo};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The chores of this workspace", version)]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Everything that needs no test run: format, layers, lints (for WASI too), documentation
    Check,
    /// What continuous integration runs: the checks, then every test; ends with `N passed, N failed`
    Test,
    /// Build for wasm32-wasip1, make `halite.wasm`, see to its size, and run the tests under wasmtime
    Wasm,
    /// Run seeds of the simulation; a failure prints the line that replays it
    Sim {
        /// How many seeds
        #[arg(long)]
        seeds: Option<u64>,
        /// The first seed (alone, it is the only one)
        #[arg(long)]
        seed: Option<u64>,
        /// How many of them to run twice, comparing their traces [default: one in forty]
        #[arg(long)]
        replay: Option<u64>,
        /// Run a case file instead, such as those in `tests/cases`
        #[arg(long)]
        case: Option<String>,
    },
    /// Show that the tests find each of the bugs planted for them; prints the table
    Planted,
    /// Run the counted gates of RELIABILITY.md and print what they have counted
    Reliability {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the formats' tests, and what is unsafe in the backends as far as it can, under Miri; needs a nightly toolchain
    Miri,
    /// Run the tests of what is unsafe, of the formats and of what threads share with the sanitizers of addresses and of
    /// threads; needs a nightly toolchain
    Sanitize,
    /// Give every decoder, and the engine as lists of operations, what libFuzzer makes up; needs a nightly toolchain
    Fuzz {
        /// How long each of the two targets is tried
        #[arg(long, default_value_t = 120)]
        seconds: u64,
    },
    /// Start object stores on this machine and run the tests that need them
    Servers {
        /// Run nothing: say where they are, and keep them until interrupted
        #[arg(long)]
        stay: bool,
    },
    /// Measure the release build on a fresh store, through `halite bench`
    Bench {
        /// How many records
        #[arg(long, alias = "records", default_value_t = 1_000_000)]
        n: u64,
        /// Beside SlateDB on one object store, against what is asked of Halite there; builds SlateDB, which takes minutes
        #[arg(long, conflicts_with = "wasm")]
        object_stores: bool,
        /// How far away that store is, in milliseconds
        #[arg(long, value_delimiter = ',', default_value = "20,100", requires = "object_stores")]
        latency: Vec<u64>,
        /// How often each engine is measured there, in turns
        #[arg(long, default_value_t = 3, requires = "object_stores")]
        rounds: u64,
        /// Natively and under WASI side by side, against what is asked of the guest
        #[arg(long)]
        wasm: bool,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().chore {
        Chore::Check => check::check(),
        Chore::Test => test::test(),
        Chore::Wasm => wasm::wasm(),
        Chore::Sim { seeds, seed, replay, case } => sim(seeds, seed, replay, case).run(),
        Chore::Planted => planted().run(),
        Chore::Reliability { json } => reliability::reliability(json),
        Chore::Miri => nightly::miri(),
        Chore::Sanitize => nightly::sanitize(),
        Chore::Fuzz { seconds } => nightly::fuzz(seconds),
        Chore::Servers { stay: true } => servers::stay(),
        Chore::Servers { stay: false } => servers::test(&mut |_| ()).and_then(|passed| match passed {
            true => Ok(()),
            false => Err("a test against real servers failed".to_owned()),
        }),
        Chore::Bench { n, wasm: true, .. } => wasm::bench(n),
        Chore::Bench { n, object_stores: true, latency, rounds, .. } => beside_slatedb(&latency, n, rounds),
        Chore::Bench { n, .. } => bench(n),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Seeds of the simulation, each a database that lives, crashes and lives on, and how many of them are played twice.
const SEEDS: u64 = 20_000;
const REPLAYS: u64 = 500;

/// The simulation as a gate.
fn simulated() -> run::Program {
    sim(Some(SEEDS), None, Some(REPLAYS), None)
}

fn sim(seeds: Option<u64>, seed: Option<u64>, replay: Option<u64>, case: Option<String>) -> run::Program {
    let mut command = cargo(&["run", "--quiet", "--profile", "sim", "-p", "halite-tests", "--bin", "sim", "--"]);
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    for (name, value) in
        [("--seeds", number(seeds)), ("--seed", number(seed)), ("--replay", number(replay)), ("--case", case)]
    {
        if let Some(value) = value {
            command = command.arg(name).arg(&value);
        }
    }
    command
}

/// The engine's own tests of those names, built with those features. They are few: to optimise it takes longer than it saves.
fn engine_with(features: &str, names: &[&str]) -> run::Program {
    let plainly = ["--config", "profile.dev.package.halite.opt-level=0"];
    cargo(&[&["test", "-p", "halite", "--lib", "--features", features][..], &plainly, &["--"], names].concat())
}

/// The cores that threads share, under a scheduler that interleaves them.
fn interleaved() -> run::Program {
    engine_with(test::ENGINE_FEATURES, &["interleaved"])
}

fn planted() -> run::Program {
    let target = ["test", "--workspace", "--features", test::FEATURES, "--test", "whole"];
    cargo(&[&target[..], &["--", "--exact", test::PLANTED, "--nocapture"]].concat())
}

/// In a workspace of its own, with a lock file of its own.
fn beside_slatedb(latencies: &[u64], records: u64, rounds: u64) -> Result {
    let command =
        ["run", "--release", "--manifest-path", "xtask/slatedb/Cargo.toml", "--target-dir", "target/slatedb", "--"];
    let latencies: Vec<String> = latencies.iter().map(u64::to_string).collect();
    [latencies.join(","), records.to_string(), rounds.to_string()]
        .iter()
        .fold(cargo(&command), |run, arg| run.arg(arg))
        .run()
}

fn bench(n: u64) -> Result {
    cargo(&["run", "--release", "-p", "halite-cli", "--bin", "halite", "--", "bench", "--n"]).arg(&n.to_string()).run()
}
