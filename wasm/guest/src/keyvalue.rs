//! `wasi:keyvalue`, exported, in both its drafts.
//!
//! They differ in what their cursors and their numbers are, and in compare-and-swap, which the earlier one lacks.

/// `store` and `batch`, which both have; with cursors of the type `$Cursor`.
macro_rules! exports {
    ($Cursor:ty) => {
        use crate::Component;
        use crate::opened::{CURSORS, block_on, opened, write};
        use halite_bucket::Bucket;
        use store::{BucketBorrow, Error, KeyResponse};

        halite_bucket::keyvalue_words!(Error);

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

            fn list_keys(&self, cursor: Option<$Cursor>) -> Result<KeyResponse, Error> {
                let (keys, cursor) = block_on(CURSORS.list_keys(self, cursor))?;
                Ok(KeyResponse { keys, cursor })
            }
        }

        impl batch::Guest for Component {
            fn get_many(it: BucketBorrow<'_>, keys: Vec<String>) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
                Ok(block_on(it.get::<Bucket>().get_many(keys))?)
            }

            fn set_many(it: BucketBorrow<'_>, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
                Ok(write(it.get::<Bucket>().set_many(pairs))?)
            }

            fn delete_many(it: BucketBorrow<'_>, keys: Vec<String>) -> Result<(), Error> {
                Ok(write(it.get::<Bucket>().delete_many(keys))?)
            }
        }
    };
}

mod draft {
    //! `0.2.0-draft`.

    use bindings::exports::wasi::keyvalue::{atomics, batch, store};

    exports!(u64);

    mod bindings {
        //! What wit-bindgen makes of the WIT.
        #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
        wit_bindgen::generate!({ path: "../wit/keyvalue-draft", world: "exports" });
        use crate::Component;
        export!(Component);
    }

    impl atomics::Guest for Component {
        fn increment(it: BucketBorrow<'_>, key: String, delta: u64) -> Result<u64, Error> {
            Ok(write(it.get::<Bucket>().increment_unsigned(key.as_bytes(), delta))?)
        }
    }
}

mod draft2 {
    //! `0.2.0-draft2`.

    use bindings::exports::wasi::keyvalue::{atomics, batch, store};
    use halite_bucket::{Cas, Swap};

    exports!(String);

    mod bindings {
        //! What wit-bindgen makes of the WIT.
        #![allow(unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
        wit_bindgen::generate!({ path: "../wit/keyvalue-draft2", world: "exports" });
        use crate::Component;
        export!(Component);
    }

    impl atomics::Guest for Component {
        type Cas = Cas;

        fn increment(it: BucketBorrow<'_>, key: String, delta: i64) -> Result<i64, Error> {
            Ok(write(it.get::<Bucket>().increment(key.as_bytes(), delta))?)
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
        fn new(it: BucketBorrow<'_>, key: String) -> Result<atomics::Cas, Error> {
            Ok(atomics::Cas::new(block_on(it.get::<Bucket>().look(key.as_bytes()))?))
        }

        fn current(&self) -> Result<Option<Vec<u8>>, Error> {
            Ok(self.current().map(Vec::from))
        }
    }
}
