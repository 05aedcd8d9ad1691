#![allow(clippy::unwrap_used)]
use super::*;
use crate::format::frame::{Kind, NewRecord};
use crate::format::fuzz;
use crate::format::header::HEADER_LEN;
use bytes::BytesMut;

const STREAM: Stream = Stream { salt: 0x5a17_0001, base_seq: 10 };
const START: u64 = HEADER_LEN as u64;

/// Builds a log frame by frame, and remembers where each stands.
#[derive(Clone)]
struct Log {
    out: BytesMut,
    seq: Seq,
    records: u64,
    durable: u64,
}

impl Log {
    fn new() -> Log {
        Log { out: BytesMut::new(), seq: STREAM.base_seq - 1, records: 0, durable: START }
    }

    fn here(&self) -> u64 {
        START + self.out.len() as u64
    }

    fn record(&mut self, value_len: usize, last_of_batch: bool) -> &mut Log {
        self.seq += 1;
        self.records += 1;
        let value = vec![KIND_MARK_BYTE; value_len];
        let key = self.seq.to_le_bytes();
        let record = NewRecord {
            seq: self.seq,
            kind: Kind::Put,
            key: &key,
            value: &value,
            compressed: false,
            expires_at: None,
            last_of_batch,
        };
        let offset = self.here();
        record.encode(&STREAM, offset, &mut self.out);
        self
    }

    /// A batch of so many records.
    fn batch(&mut self, records: usize) -> &mut Log {
        for number in 1..=records {
            self.record(20, number == records);
        }
        self
    }

    /// A mark that declares what `synced` last noted.
    fn mark(&mut self) -> &mut Log {
        let offset = self.here();
        Mark { durable: self.durable, time: 1000 + offset }.encode(&STREAM, offset, &mut self.out);
        self
    }

    fn synced(&mut self) -> &mut Log {
        self.durable = self.here();
        self
    }

    fn end(&mut self) -> &mut Log {
        let (records, seq) = (self.records, self.seq);
        self.end_saying(records, seq)
    }

    fn end_saying(&mut self, records: u64, last_seq: Seq) -> &mut Log {
        let offset = self.here();
        let end = End { len: offset + END_LEN as u64, records, last_seq, durable: self.durable, time: 9 };
        end.encode(&STREAM, offset, &mut self.out);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        self.out.to_vec()
    }
}

/// Values full of it make the hunt for marks look closely.
const KIND_MARK_BYTE: u8 = 4;

/// Replays all; gives the seqs of each batch and the tail.
fn replay(bytes: &[u8], declared: u64) -> (Vec<Vec<Seq>>, Tail) {
    let mut replay = Replay::new(STREAM, START, bytes, declared);
    let mut batches = Vec::new();
    for _ in 0..10_000_000 {
        match replay.step() {
            Step::More => {}
            Step::Batch(batch) => {
                let seqs: Vec<Seq> = batch.records().map(|placed| placed.unwrap().1.seq).collect();
                assert_eq!((seqs.len() as u64, seqs.last()), (batch.records, Some(&batch.last_seq)));
                batches.push(seqs);
            }
            Step::Done(tail) => {
                assert_eq!(replay.step(), Step::Done(tail.clone()), "it stays done");
                return (batches, tail);
            }
        }
    }
    panic!("replay does not end");
}

fn corrupt_by(bytes: &[u8], declared: u64) -> (u64, Proof) {
    match replay(bytes, declared).1.verdict {
        Verdict::Corrupt { damage, proof } => (damage.offset, proof),
        other => panic!("expected corruption, got {other:?}"),
    }
}

fn torn_at(bytes: &[u8], declared: u64) -> u64 {
    match replay(bytes, declared).1.verdict {
        Verdict::Torn { at, .. } => at,
        other => panic!("expected a torn tail, got {other:?}"),
    }
}

