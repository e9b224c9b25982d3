//! Setting several strings at once. Each key gets an effect of its own.

use ringfort_protocol::Args;

use super::set::{Condition, Options, set_one};
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Gather, Group, KeyFlags, KeySpec, Run, Spread, parse::integer,
    },
    store::Form,
};

pub(super) const MSET: Command = Command {
    name: "mset",
    summary: "Sets the string values of several keys",
    group: Group::String,
    since: "1.0.1",
    complexity: "O(N) where N is the number of keys to set.",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.and(KeyFlags::UPDATE))],
    spread: Spread::Keys(Gather::AllOk),
    run: Run::Data(|cx, args| {
        check_pairs(args, "mset")?;
        set_all(cx, args);
        cx.out.ok();
        Ok(Done::Logged)
    }),
    ..Command::BASE
};

pub(super) const MSETNX: Command = Command {
    name: "msetnx",
    summary: "Sets the string values of several keys if none of them is there yet",
    keys: &[KeySpec::range(1, -1, 2, KeyFlags::OW.and(KeyFlags::INSERT))],
    spread: Spread::Refused,
    run: Run::Data(|cx, args| {
        check_pairs(args, "msetnx")?;
        let absent = cx.keys.iter().all(|&key| cx.db.edit(key).value().is_none());
        cx.out.flag(absent);
        if !absent {
            return Ok(Done::Unchanged);
        }
        set_all(cx, args);
        Ok(Done::Logged)
    }),
    ..MSET
};

fn check_pairs(args: Args<'_>, command: &'static str) -> Result<(), CommandError> {
    if args.len().is_multiple_of(2) {
        return Err(CommandError::Arity(command.into()));
    }
    Ok(())
}

/// Sets each key to the value behind it: one effect for each.
fn set_all(cx: &mut Cx<'_>, args: Args<'_>) {
    let values = args.slice(2..).iter().step_by(2);
    for (&key, value) in cx.keys.iter().zip(values) {
        let mut entry = cx.db.edit(key);
        entry.put(Form::Str, &[value], None);
        entry.log(&[b"SET", key.bytes, value]);
    }
}

/// Like [`MSETNX`] it is refused where its keys live on several nodes: what it promises, it could not keep.
pub(super) const MSETEX: Command = Command {
    name: "msetex",
    summary: "Sets the string values of several keys, on one condition and with one deadline for all",
    group: Group::String,
    since: "9.1.0",
    complexity: "O(N) where N is the number of keys to set.",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::counted_by(1, 2, KeyFlags::OW.and(KeyFlags::UPDATE))],
    spread: Spread::Refused,
    run: Run::Data(|cx, args| {
        let keys = integer(args.at(1)).ok().filter(|keys| (1..=i64::from(i32::MAX)).contains(keys));
        let keys = keys.ok_or(CommandError::other("ERR invalid numkeys value or out of range"))?;
        let end = 2 + 2 * keys as usize;
        if end > args.len() {
            return Err(CommandError::Syntax);
        }
        let options = Options::parse(args.slice(end..))?;
        let wanted = match options.condition {
            _ if options.get => return Err(CommandError::Syntax),
            Condition::IfEqual(_) => return Err(CommandError::Syntax),
            Condition::Always => None,
            Condition::IfAbsent => Some(false),
            Condition::IfPresent => Some(true),
        };
        let instant = options.deadline.instant(cx.db.now, "msetex")?;
        let holds = wanted
            .is_none_or(|wanted| cx.keys.iter().all(|&key| cx.db.edit(key).value().is_some() == wanted));
        cx.out.flag(holds);
        if !holds {
            return Ok(Done::Unchanged);
        }
        for (&key, value) in cx.keys.iter().zip(args.slice(3..end).iter().step_by(2)) {
            set_one(&mut cx.db.edit(key), value, options.deadline, instant);
        }
        Ok(Done::Logged)
    }),
    ..Command::BASE
};

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    /// A bench with `k` = `old`, at the time 1,000,000.
    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.now = 1_000_000;
        bench.run("set k old");
        bench.effects();
        bench
    }

    #[test]
    fn mset_logs_one_effect_for_each_key() {
        let mut bench = bench();
        assert_eq!(bench.run("mset a 1 k 2 a 3"), "+OK ");
        assert_eq!(bench.effects(), "SET a 1; SET k 2; SET a 3");
        assert_eq!(bench.run("mget a k"), "*2 $1 3 $1 2 ");
        assert_eq!(bench.run("msetnx b 1 a 2"), ":0 ");
        assert_eq!((bench.run("get b"), bench.effects()), ("$-1 ".into(), "".into()));
        assert_eq!(bench.run("msetnx b 1 c 2"), ":1 ");
        assert_eq!(bench.effects(), "SET b 1; SET c 2");
        for (command, name) in [("mset a 1 b", "mset"), ("msetnx b 1 c 2 d", "msetnx")] {
            let error = format!("-ERR wrong number of arguments for '{name}' command ");
            assert_eq!(bench.run(command), error);
        }
    }

    #[test]
    fn msetex_sets_all_or_none_and_logs_an_instant() {
        let mut bench = bench();
        for (command, reply, effects) in [
            ("msetex 2 k 1 l 2", ":1 ", "SET k 1; SET l 2"),
            ("msetex 1 k 1 nx", ":0 ", ""),
            ("msetex 2 k 1 m 2 NX", ":0 ", ""),
            ("msetex 2 k 1 m 2 xx", ":0 ", ""),
            ("msetex 2 k 1 l 2 xx xx ex 10", ":1 ", "SET k 1 PXAT 1010000; SET l 2 PXAT 1010000"),
            ("msetex 1 k 3 keepttl xx", ":1 ", "SET k 3 KEEPTTL"),
            ("msetex 1 m 3 px 5 nx", ":1 ", "SET m 3 PXAT 1000005"),
            ("msetex 1 n 3 exat 2000", ":1 ", "SET n 3 PXAT 2000000"),
            ("msetex 2 n 3 n 4 pxat 2000000", ":1 ", "SET n 3 PXAT 2000000; SET n 4 PXAT 2000000"),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
            assert_eq!(bench.effects(), effects, "{command}");
        }
        assert_eq!(bench.run("pttl k"), ":10000 ");
        let numkeys = "-ERR invalid numkeys value or out of range ";
        for (command, error) in [
            ("msetex 0 k v", numkeys),
            ("msetex x k v", numkeys),
            ("msetex -1 k v", numkeys),
            ("msetex 2147483648 k v", numkeys),
            ("msetex 2147483647 k v", "-ERR syntax error "),
            ("msetex 2 k v", "-ERR syntax error "),
            ("msetex 2 k v l", "-ERR syntax error "),
            ("msetex 1 k v l", "-ERR syntax error "),
            ("msetex 1 k v nx xx", "-ERR syntax error "),
            ("msetex 1 k v get", "-ERR syntax error "),
            ("msetex 1 k v ifeq v", "-ERR syntax error "),
            ("msetex 1 k v ex", "-ERR syntax error "),
            ("msetex 1 k v ex 1 keepttl", "-ERR syntax error "),
            ("msetex 1 k v ex 0", "-ERR invalid expire time in 'msetex' command "),
            ("msetex 1 k v ex x", "-ERR value is not an integer or out of range "),
            ("msetex 1 k", "-ERR wrong number of arguments for 'msetex' command "),
        ] {
            assert_eq!(bench.run(command), error, "{command}");
        }
        assert_eq!(bench.effects(), "");
    }
}
