//! Halite: an async key-value engine that is as fast as a Bitcask while memory lasts, and works on any backend.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod batch;
mod builder;
mod clock;
mod commit;
mod compaction;
mod core;
mod cursor;
mod db;
mod error;
mod format;
mod get;
mod hash;
mod keydir;
mod memtable;
mod options;
mod publish;
mod random;
mod range;
mod recovery;
mod retire;
mod scan;
mod seal;
mod segment;
mod shutdown;
mod stats;
mod tasks;
mod timers;
mod verify;
mod version;
mod versions;

pub use batch::WriteBatch;
pub use builder::Builder;
pub use clock::{Clock, SystemClock};
pub use compaction::CompactReport;
pub use db::Db;
pub use error::{Error, ErrorKind, Result};
pub use halite_backends as backends;
pub use options::{Durability, Options, WriteOptions};
pub use range::KeyRange;
pub use scan::{Entry, Scan};
pub use stats::{MemtableNode, RunNode, SegmentNode, Stats, Tree};
pub use verify::{Damage, VerifyReport};

/// The commit order of a record: one counter for the database, never reused, from 1.
pub type Seq = u64;
