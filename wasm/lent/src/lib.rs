//! Storage that a host lends: a backend for components that run the engine themselves.
//!
//! The guest has the engine, the host the bytes: in its memory, in a folder, or in an object store whose credentials the
//! guest never sees. What is asked of it goes through [`halite:storage`](../../wit/storage/storage.wit), call by call.
//!
//! ```ignore
//! let db = halite::Db::builder(Arc::new(Lent::open("default")?)).open().await?;
//! ```
//!
//! # Concurrency
//! A call blocks the guest until its host has answered; nothing overlaps. So every future is ready when it is first polled.
#![cfg(target_family = "wasm")]
#![deny(missing_docs)]

mod files;

use async_trait::async_trait;
use bindings::halite::storage::storage as wit;
use bytes::Bytes;
use files::{LentAppender, LentObject, LentUploader};
use futures::stream::{self, BoxStream, StreamExt};
use halite::backends::{Appender, Backend, Capabilities, Error, ErrorKind, Lock, Meta, Object, Path, Result, Uploader};
use std::fmt;
use std::sync::Arc;

mod bindings {
    //! What wit-bindgen makes of the WIT.
    #![allow(missing_docs, unreachable_pub, unsafe_op_in_unsafe_fn, clippy::all)]
    wit_bindgen::generate!({ path: "../wit/storage", world: "imports", generate_all });
}

/// The largest object that is created by one call.
const CREATE_BYTES_MAX: usize = 64 << 20;

/// A store that the host lends.
pub struct Lent {
    store: wit::Store,
    name: String,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("name", &self.name).finish()
    }
}

impl Lent {
    /// The one that the host calls `name` for this guest.
    ///
    /// # Errors
    /// `NotFound` where it lends none of that name.
    pub fn open(name: &str) -> Result<Lent> {
        let store = wit::open(name).map_err(|error| failed("open", name, error))?;
        Ok(Lent { store, name: name.to_owned() })
    }
}

/// A failure as the host tells it.
fn failed(op: &'static str, path: impl fmt::Display, error: wit::Error) -> Error {
    let kind = match error.kind {
        wit::ErrorKind::NotFound => ErrorKind::NotFound,
        wit::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
        wit::ErrorKind::NoSpace => ErrorKind::NoSpace,
        wit::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        wit::ErrorKind::InUse => ErrorKind::InUse,
        wit::ErrorKind::Unsupported => ErrorKind::Unsupported,
        wit::ErrorKind::InvalidInput => ErrorKind::InvalidInput,
        wit::ErrorKind::UnexpectedEof => ErrorKind::UnexpectedEof,
        wit::ErrorKind::Unknown => ErrorKind::Unknown,
        wit::ErrorKind::Io => ErrorKind::Io,
    };
    Error::new(kind, op, path, error.reason)
}

#[async_trait]
impl Backend for Lent {
    fn capabilities(&self) -> Capabilities {
        let flags = self.store.capabilities();
        let has = |flag| flags.contains(flag);
        let can = Capabilities::new(
            has(wit::Capabilities::APPEND),
            has(wit::Capabilities::LOCK),
            has(wit::Capabilities::DURABLE_NAMES),
        );
        // Not remote, wherever the host keeps it: what is asked for early here is waited for early, too.
        if has(wit::Capabilities::OPEN_OBJECTS_STAY) { can } else { can.without_objects_that_stay() }
    }

    fn location(&self) -> String {
        format!("lent:{}", self.name)
    }

    async fn lock(&self) -> Result<Box<dyn Lock>> {
        let guard = self.store.lock().map_err(|error| failed("lock", self.location(), error))?;
        Ok(Box::new(Held { _guard: guard }))
    }

    async fn create(&self, path: &Path, data: Bytes) -> Result<()> {
        if data.len() > CREATE_BYTES_MAX {
            let message = format!("too large for one call len={} len_max={CREATE_BYTES_MAX}", data.len());
            return Err(Error::new(ErrorKind::InvalidInput, "create", path, message));
        }
        self.store.create(path.as_str(), &data).map_err(|error| failed("create", path, error))
    }

    async fn upload(&self, path: &Path) -> Result<Box<dyn Uploader>> {
        let upload = self.store.upload(path.as_str()).map_err(|error| failed("upload", path, error))?;
        Ok(Box::new(LentUploader::new(upload, path)))
    }

    async fn append(&self, path: &Path) -> Result<Box<dyn Appender>> {
        let file = self.store.append(path.as_str()).map_err(|error| failed("append", path, error))?;
        Ok(Box::new(LentAppender::new(file, path)))
    }

    async fn open(&self, path: &Path) -> Result<Arc<dyn Object>> {
        let object = self.store.open(path.as_str()).map_err(|error| failed("open", path, error))?;
        Ok(Arc::new(LentObject::new(object, path)))
    }

    async fn open_known(&self, path: &Path, len: u64) -> Result<Arc<dyn Object>> {
        let object = self.store.open_known(path.as_str(), len).map_err(|error| failed("open", path, error))?;
        Ok(Arc::new(LentObject::new(object, path)))
    }

    async fn exists(&self, path: &Path) -> Result<bool> {
        self.store.exists(path.as_str()).map_err(|error| failed("look for", path, error))
    }

    fn list(&self, folder: &str) -> BoxStream<'_, Result<Meta>> {
        let fail = |folder: &str, error| failed("list", folder, error);
        let listing = match self.store.list(folder) {
            Ok(listing) => listing,
            Err(error) => return stream::iter([Err(fail(folder, error))]).boxed(),
        };
        let folder = folder.to_owned();
        let pages = stream::unfold(Some(listing), move |listing| {
            let listing = listing.map(|listing| (listing.next(), listing));
            let page = listing.and_then(|(page, listing)| match page {
                Ok(metas) if metas.is_empty() => None,
                Ok(metas) => Some((metas.into_iter().map(listed).collect(), Some(listing))),
                Err(error) => Some((vec![Err(fail(&folder, error))], None)),
            });
            std::future::ready(page)
        });
        pages.flat_map(stream::iter).boxed()
    }

    async fn foreign(&self) -> Result<Option<String>> {
        self.store.foreign().map_err(|error| failed("list", self.location(), error))
    }

    async fn delete(&self, path: &Path) -> Result<()> {
        self.store.delete(path.as_str()).map_err(|error| failed("delete", path, error))
    }

    async fn tidy(&self) -> Result<()> {
        self.store.tidy().map_err(|error| failed("tidy", self.location(), error))
    }
}

fn listed(meta: wit::Meta) -> Result<Meta> {
    Ok(Meta::new(Path::new(meta.path)?, meta.len))
}

/// Lets go of the host's lock when it is dropped.
#[derive(Debug)]
struct Held {
    _guard: wit::Guard,
}

impl Lock for Held {}
