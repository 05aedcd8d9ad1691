//! Two tiers: the log on a disk of this machine, everything else in a store that may be far away.
//!
//! What grows is in the *log*, also when it is finished, as a segment is by its seal, until it is *shipped* ([`LogApart::ship`]):
//! uploaded to the store, and then deleted from the disk. What is created or uploaded goes to the store at once. So a commit
//! waits for the local disk alone, while manifests, and the segments that they name, are where every machine can read them.
//!
//! # Guarantees
//! 1. What grows asks nothing of the store: neither to begin nor to end. While the store is away it goes on.
//! 2. A name is found throughout: in the log until it is in the store, then there. Where a crash has left it in both, they hold
//!    the same bytes.
//! 3. What is shipped is what was written: what is read of the log on the way has its checksum, or shipping fails, and can be
//!    tried again.
//! 4. A log is that of one database, which its folder says ([`LogApart::bind`]), wherever that database's store is moved. And it
//!    has a number that no other has ([`LogApart::home`]), by which the engine tells it from an empty one, or another machine's.
//!
//! # What a lost machine loses
//! What was not shipped: the commits since the last seal. See `Options::seal_interval` of the engine.
//!
//! # After a crash
//! What was not shipped is in the log as its backend left it. A file that was shipped and not yet deleted goes with the next
//! [`Backend::tidy`].

#[cfg(test)]
mod tests;

use crate::planted::{Bug, planted};
use crate::{
    Appender, Backend, Capabilities, Error, ErrorKind, Limiter, Lock, LogApart, Meta, Object, Path, Purpose, Result,
    Shared, Traffic, Uploader,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// What the log's folder says of itself is in these: its number, and the store that it was made for; and the database whose it is,
/// once that is known.
const FOLDER: &str = "tiered/";
const HOME: &str = "tiered/home";
const DATABASE: &str = "tiered/database";

/// Bytes that are read and sent at once.
const PART: u64 = 1 << 20;

/// A store whose log is on a disk of this machine. Clones are handles on the same one.
///
/// ```
/// use halite_backends::{Backend, Local, LogApart, Memory, Path, Tiered};
/// use std::sync::Arc;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> halite_backends::Result<()> {
/// # let folder = std::env::temp_dir().join(format!("halite-doc-tiered-{}", std::process::id()));
/// let far_away = Arc::new(Memory::create_only());
/// let store = Tiered::open(Arc::new(Local::open(&folder, true)?), far_away.clone()).await?;
/// let segment = Path::new("segments/1")?;
/// let mut growing = store.append(&segment).await?;
/// growing.append(vec!["commits".into()], true).await?;
/// assert!(store.exists(&segment).await? && !far_away.exists(&segment).await?);
/// growing.finish().await?;
/// store.ship(&segment).await?;
/// assert_eq!(far_away.read_whole(&segment).await?, "commits");
/// # drop(store);
/// # let _ = std::fs::remove_dir_all(folder);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Tiered {
    log: Arc<dyn Backend>,
    store: Arc<dyn Backend>,
    home: u64,
    /// What was finished and is to be shipped, with the checksums of what was written, where those are known.
    finished: Arc<Mutex<HashMap<Path, Option<u32>>>>,
}

impl Tiered {
    /// Keeps in `log`, whose files grow, what is not shipped yet, and all else in `store`. An empty `log` becomes that of the
    /// database which is made, or found, in `store`. Whether one that is not empty is that database's, the engine finds when it
    /// opens it; something else than a log is refused.
    ///
    /// # Errors
    /// `Unsupported` where the files of `log` do not grow; `InvalidInput` where it holds something that is no log; else as its own
    /// calls.
    pub async fn open(log: Arc<dyn Backend>, store: Arc<dyn Backend>) -> Result<Tiered> {
        let refused = |kind, why: String| Error::new(kind, "open the log", log.location(), why);
        if !log.capabilities().append {
            return Err(refused(ErrorKind::Unsupported, "its files do not grow".into()));
        }
        let (path, of) = (Path::new(HOME)?, store.location());
        if !log.exists(&path).await? {
            let something = log.list("").try_next().await?.map(|meta| meta.path.to_string());
            if let Some(name) = something.or(log.foreign().await?) {
                return Err(refused(
                    ErrorKind::InvalidInput,
                    format!("it holds {name}, and is no log of a tiered store"),
                ));
            }
            let home = RandomState::new().hash_one(&of);
            create_signed(&*log, &path, &format!("{home:016x} {of}")).await?;
        }
        let said = read_signed(&*log, &path).await?;
        let said = said.as_deref().and_then(|said| said.split_once(' '));
        let Some((Ok(home), made_for)) = said.map(|(home, store)| (u64::from_str_radix(home, 16), store)) else {
            return Err(refused(
                ErrorKind::InvalidInput,
                format!("{HOME} in it says something else than a log's does"),
            ));
        };
        let tiers = Tiered { log: log.clone(), store, home, finished: Arc::default() };
        // It is used before it is told whose it is by nobody but an engine that could not tell.
        if made_for != of && tiers.database().await?.is_none() && !tiers.logged("").await?.is_empty() {
            return Err(refused(ErrorKind::InvalidInput, format!("it is the log of {made_for}, not of {of}")));
        }
        Ok(tiers)
    }

