//! The trait a backend implements, and its contract.
//!
//! # Contract
//! 1. **Create-if-absent.** [`Backend::create`] of a name succeeds at most once for as long as the name exists, among
//!    all processes, machines and handles. It is the only conditional operation.
//! 2. **Durable means durable.** What a call promises to have made durable survives a power cut, name included.
//! 3. **No half objects.** What `create` and `upload` make appears whole or not at all. Only an [`Appender`]'s file
//!    can be seen incomplete.
//! 4. **Names are listed.** A name whose creation has returned is shown by every later [`Backend::list`].
//! 5. **Reads are exact.** A read returns just the bytes asked for or an error.
//! 6. **Cancellation.** A future dropped before it is ready leaves the operation undone, done, or (for appends) done in
//!    part, and what is under way already may still take effect *after* the drop: a thread finishes its write, a
//!    request on the wire arrives. An [`Appender`] or [`Uploader`] with such a call behind it is not used again; a
//!    [`Backend`] or [`Object`] is as good as before.
//!
//! Futures are `Send` on every target, so that the engine needs one set of bounds; a backend on a platform whose own
//! futures are not `Send` wraps them.

use crate::{Limiter, LogApart, Path, Purpose, Result, Traffic};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// How long a read may be that leaves something on a disk of this machine: see [`Backend::keeps`].
pub const KEPT_READ_MAX: u64 = 768 << 10;

/// What a backend can do beyond the minimum.
///
/// ```
/// use halite_backends::{Backend, Memory};
/// assert!(Memory::new().capabilities().append);
/// assert!(!Memory::create_only().capabilities().append); // a log in fragments
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Files can grow: [`Backend::append`] works. Without it the log is kept in fragments, one object each.
    pub append: bool,
    /// [`Backend::lock`] keeps other processes out.
    pub lock: bool,
    /// Deletions can be made durable, so files may be deleted by the epoch that retired them. (On wasip1 folders
    /// cannot be synced.)
    pub durable_names: bool,
    /// Objects that are open stay readable when their names are deleted. Default of [`Capabilities::new`]: true.
    pub open_objects_stay: bool,
    /// Each request takes its time, however little it asks for, and many may be under way at once: so what will be needed
    /// is asked for early, and much of it at a time. Default of [`Capabilities::new`]: false.
    pub remote: bool,
}

impl Capabilities {
    /// Capabilities with the given answers.
    pub fn new(append: bool, lock: bool, durable_names: bool) -> Capabilities {
        Capabilities { append, lock, durable_names, open_objects_stay: true, remote: false }
    }

    /// These, where an open object is gone with its name.
    pub fn without_objects_that_stay(self) -> Capabilities {
        Capabilities { open_objects_stay: false, ..self }
    }

    /// These, of a store that is far away.
    pub fn of_a_remote_store(self) -> Capabilities {
        Capabilities { remote: true, ..self }
    }
}

/// One entry of a list.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use futures::TryStreamExt;
/// use halite_backends::{Backend, Memory, Meta, Path};
/// let store = Memory::new();
/// store.create(&Path::new("segments/1")?, "four".into()).await?;
/// let listed: Vec<Meta> = store.list("segments").try_collect().await?;
/// assert_eq!((listed[0].path.as_str(), listed[0].len), ("segments/1", 4));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// The name.
    pub path: Path,
    /// Its length in bytes, space reserved ahead by an appender included.
    pub len: u64,
}

impl Meta {
    /// An entry.
    pub fn new(path: Path, len: u64) -> Meta {
        Meta { path, len }
    }
}

