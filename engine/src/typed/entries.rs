//! Typed scans.

use super::{Course, Key, Place};
use crate::{Entry, Result, Scan};
use futures::Stream;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The entries of a range of a [`Collection`](crate::Collection), in the order of their keys: a [`Stream`] of
/// `Result<(K, V)>`. Otherwise as [`Scan`], or as [`TransactionScan`](crate::TransactionScan) in a transaction.
///
/// An entry that cannot be decoded is an error in its place, and those behind it still come.
#[must_use = "a scan does nothing unless it is polled"]
pub struct Entries<K, V, S = Scan> {
    scan: S,
    place: Arc<Place>,
    types: PhantomData<fn() -> (K, V)>,
}

impl<K, V, S: Course> Entries<K, V, S> {
    pub(super) fn new(scan: S, place: Arc<Place>) -> Entries<K, V, S> {
        Entries { scan, place, types: PhantomData }
    }

    /// Goes from the largest key of the range down to the smallest: see [`Scan::rev`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use futures::TryStreamExt;
    /// let db = halite::Db::open("mem:").await?;
    /// let readings = db.collection::<(String, u64), f64>("readings");
    /// for (time, degrees) in [(1, 19.5), (2, 20.0), (3, 20.5)] {
    ///     readings.put(("kitchen".to_owned(), time), &degrees).await?;
    /// }
    /// let latest: Vec<f64> = readings.prefix(("kitchen",)).rev().limit(2).map_ok(|(_, degrees)| degrees).try_collect().await?;
    /// assert_eq!(latest, [20.5, 20.0]);
    /// # db.close().await
    /// # }
    /// ```
    pub fn rev(self) -> Entries<K, V, S> {
        Entries { scan: self.scan.rev(), ..self }
    }

    /// Ends after `count` entries.
    pub fn limit(self, count: usize) -> Entries<K, V, S> {
        Entries { scan: self.scan.limit(count), ..self }
    }

    /// Gives keys only; values are not even read where that can be avoided.
    pub fn keys(self) -> Keys<K, S> {
        Keys { scan: self.scan.keys_only(), place: self.place, types: PhantomData }
    }

    pub(crate) fn into_parts(self) -> (S, Arc<Place>) {
        (self.scan, self.place)
    }
}

impl<K: Key, V: DeserializeOwned, S: Stream<Item = Result<Entry>> + Unpin> Stream for Entries<K, V, S> {
    type Item = Result<(K, V)>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<(K, V)>>> {
        let entries = self.get_mut();
        let Some(entry) = ready!(Pin::new(&mut entries.scan).poll_next(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(entry.and_then(|entry| {
            let key = entries.place.decode_key(&entry.key)?;
            Ok((key, entries.place.decode_value(&entry.key, &entry.value)?))
        })))
    }
}

impl<K, V, S: fmt::Debug> fmt::Debug for Entries<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entries").field("collection", &self.place.name()).field("scan", &self.scan).finish()
    }
}

/// The keys of a range of a [`Collection`](crate::Collection), in order: a [`Stream`] of `Result<K>`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use futures::TryStreamExt;
/// let db = halite::Db::open("mem:").await?;
/// let ages = db.collection::<String, u8>("ages");
/// ages.put("Ada", &36).await?;
/// let mut names = ages.scan(..).keys();
/// assert_eq!(names.try_next().await?.as_deref(), Some("Ada"));
/// # drop(names);
/// # db.close().await
/// # }
/// ```
#[must_use = "a scan does nothing unless it is polled"]
pub struct Keys<K, S = Scan> {
    scan: S,
    place: Arc<Place>,
    types: PhantomData<fn() -> K>,
}

impl<K: Key, S: Stream<Item = Result<Entry>> + Unpin> Stream for Keys<K, S> {
    type Item = Result<K>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<K>>> {
        let keys = self.get_mut();
        let Some(entry) = ready!(Pin::new(&mut keys.scan).poll_next(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(entry.and_then(|entry| keys.place.decode_key(&entry.key))))
    }
}

impl<K, S: fmt::Debug> fmt::Debug for Keys<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("collection", &self.place.name()).field("scan", &self.scan).finish()
    }
}
