//! When keys end: deadlines are set, told and taken away.
//!
//! Whatever unit a command speaks, a deadline is kept and logged as an instant in Unix milliseconds, so that a
//! replica has the same one. A deadline that has passed removes the key at once.

use ringfort_protocol::Args;

use crate::commands::{
    Acl, Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run,
    parse::{Conditions, Expiry, in_seconds},
};

/// What the commands that set a deadline have in common.
const SETS: Command = Command {
    arity: -3,
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    ..Command::BASE
};

/// What the commands that tell a deadline have in common.
const TELLS: Command = Command {
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    ..Command::BASE
};

pub(super) const EXPIRE: Command = Command {
    name: "expire",
    summary: "Lets a key end after so many seconds",
    run: Run::Data(|cx, args| set_deadline(cx, args, Expiry::Ex, "expire")),
    ..SETS
};

pub(super) const PEXPIRE: Command = Command {
    name: "pexpire",
    summary: "Lets a key end after so many milliseconds",
    since: "2.6.0",
    run: Run::Data(|cx, args| set_deadline(cx, args, Expiry::Px, "pexpire")),
    ..SETS
};

pub(super) const EXPIREAT: Command = Command {
    name: "expireat",
    summary: "Lets a key end at a Unix time in seconds",
    since: "1.2.0",
    run: Run::Data(|cx, args| set_deadline(cx, args, Expiry::ExAt, "expireat")),
    ..SETS
};

pub(super) const PEXPIREAT: Command = Command {
    name: "pexpireat",
    summary: "Lets a key end at a Unix time in milliseconds",
    since: "2.6.0",
    run: Run::Data(|cx, args| set_deadline(cx, args, Expiry::PxAt, "pexpireat")),
    ..SETS
};

pub(super) const TTL: Command = Command {
    name: "ttl",
    summary: "Tells how many seconds a key has left",
    run: Run::Data(|cx, _| tell(cx, |deadline, now| in_seconds(deadline.saturating_sub(now)))),
    ..TELLS
};

pub(super) const PTTL: Command = Command {
    name: "pttl",
    summary: "Tells how many milliseconds a key has left",
    since: "2.6.0",
    run: Run::Data(|cx, _| tell(cx, u64::saturating_sub)),
    ..TELLS
};

pub(super) const EXPIRETIME: Command = Command {
    name: "expiretime",
    summary: "Tells the Unix time in seconds at which a key ends",
    since: "7.0.0",
    run: Run::Data(|cx, _| tell(cx, |deadline, _| in_seconds(deadline))),
    ..TELLS
};

pub(super) const PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    summary: "Tells the Unix time in milliseconds at which a key ends",
    since: "7.0.0",
    run: Run::Data(|cx, _| tell(cx, |deadline, _| deadline)),
    ..TELLS
};

pub(super) const PERSIST: Command = Command {
    name: "persist",
    summary: "Takes a key's deadline away",
    since: "2.2.0",
    arity: 2,
    run: Run::Data(|cx, _| {
        let mut entry = cx.db.edit(cx.keys[0]);
        let had_one = entry.deadline().is_some();
        if had_one {
            entry.set_deadline(None);
        }
        cx.out.flag(had_one);
        Ok(if had_one { Done::Changed } else { Done::Unchanged })
    }),
    ..SETS
};

fn set_deadline(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    unit: Expiry,
    name: &'static str,
) -> Result<Done, CommandError> {
    let conditions = Conditions::parse(args.slice(3..))?;
    let now = cx.db.now;
    let deadline = unit.deadline(args.at(2), now, name)?;
    let mut entry = cx.db.edit(cx.keys[0]);
    if entry.value().is_none() || !conditions.hold(entry.deadline(), deadline) {
        cx.out.flag(false);
        return Ok(Done::Unchanged);
    }
    let key = entry.key().bytes;
    if deadline <= now {
        entry.remove();
        entry.log(&[b"DEL", key]);
    } else {
        entry.set_deadline(Some(deadline));
        entry.log(&[b"PEXPIREAT", key, itoa::Buffer::new().format(deadline).as_bytes()]);
    }
    cx.out.flag(true);
    Ok(Done::Logged)
}

