//! The log as growing files: which segments are unsealed, and where each ends.

use super::apart;
use super::replay::Unsealed;
use crate::format::Fault;
use crate::format::header::{HEADER_LEN, Header, Layout};
use crate::format::manifest::Manifest;
use crate::format::names::{self, Name, SegmentId};
use crate::listing::Listing;
use crate::planted::{Bug, planted};
use crate::{Error, ErrorKind, Result, reread};
use bytes::Bytes;
use halite_backends::Backend;
use std::collections::HashSet;

/// Reads the unsealed segments of the log in order, and adds their names to `retired`. `there` is what was there before the
/// claim.
pub(super) async fn read(
    backend: &dyn Backend,
    claim: &Manifest,
    there: &Listing,
    retired: &mut Vec<String>,
) -> Result<Vec<Unsealed>> {
    let mut unsealed: Vec<Unsealed> = Vec::new();
    let mut unborn = None;
    let ids = if backend.capabilities().append {
        // The old writer may have begun another one before it met the claim.
        candidates(backend, claim).await?
    } else {
        unsealed_of(&there.segments, claim)
    };
    for id in ids {
        let path = Name::Segment(id).path();
        let bytes = match reread::agreed(backend, &path, |bytes| header(id, claim, bytes).is_ok()).await {
            // The output of a seal that was given up, listed before a request to delete it has arrived.
            Err(error) if error.kind() == ErrorKind::NotFound && !backend.capabilities().append => continue,
            read => read?,
        };
        match header(id, claim, &bytes) {
            Ok(header) if header.layout == Layout::Sorted => continue,
            Ok(header) => {
                if let Some(unborn) = unborn {
                    return Err(Error::corruption(unborn, 0, format!("the header is damaged, but {path} follows")));
                }
                let body = bytes.slice(HEADER_LEN..);
                unsealed.push(Unsealed { header, body, path: path.clone(), declared: 0, successor: None });
            }
            Err(Fault::Damage(_))
                if is_unborn(id, claim, &bytes)
                    && !planted(Bug::TornHeaderFatal)
                    && !apart::is_shipped(backend, &path).await? =>
            {
                unborn = Some(path.clone())
            }
            Err(fault) => return Err(Error::in_file(&path, fault)),
        }
        retired.push(path.as_str().to_owned());
    }
    check_chain(claim, &mut unsealed)?;
    Ok(unsealed)
}

/// The segments that are there now, that this log may have written, and that the manifest does not name, in order of their
/// numbers.
pub(crate) async fn candidates(backend: &dyn Backend, claim: &Manifest) -> Result<Vec<SegmentId>> {
    Ok(unsealed_of(&Listing::of(backend, names::SEGMENTS).await?.segments, claim))
}

/// Those of `segments` that the log of `claim` may have written and the manifest does not name, in order of their numbers.
fn unsealed_of(segments: &[SegmentId], claim: &Manifest) -> Vec<SegmentId> {
    let log = &claim.log;
    let named: HashSet<_> = claim.segments().map(|meta| meta.id).collect();
    let is_of_log = |id: &&SegmentId| (id.epoch, id.nonce) == (log.epoch, log.nonce) && id.number >= log.first_segment;
    let of_log = segments.iter().filter(is_of_log).filter(|id| !named.contains(id));
    let mut ids: Vec<SegmentId> = of_log.copied().collect();
    ids.sort_unstable();
    ids
}

pub(crate) fn header(id: SegmentId, claim: &Manifest, bytes: &Bytes) -> Result<Header, Fault> {
    let header = Header::decode(bytes)?;
    header.check(&claim.database, claim.hash_seed, id)?;
    Ok(header)
}

/// Whether a segment without a readable header never came to be. Frames are written only after the header is durable, so
/// without a header, or without frames, nothing was ever acknowledged. (Behind a header that was not synced there may be
/// garbage: space is reserved before.)
pub(crate) fn is_unborn(id: SegmentId, claim: &Manifest, bytes: &Bytes) -> bool {
    let has_frames = bytes.iter().skip(HEADER_LEN).any(|&byte| byte != 0);
    !has_frames || !Header::has_left_traces(bytes, &claim.database, claim.hash_seed, id)
}

/// Each segment must follow the one before it, and the first must be the one that the manifest names: what is missing in
/// between was acknowledged and is lost.
fn check_chain(claim: &Manifest, unsealed: &mut [Unsealed]) -> Result<()> {
    let mut expected = claim.log.first_segment;
    for index in 0..unsealed.len() {
        let header = &unsealed[index].header;
        let before = header.predecessor.map_or(0, |predecessor| predecessor.number);
        let follows = if index == 0 { header.id.number == expected } else { before == expected };
        if !follows {
            let missing = Name::Segment(SegmentId { number: expected, ..header.id }).path();
            return Err(Error::corruption(
                missing,
                0,
                format!("the segment is missing, but {} is there", unsealed[index].path),
            ));
        }
        expected = header.id.number;
        if index > 0 {
            unsealed[index - 1].successor = unsealed[index].header.predecessor;
        }
    }
    Ok(())
}
