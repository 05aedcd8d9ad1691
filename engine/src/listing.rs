//! What a store holds, by name.
//!
//! A list is a request, or one for each thousand names, and where each request takes its time an opening for writing makes
//! only one before it claims. Whatever it wants to know of names it looks up there: which manifest is the newest, whether one
//! is missing, which fragments of the log there are, and what earlier epochs have left over.

use crate::Result;
use crate::format::names::{FragmentId, Name, SegmentId};
use futures::TryStreamExt;
use halite_backends::Backend;

/// The names that are ours, in no particular order.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) manifests: Vec<u64>,
    pub(crate) segments: Vec<SegmentId>,
    /// Fragments and fences, with their lengths.
    pub(crate) fragments: Vec<(FragmentId, u64)>,
}

impl Listing {
    /// What lies in `folder`; in all of them, where that is empty.
    pub(crate) async fn of(backend: &dyn Backend, folder: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut listed = backend.list(folder);
        while let Some(meta) = listed.try_next().await? {
            match Name::parse(meta.path.as_str()) {
                Some(Name::Manifest(number)) => listing.manifests.push(number),
                Some(Name::Segment(id)) => listing.segments.push(id),
                Some(Name::Fragment(id)) => listing.fragments.push((id, meta.len)),
                Some(Name::Pin(_)) | None => {}
            }
        }
        Ok(listing)
    }

    /// The numbers of those fragments that an epoch's log has, in order.
    pub(crate) fn log(&self, epoch: u64, nonce: u64) -> Vec<u64> {
        let log = self.fragments.iter().map(|(id, _)| id).filter(|id| (id.epoch, id.nonce) == (epoch, nonce));
        let mut numbers: Vec<u64> = log.map(|id| id.number).collect();
        numbers.sort_unstable();
        numbers
    }
}
