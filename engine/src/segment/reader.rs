//! A sealed segment, open for reading.
//!
//! Nothing is read before it is needed. Whoever touches the file first [opens](super::opened) it; fences, once read, are
//! kept, and so is the filter where it is mapped. Where the file is not mapped, what lookups read goes through the
//! [cache](super::cache).

use super::files::Files;
use super::frames::CHECKED_AT_ONCE;
use super::index::part_crc;
use super::opened::{Opened, check_footer, check_header};
use super::tail::Tail;
use crate::format::block::Facts;
use crate::format::fences::Fences;
use crate::format::footer::{FOOTER_LEN, Footer, Part};
use crate::format::frame::{Kind, Record, Stream, Unchecked, decode_record};
use crate::format::header::HEADER_LEN;
use crate::format::hints::{Hint, Hints};
use crate::format::manifest::SegmentMeta;
use crate::format::names::Name;
use crate::format::statistics::Statistics;
use crate::format::{self, Damage};
use crate::planted::{Bug, planted};
use crate::turn::{self, Turn};
use crate::value::Value;
use crate::{Error, ErrorKind, Result, Seq};
use bytes::Bytes;
use halite_backends::{Backend, Object, Path, Purpose, Shared};
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// What is said of a segment whose file is not there.
pub(crate) const MISSING: &str = "a segment that the manifest names is missing";

/// A sealed segment. It is read without a lock, by any number of readers.
#[derive(Debug)]
pub(crate) struct Segment {
    // Constant after construction.
    /// What the manifest says of it.
    pub(crate) meta: SegmentMeta,
    pub(super) files: Arc<Files>,
    /// Its name in the cache, and among residents.
    pub(super) serial: u64,
    path: Path,
    stream: Stream,

    /// Set by whoever touches the segment first.
    pub(super) opened: OnceLock<Opened>,
    /// Its end, while whoever has written it has that in memory.
    fresh: Mutex<Option<Tail>>,

    /// An estimate that only chooses merges.
    dead_bytes: AtomicU64,
    /// What it is, if it is not the segment itself but a way to read it for another purpose.
    way: Option<Way>,
    /// Told when the last that holds the segment lets it go.
    released: OnceLock<Arc<Notify>>,
}

/// A way to read a segment whose requests count for another purpose than reading.
#[derive(Debug)]
struct Way {
    /// The segment itself, which keeps all that is known of it.
    to: Arc<Segment>,
    /// What it is read for.
    purpose: Purpose,
    backend: Arc<dyn Backend>,
    object: OnceLock<Arc<dyn Object>>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(opened) = self.opened.get() {
            let mapped_filter = opened.filter.get().map_or(0, |filter| filter.len() as u64);
            self.files.let_go(opened.kept(), mapped_filter, opened.unmapped_filter());
        }
        if let Some(released) = self.released.get() {
            released.notify_one();
        }
    }
}

impl Segment {
    /// The segment that a manifest calls `meta`. Its file is not touched yet.
    pub(crate) fn new(files: &Arc<Files>, meta: &SegmentMeta) -> Arc<Segment> {
        Arc::new(Segment {
            path: Name::Segment(meta.id).path(),
            stream: Stream { salt: meta.salt, base_seq: meta.base_seq },
            files: files.clone(),
            serial: files.serial(),
            opened: OnceLock::new(),
            fresh: Mutex::default(),
            dead_bytes: AtomicU64::new(meta.dead_bytes),
            way: None,
            released: OnceLock::new(),
            meta: meta.clone(),
        })
    }

    /// The segment that was just written, with this `tail`: what stands behind its records is not read from the storage until
    /// it is [forgotten](Segment::forget_tail).
    pub(crate) fn just_written(files: &Arc<Files>, tail: Tail) -> Arc<Segment> {
        let segment = Segment::new(files, &tail.meta);
        *segment.fresh.lock() = Some(tail);
        segment
    }

    /// Lets go of the tail that it was written with.
    pub(crate) fn forget_tail(&self) {
        self.fresh.lock().take();
    }

