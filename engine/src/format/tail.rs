//! Reads an unsealed log and judges its end: did the writer leave it whole, did a crash tear it, or is it damaged?
//!
//! A crash may leave a log's last, unsynced bytes old, torn, zero or garbage in any order of 512-byte sectors; what was
//! synced stays. So where the frames stop making sense, at the *hole*, all turns on whether the hole lies below
//! something known to have been durable: then synced bytes are gone, which no crash does. A mark further up says so,
//! or whoever calls knows it (a fragment is durable as a whole, a segment with a successor up to its end).
//!
//! | row | at the hole | declared durable above the hole | from the hole on | batch unfinished | verdict |
//! | ---: | --- | --- | --- | --- | --- |
//! | 1 | a whole end mark that fits what came before | | | no | `Ended` |
//! | 2 | a whole frame that contradicts what came before | | | | `Corrupt` |
//! | 3 | no frame | yes | | | `Corrupt` |
//! | 4 | no frame | no | nothing, or zeros only | no | `Clean` |
//! | 5 | no frame | no | anything else | either | `Torn` |
//! | 5 | no frame | no | nothing, or zeros only | yes | `Torn` |
//!
//! # Guarantees
//! 1. Only whole batches are delivered, in log order, each with every checksum compared.
//! 2. What a verdict other than `Corrupt` drops was never declared durable.
//! 3. No step computes longer than about a millisecond, however long a record is.
//!
//! # After a crash
//! A log that may still have a live writer can change under the reader: read it again before believing `Torn` or
//! `Corrupt`, and believe nothing above [`Tail::durable`].

use super::checksum;
use super::frame::{Frame, Record, Stream, Unchecked, decode, decode_record_unverified, peek_len};
use super::mark::{END_LEN, End, Mark, find_mark};
use super::{Damage, Result};
use crate::Seq;
use crate::planted::{Bug, planted};

/// How many bytes a step looks at before it gives the caller a chance to yield.
const STEP_LEN: usize = 256 << 10;

/// Reads a log batch by batch.
#[derive(Debug)]
pub(crate) struct Replay<'a> {
    // Constant after construction.
    stream: Stream,
    start: u64,
    bytes: &'a [u8],
    declared: u64,
    // How far it is. `at` and `hole` count from the front of `bytes`.
    at: usize,
    /// Of a long record at `at`: the checksum so far, and of how many bytes.
    summed: Option<(u32, usize)>,
    open: Option<OpenBatch>,
    read: Read,
    phase: Phase,
}

/// A batch whose last record has not been met.
#[derive(Clone, Copy, Debug)]
struct OpenBatch {
    at: usize,
    records: u64,
    last_seq: Seq,
}

/// What the committed batches and the marks said.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    end: u64,
    records: u64,
    last_seq: Option<Seq>,
    durable: u64,
    time: u64,
}

#[derive(Debug)]
enum Phase {
    /// Decoding frames.
    Frames,
    /// Looking for a mark above the hole; so far all has been zeros or not.
    Hunt {
        hole: usize,
        damage: Damage,
        zeros: bool,
    },
    Done(Verdict),
}

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// The next committed batch.
    Batch(Batch<'a>),
    /// Nothing yet: a moment to yield.
    More,
    /// There is no more.
    Done(Tail),
}

/// A whole batch: its records lie back to back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Batch<'a> {
    stream: Stream,
    /// The offset in the segment of its first record.
    pub(crate) offset: u64,
    /// Its frames.
    pub(crate) bytes: &'a [u8],
    /// How many records.
    pub(crate) records: u64,
    /// The seq of the last.
    pub(crate) last_seq: Seq,
}

/// How a log ended, and what it held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Whether it ended well.
    pub(crate) verdict: Verdict,
    /// The offset behind the last committed batch, mark or end mark: what lies above is no part of the log.
    pub(crate) end: u64,
    /// Number of committed records.
    pub(crate) records: u64,
    /// The seq of the last of them.
    pub(crate) last_seq: Option<Seq>,
    /// The highest offset that a mark (below the hole) declared durable.
    pub(crate) durable: u64,
    /// The largest engine time in a mark; 0 where there is none.
    pub(crate) time: u64,
}

/// How a log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// With its end mark.
    Ended(End),
    /// Without an end mark, behind a whole batch or mark.
    Clean,
    /// In the middle of something that was never declared durable: to be dropped and reported.
    Torn {
        /// The offset of the first frame that does not count.
        at: u64,
        /// Why reading stopped.
        damage: Damage,
    },
    /// Bytes are gone that were durable, or say what cannot be.
    Corrupt {
        /// What is wrong, and where.
        damage: Damage,
        /// Why it was not a crash.
        proof: Proof,
    },
}

