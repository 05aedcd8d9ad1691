//! Transactions: reads of one moment, buffered writes, and a commit that is let in only if nothing came in between.
//!
//! A transaction reads from a [`View`] and keeps its writes to itself. Its commit is an ordinary batch with a
//! [`Condition`](crate::commit::Condition), judged under the lock that gives out sequence numbers: there its reads (or,
//! under snapshot isolation, its writes) are compared with all that was ordered since its view, visible or not.
//!
//! # Guarantees
//! 1. Serializable transactions have the effect of running one after the other, each at the moment of its commit, in
//!    the order of sequence numbers; one that writes nothing, at the moment of its view.
//! 2. A transaction that fails with `Conflict` has had no effect.
//! 3. A scan counts as far as it got: what lies behind the last entry that it gave is not part of what was read.

mod options;
mod scan;
mod single;
mod transact;

pub use options::{Isolation, TransactionOptions};
pub use scan::TransactionScan;

use crate::batch::{Write, check_lens};
use crate::commit::{Condition, Footprint, Opened};
use crate::core::Core;
use crate::cover::{CoverList, Stretch};
use crate::db::Db;
use crate::planted::{Bug, planted};
use crate::scan::Entry;
use crate::version::View;
use crate::{Durability, Error, ErrorKind, KeyRange, Result, Seq, get, hash};
use bytes::Bytes;
use parking_lot::Mutex;
use scan::Covered;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Reads and writes that take effect together, as if nothing else ran meanwhile. Made by [`Db::begin`]; most callers
/// want [`Db::transact`], which runs it again where it must be.
///
/// It reads the database as it was when the transaction began, expiries judged at that time, and its own writes on top.
/// Writes stay in memory until [`commit`](Transaction::commit). Dropped without one, it is rolled back. While it is open
/// the memory and files of what it may read are kept, as for a [`Snapshot`](crate::Snapshot). Its methods may be called
/// by several tasks at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// db.put("stock", "1").await?;
/// let (first, second) = (db.begin(), db.begin());
/// for transaction in [&first, &second] {
///     assert_eq!(transaction.get("stock").await?.as_deref(), Some(&b"1"[..]));
///     transaction.put("stock", "0")?;
/// }
/// first.commit().await?;
/// assert_eq!(second.commit().await.unwrap_err().kind(), halite::ErrorKind::Conflict);
/// # db.close().await
/// # }
/// ```
#[must_use = "a transaction does nothing unless it is committed"]
pub struct Transaction {
    shared: Arc<Shared>,
    /// Whether dropping it leaves the transaction open, as someone else will commit it.
    lent: bool,
}

/// A write that is not committed yet; a delete where there is no value.
#[derive(Clone, Debug)]
struct Own {
    value: Option<Bytes>,
    expires_at: Option<u64>,
}

impl Own {
    /// The value, unless it has expired by `now`.
    fn live(&self, now: u64) -> Option<&Bytes> {
        self.value.as_ref().filter(|_| self.expires_at.is_none_or(|at| now < at))
    }

    /// As the entry of `key`.
    fn entry(&self, key: Bytes, now: u64) -> Option<Entry> {
        let value = self.live(now)?.clone();
        Some(Entry { key, value, seq: 0, expires_at: self.expires_at })
    }
}

/// The seq of the first range that a transaction deletes, for itself: the database will never come to it.
const OWN_SEQ: Seq = 1 << 63;

/// What handle, scans and [`transact`](Db::transact) share.
struct Shared {
    // Constant after construction. (`opened` goes before the rest does.)
    opened: Opened,
    db: Db,
    view: View,
    options: TransactionOptions,

    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Committed, rolled back, or about to be.
    ended: bool,
    writes: BTreeMap<Bytes, Own>,
    /// Ranges that it deletes, before any of its writes. Their seqs are above all in the database, and rise.
    deleted: CoverList,
    /// Keys read, and what of them will expire. Empty under snapshot isolation, which does not ask.
    read: Footprint,
    scans: Vec<Covered>,
    /// The commit that stood against this one.
    conflict: Option<Seq>,
}

impl State {
    fn check(&self) -> Result<()> {
        if self.ended {
            return Err(Error::new(ErrorKind::InvalidInput, "the transaction has ended"));
        }
        Ok(())
    }
}

impl Db {
    /// Begins a serializable transaction: see [`Transaction`].
    pub fn begin(&self) -> Transaction {
        self.begin_with(TransactionOptions::default())
    }

