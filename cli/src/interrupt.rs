//! Ctrl-C, for the commands that finish in order when asked to stop.
//!
//! The others die of it at once, which no store minds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

#[cfg(unix)]
fn signal() -> std::io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
}

#[cfg(windows)]
fn signal() -> std::io::Result<tokio::signal::windows::CtrlC> {
    tokio::signal::windows::ctrl_c()
}

/// Whether somebody has pressed Ctrl-C.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    raised: AtomicBool,
    changed: Notify,
}

impl Interrupt {
    /// Listens from now on. A second Ctrl-C ends the process on the spot.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn listen() -> Interrupt {
        let interrupt = Interrupt::default();
        // Where signals cannot be heard, Ctrl-C goes on killing.
        if let Ok(mut signal) = signal() {
            let raised = interrupt.clone();
            tokio::spawn(async move {
                signal.recv().await;
                raised.0.raised.store(true, Ordering::Release);
                raised.0.changed.notify_waiters();
                signal.recv().await;
                std::process::exit(crate::failure::Exit::Interrupted as i32);
            });
        }
        interrupt
    }

    /// There are no signals here.
    #[cfg(target_family = "wasm")]
    pub(crate) fn listen() -> Interrupt {
        Interrupt::default()
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::Acquire)
    }

    /// Returns once it is raised.
    pub(crate) async fn raised(&self) {
        loop {
            // The waiter first, so that a change right after the look is not missed.
            let changed = self.0.changed.notified();
            if self.is_raised() {
                return;
            }
            changed.await;
        }
    }
}
