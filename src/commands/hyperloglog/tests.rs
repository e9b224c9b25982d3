//! Tests of the family: replies, effects, and strings that are no sketches.

use ringfort_protocol::OwnedArgs;

use crate::{
    commands::{bench::Bench, digest::digest},
    store::Role,
};

fn run(bench: &mut Bench, args: &[&[u8]]) -> Vec<u8> {
    bench.run_args(args.iter().collect::<OwnedArgs>().as_args())
}

/// Shows the numbers below `end` to the sketch at `key`, some at a time.
fn add(bench: &mut Bench, key: &str, end: u32) {
    let numbers: Vec<String> = (0..end).map(|number| number.to_string()).collect();
    for some in numbers.chunks(10) {
        bench.run(&format!("pfadd {key} {}", some.join(" ")));
    }
}

fn same(bench: &Bench, replica: &Bench) -> bool {
    digest(&bench.shard()) == digest(&replica.shard())
}

#[test]
fn elements_are_counted_once() {
    let mut bench = Bench::new();
    for (command, reply) in [
        ("pfcount k", ":0 "),
        ("pfadd k", ":1 "),
        ("pfadd k", ":0 "),
        ("pfcount k", ":0 "),
        ("pfadd k a b c", ":1 "),
        ("pfadd k a b", ":0 "),
        ("pfcount k", ":3 "),
        ("pfadd l c d", ":1 "),
        ("pfcount k l absent", ":4 "),
        ("pfmerge m k l absent", "+OK "),
        ("pfcount m", ":4 "),
        ("pfmerge n", "+OK "),
        ("pfcount n", ":0 "),
        ("pfdebug encoding m", "+sparse "),
    ] {
        assert_eq!(bench.run(command), reply, "{command}");
    }
}

#[test]
fn a_sketch_is_the_string_that_redis_makes() {
    let mut bench = Bench::new();
    bench.run("pfadd k a b c");
    assert_eq!(bench.run("pfdebug decode k"), "$44 Z:8436 v:1,1 Z:4274 v:2,1 Z:3068 v:1,1 Z:603 ");
    let header = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    let expected = [&b"$27\r\n"[..], header, b"`\xf3\x80P\xb1\x84K\xfb\x80BZ\r\n"].concat();
    assert_eq!(run(&mut bench, &[b"GET", b"k"]), expected);
}

#[test]
fn a_sketch_grows_dense_and_a_replica_follows_it() {
    let (mut bench, mut replica) = (Bench::new(), Bench::new());
    for (end, encoding) in [(10, "+sparse "), (1_500, "+sparse "), (3_000, "+dense "), (3_500, "+dense ")] {
        add(&mut bench, "k", end);
        assert_eq!(bench.run("pfdebug encoding k"), encoding, "{end}");
        replica.follow(&mut bench);
        assert!(same(&bench, &replica), "{end}");
        bench.run("pfcount k");
        assert_eq!(bench.run("pfcount k"), replica.run("pfcount k"));
        bench.run("pfadd l x y z");
        bench.run("pfmerge l k");
        replica.follow(&mut bench);
        assert!(same(&bench, &replica), "{end}");
    }
    assert_eq!(bench.run("pfdebug todense k"), ":0 ");
    assert_eq!(bench.run("pfdebug todense new"), "-ERR The specified key does not exist ");
}

#[test]
fn counting_keeps_the_cardinality_and_adding_forgets_it() {
    let mut bench = Bench::new();
    bench.run("pfadd k a b c");
    bench.effects();
    assert_eq!(bench.run("pfcount k"), ":3 ");
    assert_eq!(bench.effects(), "SETRANGE k 8 \\x03\\x00\\x00\\x00\\x00\\x00\\x00\\x00");
    assert_eq!(bench.run("pfcount k"), ":3 ");
    bench.run("pfadd k a");
    assert_eq!(bench.effects(), "");
    for add in ["pfadd k d", "pfmerge k k"] {
        bench.run(add);
        bench.effects();
        bench.run("pfcount k");
        assert!(bench.effects().starts_with("SETRANGE k 8"), "{add}");
    }
    // What it keeps is what it says, as long as it is there.
    bench.run("setrange k 8 x");
    assert_eq!(bench.run("pfcount k"), format!(":{} ", b'x'));
}

#[test]
fn a_copy_counts_and_keeps_nothing() {
    let mut bench = Bench::new();
    bench.run("pfadd k a b c");
    bench.effects();
    bench.shard().core.role = Role::Replica;
    assert_eq!(bench.run("pfcount k"), ":3 ");
    assert_eq!(bench.effects(), "");
    assert_eq!(bench.run("getrange k 15 15"), "$1 \u{fffd} ");
}

