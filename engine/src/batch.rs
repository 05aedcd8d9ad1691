//! A batch: writes that commit together or not at all.

use crate::{Error, ErrorKind, Result};

/// The longest key, in bytes.
pub(crate) const KEY_LEN_MAX: usize = 64 << 10;
/// The longest value, in bytes.
pub(crate) const VALUE_LEN_MAX: usize = 1 << 30;

/// One write of a batch: where its key and value lie in the batch's buffer.
#[derive(Clone, Debug)]
enum Op {
    Put { key: (usize, usize), value: (usize, usize), expires_at: Option<u64> },
    Delete { key: (usize, usize) },
}

/// Writes that commit together or not at all, in the order in which they were added: of two writes of one key the later
/// one stands.
///
/// ```
/// let batch = halite::WriteBatch::new().put("a", "1").delete("b");
/// assert_eq!(batch.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    buffer: Vec<u8>,
    ops: Vec<Op>,
    key_len_max: usize,
    value_len_max: usize,
}

impl WriteBatch {
    /// A batch without writes.
    pub fn new() -> WriteBatch {
        WriteBatch::default()
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> WriteBatch {
        self.push_put(key.as_ref(), value.as_ref(), None);
        self
    }

    /// Adds a put that counts as deleted from `expires_at` on, in milliseconds since the Unix epoch; that lives for ever,
    /// whatever the `ttl` of the write or of the database, if that is `u64::MAX`.
    #[must_use]
    pub fn put_expiring(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expires_at: u64) -> WriteBatch {
        self.push_put(key.as_ref(), value.as_ref(), Some(expires_at));
        self
    }

    /// Adds a delete.
    #[must_use]
    pub fn delete(mut self, key: impl AsRef<[u8]>) -> WriteBatch {
        self.push_delete(key.as_ref());
        self
    }

    /// Number of writes.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// True where nothing was added.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(crate) fn push_delete(&mut self, key: &[u8]) {
        let key = self.push(key);
        self.key_len_max = self.key_len_max.max(key.1 - key.0);
        self.ops.push(Op::Delete { key });
    }

    pub(crate) fn push_put(&mut self, key: &[u8], value: &[u8], expires_at: Option<u64>) {
        let key = self.push(key);
        let value = self.push(value);
        self.key_len_max = self.key_len_max.max(key.1 - key.0);
        self.value_len_max = self.value_len_max.max(value.1 - value.0);
        self.ops.push(Op::Put { key, value, expires_at });
    }

    fn push(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        (start, self.buffer.len())
    }

    /// The writes, ready to be logged.
    pub(crate) fn writes(&self) -> impl ExactSizeIterator<Item = Write<'_>> + Clone {
        self.ops.iter().map(|op| match *op {
            Op::Put { key, value, expires_at } => {
                let value = Some(&self.buffer[value.0..value.1]);
                Write { key: &self.buffer[key.0..key.1], value, compressed: false, expires_at }
            }
            Op::Delete { key } => {
                Write { key: &self.buffer[key.0..key.1], value: None, compressed: false, expires_at: None }
            }
        })
    }

    /// Refuses keys and values beyond the limits.
    pub(crate) fn check(&self) -> Result<()> {
        check_lens(self.key_len_max, self.value_len_max)
    }
}

/// A single write: a put, or a delete where there is no value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
    /// Whether `value` is the compressed form of the value.
    pub(crate) compressed: bool,
    pub(crate) expires_at: Option<u64>,
}

/// Refuses a key or value beyond the limits.
pub(crate) fn check_lens(key_len: usize, value_len: usize) -> Result<()> {
    if key_len > KEY_LEN_MAX {
        let message = format!("key too long len={key_len} max={KEY_LEN_MAX}");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    if value_len > VALUE_LEN_MAX {
        let message = format!("value too long len={value_len} max={VALUE_LEN_MAX}");
        return Err(Error::new(ErrorKind::InvalidInput, message));
    }
    Ok(())
}
