//! A wall clock that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stands still until it is moved. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `millis` since the Unix epoch.
    pub fn new(millis: u64) -> ManualClock {
        ManualClock(Arc::new(AtomicU64::new(millis)))
    }

    /// What it shows.
    pub fn millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves it forward.
    pub fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }

    /// Sets it, backwards too.
    pub fn set(&self, millis: u64) {
        self.0.store(millis, Ordering::Relaxed);
    }
}

impl halite::Clock for ManualClock {
    fn now_millis(&self) -> u64 {
        self.millis()
    }
}
