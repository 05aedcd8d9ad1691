//! Operations as text, one a line: what failures print, and what case files hold.
//!
//! ```text
//! put 8 30 ttl 500 Synced
//! batch Deferred: put 8 10; delete 9; delete_range 10 12
//! fault Sync after 3 times 1 Lost
//! crash_in 12 power_cut 77
//! ```

use crate::ops::{ChangeOp, DroppedOp, NO_END, Op, WriteOp, delete, delete_range, put, put_ttl};
use crate::trouble::{Call, FaultOp, Harm};
use halite::Durability;
use std::fmt;
use std::str::FromStr;

impl fmt::Display for WriteOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            WriteOp { key, until: Some(NO_END), .. } => write!(f, "delete_range {key} end"),
            WriteOp { key, until: Some(until), .. } => write!(f, "delete_range {key} {until}"),
            WriteOp { key, len: Some(len), ttl: Some(ttl), .. } => write!(f, "put {key} {len} ttl {ttl}"),
            WriteOp { key, len: Some(len), ttl: None, .. } => write!(f, "put {key} {len}"),
            WriteOp { key, len: None, .. } => write!(f, "delete {key}"),
        }
    }
}

/// A list of what is separated by semicolons, behind a colon.
fn list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl IntoIterator<Item = T>) -> fmt::Result {
    let mut mark = ":";
    items.into_iter().try_for_each(|item| write!(f, "{} {item}", std::mem::replace(&mut mark, ";")))?;
    if mark == ":" { f.write_str(":") } else { Ok(()) }
}

fn leveled(writes: &[(WriteOp, Durability)]) -> impl Iterator<Item = String> {
    writes.iter().map(|(write, level)| format!("{write} {level:?}"))
}

fn or_dash<T: ToString>(number: Option<T>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

impl fmt::Display for ChangeOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ChangeOp::Swap { key, right, len } => {
                write!(f, "swap {key} {} {}", if right { "right" } else { "wrong" }, or_dash(len))
            }
            ChangeOp::Increment { key, delta } => write!(f, "increment {key} {delta}"),
            ChangeOp::Expire { key, ttl } => write!(f, "expire {key} {}", or_dash(ttl)),
        }
    }
}

impl fmt::Display for DroppedOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DroppedOp::Batch(writes, level) => {
                write!(f, "batch {level:?}")?;
                list(f, writes)
            }
            DroppedOp::Flush => f.write_str("flush"),
            DroppedOp::Compact => f.write_str("compact"),
            DroppedOp::Checkpoint(number) => write!(f, "checkpoint {number}"),
            DroppedOp::Scan => f.write_str("scan"),
            DroppedOp::Verify => f.write_str("verify"),
        }
    }
}

impl fmt::Display for FaultOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FaultOp { call, after, times, harm } = self;
        write!(f, "{call:?} after {after} times {} ", or_dash(*times))?;
        match harm {
            Harm::Stalls(millis) => write!(f, "Stalls {millis}"),
            harm => f.write_str(&harm.name()),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Write(write, level) => write!(f, "{write} {level:?}"),
            Op::Batch(writes, level) => {
                write!(f, "batch {level:?}")?;
                list(f, writes)
            }
            Op::Together(writes) => {
                f.write_str("together")?;
                list(f, leveled(writes))
            }
            Op::Change(change, level) => write!(f, "{change} {level:?}"),
            Op::Transact(reads, writes, level) => {
                write!(f, "transact {level:?}")?;
                reads.iter().try_for_each(|key| write!(f, " {key}"))?;
                list(f, writes)
            }
            Op::Transfers(count, seed, level) => write!(f, "transfers {count} {seed} {level:?}"),
            Op::Dropped(polls, op) => write!(f, "dropped {polls} {op}"),
            Op::Get(key) => write!(f, "get {key}"),
            Op::Scan { from, to, limit, rev, keys_only } => {
                let limit = Some(limit).filter(|limit| **limit != usize::MAX);
                let (rev, keys) = (if *rev { " rev" } else { "" }, if *keys_only { " keys_only" } else { "" });
                write!(f, "scan {from} {to} {}{rev}{keys}", or_dash(limit))
            }
            Op::Prefix(key) => write!(f, "prefix {key}"),
            Op::Checkpoint(number) => write!(f, "checkpoint {number}"),
            Op::DeleteCheckpoint(number) => write!(f, "delete_checkpoint {number}"),
            Op::Backup(number) => write!(f, "backup {number}"),
            Op::Restore(number) => write!(f, "restore {number}"),
            Op::Wait(millis) => write!(f, "wait {millis}"),
            Op::Advance(millis) => write!(f, "advance {millis}"),
            Op::Back(millis) => write!(f, "back {millis}"),
            Op::Fault(fault) => write!(f, "fault {fault}"),
            Op::Full(room) => write!(f, "full {room}"),
            Op::BringBack(choice) => write!(f, "bring_back {choice}"),
            Op::Lag(steps) => write!(f, "lag {steps}"),
            Op::CrashIn(steps, None) => write!(f, "crash_in {steps} kill"),
            Op::CrashIn(steps, Some(seed)) => write!(f, "crash_in {steps} power_cut {seed}"),
            Op::Overtake(writes, turns) => {
                write!(f, "overtake {turns}")?;
                list(f, leveled(writes))
            }
            Op::Wake(turns) => write!(f, "wake {turns}"),
            Op::PowerCut(seed) => write!(f, "power_cut {seed}"),
            Op::LoseMachine(seed) => write!(f, "lose_machine {seed}"),
            plain => f.write_str(PLAIN.iter().find(|(_, op)| op == plain).map_or("?", |(name, _)| name)),
        }
    }
}

