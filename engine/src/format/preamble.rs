//! The first bytes of every file, and of a segment's footer: what it is, and who may read it.
//!
//! | offset | size | field |
//! | ---: | ---: | --- |
//! | 0 | 8 | magic |
//! | 8 | 4 | format version |
//! | 12 | 4 | incompatible features: a reader that does not know one must refuse |
//! | 16 | 4 | compatible features: a reader may ignore them |
//! | 20 | 4 | checksum of bytes 0..20, salt 0, at the preamble's offset in the file |
//!
//! The preamble has a checksum of its own and is the same in all versions, for ever. So a newer file (whole, but not
//! for us) can always be told from a damaged one, whatever comes behind the preamble.

use super::reader::u32_at;
use super::{Damage, FEATURES_COMPATIBLE, FEATURES_INCOMPATIBLE, FORMAT_VERSION, Fault, checksum};
use crate::planted::{Bug, planted};

const MAGIC: usize = 0;
const VERSION: usize = MAGIC + 8;
const INCOMPATIBLE: usize = VERSION + 4;
const COMPATIBLE: usize = INCOMPATIBLE + 4;
const CRC: usize = COMPATIBLE + 4;

/// The length of a preamble.
pub(crate) const PREAMBLE_LEN: usize = CRC + 4;

const _: () = assert!(PREAMBLE_LEN == 24);

/// A preamble of this version, to stand at `offset` of its file.
pub(crate) fn encode(magic: [u8; 8], offset: u64) -> [u8; PREAMBLE_LEN] {
    with(magic, FORMAT_VERSION, FEATURES_INCOMPATIBLE, FEATURES_COMPATIBLE, offset)
}

fn with(magic: [u8; 8], version: u32, incompatible: u32, compatible: u32, offset: u64) -> [u8; PREAMBLE_LEN] {
    let mut out = [0; PREAMBLE_LEN];
    out[MAGIC..VERSION].copy_from_slice(&magic);
    out[VERSION..INCOMPATIBLE].copy_from_slice(&version.to_le_bytes());
    out[INCOMPATIBLE..COMPATIBLE].copy_from_slice(&incompatible.to_le_bytes());
    out[COMPATIBLE..CRC].copy_from_slice(&compatible.to_le_bytes());
    let crc = checksum::crc(0, offset, &out[..CRC]);
    out[CRC..].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Checks the preamble with which `bytes` begins, at `offset` of its file.
pub(crate) fn check(magic: [u8; 8], offset: u64, bytes: &[u8]) -> Result<(), Fault> {
    let Some(bytes) = bytes.get(..PREAMBLE_LEN) else {
        return Err(Damage::mismatch(offset, "preamble length", PREAMBLE_LEN, bytes.len()).into());
    };
    if bytes[MAGIC..VERSION] != magic {
        let (expected, found) = (magic.escape_ascii(), bytes[MAGIC..VERSION].escape_ascii());
        return Err(Damage::mismatch(offset, "magic", expected, found).into());
    }
    let (expected, found) = (checksum::crc(0, offset, &bytes[..CRC]), u32_at(bytes, CRC));
    if expected != found {
        let (expected, found) = (format_args!("{expected:#010x}"), format_args!("{found:#010x}"));
        return Err(Damage::mismatch(offset + CRC as u64, "preamble checksum", expected, found).into());
    }
    let version = u32_at(bytes, VERSION);
    if version == 0 {
        return Err(Damage::new(offset + VERSION as u64, "format version is zero").into());
    }
    if version > FORMAT_VERSION {
        return Err(Fault::Newer(format!("format version {version} is newer than {FORMAT_VERSION}, the newest known")));
    }
    let unknown = u32_at(bytes, INCOMPATIBLE) & !FEATURES_INCOMPATIBLE;
    if unknown != 0 && !planted(Bug::NewerAccepted) {
        return Err(Fault::Newer(format!("features are unknown to this version bits={unknown:#x}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::{MAGIC_MANIFEST, MAGIC_SEGMENT, fuzz};

    #[test]
    fn only_the_own_kind_at_its_place_passes() {
        let bytes = encode(MAGIC_SEGMENT, 0);
        assert_eq!(check(MAGIC_SEGMENT, 0, &bytes), Ok(()));
        assert!(matches!(check(MAGIC_MANIFEST, 0, &bytes), Err(Fault::Damage(_))));
        assert!(matches!(check(MAGIC_SEGMENT, 1, &bytes), Err(Fault::Damage(_))));
    }

    #[test]
    fn damage_is_never_taken_for_a_newer_version() {
        let bytes = encode(MAGIC_SEGMENT, 0);
        fuzz::every_damage_is_noticed(&bytes, |bytes| match check(MAGIC_SEGMENT, 0, bytes) {
            Err(Fault::Newer(what)) => panic!("{what}"),
            other => other,
        });
    }

    #[test]
    fn what_is_newer_is_refused_as_such() {
        let newer = with(MAGIC_SEGMENT, FORMAT_VERSION + 1, 0, 0, 0);
        assert!(matches!(check(MAGIC_SEGMENT, 0, &newer), Err(Fault::Newer(_))));
        let feature = with(MAGIC_SEGMENT, FORMAT_VERSION, 1 << 31, 0, 0);
        assert!(matches!(check(MAGIC_SEGMENT, 0, &feature), Err(Fault::Newer(_))));
        let compatible = with(MAGIC_SEGMENT, FORMAT_VERSION, 0, 1 << 31, 0);
        assert_eq!(check(MAGIC_SEGMENT, 0, &compatible), Ok(()));
        let zero = with(MAGIC_SEGMENT, 0, 0, 0, 0);
        assert!(matches!(check(MAGIC_SEGMENT, 0, &zero), Err(Fault::Damage(_))));
    }
}
