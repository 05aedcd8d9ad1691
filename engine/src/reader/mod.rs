//! Readers: a store opened read-only, by any number of processes, beside its writer if there is one.
//!
//! A reader takes no lock. It shows a version that a manifest names, and finds keys as one does in segments that are not
//! resident: through filter, fences and index. So opening one reads a manifest and no key.

mod load;
mod lookup;

use crate::clock::{Clock, EngineClock};
use crate::format::manifest::Manifest;
use crate::scan::{Entry, Scan};
use crate::stats::{self, Stats, Tree};
use crate::tasks::Tasks;
use crate::verify::{self, VerifyReport};
use crate::version::{Version, View};
use crate::{Error, ErrorKind, KeyRange, Result, Seq};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use halite_backends::Backend;
use std::sync::Arc;

/// What an opening needs to know.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A store opened read-only: a handle that is cheap to clone and may be used by many tasks at once.
///
/// It shows a checkpoint, opened by [`Builder::open_at`](crate::Builder::open_at): the values that it holds, whatever
/// happens to the database since, and expiries judged by the time at which it was taken. Each call sees one version, and
/// a scan keeps the one it began with.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, backends::Memory};
/// use std::sync::Arc;
/// let backend = Arc::new(Memory::new());
/// let db = Db::builder(backend.clone()).open().await?;
/// db.put("key", "old").await?;
/// db.checkpoint("monday").await?;
/// db.put("key", "new").await?;
/// let monday = Db::builder(backend).open_at("monday").await?;
/// assert_eq!(monday.get("key").await?.as_deref(), Some(&b"old"[..]));
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
    backend: Arc<dyn Backend>,
    /// The checkpoint that is shown.
    at: Option<String>,
    clock: EngineClock,

    /// What is shown now; nothing once it is closed.
    state: ArcSwapOption<State>,
}

/// What a reader shows.
#[derive(Debug)]
struct State {
    /// Whose runs the version has.
    manifest: Manifest,
    version: Arc<Version>,
    /// The last commit that shows.
    seq: Seq,
    /// The time by which expiries are judged, if it stands still.
    time: Option<u64>,
}

/// Opens the store, or a checkpoint of it, read-only.
pub(crate) async fn open(setup: Setup, at: Option<String>) -> Result<ReadOnly> {
    Tasks::current()?;
    let clock = EngineClock::new(setup.clock);
    let inner = Inner { backend: setup.backend, at, clock, state: ArcSwapOption::empty() };
    let state = load::load(&inner, None).await?;
    inner.state.store(Some(Arc::new(state)));
    Ok(ReadOnly { inner: Arc::new(inner) })
}

impl ReadOnly {
    fn state(&self) -> Result<Arc<State>> {
        self.inner.state.load_full().ok_or_else(|| Error::new(ErrorKind::Closed, "the reader is closed"))
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
        let (state, view) = self.view()?;
        Ok(lookup::get(&state.manifest, &view, key.as_ref()).await?.map(|newest| newest.value))
    }

    /// The entry of `key`: its value, sequence number and expiry. Errors as [`get`](ReadOnly::get).
    pub async fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let (state, view) = self.view()?;
        let key = key.as_ref();
        Ok(lookup::get(&state.manifest, &view, key).await?.map(|newest| newest.entry(key)))
    }

    /// Whether `key` is there. Errors as [`get`](ReadOnly::get).
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        let (state, view) = self.view()?;
        Ok(lookup::find(&state.manifest, &view, key.as_ref()).await?.is_some())
    }

    /// The entries whose keys lie in `range`, in byte order of their keys: as [`Db::scan`](crate::Db::scan).
    pub fn scan(&self, range: impl Into<KeyRange>) -> Scan {
        match self.view() {
            Ok((_, view)) => Scan::new(view, range.into(), None),
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

    /// The last commit that shows.
    ///
    /// # Errors
    /// `Closed`.
    pub fn seq(&self) -> Result<Seq> {
        Ok(self.state()?.seq)
    }

    /// The engine time by which expiries are judged, in milliseconds since the Unix epoch: that of the checkpoint.
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
        verify::verify(&self.state()?.version).await
    }

    /// What is shown, in numbers. What only a writer has is zero.
    ///
    /// # Errors
    /// `Closed`.
    pub fn stats(&self) -> Result<Stats> {
        let State { manifest, version, seq, .. } = &*self.state()?;
        Ok(Stats {
            location: self.inner.backend.location(),
            epoch: manifest.epoch,
            manifest: manifest.number,
            visible_seq: *seq,
            ..stats::of_version(version)
        })
    }

    /// The segments, as a tree.
    ///
    /// # Errors
    /// `Closed`.
    pub fn tree(&self) -> Result<Tree> {
        Ok(stats::tree(&self.state()?.version))
    }

    /// Closes it to all handles; scans under way may go on or end with an error.
    pub async fn close(&self) {
        self.inner.state.store(None);
    }
}
