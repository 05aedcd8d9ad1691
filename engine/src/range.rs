//! Ranges of keys, as a user may write them: `"a".."m"`, `b"k".to_vec()..`, `..`, or a prefix.

use bytes::Bytes;
use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// A range of keys in byte order. Made from any of Rust's ranges over bytes or text, so that `db.scan(..)` needs no
/// type annotations.
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

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        let after_start = match &self.start {
            Bound::Included(start) => key >= &start[..],
            Bound::Excluded(start) => key > &start[..],
            Bound::Unbounded => true,
        };
        after_start && !self.is_past(key)
    }

    /// Whether `key` lies beyond the range's end.
    pub(crate) fn is_past(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Included(end) => key > &end[..],
            Bound::Excluded(end) => key >= &end[..],
            Bound::Unbounded => false,
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
}