#[test]
fn row_1_the_end_mark() {
    let mut log = Log::new();
    log.mark().batch(1).batch(3).synced().mark().batch(2).synced().end();
    let (batches, tail) = replay(&log.bytes(), 0);
    assert_eq!(batches, [vec![10], vec![11, 12, 13], vec![14, 15]]);
    assert!(matches!(tail.verdict, Verdict::Ended(End { records: 6, last_seq: 15, .. })));
    assert_eq!((tail.end, tail.records, tail.last_seq), (log.here(), 6, Some(15)));
    assert_eq!(tail.durable, log.durable);

    // What follows an end mark (an index, half written or not) is not looked at.
    let followed = [log.bytes(), vec![0xab; 1000]].concat();
    assert_eq!(replay(&followed, 0).1, tail);
    assert_eq!(replay(&followed, log.here()).1, tail);

    let (batches, tail) = replay(&Log::new().end_saying(0, 0).bytes(), 0);
    assert!(batches.is_empty() && matches!(tail.verdict, Verdict::Ended(_)));
}

#[test]
fn row_2_contradictions() {
    let check = |log: &Log, at: u64| assert_eq!(corrupt_by(&log.bytes(), 0), (at, Proof::Whole));
    let mut log = Log::new();
    let at = log.mark().batch(2).here();
    check(log.clone().end_saying(1, 11), at);
    check(log.clone().end_saying(2, 12), at);
    log.seq = 10;
    check(log.clone().batch(1), at);
    log.seq = 11;
    let within = log.record(1, false).here();
    check(log.clone().mark(), within);
    check(log.clone().end(), within);
    log.seq = 11;
    check(log.clone().record(1, true), within);

    let mut log = Log::new();
    let at = log.batch(1).here();
    assert_eq!(corrupt_by(&log.clone().end().bytes(), at + 46), (at, Proof::Whole));
}

#[test]
fn row_3_damage_below_a_mark() {
    let mut log = Log::new();
    let hole = log.mark().batch(1).here();
    log.batch(2).synced();
    let mark_at = log.here();
    let durable = log.durable;
    log.mark().batch(1);
    let expected = (hole, Proof::Mark { at: mark_at, durable });
    for damaged in hole..log.durable {
        let mut bytes = log.bytes();
        bytes[(damaged - START) as usize] ^= 0x40;
        let (offset, proof) = corrupt_by(&bytes, 0);
        assert!(hole <= offset && offset <= damaged && proof == expected.1);
    }
    // A zeroed sector, its first frame included, is no different.
    let mut bytes = log.bytes();
    bytes[(hole - START) as usize..(durable - START) as usize].fill(0);
    assert_eq!(corrupt_by(&bytes, 0), expected);
}

#[test]
fn row_3_the_end_mark_is_a_mark_too() {
    let mut log = Log::new();
    let hole = log.mark().batch(1).here();
    log.batch(2).synced();
    let (at, durable) = (log.here(), log.durable);
    let mut bytes = log.end().bytes();
    bytes[(hole - START) as usize + 7] ^= 1;
    assert_eq!(corrupt_by(&bytes, 0), (hole, Proof::Mark { at, durable }));
}

#[test]
fn row_3_damage_below_what_the_caller_knows() {
    let mut log = Log::new();
    let hole = log.batch(1).here();
    let bytes = log.bytes();
    assert_eq!(corrupt_by(&bytes, hole + 1), (hole, Proof::Declared(hole + 1)), "the rest is missing");
    let zeros = [bytes, vec![0; 100]].concat();
    assert_eq!(corrupt_by(&zeros, hole + 1), (hole, Proof::Declared(hole + 1)));
    assert_eq!(replay(&zeros, hole).1.verdict, Verdict::Clean);
}

#[test]
fn row_4_nothing_follows() {
    let mut log = Log::new();
    log.mark().batch(2).synced().mark();
    for zeros in [0, 1, 44, 45, 5000, STEP_LEN - 1, 3 * STEP_LEN + 7] {
        let (batches, tail) = replay(&[log.bytes(), vec![0; zeros]].concat(), 0);
        assert_eq!(batches.len(), 1);
        assert_eq!((tail.verdict, tail.end), (Verdict::Clean, log.here()));
    }
    let (batches, tail) = replay(&[], 0);
    assert_eq!((batches.len(), tail.verdict, tail.end), (0, Verdict::Clean, START));
}

