//! What a user calls.

use crate::batch::{Write, check_lens};
use crate::builder::Builder;
use crate::checkpoint::{self, Checkpoint, CheckpointOptions};
use crate::collect::{self, Superfluous};
use crate::compaction::{self, CompactOptions, CompactReport};
use crate::core::Core;
use crate::scan::{Entry, Scan};
use crate::snapshot::Snapshot;
use crate::stats::{self, Stats, Tree};
use crate::tasks::Tasks;
use crate::verify::{self, VerifyOptions, VerifyProgress, VerifyReport};
use crate::{Durability, KeyRange, Result, WriteBatch, WriteOptions, get, recovery, residency, shutdown};
use bytes::Bytes;
use halite_backends::{Backend, Purpose};
use std::sync::Arc;
use std::time::Duration;

/// An open database: a handle that is cheap to clone and may be used by many tasks at once.
///
/// It belongs to the tokio runtime in which it was opened, whose time must be enabled. When the last handle is dropped
/// without [`close`](Db::close), what was committed is still written in the background as far as the runtime lives, but
/// the next opening has a log to replay.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("user:1", "Ada").await?;
/// assert_eq!(db.get("user:1").await?.as_deref(), Some(&b"Ada"[..]));
/// db.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Db {
    core: Arc<Core>,
    /// Tells when the last handle is dropped.
    _handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle(Arc<Core>);

impl Drop for Handle {
    fn drop(&mut self) {
        shutdown::abandon(&self.0);
    }
}

impl Db {
    /// Opens the store at `location`, a path or URI (`data`, `file:data`, `mem:`), with default options; creates it
    /// where there is none.
    ///
    /// # Errors
    /// As [`Builder::open`]; `InvalidInput` for a URI of an unknown scheme, and where `location` is no folder.
    pub async fn open(location: impl AsRef<str>) -> Result<Db> {
        // Before a folder is made.
        Tasks::current()?;
        let backend = halite_backends::open_uri(location.as_ref(), true)?;
        Db::builder(backend).open().await
    }

    /// Begins to open the store on `backend`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{Db, Options, backends::Memory};
    /// use std::sync::Arc;
    /// let options = Options { segment_bytes_max: 16 << 20, ..Options::default() };
    /// let db = Db::builder(Arc::new(Memory::new())).options(options).open().await?;
    /// # db.close().await
    /// # }
    /// ```
    pub fn builder(backend: Arc<dyn Backend>) -> Builder {
        Builder::new(backend)
    }

    pub(crate) fn new(core: Arc<Core>) -> Db {
        let _handle = Arc::new(Handle(core.clone()));
        Db { core, _handle }
    }

