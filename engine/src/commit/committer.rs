//! The committer: carries what has gathered to the backend, and tells the queue how far it came.
//!
//! It owns the log's write end: a [growing](super::growing) file for each segment, written and synced one group at a time, or
//! [fragments](super::fragments), several of which may be under way at once.

use super::{Draft, fragments, growing, yield_once};
use crate::core::Core;
use crate::format::mark::{MARK_LEN, Mark};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;

/// Rounds after which the thread that drives the committer is let go.
const ROUNDS_PER_POLL: u32 = 8;

/// Runs until the log is stopped or fails.
pub(crate) async fn run(core: Arc<Core>) {
    let ended = match core.capabilities.append {
        true => growing::run(&core).await,
        false => fragments::run(&core).await,
    };
    if let Err(cause) = ended {
        let cause = core.explain(cause).await;
        tracing::error!(error = %cause, "the log failed; writing stops");
        core.log.fail(cause);
    }
}

/// Counts the committer's rounds, so that others have their turns in between.
#[derive(Default)]
pub(super) struct Rounds(u32);

impl Rounds {
    /// A round is over, in which so many writers were `answered`.
    pub(super) async fn over(&mut self, answered: usize) {
        self.0 = self.0.wrapping_add(1);
        // Writers that were answered together come back together: they are let in before the next write begins.
        if answered > 1 || self.0.is_multiple_of(ROUNDS_PER_POLL) {
            yield_once().await;
        }
    }
}

/// A mark at `offset` of the segment of `draft`, which says that all below `durable` was durable.
pub(super) fn mark(core: &Core, draft: &Draft, offset: u64, durable: u64) -> Bytes {
    let mut frame = BytesMut::with_capacity(MARK_LEN);
    Mark { durable, time: core.clock.trusted() }.encode(&draft.stream(), offset, &mut frame);
    frame.freeze()
}
