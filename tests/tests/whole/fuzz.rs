//! The fuzz targets on the stable toolchain: the kept corpus, then a bounded number of changed inputs, the same in each run.
//!
//! `cargo fuzz` runs the same functions for as long as one likes: see `tests/fuzz/README.md`. What it finds is kept there, in
//! `corpus`, and tried here first for ever after.
#![allow(clippy::unwrap_used)]

use halite::backends::{Path, SimulatedOptions};
use halite_tests::fuzz::{mutate, targets};
use halite_tests::ops::{Op, delete, delete_range, put, put_ttl};
use halite_tests::play::{Policy, play};
use halite_tests::world::{Store, World, small_options};
use std::path::PathBuf;

/// Inputs for each decoder, and for the target that plays operations.
const DECODED: usize = 100_000;
const PLAYED: usize = 400;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// The files of two small stores with some of everything in them.
fn files() -> Vec<(Path, Vec<u8>)> {
    let level = halite::Durability::Synced;
    let story = [
        Op::Batch(vec![put(8, 30), put(9, 0), put(0, 10), put(3, 20), put_ttl(10, 30, 1_000_000)], level),
        Op::Write(delete(9), level),
        Op::Write(delete_range(20, 30), level),
        Op::Checkpoint(1),
        Op::Reopen,
        Op::Batch((8..40).map(|key| put(key, 150)).collect(), level),
        Op::Compact,
        Op::Write(put(8, 40), level),
        Op::Write(delete(9), level),
        Op::Kill,
    ];
    [true, false]
        .into_iter()
        .flat_map(|append| {
            let simulated = SimulatedOptions { seed: 2, append, ..SimulatedOptions::default() };
            let mut world = World::new(Store::simulated(simulated), small_options(), 2);
            play(&mut world, &story, Policy::Strict).unwrap();
            let simulator = world.store.simulator().clone();
            let read = move |(path, _): (Path, u64)| (path.clone(), simulator.read_file(&path).unwrap().to_vec());
            world.store.simulator().files().into_iter().map(read).collect::<Vec<_>>()
        })
        .collect()
}

/// Good inputs to begin with: files, and pieces of files, of the kind that the target reads.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let in_folder = |folder: &str| -> Vec<Vec<u8>> {
        files().into_iter().filter(|(path, _)| path.as_str().starts_with(folder)).map(|(_, bytes)| bytes).collect()
    };
    let mut seeds = corpus(target);
    match target {
        "manifest" => seeds.extend(in_folder("manifest/")),
        "fragment" => seeds.extend(in_folder("log/")),
        "name" => seeds.extend(files().into_iter().map(|(path, _)| path.as_str().as_bytes().to_vec())),
        "header" => seeds.extend(in_folder("segments/").into_iter().map(|bytes| bytes[..128].to_vec())),
        "frame" | "log" => seeds.extend(in_folder("segments/").into_iter().map(|bytes| bytes[128..].to_vec())),
        // What stands behind the records, in pieces: somewhere in them the target's part begins.
        "operations" => seeds.extend((0..8_u8).map(|seed| (0..=255).map(|n: u8| n.wrapping_mul(37) ^ seed).collect())),
        _ => {
            for bytes in in_folder("segments/") {
                let half = bytes.len() / 2;
                seeds.extend((half..bytes.len()).step_by(64).map(|at| bytes[at..].to_vec()));
            }
        }
    }
    seeds.push(Vec::new());
    seeds
}

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
