//! Tests of the family.

use crate::{
    commands::{bench::Bench, strings::tests::WRONG_TYPE, strings::tests::put_list},
    store::value::INLINE_STRING,
};
use ringfort_protocol::{OwnedArgs, Resp};

const OFFSET: &str = "-ERR bit offset is not an integer or out of range ";
const SYNTAX: &str = "-ERR syntax error ";
const NOT_INTEGER: &str = "-ERR value is not an integer or out of range ";

/// Sets `key` to these bytes.
fn set(bench: &mut Bench, key: &str, bytes: &[u8]) {
    let args: OwnedArgs = [b"SET", key.as_bytes(), bytes].into_iter().collect();
    assert_eq!(bench.run_args(args.as_args()), b"+OK\r\n");
}

fn get(bench: &mut Bench, key: &str) -> Vec<u8> {
    let args: OwnedArgs = [b"GET", key.as_bytes()].into_iter().collect();
    bench.run_args(args.as_args())
}

#[test]
fn bits_are_set_cleared_and_read() {
    let mut bench = Bench::new();
    assert_eq!(bench.run("setbit k 7 1"), ":0 ");
    assert_eq!(get(&mut bench, "k"), b"$1\r\n\x01\r\n");
    assert_eq!(bench.run("setbit k 16 1"), ":0 ");
    assert_eq!(get(&mut bench, "k"), b"$3\r\n\x01\x00\x80\r\n");
    assert_eq!(bench.run("setbit k 7 0"), ":1 ");
    assert_eq!(bench.run("setbit k 7 0"), ":0 ");
    assert_eq!(bench.run("getbit k 16"), ":1 ");
    assert_eq!(bench.run("getbit k 17"), ":0 ");
    assert_eq!(bench.run("getbit k 4294967295"), ":0 ");
    assert_eq!(bench.run("getbit no 0"), ":0 ");
    assert_eq!(bench.run("setbit z 0 0"), ":0 ");
    assert_eq!(bench.run("strlen z"), ":1 ");
    assert_eq!(bench.effects(), "setbit k 7 1; setbit k 16 1; setbit k 7 0; setbit z 0 0");
}

#[test]
fn bits_that_cannot_be_are_refused() {
    let mut bench = Bench::new();
    for offset in ["-1", "a", "4294967296", "#1", "9223372036854775807"] {
        assert_eq!(bench.run(&format!("setbit k {offset} 2")), OFFSET, "{offset}");
        assert_eq!(bench.run(&format!("getbit k {offset}")), OFFSET, "{offset}");
    }
    let error = "-ERR bit is not an integer or out of range ";
    assert_eq!(bench.run("setbit k 1 2"), error);
    assert_eq!(bench.run("setbit k 1 x"), error);
    put_list(&mut bench, "l");
    for command in [
        "setbit l 0 1",
        "getbit l 0",
        "bitcount l x",
        "bitpos l 0 x",
        "bitfield l get u8 0",
        "bitfield l set u8 0 1",
        "bitop and k l",
    ] {
        assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
    }
    assert_eq!((bench.run("get k"), bench.effects()), ("$-1 ".into(), "".into()));
}

#[test]
fn large_bitmaps_change_on_replicas_too() {
    let (mut primary, mut replica) = (Bench::new(), Bench::new());
    let far = INLINE_STRING * 8 + 3;
    for command in [
        format!("setbit k {far} 1"),
        "setbit k 1 1".into(),
        format!("setbit k {} 1", far * 2),
        format!("bitfield k set u16 {} 65535", far * 2 + 1),
        "bitop not n k".into(),
        "bitop xor x n k".into(),
    ] {
        primary.run(&command);
    }
    replica.follow(&mut primary);
    for key in ["k", "n", "x"] {
        assert_eq!(get(&mut primary, key), get(&mut replica, key));
    }
    let bytes = INLINE_STRING * 2 + 3;
    assert_eq!(replica.run("bitcount k"), ":19 ");
    assert_eq!(replica.run("strlen n"), format!(":{bytes} "));
    assert_eq!(replica.run("bitcount x"), format!(":{} ", bytes * 8));
}