    /// Begins a transaction as `options` say.
    pub fn begin_with(&self, options: TransactionOptions) -> Transaction {
        let opened = self.core().log.open_window();
        // After the window was opened: what is ordered behind this view is in the window, or in the view's memtables.
        let view = self.core().view();
        let state = Mutex::default();
        let shared = Arc::new(Shared { opened, db: self.clone(), view, options, state });
        Transaction { shared, lent: false }
    }
}

impl Transaction {
    /// The value of `key`: what this transaction has put there, or else what was there when it began.
    ///
    /// # Errors
    /// As [`Db::get`]; `InvalidInput` where the transaction has ended.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        Ok(self.get_entry(key).await?.map(|entry| entry.value))
    }

    /// The entry of `key`: its value, sequence number and expiry. What this transaction has written has no sequence
    /// number yet: it is given as 0. Otherwise as [`get`](Transaction::get).
    pub async fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        let (shared, key) = (&*self.shared, key.as_ref());
        {
            let mut state = shared.state.lock();
            state.check()?;
            if let Some(own) = state.writes.get(key) {
                return Ok(own.entry(Bytes::copy_from_slice(key), shared.view.now));
            }
            if state.deleted.over(key, Seq::MAX) > 0 {
                return Ok(None);
            }
            if shared.is_serializable() && !planted(Bug::WriteSkew) {
                state.read.add_key(shared.hash(key), key);
            }
        }
        let newest = get::get_at(shared.core(), &shared.view, key).await?;
        let entry = newest.map(|newest| newest.entry(key));
        shared.saw(entry.as_ref());
        Ok(entry)
    }

    /// Whether `key` is there. Otherwise as [`get`](Transaction::get).
    pub async fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get_entry(key).await?.is_some())
    }

    /// The entries whose keys lie in `range`, in byte order of their keys: this transaction's writes so far, over what
    /// was there when it began.
    ///
    /// Of a serializable transaction's scan only the part counts that it has come through: up to the last entry that it
    /// gave, or all of the range once it has ended.
    pub fn scan(&self, range: impl Into<KeyRange>) -> TransactionScan {
        TransactionScan::new(&self.shared, range.into())
    }

    /// The entries whose keys begin with `prefix`. Otherwise as [`scan`](Transaction::scan).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> TransactionScan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// Sets `key` to `value`, once committed. It lives as long as [`Options::ttl`](crate::Options::ttl) says.
    ///
    /// # Errors
    /// `InvalidInput` beyond the limits of [`Db::put`], or where the transaction has ended.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.shared.write(key.as_ref(), Some(value.as_ref()), self.shared.db.expiry(None))
    }

    /// Sets `key` to `value`, once committed, to live for `ttl` from now on; for ever with
    /// [`FOR_EVER`](crate::WriteOptions::FOR_EVER). Otherwise as [`put`](Transaction::put).
    pub fn put_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) -> Result<()> {
        self.shared.write(key.as_ref(), Some(value.as_ref()), self.shared.db.expiry(Some(ttl)))
    }

    /// Deletes `key`, once committed; no error where it is not there. Otherwise as [`put`](Transaction::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.shared.write(key.as_ref(), None, None)
    }

    /// Deletes all keys in `range`, once committed, at the cost of one record: those that are there then, and those that
    /// the transaction has put before. What it puts later stays, and its reads see it all so at once.
    ///
    /// It reads nothing: under [`Isolation::Serializable`] what others write in the range in between stands against the
    /// commit only where the transaction has read it, and is deleted otherwise.
    ///
    /// # Errors
    /// `InvalidInput` where the transaction has ended.
    pub fn delete_range(&self, range: impl Into<KeyRange>) -> Result<()> {
        self.shared.delete_range(&range.into())
    }

    /// Deletes all keys that begin with `prefix`, once committed. Otherwise as [`delete_range`](Transaction::delete_range).
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.delete_range(KeyRange::prefix(prefix))
    }

    /// Commits the writes, all of them or nothing, with the durability of the transaction's options.
    ///
    /// A transaction without writes has nothing to commit: its reads were of one moment, and this is `Ok`.
    ///
    /// # Errors
    /// `Conflict`: nothing happened, and the transaction may be run again from its beginning. `Unknown`: it was under way
    /// when the log failed, and may have happened. Else as [`Db::put`]: nothing happened.
    ///
    /// # Cancel safety
    /// Dropped before it has entered the log, nothing happens; dropped later, the commit completes all the same.
    pub async fn commit(self) -> Result<()> {
        let level = self.shared.options.durability;
        self.shared.commit(level).await
    }

    /// Commits with another durability than the transaction's options say. Otherwise as
    /// [`commit`](Transaction::commit).
    pub async fn commit_with(self, durability: Durability) -> Result<()> {
        self.shared.commit(Some(durability)).await
    }

    /// Gives the transaction up: none of its writes happens. Dropping it does the same.
    pub fn rollback(self) {
        self.shared.end();
    }

    /// A handle to the same transaction for someone who may end it, and need not.
    pub(crate) fn lent(&self) -> Transaction {
        Transaction { shared: self.shared.clone(), lent: true }
    }

    /// The last commit that shows.
    pub fn seq(&self) -> Seq {
        self.shared.view.at
    }

    /// The engine time by which expiries are judged, in milliseconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.shared.view.now
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Scans that outlive it have nothing to read for. (A commit has ended it before.)
        if !self.lent {
            self.shared.end();
        }
    }
}

