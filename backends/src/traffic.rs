//! What a backend has asked of a store that counts: requests and bytes, by kind and by what they were for.

use crate::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of request, as stores charge for it.
///
/// ```
/// use halite_backends::{RequestKind, Traffic};
/// let quiet = Traffic::default();
/// assert_eq!(quiet.count(RequestKind::Put), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestKind {
    /// Writing an object, or a part of one; to begin and to end one in parts is one request each, too.
    Put,
    /// Reading an object, or a range of one.
    Get,
    /// Asking whether an object is there, and how long it is.
    Head,
    /// A page of a list.
    List,
    /// Deleting an object.
    Delete,
}

/// What a request is for, as the names that it is about tell.
///
/// ```
/// use halite_backends::{Purpose, RequestKind, Traffic};
/// fn of_the_log(traffic: &Traffic) -> u64 {
///     let log = traffic.requests.iter().filter(|requests| requests.purpose == Purpose::Log);
///     log.map(|requests| requests.count).sum()
/// }
/// assert_eq!(of_the_log(&Traffic::default()), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// `manifest/`: publishing versions, claiming, looking for the newest.
    Manifests,
    /// `log/`: commits, and reading them after a crash or as a follower.
    Log,
    /// `segments/`: puts are seals and merges, gets are reads and merges, deletes collect.
    Segments,
    /// The proof of a new store, and looks at all of it.
    Other,
}

/// Requests of one kind for one purpose.
///
/// ```
/// use halite_backends::{Requests, Traffic};
/// for Requests { kind, purpose, count, bytes, .. } in Traffic::default().requests {
///     println!("{count} times {kind:?} for {purpose:?}: {bytes} bytes");
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// Their kind.
    pub kind: RequestKind,
    /// What they were for.
    pub purpose: Purpose,
    /// How many there were.
    pub count: u64,
    /// Bytes of objects that they sent (`Put`) or received (`Get`).
    pub bytes: u64,
}

/// All that a backend has asked of its store since it was opened.
///
/// ```
/// use halite_backends::{RequestKind, Traffic};
/// let quiet = Traffic::default();
/// assert_eq!((quiet.total(), quiet.bytes(RequestKind::Get), quiet.repeated), (0, 0, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests, those kinds and purposes of which there were any. Attempts that were repeated are not among them.
    pub requests: Vec<Requests>,
    /// Attempts that failed and were made again.
    pub repeated: u64,
}

impl Traffic {
    /// How many requests of `kind` there were.
    pub fn count(&self, kind: RequestKind) -> u64 {
        self.requests.iter().filter(|requests| requests.kind == kind).map(|requests| requests.count).sum()
    }

    /// Bytes of objects that requests of `kind` sent or received.
    pub fn bytes(&self, kind: RequestKind) -> u64 {
        self.requests.iter().filter(|requests| requests.kind == kind).map(|requests| requests.bytes).sum()
    }

    /// How many requests there were, and how many attempts that had to be repeated.
    pub fn total(&self) -> u64 {
        self.requests.iter().map(|requests| requests.count).sum::<u64>() + self.repeated
    }
}

pub(crate) const KINDS: [RequestKind; 5] =
    [RequestKind::Put, RequestKind::Get, RequestKind::Head, RequestKind::List, RequestKind::Delete];
pub(crate) const PURPOSES: [Purpose; 4] = [Purpose::Manifests, Purpose::Log, Purpose::Segments, Purpose::Other];

impl Purpose {
    /// What a request about `folder`, or about something in it, is for.
    pub(crate) fn of(folder: &str) -> Purpose {
        match folder.split('/').next() {
            Some("manifest") => Purpose::Manifests,
            Some("log") => Purpose::Log,
            Some("segments") => Purpose::Segments,
            _ => Purpose::Other,
        }
    }
}

/// Counts requests as they are sent.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counts: [[(AtomicU64, AtomicU64); PURPOSES.len()]; KINDS.len()],
    repeated: AtomicU64,
}

impl Counters {
    /// A request about `path` that carries so many bytes of it.
    pub(crate) fn add(&self, kind: RequestKind, path: &Path, bytes: u64) {
        self.add_for(kind, Purpose::of(path.folder()), 1, bytes);
    }

    pub(crate) fn add_for(&self, kind: RequestKind, purpose: Purpose, count: u64, bytes: u64) {
        let (counter, sum) = &self.counts[kind as usize][purpose as usize];
        counter.fetch_add(count, Ordering::Relaxed);
        sum.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        let mut requests = Vec::new();
        for kind in KINDS {
            for purpose in PURPOSES {
                let (count, bytes) = &self.counts[kind as usize][purpose as usize];
                let (count, bytes) = (count.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
                if count > 0 {
                    requests.push(Requests { kind, purpose, count, bytes });
                }
            }
        }
        Traffic { requests, repeated: self.repeated.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn requests_are_summed_by_kind_and_purpose() {
        let counters = Counters::default();
        assert_eq!(counters.read(), Traffic::default());
        let path = |name: &str| Path::new(name).unwrap();
        counters.add(RequestKind::Put, &path("manifest/1"), 10);
        counters.add(RequestKind::Put, &path("log/1-2/3"), 20);
        counters.add(RequestKind::Put, &path("log/1-2/4"), 30);
        counters.add(RequestKind::Get, &path("segments/1"), 40);
        counters.add_for(RequestKind::List, Purpose::of(""), 3, 0);
        counters.repeat();
        let traffic = counters.read();
        assert_eq!((traffic.count(RequestKind::Put), traffic.bytes(RequestKind::Put)), (3, 60));
        assert_eq!((traffic.count(RequestKind::List), traffic.bytes(RequestKind::Get)), (3, 40));
        assert_eq!(traffic.total(), 8);
        let log = Requests { kind: RequestKind::Put, purpose: Purpose::Log, count: 2, bytes: 50 };
        assert!(traffic.requests.contains(&log), "{traffic:?}");
    }
}
