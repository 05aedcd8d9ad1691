//! Walks records that stand back to back, over bytes that are at hand or are fetched as they are needed.
//!
//! A record says where it ends, but not where the one before it begins. Backward, the walk goes from chunk to chunk, as
//! the index has them: it reads all records of a chunk, and then gives them from the last to the first.

use crate::format::block::Facts;
use crate::format::checksum;
use crate::format::frame::{RECORD_HEAD_LEN_MAX, Record, Stream, Unchecked, decode_short_record, peek_len};
use crate::format::{Result, header::HEADER_LEN};
use crate::turn::PIECE;
use bytes::Bytes;
use std::ops::Range;

/// Where bytes must be fetched, this many at first.
const FETCH_LEN_MIN: u64 = 16 << 10;
/// And twice as many each time, up to this.
const FETCH_LEN_MAX: u64 = 512 << 10;

/// How a step ended.
#[derive(Debug)]
pub(super) enum FrameStep {
    /// The walk stands at a record.
    Ready,
    /// There is none left.
    End,
    /// It needs these bytes of the file first.
    Need(Range<u64>),
    /// It is checking a long record: a moment to yield.
    Again,
}

/// Longer records are checked in steps.
pub(super) const CHECKED_AT_ONCE: usize = 1 << 20;

/// Goes from record to record.
#[derive(Debug)]
pub(super) struct Frames {
    stream: Stream,
    /// Bytes of the file from `window_at` on.
    window: Bytes,
    window_at: u64,
    /// Where the next record begins, and where the last ends.
    next: u64,
    until: u64,
    fetch_len: u64,
    current: Current,
    /// Of the long record that comes next: the checksum so far, and of how many bytes.
    summed: Option<(u32, usize)>,
    /// Backward, records of the chunk that are still to be given, the next one last.
    behind: Vec<Current>,
}

/// A record: places in the window.
#[derive(Clone, Copy, Debug)]
struct Current {
    key: usize,
    value: usize,
    end: usize,
    compressed: bool,
    facts: Facts,
}

impl Frames {
    /// Nothing to walk.
    pub(super) fn nothing(stream: Stream) -> Frames {
        let facts = Facts { seq: 0, kind: crate::format::frame::Kind::Put, expires_at: None };
        let at = HEADER_LEN as u64;
        Frames {
            stream,
            window: Bytes::new(),
            window_at: at,
            next: at,
            until: at,
            fetch_len: FETCH_LEN_MIN,
            current: Current { key: 0, value: 0, end: 0, compressed: false, facts },
            summed: None,
            behind: Vec::new(),
        }
    }

    /// Stands before the first record of `range`, or behind its last for whoever goes [backward](Frames::retreat).
    pub(super) fn restart(&mut self, range: Range<u64>) {
        self.next = range.start;
        self.until = range.end;
        self.summed = None;
        self.behind.clear();
    }

    /// Whether the bytes of `range` are at hand.
    #[inline]
    pub(super) fn holds(&self, range: &Range<u64>) -> bool {
        self.window_at <= range.start && range.end <= self.window_at + self.window.len() as u64
    }

    /// Gives bytes of the file from `offset` on, and lets go of those that were there.
    pub(super) fn hold(&mut self, offset: u64, bytes: Bytes) {
        self.window = bytes;
        self.window_at = offset;
    }

    /// As [`hold`](Frames::hold), of bytes that were needed: the next time, more of them will be, up to so many.
    pub(super) fn supply(&mut self, offset: u64, bytes: Bytes, at_once: u64) {
        self.hold(offset, bytes);
        self.fetch_len = (self.fetch_len * 2).min(at_once.clamp(FETCH_LEN_MIN, FETCH_LEN_MAX));
    }

