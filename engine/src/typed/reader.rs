//! What collections read from.

use crate::{Db, Entry, KeyRange, ReadOnly, Result, Scan, Snapshot, Transaction, TransactionScan};
use bytes::Bytes;
use futures::Stream;
use std::fmt::Debug;

/// What a [`Collection`](crate::Collection) can be read from: a [`Db`], a [`Snapshot`], a [`ReadOnly`] or a [`Transaction`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Collection, Reader};
/// /// From the database as it is, as a snapshot shows it, or in a transaction.
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

pub(crate) mod sealed {
    use super::*;

    /// The reads that collections are made of.
    pub trait Read {
        type Scan: Course + Stream<Item = Result<Entry>> + Unpin;

        fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>>> + Send;
        fn contains(&self, key: &[u8]) -> impl Future<Output = Result<bool>> + Send;
        fn scan(&self, range: KeyRange) -> Self::Scan;
    }

    /// What all scans have in common, before they begin.
    pub trait Course: Debug + Sized {
        fn rev(self) -> Self;
        fn limit(self, count: usize) -> Self;
        fn keys_only(self) -> Self;
    }
}

/// Passes the reads of these on, and the calls of their scans.
macro_rules! reads {
    ($($reader:ident),* with $scan:ident) => {
        $(impl Reader for $reader {}

        impl sealed::Read for $reader {
            type Scan = $scan;

            fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Bytes>>> + Send {
                $reader::get(self, key)
            }

            fn contains(&self, key: &[u8]) -> impl Future<Output = Result<bool>> + Send {
                $reader::contains(self, key)
            }

            fn scan(&self, range: KeyRange) -> $scan {
                $reader::scan(self, range)
            }
        })*
    };
}

reads!(Db, Snapshot, ReadOnly with Scan);
reads!(Transaction with TransactionScan);

/// Passes the calls of these scans on.
macro_rules! courses {
    ($($scan:ty),*) => {
        $(impl $crate::typed::Course for $scan {
            fn rev(self) -> Self {
                <$scan>::rev(self)
            }

            fn limit(self, count: usize) -> Self {
                <$scan>::limit(self, count)
            }

            fn keys_only(self) -> Self {
                <$scan>::keys_only(self)
            }
        })*
    };
}

pub(crate) use courses;

courses!(Scan, TransactionScan);
