//! Walks many sources at once: all their records in the order of keys or against it, and of one key the newest first.
//!
//! The sources stand in a binary heap by their current records; with one source there is nothing to compare.

use super::ahead::{Extent, ReadAhead};
use super::memory::MemorySource;
use super::run::RunCursor;
use crate::cover::Interval;
use crate::format::block::Facts;
use crate::memtable::Memtable;
use crate::range::{Course, Direction};
use crate::segment::{Segment, SegmentCursor, Step};
use crate::value::Value;
use crate::version::Run;
use crate::{Result, Seq};
use bytes::Bytes;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// There is a current record.
    Ready,
    /// There is no record left.
    End,
    /// There is more to do: a moment to yield.
    Again,
    /// Bytes are needed first: [`Merge::take_needs`], [`Merge::supply`].
    Need,
}

/// Bytes of a segment that one of the sources needs.
#[derive(Debug)]
pub(crate) struct Need {
    source: usize,
    segment: Arc<Segment>,
    /// The segment behind it on the source's way.
    next: Option<Arc<Segment>>,
    range: Range<u64>,
    /// Where the segment is far away: what was read ahead of the source.
    ahead: Option<Box<ReadAhead>>,
}

/// What a source has needed.
#[derive(Debug)]
pub(crate) struct Loaded {
    source: usize,
    bytes: Bytes,
    ahead: Option<Box<ReadAhead>>,
}

impl Need {
    /// Fetches all of `needs` at once.
    pub(crate) async fn load(needs: Vec<Need>) -> Result<Vec<Loaded>> {
        let load = async |need: Need| {
            let Need { source, segment, next, range, mut ahead } = need;
            let bytes = match &mut ahead {
                Some(ahead) => ahead.read(&segment, next.as_ref(), range).await?,
                None => segment.read(range).await?,
            };
            Ok(Loaded { source, bytes, ahead })
        };
        futures::future::try_join_all(needs.into_iter().map(load)).await
    }
}

/// Where records come from, by their keys in the order of a course.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a merge has few sources, and they stay where they are")]
pub(crate) enum Source {
    /// A memtable: the newest record of each key at a sequence number.
    Memory(MemorySource),
    /// A run: one record of each key.
    Run(RunCursor),
}

impl Source {
    /// The keys on `course` in a memtable, as of `at`; `None` if there is none.
    pub(crate) fn memory(memtable: &Arc<Memtable>, at: Seq, course: &Course) -> Option<Source> {
        let source = || Source::Memory(MemorySource::new(memtable.clone(), at, course.clone()));
        (!memtable.is_empty()).then(source)
    }

    /// The keys on `course` in a run; `None` if there is none.
    pub(crate) fn run(run: &Arc<Run>, course: &Course, keys_only: bool) -> Option<Source> {
        RunCursor::new(run.clone(), course.clone(), keys_only).map(Source::Run)
    }

    #[inline]
    fn advance(&mut self, budget: &mut usize, index: usize, needs: &mut Vec<Need>) -> Result<Move> {
        match self {
            Source::Memory(source) => Ok(source.advance(budget)),
            Source::Run(run) => Ok(match run.advance()? {
                Step::Ready => Move::Ready,
                Step::End => Move::End,
                Step::Again => Move::Again,
                Step::Need(range) => {
                    let (segment, next) = (run.segment().segment().clone(), run.following().cloned());
                    needs.push(Need { source: index, segment, next, range, ahead: None });
                    Move::Need
                }
            }),
        }
    }

    fn leap(&mut self, passed: &Interval) {
        match self {
            Source::Memory(source) => source.leap(passed),
            Source::Run(run) => run.leap(passed),
        }
    }

    /// The current record's key.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Source::Memory(source) => source.key(),
            Source::Run(run) => run.segment().key(),
        }
    }

    /// Seq, kind and expiry of the current record.
    #[inline]
    pub(crate) fn facts(&self) -> &Facts {
        match self {
            Source::Memory(source) => source.facts(),
            Source::Run(run) => run.segment().facts(),
        }
    }

    /// Key and value of the current record, if the source is a memtable.
    #[inline]
    pub(crate) fn shared_memory(&self) -> Option<(Bytes, Value)> {
        match self {
            Source::Memory(source) => source.shared(),
            Source::Run(_) => None,
        }
    }

    /// The cursor at the current record, if the source is a run.
    #[inline]
    pub(crate) fn segment(&self) -> Option<&SegmentCursor> {
        match self {
            Source::Memory(_) => None,
            Source::Run(run) => Some(run.segment()),
        }
    }
}

/// Many sources as one.
#[derive(Debug)]
pub(crate) struct Merge {
    sources: Vec<Source>,
    direction: Direction,
    /// How far the walk goes, where that is known.
    extent: Option<Extent>,
    /// Numbers of the sources that stand at a record: a binary heap, the one that comes first on top.
    heap: Vec<u32>,
    /// Sources that have not come to their first record.
    waiting: Vec<u32>,
    /// Whether the first of the heap must move before it is looked at.
    passed: bool,
    needs: Vec<Need>,
    /// What is read ahead of each source, unless it is under way.
    ahead: Vec<Option<Box<ReadAhead>>>,
}

