//! Point reads: memtables, then run by run, newest first: the keydir's candidates where a segment is resident, filter and
//! index where it is not.
//!
//! Runs never overlap in sequence numbers, so the first match from newest to oldest is the answer. A fingerprint and a
//! filter are hints; only the key in the record decides. Where segments are mapped a read does not wait, and where all are
//! resident it is one probe and one look at memory, and allocates nothing.

use crate::core::Core;
use crate::format::frame::Kind;
use crate::hash::{self, Fingerprint};
use crate::keydir::Slot;
use crate::planted::{Bug, planted};
use crate::scan::Entry;
use crate::segment::{Lookup, OwnedRecord, Segment};
use crate::turn::Turn;
use crate::value::Value;
use crate::version::{Paged, Version, View};
use crate::{Result, Seq};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use std::collections::HashSet;
use std::sync::Arc;

/// The newest record of a key: a put that has not expired, or what hides everything older.
/// Its value is as the record stores it until it has been [read](Newest::read).
pub(crate) struct Newest<V = Bytes> {
    pub(crate) kind: Kind,
    pub(crate) seq: Seq,
    pub(crate) expires_at: Option<u64>,
    pub(crate) value: V,
}

impl<V> Newest<V> {
    /// The value and what is known of it, unless it is deleted or has expired by the time that `now` gives.
    #[inline]
    pub(crate) fn live(self, now: impl FnOnce() -> u64) -> Option<Newest<V>> {
        let expired = self.expires_at.is_some_and(|at| at <= now());
        (self.kind == Kind::Put && !expired).then_some(self)
    }
}

impl Newest<Value> {
    /// What a range tombstone leaves of a key.
    fn deleted(seq: Seq) -> Newest<Value> {
        Newest { kind: Kind::Tombstone, seq, expires_at: None, value: Value::empty() }
    }

    /// Deleted by the range tombstone `seq`, if that is newer.
    #[inline]
    pub(crate) fn unless_covered(self, seq: Seq) -> Newest<Value> {
        if seq > self.seq { Newest::deleted(seq) } else { self }
    }

    /// With the value as it was written. Errors as [`Value::read`].
    #[inline]
    pub(crate) async fn read(self) -> Result<Newest> {
        let Newest { kind, seq, expires_at, value } = self;
        Ok(Newest { kind, seq, expires_at, value: value.read().await? })
    }
}

impl Newest {
    /// As the entry of `key`.
    pub(crate) fn entry(self, key: &[u8]) -> Entry {
        let Newest { seq, expires_at, value, .. } = self;
        Entry { key: Bytes::copy_from_slice(key), value, seq, expires_at }
    }
}

/// How far a look without waiting has come.
enum Look {
    Found(Newest<Value>),
    Absent,
    /// A record must be read from a segment that is not mapped.
    NeedsRead,
}

/// What `key` holds now.
pub(crate) async fn get(core: &Core, key: &[u8]) -> Result<Option<Newest>> {
    match find(core, key).await? {
        Some(newest) => newest.read().await.map(Some),
        None => Ok(None),
    }
}

/// The same, the value not looked at.
pub(crate) async fn find(core: &Core, key: &[u8]) -> Result<Option<Newest<Value>>> {
    core.check_open()?;
    let hash = hash::hash(core.epoch.hash_seed, key);
    let looked = {
        let version = core.versions.load();
        // Read after the version: what was visible when the version was current is visible at this number.
        look(core, &version, core.log.visible(), hash, key)?
    };
    let newest = match looked {
        Look::Found(newest) => Some(newest),
        Look::Absent => None,
        Look::NeedsRead => {
            let version = core.versions.get();
            read(core, &version, core.log.visible(), hash, key).await?
        }
    };
    Ok(newest.and_then(|newest| newest.live(|| core.clock.now())))
}

/// What `key` held at the moment of `view`.
pub(crate) async fn get_at(core: &Core, view: &View, key: &[u8]) -> Result<Option<Newest>> {
    match find_at(core, view, key).await? {
        Some(newest) => newest.read().await.map(Some),
        None => Ok(None),
    }
}

/// The same, the value not looked at.
pub(crate) async fn find_at(core: &Core, view: &View, key: &[u8]) -> Result<Option<Newest<Value>>> {
    core.check_open()?;
    Ok(stored_at(core, view, key).await?.and_then(|newest| newest.live(|| view.now)))
}

/// Keys, or segments, that are read at once.
pub(crate) const READS_AT_ONCE: usize = 32;