    /// Bytes of the tail that it was written with, if that is in memory and has them.
    fn fresh(&self, range: Range<u64>) -> Option<Bytes> {
        let written = self.way.as_ref().map_or(self, |way| &*way.to);
        written.fresh.lock().as_ref()?.bytes(range)
    }

    /// The segment, read for `purpose`: what is read of it from then on counts for that. What is found out about it, the segment
    /// itself keeps, so that it is asked for once; and it stays for as long as this does.
    pub(crate) fn read_for(self: &Arc<Segment>, purpose: Purpose) -> Arc<Segment> {
        let is_mapped = self.if_opened().is_some_and(|opened| opened.map.is_some());
        let Some(backend) = self.files.stores.told_apart(purpose).filter(|_| !is_mapped) else { return self.clone() };
        let to = self.way.as_ref().map_or(self, |way| &way.to).clone();
        Arc::new(Segment {
            path: self.path.clone(),
            stream: self.stream,
            files: self.files.clone(),
            serial: self.serial,
            opened: OnceLock::new(),
            fresh: Mutex::default(),
            dead_bytes: AtomicU64::new(0),
            way: Some(Way { to, purpose, backend: backend.clone(), object: OnceLock::new() }),
            released: OnceLock::new(),
            meta: self.meta.clone(),
        })
    }

    /// Through which it is read.
    pub(super) fn backend(&self) -> &dyn Backend {
        self.way.as_ref().map_or_else(|| self.files.stores.of(Purpose::Read), |way| &*way.backend)
    }

    /// Where what opening has brought is kept.
    #[inline]
    fn place(&self) -> &OnceLock<Opened> {
        match &self.way {
            None => &self.opened,
            Some(way) => &way.to.opened,
        }
    }

    /// The object that is read, once the segment is open.
    async fn object(&self) -> Result<&Arc<dyn Object>> {
        let opened = self.opened().await?;
        let Some(way) = &self.way else { return Ok(&opened.object) };
        if let Some(object) = way.object.get() {
            return Ok(object);
        }
        let object = way.backend.open_known(&self.path, self.meta.len).await;
        let object = object.map_err(|error| self.if_missing(error.into()))?;
        Ok(way.object.get_or_init(|| object))
    }

    /// Opens the segment's file, unless that is done: header and footer are compared with what the manifest says. After
    /// a failure the next touch tries again.
    ///
    /// # Errors
    /// Corruption where the file is missing or not what the manifest says; `NotAStore` where it is of a newer format.
    pub(crate) async fn open(&self) -> Result<()> {
        self.opened().await.map(|_| ())
    }

    /// Opens it, where nobody has. Those who come at once each open it, and one of them is believed: whoever waited for
    /// another would wait for ever if that one's future is not polled any more.
    pub(super) async fn opened(&self) -> Result<&Opened> {
        if let Some(opened) = self.if_opened() {
            return Ok(opened);
        }
        let Files { stores, database, hash_seed, remote, .. } = &*self.files;
        let (backend, asked) = (stores.of(Purpose::Read), self.backend());
        let fresh = |range| self.fresh(range);
        let opened = Opened::open(backend, asked, &self.path, &self.meta, *database, *hash_seed, *remote, fresh).await;
        let (opened, filter) = opened.map_err(|error| self.if_missing(error))?;
        let opened = self.place().get_or_init(|| {
            if opened.map.is_none() {
                self.files.note_unmapped(opened.unmapped_filter());
            }
            opened
        });
        if let Some(filter) = filter {
            self.take_filter(opened, filter).await;
        }
        Ok(opened)
    }

