//! Checkpoints, clones, backups, and what is left of a damaged store.

use super::Db;
use super::home::Home;
use crate::backends::Backend;
use crate::{Checkpoint, CheckpointOptions, CopyReport, RepairReport, Result, ShipOptions, Superfluous};
use std::sync::Arc;

impl Db {
    /// Keeps the database as it is now, by that name: see [`halite::Db::checkpoint`](crate::Db::checkpoint).
    pub fn checkpoint(&self, name: impl AsRef<str>) -> Result<Checkpoint> {
        self.home.run(self.as_async().checkpoint(name))
    }

    /// As [`checkpoint`](Db::checkpoint), as `options` say: see
    /// [`halite::Db::checkpoint_with`](crate::Db::checkpoint_with).
    pub fn checkpoint_with(&self, name: impl AsRef<str>, options: CheckpointOptions) -> Result<Checkpoint> {
        self.home.run(self.as_async().checkpoint_with(name, options))
    }

    /// The files of the store that nothing names: see [`halite::Db::collectable`](crate::Db::collectable).
    pub fn collectable(&self) -> Result<Vec<Superfluous>> {
        self.home.run(self.as_async().collectable())
    }

    /// Deletes the files that nothing names: see [`halite::Db::collect`](crate::Db::collect).
    pub fn collect(&self) -> Result<Vec<Superfluous>> {
        self.home.run(self.as_async().collect())
    }

    /// The checkpoints, in the order in which they were taken: see [`halite::Db::checkpoints`](crate::Db::checkpoints).
    pub fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        self.home.run(self.as_async().checkpoints())
    }

    /// Lets go of the checkpoint of that name: see [`halite::Db::delete_checkpoint`](crate::Db::delete_checkpoint).
    pub fn delete_checkpoint(&self, name: impl AsRef<str>) -> Result<bool> {
        self.home.run(self.as_async().delete_checkpoint(name))
    }

    /// Makes the empty `target` a database of its own that holds what this one does: see
    /// [`halite::Db::clone_to`](crate::Db::clone_to).
    pub fn clone_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        self.home.run(self.as_async().clone_to(target))
    }

    /// As [`clone_to`](Db::clone_to), sharing nothing: see [`halite::Db::copy_to`](crate::Db::copy_to).
    pub fn copy_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        self.home.run(self.as_async().copy_to(target))
    }

    /// Adds what the database holds to the backups in `target`: see [`halite::Db::backup`](crate::Db::backup).
    pub fn backup(&self, target: Arc<dyn Backend>, name: impl AsRef<str>) -> Result<CopyReport> {
        self.home.run(self.as_async().backup(target, name))
    }

    /// As [`backup`](Db::backup), as `options` say: see [`halite::Db::backup_with`](crate::Db::backup_with).
    pub fn backup_with(
        &self,
        target: Arc<dyn Backend>,
        name: impl AsRef<str>,
        options: CheckpointOptions,
    ) -> Result<CopyReport> {
        self.home.run(self.as_async().backup_with(target, name, options))
    }

    /// Keeps a live backup in `target`, on this thread, until the database is closed: see
    /// [`halite::Db::ship_to`](crate::Db::ship_to).
    pub fn ship_to(
        &self,
        target: Arc<dyn Backend>,
        options: ShipOptions,
        told: impl FnMut(&CopyReport) + Send,
    ) -> Result<()> {
        self.home.run(self.as_async().ship_to(target, options, told))
    }

    /// Makes the empty `target` a database of the backup of that name: see [`halite::Db::restore`](crate::Db::restore).
    pub fn restore(backups: Arc<dyn Backend>, name: Option<&str>, target: Arc<dyn Backend>) -> Result<CopyReport> {
        Home::run_alone(crate::Db::restore(backups, name, target))
    }

    /// Lets go of the backup of that name: see [`halite::Db::delete_backup`](crate::Db::delete_backup).
    pub fn delete_backup(target: Arc<dyn Backend>, name: impl AsRef<str>) -> Result<bool> {
        Home::run_alone(crate::Db::delete_backup(target, name))
    }
}

/// Brings what is whole of a damaged store into the empty `target`: see [`halite::repair`](crate::repair()).
///
/// # Errors
/// As there; `InvalidInput` within an async runtime.
pub fn repair(damaged: Arc<dyn Backend>, target: Arc<dyn Backend>) -> Result<RepairReport> {
    Home::run_alone(crate::repair(damaged, target))
}
