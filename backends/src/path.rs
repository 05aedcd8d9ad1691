//! The name of a file or object inside a backend.

use crate::{Error, ErrorKind, Result};
use std::fmt;

/// A relative name such as `segments/0000000001-8f3a-0000000007`: one or more parts joined by `/`.
///
/// A part consists of `a-z`, `0-9`, `-`, `_` and `.`, and is neither empty nor begins with a dot, so a path means the
/// same on every backend, on case-insensitive file systems too, and never leaves its store. User keys never become
/// paths.
///
/// ```
/// use halite_backends::Path;
/// let path = Path::new("segments/0001")?;
/// assert_eq!((path.folder(), path.file_name()), ("segments", "0001"));
/// assert!(Path::new("../etc/passwd").is_err());
/// # Ok::<(), halite_backends::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Box<str>);

impl Path {
    /// The longest path accepted, in bytes.
    pub const LEN_MAX: usize = 240;

    /// Checks `name` and wraps it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] where a part is empty, begins with a dot or holds another character, or where the
    /// whole is longer than [`Path::LEN_MAX`].
    pub fn new(name: impl Into<String>) -> Result<Path> {
        let name = name.into();
        let part_is_fine = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
        };
        if name.len() > Path::LEN_MAX || !name.split('/').all(part_is_fine) {
            return Err(Error::new(ErrorKind::InvalidInput, "name", &name, "not a valid path"));
        }
        Ok(Path(name.into_boxed_str()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder part: all before the last `/`, or `""`.
    pub fn folder(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }
}

/// Whether a list of `folder` shows `path`.
pub(crate) fn in_folder(path: &Path, folder: &str) -> bool {
    folder.is_empty() || path.0.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_plain_names_and_refuses_the_rest() {
        for good in ["a", "manifest/0001", "log/1-2/3", "a.b_c-d"] {
            assert!(Path::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "A", "a b", "a\\b", "ü"] {
            assert!(Path::new(bad).is_err(), "{bad}");
        }
        assert!(Path::new("a".repeat(Path::LEN_MAX + 1)).is_err());
        let path = Path::new("log/1/2").expect("valid");
        assert_eq!((path.folder(), path.file_name()), ("log/1", "2"));
    }
}
