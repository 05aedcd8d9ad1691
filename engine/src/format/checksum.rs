//! The one checksum: CRC-32C (Castagnoli), bound to a place.
//!
//! CRC-32C is that of RFC 3720, section 12.1: polynomial 0x1EDC6F41, reflected, initial value and final inversion all
//! ones. The crate `crc32c` computes it, by instruction on x86-64 and AArch64, by table elsewhere.
//!
//! It goes on from a *seed* that stands for the place of the bytes, as if that were the checksum of bytes before them:
//! `fold(salt) ^ (fold(offset) * 0x9e3779b1 mod 2^32)`, where `fold` of 64 bits is their lower half xor their upper. So
//! bytes that are whole but stand in the wrong place never pass: a checksum of the same bytes differs wherever the seed
//! does, which it always does for two offsets of one segment (they have 32 bits, and the factor is odd), and with
//! probability 1 - 2^-32 for another segment, whose salt is random. A seed costs a nanosecond; the checksum of salt and
//! offset themselves cost six, a tenth of what a scan takes for a record.

use crate::planted::{Bug, planted};

/// The checksum of `bytes`, which stand at `offset` of what `salt` names.
#[inline]
pub(crate) fn crc(salt: u64, offset: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed(salt, offset), bytes)
}

/// What stands for a place, to be continued by [`append`].
#[inline]
pub(crate) fn seed(salt: u64, offset: u64) -> u32 {
    let salt = if planted(Bug::NoSalt) { 0 } else { salt };
    let offset = if planted(Bug::NoOffset) { 0 } else { offset };
    let fold = |wide: u64| (wide ^ (wide >> 32)) as u32;
    fold(salt) ^ fold(offset).wrapping_mul(0x9e37_79b1)
}

/// The checksum `crc` continued by `bytes`.
#[inline]
pub(crate) fn append(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

/// The checksum `crc` continued by `len` bytes whose own checksum, continued from nothing, is `of_bytes`.
///
/// To go on by `len` bytes is to multiply by x to the power of 8 `len`, modulo the polynomial: a product for each one among
/// the bits of `len`. (The crate's own way squares matrices, and takes ten microseconds for 64 KiB; a writer has the log's
/// lock meanwhile.)
pub(crate) fn join(crc: u32, of_bytes: u32, len: usize) -> u32 {
    let bits = (0..usize::BITS).filter(|bit| len >> bit & 1 == 1);
    bits.fold(crc, |crc, bit| times(POWERS[bit as usize + 3], crc)) ^ of_bytes
}

/// The polynomial without its highest power, reflected: the coefficient of x to the power of 31 is the lowest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 2^index, modulo the polynomial.
const POWERS: [u32; 3 + 64] = {
    let mut powers = [1 << 30; 3 + 64];
    let mut index = 1;
    while index < powers.len() {
        powers[index] = times(powers[index - 1], powers[index - 1]);
        index += 1;
    }
    powers
};

/// The product of `a` and `b`, modulo the polynomial.
const fn times(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    // From the lowest power up: `a` loses its lowest, `b` is multiplied by x.
    while a != 0 {
        if a >> 31 == 1 {
            product ^= b;
        }
        a <<= 1;
        b = (b >> 1) ^ if b & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::fuzz;

    /// The examples of RFC 3720, appendix B.4.
    #[test]
    fn it_is_crc_32c() {
        assert_eq!(append(0, &[0; 32]), 0x8a91_36aa);
        assert_eq!(append(0, &[0xff; 32]), 0x62a8_ab43);
        assert_eq!(append(0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_place_comes_first() {
        assert_eq!(seed(0, 0), 0);
        assert_eq!(seed(0x1111_2222_3333_4444, 3), 0x2222_6666 ^ 0xdaa6_6d13);
        assert_eq!(crc(7, 9, b"halite"), append(append(seed(7, 9), b"hal"), b"ite"));
    }

    #[test]
    fn sums_made_apart_are_joined() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| (i * 7) as u8).collect();
        for (seed, at) in [(0, 0), (0, 1000), (seed(3, 5), 1), (seed(7, 9), 500), (u32::MAX, 999), (1, 1000)] {
            let (front, back) = bytes.split_at(at);
            assert_eq!(join(append(seed, front), append(0, back), back.len()), append(seed, &bytes), "{seed} {at}");
        }
        for shift in (0..usize::BITS).step_by(if cfg!(miri) { 30 } else { 1 }) {
            for len in [1 << shift, usize::MAX >> shift, 0x9e37_79b1_usize.rotate_left(shift)] {
                let (a, b) = (0x0123_4567 ^ shift, 0x89ab_cdef);
                assert_eq!(join(a, b, len), crc32c::crc32c_combine(a, b, len), "{len}");
            }
        }
    }

    #[test]
    fn another_place_gives_another_sum() {
        let here = crc(0x5a17, 4096, b"the same bytes");
        for offset in (0..fuzz::times(100_000) as u64).filter(|&offset| offset != 4096) {
            assert_ne!(crc(0x5a17, offset, b"the same bytes"), here);
        }
        assert_ne!(crc(0x5a18, 4096, b"the same bytes"), here);
    }
}
