//! Point reads: memtables, then the keydir's candidates, newest first.
//!
//! Runs never overlap in sequence numbers, so the first match from newest to oldest is the answer. A fingerprint is a
//! hint; only the key in the record decides. Where segments are mapped, a read is one probe and one look at memory: it
//! neither awaits nor allocates.

use crate::core::Core;
use crate::format::frame::Kind;
use crate::hash::{self, Fingerprint};
use crate::keydir::Slot;
use crate::scan::Entry;
use crate::segment::Segment;
use crate::version::Version;
use crate::{Result, Seq};
use bytes::Bytes;
use std::sync::Arc;

/// The newest record of a key: a put that has not expired, or what hides everything older.
pub(crate) struct Newest {
    pub(crate) kind: Kind,
    pub(crate) seq: Seq,
    pub(crate) expires_at: Option<u64>,
    pub(crate) value: Bytes,
}

impl Newest {
    /// The value and what is known of it, unless it is deleted or expired.
    #[inline]
    fn live(self, core: &Core) -> Option<Newest> {
        let expired = self.expires_at.is_some_and(|at| at <= core.clock.now());
        (self.kind == Kind::Put && !expired).then_some(self)
    }
}

/// How far a look without waiting has come.
enum Look {
    Found(Newest),
    Absent,
    /// A record must be read from a segment that is not mapped.
    NeedsRead,
}

/// The value of `key` now.
pub(crate) async fn get(core: &Core, key: &[u8]) -> Result<Option<Newest>> {
    core.check_open()?;
    let hash = hash::hash(core.epoch.hash_seed, key);
    let look = look(core, &core.versions.load(), hash, key)?;
    let newest = match look {
        Look::Found(newest) => Some(newest),
        Look::Absent => None,
        Look::NeedsRead => read(core, hash, key).await?,
    };
    Ok(newest.and_then(|newest| newest.live(core)))
}

/// The entry of `key` now.
pub(crate) async fn get_entry(core: &Core, key: &[u8]) -> Result<Option<Entry>> {
    let newest = get(core, key).await?;
    Ok(newest.map(|newest| Entry {
        key: Bytes::copy_from_slice(key),
        value: newest.value,
        seq: newest.seq,
        expires_at: newest.expires_at,
    }))
}

#[inline]
fn look(core: &Core, version: &Version, hash: u64, key: &[u8]) -> Result<Look> {
    if let Some(newest) = look_in_memory(core, version, hash, key) {
        return Ok(Look::Found(newest));
    }
    let mut below = (Seq::MAX, u32::MAX);
    let candidates = core.keydir.candidates(Fingerprint::of(hash));
    while let Some((segment, slot)) = next_candidate(version, candidates.iter(), below) {
        let Some(record) = segment.mapped_record(slot.offset, slot.len) else {
            return Ok(Look::NeedsRead);
        };
        let record = record?;
        if record.key() == key {
            return Ok(Look::Found(Newest {
                kind: record.kind(),
                seq: record.seq(),
                expires_at: record.expires_at(),
                value: record.value(),
            }));
        }
        below = (segment.meta.max_seq, slot.offset);
    }
    Ok(Look::Absent)
}

#[inline]
fn look_in_memory(core: &Core, version: &Version, hash: u64, key: &[u8]) -> Option<Newest> {
    // Read after the version: what was visible when the version was current is visible at this number.
    let at = core.log.visible();
    version.memtables.iter().find_map(|memtable| memtable.get(hash, key, at)).map(|found| Newest {
        kind: found.kind,
        seq: found.seq,
        expires_at: found.expires_at,
        value: found.value,
    })
}

/// The newest of `slots` below `below` whose segment is in the version. Slots of one segment are told apart by their
/// offsets: two keys of one fingerprint may lie in it.
#[inline]
fn next_candidate(
    version: &Version,
    slots: impl Iterator<Item = Slot>,
    below: (Seq, u32),
) -> Option<(&Arc<Segment>, Slot)> {
    slots
        .filter_map(|slot| version.segment(slot.kid).map(|segment| (segment, slot)))
        .filter(|(segment, slot)| (segment.meta.max_seq, slot.offset) < below)
        .max_by_key(|(segment, slot)| (segment.meta.max_seq, slot.offset))
}

/// The same, reading from segments that are not mapped.
async fn read(core: &Core, hash: u64, key: &[u8]) -> Result<Option<Newest>> {
    let version = core.versions.get();
    if let Some(newest) = look_in_memory(core, &version, hash, key) {
        return Ok(Some(newest));
    }
    let mut below = (Seq::MAX, u32::MAX);
    let candidates = core.keydir.candidates(Fingerprint::of(hash));
    while let Some((segment, slot)) = next_candidate(&version, candidates.iter(), below) {
        let record = segment.read_record(slot.offset, slot.len).await?;
        if record.key() == key {
            return Ok(Some(Newest {
                kind: record.kind(),
                seq: record.seq(),
                expires_at: record.expires_at(),
                value: record.value(),
            }));
        }
        below = (segment.meta.max_seq, slot.offset);
    }
    Ok(None)
}
