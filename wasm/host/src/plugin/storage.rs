//! `halite:storage` over any backend: storage lent to guests that run the engine themselves.
//!
//! # Guarantees
//! 1. A guest reaches the stores that its [`Guest`](super::Guest) names, and in them names that are [`Path`]s: none
//!    leads out of a store.
//! 2. It learns no name of the host's, and no option of a URI: errors come without them.
//! 3. What a guest asks for does not decide how much memory its host sets aside: a read is bounded before anything is
//!    allocated for it.

use super::View;
use bindings::halite::storage::storage as wit;
use bindings::{Guard, Listing, Read, Store, Upload, Write};
use bytes::Bytes;
use futures::TryStreamExt;
use halite::backends::{Error, ErrorKind, Meta, Path};
use wasmtime::Result;
use wasmtime::component::{Resource, ResourceTableError};

/// What one read may ask for.
const READ_BYTES_MAX: u64 = 4 << 20;
/// What one create may carry.
const CREATE_BYTES_MAX: usize = 64 << 20;
/// Names that are listed in one call.
const LISTED_MAX: usize = 1000;

pub(super) mod bindings {
    //! What wasmtime makes of the WIT, and what the guest's handles stand for.
    #![allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all)]
    use ::halite::backends::{Appender, Backend, Lock, Meta, Object, Uploader};
    use std::sync::Arc;

    pub struct Store(pub Arc<dyn Backend>);
    pub struct Guard(pub Box<dyn Lock>);
    pub struct Listing(pub std::vec::IntoIter<Meta>);
    pub struct Upload(pub Box<dyn Uploader>);
    pub struct Write(pub Box<dyn Appender>);
    pub struct Read(pub Arc<dyn Object>);

    wasmtime::component::bindgen!({
        path: "../wit/storage",
        world: "imports",
        imports: { default: async | trappable },
        with: {
            "halite:storage/storage.store": Store,
            "halite:storage/storage.guard": Guard,
            "halite:storage/storage.listing": Listing,
            "halite:storage/storage.uploader": Upload,
            "halite:storage/storage.appender": Write,
            "halite:storage/storage.object": Read,
        },
    });
}

/// What the guest gets, and, outside of that, what ends it: a handle that it does not have.
type Answer<T> = Result<Result<T, wit::Error>>;

impl From<Error> for wit::Error {
    fn from(error: Error) -> wit::Error {
        let kind = match error.kind() {
            ErrorKind::NotFound => wit::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => wit::ErrorKind::AlreadyExists,
            ErrorKind::NoSpace => wit::ErrorKind::NoSpace,
            ErrorKind::PermissionDenied => wit::ErrorKind::PermissionDenied,
            ErrorKind::InUse => wit::ErrorKind::InUse,
            ErrorKind::Unsupported => wit::ErrorKind::Unsupported,
            ErrorKind::InvalidInput => wit::ErrorKind::InvalidInput,
            ErrorKind::UnexpectedEof => wit::ErrorKind::UnexpectedEof,
            ErrorKind::Unknown => wit::ErrorKind::Unknown,
            _ => wit::ErrorKind::Io,
        };
        wit::Error { kind, reason: error.reason() }
    }
}

fn refused<T>(kind: wit::ErrorKind, reason: &str) -> Result<T, wit::Error> {
    Err(wit::Error { kind, reason: reason.to_owned() })
}

fn answer<T>(done: halite::backends::Result<T>) -> Answer<T> {
    Ok(done.map_err(wit::Error::from))
}

/// A name that a guest has given, or what to tell it.
macro_rules! path {
    ($name:expr) => {
        match Path::new($name) {
            Ok(path) => path,
            Err(error) => return Ok(Err(error.into())),
        }
    };
}

impl View<'_> {
    /// Puts what it asked for among its handles; an error of the guest's where it has too many.
    fn lend<T: Send + 'static>(&mut self, asked: halite::backends::Result<T>) -> Answer<Resource<T>> {
        match asked.map(|it| self.table.push(it)) {
            Ok(Ok(handle)) => Ok(Ok(handle)),
            Ok(Err(ResourceTableError::Full)) => Ok(refused(wit::ErrorKind::Io, "too many handles")),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Ok(Err(error.into())),
        }
    }
}

impl wit::Host for View<'_> {
    async fn open(&mut self, name: String) -> Answer<Resource<Store>> {
        match self.guest.stores.get(&name) {
            Some(store) => self.lend(Ok(Store(store.clone()))),
            None => Ok(refused(wit::ErrorKind::NotFound, "no store of that name is lent")),
        }
    }
}

