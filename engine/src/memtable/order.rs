//! Order on demand: sorted chunks of a memtable's entries, and a tail not sorted yet.
//!
//! A tail is sorted in small chunks, and neighbouring chunks of similar size are merged, so that alternating writes and
//! scans do not sort the same entries again and again: an entry is merged some log2(n / [`CHUNK`]) times in all.
//!
//! Comparing keys in the image would miss the cache with every step. So each chunk keeps, beside the entry, 8 bytes of
//! its key as a number: those behind the prefix that all keys of the chunk share. Only equal numbers look at the keys.
//!
//! Each chunk makes every scan a little slower, so scans that find nothing new save up for merging them all: as many
//! entries as each of them may cost on average.
//!
//! No step takes more than about a millisecond: it sorts or merges at most [`CHUNK`] entries.

use super::Memtable;
use std::cmp::Ordering;
use std::sync::Arc;

/// Entries that are sorted or merged in one step.
const CHUNK: usize = 4096;
/// Entries for whose merge a scan pays that finds all in chunks: some microseconds.
const SAVED_EACH: usize = 256;
/// Shared prefixes are looked for up to this length.
const SKIP_MAX: usize = 256;

/// What an entry takes while two chunks that hold them all are merged.
pub(super) const ENTRY_LEN: usize = 2 * size_of::<Sorted>();

/// Entries in the order of their keys, and of one key the newest first.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// All its keys share this many first bytes.
    pub(super) skip: usize,
    pub(super) entries: Vec<Sorted>,
}

impl Chunk {
    /// How many of its entries have a key smaller than `key`, or equal to it if `or_equal`.
    pub(super) fn below(&self, memtable: &Memtable, key: &[u8], or_equal: bool) -> usize {
        let Some(first) = self.entries.first() else { return 0 };
        let shared = &memtable.key(first.entry)[..self.skip];
        match key[..key.len().min(self.skip)].cmp(shared) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.entries.len(),
            Ordering::Equal => {}
        }
        let wanted = head(key, self.skip);
        self.entries.partition_point(|sorted| match sorted.head.cmp(&wanted) {
            Ordering::Equal => {
                let found = memtable.key(sorted.entry);
                found < key || (or_equal && found == key)
            }
            unequal => unequal.is_lt(),
        })
    }
}

/// An entry and the 8 bytes of its key behind the chunk's shared prefix, as a number that compares as they do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sorted {
    pub(super) head: u64,
    pub(super) entry: u32,
}

/// What has been ordered so far.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Entries below this number are in chunks.
    done: usize,
    chunks: Vec<Arc<Chunk>>,
    merging: Option<Merging>,
    /// For so many entries' merge scans have paid.
    saved: usize,
}

/// The merge of the last two chunks.
#[derive(Debug)]
struct Merging {
    left: (Arc<Chunk>, usize),
    right: (Arc<Chunk>, usize),
    out: Chunk,
}

/// How a step ended.
#[derive(Debug)]
pub(crate) enum Progress {
    /// All entries that were there are in order.
    Ready(Ordered),
    /// There is more to do: a moment to yield.
    Again,
}

/// A memtable's entries in a few sorted chunks.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(super) chunks: Vec<Arc<Chunk>>,
}

impl Ordered {
    /// How many first bytes the keys of all chunks share.
    pub(super) fn skip(&self, memtable: &Memtable) -> usize {
        let firsts = || self.chunks.iter().filter_map(|chunk| Some((chunk.skip, chunk.entries.first()?.entry)));
        let Some((_, first)) = firsts().next() else { return 0 };
        let shared = |(skip, entry)| shared_len(memtable.key(first), memtable.key(entry)).min(skip);
        firsts().map(shared).min().unwrap_or(0)
    }
}

impl Order {
    pub(super) fn step(&mut self, memtable: &Memtable, fully: bool) -> Progress {
        if let Some(merging) = self.merging.take() {
            self.go_on(memtable, merging);
        } else if self.wants_merge(fully && self.done == memtable.len()) {
            self.begin_merge(memtable);
        } else if self.done < memtable.len() {
            self.sort_tail(memtable);
        } else if self.saves_up() {
            self.begin_merge(memtable);
        } else {
            return Progress::Ready(Ordered { chunks: self.chunks.clone() });
        }
        Progress::Again
    }

