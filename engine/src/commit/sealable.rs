//! What the committer hands to the sealer: a full segment, and where its log is.

use super::Draft;
use crate::core::Epoch;
use crate::format::names::Name;
use crate::residency::Resident;
use crate::segment::{LogFile, Segment};
use halite_backends::Path;
use std::ops::Range;
use std::sync::Arc;

/// A full segment, to be sealed.
#[derive(Debug)]
pub(crate) struct Sealable {
    pub(crate) draft: Arc<Draft>,
    pub(crate) source: Source,
    /// Number of the segment that comes after it.
    pub(crate) successor: u64,
    /// What was written, once it is; nothing, where nothing was left to write.
    pub(crate) written: Option<Option<Arc<Segment>>>,
    /// What was sealed, once it is where it belongs and waits to be published; nothing, where nothing was left to write.
    pub(crate) sealed: Option<Option<Sealed>>,
}

/// A sealed segment, and its slots if they are in the keydir.
pub(crate) type Sealed = (Arc<Segment>, Option<Arc<Resident>>);

/// What a full segment's log is kept in.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file that ends, end mark included, at `end`. The appender is taken by the seal.
    File { appender: Option<LogFile>, end: u64 },
    /// Fragments of these numbers.
    Fragments(Range<u64>),
}

impl Sealable {
    /// A segment whose log is in `source`, all of it durable.
    pub(crate) fn new(draft: Arc<Draft>, source: Source, successor: u64) -> Sealable {
        Sealable { draft, source, successor, written: None, sealed: None }
    }

    /// The files of the log that are needed no more once the segment is sealed: its fragments; its own file only where
    /// `is_empty`, as nothing was left to be sealed.
    pub(crate) fn done_with(&self, epoch: Epoch, is_empty: bool) -> Vec<Path> {
        match &self.source {
            Source::File { .. } if is_empty => vec![Name::Segment(self.draft.id()).path()],
            Source::File { .. } => Vec::new(),
            Source::Fragments(numbers) => {
                numbers.clone().map(|number| Name::Fragment(epoch.fragment(number)).path()).collect()
            }
        }
    }
}
