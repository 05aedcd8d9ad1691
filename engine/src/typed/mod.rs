//! Typed collections: maps of keys and values of your own types, many in one store.
//!
//! A collection is a name and two types; it has no state of its own. Keys are encoded so that they sort as they do in Rust
//! ([`key`]), values with serde and postcard, and names keep collections apart ([`place`]). Types are not recorded: who opens
//! a collection with other types than it was written with gets errors that say so, or values of the wrong meaning where the
//! bytes happen to fit.

mod as_key;
mod entries;
mod key;
mod place;
mod reader;

pub use as_key::{AsKey, KeyBounds, PrefixOf};
pub use entries::{Entries, Keys};
pub use key::{Key, KeyError};
pub use reader::Reader;

pub(crate) use place::Place;
pub(crate) use reader::courses;
pub(crate) use reader::sealed::Course;

use crate::{Db, ReadOnly, Result, Snapshot, Transaction, WriteBatch, WriteOptions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A map from `K` to `V`, kept under a name: of a [`Db`], in a [`Transaction`], or as a [`Snapshot`] or a [`ReadOnly`]
/// shows it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// use halite::{Db, WriteBatch};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User { name: String, age: u8 }
///
/// let db = Db::open("mem:").await?;
/// let users = db.collection::<u64, User>("users");
/// let by_name = db.collection::<(String, u64), ()>("users by name");
///
/// // Atomic across collections.
/// let ada = User { name: "Ada".to_owned(), age: 36 };
/// let mut batch = WriteBatch::new();
/// users.put_in(&mut batch, 1, &ada)?;
/// by_name.put_in(&mut batch, ("Ada".to_owned(), 1), &())?;
/// db.write(batch).await?;
///
/// assert_eq!(users.get(1).await?, Some(ada));
/// let named: Vec<(String, u64)> = by_name.prefix(("Ada",)).keys().try_collect().await?;
/// assert_eq!(named, [("Ada".to_owned(), 1)]);
/// let adults: Vec<(u64, User)> = users.scan(..=99).try_collect().await?;
/// assert_eq!(adults.len(), 1);
/// # db.close().await
/// # }
/// ```
///
/// Errors are those of the calls on `Db` that it makes, and `WrongType` where what is stored is not of these types: with the
/// names of collection and key.
pub struct Collection<K, V, R = Db> {
    reader: R,
    place: Arc<Place>,
    types: PhantomData<fn() -> (K, V)>,
}

impl Db {
    /// The collection `name`: a map from `K` to `V` among others in this store. Nothing is read or written by this, and a
    /// collection that holds nothing does not exist. See [`Collection`].
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V> {
        Collection::new(self.clone(), name.as_ref())
    }
}

impl Snapshot {
    /// The collection `name` as it is at this moment: see [`Collection`].
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V, Snapshot> {
        Collection::new(self.clone(), name.as_ref())
    }
}

impl ReadOnly {
    /// The collection `name` as this reader shows it, each call what it shows then: see [`Collection`].
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V, ReadOnly> {
        Collection::new(self.clone(), name.as_ref())
    }
}

impl Transaction {
    /// The collection `name` in this transaction: its reads and writes are the transaction's, across as many collections as
    /// there are, and errors once that has ended. See [`Collection`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// let stock = db.collection::<String, u32>("stock");
    /// stock.put("pen", &3).await?;
    /// let order = db.transact(async |transaction| {
    ///     let stock = transaction.collection::<String, u32>("stock");
    ///     let orders = transaction.collection::<u64, String>("orders");
    ///     let Some(left) = stock.get("pen").await?.and_then(|pens| pens.checked_sub(1)) else { return Ok(None) };
    ///     stock.put("pen", &left)?;
    ///     orders.put(1, &"pen".to_owned())?;
    ///     Ok(Some(1))
    /// });
    /// assert_eq!(order.await?, Some(1));
    /// assert_eq!(stock.get("pen").await?, Some(2));
    /// # db.close().await
    /// # }
    /// ```
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V, Transaction> {
        Collection::new(self.lent(), name.as_ref())
    }
}

impl<K: Key, V, R> Collection<K, V, R> {
    fn new(reader: R, name: &str) -> Collection<K, V, R> {
        Collection { reader, place: Arc::new(Place::new(name)), types: PhantomData }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.place.name()
    }
}

impl<K: Key, V: DeserializeOwned, R: Reader> Collection<K, V, R> {
    /// The value of `key`, or `None` where it is absent, deleted or expired.
    pub async fn get(&self, key: impl AsKey<K>) -> Result<Option<V>> {
        let key = self.place.encode_key(&key);
        match self.reader.get(&key).await? {
            Some(value) => self.place.decode_value(&key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Whether `key` is there. The value is not decoded.
    pub async fn contains(&self, key: impl AsKey<K>) -> Result<bool> {
        self.reader.contains(&self.place.encode_key(&key)).await
    }

    /// The entries whose keys lie in `range`, in the order of their keys, as they are at this call.
    pub fn scan(&self, range: impl KeyBounds<K>) -> Entries<K, V, R::Scan> {
        Entries::new(self.reader.scan(self.place.range(range)), self.place.clone())
    }

    /// The entries whose keys begin with `prefix`: text for `String`, the first parts of a tuple. Otherwise as
    /// [`scan`](Collection::scan).
    pub fn prefix(&self, prefix: impl PrefixOf<K>) -> Entries<K, V, R::Scan> {
        Entries::new(self.reader.scan(self.place.prefix(&prefix)), self.place.clone())
    }
}

impl<K: Key, V: Serialize> Collection<K, V> {
    /// Sets `key` to `value`: durability, errors and cancel safety as [`Db::put`], and `InvalidInput` where serde cannot
    /// encode the value.
    pub async fn put(&self, key: impl AsKey<K>, value: &V) -> Result<()> {
        let (key, value) = self.encode(key, value)?;
        self.reader.put(key, value).await
    }

    /// Sets `key` to `value` as `options` say.
    pub async fn put_with(&self, key: impl AsKey<K>, value: &V, options: WriteOptions) -> Result<()> {
        let (key, value) = self.encode(key, value)?;
        self.reader.put_with(key, value, options).await
    }
}

impl<K: Key, V> Collection<K, V> {
    /// Deletes `key`; no error where it is not there. As [`Db::delete`].
    pub async fn delete(&self, key: impl AsKey<K>) -> Result<()> {
        self.reader.delete(self.place.encode_key(&key)).await
    }

    /// Deletes all keys in `range`, at the cost of one record. As [`Db::delete_range`].
    pub async fn delete_range(&self, range: impl KeyBounds<K>) -> Result<()> {
        self.reader.delete_range(self.place.range(range)).await
    }

    /// Deletes all keys of the collection, at the cost of one record, and of no other. As [`Db::delete_range`].
    pub async fn clear(&self) -> Result<()> {
        self.reader.delete_range(self.place.all()).await
    }
}

impl<K: Key, V: Serialize> Collection<K, V, Transaction> {
    /// Sets `key` to `value`, once the transaction is committed: as [`Transaction::put`], and `InvalidInput` where serde
    /// cannot encode the value.
    pub fn put(&self, key: impl AsKey<K>, value: &V) -> Result<()> {
        let (key, value) = self.encode(key, value)?;
        self.reader.put(key, value)
    }

    /// Sets `key` to `value`, once committed, to live for `ttl` from now on: as [`Transaction::put_with`].
    pub fn put_with(&self, key: impl AsKey<K>, value: &V, ttl: Duration) -> Result<()> {
        let (key, value) = self.encode(key, value)?;
        self.reader.put_with(key, value, ttl)
    }
}

impl<K: Key, V> Collection<K, V, Transaction> {
    /// Deletes `key`, once committed; no error where it is not there. As [`Transaction::delete`].
    pub fn delete(&self, key: impl AsKey<K>) -> Result<()> {
        self.reader.delete(self.place.encode_key(&key))
    }

    /// Deletes all keys in `range`, once committed, at the cost of one record. As [`Transaction::delete_range`].
    pub fn delete_range(&self, range: impl KeyBounds<K>) -> Result<()> {
        self.reader.delete_range(self.place.range(range))
    }

    /// Deletes all keys of the collection, once committed, and of no other. As [`Transaction::delete_range`].
    pub fn clear(&self) -> Result<()> {
        self.reader.delete_range(self.place.all())
    }
}

impl<K: Key, V: Serialize, R> Collection<K, V, R> {
    fn encode(&self, key: impl AsKey<K>, value: &V) -> Result<(Vec<u8>, Vec<u8>)> {
        let key = self.place.encode_key(&key);
        let value = self.place.encode_value(&key, value)?;
        Ok((key, value))
    }

    /// Adds a put to `batch`, which [`Db::write`] commits: all of it or nothing, whatever the collections.
    ///
    /// # Errors
    /// `InvalidInput` where serde cannot encode the value; the batch is unchanged then.
    pub fn put_in(&self, batch: &mut WriteBatch, key: impl AsKey<K>, value: &V) -> Result<()> {
        let (key, value) = self.encode(key, value)?;
        batch.push_put(&key, &value, None);
        Ok(())
    }
}

impl<K: Key, V, R> Collection<K, V, R> {
    /// Adds a delete to `batch`.
    pub fn delete_in(&self, batch: &mut WriteBatch, key: impl AsKey<K>) {
        batch.push_delete(&self.place.encode_key(&key));
    }

    /// Adds a delete of all keys in `range` to `batch`: of those that were there before, and those that the batch has put
    /// before.
    pub fn delete_range_in(&self, batch: &mut WriteBatch, range: impl KeyBounds<K>) {
        batch.push_delete_range(&self.place.range(range));
    }
}

impl<K, V, R: Clone> Clone for Collection<K, V, R> {
    fn clone(&self) -> Self {
        Collection { reader: self.reader.clone(), place: self.place.clone(), types: PhantomData }
    }
}

impl<K, V, R> fmt::Debug for Collection<K, V, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection").field("name", &self.place.name()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
