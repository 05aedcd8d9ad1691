//! The log as fragments: reading them in order, and fencing the writer that made them.
//!
//! Fragments of an epoch are one dense sequence, of which the old writer may have several under way. It acknowledges none
//! before all below it are there. So the first absent name is one that it still needs for whatever it acknowledges next, and
//! a fence created there ends its log for ever: what lies before the fence is the log, nothing after it counts, be it there
//! already or on its way. If the old writer is quicker its fragment is read too, and the fence goes one further. What lies
//! behind a fence is deleted as a leftover, by this opening or a later one.
//!
//! What was listed before the claim is read at once, a few at a time, for each read may take its time. That is no more
//! than a hint where the end is: the fence decides.

use super::replay::Unsealed;
use crate::clock::EngineClock;
use crate::format::Damage;
use crate::format::fragment::{Fragment, FragmentKind, Slice, UncheckedFragment};
use crate::format::frame::{self, Frame};
use crate::format::header::{HEADER_LEN, Header, Layout};
use crate::format::manifest::Manifest;
use crate::format::names::{FragmentId, Name, SegmentId};
use crate::listing::Listing;
use crate::planted::{Bug, planted};
use crate::publish::{create_or_read, read_all};
use crate::random::Random;
use crate::turn::{self, Turn};
use crate::{Error, ErrorKind, Result, protocol, reread};
use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use halite_backends::{Backend, Path};
use std::ops::Range;

/// Fragments that are read at once.
pub(crate) const READS_AT_ONCE: usize = 16;

/// Reads the fragments of the log that `claim` points to, fences it, and adds the names of what was read to `retired`.
/// `there` is what was there before the claim.
pub(super) async fn read(
    backend: &dyn Backend,
    claim: &Manifest,
    there: &Listing,
    random: &Random,
    clock: &EngineClock,
    retired: &mut Vec<String>,
) -> Result<Vec<Unsealed>> {
    let log = &claim.log;
    let there = there.log(log.epoch, log.nonce);
    if backend.capabilities().append && there.is_empty() {
        // A log that grows has no fragments, unless the store was copied from where it could not grow.
        return Ok(Vec::new());
    }
    let mut segments: Vec<Slices> = Vec::new();
    let mut end = log.first_fragment;
    let known = without_a_gap(&there, log.first_fragment);
    let known = stream::iter(known).map(|number| if_there(read_checked(backend, claim, fragment(claim, number))));
    let mut known = known.buffered(READS_AT_ONCE);
    for number in log.first_fragment.. {
        end = number;
        let path = Name::Fragment(fragment(claim, number)).path();
        let mut read = known.try_next().await?.flatten();
        if read.is_none() {
            let fence = fragment(claim, protocol::fence_at(number, &there));
            read = fence_or_read(backend, fence, claim, random, clock).await?;
        }
        let Some((fragment, payload)) = read else { break };
        clock.saw(fragment.time);
        match fragment.kind {
            FragmentKind::Fence => break,
            FragmentKind::Data(slice) => join(&mut segments, claim, &path, &slice, payload)?,
        }
        retired.push(path.as_str().to_owned());
    }
    check_nothing_is_missing(backend, claim, &there, end, segments.last()).await?;
    let mut whole = Vec::with_capacity(segments.len());
    for segment in segments {
        whole.push(segment.join().await);
    }
    Ok(whole)
}

/// Fragment `number` of the log that `claim` points to.
fn fragment(claim: &Manifest, number: u64) -> FragmentId {
    FragmentId { epoch: claim.log.epoch, nonce: claim.log.nonce, number }
}

/// Those of `numbers`, which are in order, that follow each other from `first` on.
pub(crate) fn without_a_gap(numbers: &[u64], first: u64) -> Range<u64> {
    let from = numbers.partition_point(|&number| number < first);
    let count = numbers[from..].iter().zip(first..).take_while(|(number, expected)| *number == expected).count();
    first..first + count as u64
}

