//! The command beside the native program.

use super::line::{Line, failed, finished};
use halite_wasmtime::wasmtime::{Error, Result};
use halite_wasmtime::{Access, Metering, Program, Run};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// The native program and the command, and what they are to do.
pub(crate) struct Sides<'a> {
    pub(crate) native: &'a Path,
    pub(crate) command: &'a Program,
    /// How that was compiled.
    pub(crate) metering: Metering,
    /// Where they make their stores.
    pub(crate) folder: &'a Path,
    pub(crate) records: u64,
    /// Single writes in memory.
    pub(crate) puts: u64,
    /// How often each of them does it, in turn. What counts is the median.
    pub(crate) rounds: usize,
}

/// What is done in a store of a kind.
struct Kind {
    stores: [&'static str; 2],
    /// What phases of `halite bench` are called here, there, and what share of the native speed is asked of them.
    phases: &'static [(&'static str, &'static str, f64)],
    /// What a sync takes is the disk's affair.
    counts_puts: bool,
}

const KINDS: [Kind; 2] = [
    Kind {
        stores: ["mem:", "mem:"],
        phases: &[("memory: random reads", "get, again", 0.5), ("memory: single writes", "put, synced", 0.5)],
        counts_puts: true,
    },
    Kind {
        stores: ["native", "/data/guest"],
        phases: &[("files: bulk load", "load, then flush", 0.4), ("files: random reads, cached", "get, again", 0.4)],
        counts_puts: false,
    },
];

/// All of it; in the end, the opening of a store that is there.
pub(crate) async fn all(sides: &Sides<'_>) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for kind in &KINDS {
        let (mut native, mut guest) = (Vec::new(), Vec::new());
        for _ in 0..sides.rounds {
            sides.clear()?;
            native.push(Phases::of(&sides.native(&sides.bench(kind, kind.stores[0]))?)?);
            guest.push(Phases::of(&sides.guest(&sides.bench(kind, kind.stores[1])).await?)?);
        }
        for &(what, phase, asked) in kind.phases {
            lines.push(at_least(what, median(&native, phase)?, median(&guest, phase)?, asked));
        }
    }
    lines.push(cold_open(sides).await?);
    Ok(lines)
}

impl Sides<'_> {
    /// The arguments of a run of `halite bench`, with memory enough for all of it to stay in the cache.
    fn bench(&self, kind: &Kind, store: &str) -> Vec<String> {
        let (records, puts) = (self.records.to_string(), if kind.counts_puts { self.puts } else { 10 }.to_string());
        let args =
            ["--store", store, "--memory", "1GiB", "bench", "--n", &records, "--puts", &puts, "--format", "json"];
        args.map(str::to_owned).to_vec()
    }

    /// Removes the stores of the round before.
    fn clear(&self) -> Result<()> {
        for name in ["native", "guest"].map(|name| self.folder.join(name)).iter().filter(|name| name.exists()) {
            std::fs::remove_dir_all(name)?;
        }
        Ok(())
    }

    /// What the native program prints.
    fn native<A: AsRef<str>>(&self, args: &[A]) -> Result<String> {
        let args = args.iter().map(AsRef::as_ref);
        let output = Command::new(self.native).current_dir(self.folder).args(args).output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout)?);
        }
        Err(Error::msg(format!("{output:?}")))
    }

    /// What the command prints.
    async fn guest(&self, args: &[String]) -> Result<String> {
        let run = Run::new(self.command).args(["halite"]).args(args);
        Ok(finished(run.folder(self.folder, "/data", Access::ReadWrite)?).await?.out)
    }
}

/// The middle of what the runs say of `phase`, in operations a second.
fn median(runs: &[Phases], phase: &str) -> Result<f64> {
    let mut found: Vec<f64> = runs.iter().map(|run| run.per_second(phase)).collect::<Result<_>>()?;
    found.sort_by(f64::total_cmp);
    found.get(found.len() / 2).copied().ok_or_else(|| Error::msg("nothing was measured"))
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
async fn cold_open(sides: &Sides<'_>) -> Result<Line> {
    let precompiled = sides.command.precompiled()?;
    // One that lies among the others, in the notation of the shell.
    let key = sides.native(&["--store", "guest", "list", "--keys", "--limit", "1"])?;
    let mut best = None;
    for _ in 0..5 {
        let begin = Instant::now();
        // SAFETY: it is what has just been precompiled.
        let program = unsafe { Program::from_precompiled(&precompiled, sides.metering) }?;
        let run = Run::new(&program).args(["halite", "--store", "/data/guest", "--memory", "16MiB", "shell"]);
        let run = run.input(format!("get {key}")).folder(sides.folder, "/data", Access::ReadWrite)?;
        let outcome = finished(run).await?;
        if outcome.out.is_empty() || outcome.out.starts_with("(nil)") {
            return Err(failed(&outcome));
        }
        let took = (begin.elapsed(), outcome.memory_bytes);
        best = Some(best.map_or(took, |best| took.min(best)));
    }
    let (time, memory) = best.expect("it ran five times");
    let (millis, mebibytes) = (time.as_secs_f64() * 1000.0, memory as f64 / f64::from(1 << 20));
    Ok(Line {
        what: format!("{} records: open, one get, close; cold", sides.records),
        native: String::new(),
        guest: format!("{millis:.1} ms, {mebibytes:.1} MiB"),
        ratio: String::new(),
        asked: "≤ 50 ms, ≤ 32 MiB".to_owned(),
        met: millis <= 50.0 && mebibytes <= 32.0,
    })
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