/// What each of `keys` held at the moment of `view`. What is at hand is taken first; the rest is read at once.
pub(crate) async fn get_many<K: AsRef<[u8]>>(core: &Core, view: &View, keys: &[K]) -> Result<Vec<Option<Bytes>>> {
    core.check_open()?;
    let mut found: Vec<Option<Newest<Value>>> = Vec::with_capacity(keys.len());
    let (mut unread, mut turn) = (Vec::new(), Turn::default());
    for (index, key) in keys.iter().map(K::as_ref).enumerate() {
        let hash = hash::hash(core.epoch.hash_seed, key);
        let looked = look(core, &view.version, view.at, hash, key)?;
        unread.extend(matches!(looked, Look::NeedsRead).then_some((index, hash)));
        found.push(match looked {
            Look::Found(newest) => Some(newest),
            Look::Absent | Look::NeedsRead => None,
        });
        turn.take(key.len()).await;
    }
    prepare(&view.version, unread.iter().map(|&(index, _)| keys[index].as_ref())).await;
    let read = async |(index, hash): (usize, u64)| {
        let key: &[u8] = keys[index].as_ref();
        read(core, &view.version, view.at, hash, key).await.map(|newest| (index, newest))
    };
    let mut reads = stream::iter(unread).map(read).buffer_unordered(READS_AT_ONCE);
    while let Some((index, newest)) = reads.try_next().await? {
        found[index] = newest;
    }
    drop(reads);
    let mut values = Vec::with_capacity(found.len());
    for newest in found {
        values.push(match newest.and_then(|newest| newest.live(|| view.now)) {
            Some(newest) => Some(newest.read().await?.value),
            None => None,
        });
    }
    Ok(values)
}

/// Reads filter and fences of the segments that may hold one of `keys` and are not resident, before many ask for them at
/// the same time. What cannot be read whoever asks for it will be told.
pub(crate) async fn prepare<'a>(version: &Version, keys: impl Iterator<Item = &'a [u8]>) {
    let (mut known, mut segments) = (HashSet::new(), Vec::new());
    for key in keys {
        let holding = version.paged().iter().filter_map(|run| run.holding(key));
        segments.extend(holding.filter(|segment| known.insert(segment.serial())).cloned());
    }
    let prepare = async |segment: Arc<Segment>| drop(segment.prepare().await);
    let at_once = segments.first().map_or(1, |segment| segment.long_reads_max()).min(READS_AT_ONCE);
    stream::iter(segments).map(prepare).buffer_unordered(at_once).collect::<()>().await;
}

/// The newest record of `key` at the moment of `view`, be it a tombstone or expired.
pub(crate) async fn newest_at(core: &Core, view: &View, key: &[u8]) -> Result<Option<Newest>> {
    match stored_at(core, view, key).await? {
        Some(newest) => newest.read().await.map(Some),
        None => Ok(None),
    }
}

async fn stored_at(core: &Core, view: &View, key: &[u8]) -> Result<Option<Newest<Value>>> {
    let hash = hash::hash(core.epoch.hash_seed, key);
    Ok(match look(core, &view.version, view.at, hash, key)? {
        Look::Found(newest) => Some(newest),
        Look::Absent => None,
        Look::NeedsRead => read(core, &view.version, view.at, hash, key).await?,
    })
}

#[inline]
fn look(core: &Core, version: &Version, at: Seq, hash: u64, key: &[u8]) -> Result<Look> {
    Ok(match look_for_record(core, version, at, hash, key)? {
        Look::Found(newest) => Look::Found(newest.unless_covered(version.cover.over(key))),
        other => other,
    })
}

#[inline]
fn look_for_record(core: &Core, version: &Version, at: Seq, hash: u64, key: &[u8]) -> Result<Look> {
    if let Some(newest) = look_in_memory(version, at, hash, key) {
        return Ok(Look::Found(newest));
    }
    let mut search = Search::new(core, version, hash, key);
    while let Some(place) = search.next() {
        match place {
            Place::Slot(segment, slot) => {
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
            }
            Place::Paged(segment) => match segment.look_up(hash, key)? {
                Lookup::NeedsRead => return Ok(Look::NeedsRead),
                Lookup::Found(record) => return Ok(Look::Found(record.into())),
                miss => search.missed(&miss),
            },
        }
    }
    Ok(Look::Absent)
}

#[inline]
pub(crate) fn look_in_memory(version: &Version, at: Seq, hash: u64, key: &[u8]) -> Option<Newest<Value>> {
    version.memtables.iter().find_map(|memtable| {
        let found = memtable.get(hash, key, at);
        let newest = found.map(|found| Newest {
            kind: found.kind,
            seq: found.seq,
            expires_at: found.expires_at,
            value: found.value,
        });
        match memtable.covered(key, at) {
            0 => newest,
            seq => Some(newest.map_or_else(|| Newest::deleted(seq), |newest| newest.unless_covered(seq))),
        }
    })
}

