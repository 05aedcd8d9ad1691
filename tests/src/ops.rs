//! What a run does: operations as plain data, so that they can be drawn from a seed, printed, and left out one by one.

pub use crate::trouble::{Call, FaultOp, Harm};

use crate::random::Random;
use crate::trouble::Trouble;
use halite::{Durability, KeyRange};
use std::collections::BTreeSet;
use std::ops::Bound;

/// One write of an operation. Keys are numbers (see [`key`]); a value is its length, the bytes follow from the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOp {
    /// Which key.
    pub key: u16,
    /// The length of the value to put, or a delete.
    pub len: Option<u32>,
    /// How long it lives, in milliseconds.
    pub ttl: Option<u64>,
    /// Where it is given: a delete of all keys from that key up to but without this one, or of all from there on if this
    /// is [`NO_END`].
    pub until: Option<u16>,
}

impl WriteOp {
    /// The keys that it deletes, if it is a range delete.
    pub fn range(self) -> Option<KeyRange> {
        let start = Bound::Included(key(self.key));
        self.until.map(|until| match until {
            NO_END => (start, Bound::Unbounded).into(),
            until => (start, Bound::Excluded(key(until))).into(),
        })
    }
}

/// A change of one key that depends on what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeOp {
    /// `compare_and_swap`: what it expects is what is there, or not; the new value's length, or a delete.
    Swap {
        /// Which key.
        key: u16,
        /// Whether it expects what is there.
        right: bool,
        /// The length of the new value, or a delete.
        len: Option<u32>,
    },
    /// `increment` of a counter (see [`COUNTER`]).
    Increment {
        /// Which key.
        key: u16,
        /// By how much.
        delta: i64,
    },
    /// `expire`, or `persist`.
    Expire {
        /// Which key.
        key: u16,
        /// How long it is to live, in milliseconds; for ever if `None`.
        ttl: Option<u64>,
    },
}

impl ChangeOp {
    /// Which key.
    pub fn key(self) -> u16 {
        match self {
            ChangeOp::Swap { key, .. } | ChangeOp::Increment { key, .. } | ChangeOp::Expire { key, .. } => key,
        }
    }
}

/// A call that is dropped before it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DroppedOp {
    /// A batch of puts, none of which expires.
    Batch(Vec<WriteOp>, Durability),
    /// `flush`.
    Flush,
    /// `compact`.
    Compact,
    /// `checkpoint`, under the name of that number.
    Checkpoint(u8),
    /// A scan of everything.
    Scan,
    /// `verify`.
    Verify,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// One put, delete or range delete.
    Write(WriteOp, Durability),
    /// A batch.
    Batch(Vec<WriteOp>, Durability),
    /// Several commits at once, each its own, of different keys.
    Together(Vec<(WriteOp, Durability)>),
    /// A change of one key that depends on what it holds.
    Change(ChangeOp, Durability),
    /// A transaction: keys that it reads, and what it writes before it scans all and commits.
    Transact(Vec<u16>, Vec<WriteOp>, Durability),
    /// A read of one key, by `get`, `get_entry`, `contains` and `ttl`.
    Get(u16),
    /// A scan of the keys from one up to another.
    Scan {
        /// The smallest key.
        from: u16,
        /// The key above the largest.
        to: u16,
        /// The most entries that it gives.
        limit: usize,
        /// Whether it goes against the order of keys.
        rev: bool,
        /// Whether it leaves the values out.
        keys_only: bool,
    },
    /// Scans of all keys that begin as this one does, both ways.
    Prefix(u16),
    /// `flush`.
    Flush,
    /// `compact`.
    Compact,
    /// `verify`.
    Verify,
    /// `checkpoint`, under the name of that number.
    Checkpoint(u8),
    /// `delete_checkpoint`.
    DeleteCheckpoint(u8),
    /// The list of checkpoints, and all that each of them shows, read beside the open database.
    ReadCheckpoints,
    /// `backup` under the name of that number, in place of one of that name.
    Backup(u8),
    /// The backup of that number, if there is one, is read, restored and read again.
    Restore(u8),
    /// `clone_to` an empty place, opened and read there.
    Clone,
    /// A reader beside the writer, opened at the first of these, is refreshed, and shows all it has.
    Follow,
    /// A watch, begun at the first of these, brings a copy of all that is there up to date.
    Watch,
    /// A snapshot is taken, in place of the one that is held.
    Hold,
    /// The snapshot that is held shows what it did when it was taken.
    Look,
    /// So many transfers between accounts at once, each a transaction, drawn from a seed.
    Transfers(u8, u64, Durability),
    /// A call is begun, and dropped after so many polls.
    Dropped(u32, DroppedOp),
    /// So many milliseconds pass in which nothing is asked: timers fire and background work gets on.
    Wait(u64),
    /// The wall clock jumps forward by so many milliseconds.
    Advance(u64),
    /// The wall clock is set back by so many milliseconds, until somebody else needs the right time.
    Back(u64),
    /// Something is to go wrong from now on.
    Fault(FaultOp),
    /// So many bytes of room are left from now on.
    Full(u64),
    /// A file that was deleted is there again.
    BringBack(u64),
    /// Lists leave out from now on what was created less than so many steps ago.
    Lag(u64),
    /// Nothing more goes wrong, no crash is planned, and there is room again.
    Heal,
    /// After so many more steps of the store the process is no more: killed, or by a power cut of that seed.
    CrashIn(u64, Option<u64>),
    /// The process is no more, but what it has asked of the store may arrive yet.
    Abort,
    /// Writes of different keys are begun, and the process is stopped after so many turns; another one opens the store.
    /// (Where there is a lock, that is refused, and all goes on.)
    Overtake(Vec<(WriteOp, Durability)>, u64),
    /// The processes that were overtaken go on for so many turns.
    Wake(u64),
    /// `close`, then open again.
    Reopen,
    /// `close`, and no more of this process.
    Close,
    /// The process is killed, and the store opened again.
    Kill,
    /// The power goes, with what this seed makes of the unsynced bytes, and the store is opened again.
    PowerCut(u64),
    /// The machine is lost, with the log where that is on its disk, and the store is opened on another one.
    LoseMachine(u64),
}

