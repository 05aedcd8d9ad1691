//! Blocking collections.

use super::home::Home;
use super::scan::sealed::Blocking;
use super::{Scan, Transaction};
use crate::typed::{AsKey, Course, Entries as AsyncEntries, Key, KeyBounds, Place, PrefixOf, Reader};
use crate::{Entry, Result, WriteBatch, WriteOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A map from `K` to `V`, kept under a name: [`halite::Collection`](crate::Collection) for callers without async.
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// let visits = db.collection::<String, u64>("visits");
/// visits.put("home", &1)?;
/// for visit in visits.scan(..) {
///     let (page, count) = visit?;
///     println!("{page}: {count}");
/// }
/// # drop(visits);
/// # db.close()
/// # }
/// ```
#[derive(Debug)]
pub struct Collection<K, V, R = crate::Db> {
    // Dropped in this order: what reads goes before the runtime may.
    collection: crate::Collection<K, V, R>,
    home: Arc<Home>,
}

impl<K, V, R: Clone> Clone for Collection<K, V, R> {
    fn clone(&self) -> Self {
        Collection { collection: self.collection.clone(), home: self.home.clone() }
    }
}

impl<K: Key, V, R> Collection<K, V, R> {
    pub(super) fn new(collection: crate::Collection<K, V, R>, home: Arc<Home>) -> Self {
        Collection { collection, home }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.collection.name()
    }

    /// Adds a delete to `batch`.
    pub fn delete_in(&self, batch: &mut WriteBatch, key: impl AsKey<K>) {
        self.collection.delete_in(batch, key);
    }

    /// Adds a delete of all keys in `range` to `batch`.
    pub fn delete_range_in(&self, batch: &mut WriteBatch, range: impl KeyBounds<K>) {
        self.collection.delete_range_in(batch, range);
    }
}

impl<K: Key, V: DeserializeOwned, R: Reader<Scan: Blocking>> Collection<K, V, R> {
    /// The value of `key`, or `None` where it is absent, deleted or expired.
    pub fn get(&self, key: impl AsKey<K>) -> Result<Option<V>> {
        self.home.run(self.collection.get(key))
    }

    /// Whether `key` is there. The value is not decoded.
    pub fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        self.home.run(self.collection.contains(key))
    }

    /// The entries whose keys lie in `range`, in the order of their keys, as they are at this call.
    pub fn scan(&self, range: impl KeyBounds<K>) -> Entries<K, V, <R::Scan as Blocking>::Scan> {
        Entries::new(self.collection.scan(range), self.home.clone())
    }

    /// The entries whose keys begin with `prefix`.
    pub fn prefix(&self, prefix: impl PrefixOf<K>) -> Entries<K, V, <R::Scan as Blocking>::Scan> {
        Entries::new(self.collection.prefix(prefix), self.home.clone())
    }
}

impl<K: Key, V: Serialize, R> Collection<K, V, R> {
    /// Adds a put to `batch`, which [`Db::write`](super::Db::write) commits: all of it or nothing, whatever the collections.
    ///
    /// # Errors
    /// `InvalidInput` where serde cannot encode the value; the batch is unchanged then.
    pub fn put_in(&self, batch: &mut WriteBatch, key: impl AsKey<K>, value: &V) -> Result<()> {
        self.collection.put_in(batch, key, value)
    }
}

impl<K: Key, V: Serialize> Collection<K, V> {
    /// Sets `key` to `value`.
    pub fn put(&self, key: impl AsKey<K>, value: &V) -> Result<()> {
        self.home.run(self.collection.put(key, value))
    }

    /// Sets `key` to `value` as `options` say.
    pub fn put_with(&self, key: impl AsKey<K>, value: &V, options: WriteOptions) -> Result<()> {
        self.home.run(self.collection.put_with(key, value, options))
    }
}

impl<K: Key, V> Collection<K, V> {
    /// Deletes `key`; no error where it is not there.
    pub fn delete(&self, key: impl AsKey<K>) -> Result<()> {
        self.home.run(self.collection.delete(key))
    }

    /// Deletes all keys in `range`, at the cost of one record.
    pub fn delete_range(&self, range: impl KeyBounds<K>) -> Result<()> {
        self.home.run(self.collection.delete_range(range))
    }

