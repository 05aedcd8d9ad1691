//! The blocks of a cache: files, and an index of them in memory.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | CRC-32C of all that follows |
//! | 4 | 4 | length of the name |
//! | 8 | 8 | number of the block within the object |
//! | 16 | | the name: the store's location, a line feed, the object's path |
//! | | | the block |
//!
//! A file is called after a hash of the name, and the block's number: names whose hashes are equal drive out each other's
//! blocks, and are never taken for each other.
//!
//! # Concurrency
//! One lock over the index, held for a few steps and never while the disk is asked. A file may be missing of which the index
//! knows, if it was evicted and written at the same time: then it counts as not there.

use super::CacheStats;
use crate::local::blocking;
use crate::{Error, Path, Result};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// Bytes of an object in one block.
pub(super) const BLOCK_LEN: u64 = 64 << 10;

const NAME_AT: usize = 16;
/// What file systems round lengths up to.
const ROUND: u64 = 4 << 10;
/// Blocks that are being written at once, and in memory until then. Where the disk does not keep up, the rest is not kept.
const WRITES_MAX: usize = 64;
/// What files are called before they are whole.
const TEMP: &str = ".tmp-";

/// An object, as it is called in the cache.
#[derive(Clone, Debug)]
pub(super) struct Name {
    text: Arc<str>,
    hash: u64,
}

/// Where a block is: the hash of its object's name, and its number.
type Place = (u64, u64);

#[derive(Debug)]
pub(super) struct Blocks {
    // Constant after construction.
    folder: PathBuf,
    location: String,
    bytes_max: u64,

    index: Mutex<Index>,
    writes: Arc<Semaphore>,
    temp: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
    damaged: AtomicU64,
}

#[derive(Debug, Default)]
struct Index {
    /// Bytes that each block takes, and when it was used last.
    blocks: BTreeMap<Place, (u64, u64)>,
    /// The same blocks by that.
    by_use: BTreeMap<u64, Place>,
    uses: u64,
    /// Bytes that they take, those that are being written included.
    bytes: u64,
    /// Blocks that are being written, and the whole of what they are called.
    writing: BTreeMap<Place, (Name, Bytes)>,
}

impl Index {
    fn touch(&mut self, place: Place) -> bool {
        let Some((_, used)) = self.blocks.get_mut(&place) else { return false };
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, place);
        true
    }

    /// Adds a block whose bytes are counted already.
    fn add(&mut self, place: Place, bytes: u64) {
        self.remove(place);
        self.uses += 1;
        self.blocks.insert(place, (bytes, self.uses));
        self.by_use.insert(self.uses, place);
    }

    fn remove(&mut self, place: Place) -> bool {
        let Some((bytes, used)) = self.blocks.remove(&place) else { return false };
        self.by_use.remove(&used);
        self.bytes -= bytes;
        true
    }

    /// Forgets what was not used for the longest time, until `bytes` fit below `max`.
    fn make_room(&mut self, bytes: u64, max: u64) -> Vec<Place> {
        let mut evicted = Vec::new();
        while self.bytes + bytes > max {
            let Some((_, &place)) = self.by_use.first_key_value() else { break };
            self.remove(place);
            evicted.push(place);
        }
        evicted
    }
}

impl Blocks {
    /// The blocks in `folder`, which are of the store at `location`, or of others.
    pub(super) async fn open(folder: PathBuf, location: String, bytes_max: u64) -> Result<Arc<Blocks>> {
        let shown = folder.display().to_string();
        let blocks = Blocks {
            folder,
            location,
            bytes_max,
            index: Mutex::default(),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            temp: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
        };
        let failed = shown.clone();
        let open = move || match blocks.look() {
            Ok(()) => Ok(Arc::new(blocks)),
            Err(error) => Err(Error::io("open the cache", failed, error)),
        };
        blocking::run("open the cache", &shown, open).await
    }