impl Op {
    /// Whether it makes something go wrong, rather than asking for something.
    pub fn is_trouble(&self) -> bool {
        matches!(
            self,
            Op::Fault(_)
                | Op::Full(_)
                | Op::BringBack(_)
                | Op::Lag(_)
                | Op::Heal
                | Op::CrashIn(..)
                | Op::Abort
                | Op::Overtake(..)
                | Op::Wake(_)
                | Op::Back(_)
                | Op::Kill
                | Op::PowerCut(_)
                | Op::LoseMachine(_)
                | Op::Dropped(..)
        )
    }
}

/// Number of different keys.
pub const KEYS: u16 = 48;

/// Keys from this number on hold counters and nothing else.
pub const COUNTER: u16 = 1000;

/// Number of different counters.
pub const COUNTERS: u16 = 4;

/// Keys from this number on hold accounts.
pub const ACCOUNT: u16 = 2001;

/// The key that says how many transfers there were.
pub const LEDGER: u16 = ACCOUNT - 1;

/// Number of different accounts.
pub const ACCOUNTS: u16 = 5;

/// The end of a range of keys that goes on to the last.
pub const NO_END: u16 = u16::MAX;

/// Number of different names of checkpoints.
pub const CHECKPOINTS: u64 = 4;

/// The key of a number: the empty key, short ones, ones that share prefixes, one of zeros and one of 0xff bytes, long ones.
pub fn key(number: u16) -> Vec<u8> {
    match number {
        0 => Vec::new(),
        1 => vec![0, 0],
        2 => vec![0xff; 3],
        3..8 => vec![b'a' + number as u8; 300],
        8..20 => format!("user:{number:04}").into_bytes(),
        LEDGER => b"bank".to_vec(),
        ACCOUNT.. => format!("bank:{number}").into_bytes(),
        COUNTER.. => format!("counter:{number}").into_bytes(),
        _ => format!("k{number}").into_bytes(),
    }
}

/// The value that commit `commit` puts at `key`: it names the commit, and no two are alike.
pub fn value(commit: usize, key: u16, len: u32) -> Vec<u8> {
    let mut value = format!("<{commit}.{key}>").into_bytes();
    let mut random = Random::new(((commit as u64) << 16) | u64::from(key));
    while value.len() < len as usize {
        value.extend_from_slice(&random.number().to_le_bytes());
    }
    value
}

/// Bytes for people: text as it is, at most 40 characters.
pub fn shown(bytes: &[u8]) -> String {
    let text: String =
        bytes.iter().take(40).flat_map(|&byte| std::ascii::escape_default(byte)).map(char::from).collect();
    if bytes.len() > 40 { format!("\"{text}\"… ({} bytes)", bytes.len()) } else { format!("\"{text}\"") }
}

/// A put.
pub fn put(key: u16, len: u32) -> WriteOp {
    WriteOp { key, len: Some(len), ttl: None, until: None }
}

/// A put of a value that expires.
pub fn put_ttl(key: u16, len: u32, ttl: u64) -> WriteOp {
    WriteOp { key, len: Some(len), ttl: Some(ttl), until: None }
}

