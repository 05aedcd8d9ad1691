//! Drives the committer: one future that whoever has work for it may poll.
//!
//! A background task owns the future's waker. A writer that finds the committer idle polls it on its own thread, so a
//! commit on quick storage needs no thread switch at all; where storage is slow the poll returns at once and the
//! background task goes on when the storage answers. Nothing ever depends on a writer being polled again.
//!
//! # Concurrency
//! `future` is locked only while it is polled, and only by `try_lock`: whoever finds it locked leaves `wanted` set, and
//! the holder looks at `wanted` again after it let go.

use crate::planted::{Bug, planted};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, Ordering};
use futures::future::BoxFuture;
use std::task::{Context, Poll, Waker};

#[derive(Default)]
pub(crate) struct Driver {
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    wanted: AtomicBool,
    /// The future has ended or was dropped. Beside the lock, as to look must not get in the way of who drives, nor be
    /// misled by one who finds nothing to drive.
    ended: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Driver {
    /// Gives the future to be driven.
    pub(crate) fn start(&self, future: BoxFuture<'static, ()>) {
        *self.future.lock() = Some(future);
    }

    /// Drops the future, and all it holds. It must not be called from within the future.
    pub(crate) fn stop(&self) {
        let future = self.future.lock().take();
        drop(future);
        self.end();
    }

    /// Lets the background task end, as the future has.
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    /// Whether the future has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        !self.ended.load(Ordering::SeqCst)
    }

    /// Polls the future on this thread until it has nothing more to do for now, unless another thread does so already.
    pub(crate) fn drive(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        while self.wanted.load(Ordering::SeqCst) {
            let Some(mut future) = self.future.try_lock() else { return };
            while self.wanted.swap(false, Ordering::SeqCst) {
                let Some(running) = future.as_mut() else { return };
                let waker = self.waker.lock().clone();
                let mut cx = Context::from_waker(waker.as_ref().unwrap_or(Waker::noop()));
                if running.as_mut().poll(&mut cx).is_ready() {
                    *future = None;
                    drop(future);
                    self.end();
                    return;
                }
            }
        }
    }

    /// One poll of the background task: drives, and asks to be woken by whatever the future waits for.
    pub(crate) fn poll_background(&self, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut waker = self.waker.lock();
            if !waker.as_ref().is_some_and(|old| old.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
        }
        if !planted(Bug::DropStopsCommit) {
            self.drive();
        }
        // Another thread may be polling: it does so with this task's waker, so nothing is missed. The lock is not taken
        // to look: whoever finds it locked relies on the holder to drive.
        if self.is_running() { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn drives_on_the_calling_thread_and_finishes() {
        let driver = Driver::default();
        let polls = Arc::new(AtomicUsize::new(0));
        let counted = polls.clone();
        driver.start(Box::pin(std::future::poll_fn(move |_| {
            if counted.fetch_add(1, Ordering::SeqCst) == 2 { Poll::Ready(()) } else { Poll::Pending }
        })));
        driver.drive();
        driver.drive();
        assert_eq!(polls.load(Ordering::SeqCst), 2);
        let waker = noop_waker();
        assert!(driver.poll_background(&mut Context::from_waker(&waker)).is_ready());
        driver.drive();
        assert_eq!(polls.load(Ordering::SeqCst), 3);
    }

    /// Whoever drives a future that has ended holds the lock for a moment: that does not make it run again.
    #[test]
    fn what_has_ended_is_not_running_whoever_looks() {
        let driver = Driver::default();
        driver.start(Box::pin(std::future::ready(())));
        assert!(driver.is_running());
        driver.drive();
        let _held = driver.future.lock();
        assert!(!driver.is_running());
    }

    /// A writer and the background task drive at the same time, again and again, a little earlier or later each time:
    /// after both have returned, the future has seen all there was to do.
    #[test]
    fn no_drive_is_lost() {
        const ROUNDS: usize = 50_000;
        let driver = Driver::default();
        let (asked, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (from, to) = (asked.clone(), seen.clone());
        driver.start(Box::pin(std::future::poll_fn(move |_| {
            to.store(from.load(Ordering::SeqCst), Ordering::SeqCst);
            Poll::Pending
        })));
        // The round begun, and the last that the background task has done.
        let (begun, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let wait_for = |round: &AtomicUsize, number| {
            let mut spins = 0;
            while round.load(Ordering::SeqCst) < number {
                spins += 1;
                // Where there are fewer cores than threads, the other one needs this one's.
                if spins % 10_000 == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
            }
        };
        let mut lost = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let waker = noop_waker();
                for round in 1..=ROUNDS {
                    wait_for(&begun, round);
                    let _ = driver.poll_background(&mut Context::from_waker(&waker));
                    done.store(round, Ordering::SeqCst);
                }
            });
            for round in 1..=ROUNDS {
                begun.store(round, Ordering::SeqCst);
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                asked.store(round, Ordering::SeqCst);
                driver.drive();
                wait_for(&done, round);
                lost += usize::from(seen.load(Ordering::SeqCst) < round);
            }
        });
        assert_eq!(lost, 0);
    }

    /// As above, with two writers, in many orders of all that the driver does.
    #[cfg(feature = "explored")]
    #[test]
    fn interleaved_drives_are_not_lost() {
        use shuttle::thread::spawn;

        crate::sync::explore(10_000, || {
            let driver = Arc::new(Driver::default());
            let (asked, seen) = [(); 2].map(|()| Arc::new(crate::sync::atomic::AtomicUsize::default())).into();
            let (from, to) = (asked.clone(), seen.clone());
            driver.start(Box::pin(std::future::poll_fn(move |_| {
                to.store(from.load(Ordering::SeqCst), Ordering::SeqCst);
                Poll::Pending
            })));
            let writers = [(); 2].map(|()| {
                let (driver, asked) = (driver.clone(), asked.clone());
                spawn(move || {
                    for _ in 0..2 {
                        asked.fetch_add(1, Ordering::SeqCst);
                        driver.drive();
                    }
                })
            });
            let background = driver.clone();
            let background = spawn(move || {
                let _ = background.poll_background(&mut Context::from_waker(Waker::noop()));
            });
            for thread in writers.into_iter().chain([background]) {
                thread.join().expect("no thread panics");
            }
            assert_eq!(seen.load(Ordering::SeqCst), 4, "what was asked for last was seen");
            driver.stop();
            assert!(!driver.is_running());
        });
    }

    #[test]
    fn a_call_from_within_the_poll_is_not_lost() {
        let driver = Arc::new(Driver::default());
        let polls = Arc::new(AtomicUsize::new(0));
        let (inner, counted) = (driver.clone(), polls.clone());
        driver.start(Box::pin(std::future::poll_fn(move |_| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                inner.drive();
            }
            Poll::Pending
        })));
        driver.drive();
        assert_eq!(polls.load(Ordering::SeqCst), 2);
        driver.stop();
    }
}
