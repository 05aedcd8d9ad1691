//! What range tombstones cover: which keys, and up to which sequence number.
//!
//! A range tombstone deletes all records of its keys that are older than itself, and no fingerprint or filter finds it.
//! So all of a version are in memory, where each read and merge asks for the newest over a key. Of those that overlap
//! only the newest matters to whoever sees them all: a [`Cover`] cuts them into *stretches* that do not overlap, each
//! with the sequence number of the newest tombstone over it.
//!
//! # Guarantees
//! 1. A stretch is given up only when no segment can hold a record that it covers ([`Cover::needed_by`]): what was
//!    deleted does not come back.

mod hidden;
mod list;

pub(crate) use hidden::Hidden;
pub(crate) use list::CoverList;

use crate::Seq;
use crate::format::manifest::{Manifest, RangeTombstone, SegmentMeta};
use crate::planted::{Bug, planted};
use bytes::Bytes;
use std::cmp::Ordering;

/// The keys from `start` on, up to but without `end` (no end: `None`), as far as the tombstone `seq` is the newest over
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) start: Bytes,
    pub(crate) end: Option<Bytes>,
    pub(crate) seq: Seq,
}

impl Stretch {
    /// Whether all of its keys are smaller than `key`.
    fn is_below(&self, key: &[u8]) -> bool {
        self.end.as_ref().is_some_and(|end| end[..] <= *key)
    }

    /// Bytes of its keys.
    fn key_bytes(&self) -> usize {
        self.start.len() + self.end.as_ref().map_or(0, Bytes::len)
    }
}

/// Keys between which the answer does not change: from `start` on (no start: `None`), up to but without `end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) start: Option<Bytes>,
    pub(crate) end: Option<Bytes>,
    /// The newest tombstone over them; 0 where there is none.
    pub(crate) seq: Seq,
}

/// Stretches in the order of their keys, which do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cover {
    stretches: Vec<Stretch>,
}

impl Cover {
    /// What one tombstone covers.
    pub(crate) fn of(stretch: Stretch) -> Cover {
        Cover { stretches: vec![stretch] }
    }

    /// What a manifest says, whose rules were checked.
    pub(crate) fn from_manifest(tombstones: &[RangeTombstone]) -> Cover {
        let stretch = |tombstone: &RangeTombstone| Stretch {
            start: tombstone.start.clone().into(),
            end: tombstone.end.clone().map(Bytes::from),
            seq: tombstone.seq,
        };
        Cover { stretches: tombstones.iter().map(stretch).collect() }
    }

    /// As a manifest says it.
    fn to_manifest(&self) -> Vec<RangeTombstone> {
        let tombstone = |stretch: &Stretch| RangeTombstone {
            start: stretch.start.to_vec(),
            end: stretch.end.as_ref().map(|end| end.to_vec()),
            seq: stretch.seq,
        };
        self.stretches.iter().map(tombstone).collect()
    }

    pub(crate) fn into_stretches(self) -> Vec<Stretch> {
        self.stretches
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.stretches.len()
    }

