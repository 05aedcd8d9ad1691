//! Seals a log in place: index, filter and footer are appended to what is there, so that nothing is written twice.
//!
//! The caller goes over the records twice, in two orders: that of their keys, then that of the file. Each call is cheap,
//! so the caller yields when it likes.

use super::index::IndexBuilder;
use crate::Seq;
use crate::format::block::{Content, Facts, Span};
use crate::format::frame::Kind;
use crate::format::header::{Header, Layout};
use crate::format::manifest::SegmentMeta;
use crate::format::names::SegmentId;
use bytes::Bytes;
use std::ops::Range;

/// The newest record of a key in a segment that is being sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DenseEntry {
    /// Offset of the record in the segment.
    pub(crate) offset: u32,
    /// Length of the whole record.
    pub(crate) len: u32,
    /// Its place in the commit order.
    pub(crate) seq: Seq,
    /// Put or tombstone.
    pub(crate) kind: Kind,
    /// The engine time in milliseconds from which a put counts as deleted.
    pub(crate) expires_at: Option<u64>,
}

/// What stands behind a segment's records: of a log, what is to be appended to it.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// The bytes up to the end of the file, in pieces: index blocks, then each other part in one.
    pub(crate) parts: Vec<Bytes>,
    /// What the manifest is to say of the segment.
    pub(crate) meta: SegmentMeta,
}

impl Tail {
    /// These bytes of the file; `None` where they are not all in the tail.
    pub(crate) fn bytes(&self, range: Range<u64>) -> Option<Bytes> {
        let len: u64 = self.parts.iter().map(|part| part.len() as u64).sum();
        let begin = self.meta.len.checked_sub(len)?;
        let from = range.start.checked_sub(begin)? as usize;
        let to = range.end.checked_sub(begin).filter(|&to| to <= len)? as usize;
        let (mut found, mut at) = (Vec::new(), 0);
        for part in &self.parts {
            let (first, last) = (from.clamp(at, at + part.len()), to.clamp(at, at + part.len()));
            if first < last {
                found.push(part.slice(first - at..last - at));
            }
            at += part.len();
        }
        Some(if let [all] = &found[..] { all.clone() } else { found.concat().into() })
    }
}

/// Builds a [`Tail`].
#[derive(Debug)]
pub(crate) struct TailBuilder {
    id: SegmentId,
    index: IndexBuilder,
    hints: u64,
}

impl TailBuilder {
    /// Begins the tail of the log that begins with `header`.
    ///
    /// # Panics
    /// Where the header is that of a sorted segment.
    pub(crate) fn new(header: &Header) -> TailBuilder {
        assert_eq!(header.layout, Layout::Dense, "a log holds its records in the order of their seqs");
        TailBuilder { id: header.id, index: IndexBuilder::new(header.stream(), Layout::Dense), hints: 0 }
    }

    /// Lets the filter pass no more than `share` of the absent keys: see [`filters`](crate::segment::filters).
    pub(crate) fn let_pass(mut self, share: f64) -> TailBuilder {
        self.index.let_pass(share);
        self
    }

    /// Adds the newest record of `key`. Keys come in order, all before the first [`hint`](TailBuilder::hint).
    ///
    /// # Panics
    /// Where they do not.
    pub(crate) fn push(&mut self, key: &[u8], entry: &DenseEntry) {
        assert!(self.hints == 0, "keys come before hints");
        assert!(self.index.max_key().is_none_or(|last| last < key), "keys come in order, each once");
        let DenseEntry { offset, len, seq, kind, expires_at } = *entry;
        let facts = Facts { seq, kind, expires_at };
        self.index.count(&facts, len);
        self.index.count_key(key, len);
        self.index.push(key, &Span { offset, len, content: Content::One(facts) });
    }

    /// Counts a record that the index leaves out: it is not the newest of its key, a range tombstone covers it, or it is
    /// one.
    pub(crate) fn unindexed(&mut self, entry: &DenseEntry) {
        let DenseEntry { len, seq, kind, expires_at, .. } = *entry;
        self.index.count(&Facts { seq, kind, expires_at }, len);
    }

    /// Adds the hint of a record that was [pushed](TailBuilder::push), and its key to the filter. Hints come in the
    /// order of the file.
    ///
    /// # Panics
    /// Where they do not.
    pub(crate) fn hint(&mut self, hash: u64, offset: u32, len: u32) {
        self.index.hint(hash, offset, len);
        self.index.filter(hash);
        self.hints += 1;
    }

    /// The tail of the log whose frames, end mark included, end at `records_end`.
    ///
    /// # Panics
    /// Where there is no record, or a key without a hint.
    pub(crate) async fn finish(self, records_end: u64) -> Tail {
        // All that its own range tombstones cover was left out, and older ones cover nothing in it.
        let (parts, meta) = self.index.finish(self.id, records_end, None).await;
        Tail { parts, meta }
    }
}
