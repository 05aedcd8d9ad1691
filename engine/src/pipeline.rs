//! The pipeline of seals: of the segments that are full some are being written, one is brought in, and what those before it
//! have made useless is deleted.
//!
//! | stage | how many at once | what it waits for |
//! | --- | --- | --- |
//! | [written](seal::write) | a few, where the log consists of fragments | a place in the pipeline |
//! | [brought in](seal::bring_in), published | one, in the order of the log | the segments before it |
//! | [cleared up](seal::clear_up) | one | the manifest that names it |
//!
//! So a store that is far away is asked for several things at a time. Where the log grows in files there is one place: each
//! segment is brought in before the next one is written.
//!
//! # Guarantees
//! 1. Segments are brought in oldest first, whichever was written first; behind one that could not be sealed, none is.
//! 2. No more are on their way than there are places, from the first byte that is written until the manifest is there: the
//!    memory of their uploads is what [`Budget::seals_at_once`](crate::budget::Budget::seals_at_once) allows.
//! 3. What is to be deleted waits for no more than the deletes of the segment before, and a close for all of them.

use crate::commit::Sealable;
use crate::core::Core;
use crate::planted::{Bug, planted};
use crate::seal::{self, Outdated};
use crate::{ErrorKind, Result};
use futures::future::{Either, join, select};
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// How long a seal that found no space waits before it tries again.
const NO_SPACE_RETRY: Duration = Duration::from_secs(1);

/// Full segments in order, to be sealed.
#[derive(Debug, Default)]
pub(crate) struct Sealer {
    queue: Mutex<VecDeque<Sealable>>,
    more: Notify,
    /// Segments that were brought in, and have left something to be deleted.
    behind: watch::Sender<usize>,
}

impl Sealer {
    pub(crate) fn push(&self, sealable: Sealable) {
        self.queue.lock().push_back(sealable);
        self.more.notify_one();
    }

    async fn next(&self) -> Sealable {
        loop {
            if let Some(sealable) = self.queue.lock().pop_front() {
                return sealable;
            }
            self.more.notified().await;
        }
    }

    fn begin_clearing(&self) -> Clearing<'_> {
        self.behind.send_modify(|behind| *behind += 1);
        Clearing(self)
    }

    /// Waits until what has been sealed has left nothing to be deleted.
    pub(crate) async fn is_clear(&self) {
        // The sender lives as long as this is waited for.
        let _ = self.behind.subscribe().wait_for(|behind| *behind == 0).await;
    }
}

/// A segment has left something to be deleted, for as long as this lives.
struct Clearing<'a>(&'a Sealer);

impl Drop for Clearing<'_> {
    fn drop(&mut self) {
        self.0.behind.send_modify(|behind| *behind -= 1);
    }
}

/// A segment that was written, if it could be, and its place in the pipeline.
type Written = (Sealable, Result<()>, OwnedSemaphorePermit);

/// What a segment that was brought in has left.
type Left<'a> = (Outdated, Clearing<'a>);

/// Seals what is handed over, until a seal fails for good.
pub(crate) async fn run(core: Arc<Core>) {
    let core = &*core;
    let places = if core.capabilities.append { 1 } else { core.budget.seals_at_once };
    // No more come than there are places, so nobody waits in front of this.
    let (written, to_bring_in) = mpsc::channel(places);
    let (left, to_clear_up) = mpsc::channel(1);
    let writing = write(core, places, written).boxed();
    let bringing_in = bring_in(core, to_bring_in, left).boxed();
    let clearing_up = clear_up(core, to_clear_up).boxed();
    select(join(bringing_in, clearing_up), writing).await;
}

/// Writes segments, as many at once as there are places, and passes them on in their order. It does not end.
async fn write(core: &Core, places: usize, written: mpsc::Sender<Written>) {
    let places = Arc::new(Semaphore::new(places));
    let mut under_way = FuturesOrdered::new();
    loop {
        let mut full = next(core, places.clone()).boxed();
        let step = poll_fn(|cx| match under_way.poll_next_unpin(cx) {
            Poll::Ready(Some(done)) => Poll::Ready(Either::Left(done)),
            _ => full.poll_unpin(cx).map(Either::Right),
        });
        match step.await {
            // Who would bring it in has ended where this fails, and so does this.
            Either::Left(done) => _ = written.send(done).await,
            Either::Right((sealable, place)) => {
                let writing = write_one(core, sealable, place).boxed();
                match planted(Bug::PublishedOutOfOrder) {
                    true => under_way.push_front(writing),
                    false => under_way.push_back(writing),
                }
            }
        }
    }
}

/// The next full segment, and a place for it.
async fn next(core: &Core, places: Arc<Semaphore>) -> (Sealable, OwnedSemaphorePermit) {
    let place = places.acquire_owned().await.expect("nobody closes it");
    (core.sealer.next().await, place)
}

async fn write_one(core: &Core, mut sealable: Sealable, place: OwnedSemaphorePermit) -> Written {
    let mut patience = core.patience_with_new_segment();
    loop {
        let outcome = seal::write(core, &mut sealable).await;
        if has_no_space(core, &outcome).await {
            continue;
        }
        if let Err(error) = &outcome
            && patience.bears(error).await
        {
            continue;
        }
        patience.over();
        return (sealable, outcome, place);
    }
}

/// Brings segments in, one after the other, until one could not be sealed.
async fn bring_in<'a>(core: &'a Core, mut written: mpsc::Receiver<Written>, left: mpsc::Sender<Left<'a>>) {
    while let Some((mut sealable, outcome, place)) = written.recv().await {
        let outdated = match outcome {
            Ok(()) => brought_in(core, &mut sealable).await,
            Err(cause) => Err(cause),
        };
        let outdated = match outdated {
            Ok(outdated) => outdated,
            Err(cause) => return core.fail(core.explain(cause).await),
        };
        let clearing = core.sealer.begin_clearing();
        core.log.sealed(Ok(()));
        core.compactor.look();
        // Its memory is wanted.
        drop((sealable, place));
        // It ends no sooner than this.
        let _ = left.send((outdated, clearing)).await;
    }
}

async fn brought_in(core: &Core, sealable: &mut Sealable) -> Result<Outdated> {
    let mut outcome = seal::bring_in(core, sealable).await;
    while has_no_space(core, &outcome).await {
        outcome = seal::bring_in(core, sealable).await;
    }
    outcome
}

async fn clear_up(core: &Core, mut left: mpsc::Receiver<Left<'_>>) {
    while let Some((outdated, _clearing)) = left.recv().await {
        seal::clear_up(core, outdated).await;
    }
}

/// Whether a part of a seal has failed for want of space, and is to be tried again: after a pause, which is over when this
/// returns.
async fn has_no_space<T>(core: &Core, outcome: &Result<T>) -> bool {
    let Some(cause) = outcome.as_ref().err().filter(|cause| cause.kind() == ErrorKind::NoSpace).cloned() else {
        return false;
    };
    tracing::warn!(error = %cause, "no space to seal a segment; trying again");
    core.log.sealed(Err(cause));
    tokio::time::sleep(NO_SPACE_RETRY).await;
    true
}
