//! How much of each sealed segment is dead: an estimate, which only chooses merges.
//!
//! A record is counted when it dies: one that is overwritten or deleted when the newer record's segment is sealed
//! ([`superseded`]), a tombstone when nothing is left for it to hide, which may be from the beginning
//! ([`idle_tombstones`]) or since a merge has dropped the last of that. What expires is known from the statistics.
//!
//! Fingerprints stand for keys: one in 2^40 pairs of keys is taken for one key. A merge compares keys, and what it
//! writes begins anew with nothing dead, so no mistake is repeated.

use crate::Result;
use crate::format::block::Facts;
use crate::format::frame::Kind;
use crate::format::hints::Hint;
use crate::format::manifest::Manifest;
use crate::hash::{self, Fingerprint};
use crate::keydir::{Keydir, Slot};
use crate::range::Course;
use crate::segment::{Segment, SegmentCursor, Step};
use crate::turn::Turn;
use crate::version::Version;
use std::collections::HashMap;
use std::sync::Arc;

/// Counts the newest of `slots`, which are older than a record of their fingerprint.
pub(crate) fn superseded<'a>(slots: &[Slot], segment_of: impl Fn(u32) -> Option<&'a Arc<Segment>>) {
    let segments = slots.iter().filter_map(|slot| segment_of(slot.kid).map(|segment| (segment, slot.len)));
    if let Some((segment, len)) = segments.max_by_key(|(segment, _)| segment.meta.max_seq) {
        segment.add_dead(u64::from(len));
    }
}

/// Counts the tombstones of a new segment that hide nothing. Its slots are in the keydir, and those of all older ones.
pub(crate) async fn idle_tombstones(keydir: &Keydir, segment: &Arc<Segment>) -> Result<()> {
    if segment.meta.tombstones == 0 {
        return Ok(());
    }
    let mut cursor = SegmentCursor::new(segment.clone(), Course::all(), true);
    let mut turn = Turn::default();
    loop {
        match cursor.advance()? {
            Step::Ready => {}
            Step::End => return Ok(()),
            Step::Again => {
                tokio::task::yield_now().await;
                continue;
            }
            Step::Need(range) => {
                let bytes = segment.read(range).await?;
                cursor.supply(bytes);
                continue;
            }
        }
        let Facts { kind, .. } = *cursor.facts();
        if kind == Kind::Tombstone {
            let fingerprint = Fingerprint::of(hash::hash(segment.hash_seed(), cursor.key()));
            let candidates = keydir.candidates(fingerprint);
            if let Some(slot) = only(candidates.iter()).filter(|slot| slot.kid == segment.kid) {
                segment.add_dead(u64::from(slot.len));
            }
        }
        turn.take(cursor.weight()).await;
    }
}

fn only(mut slots: impl Iterator<Item = Slot>) -> Option<Slot> {
    slots.next().filter(|_| slots.next().is_none())
}

/// Counts what died in the outputs of a merge while it was under way: the segments sealed since `before` have counted
/// that in its inputs. `after` is the version in which the outputs have taken their place.
///
/// What a seal under way at that very moment has counted is lost.
pub(crate) async fn during_merge(
    keydir: &Keydir,
    before: &Version,
    after: &Version,
    outputs: &[Arc<Segment>],
) -> Result<()> {
    let is_output = |segment: &Arc<Segment>| outputs.iter().any(|output| Arc::ptr_eq(output, segment));
    let newer = after.segments().filter(|segment| before.segment(segment.kid).is_none() && !is_output(segment));
    let mut turn = Turn::default();
    for segment in newer.filter(|_| !outputs.is_empty()) {
        let mut hints = segment.hints().await?;
        while let Some(Hint { fingerprint, .. }) = hints.next()? {
            let candidates = keydir.candidates(fingerprint);
            let older = candidates
                .iter()
                .filter_map(|slot| after.segment(slot.kid).map(|segment| (segment, slot.len)))
                .filter(|(other, _)| other.meta.max_seq < segment.meta.min_seq)
                .max_by_key(|(other, _)| other.meta.max_seq);
            if let Some((output, len)) = older.filter(|(segment, _)| is_output(segment)) {
                output.add_dead(u64::from(len));
            }
            turn.take(0).await;
        }
    }
    Ok(())
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
