//! Readers: a store opened read-only, by any number of processes, beside its writer if there is one.
//!
//! A reader takes no lock and writes nothing. It shows a version that a manifest names, and finds keys as one does in
//! segments that are not resident: through filter, fences and index. So opening one reads a manifest, and of the log what
//! is not sealed yet.
//!
//! # Guarantees
//! 1. What shows is a prefix of the commit order, whole batches, and was durable when it was first shown: no crash takes it
//!    back, and it never goes back by itself.
//! 2. A segment that a merge has replaced may be deleted while a reader holds it. Where the storage keeps what is open
//!    readable (local files, memory), nobody notices; elsewhere a read goes to the newest version, and what cannot is an
//!    error, never a wrong answer.
//!
//! # Concurrency
//! Readings share a state that never changes; a refresh makes the next one, one refresh at a time.

mod load;
mod lookup;
mod tail;

use crate::checkpoint::Checkpoint;
use crate::clock::{Clock, EngineClock};
use crate::collect::{self, Superfluous};
use crate::copy::Source;
use crate::format::manifest::Manifest;
use crate::get::Newest;
use crate::publish::{self, Kept};
use crate::random::Random;
use crate::recovery;
use crate::scan::{Entry, Scan};
use crate::segment::Files;
use crate::stats::{self, Stats, Tree};
use crate::stores::Stores;
use crate::tasks::Tasks;
use crate::value::Value;
use crate::verify::{self, VerifyOptions, VerifyProgress, VerifyReport};
use crate::version::{Version, View};
use crate::{Error, ErrorKind, KeyRange, Limits, Result, Seq};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use halite_backends::{Backend, Purpose};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tail::Tail;
use tokio::sync;
use tokio::task::JoinHandle;

/// What an opening needs to know.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) backend: Arc<dyn Backend>,
    /// The memory budget, in bytes: for the cache of what is read where segments are not mapped.
    pub(crate) memory: u64,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) refresh_interval: Option<Duration>,
    pub(crate) max_forward_jump: Duration,
    pub(crate) limits: Limits,
    pub(crate) random: Arc<Random>,
}

/// What a reader shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// All that is durable.
    Newest,
    /// A checkpoint.
    Checkpoint(String),
    /// The past, at that engine time.
    Time(u64),
}

/// A store opened read-only: a handle that is cheap to clone and may be used by many tasks at once.
///
/// Opened by [`Builder::open_read_only`](crate::Builder::open_read_only) it follows the database: by
/// [`refresh`](ReadOnly::refresh), and by itself every [`Options::refresh_interval`](crate::Options::refresh_interval), it
/// goes on to all that was durable then. Opened by [`Builder::open_at`](crate::Builder::open_at) it shows a checkpoint: the
/// values that it holds, whatever happens to the database since, and expiries judged by the time at which it was taken; by
/// [`Builder::open_at_time`](crate::Builder::open_at_time) in the same way a moment of the past.
/// Each call sees one version, and a scan keeps the one it began with.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, backends::Memory};
/// use std::sync::Arc;
/// let backend = Arc::new(Memory::new());
/// let db = Db::builder(backend.clone()).open().await?;
/// let reader = Db::builder(backend).open_read_only().await?;
/// db.put("key", "value").await?;
/// assert_eq!(reader.get("key").await?, None);
/// reader.refresh().await?;
/// assert_eq!(reader.get("key").await?.as_deref(), Some(&b"value"[..]));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ReadOnly {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Constant after construction.
    stores: Stores,
    /// What is shown.
    at: At,
    random: Arc<Random>,
    clock: EngineClock,
    memory: u64,
    tasks: Tasks,

    /// What is shown now; nothing once it is closed.
    state: ArcSwapOption<State>,
    /// How far the log was followed. Locked by the refresh under way.
    tail: sync::Mutex<Tail>,
    /// Why the last refresh failed, if it did.
    failure: Mutex<Option<Error>>,
    /// The task that refreshes by itself.
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Inner {
    /// The store, as it is asked what there is to show: when it is opened, and from then on to follow it.
    fn asked(&self) -> &dyn Backend {
        let is_opening = self.state.load().is_none();
        self.stores.of(if is_opening { Purpose::Open } else { Purpose::Follow })
    }

    fn stop(&self) {
        if let Some(follower) = self.follower.lock().take() {
            follower.abort();
        }
    }

    /// Goes on to what is durable now. True if that is more than before.
    async fn refresh(&self) -> Result<bool> {
        let mut tail = self.tail.lock().await;
        let Some(before) = self.state.load_full() else { return Err(closed()) };
        let loaded = load::load(self, &mut tail, Some(&before)).await;
        *self.failure.lock() = loaded.as_ref().err().cloned();
        let state = Arc::new(loaded?);
        let is_new = (state.manifest.number, state.seq) != (before.manifest.number, before.seq);
        // Not where it was closed meanwhile.
        if is_new {
            self.state.rcu(|now| now.as_ref().map(|_| state.clone()));
        }
        Ok(is_new)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the reader is closed")
}

/// Refreshes every `interval` for as long as there is somebody to read.
async fn follow(inner: Weak<Inner>, interval: Duration) {
    loop {
        tokio::time::sleep(interval).await;
        let Some(inner) = inner.upgrade() else { return };
        match inner.refresh().await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Closed => return,
            Err(error) => tracing::warn!(%error, "a reader could not follow its database; it goes on trying"),
        }
    }
}

