//! The header of a segment: its first 128 bytes.
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 24 | preamble, magic `HALITE/S` |
//! | 24 | 16 | database id |
//! | 40 | 8 | epoch of the writer |
//! | 48 | 8 | nonce of the writer's claim |
//! | 56 | 8 | number of the segment |
//! | 64 | 8 | salt, random: bound into every checksum of the segment |
//! | 72 | 8 | hash seed of the database |
//! | 80 | 8 | base seq: records hold their seq as a difference to it |
//! | 88 | 8 | engine time of its creation, milliseconds |
//! | 96 | 8 | predecessor in the log: its number, 0 where there is none |
//! | 104 | 8 | predecessor: the length of its log, end mark included |
//! | 112 | 8 | predecessor: its last seq |
//! | 120 | 4 | layout: 1 dense (records in log order), 2 sorted (records in key order) |
//! | 124 | 4 | checksum of bytes 0..124, salt 0, offset 0 |
//!
//! Integers are little-endian. The header is written only after the predecessor's records are synced, so a predecessor
//! that is shorter or ends otherwise is damaged.

use super::names::SegmentId;
use super::preamble::{self, PREAMBLE_LEN};
use super::reader::{u32_at, u64_at};
use super::{Damage, Fault, MAGIC_SEGMENT, Result, checksum};
use crate::Seq;
use crate::format::frame::Stream;
use crate::planted::{Bug, planted};

const DATABASE: usize = PREAMBLE_LEN;
const EPOCH: usize = DATABASE + 16;
const NONCE: usize = EPOCH + 8;
const NUMBER: usize = NONCE + 8;
const SALT: usize = NUMBER + 8;
const HASH_SEED: usize = SALT + 8;
const BASE_SEQ: usize = HASH_SEED + 8;
const CREATED: usize = BASE_SEQ + 8;
const PREDECESSOR: usize = CREATED + 8;
const LAYOUT: usize = PREDECESSOR + Predecessor::LEN;
const CRC: usize = LAYOUT + 4;

/// The length of a segment's header: the offset of its first frame.
pub(crate) const HEADER_LEN: usize = CRC + 4;

const _: () = assert!(HEADER_LEN == 128);

// These numbers never change.
const LAYOUT_DENSE: u32 = 1;
const LAYOUT_SORTED: u32 = 2;

/// In which order a segment holds its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In that of the log, any number to a key.
    Dense,
    /// In that of their keys, one to a key.
    Sorted,
}

impl Layout {
    /// Its number in files.
    pub(super) fn number(self) -> u32 {
        match self {
            Layout::Dense => LAYOUT_DENSE,
            Layout::Sorted => LAYOUT_SORTED,
        }
    }

    /// The layout of that number.
    pub(super) fn from_number(number: u32) -> Option<Layout> {
        match number {
            LAYOUT_DENSE => Some(Layout::Dense),
            LAYOUT_SORTED => Some(Layout::Sorted),
            _ => None,
        }
    }
}

/// The end of the segment before, as its successor vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Predecessor {
    /// Its number, in the same epoch.
    pub(crate) number: u64,
    /// The offset at which its end mark ends.
    pub(crate) len: u64,
    /// The seq of its last record.
    pub(crate) last_seq: Seq,
}

impl Predecessor {
    pub(super) const LEN: usize = 24;

    pub(super) fn encode(predecessor: Option<Predecessor>) -> [u8; Predecessor::LEN] {
        let Predecessor { number, len, last_seq } =
            predecessor.unwrap_or(Predecessor { number: 0, len: 0, last_seq: 0 });
        let mut out = [0; Predecessor::LEN];
        out[..8].copy_from_slice(&number.to_le_bytes());
        out[8..16].copy_from_slice(&len.to_le_bytes());
        out[16..].copy_from_slice(&last_seq.to_le_bytes());
        out
    }

    /// From the field at `at` of a file's first `bytes`.
    pub(super) fn decode(bytes: &[u8], at: usize) -> Result<Option<Predecessor>> {
        let predecessor =
            Predecessor { number: u64_at(bytes, at), len: u64_at(bytes, at + 8), last_seq: u64_at(bytes, at + 16) };
        match predecessor {
            Predecessor { number: 0, len: 0, last_seq: 0 } => Ok(None),
            Predecessor { number: 0, .. } => Err(Damage::new(at as u64, "facts about a predecessor that is none")),
            predecessor => Ok(Some(predecessor)),
        }
    }
}

