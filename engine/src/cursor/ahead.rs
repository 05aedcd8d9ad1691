//! Reading ahead: where each request takes its time, what a walk over a segment will need next is on its way before it is
//! asked for, and comes in requests that grow with the walk.
//!
//! A walk goes over records, or over index blocks, or from one to the other and back: each of the two has a *lane*. What
//! goes on in its lane where it was before is read ahead of, by as much as it has walked so far: what is read in vain is
//! never more than what was wanted. A leap begins anew. Where it is known how far the walk [goes](Extent), forward over values, all of
//! that is asked for from the beginning, as far as there is room for it; and if it goes beyond its segment the
//! [next](Following) one is opened, and begun, meanwhile.
//!
//! Backward all is the same as seen in a mirror: there what lies before a place lies behind it, and a lane, all of whose places
//! are those in the mirror, walks on as ever.
//!
//! # Concurrency
//! A read ahead is a task: it comes to its end although nobody polls the walk, so that a walk that rests holds no request
//! back from others. Dropped, the walk takes its tasks with it. Polled outside of a runtime, a walk reads for itself.

use crate::range::{Course, Direction};
use crate::segment::{Loan, Segment};
use crate::tasks::Beside;
use crate::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// Bytes that all sources of one walk may have read ahead, together: no more than [there is memory for](Segment::ahead_memory),
/// either.
const AHEAD_OF_ALL_MAX: u64 = 32 << 20;
/// One of them, at most,
const AHEAD_MAX: u64 = 4 << 20;
/// where it is known how far it goes: what is sent to another continent in a tenth of a second,
const AHEAD_OF_KNOWN_MAX: u64 = 16 << 20;
/// and however many there are.
const AHEAD_MIN: u64 = 32 << 10;
/// Bytes of one request, unless that much is needed at once: several side by side are quicker than one.
const REQUEST_MAX: u64 = 2 << 20;

/// How far a walk goes, as far as that is known when it begins.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    course: Course,
    /// Entries after which it ends.
    limit: usize,
}

impl Extent {
    /// That of a walk over the values on `course`, or the first `limit` of them; `None` where that says nothing.
    pub(crate) fn new(course: &Course, limit: usize) -> Option<Extent> {
        let ends = limit < usize::MAX || course.range.end != Bound::Unbounded;
        (ends && !course.is_backward()).then(|| Extent { course: course.clone(), limit })
    }

    /// Whether fences and index tell where in `segment` the walk begins, or ends.
    fn has_bound_in(&self, segment: &Segment) -> bool {
        let Course { range, .. } = &self.course;
        let ends = match &range.end {
            Bound::Included(end) | Bound::Excluded(end) => end[..] <= segment.meta.max_key[..],
            Bound::Unbounded => false,
        };
        self.course.is_before(&segment.meta.min_key) || (ends && self.limit == usize::MAX)
    }

    /// About up to where the walk needs records of `segment`, if it has come to `at` and has given `given` bytes of them, and
    /// its range ends at `by_range`.
    fn end_in(&self, segment: &Segment, by_range: Option<u64>, at: u64, given: u64) -> Option<u64> {
        let all = (self.limit < usize::MAX).then(|| segment.mean_record_len().saturating_mul(self.limit as u64));
        let by_limit = all.map(|all| at.saturating_add(all).saturating_sub(given));
        by_range.into_iter().chain(by_limit).min()
    }
}

/// What is read ahead of one source.
#[derive(Debug)]
pub(super) struct ReadAhead {
    records: Lane,
    index: Lane,
    extent: Option<Extent>,
    /// Where the range ends in the segment of this serial, if that is known.
    end_of: Option<(u64, Option<u64>)>,
    following: Option<Following>,
    /// Bytes of records that were wanted.
    given: u64,
    sources: u64,
    /// Memory of what is read ahead.
    loan: Option<Loan>,
}

/// The segment to which a walk will come from the one that it is in.
#[derive(Debug)]
struct Following {
    segment: Arc<Segment>,
    opening: Beside<Result<()>>,
    /// Its records, once they are asked for.
    records: Option<Lane>,
}

