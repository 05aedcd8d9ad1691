//! Linux, macOS and the BSDs.

use crate::planted::{Bug, planted};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Deletions become durable when their folder is synced.
pub(crate) const FOLDERS_SYNC: bool = true;
/// `flock` keeps other processes out.
pub(crate) const LOCKS: bool = true;

/// Options that create files only their owner can use.
pub(crate) fn open_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Creates one folder that only its owner can use.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if planted(Bug::FolderNotSynced) {
        return Ok(());
    }
    match File::open(path)?.sync_all() {
        // Some network and user-space file systems know no such call for folders. There is nothing better to do there.
        Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::INVAL | Errno::OPNOTSUPP)) => Ok(()),
        result => result,
    }
}

/// Writes what it can of `parts` at `offset`.
pub(crate) fn write_at(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pwritev(file, parts, offset)?)
}

/// Writes what it can of `parts` at `offset`, and makes just that durable; `None` where the system cannot.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn write_at_durably(file: &File, parts: &[IoSlice<'_>], offset: u64) -> Option<io::Result<usize>> {
    match rustix::io::pwritev2(file, parts, offset, rustix::io::ReadWriteFlags::DSYNC) {
        // Kernels before 4.7, emulated ones, and file systems that know no such flag.
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => None,
        result => Some(result.map_err(io::Error::from)),
    }
}

/// Writes what it can of `parts` at `offset`, and makes just that durable; `None` where the system cannot.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn write_at_durably(_file: &File, _parts: &[IoSlice<'_>], _offset: u64) -> Option<io::Result<usize>> {
    None
}

/// Makes a file's bytes and length durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Reads into the spare capacity of `buffer`, from `offset` on; 0 is the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pread(file, rustix::buffer::spare_capacity(buffer), offset)?)
}

/// Reads into `buffer`, from `offset` on, what the system has in memory; `None` where it would have to wait, or cannot tell.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn read_at_once(file: &File, buffer: &mut [u8], offset: u64) -> Option<usize> {
    rustix::io::preadv2(file, &mut [io::IoSliceMut::new(buffer)], offset, rustix::io::ReadWriteFlags::NOWAIT).ok()
}

/// Reads into `buffer`, from `offset` on, what the system has in memory; `None` where it would have to wait, or cannot tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn read_at_once(_file: &File, _buffer: &mut [u8], _offset: u64) -> Option<usize> {
    None
}

/// Disk space that a file takes behind its end.
pub(crate) fn space_behind(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(meta).saturating_mul(512).saturating_sub(meta.len())
}

/// Sets disk space aside for `offset..offset + len` without changing the file's length; false where the file system
/// cannot.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn allocate(file: &File, offset: u64, len: u64) -> io::Result<bool> {
    loop {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sets disk space aside for `offset..offset + len` without changing the file's length; false where the file system
/// cannot.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn allocate(_file: &File, _offset: u64, _len: u64) -> io::Result<bool> {
    Ok(false)
}

/// Gives the file `temp` the name `path` too (or instead), which must not exist.
pub(crate) fn publish(temp: &Path, path: &Path) -> io::Result<()> {
    let linked = std::fs::hard_link(temp, path);
    match &linked {
        // FAT and some network and user-space file systems have no links; most of them can rename exclusively.
        Err(error) if cannot_link(error) => rename_exclusively(temp, path, linked),
        _ => linked,
    }
}

fn cannot_link(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_exclusively(temp: &Path, path: &Path, otherwise: io::Result<()>) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, temp, CWD, path, RenameFlags::NOREPLACE) {
        Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => otherwise,
        result => result.map_err(io::Error::from),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_exclusively(_temp: &Path, _path: &Path, otherwise: io::Result<()>) -> io::Result<()> {
    otherwise
}
