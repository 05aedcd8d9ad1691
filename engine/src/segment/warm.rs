//! Warms a segment up: what reads of some of its keys need is read before they come. See [`warm`](crate::warm).

use super::reader::Segment;
use crate::KeyRange;
use crate::Result;
use crate::format::Damage;
use crate::format::block::{BlockCursor, Content, Span};
use crate::format::fences::Fences;
use crate::turn::Turn;
use crate::warm::{Room, Stays};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use halite_backends::KEPT_READ_MAX;
use std::ops::{Bound, Range};

/// Bytes of index blocks that are read in one request, at most, unless one is longer,
const INDEX_AT_ONCE: u64 = 512 << 10;
/// and of records.
const RECORDS_AT_ONCE: u64 = 256 << 10;
// A backend keeps no more of one read.
const _: () = assert!(INDEX_AT_ONCE <= KEPT_READ_MAX && RECORDS_AT_ONCE <= KEPT_READ_MAX);
/// Records with no more between them than this are read together.
const GAP_MAX: u64 = 16 << 10;
/// Such requests at once of each segment,
const READS_AT_ONCE: usize = 8;
/// and segments.
pub(crate) const SEGMENTS_WARMED_AT_ONCE: usize = 4;
/// Bytes of a mapped file that are looked at in a turn, and the length of a page in it, if not less.
const PAGES_PER_TURN: usize = 64 << 10;
const PAGE: usize = 4 << 10;

/// Records that are read together: where they lie, and what of it is asked for.
struct Piece {
    range: Range<u64>,
    spans: Vec<Span>,
}

impl Segment {
    /// Reads what reads of the keys in `range` need, records only if `records`, as far as there is room.
    pub(crate) async fn warm(&self, range: &KeyRange, records: bool, room: &Room) -> Result<()> {
        self.open().await?;
        let footer = self.footer();
        let len = |range: &Range<u64>| range.end - range.start;
        let stays = room.stays(self.mapped(0..0).is_some());
        if !room.take(len(&footer.filter.range) + len(&footer.fences.range), stays) {
            return Ok(());
        }
        self.prepare().await?;
        let fences = self.fences().await?;
        let place = |key: &Bound<Bytes>, open: usize| match key {
            Bound::Included(key) | Bound::Excluded(key) => fences.find(key),
            Bound::Unbounded => open,
        };
        let (mut next, end) = (place(&range.start, 0), place(&range.end, fences.len().saturating_sub(1)) + 1);
        while next < end.min(fences.len()) {
            let group = together(fences, next..end.min(fences.len()));
            let bytes = fences.block(group.start).start..fences.block(group.end - 1).end;
            if !room.take(len(&bytes), stays) {
                return Ok(());
            }
            let spans = self.warm_blocks(fences, group.clone(), bytes, range).await?;
            if records && !self.warm_records(spans, stays, room).await? {
                return Ok(());
            }
            next = group.end;
        }
        Ok(())
    }

    /// Reads these index blocks, which lie in `bytes`, keeps them, and tells where the records lie whose keys are in `range`.
    async fn warm_blocks(
        &self,
        fences: &Fences,
        blocks: Range<usize>,
        bytes: Range<u64>,
        range: &KeyRange,
    ) -> Result<Vec<Span>> {
        let (mut spans, mut turn) = (Vec::new(), Turn::default());
        let kept: Option<Vec<Bytes>> = blocks.clone().map(|index| self.kept(&fences.block(index))).collect();
        let read = if kept.is_none() { self.read(bytes.clone()).await? } else { Bytes::new() };
        for (at, index) in blocks.enumerate() {
            let block = fences.block(index);
            let of_block = match &kept {
                Some(kept) => kept[at].clone(),
                None => read.slice((block.start - bytes.start) as usize..(block.end - bytes.start) as usize),
            };
            turn.take(of_block.len()).await;
            self.spans_of(block.start, of_block.clone(), range, &mut spans)?;
            if kept.is_none() {
                // Of its own: what is read together is not to be kept for as long as any of it.
                self.keep_copy(&block, &of_block);
            }
        }
        Ok(spans)
    }