    /// Memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let keys: usize = self.stretches.iter().map(Stretch::key_bytes).sum();
        self.stretches.capacity() * size_of::<Stretch>() + keys
    }

    /// The newest of its tombstones; 0 where there is none.
    pub(crate) fn max_seq(&self) -> Seq {
        self.stretches.iter().map(|stretch| stretch.seq).max().unwrap_or(0)
    }

    /// The number of the first stretch that does not lie below `key`.
    #[inline]
    fn first_from(&self, key: &[u8]) -> usize {
        self.stretches.partition_point(|stretch| stretch.is_below(key))
    }

    /// The newest tombstone over `key`; 0 where there is none.
    #[inline]
    pub(crate) fn over(&self, key: &[u8]) -> Seq {
        if self.stretches.is_empty() {
            return 0;
        }
        let stretch = self.stretches.get(self.first_from(key));
        stretch.filter(|stretch| stretch.start[..] <= *key).map_or(0, |stretch| stretch.seq)
    }

    /// The same, and how far it is the same for the keys around.
    pub(crate) fn around(&self, key: &[u8]) -> Interval {
        let first = self.first_from(key);
        match self.stretches.get(first) {
            Some(Stretch { start, end, seq }) if start[..] <= *key => {
                Interval { start: Some(start.clone()), end: end.clone(), seq: *seq }
            }
            next => {
                let before = first.checked_sub(1).and_then(|before| self.stretches[before].end.clone());
                Interval { start: before, end: next.map(|next| next.start.clone()), seq: 0 }
            }
        }
    }

    /// The oldest tombstone needed to cover all keys from `first` to `last`; `None` where some of them are not covered.
    pub(crate) fn over_all(&self, first: &[u8], last: &[u8]) -> Option<Seq> {
        let mut oldest = Seq::MAX;
        let mut from = first;
        for stretch in &self.stretches[self.first_from(first)..] {
            if stretch.start[..] > *from {
                return None;
            }
            oldest = oldest.min(stretch.seq);
            match &stretch.end {
                Some(end) if end[..] <= *last => from = end,
                _ => return Some(oldest),
            }
        }
        None
    }

    /// Whether it covers all that a segment holds.
    pub(crate) fn covers_all_of(&self, segment: &SegmentMeta) -> bool {
        self.over_all(&segment.min_key, &segment.max_key).is_some_and(|oldest| oldest > segment.max_seq)
    }

    /// Whether it may cover something that a segment holds.
    pub(crate) fn is_needed_by(&self, segment: &SegmentMeta) -> bool {
        self.between(&segment.min_key, &segment.max_key).iter().any(|stretch| segment.swept < stretch.seq)
    }

    /// The stretches that reach into the keys from `first` to `last`.
    pub(crate) fn between(&self, first: &[u8], last: &[u8]) -> &[Stretch] {
        let start = self.first_from(first);
        let rest = &self.stretches[start..];
        &rest[..rest.partition_point(|stretch| stretch.start[..] <= *last)]
    }

    /// Both together; all tombstones of `newer` are newer than those here.
    pub(crate) fn with(&self, newer: &Cover) -> Cover {
        if self.is_empty() || newer.is_empty() {
            return if self.is_empty() { newer.clone() } else { self.clone() };
        }
        let mut union =
            Union { out: Vec::with_capacity(self.len() + newer.len()), older: self.stretches.iter(), left: None };
        union.left = union.older.next().cloned();
        for stretch in &newer.stretches {
            union.older_below(Some(&stretch.start));
            union.out.push(stretch.clone());
            union.skip_below(stretch.end.as_ref());
        }
        union.older_below(None);
        Cover { stretches: union.out }
    }

    /// The same in memory of its own: keys that are slices of something larger would keep that.
    pub(crate) fn detached(&self) -> Cover {
        let copy = |key: &Bytes| Bytes::copy_from_slice(key);
        let detached = |stretch: &Stretch| Stretch {
            start: copy(&stretch.start),
            end: stretch.end.as_ref().map(copy),
            seq: stretch.seq,
        };
        Cover { stretches: self.stretches.iter().map(detached).collect() }
    }

    /// Without the stretches that hide nothing any more in `segments`: all sealed segments of the database.
    ///
    /// A segment has been *swept* of what tombstones up to some number cover; newer ones it needs, where it may hold
    /// keys of theirs.
    pub(crate) fn needed_by<'a>(&self, segments: impl Iterator<Item = &'a SegmentMeta>) -> Cover {
        if self.is_empty() || planted(Bug::StretchForgotten) {
            return Cover::default();
        }
        let newest = self.max_seq();
        let mut needed = vec![false; self.len()];
        for segment in segments.filter(|segment| segment.swept < newest) {
            let start = self.first_from(&segment.min_key);
            for (number, stretch) in self.stretches.iter().enumerate().skip(start) {
                if stretch.start[..] > segment.max_key[..] {
                    break;
                }
                needed[number] |= segment.swept < stretch.seq;
            }
        }
        let needed = self.stretches.iter().zip(needed).filter(|(_, needed)| *needed);
        Cover { stretches: needed.map(|(stretch, _)| stretch.clone()).collect() }
    }
}

/// Brings the manifest's range tombstones up to date: `newer` come to them, and what hides nothing in its runs goes.
pub(crate) fn note(manifest: &mut Manifest, newer: &Cover) {
    if manifest.range_tombstones.is_empty() && newer.is_empty() {
        return;
    }
    let cover = Cover::from_manifest(&manifest.range_tombstones).with(newer);
    manifest.range_tombstones = cover.needed_by(manifest.segments()).to_manifest();
}

/// The union of two covers, growing.
struct Union<'a> {
    out: Vec<Stretch>,
    older: std::slice::Iter<'a, Stretch>,
    /// What is left of the older stretch that comes next.
    left: Option<Stretch>,
}

impl Union<'_> {
    /// Takes what the older stretches cover below `end`: all that is left of them, if there is none.
    fn older_below(&mut self, end: Option<&Bytes>) {
        while let Some(mut stretch) = self.left.take() {
            if end.is_some_and(|end| stretch.start >= *end) {
                self.left = Some(stretch);
                return;
            }
            if compare_ends(stretch.end.as_ref(), end) == Ordering::Greater {
                let rest = Stretch { start: end.cloned().unwrap_or_default(), ..stretch.clone() };
                stretch.end = end.cloned();
                self.out.push(stretch);
                self.left = Some(rest);
                return;
            }
            self.out.push(stretch);
            self.left = self.older.next().cloned();
        }
    }

    /// Leaves out what the older stretches cover below `end`: all that is left of them, if there is none.
    fn skip_below(&mut self, end: Option<&Bytes>) {
        while let Some(stretch) = self.left.take() {
            if compare_ends(stretch.end.as_ref(), end) == Ordering::Greater {
                let end = end.cloned().unwrap_or_default();
                let start = stretch.start.clone().max(end);
                self.left = Some(Stretch { start, ..stretch });
                return;
            }
            self.left = self.older.next().cloned();
        }
    }
}

/// Which of two ends comes first; that of no end comes last.
fn compare_ends(a: Option<&Bytes>, b: Option<&Bytes>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => a.cmp(b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    }
}

#[cfg(test)]
mod tests;
