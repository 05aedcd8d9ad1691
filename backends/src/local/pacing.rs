//! Decides where a short write or sync runs: inline, in the poll that asks for it, or on a thread.
//!
//! Handing a call to a thread and its result back costs some 20 µs each way; a synced 4 KiB write into written space
//! costs 53 µs on the same machine. So a thread nearly halves the rate of a lone writer on a quick disk, and is a must
//! on a slow one, where an inline call would hold up everything else that the runtime has to do: no poll of the engine
//! takes longer than about a millisecond.
//!
//! The policy: a call of at most [`INLINE_BYTES_MAX`] bytes runs inline while the *slowest recent* call stayed below
//! [`QUICK`]. Each call's own time is measured wherever it ran, without the hand-over, so no probing is needed: calls
//! on threads bring the estimate down as soon as the disk is quick again. The estimate jumps up to a slower call at once
//! and comes down by a sixteenth of the difference with each quicker one, so that the slower a hiccup was, the longer
//! calls stay away: after one of 5 ms, with calls of 50 µs, 38 of them.
//!
//! Writes and syncs are paced apart: a write that is not synced is a copy into the page cache until the kernel
//! throttles the writer.

use std::time::Duration;

/// The longest call that is worth a millisecond's rule: half of it.
pub(crate) const QUICK: Duration = Duration::from_micros(500);

/// Longer data goes to a thread at once: copying it alone takes a good part of [`QUICK`].
pub(crate) const INLINE_BYTES_MAX: u64 = 256 * 1024;

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the poll.
    Inline,
    /// On a thread, the poll waiting.
    Thread,
}

/// The estimate of the slowest recent call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    slowest: Duration,
}

impl Pace {
    /// Nothing is known: the first dozen of quick calls go to threads and prove themselves there.
    pub(crate) const UNKNOWN: Pace = Pace { slowest: Duration::from_millis(1) };

    /// Where the next call, which moves `bytes`, should run.
    pub(crate) fn place(self, bytes: u64) -> Place {
        if bytes <= INLINE_BYTES_MAX && self.slowest < QUICK { Place::Inline } else { Place::Thread }
    }

    /// Takes a call's own duration into account.
    pub(crate) fn after(self, took: Duration) -> Pace {
        let slowest = match took.checked_sub(self.slowest) {
            Some(_) => took,
            None => self.slowest - (self.slowest - took) / 16,
        };
        Pace { slowest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_micros(50);

    /// Calls of `took` until the next one runs inline.
    fn calls_until_inline(mut pace: Pace, took: Duration) -> Option<u32> {
        (0..1000).find(|_| {
            let inline = pace.place(4096) == Place::Inline;
            pace = pace.after(took);
            inline
        })
    }

    #[test]
    fn quick_calls_move_inline_after_a_dozen() {
        assert_eq!(calls_until_inline(Pace::UNKNOWN, FAST), Some(12));
    }

    #[test]
    fn slow_calls_never_do() {
        assert_eq!(calls_until_inline(Pace::UNKNOWN, QUICK), None);
    }

    #[test]
    fn a_hiccup_sends_calls_away_for_as_long_as_it_was_bad() {
        let quick = Pace { slowest: FAST };
        assert_eq!(calls_until_inline(quick.after(QUICK), FAST), Some(1));
        assert_eq!(calls_until_inline(quick.after(Duration::from_millis(5)), FAST), Some(38));
        assert_eq!(calls_until_inline(quick.after(Duration::from_millis(100)), FAST), Some(84));
    }

    #[test]
    fn large_data_goes_to_a_thread() {
        let quick = Pace { slowest: FAST };
        assert_eq!(quick.place(INLINE_BYTES_MAX), Place::Inline);
        assert_eq!(quick.place(INLINE_BYTES_MAX + 1), Place::Thread);
    }
}
