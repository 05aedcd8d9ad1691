//! Background tasks: spawned on the runtime that opened the database, and never lost silently.
//!
//! A task that panics has broken a promise of ours. The panic is caught and reported, so that the database stops
//! writing with a cause instead of waiting for a task that is gone.

use crate::{Error, ErrorKind, Result};
use futures::FutureExt;
use std::future::Future;
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

    /// Runs `task` in the background; `on_panic` hears of a panic in it.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn spawn<F, P>(&self, name: &'static str, task: F, on_panic: P) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
        P: FnOnce(Error) + Send + 'static,
    {
        self.0.spawn(async move {
            if let Err(panicked) = caught(name, task).await {
                on_panic(panicked);
            }
        })
    }
}

/// Work that goes on whether or not it is waited for, until it is done or this is dropped.
#[derive(Debug)]
pub(crate) struct Beside<T>(JoinHandle<T>);

impl<T: Send + 'static> Beside<T> {
    /// Begins `work` on the runtime that this is called in.
    // With that of `Tasks`, all that the engine spawns.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn new(work: impl Future<Output = T> + Send + 'static) -> Beside<T> {
        Beside(tokio::spawn(work))
    }

    /// Waits for it; `None` where it has panicked, or its runtime ends. Not to be called again once it has returned.
    pub(crate) async fn join(&mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs `task`, and turns a panic in it into an error.
pub(crate) async fn caught(name: &'static str, task: impl Future<Output = ()>) -> Result<()> {
    AssertUnwindSafe(task).catch_unwind().await.map_err(|_| {
        tracing::error!(task = name, "background task panicked");
        Error::new(ErrorKind::Poisoned, format!("background task `{name}` panicked: this is a bug"))
    })
}
