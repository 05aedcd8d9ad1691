//! Random operations against the engine and a model at once, with closes, kills and power cuts in between.
//!
//! The seeds are fixed, so that a run is the same everywhere; `cargo xtask sim --seeds N` tries others.

use halite_tests::simulation::run;

fn seeds(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        if let Err(failure) = run(seed) {
            panic!("{failure}");
        }
    }
}

#[test]
fn the_first_hundred_seeds() {
    seeds(1..101);
}

#[test]
fn the_second_hundred_seeds() {
    seeds(101..201);
}

#[test]
fn a_run_is_the_same_every_time() {
    for seed in 1..20 {
        let [first, second] = [(); 2].map(|()| run(seed).unwrap_or_else(|failure| panic!("{failure}")));
        assert_eq!(first, second, "seed {seed} asks other things of the store when it is run again");
    }
}