/// Operations that are a word and no more.
const PLAIN: [(&str, Op); 14] = [
    ("flush", Op::Flush),
    ("compact", Op::Compact),
    ("verify", Op::Verify),
    ("read_checkpoints", Op::ReadCheckpoints),
    ("clone", Op::Clone),
    ("follow", Op::Follow),
    ("watch", Op::Watch),
    ("hold", Op::Hold),
    ("look", Op::Look),
    ("heal", Op::Heal),
    ("abort", Op::Abort),
    ("reopen", Op::Reopen),
    ("close", Op::Close),
    ("kill", Op::Kill),
];

type Parsed<T> = Result<T, String>;

/// The words of a line, taken one by one.
struct Words<'a>(std::vec::IntoIter<&'a str>);

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Words<'a> {
        Words(text.split_whitespace().collect::<Vec<_>>().into_iter())
    }

    fn word(&mut self) -> Parsed<&'a str> {
        self.0.next().ok_or_else(|| "a word is missing at the end".to_owned())
    }

    fn peek(&self) -> Option<&'a str> {
        self.0.as_slice().first().copied()
    }

    /// Takes the next word if it is this one.
    fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        if is_next {
            self.0.next();
        }
        is_next
    }

    fn expect(&mut self, word: &str) -> Parsed<()> {
        if self.take(word) { Ok(()) } else { Err(format!("{word} expected, found {:?}", self.peek())) }
    }

    fn number<T: FromStr>(&mut self) -> Parsed<T> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("a number expected, found {word}"))
    }

    /// A number, or a dash for none.
    fn maybe<T: FromStr>(&mut self) -> Parsed<Option<T>> {
        if self.take("-") { Ok(None) } else { self.number().map(Some) }
    }

    fn level(&mut self) -> Parsed<Durability> {
        let word = self.word()?;
        let levels = [Durability::Deferred, Durability::Written, Durability::Synced];
        levels.into_iter().find(|level| format!("{level:?}") == word).ok_or_else(|| format!("no durability: {word}"))
    }

    fn write(&mut self) -> Parsed<WriteOp> {
        match self.word()? {
            "put" => {
                let (key, len) = (self.number()?, self.number()?);
                if self.take("ttl") { Ok(put_ttl(key, len, self.number()?)) } else { Ok(put(key, len)) }
            }
            "delete" => Ok(delete(self.number()?)),
            "delete_range" => {
                let from = self.number()?;
                let until = if self.take("end") { NO_END } else { self.number()? };
                Ok(delete_range(from, until))
            }
            other => Err(format!("no write: {other}")),
        }
    }

    fn end(&mut self) -> Parsed<()> {
        self.0.next().map_or(Ok(()), |word| Err(format!("too much: {word}")))
    }
}

