//! What all segments of a database have in common: whose they are, where they are read from, and what of them is kept.

use super::cache::Cache;
use super::walks::Walks;
use crate::stores::Stores;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The segments' backend and cache.
#[derive(Debug)]
pub(crate) struct Files {
    // Constant after construction.
    pub(super) stores: Stores,
    pub(super) database: [u8; 16],
    pub(super) hash_seed: u64,
    /// Each read takes its time.
    pub(super) remote: bool,
    /// Segments may be deleted by another process before they are opened.
    pub(super) may_vanish: bool,
    /// Memory for all that is done with them, in bytes, if it is divided here.
    divided: Option<u64>,

    // Each guards itself.
    pub(crate) cache: Cache,
    pub(super) walks: Walks,
    pub(crate) filters: FilterCounts,
    /// Memory of the fences that are kept, in bytes.
    kept: AtomicU64,
    /// Bytes of the filters that have been read and are mapped.
    mapped_filters: AtomicU64,
    /// Bytes of the filters of segments that are open and not mapped.
    unmapped_filters: AtomicU64,
    /// The backend does not map segments, or one was met that it does not map.
    unmapped: AtomicBool,
    serials: AtomicU64,
}

/// How often filters were asked, and how often in vain.
#[derive(Debug, Default)]
pub(crate) struct FilterCounts {
    probes: AtomicU64,
    false_positives: AtomicU64,
}

impl Files {
    /// The segments of `database` in `stores`, with `cache_bytes` for what is read of them where it is not mapped.
    pub(crate) fn new(stores: Stores, database: [u8; 16], hash_seed: u64, cache_bytes: u64) -> Files {
        let remote = stores.plain().capabilities().remote;
        let files = Files {
            remote,
            stores,
            database,
            hash_seed,
            may_vanish: false,
            divided: None,
            cache: Cache::new(cache_bytes),
            walks: Walks::new(cache_bytes, true),
            filters: FilterCounts::default(),
            kept: AtomicU64::new(0),
            mapped_filters: AtomicU64::new(0),
            unmapped_filters: AtomicU64::new(0),
            // What is far away is never mapped.
            unmapped: AtomicBool::new(remote),
            serials: AtomicU64::new(0),
        };
        files.grant(cache_bytes);
        files
    }

    /// These, of a reader that holds no segment which it has not read from.
    pub(crate) fn that_may_vanish(self) -> Files {
        Files { may_vanish: true, ..self }
    }

    /// These, where so many bytes of memory are for all that is done with the database, and what of that is for the cache will be
    /// said.
    pub(crate) fn within(self, memory: u64) -> Files {
        Files { walks: Walks::new(memory, false), ..self }
    }

    /// These, which divide so many bytes of memory themselves: a quarter is left to the allocator, some is set aside for walks, and
    /// the cache has what fences do not take of the rest, but an eighth of it all at least.
    pub(crate) fn that_divide(self, memory: u64) -> Files {
        let files = Files { divided: Some(memory), walks: Walks::new(memory, true), ..self };
        files.divide();
        files
    }

    fn divide(&self) {
        if let Some(memory) = self.divided {
            let others = memory / 4 + self.walks.set_aside() + self.kept();
            self.grant(memory.saturating_sub(others).max(memory / 8));
        }
    }

    /// Has the cache take so many bytes, but for what it lends.
    pub(crate) fn grant(&self, bytes: u64) {
        self.walks.grant(&self.cache, bytes);
    }

    /// Lends `now` bytes of the cache to a walk that has had `before`.
    pub(super) fn lend(&self, before: u64, now: u64) {
        self.walks.lend(&self.cache, before, now);
    }

    /// Bytes that walks hold.
    pub(crate) fn lent(&self) -> u64 {
        self.walks.lent()
    }

    /// Tells a segment from all others in the cache.
    pub(super) fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether segments are not mapped, as far as is known, so that the cache is of use.
    pub(crate) fn unmapped(&self) -> bool {
        self.unmapped.load(Ordering::Relaxed)
    }

    /// A segment was opened that is not mapped, whose filter is so long.
    pub(super) fn note_unmapped(&self, filter: u64) {
        self.unmapped.store(true, Ordering::Relaxed);
        self.unmapped_filters.fetch_add(filter, Ordering::Relaxed);
    }

    /// Whether the filter of segment `serial`, so long, stays in the cache for long enough to be worth its read. Half of the
    /// cache is for filters; where all of them take more, it is for those of some segments, always the same.
    pub(super) fn filter_stays(&self, serial: u64, filter: u64) -> bool {
        let (all, room) = (self.unmapped_filters.load(Ordering::Relaxed), self.cache.capacity() / 2);
        let drawn = (serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as f64 / f64::from(u32::MAX);
        self.cache.takes(filter) && all as f64 * drawn <= room as f64
    }

    /// Memory of the fences that are kept, in bytes.
    pub(crate) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    pub(super) fn keep(&self, bytes: u64) {
        self.kept.fetch_add(bytes, Ordering::Relaxed);
        self.divide();
    }

    /// Bytes of the filters that have been read and are mapped.
    pub(crate) fn mapped_filters(&self) -> u64 {
        self.mapped_filters.load(Ordering::Relaxed)
    }

    pub(super) fn keep_mapped_filter(&self, bytes: u64) {
        self.mapped_filters.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A segment is let go, which kept so much, and whose filters, mapped or not, were so long.
    pub(super) fn let_go(&self, kept: u64, mapped_filter: u64, unmapped_filter: u64) {
        self.kept.fetch_sub(kept, Ordering::Relaxed);
        self.mapped_filters.fetch_sub(mapped_filter, Ordering::Relaxed);
        self.unmapped_filters.fetch_sub(unmapped_filter, Ordering::Relaxed);
        self.divide();
    }
}

impl FilterCounts {
    /// Counts what one lookup has asked.
    pub(crate) fn add(&self, probes: u32, false_positives: u32) {
        self.probes.fetch_add(u64::from(probes), Ordering::Relaxed);
        if false_positives > 0 {
            self.false_positives.fetch_add(u64::from(false_positives), Ordering::Relaxed);
        }
    }

    pub(crate) fn probes(&self) -> u64 {
        self.probes.load(Ordering::Relaxed)
    }

    pub(crate) fn false_positives(&self) -> u64 {
        self.false_positives.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use halite_backends::Memory;
    use std::sync::Arc;

    #[test]
    fn as_many_filters_stay_as_half_of_the_cache_holds() {
        const FILTER: u64 = 10_000;
        let files = Files::new(Stores::untold(Arc::new(Memory::new())), [0; 16], 1, 1 << 20);
        let staying = || (0..1000).filter(|&serial| files.filter_stays(serial, FILTER)).count();
        files.note_unmapped(500_000);
        assert_eq!(staying(), 1000);
        files.note_unmapped(1_500_000);
        assert!((200..320).contains(&staying()), "{}", staying());
        files.let_go(0, 0, 1_500_000);
        assert_eq!(staying(), 1000);
        assert!(!files.filter_stays(1, 1 << 17), "it would never be kept");
        files.cache.set_capacity(0);
        assert_eq!(staying(), 0);
    }
}