#[test]
fn bits_are_counted_as_one_by_one() {
    let mut bench = Bench::new();
    let bytes: Vec<u8> = (0..21u8).map(|i| i.wrapping_mul(73) ^ 0x5a).collect();
    set(&mut bench, "k", &bytes);
    let bit = |i: i64| i64::from(bytes[i as usize / 8] >> (7 - i % 8) & 1);
    for start in -5..170i64 {
        for stop in [0, 1, 7, 8, 9, 63, 64, 100, 166, 167, 200] {
            let from = if start < 0 { start + 168 } else { start };
            let expected: i64 = (from..=stop.min(167)).map(bit).sum();
            let command = format!("bitcount k {start} {stop} bit");
            assert_eq!(bench.run(&command), format!(":{expected} "), "{command}");
        }
    }
    let all: i64 = (0..168).map(bit).sum();
    assert_eq!(bench.run("bitcount k"), format!(":{all} "));
    assert_eq!(bench.run("bitcount k 0 -1"), format!(":{all} "));
    let some: i64 = (8..160).map(bit).sum();
    assert_eq!(bench.run("bitcount k 1 -2 byte"), format!(":{some} "));
    assert_eq!(bench.run("bitcount k -30 -40"), ":0 ");
    assert_eq!(bench.run("bitcount k -1 -2 foo"), ":0 ");
    assert_eq!(bench.run("bitcount no x y z"), ":0 ");
    for command in ["bitcount k 1", "bitcount k 1 2 foo", "bitcount k 1 2 bit 3"] {
        assert_eq!(bench.run(command), SYNTAX, "{command}");
    }
    assert_eq!(bench.run("bitcount k 1 x foo"), NOT_INTEGER);
}

#[test]
fn the_first_bit_is_found_as_one_by_one() {
    let mut bench = Bench::new();
    let bytes = [0x00, 0x00, 0x13, 0x00, 0xff, 0xff, 0xff, 0xfe, 0x00, 0x80];
    set(&mut bench, "k", &bytes);
    let bit = |i: i64| bytes[i as usize / 8] >> (7 - i % 8) & 1;
    for wanted in [0, 1] {
        for start in 0..80 {
            for stop in start..80 {
                let found = (start..=stop).find(|&i| bit(i) == wanted).unwrap_or(-1);
                let command = format!("bitpos k {wanted} {start} {stop} bit");
                assert_eq!(bench.run(&command), format!(":{found} "), "{command}");
            }
        }
    }
    assert_eq!(bench.run("bitpos k 1"), ":19 ");
    assert_eq!(bench.run("bitpos k 1 3"), ":32 ");
    assert_eq!(bench.run("bitpos k 0 4 6"), ":-1 ");
    assert_eq!(bench.run("bitpos k 0 4"), ":63 ");
    assert_eq!(bench.run("bitpos k 1 -1 -1"), ":72 ");
    assert_eq!(bench.run("bitpos k 1 5 4"), ":-1 ");
}

#[test]
fn zeros_follow_a_string_whose_end_is_not_named() {
    let mut bench = Bench::new();
    set(&mut bench, "k", b"\xff\xff");
    for (command, reply) in [
        ("bitpos k 0", ":16 "),
        ("bitpos k 0 1", ":16 "),
        ("bitpos k 0 0 -1", ":-1 "),
        ("bitpos k 0 2", ":-1 "),
        ("bitpos no 0", ":0 "),
        ("bitpos no 1", ":-1 "),
        ("bitpos no 0 x", ":0 "),
        ("bitpos k 2", "-ERR The bit argument must be 1 or 0. "),
        ("bitpos k x", NOT_INTEGER),
        ("bitpos k 1 1 x foo", SYNTAX),
        ("bitpos k 1 1 1 bit 1", SYNTAX),
        ("bitpos k 1 x", NOT_INTEGER),
    ] {
        assert_eq!(bench.run(command), reply, "{command}");
    }
    bench.run("set e ''");
    assert_eq!(bench.run("bitpos e 0"), ":-1 ");
    assert_eq!(bench.run("bitpos e 1 0"), ":-1 ");
}

#[test]
fn bitop_combines_and_logs_the_result() {
    let mut bench = Bench::new();
    set(&mut bench, "a", b"\x0f\xf0\xff");
    set(&mut bench, "b", b"\x3c\x3c");
    bench.effects();
    for (command, effect) in [
        ("bitop and d a b", "SET d \\x0c0\\x00"),
        ("bitop OR d b a", "SET d ?\\xfc\\xff"),
        ("bitop xor d a b", "SET d 3\\xcc\\xff"),
        ("bitop not d a", "SET d \\xf0\\x0f\\x00"),
        ("bitop and d a no", "SET d \\x00\\x00\\x00"),
        ("bitop or d a", "SET d \\x0f\\xf0\\xff"),
    ] {
        assert_eq!(bench.run(command), ":3 ", "{command}");
        assert_eq!(bench.effects(), effect, "{command}");
    }
    assert_eq!(bench.run("bitop not d no"), ":0 ");
    assert_eq!(bench.effects(), "DEL d");
    assert_eq!(bench.run("bitop or d no no"), ":0 ");
    assert_eq!(bench.effects(), "");
    assert_eq!(bench.run("bitop foo d a"), SYNTAX);
    let single = "-ERR BITOP NOT must be called with a single source key. ";
    assert_eq!(bench.run("bitop not d a b"), single);
    put_list(&mut bench, "l");
    assert_eq!(bench.run("bitop or l a"), ":3 ");
    assert_eq!(bench.effects(), "SET l \\x0f\\xf0\\xff");
}

