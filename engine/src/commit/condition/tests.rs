#![allow(clippy::unwrap_used)]
use super::*;
use crate::SystemClock;
use crate::clock::Clock;
use crate::format::frame::{Kind, NewRecord, Stream};
use crate::memtable::Placed;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::version::Version;
use bytes::BytesMut;
use std::time::Duration;

/// A log of one epoch, so far as transactions see it: memtables and a window, without anything durable.
struct Ordered {
    memtables: Vec<Arc<Memtable>>,
    window: Window,
    next_seq: Seq,
    offset: u32,
}

fn memtable(base_seq: Seq) -> Arc<Memtable> {
    Arc::new(Memtable::new(Stream { salt: 1, base_seq }))
}

/// Not a good hash: keys of one first letter share it.
fn hash(key: &str) -> u64 {
    u64::from(key.bytes().next().unwrap_or(0)) << 40
}

impl Ordered {
    fn new() -> Ordered {
        Ordered { memtables: vec![memtable(1)], window: Window::new(400), next_seq: 1, offset: 128 }
    }

    fn active(&self) -> &Arc<Memtable> {
        self.memtables.last().unwrap()
    }

    fn write(&mut self, key: &str) {
        let stream = Stream { salt: 1, base_seq: self.active().base_seq() };
        let (seq, kind) = (self.next_seq, Kind::Put);
        let key_bytes = key.as_bytes();
        let record = NewRecord {
            seq,
            kind,
            key: key_bytes,
            value: b"",
            compressed: false,
            expires_at: None,
            last_of_batch: true,
        };
        let mut piece = BytesMut::new();
        record.encode(&stream, u64::from(self.offset), &mut piece);
        let len = piece.len() as u32;
        self.active().insert(piece.freeze(), self.offset, &[Placed { start: 0, len, hash: hash(key), seq }]);
        self.offset += len;
        self.next_seq += 1;
    }

    fn rotate(&mut self) {
        self.memtables.push(memtable(self.next_seq));
        let active = self.active().clone();
        self.window.next_era(&active);
    }

    /// A view in which the last `hidden` records are not visible yet and the first `sealed` memtables are sealed.
    fn view(&self, hidden: u64, sealed: usize) -> View {
        let memtables = self.memtables[sealed..].iter().rev().cloned().collect();
        View { version: Arc::new(Version::new(memtables, Vec::new())), at: self.next_seq - 1 - hidden, now: 0 }
    }

    fn begin(&mut self, footprint: Footprint) -> Condition {
        self.begin_at(footprint, 0)
    }

    fn begin_at(&mut self, footprint: Footprint, hidden: u64) -> Condition {
        let active = self.active().clone();
        let era = self.window.open(&active);
        let clock = Arc::new(EngineClock::new(Arc::new(SystemClock), Duration::MAX));
        Condition::new(footprint, self.view(hidden, self.memtables.len() - 1), era, clock)
    }

    /// Judges as under the lock; the record that stands against it, if any does.
    fn check(&self, condition: &mut Condition) -> Result<(), Option<Seq>> {
        let until = self.next_seq - 1;
        let outcome = condition.check(&self.window, until);
        outcome.map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            condition.conflict()
        })
    }
}

fn keys(keys: &[&str]) -> Footprint {
    let mut footprint = Footprint::default();
    keys.iter().for_each(|key| footprint.add_key(hash(key), key.as_bytes()));
    footprint
}

fn range(start: &'static str, end: Option<&'static str>) -> Footprint {
    let mut footprint = Footprint::default();
    footprint.add_range(start.into(), end.map(Into::into));
    footprint
}

#[test]
fn only_what_it_rests_on_counts_and_only_what_came_since() {
    let mut log = Ordered::new();
    log.write("a");
    let mut condition = log.begin(keys(&["a", "b"]));
    assert_eq!(log.check(&mut condition), Ok(()));
    log.write("c");
    log.write("d");
    assert_eq!(log.check(&mut condition), Ok(()));
    log.write("b");
    assert_eq!(log.check(&mut condition), Err(Some(4)));
}

#[test]
fn a_commit_ordered_before_the_view_but_not_visible_in_it_counts() {
    let mut log = Ordered::new();
    log.write("a");
    log.write("b");
    let mut condition = log.begin_at(keys(&["b"]), 1);
    assert_eq!(log.check(&mut condition), Err(Some(2)));
    let mut condition = log.begin_at(keys(&["a"]), 1);
    assert_eq!(log.check(&mut condition), Ok(()));
}

/// The record not visible yet lies in a memtable that was full when the transaction began.
#[test]
fn what_is_hidden_in_an_earlier_memtable_counts() {
    let mut log = Ordered::new();
    log.write("a");
    log.rotate();
    log.write("b");
    let active = log.active().clone();
    let era = log.window.open(&active);
    let clock = Arc::new(EngineClock::new(Arc::new(SystemClock), Duration::MAX));
    let mut condition = Condition::new(keys(&["a"]), log.view(2, 0), era, clock);
    assert_eq!(log.check(&mut condition), Err(Some(1)));
}

