//! What no version needs any more: slots of segments that are resident no more leave the keydir, and files of retired
//! segments are deleted.
//!
//! A file that has left the runs stays listed in the manifests as retired until it is deleted. The list says which
//! manifests named it, `born..retired`, and so who needs it still: a checkpoint is the number of a manifest. So no
//! reading of old manifests is needed to tell what may go, and no clock is.
//!
//! # Guarantees
//! 1. A segment's file is deleted only after a manifest that retires it is durable, once no reader of this process
//!    holds a version that names it, and if no checkpoint of the newest manifest does.
//! 2. A number in the keydir is given to another stay only after its last slot is gone.
//!
//! A writer that has been overtaken may still delete what it has decided on: that had left the runs, and every
//! checkpoint, in a manifest that was its own and the newest, and what has left them never comes back.

use crate::core::Core;
use crate::format::fragment;
use crate::format::manifest::Manifest;
use crate::format::names::{self, Name, SegmentId};
use crate::listing::Listing;
use crate::planted::{Bug, planted};
use crate::segment::Segment;
use halite_backends::{self as backends, Backend, Path, Purpose};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// Shards of the keydir that are swept before other tasks get their turn.
const SHARDS_PER_TURN: usize = 4;

/// Segments that have left the manifest, and files whose deletion the next manifest may forget.
#[derive(Debug, Default)]
pub(crate) struct Retiring {
    waiting: Mutex<Vec<Waiting>>,
    /// Retired files that no reader of this process needs; in order, so that runs repeat.
    unneeded: Mutex<BTreeSet<String>>,
    deleted: Mutex<HashSet<String>>,
    /// Told whenever something retired may have become deletable, or a stay in the keydir ends.
    pub(crate) released: Arc<Notify>,
}

/// A retired segment that a reader of this process may hold.
#[derive(Debug)]
struct Waiting {
    segment: Weak<Segment>,
    path: Path,
}

impl Retiring {
    /// `segments` have left the newest manifest.
    pub(crate) fn retire(&self, segments: &[Arc<Segment>]) {
        let mut waiting = self.waiting.lock();
        for segment in segments {
            segment.notify_when_dropped(self.released.clone());
            waiting.push(Waiting { segment: Arc::downgrade(segment), path: segment.path().clone() });
        }
        self.released.notify_one();
    }

    /// Something has changed that may have held retired files.
    pub(crate) fn look(&self) {
        self.released.notify_one();
    }

    /// Whether `name`, which is retired, is held by no reader of this process.
    pub(crate) fn is_unneeded(&self, name: &str) -> bool {
        self.unneeded.lock().contains(name)
    }

    /// The files that were deleted: the next manifest need not list them.
    pub(crate) fn deleted(&self) -> HashSet<String> {
        self.deleted.lock().clone()
    }

    /// The newest manifest does not list `deleted` any more.
    pub(crate) fn forget(&self, deleted: &HashSet<String>) {
        self.deleted.lock().retain(|name| !deleted.contains(name));
    }

    fn note_deleted(&self, name: &str) {
        self.unneeded.lock().remove(name);
        self.deleted.lock().insert(name.to_owned());
    }

    fn take_released(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock();
        let (held, released) =
            waiting.drain(..).partition(|retired| retired.segment.strong_count() > 0 && !planted(Bug::ReaderCollected));
        *waiting = held;
        released
    }
}

/// Lets go of all that is retired and no longer held.
pub(crate) async fn reap(core: &Core) {
    sweep(core).await;
    let released = core.retiring.take_released();
    core.retiring.unneeded.lock().extend(released.iter().map(|retired| retired.path.to_string()));
    if core.capabilities.durable_names {
        collect(core).await;
    }
}

/// Removes the slots of stays that are over.
async fn sweep(core: &Core) {
    let kids: HashSet<u32> = core.residency.take_ended().into_iter().collect();
    if kids.is_empty() {
        return;
    }
    for shard in 0..crate::keydir::SHARDS {
        core.keydir.remove_segments(&|kid| kids.contains(&kid), shard);
        if shard % SHARDS_PER_TURN == 0 {
            tokio::task::yield_now().await;
        }
    }
    core.residency.free(&kids);
    core.residency.look();
}

