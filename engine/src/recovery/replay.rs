//! Replay: what the log of the last epoch holds is taken over by this one.
//!
//! Each unsealed segment is read whole, and its committed batches are indexed. Where files grow it is [carried
//! over](super::carry) as it is, and sealed later; else the newest record of each key is written to a sealed segment, in key
//! order. The old files stay until a manifest that names the new ones, or the log that they are, is durable.

use super::carry::{self, Carried};
use super::{apart, files, fragments};
use crate::Seq;
use crate::clock::EngineClock;
use crate::core::{Epoch, Numbers};
use crate::cover::Cover;
use crate::format::header::{HEADER_LEN, Header, Predecessor};
use crate::format::manifest::{LogState, Manifest, RunMeta, SegmentMeta};
use crate::format::mark::END_LEN;
use crate::format::names::{Name, SegmentId};
use crate::format::tail::{Proof, Replay, Step, Tail, Verdict};
use crate::hash;
use crate::listing::Listing;
use crate::memtable::{Memtable, Placed};
use crate::planted::{Bug, planted};
use crate::random::Random;
use crate::turn::{self, Turn};
use crate::{Error, Result, reread, seal};
use bytes::Bytes;
use halite_backends::{self as backends, Backend, Path};
use std::collections::VecDeque;

/// One unsealed segment of the log, read whole.
#[derive(Debug)]
pub(super) struct Unsealed {
    pub(super) header: Header,
    /// Its frames, and what a crash has left behind them: what one growing file would hold from `HEADER_LEN` on.
    pub(super) body: Bytes,
    /// What to name in errors.
    pub(super) path: Path,
    /// The offset below which everything is known to have been durable; 0 where only its marks tell.
    pub(super) declared: u64,
    /// What the segment after it says of it, where there is one. Only the last may be torn.
    pub(super) successor: Option<Predecessor>,
}

/// What a replay has made of the log.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// The new runs, newest first.
    pub(super) runs: Vec<RunMeta>,
    /// What their range tombstones cover.
    pub(super) cover: Cover,
    /// Segments of this epoch's log that are full and wait for their seal, oldest first. They are newer than the runs.
    pub(super) carried: VecDeque<Carried>,
    /// Files of the old log, needed no more once the new one is published.
    pub(super) retired: Vec<String>,
    /// The last record of the runs.
    pub(super) last_sealed_seq: Seq,
    /// The last record of all.
    pub(super) last_seq: Seq,
    pub(super) next_seq: Seq,
    /// Above the last record of what was not kept as it was.
    pub(super) history_from: Seq,
}

impl Replayed {
    /// Takes note of what was sealed: what `memtable` held, with range tombstones that cover `cover`.
    fn sealed(&mut self, meta: Option<SegmentMeta>, memtable: &Memtable, cover: &Cover) {
        self.last_sealed_seq = memtable.max_seq();
        if meta.as_ref().is_none_or(|meta| meta.sorted) {
            self.history_from = self.last_sealed_seq + 1;
        }
        self.runs.splice(0..0, meta.map(|meta| RunMeta { segments: vec![meta] }));
        self.cover = self.cover.with(cover);
    }
}

/// Carried segments that may wait for their seal: as many as a writer that died mostly leaves, the active one and one before
/// it. Where they are more, the processes that opened the store have not lived long enough to seal any, and it is done
/// before the database serves: else the log would get longer with each of them.
pub(super) const WAITING_MAX: usize = 2;

/// How this epoch takes over the log of the last one.
pub(super) struct Replayer<'a> {
    pub(super) backend: &'a dyn Backend,
    pub(super) claim: &'a Manifest,
    /// What was there before the claim.
    pub(super) there: &'a Listing,
    pub(super) epoch: &'a Epoch,
    pub(super) numbers: &'a Numbers,
    pub(super) clock: &'a EngineClock,
    pub(super) random: &'a Random,
}

