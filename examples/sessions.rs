//! A cache of sessions that expire half an hour after they were last seen.
//!
//! The lifetime is the database's (`Options::ttl`), so no write has to name it, and nobody has to clean up: what has expired
//! is gone for every reader at once, and its space comes back. Time is moved by hand here, as one would do in a test.

use halite::backends::Memory;
use halite::{Clock, Db, Durability, Options, Result, Ttl};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// Who is logged in.
struct Sessions {
    db: Db,
}

impl Sessions {
    async fn open(clock: Arc<dyn Clock>) -> Result<Sessions> {
        let options = Options {
            ttl: Some(30 * MINUTE),
            // Whoever is logged out by a power cut logs in again.
            durability: Durability::Deferred,
            memory_budget: Some(64 << 20),
            ..Options::default()
        };
        Ok(Sessions { db: Db::builder(Arc::new(Memory::new())).options(options).clock(clock).open().await? })
    }

    async fn log_in(&self, token: &str, user: &str) -> Result<()> {
        self.db.put(token, user).await
    }

    /// Whose session it is; it lives on for another half hour.
    async fn user(&self, token: &str) -> Result<Option<String>> {
        if !self.db.expire(token, 30 * MINUTE).await? {
            return Ok(None);
        }
        let user = self.db.get(token).await?;
        Ok(user.map(|user| String::from_utf8_lossy(&user).into_owned()))
    }

    async fn log_out(&self, token: &str) -> Result<()> {
        self.db.delete(token).await
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let clock = Arc::new(Hand::default());
    let sessions = Sessions::open(clock.clone()).await?;
    sessions.log_in("token-1", "Ada").await?;
    sessions.log_in("token-2", "Grace").await?;
    sessions.log_in("token-3", "Edsger").await?;
    sessions.log_out("token-3").await?;

    clock.forward(20 * MINUTE);
    println!("after 20 minutes token-1 is {:?}'s", sessions.user("token-1").await?);
    clock.forward(20 * MINUTE);
    for token in ["token-1", "token-2", "token-3"] {
        match sessions.db.ttl(token).await? {
            Some(Ttl::Remaining(left)) => println!("after 40 minutes {token} has {} left", left.as_secs() / 60),
            Some(Ttl::Forever) => println!("after 40 minutes {token} never ends"),
            None => println!("after 40 minutes {token} is gone"),
        }
    }
    sessions.db.close().await
}

/// A clock that moves when it is told to.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Hand {
    fn forward(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Clock for Hand {
    fn now_millis(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
