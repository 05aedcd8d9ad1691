//! One key, found through filter, fences and index: what a segment costs that is not resident in the keydir.

#![allow(dead_code, reason = "every segment is resident so far; those that are not will be asked here")]

use super::frames::{FrameStep, Frames};
use super::reader::Segment;
use crate::Result;
use crate::format::Damage;
use crate::format::block::{BlockCursor, Content, Facts};
use crate::format::fences::Fences;
use crate::format::filter::Filter;
use std::ops::Range;

/// Where a record lies, and what the index tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Offset of the record in the segment.
    pub(crate) offset: u32,
    /// Length of the whole record.
    pub(crate) len: u32,
    /// Seq, kind and expiry.
    pub(crate) facts: Facts,
}

impl Segment {
    /// False if the segment does not hold the key whose hash is `hash`.
    pub(crate) async fn may_contain(&self, hash: u64) -> Result<bool> {
        let filter = match self.filter.get() {
            Some(filter) => filter,
            None => {
                let part = &self.footer().filter;
                let filter = Filter::decode(self.part(part, "filter").await?, part.range.start);
                let filter = filter.map_err(|damage| self.corrupt(damage))?;
                self.filter.get_or_init(|| filter)
            }
        };
        Ok(filter.may_contain(hash))
    }

    /// Where the newest record of `key` in this segment lies, found through fences and index.
    pub(crate) async fn locate(&self, key: &[u8]) -> Result<Option<Located>> {
        if key < &self.meta.min_key[..] || key > &self.meta.max_key[..] {
            return Ok(None);
        }
        let fences = self.fences().await?;
        let block = fences.block(fences.find(key));
        let mut cursor = BlockCursor::empty();
        let bytes = self.read(block.clone()).await?;
        cursor.open(&self.stream(), block.start, bytes).map_err(|damage| self.corrupt(damage))?;
        if self.is_sorted() {
            cursor.seek_back(key).map_err(|damage| self.corrupt(damage))?;
        } else if !cursor.seek(key).map_err(|damage| self.corrupt(damage))? {
            return Ok(None);
        }
        let span = *cursor.span();
        match span.content {
            Content::One(facts) => {
                let located = Located { offset: span.offset, len: span.len, facts };
                Ok((cursor.key() == key).then_some(located))
            }
            Content::Several(_) => self.locate_in(u64::from(span.offset)..span.end(), key).await,
        }
    }

    /// Where the record of `key` lies in a chunk.
    async fn locate_in(&self, chunk: Range<u64>, key: &[u8]) -> Result<Option<Located>> {
        if chunk.end > self.footer().records_end() {
            return Err(self.corrupt(Damage::new(chunk.start, "index entry points behind the last record")));
        }
        let mut frames = Frames::nothing(self.stream());
        frames.restart(chunk.clone());
        frames.hold(chunk.start, self.read(chunk.clone()).await?);
        let mut offset = chunk.start;
        while let FrameStep::Ready = frames.advance().map_err(|damage| self.corrupt(damage))? {
            if frames.key() >= key {
                let len = (frames.end() - offset) as u32;
                let located = Located { offset: offset as u32, len, facts: *frames.facts() };
                return Ok((frames.key() == key).then_some(located));
            }
            offset = frames.end();
        }
        Ok(None)
    }

    /// The fences, read if they are not kept already.
    pub(super) async fn fences(&self) -> Result<&Fences> {
        match self.fences_kept() {
            Some(fences) => Ok(fences),
            None => {
                let bytes = self.part(&self.footer().fences, "fences").await?;
                self.keep_fences(bytes)
            }
        }
    }
}
