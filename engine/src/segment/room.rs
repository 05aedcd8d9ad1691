//! How long the tail of a log can become at most: known while records come, so that room for it is set aside before
//! they are taken, and a log can be sealed on a full disk too.

use crate::format::filter::{BITS_MAX, BLOCK_LEN as FILTER_BLOCK_LEN};
use crate::format::footer::FOOTER_LEN;
use crate::format::varint;

/// Keys from this length on are counted twice, as each may be a fence as well. The fences of shorter ones, with what a
/// block holds besides entries, are less than a [`SHARE`]th of the 4 KiB of their blocks.
const LONG_KEY: u64 = 256;
const SHARE: u64 = 14;

/// Of an entry: flags, offset, seq (there are fewer than 2^32 in a segment), a restart point's share.
const ENTRY: u64 = 1 + 5 + 5 + 1;
/// Of a hint: fingerprint, and a gap of marks. (A gap of superseded records takes what they were counted for.)
const HINT: u64 = 5 + 2;
/// Of the filter.
const FILTER: u64 = BITS_MAX as u64 / 8;
/// Of a block that is not full, or of one key: its fence's lengths, restart points, checksum.
const BLOCK: u64 = 8 + 12;
/// Of the statistics, their keys left out.
const STATISTICS: u64 = 86;

/// An upper bound of the length of a tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TailRoom {
    entries: u64,
    longest_key: u64,
}

impl TailRoom {
    /// Counts a record of `len` bytes.
    #[inline]
    pub(crate) fn add(&mut self, key_len: usize, len: usize, expires_at: Option<u64>) {
        let (key, len) = (key_len as u64, len as u64);
        let lens = 2 * varint::len(key) + varint::len(len) + varint::len(2 * len + 1);
        let fence = if key < LONG_KEY { 0 } else { BLOCK + key };
        self.entries +=
            ENTRY + HINT + FILTER + lens as u64 + expires_at.map_or(0, |at| varint::len(at) as u64) + key + fence;
        self.longest_key = self.longest_key.max(key);
    }

    /// The bound for the records of both.
    pub(crate) fn and(self, other: TailRoom) -> TailRoom {
        TailRoom { entries: self.entries + other.entries, longest_key: self.longest_key.max(other.longest_key) }
    }

    /// The bound in bytes.
    pub(crate) fn bytes(self) -> u64 {
        // The last fence and the statistics hold three keys; the last block need not be full.
        let rest = BLOCK + LONG_KEY + STATISTICS + 3 * self.longest_key + (FILTER_BLOCK_LEN + FOOTER_LEN) as u64;
        self.entries + self.entries / SHARE + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::{Kind, NewRecord};
    use crate::format::fuzz::Dice;
    use crate::format::header::Layout;
    use crate::hash::hash;
    use crate::segment::testing;
    use crate::segment::{DenseEntry, TailBuilder};
    use std::collections::BTreeMap;

    /// The bound, and the length that came of it.
    async fn bound_and_len(
        keys: impl Iterator<Item = Vec<u8>>,
        value_len: usize,
        expires_at: Option<u64>,
    ) -> (u64, u64) {
        let header = testing::header(1, Layout::Dense, 1);
        let mut room = TailRoom::default();
        let mut offset = 128_u64;
        let mut entries = BTreeMap::new();
        for (seq, key) in (header.base_seq..).zip(keys) {
            let value = vec![0; value_len];
            let record = NewRecord {
                seq,
                kind: Kind::Put,
                key: &key,
                value: &value,
                compressed: false,
                expires_at,
                last_of_batch: true,
            };
            let len = record.encoded_len(&header.stream());
            room.add(key.len(), len, expires_at);
            // A mark before each.
            offset += 21;
            entries
                .insert(key, DenseEntry { offset: offset as u32, len: len as u32, seq, kind: Kind::Put, expires_at });
            offset += len as u64;
        }
        let mut tail = TailBuilder::new(&header);
        entries.iter().for_each(|(key, entry)| tail.push(key, entry));
        let mut hints: Vec<_> = entries.iter().map(|(key, entry)| (entry.offset, entry.len, hash(1, key))).collect();
        hints.sort_unstable();
        hints.iter().for_each(|&(offset, len, hash)| tail.hint(hash, offset, len));
        let parts = tail.finish(offset).await.parts;
        (room.bytes(), parts.iter().map(|part| part.len() as u64).sum())
    }

    async fn check(keys: impl Iterator<Item = Vec<u8>>, value_len: usize, expires_at: Option<u64>) {
        let (bound, len) = bound_and_len(keys, value_len, expires_at).await;
        assert!(len <= bound, "len={len} bound={bound} value_len={value_len}");
    }

    #[tokio::test]
    async fn no_tail_is_longer() {
        for count in [1, 2, 17, 3000] {
            for expires_at in [None, Some(1), Some(u64::MAX)] {
                // Numbers, which share most of their bytes; and the same few keys again and again.
                check((0..count).map(|n: u32| format!("{n:08}").into_bytes()), 0, expires_at).await;
                check((0..count).map(|n| vec![(n % 7) as u8]), 10, expires_at).await;
            }
        }
        // Keys of one length that share little, and keys that share all but their end.
        for len in [0, 3, 24, 127, 128, 255, 256, 257, 1000, 4000, 5000, 65_536] {
            let mut dice = Dice::new(len as u64 + 1);
            check((0..200).map(|_| (0..len).map(|_| dice.below(256) as u8).collect()), 1, None).await;
            check((0..200_u8).map(|n| [vec![b'x'; len], vec![n]].concat()[1..].to_vec()), 1, None).await;
        }
    }

    #[tokio::test]
    async fn the_bound_is_near() {
        let mut dice = Dice::new(5);
        let keys = (0..20_000).map(|_| (0..24).map(|_| dice.below(256) as u8).collect());
        let (bound, len) = bound_and_len(keys, 150, None).await;
        assert!(bound < len + len / 2, "len={len} bound={bound}");
    }
}
