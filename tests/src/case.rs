//! A run as plain data: settings and operations, drawn from a seed or read from a file.
//!
//! A case file is text. Lines that begin with `#` are remarks; `name = value` is a setting, those left out are as
//! [`Setup::plain`] has them; any other line is an operation.

use crate::examine::examine_end;
use crate::figures::Figures;
use crate::ops::{CHECKPOINTS, Op, put, workload};
use crate::play::{Policy, play};
use crate::random::{Random, mix};
use crate::setup::Setup;
use crate::world::World;
use halite::Durability;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

/// How many operations a seed's run has.
pub const OPERATIONS: usize = 300;

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its settings.
    pub setup: Setup,
    /// What is done, before all is put right and examined.
    pub ops: Vec<Op>,
}

/// What has come of a run in which all was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A hash of all that was asked and answered.
    pub trace: u64,
    /// What was counted.
    pub figures: Figures,
}

impl Case {
    /// That of a seed.
    pub fn of(seed: u64) -> Case {
        let (setup, mut ops) = (Setup::of(seed), workload(&mut Random::new(mix(seed, 2)), OPERATIONS));
        if setup.tiered {
            ops.iter_mut().for_each(lose_machine);
        }
        Case { setup, ops }
    }

    /// Runs it. A panic is a failure like any other.
    ///
    /// # Errors
    /// What went wrong.
    pub fn run(&self) -> Result<Outcome, String> {
        let run = || {
            let mut world = self.setup.world();
            let ops: Vec<Op> = self.ops.iter().cloned().chain(last()).collect();
            play(&mut world, &ops, Policy::Stormy)?;
            examine_end(&mut world).map_err(|wrong| format!("after the end: {wrong}"))?;
            Ok(outcome(&mut world, ops.len()))
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Err(format!("panicked: {text}"))
        })
    }
}

/// Of the ends of processes some are those of their machines.
fn lose_machine(op: &mut Op) {
    match *op {
        Op::Kill => *op = Op::LoseMachine(1),
        Op::PowerCut(seed) if seed.is_multiple_of(3) => *op = Op::LoseMachine(seed),
        _ => {}
    }
}

/// What ends every run: nothing more goes wrong, writing goes on, all that is dead is let go of.
pub(crate) fn last() -> impl Iterator<Item = Op> {
    let write = Op::Write(put(9, 20), Durability::Synced);
    let checkpoints = (0..CHECKPOINTS).map(|number| Op::DeleteCheckpoint(number as u8));
    // The first may still hear of what has gone wrong before.
    let end = [Op::Verify, Op::Compact, Op::Wait(60_000), Op::Close];
    [Op::Heal, write.clone(), Op::Wait(15_000), write].into_iter().chain(checkpoints).chain(end)
}

fn outcome(world: &mut World, operations: usize) -> Outcome {
    world.count_strikes();
    let figures = Figures { seeds: 1, operations: operations as u64, ..world.figures.clone() };
    Outcome { trace: world.trace(), figures }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = Setup::plain(self.setup.seed).fields();
        for ((name, value), (_, usual)) in self.setup.fields().into_iter().zip(plain) {
            if value != usual || name == "seed" {
                writeln!(f, "{name} = {value}")?;
            }
        }
        self.ops.iter().try_for_each(|op| writeln!(f, "{op}"))
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let mut case = Case { setup: Setup::plain(0), ops: Vec::new() };
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            let told = |wrong| format!("line {number}, {line:?}: {wrong}");
            match line.split_once(" = ") {
                _ if line.is_empty() || line.starts_with('#') => {}
                Some((name, value)) => case.setup.set(name, value).map_err(told)?,
                None => case.ops.push(line.parse().map_err(told)?),
            }
        }
        Ok(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read_as_it_was_written() {
        for seed in 0..50 {
            let case = Case::of(seed);
            assert_eq!(case.to_string().parse(), Ok(case));
        }
    }
}