/// Why damage cannot come from a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// A mark above it declares it durable.
    Mark {
        /// The mark's offset.
        at: u64,
        /// The offset below which it declares all durable.
        durable: u64,
    },
    /// The caller declared everything durable below this offset.
    Declared(u64),
    /// Its checksum is right: it was written so.
    Whole,
}

impl<'a> Replay<'a> {
    /// Begins with `bytes`, the log's whole remainder from the segment offset `start` on (which is `HEADER_LEN`, unless
    /// the caller knows what came before). All below the offset `declared` is known to have been durable; 0 where
    /// only the marks tell.
    pub(crate) fn new(stream: Stream, start: u64, bytes: &'a [u8], declared: u64) -> Replay<'a> {
        let read = Read { end: start, ..Read::default() };
        Replay { stream, start, bytes, declared, at: 0, summed: None, open: None, read, phase: Phase::Frames }
    }

    /// As [`new`](Replay::new), where what stands before `start` was read earlier: so many records, up to that seq.
    pub(crate) fn resume(
        stream: Stream,
        start: u64,
        bytes: &'a [u8],
        declared: u64,
        records: u64,
        last_seq: Option<Seq>,
    ) -> Replay<'a> {
        let mut replay = Replay::new(stream, start, bytes, declared);
        (replay.read.records, replay.read.last_seq) = (records, last_seq);
        replay
    }

