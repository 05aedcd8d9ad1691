//! Touches memory that is about to be read, many places at once.
//!
//! Who reads records that lie all over memory, one after the other, waits for each; loads that do not depend on each other
//! wait together. So a walk that knows where its next records lie has a byte of each of their cache lines loaded first.

use std::hint::black_box;

/// What memory comes in.
pub(crate) const LINE_LEN: usize = 64;
/// Of a longer record the rest comes by itself: lines that follow each other are fetched ahead.
pub(crate) const LEN_MAX: usize = 4 * LINE_LEN;

/// Loads a byte of each cache line of `places`, of each no more than [`LEN_MAX`] bytes.
#[inline]
pub(crate) fn touch<'a>(places: impl Iterator<Item = &'a [u8]>) {
    let touch = |sum, place: &[u8]| {
        let place = &place[..place.len().min(LEN_MAX)];
        let last = place.last().copied().unwrap_or_default();
        place.iter().step_by(LINE_LEN).fold(sum ^ last, |sum, byte| sum ^ byte)
    };
    black_box(places.fold(0, touch));
}

/// How many records a walk touches ahead: the more the longer it goes on, as it may end with each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead(usize);

/// At first.
const FIRST: usize = 4;

impl Ahead {
    /// No more at once: some lines of each are about as much as a core can wait for at a time.
    pub(crate) const MAX: usize = 16;

    pub(crate) fn new() -> Ahead {
        Ahead(FIRST)
    }

    /// How many this time.
    #[inline]
    pub(crate) fn next(&mut self) -> usize {
        let count = self.0;
        self.0 = (2 * count).min(Ahead::MAX);
        count
    }
}
