//! Keys page by page, as text, and the cursors that say where the next page begins.
//!
//! Keys that are no UTF-8 cannot be named as text; pages leave them out. A cursor is text that holds the last key of its
//! page and a sum over the bucket and that key, so that it outlives whoever was given it, and one from elsewhere is
//! refused. Where a cursor has to be a number, [`Cursors`] remembers the text for it.

use crate::bucket::Bucket;
use crate::error::{Error, Result};
use crate::keys::{Keys, behind, range};
use futures::TryStreamExt;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// Keys that a page holds at most.
const PAGE_KEYS_MAX: usize = 1024;
/// Bytes of keys after which a page ends.
const PAGE_BYTES_MAX: usize = 64 << 10;
/// Cursors that are remembered; the oldest go first.
const CURSORS_MAX: usize = 4096;

/// Some keys of a bucket, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The keys.
    pub keys: Vec<String>,
    /// Where the next page begins; `None` at the end.
    pub cursor: Option<String>,
}

impl Bucket {
    /// The first page of keys, or the one behind `cursor`.
    ///
    /// # Errors
    /// `Invalid` for a cursor that is none, or another bucket's; and as [`get`](Bucket::get).
    pub async fn list_keys(&self, cursor: Option<&str>) -> Result<Page> {
        let prefix = &self.shared.prefix;
        let range = match cursor {
            None => range(prefix, &Keys::All),
            Some(cursor) => {
                let wrong = || Error::Invalid("that is no cursor of this bucket".to_owned());
                behind(prefix, &self.parse(cursor).ok_or_else(wrong)?)
            }
        };
        let mut scan = self.shared.db.scan(range).keys_only();
        let (mut keys, mut bytes, mut seen) = (Vec::new(), 0, 0);
        while let Some(entry) = scan.try_next().await? {
            let key = entry.key.slice(prefix.len()..);
            bytes += key.len();
            seen += 1;
            if let Ok(key) = std::str::from_utf8(&key) {
                keys.push(key.to_owned());
            }
            // Those that are left out count too: a page of them would take for ever.
            if seen == PAGE_KEYS_MAX || bytes >= PAGE_BYTES_MAX {
                return Ok(Page { keys, cursor: Some(self.cursor(&key)) });
            }
        }
        Ok(Page { keys, cursor: None })
    }

    fn cursor(&self, last: &[u8]) -> String {
        let hex = last.iter().map(|byte| format!("{byte:02x}"));
        std::iter::once(format!("{:016x}", self.sum(last))).chain(hex).collect()
    }

    fn parse(&self, cursor: &str) -> Option<Vec<u8>> {
        let (sum, last) = cursor.split_at_checked(16)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits(sum) || !digits(last) || !last.len().is_multiple_of(2) {
            return None;
        }
        let sum = u64::from_str_radix(sum, 16).ok()?;
        let last: Vec<u8> = (0..last.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&last[at..at + 2], 16))
            .collect::<std::result::Result<_, _>>()
            .ok()?;
        (sum == self.sum(&last)).then_some(last)
    }

    /// FNV-1a over the bucket's prefix, its length, and the key: it keeps mistakes out, not guests (whose own keys are
    /// all that a cursor can tell of).
    fn sum(&self, key: &[u8]) -> u64 {
        let prefix = &self.shared.prefix;
        let len = (prefix.len() as u64).to_le_bytes();
        let fold = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        prefix.iter().chain(&len).chain(key).fold(0xcbf2_9ce4_8422_2325, fold)
    }
}

/// Numbers that stand for cursors, for the interface that has numbers. One for a whole host will do; the last few
/// thousand that were given are known.
#[derive(Debug, Default)]
pub struct Cursors(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    texts: HashMap<u64, String>,
    order: VecDeque<u64>,
    last: u64,
}

/// A cursor as an interface has it: the text itself, or a number that stands for it.
pub trait Cursor: Sized {
    /// What the guest is given for `text`.
    fn given(text: String, cursors: &Cursors) -> Self;

    /// The text of what it was given.
    ///
    /// # Errors
    /// `Invalid` where that is not known, or not any more.
    fn text(self, cursors: &Cursors) -> Result<String>;
}

impl Cursor for String {
    fn given(text: String, _cursors: &Cursors) -> String {
        text
    }

    fn text(self, _cursors: &Cursors) -> Result<String> {
        Ok(self)
    }
}

impl Cursor for u64 {
    fn given(text: String, cursors: &Cursors) -> u64 {
        cursors.number(text)
    }

    fn text(self, cursors: &Cursors) -> Result<String> {
        cursors.cursor(self)
    }
}

impl Cursors {
    /// [`Bucket::list_keys`], for an interface with such cursors.
    ///
    /// # Errors
    /// As there, and for a cursor that is not known.
    pub async fn list_keys<C: Cursor>(&self, bucket: &Bucket, cursor: Option<C>) -> Result<(Vec<String>, Option<C>)> {
        let cursor = cursor.map(|cursor| cursor.text(self)).transpose()?;
        let page = bucket.list_keys(cursor.as_deref()).await?;
        Ok((page.keys, page.cursor.map(|text| C::given(text, self))))
    }

    /// A number for `cursor`.
    pub fn number(&self, cursor: String) -> u64 {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.last += 1;
        let number = known.last;
        known.texts.insert(number, cursor);
        known.order.push_back(number);
        if known.order.len() > CURSORS_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.texts.remove(&oldest);
        }
        number
    }

    /// The cursor of a number.
    ///
    /// # Errors
    /// `Invalid` where it is not known, or not any more.
    pub fn cursor(&self, number: u64) -> Result<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.texts.get(&number).cloned().ok_or_else(|| Error::Invalid("no such cursor, or one too old".to_owned()))
    }
}
