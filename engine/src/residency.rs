//! Residency: which sealed segments have their keys in the keydir, as far as memory lasts.
//!
//! A segment that is *resident* has a slot in the keydir for each of its index entries; the others are asked through
//! filter and index. Residency is part of the version. A [`Resident`] stands for the slots of one stay: versions that
//! call the segment resident hold it, and when the last of them is gone its slots are swept
//! ([`retire`](crate::retire)). Each stay has a number of its own in the keydir (*kid*), so a segment may come back while
//! the slots of its last stay are still being swept.
//!
//! # Guarantees
//! 1. A version calls a segment resident only after its last slot is in, and while all of them are.
//! 2. A number is given to another stay only after the last slot of the one before is gone.
//! 3. Slots enter only where there is room for them within the budget, whoever brings them.

use crate::core::Core;
use crate::format::hints::Hint;
use crate::keydir::{self, Keydir, Slot};
use crate::retire::Retiring;
use crate::segment::Segment;
use crate::turn::Turn;
use crate::version::Version;
use crate::{ErrorKind, Result};
use futures::future::{self, Either};
use halite_backends::{self as backends, Purpose};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Sleep;

/// How long a segment whose hints could not be read is left alone.
const RETRY: Duration = Duration::from_secs(10);

/// The slots of one segment's stay in the keydir.
#[derive(Debug)]
pub(crate) struct Resident {
    /// Its number there.
    pub(crate) kid: u32,
    pub(crate) segment: Arc<Segment>,
    stays: Arc<Stays>,
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.stays.slots.fetch_sub(self.segment.meta.entries, Ordering::Relaxed);
        self.stays.unswept.fetch_add(1, Ordering::Relaxed);
        self.stays.ended.lock().push(self.kid);
        self.stays.released.notify_one();
    }
}

/// The keydir's numbers: small, and used again.
#[derive(Debug, Default)]
struct Kids {
    free: Vec<u32>,
    next: u32,
}

#[derive(Debug)]
struct Stays {
    /// Slots of stays that are not over: of those that some version holds, be it an old one, and those on their way in.
    slots: AtomicU64,
    /// Stays that are over, but for their slots.
    ended: Mutex<Vec<u32>>,
    /// How many there are, those included that are being swept.
    unswept: AtomicUsize,
    /// Told when one ends.
    released: Arc<Notify>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Residency {
    kids: Mutex<Kids>,
    stays: Arc<Stays>,
    /// Slots that may be in the keydir.
    slots_max: AtomicU64,
    /// Slots that are on their way in.
    coming: AtomicU64,
    /// Told when there may be something to do.
    wake: Notify,
    /// Told after each step, and when there is none left.
    progress: Notify,
    /// Segments whose hints could not be read, and whether they are damaged: these are not tried again.
    failed: Mutex<HashMap<u64, bool>>,
}

/// Room for slots, held until they are in.
struct Room<'a> {
    coming: &'a AtomicU64,
    slots: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.coming.fetch_sub(self.slots, Ordering::Relaxed);
    }
}

impl Residency {
    pub(crate) fn new(slots_max: u64, retiring: &Retiring) -> Residency {
        let stays = Stays {
            slots: AtomicU64::new(0),
            ended: Mutex::default(),
            unswept: AtomicUsize::new(0),
            released: retiring.released.clone(),
        };
        Residency {
            kids: Mutex::default(),
            stays: Arc::new(stays),
            slots_max: AtomicU64::new(slots_max),
            coming: AtomicU64::new(0),
            wake: Notify::new(),
            progress: Notify::new(),
            failed: Mutex::default(),
        }
    }

    /// Something has changed: there may be room, or need of it.
    pub(crate) fn look(&self) {
        self.wake.notify_one();
    }

    /// How many slots may be in the keydir.
    pub(crate) fn slots_max(&self) -> u64 {
        self.slots_max.load(Ordering::Relaxed)
    }

    /// Takes another limit. What is too much goes by and by.
    pub(crate) fn set_slots_max(&self, slots: u64) {
        self.slots_max.store(slots, Ordering::Relaxed);
    }

