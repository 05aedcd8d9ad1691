//! The engine's randomness: salts and nonces, from one seed, so that a whole run can be repeated.

use parking_lot::Mutex;

/// A sequence of random numbers (SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
///
/// They need to be different, not unguessable.
#[derive(Debug)]
pub(crate) struct Random(Mutex<u64>);

impl Random {
    /// The sequence of `seed`, or of the operating system's randomness.
    // The engine's one call for the system's randomness.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn new(seed: Option<u64>) -> Random {
        let seed = seed.unwrap_or_else(|| {
            // Where the system has no randomness to give, the address of a fresh allocation and the state's own hash
            // seed still tell two openings apart.
            getrandom::u64().unwrap_or_else(|_| {
                use std::hash::{BuildHasher, Hasher};
                std::collections::hash_map::RandomState::new().build_hasher().finish()
            })
        });
        Random(Mutex::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = *state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}
