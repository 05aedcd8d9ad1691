//! What a backend has that keeps the log apart from all else.

use crate::{Path, Result};
use async_trait::async_trait;

/// A log that is not where all else is. What was committed last is there alone: so the engine must know whose it is, and brings
/// what is finished to the store, before a manifest names it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Local, LogApart, Memory, Path, Tiered};
/// use std::sync::Arc;
/// # let folder = std::env::temp_dir().join(format!("halite-doc-apart-{}", std::process::id()));
/// let far_away = Arc::new(Memory::create_only());
/// let store = Tiered::open(Arc::new(Local::open(&folder, true)?), far_away.clone()).await?;
/// let log: &dyn LogApart = store.log_apart().expect("it is on this disk");
/// log.bind([7; 16]).await?;
/// let segment = Path::new("segments/1")?;
/// let mut growing = store.append(&segment).await?;
/// growing.append(vec!["commits".into()], true).await?;
/// growing.finish().await?;
/// assert_eq!(log.unshipped().await?, [segment.clone()]);
/// log.ship(&segment).await?;
/// assert!(log.unshipped().await?.is_empty() && far_away.exists(&segment).await?);
/// # drop(store);
/// # let _ = std::fs::remove_dir_all(folder);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait LogApart: Send + Sync {
    /// A number that no other log has.
    fn home(&self) -> u64;

    /// The database whose log it is, if it is that of any yet.
    async fn database(&self) -> Result<Option<[u8; 16]>>;

    /// Makes it the log of `database`, for good.
    ///
    /// # Errors
    /// `InvalidInput` where it is that of another.
    async fn bind(&self, database: [u8; 16]) -> Result<()>;

    /// What is in the log, and nowhere else.
    async fn unshipped(&self) -> Result<Vec<Path>>;

    /// Brings `path`, a file that this handle or a clone of it has finished, to the store, whole, and removes it from the log.
    /// Where it was brought there before, nothing happens.
    ///
    /// # Errors
    /// Whatever the store, or the log, fails with: the file is in the log as it was, and this can be called again.
    async fn ship(&self, path: &Path) -> Result<()>;
}
