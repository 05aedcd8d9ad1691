//! What decides who writes, as plain functions: so that every order of events can be tried on them.
//!
//! Numbers of manifests are taken one after the other, and whoever takes one is the writer until somebody takes the next.
//! What is done with the storage in between, and what may be lost on the way, is others' business: `recovery` claims
//! and replays, `publish` creates, the committer looks before it acknowledges. `tests/tests/whole/protocol/mod.rs`
//! steps two writers and a collector, made of these functions, through all their interleavings.

use crate::planted::{Bug, planted};

/// What of a manifest decides who writes.
///
/// ```
/// use halite::protocol::Reign;
/// let writing = Reign { number: 7, epoch: 2, log_epoch: 2, log_is_open: true, kept_claims: vec![] };
/// let claim = writing.claimed();
/// assert_eq!((claim.number, claim.epoch), (8, 3));
/// assert_eq!(claim.kept_claims, [8]); // its name fences the writer that did not close
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reign {
    /// The manifest's number.
    pub number: u64,
    /// The epoch of the writer that created it.
    pub epoch: u64,
    /// The epoch whose log is to be replayed.
    pub log_epoch: u64,
    /// That log was not closed.
    pub log_is_open: bool,
    /// Manifests that are kept for ever, because their names fence writers.
    pub kept_claims: Vec<u64>,
}

impl Reign {
    /// The claim on top of it.
    pub fn claimed(mut self) -> Reign {
        // A claimant that came no further has acknowledged nothing: whoever follows it finds what it would have found.
        let was_written = self.log_epoch == self.epoch && self.log_is_open;
        self.number += 1;
        self.epoch += 1;
        if was_written && !planted(Bug::ClaimForgotten) {
            // The name fences the writer that did not close, for ever: it may only be paused.
            self.kept_claims.push(self.number);
        }
        self
    }
}

/// The manifest that has overtaken `own`, where these are `listed` after its creation.
pub fn overtaken_by(own: u64, listed: &[u64]) -> Option<u64> {
    listed.iter().copied().max().filter(|&highest| highest > own && !planted(Bug::OvertakenPublishes))
}

/// The name by which another writer's claim shows to one whose newest manifest is `own`, before it acknowledges.
pub fn claim_on(own: u64) -> u64 {
    own + 1
}

/// Whether a name that is taken was taken by an earlier try of one's own, whose answer was lost.
pub fn is_own(write_nonce_there: u64, write_nonce: u64) -> bool {
    (write_nonce_there == write_nonce && !planted(Bug::OwnCreateConflicts)) || planted(Bug::ConflictIsSuccess)
}

/// The number that a fence takes in a log whose first number that is absent is that, where these are `listed`: what is there
/// beyond it was not acknowledged, and changes nothing.
pub fn fence_at(first_absent: u64, listed: &[u64]) -> u64 {
    let last = listed.iter().copied().max().filter(|_| planted(Bug::FencedBehindGap));
    last.map_or(first_absent, |last| first_absent.max(last + 1))
}
