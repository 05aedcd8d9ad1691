#![allow(clippy::unwrap_used)]

use super::*;
use crate::ErrorKind;
use crate::format::header::{Layout, Predecessor};

pub(super) const HASH_SEED: u64 = 7;

/// The draft behind the segment that `prior` tells of.
pub(super) fn new_draft(prior: Prior) -> Arc<Draft> {
    let Prior { number, len, last_seq, next_seq } = prior;
    let header = Header {
        database: [1; 16],
        id: SegmentId { epoch: 1, nonce: 2, number: number + 1 },
        salt: 0x5a17 + number,
        hash_seed: HASH_SEED,
        base_seq: next_seq,
        created: 0,
        layout: Layout::Dense,
        predecessor: (number > 0).then_some(Predecessor { number, len, last_seq }),
    };
    Arc::new(Draft { memtable: Arc::new(Memtable::new(header.stream())), header })
}

/// An empty log, and the memtable that its first commits enter.
fn new_log() -> (Arc<Log>, Arc<Memtable>) {
    let versions = Arc::new(Versions::new(Vec::new(), Default::default(), 1));
    let prior = Prior { number: 0, len: 0, last_seq: 0, next_seq: 1 };
    let options = Options::default();
    let budget = Budget::of(1 << 30, &options);
    let log = Log::new(&options, &budget, HASH_SEED, false, versions.clone(), Box::new(new_draft), prior);
    let memtable = versions.get().memtables[0].clone();
    (Arc::new(log), memtable)
}

/// The writer that drives the committer hears of its panic, and does not share it.
#[tokio::test]
async fn a_panic_of_the_committer_is_a_failure_like_others() {
    let (log, _) = new_log();
    let _keeper = log.start(async { panic!("a broken promise") });
    for _ in 0..2 {
        let write = Write::new(b"k", Some(b"v"), None);
        let told = log.commit(std::iter::once(write), Durability::Synced).await;
        assert_eq!(told.unwrap_err().kind(), ErrorKind::Poisoned);
    }
}

/// Writers at all levels and one who flushes, a committer that is driven by whoever comes, and a storage that answers
/// later, in many orders: everyone has an answer, none too early, and all ends.
#[cfg(feature = "explored")]
#[test]
fn interleaved_commits_are_answered_in_time_and_not_before() {
    use shuttle::future::block_on;
    use shuttle::thread::spawn;

    crate::sync::explore(2_000, || {
        let (log, memtable) = new_log();
        // What the storage has, and has for certain.
        let storage = Arc::new([(); 2].map(|()| AtomicU64::new(0)));
        let keeper = log.start(store(log.clone(), storage.clone()));
        let background = spawn(move || block_on(keeper));
        let writers = [b"a", b"b"].map(|key: &[u8; 1]| {
            let (log, memtable, storage) = (log.clone(), memtable.clone(), storage.clone());
            spawn(move || {
                for level in [Durability::Synced, Durability::Deferred, Durability::Written] {
                    let write = Write::new(key, Some(b"value"), None);
                    block_on(log.commit(std::iter::once(write), level)).unwrap();
                    let found = memtable.get(crate::hash::hash(HASH_SEED, key), key, log.visible()).unwrap();
                    let has = |place: usize| storage[place].load(Ordering::SeqCst) >= found.seq;
                    match level {
                        Durability::Synced => assert!(has(1), "answered before it was durable"),
                        Durability::Written => assert!(has(0), "answered before it was written"),
                        Durability::Deferred => {}
                    }
                }
            })
        });
        let (flushed, durable) = (log.clone(), storage.clone());
        let flusher = spawn(move || {
            let entered = flushed.next_seq() - 1;
            block_on(flushed.flush()).unwrap();
            assert!(durable[1].load(Ordering::SeqCst) >= entered, "flushed before it was durable");
        });
        writers.into_iter().chain([flusher]).for_each(|thread| thread.join().unwrap());
        log.stop();
        background.join().unwrap();
        assert_eq!((log.visible(), storage[0].load(Ordering::SeqCst)), (6, 6), "what has entered is written");
    });
}

/// The committer's work, on a storage that is only numbers.
#[cfg(feature = "explored")]
async fn store(log: Arc<Log>, storage: Arc<[AtomicU64; 2]>) {
    loop {
        let work = std::future::poll_fn(|_| log.next_work(Pace::Free)).await;
        yield_once().await;
        let reached = match work {
            Work::Write { group, sync } => {
                storage[0].store(group.last_seq, Ordering::SeqCst);
                let bytes = group.pieces.iter().map(|piece| piece.len() as u64).sum();
                Reached { written: group.last_seq, synced: sync, bytes }
            }
            Work::Sync => Reached { written: 0, synced: true, bytes: 0 },
            Work::Stop => return,
            other => unreachable!("so little fills no segment: {other:?}"),
        };
        if reached.synced {
            storage[1].store(storage[0].load(Ordering::SeqCst), Ordering::SeqCst);
        }
        log.reached(reached);
    }
}
