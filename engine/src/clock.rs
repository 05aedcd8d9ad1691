//! Engine time: milliseconds since the Unix epoch that run backwards only to take a mistake back.
//!
//! Engine time is the larger of the wall clock and the largest time ever trusted, which marks, fragments and manifests
//! carry from one opening to the next. So a clock set back un-expires nothing. It is used to set and to judge
//! expiries and for nothing else: sequence numbers alone order writes.
//!
//! A clock may also run ahead, by years where its battery is empty or somebody has mistyped, and what was dropped for that
//! does not come back. So a leap of more than [`Options::max_forward_jump`](crate::Options::max_forward_jump) is not trusted at
//! once: reads go by it, but it is not persisted, and merges drop nothing for it. The leap is measured against what time it
//! should be: the last time that was trusted, and what a monotonic clock says has passed since.
//!
//! | the wall clock is | reads see | persisted, and used by merges |
//! | --- | --- | --- |
//! | behind the largest time trusted | that | that |
//! | ahead of what it should be by `max_forward_jump` at most | the wall clock | the wall clock |
//! | farther ahead, for less than an hour | the wall clock | what it should be |
//! | farther ahead, for an hour or as somebody has confirmed | the wall clock | the wall clock |
//!
//! Where nothing was ever trusted, in a new store, nothing can be lost, and any time will do.

use crate::planted::{Bug, planted};
use parking_lot::Mutex;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long a clock must stand by a leap until it is trusted.
const TRUSTED_AFTER: Duration = Duration::from_secs(3600);
/// A wall clock that has moved on by no more than that since it was last looked at closely needs no close look.
const GLANCE: u64 = 1000;

/// Where wall time comes from. Replaced in tests and simulations.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Clock, Db, backends::Memory};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// /// Moves when a test says so.
/// #[derive(Debug, Default)]
/// struct Hand(AtomicU64);
///
/// impl Clock for Hand {
///     fn now_millis(&self) -> u64 {
///         self.0.load(Ordering::Relaxed)
///     }
/// }
///
/// let hand = Arc::new(Hand::default());
/// let db = Db::builder(Arc::new(Memory::new())).clock(hand.clone()).open().await?;
/// db.write(halite::WriteBatch::new().put_expiring("key", "value", 1000)).await?;
/// hand.0.store(1000, Ordering::Relaxed);
/// assert!(!db.contains("key").await?);
/// # db.close().await
/// # }
/// ```
pub trait Clock: Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_millis(&self) -> u64;
}

/// The operating system's clock.
///
/// ```
/// use halite::{Clock, SystemClock};
/// assert!(SystemClock.now_millis() > 1_700_000_000_000); // it is past November 2023
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    // The engine's one reading of the wall clock.
    #[allow(clippy::disallowed_methods)]
    fn now_millis(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // A clock before 1970 counts as 1970: engine time is then what was seen last.
        since_epoch.map_or(0, |duration| duration.as_millis() as u64)
    }
}

/// A clock joined with the largest time trusted.
#[derive(Debug)]
pub(crate) struct EngineClock {
    // Constant after construction.
    clock: Arc<dyn Clock>,
    /// See [`Options::max_forward_jump`](crate::Options::max_forward_jump); in milliseconds.
    jump_max: u64,

    /// The largest time trusted; 0 before there was one.
    trusted: AtomicU64,
    /// Up to here the wall clock is right without a close look, unless it is `leaping`.
    glance_until: AtomicU64,
    /// The wall clock has leapt, and is not trusted yet.
    leaping: AtomicBool,
    watched: Mutex<Watched>,
}

/// What a close look has found.
#[derive(Debug)]
struct Watched {
    /// The time that was trusted when the clock was last right, and when that was.
    right: (u64, Instant),
    /// What the clock said first after it had leapt, and when that was.
    leap: Option<(u64, Instant)>,
}

/// What time it is.
struct Time {
    /// For whoever reads.
    now: u64,
    /// For what is to last.
    trusted: u64,
}

impl EngineClock {
    pub(crate) fn new(clock: Arc<dyn Clock>, max_forward_jump: Duration) -> EngineClock {
        EngineClock {
            clock,
            jump_max: max_forward_jump.as_millis().try_into().unwrap_or(u64::MAX),
            trusted: AtomicU64::new(0),
            glance_until: AtomicU64::new(0),
            leaping: AtomicBool::new(false),
            watched: Mutex::new(Watched { right: (0, Instant::now()), leap: None }),
        }
    }

