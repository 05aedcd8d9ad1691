//! The two clocks behind the weaker durability levels: what only this process has is written, and what was only written
//! is synced, no later than their intervals after it came.

use crate::core::Core;
use std::sync::Arc;

/// Hands deferred commits to the operating system.
pub(crate) async fn flush(core: Arc<Core>) {
    loop {
        core.log.unwritten.notified().await;
        tokio::time::sleep(core.options.flush_interval).await;
        core.log.want_write();
    }
}

/// Makes weaker commits durable.
pub(crate) async fn sync(core: Arc<Core>) {
    loop {
        core.log.unsynced.notified().await;
        tokio::time::sleep(core.options.sync_interval).await;
        core.log.want_sync();
    }
}
