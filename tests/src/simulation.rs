//! Whole runs from a seed: settings, backend and workload are drawn, played, and made shorter where they fail.

use crate::examine::examine_closed;
use crate::ops::{Op, workload};
use crate::play::{Policy, play};
use crate::random::{Random, mix};
use crate::shrink::shrink;
use crate::world::{Store, World, small_options};
use halite::backends::SimulatedOptions;
use halite::{Compression, Options};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A run that went wrong.
#[derive(Debug)]
pub struct Failure {
    seed: u64,
    wrong: String,
    ops: Vec<Op>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed: {}", self.seed, self.wrong)?;
        writeln!(f, "{}", Setup::of(self.seed))?;
        writeln!(f, "the shortest operations that fail so:")?;
        self.ops.iter().try_for_each(|op| writeln!(f, "    {op},"))?;
        write!(f, "to replay: cargo xtask sim --seed {}", self.seed)
    }
}

/// What a seed says of a run, apart from its operations.
#[derive(Clone, Debug)]
struct Setup {
    seed: u64,
    memory: bool,
    append: bool,
    yields: bool,
    map: bool,
    options: Options,
    ops: usize,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { memory, append, yields, map, options, .. } = self;
        write!(f, "memory={memory} append={append} yields={yields} map={map} {options:?}")
    }
}

impl Setup {
    fn of(seed: u64) -> Setup {
        let mut random = Random::new(mix(seed, 1));
        let options = Options {
            segment_bytes_max: random.pick(&[1, 1, 2, 8]) * Options::SEGMENT_BYTES_MIN,
            segment_fragments_max: random.pick(&[1, 3, 8, 256]),
            unsealed_max: random.pick(&[1, 1, 2, 3]),
            merge_in_background: random.chance(70),
            merge_dead_share: random.pick(&[0.1, 0.4, 0.9]),
            space_amplification: random.pick(&[1.0, 1.5, 10.0]),
            runs_max: random.pick(&[1, 4, 64]),
            write_buffer_bytes: random.pick(&[1, 512, 1 << 20]),
            // No draw of its own, so that seeds go on to mean what they did.
            compression: if seed.is_multiple_of(3) { Compression::Lz4 } else { Compression::None },
            ..small_options()
        };
        let options = Options { memory_budget: memory_budget(&mut random, &options), ..options };
        let (memory, append, yields) = (random.chance(20), random.chance(50), random.chance(70));
        let (ops, map) = (random.pick(&[30, 120, 300]), random.chance(50));
        Setup { seed, memory, append, yields, map, options, ops }
    }

    fn world(&self) -> World {
        let store = if self.memory {
            Store::memory(self.append)
        } else {
            let (seed, append, yields, map) = (self.seed, self.append, self.yields, self.map);
            Store::simulated(SimulatedOptions { seed, append, yields, map, ..SimulatedOptions::default() })
        };
        World::new(store, self.options.clone(), self.seed)
    }

    fn run(&self, ops: &[Op]) -> Result<World, String> {
        let run = || {
            let mut world = self.world();
            let closed_in_the_end: Vec<Op> = ops.iter().cloned().chain([Op::Close]).collect();
            play(&mut world, &closed_in_the_end, Policy::Strict)?;
            examine_closed(&mut world).map_err(|wrong| format!("after the end: {wrong}"))?;
            Ok(world)
        };
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            Err(format!("panicked: {text}"))
        })
    }
}

/// A budget that nothing fits into, some segments, or all.
fn memory_budget(random: &mut Random, options: &Options) -> Option<u64> {
    match random.below(4) {
        0 => Some(0),
        1 => None,
        // Memtables are full at four times a segment's records. Of what is left the keydir takes 16 KiB when it is empty,
        // the cache a third where nothing is mapped, and a slot some 22 bytes.
        _ => {
            let memtables = (options.unsealed_max as u64 + 1) * 4 * options.segment_bytes_max;
            Some((memtables + (26 << 10) + random.pick(&[10, 40, 150]) * 33) / 11 * 16)
        }
    }
}

fn ops_of(seed: u64, setup: &Setup) -> Vec<Op> {
    workload(&mut Random::new(mix(seed, 2)), setup.ops, true)
}

/// Runs what `seed` says. Returns a hash of all that was asked of the store: the same at each run.
///
/// # Errors
/// What went wrong, with the shortest operations found that show it.
pub fn run(seed: u64) -> Result<u64, Box<Failure>> {
    let setup = Setup::of(seed);
    let ops = ops_of(seed, &setup);
    match setup.run(&ops) {
        Ok(world) => Ok(match &world.store {
            Store::Simulated(simulated) => simulated.trace_hash(),
            Store::Memory(_) => 0,
        }),
        Err(_) => {
            let ops = shrink(&ops, 500, |fewer| setup.run(fewer).is_err());
            let wrong = setup.run(&ops).err().unwrap_or_else(|| "not at each run: something is not seeded".to_owned());
            Err(Box::new(Failure { seed, wrong, ops }))
        }
    }
}
