//! A bounded cache on a local disk, in front of a store that is far away.
//!
//! What is read of segments stays in blocks of 64 KiB, all in one file, with a table beside it. A segment's name is only ever given to one sequence
//! of bytes, so a block never becomes wrong, it only ceases to be of use. Manifests and the log are read once, and pass by; so
//! does what scans read in large pieces. Merges and copies use what is there and leave nothing, and verifications ask the store.
//!
//! # Guarantees
//! 1. A read gives what the store holds. Each page of a block says which part of which object of which store it is, and a
//!    checksum covers all of that; what does not fit is read from the store, as what is not there is.
//! 2. The files never take more than they may, whatever is read, and however long they were at the beginning.
//! 3. A disk that fails costs speed and nothing else.
//!
//! # After a crash
//! Nothing is synced. What a power cut has torn is found by its checksum when it is read.

mod blocks;
mod pages;
#[cfg(test)]
mod tests;

use crate::bounds::checked_len;
use crate::{
    Appender, Backend, Capabilities, KEPT_READ_MAX, Limiter, Local, Lock, LogApart, Meta, Object, Path, Purpose,
    Result, Shared, Traffic, Uploader, in_folder,
};
use async_trait::async_trait;
use blocks::{BLOCK_LEN, Blocks};
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use pages::{Name, Place};
use std::ops::Range;
use std::sync::Arc;

/// Whose objects are kept.
const SEGMENTS: &str = "segments";

/// Longer reads go to the store: the readers that make them read on, and would drive out what others come back to.
const READ_MAX: u64 = KEPT_READ_MAX;

/// What a cache holds, and how it has done.
///
/// ```
/// let fresh = halite_backends::CacheStats::default();
/// assert_eq!((fresh.hits, fresh.misses), (0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Blocks that were asked for and there.
    pub hits: u64,
    /// Blocks that had to be read from the store.
    pub misses: u64,
    /// Blocks that the disk did not give back as they were written, so that the store was asked.
    pub damaged: u64,
    /// Bytes that the blocks take which are there.
    pub bytes: u64,
    /// Bytes that the files may take.
    pub bytes_max: u64,
}

/// A store whose segments are cached in a local folder. Clones are handles on the same store and cache.
///
/// ```
/// use halite_backends::{Backend, Cached, Memory};
/// use std::sync::Arc;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("halite-doc-cached-{}", std::process::id()));
/// let far_away = Memory::create_only();
/// let store = Cached::open(Arc::new(far_away), &folder, 1 << 30).await?;
/// assert!(store.capabilities().remote);
/// assert_eq!(store.cache().bytes, 0);
/// # drop(store);
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cached {
    store: Arc<dyn Backend>,
    blocks: Arc<Blocks>,
    /// Whether what is read through this handle stays.
    keeps: bool,
    /// Keeps other processes from the folder, where the system can.
    _lock: Option<Arc<dyn Lock>>,
}

impl Cached {
    /// `store`, with a cache of at most `bytes_max` bytes in `folder`, which is made if it is not there, and used by one
    /// process at a time. What it held before is used again. It may be deleted whenever no process uses it.
    ///
    /// # Errors
    /// `InUse` where another process has the cache; `PermissionDenied`, `NoSpace` or `Io` where the folder cannot be made
    /// or read.
    pub async fn open(store: Arc<dyn Backend>, folder: impl AsRef<std::path::Path>, bytes_max: u64) -> Result<Cached> {
        let local = Local::open(folder.as_ref(), true)?;
        let lock = if local.capabilities().lock { Some(Arc::from(local.lock().await?)) } else { None };
        let blocks = Blocks::open(folder.as_ref().to_owned(), store.location(), bytes_max).await?;
        Ok(Cached { store, blocks, keeps: true, _lock: lock })
    }

    /// What the cache holds, and how it has done since it was opened.
    pub fn cache(&self) -> CacheStats {
        self.blocks.stats()
    }

    fn cached(&self, path: &Path, object: Arc<dyn Object>) -> Arc<dyn Object> {
        if !in_folder(path, SEGMENTS) {
            return object;
        }
        let name = self.blocks.name(path);
        Arc::new(CachedObject { path: path.clone(), name, object, blocks: self.blocks.clone(), keeps: self.keeps })
    }
}

