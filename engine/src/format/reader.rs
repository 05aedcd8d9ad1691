//! Reads integers and slices off the front of bytes that may be anything: `None` where they do not suffice.

use super::varint;

/// What is left to read, and how much was.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(crate) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// How many bytes have been read.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The bytes not read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A [`varint`].
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let (value, len) = varint::read(self.rest())?;
        self.at += len;
        Some(value)
    }

    /// A [`varint`] that counts bytes or items of memory and is at most `max`.
    #[inline]
    pub(crate) fn count(&mut self, max: usize) -> Option<usize> {
        usize::try_from(self.varint()?).ok().filter(|&count| count <= max)
    }
}

/// The little-endian `u32` at `at`.
///
/// # Panics
/// Where `bytes` is too short: for layouts of fixed offsets whose length has been checked.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    field.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(field)
}

/// The little-endian `u64` at `at`. Panics as [`u32_at`] does.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order_and_never_beyond() {
        let mut reader = Reader::new(&[1, 2, 0, 0, 0, 0xac, 0x02, 9, 9]);
        assert_eq!(reader.u8(), Some(1));
        assert_eq!(reader.array(), Some([2, 0, 0, 0]));
        assert_eq!(reader.clone().count(299), None);
        assert_eq!(reader.count(300), Some(300));
        assert_eq!((reader.at(), reader.rest()), (7, &[9u8, 9][..]));
        assert_eq!(reader.array::<4>(), None);
        assert_eq!(reader.take(usize::MAX), None);
        assert_eq!(reader.take(2), Some(&[9u8, 9][..]));
        assert_eq!(reader.u8(), None);
        assert_eq!(reader.varint(), None);
        assert_eq!(reader.take(0), Some(&[][..]));
    }
}