    /// Deletes all keys of the collection, at the cost of one record, and of no other.
    pub fn clear(&self) -> Result<()> {
        self.home.run(self.collection.clear())
    }
}

impl Transaction {
    /// The collection `name` in this transaction: see [`halite::Transaction::collection`](crate::Transaction::collection).
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V, crate::Transaction> {
        Collection::new(self.as_async().collection(name), self.home().clone())
    }
}

impl<K: Key, V: Serialize> Collection<K, V, crate::Transaction> {
    /// Sets `key` to `value`, once the transaction is committed.
    pub fn put(&self, key: impl AsKey<K>, value: &V) -> Result<()> {
        self.collection.put(key, value)
    }

    /// Sets `key` to `value`, once committed, to live for `ttl` from now on.
    pub fn put_with(&self, key: impl AsKey<K>, value: &V, ttl: Duration) -> Result<()> {
        self.collection.put_with(key, value, ttl)
    }
}

impl<K: Key, V> Collection<K, V, crate::Transaction> {
    /// Deletes `key`, once committed; no error where it is not there.
    pub fn delete(&self, key: impl AsKey<K>) -> Result<()> {
        self.collection.delete(key)
    }

    /// Deletes all keys in `range`, once committed, at the cost of one record.
    pub fn delete_range(&self, range: impl KeyBounds<K>) -> Result<()> {
        self.collection.delete_range(range)
    }

    /// Deletes all keys of the collection, once committed, and of no other.
    pub fn clear(&self) -> Result<()> {
        self.collection.clear()
    }
}

/// The entries of a range of a [`Collection`], in the order of their keys: an [`Iterator`] of `Result<(K, V)>`.
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// let ages = db.collection::<String, u8>("ages");
/// ages.put("Ada", &36)?;
/// for entry in ages.scan(..).rev().limit(10) {
///     let (name, age) = entry?;
///     println!("{name} is {age}");
/// }
/// # drop(ages);
/// # db.close()
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a scan does nothing unless it is iterated over"]
pub struct Entries<K, V, S = Scan> {
    scan: S,
    place: Arc<Place>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, S: Course> Entries<K, V, S> {
    fn new<A: Blocking<Scan = S>>(entries: AsyncEntries<K, V, A>, home: Arc<Home>) -> Entries<K, V, S> {
        let (scan, place) = entries.into_parts();
        Entries { scan: scan.blocking(home), place, types: PhantomData }
    }

    /// Goes from the largest key of the range down to the smallest: see [`halite::Scan::rev`](crate::Scan::rev).
    pub fn rev(self) -> Entries<K, V, S> {
        Entries { scan: self.scan.rev(), ..self }
    }

    /// Ends after `count` entries.
    pub fn limit(self, count: usize) -> Entries<K, V, S> {
        Entries { scan: self.scan.limit(count), ..self }
    }

    /// Gives keys only; values are not even read where that can be avoided.
    pub fn keys(self) -> Keys<K, S> {
        Keys { scan: self.scan.keys_only(), place: self.place, types: PhantomData }
    }
}

impl<K: Key, V: DeserializeOwned, S: Iterator<Item = Result<Entry>>> Iterator for Entries<K, V, S> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Result<(K, V)>> {
        let entry = self.scan.next()?;
        Some(entry.and_then(|entry| {
            let key = self.place.decode_key(&entry.key)?;
            Ok((key, self.place.decode_value(&entry.key, &entry.value)?))
        }))
    }
}

/// The keys of a range of a [`Collection`], in order: an [`Iterator`] of `Result<K>`.
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// let ages = db.collection::<String, u8>("ages");
/// ages.put("Ada", &36)?;
/// let names: Vec<String> = ages.scan(..).keys().collect::<halite::Result<_>>()?;
/// assert_eq!(names, ["Ada"]);
/// # drop(ages);
/// # db.close()
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a scan does nothing unless it is iterated over"]
pub struct Keys<K, S = Scan> {
    scan: S,
    place: Arc<Place>,
    types: PhantomData<fn() -> K>,
}

impl<K: Key, S: Iterator<Item = Result<Entry>>> Iterator for Keys<K, S> {
    type Item = Result<K>;

    fn next(&mut self) -> Option<Result<K>> {
        let entry = self.scan.next()?;
        Some(entry.and_then(|entry| self.place.decode_key(&entry.key)))
    }
}
