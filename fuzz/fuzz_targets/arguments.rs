//! See `ringfort::fuzzing::arguments`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringfort::fuzzing::arguments(input));
