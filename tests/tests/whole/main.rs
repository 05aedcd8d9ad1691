//! The tests of the whole of Halite, in one program.
//!
//! One module for each subject, each of which opens with what it shows; `cargo test -p halite-tests --test whole damage::`
//! runs one. They share a program because each further one is compiled and linked with all of the engine. Only what needs a
//! process of its own, with an allocator that counts, or servers, lies beside.

mod cancel;
mod changes;
mod checkpoints;
mod clocks;
mod compaction;
mod copies;
mod crashes;
mod damage;
mod differential;
mod endings;
mod faults;
mod fencing;
mod full_disk;
mod fuzz;
mod in_flight;
mod input;
mod leftovers;
mod liars;
mod memory;
mod misreads;
mod objects;
mod outside;
mod panics;
mod past;
mod pipeline;
#[cfg(feature = "planted")]
mod planted;
mod protocol;
mod purposes;
mod range_deletes;
mod readers;
mod repair;
mod requests;
mod serializable;
mod simulation;
mod snapshots;
mod space;
mod tiers;
mod transactions;
mod watch;
