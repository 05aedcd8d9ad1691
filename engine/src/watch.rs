//! Watches: the commits of the database in their order, each once.
//!
//! A watch reads the log: memtables where they are in memory, and where they were sealed as they were, the segments. A
//! merge keeps the newest record of each key alone, so what it has merged is past. From which commit on nothing is
//! missing every version knows ([`Versions::history_from`](crate::versions::Versions::history_from)), and manifests too.
//!
//! # Guarantees
//! 1. Only commits that are durable and visible come: what was seen is not taken back by any crash.
//! 2. Each comes once and whole, in the order of sequence numbers. Where one may be missing, the watch fails.

use crate::commit::Following;
use crate::core::Core;
use crate::db::Db;
use crate::format::frame::{Kind, Record};
use crate::memtable::Memtable;
use crate::planted::{Bug, planted};
use crate::segment::LogReader;
use crate::turn::Turn;
use crate::value::Value;
use crate::{Error, ErrorKind, KeyRange, Result, Seq};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use halite_backends::Path;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

/// What one commit has changed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// let db = halite::Db::open("mem:").await?;
/// db.write(halite::WriteBatch::new().put("a", "1").put("b", "2")).await?;
/// let commits: Vec<halite::Commit> = db.watch("", 1).until(2).try_collect().await?;
/// assert_eq!((commits.len(), commits[0].seq, commits[0].changes.len()), (1, 2, 2));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// The sequence number of its last write. Whoever has dealt with it goes on from the next one.
    pub seq: Seq,
    /// Its writes, in their order, as far as their keys begin with the watch's prefix; at least one.
    pub changes: Vec<Change>,
}

/// One write of a commit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// use halite::Change;
/// let db = halite::Db::open("mem:").await?;
/// db.write(halite::WriteBatch::new().put("a", "1").delete("b").delete_range("c"..)).await?;
/// let commits: Vec<halite::Commit> = db.watch("", 1).until(3).try_collect().await?;
/// for Change { seq, key, value, range, .. } in &commits[0].changes {
///     match (value, range) {
///         (Some(value), _) => println!("{seq}: {key:?} is {value:?}"),
///         (None, Some(range)) => println!("{seq}: all of {range:?} is gone"),
///         (None, None) => println!("{seq}: {key:?} is gone"),
///     }
/// }
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Its place in the commit order.
    pub seq: Seq,
    /// The key; of a range delete, where its keys begin. Like the value it may share the memory of its whole segment, which
    /// it then keeps alive.
    pub key: Bytes,
    /// The keys that it deletes, if it is a range delete: of those the ones that begin with the watch's prefix.
    pub range: Option<KeyRange>,
    /// What was put there; `None` for a delete.
    pub value: Option<Bytes>,
    /// When it counts as deleted, in milliseconds since the Unix epoch; never if `None`. That an expiry has come is no
    /// change of its own.
    pub expires_at: Option<u64>,
}

/// The commits of a database, in their order: a [`Stream`] of `Result<Commit>`.
///
/// It waits for commits to come, and ends when the database is closed. After an error it ends too.
///
/// From its making on, polled or not, it keeps what it has not come to yet: segments as a snapshot keeps them, and what is
/// written from then on in memory, within [`Options::transaction_window_bytes`](crate::Options::transaction_window_bytes).
/// Where it lags behind farther than that it reads what was sealed, unless a merge has taken it. It keeps the database open
/// as a [`Db`] does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// let db = halite::Db::open("mem:").await?;
/// db.put("user:1", "Ada").await?;
/// db.put("count", "1").await?;
/// let mut commits = db.watch("user:", 1).until(2);
/// while let Some(commit) = commits.try_next().await? {
///     println!("{} {:?}", commit.seq, commit.changes);
/// }
/// assert_eq!(commits.position(), 3); // where another watch would go on
/// # drop(commits);
/// # db.close().await
/// # }
/// ```
#[must_use = "a watch does nothing unless it is polled"]
pub struct Watch {
    state: State,
    position: Arc<AtomicU64>,
}

