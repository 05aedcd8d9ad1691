//! Halite: an async key-value engine that is as fast as a Bitcask while memory lasts, and works on any backend.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod clock;
#[allow(dead_code, unused_imports, reason = "stays until the engine above uses all of it")]
mod cursor;
mod error;
#[allow(dead_code, reason = "stays until the engine above uses all of it")]
mod format;
mod hash;
#[allow(dead_code, reason = "stays until the engine above uses all of it")]
mod keydir;
#[allow(dead_code, reason = "stays until the engine above uses all of it")]
mod memtable;
mod options;
mod range;
#[allow(dead_code, reason = "stays until the engine above uses all of it")]
mod scan;
#[allow(dead_code, unused_imports, reason = "stays until the engine above uses all of it")]
mod segment;
#[allow(dead_code, reason = "stays until the engine above uses all of it")]
mod version;

pub use clock::{Clock, SystemClock};
pub use error::{Error, ErrorKind, Result};
pub use halite_backends as backends;
pub use options::{Durability, Options, WriteOptions};
pub use range::KeyRange;
pub use scan::{Entry, Scan};

/// The commit order of a record: one counter for the database, never reused, from 1.
pub type Seq = u64;
