//! A folder of local files.
//!
//! Each name is a file of that name below one folder; files and folders can be used by their owner only. Next to them
//! lie `LOCK`, which never meets a name (names are lower case), and, while something is being created, files whose
//! names begin with `.tmp-`.
//!
//! | module | what it does |
//! | --- | --- |
//! | `store` | names and folders: creating, publishing, listing, deleting |
//! | `append`, `fill`, `write` | growing files: writes, zeros ahead of them, resuming short writes |
//! | `object` | reads and maps |
//! | `upload` | large files in parts |
//! | `lock` | `flock` |
//! | `pacing`, `blocking` | which calls run inline and which on a thread |
//! | `os` | what each system calls differently |
//!
//! # Guarantees
//! 1. A new name appears by `link`, which fails where the name is taken, after the file's bytes are synced; then the
//!    folder is synced. Folders' own names are synced before anything in them counts as durable.
//! 2. Disk space is set aside before a record is written, where the file system can.
//! 3. Only files that no one writes any more are mapped.
//!
//! # Where there are no threads
//! Under WASI every call runs inline, nothing is mapped, locked or written ahead, and on `wasm32-wasip1` folders cannot be
//! synced; [`Capabilities`] says so.

mod append;
pub(crate) mod blocking;
mod early;
mod fill;
mod lock;
mod object;
pub(crate) mod os;
mod pacing;
mod store;
#[cfg(test)]
mod tests;
mod upload;
mod write;

use crate::{Appender, Backend, Capabilities, Error, ErrorKind, Lock, Meta, Object, Path, Result, Shared, Uploader};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use std::sync::Arc;
use store::Store;

/// A store in a folder of local files. Clones are handles on the same store.
///
/// ```
/// # let folder = std::env::temp_dir().join(format!("halite-doc-{}", std::process::id()));
/// use halite_backends::{Backend, Local, Path};
/// # async fn example(folder: &std::path::Path) -> halite_backends::Result<()> {
/// let store = Local::open(folder, true)?;
/// let name = Path::new("greetings/1")?;
/// store.create(&name, "hello".into()).await?;
/// assert_eq!(store.open(&name).await?.map().as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(example(&folder)).unwrap();
/// # std::fs::remove_dir_all(folder).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Local {
    store: Arc<Store>,
}

impl Local {
    /// The store in the folder `path`; with `create`, made first where it does not exist, its parents too.
    ///
    /// It blocks for a few system calls, and needs no runtime. (The backend's calls use the current tokio runtime's
    /// threads, and run inline where there is none.)
    ///
    /// # Errors
    /// `NotFound` where there is no folder and `create` is false; `PermissionDenied`; `InvalidInput` where
    /// `path` is no folder.
    pub fn open(path: impl AsRef<std::path::Path>, create: bool) -> Result<Local> {
        Ok(Local { store: Arc::new(Store::open(path.as_ref(), create)?) })
    }
}

#[async_trait]
impl Backend for Local {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(true, os::LOCKS, os::FOLDERS_SYNC)
    }

    fn location(&self) -> String {
        self.store.root.display().to_string()
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        let store = self.store.clone();
        blocking::run("lock", &self.location(), move || lock::take(&store.root)).await
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        let store = self.store.clone();
        let name = path.clone();
        let create = move || {
            let fail = |error| Error::io("create", &name, error);
            let temp = store.temp(&name).map_err(fail)?;
            write::write_all(&temp.file, 0, &[data], write::Sync::Everything).map_err(fail)?;
            temp.publish(&store, &name)
        };
        blocking::run_on("create", path, create).await
    }

    async fn adopt(&self, path: &Path, shared: &Shared) -> Result<bool> {
        let Shared::File(file) = shared else { return Ok(false) };
        let (store, name, file) = (self.store.clone(), path.clone(), file.clone());
        let adopt = move || store.adopt(&name, &file).map_err(|error| Error::io("adopt", &name, error));
        blocking::run_on("adopt", path, adopt).await
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        let store = self.store.clone();
        let name = path.clone();
        let uploader = blocking::run_on("upload", path, || upload::LocalUploader::create(store, name)).await?;
        Ok(Box::new(uploader))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        let store = self.store.clone();
        let name = path.clone();
        let appender = blocking::run_on("append", path, || append::LocalAppender::create(store, name)).await?;
        Ok(Box::new(appender))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        let store = self.store.clone();
        let name = path.clone();
        let open = move || {
            let (file, len) = store.open_file(&name).map_err(|error| Error::io("open", &name, error))?;
            let place = store.file(&name);
            Ok(object::LocalObject::new(name, place, file, len))
        };
        Ok(Arc::new(blocking::run_on("open", path, open).await?))
    }

    /// One `stat`, inline: it takes less than handing it over.
    async fn exists(&self, path: &Path) -> Result<bool> {
        self.store.exists(path).map_err(|error| Error::io("look for", path, error))
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let store = self.store.clone();
        let folder = folder.to_owned();
        // The folder goes to the file system: it must not lead out of the store.
        if !folder.is_empty() && Path::new(&*folder).is_err() {
            let error = Error::new(ErrorKind::InvalidInput, "list", folder, "not a valid folder");
            return stream::once(std::future::ready(Err(error))).boxed();
        }
        // Folder by folder, so that who has seen enough need not wait for all that lies there.
        let one = move |mut folders: Vec<String>| {
            let store = store.clone();
            async move {
                let Some(folder) = folders.pop() else { return Ok(None) };
                let location = store.root.display().to_string();
                let list = move || Ok((store.list_one(&folder, &mut folders)?, folders));
                let (metas, folders) = blocking::run("list", &location, list).await?;
                Ok(Some((stream::iter(metas.into_iter().map(Ok)), folders)))
            }
        };
        stream::try_unfold(vec![folder], one).try_flatten().boxed()
    }

    async fn foreign(&self) -> Result<Option<String>> {
        let store = self.store.clone();
        blocking::run("list", &self.location(), move || store.foreign()).await
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        let store = self.store.clone();
        let name = path.clone();
        let delete = move || store.delete(&name).map_err(|error| Error::io("delete", &name, error));
        blocking::run_on("delete", path, delete).await
    }

    async fn tidy(&self) -> Result<()> {
        let store = self.store.clone();
        blocking::run("tidy", &self.location(), move || store.tidy()).await
    }
}
