//! The keydir: where each key's records lie, in 16 bytes a record, for all resident segments.
//!
//! A slot holds 40 bits of the key's hash (the [fingerprint](Fingerprint)), the segment, offset and length. Several
//! slots may share a fingerprint: older records of the key in older segments, and other keys. No slot is ever wrong,
//! only superseded; the reader of the record decides.
//!
//! | bits | field |
//! | ---: | --- |
//! | 40 | fingerprint |
//! | 24 | the segment's number in the keydir |
//! | 32 | offset |
//! | 32 | length; never 0, so that all zeros is an empty slot |
//!
//! # Layout
//! 256 shards by the fingerprint's upper 8 bits. In a shard the lower 32 bits give a slot's home by multiplication, so
//! that its capacity may be any number and homes ascend with fingerprints. Slots are kept in that order, each at or
//! behind its home (linear probing, sorted), so a look ends at the first larger fingerprint, and growing is one
//! sequential pass. A shard grows by an eighth: its load stays between [`LOAD_AFTER_GROWTH`] and [`LOAD_MAX`], and an
//! entry takes 16 / 0.76 = 21 bytes at the most, from a few entries a shard on.
//!
//! # Concurrency
//! One lock a shard, held for a probe or an insert and never while awaiting. How many slots there are, and how much memory they
//! take, is counted beside them, so that nobody who asks goes through all shards.

use crate::hash::Fingerprint;
use crate::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of shards.
pub(crate) const SHARDS: usize = 256;
/// Numbers of segments stay below this.
pub(crate) const KID_MAX: u32 = 1 << 24;

const SHARD_BITS: u32 = 8;
const KID_BITS: u32 = 24;
/// Above this share of its capacity a shard grows, as a fraction.
const LOAD_MAX: (usize, usize) = (86, 100);
/// The share of its capacity that a shard holds after it has grown or shrunk.
const LOAD_AFTER_GROWTH: (usize, usize) = (76, 100);
/// Candidates that are returned without an allocation.
const INLINE: usize = 8;

/// Where a record lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The segment's number in the keydir.
    pub(crate) kid: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

#[derive(Debug)]
pub(crate) struct Keydir {
    shards: Box<[Shard]>,
    /// Slots in all shards.
    len: AtomicUsize,
    /// Slots that there is room for in the memory that all shards take. (Each change wraps around where it is negative.)
    room: AtomicUsize,
}

/// On cache lines of its own, so that readers of one shard do not slow those of the next.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Shard(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    /// The range of homes; `slots` may be a little longer.
    capacity: usize,
    len: usize,
    slots: Vec<Packed>,
}

/// A slot as it is stored: (fingerprint, kid) and (offset, length).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Packed(u64, u64);

impl Packed {
    const EMPTY: Packed = Packed(0, 0);

    #[inline]
    fn new(fingerprint: Fingerprint, slot: Slot) -> Packed {
        assert!(slot.kid < KID_MAX && slot.len != 0, "a slot out of bounds: {slot:?}");
        let where_in_segment = u64::from(slot.offset) << 32 | u64::from(slot.len);
        Packed(fingerprint.bits() << KID_BITS | u64::from(slot.kid), where_in_segment)
    }

    #[inline]
    fn is_empty(self) -> bool {
        self.1 == 0
    }

    #[inline]
    fn fingerprint(self) -> u64 {
        self.0 >> KID_BITS
    }

    #[inline]
    fn slot(self) -> Slot {
        Slot { kid: self.0 as u32 & (KID_MAX - 1), offset: (self.1 >> 32) as u32, len: self.1 as u32 }
    }
}

/// The slots of one fingerprint.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    inline: [Slot; INLINE],
    len: usize,
    more: Vec<Slot>,
}

impl Candidates {
    #[inline]
    fn push(&mut self, slot: Slot) {
        match self.inline.get_mut(self.len) {
            Some(place) => *place = slot,
            None => self.more.push(slot),
        }
        self.len += 1;
    }

