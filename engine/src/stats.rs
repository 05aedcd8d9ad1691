//! What the database holds and does, in numbers.

use crate::compaction::MergeProgress;
use crate::core::Core;
use crate::format::digest::Digest;
use crate::format::manifest::SegmentMeta;
use crate::meters::Latencies;
use crate::version::Version;
use crate::{Error, Result, Seq};
use halite_backends::Traffic;
use std::error::Error as _;

/// What the database holds and does. Byte counts are of the backend's files unless they say memory.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// let stats = db.stats();
/// assert_eq!((stats.commits, stats.committed_bytes, stats.commit_latencies.count), (1, 8, 1));
/// assert!(stats.write_amplification() > Some(1.0));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Where the store is.
    pub location: String,
    /// The writer's reign: each opening has a higher one.
    pub epoch: u64,
    /// Number of the newest manifest.
    pub manifest: u64,
    /// How far the wall clock is ahead of the time that is trusted, in milliseconds, after a leap beyond
    /// [`Options::max_forward_jump`](crate::Options::max_forward_jump); 0 otherwise.
    /// [`confirm_time`](crate::Db::confirm_time) trusts it.
    pub clock_ahead_millis: u64,
    /// The last sequence number that readers see.
    pub visible_seq: Seq,
    /// From this sequence number on a [watch](crate::Db::watch) can begin.
    pub history_from: Seq,
    /// Moments of the past that are kept by the [retention](field@crate::Options::retention).
    pub moments: u64,
    /// Since when the past can be opened, in milliseconds of engine time; `None` where there is no retention.
    pub past_from: Option<u64>,
    /// Bytes of segments that have left the database and are kept for checkpoints and the past.
    pub past_bytes: u64,
    /// Sealed segments.
    pub segments: u64,
    /// Runs of sealed segments.
    pub runs: u64,
    /// Records in sealed segments, tombstones and superseded ones included.
    pub records: u64,
    /// Tombstones in sealed segments.
    pub tombstones: u64,
    /// Stretches of keys that range deletes have left and that something sealed may still lie under; they go when all that
    /// is merged.
    pub range_tombstones: u64,
    /// Their memory, in bytes.
    pub range_tombstone_bytes: u64,
    /// Bytes of the sealed segments, index and all.
    pub segment_bytes: u64,
    /// Bytes of the records in sealed segments.
    pub record_bytes: u64,
    /// Bytes of records that are dead, as far as is known: an estimate.
    pub dead_bytes: u64,
    /// Memtables: the active one and those that wait for their seal.
    pub memtables: u64,
    /// Records in memtables.
    pub memtable_records: u64,
    /// Memory of the memtables, in bytes.
    pub memtable_bytes: u64,
    /// Bytes of the active segment's log.
    pub log_bytes: u64,
    /// Bytes that only this process has.
    pub unwritten_bytes: u64,
    /// Slots in the keydir.
    pub keydir_entries: u64,
    /// Memory of the keydir, in bytes.
    pub keydir_bytes: u64,
    /// Sealed segments that are resident: each of their keys has a slot in the keydir.
    pub resident_segments: u64,
    /// Keys of resident segments.
    pub resident_entries: u64,
    /// Slots that the keydir may hold within the budget.
    pub keydir_entries_max: u64,
    /// Memory of the fences that are kept of segments that were read, in bytes.
    pub fences_bytes: u64,
    /// Bytes of the filters that have been read and are mapped, which is not counted as memory. (Where segments are not
    /// mapped filters are in the cache.)
    pub mapped_filter_bytes: u64,
    /// Memory of the cache of what was read of segments that are not mapped, in bytes: filters, index, records.
    pub cache_bytes: u64,
    /// What the cache may take, in bytes: less while scans and merges over segments that are far away read ahead.
    pub cache_bytes_max: u64,
    /// Lookups in the cache that found what they looked for.
    pub cache_hits: u64,
    /// Lookups in the cache that did not.
    pub cache_misses: u64,
    /// Filters that reads have asked.
    pub filter_probes: u64,
    /// Filters that let a key pass which was not there: each cost a read in vain.
    pub filter_false_positives: u64,
    /// Memory of all these parts together, in bytes: memtables, keydir, fences, cache, and what walks over segments that are far
    /// away have read ahead.
    pub memory_bytes: u64,
    /// The memory budget: [`Options::memory_budget`](crate::Options::memory_budget), or what stands for it.
    pub memory_budget: u64,
    /// The merge under way.
    pub merging: Option<MergeProgress>,
    /// Commits that have entered the log since the opening.
    pub commits: u64,
    /// Their records: puts and deletes.
    pub committed_records: u64,
    /// Bytes of the keys and values in these, as they are stored.
    pub committed_bytes: u64,
    /// How long commits took since the opening: from the call to its answer, waiting to be let in included. Those with
    /// [`Deferred`](crate::Durability::Deferred) durability count only where they had to wait.
    pub commit_latencies: Latencies,
    /// Calls that wrote to the log since the opening.
    pub log_writes: u64,
    /// Calls that made the log durable since the opening.
    pub log_syncs: u64,
    /// Bytes written to the log since the opening.
    pub log_bytes_written: u64,
    /// Segments sealed since the opening.
    pub seals: u64,
    /// Bytes that seals have written since the opening: index and filter where the log grows, all of the segment elsewhere.
    pub seal_bytes_written: u64,
    /// Merges since the opening.
    pub merges: u64,
    /// Bytes that merges have written since the opening.
    pub merge_bytes_written: u64,
    /// Records that merges have dropped since the opening.
    pub merge_records_dropped: u64,
    /// Transactions that have begun and not ended.
    pub transactions: u64,
    /// Watches that have come to what is in memory.
    pub watches: u64,
    /// What was asked of the store since its backend was opened, where requests cost something.
    pub traffic: Traffic,
    /// Why what is full cannot be sealed for now, if it cannot: there is no space, or an object store does not take it, or cannot be
    /// reached. It is tried again, and commits go on as far as [`Options::unsealed_max`](crate::Options::unsealed_max).
    pub seal_failure: Option<String>,
    /// Why writing has stopped, if it has.
    pub failure: Option<String>,
}