    /// Stays that have ended since this was last asked; their slots are to be swept, and then their numbers
    /// [freed](Residency::free).
    pub(crate) fn take_ended(&self) -> Vec<u32> {
        std::mem::take(&mut self.stays.ended.lock())
    }

    /// Gives numbers to be used again, whose last slots are gone.
    pub(crate) fn free(&self, kids: &HashSet<u32>) {
        self.kids.lock().free.extend(kids);
        self.stays.unswept.fetch_sub(kids.len(), Ordering::Relaxed);
    }

    /// Slots of stays that are not over, but for the `resident` ones of the current version.
    fn held(&self, resident: u64) -> u64 {
        self.stays.slots.load(Ordering::Relaxed).saturating_sub(resident)
    }

    /// Whether stays are over whose slots are still in the keydir: there will be room by and by.
    fn is_sweeping(&self) -> bool {
        self.stays.unswept.load(Ordering::Relaxed) > 0
    }

    /// Holds room for `slots` if there is any.
    fn room(&self, keydir: &Keydir, slots: u64) -> Option<Room<'_>> {
        let coming = self.coming.fetch_add(slots, Ordering::Relaxed) + slots;
        let room = Room { coming: &self.coming, slots };
        (keydir.len() as u64 + coming <= self.slots_max()).then_some(room)
    }

    /// A new stay of `segment`, its slots still to come.
    fn begin(&self, segment: &Arc<Segment>) -> Option<Arc<Resident>> {
        let mut kids = self.kids.lock();
        let kid = kids.free.pop().or_else(|| {
            let next = kids.next;
            kids.next += u32::from(next < keydir::KID_MAX);
            (next < keydir::KID_MAX).then_some(next)
        })?;
        self.stays.slots.fetch_add(segment.meta.entries, Ordering::Relaxed);
        Some(Arc::new(Resident { kid, segment: segment.clone(), stays: self.stays.clone() }))
    }

    /// Brings the slots of `segment`, read for `purpose`, into the keydir if there is room for them. `on_equal` hears of the slots of equal
    /// fingerprints met for each.
    pub(crate) async fn settle(
        &self,
        keydir: &Keydir,
        segment: &Arc<Segment>,
        purpose: Purpose,
        mut on_equal: impl FnMut(&[Slot]),
    ) -> Result<Option<Arc<Resident>>> {
        // Slots that are in are counted twice until the room is given back: on the safe side.
        let Some(_room) = self.room(keydir, segment.meta.entries) else { return Ok(None) };
        let Some(resident) = self.begin(segment) else { return Ok(None) };
        let mut hints = segment.read_for(purpose).hints().await?;
        let mut equals = Vec::new();
        let mut turn = Turn::default();
        while let Some(Hint { fingerprint, offset, len }) = hints.next()? {
            let slot = Slot { kid: resident.kid, offset, len };
            equals.clear();
            keydir.insert(fingerprint, slot, |other| equals.push(other));
            if !equals.is_empty() {
                on_equal(&equals);
            }
            turn.take(0).await;
        }
        Ok(Some(resident))
    }
}

/// What to do next for residency.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Bring in this one.
    Settle(usize),
    /// Let these go, so that there is room for better ones.
    LetGo(Vec<usize>),
    Nothing,
}

/// What the choice looks at, of one segment.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    entries: u64,
    resident: bool,
}

