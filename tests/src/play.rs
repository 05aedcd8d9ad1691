//! Runs operations against the engine and the model at once, and compares all that is said.
//!
//! Operations run in as many *processes* as there are crashes among them. A process is a runtime of its own, whose time is
//! virtual, and which takes all its tasks with it when it ends. One that is overtaken is not ended but stopped, and goes
//! on later as if nothing had happened.

mod bank;
mod change;
mod copy;
mod dropped;
mod follow;
mod keep;
mod read;
mod rivals;
mod settle;
mod storm;
mod watching;
mod write;

use crate::history::{Loss, compare};
use crate::ops::Op;
use crate::world::{World, ends, runtime, soundness};
use futures::TryStreamExt;
use halite::Db;
use rivals::Rival;
use settle::{Step, Stop, complaint};
use std::time::Duration;
use tokio::time::Instant;

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
    /// Whatever the operations say. There are no errors but those that they explain, and when they stop all goes on.
    Stormy,
}

/// How the turn of a process came to its end.
enum End {
    /// All was done.
    Done,
    /// By an error that the policy expects.
    Stopped,
    /// It is no more, and the next begins with operation `next`.
    By { next: usize, loss: Loss, seed: u64 },
    /// It is no more, though not all it has asked for has arrived.
    Aborted { next: usize },
    /// Another one is to take over.
    Overtaken { next: usize, rival: Rival },
    /// Others are to have so many turns first.
    Waking { next: usize, turns: u64 },
}

/// Opens a database in `world` and runs `ops`, in as many processes as there are crashes among them. (After a crash that
/// comes last, nothing is opened.)
///
/// # Errors
/// The first thing that is wrong, with the operation at which it showed.
pub fn play(world: &mut World, ops: &[Op], policy: Policy) -> Result<(), String> {
    let mut player = Player::new(world, policy);
    let mut process = runtime();
    let mut next = 0;
    loop {
        match process.block_on(player.live(ops, next))? {
            End::Done | End::Stopped => break,
            End::By { next: after, loss, seed } => {
                player.end(loss, seed);
                process = runtime();
                next = after;
            }
            End::Aborted { next: after } => {
                player.abort();
                process = runtime();
                next = after;
            }
            End::Overtaken { next: after, rival } => {
                player.overtake(rival, std::mem::replace(&mut process, runtime()));
                next = after;
            }
            End::Waking { next: after, turns } => {
                player.wake(turns).map_err(|wrong| format!("operation {}: {wrong}", after - 1))?;
                next = after;
            }
        }
        if next == ops.len() && player.world.db.is_none() {
            break;
        }
    }
    player.wake_all()
}

struct Player<'a> {
    world: &'a mut World,
    policy: Policy,
    /// A write has failed in a way that may stop all writing.
    spoiled: bool,
    /// A write was refused for want of space, which stops nothing.
    refused: bool,
    /// How many steps of the store had failed when all was last known to be right.
    strikes: u64,
    /// How many there were when this was last looked at, and since when.
    last_strike: Option<(u64, Instant)>,
    /// This process has opened the database, and perhaps closed it again.
    was_open: bool,
    /// What a planned crash leaves: that of a power cut of this seed, or of a kill.
    doom: Option<Option<u64>>,
    /// Processes that were overtaken.
    rivals: Vec<Rival>,
    held: Option<storm::Held>,
    watching: Option<watching::Watching>,
}

