//! The committer: carries what has gathered to the backend, one write and one sync at a time.
//!
//! It owns the log's write end. Before it tells the queue that anything is reached it looks whether another writer has
//! claimed the database: the next manifest's name is where a claim shows.

use super::work::{Reached, Work};
use super::{Draft, Sink};
use crate::core::Core;
use crate::{ErrorKind, Result};
use std::sync::Arc;

/// Rounds after which the thread that drives the committer is let go.
const ROUNDS_PER_POLL: u32 = 8;

/// Runs until the log is stopped or fails.
pub(crate) async fn run(core: Arc<Core>, mut sink: Sink) {
    let mut rounds = 0;
    loop {
        let work = std::future::poll_fn(|_| core.log.next_work()).await;
        if matches!(work, Work::Stop) {
            return;
        }
        let answered = match step(&core, &mut sink, work).await {
            Ok(answered) => answered,
            Err(cause) => {
                let cause = core.explain(cause).await;
                tracing::error!(error = %cause, "the log failed; writing stops");
                core.log.fail(cause);
                return;
            }
        };
        rounds += 1;
        // Writers that were answered together come back together: they are let in before the next write begins.
        if answered > 1 || rounds % ROUNDS_PER_POLL == 0 {
            super::yield_once().await;
        }
    }
}

/// Does one piece of work. Returns how many writers have been answered.
async fn step(core: &Core, sink: &mut Sink, work: Work) -> Result<usize> {
    match work {
        Work::Write { group, sync } => {
            let bytes = group.pieces.iter().map(|piece| piece.len() as u64).sum();
            let (written, draft) = (group.last_seq, group.draft.clone());
            let durable = sink.write(core, group, sync).await?;
            core.check_newest().await?;
            let answered = core.log.reached(Reached { written, synced: durable, bytes });
            if let (true, Some(draft)) = (durable, draft) {
                trailing_mark(core, sink, &draft).await?;
            }
            Ok(answered)
        }
        Work::Sync => {
            sink.sync().await?;
            core.log.meters.log_syncs.add(1);
            core.check_newest().await?;
            let answered = core.log.reached(Reached { written: 0, synced: true, bytes: 0 });
            if let Some(draft) = sink.draft() {
                trailing_mark(core, sink, &draft).await?;
            }
            Ok(answered)
        }
        Work::Rotate { draft, end, successor } => {
            let sealable = sink.end(core, &draft, end, successor).await?;
            core.check_newest().await?;
            let answered = core.log.reached(Reached { written: draft.memtable.max_seq(), synced: true, bytes: 0 });
            core.sealer.push(sealable);
            Ok(answered)
        }
        Work::Reserve { draft, len, least } => reserve(core, sink, &draft, len, least).await.map(|()| 0),
        Work::Stop => Ok(0),
    }
}

/// Reserves `len` bytes, or `least` where there is not room for more. No space is an answer, not a failure.
async fn reserve(core: &Core, sink: &mut Sink, draft: &Arc<Draft>, len: u64, least: u64) -> Result<()> {
    let mut outcome = sink.reserve(core, draft, len).await.map(|()| len);
    if no_space(&outcome) {
        outcome = sink.reserve(core, draft, least).await.map(|()| least);
    }
    let failure = match &outcome {
        Err(cause) if cause.kind() != ErrorKind::NoSpace => Some(cause.clone()),
        _ => None,
    };
    core.log.answer_reserve(draft, outcome);
    failure.map_or(Ok(()), Err)
}

fn no_space<T>(outcome: &Result<T>) -> bool {
    matches!(outcome, Err(cause) if cause.kind() == ErrorKind::NoSpace)
}

/// Writes a mark that says how far the log is durable, if nothing waits to be written: the next group's mark would say
/// so, but there may never be one. It is not synced; that it arrives at all is what makes damage below it certain.
async fn trailing_mark(core: &Core, sink: &mut Sink, draft: &Arc<Draft>) -> Result<()> {
    if !sink.grows() {
        return Ok(());
    }
    match core.log.take_mark(draft) {
        Some(offset) => sink.mark(core, offset).await,
        None => Ok(()),
    }
}
