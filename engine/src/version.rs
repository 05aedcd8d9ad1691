//! A version: which memtables and runs are the database at one moment.
//!
//! A version never changes; a change of the database makes another one. A reader that holds a version keeps alive what
//! it names, files included.
//!
//! Runs never overlap in sequence numbers, and in a run at most one segment holds a key. So the first match from newest
//! to oldest, memtables first, is the answer.

use crate::Seq;
use crate::cover::Cover;
use crate::memtable::Memtable;
use crate::range::Course;
use crate::residency::Resident;
use crate::segment::Segment;
use std::collections::HashMap;
use std::sync::Arc;

/// Sealed segments that share a range of sequence numbers and have disjoint ranges of keys.
#[doc(alias = "sorted run")]
#[derive(Debug)]
pub(crate) struct Run {
    /// In the order of their keys; at least one.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The smallest seq in the run.
    pub(crate) min_seq: Seq,
    /// The largest seq in the run.
    pub(crate) max_seq: Seq,
}

impl Run {
    /// The run of `segments`, which are in the order of their keys.
    ///
    /// # Panics
    /// Where there is none, or two hold keys of one range. What a manifest says has been checked before.
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Run {
        let disjoint = segments.windows(2).all(|pair| pair[0].meta.max_key < pair[1].meta.min_key);
        assert!(disjoint, "segments of a run are in key order and disjoint");
        let seqs = |seq: fn(&Arc<Segment>) -> Seq| segments.iter().map(seq);
        let min_seq = seqs(|segment| segment.meta.min_seq).min().expect("a run has a segment at least");
        let max_seq = seqs(|segment| segment.meta.max_seq).max().expect("a run has a segment at least");
        Run { segments, min_seq, max_seq }
    }

    /// The segment, if it holds the log that this run was made of as it was, nothing left out.
    pub(crate) fn as_log(&self) -> Option<&Arc<Segment>> {
        match &self.segments[..] {
            [segment] if !segment.meta.sorted => Some(segment),
            _ => None,
        }
    }

    /// The number of the segment that `course` comes to first; `None` if no segment can hold a key of its range.
    pub(crate) fn first_on(&self, course: &Course) -> Option<usize> {
        let first = if course.is_backward() {
            self.segments.partition_point(|segment| !course.is_before(&segment.meta.min_key)).checked_sub(1)
        } else {
            Some(self.segments.partition_point(|segment| course.is_before(&segment.meta.max_key)))
        };
        first.filter(|&first| self.is_on(first, course))
    }

    /// The number of the segment that `course` comes to after segment `index`, if its range goes on that far.
    pub(crate) fn next_on(&self, index: usize, course: &Course) -> Option<usize> {
        course.next(index, self.segments.len()).filter(|&next| self.is_on(next, course))
    }

    /// Whether the range of `course` goes on to the nearer end of segment `index`.
    fn is_on(&self, index: usize, course: &Course) -> bool {
        self.segments.get(index).is_some_and(|segment| {
            let meta = &segment.meta;
            !course.is_past(if course.is_backward() { &meta.max_key } else { &meta.min_key })
        })
    }
}

/// Those segments of a run that are not resident, in the order of their keys; at least one.
#[derive(Debug)]
pub(crate) struct Paged(Vec<Arc<Segment>>);

impl Paged {
    /// One of them: all are of one range of sequence numbers.
    pub(crate) fn any(&self) -> &Segment {
        self.0.first().expect("there is one at least")
    }

    /// All of them, in order.
    pub(crate) fn segments(&self) -> &[Arc<Segment>] {
        &self.0
    }

    /// The one that may hold `key`.
    #[inline]
    pub(crate) fn holding(&self, key: &[u8]) -> Option<&Arc<Segment>> {
        match self.0.as_slice() {
            // Most filters say no for less than it takes to compare keys.
            [only] => Some(only),
            several => {
                let first = several.partition_point(|segment| segment.meta.max_key[..] < *key);
                several.get(first).filter(|segment| segment.meta.min_key[..] <= *key)
            }
        }
    }
}

/// The database at one moment.
#[derive(Debug)]
pub(crate) struct Version {
    /// Unsealed segments, newest first.
    pub(crate) memtables: Vec<Arc<Memtable>>,
    /// Sealed segments, newest first.
    pub(crate) runs: Vec<Arc<Run>>,
    /// What range tombstones that are sealed may hide in the runs.
    pub(crate) cover: Arc<Cover>,
    /// What has slots in the keydir: a read ignores those of all others.
    residents: Vec<Arc<Resident>>,
    /// The resident segments by their numbers there, which are small.
    by_kid: Vec<Option<Arc<Segment>>>,
    /// The other segments, run by run, newest first.
    paged: Vec<Paged>,
}

