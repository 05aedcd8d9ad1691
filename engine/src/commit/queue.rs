//! Where commits are put in order: the log buffer, the active segment, and what the committer is to do next.
//!
//! Everything here happens under one short lock and never awaits. A commit that has entered is the queue's: it is
//! encoded, in the memtable, and will be written whatever becomes of the future that brought it. Whether there is room
//! for it says [`room`](super::room), who waits for what [`line`](super::line).
//!
//! # Guarantees
//! 1. The order in which commits enter is the order of their sequence numbers, of their bytes in the log and of their
//!    visibility.
//! 2. After a failure no commit enters any more, and every waiting commit gets an answer.
//! 3. No more than [`Options::unsealed_max`] full segments wait for their seal because of commits, nor more bytes (and one
//!    commit) than that many segments should have, but for what [memory is lent](super::waiting) for; and no more than
//!    [`UNWRITTEN_MAX`] bytes (and one commit) for being written.

use super::line::{Answer, Answers, Line, stopped_by};
use super::room::{Demand, Room};
use super::waiting::Waiting;
use super::window::{Era, Window};
use super::work::{Group, Pace, Prior, Reached, Work};
use super::{Draft, Size, new_record};
use crate::batch::Write;
use crate::budget::Budget;
use crate::format::{STREAM_LEN_MAX, header, mark};
use crate::memtable::Placed;
use crate::segment::TailRoom;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::versions::Versions;
use crate::{Durability, Error, ErrorKind, Options, Result, Seq, hash};
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::sync::Arc;

const MARK_LEN: u64 = mark::MARK_LEN as u64;
const END_LEN: u64 = mark::END_LEN as u64;
const HEADER_LEN: u64 = header::HEADER_LEN as u64;

/// Commits are encoded into buffers of this size, or of a quarter of a segment where that is smaller.
const BUFFER_LEN: u64 = 1 << 20;
/// Bytes that may wait to be written before writers wait too. They take no memory of their own: they are the memtable's.
const UNWRITTEN_MAX: u64 = 32 << 20;
/// Range tombstones that a segment takes before it counts as full: their memtable keeps some hundred bytes for each.
const RANGES_MAX: usize = 16 << 10;
/// A segment, index and all, must stay below 4 GiB: what its records may take at most.
const SEGMENT_BYTES_LIMIT: u64 = 3 << 30;

/// What became of a commit on its entering.
pub(crate) enum Entered {
    /// It is as durable as it was to be, and visible.
    Done,
    /// The answer will come.
    Waits(Answer),
}

/// Whether a commit may enter now.
pub(crate) enum Admission {
    Enter,
    /// Not yet: try again after the next progress.
    Wait,
}

pub(crate) struct Queue {
    // Constant after construction.
    segment_bytes_max: u64,
    memtable_bytes_max: u64,
    /// Bytes at which a group is written, whoever waits for it.
    group_bytes_max: u64,
    /// Groups after which the active segment is full: fragments.
    groups_max: u32,
    grows: bool,
    hash_seed: u64,

    // The active segment.
    active: Arc<Draft>,
    /// Where its next frame goes.
    offset: u64,
    /// It takes no more, whatever its length.
    full: bool,
    /// Memory that its memtable may take.
    memory_max: u64,
    /// Groups of it that the committer was given.
    groups: u32,
    /// What its index and companions may take, which are written behind the frames.
    tail: TailRoom,
    room: Room,
    next_seq: Seq,
    buffer: BytesMut,
    placed: Vec<Placed>,
    /// What open transactions are compared with.
    window: Window,

    // What the committer has not taken yet.
    work: VecDeque<Work>,
    group: Group,
    /// Bytes in `work`, in `group` and under way.
    unwritten: u64,
    write_wanted: bool,
    sync_wanted: bool,
    stopping: bool,

    // How far the log is, and who waits.
    line: Line,
    /// The segments that are full but not yet sealed.
    unsealed: Waiting,
    /// Segments that were sealed since the opening.
    seals: u64,
    seal_failure: Option<Error>,
    failed: Option<Error>,
}

