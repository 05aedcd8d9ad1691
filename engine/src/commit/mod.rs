//! Commits: order them, log them, make them durable, publish them.
//!
//! Writers enter the [`queue`] in log order under one short lock, if there is [`room`]; a single [`committer`] owns the
//! log and writes what gathered meanwhile in one go (group commit): to a [`growing`] file, or as one of its
//! [`fragments`]. The [`driver`] lets a writer run the committer on its own thread where that is quickest, and the [`line`]
//! of those who wait tells when each may be answered.
//!
//! # Guarantees
//! 1. Commits become visible in log order, never half, never before their own durability level is reached.
//! 2. After a failed write or sync no further commit succeeds; reads go on.
//! 3. A future that is dropped does not undo, delay or split the commit it has entered.

mod committer;
mod condition;
mod conditional;
mod driver;
mod follow;
mod fragments;
mod growing;
mod line;
mod queue;
mod room;
mod sealable;
mod waiting;
mod window;
mod work;

pub(crate) use committer::run;
pub(crate) use condition::{Condition, Footprint};
pub(crate) use conditional::Opened;
pub(crate) use follow::Following;
pub(crate) use queue::Queue;
pub(crate) use sealable::{Sealable, Sealed, Source};
pub(crate) use work::Prior;

use crate::batch::Write;
use crate::budget::Budget;
use crate::format::compressed::Codec;
use crate::format::frame::{Kind, NewRecord, Stream};
use crate::format::header::Header;
use crate::format::names::SegmentId;
use crate::memtable::Memtable;
use crate::meters::Meters;
use crate::segment::TailRoom;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::turn::Turn;
use crate::value::{self, Prepared};
use crate::versions::Versions;
use crate::{Durability, Error, Options, Result, Seq, tasks};
use driver::Driver;
use queue::{Admission, Entered};
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::Notify;
use tokio::time::Instant;
use work::{Pace, Reached, Work};

/// A segment that is being filled, or waits for its seal: who it is, and its memtable.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) memtable: Arc<Memtable>,
}

impl Draft {
    pub(crate) fn id(&self) -> SegmentId {
        self.header.id
    }

    pub(crate) fn stream(&self) -> Stream {
        self.header.stream()
    }
}

/// Makes the draft of the next segment.
pub(crate) type NewDraft = Box<dyn Fn(Prior) -> Arc<Draft> + Send + Sync>;

/// The log of one epoch.
pub(crate) struct Log {
    queue: Mutex<Queue>,
    driver: Driver,
    /// What values are compressed with.
    codec: Option<Codec>,
    /// The last sequence number that readers may see.
    visible: AtomicU64,
    versions: Arc<Versions>,
    new_draft: NewDraft,
    pub(crate) meters: Meters,
    /// Told whenever a writer that waits to enter should look again.
    progress: Notify,
    /// Told when more has settled, or no more will.
    settling: Notify,
    /// Watches that follow it.
    followers: AtomicUsize,
    /// Told when commits gather that only time will write, or sync.
    pub(crate) unwritten: Notify,
    pub(crate) unsynced: Notify,
}

impl Log {
    #[allow(clippy::too_many_arguments, reason = "these are the parts that it is put together from")]
    pub(crate) fn new(
        options: &Options,
        budget: &Budget,
        hash_seed: u64,
        reserves: bool,
        versions: Arc<Versions>,
        new_draft: NewDraft,
        prior: Prior,
    ) -> Log {
        let active = new_draft(prior);
        versions.begin_memtable(active.memtable.clone());
        Log {
            queue: Mutex::new(Queue::new(options, budget, hash_seed, reserves, active, prior.next_seq)),
            driver: Driver::default(),
            codec: options.compression.codec(),
            visible: AtomicU64::new(prior.next_seq - 1),
            versions,
            new_draft,
            meters: Meters::default(),
            progress: Notify::new(),
            settling: Notify::new(),
            followers: AtomicUsize::new(0),
            unwritten: Notify::new(),
            unsynced: Notify::new(),
        }
    }

    /// Full segments of these lengths, which an earlier epoch has left, are waiting for their seal.
    pub(crate) fn await_seals(&self, lens: impl Iterator<Item = u64>) {
        self.queue.lock().await_seals(lens);
    }

    /// The last sequence number that readers may see.
    #[inline]
    pub(crate) fn visible(&self) -> Seq {
        self.visible.load(Ordering::Acquire)
    }

