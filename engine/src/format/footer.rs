//! The footer of a sealed segment: its last 120 bytes, which say where everything else is.
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 24 | preamble, magic `HALITE/F` |
//! | 24 | 8 | offset of the index blocks: where the frames end |
//! | 32 | 8 | offset of the fences: where the index blocks end |
//! | 40 | 8 | offset of the hints: where the fences end |
//! | 48 | 8 | offset of the filter: where the hints end |
//! | 56 | 8 | offset of the statistics: where the filter ends |
//! | 64 | 8 | offset of the footer itself: where the statistics end |
//! | 72 | 4 | checksum of the fences |
//! | 76 | 4 | checksum of the hints |
//! | 80 | 4 | checksum of the filter |
//! | 84 | 4 | checksum of the statistics |
//! | 88 | 8 | number of index blocks |
//! | 96 | 8 | number of index entries |
//! | 104 | 8 | number of hints |
//! | 112 | 4 | layout, as in the header |
//! | 116 | 4 | checksum of bytes 0..116 |
//!
//! Integers are little-endian; every checksum is bound to the segment's salt and to where its part begins in the file
//! (an index block holds its own). The footer's checksum stands in the manifest too. The segment's length
//! stands there too: nothing is found from the end of a file.

use super::filter::BLOCK_LEN as FILTER_BLOCK_LEN;
use super::header::{HEADER_LEN, Layout};
use super::preamble::{self, PREAMBLE_LEN};
use super::reader::{u32_at, u64_at};
use super::{Damage, Fault, MAGIC_FOOTER, Result, STREAM_LEN_MAX, checksum};
use std::ops::Range;

const OFFSETS: usize = PREAMBLE_LEN;
const CRCS: usize = OFFSETS + 6 * 8;
const BLOCKS: usize = CRCS + 4 * 4;
const ENTRIES: usize = BLOCKS + 8;
const HINTS: usize = ENTRIES + 8;
const LAYOUT: usize = HINTS + 8;
const CRC: usize = LAYOUT + 4;

/// The length of a footer.
pub(crate) const FOOTER_LEN: usize = CRC + 4;

const _: () = assert!(FOOTER_LEN == 120);

/// Where a part of a segment stands in the file, and its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The bytes of the file.
    pub(crate) range: Range<u64>,
    /// Their checksum.
    pub(crate) crc: u32,
}

/// What a segment says of itself at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Footer {
    /// The index blocks, which stand where the frames end. Each has its own checksum.
    pub(crate) index: Range<u64>,
    /// The fences.
    pub(crate) fences: Part,
    /// The hints.
    pub(crate) hints: Part,
    /// The filter.
    pub(crate) filter: Part,
    /// The statistics.
    pub(crate) statistics: Part,
    /// Number of index blocks.
    pub(crate) blocks: u64,
    /// Number of index entries.
    pub(crate) entries: u64,
    /// Number of hints.
    pub(crate) hint_count: u64,
    /// In which order the segment holds its records.
    pub(crate) layout: Layout,
}

impl Footer {
    /// Where the frames end.
    #[inline]
    pub(crate) fn records_end(&self) -> u64 {
        self.index.start
    }

    /// Where the footer stands.
    pub(crate) fn offset(&self) -> u64 {
        self.statistics.range.end
    }

