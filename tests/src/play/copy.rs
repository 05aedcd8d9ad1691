//! Copies: what a backup or a clone shows is what the database showed when it was made.

use super::{Player, Step, Stop};
use crate::history::{State, compare};
use crate::kept;
use crate::world::{ends, read_all, soundness};
use futures::TryStreamExt;
use halite::backends::{Backend, Memory};
use halite::{Db, Entry};
use std::sync::Arc;

impl Player<'_> {
    pub(super) async fn backup(&mut self, number: u8) -> Step {
        self.world.clock.set(self.world.clock.latest());
        let (name, target) = (kept::name(number), Arc::new(self.world.backups.clone()));
        if self.world.backed_up.remove(&name).is_some() {
            let deleted = ends("delete_backup", Db::delete_backup(target.clone(), &name)).await;
            if !self.settle("delete_backup", deleted)? {
                return Err(Stop::Wrong(format!("backup {name} is not there")));
            }
        }
        let expected = self.world.expected();
        let outcome = ends("backup", self.db().backup(target, &name)).await;
        self.note(&outcome);
        self.settle("backup", outcome)?;
        self.note_sealed();
        self.world.backed_up.insert(name, expected);
        Ok(())
    }

    pub(super) async fn restore(&mut self, number: u8) -> Step {
        self.world.clock.set(self.world.clock.latest());
        let (name, backups) = (kept::name(number), Arc::new(self.world.backups.clone()));
        let Some(expected) = self.world.backed_up.get(&name).cloned() else { return Ok(()) };
        let told = |error: halite::Error| Stop::Wrong(format!("backup {name}: {error:?}"));
        let clock = Arc::new(self.world.clock.clone());
        let builder = Db::builder(backups.clone()).options(self.world.options.clone());
        let reader = builder.clock(clock).open_at(&name).await.map_err(told)?;
        let entries: Vec<Entry> = reader.scan(..).try_collect().await.map_err(told)?;
        let found: State = entries.iter().map(|entry| (entry.key.to_vec(), entry.value.clone())).collect();
        compare(&expected, &found).map_err(|wrong| format!("backup {name}: {wrong}"))?;
        // A database judges expiries by the time it is.
        let now = self.world.time();
        let is_live = |entry: &Entry| entry.expires_at.is_none_or(|at| now < at);
        let live = entries.into_iter().filter(is_live).map(|entry| (entry.key.to_vec(), entry.value)).collect();
        let target = Memory::create_only();
        Db::restore(backups, Some(&name), Arc::new(target.clone())).await.map_err(told)?;
        self.examine_copy(target, &live).await.map_err(|wrong| Stop::Wrong(format!("restored {name}: {wrong}")))
    }

    pub(super) async fn clone_of_it(&mut self) -> Step {
        self.world.clock.set(self.world.clock.latest());
        let (target, expected) = (Memory::new(), self.world.expected());
        let outcome = ends("clone", self.db().clone_to(Arc::new(target.clone()))).await;
        self.note(&outcome);
        self.settle("clone", outcome)?;
        self.note_sealed();
        self.examine_copy(target, &expected).await.map_err(|wrong| Stop::Wrong(format!("clone: {wrong}")))
    }

    /// All that has entered was sealed. (A commit that was answered with an error may not have entered.)
    fn note_sealed(&mut self) {
        if !self.spoiled {
            self.world.history.all_sealed();
        }
    }

    /// Opens a copy, compares what it shows, and writes to it.
    async fn examine_copy(&self, copy: impl Backend, expected: &State) -> Result<(), String> {
        let copy: Arc<dyn Backend> = Arc::new(copy);
        let told = |error: halite::Error| format!("{error:?}");
        for round in 0..2 {
            let builder = Db::builder(copy.clone()).options(self.world.options.clone()).seed(round);
            let db = builder.clock(Arc::new(self.world.clock.clone())).open().await.map_err(told)?;
            let mut expected = expected.clone();
            if round == 1 {
                expected.insert(b"of its own".to_vec(), "value".into());
            }
            compare(&expected, &read_all(&db).await.map_err(told)?)?;
            soundness(&db).await?;
            db.put("of its own", "value").await.map_err(told)?;
            db.close().await.map_err(told)?;
        }
        Ok(())
    }
}
