//! The model on stores of the real world, which need nothing of the machine: so it runs natively and under WASI alike.

use crate::ops::plain_workload;
use crate::play::{Policy, play};
use crate::random::{Random, mix};
use crate::world::{Store, World, small_options};

/// Random operations, with closes and kills in between, each compared with the model.
///
/// # Panics
/// Where something is wrong.
pub fn model(store: Store, seed: u64, operations: usize) {
    let mut world = World::new(store, small_options(), seed);
    let ops = plain_workload(&mut Random::new(mix(seed, 2)), operations);
    if let Err(wrong) = play(&mut world, &ops, Policy::Strict) {
        panic!("{} seed {seed}: {wrong}", world.store.backend().location());
    }
}
