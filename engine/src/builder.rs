//! Opening: components by method, settings as data.

use crate::random::Random;
use crate::reader::At;
use crate::{Clock, Db, Error, ErrorKind, Options, ReadOnly, Result, SystemClock, reader, recovery, value};
use halite_backends::{Backend, machine_memory};
use std::sync::Arc;

/// Without a budget of its own a database takes this part of the machine's memory.
const MACHINE_SHARE: u64 = 4;

/// The memory budget, in bytes.
fn memory(options: &Options) -> u64 {
    options.memory_budget.unwrap_or_else(|| machine_memory() / MACHINE_SHARE)
}

/// Opens a database; made by [`Db::builder`].
#[derive(Debug)]
#[must_use = "a builder opens nothing until `open` is called"]
pub struct Builder {
    backend: Arc<dyn Backend>,
    options: Options,
    clock: Arc<dyn Clock>,
    seen: u64,
    seed: Option<u64>,
    single_writer: bool,
    give_up_log: bool,
}

impl Builder {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Builder {
        Builder {
            backend,
            options: Options::default(),
            clock: Arc::new(SystemClock),
            seen: 0,
            seed: None,
            single_writer: false,
            give_up_log: false,
        }
    }

    /// Settings other than the defaults.
    pub fn options(mut self, options: Options) -> Builder {
        self.options = options;
        self
    }

