//! See `ringfort::fuzzing::stream`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringfort::fuzzing::stream(input));
