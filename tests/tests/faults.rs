//! An error at every I/O step of the stories, once and for ever, on growing files and on a create-only store.
//!
//! Requests fail with an I/O error (having taken effect or not), for want of space, or with their answer lost. Every call
//! returns, with an error of a kind that says what is to be done; reads of committed data go on; a writer that was stopped
//! writes again after `reopen`; and a fresh engine finds a prefix of the commits with every acknowledged one in it.

use halite_tests::scenario;

macro_rules! fail_everywhere {
    ($($name:ident)*) => {
        mod on_growing_files {
            $(#[test] fn $name() { super::scenario::$name().fail_everywhere(true) })*
        }
        mod on_fragments {
            $(#[test] fn $name() { super::scenario::$name().fail_everywhere(false) })*
        }
    };
}

fail_everywhere! {
    first_open commits batches seals merges background_merges recovery_of_a_kill recovery_of_a_power_cut expiry
    delete_and_reopen close large_values transactions checkpoints checkpoints_of_another_process followed
    range_deletes copied
}
