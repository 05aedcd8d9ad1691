//! A log that is kept apart from its store: whether the two belong together.
//!
//! The store's newest manifest says in which log the last commits are, by the number of that log ([`LogApart::home`]); the log's
//! folder says of which database it is. Neither says where the other is, so either can be moved.
//!
//! # Guarantees
//! 1. What was committed last is left behind only by who says so: by opening a store without its log, or a log without its store.
//! 2. The log of another database is never touched.

use super::Setup;
use crate::format::manifest::Manifest;
use crate::format::names::Name;
use crate::planted::{Bug, planted};
use crate::{Error, ErrorKind, Result};
use halite_backends::{Backend, LogApart, Path};

/// Refuses to claim on top of `newest` without what was committed last.
pub(super) async fn check(newest: &Manifest, setup: &Setup) -> Result<()> {
    check_owner(&*setup.backend, &newest.database).await?;
    if setup.give_up_log || planted(Bug::ElsewhereIgnored) {
        return Ok(());
    }
    let location = setup.backend.location();
    if newest.log.is_elsewhere(setup.backend.log_home()) {
        let message = format!(
            "what was committed last to {location} is in a log that is kept elsewhere: open it with that log, or give that \
             up epoch={} after_seq={}",
            newest.log.epoch, newest.log.last_sealed_seq
        );
        return Err(Error::new(ErrorKind::LogElsewhere, message));
    }
    let Some(log) = setup.backend.log_apart() else { return Ok(()) };
    if newest.log.home == Some(log.home()) {
        return Ok(());
    }
    match left_behind(log, newest).await? {
        None => Ok(()),
        Some(name) => {
            let message = format!(
                "the log here holds {name}, with which {location} does not go on: it was given up, or is that of the store \
                 which this is a copy of: open it with another log, or give up what is in this one"
            );
            Err(Error::new(ErrorKind::LogElsewhere, message))
        }
    }
}

/// Refuses a log of another database than `database`.
pub(crate) async fn check_owner(backend: &dyn Backend, database: &[u8; 16]) -> Result<()> {
    let Some(log) = backend.log_apart() else { return Ok(()) };
    match log.database().await? {
        Some(owner) if owner != *database => {
            let message = format!("the log at {} is that of another database", backend.location());
            Err(Error::new(ErrorKind::InvalidInput, message))
        }
        _ => Ok(()),
    }
}

/// Whether `path`, which is there, is a segment that was shipped: then it was finished, and whole, so that its log has an end.
pub(super) async fn is_shipped(backend: &dyn Backend, path: &Path) -> Result<bool> {
    let Some(log) = backend.log_apart() else { return Ok(false) };
    let is_segment = matches!(Name::parse(path.as_str()), Some(Name::Segment(_)));
    Ok(is_segment && !log.unshipped().await?.contains(path))
}

/// What is in a log which is not that of `newest`, and nowhere else: unless an opening has left it there that came to nothing.
async fn left_behind(log: &dyn LogApart, newest: &Manifest) -> Result<Option<String>> {
    let is_unfollowed = newest.log.epoch < newest.epoch;
    let is_leftover = |name: &str| match Name::parse(name) {
        Some(Name::Segment(id)) => is_unfollowed && (id.epoch, id.nonce) == (newest.epoch, newest.nonce),
        _ => false,
    };
    let unshipped = log.unshipped().await?;
    Ok(unshipped.iter().map(|path| path.as_str()).find(|name| !is_leftover(name)).map(str::to_owned))
}
