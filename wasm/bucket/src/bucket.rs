//! One bucket: the keys of a database that begin with some bytes.

use crate::error::{Error, Result};
use crate::keys::{Keys, join, range};
use crate::quota::{Changes, Quota, Usage};
use crate::views::{Record, Scan, Snapshot, Transaction};
use bytes::Bytes;
use halite::{Db, Isolation, TransactionOptions, Ttl, WriteBatch, WriteOptions};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// The longest text of a number of 64 bits.
const NUMBER_LEN_MAX: u64 = 20;

/// A bucket. Clones are handles on the same one, and share its quota; so make one for each part of a store, and clone it.
///
/// What is written is as durable as the database's own default says.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use halite_bucket::{Bucket, Error, Quota};
/// let db = halite::Db::open("mem:").await?;
/// let bucket = Bucket::new(&db, "plugins/hello/").with_quota(Quota { bytes: 100, keys: 10 });
/// bucket.put(b"greeting", b"hi", None).await?;
/// assert_eq!(db.get("plugins/hello/greeting").await?.as_deref(), Some(&b"hi"[..]));
/// assert_eq!(bucket.put(b"large", &[0; 100], None).await, Err(Error::QuotaExceeded));
/// assert_eq!(bucket.read_only().put(b"a", b"b", None).await, Err(Error::AccessDenied));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Bucket {
    pub(crate) shared: Arc<Shared>,
    writable: bool,
}

/// What the handles on one bucket share.
pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) prefix: Vec<u8>,
    pub(crate) quota: Option<Quota>,
    /// What it holds, where there is a quota and that is known. Held while something is written.
    pub(crate) usage: Mutex<Option<Usage>>,
}

/// One write of several that happen together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a key, for so long, or for ever.
    Put {
        /// Which.
        key: Vec<u8>,
        /// To what.
        value: Vec<u8>,
        /// For how long.
        ttl: Option<Duration>,
    },
    /// Deletes a key.
    Delete(Vec<u8>),
    /// Deletes all these.
    DeleteKeys(Keys),
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { prefix, quota, .. } = &*self.shared;
        f.debug_struct("Bucket").field("prefix", &Bytes::from(prefix.clone())).field("quota", quota).finish()
    }
}

impl Bucket {
    /// The keys of `db` that begin with `prefix`; all, if that is empty. Prefixes of which none begins another are
    /// buckets apart.
    pub fn new(db: &Db, prefix: impl AsRef<[u8]>) -> Bucket {
        let shared = Shared { db: db.clone(), prefix: prefix.as_ref().to_vec(), quota: None, usage: Mutex::default() };
        Bucket { shared: Arc::new(shared), writable: true }
    }

    /// A bucket of the same keys that holds so much at most.
    #[must_use]
    pub fn with_quota(self, quota: Quota) -> Bucket {
        let shared = Shared {
            db: self.shared.db.clone(),
            prefix: self.shared.prefix.clone(),
            quota: Some(quota),
            usage: Mutex::default(),
        };
        Bucket { shared: Arc::new(shared), writable: self.writable }
    }

    /// The same bucket, only to be read.
    #[must_use]
    pub fn read_only(self) -> Bucket {
        Bucket { writable: false, ..self }
    }