    /// The footer's bytes, and their checksum.
    pub(crate) fn encode(&self, salt: u64) -> ([u8; FOOTER_LEN], u32) {
        let offset = self.offset();
        let mut out = [0; FOOTER_LEN];
        out[..OFFSETS].copy_from_slice(&preamble::encode(MAGIC_FOOTER, offset));
        let parts = [&self.fences, &self.hints, &self.filter, &self.statistics];
        let starts = parts.map(|part| part.range.start);
        let offsets = [self.index.start].into_iter().chain(starts).chain([offset]);
        for (field, offset) in out[OFFSETS..CRCS].chunks_exact_mut(8).zip(offsets) {
            field.copy_from_slice(&offset.to_le_bytes());
        }
        for (field, part) in out[CRCS..BLOCKS].chunks_exact_mut(4).zip(parts) {
            field.copy_from_slice(&part.crc.to_le_bytes());
        }
        out[BLOCKS..ENTRIES].copy_from_slice(&self.blocks.to_le_bytes());
        out[ENTRIES..HINTS].copy_from_slice(&self.entries.to_le_bytes());
        out[HINTS..LAYOUT].copy_from_slice(&self.hint_count.to_le_bytes());
        out[LAYOUT..CRC].copy_from_slice(&self.layout.number().to_le_bytes());
        let crc = checksum::crc(salt, offset, &out[..CRC]);
        out[CRC..].copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// Decodes the footer that consists of all of `bytes` and stands at `offset` of the file of the segment whose salt
    /// is `salt`; gives the checksum too.
    pub(crate) fn decode(salt: u64, offset: u64, bytes: &[u8]) -> Result<(Footer, u32), Fault> {
        preamble::check(MAGIC_FOOTER, offset, bytes)?;
        if bytes.len() != FOOTER_LEN {
            return Err(Damage::mismatch(offset, "footer length", FOOTER_LEN, bytes.len()).into());
        }
        let (expected, found) = (checksum::crc(salt, offset, &bytes[..CRC]), u32_at(bytes, CRC));
        if expected != found {
            let (expected, found) = (format_args!("{expected:#010x}"), format_args!("{found:#010x}"));
            return Err(Damage::mismatch(offset + CRC as u64, "footer checksum", expected, found).into());
        }
        let at = |index: usize| u64_at(bytes, OFFSETS + index * 8);
        let part = |index: usize| Part { range: at(index)..at(index + 1), crc: u32_at(bytes, CRCS + (index - 1) * 4) };
        let layout = Layout::from_number(u32_at(bytes, LAYOUT))
            .ok_or_else(|| Damage::new(offset + LAYOUT as u64, "layout is unknown"))?;
        let footer = Footer {
            index: at(0)..at(1),
            fences: part(1),
            hints: part(2),
            filter: part(3),
            statistics: part(4),
            blocks: u64_at(bytes, BLOCKS),
            entries: u64_at(bytes, ENTRIES),
            hint_count: u64_at(bytes, HINTS),
            layout,
        };
        footer.check(offset)?;
        Ok((footer, found))
    }

    /// Checks that the parts stand back to back, from the frames to the footer.
    fn check(&self, offset: u64) -> Result<()> {
        let Footer { index, fences, hints, filter, statistics, .. } = self;
        let damage = |what: String| Damage::new(offset + OFFSETS as u64, what);
        let parts = [index, &fences.range, &hints.range, &filter.range, &statistics.range];
        if let Some(part) = parts.iter().find(|part| part.start > part.end) {
            return Err(damage(format!("a part of the segment ends before it begins range={part:?}")));
        }
        if !(HEADER_LEN as u64..=STREAM_LEN_MAX).contains(&index.start) {
            return Err(damage(format!("the frames cannot end there found={}", index.start)));
        }
        if statistics.range.end != offset {
            return Err(damage(format!("footer is misplaced expected={offset} found={}", statistics.range.end)));
        }
        let filter_len = filter.range.end - filter.range.start;
        if filter_len == 0 || !filter_len.is_multiple_of(FILTER_BLOCK_LEN as u64) {
            return Err(damage(format!("the filter cannot have this length found={filter_len}")));
        }
        // An entry has six bytes at least, and a block one entry; that is all that allocation relies on.
        let index_len = index.end - index.start;
        if self.blocks == 0 || self.entries < self.blocks || self.entries > index_len {
            let counts = format!("blocks={} entries={} bytes={index_len}", self.blocks, self.entries);
            return Err(damage(format!("counts of the index do not fit {counts}")));
        }
        if self.hint_count < self.entries || self.hint_count > hints.range.end - hints.range.start {
            return Err(damage(format!("count of hints does not fit found={}", self.hint_count)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::fuzz;

    const SALT: u64 = 0x5a17;
    const OFFSET: u64 = 10_000;

    fn sample() -> Footer {
        Footer {
            index: 5000..9000,
            fences: Part { range: 9000..9100, crc: 1 },
            hints: Part { range: 9100..9800, crc: 2 },
            filter: Part { range: 9800..9864, crc: 3 },
            statistics: Part { range: 9864..OFFSET, crc: 4 },
            blocks: 2,
            entries: 100,
            hint_count: 100,
            layout: Layout::Sorted,
        }
    }

    fn decode(bytes: &[u8]) -> Result<Footer, Fault> {
        Footer::decode(SALT, OFFSET, bytes).map(|(footer, _)| footer)
    }

    #[test]
    fn footers_come_back() {
        for layout in [Layout::Dense, Layout::Sorted] {
            let footer = Footer { layout, ..sample() };
            let (bytes, crc) = footer.encode(SALT);
            assert_eq!(Footer::decode(SALT, OFFSET, &bytes), Ok((footer, crc)));
        }
    }

    #[test]
    fn damage_and_displacement_are_noticed() {
        let (bytes, _) = sample().encode(SALT);
        fuzz::every_damage_is_noticed(&bytes, |bytes| match decode(bytes) {
            Err(Fault::Newer(what)) => panic!("{what}"),
            other => other,
        });
        assert!(Footer::decode(SALT + 1, OFFSET, &bytes).is_err());
        assert!(Footer::decode(SALT, OFFSET + 1, &bytes).is_err());
        assert!(decode(&[&bytes[..], b"\0"].concat()).is_err());
    }

    /// What no writer writes is damage, its checksum notwithstanding.
    #[test]
    fn impossible_footers_are_damage() {
        let refused = |footer: Footer| decode(&footer.encode(SALT).0).unwrap_err().to_string();
        assert!(refused(Footer { index: 100..9000, ..sample() }).contains("the frames cannot end there"));
        let hints = Part { range: Range { start: 9900, end: 9800 }, crc: 2 };
        let reversed = Footer { hints, ..sample() };
        assert!(refused(reversed).contains("ends before it begins"));
        let filter = Part { range: 9800..9863, crc: 3 };
        let statistics = Part { range: 9863..OFFSET, crc: 4 };
        assert!(refused(Footer { filter, statistics, ..sample() }).contains("this length"));
        assert!(refused(Footer { blocks: 0, ..sample() }).contains("counts of the index"));
        assert!(refused(Footer { entries: u64::MAX, ..sample() }).contains("counts of the index"));
        assert!(refused(Footer { hint_count: 701, ..sample() }).contains("count of hints"));
    }

    #[test]
    fn mutated_footers() {
        let (bytes, _) = sample().encode(SALT);
        fuzz::mutate(&[bytes.to_vec()], 100_000, |bytes| {
            let _ = decode(bytes);
            let Some(body) = bytes.get(..CRC) else { return };
            let sealed = [body, &checksum::crc(SALT, OFFSET, body).to_le_bytes()].concat();
            if let Ok(footer) = decode(&sealed) {
                assert_eq!(footer.encode(SALT).0[..], sealed);
            }
        });
    }
}
