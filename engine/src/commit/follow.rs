//! What watches ask of the log: how far it has settled, and to keep what they have not come to yet.

use super::Log;
use super::window::Era;
use crate::memtable::Memtable;
use crate::planted::{Bug, planted};
use crate::sync::atomic::Ordering;
use crate::version::Version;
use crate::{Result, Seq};
use std::sync::Arc;

/// A place in the window: while it is held, memtables that begin from now on are kept, as far as the window reaches.
#[derive(Debug)]
pub(crate) struct Following {
    log: Arc<Log>,
    era: Era,
}

impl Following {
    /// The memtables that have begun since this was last asked, or since the log was first followed, oldest first;
    /// `None` where some of them were let go.
    pub(crate) fn later(&mut self) -> Option<Vec<Arc<Memtable>>> {
        let mut queue = self.log.queue.lock();
        let later = queue.window().since(self.era)?.cloned().collect();
        // In this order, so that the window is never without a holder.
        let now = queue.open_window();
        queue.close_window(std::mem::replace(&mut self.era, now));
        Some(later)
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.log.queue.lock().close_window(self.era);
        self.log.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Log {
    /// Follows the log from here on: what was there before is in the version.
    pub(crate) fn follow(self: &Arc<Self>) -> (Following, Arc<Version>) {
        self.followers.fetch_add(1, Ordering::Relaxed);
        let mut queue = self.queue.lock();
        let era = queue.open_window();
        // Under the lock: segments begin and end under it too.
        let version = self.versions.get();
        drop(queue);
        (Following { log: self.clone(), era }, version)
    }

    /// How many follow it.
    pub(crate) fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// Everything up to this sequence number is visible, and durable: no crash takes it back.
    pub(crate) fn settled(&self) -> Seq {
        if planted(Bug::WatchUnsettled) {
            return self.visible();
        }
        self.visible().min(self.queue.lock().synced())
    }

    /// Waits until `seq` has [settled](Log::settled), and returns how far the log has; `None` where the database is
    /// closed first.
    ///
    /// # Errors
    /// The failure after which nothing more will settle.
    pub(crate) async fn settled_from(&self, seq: Seq, is_closed: impl Fn() -> bool) -> Result<Option<Seq>> {
        loop {
            let progress = self.settling.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if is_closed() {
                return Ok(None);
            }
            let settled = self.settled();
            if settled >= seq {
                return Ok(Some(settled));
            }
            self.check()?;
            progress.await;
        }
    }
}
