//! The fences of a segment: the first key of each index block, kept in memory, so that one look at one block finds a
//! key's place.
//!
//! For each index block, in order:
//!
//! | size | field |
//! | ---: | --- |
//! | 1..5 | length of the block: a varint |
//! | 1..3 | length of its first key: a varint |
//! | | its first key |
//!
//! and then the length of the segment's last key, and that key. Blocks stand back to back from where the frames end.
//! Their number stands in the footer, and the fences' checksum.

use super::reader::Reader;
use super::{Damage, KEY_LEN_MAX, Result, STREAM_LEN_MAX, varint};
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Writes fences.
#[derive(Debug, Default)]
pub(crate) struct FencesBuilder {
    out: BytesMut,
    count: u64,
}

impl FencesBuilder {
    /// Adds the next block, of `len` bytes, whose first key is `key`.
    pub(crate) fn push(&mut self, key: &[u8], len: usize) {
        varint::put(len as u64, &mut self.out);
        self.put_key(key);
        self.count += 1;
    }

    fn put_key(&mut self, key: &[u8]) {
        assert!(key.len() <= KEY_LEN_MAX, "key of {} bytes", key.len());
        varint::put(key.len() as u64, &mut self.out);
        self.out.extend_from_slice(key);
    }

    /// How many blocks there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// The fences' bytes; `last_key` is the segment's last.
    pub(crate) fn finish(mut self, last_key: &[u8]) -> Bytes {
        self.put_key(last_key);
        self.out.freeze()
    }
}

/// The fences of a segment, in memory.
#[derive(Debug)]
pub(crate) struct Fences {
    bytes: Bytes,
    fences: Vec<Fence>,
    /// Where the index blocks stand in the file.
    index: Range<u64>,
    last_key: Range<usize>,
}

/// A block: its place among the index blocks, and that of its first key among the fences' bytes.
#[derive(Debug)]
struct Fence {
    block: u32,
    key: u32,
    key_len: u32,
}

impl Fence {
    #[inline]
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.key as usize..][..self.key_len as usize]
    }
}

impl Fences {
    /// The fences whose bytes stand at `offset` of the file, of `count` blocks that fill `index`, a range of the file.
    /// Their checksum has been compared.
    pub(crate) fn decode(bytes: Bytes, offset: u64, index: Range<u64>, count: u64) -> Result<Fences> {
        if bytes.len() as u64 > STREAM_LEN_MAX || index.end > STREAM_LEN_MAX {
            return Err(Damage::new(offset, "index or fences are longer than a segment"));
        }
        let mut reader = Reader::new(&bytes);
        // A fence takes two bytes at least, so a wrong count reserves no more than the bytes justify.
        let mut fences = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len() / 2));
        let mut block_at = index.start;
        let damage = |at: usize, what| Damage::new(offset + at as u64, what);
        for _ in 0..count {
            let at = reader.at();
            let fence = read_fence(&mut reader, block_at, &index);
            let (fence, block_end) =
                fence.ok_or_else(|| damage(at, "fence holds an impossible number or is cut short"))?;
            if fences.last().is_some_and(|before: &Fence| before.key(&bytes) >= fence.key(&bytes)) {
                return Err(damage(at, "fences are out of order"));
            }
            block_at = block_end;
            fences.push(fence);
        }
        if block_at != index.end {
            return Err(Damage::mismatch(offset, "end of the index blocks", index.end, block_at));
        }
        let at = reader.at();
        let last_key = read_key(&mut reader).ok_or_else(|| damage(at, "last key is cut short"))?;
        if !reader.rest().is_empty() {
            return Err(damage(reader.at(), "bytes behind the last key"));
        }
        Ok(Fences { bytes, fences, index, last_key })
    }

    /// How many blocks there are.
    pub(crate) fn len(&self) -> usize {
        self.fences.len()
    }

    /// Where block `index` stands in the file.
    #[inline]
    pub(crate) fn block(&self, index: usize) -> Range<u64> {
        let start = |fence: &Fence| self.index.start + u64::from(fence.block);
        let end = self.fences.get(index + 1).map_or(self.index.end, start);
        start(&self.fences[index])..end
    }

    /// The first key of block `index`.
    #[inline]
    pub(crate) fn first_key(&self, index: usize) -> &[u8] {
        self.fences[index].key(&self.bytes)
    }

    /// The segment's last key.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.bytes[self.last_key.clone()]
    }

    /// The last block whose first key is `key` or smaller; the first block if there is none.
    #[inline]
    pub(crate) fn find(&self, key: &[u8]) -> usize {
        self.fences.partition_point(|fence| fence.key(&self.bytes) <= key).saturating_sub(1)
    }

    /// Memory that they take beside their bytes in the file, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.fences.capacity() * size_of::<Fence>()
    }

    /// Their bytes in the file.
    pub(crate) fn file_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The fence of the block at `block_at`, and where that block ends.