    /// Commits `writes`, all or none, and returns once `level` is reached.
    pub(crate) async fn commit<'a, W>(&self, writes: W, level: Durability) -> Result<()>
    where
        W: ExactSizeIterator<Item = Write<'a>> + Clone,
    {
        let began = begin(level);
        match self.prepare(writes.clone()).await {
            None => self.commit_prepared(None, writes, level, began).await,
            Some(prepared) => self.commit_prepared(None, applied(writes, &prepared), level, began).await,
        }
    }

    /// Makes the values of `writes` ready to be logged, outside of all locks; `None` where they are.
    async fn prepare<'a, W>(&self, writes: W) -> Option<Vec<Prepared>>
    where
        W: ExactSizeIterator<Item = Write<'a>> + Clone,
    {
        if writes.clone().all(|write| value::is_ready(self.codec, &write)) {
            return None;
        }
        let mut prepared = Vec::with_capacity(writes.len());
        let mut turn = Turn::default();
        for write in writes {
            prepared.push(value::prepare(self.codec, &write, &mut turn).await);
        }
        Some(prepared)
    }

    /// Commits what is ready, and counts the time since it `began`, if that is known.
    async fn commit_prepared<'a, W>(
        &self,
        mut on: Option<&mut Condition>,
        writes: W,
        level: Durability,
        mut began: Option<Instant>,
    ) -> Result<()>
    where
        W: ExactSizeIterator<Item = Write<'a>> + Clone,
    {
        let deletes_only = writes.clone().all(|write| write.kind != Kind::Put);
        let mut since = None;
        let entered = loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            match self.try_enter(on.as_deref_mut(), writes.clone(), level, deletes_only, &mut since)? {
                Some(entered) => break entered,
                // Registered before the look, so that no progress is missed.
                None => {
                    progress.as_mut().enable();
                    let again = self.try_enter(on.as_deref_mut(), writes.clone(), level, deletes_only, &mut since)?;
                    if let Some(entered) = again {
                        break entered;
                    }
                    began.get_or_insert_with(Instant::now);
                    self.driver.drive();
                    progress.await;
                }
            }
        };
        self.answer(entered).await?;
        if let Some(began) = began {
            self.meters.commit_times.add(began.elapsed());
        }
        Ok(())
    }

    fn try_enter<'a, W>(
        &self,
        on: Option<&mut Condition>,
        writes: W,
        level: Durability,
        deletes_only: bool,
        since: &mut Option<u64>,
    ) -> Result<Option<Entered>>
    where
        W: ExactSizeIterator<Item = Write<'a>> + Clone,
    {
        let mut queue = self.queue.lock();
        let since = *since.get_or_insert(queue.reserve_attempts());
        let stream = queue.active().stream();
        let next_seq = queue.next_seq();
        let size = Size::of(writes.clone(), &stream, next_seq);
        match queue.admit(size, deletes_only, since, &mut |prior| (self.new_draft)(prior), &self.versions)? {
            Admission::Wait => Ok(None),
            Admission::Enter => {
                if let Some(condition) = on {
                    condition.check(queue.window(), next_seq - 1)?;
                }
                let was_idle = !queue.is_unsynced();
                let begins = queue.is_flushed();
                let entered = queue.enter(writes, size, level, &self.visible);
                self.meters.commits.add(1);
                self.meters.records.add(size.records);
                self.meters.payload_bytes.add(size.payload);
                if level == Durability::Deferred && begins {
                    self.unwritten.notify_one();
                }
                if level != Durability::Synced && was_idle {
                    self.unsynced.notify_one();
                }
                queue.pass_on_what_is_too_long(&mut |prior| (self.new_draft)(prior), &self.versions);
                let due = queue.is_due();
                drop(queue);
                if due && matches!(entered, Entered::Done) {
                    self.driver.drive();
                }
                Ok(Some(entered))
            }
        }
    }

    async fn answer(&self, entered: Entered) -> Result<()> {
        let Entered::Waits(answer) = entered else { return Ok(()) };
        {
            let _drives = Drives(&self.driver);
            // Let other tasks of this thread enter first: they share this commit's write and sync.
            yield_once().await;
        }
        match answer.await {
            Ok(outcome) => outcome,
            // The queue is gone without an answer: the runtime that carried it has ended.
            Err(_) => Err(Error::new(
                crate::ErrorKind::Unknown,
                "the database's runtime ended while the commit was under way",
            )),
        }
    }

    /// Makes durable all that has entered.
    pub(crate) async fn flush(&self) -> Result<()> {
        let entered = self.queue.lock().flush()?;
        self.answer(entered).await
    }

    /// Ends the active segment, so that it is sealed, if it has records. While nothing can be sealed no more is to wait for
    /// that: nobody would bound it.
    pub(crate) fn rotate(&self) -> Result<()> {
        {
            let mut queue = self.queue.lock();
            queue.check()?;
            if let Some(cause) = queue.seal_failure() {
                return Err(cause.clone());
            }
            queue.rotate(&mut |prior| (self.new_draft)(prior), &self.versions);
        }
        self.driver.drive();
        Ok(())
    }

    /// Ends the active segment and waits until all is sealed that has entered before.
    pub(crate) async fn seal(&self) -> Result<()> {
        self.rotate()?;
        let end = self.inspect(|queue| queue.seals() + queue.unsealed() as u64);
        self.sealed_when(|queue| queue.seals() >= end).await
    }

    /// Waits until no full segment waits for its seal.
    pub(crate) async fn all_sealed(&self) -> Result<()> {
        self.sealed_when(|queue| queue.unsealed() == 0).await
    }

    async fn sealed_when(&self, is_far_enough: impl Fn(&Queue) -> bool) -> Result<()> {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            {
                let queue = self.queue.lock();
                queue.check()?;
                if is_far_enough(&queue) {
                    return Ok(());
                }
                if let Some(cause) = queue.seal_failure() {
                    return Err(cause.clone());
                }
            }
            self.driver.drive();
            progress.await;
        }
    }

    /// Lets nothing more enter; what has entered is still written.
    pub(crate) fn stop(&self) {
        self.queue.lock().stop();
        self.driver.drive();
        self.progress.notify_waiters();
    }

    /// Drops the committer. Whoever still waits gets an answer.
    pub(crate) fn end(&self, cause: Error) {
        self.driver.stop();
        self.fail(cause);
    }

    /// Stops all writing because of `cause`; see [`Queue::fail`].
    pub(crate) fn fail(&self, cause: Error) {
        let answers = self.queue.lock().fail(cause);
        answers.send();
        self.progress.notify_waiters();
        self.settling.notify_waiters();
    }

    pub(crate) fn want_write(&self) {
        self.queue.lock().want_write();
        self.driver.drive();
    }

    pub(crate) fn want_sync(&self) {
        self.queue.lock().want_sync();
        self.driver.drive();
    }

    pub(crate) fn sealed(&self, outcome: Result<()>) {
        self.queue.lock().sealed(outcome);
        self.progress.notify_waiters();
    }

    pub(crate) fn seals_again(&self) {
        self.queue.lock().seals_again();
        self.progress.notify_waiters();
    }

    /// Whether it takes no more: it has failed, or is being closed.
    pub(crate) fn is_ending(&self) -> bool {
        self.queue.lock().is_ending()
    }

    /// Waits until [`is_ending`](Log::is_ending).
    pub(crate) async fn ending(&self) {
        self.until(|queue| queue.is_ending()).await;
    }

    /// Waits until there is a store that cannot be reached.
    pub(crate) async fn away(&self) {
        self.until(|queue| queue.away().is_some()).await;
    }

    async fn until(&self, is_so: impl Fn(&Queue) -> bool) {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.inspect(&is_so) {
                return;
            }
            progress.await;
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.queue.lock().check()
    }

    /// The sequence number that comes next.
    pub(crate) fn next_seq(&self) -> Seq {
        self.queue.lock().next_seq()
    }

    /// Whether everything has been handed to the operating system, or never will be.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        !queue.has_unwritten() || queue.check().is_err()
    }

    /// Waits until [`is_idle`](Log::is_idle).
    pub(crate) async fn idle(&self) {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.is_idle() {
                return;
            }
            progress.await;
        }
    }

    /// From now on memtables may take so many bytes beside what they have to themselves.
    pub(crate) fn lend(&self, bytes: u64) {
        self.queue.lock().lend(bytes);
    }

    pub(crate) fn inspect<T>(&self, look: impl FnOnce(&Queue) -> T) -> T {
        look(&self.queue.lock())
    }

    /// Starts the committer, and returns the future that keeps it going, to be spawned.
    pub(crate) fn start(
        self: &Arc<Self>,
        committer: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let log = self.clone();
        // It may panic on the thread of any writer, which is to hear of that as of every other failure.
        self.driver.start(Box::pin(async move {
            if let Err(panicked) = tasks::caught("committer", committer).await {
                log.fail(panicked);
            }
        }));
        let keeper = Keeper(self.clone());
        std::future::poll_fn(move |cx| keeper.0.driver.poll_background(cx))
    }

    /// The committer's answer to a reserve: the bytes now sure to fit, or why not.
    fn answer_reserve(&self, draft: &Draft, outcome: Result<u64>) {
        self.queue.lock().reserved(draft, outcome);
        self.progress.notify_waiters();
    }

    fn take_mark(&self, draft: &Draft) -> Option<u64> {
        self.queue.lock().take_mark(draft)
    }

    /// Ends the active segment and lets nothing more enter.
    pub(crate) fn rotate_and_stop(&self) -> Result<()> {
        {
            let mut queue = self.queue.lock();
            queue.check()?;
            queue.rotate(&mut |prior| (self.new_draft)(prior), &self.versions);
            queue.stop();
        }
        self.driver.drive();
        self.progress.notify_waiters();
        Ok(())
    }

    fn next_work(&self, pace: Pace) -> Poll<Work> {
        self.queue.lock().next_work(pace).map_or(Poll::Pending, Poll::Ready)
    }

    /// Notes how far the log has come, and answers who waited for it. Returns how many.
    fn reached(&self, reached: Reached) -> usize {
        let answers = {
            let mut queue = self.queue.lock();
            let answers = queue.reached(reached, &self.visible);
            // What gathered meanwhile has found the timers running for what came before it.
            if queue.has_unwritten() {
                self.unwritten.notify_one();
            }
            if queue.is_unsynced() {
                self.unsynced.notify_one();
            }
            answers
        };
        let answered = answers.len();
        answers.send();
        self.progress.notify_waiters();
        if reached.synced {
            self.settling.notify_waiters();
        }
        answered
    }
}

