//! Commands that change a hash.

use std::iter;

use ringfort_protocol::{Args, LongDouble, number::parse_i64};

use super::{edit, hash_of, open};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run, parse},
    store::objects::hash::Lasts,
};

const SET: Command = Command {
    group: Group::Hash,
    since: "2.0.0",
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    ..Command::BASE
};

pub(super) const HSET: Command = Command {
    name: "hset",
    summary: "Gives fields of a hash values; makes the hash if there is none",
    complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called \
                 with multiple field/value pairs.",
    arity: -4,
    run: Run::Data(|cx, args| {
        let new = set(cx, args, "hset")?;
        cx.out.count(new);
        Ok(Done::Changed)
    }),
    ..SET
};

pub(super) const HMSET: Command = Command {
    name: "hmset",
    summary: "Gives fields of a hash values",
    complexity: "O(N) where N is the number of fields being set.",
    arity: -4,
    run: Run::Data(|cx, args| {
        set(cx, args, "hmset")?;
        cx.out.ok();
        Ok(Done::Changed)
    }),
    ..SET
};

/// Sets the fields behind the key; returns how many are new.
fn set(cx: &mut Cx<'_>, args: Args<'_>, name: &'static str) -> Result<usize, CommandError> {
    let pairs = args.slice(2..);
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name.into()));
    }
    let pairs = (0..pairs.len() / 2).map(|pair| (pairs.at(2 * pair), pairs.at(2 * pair + 1)));
    let mut entry = open(&mut cx.db, cx.keys[0], pairs.clone().map(|pair| pair.0))?;
    Ok(edit::set(&mut entry, pairs, Lasts::Forever, cx.limits))
}

pub(super) const HSETNX: Command = Command {
    name: "hsetnx",
    summary: "Gives a field of a hash a value, if it has none",
    arity: 4,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let (field, now) = (args.at(2), cx.db.now);
        let mut entry = open(&mut cx.db, cx.keys[0], iter::once(field))?;
        let taken = hash_of(entry.value(), now)?.is_some_and(|hash| hash.get(field).is_some());
        cx.out.flag(!taken);
        if taken {
            return Ok(Done::Unchanged);
        }
        edit::set(&mut entry, iter::once((field, args.at(3))), Lasts::Forever, cx.limits);
        Ok(Done::Changed)
    }),
    ..SET
};

pub(super) const HDEL: Command = Command {
    name: "hdel",
    summary: "Removes fields of a hash; removes the hash if none is left",
    complexity: "O(N) where N is the number of fields to be removed.",
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let mut entry = open(&mut cx.db, cx.keys[0], args.slice(2..).iter())?;
        let removed = edit::remove(&mut entry, args.slice(2..).iter());
        cx.out.count(removed);
        Ok(if removed > 0 { Done::Changed } else { Done::Unchanged })
    }),
    ..SET
};

pub(super) const HINCRBY: Command = Command {
    name: "hincrby",
    summary: "Adds an integer to the value of a field of a hash, which counts as 0 if it has none",
    arity: 4,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let by = parse::integer(args.at(3))?;
        let (field, now) = (args.at(2), cx.db.now);
        let mut entry = open(&mut cx.db, cx.keys[0], iter::once(field))?;
        let old = match hash_of(entry.value(), now)?.and_then(|hash| hash.get(field)) {
            None => 0,
            Some(value) => parse_i64(value.as_bytes(&mut itoa::Buffer::new()))
                .ok_or(CommandError::other("ERR hash value is not an integer"))?,
        };
        let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
        let mut text = itoa::Buffer::new();
        let text = text.format(new).as_bytes();
        edit::set(&mut entry, iter::once((field, text)), Lasts::AsBefore, cx.limits);
        cx.out.int(new);
        Ok(Done::Changed)
    }),
    ..SET
};