/// What a reader shows.
#[derive(Debug)]
struct State {
    /// Whose runs the version has.
    manifest: Manifest,
    files: Arc<Files>,
    version: Arc<Version>,
    /// The last commit that shows.
    seq: Seq,
    /// The time by which expiries are judged, if it stands still.
    time: Option<u64>,
}

/// Opens the store, or a checkpoint of it, read-only.
#[tracing::instrument(name = "open_read_only", target = "halite", level = "info", skip_all, fields(store = %setup.backend.location()))]
pub(crate) async fn open(setup: Setup, at: At) -> Result<ReadOnly> {
    let tasks = Tasks::current()?;
    let clock = EngineClock::new(setup.clock, setup.max_forward_jump);
    let inner = Inner {
        stores: Stores::new(setup.backend, &setup.limits),
        at,
        random: setup.random,
        clock,
        memory: setup.memory,
        tasks: tasks.clone(),
        state: ArcSwapOption::empty(),
        tail: sync::Mutex::default(),
        failure: Mutex::default(),
        follower: Mutex::default(),
    };
    let state = load::load(&inner, &mut *inner.tail.lock().await, None).await?;
    recovery::apart::check_owner(&**inner.stores.plain(), &state.manifest.database).await?;
    inner.state.store(Some(Arc::new(state)));
    let inner = Arc::new(inner);
    if let (At::Newest, Some(interval)) = (&inner.at, setup.refresh_interval) {
        let follower = tasks.spawn("reader", follow(Arc::downgrade(&inner), interval), |_| {});
        *inner.follower.lock() = Some(follower);
    }
    Ok(ReadOnly { inner })
}

impl ReadOnly {
    pub(crate) fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    fn state(&self) -> Result<Arc<State>> {
        self.inner.state.load_full().ok_or_else(closed)
    }

    /// Goes on to all that is durable when this is called: what the writer acknowledged with
    /// [`Durability::Synced`](crate::Durability::Synced) before shows from then on (in a growing log at the latest when the
    /// writer has gone on to say so, which it does at once). Weaker commits show when they have become durable. True if there
    /// was something new; a checkpoint, or the past, never has.
    ///
    /// # Errors
    /// `NotFound` where the store, or the checkpoint, is not there any more; `NotAStore` where another database has its place;
    /// `Gone` where the past is not; `Corruption`;
    /// `InUse` where the database changes faster than it can be read; `Io`; `Closed`. What was shown before is shown still.
    ///
    /// # Cancel safety
    /// Dropped, it has happened or not.
    pub async fn refresh(&self) -> Result<bool> {
        self.inner.refresh().await
    }

