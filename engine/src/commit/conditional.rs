//! Commits on condition: what transactions ask of the log.

use super::condition::Condition;
use super::window::Era;
use super::{Log, applied, begin};
use crate::batch::Write;
use crate::{Durability, Result, Seq};
use std::sync::Arc;

/// Rounds of catching up with other writers before a commit asks to be let in, however far behind it still is.
const ROUNDS_MAX: usize = 8;

/// A place in the window: while it is held, what is ordered from now on can be compared with.
#[derive(Debug)]
pub(crate) struct Opened {
    log: Arc<Log>,
    era: Era,
}

impl Opened {
    pub(crate) fn era(&self) -> Era {
        self.era
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.log.queue.lock().close_window(self.era);
    }
}

impl Log {
    /// Opens the window. A view for a [`Condition`] is taken after that, so that nothing is missed.
    pub(crate) fn open_window(self: &Arc<Self>) -> Opened {
        let era = self.queue.lock().open_window();
        Opened { log: self.clone(), era }
    }

    /// The last sequence number that was given out.
    pub(crate) fn ordered(&self) -> Seq {
        self.queue.lock().next_seq() - 1
    }

    /// As [`commit`](Log::commit), but only if `condition` holds when the commit enters: else it fails with `Conflict`,
    /// and nothing has happened.
    pub(crate) async fn commit_if<'a, W>(&self, condition: &mut Condition, writes: W, level: Durability) -> Result<()>
    where
        W: ExactSizeIterator<Item = Write<'a>> + Clone,
    {
        let began = begin(level);
        let prepared = self.prepare(writes.clone()).await;
        self.catch_up(condition).await?;
        match prepared {
            None => self.commit_prepared(Some(condition), writes, level, began).await,
            Some(prepared) => self.commit_prepared(Some(condition), applied(writes, &prepared), level, began).await,
        }
    }

    /// Compares `condition` with most of what has been ordered since it was last: little is left to do under the lock then.
    async fn catch_up(&self, condition: &mut Condition) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let (memtables, until) = {
                let queue = self.queue.lock();
                let until = queue.next_seq() - 1;
                if !condition.is_far_behind(until) {
                    break;
                }
                (condition.memtables(queue.window())?.cloned().collect::<Vec<_>>(), until)
            };
            condition.catch_up(&memtables, until).await?;
        }
        Ok(())
    }

    /// Waits until readers see the commit `seq`.
    pub(crate) async fn passed(&self, seq: Seq) -> Result<()> {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.visible() >= seq {
                return Ok(());
            }
            self.check()?;
            self.driver.drive();
            progress.await;
        }
    }
}
