//! The memtable: the in-memory image of one unsealed segment, and its exact index.
//!
//! The image is the log's own bytes, kept in the pieces in which commits encoded them, so that nothing is copied; a large
//! value is a piece of its own, which its writer may have brought along. Every record of the segment stays: a read takes
//! the newest at or below its sequence number. Keys are hashed; order is made only when a scan or a seal
//! [asks for it](order). Range tombstones are kept apart: whoever reads a record asks whether one covers it.
//!
//! # Concurrency
//! One inserter at a time (whoever holds the log's lock); any number of readers. Pieces and entries are append-only and
//! read without a lock; the index has many small locks, held for one probe. An entry is found only after it is whole.

mod cursor;
mod order;
mod since;

pub(crate) use cursor::MemtableCursor;
pub(crate) use order::{Ordered, Progress};
pub(crate) use since::Change;

use crate::Seq;
use crate::cover::{Cover, CoverList, Stretch};
use crate::format::frame::{Kind, Record, Stream, decode_record_apart, decode_record_unverified, is_range_tombstone};
use crate::planted::{Bug, planted};
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, RwLock};
use crate::touch;
use crate::value::Value;
use bytes::Bytes;
use hashbrown::HashTable;
use order::Order;
use std::sync::Arc;

const SHARDS: usize = 64;
/// No older record of the key.
const NONE: u32 = u32::MAX;
/// What an entry takes: itself, and in a hash table at its mean load a place and a tag.
const ENTRY_LEN: usize = size_of::<Entry>() + size_of::<u64>() + 8;
/// The record is a range tombstone: of no key, and so neither in the index nor in key order.
const RANGE: u32 = u32::MAX - 1;

/// Where a record lies in the piece that is inserted with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    /// Its place in the piece.
    pub(crate) start: u32,
    /// Its length.
    pub(crate) len: u32,
    /// The hash of its key.
    pub(crate) hash: u64,
    pub(crate) seq: Seq,
}

/// The newest record of a key at or below a sequence number.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) seq: Seq,
    pub(crate) expires_at: Option<u64>,
    /// A slice of the image.
    pub(crate) value: Value,
}

/// A record with its place in the segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) hash: u64,
    pub(crate) offset: u32,
}

#[derive(Debug)]
pub(crate) struct Memtable {
    stream: Stream,
    pieces: boxcar::Vec<Piece>,
    entries: boxcar::Vec<Entry>,
    shards: Box<[Shard]>,
    order: Mutex<Order>,
    ranges: RwLock<CoverList>,
    /// How many these are: mostly none.
    ranges_len: AtomicUsize,
    record_bytes: AtomicU64,
    max_seq: AtomicU64,
}

/// Frames of one commit.
#[derive(Debug)]
struct Piece {
    /// Offset of its first byte in the segment.
    base: u32,
    bytes: Bytes,
    /// Where the piece is all of a record but its value: the value, where its writer had it.
    value: Option<Box<Bytes>>,
}

impl Piece {
    /// The record that begins at `start`.
    #[inline]
    fn decode(&self, stream: &Stream, start: u32) -> Record<'_> {
        let offset = u64::from(self.base) + u64::from(start);
        let bytes = &self.bytes[start as usize..];
        // The image was encoded, or checked, by this process.
        match &self.value {
            None => decode_record_unverified(stream, offset, bytes),
            Some(value) => decode_record_apart(stream, offset, bytes, value),
        }
        .expect("the image holds whole records")
    }

    /// A key or value of the piece, shared.
    #[inline]
    fn share(&self, part: &[u8]) -> Bytes {
        match &self.value {
            Some(value) if value.as_ptr() == part.as_ptr() && !part.is_empty() => Bytes::clone(value),
            _ => self.bytes.slice_ref(part),
        }
    }
}

#[derive(Debug)]
struct Entry {
    seq: Seq,
    hash: u64,
    piece: u32,
    start: u32,
    /// The entry of the next older record of the key, or [`NONE`], or [`RANGE`].
    older: u32,
}

/// The newest entry of each key whose hash falls here.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<HashTable<u32>>);

impl Memtable {
    /// The empty memtable of a segment whose frames are encoded against `stream`.
    pub(crate) fn new(stream: Stream) -> Memtable {
        Memtable {
            stream,
            pieces: boxcar::Vec::new(),
            entries: boxcar::Vec::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            order: Mutex::default(),
            ranges: RwLock::default(),
            ranges_len: AtomicUsize::new(0),
            record_bytes: AtomicU64::new(0),
            max_seq: AtomicU64::new(0),
        }
    }

