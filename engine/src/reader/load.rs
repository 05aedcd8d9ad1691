//! Loading what a reader shows: a manifest, its segments.

use super::tail::Tail;
use super::{At, Inner, State};
use crate::cover::Cover;
use crate::format::manifest::{CheckpointMeta, Manifest, Purpose};
use crate::format::names::{Name, SegmentId};
use crate::recovery::claim;
use crate::segment::{Files, Segment};
use crate::version::{Run, Version};
use crate::{Error, ErrorKind, Result, Seq, publish};
use std::collections::HashMap;
use std::sync::Arc;

/// How often what has changed while it was looked at is looked at again.
const LOOKS: u32 = 32;

/// What the reader is to show from now on. What `before` has open is taken from there.
pub(super) async fn load(inner: &Inner, tail: &mut Tail, before: Option<&State>) -> Result<State> {
    let mut failed: Option<(u64, Error)> = None;
    for _ in 0..LOOKS {
        let newest = newest(inner, before).await?;
        inner.clock.saw(newest.engine_time);
        let number = newest.number;
        let outcome = match &inner.at {
            At::Newest => follow(inner, tail, before, newest).await,
            At::Checkpoint(name) => at_checkpoint(inner, before, &newest, name).await,
            At::Time(time) => at_time(inner, before, &newest, *time).await,
        };
        let is_newest = newest_number(inner).await? == Some(number);
        match outcome {
            Ok(state) if is_newest || inner.at != At::Newest => return Ok(state),
            Ok(_) => {}
            // What was missing may have been deleted between two looks, and what was wrong may just have been written:
            // it is so if it stays so.
            Err(error) => match failed.take() {
                Some((before, _)) if is_newest && before == number => return Err(error),
                _ => failed = Some((number, error)),
            },
        }
    }
    let message = "the database changes faster than it can be read";
    Err(failed.map_or_else(
        || Error::new(ErrorKind::InUse, message),
        |(_, cause)| Error::caused_by(ErrorKind::InUse, message, cause),
    ))
}

/// The newest state: what `newest` has sealed, and the end of the log.
async fn follow(inner: &Inner, tail: &mut Tail, before: Option<&State>, newest: Manifest) -> Result<State> {
    let files = files(inner, before, &newest);
    let runs = match before {
        Some(before) if before.manifest.number == newest.number => before.version.runs.clone(),
        _ => runs(inner, &files, before, &newest).await?,
    };
    tail.follow(inner, &newest).await?;
    let seq = tail.last_seq().unwrap_or(newest.log.last_sealed_seq);
    let version = Arc::new(Version::new(tail.memtables(), runs).covered_by(cover(&newest)));
    Ok(State { version, files, manifest: newest, seq, time: None })
}

/// The state of a checkpoint, which does not change.
async fn at_checkpoint(inner: &Inner, before: Option<&State>, newest: &Manifest, name: &str) -> Result<State> {
    let (manifest, checkpoint) = checkpoint(inner, newest, name).await?;
    sealed(inner, before, manifest, (checkpoint.seq, checkpoint.time)).await
}

/// The state of the past at `time`, which does not change either: what was shown stays, for as long as it is kept.
async fn at_time(inner: &Inner, before: Option<&State>, newest: &Manifest, time: u64) -> Result<State> {
    let number = before.map_or_else(|| newest.at_time(time), |before| Some(before.manifest.number));
    match number {
        Some(number) if number == newest.number => {
            sealed(inner, before, newest.clone(), (newest.log.last_sealed_seq, time)).await
        }
        Some(number) if newest.keeps(number) => {
            let manifest = past(inner, newest, number, || "of the past".to_owned()).await?;
            let seq = manifest.log.last_sealed_seq;
            sealed(inner, before, manifest, (seq, time)).await
        }
        _ => {
            let kept = newest.past_from().map_or("it has no retention".to_owned(), |from| format!("kept_from={from}"));
            Err(Error::new(ErrorKind::Gone, format!("the past at that time is not kept time={time} {kept}")))
        }
    }
}

/// What `manifest` has sealed, up to that seq, and with expiries as of that time.
async fn sealed(inner: &Inner, before: Option<&State>, manifest: Manifest, (seq, time): (Seq, u64)) -> Result<State> {
    let files = files(inner, before, &manifest);
    let runs = runs(inner, &files, before, &manifest).await?;
    let version = Arc::new(Version::new(Vec::new(), runs).covered_by(cover(&manifest)));
    Ok(State { manifest, files, version, seq, time: Some(time) })
}

