//! What has entered a memtable since a sequence number, in the order in which it came.
//!
//! A record is here from the moment it is ordered, visible or not: this is what transactions are checked against, and what watches read.

use super::Memtable;
use crate::Seq;
use crate::format::frame::Record;
use bytes::Bytes;
use std::ops::Range;

/// A record that has entered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change<'a> {
    memtable: &'a Memtable,
    entry: u32,
}

impl<'a> Change<'a> {
    pub(crate) fn seq(&self) -> Seq {
        self.memtable.seq(self.entry)
    }

    /// The hash of its key.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.memtable.entries[self.entry as usize].hash
    }

    /// The record whole. Costs a look at the image.
    pub(crate) fn record(&self) -> Record<'a> {
        self.memtable.record(&self.memtable.entries[self.entry as usize])
    }

    /// The bytes that `part`, a slice of its record, lies in, shared.
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        self.memtable.share(self.entry, part)
    }

    /// Its key; of a range tombstone, where its keys begin. Costs a look at the image, unlike its hash.
    pub(crate) fn key(&self) -> &'a [u8] {
        self.memtable.key(self.entry)
    }

    /// Before which key its keys end, if it is a range tombstone: nowhere, if that is empty.
    #[inline]
    pub(crate) fn range_end(&self) -> Option<&'a [u8]> {
        self.memtable.is_range(self.entry).then(|| self.memtable.item(self.entry).record.value)
    }
}

impl Memtable {
    /// The records with sequence numbers above `after`, up to `until`. Those that enter meanwhile have higher ones.
    pub(crate) fn since(&self, after: Seq, until: Seq) -> impl Iterator<Item = Change<'_>> {
        let changes = self.first_above(after)..self.len();
        changes
            .map(|entry| Change { memtable: self, entry: entry as u32 })
            .take_while(move |change| change.seq() <= until)
    }

    /// The first entry above `after`. It is looked for from the end, near which it mostly is.
    fn first_above(&self, after: Seq) -> usize {
        let len = self.len();
        let mut step = 1;
        while step < len && self.seq((len - step) as u32) > after {
            step *= 2;
        }
        let Range { mut start, mut end } = len.saturating_sub(step)..len - step / 2;
        while start < end {
            let middle = start + (end - start) / 2;
            if self.seq(middle as u32) > after { end = middle } else { start = middle + 1 }
        }
        start
    }
}
