//! Checks the range a reader asks for, before anything is allocated for it.

use crate::{Error, ErrorKind, Path, Result};
use std::ops::Range;

/// The length of `range` in memory, if it lies within an object of `len` bytes: what each [`Object::read`](crate::Object::read)
/// asks first.
///
/// ```
/// use halite_backends::{ErrorKind, Path, checked_len};
/// let path = Path::new("segments/1")?;
/// assert_eq!(checked_len(&path, &(3..5), 10)?, 2);
/// assert_eq!(checked_len(&path, &(3..11), 10).unwrap_err().kind(), ErrorKind::UnexpectedEof);
/// # Ok::<(), halite_backends::Error>(())
/// ```
///
/// # Errors
/// `InvalidInput` where the range ends before it begins, or memory cannot hold it; `UnexpectedEof` where the object ends
/// before the range does.
pub fn checked_len(path: &Path, range: &Range<u64>, len: u64) -> Result<usize> {
    let Range { start, end } = *range;
    let refuse = |kind, what| {
        let message = format!("{what} range={start}..{end} len={len}");
        Err(Error::new(kind, "read", path, message))
    };
    if start > end {
        return refuse(ErrorKind::InvalidInput, "the range ends before it begins");
    }
    if end > len {
        return refuse(ErrorKind::UnexpectedEof, "the object is shorter");
    }
    usize::try_from(end - start).or_else(|_| refuse(ErrorKind::InvalidInput, "more than memory can hold"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_within_the_object_or_is_refused() {
        let path = Path::new("a").expect("valid");
        let kind = |range, len| checked_len(&path, &range, len).map_err(|e| e.kind());
        assert_eq!(kind(0..0, 0), Ok(0));
        assert_eq!(kind(2..5, 5), Ok(3));
        assert_eq!(kind(2..6, 5), Err(ErrorKind::UnexpectedEof));
        assert_eq!(kind(u64::MAX..u64::MAX, 5), Err(ErrorKind::UnexpectedEof));
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = 3..2;
        assert_eq!(kind(reversed, 5), Err(ErrorKind::InvalidInput));
    }
}