impl Queue {
    pub(crate) fn new(
        options: &Options,
        budget: &Budget,
        hash_seed: u64,
        grows: bool,
        active: Arc<Draft>,
        next_seq: Seq,
    ) -> Queue {
        Queue {
            segment_bytes_max: budget.segment_bytes,
            memtable_bytes_max: budget.memtable_bytes,
            // Beyond that writers wait, and must not wait for a timer alone.
            group_bytes_max: if grows { options.write_buffer_bytes } else { options.fragment_bytes }.min(UNWRITTEN_MAX),
            groups_max: if grows { u32::MAX } else { options.segment_fragments_max },
            grows,
            hash_seed,
            active,
            offset: HEADER_LEN,
            full: false,
            memory_max: budget.memtable_bytes,
            groups: 0,
            tail: TailRoom::default(),
            room: Room::new(grows, options.segment_bytes_max),
            next_seq,
            buffer: BytesMut::new(),
            placed: Vec::new(),
            window: Window::new(options.transaction_window_bytes.min(budget.window)),
            work: VecDeque::new(),
            group: Group::default(),
            unwritten: 0,
            write_wanted: false,
            sync_wanted: false,
            stopping: false,
            line: Line::new(next_seq - 1),
            unsealed: Waiting::new(options, budget),
            seals: 0,
            seal_failure: None,
            failed: None,
        }
    }

