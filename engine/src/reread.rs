//! Reads again what decides, before it is believed.
//!
//! Between the storage and here a controller, a cable or a network now and then gives other bytes than were asked for. Where
//! a checksum is there to tell, that costs an answer. But where a log ends there is none: what makes no sense counts as never
//! written, and is dropped. So what an opening goes by it reads a second time where the first time something was wrong,
//! past everything that this process keeps, and a log's end always, and decides on what two reads agree on.
//!
//! # Guarantees
//! 1. One wrong read loses nothing, and needs no second opening.
//! 2. What was read right at once is not asked for again.
//!
//! What comes out wrong twice in the same way cannot be told from what the storage holds.

use crate::publish::read_all;
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use halite_backends::{Backend, Path};

/// Reads in a row that may differ from each other.
pub(crate) const READS_MAX: usize = 4;

/// What `decode` makes of all of `path`. Where that complains it is read again, and what it says then is believed.
pub(crate) async fn decoded<T, F>(backend: &dyn Backend, path: &Path, decode: impl Fn(Bytes) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    match decode(read_all(backend, path).await?).await {
        Err(error) if matches!(error.kind(), ErrorKind::Corruption | ErrorKind::NotAStore) => {
            let again = decode(read_all(backend, path).await?).await;
            // What is damaged says so by itself.
            if again.is_ok() {
                tracing::warn!(%error, "a read came out wrong, and right when it was repeated");
            }
            again
        }
        outcome => outcome,
    }
}

/// All of `path`: bytes that are right, or else those that two reads in a row have found.
pub(crate) async fn agreed(
    backend: &dyn Backend,
    path: &Path,
    are_right: impl Fn(&Bytes) -> bool + Send,
) -> Result<Bytes> {
    let mut read = read_all(backend, path).await?;
    for _ in 1..READS_MAX {
        if are_right(&read) {
            return Ok(read);
        }
        let again = read_all(backend, path).await?;
        if again == read {
            return Ok(read);
        }
        tracing::warn!(file = %path, "two reads differ");
        read = again;
    }
    Err(differ(path, 0))
}

/// Reads of `path`, from `offset` on, do not agree.
pub(crate) fn differ(path: &Path, offset: u64) -> Error {
    Error::corruption(path, offset, format!("of {READS_MAX} reads no two in a row give the same bytes"))
}