impl Replayer<'_> {
    /// Replays the log that the claim points to, unless it was closed cleanly.
    #[tracing::instrument(target = "halite", level = "info", name = "replay", skip_all)]
    pub(super) async fn replay(&self) -> Result<Replayed> {
        let log = &self.claim.log;
        let mut replayed = Replayed {
            last_sealed_seq: log.last_sealed_seq,
            last_seq: log.last_sealed_seq,
            next_seq: log.next_seq,
            ..Replayed::default()
        };
        if log.state == LogState::ClosedCleanly {
            return Ok(replayed);
        }
        let (backend, retired) = (self.backend, &mut replayed.retired);
        let mut unsealed = files::read(backend, self.claim, self.there, retired).await?;
        unsealed.extend(fragments::read(backend, self.claim, self.there, self.random, self.clock, retired).await?);
        let mut made = Vec::new();
        for segment in &unsealed {
            let id = self.epoch.segment(self.numbers.next());
            made.push(Name::Segment(id).path());
            if let Err(error) = self.take_over(segment, id, &mut replayed).await {
                // What cannot be deleted now is a leftover to the next opening.
                for path in made {
                    let _ = self.backend.delete(&path).await;
                }
                return Err(error);
            }
        }
        if !planted(Bug::SeqUsedTwice) {
            replayed.next_seq = replayed.next_seq.max(replayed.last_seq + 1).saturating_add(super::SEQ_SKIP);
        }
        tracing::info!(segments = unsealed.len(), last_seq = replayed.last_seq, "replayed the log");
        Ok(replayed)
    }

    /// Makes segment `id` of an unsealed one, if that holds a committed record.
    async fn take_over(&self, segment: &Unsealed, id: SegmentId, replayed: &mut Replayed) -> Result<()> {
        if self.backend.capabilities().append {
            self.carry_over(segment, id, replayed).await
        } else {
            self.rewrite(segment, id, replayed).await
        }
    }

    /// Where files grow: as it is.
    async fn carry_over(&self, segment: &Unsealed, id: SegmentId, replayed: &mut Replayed) -> Result<()> {
        let predecessor = replayed.carried.back().map(Carried::as_predecessor);
        let header = Header { id, created: self.clock.trusted(), predecessor, ..segment.header };
        let carried = carry::carry_over(self.backend, header, |memtable, progress| async move {
            let known = |log| _ = progress.send_replace(log);
            self.index(segment, &memtable, known).await
        });
        let Some(carried) = carried.await? else { return Ok(()) };
        replayed.last_seq = carried.draft.memtable.max_seq();
        replayed.carried.push_back(carried);
        if replayed.carried.len() <= WAITING_MAX {
            return Ok(());
        }
        let Some(oldest) = replayed.carried.pop_front() else { return Ok(()) };
        let (draft, runs) = (oldest.draft.clone(), self.claim.runs.len() + replayed.runs.len() + 1);
        let cover = draft.memtable.cover();
        let meta = oldest.seal(self.backend, &cover, runs).await?;
        if meta.is_none() {
            replayed.retired.push(Name::Segment(draft.id()).path().to_string());
        }
        replayed.sealed(meta, &draft.memtable, &cover);
        Ok(())
    }

    /// Where they do not: the newest record of each key, in key order.
    async fn rewrite(&self, segment: &Unsealed, id: SegmentId, replayed: &mut Replayed) -> Result<()> {
        let memtable = Memtable::new(segment.header.stream());
        self.index(segment, &memtable, |_| {}).await?;
        if memtable.is_empty() {
            return Ok(());
        }
        replayed.last_seq = memtable.max_seq();
        let (cover, salt, now) = (memtable.cover(), self.random.next(), self.clock.trusted());
        let tail = seal::write_sorted(self.backend, self.epoch, &memtable, &cover, id, salt, now).await?;
        replayed.sealed(tail.map(|tail| tail.meta), &memtable, &cover);
        Ok(())
    }

    /// Enters the committed batches of `segment` into `memtable`, and judges its end. Returns where its records end, and
    /// tells meanwhile, now and then, which bytes are `known` to belong to the log; nothing where there is none.
    async fn index(&self, segment: &Unsealed, memtable: &Memtable, known: impl Fn(Bytes)) -> Result<u64> {
        let (mut body, mut read) = (segment.body.clone(), Tail::none(HEADER_LEN as u64));
        for _ in 1..reread::READS_MAX {
            read = self.enter(segment, &body, read, memtable, &known).await?;
            let Some(rest) = self.read_otherwise(segment, &body, &read).await? else {
                self.check_shipped(segment, &read).await?;
                judge(segment, &read)?;
                let end = match &read.verdict {
                    Verdict::Ended(_) => read.end - END_LEN as u64,
                    _ => read.end,
                };
                if !memtable.is_empty() {
                    known(body.slice(..in_body(end)));
                }
                return Ok(end);
            };
            tracing::warn!(file = %segment.path, offset = read.end, "two reads of the log's end differ");
            body = [&body[..in_body(read.end)], &rest].concat().into();
        }
        Err(reread::differ(&segment.path, read.end))
    }

    /// Goes on with `body` where what was `read` ends.
    async fn enter(
        &self,
        segment: &Unsealed,
        body: &Bytes,
        read: Tail,
        memtable: &Memtable,
        known: &impl Fn(Bytes),
    ) -> Result<Tail> {
        let (start, rest) = (read.end, body.slice(in_body(read.end)..));
        let image = memtable.add_image(rest.clone(), start as u32);
        let stream = segment.header.stream();
        let mut replay = Replay::resume(stream, start, &rest, segment.declared, read.records, read.last_seq);
        let (mut placed, mut turn, mut told) = (Vec::new(), Turn::default(), start);
        loop {
            match replay.step() {
                Step::Batch(batch) => {
                    placed.clear();
                    for record in batch.records() {
                        let (offset, record) = record.map_err(|damage| Error::in_file(&segment.path, damage))?;
                        placed.push(Placed {
                            start: (offset - start) as u32,
                            len: record.len as u32,
                            hash: hash::hash(self.epoch.hash_seed, record.key),
                            seq: record.seq,
                        });
                        turn.take(record.len).await;
                    }
                    memtable.insert_in(image, &placed);
                    let end = batch.offset + batch.bytes.len() as u64;
                    if end - told >= carry::COPY_LEN {
                        known(body.slice(..in_body(end)));
                        told = end;
                    }
                }
                Step::More => tokio::task::yield_now().await,
                Step::Done(tail) => {
                    self.clock.saw(tail.time);
                    return Ok(tail);
                }
            }
        }
    }

    /// Refuses a log without an end that was shipped, and had one: it is read wrong, however often.
    async fn check_shipped(&self, segment: &Unsealed, read: &Tail) -> Result<()> {
        let has_no_end = matches!(read.verdict, Verdict::Clean | Verdict::Torn { .. });
        if has_no_end && apart::is_shipped(self.backend, &segment.path).await? {
            let what = "the log has no end here, though the segment was finished before it was shipped";
            return Err(Error::corruption(&segment.path, read.end, what));
        }
        Ok(())
    }

    /// What a second read finds behind the end that was judged of `body`, if that is something else.
    ///
    /// Where a log ends is what decides which of its bytes count, and no checksum tells that they were read as they stand.
    /// So unless the log itself says that it ends there, all that is to be dropped, or called damaged, is read again. (A
    /// fragment was read again if it was wrong: the checksum of each was right.)
    async fn read_otherwise(&self, segment: &Unsealed, body: &Bytes, read: &Tail) -> Result<Option<Bytes>> {
        if matches!(read.verdict, Verdict::Ended(_)) || segment.declared > 0 || planted(Bug::EndReadOnce) {
            return Ok(None);
        }
        let object = match self.backend.open(&segment.path).await {
            // Who has deleted it has published since: this opening comes to nothing, and is told so when it does.
            Err(error) if error.kind() == backends::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let again = match object.len() > read.end {
            true => object.read(read.end..object.len()).await?,
            false => Bytes::new(),
        };
        let before = &body[in_body(read.end)..];
        let mut turn = Turn::default();
        let mut same = again.len() == before.len();
        for (again, before) in again.chunks(turn::PIECE).zip(before.chunks(turn::PIECE)) {
            same = same && again == before;
            turn.take(again.len()).await;
        }
        Ok((!same).then_some(again))
    }
}

