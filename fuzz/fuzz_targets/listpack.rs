//! See `ringfort::fuzzing::listpack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ringfort::fuzzing::listpack(input));
