//! The filter of a segment: a split block Bloom filter as Apache Parquet specifies it, so that any reader of that
//! layout can use it: <https://github.com/apache/parquet-format/blob/master/BloomFilter.md>.
//!
//! The filter is a row of blocks of 256 bits, each of eight words of 32 bits, little-endian. The upper half of a key's
//! 64-bit hash chooses the block: `(upper * blocks) >> 32`. The lower half chooses one bit in each word:
//! `(lower * SALT[i]) >> 27`, multiplied modulo 2^32. A key is absent if one of its eight bits is not set.
//!
//! The hash is the engine's one hash of a key ([`hash`](crate::hash)), where Parquet takes XXH64: the layout is the same.

use super::{Damage, Result};
use bytes::{Bytes, BytesMut};

/// Bits for each key. 10.5 let about one in a hundred absent keys pass.
pub(crate) const BITS_PER_KEY: f64 = 10.5;

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
    fn every_key_is_found_and_few_others() {
        for keys in [0, 1, 2, 100, 30_000] {
            let filter = filter(keys, BITS_PER_KEY);
            assert!((0..keys).all(|key| filter.may_contain(hash(7, &key.to_le_bytes()))));
            let absent = keys..keys + 100_000;
            let wrong = absent.filter(|key| filter.may_contain(hash(7, &key.to_le_bytes()))).count();
            assert!(wrong < 1500, "{wrong} of 100000 absent keys pass among {keys}");
        }
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
