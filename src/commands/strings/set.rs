//! Setting strings, on conditions and with deadlines.
//!
//! A plain SET is logged as it came. Any other form is logged as what came of it: without its condition, and with the
//! instant at which the key expires in place of a length of time.

use ringfort_protocol::Args;

use super::{reply_string, string};
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run,
        parse::{Expiry, NewDeadline, is},
    },
    store::{Edit, Form},
};

pub(super) const SET: Command = Command {
    name: "set",
    summary: "Sets the string value of a key, whatever it held before",
    group: Group::String,
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE))],
    run: Run::Data(|cx, args| {
        if args.len() > 3 {
            return set_with(cx, args.at(2), Options::parse(args.slice(3..))?);
        }
        cx.db.edit(cx.keys[0]).put(Form::Str, &[args.at(2)], None);
        cx.out.ok();
        Ok(Done::Changed)
    }),
    ..Command::BASE
};

/// The options of SET.
pub(super) struct Options<'a> {
    pub(super) condition: Condition<'a>,
    pub(super) deadline: NewDeadline<'a>,
    /// Reply with the old value.
    pub(super) get: bool,
}

#[derive(PartialEq)]
pub(super) enum Condition<'a> {
    Always,
    IfAbsent,
    IfPresent,
    IfEqual(&'a [u8]),
}

impl<'a> Options<'a> {
    pub(super) fn parse(options: Args<'a>) -> Result<Self, CommandError> {
        use Condition::{Always, IfAbsent, IfEqual, IfPresent};
        let (mut condition, mut deadline, mut get) = (Always, NewDeadline::Never, false);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if let Some(expiry) = Expiry::from_option(option) {
                deadline.set(&NewDeadline::Never, expiry, options.next())?;
            } else if is(option, "NX") && matches!(condition, Always | IfAbsent) {
                condition = IfAbsent;
            } else if is(option, "XX") && matches!(condition, Always | IfPresent) {
                condition = IfPresent;
            } else if is(option, "IFEQ") && condition == Always {
                condition = IfEqual(options.next().ok_or(CommandError::Syntax)?);
            } else if is(option, "GET") {
                get = true;
            } else if is(option, "KEEPTTL") && !matches!(deadline, NewDeadline::At(..)) {
                deadline = NewDeadline::Same;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(Self { condition, deadline, get })
    }
}

fn set_with(cx: &mut Cx<'_>, value: &[u8], options: Options<'_>) -> Result<Done, CommandError> {
    let deadline = options.deadline.instant(cx.db.now, "set")?;
    let mut entry = cx.db.edit(cx.keys[0]);
    let old = if options.get { entry.read() } else { entry.value() };
    if options.get {
        reply_string(cx.out, old)?;
    }
    let holds = match options.condition {
        Condition::Always => true,
        Condition::IfAbsent => old.is_none(),
        Condition::IfPresent => old.is_some(),
        Condition::IfEqual(expected) => string(old)? == Some(expected),
    };
    if !holds {
        if !options.get {
            cx.out.null();
        }
        return Ok(Done::Unchanged);
    }
    set_one(&mut entry, value, options.deadline, deadline);
    if !options.get {
        cx.out.ok();
    }
    Ok(Done::Logged)
}

/// Sets a value that lasts as long as the options say, where `until` is the instant that they tell, and logs it so.
pub(super) fn set_one(entry: &mut Edit<'_, '_>, value: &[u8], lasts: NewDeadline<'_>, until: Option<u64>) {
    match (lasts, until) {
        (NewDeadline::Same, _) => {
            entry.put(Form::Str, &[value], entry.deadline());
            entry.log(&[b"SET", entry.key().bytes, value, b"KEEPTTL"]);
        }
        (_, Some(deadline)) => set_until(entry, value, deadline),
        (_, None) => {
            entry.put(Form::Str, &[value], None);
            entry.log(&[b"SET", entry.key().bytes, value]);
        }
    }
}

/// Sets a value that expires at `deadline`, and logs it so. Where that time has passed already, the key is there
/// until somebody looks.
fn set_until(entry: &mut Edit<'_, '_>, value: &[u8], deadline: u64) {
    entry.put(Form::Str, &[value], Some(deadline));
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(deadline).as_bytes();
    entry.log(&[b"SET", entry.key().bytes, value, b"PXAT", digits]);
}

pub(super) const SETEX: Command = Command {
    name: "setex",
    summary: "Sets the string value of a key and the seconds after which it expires",
    group: Group::String,
    since: "2.0.0",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::OW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| set_for(cx, args, Expiry::Ex, "setex")),
    ..Command::BASE
};