/// The next step, given all segments from the newest to the oldest, how many slots are in and how many may be. Of those
/// that are in, `held` are of stays that only readers of older versions hold, and go when these do; others may be of stays
/// that are over, and go soon.
///
/// The newest that fit beside these should be resident. To make room, more is let go than is needed at once, so that the
/// keydir is not swept for each single segment.
fn plan(candidates: &[Candidate], slots: u64, held: u64, slots_max: u64) -> Step {
    // Wanting what cannot come in while they are held would let go of the same segments for ever, and bring them in again.
    let usable = slots_max.saturating_sub(held);
    let wanted = newest_that_fit(candidates, usable);
    let over = slots > slots_max;
    let missing = candidates.iter().zip(&wanted).position(|(candidate, &wanted)| wanted && !candidate.resident);
    // The slots that are not of stays that are over: those are being swept. To let go of more before they are gone would be
    // to sweep, let go and bring in the same segments in turns, for ever.
    let lasting = held + candidates.iter().filter(|one| one.resident).map(|one| one.entries).sum::<u64>();
    match missing {
        Some(missing) if slots + candidates[missing].entries <= slots_max => return Step::Settle(missing),
        Some(missing) if lasting + candidates[missing].entries <= slots_max => return Step::Nothing,
        None if !over || lasting <= slots_max => return Step::Nothing,
        _ => {}
    }
    let kept = newest_that_fit(candidates, usable - usable / 8);
    let goes = |index: &usize| candidates[*index].resident && !(kept[*index] && wanted[*index]);
    let going: Vec<usize> = (0..candidates.len()).filter(goes).collect();
    // Else what was let go is still to be swept: there will be room.
    if going.is_empty() { Step::Nothing } else { Step::LetGo(going) }
}

fn newest_that_fit(candidates: &[Candidate], slots_max: u64) -> Vec<bool> {
    let mut left = slots_max;
    let fits = |candidate: &Candidate| {
        let fits = candidate.entries <= left;
        left -= if fits { candidate.entries } else { 0 };
        fits
    };
    candidates.iter().map(fits).collect()
}

/// Keeps the newest segments resident, as many as there is room for.
pub(crate) async fn run(core: Arc<Core>) {
    let residency = &core.residency;
    let mut retry: Option<Pin<Box<Sleep>>> = None;
    loop {
        let woken = pin!(residency.wake.notified());
        match &mut retry {
            None => woken.await,
            // Not for each change: what storage that fails has made to change would be tried again and again.
            Some(time) => {
                if let Either::Right(_) = future::select(woken, time).await {
                    residency.failed.lock().retain(|_, damaged| *damaged);
                    retry = None;
                }
            }
        }
        while step(&core).await {
            residency.progress.notify_waiters();
        }
        if retry.is_none() && residency.failed.lock().values().any(|damaged| !damaged) {
            retry = Some(Box::pin(tokio::time::sleep(RETRY)));
        }
        residency.progress.notify_waiters();
    }
}

/// Waits until nothing is left to be brought in or let go.
pub(crate) async fn idle(core: &Core) -> Result<()> {
    core.residency.look();
    loop {
        let progress = core.residency.progress.notified();
        tokio::pin!(progress);
        progress.as_mut().enable();
        core.check_open()?;
        core.log.check()?;
        if next_step(core).0 == Step::Nothing && !core.residency.is_sweeping() {
            return Ok(());
        }
        progress.await;
    }
}

/// What to do next, and what its numbers stand for.
fn next_step(core: &Core) -> (Step, Vec<Arc<Segment>>) {
    let version = core.versions.get();
    let segments = newest_first(core, &version);
    let candidates: Vec<Candidate> = segments
        .iter()
        .map(|segment| Candidate { entries: segment.meta.entries, resident: version.is_resident(segment) })
        .collect();
    let resident = candidates.iter().filter(|candidate| candidate.resident).map(|candidate| candidate.entries).sum();
    let (slots, held) = (core.keydir.len() as u64, core.residency.held(resident));
    (plan(&candidates, slots, held, core.residency.slots_max()), segments)
}

/// Does what is to be done next. Returns whether there may be more.
async fn step(core: &Core) -> bool {
    core.budget.apply(core);
    let (step, segments) = next_step(core);
    match step {
        Step::Nothing => false,
        Step::LetGo(going) => {
            let going: Vec<_> = going.into_iter().map(|index| segments[index].clone()).collect();
            core.versions.let_go(&going);
            true
        }
        // No version is held meanwhile: it would keep slots from being swept.
        Step::Settle(index) => settle(core, &segments[index]).await,
    }
}

