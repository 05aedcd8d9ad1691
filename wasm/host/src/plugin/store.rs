//! `halite:store` over buckets.

use super::View;
use bindings::halite::store::store as wit;
use halite::Ttl;
use halite_bucket::{Bucket, Keys, Scan, Snapshot, Transaction, Write};
use std::time::Duration;
use wasmtime::Result;
use wasmtime::component::Resource;

pub(super) mod bindings {
    //! What wasmtime makes of the WIT.
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    wasmtime::component::bindgen!({
        path: "../wit/store",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "halite:store/store.bucket": halite_bucket::Bucket,
            "halite:store/store.scan": halite_bucket::Scan,
            "halite:store/store.snapshot": halite_bucket::Snapshot,
            "halite:store/store.transaction": halite_bucket::Transaction,
        },
    });
}

/// What the guest gets, and, outside of that, what ends it: a handle that it does not have.
type Answer<T> = Result<Result<T, wit::Error>>;

impl From<halite_bucket::Error> for wit::Error {
    fn from(error: halite_bucket::Error) -> wit::Error {
        use halite_bucket::Error;
        match error {
            Error::NoSuchBucket => wit::Error::NoSuchBucket,
            Error::AccessDenied => wit::Error::AccessDenied,
            Error::QuotaExceeded => wit::Error::QuotaExceeded,
            Error::Conflict => wit::Error::Conflict,
            Error::Invalid(why) => wit::Error::Invalid(why),
            other => wit::Error::Other(other.to_string()),
        }
    }
}

impl From<wit::Keys> for Keys {
    fn from(keys: wit::Keys) -> Keys {
        match keys {
            wit::Keys::All => Keys::All,
            wit::Keys::Prefix(prefix) => Keys::Prefix(prefix),
            wit::Keys::Range((start, end)) => Keys::Range(start, end),
        }
    }
}

impl From<wit::Write> for Write {
    fn from(write: wit::Write) -> Write {
        match write {
            wit::Write::Put(wit::Put { key, value, lifetime }) => Write::Put { key, value, ttl: ttl(lifetime) },
            wit::Write::Delete(key) => Write::Delete(key),
            wit::Write::DeleteKeys(keys) => Write::DeleteKeys(keys.into()),
        }
    }
}

impl From<halite_bucket::Record> for wit::Record {
    fn from(record: halite_bucket::Record) -> wit::Record {
        wit::Record { key: record.key.into(), value: record.value.into(), expires_at: record.expires_at }
    }
}

fn ttl(lifetime: wit::Lifetime) -> Option<Duration> {
    match lifetime {
        wit::Lifetime::ForEver => None,
        wit::Lifetime::Milliseconds(millis) => Some(Duration::from_millis(millis)),
    }
}

fn answer<T>(done: halite_bucket::Result<T>) -> Answer<T> {
    Ok(done.map_err(wit::Error::from))
}

fn value(found: halite_bucket::Result<Option<bytes::Bytes>>) -> Answer<Option<Vec<u8>>> {
    answer(found.map(|found| found.map(Vec::from)))
}

fn is(order: wit::Order) -> (bool, bool) {
    (order.contains(wit::Order::REVERSE), order.contains(wit::Order::KEYS_ONLY))
}

