//! The current version, and the few ways in which it changes.
//!
//! Readers load it without a lock. Changes are made one at a time, each from the newest, so that none is lost. A
//! version that readers still hold keeps alive whatever it names.

use crate::Seq;
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
    /// Begins with `runs`, newest first, and no memtable.
    pub(crate) fn new(runs: Vec<Arc<Run>>, history_from: Seq) -> Versions {
        let current = ArcSwap::from_pointee(Version::new(Vec::new(), runs));
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

    fn change(&self, next: impl FnOnce(&Version) -> Version) -> Arc<Version> {
        let _change = self.change.lock();
        let next = Arc::new(next(&self.current.load()));
        self.current.store(next.clone());
        next
    }

    /// A new active segment begins: its memtable is the newest.
    pub(crate) fn begin_memtable(&self, memtable: Arc<Memtable>) {
        self.change(|now| {
            let mut memtables = Vec::with_capacity(now.memtables.len() + 1);
            memtables.push(memtable);
            memtables.extend(now.memtables.iter().cloned());
            Version::with_residents(memtables, now.runs.clone(), now.residents())
        });
    }

    /// A segment was sealed: `run` holds what `memtable` held, and is resident if `resident` says so.
    pub(crate) fn sealed(&self, memtable: &Arc<Memtable>, run: Arc<Run>, resident: Option<Arc<Resident>>) {
        self.change(|now| {
            if run.as_log().is_none() {
                self.history_from.fetch_max(run.max_seq + 1, Ordering::AcqRel);
            }
            let memtables = now.memtables.iter().filter(|other| !Arc::ptr_eq(other, memtable)).cloned().collect();
            let mut runs = Vec::with_capacity(now.runs.len() + 1);
            runs.push(run);
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
        self.change(|now| {
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
        self.change(|now| {
            let mut residents = now.residents().to_vec();
            if !now.is_resident(&resident.segment) {
                residents.push(resident);
            }
            Version::with_residents(now.memtables.clone(), now.runs.clone(), &residents)
        });
    }

    /// `segments` are resident no more. Their slots go when the last version that calls them so does.
    pub(crate) fn let_go(&self, segments: &[Arc<Segment>]) {
        self.change(|now| {
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
