//! The room that the active segment is sure to have: space is reserved before a record byte is written, so that a full
//! disk refuses a commit instead of tearing it.
//!
//! Only storage whose files grow knows such reserves. Elsewhere everything fits, until an object cannot be created.
//!
//! # Guarantees
//! 1. What was let in fits on the disk.
//! 2. Puts leave some room that only deletes may use, so that a full disk can be emptied.
//! 3. Whoever is refused has had a reserve of its own tried since it first asked, and no seal under way that could have
//!    given back what it needs: a segment keeps what was reserved for it until it is sealed.

use crate::planted::{Bug, planted};
use crate::{Error, Result};

/// Room at the end of the reserved space that only deletes may use.
const DELETE_RESERVE: u64 = 64 << 10;
/// Space is reserved ahead in steps of this size, or of a whole segment where that is smaller.
const STEP: u64 = 8 << 20;

/// What has been reserved for the active segment, and what is to be.
#[derive(Debug)]
pub(super) struct Room {
    // Constant after construction.
    grows: bool,
    step: u64,

    /// Bytes of the file that are sure to fit on the disk; 0 before the first reserve.
    reserved: u64,
    /// The bytes at least of a reserve that was asked for.
    wanted: Option<u64>,
    /// Reserves that were answered.
    attempts: u64,
    /// Why the last one failed.
    failure: Option<Error>,
}

/// What is to be reserved, in bytes of the file; `least` will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Demand {
    pub(super) len: u64,
    pub(super) least: u64,
}

impl Room {
    /// No room yet, in a segment of at most `segment_bytes_max`.
    pub(super) fn new(grows: bool, segment_bytes_max: u64) -> Room {
        Room { grows, step: STEP.min(segment_bytes_max), reserved: 0, wanted: None, attempts: 0, failure: None }
    }

    /// Whether the file may grow to `needed` bytes; if it may not, or soon not any more, a reserve is asked for. `since` is
    /// what [`attempts`](Room::attempts) said when the commit first asked; while a seal is `sealing`, nobody is refused.
    pub(super) fn admits(&mut self, needed: u64, deletes_only: bool, since: u64, sealing: bool) -> Result<bool> {
        if !self.grows {
            return Ok(true);
        }
        let least = if deletes_only && !planted(Bug::DeletesNeedSpace) { needed } else { needed + DELETE_RESERVE };
        if least <= self.reserved {
            // Ahead of time, so that the next commits need not wait.
            if least + self.step / 4 > self.reserved && self.failure.is_none() {
                self.want(least);
            }
            return Ok(true);
        }
        match &self.failure {
            Some(_) if sealing => Ok(false),
            Some(cause) if self.attempts > since => Err(cause.clone()),
            _ => {
                self.want(least);
                Ok(false)
            }
        }
    }

    fn want(&mut self, least: u64) {
        // A small commit must not take the place of a large one that waits.
        self.wanted = self.wanted.max(Some(least));
    }

    /// Reserves that were answered so far.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Whether the file may grow to `needed` bytes without asking.
    pub(super) fn has(&self, needed: u64) -> bool {
        needed <= self.reserved
    }

    /// Whether a reserve is asked for.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// The reserve that is to be made now, if any.
    pub(super) fn take_demand(&mut self) -> Option<Demand> {
        let least = self.wanted.take()?;
        Some(Demand { len: least + self.step, least })
    }

    /// A reserve was answered: the bytes of the file now sure to fit (`None` if it was for an earlier segment), or why
    /// there are no more.
    pub(super) fn answer(&mut self, outcome: Result<Option<u64>>) {
        self.attempts += 1;
        match outcome {
            Ok(Some(len)) => {
                self.reserved = len;
                self.failure = None;
            }
            Ok(None) => {}
            Err(cause) => self.failure = Some(cause),
        }
    }

    /// A segment was sealed, and has given back what it did not need: who waits may ask again.
    pub(super) fn given_back(&mut self) {
        self.failure = None;
    }

