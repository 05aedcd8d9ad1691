//! The calls of the trait, each a sequence of steps that faults, crashes and dropped futures can end anywhere.

use super::disk::{Effect, File};
use super::{Simulated, Step};
use crate::bounds::checked_len;
use crate::planted::{Bug, planted};
use crate::{Appender, Backend, Capabilities, Error, ErrorKind, Lock, Meta, Object, Path, Result, Uploader};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::task::Poll;

/// Longer appends are several steps.
const WRITE_STEP: usize = 64 * 1024;

impl Simulated {
    /// Is pending for a few turns, where calls are to mix.
    async fn pause(&self) {
        while self.yields_once_more() {
            let mut is_first = true;
            poll_fn(|context| {
                if std::mem::take(&mut is_first) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Waits for as long as the next step is stalled.
    async fn unstalled(&self, op: &'static str, path: &str, effect: &'static str) {
        poll_fn(|context| {
            let mut disk = self.disk.lock();
            let step = Step { number: disk.steps, op, effect, path };
            if !disk.stalls.iter().any(|matches| matches(&step)) {
                return Poll::Ready(());
            }
            disk.stalled.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn yields_once_more(&self) -> bool {
        let mut disk = self.disk.lock();
        disk.options.yields && disk.random.one_in(2)
    }

    /// Takes the steps of one call, in order, up to the first that fails.
    async fn run(&self, op: &'static str, path: &str, effects: impl IntoIterator<Item = Effect>) -> Result<()> {
        let mut call = Call { sim: self.clone(), rest: effects.into_iter().collect() };
        loop {
            self.pause().await;
            let Some(next) = call.rest.front() else { return Ok(()) };
            self.unstalled(op, path, next.name()).await;
            if self.disk.lock().is_to_panic() {
                call.rest.clear();
                panic!("{op} {path}: as planned");
            }
            let effect = call.rest.pop_front().expect("it was there just above");
            let taken = self.disk.lock().step(op, path, effect);
            if taken.is_err() {
                call.rest.clear();
                return taken;
            }
        }
    }

    /// A call that only looks: one step, then the answer.
    async fn look(&self, op: &'static str, path: &str, what: &'static str) -> Result<()> {
        self.run(op, path, [Effect::Look(what)]).await
    }

    fn is_object_store(&self) -> bool {
        !self.disk.lock().options.append
    }

    /// Removes a hidden file, as a call does that fails and lives to tidy up.
    fn discard(&self, hidden: u64) {
        let mut disk = self.disk.lock();
        if !disk.is_crashed() {
            disk.hidden.remove(&hidden);
        }
    }
}

/// The steps of a call not taken yet. Dropped with some left, its future was dropped.
struct Call {
    sim: Simulated,
    rest: VecDeque<Effect>,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.rest.is_empty() {
            self.sim.disk.lock().abandon(std::mem::take(&mut self.rest));
        }
    }
}

#[async_trait]
impl Backend for Simulated {
    fn capabilities(&self) -> Capabilities {
        let disk = self.disk.lock();
        Capabilities::new(disk.options.append, disk.options.lock, true)
    }

    fn location(&self) -> String {
        "simulated:".into()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        if !self.capabilities().lock {
            return Err(Error::new(ErrorKind::Unsupported, "lock", self.location(), "this store has no lock"));
        }
        self.look("lock", "", "lock").await?;
        if std::mem::replace(&mut self.disk.lock().locked, true) {
            return Err(Error::new(ErrorKind::InUse, "lock", self.location(), "another handle holds the lock"));
        }
        Ok(Box::new(Held(self.clone())))
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        if self.is_object_store() {
            return self.run("create", path.as_str(), [Effect::Put(path.clone(), data)]).await;
        }
        let (hidden, file) = self.disk.lock().new_hidden_file();
        let steps = [
            Effect::Write(file.clone(), 0, data),
            Effect::SyncWhole(file.clone()),
            Effect::Link(path.clone(), file),
            Effect::SyncFolder(path.folder().into()),
        ];
        let created = self.run("create", path.as_str(), steps).await;
        if let Err(error) = &created {
            self.discard(hidden);
            if error.kind() == ErrorKind::AlreadyExists {
                self.run("create", path.as_str(), [Effect::SyncFolder(path.folder().into())]).await?;
            }
        }
        created
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        self.look("upload", path.as_str(), "begin").await?;
        let (hidden, file) = self.disk.lock().new_hidden_file();
        Ok(Box::new(Upload { sim: self.clone(), path: path.clone(), hidden, file, len: 0, broken: false }))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        if self.is_object_store() {
            return Err(Error::new(ErrorKind::Unsupported, "append", path, "this store only creates whole objects"));
        }
        let file = self.disk.lock().new_file(None);
        file.lock().is_log = true;
        let steps = [Effect::Link(path.clone(), file.clone()), Effect::SyncFolder(path.folder().into())];
        self.run("append", path.as_str(), steps).await?;
        Ok(Box::new(Append { sim: self.clone(), path: path.clone(), file, len: 0, unsynced: false, broken: false }))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        self.look("open", path.as_str(), "open").await?;
        let mut disk = self.disk.lock();
        match disk.names.get(path).cloned() {
            Some(file) => {
                let len = file.lock().len();
                disk.note(len);
                Ok(Arc::new(Open { sim: self.clone(), path: path.clone(), file, len }))
            }
            None => Err(Error::new(ErrorKind::NotFound, "open", path, "no such object")),
        }
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        self.look("look for", path.as_str(), "stat").await?;
        let mut disk = self.disk.lock();
        let is_there = disk.names.contains_key(path);
        disk.note(is_there);
        Ok(is_there)
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let folder = folder.to_owned();
        let listed = async move {
            let metas = match self.look("list", &folder, "list").await {
                Err(error) => vec![Err(error)],
                Ok(()) => {
                    let shown = self.disk.lock().listed(&folder);
                    shown.into_iter().map(|(path, len)| Ok(Meta::new(path, len))).collect()
                }
            };
            stream::iter(metas)
        };
        stream::once(listed).flatten().boxed()
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.run("delete", path.as_str(), [Effect::Unlink(path.clone())]).await
    }

    async fn tidy(&self) -> Result<()> {
        self.run("tidy", "", [Effect::Tidy]).await
    }
}

struct Held(Simulated);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.disk.lock().locked = false;
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

#[derive(Debug)]
struct Upload {
    sim: Simulated,
    path: Path,
    hidden: u64,
    file: File,
    len: u64,
    broken: bool,
}

impl Upload {
    async fn run(&mut self, effects: Vec<Effect>) -> Result<()> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(Error::new(ErrorKind::Io, "upload", &self.path, "an earlier call failed or was given up"));
        }
        self.sim.run("upload", self.path.as_str(), effects).await?;
        self.broken = false;
        Ok(())
    }
}

#[async_trait]
impl Uploader for Upload {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let end = self.len + data.len() as u64;
        self.run(vec![Effect::Write(self.file.clone(), self.len, data)]).await?;
        self.len = end;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let steps = if self.sim.is_object_store() {
            let whole = Bytes::copy_from_slice(self.file.lock().bytes());
            self.sim.discard(self.hidden);
            vec![Effect::Put(self.path.clone(), whole)]
        } else {
            vec![
                Effect::SyncWhole(self.file.clone()),
                Effect::Link(self.path.clone(), self.file.clone()),
                Effect::SyncFolder(self.path.folder().into()),
            ]
        };
        self.run(steps).await
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

impl Drop for Upload {
    /// A call still under way keeps its file, as a leftover or until it arrives.
    fn drop(&mut self) {
        self.sim.discard(self.hidden);
    }
}

#[derive(Debug)]
struct Append {
    sim: Simulated,
    path: Path,
    file: File,
    len: u64,
    unsynced: bool,
    broken: bool,
}

impl Append {
    fn check(&self, op: &'static str) -> Result<()> {
        if self.broken {
            return Err(Error::new(ErrorKind::Io, op, &self.path, "an earlier call failed or was given up"));
        }
        Ok(())
    }

    async fn run(&mut self, op: &'static str, effects: Vec<Effect>) -> Result<()> {
        self.check(op)?;
        self.broken = true;
        let mut done = self.sim.run(op, self.path.as_str(), effects).await;
        if planted(Bug::SyncRetried) && done.is_err() {
            done = self.sim.run(op, self.path.as_str(), [Effect::Sync(self.file.clone())]).await;
        }
        done?;
        self.broken = false;
        Ok(())
    }
}

#[async_trait]
impl Appender for Append {
    fn len(&self) -> u64 {
        self.len
    }

    async fn reserve(&mut self, len: u64) -> Result<()> {
        self.check("reserve")?;
        let reserved = self.file.lock().reserved;
        if len <= self.len.max(reserved) {
            return Ok(());
        }
        // A reservation that fails changes nothing, so the appender stays good, unless its future is dropped.
        let reserved = self.run("reserve", vec![Effect::Reserve(self.file.clone(), len)]).await;
        self.broken = false;
        reserved
    }

    async fn append(&mut self, data: Vec<Bytes>, sync: bool) -> Result<()> {
        let data = Bytes::from(data.concat());
        let end = self.len + data.len() as u64;
        let starts = (0..data.len()).step_by(WRITE_STEP);
        let pieces = starts.map(|start| (start, data.slice(start..data.len().min(start + WRITE_STEP))));
        let mut steps: Vec<_> =
            pieces.map(|(start, piece)| Effect::Write(self.file.clone(), self.len + start as u64, piece)).collect();
        if sync && (self.unsynced || !data.is_empty()) {
            steps.push(Effect::Sync(self.file.clone()));
        }
        self.run("append", steps).await?;
        self.unsynced = !sync && (self.unsynced || end > self.len);
        self.len = end;
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        self.check("sync")?;
        if self.unsynced {
            self.run("sync", vec![Effect::Sync(self.file.clone())]).await?;
            self.unsynced = false;
        }
        Ok(())
    }

    async fn truncate(&mut self, len: u64) -> Result<()> {
        self.check("truncate")?;
        if len > self.len {
            let message = format!("beyond the end asked={len} len={}", self.len);
            return Err(Error::new(ErrorKind::InvalidInput, "truncate", &self.path, message));
        }
        self.run("truncate", vec![Effect::Cut(self.file.clone(), len), Effect::Sync(self.file.clone())]).await?;
        (self.len, self.unsynced) = (len, false);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let steps = vec![Effect::Cut(self.file.clone(), self.len), Effect::SyncWhole(self.file.clone())];
        self.run("finish", steps).await
    }
}

#[derive(Debug)]
struct Open {
    sim: Simulated,
    path: Path,
    file: File,
    len: u64,
}

#[async_trait]
impl Object for Open {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.sim.look("read", self.path.as_str(), "read").await?;
        checked_len(&self.path, &range, self.len)?;
        let mut disk = self.sim.disk.lock();
        checked_len(&self.path, &range, self.file.lock().len())?;
        // Within what is in memory already, so the bounds fit a `usize`.
        let within = range.start as usize..range.end as usize;
        let read = disk.spoilt(self.path.as_str(), &self.file, within);
        disk.note((range.start, &read));
        Ok(read)
    }

    fn map(&self) -> Option<Bytes> {
        if !self.sim.disk.lock().options.map {
            return None;
        }
        self.file.lock().shared().filter(|whole| whole.len() as u64 == self.len)
    }
}
