//! Which merge comes next: looks at what there is, and asks the [`rules`].

use super::rules::{self, Candidate, Thresholds};
use crate::core::Core;
use crate::segment::Segment;
use crate::version::{Run, Version};
use std::ops::Range;
use std::sync::Arc;

/// Memory of range tombstones beyond which segments are merged to be rid of them: some ten thousand short ones.
const COVER_BYTES_MAX: u64 = 1 << 20;
/// The same as a share of the memory budget.
const COVER_SHARE: u64 = 64;

/// Where memory does not hold the keys of all segments, this share of [`Options::runs_max`](crate::Options::runs_max) is
/// allowed: then every run costs a look for each lookup, and not only for each scan.
const ASKED_SHARE: usize = 4;

/// A merge that is worth while: of these runs, all segments or some of one run.
pub(super) struct Chosen {
    pub(super) runs: Range<usize>,
    pub(super) inputs: Vec<Arc<Segment>>,
}

/// The merge that is most worth while, if any is.
pub(super) fn choose(core: &Core, version: &Version) -> Option<Chosen> {
    if let Some((run, segment)) = deadest(core, version) {
        return Some(Chosen { runs: run..run + 1, inputs: vec![version.runs[run].segments[segment].clone()] });
    }
    if let Some((run, segment)) = unswept(core, version) {
        return Some(Chosen { runs: run..run + 1, inputs: vec![version.runs[run].segments[segment].clone()] });
    }
    let runs = neighbours(core, version)?;
    let inputs = version.runs[runs.clone()].iter().flat_map(|run| &run.segments).cloned().collect();
    Some(Chosen { runs, inputs })
}

/// The engine time at which to look again, if nothing but time passes.
pub(super) fn next_due(core: &Core) -> Option<u64> {
    let version = core.versions.load();
    let candidates: Vec<_> = candidates(core, &version).into_iter().map(|(_, candidate)| candidate).collect();
    rules::next_due(&candidates, core.options.merge_dead_share, core.clock.trusted())
}

/// How many of the newest runs stay as they are, for watches: those that are logs, and small enough together.
pub(super) fn history(core: &Core, version: &Version) -> usize {
    let mut left = core.options.history_bytes;
    let fits = |run: &&Arc<Run>| {
        let len = run.as_log().map(|segment| segment.meta.len);
        len.and_then(|len| left.checked_sub(len)).map(|rest| left = rest).is_some()
    };
    version.runs.iter().take_while(fits).count()
}

/// Where range tombstones take too much memory: of the segments that need some, the one that was swept longest ago. Once
/// all are swept the tombstones go.
fn unswept(core: &Core, version: &Version) -> Option<(usize, usize)> {
    let bytes_max = (core.budget.total / COVER_SHARE).min(COVER_BYTES_MAX);
    if (version.cover.bytes() as u64) < bytes_max {
        return None;
    }
    let runs = version.runs.iter().enumerate().skip(history(core, version));
    let segments = runs.flat_map(|(run, r)| r.segments.iter().enumerate().map(move |(place, s)| ((run, place), s)));
    let needing = segments
        .filter(|(_, segment)| !core.compactor.is_avoided(segment))
        .filter(|(_, segment)| version.cover.is_needed_by(&segment.meta));
    needing.min_by_key(|(_, segment)| segment.meta.swept).map(|(place, _)| place)
}

/// Neighbouring runs that are small, or of which there are too many.
fn neighbours(core: &Core, version: &Version) -> Option<Range<usize>> {
    let history = history(core, version);
    let size = |run: &Arc<Run>| {
        let damaged = run.segments.iter().any(|segment| core.compactor.is_avoided(segment));
        (!damaged).then(|| run.segments.iter().map(|segment| segment.meta.len).sum())
    };
    let sizes: Vec<Option<u64>> = version.runs[history..].iter().map(size).collect();
    let picked = rules::pick_small(&sizes, core.options.segment_bytes_max)
        .or_else(|| rules::pick_many(&sizes, runs_max(core, version)))?;
    Some(picked.start + history..picked.end + history)
}

/// How many runs there may be.
fn runs_max(core: &Core, version: &Version) -> usize {
    let slots: u64 = version.segments().map(|segment| segment.meta.entries).sum();
    let all = core.options.runs_max;
    if slots <= core.residency.slots_max() { all } else { all.div_ceil(ASKED_SHARE) }
}

/// The segment that is deadest, if it is dead enough: its run's place, and its place in the run.
fn deadest(core: &Core, version: &Version) -> Option<(usize, usize)> {
    let (places, candidates): (Vec<_>, Vec<_>) = candidates(core, version).into_iter().unzip();
    let options = &core.options;
    let thresholds = Thresholds { dead_share: options.merge_dead_share, amplification: options.space_amplification };
    rules::pick(&candidates, thresholds, core.clock.trusted()).map(|picked| places[picked])
}

/// What the choice looks at of each segment, and where that is: its run's place, and its place in the run.
fn candidates(core: &Core, version: &Version) -> Vec<((usize, usize), Candidate)> {
    let mut candidates = Vec::new();
    let history = history(core, version);
    for (run, segments) in version.runs.iter().map(|run| &run.segments).enumerate().skip(history) {
        for (place, segment) in segments.iter().enumerate().filter(|(_, segment)| !core.compactor.is_avoided(segment)) {
            let meta = &segment.meta;
            let candidate = Candidate {
                len: meta.len,
                record_bytes: meta.record_bytes,
                dead_bytes: segment.dead_bytes() + meta.record_bytes.saturating_sub(meta.live_bytes),
                records: meta.records,
                tombstones: meta.tombstones,
                expiring: meta.expiring,
                expiries: meta.min_expiry.zip(meta.max_expiry),
                oldest: run + 1 == version.runs.len(),
            };
            candidates.push(((run, place), candidate));
        }
    }
    candidates
}