    /// Another segment begins.
    pub(super) fn begin_segment(&mut self) {
        self.reserved = 0;
        self.wanted = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ErrorKind;

    const SEGMENT: u64 = 1 << 20;

    fn room() -> Room {
        Room::new(true, SEGMENT)
    }

    fn no_space() -> Error {
        Error::new(ErrorKind::NoSpace, "full")
    }

    #[test]
    fn who_does_not_fit_waits_for_a_reserve_and_then_does() {
        for end in [1, 1000, SEGMENT, 3 << 30] {
            let mut room = room();
            assert!(!room.admits(end, false, 0, false).unwrap(), "nothing is reserved yet");
            let Demand { len, least } = room.take_demand().unwrap();
            assert!(len > least && room.take_demand().is_none());
            room.answer(Ok(Some(least)));
            assert!(room.admits(end, false, 0, false).unwrap());
            assert!(room.is_wanted(), "the next one would have to wait");
        }
    }

    #[test]
    fn small_commits_do_not_take_the_place_of_a_large_one_that_waits() {
        let mut room = room();
        assert!(!room.admits(800_000, false, 0, false).unwrap());
        assert!(!room.admits(100, false, 0, false).unwrap());
        let least = room.take_demand().unwrap().least;
        room.answer(Ok(Some(least)));
        assert!(room.admits(800_000, false, 0, false).unwrap());
    }

    #[test]
    fn a_full_disk_refuses_puts_takes_deletes_and_recovers() {
        let mut room = room();
        let since = room.attempts();
        assert!(!room.admits(1000, false, since, false).unwrap());
        room.answer(Ok(Some(1000 + DELETE_RESERVE)));
        assert!(room.admits(1000, false, since, false).unwrap());

        let since = room.attempts();
        assert!(!room.admits(5000, false, since, false).unwrap(), "a try of its own comes first");
        room.answer(Err(no_space()));
        assert_eq!(room.admits(5000, false, since, false).unwrap_err().kind(), ErrorKind::NoSpace);
        assert!(room.admits(1000, false, since, false).unwrap(), "what fits is not refused");
        assert!(room.admits(5000, true, since, false).unwrap(), "nor is a delete");
        assert!(!room.admits(1001 + DELETE_RESERVE, true, room.attempts(), false).unwrap());

        let since = room.attempts();
        assert!(!room.admits(5000, false, since, false).unwrap(), "whoever comes later has it tried again");
        room.answer(Ok(Some(5000 + DELETE_RESERVE)));
        assert!(room.admits(5000, false, since, false).unwrap());
    }

    #[test]
    fn nobody_is_refused_while_a_seal_may_give_room_back() {
        let mut room = room();
        assert!(!room.admits(1000, true, 0, true).unwrap());
        assert!(room.take_demand().is_some());
        room.answer(Err(no_space()));
        assert!(!room.admits(1000, true, 0, true).unwrap() && !room.is_wanted(), "it waits, and does not ask in vain");
        room.given_back();
        assert!(!room.admits(1000, true, 0, false).unwrap() && room.is_wanted(), "now it asks again");
        room.answer(Err(no_space()));
        assert_eq!(room.admits(1000, true, 0, false).unwrap_err().kind(), ErrorKind::NoSpace);
    }

    #[test]
    fn another_segment_has_room_of_its_own() {
        let mut room = room();
        room.answer(Ok(Some(2 * SEGMENT)));
        room.begin_segment();
        room.answer(Ok(None));
        assert!(!room.has(1) && !room.admits(1, false, room.attempts(), false).unwrap());
        assert!(!room.admits(1, true, room.attempts(), false).unwrap(), "nor for deletes: there is no file yet");
    }

    #[test]
    fn where_nothing_grows_everything_fits() {
        let mut room = Room::new(false, SEGMENT);
        assert!(room.admits(1 << 40, false, 0, false).unwrap() && !room.is_wanted());
    }
}