impl wit::HostStore for View<'_> {
    async fn capabilities(&mut self, store: Resource<Store>) -> Result<wit::Capabilities> {
        let can = self.table.get(&store)?.0.capabilities();
        let flag = |it, flag| if it { flag } else { wit::Capabilities::empty() };
        Ok(flag(can.append, wit::Capabilities::APPEND)
            | flag(can.lock, wit::Capabilities::LOCK)
            | flag(can.durable_names, wit::Capabilities::DURABLE_NAMES)
            | flag(can.open_objects_stay, wit::Capabilities::OPEN_OBJECTS_STAY))
    }

    async fn lock(&mut self, store: Resource<Store>) -> Answer<Resource<Guard>> {
        let guard = self.table.get(&store)?.0.lock().await;
        self.lend(guard.map(Guard))
    }

    async fn create(&mut self, store: Resource<Store>, path: String, data: Vec<u8>) -> Answer<()> {
        if data.len() > CREATE_BYTES_MAX {
            return Ok(refused(wit::ErrorKind::InvalidInput, "too large for one call"));
        }
        answer(self.table.get(&store)?.0.create(&path!(path), data.into()).await)
    }

    async fn upload(&mut self, store: Resource<Store>, path: String) -> Answer<Resource<Upload>> {
        let upload = self.table.get(&store)?.0.upload(&path!(path)).await;
        self.lend(upload.map(Upload))
    }

    async fn append(&mut self, store: Resource<Store>, path: String) -> Answer<Resource<Write>> {
        let file = self.table.get(&store)?.0.append(&path!(path)).await;
        self.lend(file.map(Write))
    }

    async fn open(&mut self, store: Resource<Store>, path: String) -> Answer<Resource<Read>> {
        let object = self.table.get(&store)?.0.open(&path!(path)).await;
        self.lend(object.map(Read))
    }

    async fn open_known(&mut self, store: Resource<Store>, path: String, len: u64) -> Answer<Resource<Read>> {
        let object = self.table.get(&store)?.0.open_known(&path!(path), len).await;
        self.lend(object.map(Read))
    }

    async fn exists(&mut self, store: Resource<Store>, path: String) -> Answer<bool> {
        answer(self.table.get(&store)?.0.exists(&path!(path)).await)
    }

    async fn list(&mut self, store: Resource<Store>, folder: String) -> Answer<Resource<Listing>> {
        let listed = self.table.get(&store)?.0.list(&folder).try_collect::<Vec<_>>().await;
        self.lend(listed.map(|metas| Listing(metas.into_iter())))
    }

    async fn foreign(&mut self, store: Resource<Store>) -> Answer<Option<String>> {
        answer(self.table.get(&store)?.0.foreign().await)
    }

    async fn delete(&mut self, store: Resource<Store>, path: String) -> Answer<()> {
        answer(self.table.get(&store)?.0.delete(&path!(path)).await)
    }

    async fn tidy(&mut self, store: Resource<Store>) -> Answer<()> {
        answer(self.table.get(&store)?.0.tidy().await)
    }

    async fn drop(&mut self, store: Resource<Store>) -> Result<()> {
        self.table.delete(store)?;
        Ok(())
    }
}

impl wit::HostGuard for View<'_> {
    async fn drop(&mut self, guard: Resource<Guard>) -> Result<()> {
        drop(self.table.delete(guard)?.0);
        Ok(())
    }
}

impl wit::HostListing for View<'_> {
    async fn next(&mut self, listing: Resource<Listing>) -> Answer<Vec<wit::Meta>> {
        let metas = self.table.get_mut(&listing)?.0.by_ref().take(LISTED_MAX);
        Ok(Ok(metas.map(|Meta { path, len, .. }| wit::Meta { path: path.as_str().to_owned(), len }).collect()))
    }

    async fn drop(&mut self, listing: Resource<Listing>) -> Result<()> {
        self.table.delete(listing)?;
        Ok(())
    }
}

impl wit::HostUploader for View<'_> {
    async fn write(&mut self, upload: Resource<Upload>, data: Vec<u8>) -> Answer<()> {
        answer(self.table.get_mut(&upload)?.0.write(data.into()).await)
    }

    async fn finish(&mut self, upload: Resource<Upload>) -> Answer<()> {
        answer(self.table.delete(upload)?.0.finish().await)
    }

    async fn abort(&mut self, upload: Resource<Upload>) -> Answer<()> {
        answer(self.table.delete(upload)?.0.abort().await)
    }

    async fn drop(&mut self, upload: Resource<Upload>) -> Result<()> {
        // It is gone already if it was ended.
        let _ = self.table.delete(upload);
        Ok(())
    }
}

impl wit::HostAppender for View<'_> {
    async fn reserve(&mut self, file: Resource<Write>, len: u64) -> Answer<()> {
        answer(self.table.get_mut(&file)?.0.reserve(len).await)
    }

    async fn append(&mut self, file: Resource<Write>, data: Vec<u8>, sync: bool) -> Answer<()> {
        answer(self.table.get_mut(&file)?.0.append(vec![Bytes::from(data)], sync).await)
    }

    async fn sync(&mut self, file: Resource<Write>) -> Answer<()> {
        answer(self.table.get_mut(&file)?.0.sync().await)
    }

    async fn truncate(&mut self, file: Resource<Write>, len: u64) -> Answer<()> {
        answer(self.table.get_mut(&file)?.0.truncate(len).await)
    }

    async fn finish(&mut self, file: Resource<Write>) -> Answer<()> {
        answer(self.table.delete(file)?.0.finish().await)
    }

    async fn drop(&mut self, file: Resource<Write>) -> Result<()> {
        // It is gone already if it was ended.
        let _ = self.table.delete(file);
        Ok(())
    }
}

impl wit::HostObject for View<'_> {
    async fn len(&mut self, object: Resource<Read>) -> Result<u64> {
        Ok(self.table.get(&object)?.0.len())
    }

    async fn read(&mut self, object: Resource<Read>, start: u64, end: u64) -> Answer<Vec<u8>> {
        if end.saturating_sub(start) > READ_BYTES_MAX {
            return Ok(refused(wit::ErrorKind::InvalidInput, "too much for one call"));
        }
        answer(self.table.get(&object)?.0.read(start..end).await.map(Vec::from))
    }

    async fn drop(&mut self, object: Resource<Read>) -> Result<()> {
        self.table.delete(object)?;
        Ok(())
    }
}
