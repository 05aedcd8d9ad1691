//! Builds what stands behind a segment's frames: index blocks, fences, hints, filter, statistics and footer.

use super::BYTES_PER_TURN;
use crate::Seq;
use crate::format::block::{self, BLOCK_LEN, BlockBuilder, Facts, Span};
use crate::format::checksum;
use crate::format::fences::FencesBuilder;
use crate::format::filter::{FilterBuilder, bits_per_key};
use crate::format::footer::{FOOTER_LEN, Footer, Part};
use crate::format::frame::Stream;
use crate::format::header::Layout;
use crate::format::hints::{Hint, HintsBuilder};
use crate::format::manifest::SegmentMeta;
use crate::format::names::SegmentId;
use crate::format::statistics::{Place, Statistics};
use crate::hash::Fingerprint;
use bytes::{Bytes, BytesMut};

/// Blocks are gathered in pieces of about this length.
const PIECE_LEN: usize = 256 << 10;

/// The share of absent keys that filters let pass where nobody has said otherwise.
const PASSING: f64 = 0.001;

/// What stands behind the frames of one segment, growing.
#[derive(Debug)]
pub(super) struct IndexBuilder {
    stream: Stream,
    layout: Layout,
    /// Whole blocks, in pieces, their checksums still missing: nobody knows yet where they will stand.
    pieces: Vec<BytesMut>,
    block_lens: Vec<usize>,
    block: BlockBuilder,
    /// The first key of `block`, which is empty while that is.
    first_key: Vec<u8>,
    entries: u64,
    fences: FencesBuilder,
    hints: HintsBuilder,
    filter: Option<FilterBuilder>,
    filter_bits: f64,
    statistics: Statistics,
}

impl IndexBuilder {
    pub(super) fn new(stream: Stream, layout: Layout) -> IndexBuilder {
        IndexBuilder {
            stream,
            layout,
            pieces: Vec::new(),
            block_lens: Vec::new(),
            block: BlockBuilder::default(),
            first_key: Vec::new(),
            entries: 0,
            fences: FencesBuilder::default(),
            hints: HintsBuilder::new(),
            filter: None,
            filter_bits: bits_per_key(PASSING),
            statistics: Statistics::default(),
        }
    }

    /// Lets the filter pass no more than `share` of the absent keys, as far as that is worth its bits.
    pub(super) fn let_pass(&mut self, share: f64) {
        self.filter_bits = bits_per_key(share);
    }

    /// Counts a record of `len` bytes.
    pub(super) fn count(&mut self, facts: &Facts, len: u32) {
        self.statistics.count(facts, len);
    }

    /// Counts a key whose newest record has `len` bytes. Keys come in order.
    pub(super) fn count_key(&mut self, key: &[u8], len: u32) {
        if self.statistics.keys == 0 {
            self.statistics.min_key = key.to_vec();
        }
        self.statistics.max_key.clear();
        self.statistics.max_key.extend_from_slice(key);
        self.statistics.count_key(len);
    }

    /// The largest key so far; `None` while there is none.
    pub(super) fn max_key(&self) -> Option<&[u8]> {
        (self.statistics.keys > 0).then_some(&self.statistics.max_key[..])
    }

    /// Adds an index entry. Entries come in the order of their keys.
    pub(super) fn push(&mut self, key: &[u8], span: &Span) {
        if self.block.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
        self.block.push(key, span, self.stream.base_seq);
        self.entries += 1;
        if self.block.len() >= BLOCK_LEN {
            self.finish_block();
        }
    }

