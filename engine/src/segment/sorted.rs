//! Writes a new segment in key order, as merges do, and seals and recoveries where the log cannot be sealed in place.
//!
//! Records stream through a small buffer. What stands behind them is kept in memory until they are all written: some
//! 16 bytes a record.

use super::hashed::Upload;
use super::index::IndexBuilder;
use super::tail::Tail;
use crate::format::block::{Content, Facts, Span};
use crate::format::frame::{NewRecord, Stream};
use crate::format::header::{HEADER_LEN, Header, Layout};
use crate::format::names::{Name, SegmentId};
use crate::turn::{self, Turn};
use crate::value::LARGE_LEN;
use crate::{Result, Seq, hash};
use bytes::{Bytes, BytesMut};
use halite_backends::Backend;

/// A chunk is full when another record would make it longer than this.
const CHUNK_LEN: u32 = 4 << 10;
/// Records are written in parts of about this length.
const PART_LEN: usize = 1 << 20;
/// Memory for a part with its last record, unless that is long: what grows is twice as long then.
const BUFFER_LEN: usize = PART_LEN + (PART_LEN >> 3);
/// Keys that enter the filter before other tasks get their turn.
const KEYS_PER_TURN: usize = 16 << 10;

/// Writes one sorted segment. Dropping it gives up; [`abort`](SortedWriter::abort) also cleans up.
#[derive(Debug)]
pub(crate) struct SortedWriter {
    id: SegmentId,
    stream: Stream,
    hash_seed: u64,
    upload: Upload,
    buffer: BytesMut,
    /// Offset of the next record.
    at: u64,
    chunk: Chunk,
    index: IndexBuilder,
    hashes: Vec<u64>,
    swept: Seq,
}

/// The neighbouring records that the next index entry will cover.
#[derive(Debug)]
struct Chunk {
    first_key: Vec<u8>,
    span: Span,
}

impl SortedWriter {
    /// Begins the segment that `header` describes, under its name.
    ///
    /// # Panics
    /// Where the header is not that of a sorted segment without a predecessor.
    pub(crate) async fn new(backend: &dyn Backend, header: &Header) -> Result<SortedWriter> {
        assert_eq!(header.layout, Layout::Sorted, "records will be in key order");
        assert_eq!(header.predecessor, None, "a sorted segment is no part of the log");
        let upload = Upload::begin(backend, &Name::Segment(header.id).path()).await?;
        let mut buffer = BytesMut::with_capacity(BUFFER_LEN);
        buffer.extend_from_slice(&header.encode());
        Ok(SortedWriter {
            id: header.id,
            stream: header.stream(),
            hash_seed: header.hash_seed,
            upload,
            buffer,
            at: HEADER_LEN as u64,
            chunk: Chunk::empty(),
            index: IndexBuilder::new(header.stream(), Layout::Sorted),
            hashes: Vec::new(),
            swept: 0,
        })
    }

    /// Lets the filter pass no more than `share` of the absent keys: see [`filters`](crate::segment::filters).
    pub(crate) fn let_pass(mut self, share: f64) -> SortedWriter {
        self.index.let_pass(share);
        self
    }

    /// Promises that no record will come which a range tombstone up to `swept` covers.
    pub(crate) fn swept(self, swept: Seq) -> SortedWriter {
        SortedWriter { swept, ..self }
    }

