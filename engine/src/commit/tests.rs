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

/// The writer that drives the committer hears of its panic, and does not share it.
#[tokio::test]
async fn a_panic_of_the_committer_is_a_failure_like_others() {
    let (versions, prior) = (
        Arc::new(Versions::new(Vec::new(), Default::default(), 1)),
        Prior { number: 0, len: 0, last_seq: 0, next_seq: 1 },
    );
    let log = Arc::new(Log::new(
        &Options::default(),
        &Budget::of(1 << 30, &Options::default()),
        HASH_SEED,
        false,
        versions,
        Box::new(new_draft),
        prior,
    ));
    let _keeper = log.start(async { panic!("a broken promise") });
    for _ in 0..2 {
        let write = Write::new(b"k", Some(b"v"), None);
        let told = log.commit(std::iter::once(write), Durability::Synced).await;
        assert_eq!(told.unwrap_err().kind(), ErrorKind::Poisoned);
    }
}
