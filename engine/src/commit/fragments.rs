//! The log as fragments: objects, each created once, several of them under way at a time.
//!
//! Fragments are numbered, and sent, in the order of the log. Which of them is there first is the storage's affair; they are
//! acknowledged in their order. So whatever has become of those under way when a writer stops, all that was acknowledged
//! lies below the first number that is absent. That is where the log ends for whoever comes next, and the number that its
//! fence takes ([`recovery`](crate::recovery)): what stands beyond was not acknowledged, and never will be.
//!
//! # When a fragment goes
//! When it holds [`Options::fragment_bytes`]; or when somebody waits for what is in it, or others are under way, and the last
//! one was sent [`Options::flush_interval`] ago. So there is no more than one in an interval while they are small, whoever
//! writes; what comes after a pause goes at once, and so does what a flush asks for while nothing is under way; and no commit
//! waits for more than its own object and the interval. Where requests cost nothing, as in memory, one follows upon the other.
//!
//! Writers who were answered together come back together, but not at the same instant: the first of them would take the next
//! fragment for itself, and the others would wait for the interval, and so on for ever. So after such an answer nothing goes
//! for a [part](COMING_BACK) of the interval.
//!
//! # Guarantees
//! 1. A fragment is acknowledged when it and all before it are known to be there, and to be ours.
//! 2. After a failed create nothing is acknowledged of its fragment, nor of those behind it.
//! 3. A name is only ever sent with the same bytes.
//!
//! [`Options::fragment_bytes`]: crate::Options::fragment_bytes
//! [`Options::flush_interval`]: crate::Options::flush_interval

use super::committer::{Rounds, mark};
use super::work::{Group, Pace, Reached, Work};
use super::{Draft, Sealable, Source};
use crate::core::Core;
use crate::format::Fault;
use crate::format::fragment::{FRAGMENT_HEADER_LEN, Fragment, FragmentKind, Slice};
use crate::format::header::HEADER_LEN;
use crate::format::names::{FragmentId, Name};
use crate::planted::{Bug, planted};
use crate::publish::create_or_read;
use crate::tasks::Beside;
use crate::turn::{self, Turn};
use crate::{Error, ErrorKind, Result, protocol, reread};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use halite_backends::Purpose;
use std::future::{Future, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Writers who were answered together have the interval divided by this to come back: 3 ms of 100.
const COMING_BACK: u32 = 32;

/// Runs until the log is stopped or fails.
pub(super) async fn run(core: &Core) -> Result<()> {
    let mut log = Fragments::new(core);
    // Whatever is done first, it comes out in the order in which it was put in.
    let mut parts = FuturesOrdered::new();
    let (mut interval, mut coming_back) = (Interval::default(), Interval::default());
    let (mut rounds, mut stopping) = (Rounds::default(), false);
    let is_costly = core.stores.plain().capabilities().remote;
    while !(stopping && parts.is_empty()) {
        let next = poll_fn(|cx| {
            if let Poll::Ready(Some(done)) = parts.poll_next_unpin(cx) {
                return Poll::Ready(Next::Done(done));
            }
            if stopping || log.under_way >= core.options.fragments_in_flight_max {
                return Poll::Pending;
            }
            let pace = match (log.under_way, interval.is_over(cx) && coming_back.is_over(cx)) {
                (0, is_over) if is_over || !is_costly => Pace::Free,
                (0, _) => Pace::Soon,
                (_, overdue) => Pace::Beside { overdue },
            };
            core.log.next_work(pace).map(Next::Work)
        });
        match next.await {
            Next::Done(done) => {
                let answered = log.done(core, done?);
                if is_costly && answered > 1 {
                    coming_back.begin(core.options.flush_interval / COMING_BACK);
                }
                rounds.over(answered).await;
            }
            Next::Work(Work::Write { group, .. }) => {
                if let Some(part) = log.next(group) {
                    parts.push_back(carry(core, part));
                    interval.begin(core.options.flush_interval);
                }
            }
            Next::Work(Work::Rotate { draft, successor, .. }) => {
                parts.push_back(carry(core, log.end(draft, successor)));
                // Memory is divided anew.
                core.residency.look();
            }
            Next::Work(Work::Reserve { draft, len, .. }) => core.log.answer_reserve(&draft, Ok(len)),
            // What is created is durable.
            Next::Work(Work::Sync) => {}
            Next::Work(Work::Stop) => stopping = true,
        }
    }
    Ok(())
}

/// A time that has begun: since the last fragment was sent, or writers were answered. A task of its own measures it: the
/// committer may be polled when its runtime has ended, by whoever drops the last handle, and a timer would panic then. What
/// nobody measures is over.
#[derive(Default)]
struct Interval(Option<Beside<()>>);

impl Interval {
    fn begin(&mut self, len: Duration) {
        self.0 = Some(Beside::new(async move { tokio::time::sleep(len).await }));
    }

    /// Else whoever polls is woken when it is.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let is_over = self.0.as_mut().is_none_or(|timer| pin!(timer.join()).poll(cx).is_ready());
        if is_over {
            self.0 = None;
        }
        is_over
    }
}

/// What happens next.
enum Next {
    Work(Work),
    Done(Result<Done>),
}

/// What is on its way, in the order of the log.
enum Part {
    Fragment {
        draft: Arc<Draft>,
        group: Group,
        number: u64,
        /// What its mark may vouch for.
        durable: u64,
    },
    /// The segment has all its fragments.
    End(Sealable),
}