/// Replies with what `say` makes of the key's deadline and the time; -1 for a key without one, -2 for no key.
fn tell(cx: &mut Cx<'_>, say: impl FnOnce(u64, u64) -> u64) -> Result<Done, CommandError> {
    let said = match cx.db.peek(cx.key(0)) {
        None => -2,
        Some(entry) => entry.deadline().map_or(-1, |deadline| say(deadline, cx.db.now).cast_signed()),
    };
    cx.out.int(said);
    Ok(Done::Read)
}

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    #[test]
    fn deadlines_are_told_in_either_unit() {
        let mut bench = Bench::new();
        for (set, at) in [
            ("expire k 100", 1_700_000_100_000),
            ("pexpire k 1499", 1_700_000_001_499),
            ("expireat k 1700000007", 1_700_000_007_000_u64),
            ("pexpireat k 1700000000501", 1_700_000_000_501),
        ] {
            assert_eq!(bench.run(set), ":0 ");
            bench.run("append k v");
            bench.effects();
            assert_eq!(bench.run(set), ":1 ", "{set}");
            assert_eq!(bench.effects(), format!("PEXPIREAT k {at}"));
            let left = at - bench.now;
            assert_eq!(bench.run("ttl k"), format!(":{} ", (left + 500) / 1000));
            assert_eq!(bench.run("pttl k"), format!(":{left} "));
            assert_eq!(bench.run("expiretime k"), format!(":{} ", (at + 500) / 1000));
            assert_eq!(bench.run("pexpiretime k"), format!(":{at} "));
            bench.run("pexpire k 0");
        }
    }

    #[test]
    fn keys_without_a_deadline_and_absent_ones_have_numbers_of_their_own() {
        let mut bench = Bench::new();
        bench.run("append k v");
        for command in ["ttl", "pttl", "expiretime", "pexpiretime"] {
            assert_eq!(bench.run(&format!("{command} k")), ":-1 ");
            assert_eq!(bench.run(&format!("{command} absent")), ":-2 ");
        }
    }

    #[test]
    fn a_deadline_that_has_passed_removes_the_key() {
        let (mut bench, mut replica) = (Bench::new(), Bench::new());
        for set in ["expire k -1", "pexpire k 0", "expireat k 1", "pexpireat k 1700000000000"] {
            bench.run("append k v");
            replica.follow(&mut bench);
            assert_eq!(bench.run(set), ":1 ", "{set}");
            assert_eq!(bench.run("get k"), "$-1 ");
            assert_eq!(bench.effects(), "DEL k");
        }
    }

    #[test]
    fn a_key_whose_time_is_over_is_gone() {
        let mut bench = Bench::new();
        bench.run("append k v");
        bench.run("pexpire k 10");
        bench.effects();
        bench.now += 10;
        assert_eq!(bench.run("ttl k"), ":-2 ");
        assert_eq!(bench.run("expire k 10"), ":0 ");
        assert_eq!(bench.effects(), "DEL k");
    }

    #[test]
    fn conditions_compare_with_the_old_deadline() {
        let mut bench = Bench::new();
        for (old, condition, set) in [
            (None, "NX", true),
            (None, "XX", false),
            (None, "GT", false),
            (None, "LT", true),
            (None, "XX LT", false),
            (Some(100), "NX", false),
            (Some(100), "xx", true),
            (Some(99), "GT", true),
            (Some(100), "GT", false),
            (Some(100), "LT", false),
            (Some(101), "LT", true),
            (Some(101), "XX lt", true),
            (Some(99), "XX GT GT", true),
        ] {
            bench.run("append k v");
            bench.run("persist k");
            if let Some(old) = old {
                bench.run(&format!("expire k {old}"));
            }
            let expected = if set { ":1 " } else { ":0 " };
            assert_eq!(bench.run(&format!("expire k 100 {condition}")), expected, "{old:?} {condition}");
            let left = if set { 100 } else { old.unwrap_or(-1) };
            assert_eq!(bench.run("ttl k"), format!(":{left} "));
        }
    }

    #[test]
    fn errors_come_in_order() {
        let mut bench = Bench::new();
        for (command, error) in [
            ("expire k x FOO", "ERR Unsupported option FOO"),
            ("expire k x NX GT", "ERR NX and XX, GT or LT options at the same time are not compatible"),
            ("expire k x GT LT", "ERR GT and LT options at the same time are not compatible"),
            ("expire k x", "ERR value is not an integer or out of range"),
            ("expire k 9223372036854776", "ERR invalid expire time in 'expire' command"),
            ("pexpire k 9223372036854775807", "ERR invalid expire time in 'pexpire' command"),
            ("expire k", "ERR wrong number of arguments for 'expire' command"),
        ] {
            assert_eq!(bench.run(command), format!("-{error} "));
        }
    }

    #[test]
    fn persist_takes_the_deadline_away_from_replicas_too() {
        let (mut bench, mut replica) = (Bench::new(), Bench::new());
        assert_eq!(bench.run("persist k"), ":0 ");
        bench.run("append k v");
        assert_eq!(bench.run("persist k"), ":0 ");
        bench.run("expire k 100");
        replica.follow(&mut bench);
        assert_eq!(replica.run("ttl k"), ":100 ");
        assert_eq!(bench.run("persist k"), ":1 ");
        assert_eq!(bench.run("ttl k"), ":-1 ");
        replica.follow(&mut bench);
        assert_eq!(replica.run("ttl k"), ":-1 ");
    }
}
