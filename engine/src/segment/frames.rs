//! Walks records that stand back to back, over bytes that are at hand or are fetched as they are needed.

use crate::format::block::Facts;
use crate::format::frame::{RECORD_HEAD_LEN_MAX, Stream, decode_record, peek_len};
use crate::format::{Result, header::HEADER_LEN};
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
}

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
}

/// The record the walk stands at: places in the window.
#[derive(Debug)]
struct Current {
    key: usize,
    value: usize,
    end: usize,
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
            current: Current { key: 0, value: 0, end: 0, facts },
        }
    }

    /// Begins at the first record of `range`, whose bytes are `map` if they are at hand.
    pub(super) fn restart(&mut self, range: Range<u64>, map: Option<Bytes>) {
        self.window = map.unwrap_or_default();
        self.window_at = range.start;
        self.next = range.start;
        self.until = range.end;
    }

    /// Gives the bytes that were needed, from where the next record begins.
    pub(super) fn supply(&mut self, bytes: Bytes) {
        self.window = bytes;
        self.window_at = self.next;
    }

    /// Goes to the next record. Where it is damaged the walk stays before it.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<FrameStep> {
        if self.next >= self.until {
            return Ok(FrameStep::End);
        }
        let start = (self.next - self.window_at) as usize;
        let rest = &self.window[start..];
        if (rest.len() as u64) < self.until - self.next
            && let Some(need) = missing(rest, self.next, self.until, &mut self.fetch_len)
        {
            return Ok(FrameStep::Need(need));
        }
        let record = decode_record(&self.stream, self.next, rest)?;
        let end = start + record.len;
        let value = end - record.value.len();
        let facts = Facts { seq: record.seq, kind: record.kind, expires_at: record.expires_at };
        self.current = Current { key: value - record.key.len(), value, end, facts };
        self.next += record.len as u64;
        Ok(FrameStep::Ready)
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
    pub(super) fn end(&self) -> u64 {
        self.next
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
fn missing(rest: &[u8], at: u64, until: u64, fetch_len: &mut u64) -> Option<Range<u64>> {
    let (have, left) = (rest.len() as u64, until - at);
    let wanted = match peek_len(rest) {
        Some(len) => len,
        None if rest.len() < RECORD_HEAD_LEN_MAX => RECORD_HEAD_LEN_MAX as u64,
        None => 0,
    };
    if have >= wanted.min(left) || (wanted > left && rest.len() >= RECORD_HEAD_LEN_MAX) {
        return None;
    }
    let len = wanted.max(*fetch_len).min(left);
    *fetch_len = (*fetch_len * 2).min(FETCH_LEN_MAX);
    Some(at..at + len)
}