/// Where named files or objects live.
///
/// A backend is a handle on one store: all paths are relative to it. See the [module](self) for the contract.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Memory, Path};
/// use std::sync::Arc;
/// let store: Arc<dyn Backend> = Arc::new(Memory::new());
/// let path = Path::new("manifest/1")?;
/// store.create(&path, "whole and durable".into()).await?;
/// let object = store.open(&path).await?;
/// assert_eq!(object.read(0..5).await?, "whole");
/// store.delete(&path).await?;
/// assert!(!store.exists(&path).await?);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> Capabilities;

    /// The store as a user would name it, for messages; never holds a secret.
    fn location(&self) -> String;

    /// The log, if it is not where all else is.
    fn log_apart(&self) -> Option<&dyn LogApart> {
        None
    }

    /// Where the log is, if it is not where all else is: a number that no other place has. What was committed last is there
    /// alone, so whoever opens the store without it must know that.
    fn log_home(&self) -> Option<u64> {
        self.log_apart().map(LogApart::home)
    }

    /// Takes the store's exclusive lock, which lasts until the returned guard is dropped (or the process ends).
    ///
    /// # Errors
    /// `InUse` where someone else holds it; `Unsupported` where [`Capabilities::lock`] is false.
    async fn lock(&self) -> Result<Box<dyn Lock>>;

    /// Creates `path` holding `data`, whole and durable, if it does not exist. One shot: never retried by the
    /// backend, so `AlreadyExists` means that someone else, or an earlier call, made it.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken: it is durable on return, for it may be the caller's own, made by a call
    /// whose answer was lost. `Unknown` where the answer was lost. After `Io` and `NoSpace` the name may exist only if it
    /// holds `data` whole.
    async fn create(&self, path: &Path, data: Bytes) -> Result<()>;

    /// Gives `path`, if it does not exist, the very bytes of `shared`, whole and durable, without copying them, where this
    /// storage can: false where it cannot, and then nothing has happened. From then on each name lives and dies by itself.
    ///
    /// # Errors
    /// `AlreadyExists` where the name is taken.
    async fn adopt(&self, path: &Path, shared: &Shared) -> Result<bool> {
        let _ = (path, shared);
        Ok(false)
    }

    /// Begins `path`, written in parts, which appears whole and durable when [`Uploader::finish`] returns. The
    /// caller makes sure that no one else uses the name: where it is taken, a backend may refuse (here or at the end,
    /// with `AlreadyExists`) or replace what was there.
    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>>;

    /// Creates the empty growing file `path`; its name is durable on return. After a failure the empty file may exist.
    ///
    /// # Errors
    /// `AlreadyExists` (where the log is [apart](Backend::log_apart): if it is in the log; the store is not asked); `Unsupported`
    /// where [`Capabilities::append`] is false.
    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>>;

    /// Opens `path` for reading.
    ///
    /// # Errors
    /// `NotFound`.
    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>>;

    /// As [`open`](Backend::open), of an object that is known to be there and `len` bytes long, unless it was deleted since:
    /// where that saves a request, nothing is asked, and the first read fails instead.
    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        let _ = len;
        self.open(path).await
    }

    /// Reads all of `path`.
    ///
    /// # Errors
    /// `NotFound`.
    async fn read_whole(&self, path: &Path) -> Result<Bytes> {
        let object = self.open(path).await?;
        object.read(0..object.len()).await
    }

    /// Whether `path` exists now. Writers ask this before each acknowledgement, so it should be quick.
    async fn exists(&self, path: &Path) -> Result<bool>;

    /// Lists the names that begin with `folder` and a `/` (all names if `folder` is empty), in no particular order;
    /// nothing where there is no such folder. Leftovers of unfinished uploads and creates are not shown, nor are files
    /// whose names are no [`Path`]s. A name created or deleted while the list is under way may be shown or not.
    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>>;

    /// The name of something that lies where the store is and cannot be its own, if there is nothing else or it is found
    /// first: where no store is yet, none is to be made among what belongs to others.
    async fn foreign(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Deletes `path`. Ok where it is not there. Objects open for reading stay readable where the storage allows it
    /// (local files, memory), and fail with `NotFound` otherwise. A crash may bring the name back, unless a later
    /// `create` in the same folder returned before it, where [`Capabilities::durable_names`].
    async fn delete(&self, path: &Path) -> Result<()>;

    /// What was asked of the store since it was opened, where that is counted: nothing, where requests cost nothing.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// A handle on the same store whose requests count as being for `purpose` in the [`traffic`](Backend::traffic) of all its
    /// handles, and wait until `limiter` admits them. `None`, the default, where nothing is counted: then there is nothing to
    /// be limited either.
    fn for_purpose(&self, purpose: Purpose, limiter: &Limiter) -> Option<Arc<dyn Backend>> {
        let _ = (purpose, limiter);
        None
    }

    /// How many bytes of what is read of segments stay on a disk of this machine, at most, so that they need not be asked for
    /// again: none by default. Reads of more than [`KEPT_READ_MAX`] bytes leave nothing there.
    fn keeps(&self) -> u64 {
        0
    }

    /// Removes what interrupted creates and uploads left behind, and space set aside by appenders that are gone. Only
    /// called by the one writer.
    async fn tidy(&self) -> Result<()> {
        Ok(())
    }
}

/// What the bytes of an object can be shared by, among stores of one kind.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Memory, Path};
/// let (a, b, path) = (Memory::new(), Memory::new(), Path::new("segments/1")?);
/// a.create(&path, "bytes".into()).await?;
/// // The other store gets the very bytes, where both can share them.
/// if let Some(shared) = a.open(&path).await?.shared() {
///     assert!(b.adopt(&path, &shared).await?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Shared {
    /// A local file of this name, to be linked to.
    File(std::path::PathBuf),
    /// Memory.
    Memory(Bytes),
}