pub(super) const PSETEX: Command = Command {
    name: "psetex",
    summary: "Sets the string value of a key and the milliseconds after which it expires",
    since: "2.6.0",
    run: Run::Data(|cx, args| set_for(cx, args, Expiry::Px, "psetex")),
    ..SETEX
};

fn set_for(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    expiry: Expiry,
    command: &'static str,
) -> Result<Done, CommandError> {
    let deadline = expiry.positive_deadline(args.at(2), cx.db.now, command)?;
    set_until(&mut cx.db.edit(cx.keys[0]), args.at(3), deadline);
    cx.out.ok();
    Ok(Done::Logged)
}

pub(super) const SETNX: Command = Command {
    name: "setnx",
    summary: "Sets the string value of a key that is not there yet",
    group: Group::String,
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::OW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let mut entry = cx.db.edit(cx.keys[0]);
        let absent = entry.value().is_none();
        cx.out.flag(absent);
        if !absent {
            return Ok(Done::Unchanged);
        }
        entry.put(Form::Str, &[args.at(2)], None);
        Ok(Done::Changed)
    }),
    ..Command::BASE
};

pub(super) const GETSET: Command = Command {
    name: "getset",
    summary: "Sets the string value of a key and returns its old one",
    group: Group::String,
    arity: 3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let mut entry = cx.db.edit(cx.keys[0]);
        reply_string(cx.out, entry.read())?;
        entry.put(Form::Str, &[args.at(2)], None);
        Ok(Done::Changed)
    }),
    ..Command::BASE
};

#[cfg(test)]
mod tests {
    use super::super::tests::{WRONG_TYPE, put_list};
    use crate::commands::bench::Bench;

    const NULL: &str = "$-1 ";