    /// What is shown, where it is read from, and what is kept of it.
    pub(crate) fn shown(&self) -> Result<(Stores, Arc<Version>, Arc<Files>)> {
        let state = self.state()?;
        Ok((self.inner.stores.clone(), state.version.clone(), state.files.clone()))
    }

    fn view(&self) -> Result<(Arc<State>, View)> {
        let state = self.state()?;
        let now = state.time.unwrap_or_else(|| self.inner.clock.now());
        let view = View { version: state.version.clone(), at: state.seq, now };
        Ok((state, view))
    }

    /// The value of `key`, or `None` where it is absent, deleted or expired.
    ///
    /// # Errors
    /// `Corruption` where the record is damaged, `Io` where it cannot be read, `Unsupported` where the value is compressed in
    /// a way that this build lacks, `Closed`.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        Ok(self.newest(key.as_ref()).await?.map(|newest| newest.value))
    }

    /// The values of `keys`, in their order, all of one version: what [`get`](ReadOnly::get) would give for each. Where they
    /// have to be read, and each read takes its time, many are under way at once. Errors as there.
    pub async fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
        loop {
            let (state, view) = self.view()?;
            match lookup::get_many(&state.manifest, &view, keys).await {
                Err(error) if self.was_overtaken(&error).await? => {}
                outcome => return outcome,
            }
        }
    }

    /// The entry of `key`: its value, sequence number and expiry. Errors as [`get`](ReadOnly::get).
    pub async fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let key = key.as_ref();
        Ok(self.newest(key).await?.map(|newest| newest.entry(key)))
    }

    /// Whether `key` is there. Errors as [`get`](ReadOnly::get).
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.find(key.as_ref()).await?.is_some())
    }

    /// What `key` holds, its value read.
    async fn newest(&self, key: &[u8]) -> Result<Option<Newest>> {
        match self.find(key).await? {
            Some(newest) => newest.read().await.map(Some),
            None => Ok(None),
        }
    }

    /// What `key` holds. Where that lay in a file which the writer has deleted since, in the version after it.
    async fn find(&self, key: &[u8]) -> Result<Option<Newest<Value>>> {
        loop {
            let (state, view) = self.view()?;
            match lookup::find(&state.manifest, &view, key).await {
                Err(error) if self.was_overtaken(&error).await? => {}
                outcome => return outcome,
            }
        }
    }

    /// The entries whose keys lie in `range`, in byte order of their keys: as [`Db::scan`](crate::Db::scan). Where the
    /// storage does not keep open objects readable, it may end with `Gone` when the writer has deleted a segment that was merged
    /// meanwhile: it shows one version or nothing, so refresh, and scan again.
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        match self.view() {
            Ok((_, view)) => Scan::new(view, range.into(), None).overtakable(),
            Err(closed) => {
                let version = Arc::new(Version::new(Vec::new(), Vec::new()));
                Scan::new(View { version, at: 0, now: 0 }, range.into(), Some(closed))
            }
        }
    }

    /// The entries whose keys begin with `prefix`. Otherwise as [`scan`](ReadOnly::scan).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Scan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// What is shown, to be copied; for as long as the second is held, the log is not followed, so that its memtables are
    /// as they are.
    pub(crate) async fn source(&self) -> Result<(Source, impl Send)> {
        let held = self.inner.tail.lock().await;
        let state = self.state()?;
        let source = Source {
            manifest: state.manifest.clone(),
            version: state.version.clone(),
            sealed: if self.inner.at == At::Newest { state.manifest.log.last_sealed_seq } else { state.seq },
            time: state.time.unwrap_or_else(|| self.inner.clock.trusted()),
            random: self.inner.random.clone(),
        };
        Ok((source, held))
    }

    /// Whether `error` comes of a file that the writer has deleted since, and there is something newer to read.
    pub(crate) async fn was_overtaken(&self, error: &Error) -> Result<bool> {
        if error.kind() != ErrorKind::NotFound {
            return Ok(false);
        }
        let is_overtaken = self.refresh().await?;
        if !is_overtaken {
            load::check_database(&self.inner, &*self.state()?).await?;
        }
        Ok(is_overtaken)
    }

    /// The last commit that shows.
    ///
    /// # Errors
    /// `Closed`.
    pub fn seq(&self) -> Result<Seq> {
        Ok(self.state()?.seq)
    }

    /// The engine time by which expiries are judged, in milliseconds since the Unix epoch: now, or that of the checkpoint.
    ///
    /// # Errors
    /// `Closed`.
    pub fn time(&self) -> Result<u64> {
        Ok(self.view()?.1.now)
    }

    /// Reads every byte of every sealed segment that is shown and checks it, as [`Db::verify`](crate::Db::verify) does.
    ///
    /// # Errors
    /// `Io` where the storage fails; damage is not an error but in the report.
    pub async fn verify(&self) -> Result<VerifyReport> {
        self.verify_with(VerifyOptions::default(), |_| {}).await
    }

    /// As [`verify`](ReadOnly::verify), as `options` say, and tells `progress` how far it is: as
    /// [`Db::verify_with`](crate::Db::verify_with) does. By digests it looks at all that the store keeps, whatever of it
    /// is shown.
    pub async fn verify_with(
        &self,
        options: VerifyOptions,
        progress: impl FnMut(VerifyProgress) + Send,
    ) -> Result<VerifyReport> {
        let state = self.state()?;
        let backend = self.inner.stores.of(Purpose::Verify);
        let store = verify::Store { backend, files: &state.files, version: &state.version, publisher: None };
        self.inner.tasks.inside(verify::verify(store, options, progress)).await
    }

    /// What is shown, in numbers. What only a writer has is zero.
    ///
    /// # Errors
    /// `Closed`.
    pub fn stats(&self) -> Result<Stats> {
        let State { manifest, files, version, seq, .. } = &*self.state()?;
        let (fences_bytes, cache_bytes) = (files.kept(), files.cache.len());
        let kept = Kept::of(manifest);
        Ok(Stats {
            location: self.inner.stores.plain().location(),
            epoch: manifest.epoch,
            manifest: manifest.number,
            visible_seq: *seq,
            traffic: self.inner.stores.plain().traffic(),
            moments: kept.moments,
            past_from: kept.from,
            past_bytes: kept.bytes,
            failure: self.inner.failure.lock().as_ref().map(ToString::to_string),
            fences_bytes,
            mapped_filter_bytes: files.mapped_filters(),
            cache_bytes,
            cache_bytes_max: files.cache.capacity(),
            cache_hits: files.cache.hits(),
            cache_misses: files.cache.misses(),
            memory_bytes: fences_bytes + cache_bytes + files.lent(),
            memory_budget: self.inner.memory,
            ..stats::of_version(version)
        })
    }

    /// The segments, as a tree.
    ///
    /// # Errors
    /// `Corruption` where a segment is not the one that the manifest means, `Io`, `Closed`.
    pub async fn tree(&self) -> Result<Tree> {
        stats::tree(&self.state()?.version).await
    }

    /// The files of the store that nothing names, and that the writer deletes, or whoever opens the store to write: as
    /// [`Db::collectable`](crate::Db::collectable), but that readers within the writer's process may hold some of them.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    pub async fn collectable(&self) -> Result<Vec<Superfluous>> {
        self.state()?;
        let backend = self.inner.stores.of(Purpose::Collect);
        let newest = publish::newest(backend).await?.ok_or_else(|| publish::no_store(backend))?;
        collect::superfluous(backend, &newest).await
    }

    /// The checkpoints of the database, in the order in which they were taken.
    ///
    /// # Errors
    /// `Closed`.
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        Ok(Checkpoint::all(&self.state()?.manifest))
    }

    /// Closes it to all handles; scans under way may go on or end with an error.
    pub async fn close(&self) {
        self.inner.state.store(None);
        self.inner.stop();
    }
}
