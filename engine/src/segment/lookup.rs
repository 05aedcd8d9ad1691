//! One key, found through filter, fences and index: what a segment costs that is not resident in the keydir.
//!
//! Where the file is mapped and filter and fences have been read once, [`look_up`](Segment::look_up) neither waits nor
//! copies. Else [`find`](Segment::find) reads what is missing, through the cache.

use super::cache::Key;
use super::frames::{FrameStep, Frames};
use super::index::part_crc;
use super::opened::{self, Opened};
use super::reader::{OwnedRecord, Segment};
use crate::format::Damage;
use crate::format::block::{BlockCursor, Content, Facts};
use crate::format::fences::Fences;
use crate::format::filter::Filter;
use crate::format::footer::Footer;
use crate::turn::Turn;
use crate::value::Value;
use crate::{ErrorKind, KeyRange, Result};
use bytes::Bytes;
use halite_backends::{KEPT_READ_MAX, Purpose};
use std::ops::{Bound, Range};
use std::sync::Arc;

/// An index that is no longer than this is read in one with the fences.
const INDEX_MAX: u64 = 512 << 10;
const _: () = assert!(INDEX_MAX <= KEPT_READ_MAX);

/// What a lookup by filter and index has come to.
#[derive(Clone, Debug)]
pub(crate) enum Lookup {
    /// The newest record of the key in this segment.
    Found(OwnedRecord),
    /// The filter knows that there is none.
    Filtered,
    /// The filter let the key pass, but there is none: a false positive.
    Absent,
    /// There is none; the filter was not asked, as there is no room to keep it.
    Unfiltered,
    /// Something must be read first.
    NeedsRead,
}

/// Where a record lies, and what the index tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) offset: u32,
    pub(crate) len: u32,
    pub(crate) facts: Facts,
}

/// What an index block says of a key.
pub(super) enum InBlock {
    Nothing,
    At(Located),
    /// If anywhere, in this range of records.
    Chunk(Range<u64>),
}

/// The filter of one segment at a time, for whoever asks for many keys in order: where the cache is small, each filter
/// would else be read for each key.
#[derive(Debug, Default)]
pub(crate) struct FilterInHand(Option<(u64, Filter)>);

impl FilterInHand {
    /// False if `segment` does not hold the key whose hash is `hash`. It is asked so that something can be merged.
    pub(crate) async fn may_contain(&mut self, segment: &Arc<Segment>, hash: u64) -> Result<bool> {
        let in_hand = self.0.take().filter(|(serial, _)| *serial == segment.serial);
        let filter = match in_hand {
            Some((_, filter)) => filter,
            None => segment.read_for(Purpose::Merge).filter().await?,
        };
        let may_contain = filter.may_contain(hash);
        self.0 = Some((segment.serial, filter));
        Ok(may_contain)
    }
}

impl Segment {
    /// The newest record of `key`, whose hash is `hash`, without waiting.
    #[inline]
    pub(crate) fn look_up(&self, hash: u64, key: &[u8]) -> Result<Lookup> {
        let Some((opened, filter)) = self.if_opened().and_then(|opened| Some((opened, opened.filter.get()?))) else {
            return Ok(Lookup::NeedsRead);
        };
        if !filter.may_contain(hash) {
            return Ok(Lookup::Filtered);
        }
        self.look_up_mapped(opened, key)
    }

    fn look_up_mapped(&self, opened: &Opened, key: &[u8]) -> Result<Lookup> {
        let (Some(map), Some(fences)) = (&opened.map, opened.fences.get()) else { return Ok(Lookup::NeedsRead) };
        if self.lies_outside(key) {
            return Ok(Lookup::Absent);
        }
        // What is in the map is less than 4 GiB long.
        let slice = |range: &Range<u64>| map.share(range.start as u32).slice(range.start as usize..range.end as usize);
        let block = fences.block(fences.find(key));
        let found = match self.search_block(block.start, slice(&block), key)? {
            InBlock::Nothing => None,
            InBlock::Chunk(chunk) => self.search_chunk(chunk.clone(), slice(&chunk), key)?,
            InBlock::At(located) => match self.mapped_record(located.offset, located.len) {
                Some(record) => Some(self.expect(record?.to_owned(), &located, key)?),
                None => return Ok(Lookup::NeedsRead),
            },
        };
        Ok(found.map_or(Lookup::Absent, Lookup::Found))
    }

