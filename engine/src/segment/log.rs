//! Reads the records of a segment in the order of its file, which in a dense segment is that of their commits.

use super::reader::Segment;
use super::window::Window;
use crate::Result;
use crate::format::frame::{Frame, Record};
use crate::format::header::HEADER_LEN;
use crate::turn::Turn;
use bytes::Bytes;
use std::sync::Arc;

/// Goes from record to record.
#[derive(Debug)]
pub(crate) struct LogReader {
    segment: Arc<Segment>,
    window: Window,
    at: u64,
}

impl LogReader {
    /// Stands before the first record of `segment`.
    pub(crate) fn new(segment: Arc<Segment>) -> LogReader {
        LogReader { segment, window: Window::new(), at: HEADER_LEN as u64 }
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// What `take` makes of the next record, its offset in the file, and a way to share parts of it; `None` behind the
    /// last record.
    ///
    /// # Errors
    /// `Corruption` where there is damage, and what the backend fails with: the reader stays where it was.
    pub(crate) async fn next<T>(
        &mut self,
        turn: &mut Turn,
        take: impl FnOnce(u64, &Record<'_>, &dyn Fn(&[u8]) -> Bytes) -> T,
    ) -> Result<Option<T>> {
        let segment = &*self.segment;
        segment.opened().await?;
        while self.at < segment.footer().records_end() {
            self.window.load(segment, self.at).await?;
            let frame = self.window.decode(&segment.stream(), self.at, turn).await;
            let frame = frame.map_err(|damage| segment.corrupt(damage))?;
            let at = self.at;
            self.at += frame.len() as u64;
            if let Frame::Record(record) = frame {
                return Ok(Some(take(at, &record, &|part| self.window.share(part))));
            }
        }
        Ok(None)
    }
}
