//! Reading one object by ranges, and writing one in parts.

use super::{Objects, error_kind};
use crate::bounds::checked_len;
use crate::traffic::{Purpose, RequestKind};
use crate::{Error, ErrorKind, Object, Path, Result, Uploader};
use async_trait::async_trait;
use bytes::Bytes;
use opendal::Writer;
use std::fmt;
use std::ops::Range;

/// An object open for reading: its name, its length, and the tag that tells it from a later one of the same name, where
/// the store gives one.
pub(super) struct Open {
    store: Objects,
    path: Path,
    len: u64,
    tag: Option<String>,
}

impl Open {
    /// Asks how long `path` is.
    pub(super) async fn find(store: &Objects, path: &Path) -> Result<Open> {
        let operator = &store.0.operator;
        store.count(RequestKind::Head, path, 0);
        let found = operator.stat(path.as_str()).await.map_err(|error| store.failed("open", path, &error))?;
        if !found.is_file() {
            return Err(Error::new(ErrorKind::NotFound, "open", path, "it is a folder"));
        }
        let conditional = operator.info().capability().read_with_if_match;
        let tag = found.etag().filter(|_| conditional).map(str::to_owned);
        Ok(Open { store: store.clone(), path: path.clone(), len: found.content_length(), tag })
    }

    /// An object of which all is known that is needed.
    pub(super) fn known(store: &Objects, path: &Path, len: u64) -> Open {
        Open { store: store.clone(), path: path.clone(), len, tag: None }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("path", &self.path).field("len", &self.len).finish_non_exhaustive()
    }
}

#[async_trait]
impl Object for Open {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let len = checked_len(&self.path, &range, self.len)?;
        if len == 0 {
            return Ok(Bytes::new());
        }
        let mut read = self.store.0.operator.read_with(self.path.as_str()).range(range);
        if let Some(tag) = &self.tag {
            read = read.if_match(tag);
        }
        self.store.count(RequestKind::Get, &self.path, len as u64);
        let failed = |error| {
            // The condition was the object that was opened: another one has its name by now.
            let kind = match error_kind(&error) {
                ErrorKind::AlreadyExists => ErrorKind::NotFound,
                kind => kind,
            };
            self.store.0.secrets.error(kind, "read", &self.path, &error)
        };
        let bytes = self.store.0.runtime.run(async { read.await.map_err(failed) }).await?;
        if bytes.len() != len {
            let message = format!("the store sent {} bytes of {len}", bytes.len());
            return Err(Error::new(ErrorKind::UnexpectedEof, "read", &self.path, message));
        }
        Ok(bytes.to_bytes())
    }
}

/// An object being written in parts; a small one goes up in one request at the end.
pub(super) struct Upload {
    store: Objects,
    path: Path,
    writer: Writer,
    len: u64,
}

impl Upload {
    pub(super) async fn begin(store: &Objects, path: &Path) -> Result<Upload> {
        let options = &store.0.options;
        let writer = store.0.operator.writer_with(path.as_str());
        let writer = writer.chunk(options.part_bytes.max(1)).concurrent(options.parts_at_once.max(1)).await;
        let writer = writer.map_err(|error| store.failed("upload", path, &error))?;
        Ok(Upload { store: store.clone(), path: path.clone(), writer, len: 0 })
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("path", &self.path).field("len", &self.len).finish_non_exhaustive()
    }
}

#[async_trait]
impl Uploader for Upload {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        self.len += data.len() as u64;
        let Upload { store, path, writer, .. } = self;
        let failed = |error| store.failed("upload", &*path, &error);
        store.0.runtime.run(async { writer.write(data).await.map_err(failed) }).await
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let part_len = self.store.0.options.part_bytes.max(1) as u64;
        // To begin and to end an upload in parts takes a request each.
        let requests = if self.len <= part_len { 1 } else { self.len.div_ceil(part_len) + 2 };
        self.store.0.counters.add_for(RequestKind::Put, Purpose::of(self.path.folder()), requests, self.len);
        let Upload { store, path, writer, len } = &mut *self;
        let close = async {
            let Err(error) = writer.close().await else { return Ok(()) };
            // The object may be there: a store that has put the parts together does not know them any more when it is
            // asked again because its answer was lost.
            match Open::find(store, path).await {
                Ok(found) if found.len == *len => Ok(()),
                _ => Err(store.failed("upload", &*path, &error)),
            }
        };
        store.0.runtime.run(close).await
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        let Upload { store, path, writer, .. } = &mut *self;
        let abort = async {
            match writer.abort().await {
                // Nothing was sent yet, or there is no way to take it back.
                Err(error) if error.kind() == opendal::ErrorKind::Unsupported => Ok(()),
                outcome => outcome.map_err(|error| store.failed("upload", &*path, &error)),
            }
        };
        store.0.runtime.run(abort).await
    }
}