    /// Engine time that is known from elsewhere, in milliseconds: a clock that is far ahead of it has leapt.
    pub(crate) fn seen(mut self, millis: u64) -> Builder {
        self.seen = millis;
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Builder {
        self.clock = clock;
        self
    }

    /// A seed for salts and nonces, so that a simulated run can be repeated. Never use one seed for two writers of one
    /// store: their nonces must differ.
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Declares that never more than one process opens the store for writing, so that a backend is accepted that cannot
    /// create a name exclusively.
    pub fn single_writer(mut self) -> Builder {
        self.single_writer = true;
        self
    }

    /// Gives up what is in a log that is kept elsewhere ([`backends::Tiered`](crate::backends::Tiered)), because the machine
    /// that has it is lost: all commits since its last seal. Should it come back, its writer is fenced, and what its log
    /// holds stays given up. Of no effect where the log is here.
    pub fn give_up_log(mut self) -> Builder {
        self.give_up_log = true;
        self
    }

    /// Opens the database for reading and writing, which makes this process its one writer.
    ///
    /// Replays what an unclean end has left in the log. Must be called inside a tokio runtime with time enabled.
    ///
    /// # Errors
    /// `NotFound` where there is no store and [`Options::create_if_missing`] is false; `NotAStore` where something else
    /// is there, or a store of a newer format; `InUse` where another process has it open; `Corruption` where manifest
    /// or log are damaged; `LogElsewhere` where what was committed last is kept in another place; `Fenced` where another
    /// writer opens it at the same time; `InvalidInput` for options out of bounds or outside a runtime; `Io`, `NoSpace` and `PermissionDenied` as the storage says.
    ///
    /// # Cancel safety
    /// Dropped at any point, the store is sound; the next opening finishes the job.
    pub async fn open(self) -> Result<Db> {
        check(&self.options)?;
        let memory = memory(&self.options);
        let setup = recovery::Setup {
            backend: self.backend,
            memory,
            options: self.options,
            clock: self.clock,
            seen: self.seen,
            random: Arc::new(Random::new(self.seed)),
            single_writer: self.single_writer,
            give_up_log: self.give_up_log,
            database: None,
            lock: None,
        };
        Ok(Db::new(recovery::open(setup).await?))
    }

    /// Opens the checkpoint of that name, read-only, beside the store's writer if there is one: all values as they were
    /// when it was taken, expiries judged by the time at which it was. Takes no lock and writes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{Db, backends::Memory};
    /// use std::sync::Arc;
    /// let backend = Arc::new(Memory::new());
    /// let db = Db::builder(backend.clone()).open().await?;
    /// db.put("key", "old").await?;
    /// db.checkpoint("monday").await?;
    /// db.put("key", "new").await?;
    /// let monday = Db::builder(backend).open_at("monday").await?;
    /// assert_eq!(monday.get("key").await?.as_deref(), Some(&b"old"[..]));
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` where there is no store, or no checkpoint of that name; `NotAStore`, `Corruption`, `InvalidInput`
    /// outside a runtime, `Io` and `PermissionDenied` as the storage says.
    ///
    /// # Cancel safety
    /// Dropped at any point, nothing has happened.
    pub async fn open_at(self, checkpoint: impl AsRef<str>) -> Result<ReadOnly> {
        reader::open(self.reader_setup(), At::Checkpoint(checkpoint.as_ref().to_owned())).await
    }

    /// Opens the database as it was at `time`, milliseconds of engine time since the Unix epoch, read-only, beside the
    /// store's writer if there is one. How far back, [`Options::retention`](field@crate::Options::retention) says, and
    /// [`Options::retention_step`] how precisely: what had been committed two steps before shows for certain, nothing that
    /// was committed later does, and all of it is a prefix of the commits. Expiries are judged by `time`. Takes no lock and
    /// writes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{Db, Options, backends::Memory};
    /// use std::{sync::Arc, time::Duration};
    /// let backend = Arc::new(Memory::new());
    /// let retention = Some(Duration::from_secs(7 * 24 * 3600));
    /// let db = Db::builder(backend.clone()).options(Options { retention, ..Options::default() }).open().await?;
    /// db.put("key", "value").await?;
    /// db.flush().await?;
    /// let from = db.stats().past_from.expect("there is a retention");
    /// let past = Db::builder(backend).open_at_time(from).await?;
    /// assert_eq!(past.get("key").await?, None);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `NotFound` where there is no store; `Gone` where that past is not kept, from before the retention or the store, or as
    /// there is none; `NotAStore`, `Corruption`, `InvalidInput` outside a runtime, `Io` and `PermissionDenied` as the
    /// storage says.
    ///
    /// # Cancel safety
    /// Dropped at any point, nothing has happened.
    pub async fn open_at_time(self, time: u64) -> Result<ReadOnly> {
        reader::open(self.reader_setup(), At::Time(time)).await
    }

    /// Opens the store read-only, beside its writer if there is one: what was durable shows, and the reader
    /// [follows](ReadOnly) what becomes so. Any number of processes may. Takes no lock and writes nothing, so it opens a
    /// store too that the caller may only read.
    ///
    /// What a crashed writer has left in a growing log shows as far as that says itself that it was durable; the rest
    /// shows when a writer has opened the store.
    ///
    /// # Errors
    /// `NotFound` where there is no store; `NotAStore`, `Corruption`, `InUse` where the database changes faster than it can
    /// be read, `InvalidInput` outside a runtime, `Io` and `PermissionDenied` as the storage says.
    ///
    /// # Cancel safety
    /// Dropped at any point, nothing has happened.
    pub async fn open_read_only(self) -> Result<ReadOnly> {
        reader::open(self.reader_setup(), At::Newest).await
    }

    fn reader_setup(self) -> reader::Setup {
        let memory = memory(&self.options);
        let Options { refresh_interval, max_forward_jump, limits, .. } = self.options;
        let random = Arc::new(Random::new(self.seed));
        reader::Setup {
            backend: self.backend,
            memory,
            clock: self.clock,
            refresh_interval,
            max_forward_jump,
            limits,
            random,
        }
    }
}

fn check(options: &Options) -> Result<()> {
    if let Some(codec) = options.compression.codec().filter(|codec| !codec.is_here()) {
        return Err(value::lacks(codec.name()));
    }
    let refuse = |message: String| Err(Error::new(ErrorKind::InvalidInput, message));
    let bytes = options.segment_bytes_max;
    if !(Options::SEGMENT_BYTES_MIN..=Options::SEGMENT_BYTES_MAX).contains(&bytes) {
        let (min, max) = (Options::SEGMENT_BYTES_MIN, Options::SEGMENT_BYTES_MAX);
        return refuse(format!("segment_bytes_max out of bounds given={bytes} min={min} max={max}"));
    }
    if options.segment_fragments_max == 0 || options.fragments_in_flight_max == 0 || options.unsealed_max == 0 {
        let names = "segment_fragments_max, fragments_in_flight_max and unsealed_max";
        return refuse(format!("{names} must be at least 1"));
    }
    if !(options.merge_dead_share > 0.0 && options.merge_dead_share <= 1.0) {
        return refuse(format!("merge_dead_share must lie above 0 and up to 1 given={}", options.merge_dead_share));
    }
    if options.space_amplification.is_nan() || options.space_amplification < 1.0 {
        return refuse(format!("space_amplification must be at least 1 given={}", options.space_amplification));
    }
    if !options.retention_is_sound() {
        let (retention, step) = (options.retention, options.retention_step);
        return refuse(format!("retention_step is too short retention={retention:?} step={step:?}"));
    }
    if options.seal_interval.is_some_and(|interval| interval.is_zero()) {
        return refuse("seal_interval must be above 0".to_owned());
    }
    if options.runs_max == 0 {
        return refuse("runs_max must be at least 1".to_owned());
    }
    Ok(())
}
