//! Compaction: gives back the space of what is dead.
//!
//! A background task rewrites, in its place, the segment that is deadest, once enough of it is dead (overwritten, deleted
//! or expired) or the store as a whole takes too much room, and merges neighbouring runs that are small or many
//! ([`choice`]); `compact` merges everything into one sorted run. Both run beside reads and writes, at a [limited
//! rate](pace), and may be killed at any moment: until the manifest that names a merge's output is durable its inputs
//! stand, and what it wrote is removed at the next opening.

mod choice;
mod merge;
mod outside;
mod pace;
pub(crate) mod rules;

use crate::core::Core;
use crate::format::names::SegmentId;
use crate::segment::Segment;
use crate::version::{Run, Version};
use crate::{Error, ErrorKind, Result, residency, retire};
use choice::Chosen;
pub use pace::{CompactOptions, MergeProgress};
use pace::{Pace, Progress};
use parking_lot::Mutex as SyncMutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, MutexGuard, Notify};

/// How long the background waits after a merge that failed before it looks again.
const RETRY: Duration = Duration::from_secs(10);
/// How long it waits at least, and at most, where segments die by time alone. (The clock may be set, and many may do so
/// little by little.)
const EXPIRY_WAIT_MIN: Duration = Duration::from_secs(1);
const EXPIRY_WAIT_MAX: Duration = Duration::from_secs(60);

/// What merges have in common: only one runs at a time.
#[derive(Debug, Default)]
pub(crate) struct Compactor {
    running: Mutex<()>,
    wake: Notify,
    stopping: AtomicBool,
    /// How often merges were to be given up.
    cancels: AtomicU64,
    /// The merge under way.
    pub(crate) progress: SyncMutex<Option<Arc<Progress>>>,
    /// Segments in which a merge has found damage. The background leaves them alone until the next opening: it would
    /// fail again, and again before it came to any other.
    damaged: SyncMutex<HashSet<SegmentId>>,
}

/// What a compaction has done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "old").await?;
/// db.put("key", "new").await?;
/// let report = db.compact().await?;
/// assert_eq!(report.records_out, 1);
/// println!("{} bytes less", report.bytes_before.saturating_sub(report.bytes_after));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// Bytes of the sealed segments before.
    pub bytes_before: u64,
    /// Bytes of the sealed segments after.
    pub bytes_after: u64,
    /// Segments before.
    pub segments_before: u64,
    /// Segments after.
    pub segments_after: u64,
    /// Records read.
    pub records_in: u64,
    /// Records written.
    pub records_out: u64,
    /// Records dropped because a newer one of the key was there.
    pub dropped_superseded: u64,
    /// Tombstones dropped because nothing was left for them to hide.
    pub dropped_deleted: u64,
    /// Records dropped because they had expired.
    pub dropped_expired: u64,
    /// Records dropped because a range delete covers them.
    pub dropped_covered: u64,
}

impl Compactor {
    /// Something has changed: a merge may be due.
    pub(crate) fn look(&self) {
        self.wake.notify_one();
    }

    /// Whether a merge is under way.
    pub(crate) fn is_merging(&self) -> bool {
        self.progress.lock().is_some()
    }

    /// Lets no merge go on, and waits until none is running.
    pub(crate) async fn stop(&self) -> MutexGuard<'_, ()> {
        self.stopping.store(true, Ordering::Release);
        self.running.lock().await
    }

    /// Leaves alone whichever of `inputs` the error names: all of them, if that is none.
    fn avoid(&self, inputs: &[Arc<Segment>], error: &Error) {
        let is_named = |input: &&Arc<Segment>| error.place().is_some_and(|(file, _)| file == input.path().as_str());
        let mut damaged = self.damaged.lock();
        match inputs.iter().find(is_named) {
            Some(named) => damaged.extend([named.meta.id]),
            None => damaged.extend(inputs.iter().map(|input| input.meta.id)),
        }
    }

    fn is_avoided(&self, segment: &Segment) -> bool {
        self.damaged.lock().contains(&segment.meta.id)
    }

    /// Gives up the merge under way.
    pub(crate) fn cancel(&self) {
        self.cancels.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether a merge may go on that began after so many [`cancels`](Compactor::cancels).
    fn check_since(&self, cancels: u64) -> Result<()> {
        self.check()?;
        if self.cancels.load(Ordering::Acquire) != cancels {
            return Err(Error::new(ErrorKind::Cancelled, "the merge was cancelled; nothing has changed"));
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the database is closing, so the merge was given up"));
        }
        Ok(())
    }
}

