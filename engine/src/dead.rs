//! How much of each sealed segment is dead: an estimate, which only chooses merges.
//!
//! A record is counted when it dies: one that is overwritten or deleted when the newer record's segment is sealed, a
//! tombstone when nothing is left for it to hide, which may be from the beginning or since a merge has dropped the last
//! of that. What expires is known from the statistics.
//!
//! Where all segments are resident the slots tell, as they enter the keydir ([`settle`]). Where some are not, a sample
//! of the new keys is looked for in what is older ([`count`]), by slots and filters; each stands for some more, and what
//! only a filter has found is taken to be of average length. Where reads are requests only [some filters](asked) are asked.
//!
//! Fingerprints and filters stand for keys: few are taken for others. A merge compares keys, and what it writes begins
//! anew with nothing dead, so no mistake is repeated.

mod asked;

use crate::core::Core;
use crate::cover::Cover;
use crate::cursor::{Merge, Move, Need, Source};
use crate::format::block::Facts;
use crate::format::frame::Kind;
use crate::format::manifest::Manifest;
use crate::hash::{self, Fingerprint};
use crate::keydir::Slot;
use crate::memtable::Memtable;
use crate::range::{Course, Direction};
use crate::residency::Resident;
use crate::segment::Segment;
use crate::turn::Turn;
use crate::version::{Run, Version};
use crate::{Result, Seq};
use asked::Asked;
use halite_backends::Purpose;
use std::collections::HashMap;
use std::sync::Arc;

/// About so many keys are looked for, or all where there are fewer: together, so that each filter is read once for all.
const ENOUGH: u64 = 4096;
/// What the record of a tombstone takes beside its key, about.
const TOMBSTONE_HEAD_LEN: u64 = 12;

/// What a [`count`] looks for.
#[derive(Clone, Copy, Debug)]
enum Counts<'a> {
    /// Tombstones that hide nothing.
    IdleTombstones,
    /// Those, and what is overwritten or deleted.
    All,
    /// What is overwritten or deleted in these segments.
    DiedIn(&'a [Arc<Segment>]),
}

/// Brings the slots of a segment that was just sealed, from `memtable`, into the keydir if there is room for them, and counts what
/// it has made useless.
pub(crate) async fn settle(
    core: &Core,
    segment: &Arc<Segment>,
    memtable: &Arc<Memtable>,
) -> Result<Option<Arc<Resident>>> {
    let version = core.versions.load().sealed();
    let by_slots = version.paged().is_empty();
    let superseded = |slots: &[Slot]| {
        if by_slots && let Some((segment, len)) = newest(&core.versions.load(), slots.iter().copied(), Seq::MAX) {
            segment.add_dead(u64::from(len));
        }
    };
    let resident = core.residency.settle(&core.keydir, segment, Purpose::Seal, superseded).await?;
    let counts = if by_slots && resident.is_some() { Counts::IdleTombstones } else { Counts::All };
    count(core, &version, segment, Source::memory(memtable, Seq::MAX, &Course::all()), counts).await;
    Ok(resident)
}

/// Counts what died in the outputs of a merge while it was under way: the segments sealed since `before` have counted
/// that in its inputs. `after` is the version in which the outputs have taken their place.
///
/// What a seal under way at that very moment has counted is lost.
pub(crate) async fn during_merge(core: &Core, before: &Version, after: &Version, outputs: &[Arc<Segment>]) {
    let is_new = |segment: &Arc<Segment>| {
        !before.segments().chain(outputs).any(|other| Arc::ptr_eq(other, segment)) && !outputs.is_empty()
    };
    let new: Vec<_> = after.segments().filter(|segment| is_new(segment)).collect();
    for segment in new {
        count(core, after, segment, keys_of(segment), Counts::DiedIn(outputs)).await;
    }
}

/// Counts what `newer`, a segment that recovery has sealed, has made useless in `version`.
pub(crate) async fn recovered(core: &Core, version: &Version, newer: &Arc<Segment>) {
    count(core, version, newer, keys_of(newer), Counts::All).await;
}

/// The keys of a segment whose memtable is gone.
fn keys_of(segment: &Arc<Segment>) -> Option<Source> {
    // What is dead is looked for so that what is worth a merge is known.
    let run = Run::new(vec![segment.read_for(Purpose::Merge)]);
    Source::run(&Arc::new(run), &Course::all(), true)
}

/// Looks in `version` for what the records of `newer`, whose keys are `keys`, have made useless, and counts it.
async fn count(core: &Core, version: &Version, newer: &Arc<Segment>, keys: Option<Source>, counts: Counts<'_>) {
    if matches!(counts, Counts::IdleTombstones) && newer.meta.tombstones == 0 {
        return;
    }
    if let Err(error) = try_count(core, version, newer, keys, counts).await {
        // Whoever reads it hears of it; an estimate can do without.
        tracing::warn!(%error, segment = %newer.meta.id, "what a segment has made useless could not be counted");
    }
}

