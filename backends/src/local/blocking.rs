//! Where calls that may block run: on a thread of the tokio runtime, or inline where there is none.
//!
//! A call handed to a thread is not undone when its future is dropped: it runs to its end.

use crate::{Error, ErrorKind, Path, Result};
use tokio::task::JoinHandle;

/// Whether [`run`] would use a thread.
pub(crate) fn has_threads() -> bool {
    cfg!(not(target_family = "wasm")) && tokio::runtime::Handle::try_current().is_ok()
}

/// Runs `work` on a thread where there is one, else here and now.
pub(crate) async fn run<T, F>(op: &'static str, path: &str, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    if !has_threads() {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_cancelled() => {
            Err(Error::new(ErrorKind::Closed, op, path, "the runtime shut down before the call began"))
        }
        Err(error) => Err(Error::new(ErrorKind::Unknown, op, path, format!("the call panicked: {error}"))),
    }
}

/// As [`run`], for a call about one name.
pub(crate) async fn run_on<T, F>(op: &'static str, path: &Path, work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    run(op, path.as_str(), work).await
}

/// Starts `work` on a thread and lets it run; `None` where there are no threads.
pub(crate) fn start<T, F>(work: F) -> Option<JoinHandle<T>>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    has_threads().then(|| tokio::task::spawn_blocking(work))
}
