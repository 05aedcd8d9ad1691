//! All records of some segments in the order of their keys, values read, for whoever rewrites them.

use super::merge::{Merge, Move, Need, Source};
use crate::cover::{Cover, Hidden};
use crate::format::Damage;
use crate::format::block::Facts;
use crate::format::frame::{Kind, Record};
use crate::range::Course;
use crate::segment::{Segment, SegmentCursor, ValueAt};
use crate::value::Value;
use crate::version::Run;
use crate::{Error, Result, Seq};
use bytes::Bytes;
use std::sync::Arc;

/// A record of a merge's inputs, its checksum compared.
#[derive(Clone, Debug)]
pub(crate) struct MergedRecord {
    key: Bytes,
    value: Value,
    facts: Facts,
    superseded: bool,
    covered: bool,
}

impl MergedRecord {
    /// Whether a newer record of the key came before it. Its value was not read then, and counts as empty.
    pub(crate) fn superseded(&self) -> bool {
        self.superseded
    }

    /// Whether a range tombstone covers it. Its value was not read then, and counts as empty.
    pub(crate) fn covered(&self) -> bool {
        self.covered
    }

    /// The value as it is stored, compressed or not, shared: what [`SortedWriter`](crate::segment::SortedWriter)
    /// takes.
    pub(crate) fn value(&self) -> &Bytes {
        self.value.stored().0
    }

    /// The record; its `len` is that of key and value alone.
    pub(crate) fn record(&self) -> Record<'_> {
        let Facts { seq, kind, expires_at } = self.facts;
        let (value, compressed) = self.value.stored();
        let len = self.key.len() + value.len();
        Record { seq, kind, key: &self.key, value, compressed, expires_at, last_of_batch: true, len }
    }
}

/// Goes over the indexed records of all inputs: of one key the newest first. What a dense segment holds beside its
/// newest record of a key does not appear.
#[derive(Debug)]
pub(crate) struct Merged {
    merge: Merge,
    last: Option<(Bytes, Seq)>,
    hidden: Hidden,
}

impl Merged {
    /// Before the first record of `segments`, in whatever order these are, of which `cover` covers some.
    pub(crate) fn new(segments: &[Arc<Segment>], cover: Arc<Cover>) -> Merged {
        let all = Course::all();
        let source = |segment: &Arc<Segment>| Source::run(&Arc::new(Run::new(vec![segment.clone()])), &all, false);
        let sources = segments.iter().filter_map(source).collect();
        let hidden = Hidden::new(vec![cover], all.direction);
        Merged { merge: Merge::new(sources, all.direction), last: None, hidden }
    }

    /// The next record; `None` behind the last. After an error there is no point in going on.
    pub(crate) async fn next(&mut self) -> Result<Option<MergedRecord>> {
        loop {
            let mut budget = usize::MAX;
            match self.merge.advance(&mut budget)? {
                Move::Ready => break,
                Move::End => return Ok(None),
                Move::Again => tokio::task::yield_now().await,
                Move::Need => {
                    let loaded = Need::load(self.merge.take_needs()).await?;
                    self.merge.supply(loaded);
                }
            }
        }
        let source = self.merge.current();
        let Some(cursor) = source.segment() else { return Ok(None) };
        let facts = *source.facts();
        let superseded = match &self.last {
            Some((key, seq)) if key == cursor.key() => {
                if *seq <= facts.seq {
                    return Err(twice(cursor, facts.seq));
                }
                true
            }
            _ => false,
        };
        let covered = self.hidden.over(cursor.key()) > facts.seq;
        let useless = superseded || covered;
        let (key, value) = match cursor.value() {
            ValueAt::Here(_) if useless => (cursor.shared_key(), Value::empty()),
            ValueAt::Here(value) => (cursor.shared_key(), value),
            ValueAt::At { .. } if useless || facts.kind == Kind::Tombstone => (None, Value::empty()),
            ValueAt::At { offset, len } => {
                let record = cursor.segment().read_record(offset, len).await?;
                cursor.check(record.key(), record.seq())?;
                (Some(record.key_bytes()), record.value())
            }
        };
        let key = key.unwrap_or_else(|| Bytes::copy_from_slice(cursor.key()));
        self.last = Some((key.clone(), facts.seq));
        Ok(Some(MergedRecord { key, value, facts, superseded, covered }))
    }
}

/// Two records of one key and seq.
#[cold]
pub(crate) fn twice(cursor: &SegmentCursor, seq: Seq) -> Error {
    let what = format!("a key has two records of one seq, or of seqs out of order seq={seq}");
    cursor.segment().corrupt(Damage::new(0, what))
}
