//! The bytes of every file, and nothing else: bytes in, bytes out, no I/O, no clock, no allocation that a length in the
//! bytes could blow up. FORMAT.md at the repository's root tells the same for readers of other languages.
//!
//! | module | what it encodes and decodes |
//! | --- | --- |
//! | [`varint`], [`reader`], [`checksum`], [`digest`] | the vocabulary: integers, bounded reading, the one checksum, the one digest |
//! | [`preamble`] | magic, version and features, with which every file begins |
//! | [`names`] | the names of files |
//! | [`header`] | the first bytes of a segment |
//! | [`frame`], [`mark`] | what the log consists of: records, marks, the end mark |
//! | [`tail`] | where a log ends, and whether it ends well |
//! | [`fragment`] | one slice of the log as an object of its own |
//! | [`block`], [`fences`] | the index of a sealed segment |
//! | [`hints`], [`filter`], [`statistics`], [`footer`] | the rest of what sealing appends |
//! | [`manifest`] | a version made durable |
//!
//! # Guarantees
//! 1. A decoder gives what was encoded or a complaint; it never panics, whatever the bytes are.
//! 2. Lengths are checked against the bytes at hand, then the checksum, and only then is anything made of the bytes.
//! 3. A file of a newer format is refused as [`Fault::Newer`], which is no damage: nothing is wrong with it.
//! 4. What is encoded is checked by the rules that the decoder checks.

pub(crate) mod block;
pub(crate) mod checksum;
pub(crate) mod compressed;
pub(crate) mod digest;
#[cfg(test)]
pub(crate) mod document;
pub(crate) mod fences;
pub(crate) mod filter;
pub(crate) mod footer;
pub(crate) mod fragment;
pub(crate) mod frame;
#[cfg(test)]
pub(crate) mod fuzz;
pub(crate) mod header;
pub(crate) mod hints;
pub(crate) mod manifest;
pub(crate) mod mark;
pub(crate) mod names;
pub(crate) mod preamble;
pub(crate) mod reader;
pub(crate) mod statistics;
pub(crate) mod tail;
pub(crate) mod varint;

use std::fmt;

/// The format version that this code writes, and the newest that it reads. It rises when bytes change in a way that no
/// feature bit tells.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Feature bits that a reader must know, or else refuse the file. None is in use; numbers never change meaning.
pub(crate) const FEATURES_INCOMPATIBLE: u32 = 0;

/// Feature bits that a reader may ignore. None is in use; numbers never change meaning.
pub(crate) const FEATURES_COMPATIBLE: u32 = 0;

/// The first bytes of a segment.
pub(crate) const MAGIC_SEGMENT: [u8; 8] = *b"HALITE/S";
/// The first bytes of a log fragment.
pub(crate) const MAGIC_FRAGMENT: [u8; 8] = *b"HALITE/L";
/// The first bytes of a manifest.
pub(crate) const MAGIC_MANIFEST: [u8; 8] = *b"HALITE/M";
/// The first bytes of a sealed segment's footer.
pub(crate) const MAGIC_FOOTER: [u8; 8] = *b"HALITE/F";

/// The longest key, in bytes. The empty key is legal.
pub(crate) const KEY_LEN_MAX: usize = 64 << 10;

/// The longest end of a range, in bytes: the longest key, and a zero behind it for what comes next.
pub(crate) const BOUND_LEN_MAX: usize = KEY_LEN_MAX + 1;

/// The longest value, in bytes.
pub(crate) const VALUE_LEN_MAX: usize = 1 << 30;

/// The longest name of a checkpoint, in bytes of UTF-8.
pub(crate) const CHECKPOINT_NAME_LEN_MAX: usize = 255;

/// Frames end at or below this offset of their segment, so that every frame's offset fits 32 bits.
pub(crate) const STREAM_LEN_MAX: u64 = 1 << 32;

/// The result of decoding.
pub(crate) type Result<T, E = Damage> = std::result::Result<T, E>;

/// A decoder's complaint: what it expected and what it found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The offset in the file (for a frame: in its segment).
    pub(crate) offset: u64,
    /// What was expected and what was found.
    pub(crate) what: String,
}

impl Damage {
    #[cold]
    pub(crate) fn new(offset: u64, what: impl Into<String>) -> Damage {
        Damage { offset, what: what.into() }
    }

    /// Damage told as "`field` expected=… found=…".
    #[cold]
    pub(crate) fn mismatch(offset: u64, field: &str, expected: impl fmt::Display, found: impl fmt::Display) -> Damage {
        Damage { offset, what: format!("{field} expected={expected} found={found}") }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offset={}", self.what, self.offset)
    }
}

impl std::error::Error for Damage {}

/// Why a file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its bytes are not what was written.
    Damage(Damage),
    /// It is whole, but of a format version or with features that this code does not know.
    Newer(String),
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Fault {
        Fault::Damage(damage)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Damage(damage) => fmt::Display::fmt(damage, f),
            Fault::Newer(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Fault {}
