//! A backend that holds so much at most: what is lent to a guest need not have all the room that there is.
//!
//! What a store holds is counted once, from its list, and then kept: by name, as it is created, grows and is deleted.
//!
//! # Guarantees
//! 1. What its handles have made of it never takes more than it may. What is under way, or may have happened, counts.
//! 2. What does not fit is refused with `NoSpace` before any of it happens. So where the engine sets room aside ahead of its
//!    log, nothing fails but the write that is too much.

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use halite::backends::{
    Appender, Backend, Capabilities, Error, ErrorKind, Limiter, Lock, LogApart, Meta, Object, Path, Purpose, Result,
    Traffic, Uploader,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A backend within bounds. Clones share them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::backends::Result<()> {
/// use halite::backends::{Backend, ErrorKind, Memory, Path};
/// use halite_wasmtime::Bounded;
/// use std::sync::Arc;
/// let store = Bounded::new(Arc::new(Memory::new()), 1000).await?;
/// store.create(&Path::new("a")?, vec![0; 600].into()).await?;
/// let refused = store.create(&Path::new("b")?, vec![0; 400].into()).await.unwrap_err();
/// assert_eq!((refused.kind(), store.bytes()), (ErrorKind::NoSpace, 600 + Bounded::NAME_BYTES));
/// store.delete(&Path::new("a")?).await?;
/// store.create(&Path::new("b")?, vec![0; 400].into()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Bounded {
    backend: Arc<dyn Backend>,
    room: Arc<Room>,
}

#[derive(Debug)]
struct Room {
    bytes_max: u64,
    held: Mutex<Held>,
}

/// What the names take, each and together, [`Bounded::NAME_BYTES`] included.
#[derive(Debug, Default)]
struct Held {
    by_name: HashMap<Path, u64>,
    bytes: u64,
}

impl Room {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `path` be `len` bytes long, if they fit; as long as it was otherwise.
    fn take(&self, op: &'static str, path: &Path, len: u64) -> Result<()> {
        let bytes = len.saturating_add(Bounded::NAME_BYTES);
        let mut held = self.held();
        let before = held.by_name.get(path).copied().unwrap_or(0);
        let after = (held.bytes - before).saturating_add(bytes);
        // What shrinks may always.
        if bytes > before && after > self.bytes_max {
            let message = format!("no more room is lent bytes={after} bytes_max={}", self.bytes_max);
            return Err(Error::new(ErrorKind::NoSpace, op, path, message));
        }
        held.bytes = after;
        held.by_name.insert(path.clone(), bytes);
        Ok(())
    }

    /// `path` is `len` bytes long and no more, if it is still there.
    fn shrink(&self, path: &Path, len: u64) {
        let bytes = len.saturating_add(Bounded::NAME_BYTES);
        let mut held = self.held();
        if let Some(known) = held.by_name.get_mut(path) {
            let before = std::mem::replace(known, bytes);
            held.bytes = held.bytes - before + bytes;
        }
    }

    /// `path` is not there, and takes nothing.
    fn forget(&self, path: &Path) {
        let mut held = self.held();
        held.bytes -= held.by_name.remove(path).unwrap_or(0);
    }
}

/// Whether a create or an upload that failed so has certainly left nothing of its own.
fn left_nothing(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Unknown | ErrorKind::Io | ErrorKind::AlreadyExists)
}

impl Bounded {
    /// What a name counts, beside the bytes that are behind it: so there is a bound to empty objects, too.
    pub const NAME_BYTES: u64 = 256;

    /// `backend`, which may take `bytes_max` bytes in all; what it holds already counts.
    ///
    /// # Errors
    /// Where it cannot be listed.
    pub async fn new(backend: Arc<dyn Backend>, bytes_max: u64) -> Result<Bounded> {
        let metas: Vec<Meta> = backend.list("").try_collect().await?;
        let by_name: HashMap<_, _> =
            metas.into_iter().map(|meta| (meta.path, meta.len.saturating_add(Bounded::NAME_BYTES))).collect();
        let bytes = by_name.values().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
        Ok(Bounded { backend, room: Arc::new(Room { bytes_max, held: Mutex::new(Held { by_name, bytes }) }) })
    }

    /// What it takes now, with what is set aside.
    pub fn bytes(&self) -> u64 {
        self.room.held().bytes
    }

    fn knows(&self, path: &Path) -> bool {
        self.room.held().by_name.contains_key(path)
    }

    /// `call` makes `path`, of `len` bytes. One that is known is counted already: whoever makes it again is told so.
    async fn make<T>(
        &self,
        op: &'static str,
        path: &Path,
        len: u64,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let is_known = self.knows(path);
        if !is_known {
            self.room.take(op, path, len)?;
        }
        let made = call.await;
        if !is_known && made.as_ref().is_err_and(|error| left_nothing(error.kind())) {
            self.room.forget(path);
        }
        made
    }
}