    /// Goes on for at most about a millisecond. After [`Step::Done`] it only says so again.
    pub(crate) fn step(&mut self) -> Step<'a> {
        match &mut self.phase {
            Phase::Frames => self.read_frames(),
            Phase::Hunt { .. } => self.hunt(),
            Phase::Done(verdict) => {
                let Read { end, records, last_seq, durable, time } = self.read;
                Step::Done(Tail { verdict: verdict.clone(), end, records, last_seq, durable, time })
            }
        }
    }

    fn read_frames(&mut self) -> Step<'a> {
        let pause = self.at.saturating_add(STEP_LEN);
        while self.at < pause {
            let offset = self.offset(self.at);
            let frame = match self.decode(offset) {
                None => return Step::More,
                Some(Ok(frame)) => frame,
                Some(Err(_)) if planted(Bug::DamageSkipped) && self.skip_damaged() => return Step::More,
                Some(Err(damage)) => {
                    self.phase = Phase::Hunt { hole: self.at, damage, zeros: true };
                    return Step::More;
                }
            };
            if let Some(what) = self.contradiction(&frame) {
                let damage = Damage { offset, what };
                self.phase = Phase::Done(Verdict::Corrupt { damage, proof: Proof::Whole });
                return Step::More;
            }
            let at = self.at;
            self.at += frame.len();
            match frame {
                Frame::Record(record) => {
                    if let Some(batch) = self.take_record(at, &record) {
                        return Step::Batch(batch);
                    }
                }
                Frame::Mark(mark) => self.take_mark(mark),
                Frame::End(end) => {
                    self.take_mark(Mark { durable: end.durable, time: end.time });
                    self.phase = Phase::Done(Verdict::Ended(end));
                    return Step::More;
                }
            }
        }
        Step::More
    }

    /// The frame at `offset`, where the replay is; `None` while the checksum of a long record is being computed.
    fn decode(&mut self, offset: u64) -> Option<Result<Frame<'a>>> {
        let bytes = &self.bytes[self.at..];
        let is_long = bytes.len() > STEP_LEN && peek_len(bytes).is_some_and(|len| len > STEP_LEN as u64);
        if !is_long {
            return Some(decode(&self.stream, offset, bytes));
        }
        let record = match Unchecked::new(&self.stream, offset, bytes) {
            Ok(record) => record,
            Err(damage) => return Some(Err(damage)),
        };
        let (seed, covered) = record.covered();
        let (crc, from) = self.summed.take().unwrap_or((seed, 0));
        let to = covered.len().min(from + STEP_LEN);
        let crc = checksum::append(crc, &covered[from..to]);
        if to < covered.len() {
            self.summed = Some((crc, to));
            return None;
        }
        Some(record.check(crc).map(Frame::Record))
    }

    /// Goes on behind what the damaged frame says that it is.
    fn skip_damaged(&mut self) -> bool {
        let len = peek_len(&self.bytes[self.at..]).filter(|&len| len <= (self.bytes.len() - self.at) as u64);
        self.at += len.unwrap_or(0) as usize;
        len.is_some()
    }

    fn offset(&self, at: usize) -> u64 {
        self.start.saturating_add(at as u64)
    }

    /// Why a frame that is whole cannot stand where it does: row 2.
    fn contradiction(&self, frame: &Frame<'_>) -> Option<String> {
        match frame {
            Frame::Record(record) => {
                let before = self.open.map(|open| open.last_seq).or(self.read.last_seq)?;
                (record.seq <= before).then(|| format!("seq does not rise before={before} found={}", record.seq))
            }
            Frame::Mark(_) | Frame::End(_) if self.open.is_some() => Some("a mark within a batch".into()),
            Frame::Mark(_) => None,
            Frame::End(end) => {
                let (records, last_seq) = (self.read.records, self.read.last_seq.unwrap_or(0));
                if (end.records, end.last_seq) != (records, last_seq) {
                    let (said_records, said_seq) = (end.records, end.last_seq);
                    return Some(format!(
                        "end mark does not fit the records expected={said_records} up to seq {said_seq} \
                         found={records} up to seq {last_seq}"
                    ));
                }
                (self.declared > end.len)
                    .then(|| format!("log ends below what was durable end={} durable={}", end.len, self.declared))
            }
        }
    }

    /// Takes note of a record; gives its batch where it is the last.
    fn take_record(&mut self, at: usize, record: &Record<'_>) -> Option<Batch<'a>> {
        let open = self.open.get_or_insert(OpenBatch { at, records: 0, last_seq: 0 });
        open.records += 1;
        open.last_seq = record.seq;
        if !record.last_of_batch && !planted(Bug::HalfBatch) {
            return None;
        }
        let OpenBatch { at, records, last_seq } = *open;
        self.open = None;
        self.read.records += records;
        self.read.last_seq = Some(last_seq);
        self.read.end = self.offset(self.at);
        Some(Batch { stream: self.stream, offset: self.offset(at), bytes: &self.bytes[at..self.at], records, last_seq })
    }

    fn take_mark(&mut self, mark: Mark) {
        self.read.durable = self.read.durable.max(mark.durable);
        self.read.time = self.read.time.max(mark.time);
        self.read.end = self.offset(self.at);
    }

    /// Looks at the next piece above the hole, for a mark and for anything that is not zero.
    fn hunt(&mut self) -> Step<'a> {
        let hole_at = match &self.phase {
            Phase::Hunt { hole, .. } => self.offset(*hole),
            Phase::Frames | Phase::Done(_) => return Step::More,
        };
        let piece_end = self.bytes.len().min(self.at.saturating_add(STEP_LEN));
        let searched_end = self.bytes.len().min(piece_end.saturating_add(END_LEN - 1));
        let piece = &self.bytes[self.at..searched_end];
        let piece_is_zeros = piece.iter().all(|&byte| byte == 0);
        let mark = match piece_is_zeros {
            true => None,
            false => find_mark(&self.stream, piece, self.offset(self.at), hole_at),
        };
        let proof = if planted(Bug::TornMiddle) {
            None
        } else if self.declared > hole_at {
            Some(Proof::Declared(self.declared))
        } else {
            mark.map(|(at, mark)| Proof::Mark { at, durable: mark.durable })
        };
        self.at = piece_end;

        let Phase::Hunt { damage, zeros, .. } = &mut self.phase else { return Step::More };
        *zeros &= piece_is_zeros;
        let verdict = match (proof, *zeros) {
            // Row 3.
            (Some(proof), _) => Verdict::Corrupt { damage: damage.clone(), proof },
            (None, _) if piece_end < self.bytes.len() => return Step::More,
            // Row 4.
            (None, true) if self.open.is_none() => Verdict::Clean,
            // Row 5.
            (None, _) => {
                let at = self.open.map_or(hole_at, |open| self.start.saturating_add(open.at as u64));
                Verdict::Torn { at, damage: damage.clone() }
            }
        };
        self.phase = Phase::Done(verdict);
        Step::More
    }
}

impl Tail {
    /// That of a log of which nothing has been read: it begins at the offset `start`.
    pub(crate) fn none(start: u64) -> Tail {
        Tail { verdict: Verdict::Clean, end: start, records: 0, last_seq: None, durable: 0, time: 0 }
    }
}

impl<'a> Batch<'a> {
    /// Its records and their offsets in the segment. (Their checksums were compared when the batch was read.)
    pub(crate) fn records(&self) -> Records<'a> {
        Records { stream: self.stream, offset: self.offset, bytes: self.bytes }
    }
}

/// Records that lie back to back in bytes already trusted.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    stream: Stream,
    offset: u64,
    bytes: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u64, Record<'a>)>;

    /// Ends after the last record, or after the first complaint.
    fn next(&mut self) -> Option<Result<(u64, Record<'a>)>> {
        if self.bytes.is_empty() {
            return None;
        }
        let offset = self.offset;
        let record = decode_record_unverified(&self.stream, offset, self.bytes);
        let len = record.as_ref().map_or(self.bytes.len(), |record| record.len);
        self.bytes = &self.bytes[len..];
        self.offset += len as u64;
        Some(record.map(|record| (offset, record)))
    }
}

#[cfg(test)]
mod tests;