/// Where the byte at `offset` of a segment's file lies in its [body](Unsealed::body).
pub(super) fn in_body(offset: u64) -> usize {
    (offset - HEADER_LEN as u64) as usize
}

/// Whether the log may end as it does.
fn judge(segment: &Unsealed, tail: &Tail) -> Result<()> {
    let path = &segment.path;
    match &tail.verdict {
        Verdict::Corrupt { damage, proof } => {
            let why = match proof {
                Proof::Mark { at, durable } => format!("a mark at {at} says that all below {durable} was durable"),
                Proof::Declared(durable) => format!("all below {durable} was durable"),
                Proof::Whole => "its checksum is right".to_owned(),
            };
            Err(Error::corruption(path, damage.offset, format!("{} ({why})", damage.what)))
        }
        Verdict::Torn { at, damage } if segment.successor.is_none() => {
            tracing::warn!(file = %path, offset = at, reason = %damage.what, "dropped the torn tail of the log");
            Ok(())
        }
        verdict => match (&segment.successor, verdict) {
            (None, _) => Ok(()),
            (Some(next), Verdict::Ended(end)) if (end.len, end.last_seq) == (next.len, next.last_seq) => Ok(()),
            (Some(next), _) if segment.declared >= next.len && tail.last_seq == Some(next.last_seq) => Ok(()),
            (Some(next), _) => {
                let what = format!("the segment after it says that it ends at {} with seq {}", next.len, next.last_seq);
                Err(Error::corruption(path, tail.end, what))
            }
        },
    }
}
