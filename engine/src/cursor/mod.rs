//! Cursors over more than one segment: over a run, over a memtable's range, and over all of these at once.
//!
//! Cursors are synchronous. A step that lacks bytes says which, and whoever drives the cursor fetches them; where all
//! is mapped that never happens.

mod ahead;
mod memory;
mod merge;
mod merged;
mod run;

#[cfg(test)]
mod tests;

pub(crate) use ahead::Extent;
pub(crate) use merge::{Loaded, Merge, Move, Need, Source};
pub(crate) use merged::{Merged, twice};