/// What `read` reads, if it is there.
async fn if_there<T>(read: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    match read.await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// The bytes of a fragment or fence, if it is there.
pub(crate) async fn read_if_there(backend: &dyn Backend, id: FragmentId) -> Result<Option<Bytes>> {
    if_there(read_all(backend, &Name::Fragment(id).path())).await
}

/// Fragment or fence `id` of the log that `claim` points to, and its payload.
async fn read_checked(backend: &dyn Backend, claim: &Manifest, id: FragmentId) -> Result<(Fragment, Bytes)> {
    let path = &Name::Fragment(id).path();
    let check = |bytes: Bytes| async move {
        let (fragment, payload) = decode(path, &bytes).await?;
        fragment.check_place(&claim.database, id).map_err(|damage| Error::in_file(path, damage))?;
        Ok((fragment, payload))
    };
    reread::decoded(backend, path, check).await
}

/// A segment, and the slices of its log in order.
struct Slices {
    segment: Unsealed,
    slices: Vec<Bytes>,
    /// Offset at which the next slice begins.
    end: u64,
}

impl Slices {
    /// The segment with its frames in one piece. Each slice is let go of when it has been copied; where there is but one,
    /// as where a value is large, nothing is.
    async fn join(self) -> Unsealed {
        let declared = self.end;
        let body = match <[Bytes; 1]>::try_from(self.slices) {
            Ok([one]) => one,
            Err(slices) => {
                let mut body = Vec::with_capacity((declared - HEADER_LEN as u64) as usize);
                let mut turn = Turn::default();
                for slice in slices {
                    for piece in slice.chunks(turn::PIECE) {
                        body.extend_from_slice(piece);
                        turn.take(piece.len()).await;
                    }
                }
                body.into()
            }
        };
        Unsealed { declared, body, ..self.segment }
    }
}

/// The fragment that `path` holds, and its payload, sharing the memory of `bytes`. Checked in turns: it may be long.
pub(crate) async fn decode(path: &Path, bytes: &Bytes) -> Result<(Fragment, Bytes)> {
    let in_file = |fault| Error::in_file(path, fault);
    let unchecked = UncheckedFragment::decode(bytes).map_err(in_file)?;
    let payload = bytes.slice_ref(unchecked.payload);
    let crc = turn::checksum(unchecked.seed(), &payload, &mut Turn::default()).await;
    Ok((unchecked.check(crc).map_err(in_file)?, payload))
}

/// Refuses a log that goes on behind its end, fragment number `end`, if what stands there proves that what is absent was
/// durable once: a mark vouches for it. (Fragments that were under way together vouch for none of each other.) `there` are
/// the numbers of all that were found, in order: the last of them knew most.
async fn check_nothing_is_missing(
    backend: &dyn Backend,
    claim: &Manifest,
    there: &[u64],
    end: u64,
    last: Option<&Slices>,
) -> Result<()> {
    let log = &claim.log;
    let Some(&beyond) = there.last().filter(|&&number| number > end) else { return Ok(()) };
    let id = fragment(claim, beyond);
    let path = Name::Fragment(id).path();
    // It may have been collected since, by another opening: then this one comes to nothing, and is told so.
    let Some((fragment, payload)) = if_there(read_checked(backend, claim, id)).await? else { return Ok(()) };
    let FragmentKind::Data(slice) = fragment.kind else { return Ok(()) };
    let (segment, read) = match last {
        Some(last) => (last.segment.header.id.number, last.end),
        None => (log.first_segment, HEADER_LEN as u64),
    };
    let vouched = match frame::decode(&slice.stream(), slice.first_offset, &payload) {
        Ok(Frame::Mark(mark)) => mark.durable,
        Ok(_) => 0,
        Err(damage) => return Err(Error::in_file(&path, damage)),
    };
    let read = match slice.predecessor {
        _ if slice.segment == segment => read,
        // All of the one before it was read.
        Some(before) if before.number == segment && before.len == read => HEADER_LEN as u64,
        // A mark that vouches for anything vouches for all segments before.
        _ => 0,
    };
    if vouched <= read {
        return Ok(());
    }
    let missing = Name::Fragment(FragmentId { number: end, ..id }).path();
    Err(Error::corruption(missing, 0, format!("the fragment is missing or a fence, but {path} was written after it")))
}

/// `None` where there was nothing under `id` and now there is our fence; else what is there.
async fn fence_or_read(
    backend: &dyn Backend,
    id: FragmentId,
    claim: &Manifest,
    random: &Random,
    clock: &EngineClock,
) -> Result<Option<(Fragment, Bytes)>> {
    if planted(Bug::NoFence) {
        return if_there(read_checked(backend, claim, id)).await;
    }
    let (write_nonce, time) = (random.next(), clock.trusted());
    let fence = Fragment { database: claim.database, id, write_nonce, time, kind: FragmentKind::Fence }.encode(&[]);
    // The old writer may be quicker, or an earlier try of ours has taken the name.
    create_or_read(backend, &Name::Fragment(id).path(), fence, || read_checked(backend, claim, id)).await
}

/// Adds a slice to the segment it belongs to, which must be the last one or a new one, without a gap.
fn join(segments: &mut Vec<Slices>, claim: &Manifest, path: &Path, slice: &Slice, payload: Bytes) -> Result<()> {
    let refuse = |what: String| Err(Error::in_file(path, Damage::new(0, what)));
    let begins = segments.last().is_none_or(|last| last.segment.header.id.number != slice.segment);
    if begins {
        let expected = segments.last().map(|last| last.segment.header.id.number);
        if let (Some(expected), before) = (expected, slice.predecessor.map(|predecessor| predecessor.number))
            && before != Some(expected)
        {
            return refuse(format!("its segment should follow segment {expected}, but follows {before:?}"));
        }
        if let Some(last) = segments.last_mut() {
            last.segment.successor = slice.predecessor;
        }
        let header = Header {
            database: claim.database,
            id: SegmentId { epoch: claim.log.epoch, nonce: claim.log.nonce, number: slice.segment },
            salt: slice.salt,
            hash_seed: claim.hash_seed,
            base_seq: slice.base_seq,
            created: 0,
            layout: Layout::Dense,
            predecessor: slice.predecessor,
        };
        let segment = Unsealed { header, body: Bytes::new(), path: path.clone(), declared: 0, successor: None };
        segments.push(Slices { segment, slices: Vec::new(), end: HEADER_LEN as u64 });
    }
    let Some(last) = segments.last_mut() else { return refuse("no segment to join".to_owned()) };
    if last.segment.header.stream() != slice.stream() || last.end != slice.first_offset {
        return refuse(format!(
            "its slice begins at {}, but what came before ends at {}",
            slice.first_offset, last.end
        ));
    }
    last.end += payload.len() as u64;
    last.slices.push(payload);
    Ok(())
}