enum State {
    Failed(Error),
    Idle(Box<Watcher>),
    Busy(BoxFuture<'static, (Box<Watcher>, Result<Option<Commit>>)>),
    Ended,
}

impl Db {
    /// The commits from sequence number `from_seq` on that change keys beginning with `prefix`, in their order: those
    /// that have been, and those to come.
    ///
    /// A commit comes once it is durable: one that is `Deferred` or `Written`, with the next sync. To begin with what
    /// there is, read a [snapshot](Db::snapshot), and watch from its [`seq`](crate::Snapshot::seq) plus one. To go on
    /// after a while, or after the database was opened anew, watch from the last [`Commit::seq`] plus one, or from
    /// [`Watch::position`].
    ///
    /// # Errors
    /// They come from the stream, and end it. `Gone`: not all from `from_seq` on is there any more, for the past goes
    /// with merges ([`Options::history_bytes`](crate::Options::history_bytes) keeps some); read a snapshot again.
    /// `InvalidInput`: `from_seq` is beyond the next commit. `Closed`. `Corruption`, `Io`. `Poisoned`, `Fenced`: the log has failed,
    /// and nothing more will come.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use futures::TryStreamExt;
    /// let db = halite::Db::open("mem:").await?;
    /// let mut commits = db.watch("user:", 1);
    /// db.write(halite::WriteBatch::new().put("user:1", "Ada").put("count", "1")).await?;
    /// let commit = commits.try_next().await?.expect("the database is open");
    /// assert_eq!(commit.changes.len(), 1);
    /// assert_eq!(commit.changes[0].value.as_deref(), Some(&b"Ada"[..]));
    /// # db.close().await
    /// # }
    /// ```
    pub fn watch(&self, prefix: impl AsRef<[u8]>, from_seq: Seq) -> Watch {
        let prefix = Bytes::copy_from_slice(prefix.as_ref());
        let next = from_seq.max(1);
        let position = Arc::new(AtomicU64::new(next));
        let until = Seq::MAX;
        let (db, ahead) = (self.clone(), None);
        let mut watcher = Box::new(Watcher { db, prefix, until, next, position: position.clone(), ahead });
        let state = match watcher.begin() {
            Ok(()) => State::Idle(watcher),
            Err(error) => State::Failed(error),
        };
        Watch { state, position }
    }
}

impl Watch {
    /// Ends behind the commit that `seq` belongs to, once everything up to there has come.
    ///
    /// Has no effect on a watch that has been polled.
    pub fn until(mut self, seq: Seq) -> Watch {
        if let State::Idle(watcher) = &mut self.state {
            watcher.until = seq;
        }
        self
    }

    /// The sequence number from which another watch would go on where this one is. Commits that change nothing under
    /// its prefix are passed by too.
    pub fn position(&self) -> Seq {
        self.position.load(Ordering::Acquire)
    }
}

impl Stream for Watch {
    type Item = Result<Commit>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Commit>>> {
        let mut busy = match std::mem::replace(&mut self.state, State::Ended) {
            State::Idle(mut watcher) => async move {
                let next = watcher.next().await;
                (watcher, next)
            }
            .boxed(),
            State::Busy(busy) => busy,
            State::Failed(error) => return Poll::Ready(Some(Err(error))),
            State::Ended => return Poll::Ready(None),
        };
        let Poll::Ready((watcher, next)) = busy.poll_unpin(cx) else {
            self.state = State::Busy(busy);
            return Poll::Pending;
        };
        watcher.tell_position();
        if let Ok(Some(_)) = &next {
            self.state = State::Idle(watcher);
        }
        Poll::Ready(next.transpose())
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("position", &self.position()).finish_non_exhaustive()
    }
}

/// Goes from commit to commit.
struct Watcher {
    // Constant after the first step.
    db: Db,
    prefix: Bytes,
    until: Seq,

