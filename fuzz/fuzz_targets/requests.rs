//! See `ringfort::fuzzing::requests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringfort::fuzzing::requests(input));
