//! The frames of which a log consists: records here, marks in [`mark`](super::mark).
//!
//! A record:
//!
//! | size | field |
//! | ---: | --- |
//! | 4 | checksum of everything after itself, bound to the segment's salt and the frame's offset in the segment |
//! | 1 | flags |
//! | 1..10 | seq, as a difference to the segment's base seq |
//! | 1..3 | length of the key |
//! | 1..5 | length of the value; 0 in a tombstone |
//! | 0 or 1..10 | expiry: milliseconds since the Unix epoch; only where the flags say so |
//! | | key |
//! | | value |
//!
//! A range tombstone deletes the keys from its key on up to but without its value, or all from its key on where the value
//! is empty. It stands in logs only, and either of the two may be a byte longer than a key: that byte is 0, and makes the
//! longest keys begin or end a range as well.
//!
//! Integers of variable size are [`varint`]s. Bits 0 to 2 of the flags tell the kind: 1 put, 2 tombstone, 3 range
//! tombstone, 4 mark, 5 end mark; 0 is invalid, so that zeros never pass. Bit 3 (8): has an expiry. Bit 4 (16): the
//! value is [compressed](super::compressed). Bit 5 (32): last of its batch. Anything else is damage.
//!
//! A batch is a row of records of which just the last has bit 5. It is committed if and only if it is whole.

use super::mark::{END_LEN, End, MARK_LEN, Mark};
use super::reader::{Reader, u32_at};
use super::{BOUND_LEN_MAX, Damage, KEY_LEN_MAX, Result, STREAM_LEN_MAX, VALUE_LEN_MAX, checksum, varint};
use crate::Seq;
use crate::planted::{Bug, planted};
use bytes::BytesMut;

// The low three bits of the flags. These numbers never change.
const KIND_MASK: u8 = 0x07;
const KIND_PUT: u8 = 1;
const KIND_TOMBSTONE: u8 = 2;
const KIND_RANGE_TOMBSTONE: u8 = 3;
pub(super) const KIND_MARK: u8 = 4;
pub(super) const KIND_END: u8 = 5;

const HAS_EXPIRY: u8 = 0x08;
const COMPRESSED: u8 = 0x10;
const LAST_OF_BATCH: u8 = 0x20;

pub(super) const CRC_LEN: usize = 4;

/// The most bytes before the key: checksum, flags, seq, lengths of key and value, expiry.
pub(crate) const RECORD_HEAD_LEN_MAX: usize = CRC_LEN + 1 + varint::LEN_MAX + 3 + 5 + varint::LEN_MAX;

const _: () = assert!(RECORD_HEAD_LEN_MAX == 33);
const _: () = assert!((BOUND_LEN_MAX as u64) < 1 << (7 * 3) && (VALUE_LEN_MAX as u64) < 1 << (7 * 5));

/// What the frames of a segment are encoded against; from its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stream {
    /// The segment's random salt.
    pub(crate) salt: u64,
    /// At most the smallest seq in the segment.
    pub(crate) base_seq: Seq,
}

impl Stream {
    /// The checksum of the frame at `offset` that holds `body` after the checksum.
    #[inline]
    pub(super) fn crc(&self, offset: u64, body: &[u8]) -> u32 {
        checksum::crc(self.salt, offset, body)
    }

    /// Fills in the checksum of the frame `frame`.
    #[inline]
    pub(super) fn seal(&self, offset: u64, frame: &mut [u8]) {
        let crc = self.crc(offset, &frame[CRC_LEN..]);
        frame[..CRC_LEN].copy_from_slice(&crc.to_le_bytes());
    }
}

/// What a record does to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Gives it a value.
    Put,
    /// Deletes it.
    Tombstone,
    /// Deletes it and the keys behind it: in logs only, and found by no key.
    RangeTombstone,
}

/// A record to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewRecord<'a> {
    /// Its place in the commit order.
    pub(crate) seq: Seq,
    /// Put, tombstone or range tombstone.
    pub(crate) kind: Kind,
    /// At most [`KEY_LEN_MAX`] bytes; of a range tombstone, where its keys begin, at most [`BOUND_LEN_MAX`] bytes.
    pub(crate) key: &'a [u8],
    /// At most [`VALUE_LEN_MAX`] bytes; empty in a tombstone; of a range tombstone, before which its keys end, at most
    /// [`BOUND_LEN_MAX`] bytes, or nothing where they do not end.
    pub(crate) value: &'a [u8],
    /// Whether `value` is the compressed form of the value; never in a tombstone.
    pub(crate) compressed: bool,
    /// The engine time in milliseconds from which a put counts as deleted; tombstones have none.
    pub(crate) expires_at: Option<u64>,
    /// Whether its batch ends with it.
    pub(crate) last_of_batch: bool,
}

