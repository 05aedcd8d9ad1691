//! Halite: an async key-value engine that is as fast as a Bitcask while memory lasts, and works on any backend.
//!
//! Open a [`Db`], from a path or on a [`backends::Backend`]; [`put`](Db::put), [`get`](Db::get), [`delete`](Db::delete),
//! write [batches](WriteBatch), [scan](Db::scan). What `Ok` means is chosen by [`Durability`], for the database or for each
//! write.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> halite::Result<()> {
//! let db = halite::Db::open("mem:").await?;
//! db.put("key", "value").await?;
//! assert_eq!(db.get("key").await?.as_deref(), Some(&b"value"[..]));
//! db.close().await
//! # }
//! ```
//!
//! ```text
//! put ─▶ queue ─▶ committer ─▶ log ─▶ sealed segments ─▶ merges
//!          │                              │
//!          └─▶ memtable      keydir ◀─────┘
//!                  └──── get ────┘
//! ```
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod batch;
pub mod blocking;
mod budget;
mod builder;
mod checkpoint;
mod clock;
mod collect;
mod commit;
mod compaction;
mod copy;
mod core;
mod cost;
mod cover;
mod cursor;
mod db;
mod dead;
mod error;
mod format;
#[doc(hidden)]
pub mod fuzzing;
mod get;
mod hash;
pub mod inspect;
mod keydir;
mod lifetime;
mod listing;
mod memtable;
mod meters;
mod options;
mod patience;
mod pipeline;
#[doc(hidden)]
pub mod protocol;
mod publish;
mod random;
mod range;
mod reader;
mod recovery;
mod repair;
mod reread;
mod residency;
mod retire;
mod scan;
mod seal;
mod segment;
mod shutdown;
mod snapshot;
mod stats;
mod stores;
mod sync;
mod tasks;
mod timers;
mod touch;
mod turn;
mod txn;
mod typed;
mod value;
mod verify;
mod version;
mod versions;
mod warm;
mod watch;

pub use batch::WriteBatch;
pub use builder::Builder;
pub use checkpoint::{Checkpoint, CheckpointOptions};
pub use clock::{Clock, SystemClock};
pub use collect::{Superfluous, Why};
pub use compaction::{CompactOptions, CompactReport, MergeProgress};
pub use copy::{CopyReport, ShipOptions};
pub use cost::{Cost, Prices};
pub use db::Db;
pub use error::{Error, ErrorKind, Result};
pub use format::digest::Digest;
pub use halite_backends as backends;
pub(crate) use halite_backends::planted;
pub use lifetime::Ttl;
pub use meters::Latencies;
pub use options::{Compression, Durability, Limits, Options, WriteOptions};
pub use range::KeyRange;
pub use reader::ReadOnly;
pub use repair::{Loss, RepairReport, repair};
pub use scan::{Entry, Scan};
pub use snapshot::Snapshot;
pub use stats::{MemtableNode, RunNode, SegmentNode, Stats, Tree};
pub use txn::{Isolation, Transaction, TransactionOptions, TransactionScan};
pub use typed::{AsKey, Collection, Entries, Key, KeyBounds, KeyError, Keys, PrefixOf, Reader};
pub use verify::{Anchor, Damage, VerifyOptions, VerifyProgress, VerifyReport};
pub use warm::{WarmOptions, WarmReport};
pub use watch::{Change, Commit, Watch};

/// The commit order of a record: one counter for the database, never reused, from 1.
pub type Seq = u64;

/// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