    /// The newest record of `key`, whose hash is `hash`; reads what is needed for that.
    pub(crate) async fn find(&self, hash: u64, key: &[u8]) -> Result<Lookup> {
        let otherwise = match self.filter_that_stays().await? {
            Some(filter) if !filter.may_contain(hash) => return Ok(Lookup::Filtered),
            Some(_) => Lookup::Absent,
            None => Lookup::Unfiltered,
        };
        Ok(self.search(key).await?.map_or(otherwise, Lookup::Found))
    }

    /// The newest record of `key`, whatever the filter says.
    pub(crate) async fn search(&self, key: &[u8]) -> Result<Option<OwnedRecord>> {
        if self.lies_outside(key) {
            return Ok(None);
        }
        let fences = self.fences().await?;
        let block = fences.block(fences.find(key));
        let at = block.start;
        match self.read_kept(block, |bytes| self.search_block(at, bytes, key)).await? {
            InBlock::Nothing => Ok(None),
            InBlock::At(located) => {
                let record = self.read_record_kept(located.offset, located.len).await?;
                self.expect(record, &located, key).map(Some)
            }
            InBlock::Chunk(chunk) => {
                self.read_kept(chunk.clone(), |bytes| self.search_chunk(chunk.clone(), bytes, key)).await
            }
        }
    }

    /// Reads what every lookup needs, if it is not at hand.
    pub(crate) async fn prepare(&self) -> Result<()> {
        self.open().await?;
        futures::future::try_join(self.filter_that_stays(), self.fences()).await.map(|_| ())
    }

    /// The filter, if it is in memory.
    pub(crate) fn filter_at_hand(&self) -> Option<Filter> {
        let opened = self.if_opened()?;
        let cached = || self.files.cache.filter(self.cached_at(opened.footer.filter.range.start));
        opened.filter.get().cloned().or_else(cached)
    }

    /// The filter; through the cache where it is not mapped.
    pub(crate) async fn filter(&self) -> Result<Filter> {
        match self.filter_that_stays().await? {
            Some(filter) => Ok(filter),
            None => self.read_filter(self.opened().await?).await,
        }
    }

    /// The filter, unless it is not at hand and there is no room to keep it: it would be read again for each key, where an index
    /// block costs as many reads, and is shorter.
    async fn filter_that_stays(&self) -> Result<Option<Filter>> {
        let opened = self.opened().await?;
        if opened.map.is_some() {
            return self.mapped_filter(opened).await.map(Some);
        }
        let key = self.cached_at(opened.footer.filter.range.start);
        if let Some(filter) = self.files.cache.filter(key) {
            return Ok(Some(filter));
        }
        if !self.filter_stays(opened) {
            return Ok(None);
        }
        let filter = self.read_filter(opened).await?;
        self.files.cache.keep_filter(key, &filter);
        Ok(Some(filter))
    }

    async fn mapped_filter(&self, opened: &Opened) -> Result<Filter> {
        let filter = match opened.filter.get() {
            Some(filter) => filter,
            None => {
                let filter = self.read_filter(opened).await?;
                opened.filter.get_or_init(|| {
                    self.files.keep_mapped_filter(filter.len() as u64);
                    filter
                })
            }
        };
        // Whoever comes next need not wait.
        self.fences().await?;
        Ok(filter.clone())
    }

    /// How long the filter is, about.
    pub(crate) fn filter_len(&self) -> u64 {
        opened::filter_len(&self.meta)
    }

    async fn read_filter(&self, opened: &Opened) -> Result<Filter> {
        let part = &opened.footer.filter;
        let bytes = self.part(part, "filter").await?;
        Filter::decode(bytes, part.range.start).map_err(|damage| self.corrupt(damage))
    }

    /// Whether there is room for the filter, which is not mapped.
    fn filter_stays(&self, opened: &Opened) -> bool {
        self.files.filter_stays(self.serial, opened.unmapped_filter())
    }

    /// Keeps the filter, whose bytes came along with the footer. What proves damaged is left to whoever asks for the filter.
    pub(super) async fn take_filter(&self, opened: &Opened, bytes: Bytes) {
        let part = &opened.footer.filter;
        if !self.filter_stays(opened) {
            return;
        }
        let crc = part_crc(&self.stream(), part.range.start, &bytes).await;
        if crc == part.crc
            && let Ok(filter) = Filter::decode(bytes, part.range.start)
        {
            self.files.cache.keep_filter(self.cached_at(part.range.start), &filter);
        }
    }

