//! The reference backend: a store in memory, shared by its clones, gone with the last of them.
//!
//! It does just what the trait says and nothing by accident: every future is ready at its first poll, every effect is
//! atomic, nothing fails but what must. It comes in two personalities: growing files, like a local disk, and
//! create-only, like an object store. What works on both works on fragments as well as on files.
//!
//! # Concurrency
//! One lock over the names, one over each file's bytes; the first is never taken while the second is held.

use crate::bounds::checked_len;
use crate::{
    Appender, Backend, Capabilities, Error, ErrorKind, Lock, Meta, Object, Path, Result, Shared, Uploader, in_folder,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(test)]
mod tests;

/// A store in memory. Clones are handles on the same store.
///
/// ```
/// use halite_backends::{Backend, Memory, Path};
/// # async fn example() -> halite_backends::Result<()> {
/// let store = Memory::new();
/// let name = Path::new("greetings/1")?;
/// store.create(&name, "hello".into()).await?;
/// assert_eq!(store.open(&name).await?.read(0..4).await?, "hell");
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example()).unwrap();
/// ```
#[derive(Clone)]
pub struct Memory {
    store: Arc<Store>,
    append: bool,
    lock: bool,
}

#[derive(Default)]
struct Store {
    files: Mutex<BTreeMap<Path, Arc<File>>>,
    locked: AtomicBool,
}

/// A file's bytes. Readers and the appender hold it too, so it outlives its name.
struct File(Mutex<Content>);

enum Content {
    Growing(Vec<u8>),
    Whole(Bytes),
}

impl Memory {
    /// An empty store whose files can grow, with an exclusive lock: like a local disk.
    pub fn new() -> Memory {
        Memory { store: Arc::default(), append: true, lock: true }
    }

    /// An empty store that only creates whole objects and knows no locks: like an object store.
    pub fn create_only() -> Memory {
        Memory { store: Arc::default(), append: false, lock: false }
    }

    /// A handle on the same store that knows no lock, so that two writers can meet on it.
    pub fn without_lock(&self) -> Memory {
        Memory { lock: false, ..self.clone() }
    }

    fn put(&self, op: &'static str, path: &Path, content: Content) -> Result<Arc<File>> {
        use std::collections::btree_map::Entry;
        match self.store.files.lock().entry(path.clone()) {
            Entry::Occupied(_) => Err(Error::new(ErrorKind::AlreadyExists, op, path, "the name is taken")),
            Entry::Vacant(entry) => Ok(entry.insert(Arc::new(File(Mutex::new(content)))).clone()),
        }
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.store.files.lock().len();
        f.debug_struct("Memory").field("files", &files).field("append", &self.append).finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.append, self.lock, true)
    }

    fn location(&self) -> String {
        "mem:".into()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        if !self.lock {
            return Err(Error::new(ErrorKind::Unsupported, "lock", self.location(), "this store has no lock"));
        }
        if self.store.locked.swap(true, Ordering::AcqRel) {
            return Err(Error::new(ErrorKind::InUse, "lock", self.location(), "another handle holds the lock"));
        }
        Ok(Box::new(Held(self.store.clone())))
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        self.put("create", path, Content::Whole(data)).map(drop)
    }

    async fn adopt(&self, path: &Path, shared: &Shared) -> Result<bool> {
        match shared {
            Shared::Memory(bytes) => self.put("adopt", path, Content::Whole(bytes.clone())).map(|_| true),
            Shared::File(_) => Ok(false),
        }
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        Ok(Box::new(Upload { memory: self.clone(), path: path.clone(), data: Vec::new() }))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        if !self.append {
            return Err(Error::new(ErrorKind::Unsupported, "append", path, "this store only creates whole objects"));
        }
        let file = self.put("append", path, Content::Growing(Vec::new()))?;
        Ok(Box::new(Append { file, path: path.clone(), len: 0 }))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        match self.store.files.lock().get(path).cloned() {
            Some(file) => Ok(Arc::new(Open { path: path.clone(), len: file.len(), file })),
            None => Err(Error::new(ErrorKind::NotFound, "open", path, "no such object")),
        }
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.store.files.lock().contains_key(path))
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let folder = folder.to_owned();
        let names = async move {
            let files = self.store.files.lock();
            let shown = files.iter().filter(|(path, _)| in_folder(path, &folder));
            let metas: Vec<_> = shown.map(|(path, file)| Ok(Meta::new(path.clone(), file.len()))).collect();
            stream::iter(metas)
        };
        stream::once(names).flatten().boxed()
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.store.files.lock().remove(path);
        Ok(())
    }
}

