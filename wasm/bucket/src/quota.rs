//! How much a bucket may hold, and how much it holds.
//!
//! A bucket with a quota counts what it holds once, by a scan, and then keeps the sum: each write looks at what it
//! replaces, under a lock that the bucket's writers share. So they do not share commits as writers elsewhere do.
//!
//! # Guarantees
//! 1. What a bucket holds never exceeds its quota by a guest's doing. (What its host writes under the same keys is counted
//!    when it is counted anew.)
//! 2. The sum is never below what is there: what expires leaves it late, when room is wanted and something may have gone.
//!    After a write whose outcome is not known, and after deletes of ranges, all is counted anew.

use crate::bucket::Shared;
use crate::error::{Error, Result};
use crate::keys::{Keys, join, range};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use tokio::sync::MutexGuard;

/// How much a bucket may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of keys and values together.
    pub bytes: u64,
    /// Number of keys.
    pub keys: u64,
}

/// How much a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of keys and values together.
    pub bytes: u64,
    /// Number of keys.
    pub keys: u64,
    /// When the first of them may expire.
    pub(crate) expires_first: Option<u64>,
}

impl Usage {
    fn within(&self, quota: Quota) -> bool {
        self.bytes <= quota.bytes && self.keys <= quota.keys
    }

    pub(crate) fn expires(&mut self, at: Option<u64>) {
        self.expires_first = [self.expires_first, at].into_iter().flatten().min();
    }
}

/// For each key that is written: how long its value will be, and when it will expire; `None` for a delete.
pub(crate) type Changes<'a> = BTreeMap<&'a [u8], Option<(u64, Option<u64>)>>;

/// A write that there is room for. Nobody else writes until it is dropped.
#[derive(Debug)]
pub(crate) struct Charge<'a> {
    usage: MutexGuard<'a, Option<Usage>>,
    before: Usage,
    after: Usage,
}

impl Charge<'_> {
    /// The write has happened. (Else it is not known what there is.)
    pub(crate) fn settle(mut self, ranges: bool) {
        if !ranges {
            *self.usage = Some(self.after);
        }
    }

    /// The write has certainly not happened.
    pub(crate) fn undo(mut self) {
        *self.usage = Some(self.before);
    }

    /// The write has happened, and took `bytes` less than it was charged.
    pub(crate) fn settle_less(mut self, bytes: u64) {
        self.after.bytes = self.after.bytes.saturating_sub(bytes);
        *self.usage = Some(self.after);
    }
}

impl Shared {
    /// Makes room for `changes`; `None` where there is no quota.
    pub(crate) async fn charge(&self, changes: &Changes<'_>) -> Result<Option<Charge<'_>>> {
        let Some(quota) = self.quota else { return Ok(None) };
        let mut usage = self.usage.lock().await;
        // Left so if anything fails on the way.
        let known = usage.take();
        let counted = known.is_none();
        let before = match known {
            Some(known) => known,
            None => self.count().await?,
        };
        let mut grows = false;
        let mut after = before;
        for (key, change) in changes {
            let found = self.db.get_entry(join(&self.prefix, key)).await?;
            let old = found.as_ref().map_or(0, |found| (key.len() + found.value.len()) as u64);
            let new = change.map_or(0, |(len, _)| key.len() as u64 + len);
            after.bytes = (after.bytes + new).saturating_sub(old);
            after.keys = (after.keys + u64::from(change.is_some())).saturating_sub(u64::from(found.is_some()));
            after.expires(change.and_then(|(_, at)| at));
            grows |= new > old || (change.is_some() && found.is_none());
        }
        if grows && !after.within(quota) {
            let something_expired = !counted && before.expires_first.is_some_and(|at| at <= self.now());
            if something_expired {
                drop(usage);
                return Box::pin(self.charge(changes)).await;
            }
            *usage = Some(before);
            return Err(Error::QuotaExceeded);
        }
        Ok(Some(Charge { usage, before, after }))
    }

    /// The engine's time, in milliseconds since the Unix epoch.
    pub(crate) fn now(&self) -> u64 {
        self.db.snapshot().time()
    }

    /// Counts what there is.
    pub(crate) async fn count(&self) -> Result<Usage> {
        let mut usage = Usage::default();
        let mut scan = self.db.scan(range(&self.prefix, &Keys::All));
        while let Some(entry) = scan.try_next().await? {
            usage.bytes += (entry.key.len() - self.prefix.len() + entry.value.len()) as u64;
            usage.keys += 1;
            usage.expires(entry.expires_at);
        }
        Ok(usage)
    }
}
