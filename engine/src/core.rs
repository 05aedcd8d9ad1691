//! What all parts of an open database share.

use crate::budget::Budget;
use crate::clock::EngineClock;
use crate::commit::Log;
use crate::compaction::Compactor;
use crate::format::manifest::{Manifest, SegmentMeta};
use crate::format::names::{FragmentId, SegmentId};
use crate::keydir::Keydir;
use crate::pipeline::Sealer;
use crate::publish::{Published, Publisher, never_refuses};
use crate::random::Random;
use crate::residency::Residency;
use crate::retire::Retiring;
use crate::segment::{Files, Segment};
use crate::stores::Stores;
use crate::tasks::Tasks;
use crate::version::View;
use crate::versions::Versions;
use crate::{Error, ErrorKind, Options, Result, Seq};
use futures::future::{self, Either};
use halite_backends::{Capabilities, Lock, Purpose};
use parking_lot::Mutex;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{self, Notify, oneshot};
use tokio::task::JoinHandle;

/// An open database.
#[derive(Debug)]
pub(crate) struct Core {
    // Constant after construction.
    pub(crate) stores: Stores,
    pub(crate) capabilities: Capabilities,
    pub(crate) options: Options,
    pub(crate) budget: Budget,
    pub(crate) epoch: Epoch,
    pub(crate) clock: Arc<EngineClock>,
    pub(crate) random: Arc<Random>,
    pub(crate) tasks: Tasks,
    /// The log is kept apart from the manifests, on this machine alone.
    pub(crate) log_is_apart: bool,

    // Each guards itself.
    pub(crate) versions: Arc<Versions>,
    pub(crate) keydir: Keydir,
    pub(crate) residency: Residency,
    pub(crate) files: Arc<Files>,
    pub(crate) log: Arc<Log>,
    pub(crate) publisher: Publisher,
    pub(crate) sealer: Sealer,
    pub(crate) compactor: Compactor,
    pub(crate) retiring: Retiring,
    /// Something was acknowledged, and nobody has looked for another writer since. Only where the log is apart.
    pub(crate) unlooked: Notify,
    pub(crate) numbers: Arc<Numbers>,
    pub(crate) closed: AtomicBool,
    /// Held by the one close that is under way.
    pub(crate) closing: sync::Mutex<()>,
    /// Background tasks, to be ended on close.
    pub(crate) background: Mutex<Vec<JoinHandle<()>>>,
    /// The store's lock, held until this database is closed or dropped.
    pub(crate) lock: Mutex<Option<Box<dyn Lock>>>,
}

/// Who this writer is, and of which database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    pub(crate) database: [u8; 16],
    pub(crate) hash_seed: u64,
    pub(crate) epoch: u64,
    pub(crate) nonce: u64,
}

