//! What no version needs any more: slots of retired segments leave the keydir, and their files are deleted.
//!
//! # Guarantees
//! 1. A segment's file is deleted only after a manifest that retires it is durable, and once no reader holds a version
//!    that names it.
//! 2. A segment's number in the keydir is given to another only after its last slot is gone.

use crate::core::Core;
use crate::segment::Segment;
use crate::{Error, ErrorKind, Result};
use halite_backends::Path;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Shards of the keydir that are swept before other tasks get their turn.
const SHARDS_PER_TURN: usize = 4;

/// Segments that have left the manifest, and files whose deletion the next manifest may forget.
#[derive(Debug, Default)]
pub(crate) struct Retiring {
    waiting: Mutex<Vec<Retired>>,
    deleted: Mutex<Vec<String>>,
    kids: Mutex<Kids>,
    /// Told whenever a segment that has been retired is let go.
    pub(crate) released: Arc<Notify>,
}

#[derive(Debug)]
struct Retired {
    segment: Weak<Segment>,
    kid: u32,
    path: Path,
}

/// The keydir's names for segments: small numbers, used again.
#[derive(Debug, Default)]
struct Kids {
    free: Vec<u32>,
    next: u32,
}

impl Retiring {
    /// A number for a segment in the keydir.
    pub(crate) fn kid(&self) -> Result<u32> {
        let mut kids = self.kids.lock();
        if let Some(kid) = kids.free.pop() {
            return Ok(kid);
        }
        if kids.next >= crate::keydir::KID_MAX {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("too many segments max={}", crate::keydir::KID_MAX),
            ));
        }
        kids.next += 1;
        Ok(kids.next - 1)
    }

    /// `segments` have left the newest manifest.
    pub(crate) fn retire(&self, segments: &[Arc<Segment>]) {
        let mut waiting = self.waiting.lock();
        for segment in segments {
            segment.notify_when_dropped(self.released.clone());
            waiting.push(Retired { segment: Arc::downgrade(segment), kid: segment.kid, path: segment.path().clone() });
        }
        self.released.notify_one();
    }

    /// The paths that were deleted since this was last asked: the next manifest need not list them.
    pub(crate) fn take_deleted(&self) -> HashSet<String> {
        self.deleted.lock().drain(..).collect()
    }

    pub(crate) fn note_deleted(&self, path: &Path) {
        self.deleted.lock().push(path.as_str().to_owned());
    }

    fn take_released(&self) -> Vec<Retired> {
        let mut waiting = self.waiting.lock();
        let (held, released) = waiting.drain(..).partition(|retired| retired.segment.strong_count() > 0);
        *waiting = held;
        released
    }
}

/// Lets go of all that is retired and no longer held.
pub(crate) async fn reap(core: &Core) {
    let released = core.retiring.take_released();
    if released.is_empty() {
        return;
    }
    let kids: HashSet<u32> = released.iter().map(|retired| retired.kid).collect();
    for shard in 0..crate::keydir::SHARDS {
        core.keydir.remove_segments(&|kid| kids.contains(&kid), shard);
        if shard % SHARDS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    core.retiring.kids.lock().free.extend(kids);
    if core.capabilities.durable_names {
        for retired in &released {
            delete(core, &retired.path).await;
        }
    }
}

/// Deletes a file that a durable manifest lists as retired. What cannot be deleted stays listed, or is found when the
/// next opening looks for what no manifest names: no reason to fail what this was about.
pub(crate) async fn delete(core: &Core, path: &Path) {
    match core.backend.delete(path).await {
        Ok(()) => core.retiring.note_deleted(path),
        Err(error) => tracing::warn!(%error, "a retired file could not be deleted"),
    }
}

/// Reaps whenever something is released.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        core.retiring.released.notified().await;
        reap(&core).await;
    }
}
