//! The two clocks behind the weaker durability levels: what only this process has is written, and what was only written
//! is synced, no later than their intervals after it came. And the one behind the past.

use crate::ErrorKind;
use crate::core::Core;
use std::sync::Arc;
use std::time::Duration;

/// Hands deferred commits to the operating system.
pub(crate) async fn flush(core: Arc<Core>) {
    loop {
        core.log.unwritten.notified().await;
        tokio::time::sleep(core.options.flush_interval).await;
        core.log.want_write();
    }
}

/// Seals what has entered, every `step`, so that the past shows it. Where nothing has, nothing happens.
pub(crate) async fn moments(core: Arc<Core>, step: Duration) {
    loop {
        tokio::time::sleep(step).await;
        match core.log.seal().await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                tracing::warn!(%error, "no space to seal a moment of the past; trying again");
            }
            // Whoever writes hears of it.
            Err(_) => return,
        }
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