    /// Takes in what is there, the oldest first, as far as there is room. What is not of a cache is left alone.
    fn look(&self) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(TEMP) {
                unless_gone(fs::remove_file(entry.path()))?;
            } else if let Some(place) = place_of(name) {
                let Some(about) = unless_gone(entry.metadata())? else { continue };
                found.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), place, rounded(about.len())));
            }
        }
        found.sort_unstable();
        let evicted = {
            let mut index = self.index.lock();
            for (_, place, bytes) in found {
                index.bytes += bytes;
                index.add(place, bytes);
            }
            index.make_room(0, self.bytes_max)
        };
        self.remove_files(&evicted);
        Ok(())
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            bytes: self.index.lock().bytes,
            bytes_max: self.bytes_max,
        }
    }

    pub(super) fn name(&self, path: &Path) -> Name {
        let text: Arc<str> = format!("{}\n{path}", self.location).into();
        Name { hash: xxhash_rust::xxh3::xxh3_64(text.as_bytes()), text }
    }

    fn file(&self, (hash, block): Place) -> PathBuf {
        self.folder.join(format!("{hash:016x}-{block:016x}"))
    }

    fn remove_files(&self, places: &[Place]) {
        for place in places {
            // What stays is found at the next opening.
            let _ = fs::remove_file(self.file(*place));
        }
    }

    /// Block number `block` of the object, if it is there, whole, and `len` bytes long.
    pub(super) async fn get(self: &Arc<Blocks>, name: &Name, block: u64, len: u64) -> Option<Bytes> {
        let place = (name.hash, block);
        {
            let mut index = self.index.lock();
            if let Some((_, bytes)) = index.writing.get(&place).filter(|(written, _)| written.text == name.text) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Some(bytes.clone());
            }
            if !index.touch(place) {
                self.misses.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        }
        let file = self.file(place);
        let read = move || fs::read(&file).map_err(|error| Error::io("read the cache", file.display(), error));
        let read = blocking::run("read the cache", &name.text, read).await;
        let found = read.as_ref().ok().and_then(|bytes| decode(bytes, name, block, len));
        match found {
            Some(at) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                read.ok().map(|bytes| Bytes::from(bytes).slice(at..))
            }
            None => {
                self.misses.fetch_add(1, Ordering::Relaxed);
                self.damaged.fetch_add(u64::from(read.is_ok()), Ordering::Relaxed);
                if self.index.lock().remove(place) {
                    self.remove_in_background(vec![place]);
                }
                None
            }
        }
    }

    /// Writes a block in the background, if there is room and the disk keeps up.
    pub(super) fn keep(self: &Arc<Blocks>, name: &Name, block: u64, bytes: Bytes) {
        let Ok(permit) = self.writes.clone().try_acquire_owned() else { return };
        let (blocks, name, place) = (self.clone(), name.clone(), (name.hash, block));
        match self.index.lock().writing.entry(place) {
            Entry::Occupied(_) => return,
            Entry::Vacant(writing) => drop(writing.insert((name.clone(), bytes.clone()))),
        }
        let write = move || {
            blocks.write(&name, block, &bytes);
            blocks.index.lock().writing.remove(&place);
            drop(permit);
        };
        background(write);
    }

    fn write(&self, name: &Name, block: u64, bytes: &[u8]) {
        let (head, place) = (encode_head(name, block, bytes), (name.hash, block));
        let takes = rounded((head.len() + bytes.len()) as u64);
        let evicted = {
            let mut index = self.index.lock();
            let evicted = index.make_room(takes, self.bytes_max);
            if index.bytes + takes > self.bytes_max {
                // All the room is taken by what is being written.
                drop(index);
                return self.remove_files(&evicted);
            }
            index.bytes += takes;
            evicted
        };
        self.remove_files(&evicted);
        let temp = self.folder.join(format!("{TEMP}{}", self.temp.fetch_add(1, Ordering::Relaxed)));
        let written = (|| {
            let mut file = fs::File::create(&temp)?;
            file.write_all(&head)?;
            file.write_all(bytes)?;
            drop(file);
            fs::rename(&temp, self.file(place))
        })();
        match written {
            Ok(()) => self.index.lock().add(place, takes),
            Err(error) => {
                self.index.lock().bytes -= takes;
                let _ = fs::remove_file(&temp);
                tracing::debug!(%error, "a block was not kept in the cache");
            }
        }
    }

    /// Forgets all blocks of an object.
    pub(super) async fn forget(self: &Arc<Blocks>, name: &Name) {
        let of_it = (name.hash, 0)..=(name.hash, u64::MAX);
        let gone: Vec<Place> = {
            let mut index = self.index.lock();
            let gone = index.blocks.range(of_it).map(|(place, _)| *place).collect::<Vec<_>>();
            for place in &gone {
                index.remove(*place);
            }
            gone
        };
        if !gone.is_empty() {
            self.remove_in_background(gone);
        }
    }

    fn remove_in_background(self: &Arc<Blocks>, places: Vec<Place>) {
        let blocks = self.clone();
        background(move || blocks.remove_files(&places));
    }
}

/// Runs `work` on a thread where there is one, else here and now.
fn background(work: impl FnOnce() + Send + 'static) {
    if blocking::has_threads() {
        drop(blocking::start(work));
    } else {
        work();
    }
}

/// What came of it, unless the file is not there: a cache of this process that was closed a moment ago may still be evicting.
fn unless_gone<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn rounded(len: u64) -> u64 {
    len.next_multiple_of(ROUND)
}

/// The block that the file of that name holds, if it is one.
fn place_of(name: &str) -> Option<Place> {
    let (hash, block) = name.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
    let place = (number(hash)?, number(block)?);
    (format!("{:016x}-{:016x}", place.0, place.1) == name).then_some(place)
}

/// What stands before `bytes` in their file.
fn encode_head(name: &Name, block: u64, bytes: &[u8]) -> Vec<u8> {
    let mut head = vec![0; 4];
    head.extend_from_slice(&(name.text.len() as u32).to_le_bytes());
    head.extend_from_slice(&block.to_le_bytes());
    head.extend_from_slice(name.text.as_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head[4..]), bytes);
    head[..4].copy_from_slice(&crc.to_le_bytes());
    head
}

/// Where the block begins in its file, if that is the one that is meant and as it was written.
fn decode(file: &[u8], name: &Name, block: u64, len: u64) -> Option<usize> {
    let at = NAME_AT + name.text.len();
    let head = file.get(..at)?;
    let expected = encode_head(name, block, &file[at..]);
    (head == expected && (file.len() - at) as u64 == len).then_some(at)
}