impl NewRecord<'_> {
    /// How many bytes [`encode`](NewRecord::encode) appends.
    #[inline]
    pub(crate) fn encoded_len(&self, stream: &Stream) -> usize {
        let expiry_len = self.expires_at.map_or(0, varint::len);
        let head_len = CRC_LEN + 1 + varint::len(self.seq - stream.base_seq) + expiry_len;
        let key_len = varint::len(self.key.len() as u64) + self.key.len();
        head_len + key_len + varint::len(self.value.len() as u64) + self.value.len()
    }

    /// Appends the record, which will stand at `offset` of its segment, and gives its length.
    ///
    /// # Panics
    /// Where a limit is broken, which whoever takes keys and values from a user has to check: a key or value too long,
    /// a tombstone with a value or expiry, a range that ends where it begins or before, a seq below the segment's base,
    /// or an end beyond [`STREAM_LEN_MAX`].
    pub(crate) fn encode(&self, stream: &Stream, offset: u64, out: &mut BytesMut) -> usize {
        let (head, head_len) = self.head(stream);
        let len = self.len_with(head_len, offset);
        let start = out.len();
        out.reserve(len);
        out.extend_from_slice(&head[..head_len]);
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
        stream.seal(offset, &mut out[start..]);
        len
    }

    /// As [`encode`](NewRecord::encode), but leaves out the value, which is to follow: for values that are written from
    /// where they are. `value_crc` is the value's own checksum, continued from nothing. Gives the length of the whole record.
    pub(crate) fn encode_without_value(
        &self,
        stream: &Stream,
        offset: u64,
        value_crc: u32,
        out: &mut BytesMut,
    ) -> usize {
        let (mut head, head_len) = self.head(stream);
        let len = self.len_with(head_len, offset);
        let crc = stream.crc(offset, &head[CRC_LEN..head_len]);
        let crc = checksum::join(checksum::append(crc, self.key), value_crc, self.value.len());
        head[..CRC_LEN].copy_from_slice(&crc.to_le_bytes());
        out.reserve(head_len + self.key.len());
        out.extend_from_slice(&head[..head_len]);
        out.extend_from_slice(self.key);
        len
    }

    /// All before the key, the checksum still to be filled in, and the length of that.
    #[inline]
    fn head(&self, stream: &Stream) -> ([u8; RECORD_HEAD_LEN_MAX], usize) {
        let key_len_max = if self.kind == Kind::RangeTombstone { BOUND_LEN_MAX } else { KEY_LEN_MAX };
        assert!(self.key.len() <= key_len_max, "key of {} bytes", self.key.len());
        assert!(self.value.len() <= VALUE_LEN_MAX, "value of {} bytes", self.value.len());
        assert!(self.seq >= stream.base_seq, "seq {} below the base {}", self.seq, stream.base_seq);

        let mut flags = match self.kind {
            Kind::Put => KIND_PUT,
            Kind::Tombstone => {
                let bare = self.value.is_empty() && !self.compressed && self.expires_at.is_none();
                assert!(bare, "a tombstone holds a key only");
                KIND_TOMBSTONE
            }
            Kind::RangeTombstone => {
                let plain = !self.compressed && self.expires_at.is_none();
                assert!(plain && is_range(self.key, self.value), "a range tombstone holds a range");
                KIND_RANGE_TOMBSTONE
            }
        };
        if self.compressed {
            flags |= COMPRESSED;
        }
        if self.last_of_batch {
            flags |= LAST_OF_BATCH;
        }

        let mut head = [0; RECORD_HEAD_LEN_MAX];
        let mut at = CRC_LEN + 1;
        at += varint::write(self.seq - stream.base_seq, &mut head[at..]);
        at += varint::write(self.key.len() as u64, &mut head[at..]);
        at += varint::write(self.value.len() as u64, &mut head[at..]);
        if let Some(expires_at) = self.expires_at {
            flags |= HAS_EXPIRY;
            at += varint::write(expires_at, &mut head[at..]);
        }
        head[CRC_LEN] = flags;
        (head, at)
    }

    #[inline]
    fn len_with(&self, head_len: usize, offset: u64) -> usize {
        let len = head_len + self.key.len() + self.value.len();
        assert!(ends_within_stream(offset, len), "frame at {offset} ends beyond the longest segment");
        len
    }
}

