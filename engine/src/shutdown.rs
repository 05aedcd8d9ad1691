//! The ends of a database: closed, or abandoned.

use crate::core::Core;
use crate::format::manifest::LogState;
use crate::{Result, retire};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Seals everything, publishes that the log is closed, and lets go of the store.
#[tracing::instrument(target = "halite", level = "info", skip_all)]
pub(crate) async fn close(core: Arc<Core>) -> Result<()> {
    let _closing = core.closing.lock().await;
    if core.closed.load(Ordering::Acquire) {
        return Ok(());
    }
    let outcome = seal_all(&core).await;
    core.shut();
    outcome
}

async fn seal_all(core: &Core) -> Result<()> {
    core.log.rotate_and_stop()?;
    core.log.all_sealed().await?;
    core.sealer.is_clear().await;
    let _no_merge = core.compactor.stop().await;
    retire::reap(core).await;
    let next_seq = core.log.next_seq();
    core.publish(|manifest| {
        manifest.log.state = LogState::ClosedCleanly;
        manifest.log.next_seq = next_seq;
        manifest.log.next_segment = core.numbers.peek();
    })
    .await?;
    Ok(())
}

/// The last handle is gone without a close: what only this process has is handed to the operating system, and the
/// store is let go.
pub(crate) fn abandon(core: &Arc<Core>) {
    if core.closed.load(Ordering::Acquire) {
        return;
    }
    // Wherever it goes: the committer needs the runtime's time and I/O, on which else it would fail.
    let runtime = core.tasks.enter();
    core.log.want_write();
    drop(runtime);
    if core.log.is_idle() {
        core.shut();
        return;
    }
    // The storage is slow: the write goes on in the background.
    let abandoned = Abandoned(core.clone());
    core.tasks.spawn("abandon", async move { abandoned.0.log.idle().await }, |_| {});
}

/// A database without a handle: let go of when there is nothing more to write, or the runtime that writes it ends.
struct Abandoned(Arc<Core>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.shut();
    }
}
