//! Every decoder of the engine; the first byte chooses which. Into the folder that the variable `SEEDS` names come inputs to
//! begin with.
#![no_main]

use std::path::PathBuf;

fn write_seeds() {
    let Some(folder) = std::env::var_os("SEEDS").map(PathBuf::from) else { return };
    for (number, seed) in halite_tests::fuzz::seeds_of_decoders().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("the folder of seeds can be written to");
    }
}

libfuzzer_sys::fuzz_target!(init: write_seeds(), |bytes: &[u8]| halite_tests::fuzz::decoders(bytes));
