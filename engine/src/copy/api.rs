//! What a user calls to copy a store.

use super::{CopyReport, Source, backup, clone, delete_backup};
use crate::random::Random;
use crate::tasks::Tasks;
use crate::{CheckpointOptions, Clock, Db, ReadOnly, Result, SystemClock};
use halite_backends::Backend;
use std::sync::Arc;

impl Db {
    /// Makes the empty `target` a database of its own that holds what this one does, all that was acknowledged before this
    /// call included. Writing goes on meanwhile, and afterwards each goes its own way. Checkpoints do not come along.
    ///
    /// Where the storage of both can, they share what is sealed (local files of one file system by links, memory by
    /// reference): then it takes no time and no room until they differ, but damage to a shared file is damage to both. What
    /// is copied is read back and verified.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{Db, backends::Memory};
    /// use std::sync::Arc;
    /// let db = Db::open("mem:").await?;
    /// db.put("key", "old").await?;
    /// let target = Arc::new(Memory::new());
    /// db.clone_to(target.clone()).await?;
    /// db.put("key", "new").await?;
    /// let clone = Db::builder(target).open().await?;
    /// assert_eq!(clone.get("key").await?.as_deref(), Some(&b"old"[..]));
    /// # clone.close().await?;
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `AlreadyExists` where the target holds a store; `NotAStore` where it holds something else; `InUse` where another copy
    /// to it is under way; `Corruption` where a segment is damaged; `NoSpace`, `Io`.
    ///
    /// # Cancel safety
    /// Dropped, or failed, what has been copied stays, and is no database yet: called again, on this database, it goes on.
    pub async fn clone_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        let source = self.source().await?;
        self.core().tasks.inside(clone(&source, target, true)).await
    }

    /// As [`clone_to`](Db::clone_to), but nothing is shared, whatever the storage: so the copy lives on where the
    /// database is lost. From any backend to any: so a store moves.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn copy_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        let source = self.source().await?;
        self.core().tasks.inside(clone(&source, target, false)).await
    }

    /// Adds what the database holds, all that was acknowledged before this call included, to the backups in `target`, by
    /// that name (1 to 255 bytes of UTF-8). An empty target becomes a store of backups of this database: it can be opened
    /// read-only, at any of them ([`Builder::open_at`](crate::Builder::open_at)), but not for writing.
    ///
    /// Only segments that are not there yet are written; these are read back and verified. Segments are never shared with
    /// the database. Writing goes on meanwhile.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// use halite::{Db, backends::Memory};
    /// use std::sync::Arc;
    /// let db = Db::open("mem:").await?;
    /// db.put("key", "value").await?;
    /// let (backups, place) = (Arc::new(Memory::new()), Arc::new(Memory::new()));
    /// db.backup(backups.clone(), "monday").await?;
    /// # db.close().await?;
    /// Db::restore(backups, Some("monday"), place.clone()).await?;
    /// let restored = Db::builder(place).open().await?;
    /// assert_eq!(restored.get("key").await?.as_deref(), Some(&b"value"[..]));
    /// # restored.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// `AlreadyExists` where there is a backup of that name, or the target holds a store that is none of backups;
    /// `InvalidInput` for a name out of bounds, and where the backups are of another database; `NotAStore` where the target
    /// holds something else; `InUse` where another copy to it is under way; `Corruption` where a segment is damaged;
    /// `NoSpace`, `Io`. The backups that were there are there still.
    ///
    /// # Cancel safety
    /// Dropped, or failed, what has been copied stays: called again, it goes on.
    pub async fn backup(&self, target: Arc<dyn Backend>, name: impl AsRef<str>) -> Result<CopyReport> {
        self.backup_with(target, name, CheckpointOptions::default()).await
    }

    /// As [`backup`](Db::backup), as `options` say: so that nobody can delete it before a date.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn backup_with(
        &self,
        target: Arc<dyn Backend>,
        name: impl AsRef<str>,
        options: CheckpointOptions,
    ) -> Result<CopyReport> {
        let source = self.source().await?;
        self.core().tasks.inside(backup(&source, target, name.as_ref().to_owned(), options, false)).await
    }

    /// Makes the empty `target` a database that holds what the backup of that name does, the newest if `None`. Every
    /// segment is written anew, read back and verified; the backup stays as it is.
    ///
    /// # Errors
    /// `NotFound` where there are no backups, or none of that name; otherwise as [`clone_to`](Db::clone_to).
    ///
    /// # Cancel safety
    /// Dropped, or failed, what has been copied stays, and is no database yet: called again, it goes on.
    pub async fn restore(
        backups: Arc<dyn Backend>,
        name: Option<&str>,
        target: Arc<dyn Backend>,
    ) -> Result<CopyReport> {
        let reader = match name {
            Some(name) => Db::builder(backups).open_at(name).await?,
            None => Db::builder(backups.clone()).open_at(newest_of(backups).await?).await?,
        };
        reader.clone_to(target).await
    }

    /// Lets go of the backup of that name in `target`, and of what only it needed (of the newest, with the next backup);
    /// false where there is none.
    ///
    /// # Errors
    /// `NotFound` where there are no backups, `NotAStore` where the store is none of backups, `Held` where it is to be kept
    /// until a later time, `InUse` where a backup is under way, `InvalidInput` outside a runtime, `Io`.
    ///
    /// # Cancel safety
    /// Dropped, it has happened or not; what is left of it goes with the next one.
    pub async fn delete_backup(target: Arc<dyn Backend>, name: impl AsRef<str>) -> Result<bool> {
        let delete = delete_backup(target, name.as_ref(), Random::new(None), SystemClock.now_millis());
        Tasks::current()?.inside(delete).await
    }

    pub(super) async fn source(&self) -> Result<Source> {
        let core = self.core();
        core.check_open()?;
        core.carry_out("seal for a copy", Source::of(core.clone())).await
    }
}

