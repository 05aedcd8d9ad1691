//! Patience with a store that does not take what is sealed, where the log holds all of that anyway.
//!
//! | log | what is tried again |
//! | --- | --- |
//! | on a disk of this machine | all that the store is to have: what is sealed, and the manifest that names it |
//! | fragments in the store | the segment, under another name each time; a manifest that fails stops writing |
//!
//! Commits need the log alone, so they go on meanwhile, as far as there may be full segments that wait for their seal
//! ([`Options::unsealed_max`](crate::Options::unsealed_max)). What has failed is tried again, and again, with growing pauses. One
//! failure may be a whim of the store's; from the second on, who has to wait for it is refused, and told why. Nothing is
//! given up, and when the store takes it all goes on by itself.
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

    /// Patience with a segment that is written anew. What is sealed in its place cannot be tried again.
    pub(crate) fn patience_with_new_segment(&self) -> Patience<'_> {
        Patience { log: (!self.capabilities.append).then_some(&*self.log), ..Patience::none() }
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
        tracing::warn!(%error, pause = ?self.pause, "the store does not take what is sealed, which waits in the log");
        if self.since.is_some() {
            log.sealed(Err(away(error)));
        }
        self.since.get_or_insert_with(Instant::now);
        // Who gives up waits no longer than it takes.
        let ended = tokio::time::timeout(self.pause, log.ending()).await.is_ok();
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        !ended
    }

    /// What was tried again has come to an end.
    pub(crate) fn over(self) {
        if let (Some(log), Some(since)) = (self.log, self.since) {
            log.seals_again();
            tracing::info!(away = ?since.elapsed(), "the store takes what is sealed again");
        }
    }
}

/// What is told to who has to wait for the store.
fn away(cause: &Error) -> Error {
    let message = "the store cannot be reached, so what is to be sealed waits in the log";
    Error::caused_by(ErrorKind::Io, message, cause.clone())
}
