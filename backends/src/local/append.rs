//! The write end of a growing file: positional writes at its own length, inline or on a thread.
//!
//! # Guarantees
//! 1. Each byte is written once, at its place; nothing is written beyond what was asked but zeros (see `fill`).
//! 2. After a failure, and after a call whose future was dropped, every further call fails: the tail is not known.
//! 3. `reserve` fails before a byte is written.
//! 4. Space set aside is given back when the appender goes, unless the process is killed.

use super::early::Early;
use super::fill::Fill;
use super::pacing::Place;
use super::store::Store;
use super::write::{Sync, write_all};
use super::{blocking, os};
use crate::{Appender, Error, ErrorKind, Path, Result};
use async_trait::async_trait;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Disk space is set aside in steps of this: a system call for each few thousand small appends.
const RESERVE_STEP: u64 = 4 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct LocalAppender {
    store: Arc<Store>,
    path: Path,
    file: Arc<File>,
    /// Bytes appended.
    len: u64,
    /// Of these, the ones at the end that no sync has covered yet.
    unsynced: u64,
    /// Space has been set aside up to here.
    reserved: u64,
    /// A call failed or was given up: guarantee 2.
    broken: bool,
    fill: Fill,
    early: Early,
}

impl LocalAppender {
    /// Creates the file.
    pub(crate) fn create(store: Arc<Store>, path: Path) -> Result<LocalAppender> {
        let fail = |error| Error::io("append", &path, error);
        let file = store.create_visible(&path).map_err(fail)?;
        let second = File::options().write(true).open(store.file(&path)).map_err(fail)?;
        let (file, second) = (Arc::new(file), Arc::new(second));
        let (fill, early) = (Fill::new(second.clone()), Early::new(second));
        Ok(LocalAppender { store, path, file, len: 0, unsynced: 0, reserved: 0, broken: false, fill, early })
    }

    fn fail(&self, op: &'static str, error: io::Error) -> Error {
        Error::io(op, &self.path, error)
    }

    fn check(&self, op: &'static str) -> Result<()> {
        if self.broken {
            return Err(Error::new(ErrorKind::Io, op, &self.path, "an earlier call failed or was given up"));
        }
        Ok(())
    }

    /// Runs one write or sync that moves `bytes` where the pacing says. It leaves `broken` set unless it succeeds.
    async fn paced<F>(&mut self, op: &'static str, bytes: u64, synced: bool, work: F) -> Result<()>
    where
        F: FnOnce() -> io::Result<()> + Send + 'static,
    {
        self.broken = true;
        let place =
            |store: &Store| if synced { store.syncs.lock().place(bytes) } else { store.writes.lock().place(bytes) };
        let done = if blocking::has_threads() && place(&self.store) == Place::Thread {
            let path = self.path.clone();
            let timed = move || {
                let begin = Instant::now();
                work().map_err(|error| Error::io(op, path, error))?;
                Ok(Some(begin.elapsed()))
            };
            blocking::run_on(op, &self.path, timed).await?
        } else if cfg!(target_family = "wasm") {
            // Nothing to decide, and even the clock is a costly call.
            work().map_err(|error| self.fail(op, error))?;
            None
        } else {
            let begin = Instant::now();
            work().map_err(|error| self.fail(op, error))?;
            Some(begin.elapsed())
        };
        if let Some(took) = done {
            self.note(took, bytes, synced);
        }
        self.broken = false;
        Ok(())
    }

    /// Takes note of how long a call took, if it is one that might have run inline.
    fn note(&self, took: Duration, bytes: u64, synced: bool) {
        if bytes <= super::pacing::INLINE_BYTES_MAX {
            let mut pace = if synced { self.store.syncs.lock() } else { self.store.writes.lock() };
            *pace = pace.after(took);
        }
    }
}

#[async_trait]
impl Appender for LocalAppender {
    fn len(&self) -> u64 {
        self.len
    }

    async fn reserve(&mut self, len: u64) -> Result<()> {
        self.check("reserve")?;
        let from = self.reserved.max(self.len);
        if len <= from {
            return Ok(());
        }
        // Zeros that land while space is given back (below) would be cut off unseen.
        self.fill.settle().await;
        let file = self.file.clone();
        // Given up, the call would go on, and might cut the file under a later append.
        self.broken = true;
        let outcome = blocking::run_on("reserve", &self.path, move || Ok(reserve(&file, from, len))).await?;
        match outcome {
            Ok(reserved) => self.reserved = reserved,
            Err(Refusal { cause, intact: true }) => {
                self.broken = false;
                return Err(self.fail("reserve", cause));
            }
            Err(Refusal { cause, intact: false }) => {
                let message = format!("space set aside before was lost: {cause}");
                return Err(Error::new(ErrorKind::Io, "reserve", &self.path, message));
            }
        }
        self.broken = false;
        Ok(())
    }

