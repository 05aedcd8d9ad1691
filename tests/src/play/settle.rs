//! Sorts what calls return: answers, errors that are explained, and errors that are not.

use super::write::write_one;
use super::{Player, Policy};
use crate::history::{Loss, compare};
use crate::ops::put;
use crate::world::{ends, read_all};
use halite::{Durability, Error, ErrorKind};
use std::time::Duration;

/// Attempts that may fail before things are put right.
const ATTEMPTS: u32 = 3;

/// Why an operation ended early.
pub(super) enum Stop {
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

pub(super) type Step<T = ()> = Result<T, Stop>;

/// What is wrong with it.
pub(super) fn complaint<T>(outcome: &Result<halite::Result<T>, String>) -> String {
    match outcome {
        Ok(Ok(_)) => "nothing".to_owned(),
        Ok(Err(error)) => format!("{error:?}"),
        Err(hangs) => hangs.clone(),
    }
}

impl Player<'_> {
    /// Whether the process is no more: its store has crashed.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.policy, Policy::Crashing | Policy::Stormy) && self.world.store.is_crashed()
    }

    /// Whether a request to the store that is made now may meet a fault.
    pub(super) fn may_fail(&self) -> bool {
        match self.policy {
            Policy::Strict => false,
            Policy::Crashing => true,
            Policy::Faulty { from, forever } => forever || self.world.store.simulator().steps() <= from,
            Policy::Stormy => {
                let store = &self.world.store;
                !store.is_healthy() || store.is_crashed() || self.world.strikes() > self.strikes
            }
        }
    }

    /// Whether the store says that its log is elsewhere, and it was lost: from now on it is given up.
    pub(super) fn has_to_give_up<T>(&mut self, opened: &Result<halite::Result<T>, String>) -> bool {
        let is_elsewhere = matches!(opened, Ok(Err(error)) if error.kind() == ErrorKind::LogElsewhere);
        let gives_up = is_elsewhere && self.world.log_is_lost && !self.world.gives_up_log;
        self.world.gives_up_log |= gives_up;
        gives_up
    }

    /// Whether nothing has gone wrong since the opening, and nothing is about to.
    pub(super) fn is_calm(&self) -> bool {
        match self.policy {
            Policy::Strict => true,
            Policy::Stormy => !self.may_fail() && !self.spoiled && !self.refused && self.doom.is_none(),
            _ => false,
        }
    }

    /// Sorts a call's outcome: the answer, an expected error, or a wrong one.
    pub(super) fn settle<T>(&mut self, what: &str, outcome: Result<halite::Result<T>, String>) -> Step<T> {
        match (outcome, self.policy) {
            (Ok(Ok(answer)), _) => Ok(answer),
            (Ok(Err(_)) | Err(_), Policy::Crashing | Policy::Stormy) if self.is_dead() => Err(Stop::Expected),
            (Ok(Err(error)), Policy::Faulty { .. }) => {
                self.check_kind(&error)?;
                Err(Stop::Expected)
            }
            (Ok(Err(error)), Policy::Stormy) if self.may_fail() => {
                self.check_kind(&error)?;
                Err(Stop::Expected)
            }
            (Ok(Err(error)), _) => Err(Stop::Wrong(format!("{what} failed: {error:?}"))),
            (Err(hangs), _) => Err(Stop::Wrong(hangs)),
        }
    }

    /// Reads: that works, unless the very read met the fault. Where the fault has passed then, reading again works.
    pub(super) async fn read<T, F>(&mut self, what: &str, ask: impl Fn() -> F) -> Step<T>
    where
        F: Future<Output = halite::Result<T>>,
    {
        let mut strikes = self.world.strikes();
        let mut may_fail = self.may_fail();
        let mut outcome = ends(what, ask()).await;
        if let (Ok(Err(error)), Policy::Faulty { forever: false, .. }) = (&outcome, self.policy)
            && may_fail
        {
            self.check_kind(error)?;
            may_fail = self.may_fail();
            outcome = ends(what, ask()).await;
        }
        if self.policy == Policy::Stormy && !self.is_dead() {
            for attempt in 1.. {
                let (Ok(Err(error)), true) = (&outcome, self.world.strikes() > strikes) else { break };
                self.check_kind(error)?;
                if attempt == ATTEMPTS {
                    self.heal();
                }
                strikes = self.world.strikes();
                outcome = ends(what, ask()).await;
                if self.is_dead() {
                    break;
                }
            }
        }
        if self.policy == Policy::Stormy {
            may_fail = self.is_dead();
        }
        match outcome {
            Ok(Err(error)) if !may_fail => Err(Stop::Wrong(format!("{what} failed without a fault: {error:?}"))),
            outcome => self.settle(what, outcome),
        }
    }

    /// After an expected error: reads go on, and `reopen` makes a stopped writer write again.
    pub(super) async fn go_on(&mut self) -> Step {
        let forever = matches!(self.policy, Policy::Faulty { forever: true, .. });
        if self.world.db.is_none() {
            return if forever { Err(Stop::Expected) } else { self.open().await };
        }
        let db = self.db();
        match self.read("scan", || read_all(&db)).await {
            Ok(found) => compare(&self.world.expected(), &found)?,
            Err(Stop::Expected) if self.policy == Policy::Stormy => return Err(Stop::Expected),
            Err(Stop::Expected) => {}
            Err(wrong) => return Err(wrong),
        }
        if self.refused && (self.policy == Policy::Stormy || !self.may_fail()) {
            self.make_room().await?;
        }
        if !self.spoiled || forever {
            return Ok(());
        }
        self.spoiled = false;
        if self.policy == Policy::Stormy {
            return self.reopen().await;
        }
        let reopened = ends("reopen", self.db().reopen()).await;
        if self.may_fail() {
            return Err(Stop::Wrong("writing stopped before the fault".to_owned()));
        }
        let db = reopened?.map_err(|error| format!("reopen failed: {error:?}"))?;
        self.take_over(db).await
    }

    /// There is room again, and a seal that found none tries again by and by.
    async fn make_room(&mut self) -> Step {
        if self.policy != Policy::Stormy {
            tokio::time::sleep(Duration::from_secs(5)).await;
            return Ok(());
        }
        self.heal();
        tokio::time::sleep(Duration::from_secs(5)).await;
        self.refused = false;
        let (commit, write) = (self.world.history.len(), put(8, 30));
        let writes = self.writes(commit, &[write]);
        self.world.history.enter(writes.clone());
        let written = ends("a write", write_one(&self.db(), &writes[0], None, Durability::Synced)).await;
        match self.committed(commit, written, Durability::Synced) {
            Err(Stop::Expected) if self.refused => {
                Err(Stop::Wrong("there is room again, but a write is refused".to_owned()))
            }
            // Something else has stopped writing.
            Err(Stop::Expected) if !self.is_dead() => Ok(()),
            outcome => outcome,
        }
    }

    /// Opens the database anew, whose writing has stopped, while things may still go wrong.
    async fn reopen(&mut self) -> Step {
        self.world.clock.set(self.world.clock.latest());
        let mut attempts = 0;
        loop {
            let strikes = self.world.strikes();
            let reopened = ends("reopen", self.db().reopen()).await;
            let said = complaint(&reopened);
            match self.settle("reopen", reopened) {
                Ok(db) => {
                    (self.spoiled, self.strikes) = (false, self.world.strikes());
                    return self.take_over(db).await;
                }
                Err(Stop::Expected) if !self.is_dead() => self.go_on_opening(&mut attempts, strikes, said)?,
                Err(stop) => return Err(stop),
            }
        }
    }

    /// An attempt to open has failed, and this is what it `said`; `strikes` is how many steps had failed before it. Things are
    /// put right after some.
    pub(super) fn go_on_opening(&mut self, attempts: &mut u32, strikes: u64, said: String) -> Step {
        if self.world.strikes() == strikes {
            return Err(Stop::Wrong(format!("opening fails without a fault: {said}")));
        }
        *attempts += 1;
        if *attempts == ATTEMPTS {
            self.heal();
        }
        Ok(())
    }

    /// From now on `db` is the handle.
    async fn take_over(&mut self, db: halite::Db) -> Step {
        (self.held, self.watching) = (None, None);
        let old = self.world.db.replace(db);
        let refused = old.expect("it was open").put("late", "never").await;
        if refused.is_ok() {
            return Err(Stop::Wrong("a handle still writes after its reopen".to_owned()));
        }
        self.world.ended = Some(Loss::Kill);
        self.judge().await
    }

    /// Notes whether an answer says that writing has stopped.
    pub(super) fn note<T>(&mut self, outcome: &Result<halite::Result<T>, String>) {
        if let Ok(Err(error)) = outcome {
            self.spoiled |= matches!(error.kind(), ErrorKind::Unknown | ErrorKind::Poisoned);
        }
    }

    /// Errors that no fault of the storage may cause: nothing was damaged (unless reads were), no one else has written, and
    /// no task panics.
    fn check_kind(&self, error: &Error) -> Result<(), String> {
        let wrong_kind = match error.kind() {
            // A store whose proof is read wrong does not prove to be one, and where lists lag manifests come and go.
            ErrorKind::Corruption | ErrorKind::InvalidInput => {
                !self.world.has_spoilt_reads() && !self.world.has_lagged()
            }
            // Nor is the manifest that says so always the newest then.
            ErrorKind::Fenced | ErrorKind::InUse | ErrorKind::LogElsewhere => !self.world.has_lagged(),
            kind => kind == ErrorKind::NotAStore,
        };
        if wrong_kind || format!("{error:?}").contains("panicked") {
            return Err(format!("an error that the fault does not explain: {error:?}"));
        }
        Ok(())
    }
}