impl Stats {
    /// Bytes of records that are not known to be dead.
    pub fn live_bytes(&self) -> u64 {
        self.record_bytes.saturating_sub(self.dead_bytes)
    }

    /// Bytes written since the opening, to the log, by seals and by merges, for each byte of key or value that was committed;
    /// `None` before the first.
    ///
    /// It counts what the engine writes, not what a file system or the zeros written ahead of the log add to it.
    pub fn write_amplification(&self) -> Option<f64> {
        let written = self.log_bytes_written + self.seal_bytes_written + self.merge_bytes_written;
        (self.committed_bytes > 0).then(|| written as f64 / self.committed_bytes as f64)
    }

    /// Bytes of the sealed segments for each byte of a record in them that is not known to be dead; `None` where there is none.
    pub fn space_amplification(&self) -> Option<f64> {
        let live = self.live_bytes();
        (live > 0).then(|| self.segment_bytes as f64 / live as f64)
    }
}

/// `error`, and why.
fn with_causes(error: &Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

pub(crate) fn stats(core: &Core) -> Stats {
    let (log_bytes, unwritten_bytes, failure, seal_failure) = core.log.inspect(|queue| {
        let failure = queue.failure().map(ToString::to_string);
        (queue.active_len(), queue.unwritten(), failure, queue.seal_failure().map(with_causes))
    });
    let of_version = of_version(&core.versions.get());
    let (keydir_bytes, files) = (core.keydir.bytes() as u64, &core.files);
    let (fences_bytes, cache_bytes) = (files.kept(), files.cache.len());
    let (meters, kept) = (&core.log.meters, core.publisher.kept());
    Stats {
        location: core.stores.plain().location(),
        epoch: core.epoch.epoch,
        manifest: core.publisher.number(),
        visible_seq: core.log.visible(),
        history_from: core.versions.history_from(),
        moments: kept.moments,
        past_from: kept.from,
        past_bytes: kept.bytes,
        log_bytes,
        unwritten_bytes,
        keydir_entries: core.keydir.len() as u64,
        keydir_bytes,
        keydir_entries_max: core.residency.slots_max(),
        fences_bytes,
        mapped_filter_bytes: files.mapped_filters(),
        cache_bytes,
        cache_bytes_max: files.cache.capacity(),
        cache_hits: files.cache.hits(),
        cache_misses: files.cache.misses(),
        filter_probes: files.filters.probes(),
        filter_false_positives: files.filters.false_positives(),
        memory_bytes: of_version.memtable_bytes
            + of_version.range_tombstone_bytes
            + keydir_bytes
            + fences_bytes
            + cache_bytes
            + files.lent(),
        memory_budget: core.budget.total,
        clock_ahead_millis: core.clock.ahead(),
        merging: core.compactor.progress.lock().as_ref().map(|progress| progress.tell()),
        transactions: core.log.inspect(|queue| queue.window().open_count()).saturating_sub(core.log.followers()) as u64,
        watches: core.log.followers() as u64,
        commits: meters.commits.get(),
        committed_records: meters.records.get(),
        committed_bytes: meters.payload_bytes.get(),
        commit_latencies: meters.commit_times.latencies(),
        log_writes: meters.log_writes.get(),
        log_syncs: meters.log_syncs.get(),
        log_bytes_written: meters.log_bytes.get(),
        seals: meters.seals.get(),
        seal_bytes_written: meters.seal_bytes.get(),
        merges: meters.merges.get(),
        merge_bytes_written: meters.merge_bytes.get(),
        merge_records_dropped: meters.merge_records_dropped.get(),
        traffic: core.stores.plain().traffic(),
        seal_failure,
        failure,
        ..of_version
    }
}

/// What a version holds; the rest is zero.
pub(crate) fn of_version(version: &Version) -> Stats {
    let metas = || version.segments().map(|segment| &segment.meta);
    Stats {
        segments: metas().count() as u64,
        runs: version.runs.len() as u64,
        records: metas().map(|meta| meta.records).sum(),
        tombstones: metas().map(|meta| meta.tombstones).sum(),
        range_tombstones: version.cover.len() as u64,
        range_tombstone_bytes: version.cover.bytes() as u64,
        segment_bytes: metas().map(|meta| meta.len).sum(),
        record_bytes: metas().map(|meta| meta.record_bytes).sum(),
        dead_bytes: version.segments().map(|segment| dead_bytes(&segment.meta, segment.dead_bytes())).sum(),
        memtables: version.memtables.len() as u64,
        memtable_records: version.memtables.iter().map(|memtable| memtable.len() as u64).sum(),
        memtable_bytes: version.memtables.iter().map(|memtable| memtable.bytes() as u64).sum(),
        resident_segments: version.residents().len() as u64,
        resident_entries: version.residents().iter().map(|resident| resident.segment.meta.entries).sum(),
        ..Stats::default()
    }
}

/// What is dead in a segment: what its own index leaves out, and what newer segments have superseded since.
fn dead_bytes(meta: &SegmentMeta, since: u64) -> u64 {
    let at_seal = meta.record_bytes.saturating_sub(meta.live_bytes);
    (at_seal + since).min(meta.record_bytes)
}

/// The database as a tree: memtables, runs, segments.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// db.compact().await?;
/// let tree: halite::Tree = db.tree().await?;
/// assert_eq!((tree.memtables.len(), tree.runs.len()), (1, 1));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tree {
    /// Newest first; the first is the active segment's.
    pub memtables: Vec<MemtableNode>,
    /// Newest first.
    pub runs: Vec<RunNode>,
}