    async fn append(&mut self, data: Vec<Bytes>, sync: bool) -> Result<()> {
        self.check("append")?;
        let bytes: u64 = data.iter().map(|part| part.len() as u64).sum();
        if bytes == 0 {
            return if sync { self.sync().await } else { Ok(()) };
        }
        let offset = self.len;
        let Some(end) = offset.checked_add(bytes) else {
            return Err(Error::new(ErrorKind::InvalidInput, "append", &self.path, "longer than a file can be"));
        };
        self.fill.make_way(end).await;
        let file = self.file.clone();
        let (mode, moved) = match sync {
            false => (Sync::No, bytes),
            true if self.unsynced == 0 => (Sync::ThisWrite, bytes),
            true => (Sync::Everything, bytes + self.unsynced),
        };
        self.paced("append", moved, sync, move || write_all(&file, offset, &data, mode)).await?;
        self.len = end;
        self.unsynced = if sync { 0 } else { self.unsynced + bytes };
        self.fill.after_append(end, bytes, sync);
        self.early.after_append(end, sync);
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        self.check("sync")?;
        if self.unsynced > 0 {
            let file = self.file.clone();
            self.paced("sync", self.unsynced, true, move || os::sync_data(&file)).await?;
            self.unsynced = 0;
        }
        Ok(())
    }

    async fn truncate(&mut self, len: u64) -> Result<()> {
        self.check("truncate")?;
        if len > self.len {
            let message = format!("beyond the end asked={len} len={}", self.len);
            return Err(Error::new(ErrorKind::InvalidInput, "truncate", &self.path, message));
        }
        self.fill.settle().await;
        self.broken = true;
        let file = self.file.clone();
        let path = self.path.clone();
        let cut = move || {
            let result = file.set_len(len).and_then(|()| file.sync_all());
            result.map_err(|error| Error::io("truncate", path, error))
        };
        blocking::run_on("truncate", &self.path, cut).await?;
        self.broken = false;
        (self.len, self.unsynced, self.reserved) = (len, 0, len);
        self.fill.after_truncate(len);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.check("finish")?;
        self.fill.settle().await;
        let (file, path, len) = (self.file.clone(), self.path.clone(), self.len);
        let end = move || {
            let result = file.set_len(len).and_then(|()| file.sync_all());
            result.map_err(|error| Error::io("finish", path, error))
        };
        self.reserved = len;
        blocking::run_on("finish", &self.path, end).await
    }
}

/// An appender that is not finished, because its log has failed or was abandoned, gives back what it has set aside: on a
/// full disk the next opening needs every byte.
impl Drop for LocalAppender {
    fn drop(&mut self) {
        if !self.broken && self.reserved > self.len {
            // What cannot be given back now is given back when the file is deleted.
            let _ = self.file.set_len(self.len);
        }
    }
}

/// Why no space was set aside.
struct Refusal {
    cause: io::Error,
    /// Whether what had been set aside before still is.
    intact: bool,
}

/// Sets space aside from `from`, up to which it is, to at least `len`; returns how far.
fn reserve(file: &File, from: u64, len: u64) -> Result<u64, Refusal> {
    let step = len.checked_next_multiple_of(RESERVE_STEP).unwrap_or(len);
    let mut last = None;
    for end in [step, len] {
        match os::allocate(file, from, end - from) {
            Ok(true) => return Ok(end),
            // Space cannot be set aside here: never ask again.
            Ok(false) => return Ok(u64::MAX),
            Err(error) => last = Some(error),
        }
        give_back(file, from).map_err(|cause| Refusal { cause, intact: false })?;
    }
    Err(Refusal { cause: last.unwrap_or_else(|| io::ErrorKind::StorageFull.into()), intact: true })
}

/// Gives back what a failed call has set aside behind `from`, which others on a full disk wait for. Only a cut does that
/// everywhere (no file system need punch holes behind a file's end); it takes along what was set aside between the file's
/// end and `from`, so that is set aside again.
fn give_back(file: &File, from: u64) -> io::Result<()> {
    let end = file.metadata()?.len();
    file.set_len(end)?;
    if end < from { os::allocate(file, end, from - end).map(drop) } else { Ok(()) }
}
