//! Settings as plain data: each with its unit, default and effect.

use crate::format::compressed::Codec;
use halite_backends::{Limit, Purpose};
use std::num::NonZeroU64;
use std::time::Duration;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What has happened to a commit by the time its future returns `Ok`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Durability, WriteOptions};
/// let db = halite::Db::open("mem:").await?;
/// let quickly = WriteOptions { durability: Durability::Deferred, ..WriteOptions::default() };
/// for number in 0..1000 {
///     db.put_with(format!("{number}"), "…", quickly).await?;
/// }
/// db.flush().await?; // now all of them are durable
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// It is ordered and visible to readers. A process crash loses at most the last [`Options::flush_interval`], a
    /// power cut at most the last [`Options::sync_interval`] on top.
    Deferred,
    /// The operating system has it: it survives the process. A power cut loses at most the last
    /// [`Options::sync_interval`]. On backends without growing files the same as `Synced`.
    Written,
    /// The backend has it durably: it survives a power cut.
    #[default]
    Synced,
}

/// What values are compressed with, each by itself, where at least an eighth of it is saved. Values below 64 bytes are left as
/// they are.
///
/// What is not compressed is read without a copy; what is takes a moment and memory of its own each time. Compressed or not,
/// a value stays as it was written until it is overwritten: merges pass it on.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Compression, Db, Options, backends::Memory};
/// use std::sync::Arc;
/// # #[cfg(feature = "lz4")] {
/// let options = Options { compression: Compression::Lz4, ..Options::default() };
/// let db = Db::builder(Arc::new(Memory::new())).options(options).open().await?;
/// db.put("text", "so it goes, ".repeat(1000)).await?; // stored in a fraction of 12 000 bytes
/// assert_eq!(db.get("text").await?.map(|text| text.len()), Some(12_000));
/// # db.close().await?;
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Nothing is compressed.
    #[default]
    None,
    /// With LZ4: quick both ways. Needs the feature `lz4`, which is there by default.
    Lz4,
    /// With Zstandard, level 3: smaller and slower. Needs the feature `zstd`, which builds C code.
    Zstd,
}

impl Compression {
    pub(crate) fn codec(self) -> Option<Codec> {
        match self {
            Compression::None => None,
            Compression::Lz4 => Some(Codec::Lz4),
            Compression::Zstd => Some(Codec::Zstd),
        }
    }
}

/// How much may be asked of an object store, by purpose, so that what can wait leaves room for what cannot, and costs are
/// bounded. What was asked for, [`Stats::traffic`](crate::Stats::traffic) tells by the same purposes.
///
/// Limits hold where requests are counted: in object stores, behind [`Cached`](crate::backends::Cached) and
/// [`Tiered`](crate::backends::Tiered) too, where what is found on the local disk is no request. They delay, and refuse nothing:
/// commits come to share larger objects; writers wait where seals do, as they do for a slow store; reads take longer. Opening a
/// store and publishing its versions are never held up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, Limits, Options, backends::{Limit, Memory}};
/// use std::{num::{NonZeroU32, NonZeroU64}, sync::Arc};
/// let merge = Limit { bytes_per_second: NonZeroU64::new(20 << 20), at_once: NonZeroU32::new(4), ..Limit::default() };
/// let options = Options { limits: Limits { merge, ..Limits::default() }, ..Options::default() };
/// let db = Db::builder(Arc::new(Memory::new())).options(options).open().await?;
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The log, as it is written.
    pub commit: Limit,
    /// Sealing what was committed.
    pub seal: Limit,
    /// Merging: what it reads and what it writes.
    pub merge: Limit,
    /// Reads and scans.
    pub read: Limit,
    /// Warming up, and loading keys into memory.
    pub warm: Limit,
    /// Readers that follow their database.
    pub follow: Limit,
    /// Deleting what is needed no more.
    pub collect: Limit,
    /// Verifications.
    pub verify: Limit,
    /// What copies and backups read.
    pub copy: Limit,
}