    /// As [`read_record`](Segment::read_record), through the cache.
    pub(crate) async fn read_record_kept(&self, offset: u32, len: u32) -> Result<OwnedRecord> {
        let end = u64::from(offset) + u64::from(len);
        if end > self.opened().await?.footer.records_end() {
            return Err(self.no_record_there(offset, len));
        }
        let range = u64::from(offset)..end;
        if let Some(bytes) = self.kept(&range) {
            let record = self.decode(offset, len, &bytes).await;
            if let Some(record) = self.unless_damaged(&range, record) {
                return record;
            }
        }
        let bytes = self.read(range.clone()).await?;
        let record = self.decode(offset, len, &bytes).await?;
        self.keep(&range, &bytes);
        Ok(record)
    }

    fn lies_outside(&self, key: &[u8]) -> bool {
        key < &self.meta.min_key[..] || key > &self.meta.max_key[..]
    }

    fn cached_at(&self, offset: u64) -> Key {
        Key { segment: self.serial, offset }
    }

    /// What `decode` makes of bytes of the file, through the cache. One place is always read with one length.
    ///
    /// What was read wrong once does not stay: bytes that prove damaged are not kept, and where they were, as not all of them
    /// had been looked at, they are read again.
    async fn read_kept<T>(&self, range: Range<u64>, decode: impl Fn(Bytes) -> Result<T>) -> Result<T> {
        if let Some(bytes) = self.kept(&range)
            && let Some(decoded) = self.unless_damaged(&range, decode(bytes))
        {
            return decoded;
        }
        let bytes = self.read(range.clone()).await?;
        let decoded = decode(bytes.clone())?;
        self.keep(&range, &bytes);
        Ok(decoded)
    }

    /// The bytes of the file at `range`, if the cache has them.
    pub(crate) fn kept(&self, range: &Range<u64>) -> Option<Bytes> {
        if self.is_mapped() {
            return None;
        }
        let bytes = self.files.cache.bytes(self.cached_at(range.start))?;
        (bytes.len() as u64 == range.end - range.start).then_some(bytes)
    }

    /// Keeps bytes that have proved right.
    fn keep(&self, range: &Range<u64>, bytes: &Bytes) {
        if !self.is_mapped() {
            self.files.cache.keep_bytes(self.cached_at(range.start), bytes);
        }
    }

    /// Keeps a copy of bytes that have proved right, or whose reader looks whether they are.
    pub(super) fn keep_copy(&self, range: &Range<u64>, bytes: &[u8]) {
        if !self.is_mapped() {
            self.keep(range, &Bytes::copy_from_slice(bytes));
        }
    }

