//! `wasi:keyvalue@0.2.0-draft2` over buckets.

use super::View;
use bindings::wasi::keyvalue::{atomics, batch, store};
use halite_bucket::{Bucket, Cas, Swap, Write};
use wasmtime::Result;
use wasmtime::component::Resource;

pub(super) mod bindings {
    //! What wasmtime makes of the WIT.
    #![allow(missing_docs, unreachable_pub, clippy::all)]
    wasmtime::component::bindgen!({
        path: "../wit/keyvalue-draft2",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": halite_bucket::Bucket, "wasi:keyvalue/atomics.cas": halite_bucket::Cas },
    });
}

/// What the guest gets, and, outside of that, what ends it: a handle that it does not have.
type Answer<T> = Result<Result<T, store::Error>>;

impl From<halite_bucket::Error> for store::Error {
    fn from(error: halite_bucket::Error) -> store::Error {
        match error {
            halite_bucket::Error::NoSuchBucket => store::Error::NoSuchStore,
            halite_bucket::Error::AccessDenied => store::Error::AccessDenied,
            other => store::Error::Other(other.to_string()),
        }
    }
}

fn answer<T, U: From<T>>(done: halite_bucket::Result<T>) -> Answer<U> {
    Ok(done.map(U::from).map_err(store::Error::from))
}

fn value(found: halite_bucket::Result<Option<bytes::Bytes>>) -> Answer<Option<Vec<u8>>> {
    Ok(found.map(|found| found.map(Vec::from)).map_err(store::Error::from))
}

impl store::Host for View<'_> {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        match self.guest.buckets.open(&identifier) {
            Ok(bucket) => Ok(Ok(self.table.push(bucket)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl store::HostBucket for View<'_> {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        value(self.table.get(&bucket)?.get(key.as_bytes()).await)
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        answer(self.table.get(&bucket)?.put(key.as_bytes(), &value, None).await)
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        answer(self.table.get(&bucket)?.delete(key.as_bytes()).await)
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        answer(self.table.get(&bucket)?.contains(key.as_bytes()).await)
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<String>) -> Answer<store::KeyResponse> {
        let page = self.table.get(&bucket)?.list_keys(cursor.as_deref()).await;
        let page = page.map(|page| store::KeyResponse { keys: page.keys, cursor: page.cursor });
        Ok(page.map_err(store::Error::from))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl batch::Host for View<'_> {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        // One moment for all of them.
        let snapshot = self.table.get(&bucket)?.snapshot();
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            match snapshot.get(key.as_bytes()).await {
                Ok(value) => found.push(value.map(|value| (key, value.into()))),
                Err(error) => return Ok(Err(error.into())),
            }
        }
        Ok(Ok(found))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        let writes = pairs.into_iter().map(|(key, value)| Write::Put { key: key.into_bytes(), value, ttl: None });
        answer(self.table.get(&bucket)?.write(writes.collect()).await)
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        let writes = keys.into_iter().map(|key| Write::Delete(key.into_bytes()));
        answer(self.table.get(&bucket)?.write(writes.collect()).await)
    }
}

impl atomics::Host for View<'_> {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Answer<i64> {
        answer(self.table.get(&bucket)?.increment(key.as_bytes(), delta).await)
    }

    async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<Result<(), atomics::CasError>> {
        let swap = self.table.delete(cas)?.swap(&value).await;
        Ok(match swap {
            Ok(Swap::Done) => Ok(()),
            Ok(Swap::Changed(cas)) => Err(atomics::CasError::CasFailed(self.table.push(cas)?)),
            Err(error) => Err(atomics::CasError::StoreError(error.into())),
        })
    }
}

impl atomics::HostCas for View<'_> {
    async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Resource<Cas>> {
        match self.table.get(&bucket)?.look(key.as_bytes()).await {
            Ok(cas) => Ok(Ok(self.table.push(cas)?)),
            Err(error) => Ok(Err(error.into())),
        }
    }

    async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
        value(Ok(self.table.get(&cas)?.current()))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