/// What a segment says of itself at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The database's random id.
    pub(crate) database: [u8; 16],
    /// The segment's own id; its number is not 0.
    pub(crate) id: SegmentId,
    /// Random: bound into every checksum of the segment.
    pub(crate) salt: u64,
    /// The database's hash seed.
    pub(crate) hash_seed: u64,
    /// At most the smallest seq in the segment.
    pub(crate) base_seq: Seq,
    /// Engine time of its creation, milliseconds.
    pub(crate) created: u64,
    /// In which order it holds its records.
    pub(crate) layout: Layout,
    /// The segment before it in the log.
    pub(crate) predecessor: Option<Predecessor>,
}

impl Header {
    /// What the segment's frames are encoded against.
    pub(crate) fn stream(&self) -> Stream {
        Stream { salt: self.salt, base_seq: self.base_seq }
    }

    /// Whether this is the header of segment `id` of that very database.
    pub(crate) fn check(&self, database: &[u8; 16], hash_seed: u64, id: SegmentId) -> Result<()> {
        if planted(Bug::AnyFileAccepted) {
            return Ok(());
        }
        if self.id != id {
            return Err(Damage::mismatch(EPOCH as u64, "segment id", id, self.id));
        }
        if self.database != *database || self.hash_seed != hash_seed {
            return Err(Damage::new(DATABASE as u64, "the segment belongs to another database"));
        }
        Ok(())
    }

    /// Whether the header of that database's segment `id` has ever stood at the beginning of `bytes`, which do not decode
    /// as it: then it is damaged, else it never came to be.
    ///
    /// A header lies in one sector, so a crash leaves all of it or none: zeros, or garbage. Damage leaves most of it.
    pub(crate) fn has_left_traces(bytes: &[u8], database: &[u8; 16], hash_seed: u64, id: SegmentId) -> bool {
        let stands = |at: usize, field: &[u8]| bytes.get(at..at + field.len()) == Some(field);
        stands(0, &MAGIC_SEGMENT)
            || stands(DATABASE, database)
            || stands(NONCE, &id.nonce.to_le_bytes())
            || stands(HASH_SEED, &hash_seed.to_le_bytes())
    }

