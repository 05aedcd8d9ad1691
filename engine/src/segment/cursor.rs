//! Walks a range of a segment's keys in order or against it, without an await: where bytes are not at hand it says which
//! it needs.
//!
//! | layout | with values | keys only |
//! | --- | --- | --- |
//! | sorted | finds its place through fences and index, then goes from record to record; backward, from chunk to chunk of them | goes from entry to entry of the index, and into the records only where an entry covers several |
//! | dense | goes from entry to entry; values are read from where these point, by whoever wants them | the same |

use super::frames::{FrameStep, Frames};
use super::reader::Segment;
use crate::format::block::{BlockCursor, Content, Facts, Span};
use crate::format::fences::Fences;
use crate::format::header::HEADER_LEN;
use crate::format::{self, Damage};
use crate::range::Course;
use crate::touch::{self, Ahead, touch};
use crate::value::Value;
use crate::{Error, Result};
use bytes::Bytes;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// How a step of a cursor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The cursor stands at a record.
    Ready,
    /// There is none left.
    End,
    /// It needs these bytes of the segment's file first: [`SegmentCursor::supply`].
    Need(Range<u64>),
    /// It is checking a long record: a moment to yield.
    Again,
}

/// Where the value of the current record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueAt {
    /// Here.
    Here(Value),
    /// In the record at this offset, of this length.
    At { offset: u32, len: u32 },
}

/// A place in a range of a segment's keys.
#[derive(Debug)]
pub(crate) struct SegmentCursor {
    segment: Arc<Segment>,
    course: Course,
    keys_only: bool,
    state: State,
    /// No key of the range has been met yet, so keys may still lie before it.
    seeking: bool,
    /// Whether the current record is that of the index entry, and not that of the frames.
    at_entry: bool,
    entries: BlockCursor,
    ahead: Ahead,
    frames: Frames,
    need: Option<Range<u64>>,
    supplied: Option<Bytes>,
    /// Bytes of records that it may need at once, about.
    at_once: u64,
}

/// What the next step has to do.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Find the index block in which the way begins.
    Start,
    /// Open this index block; seek in it, or begin at its first entry, backward at its last.
    Block {
        index: usize,
        seek: bool,
    },
    /// Go to the next entry of this index block.
    Entry {
        index: usize,
    },
    /// Go to the next record; after the last to the next entry of the index block, if one is given.
    Frame {
        index: Option<usize>,
    },
    Done,
}

impl SegmentCursor {
    /// A cursor at the beginning of `course`. Cheap: nothing is read yet.
    pub(crate) fn new(segment: Arc<Segment>, course: Course, keys_only: bool) -> SegmentCursor {
        SegmentCursor {
            course,
            keys_only,
            state: State::Start,
            seeking: true,
            at_entry: false,
            entries: BlockCursor::empty(),
            ahead: Ahead::new(),
            frames: Frames::nothing(segment.stream()),
            need: None,
            supplied: None,
            at_once: 0,
            segment,
        }
    }