/// A part of a segment that is walked from its beginning to its end.
#[derive(Debug)]
struct Lane {
    segment: Option<Arc<Segment>>,
    /// What was asked for, in order, each piece beginning where the one before ends.
    pieces: VecDeque<Piece>,
    /// Where the first of them begins, and where the last ends.
    at: u64,
    end: u64,
    /// Up to where bytes were wanted, and how many since the last leap.
    wanted: u64,
    walked: u64,
    /// All that the walk will want was asked for.
    whole: bool,
    direction: Direction,
}

/// How many bytes of what follows a place are read with it.
#[derive(Clone, Copy, Debug)]
enum Ahead {
    /// These; and whether they are all that will be wanted.
    Known { bytes: u64, whole: bool },
    /// As many as have been walked over, but no more than so many.
    Walked { max: u64 },
}

/// Where the mirror stands: behind all that a file can hold.
const MIRROR: u64 = 1 << 62;

#[derive(Debug)]
struct Piece {
    len: u64,
    read: Read,
}

#[derive(Debug)]
enum Read {
    Here(Bytes),
    Coming(Beside<Result<Bytes>>),
}

impl ReadAhead {
    /// For one of so many sources, which goes in `direction`.
    pub(super) fn new(sources: usize, direction: Direction, extent: Option<Extent>) -> ReadAhead {
        let (records, index) = (Lane::new(direction), Lane::new(direction));
        let sources = sources.max(1) as u64;
        ReadAhead { records, index, extent, end_of: None, following: None, given: 0, sources, loan: None }
    }

    /// How much may be read ahead in `segment`, where that is `max` at most.
    fn share(&self, segment: &Segment, max: u64) -> u64 {
        (AHEAD_OF_ALL_MAX.min(segment.ahead_memory()) / self.sources).clamp(AHEAD_MIN, max)
    }

    /// Reads `range` of `segment`, and begins to read what follows it: there, and in the `next` segment of the walk.
    pub(super) async fn read(
        &mut self,
        segment: &Arc<Segment>,
        next: Option<&Arc<Segment>>,
        range: Range<u64>,
    ) -> Result<Bytes> {
        self.come_to(segment, next).await?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if range.start < segment.records().end {
            return self.read_records(segment, next, range).await;
        }
        if let Some(kept) = segment.kept(&range) {
            return Ok(kept);
        }
        let ahead = Ahead::Walked { max: self.share(segment, AHEAD_MAX) };
        let range = self.index.ask(segment, range, segment.index_range(), ahead);
        self.borrow(segment, &range);
        self.index.collect(range).await
    }

    async fn read_records(
        &mut self,
        segment: &Arc<Segment>,
        next: Option<&Arc<Segment>>,
        range: Range<u64>,
    ) -> Result<Bytes> {
        let records = segment.records();
        self.given += range.end - range.start;
        let end = self.end_in(segment, range.end);
        let ahead = match end {
            // The last piece that is wanted goes beyond the end. And what was known may have been too little: then it reads
            // ahead by as much as it has gone beyond that.
            Some(end) => {
                let known = (end + (range.end - range.start)).abs_diff(range.end);
                let bytes = known.min(self.share(segment, AHEAD_OF_KNOWN_MAX));
                Ahead::Known { bytes, whole: bytes == known }
            }
            None => Ahead::Walked { max: self.share(segment, AHEAD_MAX) },
        };
        let goes_beyond = end.is_some_and(|end| end >= records.end);
        let wanted = self.records.ask(segment, range, records, ahead);
        if let Some(next) = next.filter(|_| goes_beyond) {
            self.look_beyond(segment, next);
        }
        self.borrow(segment, &wanted);
        self.records.collect(wanted).await
    }

    /// Borrows as much memory as what is read ahead takes now, and `wanted`, which the walk goes over meanwhile.
    fn borrow(&mut self, segment: &Segment, wanted: &Range<u64>) {
        let following = self.following.as_ref().and_then(|following| following.records.as_ref());
        let held = [&self.records, &self.index].into_iter().chain(following).map(Lane::held).sum::<u64>();
        self.loan.get_or_insert_with(|| segment.loan()).set(held + (wanted.end - wanted.start));
    }

