//! Every small case of a merge: all histories of up to four records over two keys, each record a put, a put that
//! expires, a delete or a range delete of one of them or both, spread over runs in every way, and every row of
//! neighbouring runs merged, before the expiry and after it, with a snapshot held behind each record. (Other subsets are no
//! merge: runs must stay apart in seqs.) Whatever is merged, readers and snapshots see the same.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Clock, Db, Durability, Options, Snapshot, WriteBatch, WriteOptions};
use bytes::Bytes;
use futures::TryStreamExt;
use halite_backends::Memory;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

const RECORDS: usize = 4;
/// Nothing, or one of seven records.
const CHOICES: usize = 8;
const HISTORIES: usize = CHOICES.pow(RECORDS as u32);
const EARLY: u64 = 1_000;
const TTL: u64 = 1_000;
const LATE: u64 = EARLY + TTL;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Put,
    PutExpiring,
    Delete,
    /// Of that key, and of all behind it.
    DeleteRange,
}

/// What readers see.
type Seen = BTreeMap<Vec<u8>, Bytes>;

/// What happens at `step` of a history, and to which of its keys.
fn deed(history: usize, step: usize) -> Option<(usize, Deed)> {
    use Deed::*;
    let choice = (history / CHOICES.pow(step as u32) % CHOICES).checked_sub(1)?;
    Some([(0, Put), (1, Put), (0, PutExpiring), (0, Delete), (1, Delete), (0, DeleteRange), (1, DeleteRange)][choice])
}

/// All histories happen in one database, each to keys of its own.
fn key(history: usize, key: usize) -> Vec<u8> {
    format!("{history:04}/{key}").into_bytes()
}

/// What readers must see at engine time `now`, behind all records.
fn expected(now: u64) -> &'static Seen {
    expected_behind(RECORDS, now)
}

/// What readers must see at engine time `now`, behind the first so many records.
fn expected_behind(records: usize, now: u64) -> &'static Seen {
    static EXPECTED: [[OnceLock<Seen>; 2]; RECORDS + 1] = [const { [const { OnceLock::new() }; 2] }; RECORDS + 1];
    EXPECTED[records][usize::from(now >= LATE)].get_or_init(|| play(records, now))
}

fn play(records: usize, now: u64) -> Seen {
    let mut seen = BTreeMap::new();
    for history in 0..HISTORIES {
        for (step, (of, deed)) in (0..records).filter_map(|step| deed(history, step).map(|deed| (step, deed))) {
            match deed {
                Deed::Delete => seen.remove(&key(history, of)),
                Deed::DeleteRange => {
                    (of..2).for_each(|of| drop(seen.remove(&key(history, of))));
                    None
                }
                Deed::PutExpiring if now >= LATE => seen.remove(&key(history, of)),
                _ => seen.insert(key(history, of), Bytes::from(vec![step as u8; 3])),
            };
        }
    }
    seen
}

#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Case {
    backend: Memory,
    budget: u64,
    clock: Arc<Hand>,
    name: String,
}

impl Case {
    /// `segments` of all outputs together: their size is chosen to make several.
    async fn open(&self, segment_bytes_max: u64) -> Db {
        let options = Options {
            segment_bytes_max,
            merge_in_background: false,
            memory_budget: Some(self.budget),
            ..Options::default()
        };
        let builder = Db::builder(Arc::new(self.backend.clone())).options(options).clock(self.clock.clone());
        builder.open().await.unwrap()
    }

