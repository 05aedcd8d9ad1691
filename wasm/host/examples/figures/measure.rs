//! The measurements.

use halite_wasmtime::bucket::{Bucket, Buckets};
use halite_wasmtime::plugin::Guest;
use halite_wasmtime::wasmtime::{Error, Result};
use halite_wasmtime::{Access, Limits, Metering, Outcome, Program, Run};
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// What is measured.
pub(crate) struct Programs {
    pub(crate) native: PathBuf,
    pub(crate) command: PathBuf,
    pub(crate) components: PathBuf,
}

/// One figure, as a row of a table.
pub(crate) struct Line {
    what: String,
    native: String,
    guest: String,
    ratio: String,
    asked: String,
    met: bool,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { what, native, guest, ratio, asked, met } = self;
        write!(f, "| {what} | {native} | {guest} | {ratio} | {asked}{} |", if *met { "" } else { ", **missed**" })
    }
}

/// What phases of `halite bench` are called here, there, and what share of the native speed is asked of them.
const MEMORY: [(&str, &str, f64); 3] = [
    ("memory: bulk load", "load, then flush", 0.5),
    ("memory: random reads", "get, any key", 0.5),
    ("memory: single writes", "put, synced", 0.5),
];
const FILES: [(&str, &str, f64); 2] =
    [("files: bulk load", "load, then flush", 0.4), ("files: random reads, cached", "get, any key", 0.4)];

/// All of them.
pub(crate) async fn all(programs: &Programs, records: u64) -> Result<Vec<Line>> {
    let compiled = Program::load(&programs.command, Metering::default())?;
    let folder = Scratch::new()?;
    let mut lines = Vec::new();
    for (stores, phases) in [(["mem:", "mem:"], &MEMORY[..]), (["native", "/data/guest"], &FILES[..])] {
        // Enough for all of it to stay in the cache.
        let args = |store: &str| {
            let (records, puts) = (records.to_string(), if store == "mem:" { "100000" } else { "50" });
            let args =
                ["--store", store, "--memory", "1GiB", "bench", "--n", &records, "--puts", puts, "--format", "json"];
            args.map(str::to_owned)
        };
        let native = native(programs, folder.path(), &args(stores[0]))?;
        let run = Run::new(&compiled).args(["halite"]).args(args(stores[1]));
        let guest = finished(run.folder(folder.path(), "/data", Access::ReadWrite)?).await?;
        let (native, guest) = (Phases::of(&native)?, Phases::of(&guest.out)?);
        for &(what, phase, asked) in phases {
            lines.push(at_least(what, native.per_second(phase)?, guest.per_second(phase)?, asked));
        }
    }
    lines.push(cold_open(&compiled, folder.path(), records).await?);
    lines.push(plugin(programs).await?);
    let bytes = std::fs::metadata(&programs.command)?.len();
    lines.push(Line {
        what: "`halite.wasm`, bytes".to_owned(),
        native: String::new(),
        guest: bytes.to_string(),
        ratio: String::new(),
        asked: "≤ 2 MiB".to_owned(),
        met: bytes <= 2 << 20,
    });
    Ok(lines)
}

fn at_least(what: &str, native: f64, guest: f64, asked: f64) -> Line {
    let thousands = |per_second: f64| format!("{:.0} k", per_second / 1000.0);
    Line {
        what: format!("{what}, a second"),
        native: thousands(native),
        guest: thousands(guest),
        ratio: format!("{:.2}", guest / native),
        asked: format!("≥ {asked}"),
        met: guest >= native * asked,
    }
}

/// A process of its own would do no more: the store is opened by a new instance, its code mapped anew.
async fn cold_open(compiled: &Program, folder: &Path, records: u64) -> Result<Line> {
    let precompiled = compiled.precompiled()?;
    let mut best = None;
    for _ in 0..5 {
        let begin = Instant::now();
        // SAFETY: it is what has just been precompiled.
        let program = unsafe { Program::from_precompiled(&precompiled, Metering::default()) }?;
        let get = ["halite", "--store", "/data/guest", "--memory", "16MiB", "get", "absent"];
        let run = Run::new(&program).args(get).folder(folder, "/data", Access::ReadWrite)?;
        let outcome = run.finish().await?;
        if outcome.end != halite_wasmtime::End::Exit(1) {
            return Err(failed(&outcome));
        }
        let took = (begin.elapsed(), outcome.memory_bytes);
        best = Some(best.map_or(took, |best| took.min(best)));
    }
    let (time, memory) = best.expect("it ran five times");
    let (millis, mebibytes) = (time.as_secs_f64() * 1000.0, memory as f64 / f64::from(1 << 20));
    Ok(Line {
        what: format!("{records} records: open and one get, cold"),
        native: String::new(),
        guest: format!("{millis:.1} ms, {mebibytes:.1} MiB"),
        ratio: String::new(),
        asked: "≤ 50 ms, ≤ 32 MiB".to_owned(),
        met: millis <= 50.0 && mebibytes <= 32.0,
    })
}

/// A `get` of `wasi:keyvalue`, beside the same of the bucket.
async fn plugin(programs: &Programs) -> Result<Line> {
    let program = Program::load(programs.components.join("speed.wasm"), Metering::default())?;
    let db = halite::Db::open("mem:").await?;
    let bucket = Bucket::new(&db, "speed/");
    let guest = Guest::new(Buckets::new().with("default", bucket.clone()));
    let outcome = finished(Run::new(&program).args(["speed"]).guest(guest)).await?;
    let guest: f64 = outcome.out.split_whitespace().next().ok_or_else(|| failed(&outcome))?.parse()?;
    let keys: Vec<String> = (0..1000).map(|n| format!("key:{n:08}")).collect();
    let begin = Instant::now();
    for _ in 0..200 {
        for key in &keys {
            let found = bucket.get(key.as_bytes()).await?;
            assert_eq!(found.map(|value| value.len()), Some(150));
        }
    }
    let native = begin.elapsed().as_nanos() as f64 / 200_000.0;
    Ok(Line {
        what: "`get` of `wasi:keyvalue` on the plugin".to_owned(),
        native: format!("{native:.0} ns"),
        guest: format!("{guest:.0} ns"),
        ratio: format!("+{:.2} µs", (guest - native) / 1000.0),
        asked: "≤ 2 µs more".to_owned(),
        met: guest - native <= 2000.0,
    })
}

fn failed(outcome: &Outcome) -> Error {
    Error::msg(format!("{outcome:?}"))
}

async fn finished(run: Run<'_>) -> Result<Outcome> {
    let outcome = run.limits(Limits::default()).finish().await?;
    if outcome.end.is_success() { Ok(outcome) } else { Err(failed(&outcome)) }
}

fn native(programs: &Programs, folder: &Path, args: &[String]) -> Result<String> {
    let output = Command::new(std::path::absolute(&programs.native)?).current_dir(folder).args(args).output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(Error::msg(format!("{args:?}: {output:?}")))
}

/// What `halite bench` says of its phases.
struct Phases(Value);

impl Phases {
    fn of(text: &str) -> Result<Phases> {
        Ok(Phases(serde_json::from_str(text)?))
    }

    fn per_second(&self, name: &str) -> Result<f64> {
        let phases = self.0["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
        let phase = phases.iter().find(|phase| phase["name"] == name);
        phase.and_then(|phase| phase["per_second"].as_f64()).ok_or_else(|| Error::msg(format!("no phase {name}")))
    }
}

/// A folder beside us, removed at the end: that of the system is often memory.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        let path = std::path::absolute(format!("halite-figures-{}", std::process::id()))?;
        std::fs::create_dir(&path)?;
        Ok(Scratch(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
