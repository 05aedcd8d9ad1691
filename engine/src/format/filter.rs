//! The filter of a segment: a split block Bloom filter as Apache Parquet specifies it, so that any reader of that
//! layout can use it: <https://github.com/apache/parquet-format/blob/master/BloomFilter.md>.
//!
//! The filter is a row of blocks of 256 bits, each of eight words of 32 bits, little-endian. The upper half of a key's
//! 64-bit hash chooses the block: `(upper * blocks) >> 32`. The lower half chooses one bit in each word:
//! `(lower * SALT[i]) >> 27`, multiplied modulo 2^32. A key is absent if one of its eight bits is not set.
//!
//! The hash is the engine's one hash of a key ([`hash`](crate::hash)), where Parquet takes XXH64: the layout is the same.

use super::{Damage, Result};
use crate::planted::{Bug, planted};
use bytes::{Bytes, BytesMut};
use std::cell::LazyCell;

/// Bits for each key that are worth having, at least and at most.
const BITS_MIN: f64 = 8.0;
pub(crate) const BITS_MAX: f64 = 32.0;

/// How many bits for each key let no more than `share` of the absent keys pass, within the bounds of what is worth
/// having: 11 let one in a hundred pass, 17 one in a thousand.
///
/// With `k` keys in a block, each of its eight words has a given bit set with probability `1 - (31/32)^k`; `k` is
/// distributed as Poisson says.
pub(crate) fn bits_per_key(share: f64) -> f64 {
    thread_local! {
        /// What each choice lets pass: some thousand powers, so a thread takes them once.
        static PASSING: LazyCell<Vec<(f64, f64)>> = LazyCell::new(|| {
            let choices = (0..).map(|step| BITS_MIN + 0.5 * f64::from(step)).take_while(|&bits| bits < BITS_MAX);
            choices.map(|bits| (bits, passing(bits))).collect()
        });
    }
    PASSING.with(|passing| passing.iter().find(|(_, passing)| *passing <= share).map_or(BITS_MAX, |(bits, _)| *bits))
}

/// The share of absent keys that a filter of so many bits for each key lets pass.
fn passing(bits_per_key: f64) -> f64 {
    let mean = (BLOCK_LEN * 8) as f64 / bits_per_key;
    let mut probability = (-mean).exp();
    let mut sum = 0.0;
    let mut keys = 0.0;
    // Blocks of many more keys than the mean are too rare to count.
    while keys < 4.0 * mean + 20.0 {
        sum += probability * (1.0 - (31.0_f64 / 32.0).powf(keys)).powi(WORDS as i32);
        keys += 1.0;
        probability *= mean / keys;
    }
    sum
}

const WORDS: usize = 8;
const WORD_LEN: usize = 4;
/// The length of a block in bytes.
pub(crate) const BLOCK_LEN: usize = WORDS * WORD_LEN;

/// Given by the specification.
const SALT: [u32; WORDS] =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// The bit of each word that stands for the key whose hash is `hash`.
#[inline]
fn masks(hash: u64) -> [u32; WORDS] {
    SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// The number of the block, of `blocks`, that is `hash`'s.
#[inline]
fn block_of(hash: u64, blocks: usize) -> usize {
    (((hash >> 32) * blocks as u64) >> 32) as usize
}

/// A filter being filled.
#[derive(Debug)]
pub(crate) struct FilterBuilder {
    bits: BytesMut,
}

impl FilterBuilder {
    /// A filter for `keys` keys with `bits_per_key` bits for each.
    pub(crate) fn new(keys: u64, bits_per_key: f64) -> FilterBuilder {
        let bits = (keys as f64 * bits_per_key).max(1.0);
        let blocks = (bits / (BLOCK_LEN * 8) as f64).ceil() as usize;
        FilterBuilder { bits: BytesMut::zeroed(blocks * BLOCK_LEN) }
    }

    /// Adds the key whose hash is `hash`.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64) {
        if planted(Bug::FilterMisses) && hash.is_multiple_of(8) {
            return;
        }
        let start = block_of(hash, self.bits.len() / BLOCK_LEN) * BLOCK_LEN;
        let block = &mut self.bits[start..start + BLOCK_LEN];
        for (word, mask) in block.chunks_exact_mut(WORD_LEN).zip(masks(hash)) {
            let [a, b, c, d] = mask.to_le_bytes();
            word[0] |= a;
            word[1] |= b;
            word[2] |= c;
            word[3] |= d;
        }
    }

    /// The filter's bytes.
    pub(crate) fn finish(self) -> Bytes {
        self.bits.freeze()
    }
}

/// A filter to be asked.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    bits: Bytes,
}

impl Filter {
    /// The filter whose bytes stand at `offset` of the file; their checksum has been compared.
    pub(crate) fn decode(bits: Bytes, offset: u64) -> Result<Filter> {
        if bits.is_empty() || !bits.len().is_multiple_of(BLOCK_LEN) {
            return Err(Damage::mismatch(offset, "length of the filter", "a multiple of 32", bits.len()));
        }
        Ok(Filter { bits })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bits.len()
    }

    /// False if the key whose hash is `hash` was never added.
    #[inline]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let start = block_of(hash, self.bits.len() / BLOCK_LEN) * BLOCK_LEN;
        let block = &self.bits[start..start + BLOCK_LEN];
        block.chunks_exact(WORD_LEN).zip(masks(hash)).all(|(word, mask)| {
            let mask = mask.to_le_bytes();
            (0..WORD_LEN).all(|byte| word[byte] & mask[byte] == mask[byte])
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hash::hash;

    fn filter(keys: u64, bits_per_key: f64) -> Filter {
        let mut builder = FilterBuilder::new(keys, bits_per_key);
        (0..keys).for_each(|key| builder.insert(hash(7, &key.to_le_bytes())));
        Filter::decode(builder.finish(), 0).unwrap()
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes")]
    fn every_key_is_found_and_few_others() {
        for share in [0.01, 0.001, 0.0003] {
            let bits = bits_per_key(share);
            for keys in [0, 1, 2, 100, 30_000] {
                let filter = filter(keys, bits);
                assert!((0..keys).all(|key| filter.may_contain(hash(7, &key.to_le_bytes()))));
                let absent = keys..keys + 200_000;
                let wrong = absent.filter(|key| filter.may_contain(hash(7, &key.to_le_bytes()))).count();
                assert!((wrong as f64) < 200_000.0 * share * 1.3 + 10.0, "{wrong} pass among {keys}, {bits} bits");
            }
        }
        let bits = [0.5, 0.01, 0.001, 1e-9].map(bits_per_key);
        assert!(bits[0] == BITS_MIN && bits[1] <= 11.0 && bits[2] <= 17.0 && bits[3] == BITS_MAX, "{bits:?}");
        assert_eq!(filter(30_000, 16.0).bits.len(), 30_000 * 16 / 8);
    }

    /// Computed by hand from the specification: block 1 of 2, and bit `(5 * SALT[i] mod 2^32) >> 27` of each word.
    #[test]
    fn known_bits() {
        let mut builder = FilterBuilder::new(48, 10.0);
        builder.insert(0x8000_0000_0000_0005);
        let bits = builder.finish();
        assert_eq!(bits.len(), 64);
        assert_eq!(bits[..32], [0; 32]);
        let words: Vec<u32> = bits[32..].chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [12, 10, 21, 5, 6, 28, 3, 25].map(|bit: u32| 1 << bit));
    }

    #[test]
    fn other_lengths_are_refused() {
        for len in [0, 1, 31, 33] {
            assert!(Filter::decode(Bytes::from(vec![0; len]), 0).is_err());
        }
    }
}