    pub(super) fn bytes(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.entries.capacity()).sum();
        let merging = self.merging.as_ref().map_or(0, |merging| merging.out.entries.capacity());
        (chunks + merging) * size_of::<Sorted>()
    }

    /// Chunks keep more than twice the size of their right neighbour.
    fn wants_merge(&self, fully: bool) -> bool {
        match self.chunks.as_slice() {
            [.., left, right] => fully || left.entries.len() <= 2 * right.entries.len(),
            _ => false,
        }
    }

    /// Whether enough has been saved, with what this scan pays, for the merge of two more chunks: the last two, as the small
    /// ones are the most.
    fn saves_up(&mut self) -> bool {
        let [.., left, right] = self.chunks.as_slice() else { return false };
        let cost = left.entries.len() + right.entries.len();
        self.saved += SAVED_EACH;
        let enough = self.saved >= cost;
        if enough {
            self.saved -= cost;
        }
        enough
    }

    fn sort_tail(&mut self, memtable: &Memtable) {
        let until = memtable.len().min(self.done + CHUNK);
        let entries: Vec<u32> = (self.done as u32..until as u32).filter(|&entry| !memtable.is_range(entry)).collect();
        self.done = until;
        if entries.is_empty() {
            return;
        }
        let skip = shared_prefix(memtable, entries.iter().copied());
        let mut sorted: Vec<Sorted> =
            entries.into_iter().map(|entry| Sorted { head: head(memtable.key(entry), skip), entry }).collect();
        sorted.sort_unstable_by(|a, b| compare(memtable, a, b));
        self.chunks.push(Arc::new(Chunk { skip, entries: sorted }));
    }

    fn begin_merge(&mut self, memtable: &Memtable) {
        let (Some(right), Some(left)) = (self.chunks.pop(), self.chunks.pop()) else { return };
        let skip = match (left.entries.first(), right.entries.first()) {
            (Some(a), Some(b)) => {
                let shared = shared_len(memtable.key(a.entry), memtable.key(b.entry));
                shared.min(left.skip).min(right.skip)
            }
            _ => 0,
        };
        let out = Chunk { skip, entries: Vec::with_capacity(left.entries.len() + right.entries.len()) };
        self.chunks.extend([left.clone(), right.clone()]);
        self.merging = Some(Merging { left: (left, 0), right: (right, 0), out });
    }

    fn go_on(&mut self, memtable: &Memtable, mut merging: Merging) {
        for _ in 0..CHUNK {
            if !merging.step(memtable) {
                self.chunks.truncate(self.chunks.len() - 2);
                self.chunks.push(Arc::new(merging.out));
                return;
            }
        }
        self.merging = Some(merging);
    }
}

impl Merging {
    /// Moves the smaller of the two next entries; false where there is none.
    #[inline]
    fn step(&mut self, memtable: &Memtable) -> bool {
        let skip = self.out.skip;
        let next = |side: &(Arc<Chunk>, usize)| {
            let &Sorted { head: known, entry } = side.0.entries.get(side.1)?;
            let head = if side.0.skip == skip { known } else { head(memtable.key(entry), skip) };
            Some(Sorted { head, entry })
        };
        let (left, right) = (next(&self.left), next(&self.right));
        let take_left = match (&left, &right) {
            (None, None) => return false,
            (Some(left), Some(right)) => compare(memtable, left, right) != Ordering::Greater,
            (left, _) => left.is_some(),
        };
        let (taken, side) = if take_left { (left, &mut self.left) } else { (right, &mut self.right) };
        side.1 += 1;
        self.out.entries.extend(taken);
        true
    }
}

/// By key, and of one key the newer first. Of entries whose heads are of keys behind one prefix.
#[inline]
pub(super) fn compare(memtable: &Memtable, a: &Sorted, b: &Sorted) -> Ordering {
    a.head.cmp(&b.head).then_with(|| {
        let keys = memtable.key(a.entry).cmp(memtable.key(b.entry));
        // Later entries have larger sequence numbers.
        keys.then_with(|| b.entry.cmp(&a.entry))
    })
}

/// The 8 bytes of `key` behind its first `skip`, zeros where it ends, as a number that compares as they do.
#[inline]
pub(super) fn head(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    let mut bytes = [0; 8];
    let len = rest.len().min(8);
    bytes[..len].copy_from_slice(&rest[..len]);
    u64::from_le_bytes(bytes).swap_bytes()
}

fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take(SKIP_MAX).take_while(|(a, b)| a == b).count()
}

fn shared_prefix(memtable: &Memtable, mut entries: impl Iterator<Item = u32>) -> usize {
    let Some(first) = entries.next() else { return 0 };
    let first = memtable.key(first);
    entries.fold(first.len().min(SKIP_MAX), |shared, entry| {
        if shared == 0 { 0 } else { shared.min(shared_len(first, memtable.key(entry))) }
    })
}
