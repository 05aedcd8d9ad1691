//! The runtime of a blocking database: current-thread, and of nobody else.
//!
//! Calls run on the caller's own thread. What goes on between them (timers, seals, merges) runs on one thread that does
//! nothing else; where there are no threads, on WASI, it goes on during calls.
//!
//! # Concurrency
//! Any number of threads may call at once: each polls its own future, while tasks are polled by the runtime's thread.

use crate::{Error, ErrorKind, Result};
use futures::future::BoxFuture;
use std::future::Future;
use std::{fmt, io, thread};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

/// What the runtime does last of all.
pub(super) type Last = BoxFuture<'static, ()>;

/// A runtime, and who drives it.
pub(super) enum Host {
    /// A thread of its own, until it is told what to do last.
    Thread { handle: Handle, stop: oneshot::Sender<Last>, thread: thread::JoinHandle<()> },
    /// Whoever calls.
    Caller(Runtime),
}

impl Host {
    /// Starts a runtime.
    pub(super) fn start() -> Result<Host> {
        refuse_async()?;
        let fail = |cause: io::Error| Error::new(ErrorKind::Io, format!("no runtime for the database: {cause}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(fail)?;
        if cfg!(target_family = "wasm") {
            return Ok(Host::Caller(runtime));
        }
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<Last>();
        let drive = move || {
            runtime.block_on(async {
                if let Ok(last) = stopped.await {
                    last.await;
                }
            });
        };
        // The engine's one thread.
        #[allow(clippy::disallowed_methods)]
        let thread = thread::Builder::new().name("halite".to_owned()).spawn(drive).map_err(fail)?;
        Ok(Host::Thread { handle, stop, thread })
    }

    /// Runs `future` on this thread, in the runtime, to its end.
    #[inline]
    pub(super) fn run<F: Future>(&self, future: F) -> Result<F::Output> {
        refuse_async()?;
        // The one place that blocks: no runtime is waiting for this thread, as was just checked.
        #[allow(clippy::disallowed_methods)]
        Ok(match self {
            Host::Thread { handle, .. } => handle.block_on(future),
            Host::Caller(runtime) => runtime.block_on(future),
        })
    }

    /// Ends the runtime after `last`; waits for that unless it is a task that asks.
    pub(super) fn end(self, last: Last) {
        match self {
            Host::Thread { stop, thread, .. } => {
                // The thread is gone only if it panicked, and then there is nobody to do what is left.
                let _ = stop.send(last);
                if !is_async() {
                    let _ = thread.join();
                }
            }
            Host::Caller(runtime) if is_async() => runtime.shutdown_background(),
            Host::Caller(runtime) => runtime.block_on(last),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Host::Thread { .. }) { "Thread" } else { "Caller" })
    }
}

/// Whether this thread is one of a runtime.
fn is_async() -> bool {
    Handle::try_current().is_ok()
}

fn refuse_async() -> Result<()> {
    if is_async() {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "`halite::blocking` was called within an async runtime, which it would block: use `halite::Db` there",
        ));
    }
    Ok(())
}
