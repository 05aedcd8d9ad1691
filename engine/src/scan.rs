//! Scans: the entries of a range at one moment, as a stream, in byte order of their keys or against it.
//!
//! A scan merges the memtables' order with the segments' records or indexes. Where all is mapped, polling it computes
//! and never waits; where it is not, one load at a time is under way. It shows the version, sequence number and time of
//! its creation, whatever is written meanwhile.
//!
//! # Guarantees
//! 1. Entries come in byte order of their keys, or the reverse of it, each key once, with its newest value; deleted and expired ones do not.
//! 2. After an error the stream ends: what comes before an error is right, and nothing comes after it.
//! 3. A poll does not compute longer than about a millisecond: it lets other tasks have their turn.

use crate::cover::{Cover, Hidden};
use crate::cursor::{self, Extent, Merge, Move, Need, Source, twice};
use crate::format::block::Facts;
use crate::format::frame::Kind;
use crate::planted::{Bug, planted};
use crate::range::{Course, Direction};
use crate::segment::{MappedRecord, OwnedRecord, SegmentCursor, ValueAt};
use crate::value::Value;
use crate::version::{Version, View};
use crate::{Error, ErrorKind, KeyRange, Result, Seq};
use bytes::{Bytes, BytesMut};
use futures::Stream;
use futures::future::BoxFuture;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Records looked at before other tasks get their turn.
const RECORDS_PER_TURN: usize = 1000;
/// Bytes of a value that count as much as another record.
const BYTES_PER_RECORD: usize = 4 << 10;
/// Hidden records that are passed one by one before a search for the first that is not. A search costs as much as some.
const PATIENCE: usize = 16;
/// Keys that have no memory to share are copied into pieces of this length.
const KEYS_PIECE_LEN: usize = 4 << 10;

/// A key and what it holds.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// let entry: halite::Entry = db.get_entry("key").await?.expect("it was just put");
/// assert_eq!((&entry.value[..], entry.seq, entry.expires_at), (&b"value"[..], 1, None));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The key. Like the value it may share the memory of its whole segment, which it then keeps alive.
    pub key: Bytes,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// Its place in the commit order.
    pub seq: Seq,
    /// When it counts as deleted, in milliseconds since the Unix epoch; never if `None`.
    pub expires_at: Option<u64>,
}

/// The entries of a range, in byte order of their keys or, with [`rev`](Scan::rev), against it: a [`Stream`] of
/// `Result<Entry>`.
///
/// Nothing is read before it is first polled. After an error it ends. It keeps the segments that it reads from alive,
/// and their files, until it has ended or is dropped.
#[must_use = "a scan does nothing unless it is polled"]
pub struct Scan {
    state: State,
    direction: Direction,
    keys_only: bool,
    left: usize,
    at: Seq,
    now: u64,
    /// Records that may be looked at before the next yield.
    budget: usize,
    load: Option<BoxFuture<'static, Result<Loaded>>>,
    /// The last key that was decided on, where more than one source may hold it.
    last: Option<(Vec<u8>, Seq)>,
    /// What a transaction hides besides what range tombstones do.
    own: Vec<Arc<Cover>>,
    hidden: Hidden,
    /// Hidden records that were passed one after the other.
    passed: usize,
    keys: BytesMut,
    /// A writer may delete what it reads.
    overtakable: bool,
}

enum State {
    /// Not polled yet.
    Begin {
        version: Arc<Version>,
        range: KeyRange,
    },
    /// The sources hold what they read from.
    Running(Merge),
    Failed(Error),
    Ended,
}

/// What a load has brought.
enum Loaded {
    /// Bytes that sources needed.
    Needs(Vec<cursor::Loaded>),
    /// The current record.
    Record(OwnedRecord),
    /// The current entry.
    Entry(Entry),
}

