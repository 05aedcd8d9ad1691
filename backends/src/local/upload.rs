//! Writes one large file in parts under a temporary name, which becomes its own at the end.

use super::store::{Store, Temp};
use super::write::{Sync, write_all};
use super::{blocking, os};
use crate::{Error, ErrorKind, Path, Result, Uploader};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;

/// Parts are gathered up to this, so that a thread is asked for once a megabyte and not once a part.
const GATHER: u64 = 1024 * 1024;

/// Bytes written between two syncs: while the next ones are made the disk is at work already, and the end never has long
/// to sync.
const SYNC_STEP: u64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct LocalUploader {
    store: Arc<Store>,
    path: Path,
    /// Absent while a thread has it, and for good after a failure.
    temp: Option<Temp>,
    /// Bytes written, and how many of them were synced.
    written: u64,
    synced: u64,
    /// Parts not written yet, and their bytes.
    gathered: Vec<Bytes>,
    gathered_bytes: u64,
}

impl LocalUploader {
    /// Begins the file.
    pub(crate) fn create(store: Arc<Store>, path: Path) -> Result<LocalUploader> {
        let temp = store.temp(&path).map_err(|error| Error::io("upload", &path, error))?;
        let (gathered, gathered_bytes) = (Vec::new(), 0);
        Ok(LocalUploader { store, path, temp: Some(temp), written: 0, synced: 0, gathered, gathered_bytes })
    }

    fn take(&mut self) -> Result<Temp> {
        let gone = || Error::new(ErrorKind::Io, "upload", &self.path, "an earlier call failed or was given up");
        self.temp.take().ok_or_else(gone)
    }

    async fn flush(&mut self) -> Result<()> {
        let temp = self.take()?;
        let (path, offset) = (self.path.clone(), self.written);
        let parts = std::mem::take(&mut self.gathered);
        let end = offset + self.gathered_bytes;
        let sync = if end - self.synced >= SYNC_STEP { Sync::Everything } else { Sync::No };
        let write = move || {
            write_all(&temp.file, offset, &parts, sync).map_err(|error| Error::io("upload", path, error))?;
            Ok(temp)
        };
        self.temp = Some(blocking::run_on("upload", &self.path, write).await?);
        (self.written, self.gathered_bytes) = (end, 0);
        if sync == Sync::Everything {
            self.synced = end;
        }
        Ok(())
    }
}

#[async_trait]
impl Uploader for LocalUploader {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.gathered_bytes += data.len() as u64;
        self.gathered.push(data);
        if self.gathered_bytes >= GATHER { self.flush().await } else { Ok(()) }
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let temp = self.take()?;
        let (store, path, offset) = (self.store.clone(), self.path.clone(), self.written);
        let parts = std::mem::take(&mut self.gathered);
        let finish = move || {
            let written = write_all(&temp.file, offset, &parts, Sync::No).and_then(|()| os::sync_data(&temp.file));
            written.map_err(|error| Error::io("upload", &path, error))?;
            temp.publish(&store, &path)
        };
        blocking::run_on("upload", &self.path, finish).await
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let temp = self.temp.take();
        let remove = move || {
            drop(temp);
            Ok(())
        };
        blocking::run_on("upload", &self.path, remove).await
    }
}

impl Drop for LocalUploader {
    /// Removes what was written, on a thread: the last name of a large file takes its blocks with it.
    fn drop(&mut self) {
        if let Some(temp) = self.temp.take() {
            let _ = blocking::start(move || drop(temp));
        }
    }
}
