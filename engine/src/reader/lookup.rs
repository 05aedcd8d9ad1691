//! One key in a version whose segments have no slots in a keydir.

use crate::format::manifest::Manifest;
use crate::get::{Newest, look_in_memory};
use crate::segment::Segment;
use crate::value::Value;
use crate::version::{Run, View};
use crate::{Result, hash};
use std::sync::Arc;

/// What `key` holds as `view` shows it. Runs are newest first and disjoint in seq, so the first match is the answer.
pub(super) async fn find(manifest: &Manifest, view: &View, key: &[u8]) -> Result<Option<Newest<Value>>> {
    let hash = hash::hash(manifest.hash_seed, key);
    let newest = match look_in_memory(&view.version, view.at, hash, key) {
        Some(newest) => Some(newest),
        None => look_in_runs(view, hash, key).await?,
    };
    Ok(newest.and_then(|newest| newest.live(|| view.now)))
}

async fn look_in_runs(view: &View, hash: u64, key: &[u8]) -> Result<Option<Newest<Value>>> {
    for segment in view.version.runs.iter().filter_map(|run| segment_of(run, key)) {
        if !segment.may_contain(hash).await? {
            continue;
        }
        if let Some(found) = segment.locate(key).await? {
            let record = segment.read_record(found.offset, found.len).await?;
            return Ok(Some(Newest {
                kind: record.kind(),
                seq: record.seq(),
                expires_at: record.expires_at(),
                value: record.value(),
            }));
        }
    }
    Ok(None)
}

/// The one segment of a run that may hold `key`.
fn segment_of<'a>(run: &'a Run, key: &[u8]) -> Option<&'a Arc<Segment>> {
    let index = run.segments.partition_point(|segment| &segment.meta.max_key[..] < key);
    run.segments.get(index).filter(|segment| &segment.meta.min_key[..] <= key)
}