/// A record as it was found, borrowed from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Its place in the commit order.
    pub(crate) seq: Seq,
    /// Put, tombstone or range tombstone.
    pub(crate) kind: Kind,
    /// The key; of a range tombstone, where its keys begin.
    pub(crate) key: &'a [u8],
    /// The value; empty in a tombstone; of a range tombstone, before which its keys end: nowhere, if it is empty.
    pub(crate) value: &'a [u8],
    /// Whether `value` is the compressed form of the value.
    pub(crate) compressed: bool,
    /// The engine time in milliseconds from which a put counts as deleted.
    pub(crate) expires_at: Option<u64>,
    /// Whether its batch ends with it.
    pub(crate) last_of_batch: bool,
    /// Length of the whole frame.
    pub(crate) len: usize,
}

/// One frame of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A put, tombstone or range tombstone.
    Record(Record<'a>),
    /// What was durable when a write began.
    Mark(Mark),
    /// The log ends here.
    End(End),
}

impl Frame<'_> {
    /// Length of the whole frame.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        match self {
            Frame::Record(record) => record.len,
            Frame::Mark(_) => MARK_LEN,
            Frame::End(_) => END_LEN,
        }
    }
}

/// Decodes the frame with which `bytes` begins, at `offset` of its segment; more may follow it.
#[inline]
pub(crate) fn decode<'a>(stream: &Stream, offset: u64, bytes: &'a [u8]) -> Result<Frame<'a>> {
    match bytes.get(CRC_LEN) {
        Some(flags) if is_record(*flags) => decode_record_as::<true>(stream, offset, bytes).map(Frame::Record),
        Some(flags) => decode_mark(stream, offset, bytes, *flags),
        None => Err(cut_short(offset, bytes)),
    }
}

/// Decodes a frame that must be the record of one key: a put or tombstone.
#[inline]
pub(crate) fn decode_record<'a>(stream: &Stream, offset: u64, bytes: &'a [u8]) -> Result<Record<'a>> {
    of_a_key(decode_record_as::<true>(stream, offset, bytes)?, offset)
}

#[inline]
fn of_a_key(record: Record<'_>, offset: u64) -> Result<Record<'_>> {
    if record.kind == Kind::RangeTombstone {
        return Err(Damage::new(offset, "range tombstone where the record of a key should be"));
    }
    Ok(record)
}

/// As [`decode_record`], unless the record has more than `len_max` bytes: then it is `None`, and nothing but its bounds has
/// been looked at.
#[inline]
pub(crate) fn decode_short_record<'a>(
    stream: &Stream,
    offset: u64,
    bytes: &'a [u8],
    len_max: usize,
) -> Result<Option<Record<'a>>> {
    let record = Unchecked::new(stream, offset, bytes)?;
    if record.outline.len > len_max {
        return Ok(None);
    }
    verify(stream, offset, &bytes[..record.outline.len])?;
    of_a_key(record.outline.whole(stream, offset, bytes)?, offset).map(Some)
}

/// Whether the record with which `bytes` begins, which is known to be whole, is a range tombstone.
#[inline]
pub(crate) fn is_range_tombstone(bytes: &[u8]) -> bool {
    bytes.get(CRC_LEN).is_some_and(|flags| flags & KIND_MASK == KIND_RANGE_TOMBSTONE)
}

/// Whether `start` and `end` make a range that holds a key. (No end: empty.)
fn is_range(start: &[u8], end: &[u8]) -> bool {
    (end.is_empty() || start < end) && end.len() <= BOUND_LEN_MAX
}

/// Decodes a frame that must be a record of whatever kind, without comparing the checksum: for bytes that never left this
/// process's memory.
#[inline]
pub(crate) fn decode_record_unverified<'a>(stream: &Stream, offset: u64, bytes: &'a [u8]) -> Result<Record<'a>> {
    decode_record_as::<false>(stream, offset, bytes)
}

/// As [`decode_record_unverified`], of a record whose value lies elsewhere: `head` is all before it.
pub(crate) fn decode_record_apart<'a>(
    stream: &Stream,
    offset: u64,
    head: &'a [u8],
    value: &'a [u8],
) -> Result<Record<'a>> {
    let flags = head.get(CRC_LEN).copied().unwrap_or_default();
    if !is_record(flags) {
        return Err(no_record(offset, flags));
    }
    let len = head.len() + value.len();
    let outline = Outline::read(flags, offset, head, len)?;
    if (outline.value_at, outline.len) != (head.len(), len) {
        return Err(Damage::mismatch(offset, "record length", outline.len, len));
    }
    outline.record(stream, offset, &head[outline.key_at..], value)
}

