//! Warming up: what reads of some keys will need is read before they come.
//!
//! Filters, fences and index blocks come into memory, as reads bring them there too. Records go where there is most room near:
//! into the pages of a file that is mapped; where the backend keeps what is read of it on a disk of this machine
//! ([`Backend::keeps`](halite_backends::Backend::keeps)), onto that disk; else into the cache in memory.
//!
//! # Concurrency
//! Some segments at a time, and of each some pieces: [`Options::limits`](crate::Options::limits) has a place for who wants to
//! go slower.

use crate::segment::{SEGMENTS_WARMED_AT_ONCE, Segment};
use crate::stores::Stores;
use crate::version::Version;
use crate::{Db, Error, ErrorKind, KeyRange, ReadOnly, Result};
use futures::{StreamExt, TryStreamExt, stream};
use halite_backends::Purpose;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What is to be warmed up.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, WarmOptions};
/// let db = Db::open("mem:").await?;
/// db.put("key", "value").await?;
/// db.compact().await?;
/// // What reads of one segment need, without its records.
/// let segment = db.tree().await?.runs[0].segments[0].file.clone();
/// let options = WarmOptions { segment: Some(segment), records: false, ..WarmOptions::default() };
/// assert_eq!(db.warm(.., options).await?.segments, 1);
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarmOptions {
    /// Only this segment, named as [`SegmentNode::file`](crate::SegmentNode::file) says. Default `None`: all that hold keys of
    /// the range.
    pub segment: Option<String>,
    /// Records too, and not just what they are found by. Default true.
    pub records: bool,
    /// Bytes that may be read, at most. Default `None`: as many as the caches hold. (Pages of mapped files are the system's to
    /// keep: of these as many as are asked for.)
    pub bytes_max: Option<u64>,
}

impl Default for WarmOptions {
    fn default() -> WarmOptions {
        WarmOptions { segment: None, records: true, bytes_max: None }
    }
}

/// What a warm-up has done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, KeyRange, WarmOptions, WarmReport};
/// let db = Db::open("mem:").await?;
/// db.put("user:7", "Ada").await?;
/// db.compact().await?;
/// let WarmReport { segments, bytes, is_whole, .. } = db.warm(KeyRange::prefix("user:"), WarmOptions::default()).await?;
/// assert!((segments, is_whole) == (1, true) && bytes > 0);
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarmReport {
    /// Segments that were looked at.
    pub segments: u64,
    /// Bytes that were read, be it from memory, a disk or a store.
    pub bytes: u64,
    /// Requests that were made to the store meanwhile to warm up, where they are counted.
    pub requests: u64,
    /// Whether all that was asked for is warm; else there was no room for more.
    pub is_whole: bool,
}

/// How much may still be read, and how much was.
#[derive(Debug)]
pub(crate) struct Room {
    /// Bytes of all.
    left: AtomicU64,
    /// Bytes that stay in the nearest cache.
    cache_left: AtomicU64,
    /// Whether that is on a disk of this machine, and not in memory.
    is_on_disk: bool,
    read: AtomicU64,
    is_short: AtomicBool,
}

/// Where what is read is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stays {
    /// In the cache in memory.
    InMemory,
    /// On a disk of this machine, where the backend puts it.
    OnDisk,
    /// In the pages of a mapped file.
    InPages,
}

impl Room {
    fn new(bytes_max: Option<u64>, memory: u64, disk: u64) -> Room {
        Room {
            left: AtomicU64::new(bytes_max.unwrap_or(u64::MAX)),
            cache_left: AtomicU64::new(if disk > 0 { disk } else { memory }),
            is_on_disk: disk > 0,
            read: AtomicU64::new(0),
            is_short: AtomicBool::new(false),
        }
    }

    /// Where what is read of a file stays.
    pub(crate) fn stays(&self, is_mapped: bool) -> Stays {
        match (is_mapped, self.is_on_disk) {
            (true, _) => Stays::InPages,
            (false, true) => Stays::OnDisk,
            (false, false) => Stays::InMemory,
        }
    }

