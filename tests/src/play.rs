//! Runs operations against the engine and the model at once, and compares all that is said.

mod change;
mod copy;
mod follow;

use crate::history::{Loss, Value, Write, compare};
use crate::kept;
use crate::ops::{COUNTER, COUNTERS, KEYS, Op, WriteOp, key, shown, value};
use crate::world::{World, bytes, ends, process, read_all, soundness};
use futures::TryStreamExt;
use futures::future::join_all;
use halite::{Db, Durability, Error, ErrorKind, KeyRange, WriteBatch, WriteOptions};
use std::ops::Bound;
use std::time::Duration;

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Nothing: every call returns `Ok`.
    Strict,
    /// The store crashes at some step: the first error ends the run, as the process is no more.
    Crashing,
    /// Requests to the store fail, from step `from` on: once, or each. Errors have the right kind, reads of committed
    /// data go on, and so does writing, by `reopen` where need be.
    Faulty {
        /// The first step that fails.
        from: u64,
        /// Whether all after it fail too.
        forever: bool,
    },
}

/// How a process came to its end.
enum End {
    /// All was done.
    Done,
    /// By operation number so many of those it was given.
    By(usize, Loss, u64),
    /// By an error that the policy expects.
    Stopped,
}

/// Why an operation ended early.
enum Stop {
    /// An error that the policy expects.
    Expected,
    /// A fault of the engine.
    Wrong(String),
}

impl From<String> for Stop {
    fn from(wrong: String) -> Stop {
        Stop::Wrong(wrong)
    }
}

type Step<T = ()> = Result<T, Stop>;

