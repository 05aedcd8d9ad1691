//! Engine time: milliseconds since the Unix epoch that never run backwards.
//!
//! Engine time is the larger of the wall clock and the largest time ever seen, which marks, fragments and manifests
//! carry from one opening to the next. So a clock set back un-expires nothing. It is used to set and to judge
//! expiries and for nothing else: sequence numbers alone order writes.

use crate::planted::{Bug, planted};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Where wall time comes from. Replaced in tests and simulations.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_millis(&self) -> u64;
}

/// The operating system's clock.
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

/// A clock joined with the largest time seen.
#[derive(Debug)]
pub(crate) struct EngineClock {
    clock: Arc<dyn Clock>,
    seen: AtomicU64,
}

impl EngineClock {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> EngineClock {
        EngineClock { clock, seen: AtomicU64::new(0) }
    }

    /// The clock beneath.
    pub(crate) fn wall(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// Engine time now.
    pub(crate) fn now(&self) -> u64 {
        let now = self.clock.now_millis();
        if planted(Bug::ClockRunsBack) {
            return now;
        }
        now.max(self.seen.fetch_max(now, Ordering::Relaxed))
    }

    /// Takes note of a time that was persisted earlier.
    pub(crate) fn saw(&self, millis: u64) {
        if !planted(Bug::TimeUnseen) {
            self.seen.fetch_max(millis, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(AtomicU64);

    impl Clock for Fixed {
        fn now_millis(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn time_never_runs_backwards() {
        let wall = Arc::new(Fixed(AtomicU64::new(100)));
        let clock = EngineClock::new(wall.clone());
        assert_eq!(clock.now(), 100);
        wall.0.store(50, Ordering::Relaxed);
        assert_eq!(clock.now(), 100);
        clock.saw(500);
        assert_eq!(clock.now(), 500);
        wall.0.store(600, Ordering::Relaxed);
        assert_eq!(clock.now(), 600);
    }
}
