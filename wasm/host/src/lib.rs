//! Halite under wasmtime, for programs that embed it.
//!
//! A [`Program`] is a WASI command or component, compiled once. A [`Run`] starts it on folders of the host, within
//! [`Limits`], and comes to an [`Outcome`]: how it [ended](End), what it printed, and what it took.
//!
//! ```no_run
//! # async fn example() -> wasmtime::Result<()> {
//! use halite_wasmtime::{Access, Limits, Metering, Program, Run};
//! let program = Program::load("halite.wasm", Metering::default())?;
//! let limits = Limits { memory_bytes: Some(64 << 20), ..Limits::default() };
//! let put = Run::new(&program).args(["halite", "--store", "/data", "put", "k", "v"]);
//! let outcome = put.folder("data", "/data", Access::ReadWrite)?.limits(limits).finish().await?;
//! assert!(outcome.end.is_success(), "{}", outcome.err);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_op_in_unsafe_fn)]
#![deny(missing_docs)]

mod bounded;
mod limits;
pub mod plugin;
mod program;
mod run;

pub use bounded::Bounded;
pub use halite_bucket as bucket;
pub use limits::Limits;
pub use program::{Metering, Program};
pub use run::{Access, End, Outcome, Output, Run};
pub use wasmtime;
