//! The settings of a run: backend and options, drawn from its seed, and as text.

use crate::random::{Random, mix};
use crate::world::{Store, World, small_options};
use halite::backends::SimulatedOptions;
use halite::{Compression, Options};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a run is made of, apart from its operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// Decides all that is left to chance: salts and nonces, what a power cut leaves, where calls wait.
    pub seed: u64,
    /// The store has growing files; else it is an object store.
    pub append: bool,
    /// The log is on a disk of its own, beside an object store.
    pub tiered: bool,
    /// There is a lock.
    pub lock: bool,
    /// Calls are pending now and then.
    pub yields: bool,
    /// Objects are shared memory.
    pub map: bool,
    /// The engine's settings.
    pub options: Options,
}

impl Setup {
    /// A plain one, of which [`Setup::set`] changes what a test is about.
    pub fn plain(seed: u64) -> Setup {
        // Not by what the machine has.
        let options = Options { memory_budget: Some(1 << 30), ..small_options() };
        Setup { seed, append: true, tiered: false, lock: false, yields: false, map: true, options }
    }

    /// That of a seed.
    pub fn of(seed: u64) -> Setup {
        let mut random = Random::new(mix(seed, 1));
        // By itself, so that what comes after it stays as it was.
        let mut of_fragments = Random::new(mix(seed, 3));
        let options = Options {
            segment_bytes_max: random.pick(&[1, 1, 2, 8]) * Options::SEGMENT_BYTES_MIN,
            segment_fragments_max: random.pick(&[1, 3, 8, 256]),
            unsealed_max: random.pick(&[1, 1, 2, 3]),
            merge_in_background: random.chance(70),
            merge_dead_share: random.pick(&[0.1, 0.4, 0.9]),
            space_amplification: random.pick(&[1.0, 1.5, 10.0]),
            runs_max: random.pick(&[1, 4, 64]),
            write_buffer_bytes: random.pick(&[1, 512, 1 << 20]),
            fragment_bytes: of_fragments.pick(&[1, 512, 1 << 20]),
            fragments_in_flight_max: of_fragments.pick(&[1, 2, 4]),
            compression: random.pick(&[Compression::None, Compression::None, Compression::Lz4]),
            history_bytes: random.pick(&[0, 0, 10_000, 1 << 20]),
            transaction_window_bytes: random.pick(&[4_000, 64 << 20]),
            ..small_options()
        };
        let options = Options { memory_budget: Some(memory_budget(&mut random, &options)), ..options };
        let (append, lock) = (random.chance(60), random.chance(35));
        let mut setup =
            Setup { seed, append, tiered: false, lock, yields: random.chance(70), map: random.chance(50), options };
        let mut random = Random::new(mix(seed, 4));
        if random.chance(12) {
            (setup.append, setup.tiered) = (true, true);
            setup.options.seal_interval =
                random.pick(&[None, Some(Duration::from_secs(1)), Some(Duration::from_secs(2))]);
        }
        setup
    }

    /// An empty store, and all that is known of it.
    pub fn world(&self) -> World {
        let Setup { seed, append, tiered, lock, yields, map, .. } = *self;
        let options = SimulatedOptions { seed, append: append || tiered, lock, yields, map, capacity: None };
        let store = if tiered { Store::tiered(options) } else { Store::simulated(options) };
        World::new(store, self.options.clone(), seed)
    }

    /// The settings that case files name, with their values.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let options = &self.options;
        vec![
            ("seed", self.seed.to_string()),
            ("append", self.append.to_string()),
            ("tiered", self.tiered.to_string()),
            ("lock", self.lock.to_string()),
            ("yields", self.yields.to_string()),
            ("map", self.map.to_string()),
            ("segment_bytes_max", options.segment_bytes_max.to_string()),
            ("segment_fragments_max", options.segment_fragments_max.to_string()),
            ("unsealed_max", options.unsealed_max.to_string()),
            ("merge_in_background", options.merge_in_background.to_string()),
            ("merge_dead_share", options.merge_dead_share.to_string()),
            ("space_amplification", options.space_amplification.to_string()),
            ("runs_max", options.runs_max.to_string()),
            ("write_buffer_bytes", options.write_buffer_bytes.to_string()),
            ("fragment_bytes", options.fragment_bytes.to_string()),
            ("fragments_in_flight_max", options.fragments_in_flight_max.to_string()),
            ("compression", if options.compression == Compression::Lz4 { "lz4" } else { "none" }.to_owned()),
            ("history_bytes", options.history_bytes.to_string()),
            ("seal_interval", options.seal_interval.unwrap_or_default().as_millis().to_string()),
            ("transaction_window_bytes", options.transaction_window_bytes.to_string()),
            ("memory_budget", options.memory_budget.unwrap_or(1 << 30).to_string()),
        ]
    }

    /// Sets the one of that name.
    ///
    /// # Errors
    /// Where there is none of that name, or that is no value for it.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        fn read<T: FromStr>(value: &str) -> Result<T, String> {
            value.parse().map_err(|_| format!("no value: {value}"))
        }
        let options = &mut self.options;
        match name {
            "seed" => self.seed = read(value)?,
            "append" => self.append = read(value)?,
            "tiered" => self.tiered = read(value)?,
            "lock" => self.lock = read(value)?,
            "yields" => self.yields = read(value)?,
            "map" => self.map = read(value)?,
            "segment_bytes_max" => options.segment_bytes_max = read(value)?,
            "segment_fragments_max" => options.segment_fragments_max = read(value)?,
            "unsealed_max" => options.unsealed_max = read(value)?,
            "merge_in_background" => options.merge_in_background = read(value)?,
            "merge_dead_share" => options.merge_dead_share = read(value)?,
            "space_amplification" => options.space_amplification = read(value)?,
            "runs_max" => options.runs_max = read(value)?,
            "write_buffer_bytes" => options.write_buffer_bytes = read(value)?,
            "fragment_bytes" => options.fragment_bytes = read(value)?,
            "fragments_in_flight_max" => options.fragments_in_flight_max = read(value)?,
            "compression" if value == "lz4" => options.compression = Compression::Lz4,
            "compression" if value == "none" => options.compression = Compression::None,
            "history_bytes" => options.history_bytes = read(value)?,
            "seal_interval" => {
                let interval = Duration::from_millis(read(value)?);
                options.seal_interval = (!interval.is_zero()).then_some(interval);
            }
            "transaction_window_bytes" => options.transaction_window_bytes = read(value)?,
            "memory_budget" => options.memory_budget = Some(read(value)?),
            other => return Err(format!("no setting {other} with value {value}")),
        }
        Ok(())
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fields().iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
    }
}

/// A budget that nothing fits into, some segments, or all.
fn memory_budget(random: &mut Random, options: &Options) -> u64 {
    match random.below(4) {
        0 => 0,
        1 => 1 << 30,
        // Memtables are full at four times a segment's records. Of what is left the keydir takes 16 KiB when it is empty,
        // the cache a third where nothing is mapped, and a slot some 22 bytes.
        _ => {
            let memtables = (options.unsealed_max as u64 + 1) * 4 * options.segment_bytes_max;
            (memtables + (26 << 10) + random.pick(&[10, 40, 150]) * 33) / 11 * 16
        }
    }
}
