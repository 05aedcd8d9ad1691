//! Reads a block: entry by entry, or from a key on, in key order or against it.
//!
//! An entry's key begins with bytes of the key before it, so nothing can be read backward from where it ends. Whoever goes
//! backward has the entries from one restart point to the next read at once, at most 16, and then takes them one by one.

use super::super::reader::{Reader, u32_at};
use super::super::{Damage, KEY_LEN_MAX, Result, STREAM_LEN_MAX};
use super::*;
use bytes::Bytes;

/// A place in a block: before its first entry, behind its last, or at an entry.
#[derive(Debug)]
pub(crate) struct BlockCursor {
    bytes: Bytes,
    /// Where the block stands in the file.
    offset: u64,
    base_seq: Seq,
    /// Where the entries end and the restart points begin.
    entries_end: usize,
    restarts: usize,
    /// Where the next entry begins.
    next: usize,
    /// The current entry's key. Kept when the cursor moves on, for the next key may share bytes with it.
    key: Vec<u8>,
    span: Span,
    behind: Behind,
    /// Where the entries end that [`look_ahead`](BlockCursor::look_ahead) has shown.
    shown: usize,
}

/// What lies behind a cursor that goes backward.
#[derive(Debug, Default)]
struct Behind {
    /// Restart points from which nothing has been read yet.
    restarts: usize,
    /// The entries read from the next one, in order: where in `keys` each one's key begins, and what it covers.
    entries: Vec<(usize, Span)>,
    /// Their keys, back to back.
    keys: Vec<u8>,
    /// From which of them on [`look_ahead`](BlockCursor::look_ahead) has shown them all.
    shown: usize,
}

/// What an entry's head says; the suffix of its key follows.
struct Head {
    shared: usize,
    unshared: usize,
    span: Span,
}

impl BlockCursor {
    /// A cursor over no block, always at its end, which [`open`](BlockCursor::open) can give one.
    pub(crate) fn empty() -> BlockCursor {
        let content = Content::Several(0);
        BlockCursor {
            bytes: Bytes::new(),
            offset: 0,
            base_seq: 0,
            entries_end: 0,
            restarts: 0,
            next: 0,
            key: Vec::new(),
            span: Span { offset: 0, len: 0, content },
            behind: Behind::default(),
            shown: 0,
        }
    }

    /// Moves before the first entry of the block that consists of all of `bytes` and stands at `offset` of the file.
    pub(crate) fn open(&mut self, stream: &Stream, offset: u64, bytes: Bytes) -> Result<()> {
        let Some(restarts_end) = bytes.len().checked_sub(RESTART_LEN + CRC_LEN) else {
            return Err(Damage::new(offset, format!("index block is cut short after {} bytes", bytes.len())));
        };
        let (found, expected) = sums(stream, offset, &bytes);
        if found != expected {
            let (expected, found) = (format_args!("{expected:#010x}"), format_args!("{found:#010x}"));
            return Err(Damage::mismatch(offset, "checksum of the index block", expected, found));
        }
        let restarts = u32_at(&bytes, restarts_end) as usize;
        let entries_end = restarts.checked_mul(RESTART_LEN).and_then(|len| restarts_end.checked_sub(len));
        let Some(entries_end) = entries_end.filter(|_| restarts >= 1) else {
            return Err(Damage::new(offset, format!("index block has {restarts} restart points")));
        };
        self.bytes = bytes;
        self.offset = offset;
        self.base_seq = stream.base_seq;
        self.entries_end = entries_end;
        self.restarts = restarts;
        self.next = 0;
        self.key.clear();
        self.behind.clear(0);
        self.shown = 0;
        Ok(())
    }

