//! The line of those who wait: how far the log has come, and which commits may be answered.
//!
//! # Guarantees
//! 1. Commits are answered, and become visible, in the order in which they entered, each no sooner than its level is
//!    reached.
//! 2. After a failure everyone has an answer, and it is true: [`ErrorKind::Unknown`] for what was handed to the
//!    committer and may be in the log, and for the rest that it did not happen.

use super::work::Reached;
use crate::planted::{Bug, planted};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::{Durability, Error, ErrorKind, Result, Seq};
use std::collections::VecDeque;
use tokio::sync::oneshot;

/// The receiving end of an answer.
pub(super) type Answer = oneshot::Receiver<Result<()>>;

/// Answers to be given once the lock is released.
#[must_use]
#[derive(Default)]
pub(crate) struct Answers(Vec<(oneshot::Sender<Result<()>>, Result<()>)>);

impl Answers {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn send(self) {
        for (reply, answer) in self.0 {
            // The future may have been dropped: the commit stands all the same.
            let _ = reply.send(answer);
        }
    }
}

/// A commit that waits for its level, or for its turn.
#[derive(Debug)]
struct Pending {
    last_seq: Seq,
    level: Durability,
    reply: oneshot::Sender<Result<()>>,
}

#[derive(Debug)]
pub(super) struct Line {
    /// The committer has been given everything up to here.
    handed: Seq,
    written: Seq,
    synced: Seq,
    pending: VecDeque<Pending>,
}

impl Line {
    /// Everything up to `last` is durable, and nobody waits.
    pub(super) fn new(last: Seq) -> Line {
        Line { handed: last, written: last, synced: last, pending: VecDeque::new() }
    }

    pub(super) fn written(&self) -> Seq {
        self.written
    }

    pub(super) fn synced(&self) -> Seq {
        self.synced
    }

    /// Whether somebody waits whose commit is not `visible` yet, and whom the next must not overtake. A flush of what is
    /// visible holds up nobody.
    pub(super) fn holds_up(&self, visible: &AtomicU64) -> bool {
        self.pending.back().is_some_and(|last| last.last_seq > visible.load(Ordering::Acquire))
    }

    /// The commit that ends with `last_seq` waits for `level`.
    pub(super) fn wait(&mut self, last_seq: Seq, level: Durability) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.pending.push_back(Pending { last_seq, level, reply });
        answer
    }

    /// The committer is given everything up to `last_seq`, to be written.
    pub(super) fn hand_over(&mut self, last_seq: Seq) {
        self.handed = last_seq;
    }

    /// Notes how far the log, which holds everything below `next_seq`, has come, and makes visible what has reached its
    /// level.
    pub(super) fn reached(&mut self, reached: Reached, next_seq: Seq, visible: &AtomicU64) -> Answers {
        self.written = self.written.max(reached.written);
        if reached.synced {
            self.synced = self.written;
        }
        let mut answers = Answers::default();
        while let Some(first) = self.pending.pop_front() {
            let far_enough = match first.level {
                Durability::Synced => first.last_seq <= self.synced,
                Durability::Written => first.last_seq <= self.written,
                Durability::Deferred => true,
            };
            if !far_enough {
                self.pending.push_front(first);
                break;
            }
            // A flush waits at the place of a commit that may be visible already.
            visible.fetch_max(first.last_seq, Ordering::Release);
            answers.0.push((first.reply, Ok(())));
        }
        if self.pending.is_empty() {
            // What follows the last that waited is deferred, and visible with it.
            visible.fetch_max(next_seq - 1, Ordering::Release);
        }
        answers
    }

    /// Nothing more will be written, because of `cause`.
    pub(super) fn fail(&mut self, cause: &Error) -> Answers {
        if planted(Bug::WaitersForgotten) {
            std::mem::forget(std::mem::take(&mut self.pending));
        }
        let answer = |pending: Pending| {
            let error = if pending.last_seq <= self.handed { unknown(cause) } else { stopped_by(cause) };
            (pending.reply, Err(error))
        };
        Answers(self.pending.drain(..).map(answer).collect())
    }
}

fn unknown(cause: &Error) -> Error {
    let message = "the commit was under way when the log failed; it may or may not be there after reopening";
    Error::caused_by(ErrorKind::Unknown, message, cause.clone())
}