#[test]
fn the_deadline_stays() {
    let (mut bench, mut replica) = (Bench::new(), Bench::new());
    bench.run("pfadd k a");
    bench.run("pfadd l b");
    bench.run("pexpire k 1000");
    bench.run("pfadd k b");
    bench.run("pfcount k");
    bench.run("pfmerge k l");
    bench.run("pfdebug todense k");
    bench.run("pfadd k d e f g h");
    replica.follow(&mut bench);
    assert!(same(&bench, &replica));
    for bench in [&mut bench, &mut replica] {
        assert_eq!(bench.run("pttl k"), ":1000 ");
    }
}

#[test]
fn a_merge_is_dense_where_any_of_its_sources_is() {
    let mut bench = Bench::new();
    bench.run("pfadd dense a");
    bench.run("pfdebug todense dense");
    bench.run("pfadd sparse b");
    bench.run("pfmerge k sparse");
    assert_eq!(bench.run("pfdebug encoding k"), "+sparse ");
    bench.run("pfmerge k dense");
    assert_eq!(bench.run("pfdebug encoding k"), "+dense ");
    assert_eq!(bench.run("pfcount k"), ":2 ");
    bench.run("pfmerge dense sparse");
    assert_eq!(bench.run("pfcount dense"), ":2 ");
}

#[test]
fn registers_are_shown() {
    let mut bench = Bench::new();
    bench.run("pfadd k a");
    assert_eq!(bench.run("pfdebug decode k"), "$20 Z:12711 v:2,1 Z:3672 ");
    let shown = bench.run("pfdebug GETREG k");
    let registers: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!((registers[0], registers.len()), ("*16384", 16_385));
    assert_eq!(registers.iter().filter(|register| **register != ":0").count(), 2);
    assert_eq!(registers[12_712], ":2");
    assert_eq!(bench.effects(), "pfadd k a; PFDEBUG TODENSE k");
    assert_eq!(bench.run("pfdebug decode k"), "-ERR HLL encoding is not sparse ");
    assert_eq!(bench.run("pfdebug other k"), "-ERR Unknown PFDEBUG subcommand 'other' ");
}

const COMMANDS: [&str; 8] = [
    "pfadd k a",
    "pfcount k",
    "pfcount k l",
    "pfmerge d k",
    "pfmerge k l",
    "pfdebug getreg k",
    "pfdebug decode k",
    "pfdebug todense k",
];

#[test]
fn what_is_no_sketch_is_refused_and_left_alone() {
    let mut bench = Bench::new();
    bench.run("rpush k a");
    let list = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
    COMMANDS.iter().for_each(|command| assert_eq!(bench.run(command), list, "{command}"));
    let header = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    let (dense, unknown) = ([b"HYLL", &[0; 12_299][..]].concat(), [b"HYLL\x02", &header[5..]].concat());
    for bytes in [&b""[..], b"12345678901234567890", b"HYLL", &header[..15], &dense, &unknown] {
        run(&mut bench, &[b"SET", b"k", bytes]);
        bench.effects();
        for command in COMMANDS {
            let error = "-WRONGTYPE Key is not a valid HyperLogLog string value. ";
            assert_eq!(bench.run(command), error, "{command} {}", bytes.escape_ascii());
        }
        assert_eq!(bench.effects(), "");
    }
}

#[test]
fn registers_that_make_no_sense_are_refused_and_left_alone() {
    let mut bench = Bench::new();
    let header = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80";
    // Too few registers, too many, and a run that is cut off.
    for runs in [&b""[..], b"\x00", b"\x7f", b"\x7f\xff\x80", b"\x7f\xff\x7f", b"\xff\xff"] {
        run(&mut bench, &[b"SET", b"k", &[&header[..], runs].concat()]);
        bench.effects();
        for command in ["pfcount k", "pfcount k l", "pfmerge k", "pfdebug getreg k", "pfdebug todense k"] {
            let error = "-INVALIDOBJ Corrupted HLL object detected ";
            assert_eq!(bench.run(command), error, "{command} {}", runs.escape_ascii());
        }
        assert!(bench.run("pfdebug decode k").starts_with('$'));
        assert_eq!(bench.effects(), "");
        // Whether it notices depends on the register.
        bench.run("pfadd k a b c d e f g h");
    }
}
