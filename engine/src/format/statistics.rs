//! The statistics of a segment: what can be known of it without reading it.
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | number of records |
//! | 8 | 8 | number of keys: in each segment the newest record of a key is the one that counts |
//! | 16 | 8 | number of tombstones among the records |
//! | 24 | 8 | number of range tombstones among the records |
//! | 32 | 8 | number of records with an expiry |
//! | 40 | 8 | the smallest seq |
//! | 48 | 8 | the largest seq |
//! | 56 | 8 | the earliest expiry; 0 where there is none |
//! | 64 | 8 | the latest expiry; 0 where there is none |
//! | 72 | 8 | bytes of all records |
//! | 80 | 8 | bytes of the newest record of each key |
//! | 88 | 1..3 | length of the smallest key: a varint |
//! | | | the smallest key |
//! | | 1..3 | length of the largest key: a varint |
//! | | | the largest key |
//!
//! Integers are little-endian. The checksum stands in the footer. The manifest says the same of each of its segments.

use super::digest::Digest;
use super::manifest::SegmentMeta;
use super::names::SegmentId;
use super::reader::{Reader, u64_at};
use super::{Damage, KEY_LEN_MAX, Result, varint};
use crate::Seq;
use crate::format::block::Facts;
use crate::format::frame::Kind;

const RECORDS: usize = 0;
const KEYS: usize = RECORDS + 8;
const TOMBSTONES: usize = KEYS + 8;
const RANGE_TOMBSTONES: usize = TOMBSTONES + 8;
const EXPIRING: usize = RANGE_TOMBSTONES + 8;
const MIN_SEQ: usize = EXPIRING + 8;
const MAX_SEQ: usize = MIN_SEQ + 8;
const MIN_EXPIRY: usize = MAX_SEQ + 8;
const MAX_EXPIRY: usize = MIN_EXPIRY + 8;
const RECORD_BYTES: usize = MAX_EXPIRY + 8;
const LIVE_BYTES: usize = RECORD_BYTES + 8;
const MIN_KEY: usize = LIVE_BYTES + 8;

const _: () = assert!(MIN_KEY == 88);

/// The statistics of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Number of records.
    pub(crate) records: u64,
    /// Number of keys.
    pub(crate) keys: u64,
    /// Number of tombstones among the records.
    pub(crate) tombstones: u64,
    /// Number of range tombstones among the records.
    pub(crate) range_tombstones: u64,
    /// Number of records with an expiry.
    pub(crate) expiring: u64,
    /// The smallest seq; `Seq::MAX` while there is no record.
    pub(crate) min_seq: Seq,
    /// The largest seq.
    pub(crate) max_seq: Seq,
    /// The earliest and the latest expiry.
    pub(crate) expiries: Option<(u64, u64)>,
    /// Bytes of all records.
    pub(crate) record_bytes: u64,
    /// Bytes of the newest record of each key.
    pub(crate) live_bytes: u64,
    /// The smallest key.
    pub(crate) min_key: Vec<u8>,
    /// The largest key.
    pub(crate) max_key: Vec<u8>,
}

impl Default for Statistics {
    fn default() -> Statistics {
        Statistics {
            records: 0,
            keys: 0,
            tombstones: 0,
            range_tombstones: 0,
            expiring: 0,
            min_seq: Seq::MAX,
            max_seq: 0,
            expiries: None,
            record_bytes: 0,
            live_bytes: 0,
            min_key: Vec::new(),
            max_key: Vec::new(),
        }
    }
}

impl Statistics {
    /// Counts a record of `len` bytes, whichever key it has.
    #[inline]
    pub(crate) fn count(&mut self, facts: &Facts, len: u32) {
        self.records += 1;
        self.tombstones += u64::from(facts.kind == Kind::Tombstone);
        self.range_tombstones += u64::from(facts.kind == Kind::RangeTombstone);
        self.min_seq = self.min_seq.min(facts.seq);
        self.max_seq = self.max_seq.max(facts.seq);
        self.record_bytes += u64::from(len);
        if let Some(at) = facts.expires_at {
            self.expiring += 1;
            self.expiries = Some(self.expiries.map_or((at, at), |(min, max)| (min.min(at), max.max(at))));
        }
    }

    /// Counts a key whose newest record has `len` bytes.
    #[inline]
    pub(crate) fn count_key(&mut self, len: u32) {
        self.keys += 1;
        self.live_bytes += u64::from(len);
    }

