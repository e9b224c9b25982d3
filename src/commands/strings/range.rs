//! Strings by parts: append to them, read and overwrite ranges of their bytes.

use ringfort_protocol::Args;

use super::{string, write_at};
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run,
        parse::{integer, string_range},
    },
    store::Value,
};

pub(super) const APPEND: Command = Command {
    name: "append",
    summary: "Appends to the string of a key; creates it if there is none",
    group: Group::String,
    since: "2.0.0",
    complexity: "O(1). The amortized time complexity is O(1) assuming the appended value is small and the already present \
                 value is of any size.",
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let tail = args.at(2);
        let mut entry = cx.db.edit(cx.keys[0]);
        let old = string(entry.value())?.map_or(0, <[u8]>::len);
        check_len(cx.limits.proto_max_bulk_len, old, tail.len())?;
        write_at(&mut entry, old, tail);
        cx.out.count(old + tail.len());
        Ok(Done::Changed)
    }),
    ..Command::BASE
};

pub(super) const SETRANGE: Command = Command {
    name: "setrange",
    summary: "Overwrites part of the string of a key, from a position on",
    group: Group::String,
    since: "2.2.0",
    complexity: "O(1), not counting the time taken to copy the new string in place. Usually, this string is very small \
                 so the amortized complexity is O(1). Otherwise, complexity is O(M) with M being the length of the \
                 value argument.",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let at = usize::try_from(integer(args.at(2))?)
            .map_err(|_| CommandError::other("ERR offset is out of range"))?;
        let bytes = args.at(3);
        let mut entry = cx.db.edit(cx.keys[0]);
        let old = string(entry.value())?.map_or(0, <[u8]>::len);
        if bytes.is_empty() {
            cx.out.count(old);
            return Ok(Done::Unchanged);
        }
        check_len(cx.limits.proto_max_bulk_len, at, bytes.len())?;
        write_at(&mut entry, at, bytes);
        cx.out.count(old.max(at + bytes.len()));
        Ok(Done::Changed)
    }),
    ..Command::BASE
};