fn read_fence(reader: &mut Reader<'_>, block_at: u64, index: &Range<u64>) -> Option<(Fence, u64)> {
    let len = reader.varint().filter(|&len| len > 0)?;
    let block_end = block_at.checked_add(len).filter(|&end| end <= index.end)?;
    let key = read_key(reader)?;
    let block = u32::try_from(block_at - index.start).ok()?;
    Some((Fence { block, key: key.start as u32, key_len: key.len() as u32 }, block_end))
}

fn read_key(reader: &mut Reader<'_>) -> Option<Range<usize>> {
    let len = reader.count(KEY_LEN_MAX)?;
    let start = reader.at();
    reader.take(len)?;
    Some(start..reader.at())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::fuzz;

    const BLOCKS: [(&[u8], usize); 4] = [(b"", 100), (b"b", 4096), (b"bb", 70_000), (b"m", 16)];
    const INDEX: Range<u64> = 5000..5000 + 100 + 4096 + 70_000 + 16;

    fn encode(blocks: &[(&[u8], usize)]) -> Vec<u8> {
        let mut builder = FencesBuilder::default();
        blocks.iter().for_each(|(key, len)| builder.push(key, *len));
        assert_eq!(builder.count(), blocks.len() as u64);
        builder.finish(b"zz").to_vec()
    }

    fn decode(bytes: &[u8], count: u64) -> Result<Fences> {
        Fences::decode(Bytes::copy_from_slice(bytes), 80_000, INDEX, count)
    }

    #[test]
    fn fences_come_back_and_are_found() {
        let fences = decode(&encode(&BLOCKS), 4).unwrap();
        assert_eq!((fences.len(), fences.last_key()), (4, &b"zz"[..]));
        assert_eq!((fences.first_key(2), fences.block(2)), (&b"bb"[..], 9196..79_196));
        for (key, index) in
            [(&b""[..], 0), (b"a", 0), (b"b", 1), (b"ba", 1), (b"bb", 2), (b"l", 2), (b"m", 3), (b"\xff", 3)]
        {
            assert_eq!(fences.find(key), index, "{key:?}");
        }
    }

    #[test]
    fn known_bytes() {
        assert_eq!(encode(&BLOCKS[..2]), *b"\x64\x00\x80\x20\x01b\x02zz");
    }

    #[test]
    fn what_cannot_be_is_damage() {
        let bytes = encode(&BLOCKS);
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut], 4).is_err());
        }
        for count in [0, 3, 5, u64::MAX] {
            assert!(decode(&bytes, count).is_err(), "{count}");
        }
        let disordered = [(&b"b"[..], 100), (b"b", 4096), (b"bb", 70_000), (b"m", 16)];
        assert!(decode(&encode(&disordered), 4).unwrap_err().what.contains("out of order"));
    }

    #[test]
    fn mutated_fences() {
        fuzz::mutate(&[encode(&BLOCKS), encode(&BLOCKS[..1])], 100_000, |bytes| {
            if let Ok(fences) = decode(bytes, 4) {
                assert!((0..4).all(|index| fences.block(index).end <= INDEX.end));
                assert!(fences.find(b"bb") < 4);
            }
        });
    }
}
