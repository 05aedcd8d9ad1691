//! The condition under which a transaction's commit is let in: nothing that it rests on has changed since it began.
//!
//! Compared with it is every record ordered since, visible or not, in the order in which they came. Most are looked at
//! before the commit asks to be let in, outside the queue's lock and with pauses; only the last few under it.
//!
//! # Guarantees
//! 1. A commit that is let in enters at a moment at which all that its [`Footprint`] covers is as it was at its view.
//! 2. Without need it may be refused (two keys may share a hash), but never let in without cause.

use super::window::{Era, Window};
use crate::clock::EngineClock;
use crate::memtable::{Change, Memtable};
use crate::version::View;
use crate::{Error, ErrorKind, Result, Seq};
use bytes::Bytes;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::ops::Range;
use std::sync::Arc;

/// Records that are compared under the queue's lock at most, unless many come while the commit waits to be let in.
const AT_ONCE: u64 = 512;
/// Records compared before other tasks get their turn.
const PER_TURN: usize = 8192;

/// What a transaction rests on: keys, ranges, and what it has seen that will expire.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    keys: HashTable<u64>,
    /// The same keys themselves: ranges are deleted by keys, not by hashes.
    names: Names,
    /// From the one, up to but without the other (no end: `None`). In order and apart once [`settled`](Self::settle).
    ranges: Vec<(Bytes, Option<Bytes>)>,
    lapses_at: Option<u64>,
}

impl Footprint {
    /// A key and its hash.
    pub(crate) fn add_key(&mut self, hash: u64, key: &[u8]) {
        if let Entry::Vacant(place) = self.keys.entry(hash, |other| *other == hash, |hash| *hash) {
            place.insert(hash);
            self.names.push(key);
        }
    }

    /// The keys from `start` on, up to but without `end`.
    pub(crate) fn add_range(&mut self, start: Bytes, end: Option<Bytes>) {
        self.ranges.push((start, end));
    }

