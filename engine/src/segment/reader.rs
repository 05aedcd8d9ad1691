//! A sealed segment, open for reading.
//!
//! Opening reads header and footer and compares them with the manifest; everything else is read when it is needed.
//! Fences and filter are kept once they are.

use super::frames::CHECKED_AT_ONCE;
use super::index::part_crc;
use crate::format::block::Facts;
use crate::format::fences::Fences;
use crate::format::filter::Filter;
use crate::format::footer::{FOOTER_LEN, Footer, Part};
use crate::format::frame::{Kind, Record, Stream, Unchecked, decode_record};
use crate::format::header::{HEADER_LEN, Header, Layout};
use crate::format::hints::{Hint, Hints};
use crate::format::manifest::SegmentMeta;
use crate::format::names::Name;
use crate::format::statistics::Statistics;
use crate::format::{self, Damage};
use crate::turn::{self, Turn};
use crate::value::Value;
use crate::{Error, Result, Seq};
use bytes::Bytes;
use halite_backends::{self as backends, Backend, Object, Path};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// A sealed segment. It is read without a lock, by any number of readers.
#[derive(Debug)]
pub(crate) struct Segment {
    // Constant after opening.
    /// What the manifest says of it.
    pub(crate) meta: SegmentMeta,
    /// Its name in the keydir.
    pub(crate) kid: u32,
    database: [u8; 16],
    hash_seed: u64,
    path: Path,
    stream: Stream,
    footer: Footer,
    object: Arc<dyn Object>,
    map: Option<Map>,

    // Set once, when first needed.
    fences: OnceLock<Fences>,
    pub(super) filter: OnceLock<Filter>,

    /// An estimate that only chooses merges.
    dead_bytes: AtomicU64,
    /// Told when the last that holds the segment lets it go.
    released: OnceLock<Arc<Notify>>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(released) = self.released.get() {
            released.notify_one();
        }
    }
}

/// The whole file in memory, as several owners: a value that is handed out counts as a user of one of them. With one
/// counter for the file, threads that read different records would fight for its cache line.
#[derive(Debug)]
struct Map {
    whole: Bytes,
    shares: [Bytes; SHARES],
}

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
    fn share(&self, offset: u32) -> &Bytes {
        &self.shares[(offset >> SHARE_BITS) as usize % SHARES]
    }
}

impl Segment {
    /// Opens the segment that a manifest calls `meta`, of the database and hash seed given.
    ///
    /// # Errors
    /// Corruption where the file is missing or not what the manifest says; `NotAStore` where it is of a newer format.
    pub(crate) async fn open(
        backend: &dyn Backend,
        meta: &SegmentMeta,
        kid: u32,
        database: [u8; 16],
        hash_seed: u64,
    ) -> Result<Arc<Segment>> {
        let path = Name::Segment(meta.id).path();
        let object = match backend.open(&path).await {
            Err(error) if error.kind() == backends::ErrorKind::NotFound => {
                return Err(Error::corruption(&path, 0, "a segment that the manifest names is missing"));
            }
            opened => opened?,
        };
        let mismatch = |offset, field, expected: u64, found: u64| {
            Err(Error::corruption(&path, offset, format!("{field} expected={expected} found={found}")))
        };
        if object.len() != meta.len {
            return mismatch(object.len().min(meta.len), "length of the file", meta.len, object.len());
        }
        let Some(footer_at) = meta.len.checked_sub(FOOTER_LEN as u64).filter(|&at| at >= HEADER_LEN as u64) else {
            return mismatch(0, "length of the file", (HEADER_LEN + FOOTER_LEN) as u64, meta.len);
        };
        let map = object.map().filter(|map| map.len() as u64 == meta.len);
        let read = async |range: Range<u64>| match &map {
            Some(map) => Ok(map.slice(range.start as usize..range.end as usize)),
            None => object.read(range).await.map_err(Error::from),
        };
        check_header(&read(0..HEADER_LEN as u64).await?, meta, database, hash_seed)
            .map_err(|fault| Error::in_file(&path, fault))?;
        let footer = check_footer(&read(footer_at..meta.len).await?, footer_at, meta)
            .map_err(|fault| Error::in_file(&path, fault))?;
        Ok(Arc::new(Segment {
            kid,
            database,
            hash_seed,
            path,
            stream: Stream { salt: meta.salt, base_seq: meta.base_seq },
            footer,
            object,
            map: map.map(Map::new),
            fences: OnceLock::new(),
            filter: OnceLock::new(),
            dead_bytes: AtomicU64::new(meta.dead_bytes),
            released: OnceLock::new(),
            meta: meta.clone(),
        }))
    }