    /// Goes to the next record. Where it is damaged the walk stays before it.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<FrameStep> {
        if self.next >= self.until {
            return Ok(FrameStep::End);
        }
        let held = (self.next.wrapping_sub(self.window_at)).min(self.window.len() as u64) as usize;
        let rest = &self.window[held..];
        if (rest.len() as u64) < self.until - self.next
            && let Some(need) = missing(rest, self.next, self.until, self.fetch_len)
        {
            return Ok(FrameStep::Need(need));
        }
        let Some((record, end)) = self.read()? else { return Ok(FrameStep::Again) };
        (self.current, self.next) = (record, end);
        Ok(FrameStep::Ready)
    }

    /// Goes to the record before. The first call reads them all, up to the first for whose key `is_beyond` holds: that
    /// one and those behind it are not wanted. What is fetched does not begin below `from`.
    #[inline]
    pub(super) fn retreat(&mut self, from: u64, is_beyond: impl Fn(&[u8]) -> bool) -> Result<FrameStep> {
        if self.next < self.until {
            let chunk = self.next..self.until;
            if !self.holds(&chunk) {
                let start = chunk.end.saturating_sub(self.fetch_len).max(from).min(chunk.start);
                return Ok(FrameStep::Need(start..chunk.end));
            }
            if !self.read_chunk(is_beyond)? {
                return Ok(FrameStep::Again);
            }
        }
        match self.behind.pop() {
            Some(record) => {
                self.current = record;
                Ok(FrameStep::Ready)
            }
            None => Ok(FrameStep::End),
        }
    }

    /// False where a long record takes another step.
    fn read_chunk(&mut self, is_beyond: impl Fn(&[u8]) -> bool) -> Result<bool> {
        while self.next < self.until {
            let Some((record, end)) = self.read()? else { return Ok(false) };
            self.next = end;
            if is_beyond(&self.window[record.key..record.value]) {
                break;
            }
            self.behind.push(record);
        }
        self.next = self.until;
        Ok(true)
    }

    /// The next record, and where it ends in the file; `None` where it is long and takes another step.
    #[inline]
    fn read(&mut self) -> Result<Option<(Current, u64)>> {
        let start = (self.next - self.window_at) as usize;
        let len = ((self.until - self.next) as usize).min(self.window.len() - start);
        let bytes = &self.window[start..start + len];
        let record = match decode_short_record(&self.stream, self.next, bytes, CHECKED_AT_ONCE)? {
            Some(record) => record,
            None => match check_on(&self.stream, self.next, bytes, &mut self.summed)? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        let end = start + record.len;
        let value = end - record.value.len();
        let facts = Facts { seq: record.seq, kind: record.kind, expires_at: record.expires_at };
        let key = value - record.key.len();
        let current = Current { key, value, end, compressed: record.compressed, facts };
        Ok(Some((current, self.next + record.len as u64)))
    }

    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        &self.window[self.current.key..self.current.value]
    }

    #[inline]
    pub(super) fn facts(&self) -> &Facts {
        &self.current.facts
    }

    /// The key, sharing the window's memory.
    #[inline]
    pub(super) fn key_bytes(&self) -> Bytes {
        self.window.slice(self.current.key..self.current.value)
    }

    /// The value, sharing the window's memory.
    #[inline]
    pub(super) fn value_bytes(&self) -> Bytes {
        self.window.slice(self.current.value..self.current.end)
    }

    /// The offset in the segment at which the current record ends.
    #[cfg(test)]
    pub(super) fn end(&self) -> u64 {
        self.next
    }

    /// Whether the value is compressed.
    #[inline]
    pub(super) fn is_compressed(&self) -> bool {
        self.current.compressed
    }

    /// The offset in the segment at which the value begins.
    pub(super) fn value_offset(&self) -> u64 {
        self.window_at + self.current.value as u64
    }

    /// Length of the value.
    #[inline]
    pub(super) fn value_len(&self) -> usize {
        self.current.end - self.current.value
    }
}

/// What to fetch before the record at `at`, of which `rest` is there, can be decoded; `None` if it is all there, or if
/// its head is such that decoding will complain anyway.
#[cold]
fn missing(rest: &[u8], at: u64, until: u64, fetch_len: u64) -> Option<Range<u64>> {
    let (have, left) = (rest.len() as u64, until - at);
    let wanted = match peek_len(rest) {
        Some(len) => len,
        None if rest.len() < RECORD_HEAD_LEN_MAX => RECORD_HEAD_LEN_MAX as u64,
        None => 0,
    };
    if have >= wanted.min(left) || (wanted > left && rest.len() >= RECORD_HEAD_LEN_MAX) {
        return None;
    }
    let len = wanted.max(fetch_len).min(left);
    Some(at..at + len)
}

/// Checks some more of the long record with which `bytes` begins; gives it once all of it is.
#[cold]
fn check_on<'a>(
    stream: &Stream,
    offset: u64,
    bytes: &'a [u8],
    summed: &mut Option<(u32, usize)>,
) -> Result<Option<Record<'a>>> {
    let record = Unchecked::new(stream, offset, bytes)?;
    let (seed, covered) = record.covered();
    let (crc, from) = summed.take().unwrap_or((seed, 0));
    let to = covered.len().min(from + PIECE);
    let crc = checksum::append(crc, &covered[from..to]);
    if to < covered.len() {
        *summed = Some((crc, to));
        return Ok(None);
    }
    record.check(crc).map(Some)
}