/// Merges in the background whenever a segment is dead enough, or runs are small and many.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        match merge_next(&core).await {
            Ok(true) => {}
            Ok(false) => wait(&core).await,
            // The next merge is another one.
            Err(error) if error.kind() == ErrorKind::Corruption => tracing::error!(%error, "a merge met damage"),
            Err(error) => {
                if core.log.check().is_err() || core.compactor.check().is_err() {
                    return;
                }
                tracing::warn!(%error, "a merge failed; its inputs stand as they were");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Waits until something has changed, or enough has expired.
async fn wait(core: &Core) {
    let woken = core.compactor.wake.notified();
    let Some(due) = choice::next_due(core) else { return woken.await };
    let left = Duration::from_millis(due.saturating_sub(core.clock.trusted()));
    // Whichever comes first.
    let _ = tokio::time::timeout(left.clamp(EXPIRY_WAIT_MIN, EXPIRY_WAIT_MAX), woken).await;
}

/// Does the merge that is most worth while. Returns whether there was one.
async fn merge_next(core: &Core) -> Result<bool> {
    let _running = core.compactor.running.lock().await;
    core.compactor.check()?;
    let version = Arc::new(core.versions.load().sealed());
    let Some(Chosen { runs, inputs }) = choice::choose(core, &version) else { return Ok(false) };
    let rate = core.options.merge_bytes_per_second;
    let merged = merge::merge(core, &version, runs, inputs.clone(), Pace::new(core, rate)).await;
    if let Err(error) = &merged
        && error.kind() == ErrorKind::Corruption
    {
        core.compactor.avoid(&inputs, error);
    }
    merged.map(|_| true)
}

/// Does all that there is to do in the background.
pub(crate) async fn maintain(core: Arc<Core>) -> Result<()> {
    core.log.all_sealed().await?;
    while merge_next(&core).await? {}
    residency::idle(&core).await?;
    retire::reap(&core).await;
    Ok(())
}

/// Seals what is in memory and merges everything into one run.
#[tracing::instrument(target = "halite", level = "info", skip_all)]
pub(crate) async fn compact(core: Arc<Core>, options: CompactOptions) -> Result<CompactReport> {
    // From here on it can be cancelled, also while it waits.
    let pace = Pace::new(&core, options.bytes_per_second);
    core.log.rotate()?;
    core.log.all_sealed().await?;
    let _running = core.compactor.running.lock().await;
    pace.check()?;
    core.log.check()?;
    let version = Arc::new(core.versions.load().sealed());
    let history = choice::history(&core, &version);
    let is_covered = version.runs[history..]
        .iter()
        .flat_map(|run| &run.segments)
        .any(|segment| version.cover.is_needed_by(&segment.meta));
    let report = if !is_covered && is_compact(&version.runs[history..], core.clock.trusted()) {
        let (bytes, segments) = size(&version);
        CompactReport {
            bytes_before: bytes,
            bytes_after: bytes,
            segments_before: segments,
            segments_after: segments,
            ..CompactReport::default()
        }
    } else {
        let inputs = version.runs[history..].iter().flat_map(|run| &run.segments).cloned().collect();
        merge::merge(&core, &version, history..version.runs.len(), inputs, pace).await?
    };
    drop(version);
    retire::reap(&core).await;
    Ok(report)
}

/// Whether there is nothing to gain: one sorted run in which nothing is dead, deleted or expired.
fn is_compact(runs: &[Arc<Run>], now: u64) -> bool {
    let nothing_dead = |run: &Arc<Run>| {
        run.segments.iter().all(|segment| {
            let meta = &segment.meta;
            let expired = meta.min_expiry.is_some_and(|at| at <= now);
            meta.sorted && meta.tombstones == 0 && !expired && segment.dead_bytes() == 0
        })
    };
    runs.len() <= 1 && runs.iter().all(nothing_dead)
}

/// Bytes and number of the version's segments.
fn size(version: &Version) -> (u64, u64) {
    version.segments().fold((0, 0), |(bytes, count), segment| (bytes + segment.meta.len, count + 1))
}

/// Merges a row of neighbouring runs that `chance` chooses, if there is any run.
#[cfg(test)]
pub(crate) async fn merge_any(core: &Core, chance: u64) -> Result<()> {
    let version = Arc::new(core.versions.load().sealed());
    let count = version.runs.len();
    if count == 0 {
        return Ok(());
    }
    let start = chance as usize % count;
    let end = start + 1 + (chance >> 32) as usize % (count - start);
    let inputs = version.runs[start..end].iter().flat_map(|run| &run.segments).cloned().collect();
    merge::merge(core, &version, start..end, inputs, Pace::new(core, None)).await.map(|_| ())
}

#[cfg(test)]
mod tests;
