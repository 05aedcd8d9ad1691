//! The live end of the log, as a reader follows it beside the writer.
//!
//! What shows is what is known to be durable: in a growing file the batches below the highest mark, or all of a segment
//! that has a successor; of fragments those without a gap before them. The writer looks whether it has been overtaken
//! between a sync and the mark that tells of it, so whatever a mark covers, the next writer replays too: what a reader has
//! shown is never taken back.
//!
//! Each call goes on where the one before has stopped. The memtables only grow, so that a version which holds them stays
//! as it was at its seq.

use super::Inner;
use crate::format::Fault;
use crate::format::fragment::{FragmentKind, Slice};
use crate::format::frame::Stream;
use crate::format::header::{HEADER_LEN, Layout, Predecessor};
use crate::format::manifest::{LogState, Manifest};
use crate::format::names::{FragmentId, Name, SegmentId, log_folder};
use crate::format::tail::{Batch, Proof, Replay, Step, Verdict};
use crate::listing::Listing;
use crate::memtable::{Memtable, Placed};
use crate::publish::read_all;
use crate::recovery::{files, fragments};
use crate::turn::Turn;
use crate::{Error, Result, Seq, hash};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use halite_backends::Path;
use std::sync::Arc;

/// Fragments that are looked for one by one before all are listed.
const PROBES: u32 = 4;

/// Looked at first for something new: frames do not begin with so many zeros.
const PEEK_LEN: u64 = 4 << 10;

/// How far the log has been followed.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// Whose log it is.
    epoch: u64,
    nonce: u64,
    /// Its unsealed segments, oldest first.
    segments: Vec<Unsealed>,
    next_fragment: u64,
    /// Its fragments were listed, so that what has come since is little.
    is_listed: bool,
    /// Whether there are fragments, once that has been looked at.
    in_fragments: Option<bool>,
}

/// An unsealed segment of the log.
#[derive(Debug)]
struct Unsealed {
    number: u64,
    path: Path,
    stream: Stream,
    hash_seed: u64,
    memtable: Arc<Memtable>,
    /// The offset at which reading goes on.
    next: u64,
    /// Its end mark has been read: it has a successor, or will have one.
    is_full: bool,
}

impl Tail {
    /// The memtables that hold something, newest first.
    pub(super) fn memtables(&self) -> Vec<Arc<Memtable>> {
        let newest_first = self.segments.iter().rev().map(|segment| segment.memtable.clone());
        newest_first.filter(|memtable| !memtable.is_empty()).collect()
    }

    /// The last commit in them.
    pub(super) fn last_seq(&self) -> Option<Seq> {
        self.memtables().first().map(|memtable| memtable.max_seq())
    }

    /// Takes in what is known to be durable of the log that begins where `manifest` says.
    ///
    /// # Errors
    /// As for any read; if the manifest is not the newest any more they may mean nothing.
    pub(super) async fn follow(&mut self, inner: &Inner, manifest: &Manifest) -> Result<()> {
        let log = &manifest.log;
        if (self.epoch, self.nonce) != (log.epoch, log.nonce) {
            *self = Tail { epoch: log.epoch, nonce: log.nonce, ..Tail::default() };
        }
        // Of a log that is kept elsewhere nothing shows but what is sealed.
        if log.state == LogState::ClosedCleanly || log.is_elsewhere(inner.stores.plain().log_home()) {
            self.segments.clear();
            return Ok(());
        }
        self.segments.retain(|segment| segment.number >= log.first_segment);
        if self.next_fragment < log.first_fragment {
            self.segments.clear();
            self.next_fragment = log.first_fragment;
        }
        if inner.stores.plain().capabilities().append && !self.is_in_fragments(inner).await? {
            self.follow_files(inner, manifest).await
        } else {
            self.follow_fragments(inner, manifest).await
        }
    }

    /// A log that grows has no fragments, unless the store was copied from where it could not grow.
    async fn is_in_fragments(&mut self, inner: &Inner) -> Result<bool> {
        if let Some(known) = self.in_fragments {
            return Ok(known);
        }
        let mut listed = inner.asked().list(&log_folder(self.epoch, self.nonce));
        let is_so = listed.try_next().await?.is_some();
        self.in_fragments = Some(is_so);
        Ok(is_so)
    }

    async fn follow_files(&mut self, inner: &Inner, manifest: &Manifest) -> Result<()> {
        loop {
            if let Some(last) = self.segments.last_mut() {
                last.read_file(inner, 0).await?;
                if !last.is_full {
                    return Ok(());
                }
            }
            let Some((next, predecessor)) = self.next_file(inner, manifest).await? else { return Ok(()) };
            if let (Some(last), Some(predecessor)) = (self.segments.last_mut(), predecessor) {
                last.read_file(inner, predecessor.len).await?;
                last.check_end(&predecessor)?;
            }
            self.segments.push(next);
        }
    }

