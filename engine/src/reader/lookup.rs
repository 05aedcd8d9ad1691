//! One key in a version whose segments have no slots in a keydir.

use crate::format::manifest::Manifest;
use crate::get::{self, Newest, look_in_memory};
use crate::segment::Lookup;
use crate::value::Value;
use crate::version::View;
use crate::{Result, hash};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};

/// What `key` holds as `view` shows it. Runs are newest first and disjoint in seq, so the first match is the answer.
pub(super) async fn find(manifest: &Manifest, view: &View, key: &[u8]) -> Result<Option<Newest<Value>>> {
    let hash = hash::hash(manifest.hash_seed, key);
    let newest = match look_in_memory(&view.version, view.at, hash, key) {
        Some(newest) => Some(newest),
        None => look_in_runs(view, hash, key).await?.map(|newest| newest.unless_covered(view.version.cover.over(key))),
    };
    Ok(newest.and_then(|newest| newest.live(|| view.now)))
}

/// The values of `keys` as `view` shows them, read at once.
pub(super) async fn get_many<K: AsRef<[u8]>>(
    manifest: &Manifest,
    view: &View,
    keys: &[K],
) -> Result<Vec<Option<Bytes>>> {
    get::prepare(&view.version, keys.iter().map(K::as_ref)).await;
    let read = async |key: &K| match find(manifest, view, key.as_ref()).await? {
        Some(newest) => newest.read().await.map(|newest| Some(newest.value)),
        None => Ok(None),
    };
    stream::iter(keys).map(read).buffered(get::READS_AT_ONCE).try_collect().await
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
