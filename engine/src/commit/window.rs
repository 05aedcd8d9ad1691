//! The window: all that was ordered since the oldest open transaction began.
//!
//! Nothing is recorded for it. A memtable holds each record of its segment in the order in which they entered, from the
//! moment they enter, visible or not; so the memtables *are* the window. An open transaction holds those that were there
//! when it began (its [`View`](crate::version::View) does); the window holds those that began since, also beyond their
//! seal. While no transaction is open it holds nothing, and a write never looks at it.
//!
//! A [watch](super::follow) keeps in the same way what it has not come to yet.
//!
//! It is bounded: beyond `bytes_max` of records in full memtables the oldest is let go, and a transaction that would
//! have to be compared with it is refused. The newest full one stays, as it mostly waits for its seal anyway: whatever
//! the bound, a transaction outlasts the segment in which it began and the whole of the next one.
//!
//! # Concurrency
//! The queue owns it: everything here happens under the queue's lock.

use crate::memtable::Memtable;
use std::collections::VecDeque;
use std::sync::Arc;

/// The time of one active segment, numbered from 0.
pub(crate) type Era = u64;

#[derive(Debug)]
struct Kept {
    memtable: Arc<Memtable>,
    /// Open transactions and watches that began in this era.
    open: usize,
}

#[derive(Debug)]
pub(crate) struct Window {
    /// Constant after construction.
    bytes_max: u64,
    /// The era of the active segment.
    now: Era,
    /// The eras up to now, oldest first; none while no transaction is open.
    kept: VecDeque<Kept>,
    /// Open transactions and watches, also those of eras let go.
    open: usize,
}

impl Window {
    pub(crate) fn new(bytes_max: u64) -> Window {
        Window { bytes_max, now: 0, kept: VecDeque::new(), open: 0 }
    }

    /// A transaction begins, while `active` is the active segment's memtable. Returns the era, to be given back to
    /// [`close`](Window::close).
    pub(crate) fn open(&mut self, active: &Arc<Memtable>) -> Era {
        match self.kept.back_mut() {
            Some(kept) => kept.open += 1,
            None => self.kept.push_back(Kept { memtable: active.clone(), open: 1 }),
        }
        self.open += 1;
        self.now
    }

    /// A transaction of `era` has ended.
    pub(crate) fn close(&mut self, era: Era) {
        self.open -= 1;
        if self.open == 0 {
            self.kept.clear();
            return;
        }
        if let Some(kept) = self.place(era) {
            self.kept[kept].open -= 1;
        }
        // The active segment's stays: it is kept for whoever begins next.
        while self.kept.len() > 1 && self.kept[0].open == 0 {
            self.kept.pop_front();
        }
    }

    /// The next segment begins, with `active` as its memtable.
    pub(crate) fn next_era(&mut self, active: &Arc<Memtable>) {
        self.now += 1;
        if self.open == 0 {
            return;
        }
        self.kept.push_back(Kept { memtable: active.clone(), open: 0 });
        while self.kept.len() > 2 && self.full_bytes() > self.bytes_max {
            self.kept.pop_front();
        }
    }

    /// Bytes of records in the full memtables that are kept.
    fn full_bytes(&self) -> u64 {
        let full = self.kept.len().saturating_sub(1);
        self.kept.iter().take(full).map(|kept| kept.memtable.record_bytes()).sum()
    }

    /// The memtables that began after `era`, oldest first; `None` where some of them were let go.
    pub(crate) fn since(&self, era: Era) -> Option<impl ExactSizeIterator<Item = &Arc<Memtable>>> {
        let later = (self.now - era) as usize;
        // Its own era's memtable is held by the transaction.
        let first = self.kept.len().checked_sub(later)?;
        Some(self.kept.range(first..).map(|kept| &kept.memtable))
    }

    fn place(&self, era: Era) -> Option<usize> {
        self.kept.len().checked_sub(1 + (self.now - era) as usize)
    }

