//! Drives the committer: one future that whoever has work for it may poll.
//!
//! A background task owns the future's waker. A writer that finds the committer idle polls it on its own thread, so a
//! commit on quick storage needs no thread switch at all; where storage is slow the poll returns at once and the
//! background task goes on when the storage answers. Nothing ever depends on a writer being polled again.
//!
//! # Concurrency
//! `future` is locked only while it is polled, and only by `try_lock`: whoever finds it locked leaves `wanted` set, and
//! the holder looks at `wanted` again after it let go.

use futures::future::BoxFuture;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

#[derive(Default)]
pub(crate) struct Driver {
    future: Mutex<Option<BoxFuture<'static, ()>>>,
    wanted: AtomicBool,
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
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    /// Whether the future has not ended yet.
    pub(crate) fn is_running(&self) -> bool {
        self.future.try_lock().is_none_or(|future| future.is_some())
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
        self.drive();
        // Another thread may be polling: it does so with this task's waker, so nothing is missed.
        match self.future.try_lock() {
            Some(future) if future.is_none() => Poll::Ready(()),
            _ => Poll::Pending,
        }
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
