//! Test support: a small deterministic fuzzer for decoders, for the stable toolchain and a bounded number of inputs.
//!
//! [`mutate`] feeds damaged variants of good inputs to a decoder, which must not panic; a failure prints the input.
//! [`every_damage_is_noticed`] tries every truncation and every single bit flip of one good input. Miri, which is some
//! thousand times slower, gets [a few](times) of them.

use std::fmt::Debug;

/// How often something is tried: `count` times; under Miri, which looks for what is undefined and is slow, a few.
pub(crate) const fn times(count: usize) -> usize {
    if cfg!(miri) && count > 20 { 20 } else { count }
}

/// SplitMix64: enough chance for tests, the same in every run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit` (0 where that is 0).
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() % limit as u64) as usize }
    }
}

/// Says which input was at fault when the decoder panics.
struct Witness<'a>(usize, &'a [u8]);

impl Drop for Witness<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.1.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("fuzz: input {} made the decoder fail: {hex}", self.0);
        }
    }
}

/// Gives `count` mutations of `seed_inputs` to `decode`, one to four changes each. `decode` panics where it finds a
/// fault: by itself, or by an assertion on what it decoded.
pub(crate) fn mutate(seed_inputs: &[Vec<u8>], count: usize, mut decode: impl FnMut(&[u8])) {
    let mut dice = Dice::new(0x5eed);
    let mut input = Vec::new();
    for number in 0..times(count) {
        input.clear();
        input.extend_from_slice(&seed_inputs[dice.below(seed_inputs.len())]);
        for _ in 0..1 + dice.below(4) {
            let other = &seed_inputs[dice.below(seed_inputs.len())];
            change(&mut input, other, &mut dice);
        }
        let witness = Witness(number, &input);
        decode(&input);
        drop(witness);
    }
}

/// Numbers at which decoders stumble.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX];

/// One change somewhere in `input`.
fn change(input: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(input.len());
    let span = 1 + dice.below(16);
    let end = input.len().min(at + span);
    match dice.below(10) {
        0 | 1 if !input.is_empty() => input[at] ^= 1 << dice.below(8),
        2 if !input.is_empty() => input[at] = dice.next() as u8,
        3 => input.truncate(at),
        4 => drop(input.drain(at..end)),
        5 => {
            let inserted: Vec<u8> = (0..span).map(|_| dice.next() as u8).collect();
            input.splice(at..at, inserted);
        }
        6 => {
            let edge = EDGES[dice.below(EDGES.len())].to_le_bytes();
            let width = [1, 2, 4, 8][dice.below(4)].min(input.len() - at);
            input[at..at + width].copy_from_slice(&edge[..width]);
        }
        7 => {
            let mut edge = Vec::new();
            super::varint::put(EDGES[dice.below(EDGES.len())], &mut edge);
            let width = edge.len().min(input.len() - at);
            input[at..at + width].copy_from_slice(&edge[..width]);
        }
        8 => input[at..end].fill([0, 0xff][dice.below(2)]),
        _ => {
            let from = dice.below(other.len());
            let until = other.len().min(from + 1 + dice.below(64));
            input.splice(at..end, other[from..until].iter().copied());
        }
    }
}

/// Asserts that `decode` takes `sample` and refuses each of its proper prefixes and each of its single bit flips.
pub(crate) fn every_damage_is_noticed<T: Debug, E: Debug>(
    sample: &[u8],
    mut decode: impl FnMut(&[u8]) -> Result<T, E>,
) {
    assert!(decode(sample).is_ok(), "the sample itself: {:?}", decode(sample));
    let step = |all: usize| all.div_ceil(times(all));
    for len in (0..sample.len()).step_by(step(sample.len())) {
        let got = decode(&sample[..len]);
        assert!(got.is_err(), "cut to {len} of {} bytes: {got:?}", sample.len());
    }
    let mut flipped = sample.to_vec();
    for bit in (0..sample.len() * 8).step_by(step(sample.len() * 8)) {
        flipped[bit / 8] ^= 1 << (bit % 8);
        let got = decode(&flipped);
        assert!(got.is_err(), "bit {} of byte {} flipped: {got:?}", bit % 8, bit / 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
    }
}

/// The fuzzer finds a planted fault: without that, its silence means nothing.
#[test]
fn a_decoder_that_trusts_a_length_is_caught() {
    let trusting = |bytes: &[u8]| {
        let len = usize::from(*bytes.first().unwrap_or(&0));
        let _ = bytes[bytes.len().min(1)..][..len].len();
    };
    trusting(b"\x03abc");
    let caught = std::panic::catch_unwind(|| mutate(&[b"\x03abc".to_vec()], 1000, trusting));
    assert!(caught.is_err());
}
