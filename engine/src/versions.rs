//! The current version, and the few ways in which it changes.
//!
//! Readers load it without a lock. Changes are made one at a time, each from the newest, so that none is lost. A
//! version that readers still hold keeps alive whatever it names.

use crate::Seq;
use crate::cover::Cover;
use crate::memtable::Memtable;
use crate::residency::Resident;
use crate::segment::Segment;
use crate::version::{Run, Version};
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug)]
pub(crate) struct Versions {
    current: ArcSwap<Version>,
    /// From this seq on every record that was committed is still there, in the order in which it was.
    history_from: AtomicU64,
    /// Held by whoever makes the next version from the current one. Never while awaiting.
    change: Mutex<()>,
}

impl Versions {
    /// Begins with `runs`, newest first, what hides some of their records, and no memtable.
    pub(crate) fn new(runs: Vec<Arc<Run>>, cover: Cover, history_from: Seq) -> Versions {
        let current = ArcSwap::from_pointee(Version::new(Vec::new(), runs).covered_by(Arc::new(cover)));
        Versions { current, history_from: AtomicU64::new(history_from), change: Mutex::new(()) }
    }

    /// From which seq on every record that was committed is still there, in the order in which it was.
    ///
    /// It rises before the version changes: asked for after a version was loaded, it is true of that version.
    pub(crate) fn history_from(&self) -> Seq {
        self.history_from.load(Ordering::Acquire)
    }

    /// The current version, for a short look.
    #[inline]
    pub(crate) fn load(&self) -> Guard<Arc<Version>> {
        self.current.load()
    }

    /// The current version, to keep.
    pub(crate) fn get(&self) -> Arc<Version> {
        self.current.load_full()
    }

    /// Makes the next version. Where runs change, `newer` range tombstones come to those that were sealed before, and those
    /// go that hide nothing any more.
    fn change(&self, newer: Option<&Cover>, next: impl FnOnce(&Version) -> Version) -> Arc<Version> {
        let _change = self.change.lock();
        let now = self.current.load();
        let next = next(&now);
        let cover = match newer {
            Some(newer) => needed(&now.cover, newer, &next.runs),
            None => now.cover.clone(),
        };
        let next = Arc::new(next.covered_by(cover));
        self.current.store(next.clone());
        next
    }

    /// A new active segment begins: its memtable is the newest.
    pub(crate) fn begin_memtable(&self, memtable: Arc<Memtable>) {
        self.change(None, |now| {
            let mut memtables = Vec::with_capacity(now.memtables.len() + 1);
            memtables.push(memtable);
            memtables.extend(now.memtables.iter().cloned());
            Version::with_residents(memtables, now.runs.clone(), now.residents())
        });
    }

    /// A segment was sealed: `run` holds what `memtable` held, and is resident if `resident` says so; `cover` is what
    /// its range tombstones cover.
    pub(crate) fn sealed(
        &self,
        memtable: &Arc<Memtable>,
        run: Option<Arc<Run>>,
        resident: Option<Arc<Resident>>,
        cover: &Cover,
    ) {
        self.change(Some(cover), |now| {
            // A log that was not kept as it is, or not at all, is no history any more.
            if run.as_ref().is_none_or(|run| run.as_log().is_none()) {
                self.history_from.fetch_max(memtable.max_seq() + 1, Ordering::AcqRel);
            }
            let memtables = now.memtables.iter().filter(|other| !Arc::ptr_eq(other, memtable)).cloned().collect();
            let mut runs = Vec::with_capacity(now.runs.len() + 1);
            runs.extend(run);
            runs.extend(now.runs.iter().cloned());
            let residents: Vec<_> = now.residents().iter().cloned().chain(resident).collect();
            Version::with_residents(memtables, runs, &residents)
        });
    }

    /// Neighbouring runs were merged: `output` (nothing, if all they held is dead) stands in their place, and of its
    /// segments `residents` are resident. Returns the version in which it does.
    pub(crate) fn merged(
        &self,
        inputs: &[Arc<Run>],
        output: Option<Arc<Run>>,
        residents: Vec<Arc<Resident>>,
    ) -> Arc<Version> {
        self.change(Some(&Cover::default()), |now| {
            self.history_from.fetch_max(history_after(inputs), Ordering::AcqRel);
            let is_input = |run: &Arc<Run>| inputs.iter().any(|input| Arc::ptr_eq(input, run));
            let place = now.runs.iter().position(is_input).unwrap_or(now.runs.len());
            let mut runs: Vec<_> = now.runs.iter().filter(|run| !is_input(run)).cloned().collect();
            if let Some(output) = output {
                runs.insert(place, output);
            }
            let residents: Vec<_> = now.residents().iter().cloned().chain(residents).collect();
            Version::with_residents(now.memtables.clone(), runs, &residents)
        })
    }

    /// A segment's slots are all in the keydir. Where the segment has left the database or came in otherwise meanwhile,
    /// nothing changes, and `resident` ends.
    pub(crate) fn settled(&self, resident: Arc<Resident>) {
        self.change(None, |now| {
            let mut residents = now.residents().to_vec();
            if !now.is_resident(&resident.segment) {
                residents.push(resident);
            }
            Version::with_residents(now.memtables.clone(), now.runs.clone(), &residents)
        });
    }

    /// `segments` are resident no more. Their slots go when the last version that calls them so does.
    pub(crate) fn let_go(&self, segments: &[Arc<Segment>]) {
        self.change(None, |now| {
            let goes = |resident: &&Arc<Resident>| segments.iter().any(|other| Arc::ptr_eq(other, &resident.segment));
            let residents: Vec<_> = now.residents().iter().filter(|resident| !goes(resident)).cloned().collect();
            Version::with_residents(now.memtables.clone(), now.runs.clone(), &residents)
        });
    }
}

/// From which seq on nothing is missing once `runs` are merged.
pub(crate) fn history_after(runs: &[Arc<Run>]) -> Seq {
    runs.iter().map(|run| run.max_seq + 1).max().unwrap_or(1)
}

/// What both cover, as far as it may hide something in `runs`.
fn needed(cover: &Arc<Cover>, newer: &Cover, runs: &[Arc<Run>]) -> Arc<Cover> {
    if cover.is_empty() && newer.is_empty() {
        return cover.clone();
    }
    let segments = runs.iter().flat_map(|run| &run.segments).map(|segment| &segment.meta);
    Arc::new(cover.with(newer).needed_by(segments))
}