#[async_trait]
impl Backend for Cached {
    fn capabilities(&self) -> Capabilities {
        // What is not in the cache is far away.
        self.store.capabilities().of_a_remote_store()
    }

    fn location(&self) -> String {
        self.store.location()
    }

    fn log_apart(&self) -> Option<&dyn LogApart> {
        self.store.log_apart()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        self.store.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        self.store.create(path, data).await
    }

    async fn adopt(&self, path: &Path, shared: &Shared) -> Result<bool> {
        self.store.adopt(path, shared).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        self.store.upload(path).await
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        self.store.append(path).await
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        // Whoever asks how long it is may read what still grows.
        self.store.open(path).await
    }

    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        Ok(self.cached(path, self.store.open_known(path, len).await?))
    }

    async fn read_whole(&self, path: &Path) -> Result<Bytes> {
        self.store.read_whole(path).await
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        self.store.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        self.store.list(folder)
    }

    async fn foreign(&self) -> Result<Option<String>> {
        self.store.foreign().await
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        // What is kept of it is of no use any more, and gives way to what is.
        self.store.delete(path).await
    }

    fn traffic(&self) -> Traffic {
        self.store.traffic()
    }

    fn keeps(&self) -> u64 {
        self.blocks.stats().bytes_max
    }

    fn for_purpose(&self, purpose: Purpose, limiter: &Limiter) -> Option<Arc<dyn Backend>> {
        let store = self.store.for_purpose(purpose, limiter)?;
        match purpose {
            // What is looked at is the store.
            Purpose::Verify => Some(store),
            // They read what nobody may come back to.
            Purpose::Merge | Purpose::Copy => Some(Arc::new(Cached { store, keeps: false, ..self.clone() })),
            _ => Some(Arc::new(Cached { store, ..self.clone() })),
        }
    }

    async fn tidy(&self) -> Result<()> {
        self.store.tidy().await
    }
}

/// An object of which parts may be in the cache. It does not map: blocks come and go.
#[derive(Debug)]
struct CachedObject {
    path: Path,
    name: Name,
    object: Arc<dyn Object>,
    blocks: Arc<Blocks>,
    keeps: bool,
}

impl CachedObject {
    /// The bytes of the blocks from number `first` on, up to but without `end`, and no further than the object goes.
    fn bytes_of(&self, first: u64, end: u64) -> Range<u64> {
        first * BLOCK_LEN..(end * BLOCK_LEN).min(self.object.len())
    }
}

#[async_trait]
impl Object for CachedObject {
    fn len(&self) -> u64 {
        self.object.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let len = checked_len(&self.path, &range, self.object.len())?;
        if len == 0 || len as u64 > READ_MAX {
            return self.object.read(range).await;
        }
        let (first, end) = (range.start / BLOCK_LEN, range.end.div_ceil(BLOCK_LEN));
        // Memory of its own: whoever keeps it counts its length, and not that of blocks.
        let mut wanted = BytesMut::with_capacity(len);
        for block in first..end {
            let (at, place) = (block * BLOCK_LEN, Place { name: self.name, block });
            let within = within(&range, at, BLOCK_LEN);
            if self.blocks.get(place, within, &mut wanted).await {
                continue;
            }
            // All that may be lacking, in one request.
            let rest = self.bytes_of(block, end);
            let bytes = self.object.read(rest.clone()).await?;
            wanted.extend_from_slice(&bytes[self::within(&range, at, bytes.len() as u64)]);
            if self.keeps {
                for (block, start) in (block..).zip((0..bytes.len()).step_by(BLOCK_LEN as usize)) {
                    let end = bytes.len().min(start + BLOCK_LEN as usize);
                    self.blocks.keep(Place { name: self.name, block }, bytes.slice(start..end));
                }
            }
            break;
        }
        Ok(wanted.freeze())
    }
}

/// What of `range` lies in the `len` bytes from `at` on, counted from there.
fn within(range: &Range<u64>, at: u64, len: u64) -> Range<usize> {
    range.start.saturating_sub(at) as usize..(range.end - at).min(len) as usize
}
