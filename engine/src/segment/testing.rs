//! Test support: segments of both layouts, and backends that do not map.
#![allow(clippy::unwrap_used)]

use super::frames::{FrameStep, Frames};
use super::lookup::{InBlock, Located};
use super::opened::Opened;
use super::*;
use crate::Seq;
use crate::format::block::Facts;
use crate::format::frame::{Kind, NewRecord, Stream};
use crate::format::fuzz::Dice;
use crate::format::header::{HEADER_LEN, Header, Layout};
use crate::format::manifest::SegmentMeta;
use crate::format::mark::{END_LEN, End, Mark};
use crate::format::names::{Name, SegmentId};
use crate::hash::hash;
use crate::memtable::{Memtable, Placed};
use crate::stores::Stores;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use halite_backends::{Appender, Backend, Capabilities, Lock, Memory, Meta, Object, Path, Result, Uploader};
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

pub(crate) const DATABASE: [u8; 16] = *b"0123456789abcdef";
pub(crate) const HASH_SEED: u64 = 0x5eed;

/// A record in the hands of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestRecord {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) seq: Seq,
    pub(crate) expires_at: Option<u64>,
}

impl TestRecord {
    pub(crate) fn new_record(&self) -> NewRecord<'_> {
        let kind = if self.value.is_some() { Kind::Put } else { Kind::Tombstone };
        let value = self.value.as_deref().unwrap_or_default();
        let TestRecord { key, seq, expires_at, .. } = self;
        NewRecord { seq: *seq, kind, key, value, compressed: false, expires_at: *expires_at, last_of_batch: true }
    }

    pub(crate) fn facts(&self) -> Facts {
        let NewRecord { seq, kind, expires_at, .. } = self.new_record();
        Facts { seq, kind, expires_at }
    }
}

pub(crate) fn put(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, seq: Seq) -> TestRecord {
    TestRecord { key: key.as_ref().to_vec(), value: Some(value.as_ref().to_vec()), seq, expires_at: None }
}

pub(crate) fn header(number: u64, layout: Layout, base_seq: Seq) -> Header {
    Header {
        database: DATABASE,
        id: SegmentId { epoch: 1, nonce: 0xbeef, number },
        salt: 0x5a17_0000 + number,
        hash_seed: HASH_SEED,
        base_seq,
        created: 1_700_000_000_000,
        layout,
        predecessor: None,
    }
}

/// The newest record of each key.
pub(crate) fn newest(records: &[TestRecord]) -> BTreeMap<Vec<u8>, TestRecord> {
    records.iter().map(|record| (record.key.clone(), record.clone())).collect()
}

/// Writes a sorted segment that holds the newest record of each key.
pub(crate) async fn write_sorted(backend: &dyn Backend, number: u64, records: &[TestRecord]) -> SegmentMeta {
    let base_seq = records.iter().map(|record| record.seq).min().unwrap();
    let mut writer = SortedWriter::new(backend, &header(number, Layout::Sorted, base_seq)).await.unwrap();
    for (index, record) in newest(records).values().enumerate() {
        let value = Bytes::from(record.value.clone().unwrap_or_default());
        let shared = (index % 2 == 0).then_some(&value);
        writer.push(record.new_record(), shared).await.unwrap();
    }
    let about = writer.len();
    let meta = writer.finish().await.unwrap().meta;
    assert!(about.abs_diff(meta.len) < 1000 + meta.len / 20, "thought {about}, is {}", meta.len);
    meta
}