impl Shared {
    fn core(&self) -> &Arc<Core> {
        self.db.core()
    }

    fn hash(&self, key: &[u8]) -> u64 {
        hash::hash(self.core().epoch.hash_seed, key)
    }

    fn is_serializable(&self) -> bool {
        self.options.isolation == Isolation::Serializable
    }

    /// What was read holds until it expires.
    fn saw(&self, entry: Option<&Entry>) {
        if let Some(Entry { expires_at: Some(at), .. }) = entry
            && self.is_serializable()
        {
            self.state.lock().read.add_expiry(Some(*at));
        }
    }

    fn write(&self, key: &[u8], value: Option<&[u8]>, expires_at: Option<u64>) -> Result<()> {
        check_lens(key.len(), value.map_or(0, <[u8]>::len))?;
        let own = Own { value: value.map(Bytes::copy_from_slice), expires_at };
        let mut state = self.state.lock();
        state.check()?;
        state.writes.insert(Bytes::copy_from_slice(key), own);
        Ok(())
    }

    fn delete_range(&self, range: &KeyRange) -> Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        let Some((start, end)) = range.half_open() else { return Ok(()) };
        let below = end.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let gone = state.writes.range::<Bytes, _>((Bound::Included(&start), below));
        let gone: Vec<Bytes> = gone.map(|(key, _)| key.clone()).collect();
        gone.iter().for_each(|key| drop(state.writes.remove(key)));
        let seq = OWN_SEQ + state.deleted.len() as u64;
        state.deleted.push(Stretch { start, end, seq });
        Ok(())
    }

    fn end(&self) {
        let mut state = self.state.lock();
        if !state.ended {
            *state = State { ended: true, ..State::default() };
        }
    }

    async fn commit(&self, level: Option<Durability>) -> Result<()> {
        let core = self.core();
        let level = level.unwrap_or(core.options.durability);
        let (writes, deleted, read) = {
            let mut state = self.state.lock();
            state.check()?;
            state.ended = true;
            let mut read = std::mem::take(&mut state.read);
            std::mem::take(&mut state.scans).into_iter().for_each(|covered| covered.add_to(&mut read));
            (std::mem::take(&mut state.writes), std::mem::take(&mut state.deleted), read)
        };
        core.check_open()?;
        if writes.is_empty() && deleted.len() == 0 {
            return Ok(());
        }
        let mut footprint = read;
        if !self.is_serializable() {
            writes.keys().for_each(|key| footprint.add_key(self.hash(key), key));
            deleted.iter().for_each(|stretch| footprint.add_range(stretch.start.clone(), stretch.end.clone()));
        }
        // What a range holds was written after the range was deleted.
        let ranges = deleted
            .iter()
            .map(|Stretch { start, end, .. }| Write::delete_range(start, end.as_deref().unwrap_or_default()));
        let keys = writes.iter().map(|(key, own)| Write::sharing(key, own.value.as_ref(), own.expires_at));
        let records = Counted { left: ranges.len() + keys.len(), items: ranges.chain(keys) };
        if footprint.is_empty() {
            return core.log.commit(records, level).await;
        }
        let mut condition = Condition::new(footprint, self.view.clone(), self.opened.era(), core.clock.clone());
        let outcome = core.log.commit_if(&mut condition, records, level).await;
        if outcome.is_err() {
            self.state.lock().conflict = condition.conflict();
        }
        outcome
    }
}

/// An iterator of known length. (A chain of two does not tell, as it might be too long.)
#[derive(Clone)]
struct Counted<I> {
    items: I,
    left: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.left = self.left.saturating_sub(1);
        self.items.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Transaction");
        debug.field("at", &self.view.at).field("options", &self.options);
        if let Some(state) = self.state.try_lock() {
            debug.field("writes", &state.writes.len()).field("ended", &state.ended);
        }
        debug.finish_non_exhaustive()
    }
}