    /// What it means that its file is not there: damage, unless the writer may have merged it since.
    pub(super) fn if_missing(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::NotFound if !self.files.may_vanish => self.corrupt(Damage::new(0, MISSING)),
            _ => error,
        }
    }

    /// What opening has brought, if somebody has opened it.
    #[inline]
    pub(super) fn if_opened(&self) -> Option<&Opened> {
        self.place().get()
    }

    /// Whether each read takes its time, however little it asks for.
    pub(crate) fn is_remote(&self) -> bool {
        self.files.remote
    }

    /// Tells it from all other segments of this opening.
    #[inline]
    pub(crate) fn serial(&self) -> u64 {
        self.serial
    }

    /// What another store can share its bytes by.
    pub(crate) async fn shared(&self) -> Result<Option<Shared>> {
        Ok(self.opened().await?.object.shared())
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

    /// The parts behind the records, and their lengths; nothing before the segment was opened.
    pub(crate) fn parts(&self) -> Vec<(&'static str, u64)> {
        let len = |range: &Range<u64>| range.end - range.start;
        let Some(opened) = self.if_opened() else { return Vec::new() };
        let Footer { index, fences, hints, filter, statistics, .. } = &opened.footer;
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
        self.files.hash_seed
    }

    /// Whether the file has been opened: only then is there a [`footer`](Segment::footer).
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.if_opened().is_some()
    }

    /// The footer.
    ///
    /// # Panics
    /// Before the segment was opened.
    pub(super) fn footer(&self) -> &Footer {
        &self.if_opened().expect("the segment was opened before").footer
    }

    /// Where records stand in the file, once it is open.
    pub(crate) fn records(&self) -> Range<u64> {
        HEADER_LEN as u64..self.footer().records_end()
    }

    /// Where index blocks do.
    pub(crate) fn index_range(&self) -> Range<u64> {
        self.footer().index.clone()
    }

    /// Whether records stand in key order.
    pub(super) fn is_sorted(&self) -> bool {
        self.meta.sorted
    }

    /// The record of `len` bytes at `offset`; `None` where the segment is not mapped, or the record so long that checking
    /// it takes more than a moment, and [`read_record`](Segment::read_record) has to be asked. Neither awaits nor allocates.
    #[inline]
    pub(crate) fn mapped_record(&self, offset: u32, len: u32) -> Option<Result<MappedRecord<'_>>> {
        let opened = self.if_opened()?;
        let bytes = opened.map.as_ref()?.share(offset);
        let end = u64::from(offset) + u64::from(len);
        if end > opened.footer.records_end() {
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
        if end > self.opened().await?.footer.records_end() {
            return Err(self.no_record_there(offset, len));
        }
        let bytes = self.read(u64::from(offset)..end).await?;
        self.decode(offset, len, &bytes).await
    }

    /// The record at `offset` that consists of all of `bytes`, checked in turns.
    pub(super) async fn decode(&self, offset: u32, len: u32, bytes: &Bytes) -> Result<OwnedRecord> {
        let record = check_record(&self.stream, u64::from(offset), bytes, &mut Turn::default()).await;
        let record = record.map_err(|damage| self.corrupt(damage))?;
        if record.len != len as usize {
            return Err(self.wrong_len(offset, len, record.len));
        }
        Ok(MappedRecord { segment: self, offset, bytes, record }.to_owned())
    }

    /// The hints, their checksum compared.
    pub(crate) async fn hints(&self) -> Result<SegmentHints> {
        let footer = &self.opened().await?.footer;
        let part = &footer.hints;
        let bytes = self.part(part, "hints").await?;
        let hints = Hints::decode(bytes, part.range.start, footer.records_end(), footer.hint_count);
        Ok(SegmentHints { hints, path: self.path.clone() })
    }

    /// Whether the fences are kept already.
    pub(crate) fn has_fences(&self) -> bool {
        self.fences_kept().is_some()
    }

    /// The fences if they are kept already.
    #[inline]
    pub(super) fn fences_kept(&self) -> Option<&Fences> {
        self.if_opened()?.fences.get()
    }

    /// Keeps the fences, given their bytes.
    pub(super) fn take_fences(&self, bytes: Bytes) -> Result<&Fences> {
        let part = &self.footer().fences;
        let crc = crate::format::checksum::crc(self.stream.salt, part.range.start, &bytes);
        self.check_crc(part, "fences", crc)?;
        self.keep_fences(bytes)
    }

    pub(super) fn keep_fences(&self, bytes: Bytes) -> Result<&Fences> {
        let fences = self.decode_fences(bytes)?;
        let opened = self.if_opened().expect("the segment was opened before");
        Ok(opened.fences.get_or_init(|| {
            self.files.keep(opened.memory_of(&fences));
            fences
        }))
    }

    pub(super) fn decode_fences(&self, bytes: Bytes) -> Result<Fences> {
        let Footer { index, fences: part, blocks, .. } = self.footer();
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

    pub(super) fn check_crc(&self, part: &Part, name: &str, found: u32) -> Result<()> {
        if part.crc == found || planted(Bug::PartsUnverified) {
            return Ok(());
        }
        let what = format!("checksum of the {name} expected={:#010x} found={found:#010x}", part.crc);
        Err(self.corrupt(Damage::new(part.range.start, what)))
    }

    /// Bytes of the file, if they are at hand.
    #[inline]
    pub(super) fn mapped(&self, range: Range<u64>) -> Option<Bytes> {
        let map = self.if_opened()?.map.as_ref()?;
        Some(map.whole.slice(range.start as usize..range.end as usize))
    }

    /// Bytes of the file, which is opened first where it must be.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.opened().await?;
        if let Some(bytes) = self.mapped(range.clone()) {
            return Ok(bytes);
        }
        let len = range.end - range.start;
        if len == 0 {
            return Ok(Bytes::new());
        }
        if let Some(bytes) = self.fresh(range.clone()) {
            return Ok(bytes);
        }
        let bytes = self.object().await?.read(range.clone()).await?;
        if bytes.len() as u64 != len {
            return Err(self.corrupt(Damage::mismatch(range.start, "bytes read", len, bytes.len())));
        }
        Ok(bytes)
    }

    /// What reads of it are for.
    pub(super) fn purpose(&self) -> Purpose {
        self.way.as_ref().map_or(Purpose::Read, |way| way.purpose)
    }

    /// Damage in this segment's file.
    #[cold]
    pub(crate) fn corrupt(&self, damage: Damage) -> Error {
        Error::in_file(&self.path, damage)
    }

    #[cold]
    pub(super) fn no_record_there(&self, offset: u32, len: u32) -> Error {
        self.corrupt(Damage::new(u64::from(offset), format!("no record can be there len={len}")))
    }

    #[cold]
    fn wrong_len(&self, offset: u32, expected: u32, found: usize) -> Error {
        self.corrupt(Damage::mismatch(u64::from(offset), "length of the record", expected, found))
    }

    /// Header and footer once more: for verification.
    pub(super) async fn recheck(&self) -> Result<()> {
        let header = self.read(0..HEADER_LEN as u64).await?;
        let Files { database, hash_seed, .. } = *self.files;
        check_header(&header, &self.meta, database, hash_seed).map_err(|fault| Error::in_file(&self.path, fault))?;
        let footer_at = self.opened().await?.footer.offset();
        let footer = self.read(footer_at..self.meta.len).await?;
        check_footer(&footer, footer_at, &self.meta).map_err(|fault| Error::in_file(&self.path, fault))?;
        Ok(())
    }

    /// The statistics in the file.
    pub(super) async fn statistics(&self) -> Result<Statistics> {
        let part = &self.opened().await?.footer.statistics;
        let bytes = self.part(part, "statistics").await?;
        Statistics::decode(&bytes, part.range.start).map_err(|damage| self.corrupt(damage))
    }
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

    pub(super) fn to_owned(self) -> OwnedRecord {
        let Record { seq, kind, expires_at, .. } = self.record;
        OwnedRecord { key: self.key_bytes(), value: self.value(), facts: Facts { seq, kind, expires_at } }
    }
}

/// A record that was read, its checksum compared.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRecord {
    pub(super) key: Bytes,
    pub(super) value: Value,
    pub(super) facts: Facts,
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

    /// Bytes of key and value, as they are stored.
    pub(crate) fn len(&self) -> u64 {
        (self.key.len() + self.value.stored().0.len()) as u64
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