    fn finish_block(&mut self) {
        let piece = match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE_LEN => piece,
            _ => {
                self.pieces.push(BytesMut::with_capacity(PIECE_LEN + 2 * BLOCK_LEN));
                self.pieces.last_mut().expect("just pushed")
            }
        };
        let len = self.block.finish(piece);
        self.block_lens.push(len);
        self.fences.push(&self.first_key, len);
    }

    /// Adds a hint. Hints come in the order of the file.
    pub(super) fn hint(&mut self, hash: u64, offset: u32, len: u32) {
        self.hints.push(Hint { fingerprint: Fingerprint::of(hash), offset, len });
    }

    /// Adds a key to the filter, which the first one sizes for all keys counted so far.
    pub(super) fn filter(&mut self, hash: u64) {
        let keys = self.statistics.keys;
        self.filter.get_or_insert_with(|| FilterBuilder::new(keys, self.filter_bits)).insert(hash);
    }

    /// How long all that would be now.
    pub(super) fn len(&self) -> u64 {
        let filter_len = (self.statistics.keys as f64 * self.filter_bits / 8.0) as u64;
        let blocks_len = self.pieces.iter().map(|piece| piece.len() as u64).sum::<u64>() + self.block.len() as u64;
        let rest = self.fences.len() + self.hints.len() + FOOTER_LEN + 2 * self.statistics.max_key.len();
        blocks_len + filter_len + rest as u64
    }

    /// All parts, to be written at `records_end` of the file of segment `id`, and what the manifest is to say of it: that
    /// it has been swept of what range tombstones up to `swept` cover, or up to its own last record.
    ///
    /// # Panics
    /// Where there is no record, or hints or filter do not hold each key.
    pub(super) async fn finish(
        mut self,
        id: SegmentId,
        records_end: u64,
        swept: Option<Seq>,
    ) -> (Vec<Bytes>, SegmentMeta) {
        if !self.block.is_empty() {
            self.finish_block();
        }
        let keys = self.statistics.keys;
        assert!(keys > 0, "a sealed segment has a record at least");
        assert_eq!(self.hints.count(), keys, "each key has a hint");

        let (blocks, entries, hint_count) = (self.fences.count(), self.entries, self.hints.count());
        let mut parts = Parts { stream: self.stream, at: records_end, out: Vec::new() };
        parts.push_blocks(self.pieces, &self.block_lens).await;
        let fences = self.fences.finish(&self.statistics.max_key);
        let filter = self.filter.take().expect("each key is in the filter").finish();
        let statistics = self.statistics.encode().into();
        let footer = Footer {
            index: records_end..parts.at,
            fences: parts.push(fences).await,
            hints: parts.push(self.hints.finish()).await,
            filter: parts.push(filter).await,
            statistics: parts.push(statistics).await,
            blocks,
            entries,
            hint_count,
            layout: self.layout,
        };
        let Stream { salt, base_seq } = self.stream;
        let (bytes, footer_crc) = footer.encode(salt);
        parts.out.push(Bytes::copy_from_slice(&bytes));
        let len = parts.at + FOOTER_LEN as u64;
        let swept = swept.unwrap_or(self.statistics.max_seq);
        let place = Place { len, salt, base_seq, sorted: self.layout == Layout::Sorted, footer_crc, swept };
        (parts.out, self.statistics.into_meta(id, place))
    }
}

/// Parts in the order of the file.
struct Parts {
    stream: Stream,
    /// Where the next one will stand.
    at: u64,
    out: Vec<Bytes>,
}

impl Parts {
    /// Adds a part and its checksum.
    async fn push(&mut self, bytes: Bytes) -> Part {
        let range = self.at..self.at + bytes.len() as u64;
        let crc = part_crc(&self.stream, range.start, &bytes).await;
        self.at = range.end;
        self.out.push(bytes);
        Part { range, crc }
    }

    /// Adds index blocks of the given lengths, and fills in their checksums.
    async fn push_blocks(&mut self, pieces: Vec<BytesMut>, lens: &[usize]) {
        let mut lens = lens.iter();
        for mut piece in pieces {
            let mut rest = &mut piece[..];
            while !rest.is_empty() {
                let len = *lens.next().expect("each block's length is known");
                let (block, behind) = rest.split_at_mut(len);
                block::seal(&self.stream, self.at, block);
                self.at += len as u64;
                rest = behind;
            }
            self.out.push(piece.freeze());
            tokio::task::yield_now().await;
        }
    }
}

/// The checksum of a part that begins at `offset` of the file.
pub(super) async fn part_crc(stream: &Stream, offset: u64, bytes: &[u8]) -> u32 {
    let mut crc = checksum::seed(stream.salt, offset);
    for (number, chunk) in bytes.chunks(BYTES_PER_TURN).enumerate() {
        if number > 0 {
            tokio::task::yield_now().await;
        }
        crc = checksum::append(crc, chunk);
    }
    crc
}