/// Manifest `number` of the past, which is of the digest that `newest` names.
async fn past(inner: &Inner, newest: &Manifest, number: u64, what: impl FnOnce() -> String + Send) -> Result<Manifest> {
    match publish::read(inner.asked(), number).await {
        Ok(manifest) if newest.digest_of(number).is_some_and(|digest| digest != manifest.digest()) => {
            let path = Name::Manifest(number).path();
            Err(Error::corruption(path, 0, "the manifest has not the digest that the newest one names"))
        }
        Ok(manifest) => Ok(manifest),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!("the manifest {} is missing", what());
            Err(Error::caused_by(ErrorKind::Corruption, message, error))
        }
        Err(error) => Err(error),
    }
}

fn cover(manifest: &Manifest) -> Arc<Cover> {
    Arc::new(Cover::from_manifest(&manifest.range_tombstones))
}

/// The newest manifest, unless it shows nothing yet.
async fn newest(inner: &Inner, before: Option<&State>) -> Result<Manifest> {
    if let Some(State { manifest, .. }) = before
        && inner.at == At::Newest
        && newest_number(inner).await? == Some(manifest.number)
    {
        return Ok(manifest.clone());
    }
    let location = inner.stores.plain().location();
    match publish::newest(inner.asked()).await? {
        None => Err(publish::no_store(inner.asked())),
        Some(newest) if newest.purpose == Purpose::Unfinished => {
            Err(Error::new(ErrorKind::NotAStore, claim::unfinished(&location)))
        }
        Some(newest) => match before {
            Some(before) if before.manifest.database != newest.database => Err(claim::another(&location)),
            // A list that lags must not lead back.
            Some(State { manifest, .. }) if manifest.number > newest.number && inner.at == At::Newest => {
                Ok(manifest.clone())
            }
            _ => Ok(newest),
        },
    }
}

/// Refuses another database than `state` is of: which may have come to a manifest of the very number.
pub(super) async fn check_database(inner: &Inner, state: &State) -> Result<()> {
    match publish::newest(inner.asked()).await? {
        Some(newest) if newest.database != state.manifest.database => {
            Err(claim::another(&inner.stores.plain().location()))
        }
        _ => Ok(()),
    }
}

async fn newest_number(inner: &Inner) -> Result<Option<u64>> {
    Ok(publish::list(inner.asked()).await?.into_iter().max())
}

/// The checkpoint of that name and the manifest that took it.
async fn checkpoint(inner: &Inner, newest: &Manifest, name: &str) -> Result<(Manifest, CheckpointMeta)> {
    let Some(checkpoint) = newest.checkpoint(name) else {
        return Err(Error::new(ErrorKind::NotFound, format!("there is no checkpoint of that name name={name:?}")));
    };
    let manifest = past(inner, newest, checkpoint.manifest, || format!("of checkpoint {name:?}")).await?;
    Ok((manifest, checkpoint.clone()))
}

/// Where the segments of `manifest` are read from, and what is kept of them.
fn files(inner: &Inner, before: Option<&State>, manifest: &Manifest) -> Arc<Files> {
    if let Some(state) = before {
        return state.files.clone();
    }
    let files = Files::new(inner.stores.clone(), manifest.database, manifest.hash_seed, 0).that_divide(inner.memory);
    let stays = inner.stores.plain().capabilities().open_objects_stay;
    Arc::new(if stays { files } else { files.that_may_vanish() })
}

/// The runs of `manifest`, its segments opened or taken from `before`.
async fn runs(inner: &Inner, files: &Arc<Files>, before: Option<&State>, manifest: &Manifest) -> Result<Vec<Arc<Run>>> {
    let stays = inner.stores.plain().capabilities().open_objects_stay;
    let open = before.iter().flat_map(|state| state.version.segments());
    let open: HashMap<SegmentId, &Arc<Segment>> = open.map(|segment| (segment.meta.id, segment)).collect();
    let mut runs = Vec::with_capacity(manifest.runs.len());
    for run in &manifest.runs {
        let mut segments = Vec::with_capacity(run.segments.len());
        for meta in &run.segments {
            segments.push(match open.get(&meta.id) {
                Some(&segment) => segment.clone(),
                None => {
                    let segment = Segment::new(files, meta);
                    // What is open stays readable; where it does not, nothing is gained by opening it now.
                    if stays {
                        segment.open().await?;
                    }
                    segment
                }
            });
        }
        runs.push(Arc::new(Run::new(segments)));
    }
    Ok(runs)
}