    /// A bench with `k` = `old`, at the time 1,000,000.
    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.now = 1_000_000;
        bench.run("set k old");
        bench.effects();
        bench
    }

    #[test]
    fn set_sets_where_its_condition_holds() {
        for (command, reply, effect) in [
            ("SET k v", "+OK ", "SET k v"),
            ("set k v xx", "+OK ", "SET k v"),
            ("set k v nx", NULL, ""),
            ("set n v xx", NULL, ""),
            ("set n v NX nx", "+OK ", "SET n v"),
            ("set k v ifeq old", "+OK ", "SET k v"),
            ("set k v ifeq other", NULL, ""),
            ("set n v ifeq ''", NULL, ""),
            ("set k v get", "$3 old ", "SET k v"),
            ("set n v get", NULL, "SET n v"),
            ("set k v nx get", "$3 old ", ""),
            ("set n v nx get", NULL, "SET n v"),
            ("set k v xx get", "$3 old ", "SET k v"),
            ("set k v ifeq old get", "$3 old ", "SET k v"),
            ("set k v get ifeq no", "$3 old ", ""),
        ] {
            let mut bench = bench();
            assert_eq!(bench.run(command), reply, "{command}");
            assert_eq!(bench.effects(), effect, "{command}");
            let expected = if effect.is_empty() { "$3 old " } else { "$1 v " };
            let key = if command.contains(" n ") && !effect.is_empty() { "n" } else { "k" };
            assert_eq!(bench.run(&format!("get {key}")), expected, "{command}");
        }
    }

    #[test]
    fn deadlines_are_logged_as_instants() {
        for (command, reply, effect) in [
            ("set k v ex 10", "+OK ", "SET k v PXAT 1010000"),
            ("set k v px 10 get", "$3 old ", "SET k v PXAT 1000010"),
            ("set k v exat 2000 xx", "+OK ", "SET k v PXAT 2000000"),
            ("set k v pxat 5 pxat 2000001", "+OK ", "SET k v PXAT 2000001"),
            ("set k v keepttl", "+OK ", "SET k v KEEPTTL"),
            ("setex k 10 v", "+OK ", "SET k v PXAT 1010000"),
            ("psetex k 10 v", "+OK ", "SET k v PXAT 1000010"),
        ] {
            let mut bench = bench();
            assert_eq!(bench.run(command), reply, "{command}");
            assert_eq!(bench.effects(), effect, "{command}");
        }
    }

    #[test]
    fn a_key_expires_at_its_deadline_unless_it_is_set_anew() {
        let mut bench = bench();
        bench.run("set k v px 10");
        bench.run("set k w keepttl");
        bench.now += 9;
        assert_eq!(bench.run("get k"), "$1 w ");
        bench.now += 1;
        assert_eq!(bench.run("get k"), NULL);
        bench.effects();
        assert_eq!(bench.run("set k v nx"), "+OK ");
        assert_eq!(bench.effects(), "DEL k; SET k v");
        for command in ["set k v", "getset k v", "mset k v", "set k v get"] {
            bench.run("set k old px 10");
            bench.run(command);
            bench.now += 10;
            assert_eq!(bench.run("get k"), "$1 v ", "{command}");
        }
    }

    #[test]
    fn a_deadline_that_has_passed_leaves_no_key() {
        let mut bench = bench();
        assert_eq!(bench.run("set k v exat 1"), "+OK ");
        assert_eq!(bench.effects(), "SET k v PXAT 1000");
        assert_eq!(bench.run("get k"), NULL);
        assert_eq!(bench.run("setnx k v"), ":1 ");
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let mut bench = bench();
        for options in [
            "nx xx",
            "xx nx",
            "nx ifeq old",
            "ifeq old xx",
            "ifeq old ifeq old",
            "ifeq",
            "ex",
            "ex 1 px 1",
            "exat 1 ex 1",
            "keepttl ex 1",
            "ex 1 keepttl",
            "persist",
            "get 1",
        ] {
            let command = format!("set k v {options}");
            assert_eq!(bench.run(&command), "-ERR syntax error ", "{command}");
        }
        for (command, named) in [
            ("set k v ex 0", "set"),
            ("set k v px -1", "set"),
            ("set k v ex 9223372036854775", "set"),
            ("set l v px 9223372036854775807 get", "set"),
            ("setex k 0 v", "setex"),
            ("psetex k 9223372036854775807 v", "psetex"),
        ] {
            let error = format!("-ERR invalid expire time in '{named}' command ");
            assert_eq!(bench.run(command), error, "{command}");
        }
        let not_integer = "-ERR value is not an integer or out of range ";
        assert_eq!(bench.run("set k v ex 1.0"), not_integer);
        assert_eq!((bench.run("get k"), bench.effects()), ("$3 old ".into(), "".into()));
    }

    #[test]
    fn set_overwrites_any_type_but_replies_only_with_strings() {
        let mut bench = Bench::new();
        put_list(&mut bench, "l");
        for command in ["set l v get", "set l v ifeq v", "set l v nx get", "getset l v"] {
            assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
        }
        assert_eq!(bench.run("set l v nx"), NULL);
        assert_eq!(bench.run("setnx l v"), ":0 ");
        assert_eq!(bench.effects(), "");
        assert_eq!(bench.run("set l v"), "+OK ");
        assert_eq!(bench.run("get l"), "$1 v ");
    }

    #[test]
    fn replicas_that_follow_have_the_same_strings() {
        let (mut primary, mut replica) = (bench(), Bench::new());
        replica.now = 1_000_000;
        for command in [
            "set a 1",
            "set b 2 px 10",
            "set c 3 xx",
            "set b 4 keepttl",
            "setnx d 5",
            "setnx d 6",
            "getset e 7",
            "mset f 8 g 9",
            "msetnx h 10 i 11",
            "setex j 1 12",
            "psetex l 11 13",
            "set a 14 ifeq 1",
        ] {
            primary.run(command);
            replica.follow(&mut primary);
        }
        let all = "mget a b c d e f g h i j l";
        let expected = "*11 $2 14 $1 4 $-1 $1 5 $1 7 $1 8 $1 9 $2 10 $2 11 $2 12 $2 13 ";
        assert_eq!(primary.run(all), expected);
        assert_eq!(replica.run(all), expected);
        for bench in [&mut primary, &mut replica] {
            bench.now += 10;
            assert_eq!(bench.run("mget b l"), "*2 $-1 $2 13 ");
        }
    }

    #[test]
    fn a_key_that_is_overwritten_keeps_its_frequency() {
        use crate::store::{Access, Db, Key, Locked};
        let mut bench = Bench::new();
        bench.limits.lfu = true;
        for expected in 5..9 {
            bench.run("set k v");
            let mut shard = bench.shard();
            let mut locked = [&mut *shard];
            let access = Access { now: 1_700_000_000_000, lfu: true, ..Access::default() };
            let db = Db::new(Locked::new(&mut locked, 16384), 0, 0, access);
            assert_eq!(db.peek(Key::new(b"k", 0)).unwrap().frequency(), expected);
        }
    }
}
