//! Where a collection lies in a store, and its records' bytes.
//!
//! The key of a record is the [encoding](super::key) of the pair (name of the collection as text, key): the name, each 00 in
//! it followed by ff; 00 00; the encoding of the key. As no encoding begins with another, no two collections have a key in
//! common, nor does a range of one reach into another, whatever their names. A key that was written without a collection
//! lies in one only if it has that form, two bytes of 00 and all.
//!
//! The value of a record is what serde and [postcard](https://postcard.jamesmunns.com/wire-format) make of the value.

use super::as_key::{AsKey, KeyBounds, PrefixOf};
use super::key::{Key, encode_bytes};
use crate::{Error, ErrorKind, KeyRange, Result};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::ops::Bound;

/// A collection's name, and what its keys begin with.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    prefix: Vec<u8>,
}

impl Place {
    pub(super) fn new(name: &str) -> Place {
        let mut prefix = Vec::with_capacity(name.len() + 2);
        encode_bytes(name.as_bytes(), &mut prefix);
        Place { name: name.to_owned(), prefix }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn encode_key<K>(&self, key: &impl AsKey<K>) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.prefix.len() + 16);
        out.extend_from_slice(&self.prefix);
        key.encode_key(&mut out);
        out
    }

    pub(super) fn encode_value(&self, key: &[u8], value: &impl Serialize) -> Result<Vec<u8>> {
        let fail = |cause| self.fail(ErrorKind::InvalidInput, "value cannot be encoded", key, cause);
        postcard::to_stdvec(value).map_err(fail)
    }

    pub(crate) fn decode_key<K: Key>(&self, key: &[u8]) -> Result<K> {
        let fail =
            |cause: &dyn fmt::Display| Err(self.fail(ErrorKind::WrongType, "key is of another type", key, cause));
        let mut rest = key.get(self.prefix.len()..).unwrap_or_default();
        match K::decode(&mut rest) {
            Ok(decoded) if rest.is_empty() => Ok(decoded),
            Ok(_) => fail(&format!("{} bytes are left over", rest.len())),
            Err(cause) => fail(&cause),
        }
    }

    pub(crate) fn decode_value<V: DeserializeOwned>(&self, key: &[u8], value: &[u8]) -> Result<V> {
        let fail =
            |cause: &dyn fmt::Display| Err(self.fail(ErrorKind::WrongType, "value is of another type", key, cause));
        match postcard::take_from_bytes(value) {
            Ok((decoded, [])) => Ok(decoded),
            Ok((_, rest)) => fail(&format!("{} bytes are left over", rest.len())),
            Err(cause) => fail(&cause),
        }
    }

    fn fail(&self, kind: ErrorKind, what: &str, key: &[u8], cause: impl fmt::Display) -> Error {
        let key = key.get(self.prefix.len()..).unwrap_or_default().escape_ascii();
        Error::new(kind, format!("{what}: {cause} collection={} key={key}", self.name))
    }

    /// All keys of the collection.
    pub(super) fn all(&self) -> KeyRange {
        KeyRange::prefix(&self.prefix)
    }

    /// All keys of the collection within `bounds`.
    pub(super) fn range<K>(&self, bounds: impl KeyBounds<K>) -> KeyRange {
        let all = self.all();
        let inside = |key: Vec<u8>| Bytes::from([&self.prefix[..], &key].concat());
        let (start, end) = bounds.encode_bounds();
        let or = |bound: Bound<Vec<u8>>, unbounded| match bound {
            Bound::Unbounded => unbounded,
            bound => bound.map(inside),
        };
        KeyRange { start: or(start, all.start), end: or(end, all.end) }
    }

    /// All keys of the collection that begin with `prefix`.
    pub(super) fn prefix<K>(&self, prefix: &impl PrefixOf<K>) -> KeyRange {
        let mut out = self.prefix.clone();
        prefix.encode_prefix(&mut out);
        KeyRange::prefix(out)
    }
}
