//! Blocking transactions.

use super::home::Home;
use super::{Db, TransactionScan};
use crate::{Durability, Entry, KeyRange, Result, Seq, TransactionOptions};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Reads and writes that take effect together: [`halite::Transaction`](crate::Transaction) for callers without async. Made
/// by [`Db::begin`]; most callers want [`Db::transact`].
///
/// ```
/// # fn main() -> halite::Result<()> {
/// let db = halite::blocking::Db::open("mem:")?;
/// let transaction = db.begin();
/// assert_eq!(transaction.get("stock")?, None);
/// transaction.put("stock", "1")?;
/// db.put("stock", "7")?;
/// assert_eq!(transaction.commit().unwrap_err().kind(), halite::ErrorKind::Conflict);
/// # db.close()
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a transaction does nothing unless it is committed"]
pub struct Transaction {
    // Dropped in this order: what reads goes before the runtime may.
    transaction: crate::Transaction,
    home: Arc<Home>,
}

impl Db {
    /// Begins a serializable transaction: see [`halite::Transaction`](crate::Transaction).
    pub fn begin(&self) -> Transaction {
        self.begin_with(TransactionOptions::default())
    }

    /// Begins a transaction as `options` say.
    pub fn begin_with(&self, options: TransactionOptions) -> Transaction {
        Transaction { transaction: self.as_async().begin_with(options), home: self.home.clone() }
    }

    /// Runs `work` in a serializable transaction and commits it; where that fails with `Conflict`, runs `work` again: see
    /// [`halite::Db::transact`](crate::Db::transact).
    ///
    /// ```
    /// # fn main() -> halite::Result<()> {
    /// let db = halite::blocking::Db::open("mem:")?;
    /// db.put("from", "10")?;
    /// let moved = db.transact(|transaction| {
    ///     let Some(value) = transaction.get("from")? else { return Ok(false) };
    ///     transaction.put("to", value)?;
    ///     transaction.delete("from")?;
    ///     Ok(true)
    /// })?;
    /// assert!(moved && !db.contains("from")?);
    /// # db.close()
    /// # }
    /// ```
    ///
    /// # Errors
    /// As there.
    pub fn transact<T>(&self, work: impl FnMut(Transaction) -> Result<T>) -> Result<T> {
        self.transact_with(TransactionOptions::default(), work)
    }

    /// Runs `work` in a transaction as `options` say. Otherwise as [`transact`](Db::transact).
    pub fn transact_with<T>(
        &self,
        options: TransactionOptions,
        mut work: impl FnMut(Transaction) -> Result<T>,
    ) -> Result<T> {
        let mut attempt = 1;
        loop {
            let transaction = self.as_async().begin_with(options);
            let done = work(Transaction { transaction: transaction.lent(), home: self.home.clone() });
            if let Some(answer) = self.home.run(self.as_async().conclude(transaction, done, &mut attempt))? {
                return Ok(answer);
            }
        }
    }
}

impl Transaction {
    /// The value of `key`: what this transaction has put there, or else what was there when it began. Errors as
    /// [`halite::Transaction::get`](crate::Transaction::get).
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>> {
        self.home.run(self.transaction.get(key))
    }

    /// The entry of `key`; its sequence number is 0 where this transaction has written it.
    pub fn get_entry(&self, key: impl AsRef<[u8]>) -> Result<Option<Entry>> {
        self.home.run(self.transaction.get_entry(key))
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        self.home.run(self.transaction.contains(key))
    }

    /// The entries whose keys lie in `range`: this transaction's writes so far, over what was there when it began. What it
    /// has come through counts as read: see [`halite::Transaction::scan`](crate::Transaction::scan).
    pub fn scan(&self, range: impl Into<KeyRange>) -> TransactionScan {
        TransactionScan::new(self.transaction.scan(range), self.home.clone())
    }

    /// The entries whose keys begin with `prefix`. Otherwise as [`scan`](Transaction::scan).
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> TransactionScan {
        self.scan(KeyRange::prefix(prefix))
    }

    /// Sets `key` to `value`, once committed.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<()> {
        self.transaction.put(key, value)
    }

    /// Sets `key` to `value`, once committed, to live for `ttl` from now on.
    pub fn put_with(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, ttl: Duration) -> Result<()> {
        self.transaction.put_with(key, value, ttl)
    }

    /// Deletes `key`, once committed; no error where it is not there.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<()> {
        self.transaction.delete(key)
    }

    /// Deletes all keys in `range`, once committed: see
    /// [`halite::Transaction::delete_range`](crate::Transaction::delete_range).
    pub fn delete_range(&self, range: impl Into<KeyRange>) -> Result<()> {
        self.transaction.delete_range(range)
    }

    /// Deletes all keys that begin with `prefix`, once committed.
    pub fn delete_prefix(&self, prefix: impl AsRef<[u8]>) -> Result<()> {
        self.transaction.delete_prefix(prefix)
    }

    /// Commits the writes, all of them or nothing: see [`halite::Transaction::commit`](crate::Transaction::commit).
    ///
    /// # Errors
    /// As there: after `Conflict` nothing happened, after `Unknown` it may have.
    pub fn commit(self) -> Result<()> {
        self.home.run(self.transaction.commit())
    }

    /// Commits with another durability than the transaction's options say.
    pub fn commit_with(self, durability: Durability) -> Result<()> {
        self.home.run(self.transaction.commit_with(durability))
    }

    /// Gives the transaction up: none of its writes happens. Dropping it does the same.
    pub fn rollback(self) {
        self.transaction.rollback();
    }

    /// The last commit that shows.
    pub fn seq(&self) -> Seq {
        self.transaction.seq()
    }

    /// The engine time by which expiries are judged, in milliseconds since the Unix epoch.
    pub fn time(&self) -> u64 {
        self.transaction.time()
    }

    pub(super) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// The same transaction for async code: see [`Db::as_async`](super::Db::as_async).
    pub fn as_async(&self) -> &crate::Transaction {
        &self.transaction
    }
}
