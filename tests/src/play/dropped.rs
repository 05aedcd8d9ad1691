//! Calls whose futures are dropped before they are done: either they have no effect, or their whole effect.

use super::{Player, Policy, Step, Stop};
use crate::kept;
use crate::ops::{DroppedOp, WriteOp};
use crate::world::{ends, soundness};
use futures::TryStreamExt;
use halite::{Durability, ErrorKind, WriteBatch, WriteOptions};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Polls `future` up to `polls` times and drops it then. Its output, if it came to that.
async fn polled<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let mut left = polls;
    let mut future = pin!(future);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

impl Player<'_> {
    pub(super) async fn dropped(&mut self, polls: u32, op: &DroppedOp) -> Step {
        let db = self.db();
        self.world.figures.dropped += 1;
        let story = "a call that is dropped";
        let outcome = match op {
            DroppedOp::Batch(writes, level) => return self.drop_batch(polls, writes, *level).await,
            DroppedOp::Flush => ends(story, polled(db.flush(), polls)).await?,
            DroppedOp::Compact => ends(story, polled(db.compact(), polls)).await?.map(|done| done.map(drop)),
            DroppedOp::Checkpoint(number) => return self.drop_checkpoint(polls, *number).await,
            DroppedOp::Scan => ends(story, polled(db.scan(..).try_for_each(|_| async { Ok(()) }), polls)).await?,
            DroppedOp::Verify => match ends(story, polled(soundness(&db), polls)).await? {
                Some(Err(_)) if self.may_fail() => return Err(Stop::Expected),
                Some(sound) => return Ok(sound?),
                None => None,
            },
        };
        let outcome = Ok(outcome.unwrap_or(Ok(())));
        self.note(&outcome);
        self.settle(story, outcome)
    }

    async fn drop_checkpoint(&mut self, polls: u32, number: u8) -> Step {
        let (name, expected) = (kept::name(number), self.world.expected());
        let db = self.db();
        match ends("a checkpoint that is dropped", polled(db.checkpoint(&name), polls)).await? {
            Some(Err(error)) if error.kind() == ErrorKind::AlreadyExists => Ok(self.world.kept.is_refused(&name)?),
            None => {
                // It is taken all the same, or was never asked for. Nothing else may happen before it is.
                let deadline = ends("what was dropped", self.world_settles()).await;
                self.world.kept.taken(&name, expected, false)?;
                Ok(deadline?)
            }
            Some(taken) => {
                self.world.kept.taken(&name, expected, taken.is_ok())?;
                let taken = Ok(taken);
                self.note(&taken);
                self.settle("a checkpoint", taken).map(drop)
            }
        }
    }

    /// Long enough for what goes on in the background.
    async fn world_settles(&self) {
        self.heal();
        tokio::time::sleep(std::time::Duration::from_secs(100)).await;
    }

    async fn drop_batch(&mut self, polls: u32, ops: &[WriteOp], level: Durability) -> Step {
        let commit = self.world.history.len();
        let writes = self.writes(commit, ops);
        let batch = writes.iter().fold(WriteBatch::new(), |batch, (key, value)| match value {
            Some(value) => batch.put(key, &value.bytes),
            None => batch.delete(key),
        });
        self.world.history.enter(writes.clone());
        let db = self.db();
        let options = WriteOptions { durability: level, ttl: None };
        let outcome = ends("a batch that is dropped", polled(db.write_with(batch, options), polls)).await?;
        if let Some(outcome) = outcome {
            return self.committed(commit, Ok(outcome), level);
        }
        // Whether it has entered shows when all that has is durable.
        self.heal();
        let flushed = ends("flush", db.flush()).await;
        self.note(&flushed);
        if let Err(stop) = self.settle("flush", flushed) {
            // Else writing goes on behind a commit of which it is not known whether it is there.
            return if self.spoiled || self.is_dead() || self.policy != Policy::Stormy { Err(stop) } else { Ok(()) };
        }
        let mut there = 0;
        for (key, value) in &writes {
            let found = self.read("get", || db.get(key)).await?;
            there += usize::from(found.as_ref() == value.as_ref().map(|value| &value.bytes));
        }
        match there {
            0 => self.world.history.refuse(commit),
            _ if there == writes.len() => self.world.history.acknowledge(commit, Durability::Synced),
            _ => return Err(Stop::Wrong(format!("of a batch that was dropped {there} of {} are there", writes.len()))),
        }
        self.world.history.all_synced();
        Ok(())
    }
}