    async fn upload_of(&self, path: &Path, sum: Option<u32>) -> Result<()> {
        let object = self.log.open(path).await?;
        let mut upload = self.store.upload(path).await?;
        if let Err(error) = send(path, &*object, sum, &mut *upload).await {
            // What cannot be removed stays unseen.
            let _ = upload.abort().await;
            return Err(error);
        }
        upload.finish().await
    }

    /// What of the log lies in `folder`.
    async fn logged(&self, folder: &str) -> Result<Vec<Meta>> {
        let is_log = |meta: &Meta| std::future::ready(!meta.path.as_str().starts_with(FOLDER));
        self.log.list(folder).try_filter(is_log).try_collect().await
    }
}

#[async_trait]
impl LogApart for Tiered {
    fn home(&self) -> u64 {
        self.home
    }

    async fn database(&self) -> Result<Option<[u8; 16]>> {
        let path = Path::new(DATABASE)?;
        if !self.log.exists(&path).await? {
            return Ok(None);
        }
        let said = read_signed(&*self.log, &path).await?;
        match said.and_then(|said| u128::from_str_radix(&said, 16).ok()) {
            Some(database) => Ok(Some(database.to_le_bytes())),
            None => {
                let why = format!("{DATABASE} in it does not say whose log it is");
                Err(Error::new(ErrorKind::InvalidInput, "open the log", self.log.location(), why))
            }
        }
    }

    async fn bind(&self, database: [u8; 16]) -> Result<()> {
        let text = |database: [u8; 16]| format!("{:032x}", u128::from_le_bytes(database));
        if self.database().await?.is_none() {
            create_signed(&*self.log, &Path::new(DATABASE)?, &text(database)).await?;
        }
        match self.database().await? {
            Some(bound) if bound != database => {
                let why = format!("it is the log of database {}, not of {}", text(bound), text(database));
                Err(Error::new(ErrorKind::InvalidInput, "open the log", self.log.location(), why))
            }
            _ => Ok(()),
        }
    }

    async fn unshipped(&self) -> Result<Vec<Path>> {
        let mut unshipped = Vec::new();
        for meta in self.logged("").await? {
            if !self.store.exists(&meta.path).await? {
                unshipped.push(meta.path);
            }
        }
        Ok(unshipped)
    }

    async fn ship(&self, path: &Path) -> Result<()> {
        let Some(sum) = self.finished.lock().get(path).copied() else { return Ok(()) };
        if planted(Bug::PublishedUnshipped) {
            return Ok(());
        }
        if let Err(error) = self.upload_of(path, sum).await
            && !planted(Bug::UnshippedDeleted)
        {
            let may_be_there = matches!(error.kind(), ErrorKind::Io | ErrorKind::Unknown | ErrorKind::AlreadyExists);
            // The answer was lost, of this upload or of one before: names are given once, and uploads appear whole.
            if !may_be_there || !self.store.exists(path).await.unwrap_or(false) {
                return Err(error);
            }
        }
        self.finished.lock().remove(path);
        if let Err(error) = self.log.delete(path).await {
            tracing::warn!(%path, %error, "a segment that was shipped could not be deleted here");
        }
        Ok(())
    }
}

/// Sends all of a file, unless what was read of it is not what was written.
async fn send(path: &Path, object: &dyn Object, sum: Option<u32>, upload: &mut dyn Uploader) -> Result<()> {
    let (mut at, mut read) = (0, 0);
    while at < object.len() {
        let end = object.len().min(at + PART);
        let bytes = object.read(at..end).await?;
        read = crc32c::crc32c_append(read, &bytes);
        upload.write(bytes).await?;
        at = end;
    }
    match sum {
        Some(written) if written != read && !planted(Bug::ShippedUnread) => {
            let message = format!("what was read is not what was written found={read:08x} expected={written:08x}");
            Err(Error::new(ErrorKind::Io, "ship", path, message))
        }
        _ => Ok(()),
    }
}

