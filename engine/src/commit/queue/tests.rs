#![allow(clippy::unwrap_used)]

use super::*;
use crate::commit::tests::{HASH_SEED, new_draft};
use crate::cover::Cover;
use crate::format::header::Header;
use crate::format::mark::{End, Mark};
use crate::format::tail::{Replay, Step, Tail, Verdict};
use Durability::{Deferred, Synced, Written};

/// A queue, and a committer that does at once, in memory, what it is given.
struct Bench {
    queue: Queue,
    versions: Versions,
    visible: AtomicU64,
    /// The files, header included; the last is the active one.
    files: Vec<(Header, Vec<u8>)>,
    /// Segments ended and not sealed.
    ended: usize,
}

impl Bench {
    fn new(grows: bool, options: &Options) -> Bench {
        let versions = Versions::new(Vec::new(), Cover::default(), 1);
        let active = new_draft(Prior { number: 0, len: 0, last_seq: 0, next_seq: 1 });
        versions.begin_memtable(active.memtable.clone());
        let files = vec![(active.header, active.header.encode().to_vec())];
        let queue = Queue::new(options, &Budget::of(1 << 30, options), HASH_SEED, grows, active, 1);
        Bench { queue, versions, visible: AtomicU64::new(0), files, ended: 0 }
    }

    /// Lets a commit of `count` puts of `len` bytes enter, if it may.
    fn enter(&mut self, count: usize, len: usize, level: Durability) -> Result<Option<Entered>> {
        let value = vec![0xab; len];
        let writes = vec![Write::new(b"key", Some(&value), None); count];
        let (stream, next_seq) = (self.queue.active().stream(), self.queue.next_seq());
        let size = Size::of(writes.iter().copied(), &stream, next_seq);
        let since = self.queue.reserve_attempts();
        Ok(match self.queue.admit(size, false, since, &mut new_draft, &self.versions)? {
            Admission::Wait => None,
            Admission::Enter => Some(self.queue.enter(writes.into_iter(), size, level, &self.visible)),
        })
    }

    /// As [`enter`](Bench::enter), after as much work as that takes.
    fn put(&mut self, count: usize, len: usize, level: Durability) -> Entered {
        for _ in 0..10 {
            if let Some(entered) = self.enter(count, len, level).unwrap() {
                return entered;
            }
            self.work();
            self.seal();
        }
        panic!("it never enters");
    }

    /// Does all there is to do.
    fn work(&mut self) {
        while let Some(work) = self.queue.next_work(Pace::Free) {
            if matches!(work, Work::Stop) {
                return;
            }
            self.do_one(work);
        }
    }

    fn do_one(&mut self, work: Work) {
        let reached = match work {
            Work::Write { group, sync } => {
                let bytes = group.pieces.iter().map(|piece| piece.len() as u64).sum();
                let (header, file) = self.file(group.draft.as_ref().unwrap());
                assert_eq!(file.len() as u64, group.start, "groups follow each other without a gap");
                let mut frame = BytesMut::new();
                Mark { durable: 0, time: 0 }.encode(&header.stream(), group.start, &mut frame);
                file.extend_from_slice(&frame);
                group.pieces.iter().for_each(|piece| file.extend_from_slice(piece));
                assert_eq!(file.len() as u64, group.end);
                Reached { written: group.last_seq, synced: sync, bytes }
            }
            Work::Sync => Reached { written: 0, synced: true, bytes: 0 },
            Work::Rotate { draft, end, successor } => {
                let (header, file) = self.file(&draft);
                assert_eq!(file.len() as u64, end);
                let (records, last_seq) = (draft.memtable.len() as u64, draft.memtable.max_seq());
                let mut frame = BytesMut::new();
                End { len: end + END_LEN, records, last_seq, durable: 0, time: 0 }.encode(
                    &header.stream(),
                    end,
                    &mut frame,
                );
                file.extend_from_slice(&frame);
                assert_eq!(successor, draft.id().number + 1);
                self.ended += 1;
                Reached { written: last_seq, synced: true, bytes: 0 }
            }
            Work::Reserve { draft, len, .. } => return self.queue.reserved(&draft, Ok(len)),
            Work::Stop => panic!("there is no end to come"),
        };
        self.queue.reached(reached, &self.visible).send();
    }