    /// Something seen that counts as deleted from `expires_at` on.
    pub(crate) fn add_expiry(&mut self, expires_at: Option<u64>) {
        if let Some(at) = expires_at {
            self.lapses_at = Some(self.lapses_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Whether it rests on nothing that others could change.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty() && self.lapses_at.is_none()
    }

    /// Puts keys and ranges in order, and makes one range of those that meet.
    fn settle(&mut self) {
        self.names.sort();
        self.ranges.retain(|(start, end)| end.as_ref().is_none_or(|end| start < end));
        self.ranges.sort();
        self.ranges.dedup_by(|(start, end), (_, last)| {
            let meet = last.as_ref().is_none_or(|last| *start <= *last);
            if meet && last.is_some() {
                *last = match (last.take(), end.take()) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
            }
            meet
        });
    }

    fn is_touched_by(&self, change: Change<'_>) -> bool {
        if let Some(end) = change.range_end() {
            return self.meets(change.key(), end);
        }
        if !self.keys.is_empty() {
            let hash = change.hash();
            if self.keys.find(hash, |other| *other == hash).is_some() {
                return true;
            }
        }
        !self.ranges.is_empty() && self.covers(change.key())
    }

    /// Whether it rests on any of the keys from `start` on, up to but without `end`; on any from there on if that is empty.
    fn meets(&self, start: &[u8], end: &[u8]) -> bool {
        let ends_before = |key: &[u8]| !end.is_empty() && end <= key;
        let next = self.ranges.partition_point(|(_, last)| last.as_ref().is_some_and(|last| last[..] <= *start));
        let range = self.ranges.get(next).is_some_and(|(first, _)| !ends_before(first));
        range || self.names.first_from(start).is_some_and(|key| !ends_before(key))
    }

    fn covers(&self, key: &[u8]) -> bool {
        let Some(last) = self.ranges.partition_point(|(start, _)| &start[..] <= key).checked_sub(1) else {
            return false;
        };
        self.ranges[last].1.as_ref().is_none_or(|end| key < &end[..])
    }
}

/// Keys, back to back in one piece of memory.
#[derive(Debug, Default)]
struct Names {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Names {
    fn push(&mut self, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.places.push(start..self.bytes.len());
    }

    fn sort(&mut self) {
        let Names { bytes, places } = self;
        places.sort_unstable_by(|a, b| bytes[a.clone()].cmp(&bytes[b.clone()]));
    }

    /// Once they are in order: the first that is not below `start`.
    fn first_from(&self, start: &[u8]) -> Option<&[u8]> {
        let first = self.places.partition_point(|place| self.bytes[place.clone()] < *start);
        self.places.get(first).map(|place| &self.bytes[place.clone()])
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Condition {
    footprint: Footprint,
    view: View,
    era: Era,
    clock: Arc<EngineClock>,
    /// Records up to this one have been compared.
    checked: Seq,
    /// What stands against it: the record's sequence number.
    conflict: Option<Seq>,
}

impl Condition {
    /// That what `footprint` covers is as it was at `view`, which was taken after `era` was [opened](Window::open).
    pub(crate) fn new(mut footprint: Footprint, view: View, era: Era, clock: Arc<EngineClock>) -> Condition {
        footprint.settle();
        let checked = view.at;
        Condition { footprint, view, era, clock, checked, conflict: None }
    }

    /// The record that stood against it.
    pub(crate) fn conflict(&self) -> Option<Seq> {
        self.conflict
    }

    /// Whether so many records are to be compared that it had better happen before.
    pub(super) fn is_far_behind(&self, until: Seq) -> bool {
        until.saturating_sub(self.checked) > AT_ONCE
    }

    /// The memtables in which there is something to compare, oldest first.
    pub(super) fn memtables<'a>(&'a self, window: &'a Window) -> Result<impl Iterator<Item = &'a Arc<Memtable>>> {
        let held = &self.view.version.memtables;
        let newest = held.first().map_or(0, |memtable| memtable.base_seq());
        let since = window.since(self.era).ok_or_else(too_old)?;
        let since = since.filter(move |memtable| memtable.base_seq() > newest);
        Ok(held.iter().rev().chain(since).filter(|memtable| memtable.max_seq() > self.checked))
    }

    /// Compares the records up to `until`, which lie in `memtables`, with pauses.
    pub(super) async fn catch_up(&mut self, memtables: &[Arc<Memtable>], until: Seq) -> Result<()> {
        for memtable in memtables {
            while !self.compare_some(memtable, until)? {
                tokio::task::yield_now().await;
            }
        }
        self.checked = until;
        Ok(())
    }

    /// A turn of it. True behind the last record.
    fn compare_some(&mut self, memtable: &Memtable, until: Seq) -> Result<bool> {
        let mut compared = 0;
        for change in memtable.since(self.checked, until).take(PER_TURN) {
            if self.footprint.is_touched_by(change) {
                return Err(self.refuse(change.seq()));
            }
            self.checked = change.seq();
            compared += 1;
        }
        Ok(compared < PER_TURN)
    }

    /// Compares the rest, up to `until`, the last that was ordered. Called under the queue's lock, so that nothing comes in
    /// between.
    pub(super) fn check(&mut self, window: &Window, until: Seq) -> Result<()> {
        if self.checked < until {
            let mut changes = self.memtables(window)?.flat_map(|memtable| memtable.since(self.checked, until));
            let conflict = changes.find(|change| self.footprint.is_touched_by(*change)).map(|change| change.seq());
            drop(changes);
            if let Some(seq) = conflict {
                return Err(self.refuse(seq));
            }
            self.checked = until;
        }
        if self.clock.took_back(self.view.now) {
            return Err(Error::new(ErrorKind::Conflict, "conflict: the clock has been set back to before this began"));
        }
        match self.footprint.lapses_at {
            Some(at) if at <= self.clock.now() => {
                Err(Error::new(ErrorKind::Conflict, "conflict: what the transaction has read has expired since"))
            }
            _ => Ok(()),
        }
    }

    #[cold]
    fn refuse(&mut self, seq: Seq) -> Error {
        self.conflict = Some(seq);
        Error::new(
            ErrorKind::Conflict,
            format!("conflict: another commit has changed what this one rests on seq={seq}"),
        )
    }
}

#[cold]
fn too_old() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "conflict: more was written since the transaction began than is kept to compare it with; see Options::transaction_window_bytes",
    )
}

#[cfg(test)]
mod tests;