/// A part that is durable, if all before it are.
struct Done {
    reached: Reached,
    durable: Durable,
    full: Option<Sealable>,
}

/// How far the log is durable: up to this offset of that segment, with all before it.
#[derive(Clone, Copy)]
struct Durable {
    segment: u64,
    end: u64,
}

impl Durable {
    /// What a mark in `segment` may vouch for: nothing while an earlier one is under way.
    fn within(self, segment: u64) -> u64 {
        if self.segment == segment { self.end } else { 0 }
    }
}

/// The write end of the log.
struct Fragments {
    /// The number of the next fragment.
    next: u64,
    /// The number of the active segment's first fragment.
    first: u64,
    under_way: usize,
    durable: Durable,
}

impl Fragments {
    fn new(core: &Core) -> Fragments {
        let segment = core.log.inspect(|queue| queue.active().id().number);
        Fragments { next: 0, first: 0, under_way: 0, durable: Durable { segment, end: HEADER_LEN as u64 } }
    }

    /// The next fragment, which holds `group`, if there is anything in that.
    fn next(&mut self, mut group: Group) -> Option<Part> {
        let draft = group.draft.take()?;
        let number = self.next;
        self.next += 1;
        self.under_way += 1;
        let durable = self.durable.within(draft.id().number);
        Some(Part::Fragment { draft, group, number, durable })
    }

    /// The end of the segment of `draft`.
    fn end(&mut self, draft: Arc<Draft>, successor: u64) -> Part {
        let numbers = std::mem::replace(&mut self.first, self.next)..self.next;
        Part::End(Sealable::new(draft, Source::Fragments(numbers), successor))
    }

    /// The oldest part that was on its way is there. Returns how many writers have been answered.
    fn done(&mut self, core: &Core, done: Done) -> usize {
        self.durable = done.durable;
        let answered = core.log.reached(done.reached);
        match done.full {
            None => self.under_way -= 1,
            Some(sealable) => core.sealer.push(sealable),
        }
        answered
    }
}

/// Carries a part to the storage.
async fn carry(core: &Core, part: Part) -> Result<Done> {
    match part {
        Part::Fragment { draft, group, number, durable } => {
            let reached = Reached { written: group.last_seq, synced: true, bytes: group.payload() };
            let end = Durable { segment: draft.id().number, end: group.end };
            write(core, &draft, group, number, durable).await?;
            if planted(Bug::AcknowledgedAhead) {
                core.log.reached(Reached { bytes: 0, ..reached });
            }
            Ok(Done { reached, durable: end, full: None })
        }
        Part::End(sealable) => {
            let reached = Reached { written: sealable.draft.memtable.max_seq(), synced: true, bytes: 0 };
            let durable = Durable { segment: sealable.successor, end: HEADER_LEN as u64 };
            Ok(Done { reached, durable, full: Some(sealable) })
        }
    }
}

/// Creates fragment `number`, which holds `group`.
async fn write(core: &Core, draft: &Draft, mut group: Group, number: u64, durable: u64) -> Result<()> {
    group.pieces.insert(0, mark(core, draft, group.start, durable));
    let header = &draft.header;
    let slice = Slice {
        first_offset: group.start,
        segment: header.id.number,
        salt: header.salt,
        base_seq: header.base_seq,
        predecessor: header.predecessor,
    };
    let (write_nonce, time, kind) = (core.random.next(), core.clock.trusted(), FragmentKind::Data(slice));
    let id = core.epoch.fragment(number);
    let fragment = Fragment { database: core.epoch.database, id, write_nonce, time, kind };
    let bytes = encode(&fragment, &group.pieces).await;
    let meters = &core.log.meters;
    meters.log_writes.add(1);
    meters.log_syncs.add(1);
    meters.log_bytes.add(bytes.len() as u64);
    create(core, id, write_nonce, bytes).await
}

/// The bytes of `fragment`, however long its payload.
async fn encode(fragment: &Fragment, payload: &[Bytes]) -> Bytes {
    let payload_len: usize = payload.iter().map(Bytes::len).sum();
    let mut out = Vec::with_capacity(FRAGMENT_HEADER_LEN + payload_len);
    out.resize(FRAGMENT_HEADER_LEN, 0);
    let (mut crc, mut turn) = (fragment.payload_seed(), Turn::default());
    for piece in payload {
        crc = turn::copy_and_checksum(crc, piece, &mut out, &mut turn).await;
    }
    out[..FRAGMENT_HEADER_LEN].copy_from_slice(&fragment.encode_header(payload_len, crc));
    out.into()
}

/// Creates fragment `id`. A name that is taken is ours, its first answer having been lost, or the fence of a writer that has
/// taken over.
async fn create(core: &Core, id: FragmentId, write_nonce: u64, bytes: Bytes) -> Result<()> {
    let path = Name::Fragment(id).path();
    let decode = |bytes: Bytes| {
        let (found, _) = Fragment::decode(&bytes)?;
        found.check_place(&core.epoch.database, id)?;
        Ok(found.write_nonce)
    };
    let decode = |bytes| ready(decode(bytes).map_err(|fault: Fault| Error::in_file(&path, fault)));
    let store = core.stores.of(Purpose::Commit);
    match create_or_read(store, &path, bytes, || reread::decoded(store, &path, decode)).await? {
        None => Ok(()),
        Some(there) if protocol::is_own(there, write_nonce) => Ok(()),
        Some(_) => Err(Error::new(ErrorKind::Fenced, format!("another writer has fenced the log at {path}"))),
    }
}
