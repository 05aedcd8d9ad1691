//! A version: which memtables and runs are the database at one moment.
//!
//! A version never changes; a change of the database makes another one. A reader that holds a version keeps alive what
//! it names, files included.
//!
//! Runs never overlap in sequence numbers, and in a run at most one segment holds a key. So the first match from newest
//! to oldest, memtables first, is the answer.

use crate::Seq;
use crate::memtable::Memtable;
use crate::range::Course;
use crate::segment::Segment;
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

/// The database at one moment.
#[derive(Debug)]
pub(crate) struct Version {
    /// Unsealed segments, newest first.
    pub(crate) memtables: Vec<Arc<Memtable>>,
    /// Sealed segments, newest first.
    pub(crate) runs: Vec<Arc<Run>>,
    /// The same segments by their names in the keydir, which are small numbers.
    by_kid: Vec<Option<Arc<Segment>>>,
}

impl Version {
    /// The version of `memtables` and `runs`, both newest first.
    ///
    /// # Panics
    /// Where two segments have one name in the keydir, or runs overlap in sequence numbers.
    pub(crate) fn new(memtables: Vec<Arc<Memtable>>, runs: Vec<Arc<Run>>) -> Version {
        let descending = runs.windows(2).all(|pair| pair[0].min_seq > pair[1].max_seq);
        assert!(descending, "runs are newest first and disjoint in seq");
        let mut by_kid: Vec<Option<Arc<Segment>>> = Vec::new();
        for segment in runs.iter().flat_map(|run| &run.segments) {
            let kid = segment.kid as usize;
            if by_kid.len() <= kid {
                by_kid.resize(kid + 1, None);
            }
            assert!(by_kid[kid].is_none(), "two segments have the keydir's name {kid}");
            by_kid[kid] = Some(segment.clone());
        }
        Version { memtables, runs, by_kid }
    }

    /// The segment that the keydir calls `kid`, if it is in this version.
    #[inline]
    pub(crate) fn segment(&self, kid: u32) -> Option<&Arc<Segment>> {
        self.by_kid.get(kid as usize)?.as_ref()
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
