//! What each operating system calls differently, behind one set of functions.
//!
//! | function | unix | WASI | elsewhere |
//! | --- | --- | --- | --- |
//! | `write_at` | `pwritev` | `pwrite` of one buffer | `seek_write` (Windows) |
//! | `write_at_durably` | `pwritev2(RWF_DSYNC)` (Linux) | - | - |
//! | `read_at` | `pread` | `pread` | `seek_read` (Windows) |
//! | `read_at_once` | `preadv2(RWF_NOWAIT)` (Linux) | - | - |
//! | `sync_data` | `fdatasync` | `fdatasync` (std would `fsync`) | std |
//! | `allocate` | `fallocate(KEEP_SIZE)` (Linux) | - | - |
//! | `space_behind` | from `st_blocks` | - | - |
//! | `sync_folder` | `fsync` | `fsync` on wasip2; nothing on wasip1, where a folder cannot be synced | nothing |
//! | `publish` | `link`, or `renameat2(NOREPLACE)` | `link`, on wasip1 then `fsync` of the file | `link` |
//! | `map` | `mmap` | - | as `mmap` |
//!
//! Calls return what the system returned: short writes and interruptions are the callers' affair.

#[cfg(not(target_family = "wasm"))]
mod map;
#[cfg(not(any(unix, target_os = "wasi")))]
mod other;
#[cfg(unix)]
mod unix;
#[cfg(target_os = "wasi")]
mod wasi;

#[cfg(not(target_family = "wasm"))]
pub(crate) use map::map;
#[cfg(not(any(unix, target_os = "wasi")))]
pub(crate) use other::*;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(target_os = "wasi")]
pub(crate) use wasi::*;

/// There is no shared memory to map files into.
#[cfg(target_family = "wasm")]
pub(crate) fn map(_file: &std::fs::File, _len: usize) -> Option<bytes::Bytes> {
    None
}
