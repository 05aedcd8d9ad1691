//! LEB128: unsigned integers in seven-bit groups, the lowest first; a set top bit says that another group follows.
//!
//! Every number has exactly one encoding, the shortest: longer ones and such that do not fit are refused, so that
//! decoding and encoding again gives the same bytes.

/// The most bytes that a `u64` takes: `ceil(64 / 7)`.
pub(crate) const LEN_MAX: usize = 10;

/// How many bytes `value` takes.
#[inline]
pub(crate) fn len(value: u64) -> usize {
    // ceil(bits / 7), where 0 has one bit.
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Writes `value` at the front of `out` and gives its length.
///
/// # Panics
/// Where `out` is too short; [`LEN_MAX`] bytes always suffice.
#[inline]
pub(crate) fn write(mut value: u64, out: &mut [u8]) -> usize {
    let mut at = 0;
    while value >= 0x80 {
        out[at] = value as u8 | 0x80;
        value >>= 7;
        at += 1;
    }
    out[at] = value as u8;
    at + 1
}

/// Appends `value` to `out`.
pub(crate) fn put(value: u64, out: &mut impl bytes::BufMut) {
    let mut group = [0; LEN_MAX];
    let len = write(value, &mut group);
    out.put_slice(&group[..len]);
}

/// The number at the front of `bytes` and its length; `None` where it is cut short, too long or not the shortest.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    // Most numbers in records take one group or two.
    match *bytes {
        [byte, ..] if byte < 0x80 => Some((u64::from(byte), 1)),
        [low, high @ 0x01..0x80, ..] => Some((u64::from(low & 0x7f) | u64::from(high) << 7, 2)),
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(LEN_MAX).enumerate() {
        let group = u64::from(byte & 0x7f);
        // The tenth group holds the topmost bit alone.
        if at == LEN_MAX - 1 && group > 1 {
            return None;
        }
        value |= group << (7 * at);
        if byte < 0x80 {
            let shortest = byte != 0 || at == 0;
            return shortest.then_some((value, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_length_comes_back() {
        let edges = (0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX]);
        for value in edges {
            let mut out = Vec::new();
            put(value, &mut out);
            assert_eq!(out.len(), len(value), "{value}");
            assert_eq!(read(&out), Some((value, out.len())));
            out.push(0xff);
            assert_eq!(read(&out), Some((value, out.len() - 1)));
            for cut in 0..len(value) {
                assert_eq!(read(&out[..cut]), None, "{value} cut to {cut}");
            }
        }
    }

    #[test]
    fn known_bytes() {
        let check = |value: u64, bytes: &[u8]| {
            let mut out = Vec::new();
            put(value, &mut out);
            assert_eq!(out, bytes);
        };
        check(0, &[0]);
        check(127, &[0x7f]);
        check(128, &[0x80, 0x01]);
        check(300, &[0xac, 0x02]);
        check(u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn what_is_too_long_is_refused() {
        assert_eq!(read(&[0x80, 0x00]), None);
        assert_eq!(read(&[0xff, 0x80, 0x00]), None);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), None);
        assert_eq!(read(&[0xff; 20]), None);
        assert_eq!(read(&[]), None);
    }
}
