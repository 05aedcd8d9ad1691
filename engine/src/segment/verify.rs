//! Verifies a segment: reads every byte, and checks that all parts tell of the same records.
//!
//! The frames are walked in the order of the file, beside the hints and the index entries in the same order. What is
//! damaged is reported, and the walk goes on where hints or index say that another record begins, so that every damaged
//! place is found, not just the first.

use super::reader::{Segment, SegmentHints};
use super::window::Window;
use crate::cover::{Cover, CoverList, Stretch};
use crate::format::Damage;
use crate::format::block::{BlockCursor, Content, Facts, Span};
use crate::format::compressed::Trouble;
use crate::format::filter::Filter;
use crate::format::frame::{Frame, Kind, Record};
use crate::format::header::HEADER_LEN;
use crate::format::hints::Hint;
use crate::format::statistics::Statistics;
use crate::hash::{Fingerprint, hash};
use crate::planted::{Bug, planted};
use crate::turn::Turn;
use crate::verify::Beat;
use crate::{Error, ErrorKind, Result, Seq, value};
use bytes::Bytes;
use std::collections::HashMap;

/// What a verification has found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Records whose checksum holds.
    pub(crate) records: u64,
    /// Every damaged place of the segment's file. Empty: all is well.
    pub(crate) damage: Vec<Damage>,
}

impl Segment {
    /// Reads everything and reports every damaged place. Now and then `beat` hears how many bytes and records have been
    /// read.
    ///
    /// # Errors
    /// Where the backend fails. Damage is no error here.
    pub(crate) async fn verify(&self, beat: &mut Beat<'_>) -> Result<Findings> {
        let mut verification = Verification::new(self);
        let opened = self.open().await;
        if verification.note(opened)?.is_none() {
            return Ok(verification.findings);
        }
        let rechecked = self.recheck().await;
        verification.note(rechecked)?;
        verification.read_index().await?;
        verification.read_filter().await?;
        verification.read_range_tombstones().await?;
        verification.walk(beat).await?;
        verification.compare_statistics().await?;
        Ok(verification.findings)
    }
}

/// An index entry, in the order of the file.
#[derive(Clone, Copy, Debug)]
struct Indexed {
    span: Span,
    key_hash: u64,
    /// Where its block stands.
    block_at: u64,
}

struct Verification<'a> {
    segment: &'a Segment,
    hash_seed: u64,
    findings: Findings,
    /// Index entries in the order of the file, and whether these are all.
    entries: Vec<Indexed>,
    entries_are_whole: bool,
    next_entry: usize,
    /// In a dense segment: the seq of each indexed record, by the hash of its key.
    newest: HashMap<u64, Seq>,
    /// In a dense segment: what its own range tombstones cover, and with that is not in the index. `None` where it could
    /// not be read.
    cover: Option<Cover>,
    hints: Option<SegmentHints>,
    next_hint: Option<Hint>,
    filter: Option<Filter>,
    /// What the frames tell, and whether all of them could be read.
    statistics: Statistics,
    frames_are_whole: bool,
    last_key: Vec<u8>,
    chunk: Chunk,
}

/// How much of the current chunk of a sorted segment has been seen.
#[derive(Debug, Default)]
struct Chunk {
    end: u64,
    records_left: u32,
    known: bool,
}

