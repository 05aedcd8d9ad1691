//! Ranges of keys, as a user may write them: `"a".."m"`, `b"k".to_vec()..`, `..`, or a prefix; and the two ways to go
//! over one.

use crate::batch::KEY_LEN_MAX;
use crate::cover::Interval;
use bytes::{BufMut, Bytes, BytesMut};
use std::cmp::Ordering;
use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// A range of keys in byte order. Made from any of Rust's ranges over bytes or text, so that `db.scan(..)` needs no
/// type annotations.
///
/// ```
/// use halite::KeyRange;
/// let may = KeyRange::prefix("2024-05-");
/// assert!(may.contains(b"2024-05-31") && !may.contains(b"2024-06-01"));
/// let from = KeyRange::from("a"..="m");
/// assert!(from.contains(b"m") && !from.contains(b"ma"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// Where it begins.
    pub start: Bound<Bytes>,
    /// Where it ends.
    pub end: Bound<Bytes>,
}

impl KeyRange {
    /// The range of all keys that begin with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> KeyRange {
        let prefix = prefix.as_ref();
        let end = match prefix.iter().rposition(|&byte| byte != 0xff) {
            None => Bound::Unbounded,
            Some(last) => {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                Bound::Excluded(Bytes::from(end))
            }
        };
        KeyRange { start: Bound::Included(Bytes::copy_from_slice(prefix)), end }
    }

    /// From the first key of the range up to but without the one behind its last, or to the end of all keys (`None`);
    /// nothing where the range is empty. Both are as long as a key may be, and one byte more at most: what a user has
    /// written may be longer, but no key is.
    pub(crate) fn half_open(&self) -> Option<(Bytes, Option<Bytes>)> {
        let start = match &self.start {
            Bound::Included(start) => at_or_behind(start),
            Bound::Excluded(start) => behind(start),
            Bound::Unbounded => Bytes::new(),
        };
        let end = match &self.end {
            Bound::Included(end) => Some(behind(end)),
            Bound::Excluded(end) => Some(at_or_behind(end)),
            Bound::Unbounded => None,
        };
        end.as_ref().is_none_or(|end| start < *end).then_some((start, end))
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        !self.is_below(key) && !self.is_above(key)
    }

    /// Whether `key` is too small.
    #[inline]
    pub(crate) fn is_below(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Included(start) => key < &start[..],
            Bound::Excluded(start) => key <= &start[..],
            Bound::Unbounded => false,
        }
    }

    /// Whether `key` is too large.
    #[inline]
    pub(crate) fn is_above(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Included(end) => key > &end[..],
            Bound::Excluded(end) => key >= &end[..],
            Bound::Unbounded => false,
        }
    }
}

/// The first key that is not below `key`; for a key of any length one that is near enough.
fn at_or_behind(key: &Bytes) -> Bytes {
    if key.len() <= KEY_LEN_MAX { key.clone() } else { behind(key) }
}

/// What comes next after `key`. Of one longer than any key may be what comes after its first bytes: no key lies between.
pub(crate) fn behind(key: &[u8]) -> Bytes {
    let first = &key[..key.len().min(KEY_LEN_MAX)];
    let mut next = BytesMut::with_capacity(first.len() + 1);
    next.put_slice(first);
    next.put_u8(0);
    next.freeze()
}

/// Which way keys are gone over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Direction {
    /// In byte order.
    #[default]
    Forward,
    /// Against it.
    Backward,
}

/// A range of keys and the way over it. Whatever walks keys asks it what comes first, and what lies behind or ahead, and
/// so need not know which way that is.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    pub(crate) range: KeyRange,
    pub(crate) direction: Direction,
}

impl Course {
    /// Over all keys in byte order.
    pub(crate) fn all() -> Course {
        Course { range: KeyRange::from(..), direction: Direction::Forward }
    }

    /// Over `range`, both ways.
    #[cfg(test)]
    pub(crate) fn both_over(range: &KeyRange) -> [Course; 2] {
        [Direction::Forward, Direction::Backward].map(|direction| Course { range: range.clone(), direction })
    }

    #[inline]
    pub(crate) fn is_backward(&self) -> bool {
        self.direction == Direction::Backward
    }

    /// The end of the range at which the way begins.
    #[inline]
    pub(crate) fn begin(&self) -> &Bound<Bytes> {
        match self.direction {
            Direction::Forward => &self.range.start,
            Direction::Backward => &self.range.end,
        }
    }

    /// Whether the way comes by `key` before it comes into the range.
    #[inline]
    pub(crate) fn is_before(&self, key: &[u8]) -> bool {
        match self.direction {
            Direction::Forward => self.range.is_below(key),
            Direction::Backward => self.range.is_above(key),
        }
    }