    /// The current entry's key. Only after a call that moved to an entry.
    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// What the current entry covers. Only after a call that moved to an entry.
    #[inline]
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Moves to the next entry; false if there is none.
    #[inline]
    pub(crate) fn advance(&mut self) -> Result<bool> {
        if self.next >= self.entries_end {
            return Ok(false);
        }
        let (head, suffix) = self.read(self.next)?;
        if head.shared > self.key.len() || head.shared + head.unshared > KEY_LEN_MAX {
            return Err(self.damage(self.next, "index entry's key has an impossible length"));
        }
        self.next = suffix + head.unshared;
        self.key.truncate(head.shared);
        self.key.extend_from_slice(&self.bytes[suffix..self.next]);
        self.span = head.span;
        Ok(true)
    }

    /// Moves to the first entry whose key is `key` or larger; false if there is none.
    pub(crate) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        self.next = self.restart_at_or_below(key)?;
        self.key.clear();
        while self.advance()? {
            if self.key() >= key {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves to the last entry whose key is `key` or smaller, or if there is none to the first.
    pub(crate) fn seek_back(&mut self, key: &[u8]) -> Result<()> {
        let restart = self.restart_at_or_below(key)?;
        self.next = restart;
        self.key.clear();
        let mut steps = 0;
        while self.advance()? && self.key() <= key {
            steps += 1;
        }
        self.next = restart;
        self.key.clear();
        for _ in 0..steps.max(1) {
            if !self.advance()? {
                return Err(self.damage(self.next, "index block has no entry"));
            }
        }
        Ok(())
    }

    /// Moves behind the last entry, from where [`retreat`](BlockCursor::retreat) goes on.
    pub(crate) fn seek_end(&mut self) {
        self.behind.clear(self.restarts);
    }

    /// Moves behind the last entry whose key is smaller than `key`, or equal to it if `or_equal`; before the first if there
    /// is none. From there [`retreat`](BlockCursor::retreat) goes on.
    pub(crate) fn seek_behind(&mut self, key: &[u8], or_equal: bool) -> Result<()> {
        let restart = self.last_restart(key)?;
        self.behind.clear(restart);
        self.read_behind(restart, |entry| entry > key || (entry == key && !or_equal))
    }

    /// Moves to the entry before; false if there is none. Only after [`seek_end`](BlockCursor::seek_end) or
    /// [`seek_behind`](BlockCursor::seek_behind), and with no other move since.
    #[inline]
    pub(crate) fn retreat(&mut self) -> Result<bool> {
        loop {
            if let Some((start, span)) = self.behind.entries.pop() {
                self.key.clear();
                self.key.extend_from_slice(&self.behind.keys[start..]);
                self.behind.keys.truncate(start);
                self.span = span;
                return Ok(true);
            }
            if self.behind.restarts == 0 {
                return Ok(false);
            }
            self.behind.restarts -= 1;
            self.read_behind(self.behind.restarts, |_| false)?;
        }
    }

    /// Whether the current entry is one that [`look_ahead`](BlockCursor::look_ahead) has not shown. Forward, as long as the
    /// cursor only advances; backward, as long as it only retreats.
    #[inline]
    pub(crate) fn is_unseen(&self, backward: bool) -> bool {
        if backward { self.behind.entries.len() < self.behind.shown } else { self.next > self.shown }
    }

    /// Shows what the next entries cover, `count` at most; fewer where the block ends, or has not been read so far. What is
    /// damaged ends it too: that is told when the cursor comes there.
    pub(crate) fn look_ahead(&mut self, backward: bool, count: usize, mut show: impl FnMut(&Span)) {
        if backward {
            self.behind.shown = self.behind.entries.len().saturating_sub(count);
            self.behind.entries[self.behind.shown..].iter().rev().for_each(|(_, span)| show(span));
            return;
        }
        self.shown = self.next;
        for _ in 0..count {
            if self.shown >= self.entries_end {
                break;
            }
            let Ok((head, suffix)) = self.read(self.shown) else { break };
            show(&head.span);
            self.shown = suffix + head.unshared;
        }
    }

    /// Reads the entries from a restart point to the next, up to the first for which `is_beyond` holds.
    fn read_behind(&mut self, restart: usize, is_beyond: impl Fn(&[u8]) -> bool) -> Result<()> {
        self.next = self.restart(restart)?;
        self.key.clear();
        let end = if restart + 1 < self.restarts { self.restart(restart + 1)? } else { self.entries_end };
        while self.next < end {
            // Keys share bytes: without an end to that, a small block could ask for much memory.
            if self.behind.entries.len() == RESTART_INTERVAL {
                return Err(self.damage(self.next, "index block lacks a restart point"));
            }
            self.advance()?;
            if is_beyond(&self.key) {
                return Ok(());
            }
            self.behind.entries.push((self.behind.keys.len(), self.span));
            self.behind.keys.extend_from_slice(&self.key);
            self.behind.shown = self.behind.entries.len();
        }
        if self.next == end { Ok(()) } else { Err(self.damage(end, "restart point lies within an index entry")) }
    }

    /// Where the last restart point stands whose key is `key` or smaller; the first if there is none.
    fn restart_at_or_below(&self, key: &[u8]) -> Result<usize> {
        self.restart(self.last_restart(key)?)
    }

    /// The number of the last restart point whose key is `key` or smaller; of the first if there is none.
    fn last_restart(&self, key: &[u8]) -> Result<usize> {
        let (mut low, mut high) = (0, self.restarts);
        // The first restart is at or below, or the answer for want of another.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.restart_key(middle)? <= key { low = middle } else { high = middle }
        }
        Ok(low)
    }

    fn restart(&self, index: usize) -> Result<usize> {
        let at = u32_at(&self.bytes, self.entries_end + index * RESTART_LEN) as usize;
        if at < self.entries_end { Ok(at) } else { Err(self.damage(at, "restart point lies outside the index block")) }
    }

    fn restart_key(&self, index: usize) -> Result<&[u8]> {
        let at = self.restart(index)?;
        let (head, suffix) = self.read(at)?;
        if head.shared != 0 {
            return Err(self.damage(at, "restart point shares a key"));
        }
        Ok(&self.bytes[suffix..suffix + head.unshared])
    }

    /// Reads the head of the entry at `at`, and checks that its key lies within the entries.
    #[inline]
    fn read(&self, at: usize) -> Result<(Head, usize)> {
        let mut reader = Reader::new(&self.bytes[at..self.entries_end]);
        let head = read_head(&mut reader, self.base_seq);
        match head.filter(|head| head.unshared <= reader.rest().len()) {
            Some(head) => Ok((head, at + reader.at())),
            None => Err(self.damage(at, "index entry holds an impossible number or is cut short")),
        }
    }

    #[cold]
    fn damage(&self, at: usize, what: &str) -> Damage {
        Damage::new(self.offset + at as u64, what)
    }
}

impl Behind {
    /// Forgets what was read; of `restarts` restart points nothing has been.
    fn clear(&mut self, restarts: usize) {
        self.restarts = restarts;
        self.entries.clear();
        self.keys.clear();
        self.shown = 0;
    }
}

#[inline]
fn read_head(reader: &mut Reader<'_>, base_seq: Seq) -> Option<Head> {
    let shared = reader.count(KEY_LEN_MAX)?;
    let unshared = reader.count(KEY_LEN_MAX)?;
    let flags = reader.u8()?;
    let offset = u32::try_from(reader.varint()?).ok()?;
    let len = u32::try_from(reader.varint()?).ok().filter(|&len| len > 0)?;
    let number = reader.varint()?;
    let facts = |kind, expires_at| Some(Content::One(Facts { seq: base_seq.checked_add(number)?, kind, expires_at }));
    let content = match flags {
        SEVERAL => Content::Several(u32::try_from(number).ok().filter(|&records| records >= 2)?),
        ONE_PUT => facts(Kind::Put, None)?,
        ONE_TOMBSTONE => facts(Kind::Tombstone, None)?,
        _ if flags == ONE_PUT | HAS_EXPIRY => facts(Kind::Put, Some(reader.varint()?))?,
        _ => return None,
    };
    let span = Span { offset, len, content };
    (span.end() <= STREAM_LEN_MAX).then_some(Head { shared, unshared, span })
}
