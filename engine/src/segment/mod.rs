//! Sealed segments: how they are written, read, walked in key order, and verified.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`index`] | builds what stands behind the frames |
//! | [`tail`] | seals a log in place: appends that to it |
//! | [`room`] | how much that can be, at most |
//! | [`sorted`] | writes a new segment in key order |
//! | [`hashed`] | writes files and computes their digests |
//! | [`files`] | what all segments have in common |
//! | [`opened`] | opening |
//! | [`reader`] | one record; the hints |
//! | [`lookup`] | one key, by filter and index |
//! | [`filters`] | how good filters are made |
//! | [`cache`] | what lookups have read where nothing is mapped |
//! | [`cursor`] | a range of keys |
//! | [`log`] | all records in the order of the file |
//! | [`verify`] | everything |
//! | [`walks`] | what walks take of memory |
//! | [`warm`] | what reads will need, before they come |
//!
//! # Guarantees
//! 1. What is returned had its checksum compared, and stands where manifest, footer, index and hints said.
//! 2. Damage is an error that names the file and the offset in it.
//! 3. Where the backend maps, records are read without an await, a copy or an allocation.

mod cache;
mod cursor;
mod files;
pub(crate) mod filters;
mod frames;
mod hashed;
mod index;
mod log;
mod lookup;
mod opened;
mod reader;
mod room;
mod sorted;
mod tail;
mod verify;
mod walks;
mod warm;
mod window;

#[cfg(test)]
mod document;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use cursor::{SegmentCursor, Step, ValueAt};
pub(crate) use files::Files;
pub(crate) use hashed::{LogFile, Upload};
pub(crate) use log::LogReader;
pub(crate) use lookup::{FilterInHand, Lookup};
pub(crate) use reader::{MISSING, MappedRecord, OwnedRecord, Segment};
pub(crate) use room::TailRoom;
pub(crate) use sorted::SortedWriter;
pub(crate) use tail::{DenseEntry, Tail, TailBuilder};
pub(crate) use verify::{Findings, what_of};
pub(crate) use walks::Loan;
pub(crate) use warm::SEGMENTS_WARMED_AT_ONCE;
pub(crate) use window::decode_frame;

/// Bytes that are checksummed or decoded before other tasks get their turn: well below a millisecond of work.
const BYTES_PER_TURN: usize = 1 << 20;
