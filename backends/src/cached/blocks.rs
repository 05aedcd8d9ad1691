//! The blocks of a cache: slots of one file, and an index of them in memory and in another file.
//!
//! Slots are read in place, without a thread where the system has what is wanted in memory. Their [pages](super::pages) say what
//! they hold: so the index may be wrong, as when a slot is given to another block while it is read, or after a crash, and what
//! was found there then counts as not there. A slot is given to another block when all are taken, by turns, and not before its
//! own one has gone unread for a whole turn (the *clock* of Corbató, *A paging experiment with the Multics system*, 1968).
//!
//! # Concurrency
//! One lock over the index, held for a few steps and never while the disk is asked.

use super::CacheStats;
use super::pages::{self, BLOCK_PAGES, DATA_LEN, ENTRY_LEN, Name, PAGE_LEN, Place};
use crate::local::{blocking, os};
use crate::{Error, Result};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;

/// Bytes of an object in one block.
pub(super) const BLOCK_LEN: u64 = (BLOCK_PAGES * DATA_LEN) as u64;
/// What a block takes in the file.
pub(super) const SLOT_LEN: u64 = (BLOCK_PAGES * PAGE_LEN) as u64;

/// Blocks that are being written at once, and in memory until then. Where the disk does not keep up, the rest is not kept.
const WRITES_MAX: usize = 64;
/// What a block takes in both files.
const BLOCK_TAKES: u64 = SLOT_LEN + ENTRY_LEN as u64;
/// The files, in the cache's folder: the slots, and the table of what is in them.
const SLOTS: &str = "blocks";
const TABLE: &str = "places";

#[derive(Debug)]
pub(super) struct Blocks {
    // Constant after construction.
    slots: Arc<File>,
    table: File,
    shown: String,
    location: String,
    slots_max: usize,

    index: Mutex<Index>,
    writes: Arc<Semaphore>,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
}

#[derive(Debug, Default)]
struct Index {
    /// The slot of each block.
    blocks: BTreeMap<Place, usize>,
    slots: Vec<Slot>,
    /// Those that hold nothing.
    free: Vec<usize>,
    /// Where the turn has come.
    hand: usize,
    /// Blocks that are being written.
    writing: BTreeMap<Place, Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    /// It is being written to.
    Busy,
    /// Whether the block was read since the turn came by.
    Holds(Place, bool),
}

impl Index {
    /// The slot of a block that is about to be read.
    fn touch(&mut self, place: Place) -> Option<usize> {
        let slot = *self.blocks.get(&place)?;
        self.slots[slot] = Slot::Holds(place, true);
        Some(slot)
    }

    /// A slot to be written to, if there is one among `max`.
    fn take_slot(&mut self, max: usize) -> Option<usize> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < max => {
                self.slots.push(Slot::Free);
                self.slots.len() - 1
            }
            None => self.evict()?,
        };
        self.slots[slot] = Slot::Busy;
        Some(slot)
    }

    fn evict(&mut self) -> Option<usize> {
        // Each is met twice at most, and has not been read at the second time.
        for _ in 0..2 * self.slots.len() {
            let slot = self.hand;
            self.hand = (slot + 1) % self.slots.len();
            match self.slots[slot] {
                Slot::Holds(place, true) => self.slots[slot] = Slot::Holds(place, false),
                Slot::Holds(place, false) => {
                    self.blocks.remove(&place);
                    return Some(slot);
                }
                Slot::Free | Slot::Busy => {}
            }
        }
        None
    }

    /// `slot` holds that block, unless another one does already.
    fn fill(&mut self, slot: usize, place: Place) {
        if self.blocks.contains_key(&place) {
            return self.let_go(slot);
        }
        self.blocks.insert(place, slot);
        self.slots[slot] = Slot::Holds(place, false);
    }

    fn let_go(&mut self, slot: usize) {
        self.slots[slot] = Slot::Free;
        self.free.push(slot);
    }

    /// Forgets a block that was not what `slot` holds; false where it has been given to another one since.
    fn forget(&mut self, place: Place, slot: usize) -> bool {
        let is_there = self.blocks.get(&place) == Some(&slot);
        if is_there {
            self.blocks.remove(&place);
            self.let_go(slot);
        }
        is_there
    }
}

impl Blocks {
    /// The blocks in `folder`, which are of the store at `location`, or of others.
    pub(super) async fn open(folder: PathBuf, location: String, bytes_max: u64) -> Result<Arc<Blocks>> {
        let shown = folder.display().to_string();
        let slots_max = usize::try_from(bytes_max / BLOCK_TAKES).unwrap_or(usize::MAX);
        let failed = shown.clone();
        let open = move || open(&folder, slots_max).map_err(|error| Error::io("open the cache", failed, error));
        let (slots, table, index) = blocking::run("open the cache", &shown, open).await?;
        Ok(Arc::new(Blocks {
            slots: Arc::new(slots),
            table,
            shown,
            location,
            slots_max,
            index: Mutex::new(index),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        }))
    }