    /// Opens `segment`, unless that was begun before the walk came to it; beside that the `next` one, if only the range ends
    /// the walk.
    async fn come_to(&mut self, segment: &Arc<Segment>, next: Option<&Arc<Segment>>) -> Result<()> {
        let before = self.following.take_if(|following| following.segment.serial() == segment.serial());
        if let Some(next) = next.filter(|_| self.extent.as_ref().is_some_and(|extent| extent.limit == usize::MAX)) {
            self.open_beside(next);
        }
        if let Some(mut before) = before {
            // What has failed is tried again.
            let _ = before.opening.join().await;
            if let Some(records) = before.records {
                self.records = records;
            }
        }
        if is_prepared(segment, self.extent.as_ref()) {
            return Ok(());
        }
        prepare(segment, self.extent.as_ref()).join().await.ok_or_else(lost)?
    }

    /// Opens the `next` segment while the walk is in another one.
    fn open_beside(&mut self, next: &Arc<Segment>) {
        if self.following.as_ref().is_none_or(|following| following.segment.serial() != next.serial()) {
            let opening = prepare(next, self.extent.as_ref());
            self.following = Some(Following { segment: next.clone(), opening, records: None });
        }
    }

    /// About up to where the walk needs records of `segment`, if it has come to `at`.
    fn end_in(&mut self, segment: &Segment, at: u64) -> Option<u64> {
        let extent = self.extent.as_ref()?;
        let (_, by_range) = match self.end_of.filter(|(serial, _)| *serial == segment.serial()) {
            Some(known) => known,
            None => *self.end_of.insert((segment.serial(), segment.records_until(&extent.course.range))),
        };
        extent.end_in(segment, by_range, at, self.given)
    }

    /// Opens the `next` segment while the walk is in `segment`, and begins to read it when all of that was asked for, as far as
    /// there is room.
    fn look_beyond(&mut self, segment: &Segment, next: &Arc<Segment>) {
        self.open_beside(next);
        let all = self.share(segment, AHEAD_OF_KNOWN_MAX);
        let room = all.saturating_sub(self.records.end.saturating_sub(self.records.wanted));
        let (Some(following), Some(extent)) = (&mut self.following, &self.extent) else { return };
        let is_due = self.records.whole && room >= all / 2 && following.records.is_none();
        if is_due && next.is_open() {
            let records = next.records();
            let given = self.given + segment.records().end.saturating_sub(self.records.wanted);
            let end = extent.end_in(next, next.records_until(&extent.course.range), records.start, given);
            let mut lane = Lane::new(Direction::Forward);
            lane.let_go_before(next, records.start);
            let until = end.unwrap_or(records.start).min(records.start + room).min(records.end);
            lane.request(records.start, until);
            following.records = Some(lane);
        }
    }
}

/// Opens `segment`, and reads by what it is known where a walk begins or ends there.
fn prepare(segment: &Arc<Segment>, extent: Option<&Extent>) -> Beside<Result<()>> {
    let (segment, bounds) = (segment.clone(), extent.is_some_and(|extent| extent.has_bound_in(segment)));
    Beside::new(async move {
        let _under_way = segment.long_read().await;
        segment.open().await?;
        if bounds {
            segment.fences().await?;
        }
        Ok(())
    })
}

/// Whether there is nothing of that to do.
fn is_prepared(segment: &Segment, extent: Option<&Extent>) -> bool {
    segment.is_open() && (segment.has_fences() || !extent.is_some_and(|extent| extent.has_bound_in(segment)))
}

impl Lane {
    fn new(direction: Direction) -> Lane {
        Lane { segment: None, pieces: VecDeque::new(), at: 0, end: 0, wanted: 0, walked: 0, whole: false, direction }
    }