fn check_len(most: usize, len: usize, more: usize) -> Result<(), CommandError> {
    match len.checked_add(more) {
        Some(sum) if sum <= most => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

pub(super) const GETRANGE: Command = Command {
    name: "getrange",
    summary: "Returns part of the string of a key",
    group: Group::String,
    since: "2.4.0",
    complexity: "O(N) where N is the length of the returned string. The complexity is ultimately determined by the \
                 returned length, but because creating a substring from an existing string is very cheap, it can be \
                 considered O(1) for small strings.",
    arity: 4,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(get_range),
    ..Command::BASE
};

pub(super) const SUBSTR: Command = Command {
    name: "substr",
    summary: "Returns part of the string of a key: the old name of GETRANGE",
    since: "1.0.0",
    ..GETRANGE
};

fn get_range(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
    match cx.db.read(cx.keys[0]) {
        Some(Value::Shared(bytes)) => {
            let range = string_range(start, stop, bytes.len());
            cx.out.bulk_shared(&bytes.slice(range));
        }
        value => {
            let bytes = string(value)?.unwrap_or_default();
            cx.out.bulk(&bytes[string_range(start, stop, bytes.len())]);
        }
    }
    Ok(Done::Read)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WRONG_TYPE, put_list};
    use crate::{commands::bench::Bench, store::value::INLINE_STRING};

    const TOO_LONG: &str = "-ERR string exceeds maximum allowed size (proto-max-bulk-len) ";

    #[test]
    fn append_creates_and_extends() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("append k ''"), ":0 ");
        assert_eq!(bench.run("get k"), "$0  ");
        assert_eq!(bench.run("append k ab"), ":2 ");
        assert_eq!(bench.run("append k c"), ":3 ");
        assert_eq!(bench.run("get k"), "$3 abc ");
        assert_eq!(bench.effects(), "append k ''; append k ab; append k c".replace("''", ""));
    }

    #[test]
    fn setrange_overwrites_and_fills_gaps_with_zeros() {
        let mut bench = Bench::new();
        for (command, reply, value) in [
            ("setrange k 0 ''", ":0 ", "$-1 "),
            ("setrange k 2 ab", ":4 ", "$4 \0\0ab "),
            ("setrange k 1 xyz", ":4 ", "$4 \0xyz "),
            ("setrange k 3 12", ":5 ", "$5 \0xy12 "),
            ("setrange k 0 A", ":5 ", "$5 Axy12 "),
            ("setrange k 6 B", ":7 ", "$7 Axy12\0B "),
            ("setrange k 9 ''", ":7 ", "$7 Axy12\0B "),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
            assert_eq!(bench.run("get k"), value, "{command}");
        }
        assert_eq!(bench.run("setrange k -1 a"), "-ERR offset is out of range ");
        assert_eq!(bench.run("setrange k a a"), "-ERR value is not an integer or out of range ");
    }

    #[test]
    fn strings_do_not_outgrow_the_limit() {
        let mut bench = Bench::new();
        bench.limits.proto_max_bulk_len = 5;
        bench.run("set k abcd");
        assert_eq!(bench.run("append k e"), ":5 ");
        assert_eq!(bench.run("append k f"), TOO_LONG);
        assert_eq!(bench.run("setrange k 5 f"), TOO_LONG);
        assert_eq!(bench.run("setrange no 9223372036854775807 f"), TOO_LONG);
        assert_eq!(bench.run("setrange k 4 f"), ":5 ");
        assert_eq!(bench.run("get k"), "$5 abcdf ");
    }

    #[test]
    fn ranges_of_bytes_are_read_by_position_from_either_end() {
        let mut bench = Bench::new();
        bench.run("set k 0123456789");
        for (range, expected) in [
            ("0 -1", "0123456789"),
            ("2 4", "234"),
            ("-3 -2", "78"),
            ("-99 99", "0123456789"),
            ("4 2", ""),
            ("-2 -3", ""),
            ("10 12", ""),
            ("0 -99", "0"),
        ] {
            let reply = format!("${} {expected} ", expected.len());
            assert_eq!(bench.run(&format!("getrange k {range}")), reply, "{range}");
            assert_eq!(bench.run(&format!("substr k {range}")), reply, "{range}");
        }
        assert_eq!(bench.run("getrange no 0 -1"), "$0  ");
        put_list(&mut bench, "l");
        for command in ["getrange l 0 -1", "append l a", "setrange l 0 a", "setrange l 0 ''"] {
            assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
        }
        assert_eq!(bench.run("getrange l 0 a"), "-ERR value is not an integer or out of range ");
    }

    #[test]
    fn long_strings_are_changed_in_place_here_and_on_replicas() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        let mut expected = vec![0; INLINE_STRING];
        expected.extend_from_slice(b"abc");
        primary.run(&format!("setrange k {INLINE_STRING} abc"));
        primary.run("append k def");
        expected.extend_from_slice(b"def");
        primary.run("setrange k 5 x");
        expected[5] = b'x';
        primary.run("setrange k 16388 yyyy");
        expected.truncate(16388);
        expected.extend_from_slice(b"yyyy");
        primary.run("setrange k 20000 z");
        expected.resize(20_000, 0);
        expected.push(b'z');
        replica.follow(&mut primary);
        let get: ringfort_protocol::OwnedArgs = ["get", "k"].into_iter().collect();
        for bench in [&mut primary, &mut replica] {
            let reply = bench.run_args(get.as_args());
            assert_eq!(reply, [b"$20001\r\n", &expected[..], b"\r\n"].concat());
            assert_eq!(bench.run("getrange k 16380 16391"), "$12 \0\0\0\0abcdyyyy ");
        }
    }

    #[test]
    fn the_deadline_stays() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.run("set k '' px 10");
        primary.run("append k a");
        primary.run("setrange k 1 b");
        replica.follow(&mut primary);
        for bench in [&mut primary, &mut replica] {
            assert_eq!(bench.run("get k"), "$2 ab ");
            bench.now += 10;
            assert_eq!(bench.run("get k"), "$-1 ");
        }
    }
}
