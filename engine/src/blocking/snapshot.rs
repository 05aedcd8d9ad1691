//! Blocking snapshots.

use super::home::Home;
use super::{Collection, Scan};
use crate::{Entry, Key, KeyRange, Result, Seq};
use bytes::Bytes;
use std::sync::Arc;

/// The database at one moment: [`halite::Snapshot`](crate::Snapshot) for callers without async.
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// db.put("key", "old")?;
/// let before = db.snapshot();
/// db.put("key", "new")?;
/// assert_eq!(before.get("key")?.as_deref(), Some(&b"old"[..]));
/// # drop(before);
/// # db.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    // Dropped in this order: what reads goes before the runtime may.
    snapshot: crate::Snapshot,
    home: Arc<Home>,
}

impl Snapshot {
    pub(super) fn new(snapshot: crate::Snapshot, home: Arc<Home>) -> Snapshot {
        Snapshot { snapshot, home }
    }

    /// The value of `key` at this moment. Errors as [`Db::get`](super::Db::get).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.home.run(self.snapshot.get(key))
    }

    /// The values of `keys` at this moment, in their order. Errors as [`Db::get`](super::Db::get).
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        self.home.run(self.snapshot.get_many(keys))
    }

    /// The entry of `key` at this moment. Errors as [`Db::get`](super::Db::get).
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.home.run(self.snapshot.get_entry(key))
    }

    /// Whether `key` is there at this moment. Errors as [`Db::get`](super::Db::get).
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.home.run(self.snapshot.contains(key))
    }

    /// The entries at this moment whose keys lie in `range`.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(self.snapshot.scan(range), self.home.clone())
    }

    /// The entries at this moment whose keys begin with `prefix`.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// The collection `name` as it is at this moment: see [`halite::Collection`](crate::Collection).
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V, crate::Snapshot> {
        Collection::new(self.snapshot.collection(name), self.home.clone())
    }

    /// The last commit that shows.
    pub fn seq(&self) -> Seq {
        self.snapshot.seq()
    }

    /// The engine time by which expiries are judged, in milliseconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.snapshot.time()
    }

    /// The same snapshot for async code: see [`Db::as_async`](super::Db::as_async).
    pub fn as_async(&self) -> &crate::Snapshot {
        &self.snapshot
    }
}