impl Limits {
    /// The limit for `purpose`; nothing where there is none to be set, as with opening and publishing.
    pub fn of_mut(&mut self, purpose: Purpose) -> Option<&mut Limit> {
        match purpose {
            Purpose::Commit => Some(&mut self.commit),
            Purpose::Seal => Some(&mut self.seal),
            Purpose::Merge => Some(&mut self.merge),
            Purpose::Read => Some(&mut self.read),
            Purpose::Warm => Some(&mut self.warm),
            Purpose::Follow => Some(&mut self.follow),
            Purpose::Collect => Some(&mut self.collect),
            Purpose::Verify => Some(&mut self.verify),
            Purpose::Copy => Some(&mut self.copy),
            _ => None,
        }
    }
}

/// How one write is to be done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Durability, WriteOptions};
/// use std::time::Duration;
/// let db = halite::Db::open("mem:").await?;
/// let session = WriteOptions { durability: Durability::Written, ttl: Some(Duration::from_secs(1800)) };
/// db.put_with("session:7", "Ada", session).await?;
/// assert!(matches!(db.ttl("session:7").await?, Some(halite::Ttl::Remaining(_))));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// How durable the commit is when it returns; [`Durability::Synced`] by default.
    pub durability: Durability,
    /// How long the written values live, in whole milliseconds, counted from engine time at the write; as
    /// [`Options::ttl`] says if `None`, and for ever if [`FOR_EVER`](WriteOptions::FOR_EVER). Applies to puts that have no
    /// expiry of their own; deletes ignore it.
    pub ttl: Option<Duration>,
}

