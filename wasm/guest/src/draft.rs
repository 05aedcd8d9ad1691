//! `wasi:keyvalue@0.2.0-draft`, exported.

use crate::Component;
use crate::opened::{CURSORS, block_on, opened, write};
use bindings::exports::wasi::keyvalue::{atomics, batch, store};
use halite_bucket::{Bucket, Write};

use store::{BucketBorrow, Error, KeyResponse};

mod bindings {
    //! What wit-bindgen makes of the WIT.
    #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/keyvalue-draft", world: "exports" });
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

    fn list_keys(&self, cursor: Option<u64>) -> Result<KeyResponse, Error> {
        let cursor = cursor.map(|number| CURSORS.cursor(number)).transpose()?;
        let page = block_on(self.list_keys(cursor.as_deref()))?;
        Ok(KeyResponse { keys: page.keys, cursor: page.cursor.map(|cursor| CURSORS.number(cursor)) })
    }
}

impl atomics::Guest for Component {
    fn increment(bucket: BucketBorrow<'_>, key: String, delta: u64) -> Result<u64, Error> {
        Ok(write(bucket.get::<Bucket>().increment_unsigned(key.as_bytes(), delta))?)
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
