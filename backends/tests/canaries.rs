//! The conformance suite finds what it is for: backends that break one promise each, on purpose.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use halite_backends::{
    Appender, Backend, Capabilities, ErrorKind, Lock, Memory, Meta, Object, Path, Result, Uploader, conformance,
};
use std::ops::Range;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    SecondCreateReplaces,
    CreateIsTorn,
    ListForgetsOne,
    ListShowsSiblings,
    ReadIsShort,
    ReadPastTheEndIsCut,
    MapIsShort,
    DeleteOfNothingFails,
    DeleteForgets,
    ExistsIsStale,
    UploadIsSeenEarly,
    AbortPublishes,
    LockIsShared,
    AppendSwapsParts,
    AppendReusesNames,
    TruncateIsIgnored,
    FinishLeavesZeros,
}

const BUGS: [Bug; 17] = [
    Bug::SecondCreateReplaces,
    Bug::CreateIsTorn,
    Bug::ListForgetsOne,
    Bug::ListShowsSiblings,
    Bug::ReadIsShort,
    Bug::ReadPastTheEndIsCut,
    Bug::MapIsShort,
    Bug::DeleteOfNothingFails,
    Bug::DeleteForgets,
    Bug::ExistsIsStale,
    Bug::UploadIsSeenEarly,
    Bug::AbortPublishes,
    Bug::LockIsShared,
    Bug::AppendSwapsParts,
    Bug::AppendReusesNames,
    Bug::TruncateIsIgnored,
    Bug::FinishLeavesZeros,
];

#[derive(Debug)]
struct Broken<T> {
    bug: Bug,
    inner: T,
}

#[async_trait]
impl Backend for Broken<Memory> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn location(&self) -> String {
        format!("broken:{:?}", self.bug)
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        #[derive(Debug)]
        struct Nothing;
        impl Lock for Nothing {}
        if self.bug == Bug::LockIsShared { Ok(Box::new(Nothing)) } else { self.inner.lock().await }
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        if self.bug == Bug::SecondCreateReplaces {
            self.inner.delete(path).await?;
        }
        let torn = if self.bug == Bug::CreateIsTorn { data.slice(..data.len().min(60_000)) } else { data };
        self.inner.create(path, torn).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        if self.bug == Bug::UploadIsSeenEarly {
            self.inner.create(path, "early".into()).await?;
        }
        Ok(Box::new(Broken { bug: self.bug, inner: self.inner.upload(path).await? }))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        if self.bug == Bug::AppendReusesNames {
            self.inner.delete(path).await?;
        }
        Ok(Box::new(Broken { bug: self.bug, inner: self.inner.append(path).await? }))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(Broken { bug: self.bug, inner: self.inner.open(path).await? }))
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.bug == Bug::ExistsIsStale || self.inner.exists(path).await?)
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        match self.bug {
            Bug::ListForgetsOne => self.inner.list(folder).skip(1).boxed(),
            Bug::ListShowsSiblings => {
                let folder = folder.to_owned();
                let shown = move |meta: &Result<Meta>| {
                    let shown = meta.as_ref().is_ok_and(|meta| meta.path.as_str().starts_with(&folder));
                    std::future::ready(shown)
                };
                self.inner.list("").filter(shown).boxed()
            }
            _ => self.inner.list(folder),
        }
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        match self.bug {
            Bug::DeleteOfNothingFails => self.inner.open(path).await.map(drop)?,
            Bug::DeleteForgets => return Ok(()),
            _ => {}
        }
        self.inner.delete(path).await
    }
}

#[async_trait]
impl Uploader for Broken<Box<dyn Uploader>> {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.inner.write(data).await
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.inner.finish().await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        if self.bug == Bug::AbortPublishes { self.inner.finish().await } else { self.inner.abort().await }
    }
}

#[async_trait]
impl Appender for Broken<Box<dyn Appender>> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    async fn reserve(&mut self, len: u64) -> Result<()> {
        self.inner.reserve(len).await
    }

    async fn append(&mut self, mut data: Vec<Bytes>, sync: bool) -> Result<()> {
        if self.bug == Bug::AppendSwapsParts {
            data.reverse();
        }
        self.inner.append(data, sync).await
    }

    async fn sync(&mut self) -> Result<()> {
        self.inner.sync().await
    }

    async fn truncate(&mut self, len: u64) -> Result<()> {
        match self.bug {
            Bug::TruncateIsIgnored if len <= self.inner.len() => Ok(()),
            _ => self.inner.truncate(len).await,
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        if self.bug == Bug::FinishLeavesZeros {
            self.inner.append(vec![vec![0; 10].into()], true).await?;
        }
        self.inner.finish().await
    }
}

#[async_trait]
impl Object for Broken<Arc<dyn Object>> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let read = self.inner.read(range.clone()).await;
        match (self.bug, read) {
            (Bug::ReadIsShort, Ok(bytes)) => Ok(bytes.slice(..bytes.len().min(9000))),
            (Bug::ReadPastTheEndIsCut, Err(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                self.inner.read(range.start.min(self.len())..self.len()).await
            }
            (_, read) => read,
        }
    }

    fn map(&self) -> Option<Bytes> {
        let map = self.inner.map();
        if self.bug == Bug::MapIsShort { map.map(|map| map.slice(..map.len().min(99_999))) } else { map }
    }
}

#[tokio::test]
async fn every_broken_promise_is_found_and_named() {
    let run = |bug| tokio::spawn(conformance::run(move || Arc::new(Broken { bug, inner: Memory::new() })));
    run(Bug::None).await.unwrap();
    for bug in BUGS {
        let panic = run(bug).await.expect_err(&format!("{bug:?} was not found")).into_panic();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("broken promise: "), "{bug:?}: {message}");
    }
}