/// Settings of a database, given when it is opened. None of them binds the format: all may differ at the next opening.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, Options, backends::Memory};
/// use std::sync::Arc;
/// use std::time::Duration;
/// let options = Options {
///     memory_budget: Some(64 << 20),
///     ttl: Some(Duration::from_secs(24 * 3600)),
///     ..Options::default()
/// };
/// let db = Db::builder(Arc::new(Memory::new())).options(options).open().await?;
/// assert_eq!(db.stats().memory_budget, 64 << 20);
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Durability of `put`, `delete` and `write`. Default [`Durability::Synced`].
    pub durability: Durability,
    /// How long values live that are written without a `ttl` or expiry of their own; for ever if `None`, the default.
    /// What is stored already keeps the expiry with which it was written.
    pub ttl: Option<Duration>,
    /// Longest time for which a `Deferred` commit stays in the process only. Default 100 ms.
    ///
    /// In object stores, where each [fragment](Options::fragment_bytes) of the log is a request that costs, also the least time
    /// from one fragment to the next, unless that is full or a flush asks for it: commits of all levels gather for so long. A
    /// commit that comes after a pause does not wait; one that follows upon another waits for the interval and its own object.
    /// With zero a fragment goes as soon as a commit waits for it, while others are under way too.
    pub flush_interval: Duration,
    /// Longest time for which a commit weaker than `Synced` stays unsynced. Default 1 s. On backends without growing files
    /// what is written is synced.
    pub sync_interval: Duration,
    /// How far the clock may leap forward, against what it said last and what has passed since, and be believed at once. Default
    /// 366 days.
    ///
    /// Beyond that reads go by it, so that what it says has expired does not show, and writes count their `ttl` from it; but no
    /// merge drops anything for it, and nothing remembers it, until it has stood there for an hour of this process or
    /// [`confirm_time`](crate::Db::confirm_time) is called. A clock that comes back before has lost nothing that had not expired.
    /// A machine that has slept for less is no leap, nor is a store that was closed for less.
    pub max_forward_jump: Duration,
    /// Size at which the active segment is sealed, in bytes of records. Default 64 MiB; at least 4 KiB, at most 2 GiB.
    pub segment_bytes_max: u64,
    /// Number of fragments after which the active segment is sealed, on backends without growing files. Default 256.
    pub segment_fragments_max: u32,
    /// Bytes of commits at which a fragment of the log is sent at once, on backends without growing files. Default 8 MiB; no
    /// more than 32 MiB wait or are under way. It is longer by no more than one commit.
    ///
    /// A smaller one is sent when a commit waits for it, no sooner than [`flush_interval`](Options::flush_interval) after the
    /// one before. So it is one request an interval at most.
    pub fragment_bytes: u64,
    /// How many fragments may be under way at once, on backends without growing files. Default 4; at least 1. Commits are
    /// acknowledged in their order all the same. After a crash the log ends before the first that did not arrive.
    pub fragments_in_flight_max: usize,
    /// Longest time for which what has entered stays unsealed: a segment that is not full by then is sealed all the same, if
    /// anything has entered it. `None`, the default, seals full ones alone; but where the log is kept apart from the store
    /// ([`backends::Tiered`](crate::backends::Tiered)), so that what is not sealed is lost with the machine, it stands for a
    /// minute. Small segments cost merges later.
    pub seal_interval: Option<Duration>,
    /// How many full memtables may wait for their seal before writers wait too. Default 2; at least 1. In object stores, where
    /// a seal takes many latencies, more may wait, as far as caches do not need the memory that the budget has for them.
    pub unsealed_max: usize,
    /// Whether a merge runs by itself when a segment's dead share reaches
    /// [`merge_dead_share`](Options::merge_dead_share). Default true.
    pub merge_in_background: bool,
    /// Share of a segment's bytes that must be dead (overwritten, deleted or expired, as far as is known) for a merge to
    /// rewrite it: above 0, at most 1. Default 0.5.
    pub merge_dead_share: f64,
    /// How many times the bytes of keys and values that are alive the sealed segments may take together, as far as is
    /// known: above that, segments are rewritten of which less is dead, down to a tenth. At least 1. Default 1.5. (64 KiB more are allowed, so that small stores are left in peace.)
    pub space_amplification: f64,
    /// How many runs there may be before neighbouring ones are merged, the cheapest first. At least 1. Default 64. A quarter
    /// as many where [`memory_budget`](Options::memory_budget) does not hold the keys of all segments, as each is asked then.
    pub runs_max: usize,
    /// Bytes a second that a merge in the background may write, on average since its beginning. Default `None`: as fast as
    /// it goes beside reads and writes.
    pub merge_bytes_per_second: Option<NonZeroU64>,
    /// Bytes of unwritten `Deferred` commits at which the log is written at once, where its files grow. Default 1 MiB.
    pub write_buffer_bytes: u64,
    /// Bytes of records in full memtables that are kept for open transactions to be compared with. Default 64 MiB; an
    /// eighth of the memory budget at most. A transaction during which more than that is written, and more than a whole
    /// segment, fails with [`Conflict`](crate::ErrorKind::Conflict).
    pub transaction_window_bytes: u64,
    /// What values written from now on are compressed with. Default [`Compression::None`]. Any build reads what it has the
    /// codec for, whatever this says.
    pub compression: Compression,
    /// How often a reader opened by [`Builder::open_read_only`](crate::Builder::open_read_only) looks for what is new; only
    /// when it is asked to if `None`. Default 1 s.
    pub refresh_interval: Option<Duration>,
    /// Memory that the database may take, in bytes; `None`, the default, stands for a quarter of what the machine or its
    /// container has ([`backends::machine_memory`](crate::backends::machine_memory)).
    ///
    /// It covers memtables, the keydir, fences, filters, the cache, and the work of seals and merges. As many segments
    /// as there is room for, the newest first, are *resident*: a read of their keys is one look. The others are asked
    /// through their filters and indexes. Any budget is right, 0 included: then nothing is resident and nothing is
    /// cached, but for memtables of 1 MiB each. A segment is sealed at an eighth of the budget (1 MiB at least) where
    /// that is less than [`segment_bytes_max`](Options::segment_bytes_max).
    ///
    /// Files that are mapped into memory are not counted: the system takes their pages back when it needs them. Nor is
    /// what the caller holds: values that were read, scans, snapshots, transactions, and a batch larger than a segment.
    pub memory_budget: Option<u64>,
    /// Bytes of newest segments that no merge takes, so that a [watch](crate::Db::watch) can begin in the past. Default 0.
    /// They are given back later for it, or by `compact` once this is lower. Nothing is kept on backends without growing
    /// files, where a seal drops what is superseded; and nothing before the end of a log of which range deletes of its own
    /// have left no key, as that is not sealed.
    pub history_bytes: u64,
    /// For how long the past can be opened ([`Builder::open_at_time`](crate::Builder::open_at_time)), by engine time: all
    /// files that it needs stay until then. Zero keeps nothing, and lets go of what was kept. It is written in the store;
    /// `None`, the default, leaves it as it was, which is zero in a new one.
    pub retention: Option<Duration>,
    /// How precisely the past is kept, where [`retention`](field@Options::retention) says for how long: what was committed is
    /// sealed at the latest after so long, and what shows of a moment is less than this older than the last that was sealed
    /// then. `None`, the default, stands for a thousandth of it. At least 1 ms, and a ten-thousandth. Each moment takes a
    /// manifest, a few hundred bytes for each segment.
    pub retention_step: Option<Duration>,
    /// How much may be asked of an object store, by purpose. No limits by default.
    pub limits: Limits,
    /// Whether to create the store where there is none. Default true.
    pub create_if_missing: bool,
}

