//! What goes wrong, as operations say, and what is held meanwhile.

use super::{Player, Policy, Step, Stop};
use crate::history::{State, compare};
use crate::ops::{FaultOp, Harm, Op};
use crate::world::ends;
use futures::TryStreamExt;
use halite::Snapshot;
use halite::backends::Simulated;
use std::time::Duration;
use tokio::time::Instant;

/// Who was refused room tries again within this time.
const QUIET: Duration = Duration::from_secs(10);

/// A snapshot, and what it shows.
pub(super) struct Held {
    snapshot: Snapshot,
    expected: State,
}

/// Plans a fault on a disk, and that what it stalls goes on.
fn plan_fault(fault: FaultOp, disk: &Simulated) {
    if let Some(millis) = fault.plan(disk, !disk.options().append) {
        let disk = disk.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            disk.resume();
        });
    }
}

impl Player<'_> {
    /// Whether the operation was but a plan, to which no database is needed.
    pub(super) fn plan(&mut self, op: &Op) -> bool {
        if !matches!(op, Op::Fault(_) | Op::Full(_) | Op::BringBack(_) | Op::Lag(_) | Op::Heal | Op::CrashIn(..)) {
            return false;
        }
        assert_eq!(self.policy, Policy::Stormy, "only there things may go wrong as operations say");
        let disks = self.world.store.disks();
        // What is about one disk is about one of those that there are.
        let one = |choice: u64| &disks[(choice % disks.len() as u64) as usize];
        match *op {
            Op::Fault(fault) => {
                self.world.figures.stalls += u64::from(matches!(fault.harm, Harm::Stalls(_)));
                disks.iter().for_each(|disk| plan_fault(fault, disk));
            }
            Op::Full(room) => disks.iter().for_each(|disk| disk.set_capacity(Some(disk.used() + room))),
            Op::BringBack(choice) => {
                self.world.figures.brought_back += u64::from(one(choice).bring_back(choice).is_some());
            }
            Op::Lag(steps) => disks.iter().for_each(|disk| disk.lag_lists(steps)),
            Op::Heal => {
                disks.iter().for_each(Simulated::clear_faults);
                disks.iter().for_each(Simulated::heal);
                self.doom = None;
            }
            Op::CrashIn(steps, cut) => {
                let disk = one(steps);
                disk.crash_at(disk.steps() + steps);
                self.doom = Some(cut);
            }
            _ => unreachable!("asked for above"),
        }
        true
    }

    /// Nothing more goes wrong, but for a crash.
    pub(super) fn heal(&self) {
        if self.policy == Policy::Stormy {
            self.world.store.disks().iter().for_each(Simulated::heal);
        }
    }

    /// What is stalled goes on.
    pub(super) fn resume(&self) {
        self.world.store.disks().iter().for_each(Simulated::resume);
    }

    /// Whether nothing is to go wrong from now on, whatever has so far.
    pub(super) fn is_right(&self) -> bool {
        self.world.store.is_healthy() && !self.is_dead()
    }

    /// A durable commit was acknowledged. If nothing has failed for so long that nothing is left of it but what writing
    /// would have met, there is no excuse from now on.
    pub(super) fn note_durable(&mut self) {
        if self.policy != Policy::Stormy {
            return;
        }
        let strikes = self.world.strikes();
        let last = *self.last_strike.get_or_insert((strikes, Instant::now()));
        if last.0 != strikes {
            self.last_strike = Some((strikes, Instant::now()));
        } else if self.is_right() && last.1.elapsed() >= QUIET {
            self.strikes = strikes;
        }
    }

    /// The process is no more, but its requests may arrive yet; those that it has overtaken go on.
    pub(super) fn abort(&mut self) {
        self.world.figures.aborted += 1;
        self.world.leave();
        self.resume();
        self.begin_anew();
    }

    /// The wall clock is set back, when engine time is what it was.
    pub(super) fn back(&mut self, millis: u64) {
        drop(self.db().snapshot());
        self.world.clock.set(self.world.clock.millis().saturating_sub(millis));
    }

    pub(super) fn hold(&mut self) {
        self.held = Some(Held { snapshot: self.db().snapshot(), expected: self.world.expected() });
    }

    /// Compares what the snapshot shows with what it showed.
    pub(super) async fn look(&mut self) -> Step {
        let Some(held) = self.held.take() else { return Ok(()) };
        let scan = || held.snapshot.scan(..).map_ok(|entry| (entry.key.to_vec(), entry.value)).try_collect();
        let found: State = self.read("a snapshot's scan", scan).await?;
        compare(&held.expected, &found).map_err(|wrong| Stop::Wrong(format!("a snapshot: {wrong}")))?;
        if let Some(key) = held.expected.keys().next() {
            let value = self.read("a snapshot's get", || held.snapshot.get(key)).await?;
            if value.as_ref() != held.expected.get(key) {
                return Err(Stop::Wrong("get and scan of a snapshot differ".to_owned()));
            }
        }
        self.held = Some(held);
        Ok(())
    }

    /// Where there is a lock nobody else opens the store, and what was to be written then is written now.
    pub(super) async fn refuse_overtaking(&mut self, writes: &[(crate::ops::WriteOp, halite::Durability)]) -> Step {
        let strikes = self.world.strikes();
        match ends("open", self.world.rival().open()).await? {
            Ok(_) => return Err(Stop::Wrong("a store that is open was opened, though it has a lock".to_owned())),
            Err(error) if error.kind() == halite::ErrorKind::InUse => {}
            Err(_) if self.is_dead() => return Err(Stop::Expected),
            Err(_) if self.world.strikes() > strikes => {}
            Err(error) => return Err(Stop::Wrong(format!("a store that is in use says {error:?}"))),
        }
        self.together(writes).await
    }
}