    /// How much it holds, counted anew.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn usage(&self) -> Result<Usage> {
        self.shared.count().await
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        join(&self.shared.prefix, key)
    }

    fn check_writable(&self) -> Result<()> {
        if self.writable { Ok(()) } else { Err(Error::AccessDenied) }
    }

    /// What `key` holds.
    ///
    /// # Errors
    /// Where it cannot be read; `Invalid` for a key that no database can have. The same for the other reads.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.shared.db.get(self.key(key)).await?)
    }

    /// What `key` holds, and how long.
    pub async fn get_record(&self, key: &[u8]) -> Result<Option<Record>> {
        let found = self.shared.db.get_entry(self.key(key)).await?;
        Ok(found.map(|entry| Record::of(entry, self.shared.prefix.len())))
    }

    /// Whether `key` is there.
    pub async fn contains(&self, key: &[u8]) -> Result<bool> {
        Ok(self.shared.db.contains(self.key(key)).await?)
    }

    /// How long `key` goes on to live; `None` where it is not there.
    pub async fn ttl(&self, key: &[u8]) -> Result<Option<Ttl>> {
        Ok(self.shared.db.ttl(self.key(key)).await?)
    }

    /// The records of `keys`, in byte order or against it, with their values or without.
    pub fn scan(&self, keys: &Keys, reverse: bool, keys_only: bool) -> Scan {
        let scan = self.shared.db.scan(range(&self.shared.prefix, keys));
        let scan = if reverse { scan.rev() } else { scan };
        Scan::new(if keys_only { scan.keys_only() } else { scan }, self.shared.prefix.len())
    }

    /// The bucket as it is now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.shared.db.snapshot(), &self.shared.prefix)
    }

    /// Begins a transaction: serializable, or one that only what it writes can conflict with.
    pub fn begin(&self, serializable: bool) -> Transaction {
        let isolation = if serializable { Isolation::Serializable } else { Isolation::Snapshot };
        let options = TransactionOptions { isolation, ..TransactionOptions::default() };
        Transaction::new(self.clone(), self.shared.db.begin_with(options))
    }

    /// Sets `key`, for so long, or for ever.
    ///
    /// # Errors
    /// `AccessDenied`, `QuotaExceeded`, `Invalid`; `Other` where the database fails. The same for the other writes.
    pub async fn put(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<()> {
        self.check_writable()?;
        let charge = self.charge_put(key, value.len() as u64, ttl).await?;
        let options = WriteOptions { ttl: ttl.or(Some(WriteOptions::FOR_EVER)), ..WriteOptions::default() };
        self.shared.db.put_with(self.key(key), value, options).await?;
        settle(charge, false);
        Ok(())
    }

    async fn charge_put(
        &self,
        key: &[u8],
        len: u64,
        ttl: Option<Duration>,
    ) -> Result<Option<crate::quota::Charge<'_>>> {
        if self.shared.quota.is_none() {
            return Ok(None);
        }
        let expires_at = ttl.and_then(|ttl| self.expires_at(ttl));
        self.shared.charge(&Changes::from([(key, Some((len, expires_at)))])).await
    }

    fn expires_at(&self, ttl: Duration) -> Option<u64> {
        self.shared.now().checked_add(u64::try_from(ttl.as_millis()).ok()?)
    }

    /// Deletes `key`, if it is there.
    pub async fn delete(&self, key: &[u8]) -> Result<()> {
        self.check_writable()?;
        let charge = self.shared.charge(&Changes::from([(key, None)])).await?;
        self.shared.db.delete(self.key(key)).await?;
        settle(charge, false);
        Ok(())
    }

    /// Deletes all these keys, by one record.
    pub async fn delete_keys(&self, keys: &Keys) -> Result<()> {
        self.write(vec![Write::DeleteKeys(keys.clone())]).await
    }

    /// Writes all of these in their order, or none.
    pub async fn write(&self, writes: Vec<Write>) -> Result<()> {
        self.check_writable()?;
        let mut batch = WriteBatch::new();
        let mut changes = Changes::new();
        let mut ranges = false;
        for write in &writes {
            batch = match write {
                Write::Put { key, value, ttl } => {
                    let expires_at = ttl.and_then(|ttl| self.expires_at(ttl));
                    changes.insert(key, Some((value.len() as u64, expires_at)));
                    // The end of time is how a batch says "for ever".
                    batch.put_expiring(self.key(key), value, expires_at.unwrap_or(u64::MAX))
                }
                Write::Delete(key) => {
                    changes.insert(key, None);
                    batch.delete(self.key(key))
                }
                Write::DeleteKeys(keys) => {
                    ranges = true;
                    batch.delete_range(range(&self.shared.prefix, keys))
                }
            };
        }
        let charge = self.shared.charge(&changes).await?;
        self.shared.db.write(batch).await?;
        settle(charge, ranges);
        Ok(())
    }

    /// Sets `key` to `new` (deletes it if `None`), if it holds just `expected` (nothing if `None`). Whether it did.
    pub async fn compare_and_swap(&self, key: &[u8], expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool> {
        self.check_writable()?;
        let change = new.map(|new| (new.len() as u64, None));
        let charge = self.shared.charge(&Changes::from([(key, change)])).await?;
        let options = WriteOptions { ttl: Some(WriteOptions::FOR_EVER), ..WriteOptions::default() };
        let swapped = self.shared.db.compare_and_swap_with(self.key(key), expected, new, options).await?;
        match charge {
            Some(charge) if !swapped => charge.undo(),
            charge => settle(charge, false),
        }
        Ok(swapped)
    }

    /// Adds `delta` to the number at `key`, decimal text, and returns the sum. An absent key counts as 0.
    pub async fn increment(&self, key: &[u8], delta: i64) -> Result<i64> {
        self.check_writable()?;
        let charge = self.charge_put(key, NUMBER_LEN_MAX, None).await?;
        let sum = self.shared.db.increment(self.key(key), delta).await?;
        if let Some(charge) = charge {
            charge.settle_less(NUMBER_LEN_MAX - sum.to_string().len() as u64);
        }
        Ok(sum)
    }

    /// As [`increment`](Bucket::increment), of a number that is never below 0.
    pub async fn increment_unsigned(&self, key: &[u8], delta: u64) -> Result<u64> {
        let delta = i64::try_from(delta).map_err(|_| Error::Invalid("numbers end at 2^63 - 1".to_owned()))?;
        let sum = self.increment(key, delta).await?;
        u64::try_from(sum).map_err(|_| Error::Invalid(format!("the number is below 0 sum={sum}")))
    }

    /// Lets `key` live for so long from now on, or for ever. Whether it is there.
    pub async fn expire(&self, key: &[u8], ttl: Option<Duration>) -> Result<bool> {
        self.check_writable()?;
        let Some(ttl) = ttl else { return Ok(self.shared.db.persist(self.key(key)).await?) };
        if self.shared.quota.is_none() {
            return Ok(self.shared.db.expire(self.key(key), ttl).await?);
        }
        let mut usage = self.shared.usage.lock().await;
        let there = self.shared.db.expire(self.key(key), ttl).await?;
        if let Some(usage) = &mut *usage {
            usage.expires(self.expires_at(ttl));
        }
        Ok(there)
    }

    pub(crate) async fn commit(
        &self,
        transaction: halite::Transaction,
        writes: &BTreeMap<Vec<u8>, Option<(u64, Option<u64>)>>,
        ranges: bool,
    ) -> Result<()> {
        self.check_writable()?;
        let changes = writes.iter().map(|(key, change)| (&key[..], *change)).collect();
        let charge = self.shared.charge(&changes).await?;
        match (transaction.commit().await.map_err(Error::from), charge) {
            (Err(Error::Conflict), Some(charge)) => {
                charge.undo();
                Err(Error::Conflict)
            }
            (Ok(()), charge) => {
                settle(charge, ranges);
                Ok(())
            }
            (Err(error), _) => Err(error),
        }
    }

    pub(crate) fn transaction_key(&self, key: &[u8]) -> Result<Vec<u8>> {
        self.check_writable().map(|()| self.key(key))
    }

    pub(crate) fn time_to_expire(&self, ttl: Option<Duration>) -> Option<u64> {
        ttl.and_then(|ttl| self.expires_at(ttl))
    }
}

fn settle(charge: Option<crate::quota::Charge<'_>>, ranges: bool) {
    if let Some(charge) = charge {
        charge.settle(ranges);
    }
}
