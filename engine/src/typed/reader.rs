//! What collections read from.

use crate::{Db, KeyRange, ReadOnly, Result, Scan, Snapshot};
use bytes::Bytes;

/// What a [`Collection`](crate::Collection) can be read from: a [`Db`], a [`Snapshot`] or a [`ReadOnly`].
pub trait Reader: sealed::Read {}

impl Reader for Db {}
impl Reader for Snapshot {}
impl Reader for ReadOnly {}

pub(super) mod sealed {
    use super::*;

    /// The reads that collections are made of.
    pub trait Read {
        fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>>> + Send;
        fn contains(&self, key: &[u8]) -> impl Future<Output = Result<bool>> + Send;
        fn scan(&self, range: KeyRange) -> Scan;
    }

    impl Read for Db {
        fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>>> + Send {
            Db::get(self, key)
        }

        fn contains(&self, key: &[u8]) -> impl Future<Output = Result<bool>> + Send {
            Db::contains(self, key)
        }

        fn scan(&self, range: KeyRange) -> Scan {
            Db::scan(self, range)
        }
    }

    impl Read for Snapshot {
        fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>>> + Send {
            Snapshot::get(self, key)
        }

        fn contains(&self, key: &[u8]) -> impl Future<Output = Result<bool>> + Send {
            Snapshot::contains(self, key)
        }

        fn scan(&self, range: KeyRange) -> Scan {
            Snapshot::scan(self, range)
        }
    }

    impl Read for ReadOnly {
        fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>>> + Send {
            ReadOnly::get(self, key)
        }

        fn contains(&self, key: &[u8]) -> impl Future<Output = Result<bool>> + Send {
            ReadOnly::contains(self, key)
        }

        fn scan(&self, range: KeyRange) -> Scan {
            ReadOnly::scan(self, range)
        }
    }
}
