//! A wall clock that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Times>);

#[derive(Debug)]
struct Times {
    shown: AtomicU64,
    latest: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `millis` since the Unix epoch.
    pub fn new(millis: u64) -> ManualClock {
        ManualClock(Arc::new(Times { shown: AtomicU64::new(millis), latest: AtomicU64::new(millis) }))
    }

    /// What it shows.
    pub fn millis(&self) -> u64 {
        self.0.shown.load(Ordering::Relaxed)
    }

    /// The latest that it has ever shown: engine time, for who has looked at it all the while.
    pub fn latest(&self) -> u64 {
        self.0.latest.load(Ordering::Relaxed)
    }

    /// Moves it forward.
    pub fn advance(&self, millis: u64) {
        self.set(self.millis() + millis);
    }

    /// Sets it, backwards too.
    pub fn set(&self, millis: u64) {
        self.0.shown.store(millis, Ordering::Relaxed);
        self.0.latest.fetch_max(millis, Ordering::Relaxed);
    }
}

impl halite::Clock for ManualClock {
    fn now_millis(&self) -> u64 {
        self.millis()
    }
}
