//! Which keys of a bucket are meant, and what they are called in the database.

use bytes::Bytes;
use halite::KeyRange;
use std::ops::Bound;

/// Some keys of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All of them.
    All,
    /// Those that begin so.
    Prefix(Vec<u8>),
    /// Those from the first one on (from the smallest, if `None`) up to but without the second (to the largest).
    Range(Option<Vec<u8>>, Option<Vec<u8>>),
}

/// The range of the database that these keys of the bucket `prefix` are.
pub(crate) fn range(prefix: &[u8], keys: &Keys) -> KeyRange {
    let all = KeyRange::prefix(prefix);
    match keys {
        Keys::All => all,
        Keys::Prefix(more) => KeyRange::prefix(join(prefix, more)),
        Keys::Range(start, end) => KeyRange {
            start: Bound::Included(join(prefix, start.as_deref().unwrap_or_default()).into()),
            end: end.as_ref().map_or(all.end, |end| Bound::Excluded(join(prefix, end).into())),
        },
    }
}

/// The range behind `key`.
pub(crate) fn behind(prefix: &[u8], key: &[u8]) -> KeyRange {
    KeyRange { start: Bound::Excluded(Bytes::from(join(prefix, key))), end: KeyRange::prefix(prefix).end }
}

/// The key of the bucket `prefix`, as the database knows it.
pub(crate) fn join(prefix: &[u8], key: &[u8]) -> Vec<u8> {
    [prefix, key].concat()
}
