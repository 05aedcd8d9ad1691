#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::frame::NewRecord;
use crate::range::Course;
use crate::{KeyRange, hash};
use bytes::BytesMut;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

const STREAM: Stream = Stream { salt: 9, base_seq: 1 };

/// Newest first; `None` is a tombstone.
type Model = BTreeMap<(Vec<u8>, Reverse<Seq>), Option<Vec<u8>>>;

/// A memtable beside the model of what it holds.
struct Pair {
    memtable: Arc<Memtable>,
    model: Model,
    offset: u32,
    next_seq: Seq,
    random: u64,
}

impl Pair {
    fn new() -> Pair {
        let memtable = Arc::new(Memtable::new(STREAM));
        Pair { memtable, model: BTreeMap::new(), offset: 128, next_seq: 1, random: 1 }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn key(&mut self) -> Vec<u8> {
        let number = self.random(300);
        match self.random(4) {
            0 => Vec::new(),
            1 => vec![0xff; number as usize % 20],
            2 => format!("a shared prefix that is long {number}").into_bytes(),
            _ => number.to_le_bytes()[..(number % 4) as usize].to_vec(),
        }
    }

    fn insert(&mut self, writes: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        let mut piece = BytesMut::new();
        let mut placed = Vec::new();
        for (key, value) in writes {
            let kind = if value.is_some() { Kind::Put } else { Kind::Tombstone };
            let bytes = value.as_deref().unwrap_or_default();
            let record = NewRecord {
                seq: self.next_seq,
                kind,
                key: &key,
                value: bytes,
                compressed: false,
                expires_at: None,
                last_of_batch: true,
            };
            let hash = hash::hash(3, &key);
            if self.random.is_multiple_of(7) && value.is_some() {
                // Its value stays where it is.
                self.insert_piece(&mut piece, &mut placed);
                record.encode_without_value(&STREAM, u64::from(self.offset), 0, &mut piece);
                let len = (piece.len() + bytes.len()) as u32;
                let placed = Placed { start: 0, len, hash, seq: self.next_seq };
                let value = Bytes::copy_from_slice(bytes);
                self.memtable.insert_large(piece.split().freeze(), value, self.offset, placed);
                self.offset += len;
            } else {
                let start = piece.len() as u32;
                record.encode(&STREAM, u64::from(self.offset + start), &mut piece);
                placed.push(Placed { start, len: piece.len() as u32 - start, hash, seq: self.next_seq });
            }
            self.model.insert((key, Reverse(self.next_seq)), value);
            self.next_seq += 1;
        }
        self.insert_piece(&mut piece, &mut placed);
    }

    fn insert_piece(&mut self, piece: &mut BytesMut, placed: &mut Vec<Placed>) {
        let len = piece.len() as u32;
        self.memtable.insert(piece.split().freeze(), self.offset, placed);
        self.offset += len;
        placed.clear();
    }

    fn newest(&self, at: Seq) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut newest: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for ((key, Reverse(seq)), value) in &self.model {
            if *seq <= at {
                newest.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        newest.into_iter().collect()
    }

    fn ordered(&self, fully: bool) -> Ordered {
        loop {
            if let Progress::Ready(ordered) = self.memtable.order(fully) {
                return ordered;
            }
        }
    }

    fn bound(&mut self) -> Bound<Bytes> {
        let key = Bytes::from(self.key());
        match self.random(3) {
            0 => Bound::Included(key),
            1 => Bound::Excluded(key),
            _ => Bound::Unbounded,
        }
    }

    /// Walks a range both ways. Where it ends is for the cursor's user to see.
    fn check(&self, ordered: &Ordered, at: Seq, range: &KeyRange) {
        for course in Course::both_over(range) {
            let mut expected = self.newest(at);
            if course.is_backward() {
                expected.reverse();
            }
            expected.retain(|(key, _)| !course.is_before(key));
            assert_eq!(self.walk(ordered, at, &course), expected, "{course:?}");
        }
    }

    /// Walks in turns of any length.
    fn walk(&self, ordered: &Ordered, at: Seq, course: &Course) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut cursor = MemtableCursor::new(self.memtable.clone(), ordered, at, course);
        let mut walked = Vec::new();
        let budgets = [usize::MAX, 1, 3];
        let mut turns = 0;
        let mut advance = |cursor: &mut MemtableCursor| loop {
            turns += 1;
            if let Some(found) = cursor.advance(&mut budgets[turns % 3].clone()) {
                return found;
            }
        };
        while advance(&mut cursor) {
            let item = cursor.item();
            let (key, value) = cursor.shared();
            assert_eq!(item.record.key, key);
            let value = (item.record.kind == Kind::Put).then(|| value.stored().0.to_vec());
            walked.push((key.to_vec(), value));
        }
        walked
    }
}

#[test]
fn agrees_with_a_model_while_it_grows() {
    let mut pair = Pair::new();
    for round in 0..400 {
        let count = 1 + pair.random(60);
        let writes = (0..count)
            .map(|_| {
                let value = (pair.random(5) > 0).then(|| pair.random(1000).to_le_bytes().to_vec());
                (pair.key(), value)
            })
            .collect();
        let ordered = (round % 7 == 0).then(|| (pair.ordered(round % 3 == 0), pair.next_seq - 1));
        pair.insert(writes);
        let at = pair.next_seq - 1 - pair.random(20).min(pair.next_seq - 1);
        let newest = pair.newest(at);
        for (key, value) in &newest {
            let found = pair.memtable.get(hash::hash(3, key), key, at).unwrap();
            assert_eq!((found.kind == Kind::Put).then(|| found.value.stored().0.to_vec()), *value);
        }
        assert!(pair.memtable.get(hash::hash(3, b"absent"), b"absent", at).is_none());
        if let Some((ordered, at)) = ordered {
            // An order is fixed when it is made.
            pair.check(&ordered, at, &KeyRange::from(..));
        }
        if round % 5 == 0 {
            let ordered = pair.ordered(false);
            for _ in 0..4 {
                let range = KeyRange { start: pair.bound(), end: pair.bound() };
                pair.check(&ordered, at, &range);
            }
        }
    }
}

#[test]
fn chunks_merge_into_one_and_stay_few() {
    let mut pair = Pair::new();
    for _ in 0..40 {
        let writes = (0..1000).map(|_| (pair.random(1 << 40).to_le_bytes().to_vec(), Some(Vec::new()))).collect();
        pair.insert(writes);
        assert!(pair.ordered(false).chunks.len() <= 8);
    }
    let ordered = pair.ordered(true);
    assert_eq!(ordered.chunks.len(), 1);
    let newest: Vec<_> =
        pair.memtable.in_order(&ordered).filter(|found| found.2).map(|found| found.1.record.key.to_vec()).collect();
    let expected: Vec<_> = pair.newest(Seq::MAX).into_iter().map(|(key, _)| key).collect();
    assert_eq!(newest, expected);
    let offsets: Vec<_> = (0..pair.memtable.len() as u32).map(|entry| pair.memtable.at(entry).offset).collect();
    assert!(offsets.is_sorted(), "entries are in file order");
}

/// Scans that find nothing new pay for the merge of all chunks, together as much as that costs.
#[test]
fn scans_of_what_stays_the_same_come_to_one_chunk() {
    let mut pair = Pair::new();
    let mut insert = |count| {
        let writes = (0..count).map(|_| (pair.random(1 << 40).to_le_bytes().to_vec(), Some(Vec::new()))).collect();
        pair.insert(writes);
        pair.ordered(false).chunks.len()
    };
    assert_eq!((insert(8000), insert(1000)), (1, 2));
    let scans = (1..).find(|_| pair.ordered(false).chunks.len() == 1);
    assert!(scans.is_some_and(|scans| (30..40).contains(&scans)), "{scans:?}");
    pair.check(&pair.ordered(false), pair.next_seq, &KeyRange::from(..));
}

#[test]
fn what_came_since_is_found_from_any_moment_to_any_other() {
    let mut pair = Pair::new();
    assert_eq!(pair.memtable.since(0, Seq::MAX).count(), 0);
    for len in 0..40 {
        for after in 0..=pair.next_seq {
            for until in [after, after + 1, pair.next_seq / 2, pair.next_seq - 1, Seq::MAX] {
                let found: Vec<_> = pair.memtable.since(after, until).map(|change| change.seq()).collect();
                let expected: Vec<_> = (1..pair.next_seq).filter(|seq| *seq > after && *seq <= until).collect();
                assert_eq!(found, expected, "since {after} until {until} of {len}");
            }
        }
        let key = pair.key();
        pair.insert(vec![(key.clone(), None)]);
        let last = pair.memtable.since(pair.next_seq - 2, Seq::MAX).last().unwrap();
        assert_eq!((last.key(), last.hash()), (&key[..], hash::hash(3, &key)));
    }
}

#[test]
fn readers_see_whole_records_while_others_come() {
    let mut pair = Pair::new();
    let memtable = pair.memtable.clone();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let at = memtable.max_seq();
                let found = memtable.get(hash::hash(3, b"counter"), b"counter", at);
                assert_eq!(found.map_or(0, |found| found.seq), at, "every record is one of this key");
            }
        });
        for number in 0..20_000_u64 {
            pair.insert(vec![(b"counter".to_vec(), Some(number.to_le_bytes().to_vec()))]);
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Readers of the newest, of what was, of a range and of the order, beside one writer, in many orders.
#[cfg(feature = "explored")]
#[test]
fn interleaved_readers_and_a_writer() {
    use shuttle::thread::spawn;

    const KEYS: [&[u8]; 2] = [b"a", b"b"];
    // Which key each record is of; the third deletes a range that holds the first key.
    const OF: [usize; 6] = [0, 1, 0, 0, 1, 0];
    const RANGE: Seq = 3;
    let hash = |key: &[u8]| hash::hash(3, key);
    let newest = |key: usize, at: Seq| (1..=at).rev().find(|seq| *seq != RANGE && OF[*seq as usize - 1] == key);
    crate::sync::explore(2_000, move || {
        let memtable = Arc::new(Memtable::new(STREAM));
        let written = memtable.clone();
        let writer = spawn(move || {
            let mut offset = 128;
            for (seq, key) in (1..).zip(OF.map(|key| KEYS[key])) {
                let (kind, value): (_, &[u8]) =
                    if seq == RANGE { (Kind::RangeTombstone, b"b") } else { (Kind::Put, b"value") };
                let record =
                    NewRecord { seq, kind, key, value, compressed: false, expires_at: None, last_of_batch: true };
                let mut piece = BytesMut::new();
                record.encode(&STREAM, u64::from(offset), &mut piece);
                let len = piece.len() as u32;
                written.insert(piece.freeze(), offset, &[Placed { start: 0, len, hash: hash(key), seq }]);
                offset += len;
            }
        });
        let readers = [(); 2].map(|()| {
            let memtable = memtable.clone();
            spawn(move || {
                for _ in 0..3 {
                    let at = memtable.max_seq();
                    for (number, key) in KEYS.into_iter().enumerate() {
                        let found = memtable.get(hash(key), key, at).map(|found| found.seq);
                        assert_eq!(found, newest(number, at), "the newest of key {number} at {at}");
                    }
                    assert_eq!(memtable.covered(b"a", at), if at >= RANGE { RANGE } else { 0 });
                    let ordered = loop {
                        if let Progress::Ready(ordered) = memtable.order(false) {
                            break ordered;
                        }
                    };
                    let mut cursor = MemtableCursor::new(
                        memtable.clone(),
                        &ordered,
                        at,
                        &Course::both_over(&KeyRange::from(..)).into_iter().next().unwrap(),
                    );
                    let mut walked = Vec::new();
                    while cursor.advance(&mut usize::MAX.clone()).unwrap() {
                        walked.push(cursor.item().record.seq);
                    }
                    let expected: Vec<Seq> = (0..KEYS.len()).filter_map(|key| newest(key, at)).collect();
                    assert_eq!(walked, expected, "in key order at {at}");
                }
            })
        });
        writer.join().unwrap();
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        assert_eq!((memtable.len(), memtable.max_seq()), (OF.len(), OF.len() as Seq));
    });
}
