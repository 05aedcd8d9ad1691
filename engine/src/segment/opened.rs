//! Opening a segment: header and footer are read and compared with the manifest, and its parts are at hand from then on.

use crate::format::fences::Fences;
use crate::format::filter::Filter;
use crate::format::footer::{FOOTER_LEN, Footer};
use crate::format::header::{HEADER_LEN, Header, Layout};
use crate::format::manifest::SegmentMeta;
use crate::format::{self, Damage};
use crate::{Error, Result};
use bytes::Bytes;
use halite_backends::{Backend, Object, Path};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// What an opened segment is read through.
#[derive(Debug)]
pub(super) struct Opened {
    // Constant after construction.
    pub(super) footer: Footer,
    pub(super) object: Arc<dyn Object>,
    pub(super) map: Option<Map>,

    // Set once, when first needed. The filter only where it is mapped: else it is in the cache.
    pub(super) fences: OnceLock<Fences>,
    pub(super) filter: OnceLock<Filter>,
}

/// The whole file in memory, as several owners: a value that is handed out counts as a user of one of them. With one
/// counter for the file, threads that read different records would fight for its cache line.
#[derive(Debug)]
pub(super) struct Map {
    pub(super) whole: Bytes,
    shares: [Bytes; SHARES],
}

/// What the end of a segment takes beside the filter and two keys, generously.
const TAIL_MORE: u64 = 512;

/// The longest end that is read in one: that of a segment of 64 MiB with small records.
const TAIL_MAX: u64 = 1 << 20;

/// Owners of a map.
const SHARES: usize = 32;
/// Records whose offsets differ in nothing above these bits have one owner.
const SHARE_BITS: u32 = 8;

impl Map {
    fn new(whole: Bytes) -> Map {
        Map { shares: std::array::from_fn(|_| Bytes::from_owner(whole.clone())), whole }
    }

    /// The whole file, for handing out what lies at `offset`.
    #[inline]
    pub(super) fn share(&self, offset: u32) -> &Bytes {
        &self.shares[(offset >> SHARE_BITS) as usize % SHARES]
    }
}

impl Opened {
    /// Opens the segment that a manifest calls `meta`, of the database and hash seed given, to be read through `backend`: what
    /// opening it takes is read through `asked`. Gives the filter's bytes, unchecked, where they came along.
    ///
    /// Where each read takes its time it is one: of the end, with the footer, and the filter if that is about as long as most
    /// are. The header is not looked at there: the footer's checksum stands in the manifest, and is no other segment's. What
    /// `fresh` gives of the file is not read at all.
    ///
    /// # Errors
    /// `NotFound`; corruption where the file is not what the manifest says; `NotAStore` where it is of a newer format.
    #[allow(clippy::too_many_arguments, reason = "whose it is, where it is, and what is known of it already")]
    pub(super) async fn open(
        backend: &dyn Backend,
        asked: &dyn Backend,
        path: &Path,
        meta: &SegmentMeta,
        database: [u8; 16],
        hash_seed: u64,
        remote: bool,
        fresh: impl Fn(Range<u64>) -> Option<Bytes>,
    ) -> Result<(Opened, Option<Bytes>)> {
        let object = backend.open_known(path, meta.len).await?;
        let mismatch = |offset, field, expected: u64, found: u64| {
            Err(Error::corruption(path, offset, format!("{field} expected={expected} found={found}")))
        };
        if object.len() != meta.len {
            return mismatch(object.len().min(meta.len), "length of the file", meta.len, object.len());
        }
        let Some(footer_at) = meta.len.checked_sub(FOOTER_LEN as u64).filter(|&at| at >= HEADER_LEN as u64) else {
            return mismatch(0, "length of the file", (HEADER_LEN + FOOTER_LEN) as u64, meta.len);
        };
        let map = object.map().filter(|map| map.len() as u64 == meta.len);
        let through = if map.is_none() && !std::ptr::addr_eq(backend, asked) {
            asked.open_known(path, meta.len).await?
        } else {
            object.clone()
        };
        let read = async |range: Range<u64>| match &map {
            Some(map) => Ok(map.slice(range.start as usize..range.end as usize)),
            None => through.read(range).await.map_err(Error::from),
        };
        let fresh = |range: Range<u64>| if map.is_none() { fresh(range) } else { None };
        let tail_at = if remote && map.is_none() { tail_at(meta, footer_at) } else { footer_at };
        let (tail_at, tail) = match fresh(footer_at..meta.len) {
            Some(footer) => (footer_at, footer),
            None if tail_at < footer_at => (tail_at, read(tail_at..meta.len).await?),
            None => {
                let (header, footer) =
                    futures::future::try_join(read(0..HEADER_LEN as u64), read(footer_at..meta.len)).await?;
                check_header(&header, meta, database, hash_seed).map_err(|fault| Error::in_file(path, fault))?;
                (footer_at, footer)
            }
        };
        if tail.len() as u64 != meta.len - tail_at {
            return mismatch(tail_at, "bytes read", meta.len - tail_at, tail.len() as u64);
        }
        let footer = tail.slice((footer_at - tail_at) as usize..);
        let footer = check_footer(&footer, footer_at, meta).map_err(|fault| Error::in_file(path, fault))?;
        let filter = &footer.filter.range;
        // A copy: what was read along with it is not kept.
        let filter = (tail_at <= filter.start && !filter.is_empty())
            .then(|| Bytes::copy_from_slice(&tail[(filter.start - tail_at) as usize..(filter.end - tail_at) as usize]))
            .or_else(|| fresh(filter.clone()));
        let map = map.map(Map::new);
        Ok((Opened { footer, object, map, fences: OnceLock::new(), filter: OnceLock::new() }, filter))
    }