    /// The segment after the last, if it has a header yet, and what that says of the last.
    async fn next_file(&self, inner: &Inner, manifest: &Manifest) -> Result<Option<(Unsealed, Option<Predecessor>)>> {
        let last = self.segments.last().map(|last| last.number);
        for id in files::candidates(inner.asked(), manifest).await? {
            if last.is_some_and(|last| id.number <= last) {
                continue;
            }
            let path = Name::Segment(id).path();
            let object = inner.asked().open(&path).await?;
            let bytes = object.read(0..object.len().min(HEADER_LEN as u64)).await?;
            let header = match files::header(id, manifest, &bytes) {
                Ok(header) if header.layout == Layout::Sorted => continue,
                Ok(header) => header,
                Err(Fault::Damage(_)) if is_unborn(inner, id, manifest, &path).await? => continue,
                Err(fault) => return Err(Error::in_file(&path, fault)),
            };
            let before = header.predecessor.map(|predecessor| predecessor.number);
            if last.map_or(id.number != manifest.log.first_segment, |last| before != Some(last)) {
                let number = last.unwrap_or(manifest.log.first_segment);
                return Err(Error::corruption(
                    &path,
                    0,
                    format!("this is not the segment that follows number={number}"),
                ));
            }
            return Ok(Some((Unsealed::new(id.number, path, header.stream(), manifest.hash_seed), header.predecessor)));
        }
        Ok(None)
    }

    /// Takes in the fragments that have come. Mostly few have, and each is asked for by its name, the cheapest request
    /// there is; where they are many, or nothing is known yet, a list tells, and they are read at once.
    async fn follow_fragments(&mut self, inner: &Inner, manifest: &Manifest) -> Result<()> {
        let backend = inner.asked();
        let mut probes = if self.is_listed { PROBES } else { 0 };
        loop {
            let next = self.next_fragment;
            let known = if probes > 0 {
                next..next + 1
            } else {
                let folder = log_folder(self.epoch, self.nonce);
                let there = Listing::of(backend, &folder).await?.log(self.epoch, self.nonce);
                self.is_listed = true;
                fragments::without_a_gap(&there, next)
            };
            let (epoch, nonce) = (self.epoch, self.nonce);
            let read = async |number| {
                let id = FragmentId { epoch, nonce, number };
                Ok::<_, Error>((id, fragments::read_if_there(backend, id).await?))
            };
            let mut read = stream::iter(known).map(read).buffered(fragments::READS_AT_ONCE);
            while let Some((id, bytes)) = read.try_next().await? {
                let Some(bytes) = bytes else { return Ok(()) };
                if !self.follow_fragment(inner, manifest, id, &bytes).await? {
                    return Ok(());
                }
            }
            if probes == 0 {
                return Ok(());
            }
            probes -= 1;
        }
    }

    /// Takes in the next fragment, `id`. False if it is a fence.
    async fn follow_fragment(
        &mut self,
        inner: &Inner,
        manifest: &Manifest,
        id: FragmentId,
        bytes: &Bytes,
    ) -> Result<bool> {
        let path = Name::Fragment(id).path();
        let (fragment, payload) = fragments::decode(&path, bytes).await?;
        if (fragment.database, fragment.id) != (manifest.database, id) {
            let what = format!("this is fragment {:?} of another place", fragment.id);
            return Err(Error::corruption(&path, 0, what));
        }
        inner.clock.saw(fragment.time);
        let FragmentKind::Data(slice) = fragment.kind else { return Ok(false) };
        let segment = self.join(&path, &slice, payload.len() as u64, manifest.hash_seed)?;
        // An earlier call may have been given up half-way.
        let rest = payload.slice((segment.next - slice.first_offset) as usize..);
        segment.take_in(inner, rest, STREAM_END).await?;
        self.next_fragment += 1;
        Ok(true)
    }

    /// The segment of a slice of `len` bytes: the last one, or a new one that follows it.
    fn join(&mut self, path: &Path, slice: &Slice, len: u64, hash_seed: u64) -> Result<&mut Unsealed> {
        let last = self.segments.last().map(|last| last.number);
        if last != Some(slice.segment) {
            let before = slice.predecessor.map(|predecessor| predecessor.number);
            if last.is_some() && before != last {
                let what = format!("its segment should follow segment {last:?}, but follows {before:?}");
                return Err(Error::corruption(path, 0, what));
            }
            self.segments.push(Unsealed::new(slice.segment, path.clone(), slice.stream(), hash_seed));
        }
        let segment = self.segments.last_mut().expect("it was there, or made above");
        let lies = slice.first_offset..=slice.first_offset.saturating_add(len);
        if segment.stream != slice.stream() || !lies.contains(&segment.next) {
            let (begins, ends) = (slice.first_offset, segment.next);
            return Err(Error::corruption(
                path,
                0,
                format!("its slice begins at {begins}, but what came before ends at {ends}"),
            ));
        }
        segment.path = path.clone();
        Ok(segment)
    }
}