impl Version {
    /// The version of `memtables` and `runs`, both newest first, of which nothing is resident.
    pub(crate) fn new(memtables: Vec<Arc<Memtable>>, runs: Vec<Arc<Run>>) -> Version {
        Version::with_residents(memtables, runs, &[])
    }

    /// The version of `memtables` and `runs`, both newest first. Of `residents` those count whose segments are in it.
    ///
    /// # Panics
    /// Where two residents have one number in the keydir or one segment, or runs overlap in sequence numbers.
    pub(crate) fn with_residents(
        memtables: Vec<Arc<Memtable>>,
        runs: Vec<Arc<Run>>,
        residents: &[Arc<Resident>],
    ) -> Version {
        let descending = runs.windows(2).all(|pair| pair[0].min_seq > pair[1].max_seq);
        assert!(descending, "runs are newest first and disjoint in seq");
        let mut of_segment: HashMap<u64, &Arc<Resident>> = HashMap::with_capacity(residents.len());
        for resident in residents {
            let before = of_segment.insert(resident.segment.serial(), resident);
            assert!(before.is_none(), "a segment is resident once");
        }
        let mut version = Version {
            memtables,
            runs: Vec::new(),
            cover: Arc::default(),
            residents: Vec::new(),
            by_kid: Vec::new(),
            paged: Vec::new(),
        };
        for run in &runs {
            let mut paged = Vec::new();
            for segment in &run.segments {
                match of_segment.get(&segment.serial()) {
                    Some(resident) => version.add_resident(resident),
                    None => paged.push(segment.clone()),
                }
            }
            if !paged.is_empty() {
                version.paged.push(Paged(paged));
            }
        }
        version.runs = runs;
        version
    }

    /// The same with what range tombstones hide in the runs.
    pub(crate) fn covered_by(self, cover: Arc<Cover>) -> Version {
        Version { cover, ..self }
    }

    /// The same without its memtables: for work that takes long and looks at sealed segments only, and would else keep the
    /// memory of memtables that have been sealed meanwhile.
    pub(crate) fn sealed(&self) -> Version {
        Version::with_residents(Vec::new(), self.runs.clone(), &self.residents).covered_by(self.cover.clone())
    }

    fn add_resident(&mut self, resident: &Arc<Resident>) {
        let kid = resident.kid as usize;
        if self.by_kid.len() <= kid {
            self.by_kid.resize(kid + 1, None);
        }
        assert!(self.by_kid[kid].is_none(), "two segments have the keydir's number {kid}");
        self.by_kid[kid] = Some(resident.segment.clone());
        self.residents.push(resident.clone());
    }

    /// The segment that the keydir calls `kid`, if it is resident in this version.
    #[inline]
    pub(crate) fn segment(&self, kid: u32) -> Option<&Arc<Segment>> {
        self.by_kid.get(kid as usize)?.as_ref()
    }

    /// All that range tombstones at or below `at` cover, newest first.
    pub(crate) fn covers(&self, at: Seq) -> Vec<Arc<Cover>> {
        let mut covers = Vec::new();
        self.memtables.iter().for_each(|memtable| memtable.covers(at, &mut covers));
        if !self.cover.is_empty() {
            covers.push(self.cover.clone());
        }
        covers
    }

    /// What is resident.
    pub(crate) fn residents(&self) -> &[Arc<Resident>] {
        &self.residents
    }

    /// Whether the keydir has a slot for each key of `segment`.
    pub(crate) fn is_resident(&self, segment: &Arc<Segment>) -> bool {
        self.residents.iter().any(|resident| Arc::ptr_eq(&resident.segment, segment))
    }

    /// What is not resident, run by run, newest first.
    #[inline]
    pub(crate) fn paged(&self) -> &[Paged] {
        &self.paged
    }

    /// All sealed segments, run by run, newest first.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<Segment>> {
        self.runs.iter().flat_map(|run| &run.segments)
    }
}

/// The database at one moment, as readers see it: snapshots, scans, transactions.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// What was there. All that it has sealed is at or below `at`.
    pub(crate) version: Arc<Version>,
    /// The last commit that shows.
    pub(crate) at: Seq,
    /// The engine time by which expiries are judged, milliseconds.
    pub(crate) now: u64,
}