#[async_trait]
impl Backend for Bounded {
    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn location(&self) -> String {
        self.backend.location()
    }

    fn log_apart(&self) -> Option<&dyn LogApart> {
        self.backend.log_apart()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        self.backend.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        self.make("create", path, data.len() as u64, self.backend.create(path, data)).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        if self.knows(path) {
            return Err(Error::new(ErrorKind::AlreadyExists, "upload", path, "the name is taken"));
        }
        let inner = Some(self.backend.upload(path).await?);
        Ok(Box::new(Upload { inner, room: self.room.clone(), path: path.clone(), bytes: 0 }))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        let inner = Some(self.make("append", path, 0, self.backend.append(path)).await?);
        Ok(Box::new(Growing { inner, room: self.room.clone(), path: path.clone(), reserved: 0 }))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        self.backend.open(path).await
    }

    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        self.backend.open_known(path, len).await
    }

    async fn read_whole(&self, path: &Path) -> Result<Bytes> {
        self.backend.read_whole(path).await
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        self.backend.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        self.backend.list(folder)
    }

    async fn foreign(&self) -> Result<Option<String>> {
        self.backend.foreign().await
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.backend.delete(path).await?;
        self.room.forget(path);
        Ok(())
    }

    fn traffic(&self) -> Traffic {
        self.backend.traffic()
    }

    fn keeps(&self) -> u64 {
        self.backend.keeps()
    }

    fn for_purpose(&self, purpose: Purpose, limiter: &Limiter) -> Option<Arc<dyn Backend>> {
        let backend = self.backend.for_purpose(purpose, limiter)?;
        Some(Arc::new(Bounded { backend, room: self.room.clone() }))
    }

    async fn tidy(&self) -> Result<()> {
        self.backend.tidy().await
    }
}

/// An upload; its parts take room until it is certain that nothing comes of them.
#[derive(Debug)]
struct Upload {
    /// There until it is ended.
    inner: Option<Box<dyn Uploader>>,
    room: Arc<Room>,
    path: Path,
    bytes: u64,
}

const ENDED_ONCE: &str = "what ends it consumes it";

#[async_trait]
impl Uploader for Upload {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let bytes = self.bytes + data.len() as u64;
        self.room.take("upload", &self.path, bytes)?;
        self.bytes = bytes;
        self.inner.as_mut().expect(ENDED_ONCE).write(data).await
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        // An object of no bytes is there too.
        self.room.take("upload", &self.path, self.bytes)?;
        let finished = self.inner.take().expect(ENDED_ONCE).finish().await;
        if finished.as_ref().is_err_and(|error| left_nothing(error.kind())) {
            self.room.forget(&self.path);
        }
        finished
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        self.room.forget(&self.path);
        self.inner.take().expect(ENDED_ONCE).abort().await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.room.forget(&self.path);
        }
    }
}

/// A growing file; what is set aside for it is taken already.
#[derive(Debug)]
struct Growing {
    /// There until it is ended.
    inner: Option<Box<dyn Appender>>,
    room: Arc<Room>,
    path: Path,
    reserved: u64,
}

impl Growing {
    fn inner(&mut self) -> &mut dyn Appender {
        &mut **self.inner.as_mut().expect(ENDED_ONCE)
    }

    /// Takes room for `len` bytes in all, unless it has.
    fn grow(&mut self, op: &'static str, len: u64) -> Result<()> {
        if len > self.reserved {
            self.room.take(op, &self.path, len)?;
            self.reserved = len;
        }
        Ok(())
    }

    fn shrink(&mut self, len: u64) {
        self.room.shrink(&self.path, len);
        self.reserved = len;
    }
}

#[async_trait]
impl Appender for Growing {
    fn len(&self) -> u64 {
        self.inner.as_ref().expect(ENDED_ONCE).len()
    }

    async fn reserve(&mut self, len: u64) -> Result<()> {
        let before = self.reserved;
        self.grow("reserve", len)?;
        let reserved = self.inner().reserve(len).await;
        if reserved.is_err() {
            self.shrink(before);
        }
        reserved
    }

    async fn append(&mut self, data: Vec<Bytes>, sync: bool) -> Result<()> {
        let bytes: u64 = data.iter().map(|part| part.len() as u64).sum();
        self.grow("append", self.len() + bytes)?;
        self.inner().append(data, sync).await
    }

    async fn sync(&mut self) -> Result<()> {
        self.inner().sync().await
    }

    async fn truncate(&mut self, len: u64) -> Result<()> {
        self.inner().truncate(len).await?;
        self.shrink(len);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let len = self.len();
        self.inner.take().expect(ENDED_ONCE).finish().await?;
        self.shrink(len);
        Ok(())
    }
}

impl Drop for Growing {
    fn drop(&mut self) {
        if let Some(inner) = &self.inner {
            self.room.shrink(&self.path, inner.len());
        }
    }
}
