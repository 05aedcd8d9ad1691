//! The one checksum: CRC-32C (Castagnoli), bound to a place.
//!
//! CRC-32C is that of RFC 3720, section 12.1: polynomial 0x1EDC6F41, reflected, initial value and final inversion all
//! ones. The crate `crc32c` computes it, by instruction on x86-64 and AArch64, by table elsewhere.
//!
//! It runs over `salt u64 | offset u64 | bytes`, the numbers little-endian. So bytes that are whole but stand in the
//! wrong place never pass: the same bytes at another offset always give another sum (two offsets of one segment differ
//! in a burst of at most 32 bits), those of another segment, whose salt is random, do with probability 1 - 2^-32.

/// The checksum of `bytes`, which stand at `offset` of what `salt` names.
#[inline]
pub(crate) fn crc(salt: u64, offset: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed(salt, offset), bytes)
}

/// The checksum of a place and no bytes yet, to be continued by [`append`].
#[inline]
pub(crate) fn seed(salt: u64, offset: u64) -> u32 {
    /// Aligned, so that it takes two steps and not sixteen.
    #[repr(align(16))]
    struct Place([u8; 16]);

    let mut place = Place([0; 16]);
    place.0[..8].copy_from_slice(&salt.to_le_bytes());
    place.0[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c(&place.0)
}

/// The checksum `crc` continued by `bytes`.
#[inline]
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 3720, appendix B.4.
    #[test]
    fn it_is_crc_32c() {
        assert_eq!(append(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(append(0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(append(0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_place_comes_first() {
        let mut joined = Vec::new();
        joined.extend_from_slice(&7u64.to_le_bytes());
        joined.extend_from_slice(&9u64.to_le_bytes());
        joined.extend_from_slice(b"halite");
        assert_eq!(crc(7, 9, b"halite"), append(0, &joined));
        assert_eq!(crc(7, 9, b"halite"), append(append(seed(7, 9), b"hal"), b"ite"));
    }

    #[test]
    fn another_place_gives_another_sum() {
        let here = crc(0x5a17, 4096, b"the same bytes");
        for offset in (0..100_000).filter(|&offset| offset != 4096) {
            assert_ne!(crc(0x5a17, offset, b"the same bytes"), here);
        }
        assert_ne!(crc(0x5a18, 4096, b"the same bytes"), here);
    }
}
