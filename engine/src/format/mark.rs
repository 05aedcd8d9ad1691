//! Marks and the end mark: what lets the end of a growing log be judged.
//!
//! A mark says how far the log was durable when the write that it begins was made. So wherever a valid mark is found,
//! all that lies below its `durable` must be whole. The end mark closes a log with its totals and carries the same
//! field, for being there proves nothing about the sync that follows it.
//!
//! Mark:
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | checksum of the rest, bound to the segment's salt and the frame's offset |
//! | 4 | 1 | flags: 4 |
//! | 5 | 8 | durable: the offset in the segment below which all was durable; at most the frame's own |
//! | 13 | 8 | engine time in milliseconds |
//!
//! End mark:
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 4 | checksum, as above |
//! | 4 | 1 | flags: 5 |
//! | 5 | 8 | the offset in the segment at which this frame ends, and with it the log |
//! | 13 | 8 | number of records in the segment |
//! | 21 | 8 | seq of the last of them (0 where there is none) |
//! | 29 | 8 | durable, as above |
//! | 37 | 8 | engine time in milliseconds |

use super::frame::{CRC_LEN, KIND_END, KIND_MARK, Stream};
use super::reader::{u32_at, u64_at};
use super::{Damage, Result};
use crate::Seq;
use bytes::BytesMut;

const FLAGS: usize = CRC_LEN;
const DURABLE: usize = FLAGS + 1;
const TIME: usize = DURABLE + 8;

/// The length of a mark.
pub(crate) const MARK_LEN: usize = TIME + 8;

const END_AT: usize = FLAGS + 1;
const END_RECORDS: usize = END_AT + 8;
const END_LAST_SEQ: usize = END_RECORDS + 8;
const END_DURABLE: usize = END_LAST_SEQ + 8;
const END_TIME: usize = END_DURABLE + 8;

/// The length of an end mark.
pub(crate) const END_LEN: usize = END_TIME + 8;

const _: () = assert!(MARK_LEN == 21 && END_LEN == 45);

/// Begins each write of the committer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// All of the segment below this offset was durable when the write began.
    pub(crate) durable: u64,
    /// Engine time in milliseconds.
    pub(crate) time: u64,
}

impl Mark {
    /// Appends the mark, which will stand at `offset` of its segment.
    pub(crate) fn encode(&self, stream: &Stream, offset: u64, out: &mut BytesMut) {
        assert!(self.durable <= offset, "a mark vouches only for what lies below it");
        let mut frame = [0; MARK_LEN];
        frame[FLAGS] = KIND_MARK;
        frame[DURABLE..TIME].copy_from_slice(&self.durable.to_le_bytes());
        frame[TIME..].copy_from_slice(&self.time.to_le_bytes());
        stream.seal(offset, &mut frame);
        out.extend_from_slice(&frame);
    }

    /// Reads a mark from bytes of its length whose checksum has been compared.
    pub(super) fn parse(offset: u64, frame: &[u8]) -> Result<Mark> {
        let mark = Mark { durable: u64_at(frame, DURABLE), time: u64_at(frame, TIME) };
        if mark.durable > offset {
            return Err(Damage::new(offset, format!("mark vouches for what lies above it durable={}", mark.durable)));
        }
        Ok(mark)
    }
}

/// Ends a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The offset in the segment at which this frame ends, and with it the log: header and this frame included.
    pub(crate) len: u64,
    /// Number of records in the segment.
    pub(crate) records: u64,
    /// Seq of the last of them; 0 where there is none.
    pub(crate) last_seq: Seq,
    /// All of the segment below this offset was durable when this frame was written.
    pub(crate) durable: u64,
    /// Engine time in milliseconds.
    pub(crate) time: u64,
}

impl End {
    /// Appends the end mark, which will stand at `offset` of its segment.
    pub(crate) fn encode(&self, stream: &Stream, offset: u64, out: &mut BytesMut) {
        assert!(self.durable <= offset, "a mark vouches only for what lies below it");
        assert!(self.len == offset + END_LEN as u64, "a log ends with its end mark");
        let mut frame = [0; END_LEN];
        frame[FLAGS] = KIND_END;
        frame[END_AT..END_RECORDS].copy_from_slice(&self.len.to_le_bytes());
        frame[END_RECORDS..END_LAST_SEQ].copy_from_slice(&self.records.to_le_bytes());
        frame[END_LAST_SEQ..END_DURABLE].copy_from_slice(&self.last_seq.to_le_bytes());
        frame[END_DURABLE..END_TIME].copy_from_slice(&self.durable.to_le_bytes());
        frame[END_TIME..].copy_from_slice(&self.time.to_le_bytes());
        stream.seal(offset, &mut frame);
        out.extend_from_slice(&frame);
    }

    /// Reads an end mark from bytes of its length whose checksum has been compared.
    pub(super) fn parse(offset: u64, frame: &[u8]) -> Result<End> {
        let end = End {
            len: u64_at(frame, END_AT),
            records: u64_at(frame, END_RECORDS),
            last_seq: u64_at(frame, END_LAST_SEQ),
            durable: u64_at(frame, END_DURABLE),
            time: u64_at(frame, END_TIME),
        };
        if end.durable > offset {
            return Err(Damage::new(offset, format!("mark vouches for what lies above it durable={}", end.durable)));
        }
        if offset.checked_add(END_LEN as u64) != Some(end.len) {
            let expected = offset.saturating_add(END_LEN as u64);
            return Err(Damage::mismatch(offset, "length in the end mark", expected, end.len));
        }
        Ok(end)
    }
}

