//! Commands that combine sets.

use ringfort_protocol::Args;

use super::{edit, set_limits, set_of};
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run, parse, rebuild::Chunk,
    },
    store::{
        Db, Key,
        objects::set::{NewSet, SetLimits, SetRef},
        packed::Item,
    },
};

/// How sets are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Inter,
    Union,
    Diff,
}

const READ: Command = Command {
    group: Group::Set,
    complexity: "O(N) where N is the total number of elements in all given sets.",
    arity: -2,
    flags: Flags::READONLY,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    ..Command::BASE
};

const INTER_COMPLEXITY: &str =
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.";

pub(super) const SINTER: Command = Command {
    name: "sinter",
    summary: "Returns the members that several sets have in common",
    complexity: INTER_COMPLEXITY,
    run: Run::Data(|cx, _| reply(cx, Op::Inter)),
    ..READ
};

pub(super) const SUNION: Command = Command {
    name: "sunion",
    summary: "Returns the members that any of several sets has",
    run: Run::Data(|cx, _| reply(cx, Op::Union)),
    ..READ
};

pub(super) const SDIFF: Command = Command {
    name: "sdiff",
    summary: "Returns the members of a set that none of several others has",
    run: Run::Data(|cx, _| reply(cx, Op::Diff)),
    ..READ
};

fn reply(cx: &mut Cx<'_>, op: Op) -> Result<Done, CommandError> {
    let sets = sets(&cx.db, cx.keys)?;
    if op == Op::Union {
        let all = union(&sets, &set_limits(cx.limits));
        cx.out.set(all.as_ref().len());
        all.as_ref().each(|member| cx.out.item(member));
        return Ok(Done::Read);
    }
    let mut found = Vec::new();
    each(&sets, op, |member| {
        found.push(member);
        true
    });
    cx.out.set(found.len());
    found.into_iter().for_each(|member| cx.out.item(member));
    Ok(Done::Read)
}

/// The sets at `keys`; fails if one of them holds something else.
fn sets<'s>(db: &'s Db<'_>, keys: &[Key<'_>]) -> Result<Vec<Option<SetRef<'s>>>, CommandError> {
    keys.iter().map(|key| set_of(db.read(*key))).collect()
}

/// Visits the members of the intersection or of the difference of sets, while `visit` says so.
fn each<'s>(sets: &[Option<SetRef<'s>>], op: Op, mut visit: impl FnMut(Item<'s>) -> bool) {
    let wanted = op == Op::Inter;
    let mut present: Vec<_> = sets.iter().flatten().copied().collect();
    let complete = present.len() == sets.len();
    if op == Op::Inter {
        // The smallest one is walked; members are looked for in the next smallest one first.
        present.sort_by_key(|set| set.len());
    }
    match (sets.first(), present.split_first()) {
        (Some(_), Some((first, others))) if complete || (op == Op::Diff && sets[0].is_some()) => {
            first.each_while(|member| {
                if others.iter().all(|other| other.contains_item(member) == wanted) {
                    visit(member)
                } else {
                    true
                }
            });
        }
        _ => {}
    }
}