/// The name of the backup that was made last.
async fn newest_of(backups: Arc<dyn Backend>) -> Result<String> {
    let location = backups.location();
    let reader = Db::builder(backups).open_read_only().await?;
    let newest = reader.checkpoints()?.pop().map(|checkpoint| checkpoint.name);
    reader.close().await;
    newest.ok_or_else(|| super::refused(crate::ErrorKind::NotFound, &location, "holds no backups"))
}

impl ReadOnly {
    /// Makes the empty `target` a database that holds what this reader shows: see [`Db::clone_to`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn clone_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        self.clone_with(target, true).await
    }

    /// Makes the empty `target` a database of its own that holds what this reader shows, and shares nothing: see
    /// [`Db::copy_to`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn copy_to(&self, target: Arc<dyn Backend>) -> Result<CopyReport> {
        self.clone_with(target, false).await
    }

    async fn clone_with(&self, target: Arc<dyn Backend>, share: bool) -> Result<CopyReport> {
        loop {
            let outcome = {
                let (source, _held) = self.source().await?;
                let share = share && !source.is_backup();
                self.tasks().inside(clone(&source, target.clone(), share)).await
            };
            match outcome {
                Err(error) if self.was_overtaken(&error).await? => {}
                outcome => return outcome,
            }
        }
    }

    /// Adds what this reader shows to the backups in `target`, by that name: see [`Db::backup`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn backup(&self, target: Arc<dyn Backend>, name: impl AsRef<str>) -> Result<CopyReport> {
        self.backup_with(target, name, CheckpointOptions::default()).await
    }

    /// As [`backup`](ReadOnly::backup), as `options` say: see [`Db::backup_with`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn backup_with(
        &self,
        target: Arc<dyn Backend>,
        name: impl AsRef<str>,
        options: CheckpointOptions,
    ) -> Result<CopyReport> {
        self.tasks().inside(self.backup_as(target, name.as_ref(), options, false)).await
    }

    pub(super) async fn backup_as(
        &self,
        target: Arc<dyn Backend>,
        name: &str,
        options: CheckpointOptions,
        replace: bool,
    ) -> Result<CopyReport> {
        loop {
            let outcome = {
                let (source, _held) = self.source().await?;
                backup(&source, target.clone(), name.to_owned(), options, replace).await
            };
            match outcome {
                Err(error) if self.was_overtaken(&error).await? => {}
                outcome => return outcome,
            }
        }
    }
}
