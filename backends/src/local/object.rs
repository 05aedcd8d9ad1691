//! The read end of a file: positional reads on a thread, or a map of the whole.

use super::{blocking, os};
use crate::bounds::checked_len;
use crate::{Error, Object, Path, Result, Shared};
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

#[derive(Debug)]
pub(crate) struct LocalObject {
    path: Path,
    /// Where it lies.
    place: PathBuf,
    file: Arc<File>,
    len: u64,
    /// Made when first asked for.
    map: OnceLock<Bytes>,
}

impl LocalObject {
    /// The file as just opened.
    pub(crate) fn new(path: Path, place: PathBuf, file: File, len: u64) -> LocalObject {
        LocalObject { path, place, file: Arc::new(file), len, map: OnceLock::new() }
    }
}

#[async_trait]
impl Object for LocalObject {
    fn len(&self) -> u64 {
        self.len
    }

    /// Always through the file, mapped or not: a bad sector is then an error and not a signal.
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let len = checked_len(&self.path, &range, self.len)?;
        let file = self.file.clone();
        let path = self.path.clone();
        let read = move || read(&file, range.start, len).map_err(|error| Error::io("read", path, error));
        blocking::run_on("read", &self.path, read).await
    }

    fn map(&self) -> Option<Bytes> {
        if let Some(map) = self.map.get() {
            return Some(map.clone());
        }
        // A file of another length than at open is still being written, or has been damaged.
        let len = usize::try_from(self.len).ok()?;
        if self.file.metadata().ok()?.len() != self.len {
            return None;
        }
        let map = os::map(&self.file, len)?;
        Some(self.map.get_or_init(|| map).clone())
    }

    fn shared(&self) -> Option<Shared> {
        Some(Shared::File(self.place.clone()))
    }
}

/// Reads exactly `len` bytes at `offset`.
fn read(file: &File, offset: u64, len: usize) -> io::Result<Bytes> {
    let mut buffer = Vec::new();
    if len == 0 {
        return Ok(Bytes::new());
    }
    buffer.try_reserve_exact(len)?;
    while buffer.len() < len {
        let at = offset + buffer.len() as u64;
        match os::read_at(file, &mut buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    // An allocator may give more than was asked for, and a read fills all of it.
    buffer.truncate(len);
    Ok(buffer.into())
}
