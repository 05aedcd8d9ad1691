//! The range tombstones of one memtable, in the order in which they came: readers see those up to a number of their own.
//!
//! For each 16 tombstones, each 256 and each 4096 there is a [`Cover`] of them all, so that to find the newest over a key
//! among the first so many takes a few looks, however many there are; and they take some hundred bytes each at most.

use super::{Cover, Interval, Stretch};
use crate::Seq;
use std::sync::Arc;

/// Covers of one level that make one of the next.
const FAN: usize = 16;
/// Levels above the tombstones themselves.
const LEVELS: usize = 3;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct CoverList {
    stretches: Vec<Stretch>,
    /// Covers of [`FAN`] tombstones each, of `FAN`², and so on.
    levels: [Vec<Arc<Cover>>; LEVELS],
}

impl CoverList {
    /// Adds a tombstone, which is newer than those before.
    pub(crate) fn push(&mut self, stretch: Stretch) {
        self.stretches.push(stretch);
        if !self.stretches.len().is_multiple_of(FAN) {
            return;
        }
        let last = &self.stretches[self.stretches.len() - FAN..];
        self.levels[0].push(Arc::new(union(last.iter().cloned().map(Cover::of).collect())));
        for level in 1..LEVELS {
            let below = &self.levels[level - 1];
            if !below.len().is_multiple_of(FAN) {
                return;
            }
            let last = below[below.len() - FAN..].iter().map(|cover| Cover::clone(cover)).collect();
            self.levels[level].push(Arc::new(union(last)));
        }
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Stretch> {
        self.stretches.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.stretches.len()
    }

    /// How many of them are at or below `at`.
    fn until(&self, at: Seq) -> usize {
        self.stretches.partition_point(|stretch| stretch.seq <= at)
    }

    /// The newest over `key` that is at or below `at`; 0 where there is none.
    pub(crate) fn over(&self, key: &[u8], at: Seq) -> Seq {
        let until = self.until(at);
        let holds = |stretch: &&Stretch| stretch.start[..] <= *key && !stretch.is_below(key);
        if let Some(stretch) = self.stretches[until - until % FAN..until].iter().rev().find(holds) {
            return stretch.seq;
        }
        self.whole(until).map(|cover| cover.over(key)).find(|&seq| seq > 0).unwrap_or(0)
    }

    /// All at or below `at` as some covers, newest first.
    pub(crate) fn covers(&self, at: Seq, out: &mut Vec<Arc<Cover>>) {
        let until = self.until(at);
        let rest = &self.stretches[until - until % FAN..until];
        if !rest.is_empty() {
            out.push(Arc::new(union(rest.iter().cloned().map(Cover::of).collect())));
        }
        out.extend(self.whole(until).cloned());
    }

    /// What all of them cover, in memory of its own.
    pub(crate) fn whole_cover(&self) -> Cover {
        let mut covers = Vec::new();
        self.covers(Seq::MAX, &mut covers);
        covers.iter().rev().fold(Cover::default(), |older, newer| older.with(newer)).detached()
    }

    /// The covers that together hold the first `until` tombstones, but for those that fill none; newest first.
    fn whole(&self, until: usize) -> impl Iterator<Item = &Arc<Cover>> {
        let mut each = 1;
        self.levels.iter().enumerate().flat_map(move |(level, covers)| {
            each *= FAN;
            let end = until / each;
            let start = if level + 1 < LEVELS { end - end % FAN } else { 0 };
            covers[start..end].iter().rev()
        })
    }

    /// What a tombstone takes at most, in bytes: itself, in a vector that may be half full, and in the cover of each level,
    /// as that may cut it and others in two.
    pub(crate) const LEN_EACH_MAX: usize = (2 + 2 * LEVELS) * size_of::<Stretch>();

    /// Memory it takes, in bytes; the keys are the memtable's.
    pub(crate) fn bytes(&self) -> usize {
        let covers: usize = self.levels.iter().flatten().map(|cover| cover.len()).sum();
        (self.stretches.capacity() + covers) * size_of::<Stretch>()
    }
}

/// All of `covers`, which are oldest first, as one.
pub(super) fn union(mut covers: Vec<Cover>) -> Cover {
    // By pairs, so that none is copied too often.
    while covers.len() > 1 {
        covers = covers
            .chunks(2)
            .map(|pair| pair.iter().skip(1).fold(pair[0].clone(), |older, newer| older.with(newer)))
            .collect();
    }
    covers.pop().unwrap_or_default()
}

/// What some covers say together, newest first: the newest tombstone over `key`, and for which keys around it is that.
pub(super) fn around(covers: &[Arc<Cover>], key: &[u8]) -> Interval {
    let mut interval = Interval::default();
    for cover in covers {
        let Interval { start, end, seq } = cover.around(key);
        interval.start = interval.start.max(start);
        interval.end = match (interval.end, end) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        interval.seq = interval.seq.max(seq);
    }
    interval
}