/// Writes a log of `records` in batches, seals it in place and gives its bytes.
pub(crate) async fn seal_dense(number: u64, records: &[TestRecord]) -> (Bytes, SegmentMeta) {
    let header = header(number, Layout::Dense, records[0].seq);
    let stream = header.stream();
    let mut log = BytesMut::from(&header.encode()[..]);
    let mut places = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let offset = log.len() as u64;
        if index % 7 == 0 {
            Mark { durable: offset, time: 1 }.encode(&stream, offset, &mut log);
        }
        let offset = log.len() as u64;
        let len = record.new_record().encode(&stream, offset, &mut log);
        places.push((offset as u32, len as u32));
    }
    let offset = log.len() as u64;
    let last_seq = records.last().unwrap().seq;
    let len = offset + END_LEN as u64;
    let end = End { len, records: records.len() as u64, last_seq, durable: HEADER_LEN as u64, time: 2 };
    end.encode(&stream, offset, &mut log);

    let entry = |index: usize| {
        let (offset, len) = places[index];
        let Facts { seq, kind, expires_at } = records[index].facts();
        DenseEntry { offset, len, seq, kind, expires_at }
    };
    let last: BTreeMap<&[u8], usize> = records.iter().enumerate().map(|(at, record)| (&record.key[..], at)).collect();
    let mut builder = TailBuilder::new(&header);
    last.iter().for_each(|(key, &index)| builder.push(key, &entry(index)));
    let counted: HashSet<usize> = last.values().copied().collect();
    for (index, record) in records.iter().enumerate() {
        let DenseEntry { offset, len, .. } = entry(index);
        if counted.contains(&index) {
            builder.hint(hash(HASH_SEED, &record.key), offset, len);
        } else {
            builder.unindexed(&entry(index));
        }
    }
    let tail = builder.finish(log.len() as u64).await;
    tail.parts.iter().for_each(|part| log.extend_from_slice(part));
    assert_eq!(log.len() as u64, tail.meta.len);
    (log.freeze(), tail.meta)
}

/// Writes a dense segment.
pub(crate) async fn write_dense(backend: &dyn Backend, number: u64, records: &[TestRecord]) -> SegmentMeta {
    let (bytes, meta) = seal_dense(number, records).await;
    backend.create(&Name::Segment(meta.id).path(), bytes).await.unwrap();
    meta
}

/// A memtable that holds all of `records`, a few to a commit.
pub(crate) fn memtable(records: &[TestRecord]) -> Arc<Memtable> {
    let stream = Stream { salt: 0x5a17, base_seq: records.first().map_or(1, |record| record.seq) };
    let memtable = Memtable::new(stream);
    let mut base = HEADER_LEN as u32;
    for commit in records.chunks(5) {
        let mut piece = BytesMut::new();
        let mut placed = Vec::new();
        for record in commit {
            let start = piece.len() as u32;
            let len = record.new_record().encode(&stream, u64::from(base + start), &mut piece) as u32;
            placed.push(Placed { start, len, hash: hash(HASH_SEED, &record.key), seq: record.seq });
        }
        let len = piece.len() as u32;
        memtable.insert(piece.freeze(), base, &placed);
        base += len;
    }
    Arc::new(memtable)
}

/// Writes a run: `records`' newest in sorted segments of about `keys` keys each, numbered from `number`.
pub(crate) async fn write_run(
    backend: &dyn Backend,
    number: u64,
    records: &[TestRecord],
    keys: usize,
) -> Vec<SegmentMeta> {
    let newest: Vec<TestRecord> = newest(records).into_values().collect();
    let mut metas = Vec::new();
    for (index, part) in newest.chunks(keys).enumerate() {
        metas.push(write_sorted(backend, number + index as u64, part).await);
    }
    metas
}

/// The segment, opened.
pub(crate) async fn open(backend: &dyn Backend, meta: &SegmentMeta) -> crate::Result<Arc<Segment>> {
    open_as(backend, meta, DATABASE, HASH_SEED).await
}

/// The segment, opened as one of the database and hash seed given.
pub(crate) async fn open_as(
    backend: &dyn Backend,
    meta: &SegmentMeta,
    database: [u8; 16],
    hash_seed: u64,
) -> crate::Result<Arc<Segment>> {
    // Opened already, it never asks the backend that all segments share.
    let files = Files::new(Stores::untold(Arc::new(Memory::new())), database, hash_seed, 1 << 20);
    let segment = Segment::new(&Arc::new(files), meta);
    let opened = Opened::open(backend, backend, segment.path(), meta, database, hash_seed, false, |_| None).await;
    let opened = opened.map_err(|error| segment.if_missing(error))?;
    segment.files.note_unmapped(opened.0.unmapped_filter());
    segment.opened.set(opened.0).unwrap();
    Ok(segment)
}

