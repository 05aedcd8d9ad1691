//! A value as its record holds it: as it is, or compressed.
//!
//! What is not compressed is shared, never copied. What is, is carried along as it is stored until somebody wants to see it:
//! merges and seals never do.
//!
//! On its way into the log a value is made [ready](prepare) before its commit takes the queue's lock: it is compressed where
//! that is wanted, and a large one gets memory of its own (the caller's, if that may be kept) and its checksum, so that under
//! the lock only its head is encoded. From that memory it is written, and that is the memtable's image of it.

use crate::batch::Write;
use crate::format::compressed::{Codec, Compressing, PART_LEN, Parts, Trouble};
use crate::format::frame::Kind;
use crate::turn::{self, Turn};
use crate::{Error, ErrorKind, Result};
use bytes::Bytes;
use halite_backends::Path;

/// Values from this length on, as they are stored, are not copied from one place to another but shared.
pub(crate) const LARGE_LEN: usize = 64 << 10;
/// Shorter values are never compressed: there is too little to gain.
const LEN_MIN: usize = 64;
/// How many times the work of a copy it is to compress, and to decompress.
const COMPRESS_WORK: usize = 8;
const DECOMPRESS_WORK: usize = 4;
/// What goes with each value is as much work as this many bytes.
const VALUE_WORK: usize = 256;

/// The value of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// As it is.
    Plain(Bytes),
    /// To be decompressed.
    Compressed(Box<Compressed>),
}

/// A compressed value, and where its record stands, if that is not in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compressed {
    stored: Bytes,
    place: Option<(Path, u64)>,
}

impl Value {
    /// The value that a record stores as `stored`.
    #[inline]
    pub(crate) fn new(stored: Bytes, compressed: bool, place: impl FnOnce() -> Option<(Path, u64)>) -> Value {
        if compressed {
            Value::Compressed(Box::new(Compressed { stored, place: place() }))
        } else {
            Value::Plain(stored)
        }
    }

    /// No value: that of a tombstone, or of a record whose value does not matter.
    pub(crate) fn empty() -> Value {
        Value::Plain(Bytes::new())
    }

    /// What the record stores, and whether that is compressed.
    pub(crate) fn stored(&self) -> (&Bytes, bool) {
        match self {
            Value::Plain(stored) => (stored, false),
            Value::Compressed(compressed) => (&compressed.stored, true),
        }
    }

    /// The value, if it is there without more ado: as it is, or decompressed in a moment, which is taken from `budget`, one
    /// for each `unit` of bytes copied in that time. Else it must be [read](Value::read).
    #[inline]
    pub(crate) fn at_hand_for(self, budget: &mut usize, unit: usize) -> Result<Result<Bytes, Value>> {
        match self {
            Value::Plain(value) => Ok(Ok(value)),
            Value::Compressed(compressed) => match compressed.at_hand()? {
                Ok(value) => {
                    *budget = budget.saturating_sub(value.len() * DECOMPRESS_WORK / unit);
                    Ok(Ok(value))
                }
                Err(compressed) => Ok(Err(Value::Compressed(compressed))),
            },
        }
    }

    /// The value.
    ///
    /// # Errors
    /// `Corruption` where it does not decompress, `Unsupported` where this build lacks its codec.
    #[inline]
    pub(crate) async fn read(self) -> Result<Bytes> {
        match self {
            Value::Plain(value) => Ok(value),
            Value::Compressed(compressed) => compressed.read().await,
        }
    }
}

impl Compressed {
    fn at_hand(self: Box<Self>) -> Result<Result<Bytes, Box<Self>>> {
        let mut parts = Parts::new(&self.stored).map_err(|trouble| self.explain(trouble))?;
        if parts.len() > PART_LEN {
            return Ok(Err(self));
        }
        let mut value = Vec::with_capacity(parts.len());
        parts.next(&mut value).map_err(|trouble| self.explain(trouble))?;
        Ok(Ok(value.into()))
    }

    async fn read(self: Box<Self>) -> Result<Bytes> {
        let mut parts = Parts::new(&self.stored).map_err(|trouble| self.explain(trouble))?;
        let mut value = Vec::with_capacity(parts.len());
        let mut turn = Turn::default();
        loop {
            let len = parts.next(&mut value).map_err(|trouble| self.explain(trouble))?;
            if parts.len() == 0 {
                return Ok(value.into());
            }
            turn.take(len * DECOMPRESS_WORK).await;
        }
    }