    /// What was made of bytes that were kept, unless they are damaged: then they are let go of.
    fn unless_damaged<T>(&self, range: &Range<u64>, decoded: Result<T>) -> Option<Result<T>> {
        let is_damaged = decoded.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corruption);
        if is_damaged {
            self.files.cache.forget(self.cached_at(range.start));
        }
        (!is_damaged).then_some(decoded)
    }

    fn is_mapped(&self) -> bool {
        self.if_opened().is_some_and(|opened| opened.map.is_some())
    }

    /// Looks `key` up in the index block that stands at `at`.
    pub(super) fn search_block(&self, at: u64, bytes: Bytes, key: &[u8]) -> Result<InBlock> {
        let corrupt = |damage| self.corrupt(damage);
        let mut cursor = BlockCursor::empty();
        cursor.open(&self.stream(), at, bytes).map_err(corrupt)?;
        if self.is_sorted() {
            cursor.seek_back(key).map_err(corrupt)?;
        } else if !cursor.seek(key).map_err(corrupt)? {
            return Ok(InBlock::Nothing);
        }
        let span = *cursor.span();
        match span.content {
            Content::One(_) if cursor.key() != key => Ok(InBlock::Nothing),
            Content::One(facts) => Ok(InBlock::At(Located { offset: span.offset, len: span.len, facts })),
            Content::Several(_) if span.end() > self.footer().records_end() => {
                let damage = Damage::new(u64::from(span.offset), "index entry points behind the last record");
                Err(self.corrupt(damage))
            }
            Content::Several(_) => Ok(InBlock::Chunk(u64::from(span.offset)..span.end())),
        }
    }

    /// The record of `key` in a chunk.
    fn search_chunk(&self, chunk: Range<u64>, bytes: Bytes, key: &[u8]) -> Result<Option<OwnedRecord>> {
        let mut frames = Frames::nothing(self.stream());
        frames.restart(chunk.clone());
        frames.hold(chunk.start, bytes);
        loop {
            match frames.advance().map_err(|damage| self.corrupt(damage))? {
                FrameStep::Ready => {}
                // Not in a chunk, whose records are short together.
                FrameStep::Again => continue,
                FrameStep::End | FrameStep::Need(_) => return Ok(None),
            }
            if frames.key() >= key {
                let place = || Some((self.path().clone(), frames.value_offset()));
                return Ok((frames.key() == key).then(|| OwnedRecord {
                    key: frames.key_bytes(),
                    value: Value::new(frames.value_bytes(), frames.is_compressed(), place),
                    facts: *frames.facts(),
                }));
            }
        }
    }

    /// `record`, if it is the one that the index means.
    fn expect(&self, record: OwnedRecord, located: &Located, key: &[u8]) -> Result<OwnedRecord> {
        if record.key == key && record.facts == located.facts {
            return Ok(record);
        }
        let damage = Damage::new(u64::from(located.offset), "index entry points at another record than its own");
        Err(self.corrupt(damage))
    }

    /// About which share of its keys lies between two: from `start` on, up to but without `end` (no end: `None`). Where a
    /// bound lies within an index block, half of that counts.
    pub(crate) async fn share(&self, start: &[u8], end: Option<&[u8]>) -> Result<f64> {
        let fences = self.fences().await?;
        let place = |key: &[u8]| match () {
            () if key <= &self.meta.min_key[..] => 0.0,
            () if key > &self.meta.max_key[..] => fences.len() as f64,
            () => fences.find(key) as f64 + 0.5,
        };
        let end = end.map_or(fences.len() as f64, place);
        Ok((end - place(start)).max(0.0) / fences.len().max(1) as f64)
    }

    /// Up to where the records of its keys in `range` stand, and no further than their chunk goes; `None` where the range has no
    /// end, that is not known without a read, or nobody needs to know, as all is mapped.
    pub(crate) fn records_until(&self, range: &KeyRange) -> Option<u64> {
        let (Bound::Included(end) | Bound::Excluded(end)) = &range.end else { return None };
        if !self.is_sorted() || self.is_mapped() {
            return None;
        }
        if end[..] > self.meta.max_key[..] {
            return Some(self.records().end);
        }
        let fences = self.fences_kept()?;
        let block = fences.block(fences.find(end));
        // What is damaged is found by who reads it.
        let mut entries = BlockCursor::empty();
        entries.open(&self.stream(), block.start, self.kept(&block)?).ok()?;
        entries.seek_back(end).ok()?;
        Some(entries.span().end())
    }

    /// The length of its records, on average.
    pub(crate) fn mean_record_len(&self) -> u64 {
        let records = self.records();
        (records.end - records.start).div_ceil(self.meta.entries.max(1))
    }

    /// The fences, read if they are not kept already.
    pub(crate) async fn fences(&self) -> Result<&Fences> {
        match self.fences_kept() {
            Some(fences) => Ok(fences),
            None => match self.fences_with_index().await? {
                Some(fences) => Ok(fences),
                None => {
                    let bytes = self.part(&self.opened().await?.footer.fences, "fences").await?;
                    self.keep_fences(bytes)
                }
            },
        }
    }

    /// The fences, read in one with the index before them, which is kept; `None` where that is not worth it: reads take no
    /// time, the index is long, as that of a segment in the order of the log is, or there is hardly any room to keep it.
    async fn fences_with_index(&self) -> Result<Option<&Fences>> {
        let Footer { index, fences: part, .. } = &self.opened().await?.footer;
        let (both, room) = (index.start..part.range.end, self.files.cache.capacity());
        let len = both.end - both.start;
        if !self.is_remote() || self.is_mapped() || len > INDEX_MAX || len > room / 4 {
            return Ok(None);
        }
        let bytes = self.read(both).await?;
        let (blocks, fences) = bytes.split_at((part.range.start - index.start) as usize);
        let crc = part_crc(&self.stream(), part.range.start, fences).await;
        self.check_crc(part, "fences", crc)?;
        let fences = self.keep_fences(Bytes::copy_from_slice(fences))?;
        let mut turn = Turn::default();
        for block in (0..fences.len()).map(|number| fences.block(number)) {
            let bytes = &blocks[(block.start - index.start) as usize..(block.end - index.start) as usize];
            turn.take(bytes.len()).await;
            self.keep_copy(&block, bytes);
        }
        Ok(Some(fences))
    }
}
