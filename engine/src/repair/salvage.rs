//! Finds every whole record in bytes that may be damaged anywhere.

use super::files::File;
use crate::format::frame::{Frame, Record};
use crate::segment::decode_frame;
use crate::turn::Turn;
use bytes::Bytes;

/// What comes next.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A record, and its offset in the segment.
    Record(u64, Record<'a>),
    /// Bytes of which nothing can be made: where they begin in the file, how many they are, and what was wrong first.
    Lost { offset: u64, bytes: u64, what: String },
}

/// Walks the frames of one file.
pub(super) struct Salvage<'a> {
    file: &'a File,
    bytes: &'a Bytes,
    /// Where the next frame is looked for.
    at: usize,
    end: usize,
    turn: Turn,
}

impl<'a> Salvage<'a> {
    pub(super) fn new(file: &'a File, bytes: &'a Bytes) -> Salvage<'a> {
        let at = (file.frames_at as usize).min(bytes.len());
        let end = file.frames_end(bytes) as usize;
        Salvage { file, bytes, at, end: end.clamp(at, bytes.len()), turn: Turn::default() }
    }

    pub(super) async fn next(&mut self) -> Option<Found<'a>> {
        let mut lost: Option<(usize, String)> = None;
        while self.at < self.end {
            let (at, offset) = (self.at, self.file.offset_in_segment(self.at as u64));
            match decode_frame(&self.file.stream, offset, &self.bytes[at..self.end], &mut self.turn).await {
                // What was lost is told first.
                Ok(_) if lost.is_some() => break,
                Ok(frame) => {
                    self.at += frame.len();
                    self.turn.take(frame.len()).await;
                    match frame {
                        Frame::Record(record) => return Some(Found::Record(offset, record)),
                        Frame::Mark(_) => {}
                        // Behind it is the index, or room that was never used.
                        Frame::End(_) => self.end = self.at,
                    }
                }
                Err(damage) => {
                    if lost.is_none() {
                        if self.is_unused(at) {
                            self.end = at;
                            break;
                        }
                        lost = Some((at, damage.what));
                    }
                    self.at += 1;
                    // To compare a checksum may be the work of many bytes.
                    self.turn.take(damage_work(&self.bytes[at..self.end])).await;
                }
            }
        }
        let (start, what) = lost?;
        Some(Found::Lost { offset: start as u64, bytes: (self.at - start) as u64, what })
    }

    /// Whether all from `at` on is room that was set aside for a log and never written.
    fn is_unused(&self, at: usize) -> bool {
        self.bytes[at..self.end].iter().all(|&byte| byte == 0)
    }
}

/// How many bytes were looked at where no frame begins.
fn damage_work(bytes: &[u8]) -> usize {
    crate::format::frame::peek_len(bytes).map_or(1, |len| len.min(bytes.len() as u64) as usize)
}
