//! One segment's way into a copy: shared, or written anew and read back.

use crate::segment::{Files, Segment};
use crate::{Error, ErrorKind, Result};
use halite_backends::{Backend, Uploader};
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

/// Writes the segment into `target`, whose segments are read as `files` say, reads it back and verifies it.
///
/// # Errors
/// `Corruption` where either of them is damaged; the copy is removed then.
pub(super) async fn copy(segment: &Segment, target: &dyn Backend, files: &Arc<Files>) -> Result<()> {
    let mut upload = target.upload(segment.path()).await?;
    if let Err(error) = write(segment, &mut *upload).await {
        if let Err(error) = upload.abort().await {
            tracing::warn!(%error, "what was copied in vain could not be removed");
        }
        return Err(error);
    }
    upload.finish().await?;
    let verified = check(&Segment::new(files, &segment.meta)).await;
    let Err(error) = verified else { return Ok(()) };
    if error.kind() == ErrorKind::Corruption {
        if let Err(error) = target.delete(segment.path()).await {
            tracing::warn!(%error, "a damaged copy could not be removed");
        }
        // Damage in the source is what the owner has to hear of.
        check(segment).await?;
    }
    Err(error)
}

async fn write(segment: &Segment, upload: &mut dyn Uploader) -> Result<()> {
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

/// Reads all of the segment.
///
/// # Errors
/// `Corruption` at the first damaged place.
pub(super) async fn check(segment: &Segment) -> Result<()> {
    segment.open().await?;
    match segment.verify(&mut |_, _| {}).await?.damage.into_iter().next() {
        Some(damage) => Err(Error::corruption(segment.path(), damage.offset, damage.what)),
        None => Ok(()),
    }
}
