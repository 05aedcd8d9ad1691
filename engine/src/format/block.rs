//! A block of a segment's index: some 4 KiB of entries in key order, searched by halves.
//!
//! An entry covers the newest record of one key in a dense segment, or a *chunk*: one or more neighbouring records of
//! a sorted segment, some 4 KiB in all, under the key of the first.
//!
//! | size | field of an entry |
//! | ---: | --- |
//! | 1..3 | number of bytes that its key shares with the key before it; 0 at a restart point |
//! | 1..3 | number of bytes of its key behind those |
//! | 1 | flags: 1 one put, 2 one tombstone, 9 one put with an expiry, 0 several records |
//! | 1..5 | offset of the (first) record in the segment |
//! | 1..5 | length of the record, or of all together |
//! | 1..10 | of one record: its seq, as a difference to the segment's base seq |
//! | 0 or 1..10 | of one record: its expiry, where the flags say so |
//! | 1..5 | of several records: their number, at least 2 |
//! | | the bytes of the key behind the shared ones |
//!
//! Integers of variable size are [`varint`]s. Every 16th entry, from the first, is a restart point. Behind the entries:
//!
//! | size | field |
//! | ---: | --- |
//! | 4 n | offsets of the restart points in the block |
//! | 4 | their number n, at least 1 |
//! | 4 | checksum of all before it, bound to the segment's salt and the block's offset in the file |

use super::frame::{Kind, Stream};
use super::reader::u32_at;
use super::{KEY_LEN_MAX, checksum, varint};
use crate::Seq;
use bytes::BytesMut;

mod cursor;
#[cfg(test)]
mod tests;

pub(crate) use cursor::BlockCursor;

/// The length at which a block is full. The last entry may lie beyond it.
pub(crate) const BLOCK_LEN: usize = 4 << 10;

/// Entries from one restart point to the next.
const RESTART_INTERVAL: usize = 16;

const CRC_LEN: usize = 4;
const RESTART_LEN: usize = 4;

// The flags. These numbers never change; they are those of a record's frame.
const SEVERAL: u8 = 0;
const ONE_PUT: u8 = 1;
const ONE_TOMBSTONE: u8 = 2;
const HAS_EXPIRY: u8 = 8;

/// What an entry covers: where it lies, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Offset of the (first) record in the segment.
    pub(crate) offset: u32,
    /// Length of the record, or of all together.
    pub(crate) len: u32,
    /// What it is.
    pub(crate) content: Content,
}

impl Span {
    /// The offset at which it ends.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }

    /// The number of its records.
    pub(crate) fn records(&self) -> u32 {
        match self.content {
            Content::One(_) => 1,
            Content::Several(records) => records,
        }
    }
}

/// The records that an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One, of which the index knows all but the value.
    One(Facts),
    /// A chunk of that many: at least two.
    Several(u32),
}

/// What the index tells of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its place in the commit order.
    pub(crate) seq: Seq,
    /// Put or tombstone.
    pub(crate) kind: Kind,
    /// The engine time in milliseconds from which a put counts as deleted; tombstones have none.
    pub(crate) expires_at: Option<u64>,
}

/// Writes blocks.
#[derive(Debug, Default)]
pub(crate) struct BlockBuilder {
    entries: BytesMut,
    restarts: Vec<u32>,
    since_restart: usize,
    last_key: Vec<u8>,
}

impl BlockBuilder {
    /// Adds an entry, whose seq counts from `base_seq`.
    ///
    /// # Panics
    /// Where its key is too long, or not larger than the one before it in the block.
    pub(crate) fn push(&mut self, key: &[u8], span: &Span, base_seq: Seq) {
        assert!(key.len() <= KEY_LEN_MAX, "key of {} bytes", key.len());
        assert!(self.is_empty() || self.last_key.as_slice() < key, "entries come in the order of their keys");
        let shared = if self.is_empty() || self.since_restart == RESTART_INTERVAL {
            self.restarts.push(self.entries.len() as u32);
            self.since_restart = 0;
            0
        } else {
            self.last_key.iter().zip(key).take_while(|(a, b)| a == b).count()
        };
        self.since_restart += 1;

        let out = &mut self.entries;
        varint::put(shared as u64, out);
        varint::put((key.len() - shared) as u64, out);
        put_span(span, base_seq, out);
        out.extend_from_slice(&key[shared..]);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
    }

    /// The length of the block as it stands.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() + self.restarts.len() * RESTART_LEN + RESTART_LEN + CRC_LEN
    }

    /// True while nothing was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.restarts.is_empty()
    }

    /// Appends the block to `out`, its checksum still to be filled in by [`seal`], gives its length and begins anew.
    ///
    /// # Panics
    /// Where nothing was added.
    pub(crate) fn finish(&mut self, out: &mut BytesMut) -> usize {
        assert!(!self.is_empty(), "a block has an entry at least");
        let len = self.len();
        out.reserve(len);
        out.extend_from_slice(&self.entries);
        for restart in &self.restarts {
            out.extend_from_slice(&restart.to_le_bytes());
        }
        out.extend_from_slice(&(self.restarts.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; CRC_LEN]);
        self.entries.clear();
        self.restarts.clear();
        self.since_restart = 0;
        len
    }
}

fn put_span(span: &Span, base_seq: Seq, out: &mut BytesMut) {
    let (flags, number, expires_at) = match span.content {
        Content::One(Facts { seq, kind, expires_at }) => {
            assert!(seq >= base_seq, "seq {seq} below the base {base_seq}");
            let flags = match (kind, expires_at) {
                (Kind::Put, None) => ONE_PUT,
                (Kind::Put, Some(_)) => ONE_PUT | HAS_EXPIRY,
                (Kind::Tombstone, None) => ONE_TOMBSTONE,
                (Kind::Tombstone, Some(_)) => panic!("a tombstone holds a key only"),
                (Kind::RangeTombstone, _) => panic!("no index holds a range tombstone"),
            };
            (flags, seq - base_seq, expires_at)
        }
        Content::Several(records) => {
            assert!(records >= 2, "several records are two at least");
            (SEVERAL, u64::from(records), None)
        }
    };
    out.extend_from_slice(&[flags]);
    varint::put(u64::from(span.offset), out);
    varint::put(u64::from(span.len), out);
    varint::put(number, out);
    if let Some(expires_at) = expires_at {
        varint::put(expires_at, out);
    }
}

/// Fills in the checksum of the block `block`, which will stand at `offset` of the file.
pub(crate) fn seal(stream: &Stream, offset: u64, block: &mut [u8]) {
    let at = block.len() - CRC_LEN;
    let crc = checksum::crc(stream.salt, offset, &block[..at]);
    block[at..].copy_from_slice(&crc.to_le_bytes());
}

/// The checksum with which `block` ends, and what it should be.
fn sums(stream: &Stream, offset: u64, block: &[u8]) -> (u32, u32) {
    let at = block.len() - CRC_LEN;
    (u32_at(block, at), checksum::crc(stream.salt, offset, &block[..at]))
}
