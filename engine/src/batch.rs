//! A batch: writes that commit together or not at all.

use crate::format::frame::Kind;
use crate::value::{LARGE_LEN, Large};
use crate::{Error, ErrorKind, KeyRange, Result};
use bytes::Bytes;

/// The longest key, in bytes.
pub(crate) const KEY_LEN_MAX: usize = 64 << 10;
/// The longest value, in bytes.
pub(crate) const VALUE_LEN_MAX: usize = 1 << 30;

/// One write of a batch.
#[derive(Clone, Debug)]
enum Op {
    Put { key: (usize, usize), value: Place, expires_at: Option<u64> },
    Delete { key: (usize, usize) },
    DeleteRange { start: (usize, usize), end: (usize, usize) },
}

/// Where a value lies: in the batch's buffer, or, a large one, in memory of its own, which the log can take over.
#[derive(Clone, Debug)]
enum Place {
    Buffer(usize, usize),
    Own(Bytes),
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

    /// Adds a put of a value that is not copied: see [`Db::put_bytes`](crate::Db::put_bytes).
    #[must_use]
    pub fn put_bytes(mut self, key: impl AsRef<[u8]>, value: impl Into<Bytes>) -> WriteBatch {
        self.push_place(key.as_ref(), value.into().into(), None);
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

    /// Adds a delete of all keys in `range`, at the cost of one record: of those that were there before the batch, and of
    /// those that it has put before. What is put later in the batch stays. An empty range adds nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> halite::Result<()> {
    /// let db = halite::Db::open("mem:").await?;
    /// db.put("day/1", "old").await?;
    /// db.write(halite::WriteBatch::new().delete_prefix("day/").put("day/2", "new")).await?;
    /// assert!(!db.contains("day/1").await? && db.contains("day/2").await?);
    /// # db.close().await
    /// # }
    /// ```
    #[must_use]
    pub fn delete_range(mut self, range: impl Into<KeyRange>) -> WriteBatch {
        self.push_delete_range(&range.into());
        self
    }

    /// Adds a delete of all keys that begin with `prefix`. Otherwise as [`delete_range`](WriteBatch::delete_range).
    #[must_use]
    pub fn delete_prefix(self, prefix: impl AsRef<[u8]>) -> WriteBatch {
        self.delete_range(KeyRange::prefix(prefix))
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

    pub(crate) fn push_delete_range(&mut self, range: &KeyRange) {
        if let Some((start, end)) = range.half_open() {
            let start = self.push(&start);
            let end = self.push(end.as_deref().unwrap_or_default());
            self.ops.push(Op::DeleteRange { start, end });
        }
    }

    pub(crate) fn push_put(&mut self, key: &[u8], value: &[u8], expires_at: Option<u64>) {
        let place = if value.len() >= LARGE_LEN {
            Place::Own(Bytes::copy_from_slice(value))
        } else {
            let (start, end) = self.push(value);
            Place::Buffer(start, end)
        };
        self.push_place(key, place, expires_at);
    }

    fn push_place(&mut self, key: &[u8], value: Place, expires_at: Option<u64>) {
        let key = self.push(key);
        self.key_len_max = self.key_len_max.max(key.1 - key.0);
        self.value_len_max = self.value_len_max.max(value.len());
        self.ops.push(Op::Put { key, value, expires_at });
    }

    fn push(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        (start, self.buffer.len())
    }

    /// The writes, ready to be logged.
    pub(crate) fn writes(&self) -> impl ExactSizeIterator<Item = Write<'_>> + Clone {
        let part = |&(start, end): &(usize, usize)| &self.buffer[start..end];
        self.ops.iter().map(move |op| match op {
            Op::Put { key, value: Place::Buffer(start, end), expires_at } => {
                Write::new(part(key), Some(&self.buffer[*start..*end]), *expires_at)
            }
            Op::Put { key, value: Place::Own(value), expires_at } => {
                Write::sharing(part(key), Some(value), *expires_at)
            }
            Op::Delete { key } => Write::new(part(key), None, None),
            Op::DeleteRange { start, end } => Write::delete_range(part(start), part(end)),
        })
    }

    /// Refuses keys and values beyond the limits.
    pub(crate) fn check(&self) -> Result<()> {
        check_lens(self.key_len_max, self.value_len_max)
    }
}

impl Place {
    fn len(&self) -> usize {
        match self {
            Place::Buffer(start, end) => end - start,
            Place::Own(value) => value.len(),
        }
    }
}

impl From<Bytes> for Place {
    fn from(value: Bytes) -> Place {
        Place::Own(value)
    }
}

/// A single write: what the record of it will hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) expires_at: Option<u64>,
    /// The memory that `value` lies in, where that can be kept instead of a copy.
    pub(crate) shared: Option<&'a Bytes>,
    /// Whether `value` is the compressed form of the value.
    pub(crate) compressed: bool,
    /// `value`, ready to be logged from where it is.
    pub(crate) large: Option<&'a Large>,
}

impl<'a> Write<'a> {
    /// A put, or a delete where there is no value.
    pub(crate) fn new(key: &'a [u8], value: Option<&'a [u8]>, expires_at: Option<u64>) -> Write<'a> {
        let kind = if value.is_some() { Kind::Put } else { Kind::Tombstone };
        let expires_at = expires_at.filter(|_| value.is_some());
        Write::of(kind, key, value.unwrap_or_default(), expires_at)
    }

    /// The same, where the value's memory can be kept.
    pub(crate) fn sharing(key: &'a [u8], value: Option<&'a Bytes>, expires_at: Option<u64>) -> Write<'a> {
        Write { shared: value, ..Write::new(key, value.map(|value| &value[..]), expires_at) }
    }

    fn of(kind: Kind, key: &'a [u8], value: &'a [u8], expires_at: Option<u64>) -> Write<'a> {
        Write { kind, key, value, expires_at, shared: None, compressed: false, large: None }
    }

    /// A delete of the keys from `start` on, up to but without `end`, or of all from there on if that is empty. The two
    /// are what [`KeyRange::half_open`] gives.
    pub(crate) fn delete_range(start: &'a [u8], end: &'a [u8]) -> Write<'a> {
        Write::of(Kind::RangeTombstone, start, end, None)
    }

    /// The same with the expiry that `expiry` makes of its own, if it is a put.
    pub(crate) fn expiring(self, expiry: impl FnOnce(Option<u64>) -> Option<u64>) -> Write<'a> {
        if self.kind == Kind::Put { Write { expires_at: expiry(self.expires_at), ..self } } else { self }
    }
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