    /// Its name in the backend.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Has `released` told when the last that holds the segment lets it go.
    pub(crate) fn notify_when_dropped(&self, released: Arc<Notify>) {
        // Retired twice, it is told all the same.
        let _ = self.released.set(released);
    }

    /// The parts behind the records, and their lengths.
    pub(crate) fn parts(&self) -> Vec<(&'static str, u64)> {
        let len = |range: &Range<u64>| range.end - range.start;
        let Footer { index, fences, hints, filter, statistics, .. } = &self.footer;
        vec![
            ("index", len(index)),
            ("fences", len(&fences.range)),
            ("hints", len(&hints.range)),
            ("filter", len(&filter.range)),
            ("statistics", len(&statistics.range)),
            ("footer", FOOTER_LEN as u64),
        ]
    }

    /// An estimate of the bytes that newer segments have made useless.
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.dead_bytes.load(Ordering::Relaxed)
    }

    /// Adds to that estimate.
    pub(crate) fn add_dead(&self, bytes: u64) {
        self.dead_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    /// The seed of the hash of keys.
    pub(crate) fn hash_seed(&self) -> u64 {
        self.hash_seed
    }

    pub(super) fn footer(&self) -> &Footer {
        &self.footer
    }

    /// Where records stand in the file.
    pub(super) fn records(&self) -> Range<u64> {
        HEADER_LEN as u64..self.footer.records_end()
    }

    /// Whether records stand in key order.
    pub(super) fn is_sorted(&self) -> bool {
        self.footer.layout == Layout::Sorted
    }

    /// The record of `len` bytes at `offset`; `None` where the segment is not mapped, or the record so long that checking
    /// it takes more than a moment, and [`read_record`](Segment::read_record) has to be asked. Neither awaits nor allocates.
    #[inline]
    pub(crate) fn mapped_record(&self, offset: u32, len: u32) -> Option<Result<MappedRecord<'_>>> {
        let bytes = self.map.as_ref()?.share(offset);
        let end = u64::from(offset) + u64::from(len);
        if end > self.footer.records_end() {
            return Some(Err(self.no_record_there(offset, len)));
        }
        if len as usize > CHECKED_AT_ONCE {
            return None;
        }
        let record = decode_record(&self.stream, u64::from(offset), &bytes[offset as usize..end as usize]);
        Some(match record {
            Ok(record) if record.len == len as usize => Ok(MappedRecord { segment: self, offset, bytes, record }),
            Ok(record) => Err(self.wrong_len(offset, len, record.len)),
            Err(damage) => Err(self.corrupt(damage)),
        })
    }

    /// The record of `len` bytes at `offset`, read from the backend where it is not mapped, and checked in turns.
    pub(crate) async fn read_record(&self, offset: u32, len: u32) -> Result<OwnedRecord> {
        let end = u64::from(offset) + u64::from(len);
        if end > self.footer.records_end() {
            return Err(self.no_record_there(offset, len));
        }
        let bytes = self.read(u64::from(offset)..end).await?;
        let record = check_record(&self.stream, u64::from(offset), &bytes, &mut Turn::default()).await;
        let record = record.map_err(|damage| self.corrupt(damage))?;
        if record.len != len as usize {
            return Err(self.wrong_len(offset, len, record.len));
        }
        Ok(MappedRecord { segment: self, offset, bytes: &bytes, record }.to_owned())
    }

    /// The hints, their checksum compared.
    pub(crate) async fn hints(&self) -> Result<SegmentHints> {
        let part = &self.footer.hints;
        let bytes = self.part(part, "hints").await?;
        let hints = Hints::decode(bytes, part.range.start, self.footer.records_end(), self.footer.hint_count);
        Ok(SegmentHints { hints, path: self.path.clone() })
    }

    /// The fences if they are kept already.
    #[inline]
    pub(super) fn fences_kept(&self) -> Option<&Fences> {
        self.fences.get()
    }

    /// Keeps the fences, given their bytes.
    pub(super) fn take_fences(&self, bytes: Bytes) -> Result<&Fences> {
        let part = &self.footer.fences;
        let crc = crate::format::checksum::crc(self.stream.salt, part.range.start, &bytes);
        self.check_crc(part, "fences", crc)?;
        self.keep_fences(bytes)
    }

    pub(super) fn keep_fences(&self, bytes: Bytes) -> Result<&Fences> {
        let fences = self.decode_fences(bytes)?;
        Ok(self.fences.get_or_init(|| fences))
    }

    pub(super) fn decode_fences(&self, bytes: Bytes) -> Result<Fences> {
        let Footer { index, fences: part, blocks, .. } = &self.footer;
        let fences = Fences::decode(bytes, part.range.start, index.clone(), *blocks);
        fences.map_err(|damage| self.corrupt(damage))
    }

    /// The bytes of a part, their checksum compared.
    pub(super) async fn part(&self, part: &Part, name: &str) -> Result<Bytes> {
        let bytes = self.read(part.range.clone()).await?;
        let crc = part_crc(&self.stream, part.range.start, &bytes).await;
        self.check_crc(part, name, crc)?;
        Ok(bytes)
    }

    fn check_crc(&self, part: &Part, name: &str, found: u32) -> Result<()> {
        if part.crc == found {
            return Ok(());
        }
        let what = format!("checksum of the {name} expected={:#010x} found={found:#010x}", part.crc);
        Err(self.corrupt(Damage::new(part.range.start, what)))
    }

    /// Bytes of the file, if they are at hand.
    #[inline]
    pub(super) fn mapped(&self, range: Range<u64>) -> Option<Bytes> {
        self.map.as_ref().map(|map| map.whole.slice(range.start as usize..range.end as usize))
    }

    /// Bytes of the file.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if let Some(bytes) = self.mapped(range.clone()) {
            return Ok(bytes);
        }
        let len = range.end - range.start;
        let bytes = self.object.read(range.clone()).await?;
        if bytes.len() as u64 != len {
            return Err(self.corrupt(Damage::mismatch(range.start, "bytes read", len, bytes.len())));
        }
        Ok(bytes)
    }

    /// Damage in this segment's file.
    #[cold]
    pub(crate) fn corrupt(&self, damage: Damage) -> Error {
        Error::in_file(&self.path, damage)
    }

    #[cold]
    fn no_record_there(&self, offset: u32, len: u32) -> Error {
        self.corrupt(Damage::new(u64::from(offset), format!("no record can be there len={len}")))
    }

    #[cold]
    fn wrong_len(&self, offset: u32, expected: u32, found: usize) -> Error {
        self.corrupt(Damage::mismatch(u64::from(offset), "length of the record", expected, found))
    }

    /// Header and footer once more: for verification.
    pub(super) async fn recheck(&self) -> Result<()> {
        let header = self.read(0..HEADER_LEN as u64).await?;
        check_header(&header, &self.meta, self.database, self.hash_seed)
            .map_err(|fault| Error::in_file(&self.path, fault))?;
        let footer_at = self.footer.offset();
        let footer = self.read(footer_at..self.meta.len).await?;
        check_footer(&footer, footer_at, &self.meta).map_err(|fault| Error::in_file(&self.path, fault))?;
        Ok(())
    }

    /// The statistics in the file.
    pub(super) async fn statistics(&self) -> Result<Statistics> {
        let part = &self.footer.statistics;
        let bytes = self.part(part, "statistics").await?;
        Statistics::decode(&bytes, part.range.start).map_err(|damage| self.corrupt(damage))
    }
}

