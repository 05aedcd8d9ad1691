//! What a run may take, and the memory that it took.

use std::time::Duration;
use wasmtime::{ResourceLimiter, Result};

/// What a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory, in bytes, of all its instances together. Default: what wasm32 has, 4 GiB.
    pub memory_bytes: Option<usize>,
    /// Instructions, roughly; needs a program compiled with [`Metering::fuel`](crate::Metering::fuel). Default: no limit.
    pub fuel: Option<u64>,
    /// Time, waiting included. One that computes is stopped only if it was compiled with
    /// [`Metering::time`](crate::Metering::time). Default: no limit.
    pub time: Option<Duration>,
    /// What it may print, in bytes, on each of its two outputs; it is stopped at more. Default: 64 MiB.
    pub output_bytes: usize,
    /// What it may hold of its host at once: files, buckets, scans, snapshots, transactions. (Of the latter each may hold
    /// 64 MiB of the host's memory.) Default: 10 000.
    pub handles: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: None, fuel: None, time: None, output_bytes: 64 << 20, handles: 10_000 }
    }
}

/// Keeps memory within its limit, and remembers how much there was.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    max: Option<usize>,
    /// Of all memories together; they only grow.
    pub(crate) bytes: usize,
    /// Whether more was asked for than there may be.
    pub(crate) refused: bool,
}

impl Memory {
    pub(crate) fn new(max: Option<usize>) -> Memory {
        Memory { max, ..Memory::default() }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let bytes = self.bytes.saturating_add(desired.saturating_sub(current));
        if self.max.is_some_and(|max| bytes > max) {
            self.refused = true;
            return Ok(false);
        }
        self.bytes = bytes;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, _desired: usize, _maximum: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}