    /// Sets `key` to `value`, with the database's default durability ([`Durability::Synced`] unless set otherwise).
    ///
    /// # Errors
    /// `InvalidInput` beyond the limits (keys of 64 KiB, values of 1 GiB; the empty key is a key like any other).
    /// `NoSpace`, and `Io` where it could not be told whether there is space: nothing happened. `Unknown`: the log failed while
    /// the commit was under way. `Poisoned`, `Fenced`,
    /// `Closed`: nothing happened.
    ///
    /// # Cancel safety
    /// Dropped before it has entered the log, nothing happens; dropped later, the commit completes all the same.
    pub async fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        let expires_at = self.expiry(None);
        self.write_one(Write::new(key.as_ref(), Some(value.as_ref()), expires_at), self.core.options.durability).await
    }

    /// Sets `key` to `value`, whose memory is kept rather than copied where the value is a large one (64 KiB or more): until
    /// the segment that it is written to is sealed, and for as long as somebody holds what they have read of it. A slice
    /// keeps all of what it is a slice of.
    ///
    /// With options, and with other writes: [`WriteBatch::put_bytes`]. Otherwise as [`put`](Db::put).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.put_bytes("film", vec![7; 10 << 20]).await?;
    /// assert_eq!(db.get("film").await?.map(|film| film.len()), Some(10 << 20));
    /// # db.close().await
    /// # }
    /// ```
    pub async fn put_bytes(&self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> Result<()> {
        let (value, expires_at) = (value.into(), self.expiry(None));
        let write = Write::sharing(key.as_ref(), Some(&value), expires_at);
        self.write_one(write, self.core.options.durability).await
    }

    /// Sets `key` to `value` as `options` say. Otherwise as [`put`](Db::put).
    pub async fn put_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, options: WriteOptions) -> Result<()> {
        let expires_at = self.expiry(options.ttl);
        self.write_one(Write::new(key.as_ref(), Some(value.as_ref()), expires_at), options.durability).await
    }

    /// Deletes `key`; no error where it is not there. Otherwise as [`put`](Db::put).
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.write_one(Write::new(key.as_ref(), None, None), self.core.options.durability).await
    }

    /// Deletes `key` as `options` say. Otherwise as [`delete`](Db::delete).
    pub async fn delete_with(&self, key: impl AsRef<[u8]>, options: WriteOptions) -> Result<()> {
        self.write_one(Write::new(key.as_ref(), None, None), options.durability).await
    }

    /// Deletes all keys in `range`, at the cost of one record, however many there are; no error where there is none. What
    /// is put in the range later is there.
    ///
    /// What was deleted takes room until it is merged, which the background sees to, or [`compact`](Db::compact).
    /// Otherwise as [`put`](Db::put).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.write(halite::WriteBatch::new().put("2024-05-01", "…").put("2024-06-01", "…").put("2025-01-01", "…")).await?;
    /// db.delete_range(.."2024-06").await?;
    /// db.delete_prefix("2025-").await?;
    /// assert!(!db.contains("2024-05-01").await? && db.contains("2024-06-01").await?);
    /// db.clear().await?;
    /// assert!(!db.contains("2024-06-01").await?);
    /// # db.close().await
    /// # }
    /// ```
    pub async fn delete_range(&self, range: impl Into<KeyRange>) -> Result<()> {
        self.write(WriteBatch::new().delete_range(range)).await
    }

    /// Deletes all keys in `range` as `options` say. Otherwise as [`delete_range`](Db::delete_range).
    pub async fn delete_range_with(&self, range: impl Into<KeyRange>, options: WriteOptions) -> Result<()> {
        self.write_with(WriteBatch::new().delete_range(range), options).await
    }

    /// Deletes all keys that begin with `prefix`. Otherwise as [`delete_range`](Db::delete_range).
    pub async fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.delete_range(KeyRange::prefix(prefix)).await
    }

    /// Deletes all keys. Otherwise as [`delete_range`](Db::delete_range).
    pub async fn clear(&self) -> Result<()> {
        self.delete_range(..).await
    }

    async fn write_one(&self, write: Write<'_>, level: Durability) -> Result<()> {
        self.core.check_open()?;
        check_lens(write.key.len(), write.value.len())?;
        self.core.log.commit(std::iter::once(write), level).await
    }

    /// Commits `batch`, all of it or nothing, with the database's default durability. Otherwise as [`put`](Db::put).
    pub async fn write(&self, batch: WriteBatch) -> Result<()> {
        let options = WriteOptions { durability: self.core.options.durability, ..WriteOptions::default() };
        self.write_with(batch, options).await
    }

    /// Commits `batch`, all of it or nothing, as `options` say. Otherwise as [`put`](Db::put).
    pub async fn write_with(&self, batch: WriteBatch, options: WriteOptions) -> Result<()> {
        self.core.check_open()?;
        batch.check()?;
        if batch.is_empty() {
            return self.core.log.check();
        }
        let expires_at = self.expiry(options.ttl);
        let writes = batch.writes().map(|write| write.expiring(|own| Db::expiry_in_batch(own, expires_at)));
        self.core.log.commit(writes, options.durability).await
    }

    /// The value of `key`, or `None` where it is absent, deleted or expired. A slice of the store's own memory where the
    /// backend maps: holding it keeps that memory, not more.
    ///
    /// # Errors
    /// `Corruption` where the record is damaged, `Io` where it cannot be read, `Unsupported` where its value is compressed in a
    /// way that this build lacks, `Closed`.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        Ok(get::get(&self.core, key.as_ref()).await?.map(|newest| newest.value))
    }

    /// The values of `keys`, in their order, all as of one moment: what [`get`](Db::get) would give for each. Where they have to
    /// be read, and each read takes its time, many are under way at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.put("a", "1").await?;
    /// let values = db.get_many(&["a", "b"]).await?;
    /// assert_eq!(values, [Some("1".into()), None]);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`get`](Db::get), of any of them.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        self.core.check_open()?;
        get::get_many(&self.core, &self.core.view(), keys).await
    }

    /// The entry of `key`: its value, sequence number and expiry. Otherwise as [`get`](Db::get).
    pub async fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        Ok(get::get(&self.core, key).await?.map(|newest| newest.entry(key)))
    }

    /// Whether `key` is there. Errors as [`get`](Db::get).
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(get::find(&self.core, key.as_ref()).await?.is_some())
    }

    /// The entries whose keys lie in `range`, in byte order of their keys, as they are at this call: later writes do not
    /// show.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use futures::TryStreamExt;
    /// let db = halite::Db::open("mem:").await?;
    /// db.write(halite::WriteBatch::new().put("a", "1").put("b", "2").put("c", "3")).await?;
    /// let entries: Vec<_> = db.scan("b"..).limit(10).try_collect().await?;
    /// assert_eq!(entries.len(), 2);
    /// # db.close().await
    /// # }
    /// ```
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        Scan::new(self.core.view(), range.into(), self.core.check_open().err())
    }

    /// The entries whose keys begin with `prefix`. Otherwise as [`scan`](Db::scan).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// The database as it is now, for as long as it is held: see [`Snapshot`].
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.clone())
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Makes all commits so far durable, whatever their level: on return they survive a power cut.
    ///
    /// # Errors
    /// As [`put`](Db::put): `Unknown` says that the log failed meanwhile.
    ///
    /// # Cancel safety
    /// Dropped, the sync happens all the same.
    pub async fn flush(&self) -> Result<()> {
        self.core.check_open()?;
        self.core.log.flush().await
    }

    /// Seals what is in memory and merges all segments into one sorted run, so that nothing dead remains, but in what
    /// [`Options::history_bytes`](crate::Options::history_bytes) keeps.
    ///
    /// Needs room for a copy of the live data. Reads and writes go on meanwhile.
    ///
    /// # Errors
    /// `Corruption` where a record is damaged: nothing is changed then. `NoSpace`, `Io`.
    ///
    /// # Cancel safety
    /// Dropped, the compaction goes on in the background.
    pub async fn compact(&self) -> Result<CompactReport> {
        self.core.check_open()?;
        self.compact_with(CompactOptions::default()).await
    }

    /// As [`compact`](Db::compact), as `options` say.
    ///
    /// # Errors
    /// As `compact`; `Cancelled` where [`cancel_compaction`](Db::cancel_compaction) was called meanwhile.
    ///
    /// # Cancel safety
    /// Dropped, the compaction goes on in the background.
    pub async fn compact_with(&self, options: CompactOptions) -> Result<CompactReport> {
        self.core.check_open()?;
        self.core.carry_out("compact", compaction::compact(self.core.clone(), options)).await
    }

    /// Gives up the merge that is under way, be it in the background or for [`compact`](Db::compact), which then fails with
    /// `Cancelled`: what it wrote is removed, and nothing has changed. How far it is [`stats`](Db::stats) tell.
    ///
    /// The background begins its next merge some time later.
    pub fn cancel_compaction(&self) {
        self.core.compactor.cancel();
    }

    /// Keeps the database as it is now by that name (1 to 255 bytes of UTF-8), so that it outlives this process: see
    /// [`Checkpoint`]. It holds all commits that were acknowledged before this call, at whatever level; those that come
    /// while it is under way may be in it or not, but what it holds is a prefix of the commit order.
    ///
    /// It seals what is in memory and copies nothing. On return it is durable. Space that merges would give back stays
    /// taken for as long as a checkpoint needs it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.put("key", "value").await?;
    /// db.checkpoint("monday").await?;
    /// assert_eq!(db.checkpoints().await?[0].name, "monday");
    /// assert!(db.delete_checkpoint("monday").await?);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `AlreadyExists` where there is a checkpoint of that name, `InvalidInput` for a name out of bounds, `NoSpace`:
    /// nothing happened. Otherwise as [`put`](Db::put).
    ///
    /// # Cancel safety
    /// Dropped, the checkpoint is taken all the same.
    pub async fn checkpoint(&self, name: impl AsRef<str>) -> Result<Checkpoint> {
        self.checkpoint_with(name, CheckpointOptions::default()).await
    }

    /// As [`checkpoint`](Db::checkpoint), as `options` say: so that nobody can delete it before a date.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{CheckpointOptions, ErrorKind};
    /// let db = halite::Db::open("mem:").await?;
    /// let options = CheckpointOptions { hold_until: Some(4_102_444_800_000) }; // The year 2100.
    /// db.checkpoint_with("books of 2026", options).await?;
    /// let refused = db.delete_checkpoint("books of 2026").await;
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::Held);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn checkpoint_with(&self, name: impl AsRef<str>, options: CheckpointOptions) -> Result<Checkpoint> {
        self.core.check_open()?;
        let create = checkpoint::create(self.core.clone(), name.as_ref().to_owned(), options);
        self.core.carry_out("checkpoint", create).await
    }

    /// The files of the store that nothing names and nobody here reads, so that [`collect`](Db::collect) would delete them.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    pub async fn collectable(&self) -> Result<Vec<Superfluous>> {
        self.core.check_open()?;
        collect::collectable(&self.core).await
    }

    /// Deletes the files that nothing names, and tells which: what a crash has left, or what could not be deleted before.
    /// All else the database deletes by itself.
    ///
    /// # Errors
    /// As [`put`](Db::put).
    ///
    /// # Cancel safety
    /// Dropped, it goes on to its end.
    pub async fn collect(&self) -> Result<Vec<Superfluous>> {
        self.core.check_open()?;
        let core = self.core.clone();
        self.core.carry_out("collect", async move { collect::collect(&core).await }).await
    }

    /// The checkpoints, in the order in which they were taken: after a failure that has stopped writing, those that are
    /// there for certain.
    ///
    /// # Errors
    /// `Closed`.
    pub async fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.core.check_open()?;
        Ok(checkpoint::list(&self.core))
    }

    /// Lets go of the checkpoint of that name, durably; false where there is none. The space that only it needed is given
    /// back in the background, or at the next opening.
    ///
    /// # Errors
    /// `Held` where it is to be kept until a later time; as [`put`](Db::put).
    ///
    /// # Cancel safety
    /// Dropped, it is let go of all the same.
    pub async fn delete_checkpoint(&self, name: impl AsRef<str>) -> Result<bool> {
        self.core.check_open()?;
        self.core.carry_out("delete checkpoint", checkpoint::delete(self.core.clone(), name.as_ref().to_owned())).await
    }

    /// Reads every byte of every sealed segment and checks it against its checksums, its index and the manifest.
    ///
    /// # Errors
    /// `Io` where the storage fails; damage is not an error but in the report.
    pub async fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(VerifyOptions::default(), |_| {}).await
    }

    /// As [`verify`](Db::verify), as `options` say, and tells `progress` how far it is: at first, about once for each MiB or
    /// thousand records, and after each segment.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{Db, VerifyOptions};
    /// let db = Db::open("mem:").await?;
    /// db.put("key", "value").await?;
    /// let anchor = db.checkpoint("monday").await?.anchor; // To be noted where nobody can change it.
    /// db.put("key", "other").await?;
    /// let options = VerifyOptions { digests: true, anchor: Some(anchor), ..VerifyOptions::default() };
    /// let mut share = 0.0;
    /// let report = db.verify_with(options, |at| share = at.bytes as f64 / at.bytes_total.max(1) as f64).await?;
    /// assert!(report.damage.is_empty());
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there; `InvalidInput` where the manifest of the anchor is none that is kept.
    ///
    /// # Cancel safety
    /// Dropped, it ends: it changes nothing.
    pub async fn verify_with(
        &self,
        options: VerifyOptions,
        progress: impl FnMut(VerifyProgress) + Send,
    ) -> Result<VerifyReport> {
        self.core.check_open()?;
        let core = &*self.core;
        let version = core.versions.get();
        let publisher = Some(&core.publisher);
        let store = verify::Store {
            backend: core.stores.of(Purpose::Verify),
            files: &core.files,
            version: &version,
            publisher,
        };
        core.tasks.inside(verify::verify(store, options, progress)).await
    }

    /// What the database holds and does, in numbers. With the feature `metrics`, a recorder hears of them too.
    pub fn stats(&self) -> Stats {
        let stats = stats::stats(&self.core);
        #[cfg(feature = "metrics")]
        crate::meters::emit::tell(&stats);
        stats
    }

    /// The segments and memtables, as a tree. Opens the segments that nobody has read from yet.
    ///
    /// # Errors
    /// `Corruption` where a segment is not the one that the manifest means, `Io`, `Closed`.
    pub async fn tree(&self) -> Result<Tree> {
        self.core.check_open()?;
        stats::tree(&self.core.versions.get()).await
    }

    /// Waits until as many segments are resident as the memory budget has room for.
    ///
    /// Opening does not wait for that: their keys are loaded in the background, newest first, and reads are right
    /// meanwhile, only slower. Of use before something is measured.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.loaded().await?;
    /// let stats = db.stats();
    /// assert_eq!(stats.resident_segments, stats.segments);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Closed`; the failure that stopped writing, if any. A segment whose keys cannot be loaded is no error here.
    pub async fn loaded(&self) -> Result<()> {
        residency::idle(&self.core).await
    }

    /// Does what there is to do in the background, for `budget` at most: seals full segments, merges what is worth while
    /// (also where [`merge_in_background`](crate::Options::merge_in_background) is off), loads what is to be resident, and
    /// deletes files that are needed no more. Returns whether all of it is done.
    ///
    /// For hosts in which nothing runs between calls, as on WASI, or that choose themselves when merges run. The budget is
    /// looked at whenever the work waits, or has computed for about a millisecond.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// # use std::time::Duration;
    /// let db = halite::Db::open("mem:").await?;
    /// db.put("key", "value").await?;
    /// let all_done = db.maintain(Duration::from_millis(20)).await?;
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `Closed`; the failure that stopped writing, if any. `Corruption`: a merge met damage; it is left alone from then on.
    /// `Cancelled`, `NoSpace`, `Io`: a merge was given up, and nothing has changed.
    ///
    /// # Cancel safety
    /// Dropped, or out of budget, what was begun goes on when the runtime next runs.
    pub async fn maintain(&self, budget: Duration) -> Result<bool> {
        self.core.check_open()?;
        let work = self.core.carry_out("maintain", compaction::maintain(self.core.clone()));
        match self.core.tasks.inside(async { tokio::time::timeout(budget, work).await }).await {
            Ok(done) => done.map(|()| true),
            Err(_out_of_budget) => Ok(false),
        }
    }

    /// Makes everything durable, seals it, and closes the database: the next opening replays nothing. Other handles get
    /// `Closed` from then on.
    ///
    /// # Errors
    /// The failure that stopped writing, if any; the database is closed all the same, and the next opening replays the
    /// log.
    ///
    /// # Cancel safety
    /// Dropped, the database is closed in the background; called again, this waits for it.
    pub async fn close(&self) -> Result<()> {
        self.core.carry_out("close", shutdown::close(self.core.clone())).await
    }

    /// Opens the same store anew, with a new epoch, after a failure has stopped this handle from writing.
    ///
    /// This handle and its clones are done: what they committed and was not lost is in the new one.
    ///
    /// # Errors
    /// As [`Builder::open`]; `NotAStore` where another database is in its place.
    pub async fn reopen(&self) -> Result<Db> {
        recovery::reopen(&self.core).await.map(Db::new)
    }
}
