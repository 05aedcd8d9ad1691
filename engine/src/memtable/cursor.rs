//! Walks a memtable in key order, or against it.

use super::order::{Chunk, Ordered, Sorted, compare, head};
use super::{Item, Memtable};
use crate::Seq;
use crate::range::{Course, Direction};
use crate::touch::{Ahead, touch};
use crate::value::Value;
use bytes::Bytes;
use std::ops::{Bound, Range};
use std::sync::Arc;

/// Goes over a memtable's newest records at a sequence number, in key order or against it. It sees what was there when
/// the order was made, whatever is inserted meanwhile.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    memtable: Arc<Memtable>,
    at: Seq,
    direction: Direction,
    /// All keys share so many first bytes: the entries' heads are of what follows.
    skip: usize,
    heads: Vec<Head>,
    current: Option<Sorted>,
    /// Backward, the newest record met so far of the key after the current one.
    newest: Option<Sorted>,
    /// The number of the head whose entry comes next, if that has been found out.
    nearest: Option<usize>,
}

/// What is left of one chunk.
#[derive(Debug)]
struct Head {
    chunk: Arc<Chunk>,
    left: Range<usize>,
    /// The next entry, with 8 bytes of its key as a number that compares with those of all other chunks.
    next: Sorted,
    /// So many entries of those that are left, the next one among them, have been touched.
    touched: usize,
    ahead: Ahead,
}

impl Head {
    /// What is left of `chunk` on `course`: where it ends is for the cursor's user to see. `None` if that is nothing.
    fn new(memtable: &Memtable, chunk: &Arc<Chunk>, course: &Course, skip: usize) -> Option<Head> {
        let backward = course.is_backward();
        let bound = match course.begin() {
            Bound::Unbounded if backward => chunk.entries.len(),
            Bound::Unbounded => 0,
            Bound::Included(key) => chunk.below(memtable, key, backward),
            Bound::Excluded(key) => chunk.below(memtable, key, !backward),
        };
        let left = if backward { 0..bound } else { bound..chunk.entries.len() };
        let next = *chunk.entries.get(if backward { bound.checked_sub(1)? } else { bound })?;
        let mut head = Head { chunk: chunk.clone(), left, next, touched: 0, ahead: Ahead::new() };
        head.look(memtable, course.direction, skip);
        Some(head)
    }

    /// Looks at the next entry of those that are left.
    #[inline]
    fn look(&mut self, memtable: &Memtable, direction: Direction, skip: usize) {
        if self.touched == 0 {
            self.touch(memtable, direction);
        }
        self.next = match direction {
            Direction::Forward => self.chunk.entries[self.left.start],
            Direction::Backward => self.chunk.entries[self.left.end - 1],
        };
        if self.chunk.skip != skip {
            self.next.head = head(memtable.key(self.next.entry), skip);
        }
    }

    /// Touches some of the records that come next: key order leads all over the image.
    fn touch(&mut self, memtable: &Memtable, direction: Direction) {
        self.touched = self.ahead.next().min(self.left.len());
        let next = match direction {
            Direction::Forward => self.left.start..self.left.start + self.touched,
            Direction::Backward => self.left.end - self.touched..self.left.end,
        };
        touch(self.chunk.entries[next].iter().map(|sorted| memtable.bytes_of(sorted.entry)));
    }

    /// Goes behind the next entry; false if it was the last.
    #[inline]
    fn pass(&mut self, memtable: &Memtable, direction: Direction, skip: usize) -> bool {
        match direction {
            Direction::Forward => self.left.start += 1,
            Direction::Backward => self.left.end -= 1,
        }
        self.touched -= 1;
        let more = !self.left.is_empty();
        if more {
            self.look(memtable, direction, skip);
        }
        more
    }
}

impl MemtableCursor {
    /// Stands at the beginning of `course`.
    pub(crate) fn new(memtable: Arc<Memtable>, ordered: &Ordered, at: Seq, course: &Course) -> MemtableCursor {
        let skip = ordered.skip(&memtable);
        let head = |chunk: &Arc<Chunk>| Head::new(&memtable, chunk, course, skip);
        let heads = ordered.chunks.iter().filter_map(head).collect();
        let direction = course.direction;
        MemtableCursor { memtable, at, direction, skip, heads, current: None, newest: None, nearest: None }
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
        while let Some(next) = self.peek() {
            *budget = budget.checked_sub(1)?;
            self.pass();
            let is_older = self.current.is_some_and(|current| self.have_one_key(&current, &next));
            if !is_older && self.memtable.seq(next.entry) <= self.at {
                self.current = Some(next);
                return Some(true);
            }
        }
        self.current = None;
        Some(false)
    }

    /// Of one key the oldest comes first: the last that shows is the newest.
    fn advance_backward(&mut self, budget: &mut usize) -> Option<bool> {
        while let Some(next) = self.peek() {
            if self.newest.is_some_and(|newest| !self.have_one_key(&newest, &next)) {
                break;
            }
            *budget = budget.checked_sub(1)?;
            self.pass();
            if self.memtable.seq(next.entry) <= self.at {
                self.newest = Some(next);
            }
        }
        self.current = self.newest.take();
        Some(self.current.is_some())
    }

    fn have_one_key(&self, a: &Sorted, b: &Sorted) -> bool {
        a.head == b.head && self.memtable.key(a.entry) == self.memtable.key(b.entry)
    }

    /// The next entry of all chunks.
    #[inline]
    fn peek(&mut self) -> Option<Sorted> {
        if self.nearest.is_none() {
            self.nearest = self.find_nearest();
        }
        self.nearest.map(|nearest| self.heads[nearest].next)
    }

    /// The head whose entry comes first, as a chunk has them: by key, and of one key the newest first.
    fn find_nearest(&self) -> Option<usize> {
        let nearest = |&a: &usize, &b: &usize| {
            let order = compare(&self.memtable, &self.heads[a].next, &self.heads[b].next);
            match self.direction {
                Direction::Forward => order,
                Direction::Backward => order.reverse(),
            }
        };
        (0..self.heads.len()).min_by(nearest)
    }

    /// Goes behind the next entry.
    fn pass(&mut self) {
        let Some(nearest) = self.nearest.take() else { return };
        if !self.heads[nearest].pass(&self.memtable, self.direction, self.skip) {
            self.heads.swap_remove(nearest);
        }
    }

    /// The record the cursor stands at.
    ///
    /// # Panics
    /// Where the last [`advance`](MemtableCursor::advance) did not find one.
    #[inline]
    pub(crate) fn item(&self) -> Item<'_> {
        self.memtable.item(self.entry())
    }

    /// Its key and its value, sharing the image's memory. Panics as [`item`](MemtableCursor::item) does.
    pub(crate) fn shared(&self) -> (Bytes, Value) {
        self.memtable.shared(self.entry())
    }

    fn entry(&self) -> u32 {
        self.current.expect("the cursor stands at a record").entry
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
        let entries = || chunk.entries.iter().skip(self.next).take(AHEAD).map(|sorted| sorted.entry);
        touch(entries().map(|entry| self.memtable.start_of(entry)));
        self.ahead.extend(entries().map(|entry| (entry, self.memtable.item(entry))));
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
