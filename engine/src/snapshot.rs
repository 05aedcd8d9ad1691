//! Snapshots: the database as it was at one moment, for as long as one is held.
//!
//! A snapshot is a version, a sequence number and a time. It costs nothing to take and copies nothing: it keeps alive
//! what its version names, memtables and files alike.

use crate::db::Db;
use crate::scan::{Entry, Scan};
use crate::version::View;
use crate::{KeyRange, Result, Seq, get};
use bytes::Bytes;

/// The database at one moment: later writes, seals, merges and expiries do not show.
///
/// While it is held the space of what it shows is not given back, and memtables that it shows stay in memory. It keeps
/// the database open as a [`Db`] does; after [`close`](Db::close) its reads fail with `Closed`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "old").await?;
/// let before = db.snapshot();
/// db.put("key", "new").await?;
/// assert_eq!(before.get("key").await?.as_deref(), Some(&b"old"[..]));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    db: Db,
    view: View,
}

impl Snapshot {
    pub(crate) fn new(db: Db) -> Snapshot {
        let view = db.core().view();
        Snapshot { db, view }
    }

    /// The value of `key` at this moment, as [`Db::get`] gives it.
    ///
    /// # Errors
    /// As [`Db::get`].
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        Ok(get::get_at(self.db.core(), &self.view, key.as_ref()).await?.map(|newest| newest.value))
    }

    /// The values of `keys` at this moment, in their order: see [`Db::get_many`].
    ///
    /// # Errors
    /// As there.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        get::get_many(self.db.core(), &self.view, keys).await
    }

    /// The entry of `key` at this moment: its value, sequence number and expiry. Errors as [`Db::get`].
    pub async fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        Ok(get::get_at(self.db.core(), &self.view, key).await?.map(|newest| newest.entry(key)))
    }

    /// Whether `key` is there at this moment. Errors as [`Db::get`].
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(get::find_at(self.db.core(), &self.view, key.as_ref()).await?.is_some())
    }

    /// The entries at this moment whose keys lie in `range`: see [`Db::scan`].
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(self.view.clone(), range.into(), self.db.core().check_open().err())
    }

    /// The entries at this moment whose keys begin with `prefix`: see [`Db::scan`].
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// The last commit that shows.
    pub fn seq(&self) -> Seq {
        self.view.at
    }

    /// The engine time by which expiries are judged, in milliseconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.view.now
    }
}
