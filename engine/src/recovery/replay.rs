//! Replay: what the log of the last epoch holds becomes sealed segments.
//!
//! Each unsealed segment is read whole, its committed batches are indexed, and a new segment is made of them as its seal
//! would have been: where files grow, the log as it is with an index behind it; else the newest record of each key, in
//! key order. The old files stay until a manifest that names the new ones is durable.

use super::files;
use super::fragments;
use crate::Seq;
use crate::clock::EngineClock;
use crate::core::{Epoch, Numbers};
use crate::cover::Cover;
use crate::format::header::{HEADER_LEN, Header, Predecessor};
use crate::format::manifest::{LogState, Manifest, RunMeta};
use crate::format::tail::{Proof, Replay, Step, Tail, Verdict};
use crate::hash;
use crate::memtable::{Memtable, Placed};
use crate::planted::{Bug, planted};
use crate::random::Random;
use crate::seal;
use crate::{Error, Result};
use bytes::Bytes;
use halite_backends::{Backend, Path};
use std::sync::Arc;

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
    /// Files of the old log, needed no more once the new runs are published.
    pub(super) retired: Vec<String>,
    pub(super) last_seq: Seq,
    pub(super) next_seq: Seq,
    /// Above the last record of what was not kept as it was.
    pub(super) history_from: Seq,
}

/// Replays the log that `claim` points to, unless it was closed cleanly.
#[tracing::instrument(target = "halite", level = "info", skip_all)]
pub(super) async fn replay(
    backend: &Arc<dyn Backend>,
    claim: &Manifest,
    epoch: &Epoch,
    numbers: &Numbers,
    clock: &EngineClock,
    random: &Random,
) -> Result<Replayed> {
    let log = &claim.log;
    let mut replayed = Replayed { last_seq: log.last_sealed_seq, next_seq: log.next_seq, ..Replayed::default() };
    if log.state == LogState::ClosedCleanly {
        return Ok(replayed);
    }
    let mut unsealed = files::read(&**backend, claim, &mut replayed.retired).await?;
    unsealed.extend(fragments::read(&**backend, claim, random, clock, &mut replayed.retired).await?);
    for segment in &unsealed {
        let memtable = Memtable::new(segment.header.stream());
        let end = index(segment, &memtable, epoch.hash_seed, clock).await?;
        if memtable.is_empty() {
            continue;
        }
        replayed.last_seq = memtable.max_seq();
        let (id, cover, now) = (epoch.segment(numbers.next()), memtable.cover(), clock.trusted());
        let meta = if backend.capabilities().append {
            // The salt stays, and with it every checksum: the frames are the same bytes at the same offsets.
            let header = Header { id, created: now, predecessor: None, ..segment.header };
            let frames = segment.body.slice(..(end - HEADER_LEN as u64) as usize);
            let runs = claim.runs.len() + replayed.runs.len() + 1;
            seal::write_dense(&**backend, &header, &frames, &memtable, &cover, runs).await?
        } else {
            seal::write_sorted(&**backend, epoch, &memtable, &cover, id, random.next(), now).await?
        };
        if meta.as_ref().is_none_or(|meta| meta.sorted) {
            replayed.history_from = replayed.last_seq + 1;
        }
        replayed.runs.splice(0..0, meta.map(|meta| RunMeta { segments: vec![meta] }));
        replayed.cover = replayed.cover.with(&cover);
    }
    if !planted(Bug::SeqUsedTwice) {
        replayed.next_seq = replayed.next_seq.max(replayed.last_seq + 1).saturating_add(super::SEQ_SKIP);
    }
    tracing::info!(segments = unsealed.len(), last_seq = replayed.last_seq, "replayed the log");
    Ok(replayed)
}

/// Enters the committed batches of `segment` into `memtable`, and judges its end. Returns where it is.
async fn index(segment: &Unsealed, memtable: &Memtable, hash_seed: u64, clock: &EngineClock) -> Result<u64> {
    let body = &segment.body;
    let image = memtable.add_image(body.clone(), HEADER_LEN as u32);
    let mut replay = Replay::new(segment.header.stream(), HEADER_LEN as u64, body, segment.declared);
    let mut placed = Vec::new();
    let tail = loop {
        match replay.step() {
            Step::Batch(batch) => {
                placed.clear();
                for record in batch.records() {
                    let (offset, record) = record.map_err(|damage| Error::in_file(&segment.path, damage))?;
                    placed.push(Placed {
                        start: (offset - HEADER_LEN as u64) as u32,
                        len: record.len as u32,
                        hash: hash::hash(hash_seed, record.key),
                        seq: record.seq,
                    });
                }
                memtable.insert_unindexed(image, &placed);
            }
            Step::More => tokio::task::yield_now().await,
            Step::Done(tail) => break tail,
        }
    };
    clock.saw(tail.time);
    judge(segment, &tail)?;
    Ok(tail.end)
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
