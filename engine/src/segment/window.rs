//! A window over a segment's file, for whoever reads its frames one after the other.

use super::BYTES_PER_TURN;
use super::frames::CHECKED_AT_ONCE;
use super::reader::{Segment, check_record};
use crate::format::frame::{Frame, RECORD_HEAD_LEN_MAX, Stream, decode, peek_len};
use crate::format::mark::END_LEN;
use crate::turn::Turn;
use crate::{Result, format};
use bytes::Bytes;

/// The part of the file that holds the next frame.
#[derive(Debug)]
pub(super) struct Window {
    bytes: Bytes,
    at: u64,
}

impl Window {
    pub(super) fn new() -> Window {
        Window { bytes: Bytes::new(), at: 0 }
    }

    /// Makes sure that the frame is there that begins at `at` of `segment`, which is always the same.
    pub(super) async fn load(&mut self, segment: &Segment, at: u64) -> Result<()> {
        let left = segment.footer().records_end() - at;
        let head_len = left.min(RECORD_HEAD_LEN_MAX.max(END_LEN) as u64);
        self.have(segment, at, head_len).await?;
        let start = (at - self.at) as usize;
        if let Some(len) = peek_len(&self.bytes[start..]).filter(|&len| len <= left) {
            self.have(segment, at, len).await?;
        }
        Ok(())
    }

    /// The frame at `at`, which was loaded.
    pub(super) async fn decode(&self, stream: &Stream, at: u64, turn: &mut Turn) -> format::Result<Frame<'_>> {
        decode_frame(stream, at, &self.bytes[(at - self.at) as usize..], turn).await
    }

    /// The bytes of `part`, which lies in the window, shared.
    pub(super) fn share(&self, part: &[u8]) -> Bytes {
        self.bytes.slice_ref(part)
    }

    /// Makes sure that `len` bytes from `at` on are there.
    async fn have(&mut self, segment: &Segment, at: u64, len: u64) -> Result<()> {
        let end = self.at + self.bytes.len() as u64;
        if at < self.at || at + len > end {
            let until = segment.footer().records_end().min(at + len.max(BYTES_PER_TURN as u64));
            self.bytes = segment.read(at..until).await?;
            self.at = at;
        }
        Ok(())
    }
}

/// Decodes the frame with which `bytes` begins, at `offset` of its segment, however long it is.
pub(crate) async fn decode_frame<'a>(
    stream: &Stream,
    offset: u64,
    bytes: &'a [u8],
    turn: &mut Turn,
) -> format::Result<Frame<'a>> {
    match peek_len(bytes) {
        Some(len) if len > CHECKED_AT_ONCE as u64 => check_record(stream, offset, bytes, turn).await.map(Frame::Record),
        _ => decode(stream, offset, bytes),
    }
}
