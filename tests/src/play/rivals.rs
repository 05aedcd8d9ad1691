//! Writers that are overtaken: stopped in the middle of commits, while another process takes the store, and woken later.

use super::write::write_one;
use super::{Player, Step};
use crate::history::{Loss, Write};
use crate::ops::WriteOp;
use crate::world::FOR_EVER;
use halite::{Db, Durability, ErrorKind};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

type Answer = Arc<Mutex<Option<halite::Result<()>>>>;

/// A commit of an overtaken writer.
struct Pending {
    /// Its number in the history; none if it was made after another writer took over.
    commit: Option<usize>,
    level: Durability,
    answer: Answer,
    task: JoinHandle<()>,
}

impl Pending {
    fn begin(db: &Db, write: Write, level: Durability, commit: Option<usize>) -> Pending {
        let (db, answer) = (db.clone(), Answer::default());
        let noted = answer.clone();
        let task = tokio::spawn(async move {
            let outcome = write_one(&db, &write, None, level).await;
            *noted.lock().expect("nobody panics under it") = Some(outcome);
        });
        Pending { commit, level, answer, task }
    }

    fn take_answer(&self) -> Option<halite::Result<()>> {
        self.answer.lock().expect("nobody panics under it").take()
    }
}

/// A writer that was stopped.
pub(super) struct Rival {
    // In this order: its tasks go before what they belong to.
    runtime: Option<Runtime>,
    db: Db,
    pending: Vec<Pending>,
}

impl Player<'_> {
    /// Begins writes, lets the process have so many turns, and leaves it.
    pub(super) async fn leave(&mut self, ops: &[(WriteOp, Durability)], turns: u64) -> Step<Rival> {
        let (db, first) = (self.db(), self.world.history.len());
        let writes: Vec<Write> = (first..).zip(ops).flat_map(|(commit, (op, _))| self.writes(commit, &[*op])).collect();
        self.world.history.enter_together(writes.clone());
        let numbered = (first..).zip(writes).zip(ops);
        let pending: Vec<_> =
            numbered.map(|((commit, write), (_, level))| Pending::begin(&db, write, *level, Some(commit))).collect();
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let mut rival = Rival { runtime: None, db, pending };
        let mut left = Vec::new();
        for pending in rival.pending {
            match (pending.take_answer(), pending.commit) {
                (Some(outcome), Some(commit)) => match self.committed(commit, Ok(outcome), pending.level) {
                    Ok(()) | Err(super::Stop::Expected) => {}
                    wrong => wrong?,
                },
                _ => left.push(pending),
            }
        }
        rival.pending = left;
        Ok(rival)
    }

    /// Another process takes the place of that of `rival`, whose runtime this is.
    pub(super) fn overtake(&mut self, mut rival: Rival, runtime: Runtime) {
        self.world.figures.overtaken += 1;
        rival.runtime = Some(runtime);
        self.rivals.push(rival);
        self.world.leave();
        self.resume();
        let doom = self.doom;
        self.begin_anew();
        // The store they share crashes for both.
        self.doom = doom;
    }

    /// Lets the processes that were overtaken have so many turns; with none, as long as anything is on its way.
    pub(super) fn wake(&mut self, turns: u64) -> Result<(), String> {
        let mut rivals = std::mem::take(&mut self.rivals);
        for rival in &mut rivals {
            let runtime = rival.runtime.as_ref().expect("it was given one when it was stopped");
            runtime.block_on(async {
                let write = (b"a ghost".to_vec(), Some(ghost()));
                if rival.pending.len() < 8 {
                    rival.pending.push(Pending::begin(&rival.db, write, Durability::Synced, None));
                }
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
                if turns == 0 {
                    tokio::time::sleep(FOR_EVER).await;
                }
            });
            for pending in std::mem::take(&mut rival.pending) {
                match pending.take_answer() {
                    Some(answer) => self.judge_late(&pending, &answer)?,
                    None if turns == 0 && !self.is_dead() && self.is_right() => {
                        return Err("a writer that was overtaken waits for ever".to_owned());
                    }
                    None if pending.task.is_finished() => return Err("a writer's task is gone".to_owned()),
                    None => rival.pending.push(pending),
                }
            }
        }
        self.rivals = rivals;
        Ok(())
    }

    /// In the end all of them get their answers.
    pub(super) fn wake_all(&mut self) -> Result<(), String> {
        if self.rivals.is_empty() {
            return Ok(());
        }
        self.heal();
        self.wake(0).map_err(|wrong| format!("in the end: {wrong}"))
    }

    /// Judges what a writer was told after another one took over.
    fn judge_late(&mut self, pending: &Pending, answer: &halite::Result<()>) -> Result<(), String> {
        self.world.figures.late_answers += 1;
        let happened = match pending.commit {
            Some(commit) => self.world.history.has_happened(commit),
            None => Some(false),
        };
        let kind = answer.as_ref().err().map(halite::Error::kind);
        match (kind, happened) {
            // Ordered and visible, to him.
            (None, _) if pending.level == Durability::Deferred => Ok(()),
            (None, Some(false)) => Err(format!(
                "a writer was overtaken, and told that its commit {:?} is {:?}, but it is lost",
                pending.commit, pending.level
            )),
            (Some(ErrorKind::Unknown), _) | (None, _) => Ok(()),
            (Some(kind), Some(true)) if !self.is_dead() => Err(format!(
                "a writer was overtaken, and told that its commit {:?} did not happen ({kind:?}), but it did",
                pending.commit
            )),
            (Some(_), _) => Ok(()),
        }
    }
}

fn ghost() -> crate::history::Value {
    crate::history::Value { bytes: "of an overtaken writer".into(), expires_at: None }
}

impl crate::world::World {
    /// The process is left as it is, without an end: the next one finds what a kill leaves.
    pub(crate) fn leave(&mut self) {
        self.ended = Some(self.ended.unwrap_or(Loss::Kill));
        self.db = None;
        self.reader = None;
    }
}