/// Finds the first valid mark or end mark that begins in `bytes`, whose first byte stands at `offset` of the segment,
/// and that declares durable something above `durable_above`; gives its offset too.
///
/// Every byte is tried, since behind a hole nothing tells where frames begin. By chance a byte passes with a
/// probability below 2^-64: its flags (2 of 256), its checksum (2^-32), and a `durable` between two offsets of one
/// segment. Values cannot be made to pass, for they would have to know the segment's salt.
///
/// To search in pieces, let each overlap the next by [`END_LEN`]` - 1` bytes.
pub(crate) fn find_mark(stream: &Stream, bytes: &[u8], offset: u64, durable_above: u64) -> Option<(u64, Mark)> {
    let candidates = bytes.get(FLAGS..)?.iter().enumerate();
    candidates.filter(|(_, flags)| matches!(**flags, KIND_MARK | KIND_END)).find_map(|(start, &flags)| {
        let (len, durable_at, time_at) = match flags {
            KIND_MARK => (MARK_LEN, DURABLE, TIME),
            _ => (END_LEN, END_DURABLE, END_TIME),
        };
        let frame = bytes.get(start..)?.get(..len)?;
        let here = offset.checked_add(start as u64)?;
        let durable = u64_at(frame, durable_at);
        // The cheap conditions first.
        let fits = durable > durable_above && durable <= here;
        if !fits || stream.crc(here, &frame[CRC_LEN..]) != u32_at(frame, 0) {
            return None;
        }
        Some((here, Mark { durable, time: u64_at(frame, time_at) }))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::frame::{Frame, decode};
    use crate::format::fuzz;

    const STREAM: Stream = Stream { salt: 0x5a17_5a17, base_seq: 100 };

    fn mark(durable: u64, offset: u64) -> Vec<u8> {
        let mut out = BytesMut::new();
        Mark { durable, time: 1_700_000_000_000 }.encode(&STREAM, offset, &mut out);
        out.to_vec()
    }

    fn end(durable: u64, offset: u64) -> Vec<u8> {
        let mut out = BytesMut::new();
        let len = offset + END_LEN as u64;
        End { len, records: 3, last_seq: 103, durable, time: 7 }.encode(&STREAM, offset, &mut out);
        out.to_vec()
    }

    #[test]
    fn marks_come_back() {
        let bytes = mark(500, 500);
        let expected = Mark { durable: 500, time: 1_700_000_000_000 };
        assert_eq!(decode(&STREAM, 500, &bytes), Ok(Frame::Mark(expected)));
        let bytes = end(128, 500);
        let expected = End { len: 545, records: 3, last_seq: 103, durable: 128, time: 7 };
        assert_eq!(decode(&STREAM, 500, &bytes), Ok(Frame::End(expected)));
    }

    #[test]
    fn damage_and_displacement_are_noticed() {
        for bytes in [mark(128, 500), end(128, 500)] {
            fuzz::every_damage_is_noticed(&bytes, |bytes| decode(&STREAM, 500, bytes).map(|_| ()));
            assert!(decode(&STREAM, 501, &bytes).is_err());
            assert!(decode(&Stream { salt: 1, ..STREAM }, 500, &bytes).is_err());
        }
    }

    /// What the encoder refuses to write is damage where it is found, its checksum notwithstanding.
    #[test]
    fn impossible_marks_are_damage() {
        let forge = |mut frame: Vec<u8>, at: usize, value: u64| {
            frame[at..at + 8].copy_from_slice(&value.to_le_bytes());
            STREAM.seal(500, &mut frame);
            decode(&STREAM, 500, &frame).map(|_| ()).unwrap_err().what
        };
        assert!(forge(mark(128, 500), DURABLE, 501).contains("lies above it"));
        assert!(forge(end(128, 500), END_DURABLE, 501).contains("lies above it"));
        assert!(forge(end(128, 500), END_AT, 546).contains("expected=545 found=546"));
    }

    #[test]
    fn a_mark_is_found_wherever_it_stands() {
        let mut bytes = vec![KIND_MARK; 77];
        bytes.extend(mark(1000, 1077));
        bytes.extend(end(1050, 1098));
        bytes.extend([KIND_END; 50]);
        let found = |above| find_mark(&STREAM, &bytes, 1000, above).map(|(at, mark)| (at, mark.durable));
        assert_eq!(found(999), Some((1077, 1000)));
        assert_eq!(found(1000), Some((1098, 1050)), "the first declares only what lies below 1000");
        assert_eq!(found(1050), None);
        assert_eq!(find_mark(&STREAM, &bytes, 1001, 0), None, "at other offsets it proves nothing");
        assert_eq!(find_mark(&STREAM, &bytes[..77 + MARK_LEN - 1], 1000, 0), None);
    }

    #[test]
    fn searching_in_pieces_finds_the_same() {
        let mut bytes = vec![0; 300];
        bytes.splice(200..200 + END_LEN, end(1100, 1200));
        for piece in 1..300 {
            let found = (0..300).step_by(piece).find_map(|start| {
                let until = bytes.len().min(start + piece + END_LEN - 1);
                find_mark(&STREAM, &bytes[start..until], 1000 + start as u64, 0)
            });
            assert_eq!(found.unwrap().0, 1200, "pieces of {piece}");
        }
    }

    #[test]
    fn the_search_survives_anything() {
        let seeds = [[mark(128, 140), end(150, 161)].concat(), vec![KIND_END; 100], vec![]];
        fuzz::mutate(&seeds, 50_000, |bytes| {
            if let Some((at, mark)) = find_mark(&STREAM, bytes, 140, 100) {
                assert!(at >= 140 && mark.durable > 100 && mark.durable <= at);
            }
            find_mark(&STREAM, bytes, u64::MAX, 0);
        });
    }
}
