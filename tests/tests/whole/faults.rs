//! An error at every I/O step of the stories, once and for ever, on growing files and on a create-only store.
//!
//! Requests fail with an I/O error (having taken effect or not), for want of space, or with their answer lost. Every call
//! returns, with an error of a kind that says what is to be done; reads of committed data go on; a writer that was stopped
//! writes again after `reopen`; and a fresh engine finds a prefix of the commits with every acknowledged one in it. And
//! every request that creates something meets every outcome that leaves in doubt whether it did.

use halite_tests::scenario;

macro_rules! fail_everywhere {
    ($($name:ident)*) => {
        mod on_growing_files {
            $(#[test] fn $name() { super::scenario::$name().fail_everywhere(true) })*
        }
        mod on_fragments {
            $(#[test] fn $name() { super::scenario::$name().fail_everywhere(false) })*
        }

        /// Requests that create something, each with every outcome that leaves who asked in doubt.
        #[test]
        fn creates_in_doubt() {
            let mut outcomes = 0;
            $(for append in [true, false] {
                outcomes += scenario::$name().doubt_everywhere(append);
            })*
            println!("counted: {outcomes} outcomes of requests that create something");
            assert!(outcomes >= 1_000, "{outcomes} outcomes");
        }
    };
}

fail_everywhere! {
    first_open commits batches seals merges background_merges recovery_of_a_kill recovery_of_a_power_cut expiry
    delete_and_reopen close large_values transactions checkpoints checkpoints_of_another_process followed
    range_deletes copied
}
