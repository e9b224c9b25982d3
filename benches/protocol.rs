//! What it takes to read requests and to write replies: parsing, encoding, slots.
//!
//! `make bench` runs it. One input is one command as redis-benchmark sends it: keys of 16 bytes, values of 64. Figures
//! are for comparing two builds on one machine; `benches/peers` tells what a whole server does.

use std::hint::black_box;

use divan::{Bencher, counter::ItemsCount};
use ringfort_protocol::{Limits, Parsed, Parser, Resp, encode_command, reply, slot};

const KEY: &[u8] = b"key:000000123456";
const VALUE: [u8; 64] = [b'v'; 64];

fn main() {
    divan::main();
}

/// `count` SET commands in a row.
fn sets(count: usize) -> Vec<u8> {
    let mut input = Vec::new();
    for _ in 0..count {
        encode_command(&mut input, [&b"SET"[..], KEY, &VALUE].into_iter());
    }
    input
}

/// Parses a pipeline of SETs from the first byte to the last.
#[divan::bench(args = [1, 16])]
fn parse_sets(bencher: Bencher<'_, '_>, count: usize) {
    let input = sets(count);
    let (mut parser, mut spans, limits) = (Parser::new(), Vec::new(), Limits::default());
    bencher.counter(ItemsCount::new(count)).bench_local(|| {
        let mut rest = black_box(&input[..]);
        while let Ok(Parsed::Command { len }) = parser.parse(rest, &mut spans, &limits) {
            black_box(&spans);
            rest = &rest[len..];
        }
        assert!(rest.is_empty());
    });
}

/// Writes a reply into a buffer that has the room for it.
fn encode(bencher: Bencher<'_, '_>, write: impl Fn(&mut Vec<u8>)) {
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        write(&mut out);
        black_box(&out);
    });
}

#[divan::bench]
fn encode_simple(bencher: Bencher<'_, '_>) {
    encode(bencher, |out| reply::simple(out, black_box("OK")));
}

#[divan::bench]
fn encode_int(bencher: Bencher<'_, '_>) {
    encode(bencher, |out| reply::int(out, black_box(123_456)));
}

#[divan::bench]
fn encode_bulk(bencher: Bencher<'_, '_>) {
    encode(bencher, |out| reply::bulk(out, black_box(&VALUE[..])));
}

/// Ten fields and their values, as HGETALL replies with.
#[divan::bench]
fn encode_map(bencher: Bencher<'_, '_>) {
    encode(bencher, |out| {
        reply::map(out, black_box(Resp::V2), 10);
        for _ in 0..10 {
            reply::bulk(out, black_box(KEY));
            reply::bulk(out, black_box(&VALUE[..]));
        }
    });
}

#[divan::bench]
fn slot_of_a_key() -> u16 {
    slot(black_box(KEY))
}

#[divan::bench]
fn slot_of_a_key_with_a_tag() -> u16 {
    slot(black_box(&b"{user1000}:12345"[..]))
}
