//! A store that is far away: each call takes its time, in virtual time, and any number may be under way at once. Sometimes it
//! cannot be reached at all.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use halite::backends::{
    Appender, Backend, Capabilities, Error, ErrorKind, Limiter, Lock, Meta, Object, Path, Purpose, Result, Shared,
    Traffic, Uploader,
};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// `store`, seen from afar.
#[derive(Clone, Debug)]
pub struct Far {
    store: Arc<dyn Backend>,
    way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    latency: Duration,
    under_way: AtomicU64,
    at_once: AtomicU64,
    is_away: AtomicBool,
}

/// A call, until it is answered or given up.
struct Call<'a>(&'a Way);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Way {
    async fn take(&self) -> Result<Call<'_>> {
        let under_way = self.under_way.fetch_add(1, Ordering::Relaxed) + 1;
        self.at_once.fetch_max(under_way, Ordering::Relaxed);
        let call = Call(self);
        tokio::time::sleep(self.latency).await;
        match self.is_away.load(Ordering::Relaxed) {
            true => Err(Error::new(ErrorKind::Io, "reach", "the store", "nobody answers")),
            false => Ok(call),
        }
    }
}

impl Far {
    /// `store`, where each call takes `latency`.
    pub fn new(store: Arc<dyn Backend>, latency: Duration) -> Far {
        let way =
            Way { latency, under_way: AtomicU64::new(0), at_once: AtomicU64::new(0), is_away: AtomicBool::new(false) };
        Far { store, way: Arc::new(way) }
    }

    /// From now on no call reaches the store, or each does again.
    pub fn set_away(&self, is_away: bool) {
        self.way.is_away.store(is_away, Ordering::Relaxed);
    }

    /// How many calls were under way at once, at most.
    pub fn at_once(&self) -> u64 {
        self.way.at_once.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Backend for Far {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities().of_a_remote_store()
    }

    fn location(&self) -> String {
        self.store.location()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        self.store.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        let _call = self.way.take().await?;
        self.store.create(path, data).await
    }

    async fn adopt(&self, path: &Path, shared: &Shared) -> Result<bool> {
        self.store.adopt(path, shared).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        let _call = self.way.take().await?;
        self.store.upload(path).await
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        self.store.append(path).await
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        let _call = self.way.take().await?;
        Ok(Arc::new(FarObject { object: self.store.open(path).await?, way: self.way.clone() }))
    }

    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(FarObject { object: self.store.open_known(path, len).await?, way: self.way.clone() }))
    }

    async fn read_whole(&self, path: &Path) -> Result<Bytes> {
        let _call = self.way.take().await?;
        self.store.read_whole(path).await
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        let _call = self.way.take().await?;
        self.store.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let folder = folder.to_owned();
        let listed = async move {
            let outcome = self.way.take().await.map(drop);
            match outcome {
                Ok(()) => self.store.list(&folder),
                Err(error) => stream::iter([Err(error)]).boxed(),
            }
        };
        stream::once(listed).flatten().boxed()
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        let _call = self.way.take().await?;
        self.store.delete(path).await
    }

    fn traffic(&self) -> Traffic {
        self.store.traffic()
    }

    fn keeps(&self) -> u64 {
        self.store.keeps()
    }

    fn for_purpose(&self, purpose: Purpose, limiter: &Limiter) -> Option<Arc<dyn Backend>> {
        let store = self.store.for_purpose(purpose, limiter)?;
        Some(Arc::new(Far { store, way: self.way.clone() }))
    }
}

#[derive(Debug)]
struct FarObject {
    object: Arc<dyn Object>,
    way: Arc<Way>,
}

#[async_trait]
impl Object for FarObject {
    fn len(&self) -> u64 {
        self.object.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let _call = self.way.take().await?;
        self.object.read(range).await
    }
}