/// The answer to a commit that did not happen because of the failure `cause`.
pub(super) fn stopped_by(cause: &Error) -> Error {
    match cause.kind() {
        ErrorKind::Fenced => Error::caused_by(ErrorKind::Fenced, "another writer has taken over", cause.clone()),
        ErrorKind::Closed => cause.clone(),
        _ => Error::caused_by(
            ErrorKind::Poisoned,
            "writing stopped after an earlier failure; reopen to go on",
            cause.clone(),
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Durability::{Deferred, Synced, Written};

    fn reached(written: Seq, synced: bool) -> Reached {
        Reached { written, synced, bytes: 0 }
    }

    /// What each of the waiting was told so far: its error's kind, `None` for `Ok`.
    fn told(answers: &mut [Answer]) -> Vec<Option<Option<ErrorKind>>> {
        let look = |answer: &mut Answer| answer.try_recv().ok().map(|told| told.err().map(|error| error.kind()));
        answers.iter_mut().map(look).collect()
    }

    #[test]
    fn nobody_is_answered_before_those_ahead_and_before_the_own_level() {
        let visible = AtomicU64::new(0);
        let mut line = Line::new(0);
        let mut waiting = [line.wait(1, Written), line.wait(2, Synced), line.wait(3, Deferred), line.wait(4, Written)];
        line.reached(reached(2, false), 5, &visible).send();
        assert_eq!(told(&mut waiting), [Some(None), None, None, None]);
        assert_eq!(visible.load(Ordering::Relaxed), 1);
        line.reached(reached(0, true), 5, &visible).send();
        assert_eq!(told(&mut waiting[1..]), [Some(None), Some(None), None], "the third waited for its turn alone");
        assert_eq!(visible.load(Ordering::Relaxed), 3);
        line.reached(reached(4, false), 7, &visible).send();
        assert_eq!(told(&mut waiting[3..]), [Some(None)]);
        assert_eq!(visible.load(Ordering::Relaxed), 6, "two deferred commits came behind the last that waited");
        assert!(line.pending.is_empty());
    }

    #[test]
    fn what_is_synced_is_what_was_written_before() {
        let visible = AtomicU64::new(0);
        let mut line = Line::new(3);
        line.reached(reached(5, false), 9, &visible).send();
        line.reached(reached(4, true), 9, &visible).send();
        assert_eq!((line.written(), line.synced()), (5, 5));
    }

    #[test]
    fn a_flush_makes_nothing_invisible() {
        let visible = AtomicU64::new(8);
        let mut line = Line::new(0);
        let mut waiting = [line.wait(5, Synced)];
        line.reached(reached(5, true), 6, &visible).send();
        assert_eq!(told(&mut waiting), [Some(None)]);
        assert_eq!(visible.load(Ordering::Relaxed), 8);
    }

    #[test]
    fn a_flush_holds_up_nobody_and_commits_that_are_not_visible_do() {
        let visible = AtomicU64::new(5);
        let mut line = Line::new(0);
        assert!(!line.holds_up(&visible));
        let _flush = line.wait(5, Synced);
        assert!(!line.holds_up(&visible));
        let _commit = line.wait(6, Written);
        assert!(line.holds_up(&visible));
        let _flush = line.wait(6, Synced);
        assert!(line.holds_up(&visible));
        line.reached(reached(5, true), 7, &visible).send();
        assert!(line.holds_up(&visible));
        line.reached(reached(6, false), 7, &visible).send();
        assert!(!line.holds_up(&visible), "the flush waits on");
    }

    /// Whatever was handed over may be in the log; what was not is certainly not there.
    #[test]
    fn a_failure_tells_the_unknown_from_what_did_not_happen() {
        for (kind, stopped) in [
            (ErrorKind::Io, ErrorKind::Poisoned),
            (ErrorKind::Fenced, ErrorKind::Fenced),
            (ErrorKind::Closed, ErrorKind::Closed),
        ] {
            let mut line = Line::new(0);
            let mut waiting = [line.wait(1, Written), line.wait(2, Synced), line.wait(3, Synced)];
            line.hand_over(1);
            line.reached(reached(0, false), 4, &AtomicU64::new(0)).send();
            line.hand_over(2);
            line.fail(&Error::new(kind, "cause")).send();
            let unknown = Some(Some(ErrorKind::Unknown));
            assert_eq!(told(&mut waiting), [unknown, unknown, Some(Some(stopped))]);
            assert!(line.pending.is_empty());
        }
    }

    #[test]
    fn whoever_does_not_wait_any_more_holds_up_nobody() {
        let visible = AtomicU64::new(0);
        let mut line = Line::new(0);
        drop(line.wait(1, Synced));
        let mut waiting = [line.wait(2, Synced)];
        line.reached(reached(2, true), 3, &visible).send();
        assert_eq!(told(&mut waiting), [Some(None)]);
        assert_eq!(visible.load(Ordering::Relaxed), 2);
    }
}
