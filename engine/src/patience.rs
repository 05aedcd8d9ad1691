//! Patience with a store that cannot be reached, where the log is on a disk of this machine.
//!
//! Commits need that disk alone, so they go on while the store is away, as far as there may be full segments that wait for
//! their seal ([`Options::unsealed_max`](crate::Options::unsealed_max)). What the store is to have is tried again, and again, with
//! growing pauses: what is sealed, and the manifest that names it. Who has to wait for that is refused, and told why; nothing
//! is given up, and when the store is back all goes on by itself.
//!
//! It ends when the log does, for whatever reason: closed, overtaken, failed.

use crate::commit::Log;
use crate::core::Core;
use crate::{Error, ErrorKind};
use std::time::Duration;
use tokio::time::Instant;

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Patience with one request, or a few that belong together.
pub(crate) struct Patience<'a> {
    /// Nobody's, where the log is with all else: then nothing goes on without the store.
    log: Option<&'a Log>,
    pause: Duration,
    /// When it was first needed.
    since: Option<Instant>,
}

impl Core {
    /// Waits until the store has been away for longer than a caller should wait for it. Why it is.
    pub(crate) async fn tired(&self) -> Error {
        loop {
            self.log.away().await;
            tokio::time::sleep(PAUSE_MAX).await;
            if let Some(cause) = self.log.inspect(|queue| queue.away().cloned()) {
                return cause;
            }
        }
    }

    /// As much patience as there may be. Where the log has no lock there is none: there each acknowledgement asks the store
    /// whether somebody else has taken over, so that nothing goes on while it is away.
    pub(crate) fn patience(&self) -> Patience<'_> {
        let goes_on = self.log_is_apart && self.capabilities.lock;
        Patience { log: goes_on.then_some(&*self.log), ..Patience::none() }
    }
}

impl Patience<'_> {
    /// For whom failures are final.
    pub(crate) fn none() -> Patience<'static> {
        Patience { log: None, pause: PAUSE_MIN, since: None }
    }

    /// Whether what has failed with `error` is to be tried again: after a pause, which is over when this returns.
    pub(crate) async fn bears(&mut self, error: &Error) -> bool {
        let is_away = matches!(error.kind(), ErrorKind::Io | ErrorKind::Unknown);
        let Some(log) = self.log.filter(|log| is_away && !log.is_ending()) else { return false };
        self.since.get_or_insert_with(Instant::now);
        tracing::warn!(%error, pause = ?self.pause, "the store cannot be reached; what it is to have waits on this disk");
        log.sealed(Err(away(error)));
        // Who gives up waits no longer than it takes.
        let ended = tokio::time::timeout(self.pause, log.ending()).await.is_ok();
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        !ended
    }

    /// What was tried again has come to an end.
    pub(crate) fn over(self) {
        if let (Some(log), Some(since)) = (self.log, self.since) {
            log.seals_again();
            tracing::info!(away = ?since.elapsed(), "the store can be reached again");
        }
    }
}

/// What is told to who has to wait for the store.
fn away(cause: &Error) -> Error {
    let message = "the store cannot be reached, so what was committed waits for it on this disk";
    Error::caused_by(ErrorKind::Io, message, cause.clone())
}
