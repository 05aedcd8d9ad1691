//! Where Halite keeps its data: the [`Backend`] trait, its conformance suite, and the backends.
//!
//! A backend stores named byte sequences ("files" or "objects") and promises little: a name can be created exactly
//! once, what was synced stays, and a list shows what is there. The engine builds everything else on that.
#![deny(missing_docs, unsafe_code)]

mod apart;
pub mod backend;
mod bounds;
mod cached;
pub mod conformance;
mod error;
mod limit;
mod local;
mod machine;
mod memory;
#[cfg(all(feature = "opendal", not(target_family = "wasm")))]
mod objects;
mod path;
#[doc(hidden)]
pub mod planted;
pub mod simulated;
mod tiered;
// What counts is for object stores, which not every build has.
#[cfg_attr(not(all(feature = "opendal", not(target_family = "wasm"))), allow(dead_code))]
mod traffic;
mod uri;

pub use apart::LogApart;
pub use backend::{Appender, Backend, Capabilities, KEPT_READ_MAX, Lock, Meta, Object, Shared, Uploader};
pub use bounds::checked_len;
pub use cached::{CacheStats, Cached};
pub use error::{Error, ErrorKind, Result};
pub use limit::{Admitted, Limit, Limiter};
pub use local::Local;
pub use machine::machine_memory;
pub use memory::Memory;
#[cfg(all(feature = "opendal", not(target_family = "wasm")))]
pub use objects::{Objects, ObjectsOptions};
#[cfg(all(feature = "opendal", not(target_family = "wasm")))]
pub use opendal;
pub use path::Path;
pub use simulated::{Fault, Repeat, Simulated, SimulatedOptions, Spoil, Step};
pub use tiered::Tiered;
pub use traffic::{Purpose, RequestKind, Requests, Traffic};
pub use uri::{open_uri, shown_uri};

pub(crate) use path::in_folder;