impl Merge {
    /// Before the first record of `sources`, which all go in `direction`.
    pub(crate) fn new(sources: Vec<Source>, direction: Direction) -> Merge {
        let waiting = (0..sources.len() as u32).rev().collect();
        let heap = Vec::with_capacity(sources.len());
        let (needs, ahead) = (Vec::new(), Vec::new());
        Merge { sources, direction, extent: None, heap, waiting, passed: false, needs, ahead }
    }

    /// That will be walked as far as `extent` says.
    pub(crate) fn reaching(self, extent: Option<Extent>) -> Merge {
        Merge { extent, ..self }
    }

    /// Whether no key comes twice: there is one source.
    pub(crate) fn is_single(&self) -> bool {
        self.sources.len() <= 1
    }

    /// Goes to the next record. Memtables look at `budget` entries at most.
    #[inline]
    pub(crate) fn advance(&mut self, budget: &mut usize) -> Result<Move> {
        if !self.waiting.is_empty() {
            let begun = self.begin(budget)?;
            if begun != Move::Ready {
                return Ok(begun);
            }
        } else if self.passed {
            let top = self.heap[0] as usize;
            match self.sources[top].advance(budget, top, &mut self.needs)? {
                Move::Ready => self.sift_down(0),
                Move::End => self.drop_top(),
                other => return Ok(other),
            }
        }
        self.passed = !self.heap.is_empty();
        Ok(if self.passed { Move::Ready } else { Move::End })
    }

    /// Brings the sources to their first records, those that can; all that is needed is asked for at once.
    fn begin(&mut self, budget: &mut usize) -> Result<Move> {
        let mut again = false;
        for index in std::mem::take(&mut self.waiting) {
            match self.sources[index as usize].advance(budget, index as usize, &mut self.needs)? {
                Move::Ready => {
                    self.heap.push(index);
                    self.sift_up(self.heap.len() - 1);
                }
                Move::End => {}
                Move::Again => {
                    again = true;
                    self.waiting.push(index);
                }
                Move::Need => self.waiting.push(index),
            }
        }
        Ok(match (self.needs.is_empty(), again) {
            (false, _) => Move::Need,
            (true, true) => Move::Again,
            (true, false) => Move::Ready,
        })
    }

    /// Has the source of the current record go on behind the keys of `passed`, in which that record lies, if all of its
    /// records there are older than the tombstone over them.
    pub(crate) fn leap(&mut self, passed: &Interval) {
        let top = self.heap[0] as usize;
        self.sources[top].leap(passed);
    }

    /// The bytes that the last step lacked.
    pub(crate) fn take_needs(&mut self) -> Vec<Need> {
        let mut needs = std::mem::take(&mut self.needs);
        for need in needs.iter_mut().filter(|need| need.segment.is_remote()) {
            let sources = self.sources.len();
            self.ahead.resize_with(sources, || None);
            let ahead = self.ahead[need.source].take();
            let new = || Box::new(ReadAhead::new(sources, self.direction, self.extent.clone()));
            need.ahead = Some(ahead.unwrap_or_else(new));
        }
        needs
    }

    /// Gives what was needed.
    pub(crate) fn supply(&mut self, loaded: Vec<Loaded>) {
        let sources = self.sources.len().max(1) as u64;
        for Loaded { source, bytes, ahead } in loaded {
            if ahead.is_some() {
                self.ahead[source] = ahead;
            }
            if let Source::Run(run) = &mut self.sources[source] {
                let segment = run.segment_mut();
                let at_once = segment.segment().over_memory() / sources;
                segment.supply(bytes, at_once);
            }
        }
    }

    /// The source whose record is the current one. Only after a step that was ready.
    #[inline]
    pub(crate) fn current(&self) -> &Source {
        &self.sources[self.heap[0] as usize]
    }

    /// The order of records: by key, and of one key the newer first.
    #[inline]
    fn order(&self, a: u32, b: u32) -> Ordering {
        let (a, b) = (&self.sources[a as usize], &self.sources[b as usize]);
        self.direction.order(a.key(), b.key()).then_with(|| b.facts().seq.cmp(&a.facts().seq))
    }

    fn drop_top(&mut self) {
        self.heap.swap_remove(0);
        self.sift_down(0);
    }

    #[inline]
    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let right_first = right < self.heap.len() && self.order(self.heap[right], self.heap[left]).is_lt();
            let first = if right_first { right } else { left };
            if self.order(self.heap[at], self.heap[first]).is_le() {
                return;
            }
            self.heap.swap(at, first);
            at = first;
        }
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.order(self.heap[parent], self.heap[at]).is_le() {
                return;
            }
            self.heap.swap(parent, at);
            at = parent;
        }
    }
}
