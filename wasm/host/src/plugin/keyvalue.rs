//! `wasi:keyvalue` over buckets, in both its drafts.
//!
//! They differ in what their cursors and their numbers are, and in compare-and-swap, which the earlier one lacks.

/// `store` and `batch`, which both have; with cursors of the type `$Cursor`.
macro_rules! answer {
    ($Cursor:ty) => {
        use super::super::{View, answer, value};
        use halite_bucket::Bucket;
        use wasmtime::Result;
        use wasmtime::component::Resource;

        /// What the guest gets, and, outside of that, what ends it: a handle that it does not have.
        type Answer<T> = Result<Result<T, store::Error>>;

        halite_bucket::keyvalue_words!(store::Error);

        impl store::Host for View<'_> {
            async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
                let bucket = self.guest.buckets.open(&identifier);
                self.give(bucket)
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

            async fn list_keys(
                &mut self,
                bucket: Resource<Bucket>,
                cursor: Option<$Cursor>,
            ) -> Answer<store::KeyResponse> {
                let page = self.guest.cursors.list_keys(self.table.get(&bucket)?, cursor).await;
                answer(page.map(|(keys, cursor)| store::KeyResponse { keys, cursor }))
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
                answer(self.table.get(&bucket)?.get_many(keys).await)
            }

            async fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
                answer(self.table.get(&bucket)?.set_many(pairs).await)
            }

            async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
                answer(self.table.get(&bucket)?.delete_many(keys).await)
            }
        }
    };
}

pub(super) mod draft {
    //! `0.2.0-draft`.

    use bindings::wasi::keyvalue::{atomics, batch, store};

    answer!(u64);

    pub(in super::super) mod bindings {
        //! What wasmtime makes of the WIT.
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        wasmtime::component::bindgen!({
            path: "../wit/keyvalue-draft",
            world: "imports",
            imports: { default: async | trappable },
            with: { "wasi:keyvalue/store.bucket": halite_bucket::Bucket },
        });
    }

    impl atomics::Host for View<'_> {
        async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
            answer(self.table.get(&bucket)?.increment_unsigned(key.as_bytes(), delta).await)
        }
    }
}

pub(super) mod draft2 {
    //! `0.2.0-draft2`.

    use bindings::wasi::keyvalue::{atomics, batch, store};
    use halite_bucket::{Cas, Swap};

    answer!(String);

    pub(in super::super) mod bindings {
        //! What wasmtime makes of the WIT.
        #![allow(missing_docs, unreachable_pub, clippy::all)]
        wasmtime::component::bindgen!({
            path: "../wit/keyvalue-draft2",
            world: "imports",
            imports: { default: async | trappable },
            with: {
                "wasi:keyvalue/store.bucket": halite_bucket::Bucket,
                "wasi:keyvalue/atomics.cas": halite_bucket::Cas,
            },
        });
    }

    impl atomics::Host for View<'_> {
        async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: i64) -> Answer<i64> {
            answer(self.table.get(&bucket)?.increment(key.as_bytes(), delta).await)
        }

        async fn swap(&mut self, cas: Resource<Cas>, value: Vec<u8>) -> Result<Result<(), atomics::CasError>> {
            let failed = |error: store::Error| Ok(Err(atomics::CasError::StoreError(error)));
            match self.table.delete(cas)?.swap(&value).await {
                Ok(Swap::Done) => Ok(Ok(())),
                Ok(Swap::Changed(now)) => match self.give(Ok(now))? {
                    Ok(now) => Ok(Err(atomics::CasError::CasFailed(now))),
                    Err(error) => failed(error),
                },
                Err(error) => failed(error.into()),
            }
        }
    }

    impl atomics::HostCas for View<'_> {
        async fn new(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Resource<Cas>> {
            let cas = self.table.get(&bucket)?.look(key.as_bytes()).await;
            self.give(cas)
        }

        async fn current(&mut self, cas: Resource<Cas>) -> Answer<Option<Vec<u8>>> {
            value(Ok(self.table.get(&cas)?.current()))
        }

        async fn drop(&mut self, cas: Resource<Cas>) -> Result<()> {
            self.table.delete(cas)?;
            Ok(())
        }
    }
}