impl<'a> Verification<'a> {
    fn new(segment: &'a Segment) -> Verification<'a> {
        Verification {
            segment,
            hash_seed: segment.hash_seed(),
            findings: Findings::default(),
            entries: Vec::new(),
            entries_are_whole: true,
            next_entry: 0,
            newest: HashMap::new(),
            cover: Some(Cover::default()),
            hints: None,
            next_hint: None,
            filter: None,
            statistics: Statistics::default(),
            frames_are_whole: true,
            last_key: Vec::new(),
            chunk: Chunk::default(),
        }
    }

    fn report(&mut self, offset: u64, what: impl Into<String>) {
        self.findings.damage.push(Damage::new(offset, what));
    }

    /// Takes note of damage; other errors end the verification.
    fn note<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                let offset = error.place().map_or(0, |(_, offset)| offset);
                self.report(offset, what_of(&error));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads fences and index blocks, and checks that they agree.
    async fn read_index(&mut self) -> Result<()> {
        let segment = self.segment;
        let footer = segment.footer();
        let bytes = segment.part(&footer.fences, "fences").await;
        let fences = match self.note(bytes)? {
            Some(bytes) => self.note(segment.decode_fences(bytes))?,
            None => None,
        };
        let Some(fences) = fences else {
            self.entries_are_whole = false;
            return Ok(());
        };
        let mut last_key: Option<Vec<u8>> = None;
        for index in 0..fences.len() {
            let block = fences.block(index);
            let bytes = segment.read(block.clone()).await?;
            let outcome = self.read_block(block.start, bytes, fences.first_key(index), &mut last_key);
            if self.note(outcome)?.is_none() {
                self.entries_are_whole = false;
            }
            tokio::task::yield_now().await;
        }
        if self.entries_are_whole {
            if last_key.as_deref() != Some(fences.last_key()) && !segment.is_sorted() {
                self.report(footer.fences.range.start, "last key of the fences is not that of the index");
            }
            if self.entries.len() as u64 != footer.entries {
                let what = format!("index entries expected={} found={}", footer.entries, self.entries.len());
                self.report(footer.index.start, what);
            }
        }
        self.entries.sort_unstable_by_key(|entry| entry.span.offset);
        Ok(())
    }

    fn read_block(&mut self, at: u64, bytes: Bytes, first_key: &[u8], last_key: &mut Option<Vec<u8>>) -> Result<()> {
        let segment = self.segment;
        let corrupt = |damage| segment.corrupt(damage);
        let mut cursor = BlockCursor::empty();
        cursor.open(&segment.stream(), at, bytes).map_err(corrupt)?;
        let mut is_first = true;
        while cursor.advance().map_err(corrupt)? {
            let key = cursor.key();
            if is_first && key != first_key {
                self.report(at, "first key of the index block is not that of its fence");
            }
            if last_key.as_deref().is_some_and(|last| last >= key) {
                self.report(at, "index entries are out of order");
            }
            is_first = false;
            let last = last_key.get_or_insert_default();
            last.clear();
            last.extend_from_slice(key);
            let indexed = Indexed { span: *cursor.span(), key_hash: hash(self.hash_seed, key), block_at: at };
            if let (Content::One(facts), false) = (indexed.span.content, segment.is_sorted()) {
                self.newest.insert(indexed.key_hash, facts.seq);
            }
            self.entries.push(indexed);
        }
        Ok(())
    }

    async fn read_filter(&mut self) -> Result<()> {
        let part = &self.segment.footer().filter;
        let bytes = self.segment.part(part, "filter").await;
        if let Some(bytes) = self.note(bytes)? {
            let filter = Filter::decode(bytes, part.range.start);
            self.filter = self.note(filter.map_err(|damage| self.segment.corrupt(damage)))?;
        }
        Ok(())
    }

    /// Reads the range tombstones, which stand behind what they cover.
    async fn read_range_tombstones(&mut self) -> Result<()> {
        let segment = self.segment;
        if segment.is_sorted() || segment.meta.range_tombstones == 0 {
            return Ok(());
        }
        let mut window = Window::new();
        let mut tombstones = CoverList::default();
        let mut at = HEADER_LEN as u64;
        let mut turn = Turn::default();
        while at < segment.footer().records_end() {
            window.load(segment, at).await?;
            let Ok(frame) = window.decode(&segment.stream(), at, &mut turn).await else {
                self.cover = None;
                return Ok(());
            };
            if let Frame::Record(Record { seq, kind: Kind::RangeTombstone, key, value, .. }) = frame {
                let end = (!value.is_empty()).then(|| Bytes::copy_from_slice(value));
                tombstones.push(Stretch { start: Bytes::copy_from_slice(key), end, seq });
            }
            at += frame.len() as u64;
            turn.take(frame.len()).await;
        }
        self.cover = Some(tombstones.whole_cover());
        Ok(())
    }

    /// Walks the frames beside hints and entries.
    async fn walk(&mut self, beat: &mut Beat<'_>) -> Result<()> {
        let hints = self.segment.hints().await;
        self.hints = self.note(hints)?;
        self.step_hint()?;
        let mut window = Window::new();
        let mut at = HEADER_LEN as u64;
        let mut turn = Turn::default();
        while at < self.segment.footer().records_end() {
            window.load(self.segment, at).await?;
            match window.decode(&self.segment.stream(), at, &mut turn).await {
                Ok(frame) => {
                    let len = frame.len();
                    if let Frame::Record(record) = frame {
                        self.see(at, &record)?;
                        self.see_value(at, &record, &mut turn).await?;
                    } else if self.segment.is_sorted() {
                        self.report(at, "a mark in a sorted segment");
                    }
                    at += len as u64;
                    if turn.take(len).await {
                        beat.at(at, self.findings.records).await;
                    }
                }
                Err(damage) => {
                    if !planted(Bug::VerifyBlind) {
                        self.findings.damage.push(damage);
                    }
                    self.frames_are_whole = false;
                    self.chunk.known = false;
                    at = self.skip_from(at)?;
                }
            }
        }
        self.finish_walk()
    }

    /// Compares a record with what hints, index and filter say of it.
    fn see(&mut self, at: u64, record: &Record<'_>) -> Result<()> {
        self.findings.records += 1;
        let facts = Facts { seq: record.seq, kind: record.kind, expires_at: record.expires_at };
        let (hash, len) = (hash(self.hash_seed, record.key), record.len as u32);
        self.statistics.count(&facts, len);
        if record.kind == Kind::RangeTombstone {
            if self.segment.is_sorted() {
                self.report(at, "a range tombstone in a sorted segment");
            }
            return Ok(());
        }
        let counts = if self.segment.is_sorted() {
            self.see_sorted(at, record, &facts, hash);
            true
        } else {
            self.see_dense(at, record, &facts, hash)
        };
        if counts {
            self.note_key(record.key, len);
            self.see_hint(at, len, hash)?;
        }
        let is_indexed = counts || self.newest.contains_key(&hash);
        if is_indexed && self.filter.as_ref().is_some_and(|filter| !filter.may_contain(hash)) {
            let filter_at = self.segment.footer().filter.range.start;
            self.report(filter_at, format!("filter lacks the key of the record at {at}"));
        }
        Ok(())
    }

    /// Checks that a compressed value can be read.
    async fn see_value(&mut self, at: u64, record: &Record<'_>, turn: &mut Turn) -> Result<()> {
        if !record.compressed {
            return Ok(());
        }
        match value::check(record.value, turn).await {
            Ok(()) => Ok(()),
            Err(Trouble::Damaged(what)) => {
                self.report(at, what);
                Ok(())
            }
            Err(Trouble::Lacks(codec)) => Err(value::lacks(codec)),
        }
    }

    fn note_key(&mut self, key: &[u8], len: u32) {
        let statistics = &mut self.statistics;
        if statistics.keys == 0 || key < &statistics.min_key[..] {
            statistics.min_key = key.to_vec();
        }
        if statistics.keys == 0 || key > &statistics.max_key[..] {
            statistics.max_key.clear();
            statistics.max_key.extend_from_slice(key);
        }
        statistics.count_key(len);
    }

    /// Whether the record is in the index: the newest of its key, and not covered.
    fn see_dense(&mut self, at: u64, record: &Record<'_>, facts: &Facts, hash: u64) -> bool {
        self.pass_entries_before(at);
        let Some(indexed) = self.entries.get(self.next_entry).filter(|entry| u64::from(entry.span.offset) == at) else {
            // Where entries are missing, this may be one of those. Two keys of one hash are too rare to matter.
            let newer = self.newest.get(&hash).is_none_or(|&seq| seq <= facts.seq);
            let covered = self.cover.as_ref().is_none_or(|cover| cover.over(record.key) > facts.seq);
            if newer && (!covered || planted(Bug::VerifyCries)) && self.entries_are_whole {
                self.report(at, "record is the newest of its key, but not in the index");
            }
            return false;
        };
        let (span, key_hash, block_at) = (indexed.span, indexed.key_hash, indexed.block_at);
        self.next_entry += 1;
        if key_hash != hash || span.len as usize != record.len || span.content != Content::One(*facts) {
            self.report(block_at, format!("index entry does not fit the record at {at}"));
        }
        true
    }

    fn see_sorted(&mut self, at: u64, record: &Record<'_>, facts: &Facts, hash: u64) {
        if self.statistics.keys > 0 && self.last_key.as_slice() >= record.key {
            self.report(at, "records are out of order");
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(record.key);

        self.pass_entries_before(at);
        let indexed = self.entries.get(self.next_entry).copied();
        if let Some(Indexed { span, key_hash, block_at }) = indexed.filter(|entry| u64::from(entry.span.offset) == at) {
            self.next_entry += 1;
            self.check_chunk_ended(at);
            self.chunk = Chunk { end: span.end(), records_left: span.records(), known: true };
            let fits = match span.content {
                Content::One(told) => told == *facts && span.len as usize == record.len,
                Content::Several(_) => true,
            };
            if key_hash != hash || !fits {
                self.report(block_at, format!("index entry does not fit the record at {at}"));
            }
        }
        if self.chunk.known {
            if at >= self.chunk.end && self.entries_are_whole {
                self.report(at, "record is not covered by the index");
                self.chunk.known = false;
            }
            self.chunk.records_left = self.chunk.records_left.saturating_sub(1);
        }
    }

    /// Checks that the chunk before `at` had as many records as its entry says.
    fn check_chunk_ended(&mut self, at: u64) {
        if self.chunk.known && (self.chunk.end != at || self.chunk.records_left != 0) {
            self.report(at, "chunk before this record has another length or number of records than the index says");
        }
        self.chunk.known = false;
    }

    /// Entries at which no record began are wrong, unless frames there were damaged.
    fn pass_entries_before(&mut self, at: u64) {
        while let Some(entry) = self.entries.get(self.next_entry).filter(|entry| u64::from(entry.span.offset) < at) {
            let (offset, block_at) = (entry.span.offset, entry.block_at);
            self.next_entry += 1;
            if self.frames_are_whole {
                self.report(block_at, format!("index entry points at {offset}, where no record begins"));
            }
        }
    }

    fn step_hint(&mut self) -> Result<()> {
        let Some(hints) = &mut self.hints else { return Ok(()) };
        let next = hints.next();
        match self.note(next)? {
            Some(next) => self.next_hint = next,
            None => (self.hints, self.next_hint) = (None, None),
        }
        Ok(())
    }

    fn see_hint(&mut self, at: u64, len: u32, hash: u64) -> Result<()> {
        self.pass_hints_before(at)?;
        let hints_at = self.segment.footer().hints.range.start;
        match self.next_hint {
            Some(hint) if u64::from(hint.offset) == at => {
                if hint.len != len || hint.fingerprint != Fingerprint::of(hash) {
                    self.report(hints_at, format!("hint does not fit the record at {at}"));
                }
                self.step_hint()
            }
            _ if self.hints.is_some() => {
                self.report(hints_at, format!("no hint for the record at {at}"));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn pass_hints_before(&mut self, at: u64) -> Result<()> {
        while let Some(hint) = self.next_hint.filter(|hint| u64::from(hint.offset) < at) {
            if self.frames_are_whole {
                let hints_at = self.segment.footer().hints.range.start;
                self.report(hints_at, format!("hint points at {}, where no record counts", hint.offset));
            }
            self.step_hint()?;
        }
        Ok(())
    }

    /// Where the walk goes on when the frame at `at` is damaged: where hint or index say that it ends or that another
    /// begins, whichever comes first.
    fn skip_from(&mut self, at: u64) -> Result<u64> {
        self.pass_hints_before(at)?;
        self.pass_entries_before(at);
        let hinted = self.next_hint.map(|hint| match u64::from(hint.offset) {
            offset if offset == at => offset + u64::from(hint.len),
            offset => offset,
        });
        let indexed = self.entries.get(self.next_entry).map(|entry| match u64::from(entry.span.offset) {
            offset if offset == at => entry.span.end(),
            offset => offset,
        });
        let end = self.segment.footer().records_end();
        Ok(hinted.into_iter().chain(indexed).filter(|&offset| offset > at).min().unwrap_or(end))
    }

    fn finish_walk(&mut self) -> Result<()> {
        let end = self.segment.footer().records_end();
        self.check_chunk_ended(end);
        self.pass_entries_before(end);
        self.pass_hints_before(end)
    }

    /// Compares statistics in file and manifest with what was seen.
    async fn compare_statistics(&mut self) -> Result<()> {
        let segment = self.segment;
        let at = segment.footer().statistics.range.start;
        let told = segment.statistics().await;
        let told = self.note(told)?;
        let manifest = Statistics::of(&segment.meta);
        if told.as_ref().is_some_and(|told| *told != manifest) {
            self.report(at, "statistics are not those in the manifest");
        }
        // Where records or entries could not be read, the counts cannot agree.
        if self.frames_are_whole && self.entries_are_whole && self.statistics != manifest {
            let what = format!("statistics do not fit the records expected={manifest:?} found={:?}", self.statistics);
            self.report(at, what);
        }
        Ok(())
    }
}

/// What an error says was expected and found, without the place.
pub(crate) fn what_of(error: &Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("corrupt data: ").unwrap_or(&text);
    text.split(" file=").next().unwrap_or(text).to_owned()
}
