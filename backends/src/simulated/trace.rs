//! The trace: a rolling hash of all that was asked and answered, the same on every machine.

use std::hash::Hasher;

/// A multiply-and-rotate hash, eight bytes at a time. It is to tell runs apart that differ by accident, at little cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace(pub(super) u64);

impl Trace {
    fn mix(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl Hasher for Trace {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|&word| self.mix(u64::from_le_bytes(word)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ (bytes.len() as u64).rotate_left(56));
    }

    fn write_u8(&mut self, number: u8) {
        self.mix(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.mix(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hash;

    #[test]
    fn every_byte_counts_and_so_does_their_number() {
        let hash = |bytes: &[u8]| {
            let mut trace = Trace(7);
            bytes.hash(&mut trace);
            trace.finish()
        };
        let whole: Vec<u8> = (0..21).collect();
        for index in 0..whole.len() {
            let mut other = whole.clone();
            other[index] ^= 1;
            assert_ne!(hash(&whole), hash(&other), "byte {index}");
            assert_ne!(hash(&whole), hash(&whole[..index]), "length {index}");
        }
        assert_eq!(hash(&whole), hash(&whole.clone()));
    }
}
