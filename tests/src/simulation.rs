//! Whole runs from seeds: drawn, played, made shorter where they fail, and counted.
//!
//! A run is one database with many lives: it is written to and read, crashes, is opened, crashes while that is done, is
//! overtaken by another writer, read beside, copied, and its storage fails in all the ways that [`trouble`](crate::trouble)
//! knows; see [`play`](crate::play) for how that is judged. Nothing in it depends on anything but the seed: the runtime has
//! one thread, its time is virtual, and salts, nonces and what the storage does are drawn. Which is checked: of some seeds a
//! second run must leave the same trace, a hash of every request to the storage with its arguments and its answer.

use crate::case::{Case, Outcome};
use crate::figures::Figures;
use crate::shrink::reduce;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A run that went wrong.
#[derive(Debug)]
pub struct Failure {
    seed: u64,
    wrong: String,
    /// What was wrong at first, before the run was reduced.
    at_first: String,
    operations: usize,
    case: Case,
}

impl Failure {
    /// The reduced run, as a file.
    pub fn file(&self) -> String {
        let wrong = self.wrong.replace('\n', "\n# ");
        format!("# Seed {}, which showed:\n# {wrong}\n{}", self.seed, self.case)
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed after {} operations: {}", self.seed, self.operations, self.at_first)?;
        writeln!(f, "reduced to {} operations it shows: {}\n", self.case.ops.len(), self.wrong)?;
        writeln!(f, "{}", self.file())?;
        write!(f, "to replay: cargo xtask sim --seed {}", self.seed)
    }
}

/// Runs what `seed` says.
///
/// # Errors
/// What went wrong, with the shortest operations found that show it.
pub fn run(seed: u64) -> Result<Outcome, Box<Failure>> {
    let case = Case::of(seed);
    case.run().map_err(|at_first| {
        let operations = case.ops.len();
        let case = reduce(case, 3000, |case| case.run().is_err());
        let wrong = case.run().err().unwrap_or_else(|| "nothing: something is not seeded".to_owned());
        Box::new(Failure { seed, wrong, at_first, operations, case })
    })
}

/// Runs what `seed` says, twice.
///
/// # Errors
/// As [`run`], and where the traces differ.
pub fn run_twice(seed: u64) -> Result<Outcome, Box<Failure>> {
    let (first, second) = (run(seed)?, run(seed)?);
    if first.trace != second.trace || first.figures != second.figures {
        let case = reduce(Case::of(seed), 3000, |case| case.run() != case.run());
        let (operations, wrong) = (case.ops.len(), "the same run twice leaves two traces".to_owned());
        return Err(Box::new(Failure { seed, at_first: wrong.clone(), wrong, operations, case }));
    }
    Ok(first)
}

/// What a gate is to do.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The seeds that are run.
    pub seeds: Range<u64>,
    /// How many of them, the first ones, are run twice and their traces compared.
    pub replays: u64,
    /// On so many threads.
    pub threads: usize,
}

impl Gate {
    /// Those seeds, on all processors.
    pub fn new(seeds: Range<u64>, replays: u64) -> Gate {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        Gate { seeds, replays, threads }
    }

    /// Runs them all. The figures say how many they were.
    ///
    /// # Errors
    /// The failure of the smallest seed of those that were met.
    pub fn run(&self) -> Result<Figures, Box<Failure>> {
        let next = AtomicU64::new(self.seeds.start);
        let failed = AtomicBool::new(false);
        let (figures, failure) = (Mutex::new(Figures::default()), Mutex::new(None));
        let work = || {
            let mut own = Figures::default();
            while !failed.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.seeds.end {
                    break;
                }
                let is_replayed = seed - self.seeds.start < self.replays;
                match if is_replayed { run_twice(seed) } else { run(seed) } {
                    Ok(outcome) => {
                        own.add(&outcome.figures);
                        own.replayed += u64::from(is_replayed);
                    }
                    Err(found) => {
                        failed.store(true, Ordering::Relaxed);
                        let mut failure: std::sync::MutexGuard<'_, Option<Box<Failure>>> =
                            failure.lock().expect("nobody panics under it");
                        if failure.as_ref().is_none_or(|first| found.seed < first.seed) {
                            *failure = Some(found);
                        }
                    }
                }
            }
            own.cpu = cpu_time();
            figures.lock().expect("nobody panics under it").add(&own);
        };
        std::thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(work);
            }
        });
        let failure = failure.into_inner().expect("nobody panics under it");
        failure.map_or_else(|| Ok(figures.into_inner().expect("nobody panics under it")), Err)
    }
}

/// What this thread has had of the processor; zero where that cannot be told.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