/// Where the newest record of a key may be.
enum Place<'a> {
    /// The record at this slot, if it is of the key.
    Slot(&'a Arc<Segment>, Slot),
    /// Somewhere in this segment, which is not resident.
    Paged(&'a Arc<Segment>),
}

/// The places where a key may be, newest first.
struct Search<'a> {
    core: &'a Core,
    version: &'a Version,
    hash: u64,
    key: &'a [u8],
    /// The newest candidate below `below`, once it has been asked for.
    slot: Option<Option<Candidate<'a>>>,
    /// Where the last candidate stood that was given.
    below: (Seq, u32),
    /// The runs with segments that are not resident, and the next of these.
    runs: std::slice::Iter<'a, Paged>,
    paged: Option<&'a Arc<Segment>>,
    /// Filters asked, and how many let the key pass in vain.
    probes: u32,
    false_positives: u32,
}

/// A slot, and the segment it points into.
type Candidate<'a> = (&'a Arc<Segment>, Slot);

impl<'a> Search<'a> {
    #[inline]
    fn new(core: &'a Core, version: &'a Version, hash: u64, key: &'a [u8]) -> Search<'a> {
        let runs = version.paged().iter();
        let below = (Seq::MAX, u32::MAX);
        let mut search =
            Search { core, version, hash, key, slot: None, below, runs, paged: None, probes: 0, false_positives: 0 };
        search.paged = search.next_paged();
        search
    }

    #[inline]
    fn next_paged(&mut self) -> Option<&'a Arc<Segment>> {
        self.runs.find_map(|run| run.holding(self.key))
    }

    /// The next place. Runs are disjoint in seq, so one number of each tells which of two is newer; segments of one run
    /// hold different keys.
    #[inline]
    fn next(&mut self) -> Option<Place<'a>> {
        let slot = match self.slot {
            Some(slot) => slot,
            None => *self.slot.insert(next_candidate(self.core, self.version, self.hash, self.below)),
        };
        match (slot, self.paged) {
            (Some((segment, slot)), paged) if paged.is_none_or(|paged| paged.meta.max_seq < segment.meta.max_seq) => {
                self.below = (segment.meta.max_seq, slot.offset);
                self.slot = None;
                Some(Place::Slot(segment, slot))
            }
            (_, Some(paged)) => {
                self.paged = self.next_paged();
                self.probes += 1;
                Some(Place::Paged(paged))
            }
            _ => None,
        }
    }

    /// A segment was asked in vain.
    #[inline]
    fn missed(&mut self, lookup: &Lookup) {
        self.probes -= u32::from(matches!(lookup, Lookup::Unfiltered));
        self.false_positives += u32::from(matches!(lookup, Lookup::Absent));
    }
}

impl From<OwnedRecord> for Newest<Value> {
    fn from(record: OwnedRecord) -> Newest<Value> {
        Newest { kind: record.kind(), seq: record.seq(), expires_at: record.expires_at(), value: record.value() }
    }
}

impl Drop for Search<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.probes > 0 {
            self.core.files.filters.add(self.probes, self.false_positives);
        }
    }
}

/// The newest slot below `below` whose segment is resident in the version. Slots of one segment are told apart by their
/// offsets: two keys of one fingerprint may lie in it.
#[inline]
fn next_candidate<'a>(core: &Core, version: &'a Version, hash: u64, below: (Seq, u32)) -> Option<Candidate<'a>> {
    let mut newest: Option<((Seq, u32), Candidate<'a>)> = None;
    core.keydir.each(Fingerprint::of(hash), |slot| {
        let Some(segment) = version.segment(slot.kid) else { return };
        let rank = (segment.meta.max_seq, slot.offset);
        if rank < below && newest.is_none_or(|(newest, _)| (newest < rank) != planted(Bug::OlderSlotWins)) {
            newest = Some((rank, (segment, slot)));
        }
    });
    newest.map(|(_, candidate)| candidate)
}

/// The same, reading what is not mapped.
async fn read(core: &Core, version: &Version, at: Seq, hash: u64, key: &[u8]) -> Result<Option<Newest<Value>>> {
    let newest = read_record(core, version, at, hash, key).await?;
    Ok(newest.map(|newest| newest.unless_covered(version.cover.over(key))))
}

async fn read_record(core: &Core, version: &Version, at: Seq, hash: u64, key: &[u8]) -> Result<Option<Newest<Value>>> {
    if let Some(newest) = look_in_memory(version, at, hash, key) {
        return Ok(Some(newest));
    }
    let mut search = Search::new(core, version, hash, key);
    while let Some(place) = search.next() {
        match place {
            Place::Slot(segment, slot) => {
                let record = segment.read_record_kept(slot.offset, slot.len).await?;
                if record.key() == key {
                    return Ok(Some(record.into()));
                }
            }
            Place::Paged(segment) => match segment.find(hash, key).await? {
                Lookup::Found(record) => return Ok(Some(record.into())),
                miss => search.missed(&miss),
            },
        }
    }
    Ok(None)
}

#[cfg(test)]
mod mixed;
#[cfg(test)]
mod tests;
