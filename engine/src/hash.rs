//! The one hash of a key, from which fingerprint, memtable position and filter bits are taken.
//!
//! XXH3-64 with the database's seed: specified, stable, and part of the file format (filters and hints hold bits of
//! it). <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The hash of `key` in the database whose hash seed is `seed`.
#[inline]
pub(crate) fn hash(seed: u64, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, seed)
}

/// The bits of a key's hash that the keydir and the hints keep: the upper 40.
///
/// A hint only: two keys may share one, so whoever finds a fingerprint reads the record and compares the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) const BITS: u32 = 40;

    #[inline]
    pub(crate) fn of(hash: u64) -> Fingerprint {
        Fingerprint(hash >> (64 - Self::BITS))
    }

    /// From its 40 bits, as stored in hints; higher bits are ignored.
    #[inline]
    pub(crate) fn from_bits(bits: u64) -> Fingerprint {
        Fingerprint(bits & ((1 << Self::BITS) - 1))
    }

    #[inline]
    pub(crate) fn bits(self) -> u64 {
        self.0
    }
}
