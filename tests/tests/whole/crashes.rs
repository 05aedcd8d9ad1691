//! Crashes at every I/O step of seventeen stories, on growing files and on a create-only store.
//!
//! Each story is first played undisturbed to count its I/O steps. Then, for each step, it is played up to there and
//! stopped; what a kill leaves, and what twenty-three power cuts leave (each loses, keeps, reorders and tears other unsynced
//! bytes, and forgets other unsynced names), is opened by a fresh engine. Every time the state must be a prefix of the
//! commits with every acknowledged one in it, `verify` must be content, and writing must go on.

use halite_tests::scenario::{self, Scenario};

macro_rules! crash_everywhere {
    ($($name:ident)*) => {
        mod on_growing_files {
            $(#[test] fn $name() { super::everywhere(super::scenario::$name(), true) })*
        }
        mod on_fragments {
            $(#[test] fn $name() { super::everywhere(super::scenario::$name(), false) })*
        }

        /// A count of what the tests above go through: one that has shrunk fails.
        #[test]
        fn there_are_a_hundred_thousand_states() {
            let stories = [$(scenario::$name()),*];
            let steps = stories.iter().flat_map(|story| [true, false].map(|append| story.io_steps(append)));
            let states = steps.sum::<u64>() * scenario::IMAGES;
            println!("{states} states of {} stories, on growing files and on fragments", stories.len());
            assert!(stories.len() >= 15 && scenario::IMAGES >= 24 && states >= 100_000, "{states} states");
        }
    };
}

/// Every step, and at each of them all images.
fn everywhere(story: Scenario, append: bool) {
    let states = story.crash_everywhere(append);
    println!("counted: {states} states");
    assert_eq!(states, story.io_steps(append) * scenario::IMAGES);
}

crash_everywhere! {
    first_open commits batches seals merges background_merges recovery_of_a_kill recovery_of_a_power_cut expiry
    delete_and_reopen close large_values transactions checkpoints checkpoints_of_another_process followed
    range_deletes copied
}

/// A crash while the recovery from a crash runs: at every step of that.
mod twice {
    use super::scenario;

    macro_rules! crash_twice {
        ($($name:ident $story:ident $append:literal $stride:literal;)*) => {
            $(#[test]
            fn $name() {
                let states = scenario::$story().crash_in_recovery_everywhere($append, $stride);
                println!("counted: {states} states");
                assert!(states >= 500);
            })*
        };
    }

    crash_twice! {
        seals_on_growing_files seals true 9;
        seals_on_fragments seals false 9;
        merges_on_growing_files merges true 9;
        merges_on_fragments merges false 9;
        recovery_on_growing_files recovery_of_a_kill true 5;
        recovery_on_fragments recovery_of_a_kill false 5;
        commits_on_growing_files commits true 16;
        commits_on_fragments commits false 5;
        first_open_on_growing_files first_open true 2;
        first_open_on_fragments first_open false 2;
    }
}