    /// Adds a record. Keys come in order, each once; whether the record was the last of a batch is forgotten. `value` may
    /// hold the record's value: a large one is not copied then.
    ///
    /// # Panics
    /// Where a key is not larger than the one before, or where the records would take more than 4 GiB.
    pub(crate) async fn push(&mut self, record: NewRecord<'_>, value: Option<&Bytes>) -> Result<()> {
        assert!(self.index.max_key().is_none_or(|last| last < record.key), "keys come in order, each once");
        let record = NewRecord { last_of_batch: true, ..record };
        let large = value.filter(|value| value.len() >= LARGE_LEN);
        let len = match large {
            Some(value) => {
                let crc = turn::checksum(0, value, &mut Turn::default()).await;
                record.encode_without_value(&self.stream, self.at, crc, &mut self.buffer)
            }
            None => record.encode(&self.stream, self.at, &mut self.buffer),
        };
        self.note(&record, len);
        if let Some(value) = large {
            assert_eq!(value.len(), record.value.len(), "the value shared is the record's");
            self.write_buffer().await?;
            self.upload.write(value.clone()).await?;
        } else if self.buffer.len() >= PART_LEN {
            self.write_buffer().await?;
        }
        Ok(())
    }

    /// Enters the record of `len` bytes that was just encoded into everything but the file.
    fn note(&mut self, record: &NewRecord<'_>, len: usize) {
        // No frame ends beyond 4 GiB, so its offset fits, and its length does.
        let (offset, len) = (self.at as u32, len as u32);
        self.at += u64::from(len);
        let facts = Facts { seq: record.seq, kind: record.kind, expires_at: record.expires_at };
        let hash = hash::hash(self.hash_seed, record.key);
        self.index.count(&facts, len);
        self.index.count_key(record.key, len);
        self.index.hint(hash, offset, len);
        self.hashes.push(hash);
        if !self.chunk.takes(len) {
            self.push_chunk();
        }
        self.chunk.add(record.key, offset, len, facts);
    }

    fn push_chunk(&mut self) {
        if self.chunk.span.len > 0 {
            self.index.push(&self.chunk.first_key, &self.chunk.span);
            self.chunk.span = Chunk::NOTHING;
        }
    }

    async fn write_buffer(&mut self) -> Result<()> {
        let part = self.buffer.split().freeze();
        self.upload.write(part).await?;
        self.buffer.reserve(BUFFER_LEN);
        Ok(())
    }

    /// About how long the file would be if it were finished now.
    pub(crate) fn len(&self) -> u64 {
        self.at + self.index.len()
    }

    /// Memory that it takes for what will stand behind the records, in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.index.len() + (self.hashes.len() * size_of::<u64>()) as u64
    }

    /// Makes the segment appear, whole and durable, and gives what stands behind its records. Where it fails the segment may
    /// exist, but nothing names it.
    ///
    /// # Panics
    /// Where no record was added.
    pub(crate) async fn finish(mut self) -> Result<Tail> {
        self.push_chunk();
        for hashes in self.hashes.chunks(KEYS_PER_TURN) {
            hashes.iter().for_each(|&hash| self.index.filter(hash));
            tokio::task::yield_now().await;
        }
        let (parts, mut meta) = self.index.finish(self.id, self.at, Some(self.swept)).await;
        self.upload.write(self.buffer.freeze()).await?;
        for part in &parts {
            self.upload.write(part.clone()).await?;
        }
        meta.digest = self.upload.digest();
        self.upload.finish().await?;
        Ok(Tail { parts, meta })
    }

    /// Gives up: nothing appears, and what was written is removed.
    pub(crate) async fn abort(self) -> Result<()> {
        Ok(self.upload.abort().await?)
    }
}

impl Chunk {
    const NOTHING: Span = Span { offset: 0, len: 0, content: Content::Several(0) };

    fn empty() -> Chunk {
        Chunk { first_key: Vec::new(), span: Chunk::NOTHING }
    }

    /// Whether a record of `len` bytes fits. A large one stands alone: the index then knows all but its value.
    fn takes(&self, len: u32) -> bool {
        self.span.len == 0 || self.span.len.saturating_add(len) <= CHUNK_LEN
    }

    fn add(&mut self, key: &[u8], offset: u32, len: u32, facts: Facts) {
        if self.span.len == 0 {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
            self.span = Span { offset, len, content: Content::One(facts) };
        } else {
            let records = self.span.records() + 1;
            self.span.len += len;
            self.span.content = Content::Several(records);
        }
    }
}