impl Options {
    /// Smallest [`segment_bytes_max`](Options::segment_bytes_max).
    pub const SEGMENT_BYTES_MIN: u64 = 4 * KIB;
    /// Largest [`segment_bytes_max`](Options::segment_bytes_max): offsets in a segment have 32 bits.
    pub const SEGMENT_BYTES_MAX: u64 = 2048 * MIB;
}

/// Smallest [`Options::retention_step`].
const RETENTION_STEP_MIN: Duration = Duration::from_millis(1);
/// Most steps in a retention.
const RETENTION_STEPS_MAX: u32 = 10_000;

impl Options {
    /// The retention and its step, where they are given.
    pub(crate) fn retention(&self) -> Option<(Duration, Duration)> {
        let retention = self.retention?;
        Some((retention, self.retention_step.unwrap_or(retention / 1000).max(RETENTION_STEP_MIN)))
    }

    /// Whether the step is within its bounds.
    pub(crate) fn retention_is_sound(&self) -> bool {
        let step = self.retention_step;
        step.is_none_or(|step| step >= RETENTION_STEP_MIN)
            && self.retention().is_none_or(|(retention, step)| retention <= step.saturating_mul(RETENTION_STEPS_MAX))
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Synced,
            ttl: None,
            flush_interval: Duration::from_millis(100),
            sync_interval: Duration::from_secs(1),
            max_forward_jump: Duration::from_secs(366 * 24 * 3600),
            segment_bytes_max: 64 * MIB,
            segment_fragments_max: 256,
            fragment_bytes: 8 * MIB,
            fragments_in_flight_max: 4,
            seal_interval: None,
            unsealed_max: 2,
            merge_in_background: true,
            merge_dead_share: 0.5,
            space_amplification: 1.5,
            runs_max: 64,
            merge_bytes_per_second: None,
            write_buffer_bytes: MIB,
            transaction_window_bytes: 64 * MIB,
            compression: Compression::None,
            refresh_interval: Some(Duration::from_secs(1)),
            memory_budget: None,
            history_bytes: 0,
            retention: None,
            retention_step: None,
            limits: Limits::default(),
            create_if_missing: true,
        }
    }
}