    /// In no particular order.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.inline[..self.len.min(INLINE)].iter().chain(&self.more).copied()
    }
}

impl Keydir {
    pub(crate) fn new() -> Keydir {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Keydir { shards, len: AtomicUsize::new(0), room: AtomicUsize::new(0) }
    }

    #[inline]
    fn shard(&self, fingerprint: Fingerprint) -> &RwLock<Table> {
        &self.shards[(fingerprint.bits() >> (Fingerprint::BITS - SHARD_BITS)) as usize].0
    }

    /// Adds a slot. `on_equal` hears of every slot of that fingerprint that is there already.
    pub(crate) fn insert(&self, fingerprint: Fingerprint, slot: Slot, on_equal: impl FnMut(Slot)) {
        let mut table = self.shard(fingerprint).write();
        let room = table.slots.capacity();
        table.insert(Packed::new(fingerprint, slot), on_equal);
        self.len.fetch_add(1, Ordering::Relaxed);
        self.count_room(&table, room);
    }

    /// A table has changed, which had `room` before.
    #[inline]
    fn count_room(&self, table: &Table, room: usize) {
        let change = table.slots.capacity().wrapping_sub(room);
        if change != 0 {
            self.room.fetch_add(change, Ordering::Relaxed);
        }
    }

    /// Shows `each` the slots of `fingerprint`, in no particular order, under the shard's lock.
    #[inline]
    pub(crate) fn each(&self, fingerprint: Fingerprint, each: impl FnMut(Slot)) {
        self.shard(fingerprint).read().each_of(fingerprint.bits(), each);
    }

    /// The slots of `fingerprint`, to look at without a lock.
    #[inline]
    pub(crate) fn candidates(&self, fingerprint: Fingerprint) -> Candidates {
        let mut candidates = Candidates::default();
        self.each(fingerprint, |slot| candidates.push(slot));
        candidates
    }

    /// Removes from one shard the slots of all segments that are `dead`, and gives back the room. Returns their number.
    pub(crate) fn remove_segments(&self, dead: &dyn Fn(u32) -> bool, shard: usize) -> usize {
        let mut table = self.shards[shard].0.write();
        let (len, room) = (table.len, table.slots.capacity());
        let kept: usize = table.slots.iter().filter(|slot| !slot.is_empty() && !dead(slot.slot().kid)).count();
        if kept < len {
            table.rebuild(capacity_for(kept), kept, |slot| !dead(slot.slot().kid));
            self.len.fetch_sub(len - kept, Ordering::Relaxed);
            self.count_room(&table, room);
        }
        len - kept
    }

    /// Number of slots.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Memory it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.room.load(Ordering::Relaxed) * size_of::<Packed>() + SHARDS * size_of::<Shard>()
    }
}

fn capacity_for(len: usize) -> usize {
    (len * LOAD_AFTER_GROWTH.1).div_ceil(LOAD_AFTER_GROWTH.0)
}

impl Table {
    #[inline]
    fn home(&self, fingerprint: u64) -> usize {
        (((fingerprint & 0xffff_ffff) * self.capacity as u64) >> 32) as usize
    }

    #[inline]
    fn each_of(&self, fingerprint: u64, mut each: impl FnMut(Slot)) {
        for &slot in self.slots.get(self.home(fingerprint)..).unwrap_or_default() {
            if slot.is_empty() || slot.fingerprint() > fingerprint {
                return;
            }
            if slot.fingerprint() == fingerprint {
                each(slot.slot());
            }
        }
    }

