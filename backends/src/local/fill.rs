//! Zeros written ahead of a growing file's end, in the background.
//!
//! A synced write that makes a file longer, or that lands in space never written before, costs a journal commit on top
//! of the write itself; one into space whose zeros are on disk already costs the write alone, a fraction of that. So
//! while synced appends are small, the space ahead of them is filled with zeros, and those are synced, one step at a
//! time.
//!
//! # Guarantees
//! 1. Appends never enter space that is being filled: zeros never land on data.
//! 2. A failed fill only ends the filling; appends go on by ordinary growth.
//!
//! # Concurrency
//! One fill at a time. It has its own file handle: the kernel reports a failed write-back once to each handle, and the
//! appender's sync must not miss one because a fill has heard of it.
//!
//! # After a crash
//! The file may be longer than what was appended; the rest reads as zeros, or as nothing written yet.

use super::{blocking, os};
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Written ahead at once: some 250 synced writes of 4 KiB, and some milliseconds on a slow disk.
const STEP: u64 = 1024 * 1024;
/// One write of a fill: short, because appends wait for the file's lock meanwhile.
const PIECE: u64 = 128 * 1024;
/// Synced appends of this mean length and more gain nothing: the bytes cost more than the journal.
const SMALL: u64 = 64 * 1024;
/// Synced appends to see first: a file that gets fewer is not worth a step.
const WARM_UP: u32 = 8;

/// The zeros ahead of one appender.
#[derive(Debug)]
pub(crate) struct Fill {
    file: Arc<File>,
    /// Below this, zeros have been written and synced, or appended data lies.
    ready: u64,
    /// The fill under way, of the step above `ready`, and where it ends.
    under_way: Option<(u64, JoinHandle<io::Result<()>>)>,
    /// Mean length of recent synced appends.
    mean: u64,
    /// Synced appends so far, up to [`WARM_UP`].
    seen: u32,
    /// A fill failed, or there are no threads.
    stopped: bool,
}

impl Fill {
    /// Nothing is filled yet. `file` is a handle of the fill's own.
    pub(crate) fn new(file: Arc<File>) -> Fill {
        Fill { file, ready: 0, under_way: None, mean: 0, seen: 0, stopped: false }
    }

    /// Waits until an append that ends at `end` enters no space that is being filled.
    pub(crate) async fn make_way(&mut self, end: u64) {
        if end > self.ready || self.under_way.as_ref().is_some_and(|(_, task)| task.is_finished()) {
            self.settle().await;
        }
    }

    /// Waits for the fill under way, if any.
    ///
    /// Dropped before it is ready, it changes nothing: the fill stays under way.
    pub(crate) async fn settle(&mut self) {
        if let Some((end, task)) = &mut self.under_way {
            let filled = matches!(task.await, Ok(Ok(())));
            if filled {
                self.ready = *end;
            }
            self.stopped |= !filled;
            self.under_way = None;
        }
    }

    /// Takes note of a finished append, and starts a fill where that pays.
    pub(crate) fn after_append(&mut self, len: u64, bytes: u64, synced: bool) {
        self.ready = self.ready.max(len);
        if !synced {
            return;
        }
        self.mean = if self.seen == 0 { bytes } else { self.mean - self.mean / 8 + bytes / 8 };
        self.seen = WARM_UP.min(self.seen + 1);
        if let Some(range) = self.wanted(len) {
            let file = self.file.clone();
            let end = range.end;
            match blocking::start(move || fill(&file, range)) {
                Some(task) => self.under_way = Some((end, task)),
                None => self.stopped = true,
            }
        }
    }

    /// The file has been cut to `len`; no fill is under way.
    pub(crate) fn after_truncate(&mut self, len: u64) {
        debug_assert!(self.under_way.is_none());
        self.ready = len;
    }

    /// What to fill next, where the end of the data is `len`.
    fn wanted(&self, len: u64) -> Option<Range<u64>> {
        let pays = self.seen == WARM_UP && self.mean < SMALL;
        if self.stopped || self.under_way.is_some() || !pays || self.ready - len >= STEP / 2 {
            return None;
        }
        // Whole pages, so that the next fill begins on one.
        let end = (self.ready.checked_add(STEP)?) / 4096 * 4096;
        Some(self.ready..end)
    }
}

/// Writes zeros and makes them durable.
fn fill(file: &File, range: Range<u64>) -> io::Result<()> {
    static ZEROS: [u8; PIECE as usize] = [0; PIECE as usize];
    let mut at = range.start;
    while at < range.end {
        let piece = PIECE.min(range.end - at) as usize;
        match os::write_at(file, &[IoSlice::new(&ZEROS[..piece])], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => at += written as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    os::sync_data(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A fill of a file that cannot be written to: this very program, opened for reading.
    fn read_only() -> Fill {
        Fill::new(Arc::new(File::open(std::env::current_exe().unwrap()).unwrap()))
    }

    /// What is wanted after so many synced appends, where no thread begins to fill.
    fn wanted_after(count: u64, bytes: u64) -> Option<Range<u64>> {
        let mut fill = read_only();
        (1..=count).for_each(|number| fill.after_append(number * bytes, bytes, true));
        assert!(fill.under_way.is_none());
        fill.stopped = false;
        fill.wanted(count * bytes)
    }

    #[test]
    fn frequent_small_appends_want_zeros_ahead_of_them() {
        assert_eq!(wanted_after(7, 100), None, "too few");
        assert_eq!(wanted_after(8, 100), Some(800..STEP), "to the end of a page");
        assert_eq!(wanted_after(8, 4096), Some(8 * 4096..8 * 4096 + STEP));
        assert_eq!(wanted_after(8, SMALL + 8), None, "too large");
        assert_eq!(wanted_after(100, 1_000_000), None, "too large");
        let mut fill = read_only();
        (1..=20).for_each(|number| fill.after_append(number * 100, 100, false));
        assert_eq!(fill.wanted(2000), None, "not synced");
    }

    #[test]
    fn the_next_step_is_wanted_when_less_than_half_a_step_is_left() {
        let mut fill = read_only();
        (fill.seen, fill.ready) = (WARM_UP, STEP);
        assert_eq!(fill.wanted(STEP / 2), None);
        assert_eq!(fill.wanted(STEP / 2 + 1), Some(STEP..2 * STEP));
        fill.ready = u64::MAX;
        assert_eq!(fill.wanted(u64::MAX), None, "no room for another");
    }

    #[tokio::test]
    async fn a_failed_fill_only_ends_the_filling() {
        let mut fill = read_only();
        (1..=8).for_each(|number| fill.after_append(number * 100, 100, true));
        assert!(fill.under_way.is_some());
        fill.make_way(900).await;
        assert!(fill.under_way.is_none() && fill.stopped);
        assert_eq!(fill.ready, 800);
        fill.after_append(900, 100, true);
        assert_eq!((fill.ready, fill.wanted(900)), (900, None));
    }
}