impl Segment {
    /// False if the segment does not hold the key whose hash is `hash`.
    pub(crate) async fn may_contain(&self, hash: u64) -> crate::Result<bool> {
        Ok(self.filter().await?.may_contain(hash))
    }

    /// Where the newest record of `key` lies, and what the index tells of it.
    pub(crate) async fn locate(&self, key: &[u8]) -> crate::Result<Option<Located>> {
        let fences = self.fences().await?;
        let block = fences.block(fences.find(key));
        let bytes = self.read(block.clone()).await?;
        let chunk = match self.search_block(block.start, bytes, key)? {
            InBlock::Nothing => return Ok(None),
            InBlock::At(located) => return Ok(Some(located)),
            InBlock::Chunk(chunk) => chunk,
        };
        let mut frames = Frames::nothing(self.stream());
        frames.restart(chunk.clone());
        frames.hold(chunk.start, self.read(chunk.clone()).await?);
        let mut offset = chunk.start;
        while let FrameStep::Ready = frames.advance().map_err(|damage| self.corrupt(damage))? {
            if frames.key() == key {
                let len = (frames.end() - offset) as u32;
                return Ok(Some(Located { offset: offset as u32, len, facts: *frames.facts() }));
            }
            offset = frames.end();
        }
        Ok(None)
    }
}

/// The whole file of a segment.
pub(crate) async fn file_of(backend: &dyn Backend, meta: &SegmentMeta) -> Bytes {
    let object = backend.open(&Name::Segment(meta.id).path()).await.unwrap();
    object.read(0..object.len()).await.unwrap()
}

/// A key of many kinds: empty, long, of a common prefix, of high bytes.
pub(crate) fn any_key(dice: &mut Dice) -> Vec<u8> {
    let number = dice.below(400);
    match dice.below(8) {
        0 => vec![0xff; number % 30],
        1 => number.to_string().repeat(50).into_bytes(),
        2 => number.to_le_bytes()[..number % 4].to_vec(),
        3 => [&[0xff; 3], &number.to_le_bytes()[..2]].concat(),
        _ => format!("a shared prefix {number:05}").into_bytes(),
    }
}

/// `count` records with rising seqs: puts small and large, some with an expiry, and tombstones.
pub(crate) fn any_records(dice: &mut Dice, count: usize, first_seq: Seq) -> Vec<TestRecord> {
    let mut seq = first_seq;
    let mut record = || {
        seq += 1 + dice.below(3) as u64;
        let key = any_key(dice);
        let len = [0, 10, 100, 150, 2000, 5000, 70_000][dice.below(7).min(dice.below(8))];
        let value = (dice.below(6) > 0).then(|| vec![seq as u8; len]);
        let expires_at = (value.is_some() && dice.below(5) == 0).then(|| 500 + dice.below(1000) as u64);
        TestRecord { key, value, seq, expires_at }
    };
    (0..count).map(|_| record()).collect()
}

/// A backend whose objects cannot be mapped, like an object store.
#[derive(Debug)]
pub(crate) struct Unmapped(pub(crate) Memory);

#[derive(Debug)]
struct UnmappedObject(Arc<dyn Object>);

#[async_trait]
impl Object for UnmappedObject {
    fn len(&self) -> u64 {
        self.0.len()
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        tokio::task::yield_now().await;
        self.0.read(range).await
    }
}

#[async_trait]
impl Backend for Unmapped {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn location(&self) -> String {
        self.0.location()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        self.0.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        self.0.create(path, data).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        self.0.upload(path).await
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        self.0.append(path).await
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        Ok(Arc::new(UnmappedObject(self.0.open(path).await?)))
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        self.0.exists(path).await
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        self.0.list(folder)
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.0.delete(path).await
    }
}
