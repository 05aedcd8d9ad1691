//! The engine for callers without async: the same database, each call returning when it is done.
//!
//! A blocking [`Db`] brings a runtime of its own. Calls run on the threads that make them, any number at once; what goes on
//! between calls (the intervals of weaker durability, seals, merges) runs on one thread of the database's own. On WASI,
//! which has no threads, it goes on during calls: there a `Deferred` commit is written by the next call after its interval,
//! or when the last handle goes.
//!
//! ```
//! # fn main() -> halite::Result<()> {
//! use halite::blocking::Db;
//! let db = Db::open("mem:")?;
//! db.put("key", "value")?;
//! assert_eq!(db.get("key")?.as_deref(), Some(&b"value"[..]));
//! db.close()
//! # }
//! ```
//!
//! # Not in async code
//! Within a tokio runtime every call here fails with `InvalidInput` instead of blocking the tasks around it, on the threads
//! of `spawn_blocking` too. Use [`halite::Db`](crate::Db) there, on the latter with `Handle::current().block_on(…)`.
//!
//! # What is here
//! Every call of [`halite::Db`](crate::Db), [`ReadOnly`], [`Snapshot`], [`Transaction`] and [`Collection`] has a namesake here
//! with the same arguments, durability and errors; scans and watches are iterators instead of streams. Settings, batches,
//! reports and errors are the same types. Opening takes the async [`Builder`]: [`Db::open_with`], [`ReadOnly::open_with`],
//! [`ReadOnly::open_at`].
//!
//! What is missing on purpose are ways to wait with a time-out, or for several things at once: that takes futures.
//! [`Db::as_async`] is the async handle of the same database, and [`Db::run`] runs any future of it:
//! `db.run(async { tokio::time::timeout(second, commits.next()).await })?`.

mod change;
mod collection;
mod copies;
mod home;
mod host;
mod reader;
mod scan;
mod snapshot;
mod transaction;
mod watch;

pub use collection::{Collection, Entries, Keys};
pub use copies::repair;
pub use reader::ReadOnly;
pub use scan::{Scan, TransactionScan};
pub use snapshot::Snapshot;
pub use transaction::Transaction;
pub use watch::Watch;

use crate::{
    Builder, CompactOptions, CompactReport, Entry, Key, KeyRange, Result, Seq, Stats, Tree, VerifyOptions,
    VerifyProgress, VerifyReport, WarmOptions, WarmReport, WriteBatch, WriteOptions,
};
use bytes::Bytes;
use home::Home;
use std::sync::Arc;
use std::time::Duration;

/// An open database for callers without async: a handle that is cheap to clone and may be used by many threads at once.
///
/// Dropping the last handle waits until what was committed has been handed to the operating system; a
/// [`close`](Db::close) makes it durable and spares the next opening a replay. Scans and snapshots are handles too.
///
/// ```
/// # fn main() -> halite::Result<()> {
/// use halite::{Options, backends::Memory, blocking::Db};
/// use std::sync::Arc;
/// let options = Options { segment_bytes_max: 16 << 20, ..Options::default() };
/// let db = Db::open_with(halite::Db::builder(Arc::new(Memory::new())).options(options))?;
/// std::thread::scope(|scope| {
///     for writer in 0..4 {
///         let db = &db;
///         scope.spawn(move || db.put(format!("writer:{writer}"), "was here"));
///     }
/// });
/// assert_eq!(db.prefix("writer:").count(), 4);
/// # db.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Db {
    // Dropped in this order: the database goes before the runtime may.
    db: crate::Db,
    home: Arc<Home>,
}

impl Db {
    /// Opens the store at `location`: see [`halite::Db::open`](crate::Db::open).
    ///
    /// # Errors
    /// As there; `InvalidInput` within an async runtime.
    pub fn open(location: impl AsRef<str>) -> Result<Db> {
        Db::start(crate::Db::open(location))
    }

    /// Opens a store as `builder` says, which [`halite::Db::builder`](crate::Db::builder) makes.
    ///
    /// # Errors
    /// As [`Builder::open`]; `InvalidInput` within an async runtime.
    pub fn open_with(builder: Builder) -> Result<Db> {
        Db::start(builder.open())
    }

    fn start(open: impl Future<Output = Result<crate::Db>>) -> Result<Db> {
        let (db, home) = Home::start(open, |db| Some(db.core().clone()))?;
        Ok(Db { db, home })
    }

    /// The async handle of this database. Its futures run in [`run`](Db::run), or in any runtime, but the database lives no
    /// longer than its blocking handles.
    pub fn as_async(&self) -> &crate::Db {
        &self.db
    }

    /// Runs `future` on this thread, within the database's runtime, and returns what it gives.
    ///
    /// # Errors
    /// `InvalidInput` within an async runtime.
    pub fn run<F: Future>(&self, future: F) -> Result<F::Output> {
        self.home.host().run(future)
    }

