//! The two clocks behind the weaker durability levels: what only this process has is written, and what was only written
//! is synced, no later than their intervals after it came. The one behind the past, and behind what is sealed before it is
//! full. And the one by which a writer whose log is apart finds that it was overtaken.

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

/// How often what has entered is sealed where the log is apart, unless the options say otherwise: what is not sealed is lost
/// with the machine.
pub(crate) const SHIPPED_WITHIN: Duration = Duration::from_secs(60);

/// How long after an acknowledgement a writer whose log is apart looks whether it was overtaken.
const LOOKED_WITHIN: Duration = Duration::from_secs(1);

/// Looks for another writer, a moment after something was acknowledged. Where nothing is, nothing is asked.
pub(crate) async fn look(core: Arc<Core>) {
    loop {
        core.unlooked.notified().await;
        tokio::time::sleep(LOOKED_WITHIN).await;
        match core.publisher.check_newest().await {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Io => {
                tracing::warn!(%error, "whether another writer has taken over could not be asked; trying again");
                core.unlooked.notify_one();
            }
            Err(error) => return core.fail(error),
        }
    }
}

/// Seals what has entered, every `step`, so that a manifest shows it. Where nothing has, nothing happens.
pub(crate) async fn seals(core: Arc<Core>, step: Duration) {
    loop {
        tokio::time::sleep(step).await;
        match core.log.seal().await {
            Ok(()) => {}
            // Whoever writes hears of it.
            Err(_) if core.log.is_ending() => return,
            Err(error) => tracing::warn!(%error, "what has entered could not be sealed; trying again"),
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