/// Drives the committer when it goes, be it because the future that holds it is dropped: what has entered is not to
/// wait for anyone else.
struct Drives<'a>(&'a Driver);

impl Drop for Drives<'_> {
    fn drop(&mut self) {
        self.0.drive();
    }
}

/// Fails the log when its background task goes before the committer has ended: the runtime is gone, and nobody is to
/// wait for ever.
struct Keeper(Arc<Log>);

impl Drop for Keeper {
    fn drop(&mut self) {
        if self.0.driver.is_running() {
            self.0.fail(Error::new(crate::ErrorKind::Closed, "the runtime of the database has ended"));
        }
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("visible", &self.visible()).finish_non_exhaustive()
    }
}

/// When a commit of that level begins. A deferred one mostly takes less than a look at the clock: it counts from when it has
/// to wait, if it has to.
fn begin(level: Durability) -> Option<Instant> {
    (level != Durability::Deferred).then(Instant::now)
}

/// `writes` with their values as they will be stored.
fn applied<'a: 'b, 'b, W>(writes: W, prepared: &'b [Prepared]) -> impl ExactSizeIterator<Item = Write<'b>> + Clone
where
    W: ExactSizeIterator<Item = Write<'a>> + Clone + 'b,
{
    writes.zip(prepared).map(|(write, prepared)| prepared.apply(write))
}

