//! The cache of what was read of segments that are not mapped: filters, index blocks, records.
//!
//! One cache for all, by bytes, so that what is asked for most displaces the rest. What is mapped is in the kernel's
//! page cache already and never enters.

use crate::format::filter::Filter;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::{Cache as Inner, DefaultLifecycle};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// What an entry takes beside its bytes, about: key, value's head, places in tables.
const ENTRY_LEN: u64 = 128;
/// What most entries are about as long as: it sizes the cache's tables, and nothing depends on it.
const USUAL_LEN: u64 = 2 << 10;
const SHARDS: usize = 16;

/// A place in a segment: its serial, and an offset in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) segment: u64,
    pub(super) offset: u64,
}

#[derive(Clone, Debug)]
enum Part {
    Bytes(Bytes),
    Filter(Filter),
}

#[derive(Clone, Copy, Debug)]
struct ByBytes;

impl Weighter<Key, Part> for ByBytes {
    fn weight(&self, _: &Key, part: &Part) -> u64 {
        let len = match part {
            Part::Bytes(bytes) => bytes.len(),
            Part::Filter(filter) => filter.len(),
        };
        len as u64 + ENTRY_LEN
    }
}

/// Mixes two numbers that nobody chooses with intent, and always in the same way: what is evicted must be the same in
/// each run of a simulation.
#[derive(Clone, Copy, Debug, Default)]
struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

type ByPlace = Inner<Key, Part, ByBytes, BuildHasherDefault<Mix>>;

/// See the [module](self).
pub(crate) struct Cache {
    parts: ByPlace,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Cache {
    /// A cache of so many bytes. With 0 it holds nothing.
    pub(super) fn new(bytes: u64) -> Cache {
        let items = usize::try_from(bytes / USUAL_LEN).unwrap_or(usize::MAX).clamp(SHARDS, 1 << 20);
        let mut options = quick_cache::OptionsBuilder::new();
        options.estimated_items_capacity(items).weight_capacity(bytes).shards(SHARDS);
        let options = options.build().expect("both capacities are given");
        let parts = Inner::with_options(options, ByBytes, BuildHasherDefault::default(), DefaultLifecycle::default());
        Cache { parts, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    fn get(&self, key: Key) -> Option<Part> {
        let found = self.parts.get(&key);
        let count = if found.is_some() { &self.hits } else { &self.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(super) fn bytes(&self, key: Key) -> Option<Bytes> {
        match self.get(key)? {
            Part::Bytes(bytes) => Some(bytes),
            Part::Filter(_) => None,
        }
    }

    pub(super) fn filter(&self, key: Key) -> Option<Filter> {
        match self.get(key)? {
            Part::Filter(filter) => Some(filter),
            Part::Bytes(_) => None,
        }
    }

    /// Keeps `bytes`, which own their memory alone, if they are worth it.
    pub(super) fn keep_bytes(&self, key: Key, bytes: &Bytes) {
        self.parts.insert(key, Part::Bytes(bytes.clone()));
    }

    /// Lets go of what is kept there.
    pub(super) fn forget(&self, key: Key) {
        self.parts.remove(&key);
    }

    /// Whether it has room for a part of so many bytes.
    pub(super) fn takes(&self, len: u64) -> bool {
        len + ENTRY_LEN <= self.capacity() / SHARDS as u64
    }

    pub(super) fn keep_filter(&self, key: Key, filter: &Filter) {
        self.parts.insert(key, Part::Filter(filter.clone()));
    }

    /// Takes other bytes as the limit, and evicts what is too much.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        if bytes != self.capacity() {
            self.parts.set_capacity(bytes);
        }
    }

    /// Bytes it may take.
    pub(crate) fn capacity(&self) -> u64 {
        self.parts.capacity()
    }

    /// Bytes it takes.
    pub(crate) fn len(&self) -> u64 {
        self.parts.weight()
    }

    pub(crate) fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    pub(crate) fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("len", &self.len()).field("capacity", &self.capacity()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        Key { segment: number % 7, offset: number }
    }

    #[test]
    fn it_stays_within_its_bytes_whatever_they_are() {
        let cache = Cache::new(1 << 20);
        for capacity in [1 << 20, 100 << 10, 0, 300 << 10] {
            cache.set_capacity(capacity);
            for number in 0..3000 {
                cache.keep_bytes(key(number), &Bytes::from(vec![1; number as usize % 5000]));
                assert!(cache.len() <= cache.capacity());
            }
            assert!(capacity == 0 || cache.len() > capacity / 4, "{} of {capacity}", cache.len());
            // Each shard has its share, rounded up.
            assert!(cache.capacity() <= capacity + SHARDS as u64);
        }
    }

    #[test]
    fn what_is_kept_comes_back() {
        let cache = Cache::new(1 << 20);
        let long = 60_000;
        assert!(cache.takes(long) && !cache.takes(2 * long));
        for (number, len) in [(9, long), (10, 2 * long)] {
            cache.keep_bytes(key(number), &Bytes::from(vec![1; len as usize]));
            assert_eq!(cache.parts.peek(&key(number)).is_some(), cache.takes(len));
        }
        let kept = Bytes::from_static(b"kept");
        cache.keep_bytes(key(1), &kept);
        assert_eq!((cache.bytes(key(1)), cache.bytes(key(8))), (Some(kept), None));
        assert_eq!((cache.hits(), cache.misses()), (1, 1));
    }

    #[test]
    fn nothing_fits_into_nothing() {
        let cache = Cache::new(0);
        cache.keep_bytes(key(1), &Bytes::new());
        assert_eq!((cache.bytes(key(1)), cache.len()), (None, 0));
    }
}