/// Hands out segment numbers. A number is burnt by the first attempt to write it.
#[derive(Debug)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    pub(crate) fn from(first: u64) -> Numbers {
        Numbers(AtomicU64::new(first))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The number that comes next.
    pub(crate) fn peek(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Epoch {
    /// The identity of segment `number` of this epoch.
    pub(crate) fn segment(&self, number: u64) -> SegmentId {
        SegmentId { epoch: self.epoch, nonce: self.nonce, number }
    }

    /// The identity of fragment `number` of this epoch's log.
    pub(crate) fn fragment(&self, number: u64) -> FragmentId {
        FragmentId { epoch: self.epoch, nonce: self.nonce, number }
    }
}

impl Core {
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(ErrorKind::Closed, "the database is closed"));
        }
        Ok(())
    }

    /// Looks whether another writer has claimed the database, where names alone do not fence.
    ///
    /// Where the log is apart and locked nobody else can claim the database but who gives up what is in it, so that to look in
    /// time would save nothing: it is done soon afterwards ([`timers::look`](crate::timers::look)), as it may take its time.
    pub(crate) async fn check_newest(&self) -> Result<()> {
        if self.log_is_apart && self.capabilities.lock {
            self.unlooked.notify_one();
            return Ok(());
        }
        if self.capabilities.append { self.publisher.check_newest().await } else { Ok(()) }
    }

    /// Publishes `edit` of the newest manifest; see [`Publisher::publish`].
    pub(crate) async fn publish(&self, edit: impl FnOnce(&mut Manifest)) -> Result<Manifest> {
        self.publish_if(never_refuses(edit)).await.map(|Ok(manifest)| manifest)
    }

    /// Publishes `edit` of the newest manifest, unless that refuses; see [`Publisher::publish_if`]. That may wait for a store
    /// that is away, until the log ends.
    pub(crate) async fn publish_if<E>(
        &self,
        edit: impl FnOnce(&mut Manifest) -> Result<(), E>,
    ) -> Result<Result<Manifest, E>> {
        let published = match self.publish_alone(edit).await? {
            Ok(published) => published,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.publisher.forget_older(&published).await;
        Ok(Ok(published.manifest))
    }

    /// The same, and nothing else: the manifests that are needed no more are left to whoever calls.
    pub(crate) async fn publish_alone<E>(
        &self,
        edit: impl FnOnce(&mut Manifest) -> Result<(), E>,
    ) -> Result<Result<Published, E>> {
        let deleted = self.retiring.deleted();
        let edit = |manifest: &mut Manifest| {
            manifest.retired.retain(|retired| !deleted.contains(&retired.name));
            edit(manifest)
        };
        let outcome = self.publisher.publish_if(edit, self.patience()).await;
        if let Ok(Ok(Published { manifest, .. })) = &outcome {
            self.retiring.forget(&deleted);
            if manifest.retention.window > 0 {
                // With each manifest a part of the past may have been let go of.
                self.retiring.look();
            }
        }
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::NoSpace
        {
            // Whether the manifest is there is open, or another writer's is: no more may be acknowledged.
            self.fail(error.clone());
        }
        outcome
    }

    /// Opens a segment of this database that was just written for `purpose`.
    pub(crate) async fn open_segment(&self, meta: &SegmentMeta, purpose: Purpose) -> Result<Arc<Segment>> {
        let segment = Segment::new(&self.files, meta);
        segment.read_for(purpose).open().await?;
        Ok(segment)
    }

    /// The database at this moment.
    pub(crate) fn view(&self) -> View {
        self.view_at(|| self.log.visible())
    }

    /// The database as it will be once all is visible that has been ordered. Nobody may hear of what it shows before.
    pub(crate) fn view_of_ordered(&self) -> View {
        self.view_at(|| self.log.ordered())
    }

    fn view_at(&self, at: impl Fn() -> Seq) -> View {
        loop {
            let version = self.versions.get();
            let at = at();
            // Unchanged, the version was current when the number was read: all it has sealed is visible at it.
            if Arc::ptr_eq(&version, &self.versions.load()) {
                return View { version, at, now: self.clock.now() };
            }
        }
    }

    /// Why something failed: for `cause`, or because another writer has taken over. (It deletes files that we write to,
    /// so being overtaken may look like anything.)
    pub(crate) async fn explain(&self, cause: Error) -> Error {
        match self.publisher.check_newest().await {
            Err(fenced) if fenced.kind() == ErrorKind::Fenced => fenced,
            _ => cause,
        }
    }

    /// Stops all writing because of `cause`; reads go on.
    pub(crate) fn fail(&self, cause: Error) {
        tracing::error!(error = %cause, "writing stops");
        self.log.fail(cause);
    }

    /// Runs `work` as a task of its own and waits for its end. The caller's future may be dropped at any moment: what it
    /// has begun is carried on and not left half done, such as a manifest of which nobody knows whether it was created.
    pub(crate) async fn carry_out<T, W>(self: &Arc<Self>, name: &'static str, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = async move {
            // Nobody waits for the answer of work whose caller's future was dropped.
            let _ = reply.send(work.await);
        };
        let core = Arc::downgrade(self);
        self.tasks.spawn(name, task, move |cause| {
            if let Some(core) = core.upgrade() {
                core.fail(cause);
            }
        });
        let ended = || Err(Error::new(ErrorKind::Closed, "the runtime of the database has ended"));
        match future::select(answer, pin!(self.tasks.inside(self.tired()))).await {
            Either::Left((answer, _)) => answer.unwrap_or_else(|_| self.log.check().and_then(|()| ended())),
            Either::Right((cause, _)) => {
                let message = format!("whether the {name} takes effect is not known yet: it goes on when it can");
                Err(Error::caused_by(ErrorKind::Unknown, message, cause))
            }
        }
    }

    /// Runs `task` in the background until the database is closed.
    pub(crate) fn spawn(self: &Arc<Self>, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let core = Arc::downgrade(self);
        let handle = self.tasks.spawn(name, task, move |cause| {
            if let Some(core) = core.upgrade() {
                core.fail(cause);
            }
        });
        self.background.lock().push(handle);
    }

    /// Ends the background tasks, so that nothing is written any more; reads go on.
    pub(crate) fn end_writing(&self, cause: Error) {
        // The log first: its task, aborted while the log still runs, would take that for the end of the runtime, and
        // those who wait would hear of that instead of `cause`.
        self.log.end(cause);
        for task in self.background.lock().drain(..) {
            task.abort();
        }
    }

    /// Closes the database to everyone and lets go of the store.
    pub(crate) fn shut(&self) {
        self.closed.store(true, Ordering::Release);
        self.end_writing(Error::new(ErrorKind::Closed, "the database is closed"));
        self.lock.lock().take();
    }
}