    /// Everything below has come.
    next: Seq,
    /// The same for the watch to see. No commit is below that has not been given.
    position: Arc<AtomicU64>,
    /// What it reads, unless that is to be looked for.
    ahead: Option<Ahead>,
}

impl Watcher {
    /// Makes sure that what is there from now on stays.
    fn begin(&mut self) -> Result<()> {
        let core = self.db.core();
        core.check_open()?;
        if self.next > core.log.ordered() + 1 {
            let message = format!("no commit has had seq {} yet", self.next - 1);
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        self.ahead = Some(Ahead::from(core, self.next)?);
        Ok(())
    }

    fn tell_position(&self) {
        self.position.store(self.next - u64::from(planted(Bug::WatchRepeats)), Ordering::Release);
    }

    /// The next commit; `None` where there is none to come.
    async fn next(&mut self) -> Result<Option<Commit>> {
        let core = self.db.core().clone();
        let mut turn = Turn::default();
        loop {
            self.tell_position();
            if self.next > self.until {
                return Ok(None);
            }
            let mut ahead = match self.ahead.take() {
                Some(ahead) => ahead,
                None => Ahead::from(&core, self.next)?,
            };
            let is_closed = || core.closed.load(Ordering::Acquire);
            let Some(settled) = core.log.settled_from(self.next, is_closed).await? else { return Ok(None) };
            let commit = match &mut ahead.current {
                Part::Sealed(reader) => self.read_sealed(reader, &mut turn).await?,
                Part::Memory(memtable) => self.read_memory(memtable, settled, &mut turn).await?,
            };
            if commit.is_some() {
                self.ahead = Some(ahead);
                return Ok(commit);
            }
            self.ahead = ahead.pass(&mut self.next, settled);
        }
    }

    /// Reads on to the next commit with a change that is asked for, or to the end of the segment.
    async fn read_sealed(&mut self, reader: &mut LogReader, turn: &mut Turn) -> Result<Option<Commit>> {
        let mut changes = Vec::new();
        let (next, prefix) = (self.next, self.prefix.clone());
        let segment = reader.segment().clone();
        let take = |at: u64, record: &Record<'_>, share: &dyn Fn(&[u8]) -> Bytes| {
            let place = || Some((segment.path().clone(), at));
            let found = if record.seq >= next { Found::new(record, &prefix, share, place) } else { None };
            (found, record.seq, record.len, record.last_of_batch)
        };
        while let Some((found, seq, len, is_last)) = reader.next(turn, take).await? {
            changes.extend(found);
            if is_last && self.ends_commit(seq, &changes) {
                return commit(seq, changes).await;
            }
            turn.take(len).await;
        }
        Ok(None)
    }

    /// Reads on to the next commit with a change that is asked for, or as far as the log has `settled`.
    async fn read_memory(&mut self, memtable: &Memtable, settled: Seq, turn: &mut Turn) -> Result<Option<Commit>> {
        let mut changes = Vec::new();
        for entry in memtable.since(self.next - 1, settled) {
            let record = entry.record();
            changes.extend(Found::new(&record, &self.prefix, &|part| entry.share(part), || None));
            if record.last_of_batch && self.ends_commit(record.seq, &changes) {
                return commit(record.seq, changes).await;
            }
            turn.take(record.len).await;
        }
        Ok(None)
    }

    /// The commit whose last record is `seq` has been read. Whether that is enough for now.
    fn ends_commit(&mut self, seq: Seq, changes: &[Found]) -> bool {
        self.next = self.next.max(seq + 1);
        !changes.is_empty() || self.next > self.until
    }
}

/// What a watcher has before it.
struct Ahead {
    current: Part,
    /// Those after it, oldest first. The last of all was the active segment's memtable when they were asked for.
    later: VecDeque<Part>,
    following: Following,
}

/// A part of the log.
enum Part {
    Sealed(LogReader),
    Memory(Arc<Memtable>),
}

impl Part {
    /// Its largest sequence number, or so far.
    fn max_seq(&self) -> Seq {
        match self {
            Part::Sealed(reader) => reader.segment().meta.max_seq,
            Part::Memory(memtable) => memtable.max_seq(),
        }
    }
}

impl Ahead {
    /// All from `next` on.
    fn from(core: &Core, next: Seq) -> Result<Ahead> {
        let (following, version) = core.log.follow();
        let history_from = core.versions.history_from();
        if history_from > next {
            return Err(gone(next, history_from));
        }
        let mut parts = VecDeque::new();
        for run in version.runs.iter().rev().filter(|run| run.max_seq >= next) {
            let segment = run.as_log().ok_or_else(|| gone(next, run.max_seq + 1))?;
            parts.push_back(Part::Sealed(LogReader::new(segment.clone())));
        }
        parts.extend(version.memtables.iter().rev().cloned().map(Part::Memory));
        let current = parts.pop_front().ok_or_else(|| Error::new(ErrorKind::Closed, "the log has ended"))?;
        Ok(Ahead { current, later: parts, following })
    }

