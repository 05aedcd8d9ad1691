//! The `halite` program as its users meet it: real processes, their output, their exit codes.
#![allow(clippy::unwrap_used)]

mod bad_days;
mod commands;
mod copies;
mod formats;
#[cfg(target_os = "linux")]
mod full_disk;
mod inspect;
#[cfg(unix)]
mod kill;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod out_of_memory;
mod shell;
#[cfg(target_os = "linux")]
mod system_calls;
#[cfg(unix)]
mod terminal;
mod transfer;

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A folder to run `halite` in, gone with all in it at the end.
struct Place(TempDir);

/// What a run came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The store that commands use when none is named.
    fn store(&self) -> PathBuf {
        self.path().join("halite-data")
    }

    fn command<A: AsRef<OsStr>>(&self, args: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_halite"));
        command.current_dir(self.path()).args(args);
        for name in ["HALITE_STORE", "HALITE_EVENTS", "HALITE_HISTORY", "HALITE_LOG", "HALITE_CACHE"] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run<A: AsRef<OsStr>>(&self, args: &[A]) -> Outcome {
        outcome(self.command(args).output().unwrap())
    }

    /// Runs it with `input` on standard input.
    fn feed(&self, args: &[&str], input: &[u8]) -> Outcome {
        let mut child = self.spawn(args);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // On a thread, as it may answer before it has read all.
        let feeder = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        // A program that stops early does not read to the end.
        let _ = feeder.join().unwrap();
        outcome(output)
    }

    fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdin(Stdio::piped()).spawn().unwrap()
    }

    /// Runs what must go well, and returns what it wrote.
    fn ok<A: AsRef<OsStr>>(&self, args: &[A]) -> String {
        let outcome = self.run(args);
        assert_eq!((outcome.code, outcome.err.as_str()), (Some(0), ""), "{outcome:?}");
        outcome.out
    }

    /// Runs it with `--format json` and returns the documents that it wrote.
    fn json(&self, args: &[&str]) -> Vec<Value> {
        documents(&self.ok(&[&["--format", "json"], args].concat()))
    }

    /// Runs what must fail with `code`, and returns what it said about it.
    fn fails<A: AsRef<OsStr>>(&self, code: i32, args: &[A]) -> String {
        let outcome = self.run(args);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(code), ""), "{outcome:?}");
        assert!(!outcome.err.contains("panicked"), "{outcome:?}");
        outcome.err
    }
}

fn outcome(output: Output) -> Outcome {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn documents(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}"))).collect()
}

/// `halite put` of some records.
fn with_records(records: &[(&str, &str)]) -> Place {
    let place = Place::new();
    let lines: String =
        records.iter().map(|(key, value)| format!("{}\n", serde_json::json!({"key": key, "value": value}))).collect();
    assert_eq!(place.feed(&["load", "-"], lines.as_bytes()).code, Some(0));
    place
}
