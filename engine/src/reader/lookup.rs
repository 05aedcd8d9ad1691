//! One key in a version whose segments have no slots in a keydir.

use crate::format::manifest::Manifest;
use crate::get::{Newest, look_in_memory};
use crate::segment::Lookup;
use crate::value::Value;
use crate::version::View;
use crate::{Result, hash};

/// What `key` holds as `view` shows it. Runs are newest first and disjoint in seq, so the first match is the answer.
pub(super) async fn find(manifest: &Manifest, view: &View, key: &[u8]) -> Result<Option<Newest<Value>>> {
    let hash = hash::hash(manifest.hash_seed, key);
    let newest = match look_in_memory(&view.version, view.at, hash, key) {
        Some(newest) => Some(newest),
        None => look_in_runs(view, hash, key).await?.map(|newest| newest.unless_covered(view.version.cover.over(key))),
    };
    Ok(newest.and_then(|newest| newest.live(|| view.now)))
}

async fn look_in_runs(view: &View, hash: u64, key: &[u8]) -> Result<Option<Newest<Value>>> {
    for segment in view.version.paged().iter().filter_map(|run| run.holding(key)) {
        let looked = match segment.look_up(hash, key)? {
            Lookup::NeedsRead => segment.find(hash, key).await?,
            looked => looked,
        };
        if let Lookup::Found(record) = looked {
            return Ok(Some(record.into()));
        }
    }
    Ok(None)
}
