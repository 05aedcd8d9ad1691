//! Transactions that are run again until nothing stands against them.

use super::{Shared, Transaction, TransactionOptions};
use crate::db::Db;
use crate::{ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// Attempts that follow at once on the commit that stood against them; those behind them pause.
const AT_ONCE: u32 = 4;
/// The longest pause, in milliseconds.
const PAUSE_MAX: u64 = 32;

impl Db {
    /// Runs `work` in a serializable transaction and commits it; where that fails with `Conflict`, runs `work` again in
    /// a new one, after what stood against it is visible, and from the fifth attempt on after a short random pause.
    ///
    /// `work` may run several times: what it does outside its transaction it does each time. If it fails, the
    /// transaction is rolled back, and the error returned (after a `Conflict` it is run again). If it rolls its
    /// transaction back and returns `Ok`, that is the answer, and nothing is committed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.put("from", "10").await?;
    /// let moved = db
    ///     .transact(|transaction| async move {
    ///         let Some(value) = transaction.get("from").await? else { return Ok(false) };
    ///         transaction.put("to", value)?;
    ///         transaction.delete("from")?;
    ///         Ok(true)
    ///     })
    ///     .await?;
    /// assert!(moved && !db.contains("from").await?);
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `work`; `Conflict` where the attempts are used up: nothing happened. Those of
    /// [`commit`](Transaction::commit); one whose outcome is `Unknown` is not tried again.
    ///
    /// # Cancel safety
    /// As [`commit`](Transaction::commit): all of one attempt has happened, or nothing.
    pub async fn transact<T, W, F>(&self, work: W) -> Result<T>
    where
        W: FnMut(Transaction) -> F,
        F: Future<Output = Result<T>>,
    {
        self.transact_with(TransactionOptions::default(), work).await
    }

    /// Runs `work` in a transaction as `options` say. Otherwise as [`transact`](Db::transact).
    pub async fn transact_with<T, W, F>(&self, options: TransactionOptions, mut work: W) -> Result<T>
    where
        W: FnMut(Transaction) -> F,
        F: Future<Output = Result<T>>,
    {
        let mut attempt = 1;
        loop {
            let transaction = self.begin_with(options);
            let done = work(transaction.lent()).await;
            if let Some(answer) = self.conclude(transaction, done, &mut attempt).await? {
                return Ok(answer);
            }
        }
    }

    /// Commits what the work of an attempt has `done`. `None` where it is to be run again, which makes sense now.
    pub(crate) async fn conclude<T>(
        &self,
        transaction: Transaction,
        done: Result<T>,
        attempt: &mut u32,
    ) -> Result<Option<T>> {
        let shared = transaction.shared.clone();
        let options = shared.options;
        let outcome = match done {
            Ok(answer) if shared.state.lock().ended => return Ok(Some(answer)),
            Ok(answer) => shared.commit(options.durability).await.map(|()| answer),
            error => error,
        };
        drop(transaction);
        match outcome {
            Err(error) if error.kind() == ErrorKind::Conflict && *attempt < options.attempts_max => {
                self.after_conflict(shared, *attempt).await?;
                *attempt += 1;
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }

    /// Waits until it makes sense to try again.
    async fn after_conflict(&self, shared: Arc<Shared>, attempt: u32) -> Result<()> {
        let conflict = shared.state.lock().conflict;
        // Lets go of its place in the window.
        drop(shared);
        if let Some(seq) = conflict {
            // Before that, the next attempt would read the same, and fail the same.
            self.core().log.passed(seq).await?;
        }
        match attempt.checked_sub(AT_ONCE) {
            None => tokio::task::yield_now().await,
            Some(more) => {
                let pause = (1 << more.min(16)).min(PAUSE_MAX);
                let pause = Duration::from_millis(self.core().random.next() % (pause + 1));
                self.core().tasks.inside(async { tokio::time::sleep(pause).await }).await;
            }
        }
        Ok(())
    }
}
