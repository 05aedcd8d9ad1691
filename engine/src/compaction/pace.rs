//! How fast a merge goes, how far it has come, and whether it is to go on.

use super::Compactor;
use crate::Result;
use crate::core::Core;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// A merge ahead of its rate sleeps for this long at most before it looks whether it is still wanted.
const NAP_MAX: Duration = Duration::from_millis(100);
/// And not at all for less than this.
const NAP_MIN: Duration = Duration::from_millis(5);

/// How a [compaction](crate::Db::compact_with) is to be done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::CompactOptions;
/// use std::num::NonZeroU64;
/// let db = halite::Db::open("mem:").await?;
/// let gently = CompactOptions { bytes_per_second: NonZeroU64::new(10 << 20) };
/// db.compact_with(gently).await?;
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactOptions {
    /// Bytes that it may write a second, on average since its beginning; as fast as it goes if `None`, the default.
    pub bytes_per_second: Option<NonZeroU64>,
}

/// How far the merge under way has come.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// if let Some(merge) = db.stats().merging {
///     println!("{} of {} records, {:?} to go", merge.records_done, merge.records_total, merge.remaining());
/// }
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergeProgress {
    /// Records that it is to read.
    pub records_total: u64,
    /// Records that it has read.
    pub records_done: u64,
    /// Bytes that it has written.
    pub bytes_written: u64,
    /// How long it has been running.
    pub elapsed: Duration,
}

impl MergeProgress {
    /// How long it will take from now on, if it goes on as it did; `None` while there is nothing to go by.
    pub fn remaining(&self) -> Option<Duration> {
        let left = self.records_total.saturating_sub(self.records_done);
        (self.records_done > 0).then(|| self.elapsed.mul_f64(left as f64 / self.records_done as f64))
    }
}

/// The same as it is kept.
#[derive(Debug)]
pub(crate) struct Progress {
    begun: Instant,
    records_total: u64,
    records_done: AtomicU64,
    bytes_written: AtomicU64,
}

impl Progress {
    pub(crate) fn tell(&self) -> MergeProgress {
        MergeProgress {
            records_total: self.records_total,
            records_done: self.records_done.load(Ordering::Relaxed),
            bytes_written: self.bytes_written.load(Ordering::Relaxed),
            elapsed: self.begun.elapsed(),
        }
    }
}

/// What a merge goes by.
pub(super) struct Pace<'a> {
    compactor: &'a Compactor,
    /// How often merges had been cancelled when this one was asked for.
    cancels: u64,
    rate: Option<NonZeroU64>,
}

impl<'a> Pace<'a> {
    pub(super) fn new(core: &'a Core, rate: Option<NonZeroU64>) -> Pace<'a> {
        let compactor = &core.compactor;
        Pace { compactor, cancels: compactor.cancels.load(Ordering::Acquire), rate }
    }

    /// Whether the merge may go on.
    pub(super) fn check(&self) -> Result<()> {
        self.compactor.check_since(self.cancels)
    }

    /// The merge of so many records begins.
    pub(super) fn begin(self, records_total: u64) -> Running<'a> {
        let begun = Instant::now();
        let (records_done, bytes_written) = (AtomicU64::new(0), AtomicU64::new(0));
        let progress = Arc::new(Progress { begun, records_total, records_done, bytes_written });
        *self.compactor.progress.lock() = Some(progress.clone());
        Running { pace: self, progress }
    }
}

/// A merge under way.
pub(super) struct Running<'a> {
    pace: Pace<'a>,
    progress: Arc<Progress>,
}

impl Running<'_> {
    /// Another record was read.
    pub(super) fn read(&self) {
        self.progress.records_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the merge may go on.
    pub(super) fn check(&self) -> Result<()> {
        self.pace.check()
    }

    /// So many bytes were written: waits until they may have been, where there is a limit.
    ///
    /// # Errors
    /// `Cancelled` or `Closed`, where the merge is to be given up.
    pub(super) async fn wrote(&self, bytes: usize) -> Result<()> {
        let before = self.progress.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
        let Some(rate) = self.pace.rate else { return Ok(()) };
        let due = Duration::from_secs_f64((before + bytes as u64) as f64 / rate.get() as f64);
        loop {
            let ahead = due.saturating_sub(self.progress.begun.elapsed());
            if ahead < NAP_MIN {
                return Ok(());
            }
            tokio::time::sleep(ahead.min(NAP_MAX)).await;
            self.pace.check()?;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.pace.compactor.progress.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_told_by_what_was_done() {
        let seconds = Duration::from_secs;
        let at =
            |records_done| MergeProgress { records_total: 400, records_done, bytes_written: 1, elapsed: seconds(10) };
        assert_eq!(at(0).remaining(), None);
        assert_eq!(at(100).remaining(), Some(seconds(30)));
        assert_eq!(at(400).remaining(), Some(Duration::ZERO));
        assert_eq!(at(500).remaining(), Some(Duration::ZERO));
    }
}