    fn seal(&mut self) {
        for _ in 0..std::mem::take(&mut self.ended) {
            self.queue.sealed(Ok(()));
        }
    }

    /// The file of `draft`, which begins when the one before has ended.
    fn file(&mut self, draft: &Arc<Draft>) -> (Header, &mut Vec<u8>) {
        if self.files.last().unwrap().0.id != draft.id() {
            self.files.push((draft.header, draft.header.encode().to_vec()));
        }
        let (header, file) = self.files.last_mut().unwrap();
        assert_eq!(header.id, draft.id(), "a segment ends before the next begins");
        (*header, file)
    }

    fn visible(&self) -> Seq {
        self.visible.load(Ordering::Relaxed)
    }
}

/// What a log holds: the last seq of each batch, and how it ends.
fn replay(header: &Header, file: &[u8]) -> (Vec<Seq>, Tail) {
    let mut replay = Replay::new(header.stream(), HEADER_LEN, &file[header::HEADER_LEN..], 0);
    let mut batches = Vec::new();
    loop {
        match replay.step() {
            Step::Batch(batch) => batches.push(batch.last_seq),
            Step::More => {}
            Step::Done(tail) => return (batches, tail),
        }
    }
}

fn is_done(entered: &Entered) -> bool {
    matches!(entered, Entered::Done)
}

fn answer_of(entered: &mut Entered) -> Option<Option<ErrorKind>> {
    match entered {
        Entered::Done => Some(None),
        Entered::Waits(answer) => answer.try_recv().ok().map(|told| told.err().map(|error| error.kind())),
    }
}

fn options(segment_bytes_max: u64) -> Options {
    Options { segment_bytes_max, write_buffer_bytes: 2000, ..Options::default() }
}

/// Commits of all sizes and levels, committer and sealer at work now and then, marks in between: what reaches the files
/// is a log that a recovery reads to its end, every batch in it, each segment chained to the one before.
#[test]
fn what_the_committer_is_given_is_a_log() {
    let random = crate::random::Random::new(Some(1));
    for round in 0..200 {
        let mut bench = Bench::new(true, &options(8 << 10));
        let mut last_seqs = Vec::new();
        for _ in 0..100 {
            match random.next() % 8 {
                0 => bench.work(),
                1 => bench.seal(),
                2 => bench.queue.want_write(),
                3 => {
                    let draft = bench.queue.active().clone();
                    if let Some(offset) = bench.queue.take_mark(&draft) {
                        let (header, file) = bench.file(&draft);
                        let mut frame = BytesMut::new();
                        Mark { durable: 0, time: 0 }.encode(&header.stream(), offset, &mut frame);
                        assert_eq!(file.len() as u64, offset, "a mark has a place of its own");
                        file.extend_from_slice(&frame);
                    }
                }
                4 => bench.queue.rotate(&mut new_draft, &bench.versions),
                draw => {
                    let level = [Deferred, Written, Synced][draw as usize % 3];
                    let (count, len) = (1 + random.next() % 4, random.next() % [100, 3000][draw as usize % 2]);
                    bench.put(count as usize, len as usize, level);
                    last_seqs.push(bench.queue.next_seq() - 1);
                }
            }
        }
        drop(bench.queue.flush().unwrap());
        bench.work();
        assert_eq!(bench.visible(), bench.queue.next_seq() - 1);
        assert!(!bench.queue.has_unwritten() && !bench.queue.is_unsynced());
        let mut found = Vec::new();
        let mut before: Option<End> = None;
        for (header, file) in &bench.files {
            if let (Some(end), Some(told)) = (before, header.predecessor) {
                assert_eq!((end.len, end.last_seq), (told.len, told.last_seq));
            }
            let (batches, tail) = replay(header, file);
            found.extend(batches);
            before = match tail.verdict {
                Verdict::Ended(end) => Some(end),
                Verdict::Clean => None,
                verdict => panic!("round {round}: {verdict:?}"),
            };
        }
        assert_eq!(found, last_seqs, "round {round}");
    }
}

