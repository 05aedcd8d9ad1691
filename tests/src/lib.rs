//! What only the whole of Halite can show: a model and a seeded workload that every test of crashes, faults and
//! schedules shares.
//!
//! - [`ops`]: what a run does, as plain data drawn from a seed; [`trouble`]: what goes wrong in it; both as [`text`].
//! - [`history`]: the model, and what may be left of it after a crash.
//! - [`world`]: a store, its clock and its history, and how databases are opened on it.
//! - [`kept`]: the checkpoints that should be there, and what they should show.
//! - [`play`]: runs operations against the engine and the model at once.
//! - [`examine`]: opens an image of a crashed store, or what a run has left, and judges what it finds.
//! - [`scenario`]: short stories, each played with a crash or an error at every one of its I/O steps.
//! - [`simulation`]: whole runs from seeds, each a [`case`] with a [`setup`], counted in [`figures`], and reduced by
//!   [`shrink`] where they fail.
//! - [`suites`]: those that run under WASI too.
//! - [`elle`]: judges histories of transactions that ran at the same time.
//! - [`waiting`]: stores of the real world, for tests in virtual time; [`far`]: any store, at a distance; `proxy`: the
//!   way to a real server, on which requests go wrong.
//! - [`random`], [`clock`], [`scratch`], [`format`](mod@format): tools.
// A harness reports by panicking: its callers are tests.
#![allow(clippy::missing_panics_doc)]

pub mod case;
pub mod clock;
pub mod elle;
pub mod examine;
pub mod far;
pub mod figures;
pub mod format;
pub mod fuzz;
pub mod history;
pub mod kept;
pub mod ops;
pub mod play;
#[cfg(feature = "servers")]
pub mod proxy;
pub mod random;
pub mod scenario;
pub mod scratch;
pub mod setup;
pub mod shrink;
pub mod simulation;
pub mod suites;
pub mod text;
pub mod trouble;
pub mod waiting;
pub mod world;
