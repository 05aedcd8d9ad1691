//! Walks a memtable in key order.

use super::order::{Chunk, Ordered};
use super::{Item, Memtable};
use crate::Seq;
use bytes::Bytes;
use std::ops::Bound;
use std::sync::Arc;

/// Goes forward over a memtable's newest records at a sequence number, in key order. It sees what was there when the
/// order was made, whatever is inserted meanwhile.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    at: Seq,
    heads: Vec<Head>,
    current: Option<u32>,
}

/// The next entry of one chunk.
#[derive(Debug)]
struct Head {
    chunk: Arc<Chunk>,
    next: usize,
}

impl Head {
    fn entry(&self) -> Option<u32> {
        self.chunk.entries.get(self.next).map(|sorted| sorted.entry)
    }
}

impl MemtableCursor {
    /// Stands before the first key at or behind `start`.
    pub(crate) fn new(memtable: Arc<Memtable>, ordered: &Ordered, at: Seq, start: Bound<&[u8]>) -> MemtableCursor {
        let before = |entry: u32| match start {
            Bound::Included(start) => memtable.key(entry) < start,
            Bound::Excluded(start) => memtable.key(entry) <= start,
            Bound::Unbounded => false,
        };
        let head = |chunk: &Arc<Chunk>| {
            let next = chunk.entries.partition_point(|sorted| before(sorted.entry));
            Head { chunk: chunk.clone(), next }
        };
        let heads = ordered.chunks.iter().map(head).filter(|head| head.entry().is_some()).collect();
        MemtableCursor { memtable, at, heads, current: None }
    }

    /// Goes to the next key; false where there is none. Looks at no more than `budget` entries: `None` where these did
    /// not suffice.
    pub(crate) fn advance(&mut self, budget: &mut usize) -> Option<bool> {
        loop {
            if *budget == 0 {
                return None;
            }
            *budget -= 1;
            let Some(entry) = self.take_smallest() else {
                self.current = None;
                return Some(false);
            };
            // Of one key the newest comes first: later ones are older, and hidden.
            let is_older = self.current.is_some_and(|current| self.memtable.key(current) == self.memtable.key(entry));
            if !is_older && self.memtable.seq(entry) <= self.at {
                self.current = Some(entry);
                return Some(true);
            }
        }
    }

    fn take_smallest(&mut self) -> Option<u32> {
        let memtable = &self.memtable;
        let order = |head: &Head| head.entry().map(|entry| (memtable.key(entry), std::cmp::Reverse(entry)));
        let smallest = (0..self.heads.len()).min_by(|&a, &b| order(&self.heads[a]).cmp(&order(&self.heads[b])))?;
        let entry = self.heads[smallest].entry();
        self.heads[smallest].next += 1;
        if self.heads[smallest].entry().is_none() {
            self.heads.swap_remove(smallest);
        }
        entry
    }

    /// The record the cursor stands at.
    ///
    /// # Panics
    /// Where the last [`advance`](MemtableCursor::advance) did not find one.
    #[inline]
    pub(crate) fn item(&self) -> Item<'_> {
        self.memtable.item(self.current.expect("the cursor stands at a record"))
    }

    /// The key, sharing the image's memory.
    pub(crate) fn key_bytes(&self) -> Bytes {
        self.share(self.item().record.key)
    }

    /// The value, sharing the image's memory.
    pub(crate) fn value_bytes(&self) -> Bytes {
        self.share(self.item().record.value)
    }

    fn share(&self, part: &[u8]) -> Bytes {
        self.memtable.share(self.current.expect("the cursor stands at a record"), part)
    }
}

impl Memtable {
    /// All records in key order, of one key the newest first, of a memtable that is complete and ordered into one chunk.
    pub(crate) fn in_order<'a>(&'a self, ordered: &'a Ordered) -> InOrder<'a> {
        InOrder { memtable: self, ordered, chunk: 0, next: 0, previous: None, ahead: Vec::with_capacity(AHEAD) }
    }

    /// The record with number `entry`: numbers ascend with offsets.
    pub(crate) fn at(&self, entry: u32) -> Item<'_> {
        self.item(entry)
    }
}

/// Records that are looked up together. Key order leads all over the image: one look after the other would wait for
/// memory each time, some together wait at once.
const AHEAD: usize = 32;

/// The records of a memtable in key order.
#[derive(Debug)]
pub(crate) struct InOrder<'a> {
    memtable: &'a Memtable,
    ordered: &'a Ordered,
    chunk: usize,
    next: usize,
    previous: Option<&'a [u8]>,
    /// Looked up already, the next one last.
    ahead: Vec<(u32, Item<'a>)>,
}

impl<'a> InOrder<'a> {
    fn look_ahead(&mut self) {
        let Some(chunk) = self.ordered.chunks.get(self.chunk) else { return };
        let entries = chunk.entries.iter().skip(self.next).take(AHEAD).map(|sorted| sorted.entry);
        self.ahead.extend(entries.map(|entry| (entry, self.memtable.item(entry))));
        self.ahead.reverse();
        self.next += self.ahead.len();
        if self.next >= chunk.entries.len() {
            (self.chunk, self.next) = (self.chunk + 1, 0);
        }
    }
}

impl<'a> Iterator for InOrder<'a> {
    /// The number of the record, the record, and whether it is the newest of its key.
    type Item = (u32, Item<'a>, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() {
            self.look_ahead();
        }
        let (entry, item) = self.ahead.pop()?;
        let is_newest = self.previous != Some(item.record.key);
        self.previous = Some(item.record.key);
        Some((entry, item, is_newest))
    }
}