/// A delete.
pub fn delete(key: u16) -> WriteOp {
    WriteOp { key, len: None, ttl: None, until: None }
}

/// A delete of all keys from `key` up to but without `until`; see [`NO_END`].
pub fn delete_range(key: u16, until: u16) -> WriteOp {
    WriteOp { key, len: None, ttl: None, until: Some(until) }
}

/// How a workload is drawn. Each run has its own habits, so that rare mixtures are met too.
#[derive(Clone, Debug)]
struct Habits {
    keys: u16,
    big_values: u64,
    deletes: u64,
    ranges: u64,
    ttls: u64,
    level: Option<Durability>,
    crashes: u64,
    trouble: Trouble,
}

/// Draws a workload of `count` operations.
pub fn workload(random: &mut Random, count: usize) -> Vec<Op> {
    Habits::draw(random).workload(random, count)
}

/// Draws a workload of `count` operations, some of which may kill the process, but none ask for other trouble: of a store
/// that takes no orders.
pub fn plain_workload(random: &mut Random, count: usize) -> Vec<Op> {
    Habits { trouble: Trouble::default(), ..Habits::draw(random) }.workload(random, count)
}

impl Habits {
    fn draw(random: &mut Random) -> Habits {
        Habits {
            keys: random.pick(&[4, 12, KEYS]),
            big_values: random.pick(&[0, 5, 30]),
            deletes: random.pick(&[0, 15, 40]),
            ranges: random.pick(&[0, 4, 20]),
            ttls: random.pick(&[0, 10, 40]),
            level: random.pick(&[None, None, Some(Durability::Synced), Some(Durability::Deferred)]),
            crashes: random.pick(&[0, 2, 5]),
            trouble: Trouble::draw(random),
        }
    }

    fn workload(&self, random: &mut Random, count: usize) -> Vec<Op> {
        let mut ops = Vec::with_capacity(count + count / 8);
        for _ in 0..count {
            let op = self.op(random);
            let is_end = matches!(op, Op::Kill | Op::PowerCut(_) | Op::LoseMachine(_) | Op::Abort);
            ops.push(op);
            if is_end && self.trouble.crashes && random.chance(50) {
                // It hits the opening that comes next, mostly.
                ops.push(Op::CrashIn(random.below(60), random.chance(60).then(|| random.number())));
            }
        }
        ops
    }

    fn op(&self, random: &mut Random) -> Op {
        if random.chance(self.crashes) {
            return if random.chance(50) { Op::Kill } else { Op::PowerCut(random.number()) };
        }
        if random.chance(self.trouble.often) {
            return self.trouble(random);
        }
        match random.below(100) {
            0..35 => Op::Write(self.write_or_range(random), self.level(random)),
            35..41 => Op::Change(self.change(random), self.level(random)),
            41..45 => {
                let reads = (0..random.below(4)).map(|_| self.key(random)).collect();
                let writes = (0..random.below(5)).map(|_| self.write_or_range(random)).collect();
                Op::Transact(reads, writes, self.level(random))
            }
            45..53 => {
                Op::Batch((0..random.below(8)).map(|_| self.write_or_range(random)).collect(), self.level(random))
            }
            53..61 => {
                let mut keys = BTreeSet::new();
                let count = 1 + random.below(6);
                let mut writes: Vec<_> = (0..count).map(|_| (self.write(random), self.level(random))).collect();
                writes.retain(|(write, _)| keys.insert(write.key));
                Op::Together(writes)
            }
            61..73 => Op::Get(self.key(random)),
            73..79 => {
                let (from, to) = (self.key(random), self.key(random));
                let limit = random.pick(&[0, 1, 3, usize::MAX]);
                Op::Scan { from, to, limit, rev: random.chance(50), keys_only: random.chance(30) }
            }
            79..82 => Op::Prefix(self.key(random)),
            82..86 => Op::Flush,
            86..88 => Op::Compact,
            88..89 => Op::Verify,
            89..93 => Op::Wait(random.pick(&[0, 1, 150, 5_000])),
            93..96 => Op::Advance(random.pick(&[1, 50, 1_000, 60_000])),
            96 => Op::Checkpoint(random.below(CHECKPOINTS) as u8),
            97 if random.chance(50) => Op::DeleteCheckpoint(random.below(CHECKPOINTS) as u8),
            97 if random.chance(20) => Op::ReadCheckpoints,
            97 if random.chance(20) => Op::Backup(random.below(CHECKPOINTS) as u8),
            97 if random.chance(20) => Op::Restore(random.below(CHECKPOINTS) as u8),
            97 if random.chance(10) => Op::Clone,
            97 => Op::Follow,
            98 => self.aside(random),
            _ => Op::Reopen,
        }
    }