    /// The statistics' bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (min_expiry, max_expiry) = self.expiries.unwrap_or((0, 0));
        let mut out = Vec::with_capacity(MIN_KEY + self.min_key.len() + self.max_key.len() + 6);
        let numbers = [self.records, self.keys, self.tombstones, self.range_tombstones, self.expiring];
        let numbers = numbers.into_iter().chain([self.min_seq, self.max_seq]);
        for number in numbers.chain([min_expiry, max_expiry, self.record_bytes, self.live_bytes]) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for key in [&self.min_key, &self.max_key] {
            varint::put(key.len() as u64, &mut out);
            out.extend_from_slice(key);
        }
        out
    }

    /// Decodes the statistics that consist of all of `bytes` and stand at `offset` of the file; their checksum has been
    /// compared.
    pub(crate) fn decode(bytes: &[u8], offset: u64) -> Result<Statistics> {
        let Some(keys) = bytes.get(MIN_KEY..) else {
            return Err(Damage::mismatch(offset, "length of the statistics", MIN_KEY + 2, bytes.len()));
        };
        let mut reader = Reader::new(keys);
        let mut key = || {
            let len = reader.count(KEY_LEN_MAX)?;
            reader.take(len).map(<[u8]>::to_vec)
        };
        let (Some(min_key), Some(max_key)) = (key(), key()) else {
            return Err(Damage::new(offset + MIN_KEY as u64, "key in the statistics is too long or cut short"));
        };
        if !reader.rest().is_empty() {
            return Err(Damage::new(offset + (MIN_KEY + reader.at()) as u64, "bytes behind the statistics"));
        }
        let expiring = u64_at(bytes, EXPIRING);
        let expiries = (u64_at(bytes, MIN_EXPIRY), u64_at(bytes, MAX_EXPIRY));
        if expiring == 0 && expiries != (0, 0) {
            return Err(Damage::new(offset + MIN_EXPIRY as u64, "expiries of no record"));
        }
        Ok(Statistics {
            records: u64_at(bytes, RECORDS),
            keys: u64_at(bytes, KEYS),
            tombstones: u64_at(bytes, TOMBSTONES),
            range_tombstones: u64_at(bytes, RANGE_TOMBSTONES),
            expiring,
            min_seq: u64_at(bytes, MIN_SEQ),
            max_seq: u64_at(bytes, MAX_SEQ),
            expiries: (expiring > 0).then_some(expiries),
            record_bytes: u64_at(bytes, RECORD_BYTES),
            live_bytes: u64_at(bytes, LIVE_BYTES),
            min_key,
            max_key,
        })
    }

    /// What a manifest says of the segment `id` with these statistics, but for its digest: nothing is written yet.
    pub(crate) fn into_meta(self, id: SegmentId, place: Place) -> SegmentMeta {
        SegmentMeta {
            id,
            len: place.len,
            salt: place.salt,
            base_seq: place.base_seq,
            sorted: place.sorted,
            footer_crc: place.footer_crc,
            digest: Digest::NONE,
            min_seq: self.min_seq,
            max_seq: self.max_seq,
            min_key: self.min_key,
            max_key: self.max_key,
            records: self.records,
            entries: self.keys,
            tombstones: self.tombstones,
            range_tombstones: self.range_tombstones,
            expiring: self.expiring,
            min_expiry: self.expiries.map(|(min, _)| min),
            max_expiry: self.expiries.map(|(_, max)| max),
            record_bytes: self.record_bytes,
            live_bytes: self.live_bytes,
            dead_bytes: 0,
            swept: place.swept,
            born: 0,
        }
    }

    /// The statistics that the manifest gives of a segment.
    pub(crate) fn of(meta: &SegmentMeta) -> Statistics {
        Statistics {
            records: meta.records,
            keys: meta.entries,
            tombstones: meta.tombstones,
            range_tombstones: meta.range_tombstones,
            expiring: meta.expiring,
            min_seq: meta.min_seq,
            max_seq: meta.max_seq,
            expiries: meta.min_expiry.zip(meta.max_expiry),
            record_bytes: meta.record_bytes,
            live_bytes: meta.live_bytes,
            min_key: meta.min_key.clone(),
            max_key: meta.max_key.clone(),
        }
    }
}

/// What a manifest says of a segment beyond its statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Exact length of the file.
    pub(crate) len: u64,
    /// The salt in its header.
    pub(crate) salt: u64,
    /// The base seq in its header.
    pub(crate) base_seq: Seq,
    /// Whether its records are in key order.
    pub(crate) sorted: bool,
    /// The checksum of its footer.
    pub(crate) footer_crc: u32,
    /// Up to which range tombstone nothing in it is covered.
    pub(crate) swept: Seq,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::fuzz;

    fn sample() -> Statistics {
        let mut statistics = Statistics { min_key: b"a".to_vec(), max_key: vec![0xff; 300], ..Statistics::default() };
        let put = Facts { seq: 7, kind: Kind::Put, expires_at: Some(300) };
        statistics.count(&put, 50);
        statistics.count(&Facts { expires_at: Some(200), ..put }, 60);
        statistics.count(&Facts { seq: 8, kind: Kind::RangeTombstone, expires_at: None }, 30);
        statistics.count(&Facts { seq: 9, kind: Kind::Tombstone, expires_at: None }, 20);
        statistics.count_key(60);
        statistics
    }

    #[test]
    fn statistics_come_back() {
        let expected = sample();
        assert_eq!((expected.records, expected.tombstones, expected.expiring), (4, 1, 2));
        assert_eq!(expected.range_tombstones, 1);
        assert_eq!((expected.min_seq, expected.max_seq, expected.expiries), (7, 9, Some((200, 300))));
        assert_eq!((expected.record_bytes, expected.live_bytes, expected.keys), (160, 60, 1));
        assert_eq!(Statistics::decode(&expected.encode(), 0), Ok(expected));
        let none = Statistics::default();
        assert_eq!(Statistics::decode(&none.encode(), 0), Ok(none));
    }

    #[test]
    fn the_manifest_says_the_same() {
        let id = SegmentId { epoch: 1, nonce: 2, number: 3 };
        let place = Place { len: 1000, salt: 5, base_seq: 6, sorted: true, footer_crc: 7, swept: 9 };
        assert_eq!(Statistics::of(&sample().into_meta(id, place)), sample());
    }

    #[test]
    fn mutated_statistics() {
        fuzz::mutate(&[sample().encode(), Statistics::default().encode()], 50_000, |bytes| {
            if let Ok(statistics) = Statistics::decode(bytes, 0) {
                assert_eq!(statistics.encode(), bytes);
            }
        });
    }
}