    /// The header's bytes.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        assert!(self.id.number != 0, "segments are numbered from 1");
        assert!(self.predecessor.is_none_or(|before| before.number != 0), "segments are numbered from 1");
        let mut out = [0; HEADER_LEN];
        out[..DATABASE].copy_from_slice(&preamble::encode(MAGIC_SEGMENT, 0));
        out[DATABASE..EPOCH].copy_from_slice(&self.database);
        out[EPOCH..NONCE].copy_from_slice(&self.id.epoch.to_le_bytes());
        out[NONCE..NUMBER].copy_from_slice(&self.id.nonce.to_le_bytes());
        out[NUMBER..SALT].copy_from_slice(&self.id.number.to_le_bytes());
        out[SALT..HASH_SEED].copy_from_slice(&self.salt.to_le_bytes());
        out[HASH_SEED..BASE_SEQ].copy_from_slice(&self.hash_seed.to_le_bytes());
        out[BASE_SEQ..CREATED].copy_from_slice(&self.base_seq.to_le_bytes());
        out[CREATED..PREDECESSOR].copy_from_slice(&self.created.to_le_bytes());
        out[PREDECESSOR..LAYOUT].copy_from_slice(&Predecessor::encode(self.predecessor));
        out[LAYOUT..CRC].copy_from_slice(&self.layout.number().to_le_bytes());
        let crc = checksum::crc(0, 0, &out[..CRC]);
        out[CRC..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes the header with which `bytes` begins; more may follow it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Header, Fault> {
        preamble::check(MAGIC_SEGMENT, 0, bytes)?;
        let Some(bytes) = bytes.get(..HEADER_LEN) else {
            return Err(Damage::mismatch(0, "header length", HEADER_LEN, bytes.len()).into());
        };
        check_crc("header checksum", bytes)?;
        let id = SegmentId { epoch: u64_at(bytes, EPOCH), nonce: u64_at(bytes, NONCE), number: u64_at(bytes, NUMBER) };
        if id.number == 0 {
            return Err(Damage::new(NUMBER as u64, "segment number is zero").into());
        }
        let layout = u32_at(bytes, LAYOUT);
        let Some(layout) = Layout::from_number(layout) else {
            return Err(Damage::mismatch(LAYOUT as u64, "layout", "1 or 2", layout).into());
        };
        let mut database = [0; 16];
        database.copy_from_slice(&bytes[DATABASE..EPOCH]);
        Ok(Header {
            database,
            id,
            salt: u64_at(bytes, SALT),
            hash_seed: u64_at(bytes, HASH_SEED),
            base_seq: u64_at(bytes, BASE_SEQ),
            created: u64_at(bytes, CREATED),
            layout,
            predecessor: Predecessor::decode(bytes, PREDECESSOR)?,
        })
    }
}

/// Compares the checksum in the last four of `bytes`, which begin a file, with that of the others.
pub(super) fn check_crc(field: &str, bytes: &[u8]) -> Result<()> {
    let at = bytes.len() - 4;
    let (expected, found) = (checksum::crc(0, 0, &bytes[..at]), u32_at(bytes, at));
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (format_args!("{expected:#010x}"), format_args!("{found:#010x}"));
    Err(Damage::mismatch(at as u64, field, expected, found))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::fuzz;

    pub(in crate::format) fn sample() -> Header {
        Header {
            database: *b"0123456789abcdef",
            id: SegmentId { epoch: 3, nonce: 0xbeef, number: 8 },
            salt: 0x5a17_5a17_5a17_5a17,
            hash_seed: 0x5eed,
            base_seq: 1000,
            created: 1_700_000_000_000,
            layout: Layout::Dense,
            predecessor: Some(Predecessor { number: 7, len: 4096, last_seq: 999 }),
        }
    }

    #[test]
    fn headers_come_back() {
        let sorted = Header { layout: Layout::Sorted, predecessor: None, ..sample() };
        for header in [sample(), sorted] {
            let mut bytes = header.encode().to_vec();
            assert_eq!(Header::decode(&bytes), Ok(header));
            bytes.extend([0xff; 10]);
            assert_eq!(Header::decode(&bytes), Ok(header));
        }
    }

    #[test]
    fn damage_is_noticed_and_never_taken_for_a_newer_version() {
        fuzz::every_damage_is_noticed(&sample().encode(), |bytes| match Header::decode(bytes) {
            Err(Fault::Newer(what)) => panic!("{what}"),
            other => other,
        });
    }

    #[test]
    fn a_damaged_header_is_told_from_one_that_never_was() {
        let header = sample();
        let traces = |bytes: &[u8]| Header::has_left_traces(bytes, &header.database, header.hash_seed, header.id);
        let whole = header.encode();
        for at in 0..whole.len() {
            let mut damaged = whole;
            damaged[at] ^= 0xff;
            assert!(traces(&damaged), "byte {at}");
        }
        assert!(!traces(&[]) && !traces(&[0; HEADER_LEN]) && !traces(&[0x5a; 4096]) && !traces(&whole[1..]));
    }

    /// What the encoder refuses to write is damage where it is found, its checksum notwithstanding.
    #[test]
    fn impossible_headers_are_damage() {
        let forge = |range: std::ops::Range<usize>, byte: u8| {
            let mut bytes = sample().encode();
            bytes[range].fill(byte);
            let crc = checksum::crc(0, 0, &bytes[..CRC]);
            bytes[CRC..].copy_from_slice(&crc.to_le_bytes());
            Header::decode(&bytes).unwrap_err().to_string()
        };
        assert!(forge(NUMBER..SALT, 0).contains("segment number is zero"));
        assert!(forge(LAYOUT..CRC, 0).contains("layout"));
        assert!(forge(PREDECESSOR..PREDECESSOR + 8, 0).contains("predecessor"));
    }

    #[test]
    fn mutated_headers() {
        let sorted = Header { layout: Layout::Sorted, predecessor: None, ..sample() };
        fuzz::mutate(&[sample().encode().to_vec(), sorted.encode().to_vec()], 200_000, |bytes| {
            if let Ok(header) = Header::decode(bytes) {
                assert_eq!(header.encode(), bytes[..HEADER_LEN]);
            }
        });
    }
}