async fn try_count(
    core: &Core,
    version: &Version,
    newer: &Arc<Segment>,
    keys: Option<Source>,
    counts: Counts<'_>,
) -> Result<()> {
    let rate = (newer.meta.entries / ENOUGH).max(1);
    let mut search = Search { core, version, newer, counts, rate, sample: Vec::new() };
    let mut keys = Merge::new(keys.into_iter().collect(), Direction::Forward);
    let mut turn = Turn::default();
    loop {
        match keys.advance(&mut usize::MAX.clone())? {
            Move::Ready => {}
            Move::End => break,
            Move::Again => {
                tokio::task::yield_now().await;
                continue;
            }
            Move::Need => {
                let loaded = Need::load(keys.take_needs()).await?;
                keys.supply(loaded);
                continue;
            }
        }
        let (key, &Facts { kind, .. }) = (keys.current().key(), keys.current().facts());
        turn.take(key.len()).await;
        if matches!(counts, Counts::IdleTombstones) && kind != Kind::Tombstone {
            continue;
        }
        let hash = hash::hash(newer.hash_seed(), key);
        // By bits that choose neither a filter's block nor a keydir's shard.
        if (hash >> 13).is_multiple_of(rate) {
            search.sample.push(search.sampled(hash, key, kind));
        }
    }
    search.finish().await
}

/// A sample of the keys of a segment, in order, to be looked for in what is older.
struct Search<'a> {
    core: &'a Core,
    version: &'a Version,
    newer: &'a Arc<Segment>,
    counts: Counts<'a>,
    /// One key stands for so many.
    rate: u64,
    sample: Vec<Sampled<'a>>,
}

/// A key of the sample, and where its newest older record is, as far as that is known.
struct Sampled<'a> {
    hash: u64,
    key: Vec<u8>,
    kind: Kind,
    older: Option<(&'a Arc<Segment>, u32)>,
    /// For how many segments that one stands, if it is not resident.
    found: Option<u64>,
}

impl<'a> Search<'a> {
    fn sampled(&self, hash: u64, key: &[u8], kind: Kind) -> Sampled<'a> {
        let slots = self.core.keydir.candidates(Fingerprint::of(hash));
        let older = newest(self.version, slots.iter(), self.newer.meta.min_seq);
        Sampled { hash, key: key.to_vec(), kind, older, found: None }
    }

    async fn finish(mut self) -> Result<()> {
        self.ask_filters().await?;
        for sampled in std::mem::take(&mut self.sample) {
            match sampled.older {
                Some((segment, len)) if self.counts_in(segment) => {
                    segment.add_dead(self.rate * sampled.found.unwrap_or(1) * u64::from(len));
                }
                None if sampled.kind == Kind::Tombstone && !matches!(self.counts, Counts::DiedIn(_)) => {
                    self.newer.add_dead(self.rate * (sampled.key.len() as u64 + TOMBSTONE_HEAD_LEN));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn counts_in(&self, segment: &Arc<Segment>) -> bool {
        match self.counts {
            Counts::IdleTombstones => false,
            Counts::All => true,
            Counts::DiedIn(segments) => segments.iter().any(|other| Arc::ptr_eq(other, segment)),
        }
    }

    /// Looks for the sample in what is not resident, newest first.
    async fn ask_filters(&mut self) -> Result<()> {
        let mut asked = Asked::of(self.core, self.version).await?;
        let mut turn = Turn::default();
        for run in self.version.paged() {
            for sampled in self.sample.iter_mut().filter(|sampled| sampled.found.is_none()) {
                turn.take(0).await;
                let Some(segment) = run.holding(&sampled.key) else { continue };
                let lies_between = segment.meta.max_seq < self.newer.meta.min_seq
                    && sampled.older.is_none_or(|(older, _)| older.meta.max_seq < segment.meta.max_seq);
                if !lies_between {
                    continue;
                }
                let stands_for = asked.holds(segment, sampled.hash).await?;
                if stands_for > 0 {
                    let average = segment.meta.live_bytes / segment.meta.entries.max(1);
                    sampled.older = Some((segment, u32::try_from(average).unwrap_or(u32::MAX)));
                    sampled.found = Some(stands_for);
                }
            }
        }
        Ok(())
    }
}

/// The newest of `slots` whose segment is resident in `version` and older than `before`: that segment, and the length.
fn newest(version: &Version, slots: impl Iterator<Item = Slot>, before: Seq) -> Option<(&Arc<Segment>, u32)> {
    slots
        .filter_map(|slot| version.segment(slot.kid).map(|segment| (segment, slot.len)))
        .filter(|(segment, _)| segment.meta.max_seq < before)
        .max_by_key(|(segment, _)| segment.meta.max_seq)
}

/// Counts what `newer`, range tombstones newer than all of the version's runs, cover in these, as far as the index blocks
/// tell. What older ones cover too is counted again, which does no harm: there is no more than all.
pub(crate) async fn covered(version: &Version, newer: &Cover) {
    if newer.is_empty() {
        return;
    }
    let cover = version.cover.with(newer);
    let mut turn = Turn::default();
    for segment in version.segments() {
        let meta = &segment.meta;
        if cover.covers_all_of(meta) {
            segment.add_dead(meta.live_bytes);
            continue;
        }
        for stretch in newer.between(&meta.min_key, &meta.max_key) {
            match segment.share(&stretch.start, stretch.end.as_deref()).await {
                Ok(share) => segment.add_dead((meta.live_bytes as f64 * share) as u64),
                // Whoever reads it hears of it; an estimate can do without.
                Err(error) => tracing::warn!(%error, segment = %meta.id, "what was deleted could not be counted"),
            }
            turn.take(0).await;
        }
    }
}

/// Brings the manifest's estimates up to date.
pub(crate) fn note<'a>(manifest: &mut Manifest, segments: impl Iterator<Item = &'a Arc<Segment>>) {
    let dead: HashMap<_, _> = segments.map(|segment| (segment.meta.id, segment.dead_bytes())).collect();
    for meta in manifest.runs.iter_mut().flat_map(|run| &mut run.segments) {
        if let Some(&bytes) = dead.get(&meta.id) {
            meta.dead_bytes = bytes;
        }
    }
}