/// Declares all of a fragment durable.
const STREAM_END: u64 = u64::MAX;

/// Whether a file without a readable header holds nothing that was ever acknowledged.
async fn is_unborn(inner: &Inner, id: SegmentId, manifest: &Manifest, path: &Path) -> Result<bool> {
    let bytes = read_all(inner.asked(), path).await?;
    Ok(files::header(id, manifest, &bytes).is_err() && files::is_unborn(id, manifest, &bytes))
}

impl Unsealed {
    fn new(number: u64, path: Path, stream: Stream, hash_seed: u64) -> Unsealed {
        let memtable = Arc::new(Memtable::new(stream));
        Unsealed { number, path, stream, hash_seed, memtable, next: HEADER_LEN as u64, is_full: false }
    }

    /// Takes in what has come since the last call. All below the offset `declared` is known to be durable.
    async fn read_file(&mut self, inner: &Inner, declared: u64) -> Result<()> {
        let object = inner.asked().open(&self.path).await?;
        if self.next >= object.len() || (self.is_full && self.next >= declared) {
            return Ok(());
        }
        let peek = object.read(self.next..object.len().min(self.next + PEEK_LEN)).await?;
        if declared <= self.next && peek.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        let bytes = object.read(self.next..object.len()).await?;
        self.take_in(inner, bytes, declared).await
    }

    /// Takes in the batches of `bytes`, which begin where reading goes on, as far as they are durable.
    async fn take_in(&mut self, inner: &Inner, bytes: Bytes, declared: u64) -> Result<()> {
        let start = self.next;
        let (whole, declared) = (declared == STREAM_END, declared.min(start + bytes.len() as u64));
        let last_seq = (!self.memtable.is_empty()).then(|| self.memtable.max_seq());
        let records = self.memtable.len() as u64;
        let mut replay = Replay::resume(self.stream, start, &bytes, declared, records, last_seq);
        let mut batches = Vec::new();
        let tail = loop {
            match replay.step() {
                Step::Batch(batch) => batches.push(batch),
                Step::More => tokio::task::yield_now().await,
                Step::Done(tail) => break tail,
            }
        };
        match &tail.verdict {
            Verdict::Corrupt { damage, proof } => {
                let why = match proof {
                    Proof::Mark { at, .. } => format!(" (a mark at {at} says that it was durable)"),
                    Proof::Declared(_) => " (it was durable)".to_owned(),
                    Proof::Whole => String::new(),
                };
                return Err(Error::corruption(&self.path, damage.offset, format!("{}{why}", damage.what)));
            }
            Verdict::Torn { damage, .. } if whole => return Err(Error::in_file(&self.path, damage.clone())),
            Verdict::Torn { .. } | Verdict::Clean | Verdict::Ended(_) => {}
        }
        inner.clock.saw(tail.time);
        let durable = tail.durable.max(declared);
        let count = batches.partition_point(|batch| batch.offset + batch.bytes.len() as u64 <= durable);
        self.insert(&batches[..count], start, &bytes).await?;
        if count == batches.len() {
            // Marks too need not be read again.
            self.next = tail.end;
        }
        self.is_full |= matches!(tail.verdict, Verdict::Ended(_));
        Ok(())
    }

    /// Enters `batches`, which lie in `bytes`, whose first stands at offset `start`.
    async fn insert(&mut self, batches: &[Batch<'_>], start: u64, bytes: &Bytes) -> Result<()> {
        let Some(last) = batches.last() else { return Ok(()) };
        let used = (last.offset - start) as usize + last.bytes.len();
        // Most of what was read may be space set aside ahead of the writer: not to be kept.
        let kept = if used >= bytes.len() / 2 { bytes.clone() } else { Bytes::copy_from_slice(&bytes[..used]) };
        let mut turn = Turn::default();
        let mut placed = Vec::new();
        for batch in batches {
            placed.clear();
            for record in batch.records() {
                let (offset, record) = record.map_err(|damage| Error::in_file(&self.path, damage))?;
                placed.push(Placed {
                    start: (offset - batch.offset) as u32,
                    len: record.len as u32,
                    hash: hash::hash(self.hash_seed, record.key),
                    seq: record.seq,
                });
                turn.take(record.len).await;
            }
            let at = (batch.offset - start) as usize;
            self.memtable.insert(kept.slice(at..at + batch.bytes.len()), batch.offset as u32, &placed);
            self.next = batch.offset + batch.bytes.len() as u64;
        }
        Ok(())
    }

    /// Whether what was read is all that the successor says there is.
    fn check_end(&self, said: &Predecessor) -> Result<()> {
        let last_seq = self.memtable.max_seq();
        if self.memtable.is_empty() || last_seq == said.last_seq {
            return Ok(());
        }
        let what = format!("the segment after it says that it ends at {} with seq {}", said.len, said.last_seq);
        Err(Error::corruption(&self.path, self.next, what))
    }
}
