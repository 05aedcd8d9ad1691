//! What is written and read, in pieces that one call may carry.

use crate::bindings::halite::storage::storage as wit;
use crate::failed;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use halite::backends::{Appender, Error, Object, Path, Result, Uploader, checked_len};
use std::ops::Range;

/// What one call carries at most, of what may go in pieces.
const PIECE_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub(crate) struct LentUploader {
    upload: wit::Uploader,
    path: Path,
}

impl LentUploader {
    pub(crate) fn new(upload: wit::Uploader, path: &Path) -> LentUploader {
        LentUploader { upload, path: path.clone() }
    }
}

#[async_trait]
impl Uploader for LentUploader {
    async fn write(&mut self, data: Bytes) -> Result<()> {
        let mut pieces = data.chunks(PIECE_BYTES_MAX);
        pieces.try_for_each(|piece| self.upload.write(piece)).map_err(|error| failed("upload", &self.path, error))
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        wit::Uploader::finish(self.upload).map_err(|error| failed("upload", &self.path, error))
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        wit::Uploader::abort(self.upload).map_err(|error| failed("upload", &self.path, error))
    }
}

#[derive(Debug)]
pub(crate) struct LentAppender {
    file: wit::Appender,
    path: Path,
    len: u64,
}

impl LentAppender {
    pub(crate) fn new(file: wit::Appender, path: &Path) -> LentAppender {
        LentAppender { file, path: path.clone(), len: 0 }
    }

    fn fail(&self, op: &'static str) -> impl Fn(wit::Error) -> Error {
        let path = self.path.clone();
        move |error| failed(op, &path, error)
    }
}

#[async_trait]
impl Appender for LentAppender {
    fn len(&self) -> u64 {
        self.len
    }

    async fn reserve(&mut self, len: u64) -> Result<()> {
        self.file.reserve(len).map_err(self.fail("reserve"))
    }

    async fn append(&mut self, data: Vec<Bytes>, sync: bool) -> Result<()> {
        // One call for one commit, unless it is large; the last makes all of it durable.
        let whole = match &*data {
            [one] => one.clone(),
            parts => parts.concat().into(),
        };
        let count = whole.len().div_ceil(PIECE_BYTES_MAX).max(1);
        for number in 0..count {
            let start = number * PIECE_BYTES_MAX;
            let piece = &whole[start..whole.len().min(start + PIECE_BYTES_MAX)];
            self.file.append(piece, sync && number + 1 == count).map_err(self.fail("append"))?;
            self.len += piece.len() as u64;
        }
        Ok(())
    }

    async fn sync(&mut self) -> Result<()> {
        self.file.sync().map_err(self.fail("sync"))
    }

    async fn truncate(&mut self, len: u64) -> Result<()> {
        self.file.truncate(len).map_err(self.fail("truncate"))?;
        self.len = len;
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<()> {
        wit::Appender::finish(self.file).map_err(|error| failed("finish", &self.path, error))
    }
}

#[derive(Debug)]
pub(crate) struct LentObject {
    object: wit::Object,
    path: Path,
    len: u64,
}

impl LentObject {
    pub(crate) fn new(object: wit::Object, path: &Path) -> LentObject {
        LentObject { len: object.len(), object, path: path.clone() }
    }
}

#[async_trait]
impl Object for LentObject {
    fn len(&self) -> u64 {
        self.len
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let len = checked_len(&self.path, &range, self.len)?;
        let read = |start, len| {
            let piece = self.object.read(start, start + len as u64);
            piece.map_err(|error| failed("read", &self.path, error))
        };
        if len <= PIECE_BYTES_MAX {
            return Ok(read(range.start, len)?.into());
        }
        let mut whole = BytesMut::with_capacity(len);
        while whole.len() < len {
            let left = (len - whole.len()).min(PIECE_BYTES_MAX);
            whole.extend_from_slice(&read(range.start + whole.len() as u64, left)?);
        }
        Ok(whole.freeze())
    }
}