/// The memtable of an unsealed segment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// let active: &halite::MemtableNode = &db.tree().await?.memtables[0];
/// assert_eq!(active.records, 1);
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemtableNode {
    /// Records in it, superseded ones included.
    pub records: u64,
    /// Its memory, in bytes.
    pub bytes: u64,
}

/// Segments that share a range of sequence numbers and have disjoint ranges of keys.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// db.compact().await?;
/// let run: &halite::RunNode = &db.tree().await?.runs[0];
/// assert_eq!((run.seqs, run.segments.len()), ((1, 1), 1));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunNode {
    /// Its smallest and largest sequence number.
    pub seqs: (Seq, Seq),
    /// In the order of their keys.
    pub segments: Vec<SegmentNode>,
}

/// A sealed segment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// db.compact().await?;
/// let segment: &halite::SegmentNode = &db.tree().await?.runs[0].segments[0];
/// assert_eq!((&segment.keys.0[..], segment.records, segment.sorted), (&b"key"[..], 1, true));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentNode {
    /// Its file.
    pub file: String,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// The file's digest, as `b3sum` computes it too.
    pub digest: Digest,
    /// Whether its records are in key order.
    pub sorted: bool,
    /// Its smallest and largest key.
    pub keys: (Vec<u8>, Vec<u8>),
    /// Its smallest and largest sequence number.
    pub seqs: (Seq, Seq),
    /// Records in it.
    pub records: u64,
    /// Entries of its index: one for each key.
    pub entries: u64,
    /// Tombstones among its records.
    pub tombstones: u64,
    /// Records with an expiry.
    pub expiring: u64,
    /// Bytes of its records.
    pub record_bytes: u64,
    /// Bytes of records that are dead, as far as is known: an estimate.
    pub dead_bytes: u64,
    /// Whether it is resident: each of its keys has a slot in the keydir. The others are asked through filter and index.
    pub resident: bool,
    /// The parts behind the records: their names and lengths in bytes.
    pub parts: Vec<(&'static str, u64)>,
}

pub(crate) async fn tree(version: &Version) -> Result<Tree> {
    for segment in version.segments() {
        segment.open().await?;
    }
    let memtables = version
        .memtables
        .iter()
        .map(|memtable| MemtableNode { records: memtable.len() as u64, bytes: memtable.bytes() as u64 });
    let runs = version.runs.iter().map(|run| RunNode {
        seqs: (run.min_seq, run.max_seq),
        segments: run
            .segments
            .iter()
            .map(|segment| {
                let meta = &segment.meta;
                SegmentNode {
                    file: segment.path().to_string(),
                    bytes: meta.len,
                    digest: meta.digest,
                    sorted: meta.sorted,
                    keys: (meta.min_key.clone(), meta.max_key.clone()),
                    seqs: (meta.min_seq, meta.max_seq),
                    records: meta.records,
                    entries: meta.entries,
                    tombstones: meta.tombstones,
                    expiring: meta.expiring,
                    record_bytes: meta.record_bytes,
                    dead_bytes: dead_bytes(meta, segment.dead_bytes()),
                    resident: version.is_resident(segment),
                    parts: segment.parts(),
                }
            })
            .collect(),
    });
    Ok(Tree { memtables: memtables.collect(), runs: runs.collect() })
}

#[cfg(test)]
mod tests;
