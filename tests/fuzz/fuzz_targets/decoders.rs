//! Every decoder of the engine; the first byte chooses which.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| halite_tests::fuzz::decoders(bytes));
