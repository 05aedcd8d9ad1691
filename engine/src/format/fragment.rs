//! A fragment: one slice of the log as an object of its own, where files cannot grow; or the fence that ends a log.
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 24 | preamble, magic `HALITE/L` |
//! | 24 | 16 | database id |
//! | 40 | 8 | epoch of the log |
//! | 48 | 8 | nonce of the log's claim |
//! | 56 | 8 | number of the fragment |
//! | 64 | 8 | write nonce, random: settles whose fragment it is when the answer to its creation was lost |
//! | 72 | 8 | engine time, milliseconds |
//! | 80 | 4 | kind: 1 data, 2 fence |
//! | 84 | 4 | checksum of the payload, its salt the segment's, its offset that of the first frame; 0 in a fence |
//! | 88 | 8 | length of the payload; 0 in a fence, as are all fields from here to 152 |
//! | 96 | 8 | offset that the payload's first byte would have in the segment as one file |
//! | 104 | 8 | number of the segment |
//! | 112 | 8 | salt of the segment |
//! | 120 | 8 | base seq of the segment |
//! | 128 | 8 | predecessor of the segment: its number, 0 where there is none |
//! | 136 | 8 | predecessor: the length of its log, end mark included |
//! | 144 | 8 | predecessor: its last seq |
//! | 152 | 4 | zero |
//! | 156 | 4 | checksum of bytes 0..156, salt 0, offset 0 |
//! | 160 | | payload: frames |
//!
//! The file ends with the payload. A fragment is created whole, so one that is not is corrupt, never torn.

use super::frame::Stream;
use super::header::{HEADER_LEN, Predecessor, check_crc};
use super::names::FragmentId;
use super::preamble::{self, PREAMBLE_LEN};
use super::reader::{u32_at, u64_at};
use super::{Damage, Fault, MAGIC_FRAGMENT, Result, STREAM_LEN_MAX, checksum};
use crate::Seq;
use crate::planted::{Bug, planted};
use bytes::Bytes;

const DATABASE: usize = PREAMBLE_LEN;
const EPOCH: usize = DATABASE + 16;
const NONCE: usize = EPOCH + 8;
const NUMBER: usize = NONCE + 8;
const WRITE_NONCE: usize = NUMBER + 8;
const TIME: usize = WRITE_NONCE + 8;
const KIND: usize = TIME + 8;
const PAYLOAD_CRC: usize = KIND + 4;
const PAYLOAD_LEN: usize = PAYLOAD_CRC + 4;
const FIRST_OFFSET: usize = PAYLOAD_LEN + 8;
const SEGMENT: usize = FIRST_OFFSET + 8;
const SALT: usize = SEGMENT + 8;
const BASE_SEQ: usize = SALT + 8;
const PREDECESSOR: usize = BASE_SEQ + 8;
const ZERO: usize = PREDECESSOR + Predecessor::LEN;
const CRC: usize = ZERO + 4;

/// The length of a fragment's header: where its payload begins.
pub(crate) const FRAGMENT_HEADER_LEN: usize = CRC + 4;

const _: () = assert!(FRAGMENT_HEADER_LEN == 160);

// These numbers never change.
const KIND_DATA: u32 = 1;
const KIND_FENCE: u32 = 2;

/// A fragment but for its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// The database's random id.
    pub(crate) database: [u8; 16],
    /// Which one of which log.
    pub(crate) id: FragmentId,
    /// Random for every fragment.
    pub(crate) write_nonce: u64,
    /// Engine time when it was made, milliseconds.
    pub(crate) time: u64,
    /// What it is.
    pub(crate) kind: FragmentKind,
}

/// What a fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FragmentKind {
    /// A slice of the log.
    Data(Slice),
    /// The end of the log, set by the writer that follows.
    Fence,
}

/// Where a slice of the log belongs. As the segment has no header yet, every slice says what the header will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The offset that its first byte would have in the segment as one file.
    pub(crate) first_offset: u64,
    /// The number of the segment; not 0.
    pub(crate) segment: u64,
    /// The segment's salt.
    pub(crate) salt: u64,
    /// The segment's base seq.
    pub(crate) base_seq: Seq,
    /// The segment before it in the log.
    pub(crate) predecessor: Option<Predecessor>,
}