impl<'a> Player<'a> {
    fn new(world: &'a mut World, policy: Policy) -> Player<'a> {
        let strikes = world.strikes();
        Player {
            world,
            policy,
            spoiled: false,
            refused: false,
            strikes,
            last_strike: None,
            was_open: false,
            doom: None,
            rivals: Vec::new(),
            held: None,
            watching: None,
        }
    }

    /// The turn of a process: from operation `first` on.
    async fn live(&mut self, ops: &[Op], first: usize) -> Result<End, String> {
        let began = Instant::now();
        for (index, op) in ops.iter().enumerate().skip(first) {
            let step = self.turn(index, op).await;
            self.world.enter_trace(index, began.elapsed());
            match step {
                Ok(None) => {}
                Ok(Some(end)) => return Ok(end),
                Err(Stop::Wrong(wrong)) => return Err(format!("operation {index}, {op}: {wrong}")),
                Err(Stop::Expected) if self.policy == Policy::Stormy => return Ok(self.doomed(index)),
                Err(Stop::Expected) => return Ok(End::Stopped),
            }
        }
        if self.policy == Policy::Stormy && self.is_dead() { Ok(self.doomed(ops.len() - 1)) } else { Ok(End::Done) }
    }

    /// Operation `index`, unless it is another process that has to do it, and how this one ends if it does.
    async fn turn(&mut self, index: usize, op: &Op) -> Step<Option<End>> {
        let next = index + 1;
        if self.is_dead() && self.policy == Policy::Stormy {
            return Ok(Some(self.doomed(index.wrapping_sub(1))));
        }
        match *op {
            Op::Kill => return Ok(Some(End::By { next, loss: Loss::Kill, seed: 0 })),
            Op::PowerCut(seed) => return Ok(Some(End::By { next, loss: Loss::PowerCut, seed })),
            Op::LoseMachine(seed) => return Ok(Some(End::By { next, loss: Loss::Machine, seed })),
            Op::Abort => return Ok(Some(End::Aborted { next })),
            // Not before the store is in other hands.
            Op::Wake(turns) if self.was_open => return Ok(Some(End::Waking { next, turns })),
            _ => {}
        }
        if self.plan(op) {
            return Ok(None);
        }
        let is_closed = *op == Op::Close && self.was_open;
        if self.world.db.is_none()
            && !is_closed
            && let Err(stop) = self.open().await
        {
            return match stop {
                // Nothing of the operation has happened: the next process sees to it.
                Stop::Expected if self.policy == Policy::Stormy => {
                    self.world.figures.crashes_in_recovery += 1;
                    Ok(Some(self.doomed(index.wrapping_sub(1))))
                }
                Stop::Expected => Err(Stop::Expected),
                Stop::Wrong(wrong) => Err(Stop::Wrong(format!("opening: {wrong}"))),
            };
        }
        if let Op::Wake(turns) = *op {
            return Ok(Some(End::Waking { next, turns }));
        }
        if let Op::Overtake(writes, turns) = op
            && !self.world.store.has_lock()
        {
            let rival = self.leave(writes, *turns).await?;
            return Ok(Some(End::Overtaken { next, rival }));
        }
        self.step(op).await?;
        Ok(None)
    }

    /// The end of a process whose store has crashed during operation `index`.
    fn doomed(&self, index: usize) -> End {
        let next = index.wrapping_add(1);
        match self.doom.flatten() {
            Some(seed) => End::By { next, loss: Loss::PowerCut, seed },
            None => End::By { next, loss: Loss::Kill, seed: 0 },
        }
    }

    /// The process ends by `loss`, and so do those that it has overtaken.
    fn end(&mut self, loss: Loss, seed: u64) {
        let (loss, seed) = match (self.is_dead(), self.doom) {
            // Whatever it was that it died of, the machine is no more.
            _ if loss == Loss::Machine => (loss, seed),
            // The crash came first.
            (true, Some(Some(seed))) => (Loss::PowerCut, seed),
            (true, Some(None)) => (Loss::Kill, 0),
            _ => (loss, seed),
        };
        self.world.end(loss, seed);
        self.begin_anew();
        self.rivals.clear();
    }

    /// Nothing is left of the process but the store.
    fn begin_anew(&mut self) {
        (self.held, self.watching, self.world.reader) = (None, None, None);
        (self.spoiled, self.refused, self.was_open, self.doom) = (false, false, false, None);
        (self.strikes, self.last_strike) = (self.world.strikes(), None);
        self.world.clock.set(self.world.clock.latest());
    }

    fn db(&self) -> Db {
        self.world.db.clone().expect("opened before the first operation")
    }

    /// Opens the database, and judges what it shows if the last process did not close it.
    async fn open(&mut self) -> Step {
        self.world.clock.set(self.world.clock.latest());
        let mut attempts = 0;
        let db = loop {
            let (may_fail, strikes) = (self.may_fail(), self.world.strikes());
            let opened = ends("open", self.world.open()).await;
            if self.has_to_give_up(&opened) {
                continue;
            }
            let said = complaint(&opened);
            match self.settle("open", opened) {
                Ok(db) => break db,
                // The fault that stopped the first attempt has passed.
                Err(Stop::Expected) if matches!(self.policy, Policy::Faulty { forever: false, .. }) => {
                    if !may_fail || attempts > 0 {
                        return Err(Stop::Wrong("open fails without a fault".to_owned()));
                    }
                    attempts += 1;
                }
                Err(Stop::Expected) if self.policy == Policy::Stormy && !self.is_dead() => {
                    self.go_on_opening(&mut attempts, strikes, said)?;
                }
                Err(stop) => return Err(stop),
            }
        };
        (self.was_open, self.spoiled, self.strikes) = (true, false, self.world.strikes());
        self.world.db = Some(db);
        self.world.figures.lives += 1;
        self.judge().await?;
        self.read_checkpoints().await
    }

    /// Compares all that the database shows with the history.
    async fn judge(&mut self) -> Step {
        let db = self.db();
        let entries = self.read("scan", || db.scan(..).try_collect::<Vec<_>>()).await?;
        let expiries = entries.iter().map(|entry| (entry.key.to_vec(), entry.expires_at)).collect();
        let found = entries.into_iter().map(|entry| (entry.key.to_vec(), entry.value)).collect();
        let time = self.world.time();
        match self.world.ended {
            Some(loss) => {
                // What was not given up is all there, wherever that was.
                let loss = if self.world.gives_up_log { Loss::Machine } else { loss };
                let survivors = self.world.history.judge_expiring(&found, &expiries, time, loss)?;
                self.world.history.keep(&survivors);
                (self.world.ended, self.world.log_is_lost, self.world.gives_up_log) = (None, false, false);
            }
            None => compare(&self.world.expected(), &found)?,
        }
        Ok(())
    }

    async fn step(&mut self, op: &Op) -> Step {
        match self.step_once(op).await {
            Err(Stop::Expected) if self.policy == Policy::Stormy && self.is_dead() => Err(Stop::Expected),
            Err(Stop::Expected) if matches!(self.policy, Policy::Faulty { .. } | Policy::Stormy) => self.go_on().await,
            outcome => outcome,
        }
    }

    async fn step_once(&mut self, op: &Op) -> Step {
        let db = self.db();
        match op {
            Op::Write(write, level) => self.write(*write, *level).await,
            Op::Batch(writes, level) => self.batch(writes, *level).await,
            Op::Together(writes) => self.together(writes).await,
            Op::Change(change, level) => self.change(*change, *level).await,
            Op::Transact(reads, writes, level) => self.transact(reads, writes, *level).await,
            Op::Transfers(count, seed, level) => self.transfers(*count, *seed, *level).await,
            Op::Dropped(polls, op) => self.dropped(*polls, op).await,
            Op::Get(number) => self.get(*number).await,
            Op::Scan { from, to, limit, rev, keys_only } => {
                self.scan_between(*from, *to, *limit, *rev, *keys_only).await
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
            Op::Verify => {
                let strikes = self.world.strikes();
                match ends("verify", soundness(&db)).await? {
                    Err(_) if self.is_dead() => Err(Stop::Expected),
                    Err(_) if self.policy == Policy::Stormy && self.world.strikes() > strikes => Err(Stop::Expected),
                    Err(_) if self.policy != Policy::Stormy && self.may_fail() => Err(Stop::Expected),
                    sound => Ok(sound?),
                }
            }
            Op::Checkpoint(number) => self.checkpoint(*number).await,
            Op::DeleteCheckpoint(number) => self.delete_checkpoint(*number).await,
            Op::ReadCheckpoints => self.read_checkpoints().await,
            Op::Backup(number) => self.backup(*number).await,
            Op::Restore(number) => self.restore(*number).await,
            Op::Clone => self.clone_of_it().await,
            Op::Follow => self.follow().await,
            Op::Watch => self.watch().await,
            Op::Hold => {
                self.hold();
                Ok(())
            }
            Op::Look => self.look().await,
            Op::Wait(millis) => self.wait(*millis).await,
            Op::Advance(millis) => {
                self.world.clock.advance(*millis);
                Ok(())
            }
            Op::Back(millis) => {
                self.back(*millis);
                Ok(())
            }
            Op::Reopen => {
                self.close().await?;
                self.open().await
            }
            Op::Close => self.close().await,
            Op::Overtake(writes, _) => self.refuse_overtaking(writes).await,
            Op::Kill | Op::PowerCut(_) | Op::LoseMachine(_) | Op::Abort | Op::Wake(_) => {
                unreachable!("these end the process")
            }
            Op::Fault(_) | Op::Full(_) | Op::BringBack(_) | Op::Lag(_) | Op::Heal | Op::CrashIn(..) => {
                unreachable!("these are planned")
            }
        }
    }

    async fn close(&mut self) -> Step {
        let Some(db) = self.world.db.take() else { return Ok(()) };
        (self.held, self.watching) = (None, None);
        let closed = ends("close", db.close()).await;
        if closed.as_ref().is_ok_and(|closed| closed.is_ok()) {
            self.world.history.all_sealed();
        } else {
            // What it leaves is a log to replay.
            self.world.ended = Some(self.world.ended.unwrap_or(Loss::Kill));
        }
        self.settle("close", closed)
    }

    async fn wait(&mut self, millis: u64) -> Step {
        // Timers run in whole steps of the engine's intervals, and the work they begin takes turns of the runtime.
        let (written, synced) = (self.world.options.flush_interval, self.world.options.sync_interval);
        let is_calm = self.is_calm();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if !is_calm || !self.is_calm() {
            return Ok(());
        }
        if Duration::from_millis(millis) >= 2 * written {
            self.world.history.all_written();
        }
        if Duration::from_millis(millis) >= 2 * (written + synced) {
            self.world.history.all_synced();
        }
        let seals = self.world.options.seal_interval;
        if seals.is_some_and(|interval| Duration::from_millis(millis) >= 2 * interval) {
            self.world.history.all_sealed();
        }
        Ok(())
    }
}
