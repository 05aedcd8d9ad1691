//! The store's exclusive lock: `flock` on the file `LOCK`, which the system releases when the process ends.
//!
//! The file is never removed: a lock on a name that is removed and made again is two locks.

use super::os;
use crate::{Error, ErrorKind, Lock, Result};
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

pub(super) const NAME: &str = "LOCK";

#[derive(Debug)]
struct Held {
    /// Holds the lock as long as it is open.
    _file: File,
}

impl Lock for Held {}

/// Takes the lock of the store in `root`, or says who holds it.
pub(crate) fn take(root: &Path) -> Result<Box<dyn Lock>> {
    let place = root.display();
    if !os::LOCKS {
        let message = "this platform has no file locks: see to it that only one process writes";
        return Err(Error::new(ErrorKind::Unsupported, "lock", place, message));
    }
    let options = || os::open_options().read(true).write(true).create(true).truncate(false).open(root.join(NAME));
    let mut file = options().map_err(|error| Error::io("lock", &place, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} has it open; close that one first", holder(&mut file));
            return Err(Error::new(ErrorKind::InUse, "lock", place, message));
        }
        Err(TryLockError::Error(error)) => return Err(Error::io("lock", place, error)),
    }
    // For the message above only, so a failure does not matter.
    let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(Box::new(Held { _file: file }))
}

/// Who wrote its number into the lock file; it may have ended since, or just be about to write.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let number = file.take(20).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    match number {
        Some(id) if id == std::process::id() => "this very process".into(),
        Some(id) => format!("the process {id}"),
        None => "another process".into(),
    }
}
