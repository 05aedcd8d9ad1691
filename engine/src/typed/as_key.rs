//! What stands for a key, a range or a prefix of keys in a call: so that `"ada"` serves where keys are `String`.

use super::key::{Key, encode_bytes, encode_open};
use bytes::Bytes;
use std::ops::{Bound, Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

/// What can be given where a key of type `K` is asked for: a `K`, a `&K`; `&str` for `String`; `&[u8]` for `Vec<u8>` and
/// [`Bytes`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// let visits = db.collection::<String, u32>("visits");
/// visits.put("home", &1).await?; // a `&str` where keys are `String`
/// let home = "home".to_owned();
/// assert_eq!(visits.get(&home).await?, Some(1)); // or a reference
/// # db.close().await
/// # }
/// ```
pub trait AsKey<K> {
    /// Appends the encoding of the key that is meant.
    fn encode_key(&self, out: &mut Vec<u8>);
}

impl<K: Key> AsKey<K> for K {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

impl<K: Key> AsKey<K> for &K {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
}

impl AsKey<String> for &str {
    fn encode_key(&self, out: &mut Vec<u8>) {
        encode_bytes(self.as_bytes(), out);
    }
}

impl AsKey<Vec<u8>> for &[u8] {
    fn encode_key(&self, out: &mut Vec<u8>) {
        encode_bytes(self, out);
    }
}

impl AsKey<Bytes> for &[u8] {
    fn encode_key(&self, out: &mut Vec<u8>) {
        encode_bytes(self, out);
    }
}

/// A range of keys of type `K`: any of Rust's ranges over what [`AsKey`] takes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// let db = halite::Db::open("mem:").await?;
/// let names = db.collection::<String, u32>("names");
/// for (name, number) in [("Ada", 1), ("Grace", 2), ("Kurt", 3)] {
///     names.put(name, &number).await?;
/// }
/// let from_b: Vec<_> = names.scan("B"..).keys().try_collect().await?;
/// let all: Vec<_> = names.scan(..).keys().try_collect().await?;
/// assert_eq!((from_b.len(), all.len()), (2, 3));
/// # db.close().await
/// # }
/// ```
pub trait KeyBounds<K> {
    /// Encodings of the first and the last key.
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>);
}

fn encoded<K>(key: impl AsKey<K>) -> Vec<u8> {
    let mut out = Vec::new();
    key.encode_key(&mut out);
    out
}

impl<K> KeyBounds<K> for RangeFull {
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (Bound::Unbounded, Bound::Unbounded)
    }
}

impl<K, Q: AsKey<K>> KeyBounds<K> for Range<Q> {
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (Bound::Included(encoded(self.start)), Bound::Excluded(encoded(self.end)))
    }
}

impl<K, Q: AsKey<K>> KeyBounds<K> for RangeInclusive<Q> {
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        let (start, end) = self.into_inner();
        (Bound::Included(encoded(start)), Bound::Included(encoded(end)))
    }
}

impl<K, Q: AsKey<K>> KeyBounds<K> for RangeFrom<Q> {
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (Bound::Included(encoded(self.start)), Bound::Unbounded)
    }
}

impl<K, Q: AsKey<K>> KeyBounds<K> for RangeTo<Q> {
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (Bound::Unbounded, Bound::Excluded(encoded(self.end)))
    }
}

impl<K, Q: AsKey<K>> KeyBounds<K> for RangeToInclusive<Q> {
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (Bound::Unbounded, Bound::Included(encoded(self.end)))
    }
}

impl<K, Q: AsKey<K>> KeyBounds<K> for (Bound<Q>, Bound<Q>) {
    fn encode_bounds(self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        (self.0.map(encoded), self.1.map(encoded))
    }
}

/// What keys of type `K` can begin with: a `&str` for `String`, a `&[u8]` for `Vec<u8>` and [`Bytes`], and for tuples a tuple
/// of their first parts, such as `(author,)` for `(Author, Number)`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// let db = halite::Db::open("mem:").await?;
/// let places = db.collection::<(String, String), ()>("places");
/// for (city, quarter) in [("Berlin", "Mitte"), ("Bern", "Matte")] {
///     places.put((city.to_owned(), quarter.to_owned()), &()).await?;
/// }
/// let in_bern: Vec<_> = places.prefix(("Bern",)).keys().try_collect().await?; // the first part, whole
/// assert_eq!(in_bern, [("Bern".to_owned(), "Matte".to_owned())]);
/// # db.close().await
/// # }
/// ```
pub trait PrefixOf<K> {
    /// Appends what the encodings of all those keys, and of no others, begin with.
    fn encode_prefix(&self, out: &mut Vec<u8>);
}

impl PrefixOf<String> for &str {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        encode_open(self.as_bytes(), out);
    }
}

impl PrefixOf<Vec<u8>> for &[u8] {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        encode_open(self, out);
    }
}

impl PrefixOf<Bytes> for &[u8] {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        encode_open(self, out);
    }
}

macro_rules! prefix {
    ($($part:ident)*: $($first:ident as $key:ident $index:tt),*) => {
        impl<$($part,)* $($first: AsKey<$key>),*> PrefixOf<($($part,)*)> for ($($first,)*) {
            fn encode_prefix(&self, out: &mut Vec<u8>) {
                $(self.$index.encode_key(out);)*
            }
        }
    };
}

prefix!(A B: P as A 0);
prefix!(A B C: P as A 0);
prefix!(A B C: P as A 0, Q as B 1);
prefix!(A B C D: P as A 0);
prefix!(A B C D: P as A 0, Q as B 1);
prefix!(A B C D: P as A 0, Q as B 1, R as C 2);
prefix!(A B C D E: P as A 0);
prefix!(A B C D E: P as A 0, Q as B 1);
prefix!(A B C D E: P as A 0, Q as B 1, R as C 2);
prefix!(A B C D E: P as A 0, Q as B 1, R as C 2, S as D 3);
prefix!(A B C D E F: P as A 0);
prefix!(A B C D E F: P as A 0, Q as B 1);
prefix!(A B C D E F: P as A 0, Q as B 1, R as C 2);
prefix!(A B C D E F: P as A 0, Q as B 1, R as C 2, S as D 3);
prefix!(A B C D E F: P as A 0, Q as B 1, R as C 2, S as D 3, T as E 4);
