//! Files that compute their digest while they are written.
//!
//! What is hashed is what was handed over, not what can be read back: damage on the way to the storage shows.

use super::BYTES_PER_TURN;
use super::reader::Segment;
use crate::format::Damage;
use crate::format::digest::{Digest, Hasher};
use crate::turn::{PIECE, Turn};
use crate::verify::Beat;
use bytes::Bytes;
use futures::future::join;
use halite_backends::{Appender, Backend, Path, Result, Uploader};

/// Up to so many bytes are hashed before they are written: it takes microseconds at most. More are hashed while they are
/// being written.
const SMALL: usize = 4 << 10;

/// Goes on with `bytes`, however many they are.
async fn hash(hasher: &mut Hasher, bytes: &[u8], turn: &mut Turn) {
    for piece in bytes.chunks(PIECE) {
        hasher.update(piece);
        turn.take(piece.len()).await;
    }
}

/// The growing file of a segment.
#[derive(Debug)]
pub(crate) struct LogFile {
    appender: Box<dyn Appender>,
    hasher: Hasher,
}

impl LogFile {
    /// Creates the empty file `path`.
    pub(crate) async fn create(backend: &dyn Backend, path: &Path) -> Result<LogFile> {
        Ok(LogFile { appender: backend.append(path).await?, hasher: Hasher::new() })
    }

    /// Bytes appended so far.
    pub(crate) fn len(&self) -> u64 {
        self.appender.len()
    }

    /// As [`Appender::reserve`].
    pub(crate) async fn reserve(&mut self, len: u64) -> Result<()> {
        self.appender.reserve(len).await
    }

    /// As [`Appender::append`].
    pub(crate) async fn append(&mut self, data: Vec<Bytes>, sync: bool) -> Result<()> {
        let LogFile { appender, hasher } = self;
        if data.iter().map(Bytes::len).sum::<usize>() <= SMALL {
            data.iter().for_each(|piece| hasher.update(piece));
            return appender.append(data, sync).await;
        }
        let pieces = data.clone();
        let hashing = async {
            let mut turn = Turn::default();
            for piece in &pieces {
                hash(hasher, piece, &mut turn).await;
            }
        };
        join(appender.append(data, sync), hashing).await.0
    }

    /// As [`Appender::sync`].
    pub(crate) async fn sync(&mut self) -> Result<()> {
        self.appender.sync().await
    }

    /// The digest of what was appended so far.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.digest()
    }

    /// As [`Appender::finish`].
    pub(crate) async fn finish(self) -> Result<()> {
        self.appender.finish().await
    }
}

/// A file that is written in parts.
#[derive(Debug)]
pub(crate) struct Upload {
    uploader: Box<dyn Uploader>,
    hasher: Hasher,
}

impl Upload {
    /// Begins `path`.
    pub(crate) async fn begin(backend: &dyn Backend, path: &Path) -> Result<Upload> {
        Ok(Upload { uploader: backend.upload(path).await?, hasher: Hasher::new() })
    }

    /// As [`Uploader::write`].
    pub(crate) async fn write(&mut self, data: Bytes) -> Result<()> {
        hash(&mut self.hasher, &data, &mut Turn::default()).await;
        self.uploader.write(data).await
    }

    /// The digest of what was written so far.
    pub(crate) fn digest(&self) -> Digest {
        self.hasher.digest()
    }

    /// As [`Uploader::finish`].
    pub(crate) async fn finish(self) -> Result<()> {
        self.uploader.finish().await
    }

    /// As [`Uploader::abort`].
    pub(crate) async fn abort(self) -> Result<()> {
        self.uploader.abort().await
    }
}

impl Segment {
    /// The digest of the segment's file as the storage has it now, read in parts. `beat` hears of each.
    ///
    /// # Errors
    /// `Corruption` where the file has another length than the manifest says, or is missing; `NotFound` where a reader may have
    /// been overtaken by whoever has merged it.
    pub(crate) async fn digest(&self, beat: &mut Beat<'_>) -> crate::Result<Digest> {
        let opened = self.backend().open(self.path()).await;
        let object = opened.map_err(|error| self.if_missing(error.into()))?;
        let len = self.meta.len;
        if object.len() != len {
            return Err(self.corrupt(Damage::mismatch(object.len().min(len), "length of the file", len, object.len())));
        }
        let (mut hasher, mut turn, mut at) = (Hasher::new(), Turn::default(), 0);
        while at < len {
            let end = len.min(at + BYTES_PER_TURN as u64);
            hash(&mut hasher, &object.read(at..end).await?, &mut turn).await;
            at = end;
            beat.at(at, 0).await;
        }
        Ok(hasher.digest())
    }
}
