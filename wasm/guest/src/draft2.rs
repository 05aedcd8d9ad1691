//! `wasi:keyvalue@0.2.0-draft2`, exported.

use crate::Component;
use crate::opened::{block_on, opened, write};
use bindings::exports::wasi::keyvalue::{atomics, batch, store};
use halite_bucket::{Bucket, Cas, Swap, Write};
use store::{BucketBorrow, Error, KeyResponse};

mod bindings {
    //! What wit-bindgen makes of the WIT.
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/keyvalue-draft2", world: "exports" });
    use crate::Component;
    export!(Component);
}

impl From<halite_bucket::Error> for Error {
    fn from(error: halite_bucket::Error) -> Error {
        match error {
            halite_bucket::Error::NoSuchBucket => Error::NoSuchStore,
            halite_bucket::Error::AccessDenied => Error::AccessDenied,
            other => Error::Other(other.to_string()),
        }
    }
}

impl store::Guest for Component {
    type Bucket = Bucket;

    fn open(identifier: String) -> Result<store::Bucket, Error> {
        Ok(store::Bucket::new(opened()?.buckets.open(&identifier)?))
    }
}

impl store::GuestBucket for Bucket {
    fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(block_on(self.get(key.as_bytes()))?.map(Vec::from))
    }

    fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        Ok(write(self.put(key.as_bytes(), &value, None))?)
    }

    fn delete(&self, key: String) -> Result<(), Error> {
        Ok(write(self.delete(key.as_bytes()))?)
    }

    fn exists(&self, key: String) -> Result<bool, Error> {
        Ok(block_on(self.contains(key.as_bytes()))?)
    }

    fn list_keys(&self, cursor: Option<String>) -> Result<KeyResponse, Error> {
        let page = block_on(self.list_keys(cursor.as_deref()))?;
        Ok(KeyResponse { keys: page.keys, cursor: page.cursor })
    }
}

impl atomics::Guest for Component {
    type Cas = Cas;

    fn increment(bucket: BucketBorrow<'_>, key: String, delta: i64) -> Result<i64, Error> {
        Ok(write(bucket.get::<Bucket>().increment(key.as_bytes(), delta))?)
    }

    fn swap(cas: atomics::Cas, value: Vec<u8>) -> Result<(), atomics::CasError> {
        let failed = |error: halite_bucket::Error| atomics::CasError::StoreError(error.into());
        let cas = cas.into_inner::<Cas>();
        match write(cas.swap(&value)).map_err(failed)? {
            Swap::Done => Ok(()),
            Swap::Changed(cas) => Err(atomics::CasError::CasFailed(atomics::Cas::new(cas))),
        }
    }
}

impl atomics::GuestCas for Cas {
    fn new(bucket: BucketBorrow<'_>, key: String) -> Result<atomics::Cas, Error> {
        Ok(atomics::Cas::new(block_on(bucket.get::<Bucket>().look(key.as_bytes()))?))
    }

    fn current(&self) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.current().map(Vec::from))
    }
}

impl batch::Guest for Component {
    fn get_many(bucket: BucketBorrow<'_>, keys: Vec<String>) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        // One moment for all of them.
        let snapshot = bucket.get::<Bucket>().snapshot();
        let found = |key: String| Ok(block_on(snapshot.get(key.as_bytes()))?.map(|value| (key, value.into())));
        keys.into_iter().map(found).collect()
    }

    fn set_many(bucket: BucketBorrow<'_>, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        let writes = pairs.into_iter().map(|(key, value)| Write::Put { key: key.into_bytes(), value, ttl: None });
        Ok(write(bucket.get::<Bucket>().write(writes.collect()))?)
    }

    fn delete_many(bucket: BucketBorrow<'_>, keys: Vec<String>) -> Result<(), Error> {
        let writes = keys.into_iter().map(|key| Write::Delete(key.into_bytes()));
        Ok(write(bucket.get::<Bucket>().write(writes.collect()))?)
    }
}