impl Scan {
    /// The entries of `range` as `view` shows them. Where `error` is given that is all the scan has to say.
    pub(crate) fn new(view: View, range: KeyRange, error: Option<Error>) -> Scan {
        let View { version, at, now } = view;
        let at = if planted(Bug::SnapshotSeesLater) { Seq::MAX } else { at };
        let state = match error {
            Some(error) => State::Failed(error),
            None => State::Begin { version, range },
        };
        Scan {
            state,
            direction: Direction::Forward,
            keys_only: false,
            left: usize::MAX,
            at,
            now,
            budget: RECORDS_PER_TURN,
            load: None,
            last: None,
            own: Vec::new(),
            hidden: Hidden::default(),
            passed: 0,
            keys: BytesMut::new(),
            overtakable: false,
        }
    }

    /// Beside a writer of another process, which may delete what this reads.
    pub(crate) fn overtakable(self) -> Scan {
        Scan { overtakable: true, ..self }
    }

    /// Goes from the largest key of the range down to the smallest, about as fast as upward. Where a
    /// [`limit`](Scan::limit) is set too, in whatever order, the largest keys are what remains. A scan that has been polled
    /// goes on as it began.
    ///
    /// ```
    /// use futures::TryStreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// for day in ["2024-05-01", "2024-05-02", "2024-06-01"] {
    ///     db.put(day, "…").await?;
    /// }
    /// let last = db.prefix("2024-05").rev().limit(1).try_next().await?;
    /// assert_eq!(last.map(|entry| entry.key).as_deref(), Some(&b"2024-05-02"[..]));
    /// # db.close().await
    /// # }
    /// ```
    pub fn rev(mut self) -> Scan {
        if let State::Begin { .. } = self.state {
            self.direction = Direction::Backward;
        }
        self
    }

    /// Hides what `own`, newest first, cover: they are newer than all that the view shows.
    pub(crate) fn hiding(self, own: Vec<Arc<Cover>>) -> Scan {
        Scan { own, ..self }
    }

    /// Which way it goes.
    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// Gives keys without values, which are not even read where that can be avoided.
    pub fn keys_only(mut self) -> Scan {
        self.keys_only = true;
        self
    }

    /// Ends after `count` entries.
    pub fn limit(mut self, count: usize) -> Scan {
        self.left = count;
        self
    }

    /// Goes on until there is something to say: an entry, `None` behind the last, or an error.
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Entry>>> {
        loop {
            if let Some(load) = &mut self.load {
                let loaded = std::task::ready!(load.as_mut().poll(cx));
                self.load = None;
                if let Some(entry) = self.take_loaded(loaded?)? {
                    return Poll::Ready(Ok(Some(entry)));
                }
                continue;
            }
            let merge = match &mut self.state {
                State::Running(merge) => merge,
                State::Begin { .. } => {
                    self.begin();
                    continue;
                }
                State::Failed(error) => return Poll::Ready(Err(error.clone())),
                State::Ended => return Poll::Ready(Ok(None)),
            };
            if self.left == 0 {
                return Poll::Ready(Ok(None));
            }
            if self.budget == 0 {
                return self.breathe(cx);
            }
            match merge.advance(&mut self.budget)? {
                Move::Ready => {
                    if let Some(entry) = self.judge()? {
                        return Poll::Ready(Ok(Some(entry)));
                    }
                }
                Move::End => return Poll::Ready(Ok(None)),
                Move::Again => return self.breathe(cx),
                Move::Need => {
                    let needs = merge.take_needs();
                    self.load = Some(Box::pin(async { Need::load(needs).await.map(Loaded::Needs) }));
                }
            }
        }
    }