async fn settle(core: &Core, segment: &Arc<Segment>) -> bool {
    match core.residency.settle(&core.keydir, segment, Purpose::Warm, |_| {}).await {
        Ok(Some(resident)) => core.versions.settled(resident),
        // Somebody else's slots are on their way in, who says so when they are.
        Ok(None) => return false,
        // The runtime ends: no news of the segment.
        Err(error) if error.backend().is_some_and(|cause| cause.kind() == backends::ErrorKind::Closed) => return false,
        Err(error) => {
            // Its readers go through filter and index, or hear of the damage themselves.
            tracing::warn!(%error, segment = %segment.meta.id, "a segment's keys could not be loaded");
            core.residency.failed.lock().insert(segment.serial(), error.kind() == ErrorKind::Corruption);
        }
    }
    true
}

fn newest_first(core: &Core, version: &Version) -> Vec<Arc<Segment>> {
    let failed = core.residency.failed.lock();
    version.segments().filter(|segment| !failed.contains_key(&segment.serial())).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(u64, bool)]) -> Vec<Candidate> {
        list.iter().map(|&(entries, resident)| Candidate { entries, resident }).collect()
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let all = |list: &[(u64, bool)], slots| plan(&candidates(list), slots, 0, 100);
        assert_eq!(all(&[], 0), Step::Nothing);
        assert_eq!(all(&[(40, false), (40, false)], 0), Step::Settle(0));
        assert_eq!(all(&[(40, true), (40, false)], 40), Step::Settle(1));
        assert_eq!(all(&[(40, true), (40, true), (40, false)], 80), Step::Nothing);
        assert_eq!(all(&[(40, false), (40, true), (40, true)], 80), Step::LetGo(vec![2]));
        assert_eq!(all(&[(40, false), (40, true), (40, false)], 80), Step::Nothing, "the last is still being swept");
        assert_eq!(all(&[(40, false), (40, true), (40, false)], 40), Step::Settle(0));
        assert_eq!(all(&[(101, false), (20, false)], 0), Step::Settle(1), "what can never fit stays out");
        assert_eq!(plan(&candidates(&[(1, false)]), 0, 0, 0), Step::Nothing);
        assert_eq!(plan(&candidates(&[(1, true)]), 1, 0, 0), Step::LetGo(vec![0]));
    }

    /// Whatever the sizes, however much readers hold meanwhile, and however late what is over is swept: it comes to an end,
    /// nothing is in that does not fit, and nothing is out that does.
    #[test]
    fn it_settles() {
        let mut number = 1_u64;
        let mut dice = |below: u64| {
            number = number.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (number >> 33) % below
        };
        for _ in 0..2000 {
            let (max, held) = (dice(300), dice(2) * dice(200));
            let mut all: Vec<Candidate> =
                (0..dice(12)).map(|_| Candidate { entries: 1 + dice(80), resident: dice(2) == 0 }).collect();
            let used = |all: &[Candidate]| all.iter().filter(|one| one.resident).map(|one| one.entries).sum::<u64>();
            // Slots of stays that are over, in as many sweeps.
            let mut unswept: Vec<u64> = Vec::new();
            let mut steps = 0;
            loop {
                match plan(&all, used(&all) + held + unswept.iter().sum::<u64>(), held, max) {
                    Step::Nothing if unswept.is_empty() => break,
                    Step::Nothing => drop(unswept.remove(0)),
                    Step::Settle(index) => all[index].resident = true,
                    Step::LetGo(going) => going.iter().for_each(|&index| {
                        all[index].resident = false;
                        unswept.push(all[index].entries);
                    }),
                }
                if dice(3) == 0 && !unswept.is_empty() {
                    unswept.remove(0);
                }
                steps += 1;
                assert!(steps < 60);
            }
            assert!(used(&all) + held <= max.max(held));
            let wanted = newest_that_fit(&all, max.saturating_sub(held));
            assert!(all.iter().zip(wanted).all(|(one, wanted)| one.resident || !wanted));
        }
    }
}