    /// The current part has been read as far as the log has `settled`: goes on from the `next` seq, in the next part if
    /// it is over. `None` where that was let go of.
    fn pass(mut self, next: &mut Seq, settled: Seq) -> Option<Ahead> {
        if self.later.is_empty() {
            self.later.extend(self.following.later()?.into_iter().map(Part::Memory));
        }
        let max_seq = self.current.max_seq();
        if max_seq <= settled
            && let Some(later) = self.later.pop_front()
        {
            *next = (*next).max(max_seq + 1 + u64::from(planted(Bug::WatchSkips)));
            self.current = later;
        } else {
            // What comes after was asked for when this had settled already, so there is no more of it.
            *next = (*next).max(settled + 1);
        }
        Some(self)
    }
}

/// A change whose value may still be compressed.
struct Found {
    change: Change,
    value: Option<Value>,
}

impl Found {
    /// What `record` changes of the keys that begin with `prefix`, if anything.
    fn new(
        record: &Record<'_>,
        prefix: &[u8],
        share: &dyn Fn(&[u8]) -> Bytes,
        place: impl FnOnce() -> Option<(Path, u64)>,
    ) -> Option<Found> {
        let &Record { seq, expires_at, .. } = record;
        if record.kind == Kind::RangeTombstone {
            let range = of_prefix(record, prefix)?;
            let key = Bytes::copy_from_slice(record.key.max(prefix));
            let change = Change { seq, key, range: Some(range), value: None, expires_at };
            return Some(Found { change, value: None });
        }
        if !record.key.starts_with(prefix) {
            return None;
        }
        let value = (record.kind == Kind::Put).then(|| Value::new(share(record.value), record.compressed, place));
        let change = Change { seq, key: share(record.key), range: None, value: None, expires_at };
        Some(Found { change, value })
    }
}

/// The keys that begin with `prefix` of those that a range tombstone deletes, if there can be any.
fn of_prefix(record: &Record<'_>, prefix: &[u8]) -> Option<KeyRange> {
    let KeyRange { start: _, end } = KeyRange::prefix(prefix);
    let start = Bytes::copy_from_slice(record.key.max(prefix));
    let deleted_end = (!record.value.is_empty()).then(|| Bytes::copy_from_slice(record.value));
    let end = match (end, deleted_end) {
        (Bound::Excluded(a), Some(b)) => Bound::Excluded(a.min(b)),
        (end, None) => end,
        (_, Some(b)) => Bound::Excluded(b),
    };
    let range = KeyRange { start: Bound::Included(start), end };
    range.half_open().map(|_| range)
}

/// The commit of what was found, if that is anything.
async fn commit(seq: Seq, found: Vec<Found>) -> Result<Option<Commit>> {
    let mut changes = Vec::with_capacity(found.len());
    for Found { mut change, value } in found {
        if let Some(value) = value {
            change.value = Some(value.read().await?);
        }
        changes.push(change);
    }
    Ok((!changes.is_empty()).then_some(Commit { seq, changes }))
}

fn gone(next: Seq, from: Seq) -> Error {
    let message = format!("commits from seq {next} on are not all kept any more; from seq {from} on they are");
    Error::new(ErrorKind::Gone, message)
}
