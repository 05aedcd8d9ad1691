//! What was counted in runs of the simulation, so that a gate can show that it did what it is for.

use crate::case::OPERATIONS;
use crate::history::Loss;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counts of one run, or of many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Runs.
    pub seeds: u64,
    /// Those that were run twice, with equal traces.
    pub replayed: u64,
    /// Operations.
    pub operations: u64,
    /// Openings that came to an end.
    pub lives: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Power cuts.
    pub power_cuts: u64,
    /// Machines that were lost, of stores in two tiers.
    pub lost_machines: u64,
    /// Crashes of either kind that came while the database was being opened.
    pub crashes_in_recovery: u64,
    /// Processes that ended with requests under way, which arrived afterwards or not.
    pub aborted: u64,
    /// Writers that were overtaken by another one.
    pub overtaken: u64,
    /// Commits that these were still waiting for when they went on.
    pub late_answers: u64,
    /// Futures that were dropped before they were done.
    pub dropped: u64,
    /// Transfers between accounts that were committed.
    pub transfers: u64,
    /// Those that had to be tried again.
    pub conflicts: u64,
    /// Commits that watches have seen.
    pub watched: u64,
    /// Requests to the store that were stalled for a while.
    pub stalls: u64,
    /// Reads that came out wrong.
    pub spoilt: u64,
    /// Deleted files that came back.
    pub brought_back: u64,
    /// Names that lists have left out.
    pub unlisted: u64,
    /// Steps of the store that failed, by call.
    pub strikes: BTreeMap<&'static str, u64>,
    /// Time of the processor.
    pub cpu: Duration,
}

impl Figures {
    /// A process has come to its end.
    pub fn end(&mut self, loss: Loss) {
        match loss {
            Loss::Kill => self.kills += 1,
            Loss::PowerCut => self.power_cuts += 1,
            Loss::Machine => self.lost_machines += 1,
        }
    }

    /// Adds those of other runs.
    pub fn add(&mut self, other: &Figures) {
        let own = [
            &mut self.seeds,
            &mut self.replayed,
            &mut self.operations,
            &mut self.lives,
            &mut self.kills,
            &mut self.power_cuts,
            &mut self.lost_machines,
            &mut self.crashes_in_recovery,
            &mut self.aborted,
            &mut self.overtaken,
            &mut self.late_answers,
            &mut self.dropped,
            &mut self.transfers,
            &mut self.conflicts,
            &mut self.watched,
            &mut self.stalls,
            &mut self.spoilt,
            &mut self.brought_back,
            &mut self.unlisted,
        ];
        for (own, (_, other)) in own.into_iter().zip(other.counts()) {
            *own += other;
        }
        for (call, count) in &other.strikes {
            *self.strikes.entry(call).or_default() += count;
        }
        self.cpu += other.cpu;
    }

    /// The counts with their names, in the order of the fields.
    pub fn counts(&self) -> [(&'static str, u64); 19] {
        [
            ("seeds", self.seeds),
            ("replayed with equal traces", self.replayed),
            ("operations", self.operations),
            ("lives", self.lives),
            ("kills", self.kills),
            ("power cuts", self.power_cuts),
            ("lost machines", self.lost_machines),
            ("crashes in recovery", self.crashes_in_recovery),
            ("aborted processes", self.aborted),
            ("overtaken writers", self.overtaken),
            ("answers to overtaken writers", self.late_answers),
            ("dropped futures", self.dropped),
            ("transfers", self.transfers),
            ("conflicts", self.conflicts),
            ("watched commits", self.watched),
            ("stalls", self.stalls),
            ("spoilt reads", self.spoilt),
            ("files brought back", self.brought_back),
            ("names left out of lists", self.unlisted),
        ]
    }

    /// Steps of the store that failed.
    pub fn failed_steps(&self) -> u64 {
        self.strikes.values().sum()
    }

    /// That all a run may meet has been met, and often: a gate that has shrunk is none.
    ///
    /// # Errors
    /// What was met too rarely.
    pub fn check_worth(&self) -> Result<(), String> {
        let seeds = self.seeds;
        let mut counts = self.counts().to_vec();
        counts.push(("failed steps", self.failed_steps()));
        for (what, count) in counts {
            let least = match what {
                "replayed with equal traces" => 1,
                "operations" => seeds * OPERATIONS as u64,
                "failed steps" => seeds,
                // In one of eight runs the store is one that can lose them.
                "lost machines" => seeds / 16,
                _ => seeds / 8,
            };
            if count < least {
                return Err(format!("{what}: {count} in {seeds} seeds, which should be {least} at least"));
            }
        }
        Ok(())
    }

    /// Operations in a second of one processor.
    pub fn operations_per_cpu_second(&self) -> f64 {
        self.operations as f64 / self.cpu.as_secs_f64().max(1e-9)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in self.counts() {
            writeln!(f, "{count:>12}  {name}")?;
        }
        let by_call: Vec<_> = self.strikes.iter().map(|(call, count)| format!("{call} {count}")).collect();
        writeln!(f, "{:>12}  failed steps of the store: {}", self.failed_steps(), by_call.join(", "))?;
        let seconds = self.cpu.as_secs_f64();
        let (seeds, operations) = (self.seeds as f64 / seconds.max(1e-9), self.operations_per_cpu_second());
        write!(f, "{seconds:>12.1}  seconds of one processor: {seeds:.0} seeds and {operations:.0} operations in each")
    }
}
