//! Limits on what is asked of a store for one purpose: so many requests a second, so many bytes, so many at once.
//!
//! # Guarantees
//! 1. In any stretch of time no more is admitted than the rate allows in it, and in [`CATCH_UP`] more; and one request,
//!    however large it is: those behind it wait for as long as it has borrowed.
//! 2. Whoever comes first is admitted first.
//! 3. Who gives up waiting has used nothing.
//!
//! # Concurrency
//! Each that comes takes its place in the schedule under a short lock, and sleeps until then: a waiter that nobody polls
//! keeps nobody back. (It does where the number at once is limited, as whoever is admitted counts until it is done.)

use parking_lot::Mutex;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// What was not used of a rate may be used for so long afterwards.
const CATCH_UP: Duration = Duration::from_millis(100);

/// How much may be asked of a store for one purpose. No limit by default.
///
/// ```
/// use halite_backends::Limit;
/// use std::num::NonZeroU64;
/// let gently = Limit { bytes_per_second: NonZeroU64::new(10 << 20), ..Limit::default() };
/// assert!(gently != Limit::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Requests a second.
    pub requests_per_second: Option<NonZeroU32>,
    /// Bytes of objects sent and received a second, together.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Requests that may be under way at once. An upload is not one of them, but sends no more parts than this at once: what is
    /// uploaded is often read meanwhile, for the same purpose, and one would wait for the other.
    pub at_once: Option<NonZeroU32>,
}

/// Keeps requests within a [`Limit`]. Clones share it: what one of them admits counts for all.
///
/// ```
/// use halite_backends::{Limit, Limiter};
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let limiter = Limiter::new(Limit { requests_per_second: NonZeroU32::new(10), ..Limit::default() });
/// let begun = tokio::time::Instant::now();
/// for _ in 0..21 {
///     let _admitted = limiter.admit(1, 0).await;
/// }
/// assert_eq!(begun.elapsed(), Duration::from_secs(2));
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Limiter(Option<Arc<Limits>>);

/// A request that was admitted: while this is held it counts as under way.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use halite_backends::{Admitted, Limiter};
/// let admitted: Admitted = Limiter::default().admit(1, 1 << 20).await; // there is no limit
/// # drop(admitted);
/// # }
/// ```
#[derive(Debug)]
#[must_use = "while it is held the request counts as under way"]
pub struct Admitted {
    _permit: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
struct Limits {
    limit: Limit,
    at_once: Option<Arc<Semaphore>>,
    schedule: Mutex<Schedule>,
}

/// When the next request may go, by each rate: what was admitted has used them up until then.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    requests: Instant,
    bytes: Instant,
}

/// Time that a request takes of each rate.
#[derive(Clone, Copy, Debug)]
struct Use {
    requests: Duration,
    bytes: Duration,
}

impl Limiter {
    /// Keeps within `limit`.
    pub fn new(limit: Limit) -> Limiter {
        if limit == Limit::default() {
            return Limiter::default();
        }
        let now = Instant::now();
        let at_once = limit.at_once.map(|at_once| Arc::new(Semaphore::new(at_once.get() as usize)));
        let schedule = Mutex::new(Schedule { requests: now, bytes: now });
        Limiter(Some(Arc::new(Limits { limit, at_once, schedule })))
    }

    /// Waits until so many requests may be sent that carry so many bytes together.
    ///
    /// # Cancel safety
    /// Dropped while it waits, nothing has been used.
    pub async fn admit(&self, requests: u64, bytes: u64) -> Admitted {
        let Some(limits) = &self.0 else { return Admitted { _permit: None } };
        let permit = match &limits.at_once {
            // It is never closed.
            Some(at_once) => at_once.clone().acquire_owned().await.ok(),
            None => None,
        };
        limits.wait(requests, bytes).await;
        Admitted { _permit: permit }
    }

    /// As [`admit`](Limiter::admit), of requests whose number at once is limited elsewhere.
    pub async fn admit_beside(&self, requests: u64, bytes: u64) {
        if let Some(limits) = &self.0 {
            limits.wait(requests, bytes).await;
        }
    }

    /// Counts bytes of which nobody knew before they came.
    pub fn owe(&self, bytes: u64) {
        if let Some(limits) = &self.0 {
            Place::take(limits, 0, bytes).is_used = true;
        }
    }