#[test]
fn a_deferred_commit_is_visible_at_once_unless_a_stronger_one_waits_ahead() {
    let mut bench = Bench::new(true, &options(1 << 20));
    assert!(is_done(&bench.put(1, 10, Deferred)));
    assert_eq!(bench.visible(), 1);
    let mut strong = bench.put(1, 10, Synced);
    let mut weak = bench.put(1, 10, Deferred);
    assert_eq!((bench.visible(), answer_of(&mut strong), answer_of(&mut weak)), (1, None, None));
    bench.work();
    assert_eq!((bench.visible(), answer_of(&mut strong), answer_of(&mut weak)), (3, Some(None), Some(None)));
}

#[test]
fn deferred_commits_wait_for_a_timer_or_a_full_buffer() {
    let mut bench = Bench::new(true, &options(1 << 20));
    bench.put(1, 10, Deferred);
    bench.work();
    assert!(bench.queue.has_unwritten());
    bench.queue.want_write();
    assert!(bench.queue.is_due());
    bench.work();
    assert!(!bench.queue.has_unwritten() && bench.queue.is_unsynced());
    bench.queue.want_sync();
    bench.work();
    assert!(!bench.queue.is_unsynced());
    bench.put(1, 3000, Deferred);
    assert!(bench.queue.is_due());
    bench.work();
    assert!(!bench.queue.has_unwritten());
}

/// A buffer larger than what may wait is no reason to wait for a timer that may be far away.
#[test]
fn writers_that_wait_for_the_log_do_not_wait_for_a_timer() {
    let mut bench = Bench::new(true, &Options { write_buffer_bytes: u64::MAX, ..Options::default() });
    for _ in 0..32 {
        bench.put(1, 1 << 20, Deferred);
    }
    assert!(bench.enter(1, 1, Deferred).unwrap().is_none(), "too much is unwritten");
    assert!(bench.queue.is_due(), "nobody writes it");
    bench.work();
    assert!(bench.enter(1, 1, Deferred).unwrap().is_some());
}

#[test]
fn writers_wait_while_too_many_segments_wait_for_their_seal() {
    let mut bench = Bench::new(true, &Options { unsealed_max: 1, ..options(4 << 10) });
    bench.put(1, 3000, Deferred);
    assert!(bench.enter(1, 3000, Deferred).unwrap().is_none(), "nothing is reserved yet");
    bench.work();
    assert!(bench.enter(1, 3000, Deferred).unwrap().is_some());
    assert_eq!(bench.queue.unsealed(), 1);
    assert!(bench.enter(1, 3000, Deferred).unwrap().is_none());
    assert!(bench.enter(1, 300, Deferred).unwrap().is_some(), "it still fits");
    bench.queue.sealed(Err(Error::new(ErrorKind::NoSpace, "full")));
    assert_eq!(bench.enter(1, 3000, Deferred).err().unwrap().kind(), ErrorKind::NoSpace);
    bench.seal();
    bench.work();
    assert!(bench.enter(1, 3000, Deferred).unwrap().is_none(), "another segment, and nothing is reserved yet");
    bench.work();
    assert!(bench.enter(1, 3000, Deferred).unwrap().is_some());
    assert_eq!(bench.queue.unsealed(), 1);
}

/// Where the log consists of fragments a segment is full after so many of them. That does not let more memtables gather
/// than may wait.
#[test]
fn writers_wait_as_well_where_fragments_fill_segments() {
    let options = Options { unsealed_max: 2, segment_fragments_max: 3, fragment_bytes: 1, ..Options::default() };
    let mut bench = Bench::new(false, &options);
    let mut entered = 0;
    while bench.enter(1, 10, Synced).unwrap().is_some() {
        entered += 1;
        assert!(entered <= 9);
    }
    assert_eq!((entered, bench.queue.unsealed()), (9, 2), "three segments of three fragments, one of them not ended");
    bench.work();
    assert!(bench.enter(1, 10, Synced).unwrap().is_none());
    bench.queue.sealed(Ok(()));
    assert!(bench.enter(1, 10, Synced).unwrap().is_some());
    assert_eq!(bench.queue.unsealed(), 2);
}

