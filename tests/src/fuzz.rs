//! What is fuzzed: the engine's decoders, and lists of operations made of bytes.
//!
//! The same functions run under `cargo fuzz` (see `tests/fuzz`) and, for a bounded number of inputs, on the stable toolchain.

mod seeds;

pub use seeds::seeds;

use crate::case::last;
use crate::examine::examine_end;
use crate::ops::{COUNTER, COUNTERS, ChangeOp, KEYS, Op, WriteOp, delete, delete_range, put, put_ttl};
use crate::play::{Policy, play};
use crate::random::Random;
use crate::world::{Store, World, small_options};
use halite::backends::SimulatedOptions;
use halite::fuzzing::Target;
use halite::{Durability, Options};

/// Each target by its name: the decoders, and `operations`.
pub fn targets() -> impl Iterator<Item = (&'static str, Target)> {
    halite::fuzzing::TARGETS.iter().copied().chain([("operations", operations as Target)])
}

/// Good inputs for [`decoders`], each with its decoder before it.
pub fn seeds_of_decoders() -> impl Iterator<Item = Vec<u8>> {
    let with = |number: u8, seeds: Vec<Vec<u8>>| seeds.into_iter().map(move |seed| [&[number], &seed[..]].concat());
    (0..).zip(halite::fuzzing::TARGETS).flat_map(move |(number, (name, _))| with(number, seeds(name)))
}

/// The decoder that the first byte chooses, with the rest.
pub fn decoders(bytes: &[u8]) {
    let targets = halite::fuzzing::TARGETS;
    if let Some((first, rest)) = bytes.split_first() {
        targets[usize::from(*first) % targets.len()].1(rest);
    }
}

/// Plays what the bytes say against engine and model at once.
pub fn operations(bytes: &[u8]) {
    let mut bytes = Source(bytes);
    let habits = bytes.next();
    let simulated = SimulatedOptions {
        seed: u64::from(bytes.next()),
        append: habits & 1 == 0,
        yields: habits & 2 == 0,
        map: habits & 4 == 0,
        ..SimulatedOptions::default()
    };
    let memory_budget = (habits & 8 != 0).then_some(0);
    let options = Options { memory_budget, merge_in_background: habits & 16 == 0, ..small_options() };
    let mut world = World::new(Store::simulated(simulated), options, 1);
    let mut ops: Vec<Op> = std::iter::from_fn(|| bytes.op()).take(200).collect();
    // There is nothing to be put right.
    ops.extend(last().filter(|op| *op != Op::Heal));
    if let Err(wrong) = play(&mut world, &ops, Policy::Strict).and_then(|()| examine_end(&mut world)) {
        let ops: String = ops.iter().map(|op| format!("    {op},\n")).collect();
        panic!("{wrong}\nthe operations:\n{ops}");
    }
}

/// Bytes that are used up; zeros behind their end.
struct Source<'a>(&'a [u8]);

impl Source<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn key(&mut self) -> u16 {
        u16::from(self.next()) % KEYS
    }

    fn level(&mut self) -> Durability {
        [Durability::Deferred, Durability::Written, Durability::Synced][usize::from(self.next()) % 3]
    }

    fn write(&mut self) -> WriteOp {
        let (kind, key) = (self.next(), self.key());
        let len = u32::from(self.next());
        match kind % 8 {
            0 => delete(key),
            1 => delete_range(key, self.key()),
            2 => put_ttl(key, len, 1 << (self.next() % 16)),
            3 => put(key, len * 64),
            _ => put(key, len),
        }
    }

    fn writes(&mut self) -> Vec<WriteOp> {
        (0..self.next() % 6).map(|_| self.write()).collect()
    }

    /// The next operation; `None` where there are no more bytes.
    fn op(&mut self) -> Option<Op> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.next() % 24 {
            0 => Op::Get(self.key()),
            1 => {
                let (from, to, flags) = (self.key(), self.key(), self.next());
                let limit = if flags & 4 == 0 { usize::MAX } else { usize::from(flags >> 4) };
                Op::Scan { from, to, limit, rev: flags & 1 != 0, keys_only: flags & 2 != 0 }
            }
            2 => Op::Prefix(self.key()),
            3 => Op::Flush,
            4 => Op::Compact,
            5 => Op::Verify,
            6 => Op::Reopen,
            7 => Op::Kill,
            8 => Op::PowerCut(u64::from(self.next())),
            9 => Op::Advance(1 << (self.next() % 17)),
            10 => Op::Wait(1 << (self.next() % 13)),
            11 => Op::Batch(self.writes(), self.level()),
            12 => Op::Transact((0..self.next() % 4).map(|_| self.key()).collect(), self.writes(), self.level()),
            13 => {
                let key = COUNTER + self.key() % COUNTERS;
                Op::Change(ChangeOp::Increment { key, delta: i64::from(self.next()) - 128 }, self.level())
            }
            14 => {
                let (key, flags, len) = (self.key(), self.next(), u32::from(self.next()));
                let len = (flags & 2 == 0).then_some(len);
                Op::Change(ChangeOp::Swap { key, right: flags & 1 == 0, len }, self.level())
            }
            15 => {
                let (key, ttl) = (self.key(), self.next());
                let ttl = (ttl != 0).then(|| 1 << (ttl % 16));
                Op::Change(ChangeOp::Expire { key, ttl }, self.level())
            }
            16 => Op::Checkpoint(self.next() % 4),
            17 => Op::DeleteCheckpoint(self.next() % 4),
            _ => Op::Write(self.write(), self.level()),
        })
    }
}

/// Gives `count` inputs to `target`: `seeds` as they are, then changed in one to four places. The last is always the input
/// at fault, where it panics.
///
/// # Errors
/// The input that makes the target panic.
pub fn mutate(seeds: &[Vec<u8>], count: usize, target: Target) -> Result<(), Vec<u8>> {
    let mut random = Random::new(0xf0220);
    for number in 0..count {
        let mut input = seeds[number % seeds.len()].clone();
        if number >= seeds.len() {
            (0..1 + random.below(4)).for_each(|_| change(&mut input, seeds, &mut random));
        }
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            return Err(input);
        }
    }
    Ok(())
}

/// One change somewhere.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() as u64 + 1) as usize;
    let end = input.len().min(at + 1 + random.below(16) as usize);
    match random.below(8) {
        0 | 1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        4 => drop(input.splice(at..at, (0..1 + random.below(16)).map(|_| random.number() as u8).collect::<Vec<_>>())),
        5 => input[at..end].fill(random.pick(&[0, 0xff, 0x80, 0x7f])),
        6 => {
            let other = &seeds[random.below(seeds.len() as u64) as usize];
            let from = random.below(other.len() as u64 + 1) as usize;
            let until = other.len().min(from + 1 + random.below(64) as usize);
            input.splice(at..end, other[from..until].iter().copied());
        }
        _ => input[at..end].iter_mut().for_each(|byte| *byte = random.number() as u8),
    }
}
