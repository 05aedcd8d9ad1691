//! One segment's way into a copy: shared, or written anew and read back.

use crate::format::Damage;
use crate::segment::{Files, Segment, Upload};
use crate::{Result, verify};
use halite_backends::Backend;
use std::sync::Arc;

/// Bytes that are read, and handed over, at once.
const PART: u64 = 1 << 20;

/// Has `target` share the segment's file. False where it cannot.
pub(super) async fn share(segment: &Segment, target: &dyn Backend) -> Result<bool> {
    match segment.shared().await? {
        Some(shared) => Ok(target.adopt(segment.path(), &shared).await?),
        None => Ok(false),
    }
}

/// Writes the segment into `target`, whose segments are read as `files` say, and reads it back: what is there then has the
/// digest that the source's manifest names.
///
/// # Errors
/// `Corruption` where either of them is damaged; the copy is removed then.
pub(super) async fn copy(segment: &Segment, target: &dyn Backend, files: &Arc<Files>) -> Result<()> {
    let mut upload = Upload::begin(target, segment.path()).await?;
    let written = write(segment, &mut upload).await;
    if written.is_err() || upload.digest() != segment.meta.digest {
        if let Err(error) = upload.abort().await {
            tracing::warn!(%error, "what was copied in vain could not be removed");
        }
        written?;
        return check_source(segment).await;
    }
    upload.finish().await?;
    let copy = Segment::new(files, &segment.meta);
    if is_whole(&copy).await? {
        return Ok(());
    }
    if let Err(error) = target.delete(copy.path()).await {
        tracing::warn!(%error, "a damaged copy could not be removed");
    }
    Err(copy.corrupt(Damage::new(0, "what was written is not what is read back")))
}

async fn write(segment: &Segment, upload: &mut Upload) -> Result<()> {
    let len = segment.meta.len;
    let mut at = 0;
    while at < len {
        let end = len.min(at + PART);
        upload.write(segment.read(at..end).await?).await?;
        at = end;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Whether the segment's file is, to the byte, the one that was written.
pub(super) async fn is_whole(segment: &Segment) -> Result<bool> {
    Ok(verify::digest(segment).await? == segment.meta.digest)
}

/// Looks for the place of the damage in a segment whose digest is wrong.
///
/// # Errors
/// `Corruption`, always.
async fn check_source(segment: &Segment) -> Result<()> {
    let first = verify::findings(segment).await?.damage.into_iter().next();
    let unknown = || Damage::new(0, format!("digest is not the expected one expected={}", segment.meta.digest));
    Err(segment.corrupt(first.unwrap_or_else(unknown)))
}
