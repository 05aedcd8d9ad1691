//! The memory budget, and how it is divided.
//!
//! | share | what it covers |
//! | --- | --- |
//! | memtables | the active one and those that wait for their seal: a third of the budget at most |
//! | work | what seals and merges hold while they run: a sixteenth |
//! | slack | what the allocator takes beside what it was asked for: a quarter |
//! | the rest | fences that are kept, the keydir, and where segments are not mapped the cache: a third of it at least |
//!
//! A memtable has room for [`FLOOR`] whatever the budget says. What is mapped is the kernel's page cache, which it takes
//! back when it likes, and is not counted.

use crate::Options;
use crate::core::Core;

/// What a memtable may always take, so that a budget of nothing still works.
const FLOOR: u64 = 1 << 20;
/// What a slot of the keydir takes at most, once it has grown beyond a few thousand.
const SLOT_LEN: u64 = 22;
/// What the empty keydir takes.
const KEYDIR_LEN: u64 = 16 << 10;

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
        Budget { total, segment_bytes, memtable_bytes, memtables, work: total / 16, window: total / 8 }
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

    /// How many bytes the cache may take, where fences and keydir take `others`.
    fn cache(&self, others: u64, unmapped: bool) -> u64 {
        if unmapped { self.rest().saturating_sub(others).max(self.rest() / 3) } else { 0 }
    }

    /// Divides the rest anew between keydir and cache, as things stand.
    pub(crate) fn apply(&self, core: &Core) {
        let (kept, unmapped) = (core.files.kept(), core.files.unmapped());
        core.residency.set_slots_max(self.slots(kept, unmapped));
        core.files.cache.set_capacity(self.cache(kept + core.keydir.bytes() as u64, unmapped));
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
                        let cache = budget.cache(kept + keydir, true);
                        let sum = u128::from(budget.memtables) + u128::from(budget.work) + u128::from(cache + keydir);
                        assert!(sum <= u128::from(total));
                        assert!(kept == total || slots[0] > total / 5 / SLOT_LEN);
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_is_divided_too() {
        let budget = Budget::of(0, &Options::default());
        assert_eq!((budget.slots(0, false), budget.cache(0, true), budget.segment_bytes), (0, 0, FLOOR));
        let small = Options { segment_bytes_max: 4096, ..Options::default() };
        assert_eq!(Budget::of(0, &small).segment_bytes, 4096);
    }
}