/// Deletes the retired files that nobody needs.
async fn collect(core: &Core) {
    let candidates = core.retiring.unneeded.lock().clone();
    if candidates.is_empty() {
        return;
    }
    let deletable = core.publisher.look(|manifest| deletable(manifest, candidates));
    for name in deletable {
        delete(core, &name).await;
    }
}

/// Those of `candidates` that `manifest`, the newest, does not need. What it does not list as retired was never
/// published, such as the output of a merge that was given up.
fn deletable(manifest: &Manifest, candidates: BTreeSet<String>) -> Vec<String> {
    let retired: HashMap<&str, _> = manifest.retired.iter().map(|retired| (&*retired.name, retired)).collect();
    let named: HashSet<SegmentId> = manifest.segments().map(|meta| meta.id).collect();
    let is_named = |name: &str| matches!(Name::parse(name), Some(Name::Segment(id)) if named.contains(&id));
    let is_held = |name: &str| {
        retired.get(name).is_some_and(|retired| manifest.holds(retired) && !planted(Bug::CheckpointCollected))
    };
    candidates.into_iter().filter(|name| !is_named(name) && !is_held(name)).collect()
}

/// Deletes what a durable manifest lists as retired. What cannot be deleted stays listed for the next opening: no reason
/// to fail what this was about.
/// True where it is gone.
pub(crate) async fn delete(core: &Core, name: &str) -> bool {
    let is_gone = remove(core.stores.of(Purpose::Collect), name).await;
    if is_gone {
        core.retiring.note_deleted(name);
    }
    is_gone
}

/// Deletes what `manifest`, this epoch's first, lists as retired and does not need.
pub(crate) async fn collect_at_opening(backend: &dyn Backend, manifest: &Manifest, retiring: &Retiring) {
    for retired in &manifest.retired {
        if manifest.holds(retired) {
            retiring.unneeded.lock().insert(retired.name.clone());
        } else if remove(backend, &retired.name).await {
            retiring.note_deleted(&retired.name);
        }
    }
}

/// Deletes what earlier epochs have left that `manifest`, this epoch's first, does not know: segments that merges and
/// recoveries made and never published, and fragments that arrived, or came back, when their log had been replayed. (Fences
/// stay for ever.) `there` are those that were found before the claim; what has come since the next opening finds.
pub(crate) async fn collect_leftovers(core: Arc<Core>, manifest: Manifest, mut there: Listing) {
    let retired = manifest.retired.iter().filter_map(|retired| Name::parse(&retired.name));
    let known: HashSet<Name> = manifest.segments().map(|meta| Name::Segment(meta.id)).chain(retired).collect();
    if planted(Bug::OpenFilesCollected)
        && let Ok(now) = Listing::of(core.stores.of(Purpose::Collect), names::SEGMENTS).await
    {
        there.segments = now.segments;
    }
    there.segments.retain(|id| id.epoch < manifest.epoch || planted(Bug::OpenFilesCollected));
    there.fragments.retain(|&(id, len)| id.epoch < manifest.log.epoch && fragment::holds_data(len));
    let segments = there.segments.into_iter().map(Name::Segment);
    let fragments = there.fragments.into_iter().map(|(id, _)| Name::Fragment(id));
    for name in segments.chain(fragments).filter(|name| !known.contains(name)) {
        remove(core.stores.of(Purpose::Collect), &name.to_string()).await;
    }
}

/// Deletes a file. A leftover takes room and does no other harm.
async fn remove(backend: &dyn Backend, name: &str) -> bool {
    if planted(Bug::NothingCollected) {
        return false;
    }
    let deleted = match Path::new(name) {
        Ok(path) => backend.delete(&path).await,
        Err(error) => Err(error),
    };
    // What is left when the runtime ends is for the next opening, and no news.
    if let Err(error) = &deleted
        && error.kind() != backends::ErrorKind::Closed
    {
        tracing::warn!(%error, "a file that is needed no more could not be deleted");
    }
    deleted.is_ok()
}

/// What must never happen: see [`Bug`].
pub(crate) async fn delete_early(backend: &dyn Backend, names: &[String]) {
    for name in names {
        remove(backend, name).await;
    }
}

/// Reaps whenever something is released.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        core.retiring.released.notified().await;
        reap(&core).await;
    }
}
