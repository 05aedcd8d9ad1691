//! Collection on request: which files of the store nothing names, and deleting them.
//!
//! Everything here follows from the newest manifest and from names: a file is superfluous if that manifest lists it as
//! retired and neither a checkpoint nor the past holds it, if it is a segment of an earlier epoch that no manifest ever
//! named, or if it is a manifest that is followed and not kept. No clock and no age of a file is looked at. (The engine
//! deletes such files by itself; what is found here is what readers of this process hold, what a crash has left, or
//! what the storage has failed to delete.)

use crate::core::Core;
use crate::format::fragment;
use crate::format::manifest::{Manifest, Retired};
use crate::format::names::{Name, SegmentId};
use crate::{Result, retire};
use futures::TryStreamExt;
use halite_backends::{Backend, Purpose};
use std::collections::{HashMap, HashSet};

/// A file that nothing names.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// for halite::Superfluous { file, bytes, why, .. } in db.collectable().await? {
///     println!("{file}: {bytes} bytes, {why:?}");
/// }
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Superfluous {
    /// Its name, as the backend knows it.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Why it is needed no more.
    pub why: Why,
}

/// Why a file is needed no more.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// let db = halite::Db::open("mem:").await?;
/// let collected = db.collect().await?;
/// // Of a database that was never killed nothing is left over.
/// assert!(collected.iter().all(|file| file.why != halite::Why::Leftover));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// It has left the database, and neither a checkpoint nor the past within the retention names it.
    Retired,
    /// An earlier epoch has written it, and it never came to be a part of the database.
    Leftover,
    /// A manifest that others have followed, and that neither a checkpoint, the past nor a fenced writer needs.
    Followed,
}

/// What a manifest knows of names.
struct Judge<'a> {
    manifest: &'a Manifest,
    named: HashSet<SegmentId>,
    retired: HashMap<&'a str, &'a Retired>,
}

impl<'a> Judge<'a> {
    fn new(manifest: &'a Manifest) -> Judge<'a> {
        Judge {
            manifest,
            named: manifest.segments().map(|meta| meta.id).collect(),
            retired: manifest.retired.iter().map(|retired| (&*retired.name, retired)).collect(),
        }
    }

    /// Why the file of that name and length is superfluous, if it is.
    fn why(&self, file: &str, len: u64) -> Option<Why> {
        let Manifest { number: newest, epoch, log, .. } = self.manifest;
        if let Some(retired) = self.retired.get(file) {
            return (!self.manifest.holds(retired)).then_some(Why::Retired);
        }
        match Name::parse(file)? {
            Name::Manifest(number) => (number < *newest && !self.manifest.keeps(number)).then_some(Why::Followed),
            Name::Segment(id) => {
                let is_logged = (id.epoch, id.nonce) == (log.epoch, log.nonce) && id.number >= log.first_segment;
                (id.epoch < *epoch && !is_logged && !self.named.contains(&id)).then_some(Why::Leftover)
            }
            // Fences are kept for ever.
            Name::Fragment(id) => (id.epoch < log.epoch && fragment::holds_data(len)).then_some(Why::Leftover),
            Name::Pin(_) => None,
        }
    }
}

/// All files of the store that `manifest`, the newest, makes superfluous, in the order of their names.
pub(crate) async fn superfluous(backend: &dyn Backend, manifest: &Manifest) -> Result<Vec<Superfluous>> {
    let judge = Judge::new(manifest);
    let mut found = Vec::new();
    let mut listed = backend.list("");
    while let Some(meta) = listed.try_next().await? {
        if let Some(why) = judge.why(meta.path.as_str(), meta.len) {
            found.push(Superfluous { file: meta.path.to_string(), bytes: meta.len, why });
        }
    }
    found.sort_unstable_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

/// What `core` may delete: of what nothing names, that which no reader of this process holds either.
pub(crate) async fn collectable(core: &Core) -> Result<Vec<Superfluous>> {
    let manifest = core.publisher.look(Clone::clone);
    let mut found = superfluous(core.stores.of(Purpose::Collect), &manifest).await?;
    // Where names are not durable, only a later epoch deletes what this one has retired.
    let may_retire = core.capabilities.durable_names;
    found.retain(|file| file.why != Why::Retired || (may_retire && core.retiring.is_unneeded(&file.file)));
    Ok(found)
}

/// Deletes that, and tells what is gone.
pub(crate) async fn collect(core: &Core) -> Result<Vec<Superfluous>> {
    core.log.check()?;
    let found = collectable(core).await?;
    // A writer that was overtaken does not know any more what is needed.
    core.check_newest().await?;
    let mut gone = Vec::new();
    for file in found {
        if retire::delete(core, &file.file).await {
            gone.push(file);
        }
    }
    let bytes: u64 = gone.iter().map(|file| file.bytes).sum();
    tracing::info!(files = gone.len(), bytes, "collected");
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::tests::sample;
    use crate::format::names::FragmentId;

    #[test]
    fn what_is_named_stays() {
        let manifest = sample();
        let judge = Judge::new(&manifest);
        let segment = |epoch, number| Name::Segment(SegmentId { epoch, nonce: 0xbeef, number }).to_string();
        let manifest = |number| Name::Manifest(number).to_string();
        let fragment = |epoch| Name::Fragment(FragmentId { epoch, nonce: 0xbeef, number: 3 }).to_string();
        for (file, expected) in [
            // In a run; retired, and held by the checkpoint of manifest 4; of the log; of the epoch that writes.
            (segment(1, 3), None),
            (segment(1, 9), None),
            (segment(2, 4), None),
            (segment(3, 1), None),
            // Of the log's epoch, sealed or given up before it; of an epoch before.
            (segment(2, 3), Some(Why::Leftover)),
            (segment(1, 4), Some(Why::Leftover)),
            // A claim, a checkpoint, the newest and what may follow it.
            (manifest(2), None),
            (manifest(4), None),
            (manifest(9), None),
            (manifest(10), None),
            (manifest(3), Some(Why::Followed)),
            // Of the log; of one that was replayed, and the fence that ended it.
            (fragment(2), None),
            (fragment(1), Some(Why::Leftover)),
            ("LOCK".into(), None),
            ("somebody's".into(), None),
        ] {
            assert_eq!(judge.why(&file, 161), expected, "{file}");
        }
        assert_eq!(judge.why(&fragment(1), 160), None, "a fence");
        let mut free = sample();
        free.checkpoints.remove(0);
        free.past.clear();
        assert_eq!(Judge::new(&free).why(&segment(1, 9), 1), Some(Why::Retired));
        assert_eq!(Judge::new(&free).why(&manifest(4), 1), Some(Why::Followed));
    }
}