    /// Adds the records of `piece`, which lies at offset `base` of the segment, in the order of their sequence numbers.
    pub(crate) fn insert(&self, piece: Bytes, base: u32, records: &[Placed]) {
        let number = self.add_image(piece, base);
        self.insert_in(number, records);
    }

    /// Adds a record whose value stays where it is: `head` is all before that, at offset `base` of the segment.
    pub(crate) fn insert_large(&self, head: Bytes, value: Bytes, base: u32, placed: Placed) {
        let number = self.pieces.push(Piece { base, bytes: head, value: Some(Box::new(value)) }) as u32;
        self.insert_in(number, &[placed]);
    }

    /// Takes `bytes`, which lie at offset `base` of the segment, into the image, for
    /// [`insert_in`](Memtable::insert_in), and gives their number.
    pub(crate) fn add_image(&self, bytes: Bytes, base: u32) -> u32 {
        self.pieces.push(Piece { base, bytes, value: None }) as u32
    }

    /// Adds records that lie in image `number`, in the order of their sequence numbers.
    pub(crate) fn insert_in(&self, number: u32, records: &[Placed]) {
        let piece = &self.pieces[number as usize];
        let mut bytes = 0;
        for placed in records {
            let entry = Entry { seq: placed.seq, hash: placed.hash, piece: number, start: placed.start, older: NONE };
            if is_range_tombstone(&piece.bytes[placed.start as usize..]) {
                self.insert_range(entry, piece);
            } else {
                self.insert_entry(entry, piece);
            }
            bytes += u64::from(placed.len);
        }
        self.record_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(last) = records.last() {
            self.max_seq.fetch_max(last.seq, Ordering::Release);
        }
    }

    fn insert_entry(&self, mut entry: Entry, piece: &Piece) {
        let hash = entry.hash;
        let key = piece.decode(&self.stream, entry.start).key;
        let mut index = self.shard(hash).write();
        let same = |&other: &u32| {
            let older = &self.entries[other as usize];
            older.hash == hash && self.record(older).key == key
        };
        match index.find_mut(hash, same) {
            Some(newest) => {
                entry.older = *newest;
                *newest = self.entries.push(entry) as u32;
            }
            None => {
                let newest = self.entries.push(entry) as u32;
                index.insert_unique(hash, newest, |&other| self.entries[other as usize].hash);
            }
        }
    }

    fn insert_range(&self, entry: Entry, piece: &Piece) {
        let record = piece.decode(&self.stream, entry.start);
        let end = (!record.value.is_empty()).then(|| piece.share(record.value));
        let stretch = Stretch { start: piece.share(record.key), end, seq: entry.seq };
        let mut ranges = self.ranges.write();
        ranges.push(stretch);
        self.entries.push(Entry { older: RANGE, ..entry });
        self.ranges_len.store(ranges.len(), Ordering::Release);
    }

    /// The bits that choose a shard are others than those by which a shard's table places and tags its entries.
    #[inline]
    fn shard(&self, hash: u64) -> &RwLock<HashTable<u32>> {
        &self.shards[(hash >> 40) as usize % SHARDS].0
    }

    /// The newest range tombstone over `key` whose sequence number is `at` or lower; 0 where there is none.
    #[inline]
    pub(crate) fn covered(&self, key: &[u8], at: Seq) -> Seq {
        if self.ranges_len() == 0 { 0 } else { self.ranges.read().over(key, at) }
    }

    /// What its range tombstones at or below `at` cover, as some covers, newest first.
    pub(crate) fn covers(&self, at: Seq, out: &mut Vec<Arc<Cover>>) {
        if self.ranges_len() > 0 {
            self.ranges.read().covers(at, out);
        }
    }

    /// What all of its range tombstones cover, in memory of its own.
    pub(crate) fn cover(&self) -> Cover {
        self.ranges.read().whole_cover()
    }

    /// Number of range tombstones among its records.
    #[inline]
    pub(crate) fn ranges_len(&self) -> usize {
        self.ranges_len.load(Ordering::Acquire)
    }

