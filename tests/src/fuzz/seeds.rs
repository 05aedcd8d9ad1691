//! Inputs to begin with: what is kept in `tests/fuzz/corpus`, and files of small stores, or pieces of them.

use crate::ops::{Op, delete, delete_range, put, put_ttl};
use crate::play::{Policy, play};
use crate::world::{Store, World, small_options};
use halite::backends::{Path, SimulatedOptions};
use std::path::PathBuf;

/// What is kept of it.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file of the corpus can be read")).collect()
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
            play(&mut world, &story, Policy::Strict).expect("all goes well");
            let simulator = world.store.simulator().clone();
            let read =
                move |(path, _): (Path, u64)| (path.clone(), simulator.read_file(&path).expect("it is there").to_vec());
            world.store.simulator().files().into_iter().map(read).collect::<Vec<_>>()
        })
        .collect()
}

/// Good inputs to begin with: files, and pieces of files, of the kind that the target reads.
///
/// # Panics
/// Where what is kept cannot be read.
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
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