    /// Goes to the next record. After an error there is none.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<Step> {
        let step = self.step();
        match &step {
            Ok(Step::Ready | Step::Again) => {}
            Ok(Step::End) | Err(_) => self.state = State::Done,
            Ok(Step::Need(range)) => self.need = Some(range.clone()),
        }
        step
    }

    /// Gives the bytes that the last step needed, and says how many it may need at once from now on, about, as they stay in
    /// memory until their records have been walked.
    pub(crate) fn supply(&mut self, bytes: Bytes, at_once: u64) {
        (self.supplied, self.at_once) = (Some(bytes), at_once);
    }

    /// The current record's key.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        if self.at_entry { self.entries.key() } else { self.frames.key() }
    }

    /// The current record's key, sharing the segment's memory if that is where it is.
    #[inline]
    pub(crate) fn shared_key(&self) -> Option<Bytes> {
        (!self.at_entry).then(|| self.frames.key_bytes())
    }

    /// Seq, kind and expiry of the current record.
    #[inline]
    pub(crate) fn facts(&self) -> &Facts {
        match &self.entries.span().content {
            Content::One(facts) if self.at_entry => facts,
            _ => self.frames.facts(),
        }
    }

    /// The current record's value, or where it is.
    #[inline]
    pub(crate) fn value(&self) -> ValueAt {
        if self.at_entry {
            let Span { offset, len, .. } = *self.entries.span();
            ValueAt::At { offset, len }
        } else {
            let place = || Some((self.segment.path().clone(), self.frames.value_offset()));
            ValueAt::Here(Value::new(self.frames.value_bytes(), self.frames.is_compressed(), place))
        }
    }

    /// Bytes that were looked at for the current record: a measure of the work done.
    #[inline]
    pub(crate) fn weight(&self) -> usize {
        if self.at_entry { 0 } else { self.frames.value_len() }
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Checks that the record found where [`value`](SegmentCursor::value) says is the one that the index means.
    #[inline]
    pub(crate) fn check(&self, key: &[u8], seq: crate::Seq) -> Result<()> {
        if key == self.key() && seq == self.facts().seq { Ok(()) } else { Err(self.strayed()) }
    }

    #[cold]
    fn strayed(&self) -> Error {
        let offset = u64::from(self.entries.span().offset);
        self.segment.corrupt(Damage::new(offset, "index entry points at another record than its own"))
    }

    #[inline]
    fn step(&mut self) -> Result<Step> {
        loop {
            match self.state {
                State::Frame { index } => {
                    if let Some(step) = self.step_frame(index)? {
                        return Ok(step);
                    }
                }
                State::Entry { index } => {
                    if let Some(step) = self.step_entry(index)? {
                        return Ok(step);
                    }
                }
                State::Block { index, seek } => {
                    if let Some(step) = self.open_block(index, seek)? {
                        return Ok(step);
                    }
                }
                State::Start => {
                    if let Some(step) = self.start()? {
                        return Ok(step);
                    }
                }
                State::Done => return Ok(Step::End),
            }
        }
    }

    /// Goes to the next record of the frames; `None` where that is not in the range, or they have ended.
    #[inline]
    fn step_frame(&mut self, index: Option<usize>) -> Result<Option<Step>> {
        let from = self.fetches_from();
        let step = if self.course.is_backward() {
            let is_beyond = |key: &[u8]| self.seeking && self.course.is_before(key);
            self.frames.retreat(from, is_beyond)
        } else {
            self.frames.advance()
        };
        match step.map_err(|damage| self.segment.corrupt(damage))? {
            FrameStep::Ready => {
                self.at_entry = false;
                Ok(self.judge())
            }
            FrameStep::End => {
                self.state = index.map_or(State::Done, |index| State::Entry { index });
                Ok(None)
            }
            FrameStep::Need(range) => match self.fetch(range.clone())? {
                Some(bytes) => {
                    self.frames.supply(range.start, bytes, self.at_once);
                    Ok(None)
                }
                None => Ok(Some(Step::Need(range))),
            },
            FrameStep::Again => Ok(Some(Step::Again)),
        }
    }

    /// Whether the current key is in the range: `None` if it lies before.
    #[inline]
    fn judge(&mut self) -> Option<Step> {
        if self.seeking && self.course.is_before(self.key()) {
            return None;
        }
        self.seeking = false;
        Some(if self.course.is_past(self.key()) { Step::End } else { Step::Ready })
    }

    fn start(&mut self) -> Result<Option<Step>> {
        if !self.segment.is_open() {
            // Whoever reads it opens it.
            return Ok(Some(Step::Need(0..0)));
        }
        if self.streams() && !self.course.is_before(&self.segment.meta.min_key) {
            self.stream_from(self.segment.records().start);
            return Ok(None);
        }
        let segment = self.segment.clone();
        let fences: &Fences = match segment.fences_kept() {
            Some(fences) => fences,
            None => {
                let range = segment.footer().fences.range.clone();
                match self.fetch(range.clone())? {
                    Some(bytes) => segment.take_fences(bytes)?,
                    None => return Ok(Some(Step::Need(range))),
                }
            }
        };
        let (index, seek) = match self.course.begin() {
            Bound::Included(key) | Bound::Excluded(key) => (fences.find(key), true),
            Bound::Unbounded if self.course.is_backward() => (fences.len().saturating_sub(1), false),
            Bound::Unbounded => (0, false),
        };
        self.state = State::Block { index, seek };
        Ok(None)
    }

    /// Whether records are what it gives, and not entries of the index.
    fn walks_frames(&self) -> bool {
        self.segment.is_sorted() && !self.keys_only
    }

    /// Whether it goes from record to record, once it has found the first.
    fn streams(&self) -> bool {
        self.walks_frames() && !self.course.is_backward()
    }

    /// Below this offset nothing is fetched along with a chunk that is needed. What lies before a chunk comes next where
    /// values are wanted; for keys it may be a large value.
    fn fetches_from(&self) -> u64 {
        if self.walks_frames() { HEADER_LEN as u64 } else { u64::MAX }
    }

    fn open_block(&mut self, index: usize, seek: bool) -> Result<Option<Step>> {
        let segment = self.segment.clone();
        let corrupt = |damage| segment.corrupt(damage);
        let Some(fences) = segment.fences_kept().filter(|fences| index < fences.len()) else {
            self.state = State::Done;
            return Ok(None);
        };
        let block = fences.block(index);
        let Some(bytes) = self.fetch(block.clone())? else {
            return Ok(Some(Step::Need(block)));
        };
        self.entries.open(&segment.stream(), block.start, bytes).map_err(corrupt)?;
        self.state = State::Entry { index };
        if self.course.is_backward() {
            self.begin_backward(seek).map_err(corrupt)?;
            return Ok(None);
        }
        match self.course.begin() {
            Bound::Included(start) | Bound::Excluded(start) if seek => {
                let found = if segment.is_sorted() {
                    self.entries.seek_back(start).map(|()| true)
                } else {
                    self.entries.seek(start)
                };
                if found.map_err(corrupt)? { self.take_entry(index) } else { Ok(None) }
            }
            _ => Ok(None),
        }
    }

    /// Goes behind the last entry of the block that is in the range, or of a chunk that may be.
    fn begin_backward(&mut self, seek: bool) -> format::Result<()> {
        match self.course.begin() {
            Bound::Included(end) if seek => self.entries.seek_behind(end, true),
            Bound::Excluded(end) if seek => self.entries.seek_behind(end, false),
            _ => {
                self.entries.seek_end();
                Ok(())
            }
        }
    }

    fn step_entry(&mut self, index: usize) -> Result<Option<Step>> {
        let moved = if self.course.is_backward() { self.entries.retreat() } else { self.entries.advance() };
        if moved.map_err(|damage| self.segment.corrupt(damage))? {
            return self.take_entry(index);
        }
        let blocks = self.segment.fences_kept().map_or(0, Fences::len);
        let next = self.course.next(index, blocks);
        self.state = next.map_or(State::Done, |index| State::Block { index, seek: false });
        Ok(None)
    }

    /// The entries' cursor has come to an entry: that is the current record, or the way to it.
    fn take_entry(&mut self, index: usize) -> Result<Option<Step>> {
        let span = *self.entries.span();
        let records_end = self.segment.footer().records_end();
        if span.end() > records_end || (span.offset as usize) < HEADER_LEN {
            let damage = Damage::new(u64::from(span.offset), "index entry points where no record is");
            return Err(self.segment.corrupt(damage));
        }
        match span.content {
            _ if self.streams() => self.stream_from(u64::from(span.offset)),
            Content::One(_) if self.walks_frames() => self.walk(u64::from(span.offset)..span.end(), Some(index)),
            Content::Several(_) => self.walk(u64::from(span.offset)..span.end(), Some(index)),
            Content::One(_) => {
                self.at_entry = true;
                let step = self.judge();
                if !self.keys_only && step == Some(Step::Ready) && self.entries.is_unseen(self.course.is_backward()) {
                    self.touch_records();
                }
                return Ok(step);
            }
        }
        Ok(None)
    }

    /// Touches the records of the current entry and of some that come next, where they are mapped: key order leads all over
    /// a dense segment.
    fn touch_records(&mut self) {
        let Some(map) = self.segment.if_opened().and_then(|opened| opened.map.as_ref()) else { return };
        let record = |span: &Span| {
            let start = span.offset as usize;
            map.whole.get(start..start + (span.len as usize).min(touch::LEN_MAX)).unwrap_or_default()
        };
        let mut records = [&[][..]; Ahead::MAX + 1];
        records[0] = record(self.entries.span());
        let mut places = records[1..].iter_mut();
        self.entries.look_ahead(self.course.is_backward(), self.ahead.next(), |span| {
            if let Some(place) = places.next() {
                *place = record(span);
            }
        });
        touch(records.into_iter());
    }

    /// Goes on with the records from `offset` on, up to where those of the range end, if that is known: what lies behind need not
    /// be fetched.
    fn stream_from(&mut self, offset: u64) {
        let end = self.segment.records_until(&self.course.range).unwrap_or(self.segment.records().end);
        self.walk(offset..end.max(offset), None);
    }

    /// Goes on with the records in `range`, and then with index block `index`.
    fn walk(&mut self, range: Range<u64>, index: Option<usize>) {
        if !self.frames.holds(&range) {
            let records = self.segment.records();
            // An owner of its own: what this walk hands out is counted apart from what others do.
            let mapped = self.segment.mapped(records.clone()).map(Bytes::from_owner);
            self.frames.hold(records.start, mapped.unwrap_or_default());
        }
        self.frames.restart(range);
        self.state = State::Frame { index };
    }

    /// Bytes of the file: mapped, or supplied since they were asked for.
    fn fetch(&mut self, range: Range<u64>) -> Result<Option<Bytes>> {
        if let Some(bytes) = self.segment.mapped(range.clone()) {
            return Ok(Some(bytes));
        }
        let Some(bytes) = self.supplied.take().filter(|_| self.need.take() == Some(range.clone())) else {
            return Ok(None);
        };
        let len = range.end - range.start;
        if bytes.len() as u64 != len {
            let damage = Damage::mismatch(range.start, "bytes read", len, bytes.len());
            return Err(self.segment.corrupt(damage));
        }
        Ok(Some(bytes))
    }
}