    /// The newest record of `key` whose sequence number is `at` or lower, whether a range tombstone covers it or not.
    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8], at: Seq) -> Option<Found> {
        let newest = {
            let index = self.shard(hash).read();
            *index.find(hash, |&other| {
                let entry = &self.entries[other as usize];
                entry.hash == hash && self.record(entry).key == key
            })?
        };
        let mut entry = &self.entries[newest as usize];
        while entry.seq > at {
            if entry.older == NONE || planted(Bug::SnapshotMissesOlder) {
                return None;
            }
            entry = &self.entries[entry.older as usize];
        }
        let piece = &self.pieces[entry.piece as usize];
        let record = piece.decode(&self.stream, entry.start);
        let value = Value::new(piece.share(record.value), record.compressed, || None);
        Some(Found { kind: record.kind, seq: record.seq, expires_at: record.expires_at, value })
    }

    #[inline]
    fn record(&self, entry: &Entry) -> Record<'_> {
        self.pieces[entry.piece as usize].decode(&self.stream, entry.start)
    }

    #[inline]
    fn item(&self, entry: u32) -> Item<'_> {
        let entry = &self.entries[entry as usize];
        let piece = &self.pieces[entry.piece as usize];
        Item { record: piece.decode(&self.stream, entry.start), hash: entry.hash, offset: piece.base + entry.start }
    }

    /// The image from the record of entry `entry` on, as far as that needs to be [touched](crate::touch).
    #[inline]
    fn bytes_of(&self, entry: u32) -> &[u8] {
        let entry = &self.entries[entry as usize];
        &self.pieces[entry.piece as usize].bytes[entry.start as usize..]
    }

    /// Of that only what mostly holds the head of the record and its key.
    #[inline]
    fn start_of(&self, entry: u32) -> &[u8] {
        let bytes = self.bytes_of(entry);
        &bytes[..bytes.len().min(touch::LINE_LEN)]
    }

    /// Key and value of an entry's record, sharing the image's memory.
    fn shared(&self, entry: u32) -> (Bytes, Value) {
        let entry = &self.entries[entry as usize];
        let piece = &self.pieces[entry.piece as usize];
        let record = piece.decode(&self.stream, entry.start);
        (piece.share(record.key), Value::new(piece.share(record.value), record.compressed, || None))
    }

    /// The key of entry `entry`.
    #[inline]
    fn key(&self, entry: u32) -> &[u8] {
        self.record(&self.entries[entry as usize]).key
    }

    /// Whether the record with number `entry` is a range tombstone.
    #[inline]
    pub(crate) fn is_range(&self, entry: u32) -> bool {
        self.entries[entry as usize].older == RANGE
    }

    #[inline]
    fn seq(&self, entry: u32) -> Seq {
        self.entries[entry as usize].seq
    }

    /// The key or value of an entry's record, sharing the image's memory.
    #[inline]
    pub(crate) fn share(&self, entry: u32, part: &[u8]) -> Bytes {
        self.pieces[self.entries[entry as usize].piece as usize].share(part)
    }

    /// The sequence number that no record is below.
    pub(crate) fn base_seq(&self) -> Seq {
        self.stream.base_seq
    }

    /// Number of records.
    pub(crate) fn len(&self) -> usize {
        self.entries.count()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the records in the log.
    pub(crate) fn record_bytes(&self) -> u64 {
        self.record_bytes.load(Ordering::Relaxed)
    }

    /// The largest sequence number; 0 while empty.
    pub(crate) fn max_seq(&self) -> Seq {
        self.max_seq.load(Ordering::Acquire)
    }

    /// Memory it takes by the time it is sealed, in bytes: the image, and about what index and order need. Quickly told.
    #[inline]
    pub(crate) fn memory(&self) -> u64 {
        let entries = self.len() * (ENTRY_LEN + order::ENTRY_LEN) + self.ranges_len() * CoverList::LEN_EACH_MAX;
        self.record_bytes() + entries as u64
    }

    /// Memory it takes, in bytes: the image, and about what the index needs.
    pub(crate) fn bytes(&self) -> usize {
        let pieces = self.pieces.count() * (size_of::<Piece>() + size_of::<u64>());
        let order = self.order.lock().bytes();
        let ranges = if self.ranges_len() == 0 { 0 } else { self.ranges.read().bytes() };
        self.record_bytes() as usize + self.len() * ENTRY_LEN + pieces + order + ranges
    }

    /// Brings the records into key order, for a moment (about a millisecond at most). `fully`: into a single chunk, as
    /// a seal needs it.
    pub(crate) fn order(&self, fully: bool) -> Progress {
        self.order.lock().step(self, fully)
    }

    /// All records in key order.
    pub(crate) async fn ordered(&self, fully: bool) -> Ordered {
        loop {
            match self.order(fully) {
                Progress::Ready(ordered) => return ordered,
                Progress::Again => tokio::task::yield_now().await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
