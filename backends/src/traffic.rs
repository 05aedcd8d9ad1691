//! What a backend has asked of a store that counts: requests and bytes, by kind and by what they were for.

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

/// What a request is for, as whoever makes it says: see [`Backend::for_purpose`](crate::Backend::for_purpose).
///
/// ```
/// use halite_backends::{Purpose, RequestKind, Traffic};
/// fn sent_by_merges(traffic: &Traffic) -> u64 {
///     traffic.of(Purpose::Merge).filter(|requests| requests.kind == RequestKind::Put).map(|requests| requests.bytes).sum()
/// }
/// assert_eq!(sent_by_merges(&Traffic::default()), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Opening a store: finding its newest manifest, claiming it, replaying its log.
    Open,
    /// The log, as it is written.
    Commit,
    /// Sealing: writing segments from the log (or uploading them, where that is kept apart), and opening them.
    Seal,
    /// Merging: reading segments, writing those that take their place, and looking what would be worth a merge.
    Merge,
    /// Making versions known: creating manifests, and looking whether another writer has.
    Publish,
    /// What was asked for: reads and scans.
    Read,
    /// What is read before it is asked for: warming up, and loading keys into memory.
    Warm,
    /// Readers that go on to what is new: manifests and log.
    Follow,
    /// Deleting what is needed no more, and looking for it.
    Collect,
    /// Verifications.
    Verify,
    /// Clones, backups and their like: what they read of their source, and all that they ask of their target.
    Copy,
    /// What nobody said anything of: the use of a backend by itself.
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

impl Requests {
    /// So many requests of that kind, for that purpose, with so many bytes.
    pub fn new(kind: RequestKind, purpose: Purpose, count: u64, bytes: u64) -> Requests {
        Requests { kind, purpose, count, bytes }
    }
}

impl Traffic {
    /// What consists of `requests`, none of which were repeated: for a [`Backend`](crate::Backend) that counts its own.
    pub fn of_requests(requests: Vec<Requests>) -> Traffic {
        Traffic { requests, repeated: 0 }
    }

    /// How many requests of `kind` there were.
    pub fn count(&self, kind: RequestKind) -> u64 {
        self.requests.iter().filter(|requests| requests.kind == kind).map(|requests| requests.count).sum()
    }

    /// Bytes of objects that requests of `kind` sent or received.
    pub fn bytes(&self, kind: RequestKind) -> u64 {
        self.requests.iter().filter(|requests| requests.kind == kind).map(|requests| requests.bytes).sum()
    }

    /// What there was of requests for `purpose`, by kind.
    pub fn of(&self, purpose: Purpose) -> impl Iterator<Item = &Requests> {
        self.requests.iter().filter(move |requests| requests.purpose == purpose)
    }

    /// How many requests there were, and how many attempts that had to be repeated.
    pub fn total(&self) -> u64 {
        self.requests.iter().map(|requests| requests.count).sum::<u64>() + self.repeated
    }
}

impl RequestKind {
    /// All kinds.
    pub const ALL: [RequestKind; 5] =
        [RequestKind::Put, RequestKind::Get, RequestKind::Head, RequestKind::List, RequestKind::Delete];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            RequestKind::Put => "put",
            RequestKind::Get => "get",
            RequestKind::Head => "head",
            RequestKind::List => "list",
            RequestKind::Delete => "delete",
        }
    }
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Purpose; 12] = [
        Purpose::Open,
        Purpose::Commit,
        Purpose::Seal,
        Purpose::Merge,
        Purpose::Publish,
        Purpose::Read,
        Purpose::Warm,
        Purpose::Follow,
        Purpose::Collect,
        Purpose::Verify,
        Purpose::Copy,
        Purpose::Other,
    ];

    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Open => "open",
            Purpose::Commit => "commit",
            Purpose::Seal => "seal",
            Purpose::Merge => "merge",
            Purpose::Publish => "publish",
            Purpose::Read => "read",
            Purpose::Warm => "warm",
            Purpose::Follow => "follow",
            Purpose::Collect => "collect",
            Purpose::Verify => "verify",
            Purpose::Copy => "copy",
            Purpose::Other => "other",
        }
    }
}

/// Counts requests as they are sent.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    counts: [[(AtomicU64, AtomicU64); Purpose::ALL.len()]; RequestKind::ALL.len()],
    repeated: AtomicU64,
}

impl Counters {
    /// So many requests that carry so many bytes of objects.
    pub(crate) fn add(&self, kind: RequestKind, purpose: Purpose, count: u64, bytes: u64) {
        let (counter, sum) = &self.counts[kind as usize][purpose as usize];
        counter.fetch_add(count, Ordering::Relaxed);
        sum.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn repeat(&self) {
        self.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        let mut requests = Vec::new();
        for kind in RequestKind::ALL {
            for purpose in Purpose::ALL {
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
    use super::*;

    #[test]
    fn all_kinds_and_purposes_are_listed_in_their_order() {
        assert!(RequestKind::ALL.iter().enumerate().all(|(at, &kind)| kind as usize == at));
        assert!(Purpose::ALL.iter().enumerate().all(|(at, &purpose)| purpose as usize == at));
        let mut names: Vec<_> = Purpose::ALL.map(Purpose::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Purpose::ALL.len());
    }

    #[test]
    fn requests_are_summed_by_kind_and_purpose() {
        let counters = Counters::default();
        assert_eq!(counters.read(), Traffic::default());
        counters.add(RequestKind::Put, Purpose::Publish, 1, 10);
        counters.add(RequestKind::Put, Purpose::Commit, 1, 20);
        counters.add(RequestKind::Put, Purpose::Commit, 1, 30);
        counters.add(RequestKind::Get, Purpose::Merge, 1, 40);
        counters.add(RequestKind::List, Purpose::Other, 3, 0);
        counters.repeat();
        let traffic = counters.read();
        assert_eq!((traffic.count(RequestKind::Put), traffic.bytes(RequestKind::Put)), (3, 60));
        assert_eq!((traffic.count(RequestKind::List), traffic.bytes(RequestKind::Get)), (3, 40));
        assert_eq!(traffic.total(), 8);
        assert_eq!(traffic.of(Purpose::Commit).map(|requests| requests.count).sum::<u64>(), 2);
        let commits = Requests { kind: RequestKind::Put, purpose: Purpose::Commit, count: 2, bytes: 50 };
        assert!(traffic.requests.contains(&commits), "{traffic:?}");
    }
}