    /// Open transactions and watches.
    pub(crate) fn open_count(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::frame::{Kind, NewRecord, Stream};
    use crate::memtable::Placed;
    use bytes::BytesMut;

    const STREAM: Stream = Stream { salt: 1, base_seq: 1 };

    /// A memtable with one record of some hundred bytes.
    fn memtable() -> Arc<Memtable> {
        let memtable = Memtable::new(STREAM);
        let (seq, kind, value) = (1, Kind::Put, [7; 80]);
        let record = NewRecord {
            seq,
            kind,
            key: b"key",
            value: &value,
            compressed: false,
            expires_at: None,
            last_of_batch: true,
        };
        let mut piece = BytesMut::new();
        record.encode(&STREAM, 128, &mut piece);
        let len = piece.len() as u32;
        memtable.insert(piece.freeze(), 128, &[Placed { start: 0, len, hash: 1, seq }]);
        Arc::new(memtable)
    }

    fn kept(window: &Window, era: Era) -> Option<Vec<Arc<Memtable>>> {
        window.since(era).map(|since| since.cloned().collect())
    }

    fn are(found: Option<Vec<Arc<Memtable>>>, expected: &[&Arc<Memtable>]) -> bool {
        found.is_some_and(|found| {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, other)| Arc::ptr_eq(found, other))
        })
    }

    #[test]
    fn nothing_is_kept_while_no_transaction_is_open() {
        let (mut window, a, b) = (Window::new(1 << 20), memtable(), memtable());
        let before = Arc::strong_count(&a);
        window.next_era(&a);
        assert_eq!(Arc::strong_count(&a), before);
        let era = window.open(&a);
        let also = window.open(&a);
        window.next_era(&b);
        assert!(are(kept(&window, era), &[&b]));
        window.close(era);
        assert!(are(kept(&window, also), &[&b]));
        window.close(also);
        assert_eq!((Arc::strong_count(&a), Arc::strong_count(&b), window.open_count()), (before, 1, 0));
    }

    #[test]
    fn what_only_ended_transactions_needed_is_let_go() {
        let mut window = Window::new(1 << 20);
        let memtables: Vec<_> = (0..4).map(|_| memtable()).collect();
        let first = window.open(&memtables[0]);
        window.next_era(&memtables[1]);
        let second = window.open(&memtables[1]);
        window.next_era(&memtables[2]);
        window.next_era(&memtables[3]);
        assert!(are(kept(&window, first), &[&memtables[1], &memtables[2], &memtables[3]]));
        window.close(first);
        assert_eq!(Arc::strong_count(&memtables[0]), 1);
        assert!(are(kept(&window, second), &[&memtables[2], &memtables[3]]));
        let third = window.open(&memtables[3]);
        window.close(second);
        assert!(are(kept(&window, third), &[]));
        assert_eq!(Arc::strong_count(&memtables[2]), 1);
    }

    #[test]
    fn beyond_the_bound_the_oldest_is_let_go_and_old_transactions_are_refused() {
        let mut window = Window::new(250);
        let memtables: Vec<_> = (0..6).map(|_| memtable()).collect();
        let old = window.open(&memtables[0]);
        window.next_era(&memtables[1]);
        window.next_era(&memtables[2]);
        let young = window.open(&memtables[2]);
        assert!(are(kept(&window, old), &[&memtables[1], &memtables[2]]));
        // The era in which it began is let go of first, and is not missed: the transaction holds it.
        window.next_era(&memtables[3]);
        assert_eq!(Arc::strong_count(&memtables[0]), 1);
        assert!(are(kept(&window, old), &[&memtables[1], &memtables[2], &memtables[3]]));
        window.next_era(&memtables[4]);
        assert!(kept(&window, old).is_none());
        assert!(are(kept(&window, young), &[&memtables[3], &memtables[4]]));
        // To end what began in an era let go of takes nothing from other eras.
        window.close(old);
        assert!(are(kept(&window, young), &[&memtables[3], &memtables[4]]));
        window.close(young);
        assert_eq!(Arc::strong_count(&memtables[4]), 1);
    }

    #[test]
    fn one_full_memtable_stays_whatever_the_bound() {
        let mut window = Window::new(0);
        let memtables: Vec<_> = (0..4).map(|_| memtable()).collect();
        let era = window.open(&memtables[0]);
        window.next_era(&memtables[1]);
        window.next_era(&memtables[2]);
        assert!(are(kept(&window, era), &[&memtables[1], &memtables[2]]));
        window.next_era(&memtables[3]);
        assert!(kept(&window, era).is_none());
    }
}
