//! Walks a range of a memtable's keys, once these are in order.

use super::merge::Move;
use crate::Seq;
use crate::cover::Interval;
use crate::format::block::Facts;
use crate::memtable::{Memtable, MemtableCursor, Progress};
use crate::range::Course;
use crate::value::Value;
use bytes::Bytes;
use std::sync::Arc;

/// The newest records at or below a sequence number.
#[derive(Debug)]
pub(crate) struct MemorySource {
    memtable: Arc<Memtable>,
    at: Seq,
    course: Course,
    /// `None` until the memtable is in order.
    cursor: Option<MemtableCursor>,
    /// The current record's key, copied: merging looks at it several times.
    key: Vec<u8>,
    facts: Facts,
}

impl MemorySource {
    /// At the beginning of `course`. Cheap: the memtable is put in order by the first steps.
    pub(super) fn new(memtable: Arc<Memtable>, at: Seq, course: Course) -> MemorySource {
        let facts = Facts { seq: 0, kind: crate::format::frame::Kind::Put, expires_at: None };
        MemorySource { memtable, at, course, cursor: None, key: Vec::new(), facts }
    }

    /// Goes to the next key, for a moment at most: about a millisecond, and `budget` entries.
    pub(super) fn advance(&mut self, budget: &mut usize) -> Move {
        let cursor = match &mut self.cursor {
            Some(cursor) => cursor,
            None => match self.memtable.order(false) {
                Progress::Again => return Move::Again,
                Progress::Ready(ordered) => {
                    self.cursor.insert(MemtableCursor::new(self.memtable.clone(), &ordered, self.at, &self.course))
                }
            },
        };
        match cursor.advance(budget) {
            None => return Move::Again,
            Some(false) => return Move::End,
            Some(true) => {}
        }
        let record = cursor.item().record;
        if self.course.is_past(record.key) {
            return Move::End;
        }
        self.key.clear();
        self.key.extend_from_slice(record.key);
        self.facts = Facts { seq: record.seq, kind: record.kind, expires_at: record.expires_at };
        Move::Ready
    }

    /// Goes on behind the keys of `passed`, if no record is newer than the tombstone over them.
    pub(super) fn leap(&mut self, passed: &Interval) {
        if self.memtable.max_seq() < passed.seq {
            self.course = self.course.behind(passed);
            self.cursor = None;
        }
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Key and value, sharing the memtable's memory.
    pub(super) fn shared(&self) -> Option<(Bytes, Value)> {
        self.cursor.as_ref().map(MemtableCursor::shared)
    }
}