/// Where nothing is under way a group goes at once. While it is under way the next gathers until it is full, overdue, or the last.
#[test]
fn a_fragment_goes_beside_others_when_it_is_full_or_overdue() {
    const BESIDE: Pace = Pace::Beside { overdue: false };
    let mut bench = Bench::new(false, &Options { fragment_bytes: 2000, ..Options::default() });
    let sent = |bench: &mut Bench, pace| match bench.queue.next_work(pace) {
        Some(Work::Write { group, .. }) => group.last_seq,
        None => 0,
        Some(other) => panic!("{other:?}"),
    };
    bench.put(1, 10, Deferred);
    assert_eq!(sent(&mut bench, Pace::Free), 0, "nobody waits for it");
    bench.put(1, 10, Synced);
    assert_eq!(sent(&mut bench, Pace::Free), 2);
    bench.put(1, 10, Synced);
    drop(bench.queue.flush().unwrap());
    bench.queue.want_write();
    assert_eq!(sent(&mut bench, BESIDE), 0);
    assert_eq!(sent(&mut bench, Pace::Beside { overdue: true }), 3);
    for _ in 0..2 {
        bench.put(1, 1200, Deferred);
    }
    bench.put(1, 10, Deferred);
    assert_eq!((sent(&mut bench, BESIDE), sent(&mut bench, BESIDE)), (5, 0), "full, and what came after it");
    drop(bench.queue.flush().unwrap());
    assert_eq!((sent(&mut bench, BESIDE), sent(&mut bench, Pace::Free)), (0, 6), "the flush is not forgotten");
    bench.put(1, 10, Deferred);
    bench.queue.stop();
    assert_eq!(sent(&mut bench, BESIDE), 7);
}

/// With nothing under way, what follows upon another waits too: but for who asks for a flush, and for what is full.
#[test]
fn a_fragment_does_not_follow_at_once_upon_another() {
    let mut bench = Bench::new(false, &Options { fragment_bytes: 2000, ..Options::default() });
    let is_sent = |bench: &mut Bench, pace| bench.queue.next_work(pace).is_some();
    bench.put(1, 10, Synced);
    assert!(!is_sent(&mut bench, Pace::Soon) && is_sent(&mut bench, Pace::Free));
    bench.put(1, 10, Synced);
    drop(bench.queue.flush().unwrap());
    assert!(is_sent(&mut bench, Pace::Soon));
    bench.put(2, 1200, Synced);
    assert!(is_sent(&mut bench, Pace::Soon));
    bench.put(1, 10, Synced);
    bench.queue.stop();
    assert!(is_sent(&mut bench, Pace::Soon));
}

#[test]
fn a_flush_takes_what_it_needs_and_no_more() {
    let mut bench = Bench::new(true, &options(1 << 20));
    assert!(is_done(&bench.queue.flush().unwrap()));
    bench.put(1, 10, Deferred);
    let mut flushed = bench.queue.flush().unwrap();
    assert!(matches!(bench.queue.next_work(Pace::Free), Some(Work::Reserve { .. } | Work::Write { sync: true, .. })));
    bench.queue.fail(Error::new(ErrorKind::Io, "gone")).send();
    assert!(answer_of(&mut flushed).unwrap().is_some());

    let mut bench = Bench::new(true, &options(1 << 20));
    bench.put(1, 10, Written);
    bench.work();
    let mut flushed = bench.queue.flush().unwrap();
    let work = bench.queue.next_work(Pace::Free).unwrap();
    assert!(matches!(work, Work::Sync));
    bench.do_one(work);
    assert_eq!(answer_of(&mut flushed), Some(None));
    assert!(bench.queue.next_work(Pace::Free).is_none());
}

