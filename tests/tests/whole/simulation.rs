//! Seeds of the simulation, counted, and every case that was ever reduced.
//!
//! The seeds are fixed, so that a run is the same everywhere; `cargo xtask sim --seeds N --seed FIRST` tries others.
#![allow(clippy::unwrap_used)]

use halite_tests::case::{Case, OPERATIONS};
use halite_tests::figures::Figures;
use halite_tests::simulation::Gate;
use std::path::Path;

const SEEDS: u64 = 2_000;
const REPLAYS: u64 = 250;

/// All that a run may meet has been met, and often: a gate that has shrunk fails.
fn assert_worth(figures: &Figures, seeds: u64) {
    println!("{figures}");
    assert!(figures.operations >= seeds * OPERATIONS as u64);
    for (what, count) in figures.counts() {
        let least = if what.starts_with("replayed") { 1 } else { seeds / 8 };
        assert!(count >= least, "{what}: {count} in {seeds} seeds");
    }
    assert!(figures.failed_steps() >= seeds, "failed steps: {}", figures.failed_steps());
}

#[test]
fn the_first_seeds() {
    let figures = Gate::new(1..SEEDS + 1, REPLAYS).run().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((figures.seeds, figures.replayed), (SEEDS, REPLAYS));
    assert_worth(&figures, SEEDS);
}

#[test]
fn every_case() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "case") {
            continue;
        }
        let case: Case = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        let [first, second] =
            [(); 2].map(|()| case.run().unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display())));
        assert_eq!(first.trace, second.trace, "{}: two traces", path.display());
        count += 1;
    }
    assert!(count >= 6, "{count} cases are left");
}