    /// Where the records lie whose keys are in `range`, as the index block at `at` says.
    fn spans_of(&self, at: u64, block: Bytes, range: &KeyRange, spans: &mut Vec<Span>) -> Result<()> {
        let mut cursor = BlockCursor::empty();
        let corrupt = |damage: Damage| self.corrupt(damage);
        cursor.open(&self.stream(), at, block).map_err(corrupt)?;
        // Records that begin below the range, and may end in it.
        let mut before: Option<Span> = None;
        while cursor.advance().map_err(corrupt)? {
            if range.is_above(cursor.key()) {
                break;
            }
            let span = *cursor.span();
            if span.end() > self.footer().records_end() {
                return Err(self.no_record_there(span.offset, span.len));
            }
            if range.is_below(cursor.key()) {
                before = matches!(span.content, Content::Several(_)).then_some(span);
            } else {
                spans.extend(before.take());
                spans.push(span);
            }
        }
        spans.extend(before);
        Ok(())
    }

    /// Reads the records at `spans`. False where there was no room for all of them.
    async fn warm_records(&self, mut spans: Vec<Span>, stays: Stays, room: &Room) -> Result<bool> {
        if stays == Stays::InMemory {
            spans.retain(|span| self.kept(&(u64::from(span.offset)..span.end())).is_none());
        }
        let pieces = pieces(spans);
        let fitting = pieces.iter().take_while(|piece| room.take(piece.range.end - piece.range.start, stays)).count();
        let is_whole = fitting == pieces.len();
        let reads = pieces.into_iter().take(fitting).map(|piece| self.warm_piece(piece, stays));
        // Other segments are read beside this one.
        let at_once = (self.long_reads_max() / SEGMENTS_WARMED_AT_ONCE).clamp(1, READS_AT_ONCE);
        stream::iter(reads).buffer_unordered(at_once).try_collect::<()>().await?;
        Ok(is_whole)
    }

    async fn warm_piece(&self, piece: Piece, stays: Stays) -> Result<()> {
        let Piece { range, spans } = piece;
        let bytes = self.read(range.clone()).await?;
        match stays {
            Stays::InPages => touch(&bytes).await,
            Stays::OnDisk => {}
            Stays::InMemory => {
                let mut turn = Turn::default();
                for Span { offset, len, .. } in spans {
                    let (at, len) = (u64::from(offset), u64::from(len));
                    let from = (at - range.start) as usize;
                    turn.take(len as usize).await;
                    self.keep_copy(&(at..at + len), &bytes[from..from + len as usize]);
                }
            }
        }
        Ok(())
    }
}

/// How many of these index blocks, from the first on, are read together.
fn together(fences: &Fences, blocks: Range<usize>) -> Range<usize> {
    let start = fences.block(blocks.start).start;
    let fits = |index: &usize| fences.block(*index).end - start <= INDEX_AT_ONCE;
    let count = blocks.clone().take_while(fits).count().max(1);
    blocks.start..blocks.start + count
}

/// What is read together of `spans`.
fn pieces(mut spans: Vec<Span>) -> Vec<Piece> {
    spans.sort_unstable_by_key(|span| span.offset);
    let mut pieces: Vec<Piece> = Vec::new();
    for span in spans {
        let (start, end) = (u64::from(span.offset), span.end());
        match pieces.last_mut() {
            Some(last) if start <= last.range.end + GAP_MAX && end <= last.range.start + RECORDS_AT_ONCE => {
                last.range.end = last.range.end.max(end);
                last.spans.push(span);
            }
            _ => pieces.push(Piece { range: start..end, spans: vec![span] }),
        }
    }
    pieces
}

/// Has the system bring the pages of `bytes` into memory.
async fn touch(bytes: &[u8]) {
    for turn in bytes.chunks(PAGES_PER_TURN) {
        let sum = turn.iter().step_by(PAGE).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        std::hint::black_box(sum);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_read_together_up_to_a_length() {
        let span = |offset, len| Span { offset, len, content: Content::Several(2) };
        let found = |spans: &[(u32, u32)]| -> Vec<(Range<u64>, usize)> {
            let spans = spans.iter().map(|&(offset, len)| span(offset, len)).collect();
            pieces(spans).into_iter().map(|piece| (piece.range, piece.spans.len())).collect()
        };
        assert_eq!(found(&[]), []);
        assert_eq!(found(&[(9000, 500), (100, 4000), (4100, 50)]), [(100..9500, 3)]);
        assert_eq!(found(&[(0, 10), (20_000, 10)]), [(0..10, 1), (20_000..20_010, 1)]);
        let many: Vec<_> = (0..100).map(|n| (n * 4096, 4096)).collect();
        assert_eq!(found(&many), [(0..64 * 4096, 64), (64 * 4096..100 * 4096, 36)]);
        assert_eq!(found(&[(0, 1 << 20), (1 << 20, 10)]), [(0..1 << 20, 1), (1 << 20..(1 << 20) + 10, 1)]);
    }
}
