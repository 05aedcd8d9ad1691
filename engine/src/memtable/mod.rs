//! The memtable: the in-memory image of one unsealed segment, and its exact index.
//!
//! The image is the log's own bytes, kept in the pieces in which commits encoded them, so that nothing is copied. Every
//! record of the segment stays: a read takes the newest at or below its sequence number. Keys are hashed; order is made
//! only when a scan or a seal [asks for it](order).
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
use crate::format::frame::{Kind, Record, Stream, decode_record_unverified};
use crate::value::Value;
use bytes::Bytes;
use hashbrown::HashTable;
use order::Order;
use parking_lot::{Mutex, RwLock};
use std::sync::atomic::{AtomicU64, Ordering};

const SHARDS: usize = 64;
/// No older record of the key.
const NONE: u32 = u32::MAX;

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
    record_bytes: AtomicU64,
    max_seq: AtomicU64,
}

/// Frames of one commit.
#[derive(Debug)]
struct Piece {
    /// Offset of its first byte in the segment.
    base: u32,
    bytes: Bytes,
}

#[derive(Debug)]
struct Entry {
    seq: Seq,
    hash: u64,
    piece: u32,
    start: u32,
    /// The entry of the next older record of the key, or [`NONE`].
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
            record_bytes: AtomicU64::new(0),
            max_seq: AtomicU64::new(0),
        }
    }

    /// Adds the records of `piece`, which lies at offset `base` of the segment, in the order of their sequence numbers.
    pub(crate) fn insert(&self, piece: Bytes, base: u32, records: &[Placed]) {
        self.add(&piece, base, records, |entry| self.insert_entry(entry, &piece));
    }

    /// As [`insert`](Memtable::insert), but the records can only be walked in order, not found by their keys: for whoever
    /// rewrites a log, as recovery does. Finding each key's place is most of the work otherwise.
    pub(crate) fn insert_unindexed(&self, piece: &Bytes, base: u32, records: &[Placed]) {
        self.add(piece, base, records, |entry| {
            self.entries.push(entry);
        });
    }

    fn add(&self, piece: &Bytes, base: u32, records: &[Placed], add: impl Fn(Entry)) {
        let index = self.pieces.push(Piece { base, bytes: piece.clone() }) as u32;
        let mut bytes = 0;
        for placed in records {
            add(Entry { seq: placed.seq, hash: placed.hash, piece: index, start: placed.start, older: NONE });
            bytes += u64::from(placed.len);
        }
        self.record_bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(last) = records.last() {
            self.max_seq.fetch_max(last.seq, Ordering::Release);
        }
    }

    fn insert_entry(&self, mut entry: Entry, piece: &Bytes) {
        let hash = entry.hash;
        let key = self.decode(piece, entry.start, 0).key;
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

    /// The bits that choose a shard are others than those by which a shard's table places and tags its entries.
    #[inline]
    fn shard(&self, hash: u64) -> &RwLock<HashTable<u32>> {
        &self.shards[(hash >> 40) as usize % SHARDS].0
    }

    /// The newest record of `key` whose sequence number is `at` or lower.
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
            if entry.older == NONE {
                return None;
            }
            entry = &self.entries[entry.older as usize];
        }
        let record = self.record(entry);
        let value = self.pieces[entry.piece as usize].bytes.slice_ref(record.value);
        let value = Value::new(value, record.compressed, || None);
        Some(Found { kind: record.kind, seq: record.seq, expires_at: record.expires_at, value })
    }

    #[inline]
    fn record(&self, entry: &Entry) -> Record<'_> {
        let piece = &self.pieces[entry.piece as usize];
        self.decode(&piece.bytes, entry.start, piece.base)
    }

    #[inline]
    fn decode<'a>(&self, piece: &'a Bytes, start: u32, base: u32) -> Record<'a> {
        let offset = u64::from(base) + u64::from(start);
        // The image was encoded, or checked, by this process.
        decode_record_unverified(&self.stream, offset, &piece[start as usize..]).expect("the image holds whole records")
    }

    #[inline]
    fn item(&self, entry: u32) -> Item<'_> {
        let entry = &self.entries[entry as usize];
        let piece = &self.pieces[entry.piece as usize];
        Item { record: self.record(entry), hash: entry.hash, offset: piece.base + entry.start }
    }

    /// The key of entry `entry`.
    #[inline]
    fn key(&self, entry: u32) -> &[u8] {
        self.record(&self.entries[entry as usize]).key
    }

    #[inline]
    fn seq(&self, entry: u32) -> Seq {
        self.entries[entry as usize].seq
    }

    /// The image's bytes that `part`, a slice of an entry's record, lies in, shared.
    #[inline]
    fn share(&self, entry: u32, part: &[u8]) -> Bytes {
        self.pieces[self.entries[entry as usize].piece as usize].bytes.slice_ref(part)
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

    /// Memory it takes, in bytes: the image, and about what the index needs.
    pub(crate) fn bytes(&self) -> usize {
        // A hash table's place and tag, at its mean load.
        const INDEX_ENTRY: usize = 8;
        let each = size_of::<Entry>() + size_of::<u64>() + INDEX_ENTRY;
        let pieces = self.pieces.count() * (size_of::<Piece>() + size_of::<u64>());
        let order = self.order.lock().bytes();
        self.record_bytes() as usize + self.len() * each + pieces + order
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
