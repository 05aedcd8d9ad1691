//! Full segments that wait for their seal: how much memory they hold, and whether there may be more of them.

use crate::Options;
use crate::budget::Budget;
use std::collections::VecDeque;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Waiting {
    // Constant after construction.
    /// So many may wait, and so many bytes of their logs, whatever the memory.
    count_max: usize,
    bytes_max: u64,
    /// Memory at which a memtable is full, and what all of them have to themselves.
    memtable: u64,
    memtables: u64,

    /// Oldest first.
    full: VecDeque<Full>,
    /// Memory that memtables may take beside what they have to themselves, as nobody else needs it now.
    lent: u64,
}

/// A full segment: bytes of its log, and memory of its memtable.
#[derive(Clone, Copy, Debug)]
struct Full {
    len: u64,
    memory: u64,
}

impl Waiting {
    pub(super) fn new(options: &Options, budget: &Budget) -> Waiting {
        Waiting {
            count_max: options.unsealed_max,
            bytes_max: budget.segment_bytes.saturating_mul(options.unsealed_max as u64),
            memtable: budget.memtable_bytes,
            memtables: budget.memtables,
            full: VecDeque::new(),
            lent: 0,
        }
    }

    pub(super) fn push(&mut self, len: u64, memory: u64) {
        self.full.push_back(Full { len, memory });
    }

    /// The oldest was sealed.
    pub(super) fn pop(&mut self) {
        self.full.pop_front();
    }

    pub(super) fn len(&self) -> usize {
        self.full.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Memory of their memtables.
    pub(super) fn memory(&self) -> u64 {
        self.full.iter().map(|full| full.memory).sum()
    }

    /// From now on memtables may take so much beside what they have to themselves.
    pub(super) fn lend(&mut self, bytes: u64) {
        self.lent = bytes;
    }

    /// How much memory the memtable may take that is begun when one that takes `active` is full too. `None` where so much waits
    /// that writers have to wait: too many segments, or, where large values have made them longer than they should be, too
    /// many bytes; unless memory is lent.
    pub(super) fn room(&self, active: u64) -> Option<u64> {
        let bytes: u64 = self.full.iter().map(|full| full.len).sum();
        if self.full.len() < self.count_max && bytes <= self.bytes_max {
            return Some(self.memtable);
        }
        let may_take = if self.lent > 0 { self.memtables.saturating_add(self.lent) } else { 0 };
        let left = may_take.saturating_sub(self.memory()).saturating_sub(active);
        // Small segments cost merges.
        (left >= self.memtable / 4).then(|| left.min(self.memtable))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn beyond_their_number_only_what_is_lent_lets_more_wait() {
        let options = Options { unsealed_max: 2, ..Options::default() };
        let budget = Budget::of(240 * MIB, &options);
        let memtable = budget.memtable_bytes;
        let mut waiting = Waiting::new(&options, &budget);
        for _ in 0..2 {
            assert_eq!(waiting.room(memtable), Some(memtable));
            waiting.push(10 * MIB, memtable);
        }
        assert_eq!(waiting.room(memtable), None, "two wait");
        waiting.lend(memtable / 8);
        assert_eq!(waiting.room(memtable), None, "too little for a memtable");
        waiting.lend(memtable / 2);
        assert_eq!(waiting.room(memtable), Some(memtable / 2));
        waiting.lend(3 * memtable / 2);
        assert_eq!(waiting.room(memtable), Some(memtable));
        waiting.push(10 * MIB, memtable);
        assert_eq!(waiting.room(memtable), Some(memtable / 2));
        waiting.push(10 * MIB, memtable / 2);
        assert_eq!((waiting.room(memtable / 2), waiting.memory()), (Some(memtable / 2), 7 * memtable / 2));
        waiting.lend(0);
        (0..2).for_each(|_| waiting.pop());
        assert_eq!(waiting.room(memtable), None);
        waiting.pop();
        assert_eq!((waiting.room(memtable), waiting.len()), (Some(memtable), 1));
    }
}