impl wit::Host for View<'_> {
    async fn open(&mut self, name: String) -> Answer<Resource<Bucket>> {
        match self.guest.buckets.open(&name) {
            Ok(bucket) => Ok(Ok(self.table.push(bucket)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl wit::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<Bucket>, key: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        value(self.table.get(&bucket)?.get(&key).await)
    }

    async fn get_record(&mut self, bucket: Resource<Bucket>, key: Vec<u8>) -> Answer<Option<wit::Record>> {
        answer(self.table.get(&bucket)?.get_record(&key).await.map(|found| found.map(wit::Record::from)))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: Vec<u8>) -> Answer<bool> {
        answer(self.table.get(&bucket)?.contains(&key).await)
    }

    async fn get_lifetime(&mut self, bucket: Resource<Bucket>, key: Vec<u8>) -> Answer<Option<wit::Lifetime>> {
        let lifetime = |ttl| match ttl {
            Ttl::Forever => wit::Lifetime::ForEver,
            // An expiry is a number of milliseconds, so what is left of it is one too.
            Ttl::Remaining(left) => wit::Lifetime::Milliseconds(left.as_millis().try_into().unwrap_or(u64::MAX)),
        };
        answer(self.table.get(&bucket)?.ttl(&key).await.map(|found| found.map(lifetime)))
    }

    async fn put(&mut self, bucket: Resource<Bucket>, key: Vec<u8>, value: Vec<u8>, for_: wit::Lifetime) -> Answer<()> {
        answer(self.table.get(&bucket)?.put(&key, &value, ttl(for_)).await)
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: Vec<u8>) -> Answer<()> {
        answer(self.table.get(&bucket)?.delete(&key).await)
    }

    async fn delete_keys(&mut self, bucket: Resource<Bucket>, keys: wit::Keys) -> Answer<()> {
        answer(self.table.get(&bucket)?.delete_keys(&keys.into()).await)
    }

    async fn write(&mut self, bucket: Resource<Bucket>, writes: Vec<wit::Write>) -> Answer<()> {
        answer(self.table.get(&bucket)?.write(writes.into_iter().map(Write::from).collect()).await)
    }

    async fn compare_and_swap(
        &mut self,
        bucket: Resource<Bucket>,
        key: Vec<u8>,
        expected: Option<Vec<u8>>,
        new: Option<Vec<u8>>,
    ) -> Answer<bool> {
        answer(self.table.get(&bucket)?.compare_and_swap(&key, expected.as_deref(), new.as_deref()).await)
    }

    async fn increment(&mut self, bucket: Resource<Bucket>, key: Vec<u8>, delta: i64) -> Answer<i64> {
        answer(self.table.get(&bucket)?.increment(&key, delta).await)
    }

    async fn set_lifetime(&mut self, bucket: Resource<Bucket>, key: Vec<u8>, lifetime: wit::Lifetime) -> Answer<bool> {
        answer(self.table.get(&bucket)?.expire(&key, ttl(lifetime)).await)
    }

    async fn scan(&mut self, bucket: Resource<Bucket>, keys: wit::Keys, order: wit::Order) -> Answer<Resource<Scan>> {
        let (reverse, keys_only) = is(order);
        let scan = self.table.get(&bucket)?.scan(&keys.into(), reverse, keys_only);
        Ok(Ok(self.table.push(scan)?))
    }

    async fn snapshot(&mut self, bucket: Resource<Bucket>) -> Answer<Resource<Snapshot>> {
        let snapshot = self.table.get(&bucket)?.snapshot();
        Ok(Ok(self.table.push(snapshot)?))
    }

    async fn begin(&mut self, bucket: Resource<Bucket>, isolation: wit::Isolation) -> Answer<Resource<Transaction>> {
        let transaction = self.table.get(&bucket)?.begin(isolation == wit::Isolation::Serializable);
        Ok(Ok(self.table.push(transaction)?))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl wit::HostScan for View<'_> {
    async fn next(&mut self, scan: Resource<Scan>, max: u32) -> Answer<Vec<wit::Record>> {
        let next = self.table.get_mut(&scan)?.next(max as usize).await;
        answer(next.map(|records| records.into_iter().map(wit::Record::from).collect()))
    }

    async fn drop(&mut self, scan: Resource<Scan>) -> Result<()> {
        self.table.delete(scan)?;
        Ok(())
    }
}

impl wit::HostSnapshot for View<'_> {
    async fn get(&mut self, snapshot: Resource<Snapshot>, key: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        value(self.table.get(&snapshot)?.get(&key).await)
    }

    async fn scan(&mut self, it: Resource<Snapshot>, keys: wit::Keys, order: wit::Order) -> Answer<Resource<Scan>> {
        let (reverse, keys_only) = is(order);
        let scan = self.table.get(&it)?.scan(&keys.into(), reverse, keys_only);
        Ok(Ok(self.table.push(scan)?))
    }

    async fn drop(&mut self, snapshot: Resource<Snapshot>) -> Result<()> {
        self.table.delete(snapshot)?;
        Ok(())
    }
}

impl wit::HostTransaction for View<'_> {
    async fn get(&mut self, transaction: Resource<Transaction>, key: Vec<u8>) -> Answer<Option<Vec<u8>>> {
        value(self.table.get(&transaction)?.get(&key).await)
    }

    async fn scan(&mut self, it: Resource<Transaction>, keys: wit::Keys, order: wit::Order) -> Answer<Resource<Scan>> {
        let (reverse, keys_only) = is(order);
        let scan = self.table.get(&it)?.scan(&keys.into(), reverse, keys_only);
        Ok(Ok(self.table.push(scan)?))
    }

    async fn put(
        &mut self,
        it: Resource<Transaction>,
        key: Vec<u8>,
        value: Vec<u8>,
        for_: wit::Lifetime,
    ) -> Answer<()> {
        answer(self.table.get_mut(&it)?.put(&key, &value, ttl(for_)))
    }

    async fn delete(&mut self, transaction: Resource<Transaction>, key: Vec<u8>) -> Answer<()> {
        answer(self.table.get_mut(&transaction)?.delete(&key))
    }

    async fn delete_keys(&mut self, transaction: Resource<Transaction>, keys: wit::Keys) -> Answer<()> {
        answer(self.table.get_mut(&transaction)?.delete_keys(&keys.into()))
    }

    async fn commit(&mut self, transaction: Resource<Transaction>) -> Answer<()> {
        answer(self.table.delete(transaction)?.commit().await)
    }

    async fn drop(&mut self, transaction: Resource<Transaction>) -> Result<()> {
        // It is gone already if it was committed.
        let _ = self.table.delete(transaction);
        Ok(())
    }
}