impl Slice {
    /// What the segment's frames are encoded against.
    pub(crate) fn stream(&self) -> Stream {
        Stream { salt: self.salt, base_seq: self.base_seq }
    }

    /// Where a payload of `len` bytes may lie.
    fn fits(&self, len: u64) -> bool {
        let end = self.first_offset.checked_add(len);
        self.first_offset >= HEADER_LEN as u64 && end.is_some_and(|end| end <= STREAM_LEN_MAX)
    }
}

/// Whether a fragment as long as that has a payload, which a fence has not.
pub(crate) fn holds_data(len: u64) -> bool {
    len > FRAGMENT_HEADER_LEN as u64
}

impl Fragment {
    /// The fragment's bytes, its payload (none in a fence) in any number of pieces.
    pub(crate) fn encode(&self, payload: &[Bytes]) -> Bytes {
        let payload_len = payload.iter().map(Bytes::len).sum();
        let crc = payload.iter().fold(self.payload_seed(), |crc, piece| checksum::append(crc, piece));
        let mut out = Vec::with_capacity(FRAGMENT_HEADER_LEN + payload_len);
        out.extend_from_slice(&self.encode_header(payload_len, crc));
        payload.iter().for_each(|piece| out.extend_from_slice(piece));
        out.into()
    }

    /// Complains unless it is fragment `id` of that database.
    pub(crate) fn check_place(&self, database: &[u8; 16], id: FragmentId) -> Result<(), Damage> {
        if planted(Bug::AnyFileAccepted) {
            return Ok(());
        }
        if self.id != id {
            return Err(Damage::new(EPOCH as u64, format!("this is fragment {:?} of another place", self.id)));
        }
        if self.database != *database {
            return Err(Damage::new(DATABASE as u64, "the fragment belongs to another database"));
        }
        Ok(())
    }

    /// What the checksum of its payload goes on from.
    pub(crate) fn payload_seed(&self) -> u32 {
        match &self.kind {
            FragmentKind::Data(slice) => checksum::seed(slice.salt, slice.first_offset),
            FragmentKind::Fence => 0,
        }
    }