/// A record whose checksum is still to be compared: for long ones, which take more than a moment.
#[derive(Debug)]
pub(crate) struct Unchecked<'a> {
    stream: Stream,
    offset: u64,
    bytes: &'a [u8],
    outline: Outline,
}

impl<'a> Unchecked<'a> {
    /// The record with which `bytes` begins, at `offset` of its segment.
    #[inline]
    pub(crate) fn new(stream: &Stream, offset: u64, bytes: &'a [u8]) -> Result<Unchecked<'a>> {
        let Some(&flags) = bytes.get(CRC_LEN) else {
            return Err(cut_short(offset, bytes));
        };
        if !is_record(flags) {
            return Err(no_record(offset, flags));
        }
        let outline = Outline::read(flags, offset, bytes, bytes.len())?;
        Ok(Unchecked { stream: *stream, offset, bytes, outline })
    }

    /// What the checksum goes on from, and the bytes that it covers.
    pub(crate) fn covered(&self) -> (u32, &'a [u8]) {
        (checksum::seed(self.stream.salt, self.offset), &self.bytes[CRC_LEN..self.outline.len])
    }

    /// The record, if `crc` is its checksum.
    pub(crate) fn check(self, crc: u32) -> Result<Record<'a>> {
        let found = u32_at(self.bytes, 0);
        if crc != found {
            return Err(wrong_checksum(self.offset, crc, found));
        }
        self.outline.whole(&self.stream, self.offset, self.bytes)
    }
}

#[inline]
fn decode_record_as<'a, const VERIFY: bool>(stream: &Stream, offset: u64, bytes: &'a [u8]) -> Result<Record<'a>> {
    let Some(&flags) = bytes.get(CRC_LEN) else {
        return Err(cut_short(offset, bytes));
    };
    if !is_record(flags) {
        return Err(no_record(offset, flags));
    }
    let outline = Outline::read(flags, offset, bytes, bytes.len())?;
    if VERIFY {
        verify(stream, offset, &bytes[..outline.len])?;
    }
    outline.whole(stream, offset, bytes)
}

/// The length that the head of the record with which `bytes` begins tells, unverified: how much to fetch before it can be
/// decoded. `None` where no record begins so, or fewer than [`RECORD_HEAD_LEN_MAX`] bytes are too few.
pub(crate) fn peek_len(bytes: &[u8]) -> Option<u64> {
    let mut head = Reader::new(bytes.get(CRC_LEN..)?);
    let flags = head.u8().filter(|&flags| is_record(flags))?;
    head.varint()?;
    let key_len = head.count(BOUND_LEN_MAX)?;
    let value_len = head.count(VALUE_LEN_MAX)?;
    if flags & HAS_EXPIRY != 0 {
        head.varint()?;
    }
    Some((CRC_LEN + head.at()) as u64 + key_len as u64 + value_len as u64)
}

#[inline]
fn is_record(flags: u8) -> bool {
    matches!(flags & KIND_MASK, KIND_PUT | KIND_TOMBSTONE | KIND_RANGE_TOMBSTONE)
}

/// Marks are rare; out of the way of records.
fn decode_mark(stream: &Stream, offset: u64, bytes: &[u8], flags: u8) -> Result<Frame<'static>> {
    let len = match flags {
        KIND_MARK => MARK_LEN,
        KIND_END => END_LEN,
        _ => return Err(Damage::new(offset, format!("no frame has these flags found={flags:#04x}"))),
    };
    let frame = bytes.get(..len).ok_or_else(|| cut_short(offset, bytes))?;
    if !ends_within_stream(offset, len) {
        return Err(beyond(offset, len));
    }
    verify(stream, offset, frame)?;
    match flags {
        KIND_MARK => Mark::parse(offset, frame).map(Frame::Mark),
        _ => End::parse(offset, frame).map(Frame::End),
    }
}

/// Where the parts of a record lie; nothing is made of it before its checksum has been compared.
#[derive(Debug)]
struct Outline {
    flags: u8,
    seq_above_base: u64,
    expires_at: Option<u64>,
    key_at: usize,
    value_at: usize,
    len: usize,
}