    fn breathe(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Entry>>> {
        self.budget = RECORDS_PER_TURN;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts a cursor at the beginning of the way over each part of the version.
    fn begin(&mut self) {
        let State::Begin { version, range } = std::mem::replace(&mut self.state, State::Ended) else { return };
        let course = Course { range, direction: self.direction };
        let memtables = version.memtables.iter().filter_map(|memtable| Source::memory(memtable, self.at, &course));
        let runs = version.runs.iter().filter_map(|run| Source::run(run, &course, self.keys_only));
        // Of keys alone it is not known which records will be read.
        let extent = if self.keys_only { None } else { Extent::new(&course, self.left) };
        let merge = Merge::new(memtables.chain(runs).collect(), self.direction).reaching(extent);
        let mut covers = std::mem::take(&mut self.own);
        covers.extend(version.covers(self.at));
        self.hidden = Hidden::new(covers, self.direction);
        self.state = State::Running(merge);
    }

    /// What becomes of the record that the merge has come to: its entry if it shows and needs no load.
    #[inline]
    fn judge(&mut self) -> Result<Option<Entry>> {
        let State::Running(merge) = &self.state else { return Ok(None) };
        let source = merge.current();
        let facts = *source.facts();
        let weight = source.segment().map_or(0, SegmentCursor::weight);
        self.budget = self.budget.saturating_sub(1 + weight / BYTES_PER_RECORD);
        if facts.seq > self.at {
            return Ok(None);
        }
        if self.hidden.over(source.key()) > facts.seq {
            self.pass_hidden();
            return Ok(None);
        }
        self.passed = 0;
        if !merge.is_single() && is_older(source, &facts, &mut self.last)? {
            return Ok(None);
        }
        let expired = facts.expires_at.is_some_and(|at| at <= self.now && !planted(Bug::ExpiryUnseenByScan));
        if facts.kind == Kind::Tombstone || expired {
            return Ok(None);
        }
        let (key, value) = match shown(source, self.keys_only, &mut self.keys)? {
            Shown::Here(key, value) => match value.at_hand_for(&mut self.budget, BYTES_PER_RECORD)? {
                Ok(value) => (key, value),
                Err(value) => {
                    self.load = Some(Box::pin(read(key, facts, value)));
                    return Ok(None);
                }
            },
            Shown::Load(offset, len, cursor) => {
                let segment = cursor.segment().clone();
                let load = async move { segment.read_record(offset, len).await.map(Loaded::Record) };
                self.load = Some(Box::pin(load));
                return Ok(None);
            }
        };
        self.left -= 1;
        Ok(Some(Entry { key, value, seq: facts.seq, expires_at: facts.expires_at }))
    }

    /// Goes on behind a hidden record: from record to record at first, as most stretches are short; then by a leap.
    fn pass_hidden(&mut self) {
        let State::Running(merge) = &mut self.state else { return };
        self.passed += 1;
        if self.passed >= PATIENCE
            && let Some(here) = self.hidden.here()
        {
            merge.leap(here);
            self.passed = 0;
        }
    }

    fn take_loaded(&mut self, loaded: Loaded) -> Result<Option<Entry>> {
        let State::Running(merge) = &mut self.state else { return Ok(None) };
        match loaded {
            Loaded::Needs(loaded) => {
                merge.supply(loaded);
                Ok(None)
            }
            Loaded::Record(record) => {
                if let Some(cursor) = merge.current().segment() {
                    cursor.check(record.key(), record.seq())?;
                }
                let (seq, expires_at) = (record.seq(), record.expires_at());
                match record.value().at_hand_for(&mut self.budget, BYTES_PER_RECORD)? {
                    Ok(value) => {
                        self.left -= 1;
                        Ok(Some(Entry { key: record.key_bytes(), value, seq, expires_at }))
                    }
                    Err(value) => {
                        let facts = Facts { seq, kind: Kind::Put, expires_at };
                        self.load = Some(Box::pin(read(record.key_bytes(), facts, value)));
                        Ok(None)
                    }
                }
            }
            Loaded::Entry(entry) => {
                self.left -= 1;
                Ok(Some(entry))
            }
        }
    }
}

/// A file is gone that was there when the scan began.
#[cold]
fn overtaken(cause: Error) -> Error {
    let message = "the writer has merged what this scan was reading, and deleted it: refresh, and scan again";
    Error::caused_by(ErrorKind::Gone, message, cause)
}

/// Reads a value that takes longer than a moment.
async fn read(key: Bytes, facts: Facts, value: Value) -> Result<Loaded> {
    let Facts { seq, expires_at, .. } = facts;
    Ok(Loaded::Entry(Entry { key, value: value.read().await?, seq, expires_at }))
}

/// Key and value of a record that shows, or where they are to be loaded from.
enum Shown<'a> {
    Here(Bytes, Value),
    Load(u32, u32, &'a SegmentCursor),
}

#[inline]
fn shown<'a>(source: &'a Source, keys_only: bool, keys: &mut BytesMut) -> Result<Shown<'a>> {
    let Some(cursor) = source.segment() else {
        let (key, value) = source.shared_memory().unwrap_or((Bytes::new(), Value::empty()));
        let value = if keys_only { Value::empty() } else { value };
        return Ok(Shown::Here(key, value));
    };
    if keys_only {
        let key = cursor.shared_key().unwrap_or_else(|| copy_key(cursor.key(), keys));
        return Ok(Shown::Here(key, Value::empty()));
    }
    match cursor.value() {
        ValueAt::Here(value) => {
            let key = cursor.shared_key().unwrap_or_else(|| copy_key(cursor.key(), keys));
            Ok(Shown::Here(key, value))
        }
        ValueAt::At { offset, len } => match cursor.segment().mapped_record(offset, len) {
            Some(record) => {
                let record: MappedRecord<'_> = record?;
                cursor.check(record.key(), record.seq())?;
                Ok(Shown::Here(record.key_bytes(), record.value()))
            }
            None => Ok(Shown::Load(offset, len, cursor)),
        },
    }
}

