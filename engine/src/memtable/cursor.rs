//! Walks a memtable in key order, or against it.

use super::order::{Chunk, Ordered, Sorted};
use super::{Item, Memtable};
use crate::Seq;
use crate::range::{Course, Direction};
use crate::value::Value;
use bytes::Bytes;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

/// Goes over a memtable's newest records at a sequence number, in key order or against it. It sees what was there when
/// the order was made, whatever is inserted meanwhile.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    at: Seq,
    direction: Direction,
    heads: Vec<Head>,
    current: Option<u32>,
    /// Backward, the newest record met so far of the key after the current one.
    newest: Option<u32>,
    /// The number of the head whose entry comes next, if that has been found out.
    nearest: Option<usize>,
}

/// What is left of one chunk.
#[derive(Debug)]
struct Head {
    chunk: Arc<Chunk>,
    left: Range<usize>,
}

impl Head {
    /// What is left of `chunk` on `course`: where it ends is for the cursor's user to see.
    fn new(memtable: &Memtable, chunk: &Arc<Chunk>, course: &Course) -> Head {
        let entries = &chunk.entries;
        let is_before = |sorted: &Sorted| course.is_before(memtable.key(sorted.entry));
        let left = match course.direction {
            Direction::Forward => entries.partition_point(is_before)..entries.len(),
            Direction::Backward => 0..entries.partition_point(|sorted| !is_before(sorted)),
        };
        Head { chunk: chunk.clone(), left }
    }

    /// The next entry. A head always has one.
    #[inline]
    fn entry(&self, direction: Direction) -> u32 {
        let next = match direction {
            Direction::Forward => self.left.start,
            Direction::Backward => self.left.end - 1,
        };
        self.chunk.entries[next].entry
    }

    fn pass(&mut self, direction: Direction) {
        match direction {
            Direction::Forward => self.left.start += 1,
            Direction::Backward => self.left.end -= 1,
        }
    }
}

impl MemtableCursor {
    /// Stands at the beginning of `course`.
    pub(crate) fn new(memtable: Arc<Memtable>, ordered: &Ordered, at: Seq, course: &Course) -> MemtableCursor {
        let head = |chunk: &Arc<Chunk>| Head::new(&memtable, chunk, course);
        let heads = ordered.chunks.iter().map(head).filter(|head| !head.left.is_empty()).collect();
        let direction = course.direction;
        MemtableCursor { memtable, at, direction, heads, current: None, newest: None, nearest: None }
    }

    /// Goes to the next key; false where there is none. Looks at no more than `budget` entries: `None` where these did
    /// not suffice.
    pub(crate) fn advance(&mut self, budget: &mut usize) -> Option<bool> {
        match self.direction {
            Direction::Forward => self.advance_forward(budget),
            Direction::Backward => self.advance_backward(budget),
        }
    }

    /// Of one key the newest comes first: later ones are older, and hidden.
    fn advance_forward(&mut self, budget: &mut usize) -> Option<bool> {
        while let Some(entry) = self.peek() {
            *budget = budget.checked_sub(1)?;
            self.pass();
            let is_older = self.current.is_some_and(|current| self.memtable.key(current) == self.memtable.key(entry));
            if !is_older && self.memtable.seq(entry) <= self.at {
                self.current = Some(entry);
                return Some(true);
            }
        }
        self.current = None;
        Some(false)
    }

    /// Of one key the oldest comes first: the last that shows is the newest.
    fn advance_backward(&mut self, budget: &mut usize) -> Option<bool> {
        while let Some(entry) = self.peek() {
            if self.newest.is_some_and(|newest| self.memtable.key(newest) != self.memtable.key(entry)) {
                break;
            }
            *budget = budget.checked_sub(1)?;
            self.pass();
            if self.memtable.seq(entry) <= self.at {
                self.newest = Some(entry);
            }
        }
        self.current = self.newest.take();
        Some(self.current.is_some())
    }