/// Creates `path`, unless another process is quicker, with that text and its checksum.
async fn create_signed(log: &dyn Backend, path: &Path, text: &str) -> Result<()> {
    match log.create(path, signed(text).into()).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// The text in `path`, if its checksum is right.
async fn read_signed(log: &dyn Backend, path: &Path) -> Result<Option<String>> {
    let mut said = log.read_whole(path).await?;
    if unsigned(&said).is_none() {
        // A read that came out wrong is not believed.
        said = log.read_whole(path).await?;
    }
    Ok(unsigned(&said).map(str::to_owned))
}

/// Text with its checksum.
fn signed(text: &str) -> String {
    format!("{:08x} {text}", crc32c::crc32c(text.as_bytes()))
}

/// The text whose checksum stands before it, if that is right.
fn unsigned(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?.get(9..)?;
    (signed(text).as_bytes() == bytes).then_some(text)
}

#[async_trait]
impl Backend for Tiered {
    fn capabilities(&self) -> Capabilities {
        let (log, store) = (self.log.capabilities(), self.store.capabilities());
        Capabilities {
            append: true,
            lock: log.lock,
            durable_names: log.durable_names && store.durable_names,
            open_objects_stay: log.open_objects_stay && store.open_objects_stay,
            remote: store.remote,
        }
    }

    fn location(&self) -> String {
        format!("{} (log: {})", self.store.location(), self.log.location())
    }

    fn log_apart(&self) -> Option<&dyn LogApart> {
        Some(self)
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        self.log.lock().await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        if self.log.exists(path).await? {
            return Err(Error::new(ErrorKind::AlreadyExists, "create", path, "it is in the log"));
        }
        self.store.create(path, data).await
    }

    async fn adopt(&self, path: &Path, shared: &Shared) -> Result<bool> {
        self.store.adopt(path, shared).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        self.store.upload(path).await
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        let file = self.log.append(path).await?;
        Ok(Box::new(Growing { tiers: self.clone(), path: path.clone(), file, sum: Some(0) }))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        match self.log.open(path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.store.open(path).await,
            outcome => outcome,
        }
    }

    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        match self.log.open(path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.store.open_known(path, len).await,
            outcome => outcome,
        }
    }

    async fn read_whole(&self, path: &Path) -> Result<Bytes> {
        match self.log.read_whole(path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.store.read_whole(path).await,
            outcome => outcome,
        }
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.log.exists(path).await? || self.store.exists(path).await?)
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let folder = folder.to_owned();
        let listed = async move {
            // First, so that what is shipped meanwhile is shown by one of the two.
            let mut here: BTreeMap<Path, Meta> = BTreeMap::new();
            here.extend(self.logged(&folder).await?.into_iter().map(|meta| (meta.path.clone(), meta)));
            let mut shown: Vec<Meta> = Vec::new();
            let mut there = self.store.list(&folder);
            while let Some(meta) = there.try_next().await? {
                here.remove(&meta.path);
                shown.push(meta);
            }
            shown.extend(here.into_values());
            Ok::<_, Error>(stream::iter(shown.into_iter().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn foreign(&self) -> Result<Option<String>> {
        self.store.foreign().await
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.finished.lock().remove(path);
        self.log.delete(path).await?;
        self.store.delete(path).await
    }

    fn traffic(&self) -> Traffic {
        self.store.traffic()
    }

    fn keeps(&self) -> u64 {
        self.store.keeps()
    }

    fn for_purpose(&self, purpose: Purpose, limiter: &Limiter) -> Option<Arc<dyn Backend>> {
        let store = self.store.for_purpose(purpose, limiter)?;
        Some(Arc::new(Tiered { store, ..self.clone() }))
    }

    async fn tidy(&self) -> Result<()> {
        self.log.tidy().await?;
        self.store.tidy().await?;
        for meta in self.logged("").await? {
            if self.store.exists(&meta.path).await? {
                self.log.delete(&meta.path).await?;
            }
        }
        Ok(())
    }
}

/// A file of the log, until it is shipped.
#[derive(Debug)]
struct Growing {
    tiers: Tiered,
    path: Path,
    file: Box<dyn Appender>,
    /// The checksum of all that was appended, unless some of it was cut off.
    sum: Option<u32>,
}

#[async_trait]
impl Appender for Growing {
    fn len(&self) -> u64 {
        self.file.len()
    }

    async fn reserve(&mut self, len: u64) -> Result<()> {
        self.file.reserve(len).await
    }

    async fn append(&mut self, data: Vec<Bytes>, sync: bool) -> Result<()> {
        let sum = self.sum.map(|sum| data.iter().fold(sum, |sum, part| crc32c::crc32c_append(sum, part)));
        self.file.append(data, sync).await?;
        self.sum = sum;
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        self.file.sync().await
    }

    async fn truncate(&mut self, len: u64) -> Result<()> {
        self.sum = self.sum.filter(|_| len == self.file.len());
        self.file.truncate(len).await
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        self.file.finish().await?;
        self.tiers.finished.lock().insert(self.path, self.sum);
        Ok(())
    }
}
