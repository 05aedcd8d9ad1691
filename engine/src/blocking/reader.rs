//! Blocking readers: a store opened read-only.

use super::home::Home;
use super::{Collection, Scan};
use crate::backends::Backend;
use crate::{
    Builder, Checkpoint, CheckpointOptions, CopyReport, Entry, Key, KeyRange, Result, Seq, ShipOptions, Stats,
    Superfluous, Tree, VerifyOptions, VerifyProgress, VerifyReport, WarmOptions, WarmReport,
};
use bytes::Bytes;
use std::sync::Arc;

/// A store opened read-only, beside its writer if there is one: [`halite::ReadOnly`](crate::ReadOnly) for callers without
/// async.
///
/// It follows the database by [`refresh`](ReadOnly::refresh), and by itself every
/// [`Options::refresh_interval`](crate::Options::refresh_interval) (on WASI, which has no threads, during calls).
///
/// ```
/// # fn main() -> halite::Result<()> {
/// use halite::backends::Memory;
/// use halite::blocking::{Db, ReadOnly};
/// use std::sync::Arc;
/// let backend = Arc::new(Memory::new());
/// let db = Db::open_with(halite::Db::builder(backend.clone()))?;
/// let reader = ReadOnly::open_with(halite::Db::builder(backend.clone()))?;
/// db.put("key", "value")?;
/// db.checkpoint("monday")?;
/// reader.refresh()?;
/// assert_eq!(reader.get("key")?.as_deref(), Some(&b"value"[..]));
/// let monday = ReadOnly::open_at(halite::Db::builder(backend), "monday")?;
/// assert_eq!(monday.scan(..).count(), 1);
/// # db.close()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnly {
    // Dropped in this order: what reads goes before the runtime may.
    reader: crate::ReadOnly,
    home: Arc<Home>,
}

impl ReadOnly {
    /// Opens the store at `location` read-only, with default options: see
    /// [`Builder::open_read_only`](crate::Builder::open_read_only).
    ///
    /// # Errors
    /// As there; `InvalidInput` for a URI of an unknown scheme, where `location` is no folder, and within an async runtime.
    pub fn open(location: impl AsRef<str>) -> Result<ReadOnly> {
        ReadOnly::open_with(crate::Db::builder(crate::backends::open_uri(location.as_ref(), false)?))
    }

    /// Opens a store read-only as `builder` says: see [`Builder::open_read_only`](crate::Builder::open_read_only).
    ///
    /// # Errors
    /// As there; `InvalidInput` within an async runtime.
    pub fn open_with(builder: Builder) -> Result<ReadOnly> {
        ReadOnly::start(builder.open_read_only())
    }

    /// Opens a checkpoint as `builder` says: see [`Builder::open_at`](crate::Builder::open_at).
    ///
    /// # Errors
    /// As there; `InvalidInput` within an async runtime.
    pub fn open_at(builder: Builder, checkpoint: impl AsRef<str>) -> Result<ReadOnly> {
        ReadOnly::start(builder.open_at(checkpoint))
    }

    /// Opens the past as `builder` says: see [`Builder::open_at_time`](crate::Builder::open_at_time).
    ///
    /// # Errors
    /// As there; `InvalidInput` within an async runtime.
    pub fn open_at_time(builder: Builder, time: u64) -> Result<ReadOnly> {
        ReadOnly::start(builder.open_at_time(time))
    }

    fn start(open: impl Future<Output = Result<crate::ReadOnly>>) -> Result<ReadOnly> {
        let (reader, home) = Home::start(open, |_| None)?;
        Ok(ReadOnly { reader, home })
    }

    /// The async handle of this reader: see [`Db::as_async`](super::Db::as_async).
    pub fn as_async(&self) -> &crate::ReadOnly {
        &self.reader
    }

    /// Runs `future` on this thread, within the reader's runtime: see [`Db::run`](super::Db::run).
    ///
    /// # Errors
    /// `InvalidInput` within an async runtime.
    pub fn run<F: Future>(&self, future: F) -> Result<F::Output> {
        self.home.host().run(future)
    }

    /// Goes on to all that is durable now; whether that is more than before: see
    /// [`halite::ReadOnly::refresh`](crate::ReadOnly::refresh).
    pub fn refresh(&self) -> Result<bool> {
        self.home.run(self.reader.refresh())
    }