    /// Lets all histories happen; a run ends behind each step whose bit is set in `ends`.
    /// Returns a snapshot behind each.
    async fn fill(&self, db: &Db, ends: usize) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        let options = WriteOptions { durability: Durability::Deferred, ttl: None };
        for step in 0..RECORDS {
            let (mut batch, mut expiring) = (WriteBatch::new(), WriteBatch::new());
            for history in 0..HISTORIES {
                let Some((of, deed)) = deed(history, step) else { continue };
                let (key, value) = (key(history, of), [step as u8; 3]);
                match deed {
                    Deed::Put => batch = batch.put(key, value),
                    Deed::Delete => batch = batch.delete(key),
                    Deed::DeleteRange => batch = batch.delete_range(key..self::key(history, 2)),
                    Deed::PutExpiring => expiring = expiring.put(key, value),
                }
            }
            db.write_with(batch, options).await.unwrap();
            let ttl = Some(Duration::from_millis(TTL));
            db.write_with(expiring, WriteOptions { ttl, ..options }).await.unwrap();
            snapshots.push(db.snapshot());
            if ends >> step & 1 == 1 {
                db.core().log.rotate().unwrap();
                db.core().log.all_sealed().await.unwrap();
            }
        }
        snapshots
    }

    /// Merges the segments of `runs`, or of the only one of these just that in this `place`.
    async fn merge(&self, db: &Db, runs: Range<usize>, place: Option<usize>) {
        let version = db.core().versions.get();
        let inputs: Vec<_> = version.runs[runs.clone()].iter().flat_map(|run| &run.segments).cloned().collect();
        let inputs = place.map_or(inputs.clone(), |place| vec![inputs[place].clone()]);
        merge::merge(db.core(), &version, runs, inputs, Pace::new(db.core(), None)).await.unwrap();
    }

    async fn check(&self, db: &Db, when: &str) {
        let expected = expected(self.clock.now_millis());
        let scanned: BTreeMap<_, _> =
            db.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap();
        assert!(scanned == *expected, "{} {when}: {:?}", self.name, differences(&scanned, expected));
        for history in 0..HISTORIES {
            for key in [key(history, 0), key(history, 1)] {
                let got = db.get(&key).await.unwrap();
                assert_eq!(got.as_ref(), expected.get(&key), "{} {when}: {}", self.name, key.escape_ascii());
            }
        }
    }

    /// Each snapshot shows what was there when it was taken, before the expiry.
    async fn check_snapshots(&self, snapshots: &[Snapshot]) {
        for (step, snapshot) in snapshots.iter().enumerate() {
            let expected = expected_behind(step + 1, EARLY);
            let scanned: BTreeMap<_, _> =
                snapshot.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect().await.unwrap();
            let differences = differences(&scanned, expected);
            assert!(scanned == *expected, "{} in the snapshot behind step {step}: {differences:?}", self.name);
            for history in (step..HISTORIES).step_by(61) {
                for key in [key(history, 0), key(history, 1)] {
                    let got = snapshot.get(&key).await.unwrap();
                    assert_eq!(got.as_ref(), expected.get(&key), "{} step {step}: {}", self.name, key.escape_ascii());
                }
            }
        }
    }
}

fn differences(a: &Seen, b: &Seen) -> Vec<String> {
    let keys = a.keys().chain(b.keys()).filter(|key| a.get(*key) != b.get(*key));
    keys.map(|key| format!("{} {:?} {:?}", key.escape_ascii(), a.get(key), b.get(key))).take(5).collect()
}

async fn check_case(ends: usize, runs: Range<usize>, merged_at: u64, budget: u64) {
    let clock = Arc::new(Hand(AtomicU64::new(EARLY)));
    let name = format!("ends {ends:#b}, runs {runs:?} merged at {merged_at}, budget {budget}");
    let case = Case { backend: Memory::new(), budget, clock, name };
    let db = case.open(64 << 20).await;
    let snapshots = case.fill(&db, ends).await;
    case.clock.0.store(merged_at, Ordering::Relaxed);
    case.check(&db, "before the merge").await;
    case.merge(&db, runs.clone(), None).await;
    case.check(&db, "after the merge").await;
    case.clock.0.store(LATE, Ordering::Relaxed);
    case.check(&db, "after the expiry").await;
    case.check_snapshots(&snapshots).await;
    drop(snapshots);
    db.close().await.unwrap();

    // The newest run in several segments, then one of these alone, then everything.
    let db = case.open(16 << 10).await;
    case.check(&db, "after reopening").await;
    case.merge(&db, 0..1, None).await;
    let segments = db.core().versions.get().runs[0].segments.len();
    for place in [segments - 1, 0] {
        case.merge(&db, 0..1, Some(place)).await;
        case.check(&db, "after the merge of one segment").await;
    }
    db.compact().await.unwrap();
    case.check(&db, "after compact").await;
    assert_eq!(db.stats().records as usize, expected(LATE).len(), "{}: nothing dead remains", case.name);
    assert_eq!(db.stats().range_tombstones, 0, "{}: nothing is left for them to hide", case.name);
    assert_eq!(db.verify().await.unwrap().damage, []);
    db.close().await.unwrap();
}

/// All cases of one way to spread the records.
async fn check_cases(ends: usize) {
    let count = ends.count_ones() as usize;
    for start in 0..count {
        for end in start + 1..=count {
            // All is resident, or nothing.
            for (merged_at, budget) in [(EARLY, 1 << 30), (LATE, 1 << 30), (EARLY, 0), (LATE, 0)] {
                check_case(ends, start..end, merged_at, budget).await;
            }
        }
    }
}

#[tokio::test]
async fn of_all_records_in_one_run() {
    check_cases(0b1000).await;
}

#[tokio::test]
async fn of_records_in_two_runs() {
    for ends in [0b1001, 0b1010, 0b1100] {
        check_cases(ends).await;
    }
}

#[tokio::test]
async fn of_records_in_three_runs() {
    for ends in [0b1011, 0b1101, 0b1110] {
        check_cases(ends).await;
    }
}

#[tokio::test]
async fn of_each_record_in_a_run_of_its_own() {
    check_cases(0b1111).await;
}