    /// Memory that `fences` take, in bytes: where the file is mapped, their keys are in it.
    pub(super) fn memory_of(&self, fences: &Fences) -> u64 {
        let keys = if self.map.is_some() { 0 } else { fences.file_len() };
        (fences.memory() + keys) as u64
    }

    /// The length of the filter where it is not mapped, else 0.
    pub(super) fn unmapped_filter(&self) -> u64 {
        let Range { start, end } = self.footer.filter.range;
        if self.map.is_none() { end - start } else { 0 }
    }

    /// Memory of what is kept here, in bytes.
    pub(super) fn kept(&self) -> u64 {
        self.fences.get().map_or(0, |fences| self.memory_of(fences))
    }
}

/// Where the filter begins, about, of the segment whose footer is at `footer_at`; that place where it is too long for one read.
fn tail_at(meta: &SegmentMeta, footer_at: u64) -> u64 {
    // The statistics hold the smallest and the largest key.
    let about = filter_len(meta) + (meta.min_key.len() + meta.max_key.len()) as u64 + TAIL_MORE;
    if about + FOOTER_LEN as u64 > TAIL_MAX {
        return footer_at;
    }
    footer_at.saturating_sub(about).max(HEADER_LEN as u64)
}

/// How long the filter of a segment is, about, and seldom more: most have 17 bits for each key.
pub(super) fn filter_len(meta: &SegmentMeta) -> u64 {
    meta.entries.saturating_mul(9) / 4
}

/// Compares the header with what the manifest and the database say.
pub(super) fn check_header(
    bytes: &[u8],
    meta: &SegmentMeta,
    database: [u8; 16],
    hash_seed: u64,
) -> format::Result<Header, format::Fault> {
    let header = Header::decode(bytes)?;
    let wrong = |what: &str| Err(Damage::new(0, format!("header is that of another {what}")).into());
    if header.database != database {
        return wrong("database");
    }
    if header.id != meta.id {
        return wrong("segment");
    }
    if header.hash_seed != hash_seed {
        return wrong("hash seed");
    }
    if header.salt != meta.salt || header.base_seq != meta.base_seq {
        return wrong("salt or base seq than the manifest's");
    }
    if (header.layout == Layout::Sorted) != meta.sorted {
        return wrong("layout than the manifest's");
    }
    Ok(header)
}

/// Compares the footer with what the manifest says.
pub(super) fn check_footer(bytes: &[u8], offset: u64, meta: &SegmentMeta) -> format::Result<Footer, format::Fault> {
    let (footer, crc) = Footer::decode(meta.salt, offset, bytes)?;
    if crc != meta.footer_crc {
        let (expected, found) = (format_args!("{:#010x}", meta.footer_crc), format_args!("{crc:#010x}"));
        return Err(Damage::mismatch(offset, "checksum of the footer", expected, found).into());
    }
    if (footer.layout == Layout::Sorted) != meta.sorted || footer.hint_count != meta.entries {
        return Err(Damage::new(offset, "footer does not fit the manifest").into());
    }
    Ok(footer)
}
