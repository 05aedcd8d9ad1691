//! Turns: a long loop lets other tasks go on before it has computed for a millisecond.

/// Records looked at in one turn.
const RECORDS: usize = 1024;
/// Bytes of them that are copied or checksummed in one turn.
const BYTES: usize = 1 << 20;

/// What a loop has done in its turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    records: usize,
    bytes: usize,
}

impl Turn {
    /// Counts a record, of which `bytes` bytes were looked at. True if others have had their turn.
    pub(crate) async fn take(&mut self, bytes: usize) -> bool {
        self.records += 1;
        self.bytes += bytes;
        let is_over = self.records >= RECORDS || self.bytes >= BYTES;
        if is_over {
            *self = Turn::default();
            tokio::task::yield_now().await;
        }
        is_over
    }
}