    /// The clock beneath.
    pub(crate) fn wall(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// Engine time now: what expiries are set and judged by.
    pub(crate) fn now(&self) -> u64 {
        self.time().now
    }

    /// As much of it as is certain: what may be persisted, and what is dropped by for good.
    pub(crate) fn trusted(&self) -> u64 {
        self.time().trusted
    }

    /// Takes note of a time that was persisted earlier.
    pub(crate) fn saw(&self, millis: u64) {
        if planted(Bug::TimeUnseen) {
            return;
        }
        if self.trusted.fetch_max(millis, Ordering::Relaxed) < millis {
            let (at, mut watched) = (Instant::now(), self.watched.lock());
            // It is that late at least.
            if after(watched.right, at) < millis {
                watched.right = (millis, at);
            }
        }
    }

    /// Whether a time that [`now`](EngineClock::now) gave has been taken back since.
    pub(crate) fn took_back(&self, millis: u64) -> bool {
        millis > self.trusted.load(Ordering::Relaxed) && millis > self.now()
    }

    /// How far the wall clock is ahead of the time that is trusted, in milliseconds; 0 unless it has leapt.
    pub(crate) fn ahead(&self) -> u64 {
        let Time { now, trusted } = self.time();
        now - trusted
    }

    /// Trusts the wall clock.
    pub(crate) fn confirm(&self) {
        let wall = self.clock.now_millis();
        self.trust(wall, Instant::now(), &mut self.watched.lock());
    }

    fn time(&self) -> Time {
        let wall = self.clock.now_millis();
        if planted(Bug::ClockRunsBack) {
            return Time { now: wall, trusted: wall };
        }
        if wall <= self.glance_until.load(Ordering::Relaxed) && !self.leaping.load(Ordering::Relaxed) {
            let now = wall.max(self.trusted.fetch_max(wall, Ordering::Relaxed));
            return Time { now, trusted: now };
        }
        self.look(wall)
    }

    /// Looks closely at what the clock says.
    fn look(&self, wall: u64) -> Time {
        let (at, mut watched) = (Instant::now(), self.watched.lock());
        let known = self.trusted.load(Ordering::Relaxed);
        let expected = known.max(after(watched.right, at));
        if known == 0 || wall.saturating_sub(expected) <= self.jump_max {
            if watched.leap.is_some() {
                tracing::info!("the clock is right again");
            }
            let now = self.trust(wall, at, &mut watched);
            return Time { now, trusted: now };
        }
        match watched.leap {
            Some(leap) if wall.abs_diff(after(leap, at)) <= self.jump_max => {
                if at.saturating_duration_since(leap.1) >= TRUSTED_AFTER {
                    tracing::warn!(millis = wall - expected, "the clock has stood by its leap forward, and is trusted");
                    let now = self.trust(wall, at, &mut watched);
                    return Time { now, trusted: now };
                }
            }
            _ => {
                let millis = wall - expected;
                tracing::warn!(millis, "the clock has leapt forward: reads go by it, merges drop nothing for it yet");
                watched.leap = Some((wall, at));
                self.leaping.store(true, Ordering::Relaxed);
            }
        }
        let trusted = expected.max(self.trusted.fetch_max(expected, Ordering::Relaxed));
        Time { now: wall.max(trusted), trusted }
    }

    /// Takes what the clock says for right, and returns engine time.
    fn trust(&self, wall: u64, at: Instant, watched: &mut Watched) -> u64 {
        let now = wall.max(self.trusted.fetch_max(wall, Ordering::Relaxed));
        *watched = Watched { right: (now, at), leap: None };
        self.glance_until.store(wall.saturating_add(GLANCE), Ordering::Relaxed);
        self.leaping.store(false, Ordering::Relaxed);
        now
    }
}

/// The time at `at`, if it was `then` at that moment.
fn after((then, moment): (u64, Instant), at: Instant) -> u64 {
    let millis = at.saturating_duration_since(moment).as_millis();
    then.saturating_add(millis.try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