    /// What is done beside reads and writes.
    fn aside(&self, random: &mut Random) -> Op {
        match random.below(4) {
            0 => Op::Watch,
            1 => Op::Hold,
            2 => Op::Look,
            _ => Op::Transfers(1 + random.below(5) as u8, random.number(), self.level(random)),
        }
    }

    /// What goes wrong, or nearly.
    fn trouble(&self, random: &mut Random) -> Op {
        let trouble = &self.trouble;
        match random.below(14) {
            0..4 if trouble.faults => Op::Fault(trouble.fault(random)),
            4..6 if trouble.faults || trouble.full => Op::Heal,
            6 if trouble.full => Op::Full(random.pick(&[0, 500, 5_000, 40_000])),
            7 if trouble.crashes => {
                Op::CrashIn(random.below_one_of(&[4, 30, 200]), random.chance(60).then(|| random.number()))
            }
            8 if trouble.crashes => Op::Abort,
            9 if trouble.rivals => Op::Overtake(self.different(random), random.below_one_of(&[2, 12, 60])),
            10 if trouble.rivals => Op::Wake(random.pick(&[0, 1, 5, 50])),
            12 if trouble.brought_back => Op::BringBack(random.number()),
            13 if trouble.lag => Op::Lag(random.below_one_of(&[3, 20, 100])),
            11 if trouble.clock => Op::Back(random.pick(&[1, 900, 100_000])),
            _ if trouble.drops => Op::Dropped(random.below_one_of(&[2, 6, 40]) as u32, self.dropped(random)),
            _ => Op::Wait(1),
        }
    }

    fn dropped(&self, random: &mut Random) -> DroppedOp {
        match random.below(10) {
            0 => DroppedOp::Flush,
            1 => DroppedOp::Compact,
            2 => DroppedOp::Checkpoint(random.below(CHECKPOINTS) as u8),
            3 => DroppedOp::Scan,
            4 => DroppedOp::Verify,
            _ => {
                let writes = self.different(random).into_iter().map(|(write, _)| write);
                DroppedOp::Batch(writes.collect(), self.level(random))
            }
        }
    }

    /// Puts of different keys, none of which expires.
    fn different(&self, random: &mut Random) -> Vec<(WriteOp, Durability)> {
        let mut keys = BTreeSet::new();
        let mut writes: Vec<_> = (0..1 + random.below(4))
            .map(|_| (put(self.key(random), random.below(900) as u32), self.level(random)))
            .collect();
        writes.retain(|(write, _)| keys.insert(write.key));
        writes
    }

    fn key(&self, random: &mut Random) -> u16 {
        random.below(u64::from(self.keys)) as u16
    }

    fn level(&self, random: &mut Random) -> Durability {
        const ALL: [Durability; 3] = [Durability::Deferred, Durability::Written, Durability::Synced];
        self.level.unwrap_or_else(|| random.pick(&ALL))
    }

    fn change(&self, random: &mut Random) -> ChangeOp {
        let key = self.key(random);
        match random.below(3) {
            0 => {
                let len = (!random.chance(30)).then(|| random.below(300) as u32);
                ChangeOp::Swap { key, right: random.chance(80), len }
            }
            1 => ChangeOp::Increment { key: COUNTER + key % COUNTERS, delta: random.below(2000) as i64 - 1000 },
            _ => {
                let key = if random.chance(30) { COUNTER + key % COUNTERS } else { key };
                ChangeOp::Expire { key, ttl: random.pick(&[None, Some(0), Some(1), Some(900), Some(30_000)]) }
            }
        }
    }

    fn write_or_range(&self, random: &mut Random) -> WriteOp {
        if !random.chance(self.ranges) {
            return self.write(random);
        }
        let (from, until) = (self.key(random), self.key(random));
        // Mostly a range that holds something.
        let (from, until) = if key(from) > key(until) && random.chance(90) { (until, from) } else { (from, until) };
        delete_range(from, if random.chance(10) { NO_END } else { until })
    }

    fn write(&self, random: &mut Random) -> WriteOp {
        let key = self.key(random);
        if random.chance(self.deletes) {
            return delete(key);
        }
        let len = match random.chance(self.big_values) {
            true => 200 + random.below(6_000),
            false => random.below(60),
        };
        // Some are large enough to be written from where they are.
        let len = if len > 200 && len.is_multiple_of(16) { 64 * 1024 + len } else { len };
        let ttl = random.chance(self.ttls).then(|| random.pick(&[0, 1, 40, 900, 30_000]));
        WriteOp { key, len: Some(len as u32), ttl, until: None }
    }
}