    /// The next entry of all chunks.
    #[inline]
    fn peek(&mut self) -> Option<u32> {
        if self.nearest.is_none() {
            self.nearest = self.find_nearest();
        }
        self.nearest.map(|nearest| self.heads[nearest].entry(self.direction))
    }

    /// By key, and of one key in the order in which a chunk has them.
    fn find_nearest(&self) -> Option<usize> {
        let (memtable, direction) = (&self.memtable, self.direction);
        let order = |&a: &usize, &b: &usize| {
            let (a, b) = (self.heads[a].entry(direction), self.heads[b].entry(direction));
            direction.order(memtable.key(a), memtable.key(b)).then_with(|| match direction {
                Direction::Forward => Reverse(a).cmp(&Reverse(b)),
                Direction::Backward => a.cmp(&b),
            })
        };
        (0..self.heads.len()).min_by(order)
    }

    /// Goes behind the next entry.
    fn pass(&mut self) {
        let Some(nearest) = self.nearest.take() else { return };
        self.heads[nearest].pass(self.direction);
        if self.heads[nearest].left.is_empty() {
            self.heads.swap_remove(nearest);
        }
    }

    /// The record the cursor stands at.
    ///
    /// # Panics
    /// Where the last [`advance`](MemtableCursor::advance) did not find one.
    #[inline]
    pub(crate) fn item(&self) -> Item<'_> {
        self.memtable.item(self.current.expect("the cursor stands at a record"))
    }

    /// The key, sharing the image's memory.
    pub(crate) fn key_bytes(&self) -> Bytes {
        self.share(self.item().record.key)
    }

    /// The value, sharing the image's memory.
    pub(crate) fn value(&self) -> Value {
        let record = self.item().record;
        Value::new(self.share(record.value), record.compressed, || None)
    }

    fn share(&self, part: &[u8]) -> Bytes {
        self.memtable.share(self.current.expect("the cursor stands at a record"), part)
    }
}

impl Memtable {
    /// All records in key order, of one key the newest first, of a memtable that is complete and ordered into one chunk.
    pub(crate) fn in_order<'a>(&'a self, ordered: &'a Ordered) -> InOrder<'a> {
        InOrder { memtable: self, ordered, chunk: 0, next: 0, previous: None, ahead: Vec::with_capacity(AHEAD) }
    }

    /// The record with number `entry`: numbers ascend with offsets.
    pub(crate) fn at(&self, entry: u32) -> Item<'_> {
        self.item(entry)
    }
}

/// Records that are looked up together. Key order leads all over the image: one look after the other would wait for
/// memory each time, some together wait at once.
const AHEAD: usize = 32;

/// The records of a memtable in key order.
#[derive(Debug)]
pub(crate) struct InOrder<'a> {
    memtable: &'a Memtable,
    ordered: &'a Ordered,
    chunk: usize,
    next: usize,
    previous: Option<&'a [u8]>,
    /// Looked up already, the next one last.
    ahead: Vec<(u32, Item<'a>)>,
}

impl<'a> InOrder<'a> {
    fn look_ahead(&mut self) {
        let Some(chunk) = self.ordered.chunks.get(self.chunk) else { return };
        let entries = chunk.entries.iter().skip(self.next).take(AHEAD).map(|sorted| sorted.entry);
        self.ahead.extend(entries.map(|entry| (entry, self.memtable.item(entry))));
        self.ahead.reverse();
        self.next += self.ahead.len();
        if self.next >= chunk.entries.len() {
            (self.chunk, self.next) = (self.chunk + 1, 0);
        }
    }
}

impl<'a> Iterator for InOrder<'a> {
    /// The number of the record, the record, and whether it is the newest of its key.
    type Item = (u32, Item<'a>, bool);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ahead.is_empty() {
            self.look_ahead();
        }
        let (entry, item) = self.ahead.pop()?;
        let is_newest = self.previous != Some(item.record.key);
        self.previous = Some(item.record.key);
        Some((entry, item, is_newest))
    }
}
