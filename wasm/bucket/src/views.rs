//! Ways to look at a bucket, and to change it in a transaction.

use crate::bucket::Bucket;
use crate::error::{Error, Result};
use crate::keys::{Keys, join, range};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use halite::Entry;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Bytes that a step of a scan gives at most, beyond its first record.
const STEP_BYTES_MAX: usize = 1 << 20;

/// What a transaction may hold that is not committed yet, in bytes of keys and values.
const TRANSACTION_BYTES_MAX: u64 = 64 << 20;

/// A key of a bucket and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key, as the bucket has it.
    pub key: Bytes,
    /// The value; empty where only keys were asked for.
    pub value: Bytes,
    /// When it counts as deleted, in milliseconds since the Unix epoch; never if `None`.
    pub expires_at: Option<u64>,
    /// Its place in the commit order of the database.
    pub seq: u64,
}

impl Record {
    pub(crate) fn of(entry: Entry, prefix_len: usize) -> Record {
        let key = entry.key.slice(prefix_len..);
        Record { key, value: entry.value, expires_at: entry.expires_at, seq: entry.seq }
    }
}

/// Records in their order, some at a time.
pub struct Scan {
    entries: BoxStream<'static, halite::Result<Entry>>,
    prefix_len: usize,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scan")
    }
}

impl Scan {
    pub(crate) fn new(entries: impl Stream<Item = halite::Result<Entry>> + Send + 'static, prefix_len: usize) -> Scan {
        Scan { entries: entries.boxed(), prefix_len }
    }

    /// The next ones, `max` at most and fewer where they are large; none at the end (or if `max` is 0).
    ///
    /// # Errors
    /// Where they cannot be read; the scan has ended then.
    pub async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < max && bytes < STEP_BYTES_MAX {
            let Some(entry) = self.entries.next().await.transpose()? else { break };
            bytes += entry.key.len() + entry.value.len();
            records.push(Record::of(entry, self.prefix_len));
        }
        Ok(records)
    }
}

/// A bucket at one moment.
#[derive(Debug)]
pub struct Snapshot {
    snapshot: halite::Snapshot,
    prefix: Vec<u8>,
}

impl Snapshot {
    pub(crate) fn new(snapshot: halite::Snapshot, prefix: &[u8]) -> Snapshot {
        Snapshot { snapshot, prefix: prefix.to_vec() }
    }

    /// What `key` held.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.snapshot.get(join(&self.prefix, key)).await?)
    }

    /// The records of `keys` then: see [`Bucket::scan`].
    pub fn scan(&self, keys: &Keys, reverse: bool, keys_only: bool) -> Scan {
        let scan = self.snapshot.scan(range(&self.prefix, keys));
        let scan = if reverse { scan.rev() } else { scan };
        Scan::new(if keys_only { scan.keys_only() } else { scan }, self.prefix.len())
    }
}

/// What happens at its commit, all of it or nothing. Dropped, it has not happened.
pub struct Transaction {
    bucket: Bucket,
    inner: halite::Transaction,
    /// For each key that it writes, what the quota asks.
    writes: BTreeMap<Vec<u8>, Option<(u64, Option<u64>)>>,
    ranges: bool,
    /// What it has been given, kept within bounds.
    bytes: u64,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("bucket", &self.bucket).field("bytes", &self.bytes).finish()
    }
}

impl Transaction {
    pub(crate) fn new(bucket: Bucket, inner: halite::Transaction) -> Transaction {
        Transaction { bucket, inner, writes: BTreeMap::new(), ranges: false, bytes: 0 }
    }

    fn prefix(&self) -> &[u8] {
        &self.bucket.shared.prefix
    }

    /// What `key` holds, under what the transaction has written.
    ///
    /// # Errors
    /// As [`Bucket::get`].
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.inner.get(join(self.prefix(), key)).await?)
    }

    /// The records of `keys`, with what the transaction has written until now: see [`Bucket::scan`].
    pub fn scan(&self, keys: &Keys, reverse: bool, keys_only: bool) -> Scan {
        let scan = self.inner.scan(range(self.prefix(), keys));
        let scan = if reverse { scan.rev() } else { scan };
        Scan::new(if keys_only { scan.keys_only() } else { scan }, self.prefix().len())
    }

    /// Makes sure that it does not come to hold more than it may.
    fn take(&mut self, bytes: usize) -> Result<()> {
        let bytes = self.bytes.saturating_add(bytes as u64);
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(Error::Invalid(format!("the transaction is too large bytes_max={TRANSACTION_BYTES_MAX}")));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Sets `key`, for so long, or for ever.
    ///
    /// # Errors
    /// `AccessDenied`, `Invalid`. The same for deletes.
    pub fn put(&mut self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<()> {
        let full = self.bucket.transaction_key(key)?;
        self.take(key.len() + value.len())?;
        self.inner.put_with(full, value, ttl.unwrap_or(halite::WriteOptions::FOR_EVER))?;
        self.writes.insert(key.to_vec(), Some((value.len() as u64, self.bucket.time_to_expire(ttl))));
        Ok(())
    }

    /// Deletes `key`.
    pub fn delete(&mut self, key: &[u8]) -> Result<()> {
        let full = self.bucket.transaction_key(key)?;
        self.take(key.len())?;
        self.inner.delete(full)?;
        self.writes.insert(key.to_vec(), None);
        Ok(())
    }

    /// Deletes all these keys.
    pub fn delete_keys(&mut self, keys: &Keys) -> Result<()> {
        self.bucket.transaction_key(&[])?;
        self.inner.delete_range(range(self.prefix(), keys))?;
        self.ranges = true;
        Ok(())
    }

    /// Commits it.
    ///
    /// # Errors
    /// `Conflict`, and as [`Bucket::put`].
    pub async fn commit(self) -> Result<()> {
        let Transaction { bucket, inner, writes, ranges, .. } = self;
        if writes.is_empty() && !ranges {
            return Ok(inner.commit().await?);
        }
        bucket.commit(inner, &writes, ranges).await
    }
}