    /// Whether there is room for `bytes` there. If so it is taken.
    pub(crate) fn take(&self, bytes: u64, stays: Stays) -> bool {
        let take = |left: &AtomicU64| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).is_ok()
        };
        let fits = take(&self.left) && (stays == Stays::InPages || take(&self.cache_left));
        if fits {
            self.read.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.is_short.store(true, Ordering::Relaxed);
        }
        fits
    }
}

/// Warms what reads of the keys in `range` need of `version`, whose segments are read through `stores`, with `memory` bytes of
/// cache.
async fn warm(
    stores: &Stores,
    version: &Version,
    memory: u64,
    range: KeyRange,
    options: WarmOptions,
) -> Result<WarmReport> {
    let WarmOptions { segment: only, records, bytes_max } = options;
    if let Some(name) = &only
        && !version.segments().any(|segment| segment.path().as_str() == name)
    {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no such segment name={name:?}")));
    }
    let backend = stores.plain();
    let requests = || backend.traffic().of(Purpose::Warm).map(|requests| requests.count).sum::<u64>();
    let before = requests();
    let room = Room::new(bytes_max, memory, backend.keeps());
    // The newest first: they are asked first.
    let is_meant = |segment: &&Arc<Segment>| {
        only.as_ref().is_none_or(|name| segment.path().as_str() == name)
            && !range.is_above(&segment.meta.min_key)
            && !range.is_below(&segment.meta.max_key)
    };
    let segments: Vec<_> = version.segments().filter(is_meant).map(|segment| segment.read_for(Purpose::Warm)).collect();
    let count = segments.len() as u64;
    let warmed = segments.into_iter().map(|segment| {
        let (range, room) = (&range, &room);
        async move { segment.warm(range, records, room).await }
    });
    stream::iter(warmed).buffer_unordered(SEGMENTS_WARMED_AT_ONCE).try_collect::<()>().await?;
    Ok(WarmReport {
        segments: count,
        bytes: room.read.into_inner(),
        requests: requests() - before,
        is_whole: !room.is_short.into_inner(),
    })
}

impl Db {
    /// Reads what reads of the keys in `range` will need, and keeps it where they find it soonest: what records are found by in
    /// memory, and the records themselves, unless `options` say otherwise, on the disk of
    /// [`Cached`](crate::backends::Cached), in the pages of mapped files, or in memory. No more than there is room for.
    ///
    /// For a store that is far away, before the first reads come; what is there already is not read again.
    ///
    /// # Errors
    /// `NotFound` where there is no such segment; `Corruption`, `Io`, `Closed`.
    ///
    /// # Cancel safety
    /// Dropped, what was read is warm.
    pub async fn warm(&self, range: impl Into<KeyRange>, options: WarmOptions) -> Result<WarmReport> {
        let core = self.core();
        core.check_open()?;
        let version = core.versions.get();
        let warm = warm(&core.stores, &version, core.files.cache.capacity(), range.into(), options);
        core.tasks.inside(warm).await
    }
}

impl ReadOnly {
    /// Reads what reads of the keys in `range` will need, as [`Db::warm`] does.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn warm(&self, range: impl Into<KeyRange>, options: WarmOptions) -> Result<WarmReport> {
        let (stores, version, files) = self.shown()?;
        self.tasks().inside(warm(&stores, &version, files.cache.capacity(), range.into(), options)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_as_long_as_there_is_some() {
        let room = Room::new(Some(100), 60, 0);
        assert_eq!((room.stays(true), room.stays(false)), (Stays::InPages, Stays::InMemory));
        assert!(room.take(50, Stays::InMemory) && room.take(20, Stays::InPages));
        assert!(!room.is_short.load(Ordering::Relaxed));
        assert!(!room.take(20, Stays::InMemory) && !room.take(40, Stays::InPages));
        assert_eq!((room.read.into_inner(), room.is_short.into_inner()), (70, true));
        let room = Room::new(None, 0, 10);
        assert_eq!(room.stays(false), Stays::OnDisk);
        assert!(room.take(10, Stays::OnDisk) && !room.take(1, Stays::OnDisk) && room.take(1, Stays::InPages));
    }
}
