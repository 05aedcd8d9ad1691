//! Checkpoints: taken, let go of, listed and read.

use super::{Player, Step, Stop};
use crate::kept;
use crate::world::ends;
use halite::ErrorKind;

impl Player<'_> {
    pub(super) async fn checkpoint(&mut self, number: u8) -> Step {
        let (name, expected) = (kept::name(number), self.world.expected());
        let taken = ends("checkpoint", self.db().checkpoint(&name)).await;
        self.note(&taken);
        match &taken {
            Ok(Ok(_)) => self.world.history.all_sealed(),
            Ok(Err(error)) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(self.world.kept.is_refused(&name)?);
            }
            _ => {}
        }
        let sure = taken.as_ref().is_ok_and(|taken| taken.is_ok());
        self.world.kept.taken(&name, expected, sure)?;
        self.settle("checkpoint", taken).map(|_| ())
    }

    pub(super) async fn delete_checkpoint(&mut self, number: u8) -> Step {
        let name = kept::name(number);
        let deleted = ends("delete_checkpoint", self.db().delete_checkpoint(&name)).await;
        self.note(&deleted);
        self.world.kept.deleted(&name, deleted.as_ref().ok().and_then(|deleted| deleted.as_ref().ok()).copied())?;
        self.settle("delete_checkpoint", deleted).map(|_| ())
    }

    /// Compares the list of checkpoints, and what each shows, with what should be there.
    pub(super) async fn read_checkpoints(&mut self) -> Step {
        self.world.clock.set(self.world.clock.latest());
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
}
