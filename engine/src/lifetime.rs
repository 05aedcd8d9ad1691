//! How long keys live: the expiry that a write sets, and what is left of it.

use crate::core::Core;
use crate::db::Db;
use crate::{Result, WriteOptions, get};
use std::sync::Arc;
use std::time::Duration;

/// How long a key will go on to live.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite::Result<()> {
/// use halite::{Db, Ttl};
/// let db = Db::open("mem:").await?;
/// assert_eq!(db.ttl("key").await?, None);
/// db.put("key", "value").await?;
/// assert_eq!(db.ttl("key").await?, Some(Ttl::Forever));
/// # db.close().await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// It has no expiry.
    Forever,
    /// So long, in whole milliseconds of engine time; never zero.
    Remaining(Duration),
}

impl Db {
    /// How long `key` will go on to live; `None` where it is not there. Errors as [`get`](Db::get).
    pub async fn ttl(&self, key: impl AsRef<[u8]>) -> Result<Option<Ttl>> {
        let view = self.core().view();
        let found = get::find_at(self.core(), &view, key.as_ref()).await?;
        Ok(found.map(|found| match found.expires_at {
            None => Ttl::Forever,
            Some(at) => Ttl::Remaining(Duration::from_millis(at - view.now)),
        }))
    }

    /// Takes what the clock says for the time that it is, after a leap beyond
    /// [`Options::max_forward_jump`](crate::Options::max_forward_jump): from now on it is remembered, durably when this
    /// returns, and merges drop what has expired by it, for good. Without a leap it changes nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// if db.stats().clock_ahead_millis > 0 {
    ///     // Somebody has looked at the clock, and it is right.
    ///     db.confirm_time().await?;
    /// }
    /// # db.close().await
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`put`](Db::put).
    ///
    /// # Cancel safety
    /// Dropped, it happens all the same.
    pub async fn confirm_time(&self) -> Result<()> {
        self.core().check_open()?;
        self.core().carry_out("confirm time", confirm(self.core().clone())).await
    }

    /// When what is written now with this `ttl` expires; never if `None`.
    pub(crate) fn expiry(&self, ttl: Option<Duration>) -> Option<u64> {
        // A lifetime beyond the end of time never ends.
        let millis = u64::try_from(ttl.or(self.core().options.ttl)?.as_millis()).ok()?;
        self.core().clock.now().checked_add(millis).filter(|at| *at < u64::MAX)
    }

    /// The expiry of a write of a batch, which has `expires_at` for its own, where one without expires at `default`.
    pub(crate) fn expiry_in_batch(expires_at: Option<u64>, default: Option<u64>) -> Option<u64> {
        expires_at.or(default).filter(|at| *at < u64::MAX)
    }
}

async fn confirm(core: Arc<Core>) -> Result<()> {
    if core.clock.ahead() > 0 {
        core.clock.confirm();
        core.publish(|_manifest| {}).await?;
        core.compactor.look();
    }
    Ok(())
}

impl WriteOptions {
    /// The [`ttl`](WriteOptions::ttl) of what never expires, whatever [`Options::ttl`](crate::Options::ttl) says.
    pub const FOR_EVER: Duration = Duration::MAX;
}

#[cfg(test)]
mod tests;