    /// Bytes that it has, or has asked for.
    fn held(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len).sum()
    }

    /// Places of a file as the lane has them, and back.
    fn seen(&self, range: Range<u64>) -> Range<u64> {
        match self.direction {
            Direction::Forward => range,
            Direction::Backward => MIRROR - range.end..MIRROR - range.start,
        }
    }

    /// Asks for `range`, unless that was done, and for what follows. Returns the range as the lane has it.
    fn ask(&mut self, segment: &Arc<Segment>, range: Range<u64>, part: Range<u64>, ahead: Ahead) -> Range<u64> {
        let (range, part) = (self.seen(range), self.seen(part));
        let goes_on = self.goes_on(segment, &range, &part);
        if !goes_on {
            self.walked = 0;
        }
        self.let_go_before(segment, range.start);
        self.walked += range.end.saturating_sub(self.wanted.max(range.start));
        self.wanted = range.end;
        let (ahead, whole) = match ahead {
            Ahead::Known { bytes, whole } => (bytes, whole),
            Ahead::Walked { max } if goes_on => (self.walked.min(max), false),
            Ahead::Walked { .. } => (0, false),
        };
        let until = (range.end + ahead).min(part.end).max(range.end);
        // Half of what may be ahead is asked for at a time, so that it is under way while the other half is used; and the
        // end once there is room for all up to there.
        let ends = whole && !std::mem::replace(&mut self.whole, whole);
        if self.end < range.end || until.saturating_sub(self.end) > ahead / 2 || ends {
            self.request(range.end, until);
        }
        range
    }

    /// Whether what is wanted goes on where the walk was: in what was asked for, or behind it; or where the next segment
    /// begins.
    fn goes_on(&self, segment: &Arc<Segment>, range: &Range<u64>, part: &Range<u64>) -> bool {
        match &self.segment {
            Some(before) if before.serial() == segment.serial() => (self.at..=self.end).contains(&range.start),
            Some(_) => range.start == part.start,
            None => false,
        }
    }

    /// Forgets what lies before `at`, and all of what is not of `segment` or lies behind a gap.
    fn let_go_before(&mut self, segment: &Arc<Segment>, at: u64) {
        let is_same = self.segment.as_ref().is_some_and(|before| before.serial() == segment.serial());
        if !is_same || !(self.at..=self.end).contains(&at) {
            self.segment = Some(segment.clone());
            self.pieces.clear();
            (self.at, self.end, self.wanted, self.whole) = (at, at, at, false);
        }
        while let Some(first) = self.pieces.front().filter(|first| self.at + first.len <= at) {
            self.at += first.len;
            self.pieces.pop_front();
        }
    }

    /// Asks for what lies between the last piece and `until`; up to `needed` in one request.
    fn request(&mut self, needed: u64, until: u64) {
        let Some(segment) = &self.segment else { return };
        while self.end < until {
            let end = until.min(needed.max(self.end + REQUEST_MAX));
            let (segment, range) = (segment.clone(), self.seen(self.end..end));
            let read = Read::Coming(Beside::new(async move {
                let _under_way = segment.long_read().await;
                segment.read(range).await
            }));
            self.pieces.push_back(Piece { len: end - self.end, read });
            self.end = end;
        }
    }

    /// The bytes of `range`, all of which was asked for.
    async fn collect(&mut self, range: Range<u64>) -> Result<Bytes> {
        let mut at = self.at;
        let mut parts: Vec<Bytes> = Vec::new();
        for piece in &mut self.pieces {
            let (start, end) = (at, at + piece.len);
            at = end;
            if start >= range.end {
                break;
            }
            let bytes = piece.here().await?;
            let (from, to) = (range.start.max(start) - start, range.end.min(end) - start);
            parts.push(match self.direction {
                Direction::Forward => bytes.slice(from as usize..to as usize),
                Direction::Backward => bytes.slice((piece.len - to) as usize..(piece.len - from) as usize),
            });
        }
        if self.direction == Direction::Backward {
            parts.reverse();
        }
        Ok(match <[Bytes; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(parts) => {
                let mut whole = BytesMut::with_capacity((range.end - range.start) as usize);
                parts.iter().for_each(|part| whole.extend_from_slice(part));
                whole.freeze()
            }
        })
    }
}

impl Piece {
    async fn here(&mut self) -> Result<Bytes> {
        if let Read::Coming(read) = &mut self.read {
            let bytes = read.join().await.ok_or_else(lost)??;
            self.read = Read::Here(bytes);
        }
        match &self.read {
            Read::Here(bytes) => Ok(bytes.clone()),
            Read::Coming(_) => Err(lost()),
        }
    }
}

/// The runtime ends.
#[cold]
fn lost() -> Error {
    Error::new(ErrorKind::Closed, "the runtime ended while a segment was being read")
}