/// Whether a newer record of the current key has been decided on; if not, this one is.
fn is_older(source: &Source, facts: &Facts, last: &mut Option<(Vec<u8>, Seq)>) -> Result<bool> {
    match last {
        Some((key, seq)) if *key == source.key() => match source.segment() {
            Some(cursor) if *seq <= facts.seq => Err(twice(cursor, facts.seq)),
            _ => Ok(true),
        },
        Some((key, seq)) => {
            key.clear();
            key.extend_from_slice(source.key());
            *seq = facts.seq;
            Ok(false)
        }
        None => {
            *last = Some((source.key().to_vec(), facts.seq));
            Ok(false)
        }
    }
}

/// Copies a key into a piece of memory that many share.
fn copy_key(key: &[u8], keys: &mut BytesMut) -> Bytes {
    if keys.capacity() < key.len() {
        *keys = BytesMut::with_capacity(KEYS_PIECE_LEN.max(key.len()));
    }
    keys.extend_from_slice(key);
    keys.split().freeze()
}

impl Stream for Scan {
    type Item = Result<Entry>;

    #[inline]
    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Entry>>> {
        let scan = self.get_mut();
        let outcome = match std::task::ready!(scan.step(cx)) {
            Err(_) if planted(Bug::ErrorEndsScan) => Ok(None),
            outcome => outcome,
        };
        if !matches!(outcome, Ok(Some(_))) {
            // Lets go of all that was held.
            scan.state = State::Ended;
            scan.load = None;
        }
        let outcome = outcome.map_err(|error| match error.kind() {
            ErrorKind::NotFound if scan.overtakable => overtaken(error),
            _ => error,
        });
        Poll::Ready(outcome.transpose())
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = match &self.state {
            State::Begin { range, .. } => Some(range),
            _ => None,
        };
        let mut debug = f.debug_struct("Scan");
        debug.field("at", &self.at).field("range", &range);
        debug.field("direction", &self.direction).field("keys_only", &self.keys_only);
        debug.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