    /// What stands before a payload of that length and checksum.
    pub(crate) fn encode_header(&self, payload_len: usize, payload_crc: u32) -> [u8; FRAGMENT_HEADER_LEN] {
        let mut out = [0; FRAGMENT_HEADER_LEN];
        out[..DATABASE].copy_from_slice(&preamble::encode(MAGIC_FRAGMENT, 0));
        out[DATABASE..EPOCH].copy_from_slice(&self.database);
        out[EPOCH..NONCE].copy_from_slice(&self.id.epoch.to_le_bytes());
        out[NONCE..NUMBER].copy_from_slice(&self.id.nonce.to_le_bytes());
        out[NUMBER..WRITE_NONCE].copy_from_slice(&self.id.number.to_le_bytes());
        out[WRITE_NONCE..TIME].copy_from_slice(&self.write_nonce.to_le_bytes());
        out[TIME..KIND].copy_from_slice(&self.time.to_le_bytes());
        match &self.kind {
            FragmentKind::Fence => {
                assert!(payload_len == 0, "a fence holds nothing");
                out[KIND..PAYLOAD_CRC].copy_from_slice(&KIND_FENCE.to_le_bytes());
            }
            FragmentKind::Data(slice) => {
                assert!(slice.segment != 0, "segments are numbered from 1");
                assert!(slice.fits(payload_len as u64), "slice at {} len {payload_len}", slice.first_offset);
                out[KIND..PAYLOAD_CRC].copy_from_slice(&KIND_DATA.to_le_bytes());
                out[PAYLOAD_CRC..PAYLOAD_LEN].copy_from_slice(&payload_crc.to_le_bytes());
                out[PAYLOAD_LEN..FIRST_OFFSET].copy_from_slice(&(payload_len as u64).to_le_bytes());
                out[FIRST_OFFSET..SEGMENT].copy_from_slice(&slice.first_offset.to_le_bytes());
                out[SEGMENT..SALT].copy_from_slice(&slice.segment.to_le_bytes());
                out[SALT..BASE_SEQ].copy_from_slice(&slice.salt.to_le_bytes());
                out[BASE_SEQ..PREDECESSOR].copy_from_slice(&slice.base_seq.to_le_bytes());
                out[PREDECESSOR..ZERO].copy_from_slice(&Predecessor::encode(slice.predecessor));
            }
        }
        let crc = checksum::crc(0, 0, &out[..CRC]);
        out[CRC..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decodes a whole fragment file; gives its payload too, whose checksum has been compared.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Fragment, &[u8]), Fault> {
        let unchecked = UncheckedFragment::decode(bytes)?;
        let crc = checksum::append(unchecked.fragment.payload_seed(), unchecked.payload);
        Ok((unchecked.check(crc)?, &bytes[FRAGMENT_HEADER_LEN..]))
    }

    /// The header with which `bytes` begins, and length and checksum that it gives for the payload.
    pub(crate) fn decode_header(bytes: &[u8]) -> Result<(Fragment, u64, u32), Fault> {
        preamble::check(MAGIC_FRAGMENT, 0, bytes)?;
        let Some(bytes) = bytes.get(..FRAGMENT_HEADER_LEN) else {
            return Err(Damage::mismatch(0, "fragment header length", FRAGMENT_HEADER_LEN, bytes.len()).into());
        };
        check_crc("fragment header checksum", bytes)?;
        if u32_at(bytes, ZERO) != 0 {
            return Err(Damage::new(ZERO as u64, "field that must be zero is not").into());
        }
        let kind = match u32_at(bytes, KIND) {
            KIND_DATA => FragmentKind::Data(decode_slice(bytes)?),
            KIND_FENCE => {
                if bytes[PAYLOAD_CRC..CRC].iter().any(|&byte| byte != 0) {
                    return Err(Damage::new(PAYLOAD_CRC as u64, "a fence that holds something").into());
                }
                FragmentKind::Fence
            }
            other => return Err(Damage::mismatch(KIND as u64, "fragment kind", "1 or 2", other).into()),
        };
        let mut database = [0; 16];
        database.copy_from_slice(&bytes[DATABASE..EPOCH]);
        let id = FragmentId { epoch: u64_at(bytes, EPOCH), nonce: u64_at(bytes, NONCE), number: u64_at(bytes, NUMBER) };
        let (write_nonce, time) = (u64_at(bytes, WRITE_NONCE), u64_at(bytes, TIME));
        let fragment = Fragment { database, id, write_nonce, time, kind };
        Ok((fragment, u64_at(bytes, PAYLOAD_LEN), u32_at(bytes, PAYLOAD_CRC)))
    }
}

/// A fragment whose payload's checksum is still to be compared: that of a long one takes more than a moment.
#[derive(Debug)]
pub(crate) struct UncheckedFragment<'a> {
    fragment: Fragment,
    /// Its payload.
    pub(crate) payload: &'a [u8],
    payload_crc: u32,
}

impl<'a> UncheckedFragment<'a> {
    /// Decodes a whole fragment file.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<UncheckedFragment<'a>, Fault> {
        let (fragment, payload_len, payload_crc) = Fragment::decode_header(bytes)?;
        let payload = &bytes[FRAGMENT_HEADER_LEN..];
        if payload.len() as u64 != payload_len {
            return Err(Damage::mismatch(PAYLOAD_LEN as u64, "payload length", payload_len, payload.len()).into());
        }
        Ok(UncheckedFragment { fragment, payload, payload_crc })
    }

    /// What the checksum of the payload goes on from.
    pub(crate) fn seed(&self) -> u32 {
        self.fragment.payload_seed()
    }

    /// The fragment, if `crc` is its payload's checksum.
    pub(crate) fn check(self, crc: u32) -> Result<Fragment, Fault> {
        let UncheckedFragment { fragment, payload_crc: found, .. } = self;
        if crc != found {
            let (expected, found) = (format_args!("{crc:#010x}"), format_args!("{found:#010x}"));
            return Err(Damage::mismatch(PAYLOAD_CRC as u64, "payload checksum", expected, found).into());
        }
        Ok(fragment)
    }
}

