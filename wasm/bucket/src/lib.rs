//! Buckets: parts of a Halite store that guests are given, by name, with rights and quotas.
//!
//! What `wasi:keyvalue` and `halite:store` offer to WebAssembly, without WebAssembly: the host's plugin and the guest's
//! component are thin coats on it, and so mean the same.
//!
//! - [`Bucket`]: all keys of a database that begin with some bytes, which the bucket's own keys leave out.
//! - [`Buckets`]: what one guest may open, by the names it knows.
//! - [`Quota`]: how much a bucket may hold.
//! - [`Scan`], [`Snapshot`], [`Transaction`], [`Cas`]: as the database has them, within a bucket.
//! - [`Cursors`], [`Cursor`], [`Bucket::list_keys`]: listing keys page by page, as text.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod bucket;
mod buckets;
mod cas;
mod error;
mod keys;
mod pages;
mod quota;
#[cfg(test)]
mod tests;
mod text;
mod views;
mod words;

pub use bucket::{Bucket, Write};
pub use buckets::Buckets;
pub use cas::{Cas, Swap};
pub use error::{Error, Result};
pub use halite::Ttl;
pub use keys::Keys;
pub use pages::{Cursor, Cursors, Page};
pub use quota::{Quota, Usage};
pub use views::{Record, Scan, Snapshot, Transaction};
