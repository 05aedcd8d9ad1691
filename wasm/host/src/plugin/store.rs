//! `halite:store` over buckets.

use super::{View, answer, value};
use bindings::halite::store::store as wit;
use halite_bucket::{Bucket, Scan, Snapshot, Transaction, Write};
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

halite_bucket::store_words!(wit);

impl wit::Host for View<'_> {
    async fn open(&mut self, name: String) -> Answer<Resource<Bucket>> {
        let bucket = self.guest.buckets.open(&name);
        self.give(bucket)
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
        let (reverse, keys_only) = self::order(order);
        let scan = self.table.get(&bucket)?.scan(&keys.into(), reverse, keys_only);
        self.give(Ok(scan))
    }

    async fn snapshot(&mut self, bucket: Resource<Bucket>) -> Answer<Resource<Snapshot>> {
        let snapshot = self.table.get(&bucket)?.snapshot();
        self.give(Ok(snapshot))
    }

    async fn begin(&mut self, bucket: Resource<Bucket>, isolation: wit::Isolation) -> Answer<Resource<Transaction>> {
        let transaction = self.table.get(&bucket)?.begin(isolation == wit::Isolation::Serializable);
        self.give(Ok(transaction))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl wit::HostScan for View<'_> {
    async fn next(&mut self, scan: Resource<Scan>, max: u32) -> Answer<Vec<wit::Record>> {
        answer(self.table.get_mut(&scan)?.next(max as usize).await.map(records))
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
        let (reverse, keys_only) = self::order(order);
        let scan = self.table.get(&it)?.scan(&keys.into(), reverse, keys_only);
        self.give(Ok(scan))
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
        let (reverse, keys_only) = self::order(order);
        let scan = self.table.get(&it)?.scan(&keys.into(), reverse, keys_only);
        self.give(Ok(scan))
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
