//! Loading what a reader shows: a manifest, its segments.

use super::{Inner, State};
use crate::format::manifest::{CheckpointMeta, Manifest};
use crate::format::names::SegmentId;
use crate::segment::Segment;
use crate::version::{Run, Version};
use crate::{Error, ErrorKind, Result, publish};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How often what has changed while it was looked at is looked at again.
const LOOKS: u32 = 32;

/// What the reader is to show from now on. Segments that `before` has open are taken from there.
pub(super) async fn load(inner: &Inner, before: Option<&State>) -> Result<State> {
    let mut changed = None;
    for _ in 0..LOOKS {
        let newest = newest(inner).await?;
        inner.clock.saw(newest.engine_time);
        let number = newest.number;
        let (manifest, checkpoint) = match &inner.at {
            None => (newest, None),
            Some(name) => match checkpoint(inner, &newest, name).await? {
                Some((manifest, checkpoint)) => (manifest, Some(checkpoint)),
                // It was deleted between the two looks.
                None => continue,
            },
        };
        match runs(inner, before, &manifest).await {
            Ok(runs) => {
                let seq = checkpoint.as_ref().map_or(manifest.log.last_sealed_seq, |checkpoint| checkpoint.seq);
                let time = checkpoint.map(|checkpoint| checkpoint.time);
                let version = Arc::new(Version::new(Vec::new(), runs));
                return Ok(State { manifest, version, seq, time });
            }
            // A segment was deleted between the looks, or it is damaged: then the manifest stays.
            Err(error) if is_newest(inner, number).await? => return Err(error),
            Err(error) => changed = Some(error),
        }
    }
    let message = "the database changes faster than it can be read";
    Err(changed.map_or_else(
        || Error::new(ErrorKind::InUse, message),
        |cause| Error::caused_by(ErrorKind::InUse, message, cause),
    ))
}

async fn newest(inner: &Inner) -> Result<Manifest> {
    let location = inner.backend.location();
    let newest = publish::newest(&*inner.backend).await?;
    newest.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no store at {location}")))
}

/// The checkpoint of that name and the manifest that took it; `None` where it has just been deleted.
async fn checkpoint(inner: &Inner, newest: &Manifest, name: &str) -> Result<Option<(Manifest, CheckpointMeta)>> {
    let Some(checkpoint) = newest.checkpoint(name) else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no checkpoint of that name name={name:?}")));
    };
    match publish::read(&*inner.backend, checkpoint.manifest).await {
        Ok(manifest) => Ok(Some((manifest, checkpoint.clone()))),
        Err(error) if error.kind() == ErrorKind::NotFound && !is_newest(inner, newest.number).await? => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!("the manifest of checkpoint {name:?} is missing");
            Err(Error::caused_by(ErrorKind::Corruption, message, error))
        }
        Err(error) => Err(error),
    }
}

async fn is_newest(inner: &Inner, number: u64) -> Result<bool> {
    Ok(publish::list(&*inner.backend).await?.into_iter().max() == Some(number))
}

/// The runs of `manifest`, its segments opened or taken from `before`.
async fn runs(inner: &Inner, before: Option<&State>, manifest: &Manifest) -> Result<Vec<Arc<Run>>> {
    let open = before.iter().flat_map(|state| state.version.segments());
    let open: HashMap<SegmentId, &Arc<Segment>> = open.map(|segment| (segment.meta.id, segment)).collect();
    // No keydir knows these numbers: they must only differ within a version.
    let taken: HashSet<u32> =
        manifest.segments().filter_map(|meta| open.get(&meta.id)).map(|segment| segment.kid).collect();
    let mut free = (0..).filter(|kid| !taken.contains(kid));
    let mut runs = Vec::with_capacity(manifest.runs.len());
    for run in &manifest.runs {
        let mut segments = Vec::with_capacity(run.segments.len());
        for meta in &run.segments {
            segments.push(match open.get(&meta.id) {
                Some(&segment) => segment.clone(),
                None => {
                    let kid = free.next().unwrap_or(u32::MAX);
                    Segment::open(&*inner.backend, meta, kid, manifest.database, manifest.hash_seed).await?
                }
            });
        }
        runs.push(Arc::new(Run::new(segments)));
    }
    Ok(runs)
}