    /// The cause for which nothing enters any more, told as a caller is to hear it.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(cause) => Err(stopped_by(cause)),
        }
    }

    /// Whether a commit of `size` may enter; makes room for it where it can. `since` is what
    /// [`reserve_attempts`](Queue::reserve_attempts) returned when the commit first asked.
    pub(crate) fn admit(
        &mut self,
        size: Size,
        deletes_only: bool,
        since: u64,
        new: &mut dyn FnMut(Prior) -> Arc<Draft>,
        versions: &Versions,
    ) -> Result<Admission> {
        self.check()?;
        if self.stopping {
            return Err(Error::new(ErrorKind::Closed, "the database is closed"));
        }
        let Size { len, tail, .. } = size;
        if len > SEGMENT_BYTES_LIMIT {
            let message = format!("batch too large len={len} max={SEGMENT_BYTES_LIMIT}");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        if self.unwritten > UNWRITTEN_MAX {
            return Ok(Admission::Wait);
        }
        if !self.active.memtable.is_empty() && (self.full || self.is_full(len)) {
            if self.is_behind() {
                return match &self.seal_failure {
                    Some(cause) => Err(Error::caused_by(
                        cause.kind(),
                        "segments cannot be sealed, so no more is taken",
                        cause.clone(),
                    )),
                    None => Ok(Admission::Wait),
                };
            }
            self.rotate(new, versions);
        }
        let needed = self.end_with(len) + END_LEN + self.tail.and(tail).bytes();
        let sealing = !self.unsealed.is_empty() && self.seal_failure.is_none();
        let fits = self.room.admits(needed, deletes_only, since, sealing)?;
        Ok(if fits { Admission::Enter } else { Admission::Wait })
    }

    /// Whether `len` more bytes are too much for the active segment, or its memtable takes all the memory it may.
    fn is_full(&self, len: u64) -> bool {
        self.end_with(len) + END_LEN > self.segment_bytes_max || self.active.memtable.memory() + len > self.memory_max
    }

    pub(crate) fn reserve_attempts(&self) -> u64 {
        self.room.attempts()
    }

    /// Where the log would end with `len` more bytes of frames and the mark they may need.
    fn end_with(&self, len: u64) -> u64 {
        self.offset + len + if self.group.is_empty() { MARK_LEN } else { 0 }
    }

    /// Orders, encodes and indexes the writes of one commit, which [`admit`](Queue::admit) let in.
    pub(crate) fn enter<'a>(
        &mut self,
        writes: impl ExactSizeIterator<Item = Write<'a>>,
        size: Size,
        level: Durability,
        visible: &AtomicU64,
    ) -> Entered {
        if self.group.is_empty() {
            self.group.draft = Some(self.active.clone());
            self.group.start = self.offset;
            self.offset += MARK_LEN;
        }
        self.encode(writes, (size.len - size.large) as usize);
        self.tail = self.tail.and(size.tail);
        self.full |= self.active.memtable.ranges_len() >= RANGES_MAX;
        self.unwritten += size.len;
        self.group.end = self.offset;
        self.group.level = self.group.level.max(Some(level));
        self.group.last_seq = self.next_seq - 1;
        let last_seq = self.group.last_seq;
        if !self.grows && self.group.len() >= self.group_bytes_max {
            // What comes next goes with the next fragment.
            self.take_group(false);
        }
        if level == Durability::Deferred && !self.line.holds_up(visible) {
            visible.store(last_seq, Ordering::Release);
            return Entered::Done;
        }
        Entered::Waits(self.line.wait(last_seq, level))
    }

    /// Encodes `writes`, which take `len` bytes but for large values, and enters them into memtable and group.
    fn encode<'a>(&mut self, writes: impl ExactSizeIterator<Item = Write<'a>>, len: usize) {
        if self.buffer.capacity() < len {
            let chunk = BUFFER_LEN.min(self.segment_bytes_max / 4) as usize;
            self.buffer = BytesMut::with_capacity(chunk.max(len));
        }
        let stream = self.active.stream();
        let count = writes.len();
        for (index, write) in writes.enumerate() {
            if write.large.is_some() {
                self.enter_piece();
            }
            let start = self.buffer.len();
            let record = new_record(&write, self.next_seq, index + 1 == count);
            let offset = self.offset + start as u64;
            let len = match write.large {
                None => record.encode(&stream, offset, &mut self.buffer),
                Some(large) => record.encode_without_value(&stream, offset, large.crc, &mut self.buffer),
            };
            let hash = hash::hash(self.hash_seed, write.key);
            let placed = Placed { start: start as u32, len: len as u32, hash, seq: self.next_seq };
            self.next_seq += 1;
            match write.large {
                None => self.placed.push(placed),
                Some(large) => self.enter_large(placed, &large.bytes),
            }
        }
        self.enter_piece();
    }

    /// Enters the records that the buffer holds.
    fn enter_piece(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let piece = self.buffer.split().freeze();
        self.active.memtable.insert(piece.clone(), self.offset as u32, &self.placed);
        self.placed.clear();
        self.offset += piece.len() as u64;
        self.group.pieces.push(piece);
    }

    /// Enters the one record whose head the buffer holds, and whose value is `value`.
    fn enter_large(&mut self, placed: Placed, value: &Bytes) {
        let head = self.buffer.split().freeze();
        self.active.memtable.insert_large(head.clone(), value.clone(), self.offset as u32, placed);
        self.offset += u64::from(placed.len);
        self.group.pieces.extend([head, value.clone()]);
    }

    /// Full segments of these lengths wait for their seal, from before anything has entered.
    pub(crate) fn await_seals(&mut self, lens: impl Iterator<Item = u64>) {
        lens.for_each(|len| self.unsealed.push(len, len));
    }

    /// Asks for everything that has entered to be made durable.
    pub(crate) fn flush(&mut self) -> Result<Entered> {
        self.check()?;
        let last = self.next_seq - 1;
        if self.line.synced() >= last {
            return Ok(Entered::Done);
        }
        self.sync_wanted = true;
        Ok(Entered::Waits(self.line.wait(last, Durability::Synced)))
    }

    /// The last sequence number that is durable.
    pub(crate) fn synced(&self) -> Seq {
        self.line.synced()
    }

    /// Asks for everything that has entered to be handed to the operating system.
    pub(crate) fn want_write(&mut self) {
        self.write_wanted = true;
    }

    pub(crate) fn want_sync(&mut self) {
        self.sync_wanted = true;
    }

    /// Whether there are bytes that only this process has.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.unwritten > 0
    }

    /// Whether nothing has gathered for which the flush timer runs. Where files grow it runs anew once all is written.
    pub(crate) fn is_flushed(&self) -> bool {
        if self.grows { !self.has_unwritten() } else { self.group.is_empty() }
    }

    /// Whether there are commits that a power cut may take.
    pub(crate) fn is_unsynced(&self) -> bool {
        self.line.synced() + 1 < self.next_seq
    }

    /// Ends the active segment, if it has records.
    pub(crate) fn rotate(&mut self, new: &mut dyn FnMut(Prior) -> Arc<Draft>, versions: &Versions) {
        if self.active.memtable.is_empty() {
            return;
        }
        self.take_group(false);
        let end = self.offset;
        let number = self.active.id().number;
        // Fragments need no end mark: each is whole.
        let len = if self.grows { end + END_LEN } else { end };
        let prior = Prior { number, len, last_seq: self.next_seq - 1, next_seq: self.next_seq };
        let next = new(prior);
        let successor = next.id().number;
        let memory = self.active.memtable.memory();
        self.memory_max = self.unsealed.room(memory).unwrap_or(self.memtable_bytes_max);
        self.unsealed.push(end, memory);
        let draft = std::mem::replace(&mut self.active, next);
        self.work.push_back(Work::Rotate { draft, end, successor });
        versions.begin_memtable(self.active.memtable.clone());
        self.window.next_era(&self.active.memtable);
        self.offset = HEADER_LEN;
        (self.full, self.groups, self.tail) = (false, 0, TailRoom::default());
        self.room.begin_segment();
        self.buffer = BytesMut::new();
    }

    /// Moves the group to the work, if it holds anything.
    fn take_group(&mut self, sync: bool) {
        if !self.group.is_empty() {
            let group = std::mem::take(&mut self.group);
            let sync = sync || group.level == Some(Durability::Synced);
            self.work.push_back(Work::Write { group, sync });
            // The next commit begins another segment then, once few enough wait for their seal.
            self.groups += 1;
            self.full |= self.groups >= self.groups_max;
        }
    }

    /// Lets nothing more enter.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
    }

    /// What the committer is to do next at this `pace`, if anything.
    pub(crate) fn next_work(&mut self, pace: Pace) -> Option<Work> {
        if self.failed.is_some() {
            return Some(Work::Stop);
        }
        // First of all, so that a new segment takes commits while the one before it is still being synced.
        if let Some(Demand { len, least }) = self.room.take_demand() {
            return Some(Work::Reserve { draft: self.active.clone(), len, least });
        }
        if self.work.is_empty() {
            let is_wanted = || self.group.level > Some(Durability::Deferred) || self.write_wanted || self.sync_wanted;
            let due = self.stopping
                || self.group.len() >= self.group_bytes_max
                || match pace {
                    Pace::Free => is_wanted(),
                    Pace::Soon => self.sync_wanted,
                    Pace::Beside { overdue } => overdue,
                };
            if due && !self.group.is_empty() {
                self.take_group(self.sync_wanted);
                self.sync_wanted = false;
            }
            if self.group.is_empty() {
                self.write_wanted = false;
            }
        }
        if let Some(work) = self.work.pop_front() {
            if let Work::Write { group, .. } = &work {
                self.line.hand_over(group.last_seq);
            }
            return Some(work);
        }
        if self.group.is_empty() && std::mem::take(&mut self.sync_wanted) && self.line.synced() < self.line.written() {
            return Some(Work::Sync);
        }
        self.stopping.then_some(Work::Stop)
    }

    /// Whether the committer has something to do now.
    pub(crate) fn is_due(&self) -> bool {
        !self.work.is_empty()
            || self.room.is_wanted()
            || self.group.level > Some(Durability::Deferred)
            || self.group.len() >= self.group_bytes_max
            || self.write_wanted
            || self.sync_wanted
    }

    /// The committer's answer to [`Work::Reserve`]: the bytes now sure to fit, or why not.
    pub(crate) fn reserved(&mut self, draft: &Draft, outcome: Result<u64>) {
        let is_active = draft.id() == self.active.id();
        self.room.answer(outcome.map(|len| is_active.then_some(len)));
    }

    /// Takes the offset for a mark of its own, if nothing has gathered meanwhile and there is room for it.
    pub(crate) fn take_mark(&mut self, draft: &Draft) -> Option<u64> {
        let idle = self.group.is_empty() && self.work.is_empty() && self.active.id() == draft.id();
        let end = self.offset + MARK_LEN + END_LEN;
        // It may reach beyond the segment's size: to readers beside the writer, what no mark covers is not there yet.
        let fits = end <= STREAM_LEN_MAX && self.room.has(end + self.tail.bytes());
        (idle && fits).then(|| {
            let offset = self.offset;
            self.offset += MARK_LEN;
            offset
        })
    }

    /// Notes how far the log has come, and makes visible what has reached its level.
    pub(crate) fn reached(&mut self, reached: Reached, visible: &AtomicU64) -> Answers {
        if self.failed.is_some() {
            return Answers::default();
        }
        self.unwritten -= reached.bytes;
        self.line.reached(reached, self.next_seq, visible)
    }

    /// Stops all writing because of `cause`, or because of what stopped it before.
    pub(crate) fn fail(&mut self, cause: Error) -> Answers {
        let cause = self.failed.get_or_insert(cause);
        self.work.clear();
        self.group = Group::default();
        self.line.fail(cause)
    }

    /// A full segment has been sealed, or could not be for now.
    pub(crate) fn sealed(&mut self, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                self.unsealed.pop();
                self.seals += 1;
                self.seal_failure = None;
                self.room.given_back();
            }
            Err(cause) => self.seal_failure = Some(cause),
        }
    }

    /// What kept segments from being sealed is over.
    pub(crate) fn seals_again(&mut self) {
        self.seal_failure = None;
    }

    /// Whether it takes no more, and will not again.
    pub(crate) fn is_ending(&self) -> bool {
        self.stopping || self.failed.is_some()
    }

    /// Why the store that is to have what is sealed cannot be reached, if it cannot.
    pub(crate) fn away(&self) -> Option<&Error> {
        self.seal_failure.as_ref().filter(|cause| cause.kind() == ErrorKind::Io)
    }

    pub(crate) fn seal_failure(&self) -> Option<&Error> {
        self.seal_failure.as_ref()
    }

    pub(crate) fn unsealed(&self) -> usize {
        self.unsealed.len()
    }

    /// Memory of the memtables, and whether any of them is full.
    pub(crate) fn memory(&self) -> (u64, bool) {
        (self.unsealed.memory() + self.active.memtable.memory(), !self.unsealed.is_empty())
    }

    /// See [`Waiting::lend`].
    pub(crate) fn lend(&mut self, bytes: u64) {
        self.unsealed.lend(bytes);
    }

    /// Whether so much waits for its seal that writers have to wait too.
    fn is_behind(&self) -> bool {
        self.unsealed.room(self.active.memtable.memory()).is_none()
    }

    /// Ends the active segment where one commit has made it longer than a segment should be, unless that would be too much to
    /// be sealed: its memory is wanted.
    pub(crate) fn pass_on_what_is_too_long(&mut self, new: &mut dyn FnMut(Prior) -> Arc<Draft>, versions: &Versions) {
        if self.offset + END_LEN > self.segment_bytes_max && !self.is_behind() {
            self.rotate(new, versions);
        }
    }

    /// Segments that were sealed since the opening.
    pub(crate) fn seals(&self) -> u64 {
        self.seals
    }

    pub(crate) fn active(&self) -> &Arc<Draft> {
        &self.active
    }

    pub(crate) fn next_seq(&self) -> Seq {
        self.next_seq
    }

    pub(crate) fn window(&self) -> &Window {
        &self.window
    }

    /// A transaction or a watch begins; its era is to be [closed](Window::close).
    pub(crate) fn open_window(&mut self) -> Era {
        self.window.open(&self.active.memtable)
    }

    pub(crate) fn close_window(&mut self, era: Era) {
        self.window.close(era);
    }

    pub(crate) fn failure(&self) -> Option<&Error> {
        self.failed.as_ref()
    }

    /// Bytes of frames in the active segment, written or not.
    pub(crate) fn active_len(&self) -> u64 {
        self.offset
    }

    pub(crate) fn unwritten(&self) -> u64 {
        self.unwritten
    }
}

#[cfg(test)]
mod tests;
