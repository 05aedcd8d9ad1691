//! What a run does: operations as plain data, so that they can be drawn from a seed, printed, and left out one by one.

use crate::random::Random;
use halite::{Durability, KeyRange};
use std::collections::BTreeSet;
use std::fmt;
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
    /// So many milliseconds pass in which nothing is asked: timers fire and background work gets on.
    Wait(u64),
    /// The wall clock jumps forward by so many milliseconds.
    Advance(u64),
    /// `close`, then open again.
    Reopen,
    /// `close`, and no more of this process.
    Close,
    /// The process is killed, and the store opened again.
    Kill,
    /// The power goes, with what this seed makes of the unsynced bytes, and the store is opened again.
    PowerCut(u64),
}

/// Number of different keys.
pub const KEYS: u16 = 48;

/// Keys from this number on hold counters and nothing else.
pub const COUNTER: u16 = 1000;

/// Number of different counters.
pub const COUNTERS: u16 = 4;

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

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Batch(writes, durability) => {
                write!(f, "Batch(vec![")?;
                writes.iter().try_for_each(|write| write!(f, "{}, ", Short(*write)))?;
                write!(f, "], {durability:?})")
            }
            Op::Transact(reads, writes, durability) => {
                write!(f, "Transact(vec!{reads:?}, vec![")?;
                writes.iter().try_for_each(|write| write!(f, "{}, ", Short(*write)))?;
                write!(f, "], {durability:?})")
            }
            Op::Write(write, durability) => write!(f, "Write({}, {durability:?})", Short(*write)),
            Op::Together(writes) => {
                write!(f, "Together(vec![")?;
                writes.iter().try_for_each(|(write, level)| write!(f, "({}, {level:?}), ", Short(*write)))?;
                write!(f, "])")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

struct Short(WriteOp);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            WriteOp { key, until: Some(until), .. } => write!(f, "delete_range({key}, {until})"),
            WriteOp { key, len: Some(len), ttl: Some(ttl), .. } => write!(f, "put_ttl({key}, {len}, {ttl})"),
            WriteOp { key, len: Some(len), ttl: None, .. } => write!(f, "put({key}, {len})"),
            WriteOp { key, len: None, .. } => write!(f, "delete({key})"),
        }
    }
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
#[derive(Clone, Copy, Debug)]
struct Habits {
    keys: u16,
    big_values: u64,
    deletes: u64,
    ranges: u64,
    ttls: u64,
    level: Option<Durability>,
    crashes: u64,
}

/// Draws a workload of `count` operations. Crashes are part of it if `crashes`.
pub fn workload(random: &mut Random, count: usize, crashes: bool) -> Vec<Op> {
    let habits = Habits {
        keys: random.pick(&[4, 12, KEYS]),
        big_values: random.pick(&[0, 5, 30]),
        deletes: random.pick(&[0, 15, 40]),
        ranges: random.pick(&[0, 4, 20]),
        ttls: random.pick(&[0, 10, 40]),
        level: random.pick(&[None, None, Some(Durability::Synced), Some(Durability::Deferred)]),
        crashes: if crashes { random.pick(&[0, 2, 6]) } else { 0 },
    };
    (0..count).map(|_| habits.op(random)).collect()
}

impl Habits {
    fn op(&self, random: &mut Random) -> Op {
        if random.chance(self.crashes) {
            return if random.chance(50) { Op::Kill } else { Op::PowerCut(random.number()) };
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
            _ => Op::Reopen,
        }
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
