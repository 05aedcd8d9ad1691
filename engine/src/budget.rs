//! The memory budget, and how it is divided.
//!
//! | share | what it covers |
//! | --- | --- |
//! | memtables | the active one and those that wait for their seal: a third of the budget at most |
//! | work | what seals and merges hold while they run: a sixteenth, and where [seals](Budget::seals_at_once) take more, that is lent |
//! | slack | what the allocator takes beside what it was asked for: a quarter |
//! | the rest | fences that are kept, the keydir, and where segments are not mapped the cache: a third of it at least |
//!
//! # What is lent
//! In an object store a seal takes many latencies, so that memtables fill long before those before them are sealed. There they
//! may take what the cache has beyond a twelfth of the rest, and what the keydir does not use now: writers wait when all of
//! that is full, instead of when [`Options::unsealed_max`] segments wait. The last that is begun may be a smaller one. The cache
//! gets it back seal by seal; the keydir need not wait for it, so while both grow a part of the slack may be used. Several
//! segments are written there at once, each of which is in memory as it goes up: that is lent first, while any is full.
//!
//! Where segments are far away, walks over them, scans' and merges', read ahead. What they hold is lent by the cache, all of it if
//! need be: up to an eighth of the budget, about. While they do, and while a merge writes, that much less is lent to memtables;
//! and while these have borrowed it, walks read little ahead.
//!
//! A memtable has room for [`FLOOR`] whatever the budget says. What is mapped is the kernel's page cache, which it takes
//! back when it likes, and is not counted.

use crate::Options;
use crate::commit::Queue;
use crate::core::Core;

/// What a memtable may always take, so that a budget of nothing still works.
const FLOOR: u64 = 1 << 20;
/// What a slot of the keydir takes at most, once it has grown beyond a few thousand.
const SLOT_LEN: u64 = 22;
/// What the empty keydir takes.
const KEYDIR_LEN: u64 = 16 << 10;
/// Segments that are written anew at once, at least and at most: one that goes up while another is published.
const SEALS: (u64, u64) = (2, 4);

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// All of it, in bytes.
    pub(crate) total: u64,
    /// Bytes of records at which a segment is sealed: an eighth of the budget at most.
    pub(crate) segment_bytes: u64,
    /// Memory at which a memtable is full, in bytes.
    pub(crate) memtable_bytes: u64,
    /// Memory of all memtables, in bytes.
    pub(crate) memtables: u64,
    /// Memory of seals and merges, in bytes.
    pub(crate) work: u64,
    /// Segments that may be written anew at once: as many as make up an eighth of the budget, but two at least.
    pub(crate) seals_at_once: usize,
    /// What they take beyond `work`, in bytes.
    seals: u64,
    /// What may be kept for open transactions beside that, in bytes of records.
    pub(crate) window: u64,
}

impl Budget {
    /// Divides `total` bytes.
    pub(crate) fn of(total: u64, options: &Options) -> Budget {
        let segment_bytes = options.segment_bytes_max.min((total / 8).max(FLOOR));
        let memtables = (options.unsealed_max as u64).saturating_add(1);
        // Small records take more for the index than for themselves.
        let memtable_bytes = (total / 3 / memtables).max(FLOOR).min(segment_bytes.saturating_mul(4));
        let memtables = memtables.saturating_mul(memtable_bytes);
        let (work, seal) = (total / 16, segment_bytes.min(memtable_bytes));
        let seals_at_once = (total / 8 / seal).clamp(SEALS.0, SEALS.1);
        let seals = (seals_at_once * seal).saturating_sub(work);
        let seals_at_once = seals_at_once as usize;
        Budget { total, segment_bytes, memtable_bytes, memtables, work, seals_at_once, seals, window: total / 8 }
    }

    /// What is left for fences, keydir and cache.
    fn rest(&self) -> u64 {
        self.total.saturating_sub(self.memtables).saturating_sub(self.work).saturating_sub(self.total / 4)
    }

    /// How many slots the keydir may hold, where fences take `kept` bytes and nothing or something is `unmapped`.
    pub(crate) fn slots(&self, kept: u64, unmapped: bool) -> u64 {
        let cache = if unmapped { self.rest() / 3 } else { 0 };
        self.rest().saturating_sub(kept).saturating_sub(cache).saturating_sub(KEYDIR_LEN) / SLOT_LEN
    }