    fn insert(&mut self, new: Packed, mut on_equal: impl FnMut(Slot)) {
        if (self.len + 1) * LOAD_MAX.1 > self.capacity * LOAD_MAX.0 {
            let len = self.len;
            self.rebuild(capacity_for(len + 1), len + 1, |_| true);
        }
        let fingerprint = new.fingerprint();
        let mut at = self.home(fingerprint);
        // Behind all that are smaller or equal: the order of equals does not matter.
        while let Some(&slot) = self.slots.get(at) {
            if slot.is_empty() || slot.fingerprint() > fingerprint {
                break;
            }
            if slot.fingerprint() == fingerprint {
                on_equal(slot.slot());
            }
            at += 1;
        }
        let mut moved = new;
        loop {
            let Some(place) = self.slots.get_mut(at) else {
                self.slots.reserve_exact(2);
                self.slots.push(moved);
                break;
            };
            std::mem::swap(place, &mut moved);
            if moved.is_empty() {
                break;
            }
            at += 1;
        }
        self.len += 1;
    }

    /// Lays out the slots that `keep` names anew, for `capacity` homes. They are in order already.
    fn rebuild(&mut self, capacity: usize, len: usize, keep: impl Fn(Packed) -> bool) {
        let old = std::mem::replace(&mut self.slots, Vec::with_capacity(capacity));
        self.slots.resize(capacity, Packed::EMPTY);
        self.capacity = capacity;
        let mut free = 0;
        let mut count = 0;
        for slot in old.into_iter().filter(|&slot| !slot.is_empty() && keep(slot)) {
            let at = self.home(slot.fingerprint()).max(free);
            if at >= self.slots.len() {
                self.slots.reserve_exact(2);
                self.slots.resize(at + 1, Packed::EMPTY);
            }
            self.slots[at] = slot;
            free = at + 1;
            count += 1;
        }
        debug_assert!(count <= len, "a rebuild makes no slots");
        self.len = count;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::hash;
    use std::collections::HashMap;

    fn fingerprint(number: u64) -> Fingerprint {
        Fingerprint::of(hash::hash(7, &number.to_le_bytes()))
    }

    fn slot(kid: u32, number: u64) -> Slot {
        Slot { kid, offset: number as u32, len: 1 + (number % 1000) as u32 }
    }

    /// Slots, and bytes, as the shards have them.
    fn counted(keydir: &Keydir) -> (usize, usize) {
        let sum = |of: fn(&Table) -> usize| keydir.shards.iter().map(|shard| of(&shard.0.read())).sum::<usize>();
        let room = sum(|table| table.slots.capacity());
        (sum(|table| table.len), room * size_of::<Packed>() + SHARDS * size_of::<Shard>())
    }

    fn sorted(mut slots: Vec<Slot>) -> Vec<Slot> {
        slots.sort_by_key(|slot| (slot.kid, slot.offset, slot.len));
        slots
    }

    #[test]
    fn agrees_with_a_map_of_lists() {
        let keydir = Keydir::new();
        let mut model: HashMap<Fingerprint, Vec<Slot>> = HashMap::new();
        for number in 0..60_000_u64 {
            // Some fingerprints many times, some close neighbours at the ends of a shard.
            let fingerprint = match number % 10 {
                0 => fingerprint(number % 50),
                1 => Fingerprint::from_bits(u64::MAX - number % 7),
                2 => Fingerprint::from_bits(number % 5),
                _ => fingerprint(number),
            };
            let slot = slot((number % 9) as u32, number);
            let mut equals = Vec::new();
            keydir.insert(fingerprint, slot, |other| equals.push(other));
            let known = model.entry(fingerprint).or_default();
            assert_eq!(sorted(equals), sorted(known.clone()));
            known.push(slot);
        }
        assert_eq!((keydir.len(), keydir.bytes()), counted(&keydir));
        assert_eq!(keydir.len(), 60_000);
        let check = |model: &HashMap<Fingerprint, Vec<Slot>>| {
            for (&fingerprint, slots) in model {
                assert_eq!(sorted(keydir.candidates(fingerprint).iter().collect()), sorted(slots.clone()));
            }
        };
        check(&model);
        assert_eq!(keydir.candidates(fingerprint(u64::MAX)).iter().count(), 0);
        let removed: usize = (0..SHARDS).map(|shard| keydir.remove_segments(&|kid| kid % 2 == 0, shard)).sum();
        model.values_mut().for_each(|slots| slots.retain(|slot| slot.kid % 2 == 1));
        assert_eq!(keydir.len(), 60_000 - removed);
        assert_eq!(keydir.len(), model.values().map(Vec::len).sum::<usize>());
        assert_eq!((keydir.len(), keydir.bytes()), counted(&keydir));
        check(&model);
    }

    #[test]
    fn an_entry_takes_at_most_24_bytes_at_any_number() {
        let keydir = Keydir::new();
        for number in 0..400_000_u64 {
            keydir.insert(fingerprint(number), slot(1, number), |_| {});
            if number > 20_000 && number % 1_001 == 0 {
                let each = keydir.bytes() as f64 / (number + 1) as f64;
                assert!(each <= 24.0, "{each} bytes at {number} entries");
            }
        }
        for shard in 0..SHARDS {
            keydir.remove_segments(&|_| true, shard);
        }
        assert_eq!((keydir.len(), keydir.bytes()), (0, SHARDS * size_of::<Shard>()));
    }

    /// Two insert the same fingerprints, a segment is removed, and readers look, in many orders.
    #[cfg(feature = "explored")]
    #[test]
    fn interleaved_readers_writers_and_a_sweep() {
        use shuttle::thread::spawn;
        use std::sync::Arc;

        const KEYS: u64 = 6;
        // All in one shard, close enough to move each other.
        let at = Fingerprint::from_bits;
        crate::sync::explore(3_000, move || {
            let keydir = Arc::new(Keydir::new());
            for number in 0..KEYS {
                keydir.insert(at(number), slot(1, number), |_| {});
                keydir.insert(at(number), slot(2, number), |_| {});
            }
            let insert = |kid| {
                let keydir = keydir.clone();
                spawn(move || {
                    let mut met = Vec::new();
                    (0..KEYS).for_each(|number| keydir.insert(at(number), slot(kid, number), |other| met.push(other)));
                    met.into_iter().filter(|slot| slot.kid > 2).count()
                })
            };
            let inserters = [insert(3), insert(4)];
            let swept = keydir.clone();
            let sweep = spawn(move || swept.remove_segments(&|kid| kid == 1, 0));
            let read = keydir.clone();
            let reader = spawn(move || {
                for number in (0..KEYS).chain(0..KEYS) {
                    let found: Vec<Slot> = read.candidates(at(number)).iter().collect();
                    assert!(found.contains(&slot(2, number)), "what nobody removes is there: {found:?}");
                    assert!(found.iter().all(|found| *found == slot(found.kid, number)), "of others: {found:?}");
                }
            });
            let heard: usize = inserters.into_iter().map(|inserter| inserter.join().unwrap()).sum();
            assert_eq!(heard, KEYS as usize, "of each pair just one hears of the other");
            assert_eq!(sweep.join().unwrap(), KEYS as usize);
            reader.join().unwrap();
            for number in 0..KEYS {
                let found = sorted(keydir.candidates(at(number)).iter().collect());
                assert_eq!(found, [2, 3, 4].map(|kid| slot(kid, number)));
            }
        });
    }

    #[test]
    fn readers_find_what_is_there_while_others_come() {
        let keydir = Keydir::new();
        (0..20_000).for_each(|number| keydir.insert(fingerprint(number), slot(1, number), |_| {}));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (20_000..60_000).for_each(|number| keydir.insert(fingerprint(number), slot(2, number), |_| {}))
            });
            scope.spawn(|| {
                for number in (0..20_000).cycle().take(100_000) {
                    assert!(keydir.candidates(fingerprint(number)).iter().any(|found| found == slot(1, number)));
                }
            });
        });
    }
}
