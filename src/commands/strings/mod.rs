//! Strings: reading them whole, and what the other files of the family share.
//!
//! How they are set is in [`set`], several at once in [`several`], as numbers they are in [`number`], by parts in [`range`], compared in [`lcs`].
//! Strings as bits are a family of their own: [`super::bitmaps`].

mod lcs;
mod number;
mod range;
mod set;
mod several;

use ringfort_protocol::Args;

use super::{
    Command, CommandError, Cx, Done, Flags, Gather, Group, KeyFlags, KeySpec, Reply, Run, Spread,
    parse::NewDeadline,
};
use crate::store::{Edit, Form, Value};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    range::APPEND,
    number::DECR,
    number::DECRBY,
    DELIFEQ,
    GET,
    GETDEL,
    GETEX,
    range::GETRANGE,
    set::GETSET,
    number::INCR,
    number::INCRBY,
    number::INCRBYFLOAT,
    lcs::LCS,
    MGET,
    several::MSET,
    several::MSETEX,
    several::MSETNX,
    set::PSETEX,
    set::SET,
    set::SETEX,
    set::SETNX,
    range::SETRANGE,
    STRLEN,
    range::SUBSTR,
];

/// The string that a value is, or `None` where there is no value.
pub(super) fn string(value: Option<Value<'_>>) -> Result<Option<&[u8]>, CommandError> {
    match value {
        None => Ok(None),
        Some(value) => value.as_string().map(Some).ok_or(CommandError::WrongType),
    }
}

/// Replies with the string that a value is, or with null where there is no value.
#[inline]
fn reply_string(out: &mut Reply, value: Option<Value<'_>>) -> Result<(), CommandError> {
    match value {
        None => out.null(),
        Some(Value::Str(bytes)) => out.bulk(bytes),
        Some(Value::Shared(bytes)) => out.bulk_shared(bytes),
        Some(_) => return Err(CommandError::WrongType),
    }
    Ok(())
}

/// Writes `bytes` at position `at` of the string that the key holds, or of an empty one. Zeros fill what lies between
/// its end and `at`; the deadline stays.
pub(super) fn write_at(entry: &mut Edit<'_, '_>, at: usize, bytes: &[u8]) {
    let len = entry.value().and_then(|value| value.as_string()).map(<[u8]>::len);
    let zeros = vec![0; at.saturating_sub(len.unwrap_or(0))];
    let with = [&zeros[..], bytes];
    match len {
        None => entry.put(Form::Str, &with, None),
        Some(len) => entry.splice(at.min(len)..len.min(at + bytes.len()), &with),
    }
}

const GET: Command = Command {
    name: "get",
    summary: "Returns the string value of a key",
    group: Group::String,
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, _| {
        reply_string(cx.out, cx.db.read(cx.keys[0]))?;
        Ok(Done::Read)
    }),
    ..Command::BASE
};

const MGET: Command = Command {
    name: "mget",
    summary: "Returns the string values of several keys; null for each that holds none",
    group: Group::String,
    complexity: "O(N) where N is the number of keys to retrieve.",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    spread: Spread::Keys(Gather::PerKey),
    run: Run::Data(|cx, _| {
        cx.out.array(cx.keys.len());
        for &key in cx.keys {
            let value = cx.db.read(key);
            reply_string(cx.out, value.filter(|value| value.as_string().is_some()))?;
        }
        Ok(Done::Read)
    }),
    ..Command::BASE
};

const STRLEN: Command = Command {
    name: "strlen",
    summary: "Returns the length of the string of a key, 0 if there is none",
    group: Group::String,
    since: "2.2.0",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        let string = string(cx.db.read(cx.keys[0]))?;
        cx.out.count(string.map_or(0, <[u8]>::len));
        Ok(Done::Read)
    }),
    ..Command::BASE
};

const GETDEL: Command = Command {
    name: "getdel",
    summary: "Returns the string of a key and removes the key",
    group: Group::String,
    since: "6.2.0",
    arity: 2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
    run: Run::Data(|cx, _| {
        let mut entry = cx.db.edit(cx.keys[0]);
        reply_string(cx.out, entry.read())?;
        Ok(if entry.remove() { Done::Changed } else { Done::Unchanged })
    }),
    ..Command::BASE
};

const DELIFEQ: Command = Command {
    name: "delifeq",
    summary: "Removes a key if its string is this one",
    group: Group::String,
    since: "9.0.0",
    arity: 3,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, KeyFlags::RM.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let mut entry = cx.db.edit(cx.keys[0]);
        let equal = string(entry.value())? == Some(args.at(2));
        cx.out.flag(equal);
        if !equal {
            return Ok(Done::Unchanged);
        }
        entry.remove();
        entry.log(&[b"DEL", entry.key().bytes]);
        Ok(Done::Logged)
    }),
    ..Command::BASE
};

const GETEX: Command = Command {
    name: "getex",
    summary: "Returns the string of a key and sets or clears when the key expires",
    group: Group::String,
    since: "6.2.0",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(get_with),
    ..Command::BASE
};

