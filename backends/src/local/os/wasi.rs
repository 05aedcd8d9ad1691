//! WASI, preview 1 and 2: std's files, and three calls of its libc that std does not offer there.
//!
//! There are no locks, no maps and no threads. A vectored write takes only its first buffer, so callers pass one.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use std::path::Path;

/// Under preview 1 folders cannot be synced: a deletion may always come back.
pub(crate) const FOLDERS_SYNC: bool = cfg!(target_env = "p2");
/// There are no file locks.
pub(crate) const LOCKS: bool = false;

unsafe extern "C" {
    fn pread(fd: c_int, buffer: *mut c_void, len: usize, offset: i64) -> isize;
    fn pwrite(fd: c_int, buffer: *const c_void, len: usize, offset: i64) -> isize;
    fn fdatasync(fd: c_int) -> c_int;
}

/// Options that create files.
pub(crate) fn open_options() -> OpenOptions {
    OpenOptions::new()
}

/// Creates one folder.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Makes the names in a folder durable. Preview 1 syncs files only, and answers `EBADF` for a folder: see `publish`.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if FOLDERS_SYNC { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Writes what it can of the first part at `offset`.
pub(crate) fn write_at(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    let Some(part) = parts.first() else { return Ok(0) };
    let offset = position(offset)?;
    // SAFETY: `part` is readable for its whole length during the call, and the descriptor is open: `file` is borrowed.
    let written = unsafe { pwrite(file.as_raw_fd(), part.as_ptr().cast(), part.len(), offset) };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// There is no such write.
pub(crate) fn write_at_durably(_file: &File, _parts: &[IoSlice<'_>], _offset: u64) -> Option<io::Result<usize>> {
    None
}

/// Makes a file's bytes and length durable. (std's `sync_data` takes the dearer `fd_sync`.)
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open: `file` is borrowed. No memory is involved.
    match unsafe { fdatasync(file.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reads into the spare capacity of `buffer`, from `offset` on; 0 is the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    let offset = position(offset)?;
    let spare = buffer.spare_capacity_mut();
    // SAFETY: `spare` is writable for its whole length during the call, and the descriptor is open: `file` is borrowed.
    let read = unsafe { pread(file.as_raw_fd(), spare.as_mut_ptr().cast(), spare.len(), offset) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: `pread` has initialized the first `read` bytes of the spare capacity, which is at least that long.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}

/// Nobody tells what is in memory.
pub(crate) fn read_at_once(_file: &File, _buffer: &mut [u8], _offset: u64) -> Option<usize> {
    None
}

/// Disk space that a file takes behind its end: none is set aside here.
pub(crate) fn space_behind(_meta: &std::fs::Metadata) -> u64 {
    0
}

/// Nothing to set aside with.
pub(crate) fn allocate(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// Gives the file `temp` the name `path` too, which must not exist. Where folders cannot be synced, it syncs the file anew:
/// its number of names has changed, and file systems that keep a journal (ext4, XFS, Btrfs) make the new name durable along
/// with that.
pub(crate) fn publish(temp: &Path, path: &Path) -> io::Result<()> {
    std::fs::hard_link(temp, path)?;
    if FOLDERS_SYNC { Ok(()) } else { File::open(path)?.sync_all() }
}

fn position(offset: u64) -> io::Result<i64> {
    i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}