impl Outline {
    /// Checks the bounds of the record that begins with `bytes`, and has `available` bytes at most: guarantee 2 of
    /// [`format`](super).
    #[inline]
    fn read(flags: u8, offset: u64, bytes: &[u8], available: usize) -> Result<Outline> {
        if flags & !(KIND_MASK | HAS_EXPIRY | COMPRESSED | LAST_OF_BATCH) != 0 {
            return Err(Damage::new(offset, format!("no frame has these flags found={flags:#04x}")));
        }
        let mut head = Reader::new(&bytes[CRC_LEN + 1..]);
        let key_len_max = if flags & KIND_MASK == KIND_RANGE_TOMBSTONE { BOUND_LEN_MAX } else { KEY_LEN_MAX };
        let mut numbers = || {
            let seq_above_base = head.varint()?;
            let key_len = head.count(key_len_max)?;
            let value_len = head.count(VALUE_LEN_MAX)?;
            let expires_at = if flags & HAS_EXPIRY != 0 { Some(head.varint()?) } else { None };
            Some((seq_above_base, key_len, value_len, expires_at))
        };
        let Some((seq_above_base, key_len, value_len, expires_at)) = numbers() else {
            return Err(bad_head(offset));
        };
        // At most 33 + 2^16 + 2^30: no overflow, not even in 32 bits.
        let key_at = CRC_LEN + 1 + head.at();
        let value_at = key_at + key_len;
        let len = value_at + value_len;
        if len > available && !planted(Bug::LengthUnchecked) {
            return Err(too_long(offset, len, available));
        }
        if !ends_within_stream(offset, len) {
            return Err(beyond(offset, len));
        }
        Ok(Outline { flags, seq_above_base, expires_at, key_at, value_at, len })
    }

    /// The record with which `bytes` begins, its checksum compared or not.
    #[inline]
    fn whole<'a>(&self, stream: &Stream, offset: u64, bytes: &'a [u8]) -> Result<Record<'a>> {
        self.record(stream, offset, &bytes[self.key_at..self.value_at], &bytes[self.value_at..self.len])
    }

    #[inline]
    fn record<'a>(&self, stream: &Stream, offset: u64, key: &'a [u8], value: &'a [u8]) -> Result<Record<'a>> {
        let Some(seq) = stream.base_seq.checked_add(self.seq_above_base) else {
            return Err(Damage::new(offset, "seq beyond 64 bits"));
        };
        let kind = match self.flags & KIND_MASK {
            KIND_PUT => Kind::Put,
            KIND_TOMBSTONE => Kind::Tombstone,
            _ => Kind::RangeTombstone,
        };
        let compressed = self.flags & COMPRESSED != 0;
        let plain = !compressed && self.expires_at.is_none();
        if kind == Kind::Tombstone && !(plain && value.is_empty()) {
            return Err(Damage::new(offset, "tombstone with a value or expiry"));
        }
        if kind == Kind::RangeTombstone && !(plain && is_range(key, value)) {
            return Err(Damage::new(offset, "range tombstone of no range, or with an expiry"));
        }
        Ok(Record {
            seq,
            kind,
            key,
            value,
            compressed,
            expires_at: self.expires_at,
            last_of_batch: self.flags & LAST_OF_BATCH != 0,
            len: self.len,
        })
    }
}

#[inline]
fn verify(stream: &Stream, offset: u64, frame: &[u8]) -> Result<()> {
    let (expected, found) = (stream.crc(offset, &frame[CRC_LEN..]), u32_at(frame, 0));
    if expected == found { Ok(()) } else { Err(wrong_checksum(offset, expected, found)) }
}

#[inline]
fn ends_within_stream(offset: u64, len: usize) -> bool {
    offset.checked_add(len as u64).is_some_and(|end| end <= STREAM_LEN_MAX)
}

#[cold]
fn wrong_checksum(offset: u64, expected: u32, found: u32) -> Damage {
    Damage::mismatch(offset, "frame checksum", format_args!("{expected:#010x}"), format_args!("{found:#010x}"))
}

#[cold]
fn no_record(offset: u64, flags: u8) -> Damage {
    Damage::mismatch(offset, "frame flags", "those of a record", format_args!("{flags:#04x}"))
}

#[cold]
fn bad_head(offset: u64) -> Damage {
    Damage::new(offset, "record head holds an impossible number or is cut short")
}

#[cold]
fn too_long(offset: u64, len: usize, available: usize) -> Damage {
    Damage::mismatch(offset, "record length", len, format_args!("only {available} bytes"))
}

#[cold]
fn cut_short(offset: u64, bytes: &[u8]) -> Damage {
    Damage::new(offset, format!("frame is cut short after {} bytes", bytes.len()))
}

#[cold]
fn beyond(offset: u64, len: usize) -> Damage {
    Damage::new(offset, format!("frame ends beyond the longest segment len={len}"))
}

#[cfg(test)]
mod tests;
