//! A backend whose every call is done when it returns, whatever store is behind it: so that tests in virtual time can run
//! against real servers.
//!
//! The calls run on a runtime of their own, in real time, while the caller's thread waits.

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{self, BoxStream, StreamExt};
use halite::backends::{Appender, Backend, Capabilities, Error, Lock, Meta, Object, Path, Result, Shared, Uploader};
use std::future::Future;
use std::ops::Range;
use std::sync::{Arc, mpsc};
use tokio::runtime::Handle;

/// A store that is waited for.
#[derive(Clone, Debug)]
pub struct Waiting {
    store: Arc<dyn Backend>,
    runtime: Handle,
}

impl Waiting {
    /// `store`, whose calls run on `runtime`: one with threads of its own.
    pub fn new(store: Arc<dyn Backend>, runtime: Handle) -> Waiting {
        Waiting { store, runtime }
    }

    fn wait<T: Send + 'static>(&self, call: impl Future<Output = T> + Send + 'static) -> T {
        let (done, result) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            let _ = done.send(call.await);
        });
        result.recv().expect("the runtime lives as long as the test")
    }
}

#[async_trait::async_trait]
impl Backend for Waiting {
    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn location(&self) -> String {
        self.store.location()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        let store = self.store.clone();
        self.wait(async move { store.lock().await })
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        let (store, path) = (self.store.clone(), path.clone());
        self.wait(async move { store.create(&path, data).await })
    }

    async fn adopt(&self, path: &Path, shared: &Shared) -> Result<bool> {
        let (store, path, shared) = (self.store.clone(), path.clone(), shared.clone());
        self.wait(async move { store.adopt(&path, &shared).await })
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        let (store, path) = (self.store.clone(), path.clone());
        let upload = self.wait(async move { store.upload(&path).await })?;
        Ok(Box::new(WaitingUpload { upload: Some(upload), waiting: self.clone() }))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        let (store, path) = (self.store.clone(), path.clone());
        self.wait(async move { store.append(&path).await })
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        let (store, path) = (self.store.clone(), path.clone());
        let object = self.wait(async move { store.open(&path).await })?;
        Ok(Arc::new(WaitingObject { object, waiting: self.clone() }))
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        let (store, path) = (self.store.clone(), path.clone());
        self.wait(async move { store.exists(&path).await })
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let (store, folder) = (self.store.clone(), folder.to_owned());
        let listed: Result<Vec<Meta>, Error> = self.wait(async move { store.list(&folder).try_collect().await });
        match listed {
            Ok(metas) => stream::iter(metas.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn foreign(&self) -> Result<Option<String>> {
        let store = self.store.clone();
        self.wait(async move { store.foreign().await })
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        let (store, path) = (self.store.clone(), path.clone());
        self.wait(async move { store.delete(&path).await })
    }

    async fn tidy(&self) -> Result<()> {
        let store = self.store.clone();
        self.wait(async move { store.tidy().await })
    }
}

#[derive(Debug)]
struct WaitingObject {
    object: Arc<dyn Object>,
    waiting: Waiting,
}

#[async_trait::async_trait]
impl Object for WaitingObject {
    fn len(&self) -> u64 {
        self.object.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let object = self.object.clone();
        self.waiting.wait(async move { object.read(range).await })
    }
}

#[derive(Debug)]
struct WaitingUpload {
    upload: Option<Box<dyn Uploader>>,
    waiting: Waiting,
}

impl WaitingUpload {
    fn take(&mut self) -> Box<dyn Uploader> {
        self.upload.take().expect("an upload is not used again after it was ended")
    }
}

#[async_trait::async_trait]
impl Uploader for WaitingUpload {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let mut upload = self.take();
        let (upload, written) = self.waiting.wait(async move {
            let written = upload.write(data).await;
            (upload, written)
        });
        self.upload = Some(upload);
        written
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let upload = self.take();
        self.waiting.wait(async move { upload.finish().await })
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let upload = self.take();
        self.waiting.wait(async move { upload.abort().await })
    }
}
