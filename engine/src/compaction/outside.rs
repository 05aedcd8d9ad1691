//! What lies outside a merge: whether it holds newer records of a key, or may hold older ones.
//!
//! What is resident is asked through the keydir; of each run with segments that are not, the filter is asked of the one
//! that may hold the key. As a merge goes in key order, that filter is in hand for many keys.

use crate::core::Core;
use crate::format::frame::Kind;
use crate::hash::{self, Fingerprint};
use crate::keydir::{Candidates, Slot};
use crate::segment::{FilterInHand, OwnedRecord, Segment};
use crate::version::{Paged, Run, Version};
use crate::{ErrorKind, Result, Seq};
use halite_backends::Purpose;
use std::ops::Range;
use std::sync::Arc;

/// See the [module](self).
pub(super) struct Outside<'a> {
    core: &'a Core,
    version: &'a Version,
    /// The smallest and the largest seq of the runs that are merged. (Where only some segments of a run are merged, its
    /// others hold other keys: they do not matter.)
    seqs: (Seq, Seq),
    /// Nothing is outside.
    is_nothing: bool,
    /// Runs with segments that are not resident, newest first, and the filter of each that is in hand.
    newer: Vec<(&'a Paged, FilterInHand)>,
    older: Vec<(&'a Paged, FilterInHand)>,
}

/// A key, with what is needed to look for it.
pub(super) struct Sought<'a> {
    key: &'a [u8],
    hash: u64,
    candidates: Candidates,
}

/// The newest record of a key outside a merge, which is newer than all inside.
pub(super) struct Newer<'a> {
    pub(super) kind: Kind,
    pub(super) segment: &'a Arc<Segment>,
    /// Its length in bytes, about.
    pub(super) len: u64,
}

impl<'a> Outside<'a> {
    /// What lies outside of the merge of the version's `runs`.
    pub(super) fn new(core: &'a Core, version: &'a Version, runs: &Range<usize>) -> Outside<'a> {
        let merged = &version.runs[runs.clone()];
        let seqs = |seq: fn(&Arc<Run>) -> Seq| merged.iter().map(seq);
        let seqs = (seqs(|run| run.min_seq).min().unwrap_or(0), seqs(|run| run.max_seq).max().unwrap_or(Seq::MAX));
        let is_nothing = merged.len() == version.runs.len();
        let mut outside = Outside { core, version, seqs, is_nothing, newer: Vec::new(), older: Vec::new() };
        for run in version.paged() {
            if outside.is_newer(run.any()) {
                outside.newer.push((run, FilterInHand::default()));
            } else if outside.is_older(run.any()) {
                outside.older.push((run, FilterInHand::default()));
            }
        }
        outside
    }

    fn is_newer(&self, segment: &Segment) -> bool {
        segment.meta.min_seq > self.seqs.1
    }

    fn is_older(&self, segment: &Segment) -> bool {
        segment.meta.max_seq < self.seqs.0
    }

    pub(super) fn seek<'k>(&self, key: &'k [u8]) -> Sought<'k> {
        if self.is_nothing {
            return Sought { key, hash: 0, candidates: Candidates::default() };
        }
        let hash = hash::hash(self.core.epoch.hash_seed, key);
        Sought { key, hash, candidates: self.core.keydir.candidates(Fingerprint::of(hash)) }
    }

    fn resident(&self, slot: Slot) -> Option<(&'a Arc<Segment>, Slot)> {
        self.version.segment(slot.kid).map(|segment| (segment, slot))
    }

    /// The newest record of the very key, if there is one that is newer than what is merged.
    pub(super) async fn newer(&mut self, sought: &Sought<'_>) -> Result<Option<Newer<'a>>> {
        let mut found: Option<Newer<'a>> = None;
        let is_better = |found: &Option<Newer<'_>>, segment: &Segment| {
            found.as_ref().is_none_or(|found| found.segment.meta.max_seq < segment.meta.max_seq)
        };
        for (segment, slot) in sought.candidates.iter().filter_map(|slot| self.resident(slot)) {
            if self.is_newer(segment) && is_better(&found, segment) {
                let read = segment.read_for(Purpose::Merge).read_record(slot.offset, slot.len).await;
                let read = readable(read)?.filter(|record| record.key() == sought.key);
                found = read.map(|record| newer(&record, segment)).or(found);
            }
        }
        for (run, filter) in &mut self.newer {
            let Some(segment) = run.holding(sought.key).filter(|segment| is_better(&found, segment)) else { continue };
            if readable(filter.may_contain(segment, sought.hash).await.map(Some))?.unwrap_or(false)
                && let Some(record) = readable(segment.read_for(Purpose::Merge).search(sought.key).await)?
            {
                found = Some(newer(&record, segment));
                break;
            }
        }
        Ok(found)
    }

    /// Whether there may be an older record of the key. That it is this very key does not matter: a tombstone too many
    /// does no harm.
    pub(super) async fn older_possible(&mut self, sought: &Sought<'_>) -> Result<bool> {
        let mut residents = sought.candidates.iter().filter_map(|slot| self.resident(slot));
        if residents.any(|(segment, _)| self.is_older(segment)) {
            return Ok(true);
        }
        for (run, filter) in &mut self.older {
            let Some(segment) = run.holding(sought.key) else { continue };
            // What cannot be asked may hold it.
            if readable(filter.may_contain(segment, sought.hash).await.map(Some))?.unwrap_or(true) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn newer<'a>(record: &OwnedRecord, segment: &'a Arc<Segment>) -> Newer<'a> {
    Newer { kind: record.kind(), segment, len: record.len() }
}

/// Nothing where there is damage: what cannot be read hides nothing, and the older record stays, which does no harm.
fn readable<T>(read: Result<impl Into<Option<T>>>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(read.into()),
        Err(error) if error.kind() == ErrorKind::Corruption => {
            tracing::warn!(%error, "a merge met a damaged record");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