    /// Whether the way comes by `key` only after it has left the range.
    #[inline]
    pub(crate) fn is_past(&self, key: &[u8]) -> bool {
        match self.direction {
            Direction::Forward => self.range.is_above(key),
            Direction::Backward => self.range.is_below(key),
        }
    }

    /// What is left of it behind the keys of `passed`.
    pub(crate) fn behind(&self, passed: &Interval) -> Course {
        let mut range = self.range.clone();
        match (self.direction, &passed.start, &passed.end) {
            (Direction::Forward, _, Some(end)) => range.start = Bound::Included(end.clone()),
            (Direction::Backward, Some(start), _) => range.end = Bound::Excluded(start.clone()),
            _ => range = KeyRange { start: Bound::Unbounded, end: Bound::Excluded(Bytes::new()) },
        }
        Course { range, direction: self.direction }
    }

    /// The number that comes after `index`, of `count` things numbered in byte order of their keys.
    #[inline]
    pub(crate) fn next(&self, index: usize, count: usize) -> Option<usize> {
        match self.direction {
            Direction::Forward => Some(index + 1).filter(|&next| next < count),
            Direction::Backward => index.checked_sub(1),
        }
    }
}

impl Direction {
    /// Which of two keys comes first.
    #[inline]
    pub(crate) fn order(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Direction::Forward => a.cmp(b),
            Direction::Backward => b.cmp(a),
        }
    }
}

fn bytes(key: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(key.as_ref())
}

impl From<RangeFull> for KeyRange {
    fn from(_: RangeFull) -> KeyRange {
        KeyRange { start: Bound::Unbounded, end: Bound::Unbounded }
    }
}

impl<K: AsRef<[u8]>> From<Range<K>> for KeyRange {
    fn from(range: Range<K>) -> KeyRange {
        KeyRange { start: Bound::Included(bytes(range.start)), end: Bound::Excluded(bytes(range.end)) }
    }
}

impl<K: AsRef<[u8]>> From<RangeInclusive<K>> for KeyRange {
    fn from(range: RangeInclusive<K>) -> KeyRange {
        let (start, end) = range.into_inner();
        KeyRange { start: Bound::Included(bytes(start)), end: Bound::Included(bytes(end)) }
    }
}

impl<K: AsRef<[u8]>> From<RangeFrom<K>> for KeyRange {
    fn from(range: RangeFrom<K>) -> KeyRange {
        KeyRange { start: Bound::Included(bytes(range.start)), end: Bound::Unbounded }
    }
}

impl<K: AsRef<[u8]>> From<RangeTo<K>> for KeyRange {
    fn from(range: RangeTo<K>) -> KeyRange {
        KeyRange { start: Bound::Unbounded, end: Bound::Excluded(bytes(range.end)) }
    }
}

impl<K: AsRef<[u8]>> From<RangeToInclusive<K>> for KeyRange {
    fn from(range: RangeToInclusive<K>) -> KeyRange {
        KeyRange { start: Bound::Unbounded, end: Bound::Included(bytes(range.end)) }
    }
}

impl<K: AsRef<[u8]>> From<(Bound<K>, Bound<K>)> for KeyRange {
    fn from((start, end): (Bound<K>, Bound<K>)) -> KeyRange {
        KeyRange { start: start.map(bytes), end: end.map(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_at_the_next_key_that_lacks_it() {
        let range = KeyRange::prefix(b"a\xff\xff");
        assert_eq!(range.end, Bound::Excluded(Bytes::from_static(b"b")));
        assert!(range.contains(b"a\xff\xff\xff") && !range.contains(b"b") && !range.contains(b"a\xff"));
        assert_eq!(KeyRange::prefix(b"\xff").end, Bound::Unbounded);
        assert_eq!(KeyRange::prefix(b"").end, Bound::Unbounded);
    }

    #[test]
    fn bounds_are_kept() {
        let range = KeyRange::from("a"..="c");
        assert!(range.contains(b"a") && range.contains(b"c") && !range.contains(b"ca"));
        let range = KeyRange::from("a".."c");
        assert!(!range.contains(b"c") && range.contains(b"bzz"));
        assert!(KeyRange::from(..).contains(b""));
    }

    #[test]
    fn a_course_knows_what_lies_behind_and_ahead() {
        let range = KeyRange { start: Bound::Excluded(bytes("b")), end: Bound::Included(bytes("d")) };
        let [forward, backward] = Course::both_over(&range);
        for (key, side) in [("a", -1), ("b", -1), ("ba", 0), ("d", 0), ("da", 1)] {
            let key = key.as_bytes();
            assert_eq!((forward.is_before(key), forward.is_past(key)), (side < 0, side > 0));
            assert_eq!((backward.is_before(key), backward.is_past(key)), (side > 0, side < 0));
        }
        assert_eq!((forward.next(0, 2), forward.next(1, 2)), (Some(1), None));
        assert_eq!((backward.next(1, 2), backward.next(0, 2)), (Some(0), None));
    }
}