fn decode_slice(bytes: &[u8]) -> Result<Slice> {
    let slice = Slice {
        first_offset: u64_at(bytes, FIRST_OFFSET),
        segment: u64_at(bytes, SEGMENT),
        salt: u64_at(bytes, SALT),
        base_seq: u64_at(bytes, BASE_SEQ),
        predecessor: Predecessor::decode(bytes, PREDECESSOR)?,
    };
    if slice.segment == 0 {
        return Err(Damage::new(SEGMENT as u64, "segment number is zero"));
    }
    if !slice.fits(u64_at(bytes, PAYLOAD_LEN)) {
        return Err(Damage::new(FIRST_OFFSET as u64, format!("slice lies in no segment at={}", slice.first_offset)));
    }
    Ok(slice)
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::fuzz;

    pub(in crate::format) fn sample() -> Fragment {
        Fragment {
            database: *b"0123456789abcdef",
            id: FragmentId { epoch: 3, nonce: 0xbeef, number: 12 },
            write_nonce: 0x0012_3456_789a_bcde,
            time: 1_700_000_000_000,
            kind: FragmentKind::Data(Slice {
                first_offset: 4096,
                segment: 8,
                salt: 0x5a17_5a17_5a17_5a17,
                base_seq: 1000,
                predecessor: Some(Predecessor { number: 7, len: 4096, last_seq: 999 }),
            }),
        }
    }

    fn fence() -> Fragment {
        Fragment { kind: FragmentKind::Fence, ..sample() }
    }

    fn payload() -> [Bytes; 3] {
        [Bytes::from_static(b"some "), Bytes::new(), Bytes::from_static(b"frames")]
    }

    #[test]
    fn fragments_come_back() {
        let bytes = sample().encode(&payload());
        assert_eq!(Fragment::decode(&bytes), Ok((sample(), &b"some frames"[..])));
        assert_eq!(bytes, sample().encode(&[Bytes::from_static(b"some frames")]));
        let bytes = fence().encode(&[]);
        assert_eq!(bytes.len(), FRAGMENT_HEADER_LEN);
        assert_eq!(Fragment::decode(&bytes), Ok((fence(), &[][..])));
    }

    #[test]
    fn damage_is_noticed_and_never_taken_for_a_newer_version() {
        for bytes in [sample().encode(&payload()), fence().encode(&[])] {
            fuzz::every_damage_is_noticed(&bytes, |bytes| match Fragment::decode(bytes) {
                Err(Fault::Newer(what)) => panic!("{what}"),
                other => other.map(|_| ()),
            });
            assert!(Fragment::decode(&[&bytes[..], b"\0"].concat()).is_err());
        }
    }

    /// What the encoder refuses to write is damage where it is found, its checksum notwithstanding.
    #[test]
    fn impossible_fragments_are_damage() {
        let forge = |bytes: Bytes, at: usize, field: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[at..at + field.len()].copy_from_slice(field);
            let crc = checksum::crc(0, 0, &bytes[..CRC]);
            bytes[CRC..FRAGMENT_HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
            Fragment::decode(&bytes).unwrap_err().to_string()
        };
        let data = || sample().encode(&payload());
        assert!(forge(data(), KIND, &[0; 4]).contains("kind"));
        assert!(forge(data(), ZERO, &[1]).contains("must be zero"));
        assert!(forge(data(), SEGMENT, &[0; 8]).contains("segment number is zero"));
        assert!(forge(data(), FIRST_OFFSET, &127u64.to_le_bytes()).contains("no segment"));
        assert!(forge(data(), FIRST_OFFSET, &[0xff; 8]).contains("no segment"));
        assert!(forge(data(), PAYLOAD_LEN, &[0xff; 8]).contains("no segment"));
        assert!(forge(data(), FIRST_OFFSET, &4097u64.to_le_bytes()).contains("payload checksum"));
        assert!(forge(data(), PREDECESSOR, &[0; 8]).contains("predecessor"));
        assert!(forge(fence().encode(&[]), SALT, &[1]).contains("fence"));
        assert!(forge(data(), KIND, &[2, 0, 0, 0]).contains("fence"));
    }

    #[test]
    fn mutated_fragments() {
        let seeds = [sample().encode(&payload()).to_vec(), fence().encode(&[]).to_vec()];
        fuzz::mutate(&seeds, 200_000, |bytes| {
            if let Ok((fragment, payload)) = Fragment::decode(bytes) {
                assert_eq!(fragment.encode(&[Bytes::copy_from_slice(payload)]), bytes);
            }
        });
    }
}