pub(super) const HINCRBYFLOAT: Command = Command {
    name: "hincrbyfloat",
    summary: "Adds a number to the value of a field of a hash, which counts as 0 if it has none",
    since: "2.6.0",
    arity: 4,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let ([key, field], now) = ([args.at(1), args.at(2)], cx.db.now);
        let zero = LongDouble::from(0);
        let by = LongDouble::parse(args.at(3)).ok_or(CommandError::NotFloat)?;
        // Adding nothing fails for what is not finite.
        by.checked_add(zero).ok_or(CommandError::other("ERR value is NaN or Infinity"))?;
        let mut entry = open(&mut cx.db, cx.keys[0], iter::once(field))?;
        let found = hash_of(entry.value(), now)?.and_then(|hash| hash.find(field));
        let dated = found.is_some_and(|(_, deadline)| deadline.is_some());
        let old = match found {
            None => zero,
            Some((value, _)) => LongDouble::parse(value.as_bytes(&mut itoa::Buffer::new()))
                .ok_or(CommandError::other("ERR hash value is not a float"))?,
        };
        let new =
            old.checked_add(by).ok_or(CommandError::other("ERR increment would produce NaN or Infinity"))?;
        let mut text = Vec::new();
        new.format(&mut text);
        edit::set(&mut entry, iter::once((field, &text[..])), Lasts::AsBefore, cx.limits);
        if dated {
            entry.log(&[b"HSETEX", key, b"KEEPTTL", b"FIELDS", b"1", field, &text]);
        } else {
            entry.log(&[b"HSET", key, field, &text]);
        }
        cx.out.bulk(&text);
        Ok(Done::Logged)
    }),
    ..SET
};

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    #[test]
    fn writes_are_followed_in_both_forms() {
        for entries in [128, 3] {
            let (mut primary, mut replica) = (Bench::new(), Bench::new());
            primary.limits.hash_max_listpack_entries = entries;
            for (command, reply) in [
                ("hset h a 1", ":1 "),
                ("hset h a 2 b 3 c 4", ":2 "),
                ("hset h a 2 a 5 a x", ":0 "),
                ("hset h a 7", ":0 "),
                ("hmset h d 5 e 6", "+OK "),
                ("hsetnx h d 9", ":0 "),
                ("hsetnx h f 9", ":1 "),
                ("hsetnx n f 9", ":1 "),
                ("hincrby h a 100000", ":100007 "),
                ("hincrby h new -3", ":-3 "),
                ("hincrbyfloat h a 0.5", "$8 100007.5 "),
                ("hincrbyfloat h fl 1e2", "$3 100 "),
                ("hdel h b z b c", ":2 "),
                ("hdel h z", ":0 "),
            ] {
                assert_eq!(primary.run(command), reply, "{command}");
            }
            let form = if entries == 3 { "hashtable" } else { "listpack" };
            assert_eq!(primary.encoding("h"), form);
            replica.follow(&mut primary);
            for bench in [&mut primary, &mut replica] {
                assert_eq!(bench.run("hlen h"), ":6 ");
                assert_eq!(
                    bench.run("hmget h a d e f new fl"),
                    "*6 $8 100007.5 $1 5 $1 6 $1 9 $2 -3 $3 100 "
                );
            }
            assert_eq!(primary.run("hdel h a d e f new fl z"), ":6 ");
            assert_eq!(primary.run("hdel n f"), ":1 ");
            replica.follow(&mut primary);
            for bench in [primary, replica] {
                let shard = bench.shard();
                assert_eq!((shard.len(0), shard.core.used), (0, 0));
            }
        }
    }

    #[test]
    fn a_long_text_or_many_fields_make_a_hash_large() {
        let mut bench = Bench::new();
        let [fits, long] = [64, 65].map(|len| "x".repeat(len));
        bench.run(&format!("hset a {fits} {fits}"));
        assert_eq!(bench.encoding("a"), "listpack");
        bench.run(&format!("hset a f {long}"));
        assert_eq!(bench.encoding("a"), "hashtable");
        assert_eq!(bench.run(&format!("hget a {fits}")), format!("$64 {fits} "));
        bench.run("hdel a f");
        assert_eq!(bench.encoding("a"), "hashtable");
        for field in 0..128 {
            bench.run(&format!("hset b {field} 1"));
        }
        assert_eq!(bench.encoding("b"), "listpack");
        bench.run("hset b 0 2");
        assert_eq!(bench.encoding("b"), "listpack");
        bench.run("hset b 128 1");
        assert_eq!(bench.encoding("b"), "hashtable");
        assert_eq!(bench.run("hlen b"), ":129 ");
    }

    #[test]
    fn the_deadline_stays() {
        let mut bench = Bench::new();
        bench.limits.hash_max_listpack_entries = 2;
        bench.run("hset h a 1");
        let deadline = Some(bench.now + 5_000);
        bench.with("h", |entry| entry.set_deadline(deadline));
        for command in ["hset h b 1", "hset h a 2 b 3", "hincrby h a 1", "hset h c 1", "hdel h a"] {
            bench.run(command);
            assert_eq!(bench.with("h", |entry| entry.deadline()), deadline, "{command}");
        }
        assert_eq!(bench.encoding("h"), "hashtable");
    }

    #[test]
    fn mistakes_change_nothing() {
        let mut bench = Bench::new();
        bench.run("append s text");
        bench.run("hset h f text max 9223372036854775807 big 1e4932");
        bench.effects();
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
        for (command, reply) in [
            ("hset s a", "-ERR wrong number of arguments for 'hset' command "),
            ("hset s a 1 b", "-ERR wrong number of arguments for 'hset' command "),
            ("hmset s a 1 b", "-ERR wrong number of arguments for 'hmset' command "),
            ("hset s a 1", wrong),
            ("hmset s a 1", wrong),
            ("hsetnx s a 1", wrong),
            ("hdel s a", wrong),
            ("hincrby s a 1", wrong),
            ("hincrbyfloat s a 1", wrong),
            ("hdel no a", ":0 "),
            ("hincrby s f x", "-ERR value is not an integer or out of range "),
            ("hincrby h f 1", "-ERR hash value is not an integer "),
            ("hincrby h max 1", "-ERR increment or decrement would overflow "),
            ("hincrbyfloat s f x", "-ERR value is not a valid float "),
            ("hincrbyfloat s f nan", "-ERR value is not a valid float "),
            ("hincrbyfloat s f -inf", "-ERR value is NaN or Infinity "),
            ("hincrbyfloat h f 1", "-ERR hash value is not a float "),
            ("hincrbyfloat h big 1e4932", "-ERR increment would produce NaN or Infinity "),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
        }
        assert_eq!(bench.effects(), "");
    }
}