/// Compares the header with what the manifest and the database say.
fn check_header(
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
fn check_footer(bytes: &[u8], offset: u64, meta: &SegmentMeta) -> format::Result<Footer, format::Fault> {
    let (footer, digest) = Footer::decode(meta.salt, offset, bytes)?;
    if digest != meta.digest {
        let (expected, found) = (format_args!("{:#010x}", meta.digest), format_args!("{digest:#010x}"));
        return Err(Damage::mismatch(offset, "digest", expected, found).into());
    }
    if (footer.layout == Layout::Sorted) != meta.sorted || footer.hint_count != meta.entries {
        return Err(Damage::new(offset, "footer does not fit the manifest").into());
    }
    Ok(footer)
}

/// Decodes the record with which `bytes` begins, at `offset` of its segment, however long it is.
pub(super) async fn check_record<'a>(
    stream: &Stream,
    offset: u64,
    bytes: &'a [u8],
    turn: &mut Turn,
) -> format::Result<Record<'a>> {
    let record = Unchecked::new(stream, offset, bytes)?;
    let (seed, covered) = record.covered();
    let crc = turn::checksum(seed, covered, turn).await;
    record.check(crc)
}

/// A record in mapped memory, its checksum compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MappedRecord<'a> {
    segment: &'a Segment,
    offset: u32,
    bytes: &'a Bytes,
    record: Record<'a>,
}