/// The record that `write` becomes.
fn new_record<'a>(write: &Write<'a>, seq: Seq, last_of_batch: bool) -> NewRecord<'a> {
    let Write { kind, key, value, compressed, expires_at, .. } = *write;
    NewRecord { seq, kind, key, value, compressed, expires_at, last_of_batch }
}

/// What the writes of one commit take.
#[derive(Clone, Copy, Default)]
pub(crate) struct Size {
    /// In the log.
    len: u64,
    /// Of that, the large values, which are not copied.
    large: u64,
    /// Keys and values alone, and how many records.
    payload: u64,
    records: u64,
    /// Behind it, once it is sealed.
    tail: TailRoom,
}

impl Size {
    /// Of `writes`, at sequence numbers from `seq` on.
    fn of<'a>(writes: impl Iterator<Item = Write<'a>>, stream: &Stream, mut seq: Seq) -> Size {
        let mut size = Size::default();
        for write in writes {
            let record = new_record(&write, seq, false);
            let len = record.encoded_len(stream);
            size.len += len as u64;
            size.large += write.large.map_or(0, |large| large.bytes.len() as u64);
            size.payload += (record.key.len() + record.value.len()) as u64;
            size.records += 1;
            size.tail.add(record.key.len(), len, record.expires_at);
            seq += 1;
        }
        size
    }
}

/// Lets every other task that is ready run once.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