fn get_with(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let deadline = NewDeadline::of_reading(args.slice(2..))?;
    let (key, now) = (cx.keys[0], cx.db.now);
    let value = cx.db.read(key);
    let found = value.is_some();
    reply_string(cx.out, value)?;
    if !found || deadline == NewDeadline::Same {
        return Ok(Done::Unchanged);
    }
    let deadline = deadline.instant(now, "getex")?;
    let mut entry = cx.db.edit(key);
    match deadline {
        None if entry.deadline().is_none() => return Ok(Done::Unchanged),
        None => {
            entry.set_deadline(None);
            entry.log(&[b"PERSIST", key.bytes]);
        }
        Some(deadline) if deadline <= now => {
            entry.remove();
            entry.log(&[b"DEL", key.bytes]);
        }
        Some(deadline) => {
            entry.set_deadline(Some(deadline));
            let mut digits = itoa::Buffer::new();
            entry.log(&[b"PEXPIREAT", key.bytes, digits.format(deadline).as_bytes()]);
        }
    }
    Ok(Done::Logged)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::bench::Bench;
    use crate::{commands::reply::SHARE_FROM, store::value::INLINE_STRING};

    /// Gives `key` a value that is no string.
    pub(in crate::commands) fn put_list(bench: &mut Bench, key: &str) {
        use crate::store::{Access, Db, Form, Key, Locked};
        let mut shard = bench.shard();
        let mut locked = [&mut *shard];
        let mut db = Db::new(Locked::new(&mut locked, 16384), 0, 0, Access::default());
        db.edit(Key::new(key.as_bytes(), 0)).put(Form::List, &[b""], None);
    }

    pub(in crate::commands) const WRONG_TYPE: &str =
        "-WRONGTYPE Operation against a key holding the wrong kind of value ";

    #[test]
    fn strings_of_any_size_are_read_as_they_were_set() {
        let mut bench = Bench::new();
        for len in [0, 1, INLINE_STRING, INLINE_STRING + 1, SHARE_FROM * 3] {
            let value = "x".repeat(len);
            let run = |bench: &mut Bench, args: &[&str]| {
                let args: ringfort_protocol::OwnedArgs = args.iter().collect();
                String::from_utf8(bench.run_args(args.as_args())).unwrap()
            };
            assert_eq!(run(&mut bench, &["SET", "k", &value]), "+OK\r\n");
            let bulk = format!("${len}\r\n{value}\r\n");
            assert_eq!(run(&mut bench, &["GET", "k"]), bulk);
            assert_eq!(run(&mut bench, &["MGET", "no", "k"]), format!("*2\r\n$-1\r\n{bulk}"));
            assert_eq!(run(&mut bench, &["STRLEN", "k"]), format!(":{len}\r\n"));
            assert_eq!(run(&mut bench, &["GETDEL", "k"]), bulk);
            assert_eq!(run(&mut bench, &["GET", "k"]), "$-1\r\n");
        }
        assert_eq!(bench.run("strlen k"), ":0 ");
    }

    #[test]
    fn only_mget_passes_over_what_is_no_string() {
        let mut bench = Bench::new();
        put_list(&mut bench, "l");
        for command in ["get l", "strlen l", "getdel l", "getex l", "getex l ex 0"] {
            assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
        }
        bench.run("set s v");
        assert_eq!(bench.run("mget l s"), "*2 $-1 $1 v ");
        assert_eq!(bench.effects(), "set s v");
    }

    #[test]
    fn getdel_removes_on_replicas_too() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.run("set k v");
        assert_eq!(primary.run("getdel k"), "$1 v ");
        assert_eq!(primary.run("getdel k"), "$-1 ");
        replica.follow(&mut primary);
        assert_eq!(replica.run("get k"), "$-1 ");
    }

    #[test]
    fn delifeq_removes_what_is_equal_alone() {
        let mut bench = Bench::new();
        put_list(&mut bench, "l");
        for (command, reply, effect) in [
            ("set k v", "+OK ", "set k v"),
            ("delifeq k w", ":0 ", ""),
            ("delifeq k v", ":1 ", "DEL k"),
            ("delifeq k v", ":0 ", ""),
            ("delifeq l v", WRONG_TYPE, ""),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
            assert_eq!(bench.effects(), effect, "{command}");
        }
    }

    #[test]
    fn getex_changes_the_deadline_and_logs_it_as_an_instant() {
        let mut bench = Bench::new();
        bench.now = 1_000_000;
        bench.run("set k v");
        bench.effects();
        for (command, effect) in [
            ("getex k", ""),
            ("getex k persist", ""),
            ("getex k ex 10", "PEXPIREAT k 1010000"),
            ("getex k px 10", "PEXPIREAT k 1000010"),
            ("getex k exat 2000", "PEXPIREAT k 2000000"),
            ("getex k pxat 2000001 PXAT 2000002", "PEXPIREAT k 2000002"),
            ("getex k persist persist", "PERSIST k"),
        ] {
            assert_eq!(bench.run(command), "$1 v ", "{command}");
            assert_eq!(bench.effects(), effect, "{command}");
        }
        assert_eq!(bench.run("getex k pxat 1000000"), "$1 v ");
        assert_eq!(bench.effects(), "DEL k");
        assert_eq!(bench.run("getex k ex 10"), "$-1 ");
        assert_eq!(bench.effects(), "");
    }

    #[test]
    fn getex_refuses_before_it_changes_anything() {
        let mut bench = Bench::new();
        bench.run("set k v");
        bench.effects();
        for options in ["ex", "ex 1 px 1", "persist ex 1", "ex 1 persist", "keepttl", "nx", "ex 1 1"] {
            let command = format!("getex k {options}");
            assert_eq!(bench.run(&command), "-ERR syntax error ", "{command}");
        }
        let invalid = "-ERR invalid expire time in 'getex' command ";
        assert_eq!(bench.run("getex k ex 0"), invalid);
        assert_eq!(bench.run("getex k px 9223372036854775807"), invalid);
        let not_integer = "-ERR value is not an integer or out of range ";
        assert_eq!(bench.run("getex k ex a"), not_integer);
        assert_eq!(bench.run("getex no ex 0"), "$-1 ");
        assert_eq!(bench.effects(), "");
    }
}
