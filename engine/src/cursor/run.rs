//! Walks a range of a run's keys: its segments one after the other, for they are disjoint.

use crate::segment::{SegmentCursor, Step};
use crate::version::Run;
use crate::{KeyRange, Result};
use std::sync::Arc;

/// A place in a range of a run's keys.
#[derive(Debug)]
pub(crate) struct RunCursor {
    run: Arc<Run>,
    range: KeyRange,
    keys_only: bool,
    /// The number of the segment that comes after `segment`.
    next: usize,
    segment: SegmentCursor,
}

impl RunCursor {
    /// Before the first key of `range`; `None` if no segment can hold one. Cheap: nothing is read yet.
    pub(super) fn new(run: Arc<Run>, range: KeyRange, keys_only: bool) -> Option<RunCursor> {
        let first = run.first_in(&range);
        let segment = run.segments.get(first).filter(|segment| !range.is_past(&segment.meta.min_key))?;
        let segment = SegmentCursor::new(segment.clone(), range.clone(), keys_only);
        Some(RunCursor { run, range, keys_only, next: first + 1, segment })
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
        let next = self.run.segments.get(self.next).filter(|segment| !self.range.is_past(&segment.meta.min_key));
        let Some(next) = next else { return false };
        self.segment = SegmentCursor::new(next.clone(), self.range.clone(), self.keys_only);
        self.next += 1;
        true
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
}