    /// The value of `key`: see [`halite::ReadOnly::get`](crate::ReadOnly::get).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.home.run(self.reader.get(key))
    }

    /// The values of `keys`, in their order: see [`halite::ReadOnly::get_many`](crate::ReadOnly::get_many).
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        self.home.run(self.reader.get_many(keys))
    }

    /// The entry of `key`: its value, sequence number and expiry.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.home.run(self.reader.get_entry(key))
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.home.run(self.reader.contains(key))
    }

    /// The entries whose keys lie in `range`, as they show at this call: see
    /// [`halite::ReadOnly::scan`](crate::ReadOnly::scan).
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(self.reader.scan(range), self.home.clone())
    }

    /// The entries whose keys begin with `prefix`, as they show at this call.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// The collection `name` as this reader shows it: see [`halite::Collection`](crate::Collection).
    pub fn collection<K: Key, V>(&self, name: impl AsRef<str>) -> Collection<K, V, crate::ReadOnly> {
        Collection::new(self.reader.collection(name), self.home.clone())
    }

    /// The last commit that shows. Errors as [`halite::ReadOnly::seq`](crate::ReadOnly::seq).
    pub fn seq(&self) -> Result<Seq> {
        self.reader.seq()
    }

    /// The engine time by which expiries are judged: see [`halite::ReadOnly::time`](crate::ReadOnly::time).
    pub fn time(&self) -> Result<u64> {
        self.reader.time()
    }

    /// Reads and checks every byte of every sealed segment that is shown: see
    /// [`halite::ReadOnly::verify`](crate::ReadOnly::verify).
    pub fn verify(&self) -> Result<VerifyReport> {
        self.home.run(self.reader.verify())
    }

    /// As [`verify`](ReadOnly::verify), as `options` say, and tells `progress` how far it is.
    pub fn verify_with(
        &self,
        options: VerifyOptions,
        progress: impl FnMut(VerifyProgress) + Send,
    ) -> Result<VerifyReport> {
        self.home.run(self.reader.verify_with(options, progress))
    }

    /// Reads what reads of the keys in `range` will need: see [`halite::ReadOnly::warm`](crate::ReadOnly::warm).
    pub fn warm(&self, range: impl Into<KeyRange>, options: WarmOptions) -> Result<WarmReport> {
        self.home.run(self.reader.warm(range, options))
    }

    /// What is shown, in numbers: see [`halite::ReadOnly::stats`](crate::ReadOnly::stats).
    pub fn stats(&self) -> Result<Stats> {
        self.reader.stats()
    }

    /// The segments, as a tree: see [`halite::ReadOnly::tree`](crate::ReadOnly::tree).
    pub fn tree(&self) -> Result<Tree> {
        self.home.run(self.reader.tree())
    }

    /// The files of the store that nothing names: see [`halite::ReadOnly::collectable`](crate::ReadOnly::collectable).
    pub fn collectable(&self) -> Result<Vec<Superfluous>> {
        self.home.run(self.reader.collectable())
    }

    /// The checkpoints of the database: see [`halite::ReadOnly::checkpoints`](crate::ReadOnly::checkpoints).
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.reader.checkpoints()
    }

    /// Makes the empty `target` a database of its own that holds what this reader shows: see
    /// [`halite::ReadOnly::clone_to`](crate::ReadOnly::clone_to).
    pub fn clone_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        self.home.run(self.reader.clone_to(target))
    }

    /// As [`clone_to`](ReadOnly::clone_to), sharing nothing: see [`halite::ReadOnly::copy_to`](crate::ReadOnly::copy_to).
    pub fn copy_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        self.home.run(self.reader.copy_to(target))
    }

    /// Adds what this reader shows to the backups in `target`: see [`halite::ReadOnly::backup`](crate::ReadOnly::backup).
    pub fn backup(&self, target: Arc<dyn Backend>, name: impl AsRef<str>) -> Result<CopyReport> {
        self.home.run(self.reader.backup(target, name))
    }

    /// As [`backup`](ReadOnly::backup), as `options` say: see
    /// [`halite::ReadOnly::backup_with`](crate::ReadOnly::backup_with).
    pub fn backup_with(
        &self,
        target: Arc<dyn Backend>,
        name: impl AsRef<str>,
        options: CheckpointOptions,
    ) -> Result<CopyReport> {
        self.home.run(self.reader.backup_with(target, name, options))
    }

    /// Keeps a live backup in `target`, on this thread, until the reader is closed: see
    /// [`halite::ReadOnly::ship_to`](crate::ReadOnly::ship_to).
    pub fn ship_to(
        &self,
        target: Arc<dyn Backend>,
        options: ShipOptions,
        told: impl FnMut(&CopyReport) + Send,
    ) -> Result<()> {
        self.home.run(self.reader.ship_to(target, options, told))
    }

    /// Closes it to all handles: see [`halite::ReadOnly::close`](crate::ReadOnly::close).
    ///
    /// # Errors
    /// `InvalidInput` within an async runtime.
    pub fn close(&self) -> Result<()> {
        self.home.host().run(self.reader.close())
    }
}