    pub(super) fn stats(&self) -> CacheStats {
        let index = self.index.lock();
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            bytes: index.blocks.len() as u64 * BLOCK_TAKES,
            bytes_max: self.slots_max as u64 * BLOCK_TAKES,
        }
    }

    pub(super) fn name(&self, path: &crate::Path) -> Name {
        Name::of(&self.location, path.as_str())
    }

    /// Adds the bytes at `within` of a block to `wanted`, if they are there, and as they were written.
    pub(super) async fn get(&self, place: Place, within: Range<usize>, wanted: &mut BytesMut) -> bool {
        let slot = {
            let mut index = self.index.lock();
            if let Some(bytes) = index.writing.get(&place).and_then(|bytes| bytes.get(within.clone())) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                wanted.extend_from_slice(bytes);
                return true;
            }
            index.touch(place)
        };
        let Some(slot) = slot else {
            self.misses.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        let before = wanted.len();
        let pages = self.read(slot, within.start / DATA_LEN..within.end.div_ceil(DATA_LEN)).await;
        if pages.as_ref().is_ok_and(|pages| add(place, &within, pages, wanted)) {
            self.hits.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        wanted.truncate(before);
        self.misses.fetch_add(1, Ordering::Relaxed);
        if self.index.lock().forget(place, slot) {
            self.damaged.fetch_add(u64::from(pages.is_ok()), Ordering::Relaxed);
        }
        false
    }

    /// Pages of a slot, as many as there are: here and now where the system has them in memory, else on a thread.
    async fn read(&self, slot: usize, pages: Range<usize>) -> Result<Vec<u8>> {
        let at = slot as u64 * SLOT_LEN + (pages.start * PAGE_LEN) as u64;
        let mut buffer = vec![0; pages.len() * PAGE_LEN];
        if os::read_at_once(&self.slots, &mut buffer, at) == Some(buffer.len()) {
            return Ok(buffer);
        }
        let (file, len) = (self.slots.clone(), buffer.len());
        let failed = self.shown.clone();
        let read = move || read_up_to(&file, at, len).map_err(|error| Error::io("read the cache", failed, error));
        blocking::run("read the cache", &self.shown, read).await
    }

    /// Writes a block in the background, if there is room and the disk keeps up.
    pub(super) fn keep(self: &Arc<Blocks>, place: Place, bytes: Bytes) {
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let slot = {
            let mut index = self.index.lock();
            if index.writing.contains_key(&place) || index.blocks.contains_key(&place) {
                return;
            }
            let Some(slot) = index.take_slot(self.slots_max) else { return };
            index.writing.insert(place, bytes.clone());
            slot
        };
        let blocks = self.clone();
        background(move || {
            let written = blocks.write(slot, place, &bytes);
            let mut index = blocks.index.lock();
            index.writing.remove(&place);
            match written {
                Ok(()) => index.fill(slot, place),
                Err(error) => {
                    tracing::debug!(%error, "a block was not kept in the cache");
                    index.let_go(slot);
                }
            }
            drop(index);
            drop(permit);
        });
    }

    fn write(&self, slot: usize, place: Place, bytes: &[u8]) -> io::Result<()> {
        write_all(&self.slots, &pages::encode(place, bytes), slot as u64 * SLOT_LEN)?;
        write_all(&self.table, &place.entry(), slot as u64 * ENTRY_LEN as u64)
    }

    /// Whether nothing is being written.
    #[cfg(test)]
    pub(super) fn is_settled(&self) -> bool {
        self.index.lock().writing.is_empty()
    }
}

/// Opens both files, cut off behind `slots_max` slots, and takes in what is there.
fn open(folder: &Path, slots_max: usize) -> io::Result<(File, File, Index)> {
    let open =
        |name: &str| os::open_options().read(true).write(true).create(true).truncate(false).open(folder.join(name));
    let (slots, table) = (open(SLOTS)?, open(TABLE)?);
    for (file, len_max) in [(&slots, slots_max as u64 * SLOT_LEN), (&table, slots_max as u64 * ENTRY_LEN as u64)] {
        if file.metadata()?.len() > len_max {
            file.set_len(len_max)?;
        }
    }
    let count = usize::try_from(slots.metadata()?.len().div_ceil(SLOT_LEN)).map_err(io::Error::other)?;
    let entries = read_up_to(&table, 0, count * ENTRY_LEN)?;
    let mut index = Index { slots: vec![Slot::Busy; count], ..Index::default() };
    let (entries, _) = entries.as_chunks();
    for slot in 0..count {
        match entries.get(slot).and_then(Place::of) {
            Some(place) => index.fill(slot, place),
            None => index.let_go(slot),
        }
    }
    Ok((slots, table, index))
}

/// Adds the bytes at `within` of a block to `wanted`, of pages of it that begin where those do; false where one of them is not
/// what it should be.
fn add(place: Place, within: &Range<usize>, pages: &[u8], wanted: &mut BytesMut) -> bool {
    let first = within.start / DATA_LEN;
    let mut at = first * DATA_LEN;
    for (index, page) in (first..).zip(pages.chunks(PAGE_LEN)) {
        let Some(bytes) = pages::decode(place, index, page) else { return false };
        let from = within.start.saturating_sub(at);
        let Some(part) = bytes.get(from..(within.end - at).min(DATA_LEN)) else { return false };
        wanted.extend_from_slice(part);
        at += DATA_LEN;
    }
    at >= within.end
}

/// Writes all of `bytes` at `offset`.
fn write_all(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match os::write_at(file, &[IoSlice::new(&bytes[written..])], offset + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads `len` bytes at `offset`, or what there is of them.
fn read_up_to(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(len);
    while buffer.len() < len {
        let at = offset + buffer.len() as u64;
        match os::read_at(file, &mut buffer, at) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(len);
    Ok(buffer)
}

/// Runs `work` on a thread where there is one, else here and now.
fn background(work: impl FnOnce() + Send + 'static) {
    if blocking::has_threads() {
        drop(blocking::start(work));
    } else {
        work();
    }
}
