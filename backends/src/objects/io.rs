//! Reading one object by ranges, and writing one in parts.

use super::{Objects, error_kind};
use crate::bounds::checked_len;
use crate::{Error, ErrorKind, Object, Path, RequestKind, Result, Uploader};
use async_trait::async_trait;
use bytes::Bytes;
use opendal::{Buffer, Writer};
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
        let operator = &store.shared.operator;
        let _admitted = store.admit(RequestKind::Head, 1, 0).await;
        let found = operator.stat(path.as_str()).await.map_err(|error| store.failed("open", path, &error))?;
        if !found.is_file() {
            return Err(Error::new(ErrorKind::NotFound, "open", path, "it is a folder"));
        }
        let conditional = operator.info().capability().read_with_if_match;
        let tag = found.etag().filter(|_| conditional).map(str::to_owned);
        Ok(Open { store: store.clone(), path: path.clone(), len: found.content_length(), tag })
    }

    /// Whether the object that was opened is what has the name now.
    async fn is_there(&self) -> bool {
        Open::find(&self.store, &self.path).await.is_ok_and(|found| found.tag == self.tag)
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
        let mut reader = self.store.shared.operator.reader_with(self.path.as_str());
        if let Some(tag) = &self.tag {
            reader = reader.if_match(tag);
        }
        let read = async {
            let admitted = self.store.admit(RequestKind::Get, 1, len as u64).await;
            // Copied as it comes, for the reason that `owned` gives.
            let mut bytes = Vec::with_capacity(len);
            let read = async { reader.await?.read_into(&mut bytes, range).await };
            let error = match read.await {
                Ok(_) => return Ok(bytes),
                Err(error) => error,
            };
            drop(admitted);
            // The condition was the object that was opened: another one has its name by now, unless the store shows that very
            // one when it is asked.
            let kind = match error_kind(&error) {
                ErrorKind::AlreadyExists if self.is_there().await => ErrorKind::Io,
                ErrorKind::AlreadyExists => ErrorKind::NotFound,
                kind => kind,
            };
            Err(self.store.shared.secrets.error(kind, "read", &self.path, &error))
        };
        let bytes = self.store.shared.runtime.run(read).await?;
        if bytes.len() != len {
            let message = format!("the store sent {} bytes of {len}", bytes.len());
            return Err(Error::new(ErrorKind::UnexpectedEof, "read", &self.path, message));
        }
        Ok(bytes.into())
    }
}

/// What was received, in memory of its own: as it comes it lies in the buffers of a connection, some hundred KiB each, which
/// whoever keeps a few bytes of it would keep with them.
pub(super) fn owned(received: Buffer) -> Bytes {
    let mut bytes = Vec::with_capacity(received.len());
    received.for_each(|chunk| bytes.extend_from_slice(&chunk));
    bytes.into()
}

/// An object being written in parts; a small one goes up in one request at the end.
pub(super) struct Upload {
    store: Objects,
    path: Path,
    writer: Writer,
    len: u64,
    /// Requests and bytes of them that were counted.
    counted: (u64, u64),
}

impl Upload {
    pub(super) async fn begin(store: &Objects, path: &Path) -> Result<Upload> {
        let options = &store.shared.options;
        let at_once = store.limiter.at_once().map_or(usize::MAX, |at_once| at_once.get() as usize);
        let at_once = options.parts_at_once.clamp(1, at_once);
        let writer = store.shared.operator.writer_with(path.as_str());
        let writer = writer.chunk(options.part_bytes.max(1)).concurrent(at_once).await;
        let writer = writer.map_err(|error| store.failed("upload", path, &error))?;
        Ok(Upload { store: store.clone(), path: path.clone(), writer, len: 0, counted: (0, 0) })
    }

    /// Counts the requests that are sent now that the object is `len` bytes long, and at its end if `ends`, and waits until
    /// they may be.
    async fn admit(&mut self, ends: bool) {
        let (requests, bytes) = requests_of(self.len, self.store.shared.options.part_bytes.max(1) as u64, ends);
        let (requests_before, bytes_before) = std::mem::replace(&mut self.counted, (requests, bytes));
        if requests > requests_before {
            // Parts are sent in the background: how many of them at once, the writer was told.
            let store = &self.store;
            store.limiter.admit_beside(requests - requests_before, bytes - bytes_before).await;
            store.count(RequestKind::Put, requests - requests_before, bytes - bytes_before);
        }
    }
}

/// How many requests have been sent of an object that is `len` bytes long, and how many bytes with them: all if it `ends`.
/// What fits into one part goes up in one request at the end; else to begin and to end takes a request each.
fn requests_of(len: u64, part_len: u64, ends: bool) -> (u64, u64) {
    match len.div_ceil(part_len) {
        0 | 1 => (u64::from(ends), if ends { len } else { 0 }),
        parts if ends => (parts + 2, len),
        // The last one may still grow.
        parts => (parts, (parts - 1) * part_len),
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
        let store = self.store.clone();
        let write = async {
            self.admit(false).await;
            self.writer.write(data).await.map_err(|error| store.failed("upload", &self.path, &error))
        };
        store.shared.runtime.run(write).await
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let store = self.store.clone();
        let close = async {
            self.admit(true).await;
            let Upload { path, writer, len, .. } = &mut *self;
            let Err(error) = writer.close().await else { return Ok(()) };
            // The object may be there: a store that has put the parts together does not know them any more when it is
            // asked again because its answer was lost.
            match Open::find(&store, path).await {
                Ok(found) if found.len == *len => Ok(()),
                _ => {
                    // Else its parts stay, unseen. The caller is told why it failed in any case.
                    let _ = writer.abort().await;
                    Err(store.failed("upload", &*path, &error))
                }
            }
        };
        store.shared.runtime.run(close).await
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
        store.shared.runtime.run(abort).await
    }
}
