//! Turns: a long loop lets other tasks go on before it has computed for a millisecond.

use crate::format::checksum;

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

/// Bytes that are copied or checksummed without a look at the turn.
pub(crate) const PIECE: usize = 256 << 10;

/// The checksum `crc` continued by `bytes`, however many they are.
pub(crate) async fn checksum(mut crc: u32, bytes: &[u8], turn: &mut Turn) -> u32 {
    for piece in bytes.chunks(PIECE) {
        crc = checksum::append(crc, piece);
        turn.take(piece.len()).await;
    }
    crc
}

/// Appends `bytes` to `out`, which has room for them, and continues the checksum `crc` by them.
pub(crate) async fn copy_and_checksum(mut crc: u32, bytes: &[u8], out: &mut Vec<u8>, turn: &mut Turn) -> u32 {
    for piece in bytes.chunks(PIECE) {
        out.extend_from_slice(piece);
        crc = checksum::append(crc, piece);
        turn.take(2 * piece.len()).await;
    }
    crc
}