#[test]
fn after_a_failure_nothing_enters_and_nobody_waits() {
    let mut bench = Bench::new(true, &options(1 << 20));
    let mut done = bench.put(1, 10, Synced);
    bench.work();
    assert_eq!(answer_of(&mut done), Some(None));
    let mut under_way = bench.put(1, 10, Synced);
    let work = loop {
        match bench.queue.next_work(Pace::Free).unwrap() {
            work @ Work::Write { .. } => break work,
            other => bench.do_one(other),
        }
    };
    let mut behind = bench.put(1, 10, Synced);
    bench.queue.fail(Error::new(ErrorKind::Io, "gone")).send();
    assert_eq!(answer_of(&mut under_way), Some(Some(ErrorKind::Unknown)));
    assert_eq!(answer_of(&mut behind), Some(Some(ErrorKind::Poisoned)));
    assert_eq!(bench.enter(1, 10, Deferred).err().unwrap().kind(), ErrorKind::Poisoned);
    assert_eq!(bench.queue.flush().err().unwrap().kind(), ErrorKind::Poisoned);
    assert!(matches!(bench.queue.next_work(Pace::Free), Some(Work::Stop)));
    bench.do_one(work);
    assert_eq!(bench.visible(), 1, "a write that comes to its end after the failure counts no more");
    bench.queue.fail(Error::new(ErrorKind::Fenced, "later")).send();
    assert_eq!(bench.queue.failure().unwrap().kind(), ErrorKind::Io, "the first cause stands");
}

#[test]
fn what_has_entered_is_written_before_the_end() {
    let mut bench = Bench::new(true, &options(1 << 20));
    bench.put(1, 10, Deferred);
    bench.queue.rotate(&mut new_draft, &bench.versions);
    bench.queue.stop();
    assert_eq!(bench.enter(1, 10, Synced).err().unwrap().kind(), ErrorKind::Closed);
    bench.work();
    assert!(matches!(bench.queue.next_work(Pace::Free), Some(Work::Stop)));
    assert_eq!(bench.ended, 1);
    assert!(!bench.queue.has_unwritten() && !bench.queue.is_unsynced());
}

#[test]
fn an_empty_segment_does_not_end() {
    let mut bench = Bench::new(true, &options(1 << 20));
    bench.queue.rotate(&mut new_draft, &bench.versions);
    bench.put(1, 10, Deferred);
    assert_eq!((bench.queue.unsealed(), bench.queue.active().id().number), (0, 1));
}

#[test]
fn a_mark_of_its_own_has_to_fit_and_nothing_else_to_be_under_way() {
    let mut bench = Bench::new(true, &options(4 << 10));
    let draft = bench.queue.active().clone();
    assert_eq!(bench.queue.take_mark(&draft), None, "nothing is reserved");
    bench.put(1, 10, Synced);
    assert_eq!(bench.queue.take_mark(&draft), None, "a group waits, whose mark will do");
    bench.work();
    let offset = bench.queue.active_len();
    assert_eq!(bench.queue.take_mark(&draft), Some(offset));
    assert_eq!(bench.queue.active_len(), offset + MARK_LEN);
    bench.queue.rotate(&mut new_draft, &bench.versions);
    assert_eq!(bench.queue.take_mark(&draft), None, "the segment has ended");
    let mut bench = Bench::new(true, &options(4 << 10));
    let draft = bench.queue.active().clone();
    let empty = bench.queue.end_with(0) + 25;
    bench.put(1, (4 << 10) - (empty + END_LEN) as usize, Synced);
    bench.work();
    let offset = bench.queue.active_len();
    assert_eq!(bench.queue.take_mark(&draft), Some(offset), "a segment may be a little longer for it");
}

#[test]
fn a_batch_larger_than_a_segment_has_one_of_its_own_up_to_a_limit() {
    let mut bench = Bench::new(true, &options(4 << 10));
    bench.put(1, 10, Deferred);
    bench.put(3, 9000, Synced);
    bench.work();
    assert_eq!(bench.files.len(), 2);
    let refused = bench.queue.admit(
        Size { len: SEGMENT_BYTES_LIMIT + 1, ..Size::default() },
        false,
        0,
        &mut new_draft,
        &bench.versions,
    );
    assert_eq!(refused.err().unwrap().kind(), ErrorKind::InvalidInput);
}