/// Holds a store's exclusive lock until dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, ErrorKind, Lock, Memory};
/// let store = Memory::new();
/// let lock: Box<dyn Lock> = store.lock().await?;
/// assert_eq!(store.lock().await.unwrap_err().kind(), ErrorKind::InUse);
/// drop(lock);
/// store.lock().await?;
/// # Ok(())
/// # }
/// ```
pub trait Lock: Debug + Send + Sync {}

/// Writes one object in parts.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Memory, Path};
/// let (store, path) = (Memory::new(), Path::new("segments/1")?);
/// let mut upload = store.upload(&path).await?;
/// upload.write("in ".into()).await?;
/// upload.write("parts".into()).await?;
/// assert!(!store.exists(&path).await?);
/// upload.finish().await?;
/// assert_eq!(store.open(&path).await?.len(), 8);
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Uploader: Debug + Send + Sync {
    /// Adds `data` at the end.
    async fn write(&mut self, data: Bytes) -> Result<()>;

    /// Makes the object appear, whole and durable.
    async fn finish(self: Box<Self>) -> Result<()>;

    /// Gives up: nothing appears, and what was written is removed where that is possible. (Merely dropping the
    /// uploader also makes nothing appear.)
    async fn abort(self: Box<Self>) -> Result<()>;
}

/// The write end of a growing file. One writer, one call at a time.
///
/// After any error other than `NoSpace` from `reserve` the file's tail is unknown and the appender must not be used
/// again: a failed sync is never retried.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Memory, Path};
/// let (store, path) = (Memory::new(), Path::new("log/1")?);
/// let mut log = store.append(&path).await?;
/// log.reserve(1 << 20).await?;
/// log.append(vec!["first, ".into(), "second".into()], true).await?; // durable
/// assert_eq!(log.len(), 13);
/// log.finish().await?;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Appender: Debug + Send + Sync {
    /// Bytes appended so far. (The file may be physically longer: space reserved ahead reads as zeros.)
    fn len(&self) -> u64;

    /// True until the first byte is appended.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes sure that the file can grow to `len` bytes in all without running out of space.
    ///
    /// # Errors
    /// `NoSpace`: nothing changed; the appender stays usable.
    async fn reserve(&mut self, len: u64) -> Result<()>;

    /// Appends `data`, all of it, in order; if `sync` all the file's bytes are durable on return,
    /// else the operating system has them: they survive the process, not a power cut.
    async fn append(&mut self, data: Vec<Bytes>, sync: bool) -> Result<()>;

    /// Makes durable what was appended.
    async fn sync(&mut self) -> Result<()>;

    /// Forgets everything from `len` on, so that appending goes on there. What remains, and its length, is durable on
    /// return.
    ///
    /// # Errors
    /// `InvalidInput` where `len` is beyond the end; nothing changed.
    async fn truncate(&mut self, len: u64) -> Result<()>;

    /// Ends the file: reserved space is given back, the exact length and all bytes are durable.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// The read end of a file or object. Cheap to share; reads may run at once.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// use halite_backends::{Backend, Memory, Object, Path};
/// use std::sync::Arc;
/// let (store, path) = (Memory::new(), Path::new("segments/1")?);
/// store.create(&path, "0123456789".into()).await?;
/// let object: Arc<dyn Object> = store.open(&path).await?;
/// assert_eq!((object.len(), object.read(3..5).await?), (10, "34".into()));
/// assert!(object.map().is_some_and(|whole| whole.len() == 10));
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Object: Debug + Send + Sync {
    /// The length in bytes when it was opened.
    fn len(&self) -> u64;

    /// True where there is no byte.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads exactly `range`, which must lie within [`Object::len`] (a file that grew is opened again). The bytes keep no more memory
    /// than they are long, or memory that is there anyway: whoever keeps them counts their length.
    ///
    /// # Errors
    /// `UnexpectedEof` where the object is, or has become, shorter; `InvalidInput` where the range ends before it
    /// begins.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// The whole object as shared memory, where the backend can give it without copying; slices of it stay valid as
    /// long as they are held, whatever happens to the name. Only for objects that no longer change.
    fn map(&self) -> Option<Bytes> {
        None
    }

    /// What another store can share this object's bytes by, see [`Backend::adopt`]. Only for objects that no longer change.
    fn shared(&self) -> Option<Shared> {
        None
    }
}
