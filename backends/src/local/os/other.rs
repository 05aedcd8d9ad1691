//! Windows, and platforms on which std alone decides what works.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::Path;

/// Folders are not synced: a deletion may come back.
pub(crate) const FOLDERS_SYNC: bool = false;
/// std locks files here, or says that it cannot.
pub(crate) const LOCKS: bool = true;

/// Options that create files.
pub(crate) fn open_options() -> OpenOptions {
    OpenOptions::new()
}

/// Creates one folder.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().create(path)
}

/// Does nothing: std has no way to sync a folder here.
pub(crate) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Writes what it can of the first part at `offset`.
pub(crate) fn write_at(file: &File, parts: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
    match parts.first() {
        Some(part) => positioned::write(file, part, offset),
        None => Ok(0),
    }
}

/// There is no such write.
pub(crate) fn write_at_durably(_file: &File, _parts: &[IoSlice<'_>], _offset: u64) -> Option<io::Result<usize>> {
    None
}

/// Makes a file's bytes and length durable.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// Reads into the spare capacity of `buffer`, from `offset` on; 0 is the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    let filled = buffer.len();
    buffer.resize(buffer.capacity(), 0);
    let read = positioned::read(file, &mut buffer[filled..], offset);
    buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
    read
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

/// Gives the file `temp` the name `path` too, which must not exist.
pub(crate) fn publish(temp: &Path, path: &Path) -> io::Result<()> {
    std::fs::hard_link(temp, path)
}

#[cfg(windows)]
mod positioned {
    use super::*;
    use std::os::windows::fs::FileExt;

    pub(super) fn write(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        file.seek_write(data, offset)
    }

    pub(super) fn read(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
        file.seek_read(into, offset)
    }
}

#[cfg(not(windows))]
mod positioned {
    use super::*;

    pub(super) fn write(_file: &File, _data: &[u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn read(_file: &File, _into: &mut [u8], _offset: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
