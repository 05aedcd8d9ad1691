//! What walks over segments that are far away take of memory.
//!
//! A walk, a scan's or a merge's, holds what it reads ahead. All walks together have an eighth of the budget for that, of which each
//! takes two thirds of what the others leave: what is left shrinks with each that comes, and is never nothing. (So do queues
//! that share the memory of a switch: Choudhury and Hahne, "Dynamic queue length thresholds in a shared memory ATM switch",
//! 1996.) A reader sets half of that aside; else the cache lends it, and has it back as the walk goes on.
//!
//! What is under way at once is limited too, as a connection that receives much has buffers of some hundred KiB beside what
//! was asked for: [long reads](LongRead) are begun in the order in which they come, those of merges apart from all others, so
//! that nobody waits behind a merge.
//!
//! # Concurrency
//! Who is not driven by a runtime does not wait, and keeps nobody waiting: a read that nobody polls would do so for ever.

use super::cache::Cache;
use super::{Files, Segment};
use halite_backends::Purpose;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};

/// What a walk may read ahead of what the others leave is twice what is left then: two thirds of it, if there is no other.
const OVER_LEFT: u64 = 2;
/// Of the budget, the share of all walks.
const SHARE: u64 = 8;
/// Memory for which one long read may be under way at once,
const MEMORY_OF_READ: u64 = 4 << 20;
/// and how many are at least and at most: as many as an object store takes at once.
const LONG_READS: (u64, u64) = (4, 64);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Walks {
    // Constant after construction.
    /// Memory for all that walks read ahead, in bytes, and how much of it is set aside.
    memory: u64,
    set_aside: u64,
    long_reads_max: usize,

    // Each guards itself.
    shares: Mutex<Shares>,
    reads: Semaphore,
    merges: Semaphore,
}

/// What the cache would have, and what walks hold.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    granted: u64,
    lent: u64,
}

/// Leave to read much at once: it is under way until this is dropped.
#[derive(Debug)]
#[must_use = "while it is held a read counts as under way"]
pub(crate) struct LongRead<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Walks {
    /// A share of `total` bytes, which the cache lends, or half of it where the other half is set aside.
    pub(super) fn new(total: u64, is_set_aside: bool) -> Walks {
        let memory = total / SHARE;
        let long_reads_max = (total / MEMORY_OF_READ).clamp(LONG_READS.0, LONG_READS.1) as usize;
        Walks {
            memory,
            set_aside: if is_set_aside { memory / 2 } else { 0 },
            long_reads_max,
            shares: Mutex::default(),
            reads: Semaphore::new(long_reads_max),
            merges: Semaphore::new(long_reads_max / 2),
        }
    }

    /// Bytes that are set aside.
    pub(super) fn set_aside(&self) -> u64 {
        self.set_aside
    }

    /// Long reads that may be under way at once.
    pub(super) fn long_reads_max(&self) -> usize {
        self.long_reads_max
    }

    /// Waits until one more long read may be under way: of a merge, or of a reader.
    pub(super) async fn long_read(&self, merges: bool) -> LongRead<'_> {
        let reads = if merges { &self.merges } else { &self.reads };
        match Handle::try_current() {
            // They are never closed.
            Ok(_) => LongRead { _permit: reads.acquire().await.ok() },
            Err(_) => LongRead { _permit: None },
        }
    }

    /// Bytes that one walk may read ahead as things stand, and have read ahead: no more than the cache can lend.
    pub(super) fn ahead(&self) -> u64 {
        let Shares { granted, lent } = *self.shares.lock();
        self.memory.min(granted.saturating_add(self.set_aside)).saturating_sub(lent) * OVER_LEFT
    }

    /// About as many as it may go over beside that.
    pub(super) fn over(&self) -> u64 {
        self.memory / 2
    }

    /// Bytes that walks hold.
    pub(super) fn lent(&self) -> u64 {
        self.shares.lock().lent
    }

    /// Has `cache` take so many bytes, but for what it lends.
    pub(super) fn grant(&self, cache: &Cache, bytes: u64) {
        self.change(cache, |shares| shares.granted = bytes);
    }

    /// Lends `now` bytes to who has had `before`.
    pub(super) fn lend(&self, cache: &Cache, before: u64, now: u64) {
        if before != now {
            self.change(cache, |shares| shares.lent = shares.lent - before + now);
        }
    }

    // Under the lock, so that the last that changes anything has the last word.
    fn change(&self, cache: &Cache, change: impl FnOnce(&mut Shares)) {
        let mut shares = self.shares.lock();
        change(&mut shares);
        cache.set_capacity(shares.granted.saturating_sub(shares.lent.saturating_sub(self.set_aside)));
    }
}

/// What a walk has borrowed, until it is dropped.
#[derive(Debug)]
pub(crate) struct Loan {
    files: Arc<Files>,
    bytes: u64,
}

