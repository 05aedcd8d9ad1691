//! Read-only maps of files that no longer change.
#![allow(unsafe_code)]

use bytes::Bytes;
use memmap2::MmapOptions;
use std::fs::File;

/// The first `len` bytes of `file`, shared; `None` where the system cannot map it.
///
/// The caller has seen that the file is `len` bytes long and that its writer has finished it. The bytes outlive the
/// file's name and its descriptor. (No `madvise`: point reads would like less read-ahead, scans and the loading of an
/// index would pay for it, and the kernel's own guess serves both well once pages are cached.)
pub(crate) fn map(file: &File, len: usize) -> Option<Bytes> {
    if len == 0 {
        return Some(Bytes::new());
    }
    // SAFETY: the map is read-only and private to us. Rust needs its bytes not to change and not to vanish while they
    // are borrowed; the engine maps only finished files, which no Halite process writes, cuts or reuses again, and
    // deleting a name leaves the mapped file alive. Someone who truncates a store's files by other means gets SIGBUS,
    // as from every database that maps files; the files are readable and writable by their owner only.
    let map = unsafe { MmapOptions::new().len(len).map(file) }.ok()?;
    Some(Bytes::from_owner(map))
}