    /// How many requests may be under way at once.
    pub fn at_once(&self) -> Option<NonZeroU32> {
        self.0.as_ref()?.limit.at_once
    }
}

impl Limits {
    /// Waits for what so much use has to wait for.
    async fn wait(&self, requests: u64, bytes: u64) {
        let mut place = Place::take(self, requests, bytes);
        tokio::time::sleep_until(place.due).await;
        place.is_used = true;
    }
}

/// A place in the schedule, given back if it is not used.
struct Place<'a> {
    limits: &'a Limits,
    due: Instant,
    takes: Use,
    is_used: bool,
}

impl<'a> Place<'a> {
    fn take(limits: &'a Limits, requests: u64, bytes: u64) -> Place<'a> {
        let share = |count: u64, rate: Option<u64>| {
            rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(count as f64 / rate as f64))
        };
        let Limit { requests_per_second, bytes_per_second, .. } = limits.limit;
        let takes = Use {
            requests: share(requests, requests_per_second.map(|rate| u64::from(rate.get()))),
            bytes: share(bytes, bytes_per_second.map(NonZeroU64::get)),
        };
        let now = Instant::now();
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let mut schedule = limits.schedule.lock();
        schedule.requests = schedule.requests.max(earliest);
        schedule.bytes = schedule.bytes.max(earliest);
        let due = schedule.requests.max(schedule.bytes);
        schedule.requests += takes.requests;
        schedule.bytes += takes.bytes;
        Place { limits, due, takes, is_used: false }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            let mut schedule = self.limits.schedule.lock();
            schedule.requests -= self.takes.requests;
            schedule.bytes -= self.takes.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::FutureExt;

    fn limiter(requests: u32, bytes: u64, at_once: u32) -> Limiter {
        Limiter::new(Limit {
            requests_per_second: NonZeroU32::new(requests),
            bytes_per_second: NonZeroU64::new(bytes),
            at_once: NonZeroU32::new(at_once),
        })
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_and_requests_keep_their_rates_and_rest_is_not_saved_up() {
        let limiter = limiter(10, 1000, 0);
        tokio::time::sleep(millis(10_000)).await;
        let begun = Instant::now();
        let mut admitted = Vec::new();
        for bytes in [0, 0, 500, 0, 2000, 0] {
            let _under_way = limiter.admit(1, bytes).await;
            admitted.push(begun.elapsed());
        }
        // A tenth of a second that was not used is caught up; 500 bytes take half a second, 2000 two.
        assert_eq!(admitted, [0, 0, 100, 400, 400, 2400].map(millis));
        limiter.owe(1000);
        let _under_way = limiter.admit(1, 0).await;
        assert_eq!(begun.elapsed(), millis(3400));
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_has_used_nothing() {
        let limiter = limiter(1, 0, 0);
        let begun = Instant::now();
        let _first = limiter.admit(1, 0).await;
        for _ in 0..100 {
            assert!(limiter.admit(1, 0).now_or_never().is_none());
        }
        let _second = limiter.admit(1, 0).await;
        assert_eq!(begun.elapsed(), millis(1000));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_under_way_at_once_and_the_first_comes_first() {
        let limiter = limiter(0, 0, 2);
        let (one, two) = (limiter.admit(1, 0).await, limiter.admit(1, 0).await);
        let (third, fourth) = (limiter.admit(1, 0), limiter.admit(1, 0));
        tokio::pin!(third, fourth);
        assert!(third.as_mut().now_or_never().is_none() && fourth.as_mut().now_or_never().is_none());
        drop(two);
        assert!(fourth.as_mut().now_or_never().is_none());
        let third = third.as_mut().now_or_never().unwrap();
        drop((one, third));
        assert!(fourth.now_or_never().is_some());
        assert_eq!(limiter.at_once(), NonZeroU32::new(2));
    }

    #[tokio::test]
    async fn without_a_limit_nobody_waits() {
        assert!(Limiter::new(Limit::default()).0.is_none());
        let all: Vec<Admitted> =
            (0..1000).filter_map(|_| Limiter::default().admit(1, 1 << 40).now_or_never()).collect();
        assert_eq!(all.len(), 1000);
    }
}
