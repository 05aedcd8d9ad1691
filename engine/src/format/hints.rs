//! The hints of a segment: what the keydir needs of each record, in the order of the file.
//!
//! | size | field |
//! | ---: | --- |
//! | 1..5 | length of the record, times 2, plus 1 if there is a gap before it: a varint |
//! | 0 or 1..5 | length of the gap: a varint, never 0 |
//! | 5 | fingerprint: the upper 40 bits of the key's hash, little-endian |
//!
//! The first hint counts from the end of the segment's header, each other from the end of the record before it. In a
//! dense segment there is a hint for each index entry, so marks and superseded records make gaps; in a sorted segment
//! there is one for each record. The hints' number stands in the footer, and their checksum.

use super::header::HEADER_LEN;
use super::reader::Reader;
use super::{Damage, Result, STREAM_LEN_MAX, varint};
use crate::hash::Fingerprint;
use crate::planted::{Bug, planted};
use bytes::{Bytes, BytesMut};

const FINGERPRINT_LEN: usize = Fingerprint::BITS as usize / 8;

const _: () = assert!(FINGERPRINT_LEN == 5);

/// Where a record lies, and the fingerprint of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    /// Of the key.
    pub(crate) fingerprint: Fingerprint,
    /// Offset of the record in the segment.
    pub(crate) offset: u32,
    /// Length of the whole record.
    pub(crate) len: u32,
}

/// Writes hints.
#[derive(Debug)]
pub(crate) struct HintsBuilder {
    out: BytesMut,
    /// Where the record before ends.
    at: u64,
    count: u64,
}

impl HintsBuilder {
    pub(crate) fn new() -> HintsBuilder {
        HintsBuilder { out: BytesMut::new(), at: HEADER_LEN as u64, count: 0 }
    }

    /// Adds the next record.
    ///
    /// # Panics
    /// Where it does not lie behind the one before.
    pub(crate) fn push(&mut self, hint: Hint) {
        let offset = u64::from(hint.offset);
        assert!(offset >= self.at && hint.len > 0, "hints come in the order of the file");
        let gap = offset - self.at;
        varint::put(u64::from(hint.len) << 1 | u64::from(gap > 0), &mut self.out);
        if gap > 0 {
            varint::put(gap, &mut self.out);
        }
        self.out.extend_from_slice(&hint.fingerprint.bits().to_le_bytes()[..FINGERPRINT_LEN]);
        self.at = offset + u64::from(hint.len);
        self.count += 1;
    }

    /// How many hints there are.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// The hints' bytes.
    pub(crate) fn finish(self) -> Bytes {
        self.out.freeze()
    }
}

/// Reads hints, one after the other.
#[derive(Debug)]
pub(crate) struct Hints {
    bytes: Bytes,
    next: usize,
    /// Where the hints stand in the file.
    offset: u64,
    /// Where the record before ends.
    at: u64,
    records_end: u64,
    left: u64,
}

impl Hints {
    /// The `count` hints whose bytes stand at `offset` of the file; their checksum has been compared. The segment's
    /// frames end at `records_end`.
    pub(crate) fn decode(bytes: Bytes, offset: u64, records_end: u64, count: u64) -> Hints {
        let records_end = records_end.min(STREAM_LEN_MAX);
        Hints { bytes, next: 0, offset, at: HEADER_LEN as u64, records_end, left: count }
    }

    /// The next hint; `None` behind the last.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Hint>> {
        let mut reader = Reader::new(&self.bytes[self.next..]);
        if self.left == 0 {
            return if reader.rest().is_empty() { Ok(None) } else { Err(self.damage("bytes behind the last hint")) };
        }
        let Some((hint, end)) = read(&mut reader, self.at) else {
            return Err(self.damage("hint holds an impossible number or is cut short"));
        };
        if end > self.records_end {
            return Err(self.damage("hint points behind the last record"));
        }
        self.next += reader.at();
        self.at = end;
        self.left -= 1;
        Ok(Some(hint))
    }

    #[cold]
    fn damage(&self, what: &str) -> Damage {
        Damage::new(self.offset + self.next as u64, what)
    }
}

/// The hint for the record behind `at`, and where that record ends.
#[inline]
fn read(reader: &mut Reader<'_>, at: u64) -> Option<(Hint, u64)> {
    let head = reader.varint()?;
    let gap = if head & 1 == 1 { reader.varint().filter(|&gap| gap > 0)? } else { 0 };
    let [a, b, c, d, e] = reader.array()?;
    let fingerprint = Fingerprint::from_bits(u64::from_le_bytes([a, b, c, d, e, 0, 0, 0]));
    let offset = match planted(Bug::OffsetsWrap) {
        true => at.wrapping_add(gap) as u32,
        false => u32::try_from(at.checked_add(gap)?).ok()?,
    };
    let len = u32::try_from(head >> 1).ok().filter(|&len| len > 0)?;
    Some((Hint { fingerprint, offset, len }, u64::from(offset) + u64::from(len)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::fuzz;
    use crate::hash::hash;

    fn hint(offset: u32, len: u32) -> Hint {
        Hint { fingerprint: Fingerprint::of(hash(1, &offset.to_le_bytes())), offset, len }
    }

    fn encode(hints: &[Hint]) -> Vec<u8> {
        let mut builder = HintsBuilder::new();
        hints.iter().for_each(|&hint| builder.push(hint));
        assert_eq!(builder.count(), hints.len() as u64);
        builder.finish().to_vec()
    }

    fn decode(bytes: &[u8], records_end: u64, count: u64) -> Result<Vec<Hint>> {
        let mut hints = Hints::decode(Bytes::copy_from_slice(bytes), 1000, records_end, count);
        let mut out = Vec::new();
        while let Some(hint) = hints.next()? {
            out.push(hint);
        }
        Ok(out)
    }

    fn sample() -> Vec<Hint> {
        vec![hint(128, 50), hint(178, 1), hint(200, 300), hint(500, 1 << 30), hint(u32::MAX, 1)]
    }

    #[test]
    fn hints_come_back() {
        let hints = sample();
        assert_eq!(decode(&encode(&hints), 1 << 32, 5), Ok(hints));
        assert_eq!(decode(&encode(&[]), 128, 0), Ok(vec![]));
    }

    #[test]
    fn known_bytes() {
        let fingerprint = Fingerprint::from_bits(0x01_0203_0405);
        let bytes = encode(&[Hint { fingerprint, offset: 149, len: 63 }, Hint { fingerprint, offset: 212, len: 64 }]);
        assert_eq!(bytes, *b"\x7f\x15\x05\x04\x03\x02\x01\x80\x01\x05\x04\x03\x02\x01");
    }

    #[test]
    fn what_cannot_be_is_damage() {
        let bytes = encode(&sample());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut], 1 << 32, 5).is_err());
        }
        assert!(decode(&bytes, 1 << 32, 4).unwrap_err().what.contains("behind the last hint"));
        assert!(decode(&bytes, (1 << 32) - 1, 5).unwrap_err().what.contains("behind the last record"));
        assert!(decode(b"\x01\x00\x05\x04\x03\x02\x01", 1 << 32, 1).is_err(), "a gap of nothing");
        assert!(decode(b"\x00\x05\x04\x03\x02\x01", 1 << 32, 1).is_err(), "a record of nothing");
    }

    #[test]
    fn mutated_hints() {
        fuzz::mutate(&[encode(&sample()), encode(&[hint(128, 99)])], 100_000, |bytes| {
            for count in [1, 5] {
                if let Ok(hints) = decode(bytes, 1 << 32, count) {
                    assert_eq!(encode(&hints), bytes);
                }
            }
        });
    }
}
