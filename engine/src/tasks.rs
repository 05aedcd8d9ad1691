//! Background tasks: spawned on the runtime that opened the database, and never lost silently.
//!
//! A task that panics has broken a promise of ours. The panic is caught and reported, so that the database stops
//! writing with a cause instead of waiting for a task that is gone.

use crate::{Error, ErrorKind, Result};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::runtime::{EnterGuard, Handle};
use tokio::task::JoinHandle;

/// Where tasks run.
#[derive(Clone, Debug)]
pub(crate) struct Tasks(Handle);

impl Tasks {
    /// The runtime this is called in.
    pub(crate) fn current() -> Result<Tasks> {
        let handle = Handle::try_current().map_err(|_| {
            Error::new(
                ErrorKind::InvalidInput,
                "no tokio runtime: open the database inside one (a current-thread runtime with time enabled is enough)",
            )
        })?;
        // The runtime tells of itself only what it panics about.
        if std::panic::catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_err() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "the tokio runtime has no time: build it with `enable_time()` or `enable_all()`",
            ));
        }
        Ok(Tasks(handle))
    }

    /// Makes the runtime the current one, where none is: for who polls what it drives.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.0.enter()
    }

    /// `work`, which finds the runtime and its time wherever it is polled: what a caller polls outside of it would panic.
    pub(crate) async fn inside<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = Box::pin(work);
        poll_fn(|cx| {
            let _runtime = self.0.enter();
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Runs `task` in the background; `on_panic` hears of a panic in it.
    pub(crate) fn spawn<F, P>(&self, name: &'static str, task: F, on_panic: P) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
        P: FnOnce(Error) + Send + 'static,
    {
        self.spawn_boxed(name, task.boxed(), Box::new(on_panic))
    }

    /// Of one kind, as a runtime has code of its own for each kind of task.
    #[allow(clippy::disallowed_methods)]
    fn spawn_boxed(
        &self,
        name: &'static str,
        task: BoxFuture<'static, ()>,
        on_panic: Box<dyn FnOnce(Error) + Send>,
    ) -> JoinHandle<()> {
        self.0.spawn(async move {
            if let Err(panicked) = caught(name, task).await {
                on_panic(panicked);
            }
        })
    }
}

/// Work that goes on whether or not it is waited for, until it is done or this is dropped. Outside of a runtime it only
/// goes on while it is waited for.
pub(crate) enum Beside<T> {
    Task(JoinHandle<T>),
    Here(BoxFuture<'static, T>),
}

impl<T: Send + 'static> Beside<T> {
    /// Begins `work` on the runtime that this is called in.
    // With that of `Tasks`, all that the engine spawns.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Beside<T> {
        let work = work.boxed();
        match Handle::try_current() {
            Ok(runtime) => Beside::Task(runtime.spawn(work)),
            Err(_) => Beside::Here(work),
        }
    }

    /// Waits for it; `None` where it has panicked, or its runtime ends. Not to be called again once it has returned.
    pub(crate) async fn join(&mut self) -> Option<T> {
        match self {
            Beside::Task(task) => task.await.ok(),
            Beside::Here(work) => Some(work.await),
        }
    }
}

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        if let Beside::Task(task) = self {
            task.abort();
        }
    }
}

impl<T> fmt::Debug for Beside<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

/// Waits for so long, by a task of its own; `None` where its runtime has ended. Whoever drops the last handle polls the
/// committer where that has happened, and a timer would panic then.
pub(crate) async fn pause(len: Duration) -> Option<()> {
    Beside::new(async move { tokio::time::sleep(len).await }).join().await
}

/// Runs `task`, and turns a panic in it into an error.
pub(crate) async fn caught(name: &'static str, task: impl Future<Output = ()>) -> Result<()> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|_| {
        tracing::error!(task = name, "background task panicked");
        Error::new(ErrorKind::Poisoned, format!("background task `{name}` panicked: this is a bug"))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_a_runtime_that_has_ended_is_told_from_one_that_is_over() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        assert_eq!(runtime.block_on(pause(Duration::from_millis(1))), Some(()));
        let handle = runtime.handle().clone();
        drop(runtime);
        let _entered = handle.enter();
        assert_eq!(pause(Duration::from_millis(1)).now_or_never(), Some(None));
    }
}
