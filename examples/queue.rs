//! A queue of work in the database itself: jobs are taken by one worker each, in order, and done once.
//!
//! Taking a job and leaving word of who has it is one transaction: two workers that reach for the same job conflict, and
//! `transact` lets the slower one look again. Workers sleep on a `watch` while there is nothing to do.

use futures::{StreamExt, TryStreamExt};
use halite::{Db, Result, WriteBatch};

const WAITING: &str = "waiting:";
const TAKEN: &str = "taken:";

/// Jobs, first come first served.
#[derive(Clone)]
struct Queue {
    db: Db,
}

impl Queue {
    /// Adds a job behind all others: its number is one more than the last one's.
    async fn add(&self, job: &str) -> Result<()> {
        let number = self.db.increment("jobs", 1).await?;
        self.db.put(format!("{WAITING}{number:012}"), job).await
    }

    /// Takes the first job there is: both its keys and what it is.
    async fn take(&self, worker: usize) -> Result<Option<(String, String)>> {
        self.db
            .transact(|transaction| async move {
                // Counts as read up to the job that it gives: jobs added behind it are no conflict.
                let Some(job) = transaction.prefix(WAITING).limit(1).next().await.transpose()? else {
                    return Ok(None);
                };
                let number = String::from_utf8_lossy(&job.key[WAITING.len()..]).into_owned();
                transaction.delete(&job.key)?;
                transaction.put(format!("{TAKEN}{number}"), format!("worker {worker}"))?;
                Ok(Some((number, String::from_utf8_lossy(&job.value).into_owned())))
            })
            .await
    }

    /// Writes the answer down and the job off, both or neither.
    async fn done(&self, number: &str, answer: usize) -> Result<()> {
        let answer = answer.to_string();
        self.db
            .write(WriteBatch::new().put(format!("answer:{number}"), answer).delete(format!("{TAKEN}{number}")))
            .await
    }

    /// Takes and does jobs until one says `stop`; returns how many.
    async fn work(&self, worker: usize) -> Result<usize> {
        let mut count = 0;
        loop {
            // From before the look into the queue, so that nothing added after it is missed.
            let mut news = self.db.watch(WAITING, self.db.snapshot().seq() + 1);
            while let Some((number, job)) = self.take(worker).await? {
                if job == "stop" {
                    self.done(&number, 0).await?;
                    return Ok(count);
                }
                self.done(&number, job.len()).await?;
                count += 1;
            }
            news.try_next().await?;
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let queue = Queue { db: Db::open("mem:").await? };
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.work(worker).await })
        })
        .collect();
    for number in 0..40 {
        queue.add(&"x".repeat(number)).await?;
    }
    for _worker in &workers {
        queue.add("stop").await?;
    }
    let mut count = 0;
    for worker in workers {
        count += worker.await.expect("no worker panics")?;
    }
    let answers: Vec<_> = queue.db.prefix("answer:").try_collect().await?;
    let in_order = answers.iter().take(40).enumerate().all(|(number, answer)| answer.value == number.to_string());
    println!("{count} jobs done, each once: {}", in_order && answers.len() == 43);
    println!("left behind: {}", queue.db.prefix(TAKEN).count().await + queue.db.prefix(WAITING).count().await);
    queue.db.close().await
}
