//! Syncs of a growing file that nobody has asked for yet, in the background, so that the one that is asked for has little
//! left to do: the disk is at work while more is written.
//!
//! # Guarantees
//! 1. Nothing is told to be durable because of them, and they keep nobody waiting. What fails is left to the appender's own
//!    sync to find: the kernel reports a failed write-back once to each handle, and they have one that is not the appender's.

use super::{blocking, os};
use std::fs::File;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Bytes appended from one to the next: some milliseconds of a quick disk.
const STEP: u64 = 4 * 1024 * 1024;

/// The early syncs of one appender.
#[derive(Debug)]
pub(crate) struct Early {
    file: Arc<File>,
    /// What lies below was synced, or a sync of it was begun.
    begun: u64,
    under_way: Option<JoinHandle<()>>,
}

impl Early {
    /// None is under way. `file` is a handle that is not the appender's.
    pub(crate) fn new(file: Arc<File>) -> Early {
        Early { file, begun: 0, under_way: None }
    }

    /// Takes note of an append that ends at `len`, and begins a sync where much was appended without one and none is under
    /// way.
    pub(crate) fn after_append(&mut self, len: u64, synced: bool) {
        if synced {
            self.begun = len;
        }
        let is_busy = self.under_way.as_ref().is_some_and(|sync| !sync.is_finished());
        if len.saturating_sub(self.begun) < STEP || is_busy {
            return;
        }
        let file = self.file.clone();
        self.under_way = blocking::start(move || {
            let _ = os::sync_data(&file);
        });
        self.begun = len;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn one_is_begun_where_much_was_appended_without_one() {
        let mut early = Early::new(Arc::new(File::open(std::env::current_exe().unwrap()).unwrap()));
        let mut begun_after = |len, synced| {
            let before = early.begun;
            early.after_append(len, synced);
            (early.begun > before).then_some(early.under_way.is_some())
        };
        assert_eq!(begun_after(STEP - 1, false), None);
        assert_eq!(begun_after(STEP, true), Some(false), "the append was synced itself");
        assert_eq!(begun_after(2 * STEP - 1, false), None);
        assert_eq!(begun_after(2 * STEP, false), Some(true));
        early.under_way.take().unwrap().await.unwrap();
        // While one is under way no other begins.
        early.under_way = Some(tokio::spawn(std::future::pending()));
        early.after_append(9 * STEP, false);
        assert_eq!(early.begun, 2 * STEP);
    }
}