    /// How many bytes the cache may take, where fences and keydir take `others`, and `borrowed` is lent: a third of the rest at
    /// least, unless anything is.
    fn cache(&self, others: u64, borrowed: u64, unmapped: bool) -> u64 {
        let left = self.rest().saturating_sub(others);
        match (unmapped, borrowed) {
            (false, _) => 0,
            (true, 0) => left.max(self.rest() / 3),
            (true, _) => left.saturating_sub(borrowed).max(self.cache_min()),
        }
    }

    /// What of the cache is never lent.
    fn cache_min(&self) -> u64 {
        self.rest() / 12
    }

    /// How many bytes may be lent to memtables where fences and keydir take `others`.
    fn lent(&self, others: u64) -> u64 {
        self.rest().saturating_sub(others).saturating_sub(self.cache_min()).saturating_sub(self.seals)
    }

    /// How many bytes of the rest are used by memtables, which take `memory` in all, and seals, if there `are_seals`.
    fn borrowed(&self, memory: u64, are_seals: bool) -> u64 {
        memory.saturating_sub(self.memtables) + if are_seals { self.seals } else { 0 }
    }

    /// Divides the rest anew between keydir and cache, as things stand.
    pub(crate) fn apply(&self, core: &Core) {
        let (kept, unmapped) = (core.files.kept(), core.files.unmapped());
        let others = kept + core.keydir.bytes() as u64;
        let mut borrowed = 0;
        if core.capabilities.remote && !core.capabilities.append {
            let (memory, are_seals) = core.log.inspect(Queue::memory);
            borrowed = self.borrowed(memory, are_seals);
            // What goes up of a merge's output is in memory, too.
            let output = if core.compactor.is_merging() { self.segment_bytes.saturating_sub(self.work) } else { 0 };
            core.log.lend(self.lent(others + core.files.lent() + output));
        }
        core.residency.set_slots_max(self.slots(kept, unmapped));
        core.files.grant(self.cache(others, borrowed, unmapped));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_parts_make_up_the_whole() {
        for total in [0, 1, 100_000, MIB, 8 * MIB, 64 * MIB, 1000 * MIB, 1 << 40, u64::MAX] {
            for unsealed_max in [1, 2, 7, usize::MAX] {
                for kept in [0, MIB, total] {
                    let options = Options { unsealed_max, ..Options::default() };
                    let budget = Budget::of(total, &options);
                    assert!(budget.segment_bytes <= (total / 8).max(FLOOR));
                    let slots = [false, true].map(|unmapped| budget.slots(kept, unmapped));
                    assert!(slots[1] <= slots[0]);
                    if total >= 64 * MIB && unsealed_max < 8 {
                        let keydir = slots[1] * SLOT_LEN;
                        let cache = budget.cache(kept + keydir, 0, true);
                        let sum = u128::from(budget.memtables) + u128::from(budget.work) + u128::from(cache + keydir);
                        assert!(sum <= u128::from(total));
                        assert!(kept == total || slots[0] > total / 5 / SLOT_LEN);
                        // What is lent is taken from the cache, whatever others take.
                        let (others, memory) = (kept / 2, budget.memtables + budget.lent(kept / 2));
                        let borrowed = budget.borrowed(memory, true);
                        let cache = budget.cache(others, borrowed, true);
                        let sum = u128::from(memory) + u128::from(budget.work + budget.seals + others + cache);
                        assert!(budget.lent(others) == 0 || sum <= u128::from(total - total / 4));
                        let at_once = budget.seals_at_once as u64 * budget.segment_bytes.min(budget.memtable_bytes);
                        assert!(at_once <= budget.work + budget.seals);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_divided_too() {
        let budget = Budget::of(0, &Options::default());
        assert_eq!((budget.slots(0, false), budget.cache(0, 0, true), budget.segment_bytes), (0, 0, FLOOR));
        let small = Options { segment_bytes_max: 4096, ..Options::default() };
        assert_eq!(Budget::of(0, &small).segment_bytes, 4096);
    }
}
