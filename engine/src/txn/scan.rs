//! Scans within a transaction: its own writes over what was there when it began, and a note of how far they got.

use super::{Own, Shared};
use crate::commit::Footprint;
use crate::planted::{Bug, planted};
use crate::range::{Direction, behind};
use crate::scan::{Entry, Scan};
use crate::{KeyRange, Result, Seq};
use bytes::Bytes;
use futures::Stream;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Bound;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How far a scan has come: what of its range has been read.
#[derive(Debug)]
pub(super) struct Covered {
    start: Bytes,
    end: Option<Bytes>,
    /// The last key that it gave.
    last: Option<Vec<u8>>,
    /// It came to its end.
    whole: bool,
    direction: Direction,
}

impl Covered {
    pub(super) fn add_to(self, footprint: &mut Footprint) {
        match (self.last, self.direction) {
            _ if planted(Bug::PhantomMissed) => {}
            _ if self.whole => footprint.add_range(self.start, self.end),
            (Some(last), Direction::Forward) => footprint.add_range(self.start, Some(behind(&last))),
            (Some(last), Direction::Backward) => footprint.add_range(last.into(), self.end),
            (None, _) => {}
        }
    }
}

/// The entries of a range as a transaction sees them: a [`Stream`] of `Result<Entry>` in byte order of their keys or,
/// with [`rev`](TransactionScan::rev), against it. Made by [`Transaction::scan`](super::Transaction::scan).
///
/// It shows the writes that the transaction had made when the scan was made; their sequence number is given as 0. After
/// an error it ends. Once the transaction has ended it gives an error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// let db = halite::Db::open("mem:").await?;
/// db.put("a", "1").await?;
/// let transaction = db.begin();
/// transaction.put("b", "2")?;
/// let last = transaction.scan(..).rev().limit(1).try_next().await?;
/// assert_eq!(last.map(|entry| entry.key).as_deref(), Some(&b"b"[..]));
/// transaction.commit().await?;
/// # db.close().await
/// # }
/// ```
#[must_use = "a scan does nothing unless it is polled"]
pub struct TransactionScan {
    shared: Arc<Shared>,
    /// Its place among the transaction's scans, where these are noted.
    noted: Option<usize>,
    scan: Scan,
    /// The scan's next entry.
    next: Option<Entry>,
    /// The scan has ended.
    ended: bool,
    /// The transaction's writes in the range, in the order of their keys.
    own: std::vec::IntoIter<(Bytes, Own)>,
    direction: Direction,
    keys_only: bool,
    left: usize,
}

/// Where the next entry comes from.
enum Next {
    Own,
    /// Its own, which hides the scan's.
    OwnOver,
    Scan,
    End,
}

impl TransactionScan {
    pub(super) fn new(shared: &Arc<Shared>, range: KeyRange) -> TransactionScan {
        let mut state = shared.state.lock();
        let error = state.check().and_then(|()| shared.core().check_open()).err();
        let from = (range.start.as_ref().map(|key| &key[..]), Bound::Unbounded);
        let own = state.writes.range::<[u8], _>(from).take_while(|(key, _)| !range.is_above(key));
        let own: Vec<_> = own.map(|(key, own)| (key.clone(), own.clone())).collect();
        let mut hidden = Vec::new();
        state.deleted.covers(Seq::MAX, &mut hidden);
        let footprint = range.half_open().filter(|_| shared.is_serializable());
        let noted = footprint.map(|(start, end)| {
            state.scans.push(Covered { start, end, last: None, whole: false, direction: Direction::Forward });
            state.scans.len() - 1
        });
        TransactionScan {
            shared: shared.clone(),
            noted,
            scan: Scan::new(shared.view.clone(), range, error).hiding(hidden),
            next: None,
            ended: false,
            own: own.into_iter(),
            direction: Direction::Forward,
            keys_only: false,
            left: usize::MAX,
        }
    }

    /// Goes from the largest key of the range down to the smallest: see [`Scan::rev`].
    pub fn rev(mut self) -> TransactionScan {
        self.scan = self.scan.rev();
        self.direction = self.scan.direction();
        if let Some(noted) = self.noted
            && let Some(covered) = self.shared.state.lock().scans.get_mut(noted)
        {
            covered.direction = self.direction;
        }
        self
    }

    /// Gives keys without values, which are not even read where that can be avoided.
    pub fn keys_only(mut self) -> TransactionScan {
        self.scan = self.scan.keys_only();
        self.keys_only = true;
        self
    }

    /// Ends after `count` entries.
    pub fn limit(mut self, count: usize) -> TransactionScan {
        self.left = count;
        self
    }

    fn step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Entry>>> {
        while self.left > 0 {
            if self.next.is_none() && !self.ended {
                self.next = ready!(Pin::new(&mut self.scan).poll_next(cx)).transpose()?;
                self.ended = self.next.is_none();
            }
            let entry = match self.choose() {
                Next::Scan => self.next.take(),
                Next::End => {
                    self.note(None)?;
                    return Poll::Ready(Ok(None));
                }
                own => {
                    if matches!(own, Next::OwnOver) {
                        self.next = None;
                    }
                    let now = self.shared.view.now;
                    self.next_own().and_then(|(key, own)| own.entry(key, now))
                }
            };
            if let Some(mut entry) = entry {
                if self.keys_only {
                    entry.value = Bytes::new();
                }
                self.note(Some(&entry))?;
                self.left -= 1;
                return Poll::Ready(Ok(Some(entry)));
            }
        }
        Poll::Ready(Ok(None))
    }

    fn next_own(&mut self) -> Option<(Bytes, Own)> {
        if self.direction == Direction::Forward { self.own.next() } else { self.own.next_back() }
    }

    fn choose(&self) -> Next {
        let own = self.own.as_slice();
        let own = if self.direction == Direction::Forward { own.first() } else { own.last() };
        match (own, &self.next) {
            (None, None) => Next::End,
            (None, Some(_)) => Next::Scan,
            (Some(_), None) => Next::Own,
            (Some((own, _)), Some(entry)) => match self.direction.order(own, &entry.key) {
                Ordering::Less => Next::Own,
                Ordering::Equal => Next::OwnOver,
                Ordering::Greater => Next::Scan,
            },
        }
    }

    /// Notes that it has come to `entry`, or to its end, before anyone hears of it.
    fn note(&self, entry: Option<&Entry>) -> Result<()> {
        let mut state = self.shared.state.lock();
        state.check()?;
        let Some(covered) = self.noted.and_then(|noted| state.scans.get_mut(noted)) else { return Ok(()) };
        match entry {
            Some(entry) => {
                let last = covered.last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(&entry.key);
                // What the transaction has written itself does not change under it.
                if entry.seq > 0 {
                    state.read.add_expiry(entry.expires_at);
                }
            }
            None => covered.whole = true,
        }
        Ok(())
    }
}

impl Stream for TransactionScan {
    type Item = Result<Entry>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Entry>>> {
        let scan = self.get_mut();
        let outcome = ready!(scan.step(cx));
        if !matches!(outcome, Ok(Some(_))) {
            scan.left = 0;
        }
        Poll::Ready(outcome.transpose())
    }
}

impl fmt::Debug for TransactionScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransactionScan").field("scan", &self.scan).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