#[test]
fn row_5_a_torn_write() {
    let mut log = Log::new();
    log.mark().batch(1).synced().mark().batch(1);
    let (whole, hole) = (log.clone(), log.here());
    log.batch(3).batch(1).mark().batch(1);
    // Cut anywhere in the batch of three: all of it goes.
    let (bytes, three_end) = (log.bytes(), whole.clone().batch(3).here());
    for end in hole + 1..three_end {
        let cut = &bytes[..(end - START) as usize];
        let (batches, tail) = replay(cut, 0);
        assert_eq!((batches.len(), tail.records, tail.end), (2, 2, hole));
        assert_eq!(torn_at(cut, 0), hole);
        assert_eq!(torn_at(&[cut, &[0; 600]].concat(), 0), hole);
    }
    // One byte of it wrong: later frames are whole, but the mark among them does not vouch for it.
    for damaged in hole..three_end {
        let mut bytes = bytes.clone();
        bytes[(damaged - START) as usize] ^= 0x10;
        assert_eq!(torn_at(&bytes, 0), hole);
    }
    // Whole frames of a fragment, the last of the batch in one that was never created.
    let cut = whole.clone().record(5, false).bytes();
    assert_eq!(torn_at(&cut, START + cut.len() as u64), hole);
}

/// Sectors persist in any order: for each subset of the unsynced sectors lost, what was declared durable is read
/// and nothing else than a prefix, and no loss of unsynced bytes is taken for corruption.
#[test]
fn any_unsynced_sectors_may_be_lost() {
    const SECTOR: u64 = 512;
    let mut log = Log::new();
    log.mark();
    for _ in 0..20 {
        log.batch(2);
    }
    let durable = log.synced().here();
    let synced = replay(&log.bytes(), 0).0;
    log.mark();
    for _ in 0..30 {
        log.batch(3);
    }
    log.mark();
    for _ in 0..20 {
        log.batch(1);
    }
    let all = replay(&log.bytes(), 0).0;
    let sectors: Vec<u64> = (durable.next_multiple_of(SECTOR)..log.here()).step_by(SECTOR as usize).collect();
    let mut dice = fuzz::Dice::new(1);
    for _ in 0..fuzz::times(2000) {
        let lost = dice.next();
        let mut bytes = log.bytes();
        for (number, sector) in sectors.iter().enumerate().filter(|(number, _)| lost >> (number % 64) & 1 == 1) {
            let from = (sector - START) as usize;
            let until = bytes.len().min(from + SECTOR as usize);
            bytes[from..until].fill(if number % 2 == 0 { 0 } else { 0xa5 });
        }
        let (batches, tail) = replay(&bytes, 0);
        assert!(!matches!(tail.verdict, Verdict::Corrupt { .. }), "{:?} lost={lost:#x}", tail.verdict);
        assert!(batches.len() >= synced.len());
        assert_eq!(batches, all[..batches.len()]);
    }
}

#[test]
fn long_batches_and_long_hunts_pause() {
    let mut log = Log::new();
    for _ in 0..10 {
        log.record(100_000, false);
    }
    let whole = log.clone().record(1, true).bytes();
    let mut replaying = Replay::new(STREAM, START, &whole, 0);
    assert_eq!(replaying.step(), Step::More);
    assert_eq!(replay(&whole, 0).0[0].len(), 11);

    // The mark that convicts lies a megabyte above the hole.
    let mut bytes = log.record(1, true).synced().mark().bytes();
    bytes[0] ^= 1;
    assert_eq!(corrupt_by(&bytes, 0), (START, Proof::Mark { at: log.durable, durable: log.durable }));
}

#[test]
fn mutated_logs() {
    let mut log = Log::new();
    log.mark().batch(2).synced().mark().batch(1).record(3, false);
    let ended = Log::new().mark().batch(2).synced().end().bytes();
    let seeds = [log.bytes(), ended, vec![0; 100]];
    let all: Vec<Vec<Vec<Seq>>> = seeds.iter().map(|seed| replay(seed, 0).0).collect();
    fuzz::mutate(&seeds, 100_000, |bytes| {
        let (batches, tail) = replay(bytes, 0);
        assert!(all.iter().any(|all| all.starts_with(&batches)), "{batches:?}");
        assert!(tail.end <= START + bytes.len() as u64);
    });
}
