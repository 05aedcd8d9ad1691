//! Lists of operations, played against the engine and the model at once.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| halite_tests::fuzz::operations(bytes));