#[test]
fn ranges_are_compared_by_their_keys() {
    for (start, end, key, touched) in [
        ("b", Some("d"), "a", false),
        ("b", Some("d"), "azz", false),
        ("b", Some("d"), "b", true),
        ("b", Some("d"), "czz", true),
        ("b", Some("d"), "d", false),
        ("b", None, "zzz", true),
        ("", None, "", true),
        ("", Some("\0"), "", true),
        ("", Some("\0"), "a", false),
        ("d", Some("b"), "c", false),
    ] {
        let mut log = Ordered::new();
        log.write("x");
        let mut condition = log.begin(range(start, end));
        log.write(key);
        assert_eq!(log.check(&mut condition).is_err(), touched, "{key} in {start}..{end:?}");
    }
}

#[test]
fn ranges_that_meet_become_one() {
    let mut footprint = Footprint::default();
    for (start, end) in
        [("m", Some("p")), ("a", Some("c")), ("b", Some("d")), ("c", Some("cc")), ("d", Some("e")), ("z", Some("y"))]
    {
        footprint.add_range(start.into(), end.map(Into::into));
    }
    footprint.settle();
    assert_eq!(footprint.ranges, [("a".into(), Some("e".into())), ("m".into(), Some("p".into()))]);
    assert!(footprint.covers(b"dz") && !footprint.covers(b"e") && !footprint.covers(b"l") && footprint.covers(b"m"));
    footprint.add_range("n".into(), None);
    footprint.add_range("o".into(), Some("q".into()));
    footprint.settle();
    assert_eq!(footprint.ranges, [("a".into(), Some("e".into())), ("m".into(), None)]);
    assert!(footprint.covers(b"\xff") && !footprint.covers(b""));
}

/// Every set of up to three small ranges covers just what one of them holds.
#[test]
fn settled_ranges_cover_what_they_did() {
    let letters = ["a", "b", "c", "d"];
    let mut all: Vec<(&str, Option<&str>)> = Vec::new();
    for start in letters {
        all.extend(letters.map(|end| (start, Some(end))));
        all.push((start, None));
    }
    for &one in &all {
        for &two in &all {
            for &three in &all {
                let mut footprint = Footprint::default();
                for (start, end) in [one, two, three] {
                    footprint.add_range(start.into(), end.map(Into::into));
                }
                footprint.settle();
                for key in ["", "a", "aa", "b", "bb", "c", "cc", "d", "dd"] {
                    let inside = |(start, end): (&str, Option<&str>)| key >= start && end.is_none_or(|end| key < end);
                    let expected = [one, two, three].into_iter().any(inside);
                    assert_eq!(footprint.covers(key.as_bytes()), expected, "{key} in {one:?} {two:?} {three:?}");
                }
            }
        }
    }
}

#[test]
fn memtables_begun_since_are_looked_at_until_they_are_let_go() {
    let mut log = Ordered::new();
    log.write("a");
    let mut condition = log.begin(keys(&["b"]));
    for _ in 0..3 {
        log.write("c");
        log.rotate();
    }
    assert_eq!(log.check(&mut condition), Ok(()));
    log.write("b");
    assert_eq!(log.check(&mut condition), Err(Some(5)));

    let mut log = Ordered::new();
    let mut condition = log.begin(keys(&["b"]));
    for _ in 0..100 {
        log.write("c");
        log.rotate();
    }
    log.write("c");
    assert_eq!(log.check(&mut condition), Err(None), "it is older than the window");
}

#[test]
fn most_is_compared_before_the_lock_is_taken_and_in_turns() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for conflict in [None, Some(1), Some(8191), Some(8192), Some(8193), Some(19_999)] {
        let mut log = Ordered::new();
        log.write("a");
        let mut condition = log.begin(keys(&["b"]));
        for number in 0..20_000 {
            log.write(if Some(number) == conflict { "b" } else { "c" });
        }
        let until = log.next_seq - 1;
        assert!(condition.is_far_behind(until));
        let memtables: Vec<_> = condition.memtables(&log.window).unwrap().cloned().collect();
        let caught_up = runtime.block_on(condition.catch_up(&memtables, until));
        assert_eq!(caught_up.is_err(), conflict.is_some());
        assert_eq!(condition.conflict(), conflict.map(|number| number + 2));
        if conflict.is_none() {
            assert!(!condition.is_far_behind(until));
            log.write("b");
            assert_eq!(log.check(&mut condition), Err(Some(20_002)));
        }
    }
}

#[derive(Debug)]
struct Fixed(AtomicU64);

impl Clock for Fixed {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn what_has_expired_since_does_not_hold_any_more() {
    let time = Arc::new(Fixed(AtomicU64::new(100)));
    let mut log = Ordered::new();
    let mut footprint = keys(&["a"]);
    footprint.add_expiry(None);
    footprint.add_expiry(Some(300));
    footprint.add_expiry(Some(200));
    let active = log.active().clone();
    let era = log.window.open(&active);
    let clock = Arc::new(EngineClock::new(time.clone(), Duration::MAX));
    let mut condition = Condition::new(footprint, log.view(0, 0), era, clock);
    assert_eq!(log.check(&mut condition), Ok(()));
    time.0.store(199, Ordering::Relaxed);
    assert_eq!(log.check(&mut condition), Ok(()));
    time.0.store(200, Ordering::Relaxed);
    assert_eq!(log.check(&mut condition), Err(None));
}