impl<'a> MappedRecord<'a> {
    /// The key.
    #[inline]
    pub(crate) fn key(&self) -> &'a [u8] {
        self.record.key
    }

    /// The key, sharing the map's memory.
    #[inline]
    pub(crate) fn key_bytes(&self) -> Bytes {
        self.bytes.slice_ref(self.record.key)
    }

    /// The value, sharing the map's memory.
    #[inline]
    pub(crate) fn value(&self) -> Value {
        let place = || Some((self.segment.path.clone(), u64::from(self.offset)));
        Value::new(self.bytes.slice_ref(self.record.value), self.record.compressed, place)
    }

    /// Its place in the commit order.
    #[inline]
    pub(crate) fn seq(&self) -> Seq {
        self.record.seq
    }

    /// Put or tombstone.
    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        self.record.kind
    }

    /// The engine time in milliseconds from which a put counts as deleted.
    #[inline]
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.record.expires_at
    }

    fn to_owned(self) -> OwnedRecord {
        let Record { seq, kind, expires_at, .. } = self.record;
        OwnedRecord { key: self.key_bytes(), value: self.value(), facts: Facts { seq, kind, expires_at } }
    }
}

/// A record that was read, its checksum compared.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRecord {
    key: Bytes,
    value: Value,
    facts: Facts,
}

impl OwnedRecord {
    /// The key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The key, shared.
    pub(crate) fn key_bytes(&self) -> Bytes {
        self.key.clone()
    }

    /// The value, shared.
    pub(crate) fn value(&self) -> Value {
        self.value.clone()
    }

    /// Its place in the commit order.
    pub(crate) fn seq(&self) -> Seq {
        self.facts.seq
    }

    /// Put or tombstone.
    pub(crate) fn kind(&self) -> Kind {
        self.facts.kind
    }

    /// The engine time in milliseconds from which a put counts as deleted.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.facts.expires_at
    }
}

/// A segment's hints, one after the other.
#[derive(Debug)]
pub(crate) struct SegmentHints {
    hints: Hints,
    path: Path,
}

impl SegmentHints {
    /// The next hint; `None` behind the last.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Hint>> {
        self.hints.next().map_err(|damage| Error::in_file(&self.path, damage))
    }
}
