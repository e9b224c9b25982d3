//! See `ringfort::fuzzing::payload`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringfort::fuzzing::payload(input));
