//! Digests: what tells whether a file is, to the byte, the one that was written.
//!
//! A checksum finds what happens by accident. A digest is BLAKE3, 32 bytes of it: nobody can make another file of the same
//! one. It covers a file from its first byte to its last, so any tool that knows BLAKE3 computes it too.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes of a digest.
pub(crate) const DIGEST_LEN: usize = 32;

/// The BLAKE3 digest of a file: nobody can make another file of the same digest.
///
/// It is shown, and parsed, as 64 hexadecimal digits, as `b3sum` shows it.
///
/// ```
/// use halite::Digest;
/// let digest: Digest = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262".parse()?;
/// assert!(digest.to_string().starts_with("af1349b9"));
/// assert!("af13".parse::<Digest>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digest([u8; DIGEST_LEN]);

impl Digest {
    /// Stands where there is none.
    pub(crate) const NONE: Digest = Digest([0; DIGEST_LEN]);

    /// The digest of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Digest, String> {
        let wrong = || format!("a digest has {} hexadecimal digits given={text:?}", 2 * DIGEST_LEN);
        if text.len() != 2 * DIGEST_LEN || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut digest = [0; DIGEST_LEN];
        for (at, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Digest(digest))
    }
}

/// Bytes that are hashed at once. BLAKE3 works on many blocks of 1 KiB side by side: of 32 KiB it takes 3 GB a second, of the
/// few hundred bytes that a commit may have a tenth of that.
const AT_ONCE: usize = 32 << 10;

/// Computes the digest of a file from its parts, in their order.
#[derive(Debug)]
pub(crate) struct Hasher {
    hasher: Box<blake3::Hasher>,
    /// What came last, and is not enough yet.
    rest: Vec<u8>,
}

impl Hasher {
    pub(crate) fn new() -> Hasher {
        Hasher { hasher: Box::new(blake3::Hasher::new()), rest: Vec::new() }
    }

    /// The file goes on with `bytes`.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        if !self.rest.is_empty() {
            let (more, behind) = bytes.split_at(bytes.len().min(AT_ONCE - self.rest.len()));
            self.rest.extend_from_slice(more);
            if self.rest.len() < AT_ONCE {
                return;
            }
            self.hasher.update(&self.rest);
            self.rest.clear();
            bytes = behind;
        }
        let (whole, rest) = bytes.split_at(bytes.len() / AT_ONCE * AT_ONCE);
        self.hasher.update(whole);
        self.rest.extend_from_slice(rest);
    }

    /// The digest of all that came.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.rest);
        Digest(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::format::fuzz::Dice;

    #[test]
    fn a_digest_is_that_of_the_published_test_vectors() {
        let input: Vec<u8> = (0..=250_u8).cycle().take(1025).collect();
        let expected = "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444";
        assert_eq!(Digest::of(&input).to_string(), expected);
        let mut hasher = Hasher::new();
        input.chunks(7).for_each(|part| hasher.update(part));
        assert_eq!(hasher.digest().to_string(), expected);
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes")]
    fn parts_of_any_length_make_the_same_digest() {
        let mut dice = Dice::new(7);
        let input: Vec<u8> = (0..300_000).map(|_| dice.below(256) as u8).collect();
        for _ in 0..50 {
            let (mut hasher, mut at) = (Hasher::new(), 0);
            while at < input.len() {
                let most = [10, AT_ONCE, 100_000][dice.below(3)];
                let end = input.len().min(at + dice.below(most + 1));
                hasher.update(&input[at..end]);
                assert_eq!(hasher.rest.len(), end % AT_ONCE);
                at = end;
            }
            assert_eq!(hasher.digest(), Digest::of(&input));
        }
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for wrong in ["", "af", &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32), &digest.to_string()[1..]] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong:?}");
        }
    }
}