/// Opens a database in `world` and runs `ops`, in as many processes as there are crashes among them. (After a crash that
/// comes last, nothing is opened.)
///
/// # Errors
/// The first thing that is wrong, with the operation at which it showed.
pub fn play(world: &mut World, ops: &[Op], policy: Policy) -> Result<(), String> {
    let mut rest = ops;
    loop {
        let offset = ops.len() - rest.len();
        match process(Player { world: &mut *world, policy, spoiled: false, refused: false }.live(rest, offset))? {
            End::Done | End::Stopped => return Ok(()),
            End::By(index, loss, seed) => {
                world.end(loss, seed);
                rest = &rest[index + 1..];
                if rest.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}

struct Player<'a> {
    world: &'a mut World,
    policy: Policy,
    /// A write has failed in a way that may stop all writing.
    spoiled: bool,
    /// A write was refused for want of space, which stops nothing.
    refused: bool,
}

impl Player<'_> {
    /// One process.
    async fn live(mut self, ops: &[Op], offset: usize) -> Result<End, String> {
        let end = |stop, place: String| match stop {
            Stop::Expected => Ok(End::Stopped),
            Stop::Wrong(wrong) => Err(format!("{place}: {wrong}")),
        };
        if let Err(stop) = self.open().await {
            return end(stop, format!("opening before operation {offset}"));
        }
        for (index, op) in ops.iter().enumerate() {
            match *op {
                Op::Kill => return Ok(End::By(index, Loss::Kill, 0)),
                Op::PowerCut(seed) => return Ok(End::By(index, Loss::PowerCut, seed)),
                _ => {}
            }
            let step = match self.world.db {
                // Closed by the operation before.
                None if *op != Op::Close => self.open().await,
                _ => Ok(()),
            };
            let step = match step {
                Ok(()) => self.step(op).await,
                stop => stop,
            };
            if let Err(stop) = step {
                return end(stop, format!("operation {}, {op}", offset + index));
            }
        }
        Ok(End::Done)
    }

    fn db(&self) -> Db {
        self.world.db.clone().expect("opened before the first operation")
    }

    /// Opens the database, and judges what it shows if the last process did not close it.
    async fn open(&mut self) -> Step {
        let mut attempts = 0;
        let db = loop {
            let may_fail = self.may_fail();
            let opened = ends("open", self.world.open()).await;
            match self.settle("open", opened) {
                Ok(db) => break db,
                // The fault that stopped the first attempt has passed.
                Err(Stop::Expected) if matches!(self.policy, Policy::Faulty { forever: false, .. }) => {
                    if !may_fail || attempts > 0 {
                        return Err(Stop::Wrong("open fails without a fault".to_owned()));
                    }
                    attempts += 1;
                }
                Err(stop) => return Err(stop),
            }
        };
        self.world.db = Some(db);
        self.judge().await?;
        self.read_checkpoints().await
    }

    /// Compares all that the database shows with the history.
    async fn judge(&mut self) -> Step {
        let db = self.db();
        let entries = self.read("scan", || db.scan(..).try_collect::<Vec<_>>()).await?;
        let expiries = entries.iter().map(|entry| (entry.key.to_vec(), entry.expires_at)).collect();
        let found = entries.into_iter().map(|entry| (entry.key.to_vec(), entry.value)).collect();
        let time = self.world.clock.millis();
        match self.world.ended {
            Some(loss) => {
                let survivors = self.world.history.judge_expiring(&found, &expiries, time, loss)?;
                self.world.history.keep(&survivors);
                self.world.ended = None;
            }
            None => compare(&self.world.expected(), &found)?,
        }
        Ok(())
    }

    /// Whether a request to the store that is made now may meet a fault.
    fn may_fail(&self) -> bool {
        match self.policy {
            Policy::Strict => false,
            Policy::Crashing => true,
            Policy::Faulty { from, forever } => forever || self.world.store.simulator().steps() <= from,
        }
    }

    /// Sorts a call's outcome: the answer, an expected error, or a wrong one.
    fn settle<T>(&mut self, what: &str, outcome: Result<halite::Result<T>, String>) -> Step<T> {
        match (outcome, self.policy) {
            (Ok(Ok(answer)), _) => Ok(answer),
            (Ok(Err(_)) | Err(_), Policy::Crashing) if self.world.store.simulator().is_crashed() => Err(Stop::Expected),
            (Ok(Err(error)), Policy::Faulty { .. }) => {
                check_kind(&error)?;
                Err(Stop::Expected)
            }
            (Ok(Err(error)), _) => Err(Stop::Wrong(format!("{what} failed: {error:?}"))),
            (Err(hangs), _) => Err(Stop::Wrong(hangs)),
        }
    }

    /// Reads: that works, unless the very read met the fault. Where the fault has passed then, reading again works.
    async fn read<T, F>(&mut self, what: &str, ask: impl Fn() -> F) -> Step<T>
    where
        F: Future<Output = halite::Result<T>>,
    {
        let mut may_fail = self.may_fail();
        let mut outcome = ends(what, ask()).await;
        if let (Ok(Err(error)), Policy::Faulty { forever: false, .. }) = (&outcome, self.policy)
            && may_fail
        {
            check_kind(error)?;
            may_fail = self.may_fail();
            outcome = ends(what, ask()).await;
        }
        match outcome {
            Ok(Err(error)) if !may_fail => Err(Stop::Wrong(format!("{what} failed without a fault: {error:?}"))),
            outcome => self.settle(what, outcome),
        }
    }

    async fn step(&mut self, op: &Op) -> Step {
        match self.step_once(op).await {
            Err(Stop::Expected) if matches!(self.policy, Policy::Faulty { .. }) => self.go_on().await,
            outcome => outcome,
        }
    }

    /// After an expected error: reads go on, and `reopen` makes a stopped writer write again.
    async fn go_on(&mut self) -> Step {
        let forever = matches!(self.policy, Policy::Faulty { forever: true, .. });
        if self.world.db.is_none() {
            return if forever { Err(Stop::Expected) } else { self.open().await };
        }
        let db = self.db();
        match self.read("scan", || read_all(&db)).await {
            Ok(found) => compare(&self.world.expected(), &found)?,
            Err(Stop::Expected) => {}
            Err(wrong) => return Err(wrong),
        }
        if self.refused && !self.may_fail() {
            // A seal that found no room tries again by and by.
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        if !self.spoiled || forever {
            return Ok(());
        }
        self.spoiled = false;
        let reopened = ends("reopen", self.db().reopen()).await;
        if self.may_fail() {
            return Err(Stop::Wrong("writing stopped before the fault".to_owned()));
        }
        let db = reopened?.map_err(|error| format!("reopen failed: {error:?}"))?;
        let old = self.world.db.replace(db);
        let refused = old.expect("it was open").put("late", "never").await;
        if refused.is_ok() {
            return Err(Stop::Wrong("a handle still writes after its reopen".to_owned()));
        }
        self.world.ended = Some(Loss::Kill);
        self.judge().await
    }

    async fn step_once(&mut self, op: &Op) -> Step {
        let db = self.db();
        match op {
            Op::Write(write, level) => self.write(*write, *level).await,
            Op::Batch(writes, level) => self.batch(writes, *level).await,
            Op::Together(writes) => self.together(writes).await,
            Op::Change(change, level) => self.change(*change, *level).await,
            Op::Transact(reads, writes, level) => self.transact(reads, writes, *level).await,
            Op::Get(number) => self.get(*number).await,
            Op::Scan { from, to, limit, rev, keys_only } => {
                let (start, end) = (bytes(&key(*from)), bytes(&key(*to)));
                let range = KeyRange { start: Bound::Included(start), end: Bound::Excluded(end) };
                self.scan(range, *limit, *rev, *keys_only).await
            }
            Op::Prefix(number) => self.prefix(*number).await,
            Op::Flush => {
                let flushed = ends("flush", db.flush()).await;
                self.note(&flushed);
                self.settle("flush", flushed)?;
                self.world.history.all_synced();
                Ok(())
            }
            Op::Compact => {
                let compacted = ends("compact", db.compact()).await;
                self.note(&compacted);
                self.settle("compact", compacted).map(|_| ())
            }
            Op::Verify => match ends("verify", soundness(&db)).await? {
                Err(_) if self.may_fail() => Err(Stop::Expected),
                sound => Ok(sound?),
            },
            Op::Checkpoint(number) => self.checkpoint(*number).await,
            Op::DeleteCheckpoint(number) => self.delete_checkpoint(*number).await,
            Op::ReadCheckpoints => self.read_checkpoints().await,
            Op::Backup(number) => self.backup(*number).await,
            Op::Restore(number) => self.restore(*number).await,
            Op::Clone => self.clone_of_it().await,
            Op::Follow => self.follow().await,
            Op::Wait(millis) => self.wait(*millis).await,
            Op::Advance(millis) => {
                self.world.clock.advance(*millis);
                Ok(())
            }
            Op::Reopen => {
                self.close().await?;
                self.open().await
            }
            Op::Close => self.close().await,
            Op::Kill | Op::PowerCut(_) => unreachable!("these end the process"),
        }
    }

    async fn checkpoint(&mut self, number: u8) -> Step {
        let (name, expected) = (kept::name(number), self.world.expected());
        let taken = ends("checkpoint", self.db().checkpoint(&name)).await;
        self.note(&taken);
        match &taken {
            Ok(Ok(_)) => self.world.history.all_synced(),
            Ok(Err(error)) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(self.world.kept.is_refused(&name)?);
            }
            _ => {}
        }
        let sure = taken.as_ref().is_ok_and(|taken| taken.is_ok());
        self.world.kept.taken(&name, expected, sure)?;
        self.settle("checkpoint", taken).map(|_| ())
    }

    async fn delete_checkpoint(&mut self, number: u8) -> Step {
        let name = kept::name(number);
        let deleted = ends("delete_checkpoint", self.db().delete_checkpoint(&name)).await;
        self.note(&deleted);
        self.world.kept.deleted(&name, deleted.as_ref().ok().and_then(|deleted| deleted.as_ref().ok()).copied())?;
        self.settle("delete_checkpoint", deleted).map(|_| ())
    }

    /// Compares the list of checkpoints, and what each shows, with what should be there.
    async fn read_checkpoints(&mut self) -> Step {
        let db = self.db();
        let listed = self.read("checkpoints", || db.checkpoints()).await?;
        if self.spoiled {
            // Which there are is open until writing goes on.
            return Ok(());
        }
        self.world.kept.settle(listed.iter().map(|checkpoint| &*checkpoint.name))?;
        for checkpoint in &listed {
            let may_fail = self.may_fail();
            match ends("reading a checkpoint", kept::read(self.world, &checkpoint.name)).await {
                Ok(Err(_)) if may_fail => return Err(Stop::Expected),
                read => {
                    let found = self.settle("reading a checkpoint", read)?;
                    self.world.kept.compare(&checkpoint.name, &found)?;
                }
            }
        }
        Ok(())
    }

    async fn close(&mut self) -> Step {
        let Some(db) = self.world.db.take() else { return Ok(()) };
        let closed = ends("close", db.close()).await;
        if closed.as_ref().is_ok_and(|closed| closed.is_ok()) {
            self.world.history.all_synced();
        } else {
            // What it leaves is a log to replay.
            self.world.ended = Some(self.world.ended.unwrap_or(Loss::Kill));
        }
        self.settle("close", closed)
    }

    async fn wait(&mut self, millis: u64) -> Step {
        // Timers run in whole steps of the engine's intervals, and the work they begin takes turns of the runtime.
        let (written, synced) = (self.world.options.flush_interval, self.world.options.sync_interval);
        tokio::time::sleep(Duration::from_millis(millis)).await;
        let healthy = self.policy == Policy::Strict;
        if healthy && Duration::from_millis(millis) >= 2 * written {
            self.world.history.all_written();
        }
        if healthy && Duration::from_millis(millis) >= 2 * (written + synced) {
            self.world.history.all_synced();
        }
        Ok(())
    }

    /// What an operation writes, as the commit with the next number.
    fn writes(&self, commit: usize, ops: &[WriteOp]) -> Vec<Write> {
        let now = self.world.clock.millis();
        let all = || (0..KEYS).chain(COUNTER..COUNTER + COUNTERS).map(key);
        let writes = |op: &WriteOp| -> Vec<Write> {
            if let Some(range) = op.range() {
                return all().filter(|key| range.contains(key)).map(|key| (key, None)).collect();
            }
            let value = op.len.map(|len| Value {
                bytes: bytes(&value(commit, op.key, len)),
                expires_at: op.ttl.map(|ttl| now + ttl),
            });
            vec![(key(op.key), value)]
        };
        ops.iter().flat_map(writes).collect()
    }

    async fn write(&mut self, op: WriteOp, level: Durability) -> Step {
        let commit = self.world.history.len();
        let writes = self.writes(commit, &[op]);
        self.world.history.enter(writes.clone());
        let db = self.db();
        let written = match op.range() {
            Some(range) => {
                let options = WriteOptions { durability: level, ttl: None };
                ends("a range delete", db.delete_range_with(range, options)).await
            }
            None => ends("a write", write_one(&db, &writes[0], op.ttl, level)).await,
        };
        // An empty range has no place in the order.
        let level = if writes.is_empty() { Durability::Deferred } else { level };
        self.committed(commit, written, level)
    }

    async fn batch(&mut self, ops: &[WriteOp], level: Durability) -> Step {
        let commit = self.world.history.len();
        let writes = self.writes(commit, ops);
        let batch =
            ops.iter().fold(WriteBatch::new(), |batch, op| match (op.range(), &self.writes(commit, &[*op])[..]) {
                (Some(range), _) => batch.delete_range(range),
                (None, [(key, Some(Value { bytes, expires_at: Some(at) }))]) => batch.put_expiring(key, bytes, *at),
                (None, [(key, Some(Value { bytes, expires_at: None }))]) => batch.put(key, bytes),
                (None, writes) => writes.iter().fold(batch, |batch, (key, _)| batch.delete(key)),
            });
        // An empty batch has no place in the order.
        let level = if writes.is_empty() { Durability::Deferred } else { level };
        self.world.history.enter(writes);
        let options = WriteOptions { durability: level, ttl: None };
        let written = ends("a batch", self.db().write_with(batch, options)).await;
        self.committed(commit, written, level)
    }

    /// Commits that are under way at the same time, each on a key of its own.
    async fn together(&mut self, ops: &[(WriteOp, Durability)]) -> Step {
        let first = self.world.history.len();
        let writes: Vec<Write> = (first..).zip(ops).flat_map(|(commit, (op, _))| self.writes(commit, &[*op])).collect();
        self.world.history.enter_together(writes.clone());
        let db = self.db();
        let commits = writes.iter().zip(ops).map(|(write, (op, level))| write_one(&db, write, op.ttl, *level));
        let written = match ends("writing together", join_all(commits)).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(hangs) => vec![Err(hangs); ops.len()],
        };
        let mut outcome = Ok(());
        for ((commit, (_, level)), written) in (first..).zip(ops).zip(written) {
            match self.committed(commit, written, *level) {
                Ok(()) => {}
                Err(Stop::Expected) => outcome = Err(Stop::Expected),
                Err(wrong) => return Err(wrong),
            }
        }
        outcome
    }

    /// Enters a commit's answer into the history.
    fn committed(&mut self, commit: usize, written: Result<halite::Result<()>, String>, level: Durability) -> Step {
        match &written {
            Ok(Ok(())) => {
                // Where files do not grow, what is written is durable.
                let append = self.world.store.backend().capabilities().append;
                let level = if level == Durability::Written && !append { Durability::Synced } else { level };
                self.world.history.acknowledge(commit, level);
            }
            // A killed process has returned no error.
            Ok(Err(error)) if error.kind() != ErrorKind::Unknown && self.policy != Policy::Crashing => {
                self.world.history.refuse(commit);
            }
            _ => {}
        }
        if let (Ok(Err(error)), true) = (&written, self.refused)
            && !self.may_fail()
            && error.kind() == ErrorKind::Poisoned
        {
            return Err(Stop::Wrong(format!("a refusal for want of space has stopped writing: {error:?}")));
        }
        self.note(&written);
        if let (Ok(Err(error)), false) = (&written, self.may_fail())
            && error.kind() == ErrorKind::NoSpace
            && self.policy != Policy::Crashing
            && self.refused
        {
            return Err(Stop::Wrong(format!("there is space, but a write is refused again: {error:?}")));
        }
        self.refused |= matches!(&written, Ok(Err(error)) if error.kind() == ErrorKind::NoSpace);
        self.settle("a commit", written)
    }

    /// Notes whether an answer says that writing has stopped.
    fn note<T>(&mut self, outcome: &Result<halite::Result<T>, String>) {
        if let Ok(Err(error)) = outcome {
            self.spoiled |= matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Poisoned);
        }
    }

    async fn get(&mut self, number: u16) -> Step {
        let (db, key) = (self.db(), key(number));
        let expected = self.world.expected().remove(&key);
        self.lifetime(&db, &key, expected.is_some()).await?;
        let got = self.read("get", || db.get(&key)).await?;
        let entry = self.read("get_entry", || db.get_entry(&key)).await?;
        let contains = self.read("contains", || db.contains(&key)).await?;
        let entry_is_right = match (&entry, &expected) {
            (Some(entry), Some(expected)) => entry.key == key && entry.value == *expected && entry.seq > 0,
            (None, None) => true,
            _ => false,
        };
        if got != expected || contains != expected.is_some() || !entry_is_right {
            let show = |value: Option<&[u8]>| value.map_or("nothing".to_owned(), shown);
            return Err(Stop::Wrong(format!(
                "wrong answer for key {}: expected {}, get says {}, get_entry {entry:?}, contains {contains}",
                shown(&key),
                show(expected.as_deref()),
                show(got.as_deref()),
            )));
        }
        Ok(())
    }

    async fn prefix(&mut self, number: u16) -> Step {
        let key = key(number);
        let range = KeyRange::prefix(&key[..key.len().min(2)]);
        self.scan(range.clone(), usize::MAX, false, false).await?;
        self.scan(range, usize::MAX, true, false).await
    }

    async fn scan(&mut self, range: KeyRange, limit: usize, rev: bool, keys_only: bool) -> Step {
        let expected = self.world.expected().into_iter().filter(|(key, _)| range.contains(key));
        let expected: Vec<_> = if rev { expected.rev().take(limit).collect() } else { expected.take(limit).collect() };
        let db = self.db();
        let scan = || {
            let scan = db.scan(range.clone()).limit(limit);
            let scan = if rev { scan.rev() } else { scan };
            let scan = if keys_only { scan.keys_only() } else { scan };
            scan.map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect::<Vec<_>>()
        };
        let mut found = self.read("scan", scan).await?;
        if keys_only && found.iter().all(|(_, value)| value.is_empty()) {
            found.iter_mut().zip(&expected).for_each(|(found, expected)| found.1 = expected.1.clone());
        }
        if found != expected {
            let keys = |entries: &[(Vec<u8>, _)]| entries.iter().map(|(key, _)| shown(key)).collect::<Vec<_>>();
            return Err(Stop::Wrong(format!(
                "wrong entries: expected {:?}, found {:?}",
                keys(&expected),
                keys(&found)
            )));
        }
        Ok(())
    }
}

async fn write_one(db: &Db, (key, value): &Write, ttl: Option<u64>, durability: Durability) -> halite::Result<()> {
    let options = WriteOptions { durability, ttl: ttl.map(Duration::from_millis) };
    match value {
        Some(value) => db.put_with(key, &value.bytes, options).await,
        None => db.delete_with(key, options).await,
    }
}

/// Errors that no fault of the storage may cause: nothing was damaged, no one else has written, and no task panics.
fn check_kind(error: &Error) -> Result<(), String> {
    let wrong_kind = matches!(
        error.kind(),
        ErrorKind::Corruption | ErrorKind::Fenced | ErrorKind::InvalidInput | ErrorKind::NotAStore | ErrorKind::InUse
    );
    if wrong_kind || format!("{error:?}").contains("panicked") {
        return Err(format!("an error that the fault does not explain: {error:?}"));
    }
    Ok(())
}