    /// Sets `key` to `value`. Durability and errors as [`halite::Db::put`](crate::Db::put); so for all that follow.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.home.run(self.as_async().put(key, value))
    }

    /// Sets `key` to `value` as `options` say.
    pub fn put_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: WriteOptions) -> Result<()> {
        self.home.run(self.as_async().put_with(key, value, options))
    }

    /// Sets `key` to `value`, whose memory is kept rather than copied where it is a large one.
    pub fn put_bytes(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<()> {
        self.home.run(self.as_async().put_bytes(key, value))
    }

    /// Deletes `key`; no error where it is not there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.home.run(self.as_async().delete(key))
    }

    /// Deletes `key` as `options` say.
    pub fn delete_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<()> {
        self.home.run(self.as_async().delete_with(key, options))
    }

    /// Deletes all keys in `range`, at the cost of one record: see [`halite::Db::delete_range`](crate::Db::delete_range).
    pub fn delete_range(&self, range: impl Into<KeyRange>) -> Result<()> {
        self.home.run(self.as_async().delete_range(range))
    }

    /// Deletes all keys in `range` as `options` say.
    pub fn delete_range_with(&self, range: impl Into<KeyRange>, options: WriteOptions) -> Result<()> {
        self.home.run(self.as_async().delete_range_with(range, options))
    }

    /// Deletes all keys that begin with `prefix`.
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.home.run(self.as_async().delete_prefix(prefix))
    }

    /// Deletes all keys.
    pub fn clear(&self) -> Result<()> {
        self.home.run(self.as_async().clear())
    }

    /// Commits `batch`, all of it or nothing.
    pub fn write(&self, batch: WriteBatch) -> Result<()> {
        self.home.run(self.as_async().write(batch))
    }

    /// Commits `batch`, all of it or nothing, as `options` say.
    pub fn write_with(&self, batch: WriteBatch, options: WriteOptions) -> Result<()> {
        self.home.run(self.as_async().write_with(batch, options))
    }

    /// The value of `key`: see [`halite::Db::get`](crate::Db::get).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.home.run(self.as_async().get(key))
    }

    /// The values of `keys`, in their order: see [`halite::Db::get_many`](crate::Db::get_many).
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        self.home.run(self.as_async().get_many(keys))
    }

    /// The entry of `key`: its value, sequence number and expiry.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.home.run(self.as_async().get_entry(key))
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.home.run(self.as_async().contains(key))
    }

    /// The entries whose keys lie in `range`, as they are at this call.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(self.as_async().scan(range), self.home.clone())
    }

    /// The entries whose keys begin with `prefix`, as they are at this call.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// The commits from `from_seq` on that change keys beginning with `prefix`: see
    /// [`halite::Db::watch`](crate::Db::watch).
    pub fn watch(&self, prefix: impl AsRef<[u8]>, from_seq: Seq) -> Watch {
        Watch::new(self.as_async().watch(prefix, from_seq), self.home.clone())
    }

    /// The database as it is now, for as long as it is held.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.as_async().snapshot(), self.home.clone())
    }

    /// The collection `name`: a map from `K` to `V` among others in this store. See [`halite::Collection`](crate::Collection).
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V> {
        Collection::new(self.as_async().collection(name), self.home.clone())
    }

    /// Makes all commits so far durable: see [`halite::Db::flush`](crate::Db::flush).
    pub fn flush(&self) -> Result<()> {
        self.home.run(self.as_async().flush())
    }

    /// Merges all segments into one sorted run: see [`halite::Db::compact`](crate::Db::compact).
    pub fn compact(&self) -> Result<CompactReport> {
        self.home.run(self.as_async().compact())
    }

    /// Does what there is to do in the background, for `budget` at most: see [`halite::Db::maintain`](crate::Db::maintain).
    pub fn maintain(&self, budget: Duration) -> Result<bool> {
        self.home.run(self.as_async().maintain(budget))
    }

    /// As [`compact`](Db::compact), as `options` say: see [`halite::Db::compact_with`](crate::Db::compact_with).
    pub fn compact_with(&self, options: CompactOptions) -> Result<CompactReport> {
        self.home.run(self.as_async().compact_with(options))
    }

    /// Gives up the merge that is under way: see [`halite::Db::cancel_compaction`](crate::Db::cancel_compaction).
    pub fn cancel_compaction(&self) {
        self.as_async().cancel_compaction();
    }

    /// Reads and checks every byte of every sealed segment: see [`halite::Db::verify`](crate::Db::verify).
    pub fn verify(&self) -> Result<VerifyReport> {
        self.home.run(self.as_async().verify())
    }

    /// As [`verify`](Db::verify), as `options` say, and tells `progress` how far it is: see
    /// [`halite::Db::verify_with`](crate::Db::verify_with).
    pub fn verify_with(
        &self,
        options: VerifyOptions,
        progress: impl FnMut(VerifyProgress) + Send,
    ) -> Result<VerifyReport> {
        self.home.run(self.as_async().verify_with(options, progress))
    }

    /// Reads what reads of the keys in `range` will need: see [`halite::Db::warm`](crate::Db::warm).
    pub fn warm(&self, range: impl Into<KeyRange>, options: WarmOptions) -> Result<WarmReport> {
        self.home.run(self.as_async().warm(range, options))
    }

    /// What the database holds and does, in numbers.
    pub fn stats(&self) -> Stats {
        self.as_async().stats()
    }

    /// The segments and memtables, as a tree: see [`halite::Db::tree`](crate::Db::tree).
    pub fn tree(&self) -> Result<Tree> {
        self.home.run(self.as_async().tree())
    }

    /// Waits until as many segments are resident as the memory budget has room for: see
    /// [`halite::Db::loaded`](crate::Db::loaded).
    pub fn loaded(&self) -> Result<()> {
        self.home.run(self.as_async().loaded())
    }

    /// Makes everything durable, seals it, and closes the database: see [`halite::Db::close`](crate::Db::close).
    pub fn close(&self) -> Result<()> {
        self.home.run(self.as_async().close())
    }

    /// Opens the same store anew after a failure has stopped this handle from writing: see
    /// [`halite::Db::reopen`](crate::Db::reopen).
    pub fn reopen(&self) -> Result<Db> {
        let db = self.as_async().clone();
        Db::start(async move { db.reopen().await })
    }
}

#[cfg(test)]
mod tests;