fn union(sets: &[Option<SetRef<'_>>], limits: &SetLimits) -> NewSet {
    let mut all = NewSet::default();
    for set in sets.iter().flatten() {
        set.each(|member| {
            all.add(member.as_bytes(&mut itoa::Buffer::new()), limits);
        });
    }
    all
}

const STORE: Command = Command {
    group: Group::Set,
    complexity: "O(N) where N is the total number of elements in all given sets.",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[
        KeySpec::at(1, KeyFlags::OW.and(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
    ],
    ..Command::BASE
};

pub(super) const SINTERSTORE: Command = Command {
    name: "sinterstore",
    summary: "Stores the members that several sets have in common",
    complexity: INTER_COMPLEXITY,
    keys: &[
        KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE)),
        KeySpec::range(2, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
    ],
    run: Run::Data(|cx, _| store(cx, Op::Inter)),
    ..STORE
};

pub(super) const SUNIONSTORE: Command = Command {
    name: "sunionstore",
    summary: "Stores the members that any of several sets has",
    run: Run::Data(|cx, _| store(cx, Op::Union)),
    ..STORE
};

pub(super) const SDIFFSTORE: Command = Command {
    name: "sdiffstore",
    summary: "Stores the members of a set that none of several others has",
    run: Run::Data(|cx, _| store(cx, Op::Diff)),
    ..STORE
};

fn store(cx: &mut Cx<'_>, op: Op) -> Result<Done, CommandError> {
    let limits = set_limits(cx.limits);
    let sets = sets(&cx.db, &cx.keys[1..])?;
    let mut result = NewSet::default();
    if op == Op::Union {
        result = union(&sets, &limits);
    } else {
        each(&sets, op, |member| {
            result.add(member.as_bytes(&mut itoa::Buffer::new()), &limits);
            true
        });
    }
    let len = result.as_ref().len();
    cx.out.count(len);
    let target = cx.keys[0];
    let mut entry = cx.db.edit(target);
    if entry.value().is_some() {
        entry.log(&[b"DEL", target.bytes]);
    } else if len == 0 {
        return Ok(Done::Unchanged);
    }
    let mut log = |effect: &[&[u8]]| entry.log(effect);
    let mut chunk = Chunk::new(b"SADD", target.bytes, &mut log);
    result.as_ref().each(|member| chunk.add([member]));
    chunk.end();
    if len == 0 {
        entry.remove();
    } else {
        edit::put(&mut entry, result, None);
    }
    Ok(Done::Logged)
}

pub(super) const SINTERCARD: Command = Command {
    name: "sintercard",
    summary: "Returns the number of members that several sets have in common",
    since: "7.0.0",
    complexity: INTER_COMPLEXITY,
    arity: -3,
    flags: Flags::READONLY.and(Flags::MOVABLEKEYS),
    keys: &[KeySpec::counted(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, args| {
        let (keys, limit) = parse_intercard(args)?;
        let sets = sets(&cx.db, &cx.keys[..keys])?;
        let mut found = 0;
        each(&sets, Op::Inter, |_| {
            found += 1;
            limit == 0 || found < limit
        });
        cx.out.count(found);
        Ok(Done::Read)
    }),
    ..READ
};

/// Reads the number of keys, and what follows them: `[LIMIT limit]`, where 0 is none.
fn parse_intercard(args: Args<'_>) -> Result<(usize, usize), CommandError> {
    let keys = parse::positive(args.at(1)).unwrap_or(0);
    if keys == 0 {
        return Err(CommandError::other("ERR numkeys should be greater than 0"));
    }
    if keys > args.len() - 2 {
        return Err(CommandError::other("ERR Number of keys can't be greater than number of args"));
    }
    let mut limit = 0;
    let mut rest = args.slice(2 + keys..).iter();
    while let Some(option) = rest.next() {
        let value = rest.next().filter(|_| parse::is(option, "LIMIT"));
        let negative = CommandError::other("ERR LIMIT can't be negative");
        limit = parse::positive(value.ok_or(CommandError::Syntax)?).map_err(|_| negative)?;
    }
    Ok((keys, limit))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::commands::bench::Bench;

    fn members(reply: &str) -> BTreeSet<String> {
        let words = reply.split(' ').skip(1).filter(|word| !word.is_empty());
        words.filter(|word| !word.starts_with('$')).map(str::to_owned).collect()
    }

    /// Sets `ints`, `packed`, `large` and `one`, all of which have 3, and 7 in all but the last.
    fn bench() -> Bench {
        let mut bench = Bench::new();
        bench.limits.set_max_listpack_entries = 5;
        bench.run("sadd ints 1 3 5 7 9");
        bench.run("sadd packed 3 7 a b");
        bench.run("sadd large 3 5 7 a c d e");
        bench.run("sadd one 3");
        bench.run("append string text");
        for (key, encoding) in [("ints", "intset"), ("packed", "listpack"), ("large", "hashtable")] {
            assert_eq!(bench.encoding(key), encoding);
        }
        bench.effects();
        bench
    }

    #[test]
    fn sets_of_all_forms_are_combined() {
        let mut bench = bench();
        for (command, expected) in [
            ("sinter ints packed large", "3 7"),
            ("sinter large ints", "3 5 7"),
            ("sinter packed packed", "3 7 a b"),
            ("sinter ints one large", "3"),
            ("sinter ints no", ""),
            ("sinter no", ""),
            ("sunion ints packed", "1 3 5 7 9 a b"),
            ("sunion ints no one", "1 3 5 7 9"),
            ("sunion no", ""),
            ("sdiff ints packed", "1 5 9"),
            ("sdiff large ints one no", "a c d e"),
            ("sdiff ints ints", ""),
            ("sdiff no ints", ""),
            ("sdiff packed no", "3 7 a b"),
        ] {
            let expected: BTreeSet<_> = expected.split_whitespace().map(str::to_owned).collect();
            assert_eq!(members(&bench.run(command)), expected, "{command}");
        }
        assert_eq!(bench.run("sintercard 2 ints large"), ":3 ");
        assert_eq!(bench.run("sintercard 2 ints large limit 2"), ":2 ");
        assert_eq!(bench.run("sintercard 2 ints large limit 0"), ":3 ");
        assert_eq!(bench.run("sintercard 2 ints no"), ":0 ");
        bench.resp = ringfort_protocol::Resp::V3;
        assert_eq!(bench.run("sinter one ints"), "~1 $1 3 ");
        assert_eq!(bench.run("sinter one no"), "~0 ");
        assert_eq!(bench.effects(), "");
    }

    #[test]
    fn a_stored_result_is_logged_for_its_key_alone() {
        let (mut primary, mut replica) = (bench(), bench());
        for (command, reply, effects) in [
            ("sinterstore d ints packed", ":2 ", "SADD d 3 7"),
            ("sdiffstore d ints packed", ":3 ", "DEL d; SADD d 1 5 9"),
            ("sunionstore string one ints", ":5 ", "DEL string; SADD string 1 3 5 7 9"),
            ("sunionstore one one no", ":1 ", "DEL one; SADD one 3"),
            ("sinterstore e one no", ":0 ", ""),
            ("sinterstore d one no", ":0 ", "DEL d"),
            ("sunionstore d packed", ":4 ", "SADD d 3 7 a b"),
        ] {
            assert_eq!(primary.run(command), reply, "{command}");
            assert_eq!(primary.effects(), effects, "{command}");
        }
        assert_eq!(primary.encoding("string"), "intset");
        assert_eq!(primary.encoding("d"), "listpack");
        for number in 0..200 {
            primary.run(&format!("sadd many m{number}"));
        }
        primary.with("d", |entry| entry.set_deadline(Some(u64::MAX)));
        primary.effects();
        primary.run("sunionstore d packed large many");
        assert_eq!(primary.encoding("d"), "hashtable");
        assert_eq!(primary.with("d", |entry| entry.deadline()), None);
        assert!(primary.effects().starts_with("DEL d; SADD d "));
        primary.run("sunionstore new packed large many");
        replica.follow(&mut primary);
        assert_eq!(members(&replica.run("smembers new")), members(&primary.run("smembers d")));
        assert_eq!(replica.run("scard new"), ":208 ");
    }

    #[test]
    fn mistakes_change_nothing() {
        let mut bench = bench();
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
        for (command, reply) in [
            ("sinter no string", wrong),
            ("sinter string no", wrong),
            ("sunion no string", wrong),
            ("sdiff no string", wrong),
            ("sinterstore one no string", wrong),
            ("sunionstore one string", wrong),
            ("sdiffstore one ints string", wrong),
            ("sintercard 1 string", wrong),
            ("sintercard 0 a", "-ERR numkeys should be greater than 0 "),
            ("sintercard x a", "-ERR numkeys should be greater than 0 "),
            ("sintercard 2 a", "-ERR Number of keys can't be greater than number of args "),
            ("sintercard 9223372036854775807 a", "-ERR Number of keys can't be greater than number of args "),
            ("sintercard 1 a limit", "-ERR syntax error "),
            ("sintercard 1 a limit -1", "-ERR LIMIT can't be negative "),
            ("sintercard 1 a limit x", "-ERR LIMIT can't be negative "),
            ("sintercard 1 a foo 1", "-ERR syntax error "),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
        }
        assert_eq!(bench.run("scard one"), ":1 ");
        assert_eq!(bench.effects(), "");
    }
}
