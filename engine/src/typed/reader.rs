//! What collections read from.

use crate::{Db, KeyRange, ReadOnly, Result, Scan, Snapshot};
use bytes::Bytes;

/// What a [`Collection`](crate::Collection) can be read from: a [`Db`], a [`Snapshot`] or a [`ReadOnly`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Collection, Reader};
/// /// From the database as it is, or as a snapshot shows it.
/// async fn visits<R: Reader>(of: &Collection<String, u64, R>) -> halite::Result<u64> {
///     Ok(of.get("home").await?.unwrap_or(0))
/// }
/// let db = halite::Db::open("mem:").await?;
/// let now = db.collection::<String, u64>("visits");
/// let before = db.snapshot().collection::<String, u64>("visits");
/// now.put("home", &1).await?;
/// assert_eq!((visits(&now).await?, visits(&before).await?), (1, 0));
/// # drop(before);
/// # db.close().await
/// # }
/// ```
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