#[test]
fn fields_are_read_set_and_added_to() {
    let mut bench = Bench::new();
    for (command, reply) in [
        ("bitfield k", "*0 "),
        ("bitfield k get u8 100", "*1 :0 "),
        ("bitfield k set u8 0 255 get u4 0 get i4 0", "*3 :0 :15 :-1 "),
        ("bitfield k set i5 #1 -3 get i5 5 get u5 5", "*3 :-4 :-3 :29 "),
        ("bitfield k incrby u2 100 1 incrby u2 100 1", "*2 :1 :2 "),
        (
            "bitfield m set i64 3 -9223372036854775808 get i64 3 set u63 3 9223372036854775807",
            "*3 :0 :-9223372036854775808 :4611686018427387904 ",
        ),
        ("bitfield m get i64 3 get u1 66", "*2 :-2 :0 "),
        ("bitfield_ro m get i64 3 overflow wrap", "*1 :-2 "),
    ] {
        assert_eq!(bench.run(command), reply, "{command}");
    }
    assert_eq!(bench.run("strlen k"), ":13 ");
    assert_eq!(bench.run("strlen m"), ":9 ");
}

#[test]
fn overflow_wraps_saturates_or_fails() {
    let mut bench = Bench::new();
    for (command, reply) in [
        ("bitfield k set u8 0 250 incrby u8 0 10", "*2 :0 :4 "),
        ("bitfield k overflow sat incrby u8 0 -10", "*1 :0 "),
        ("bitfield k overflow sat incrby u8 0 1000", "*1 :255 "),
        ("bitfield k overflow fail incrby u8 0 1 get u8 0", "*2 $-1 :255 "),
        ("bitfield k overflow fail set u8 0 256", "*1 $-1 "),
        ("bitfield k overflow sat set u8 0 -1 get u8 0", "*2 :255 :255 "),
        ("bitfield k set u8 0 -1 get u8 0", "*2 :255 :255 "),
        ("bitfield k set i8 8 127 incrby i8 8 1", "*2 :0 :-128 "),
        ("bitfield k overflow sat incrby i8 8 -1", "*1 :-128 "),
        ("bitfield k overflow fail set i8 8 -129 overflow wrap set i8 8 -129", "*2 $-1 :-128 "),
        ("bitfield k get i8 8", "*1 :127 "),
        ("bitfield m set i64 0 9223372036854775807 incrby i64 0 1", "*2 :0 :-9223372036854775808 "),
        ("bitfield m overflow sat incrby i64 0 -9223372036854775808", "*1 :-9223372036854775808 "),
    ] {
        assert_eq!(bench.run(command), reply, "{command}");
    }
    bench.resp = Resp::V3;
    assert_eq!(bench.run("bitfield n overflow fail set u2 5 9"), "*1 _ ");
    assert_eq!(bench.run("strlen n"), ":1 ");
}

#[test]
fn a_bitfield_is_checked_before_it_changes_anything() {
    let mut bench = Bench::new();
    let kind =
        "-ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is. ";
    for (operation, error) in [
        ("get u64 0", kind),
        ("get i65 0", kind),
        ("get i0 0", kind),
        ("get U8 0", kind),
        ("get 8 x", kind),
        ("get u8 -1", OFFSET),
        ("get u8 #-1", OFFSET),
        ("get u8 4294967296", OFFSET),
        ("get u8 #9223372036854775807", OFFSET),
        ("set u8 0 x", NOT_INTEGER),
        ("set u8 0", SYNTAX),
        ("get u8", SYNTAX),
        ("foo u8 0", SYNTAX),
        ("overflow", SYNTAX),
        ("overflow x", "-ERR Invalid OVERFLOW type specified "),
    ] {
        let command = format!("bitfield k set u8 0 1 {operation}");
        assert_eq!(bench.run(&command), error, "{command}");
    }
    let read_only = "-ERR BITFIELD_RO only supports the GET subcommand ";
    assert_eq!(bench.run("bitfield_ro k get u8 0 set u8 0 1"), read_only);
    assert_eq!((bench.run("get k"), bench.effects()), ("$-1 ".into(), "".into()));
}

#[test]
fn a_bitfield_is_logged_only_if_it_changed_something() {
    let (mut primary, mut replica) = (Bench::new(), Bench::new());
    let change = "bitfield k set u8 3 77 overflow sat incrby i5 9 100";
    primary.run(change);
    assert_eq!(primary.effects(), change);
    primary.run("bitfield k get u8 0");
    primary.run("bitfield k overflow fail set u2 0 9");
    primary.run("bitfield k set u8 3 77 set u8 3 77");
    primary.run("bitfield no get u8 0");
    let (ours, _) = (get(&mut primary, "k"), primary.effects());
    let mut again = Bench::new();
    again.run(change);
    again.run("bitfield k set u8 3 77");
    replica.follow(&mut again);
    assert_eq!(get(&mut replica, "k"), ours);
}