/// The items behind a line's colon.
fn items<T>(text: &str, parse: impl Fn(&mut Words<'_>) -> Parsed<T>) -> Parsed<Vec<T>> {
    let texts = text.split(';').map(str::trim).filter(|text| !text.is_empty());
    let item = |text| {
        let mut words = Words::of(text);
        let item = parse(&mut words)?;
        words.end().map(|()| item)
    };
    texts.map(item).collect()
}

fn with_level(words: &mut Words<'_>) -> Parsed<(WriteOp, Durability)> {
    Ok((words.write()?, words.level()?))
}

fn fault(words: &mut Words<'_>) -> Parsed<FaultOp> {
    let name = words.word()?;
    let call = Call::ALL.into_iter().find(|call| format!("{call:?}") == name);
    let call = call.ok_or_else(|| format!("no call: {name}"))?;
    words.expect("after")?;
    let after = words.number()?;
    words.expect("times")?;
    let times = words.maybe()?;
    let name = words.word()?;
    let harm = match Harm::PLAIN.into_iter().find(|harm| harm.name() == name) {
        Some(harm) => harm,
        None if name == "Stalls" => Harm::Stalls(words.number()?),
        None => return Err(format!("no harm: {name}")),
    };
    Ok(FaultOp { call, after, times, harm })
}

fn dropped(words: &mut Words<'_>, behind: &str) -> Parsed<DroppedOp> {
    Ok(match words.word()? {
        "batch" => DroppedOp::Batch(items(behind, |words| words.write())?, words.level()?),
        "flush" => DroppedOp::Flush,
        "compact" => DroppedOp::Compact,
        "checkpoint" => DroppedOp::Checkpoint(words.number()?),
        "scan" => DroppedOp::Scan,
        "verify" => DroppedOp::Verify,
        other => return Err(format!("not to be dropped: {other}")),
    })
}

fn change(name: &str, words: &mut Words<'_>) -> Parsed<ChangeOp> {
    let key = words.number()?;
    Ok(match name {
        "swap" => {
            let right = words.take("right");
            if !right {
                words.expect("wrong")?;
            }
            ChangeOp::Swap { key, right, len: words.maybe()? }
        }
        "increment" => ChangeOp::Increment { key, delta: words.number()? },
        _ => ChangeOp::Expire { key, ttl: words.maybe()? },
    })
}

impl FromStr for Op {
    type Err = String;

    fn from_str(line: &str) -> Parsed<Op> {
        let (head, behind) = line.split_once(':').unwrap_or((line, ""));
        let mut words = Words::of(head);
        let name = words.peek().ok_or("an empty line")?;
        let op = if let Some((_, op)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
            words.word()?;
            op.clone()
        } else if let "put" | "delete" | "delete_range" = name {
            Op::Write(words.write()?, words.level()?)
        } else {
            words.word()?;
            parse(name, &mut words, behind)?
        };
        words.end().map(|()| op)
    }
}

fn parse(name: &str, words: &mut Words<'_>, behind: &str) -> Parsed<Op> {
    Ok(match name {
        "batch" => Op::Batch(items(behind, |words| words.write())?, words.level()?),
        "together" => Op::Together(items(behind, with_level)?),
        "swap" | "increment" | "expire" => Op::Change(change(name, words)?, words.level()?),
        "transact" => {
            let level = words.level()?;
            let mut reads = Vec::new();
            while words.peek().is_some() {
                reads.push(words.number()?);
            }
            Op::Transact(reads, items(behind, |words| words.write())?, level)
        }
        "transfers" => Op::Transfers(words.number()?, words.number()?, words.level()?),
        "dropped" => Op::Dropped(words.number()?, dropped(words, behind)?),
        "get" => Op::Get(words.number()?),
        "scan" => {
            let (from, to, limit) = (words.number()?, words.number()?, words.maybe()?);
            let (rev, keys_only) = (words.take("rev"), words.take("keys_only"));
            Op::Scan { from, to, limit: limit.unwrap_or(usize::MAX), rev, keys_only }
        }
        "prefix" => Op::Prefix(words.number()?),
        "checkpoint" => Op::Checkpoint(words.number()?),
        "delete_checkpoint" => Op::DeleteCheckpoint(words.number()?),
        "backup" => Op::Backup(words.number()?),
        "restore" => Op::Restore(words.number()?),
        "wait" => Op::Wait(words.number()?),
        "advance" => Op::Advance(words.number()?),
        "back" => Op::Back(words.number()?),
        "fault" => Op::Fault(fault(words)?),
        "full" => Op::Full(words.number()?),
        "bring_back" => Op::BringBack(words.number()?),
        "lag" => Op::Lag(words.number()?),
        "crash_in" => {
            let steps = words.number()?;
            match words.word()? {
                "kill" => Op::CrashIn(steps, None),
                "power_cut" => Op::CrashIn(steps, Some(words.number()?)),
                other => return Err(format!("no end: {other}")),
            }
        }
        "overtake" => Op::Overtake(items(behind, with_level)?, words.number()?),
        "wake" => Op::Wake(words.number()?),
        "power_cut" => Op::PowerCut(words.number()?),
        "lose_machine" => Op::LoseMachine(words.number()?),
        other => return Err(format!("no operation: {other}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::workload;
    use crate::random::Random;

    #[test]
    fn what_is_printed_is_read_again() {
        for seed in 0..200 {
            for op in workload(&mut Random::new(seed), 200) {
                let text = op.to_string();
                assert_eq!(text.parse(), Ok(op), "{text}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in
            ["", "puts 1 2 Synced", "put 1 Synced", "put 1 2", "get 8 9", "fault Sync", "batch Synced: putt 1 2"]
        {
            assert!(text.parse::<Op>().is_err(), "{text}");
        }
    }
}
