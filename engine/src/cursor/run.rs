//! Walks a range of a run's keys: its segments one after the other, for they are disjoint.

use crate::Result;
use crate::cover::Interval;
use crate::range::Course;
use crate::segment::{Segment, SegmentCursor, Step};
use crate::version::Run;
use std::sync::Arc;

/// A place in a range of a run's keys.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    course: Course,
    keys_only: bool,
    /// The number of the segment that `segment` walks.
    index: usize,
    segment: SegmentCursor,
}

impl RunCursor {
    /// At the beginning of `course`; `None` if no segment can hold a key of its range. Cheap: nothing is read yet.
    pub(super) fn new(run: Arc<Run>, course: Course, keys_only: bool) -> Option<RunCursor> {
        let index = run.first_on(&course)?;
        let segment = SegmentCursor::new(run.segments[index].clone(), course.clone(), keys_only);
        Some(RunCursor { run, course, keys_only, index, segment })
    }

    /// Goes to the next record. After an error there is none.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<Step> {
        loop {
            let step = self.segment.advance();
            if !matches!(step, Ok(Step::End)) || !self.next_segment() {
                return step;
            }
        }
    }

    fn next_segment(&mut self) -> bool {
        let Some(next) = self.run.next_on(self.index, &self.course) else { return false };
        self.segment = SegmentCursor::new(self.run.segments[next].clone(), self.course.clone(), self.keys_only);
        self.index = next;
        true
    }

    /// Goes on behind the keys of `passed`, if no record is newer than the tombstone over them.
    pub(super) fn leap(&mut self, passed: &Interval) {
        if self.run.max_seq >= passed.seq {
            return;
        }
        let course = self.course.behind(passed);
        match RunCursor::new(self.run.clone(), course.clone(), self.keys_only) {
            Some(cursor) => *self = cursor,
            // The segment it is in has nothing there, and knows that.
            None => self.segment = SegmentCursor::new(self.run.segments[self.index].clone(), course, self.keys_only),
        }
    }

    /// The cursor of the segment that the current record is in.
    #[inline]
    pub(crate) fn segment(&self) -> &SegmentCursor {
        &self.segment
    }

    /// The same, to be supplied.
    pub(super) fn segment_mut(&mut self) -> &mut SegmentCursor {
        &mut self.segment
    }

    /// The segment that comes next, if the range goes so far.
    pub(super) fn following(&self) -> Option<&Arc<Segment>> {
        self.run.next_on(self.index, &self.course).map(|next| &self.run.segments[next])
    }
}