impl Loan {
    /// Makes it so many bytes.
    pub(crate) fn set(&mut self, bytes: u64) {
        self.files.lend(std::mem::replace(&mut self.bytes, bytes), bytes);
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Segment {
    /// Waits until one more long read of it may be under way, where that takes memory beside what is read.
    pub(crate) async fn long_read(&self) -> Option<LongRead<'_>> {
        if self.is_remote() { Some(self.files.walks.long_read(self.purpose() == Purpose::Merge).await) } else { None }
    }

    /// How many of them may be.
    pub(crate) fn long_reads_max(&self) -> usize {
        if self.is_remote() { self.files.walks.long_reads_max() } else { usize::MAX }
    }

    /// Bytes that a walk may have read ahead as things stand, of all its segments together.
    pub(crate) fn ahead_memory(&self) -> u64 {
        self.files.walks.ahead()
    }

    /// And of those that it goes over, about.
    pub(crate) fn over_memory(&self) -> u64 {
        self.files.walks.over()
    }

    /// What a walk over it has borrowed: nothing as yet.
    pub(crate) fn loan(&self) -> Loan {
        Loan { files: self.files.clone(), bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Stores;
    use futures::FutureExt;
    use halite_backends::Memory;

    fn files(total: u64) -> Arc<Files> {
        let files = Files::new(Stores::untold(Arc::new(Memory::new())), [0; 16], 1, 0);
        Arc::new(files.within(total))
    }

    /// What walks hold that take turns in asking for more, until none gets any.
    fn walked(files: &Arc<Files>, count: usize) -> Vec<u64> {
        let mut loans: Vec<Loan> = (0..count).map(|_| Loan { files: files.clone(), bytes: 0 }).collect();
        for _ in 0..100 {
            for loan in &mut loans {
                let (bytes, may) = (loan.bytes, files.walks.ahead());
                loan.set(if bytes < may { bytes + 1000.min(may - bytes) } else { bytes - 1000.min(bytes - may) });
            }
        }
        loans.iter().map(|loan| loan.bytes).collect()
    }

    #[test]
    fn walks_share_their_memory_and_the_cache_gets_it_back() {
        let files = files(8 * 90_000);
        files.grant(500_000);
        for count in [1, 2, 10] {
            let held = walked(&files, count);
            let (sum, least) = (held.iter().sum::<u64>(), held.iter().min());
            let all = 90_000 * 2 * count as u64 / (2 * count as u64 + 1);
            assert!(sum.abs_diff(all) < 2000, "{held:?}");
            assert!(least.is_some_and(|&least| least > sum / count as u64 / 2), "{held:?}");
            assert_eq!((files.walks.lent(), files.cache.capacity()), (0, 500_000));
        }
        let mut loan = Loan { files: files.clone(), bytes: 0 };
        loan.set(400_000);
        // Each shard of the cache has its share, rounded up.
        assert!(files.cache.capacity().abs_diff(100_000) < 16);
        assert_eq!(files.walks.ahead(), 0);
        files.grant(1_000_000);
        assert!(files.cache.capacity().abs_diff(600_000) < 16);
        loan.set(2_000_000);
        assert_eq!(files.cache.capacity(), 0);
        drop(loan);
        assert_eq!(files.cache.capacity(), 1_000_000);
    }

    #[test]
    fn what_a_reader_has_set_aside_the_cache_need_not_lend() {
        let files = Files::new(Stores::untold(Arc::new(Memory::new())), [0; 16], 1, 0);
        let files = Arc::new(files.that_divide(8 << 20));
        let whole = files.cache.capacity();
        assert!(whole.abs_diff(11 << 19) < 16);
        let mut loan = Loan { files: files.clone(), bytes: 0 };
        loan.set(1 << 19);
        assert_eq!(files.cache.capacity(), whole);
        loan.set(5 << 19);
        assert!(files.cache.capacity().abs_diff(7 << 19) < 16);
        files.keep(2 << 20);
        assert!(files.cache.capacity().abs_diff(3 << 19) < 16);
        drop(loan);
        files.keep(100 << 20);
        assert!(files.cache.capacity().abs_diff(1 << 20) < 16, "an eighth it has, however long fences are");
    }

    #[tokio::test]
    async fn as_many_read_at_once_as_memory_is_for_and_merges_apart() {
        let files = files(32 << 20);
        let mut held = Vec::new();
        for merges in [false, true] {
            let reads = std::iter::from_fn(|| files.walks.long_read(merges).now_or_never());
            held.push(reads.take(100).collect::<Vec<_>>());
        }
        assert_eq!((held[0].len(), held[1].len()), (8, 4));
        held[0].pop();
        assert!(
            files.walks.long_read(false).now_or_never().is_some()
                && files.walks.long_read(true).now_or_never().is_none()
        );
    }

    /// Whoever polls there may stop at any time, and hold up nobody.
    #[test]
    fn outside_of_a_runtime_nobody_waits() {
        let files = files(0);
        let reads: Vec<_> = (0..100).filter_map(|_| files.walks.long_read(false).now_or_never()).collect();
        assert_eq!(reads.len(), 100);
    }
}