    #[cold]
    fn explain(&self, trouble: Trouble) -> Error {
        match (trouble, &self.place) {
            (Trouble::Damaged(what), Some((file, offset))) => Error::corruption(file, *offset, what),
            (Trouble::Damaged(what), None) => Error::new(ErrorKind::Corruption, format!("{what} in memory")),
            (Trouble::Lacks(codec), _) => lacks(codec),
        }
    }
}

/// A codec is needed that this build does not have.
pub(crate) fn lacks(codec: &str) -> Error {
    let message = format!("this build of halite lacks the codec `{codec}`: build it with the feature `{codec}`");
    Error::new(ErrorKind::Unsupported, message)
}

/// A large value as it is stored, in memory that can be kept.
#[derive(Clone, Debug)]
pub(crate) struct Large {
    pub(crate) bytes: Bytes,
    /// Its checksum, continued from nothing.
    pub(crate) crc: u32,
}

/// A value on its way into the log.
#[derive(Debug)]
pub(crate) enum Prepared {
    /// It is copied as it is.
    AsIs,
    /// Its compressed form is copied.
    Compressed(Vec<u8>),
    /// It is written from where it is.
    Large { large: Large, compressed: bool },
}

impl Prepared {
    /// `write` with its value as it will be stored.
    pub(crate) fn apply<'a>(&'a self, write: Write<'a>) -> Write<'a> {
        match self {
            Prepared::AsIs => write,
            Prepared::Compressed(value) => Write { value, compressed: true, ..write },
            Prepared::Large { large, compressed } => {
                Write { value: &large.bytes, compressed: *compressed, large: Some(large), ..write }
            }
        }
    }
}

/// Whether `write` can be logged as it is.
pub(crate) fn is_ready(codec: Option<Codec>, write: &Write<'_>) -> bool {
    let len = write.value.len();
    write.kind != Kind::Put || (len < LARGE_LEN && (codec.is_none() || len < LEN_MIN))
}

/// Makes the value of `write` ready to be logged.
pub(crate) async fn prepare(codec: Option<Codec>, write: &Write<'_>, turn: &mut Turn) -> Prepared {
    if write.kind != Kind::Put {
        return Prepared::AsIs;
    }
    let value = write.value;
    let compressed = match codec {
        Some(codec) => compress(codec, value, turn).await,
        None => None,
    };
    let (bytes, crc, compressed) = match compressed {
        Some(stored) if stored.len() < LARGE_LEN => return Prepared::Compressed(stored),
        Some(stored) => {
            let crc = turn::checksum(0, &stored, turn).await;
            (stored.into(), crc, true)
        }
        None if value.len() < LARGE_LEN => return Prepared::AsIs,
        None => match write.shared {
            Some(shared) => (shared.clone(), turn::checksum(0, shared, turn).await, false),
            None => {
                let mut copy = Vec::with_capacity(value.len());
                let crc = turn::copy_and_checksum(0, value, &mut copy, turn).await;
                (copy.into(), crc, false)
            }
        },
    };
    Prepared::Large { large: Large { bytes, crc }, compressed }
}

/// The compressed form of `value`, if that saves enough.
pub(crate) async fn compress(codec: Codec, value: &[u8], turn: &mut Turn) -> Option<Vec<u8>> {
    if value.len() < LEN_MIN {
        return None;
    }
    let mut compressing = Compressing::new(codec, value);
    loop {
        match compressing.step() {
            0 => return compressing.finish(),
            len => turn.take((len + VALUE_WORK) * COMPRESS_WORK).await,
        };
    }
}

/// Why the compressed value that a record stores as `stored` cannot be read, if it cannot.
pub(crate) async fn check(stored: &[u8], turn: &mut Turn) -> std::result::Result<(), Trouble> {
    let mut parts = Parts::new(stored)?;
    let mut part = Vec::with_capacity(parts.len().min(PART_LEN));
    while parts.len() > 0 {
        part.clear();
        let len = parts.next(&mut part)?;
        turn.take(len * DECOMPRESS_WORK).await;
    }
    Ok(())
}

#[cfg(all(test, feature = "lz4"))]
mod large;
#[cfg(all(test, feature = "lz4"))]
mod tests;
