//! The fuzz targets on the stable toolchain: the kept corpus, then a bounded number of changed inputs, the same in each run.
//!
//! `cargo fuzz` runs the same functions for as long as one likes: see `tests/fuzz/README.md`. What it finds is kept there, in
//! `corpus`, and tried here first for ever after.
#![allow(clippy::unwrap_used)]

use halite_tests::fuzz::{mutate, seeds, targets};

/// Inputs for each decoder, and for the target that plays operations.
const DECODED: usize = 100_000;
const PLAYED: usize = 400;

#[test]
fn every_target_takes_whatever_it_is_given() {
    let mut inputs = 0;
    for (name, target) in targets() {
        let count = if name == "operations" { PLAYED } else { DECODED };
        if let Err(input) = mutate(&seeds(name), count, target) {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{name} fails; keep this as a file in tests/fuzz/corpus/{name}, and look: {hex}");
        }
        inputs += count;
    }
    println!("counted: {inputs} inputs to {} fuzz targets", targets().count());
}

/// The canary: a target that trusts a length is found out.
#[test]
fn a_target_that_trusts_a_length_is_found_out() {
    fn trusting(bytes: &[u8]) {
        if let Some((len, rest)) = bytes.split_first() {
            let _ = rest[..usize::from(*len)].len();
        }
    }
    assert!(mutate(&[b"\x03abc".to_vec()], 1000, trusting).is_err());
}

fn target(wanted: &str) -> impl Fn(&[u8]) {
    targets().find(|(name, _)| *name == wanted).unwrap().1
}

/// A few bytes that claim to be a value of a gigabyte, each part of it as short as can be.
#[test]
fn what_claims_more_than_it_can_hold_is_refused() {
    // LZ4, 2^30 bytes, and parts of one byte.
    let mut bomb = vec![1, 0x80, 0x80, 0x80, 0x80, 0x04];
    bomb.extend([1, 0].repeat(1 << 13));
    target("compressed")(&bomb);
}

/// A hint that goes on so far behind the one before that a number of 64 bits begins again at nothing.
#[test]
fn offsets_that_overflow_are_refused() {
    // The first record has 50 bytes; behind it are 2^64 - 100, and a record of one byte.
    let mut hints = vec![50 << 1, 1, 2, 3, 4, 5];
    hints.extend([(1 << 1) | 1, 0x9c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 2, 3, 4, 5]);
    target("hints")(&hints);
}