impl File {
    fn len(&self) -> u64 {
        match &*self.0.lock() {
            Content::Growing(bytes) => bytes.len() as u64,
            Content::Whole(bytes) => bytes.len() as u64,
        }
    }
}

#[derive(Debug)]
struct Held(Arc<Store>);

impl Lock for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.locked.store(false, Ordering::Release);
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Store")
    }
}

#[derive(Debug)]
struct Upload {
    memory: Memory,
    path: Path,
    data: Vec<u8>,
}

#[async_trait]
impl Uploader for Upload {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.data.extend_from_slice(&data);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.memory.put("upload", &self.path, Content::Whole(self.data.into())).map(drop)
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct Append {
    file: Arc<File>,
    path: Path,
    len: u64,
}

impl fmt::Debug for Append {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append").field("path", &self.path).field("len", &self.len).finish()
    }
}

impl Append {
    /// Changes the bytes. Only this appender makes the file whole, at its end, so until then it grows.
    fn change(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        if let Content::Growing(bytes) = &mut *self.file.0.lock() {
            change(bytes);
            self.len = bytes.len() as u64;
        }
    }
}

#[async_trait]
impl Appender for Append {
    fn len(&self) -> u64 {
        self.len
    }

    async fn reserve(&mut self, _len: u64) -> Result<()> {
        Ok(())
    }

    async fn append(&mut self, data: Vec<Bytes>, _sync: bool) -> Result<()> {
        self.change(|bytes| data.iter().for_each(|part| bytes.extend_from_slice(part)));
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        Ok(())
    }

    async fn truncate(&mut self, len: u64) -> Result<()> {
        match usize::try_from(len) {
            Ok(short) if len <= self.len => {
                self.change(|bytes| bytes.truncate(short));
                Ok(())
            }
            _ => {
                let message = format!("beyond the end asked={len} len={}", self.len);
                Err(Error::new(ErrorKind::InvalidInput, "truncate", &self.path, message))
            }
        }
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        let mut content = self.file.0.lock();
        if let Content::Growing(bytes) = &mut *content {
            bytes.shrink_to_fit();
            *content = Content::Whole(std::mem::take(bytes).into());
        }
        Ok(())
    }
}

struct Open {
    file: Arc<File>,
    path: Path,
    len: u64,
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("path", &self.path).field("len", &self.len).finish()
    }
}

#[async_trait]
impl Object for Open {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        checked_len(&self.path, &range, self.len)?;
        let content = self.file.0.lock();
        let now = match &*content {
            Content::Growing(bytes) => bytes.len() as u64,
            Content::Whole(bytes) => bytes.len() as u64,
        };
        checked_len(&self.path, &range, now)?;
        // Within what is in memory already, so the bounds fit a `usize`.
        let within = range.start as usize..range.end as usize;
        Ok(match &*content {
            Content::Growing(bytes) => Bytes::copy_from_slice(&bytes[within]),
            Content::Whole(bytes) => bytes.slice(within),
        })
    }

    fn map(&self) -> Option<Bytes> {
        match &*self.file.0.lock() {
            Content::Whole(bytes) if bytes.len() as u64 == self.len => Some(bytes.clone()),
            _ => None,
        }
    }

    fn shared(&self) -> Option<Shared> {
        self.map().map(Shared::Memory)
    }
}
