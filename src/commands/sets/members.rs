//! Commands about the members of one set.

use super::{edit, set_limits, set_of};
use crate::{
    commands::{Command, Done, Flags, Group, KeyFlags, KeySpec, Run, scan},
    store::{objects::set::SetRef, packed::Item},
};

const WRITE: Command = Command { group: Group::Set, flags: Flags::WRITE.and(Flags::FAST), ..Command::BASE };

pub(super) const SADD: Command = Command {
    name: "sadd",
    summary: "Adds members to a set; makes the set if there is none",
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let mut entry = cx.db.edit(cx.keys[0]);
        set_of(entry.value())?;
        let new = edit::add(&mut entry, args.slice(2..).iter(), &set_limits(cx.limits));
        cx.out.count(new);
        Ok(changed_if(new > 0))
    }),
    ..WRITE
};

pub(super) const SREM: Command = Command {
    name: "srem",
    summary: "Removes members of a set; removes the set if none is left",
    complexity: "O(N) where N is the number of members to be removed.",
    arity: -3,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let mut entry = cx.db.edit(cx.keys[0]);
        let removed = match set_of(entry.value())? {
            None => 0,
            Some(_) => edit::remove(&mut entry, args.slice(2..).iter()),
        };
        cx.out.count(removed);
        Ok(changed_if(removed > 0))
    }),
    ..WRITE
};

fn changed_if(changed: bool) -> Done {
    if changed { Done::Changed } else { Done::Unchanged }
}

pub(super) const SMOVE: Command = Command {
    name: "smove",
    summary: "Moves a member from one set to another",
    arity: 4,
    keys: &[
        KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
        KeySpec::at(2, KeyFlags::RW.and(KeyFlags::INSERT)),
    ],
    run: Run::Data(|cx, args| {
        let [source, target, member] = [args.at(1), args.at(2), args.at(3)];
        let entry = cx.db.edit(cx.key(0));
        let Some(set) = set_of(entry.value())? else {
            cx.out.flag(false);
            return Ok(Done::Unchanged);
        };
        let found = set.contains(member);
        set_of(cx.db.edit(cx.key(1)).value())?;
        cx.out.flag(found);
        if !found || source == target {
            return Ok(Done::Unchanged);
        }
        let mut entry = cx.db.edit(cx.keys[0]);
        edit::remove(&mut entry, std::iter::once(member));
        entry.log(&[b"SREM", source, member]);
        let mut entry = cx.db.edit(cx.keys[1]);
        if edit::add(&mut entry, std::iter::once(member), &set_limits(cx.limits)) > 0 {
            entry.log(&[b"SADD", target, member]);
        }
        Ok(Done::Logged)
    }),
    ..WRITE
};

const READ: Command = Command {
    group: Group::Set,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    ..Command::BASE
};

const FAST: Flags = Flags::READONLY.and(Flags::FAST);

pub(super) const SISMEMBER: Command = Command {
    name: "sismember",
    summary: "Tells whether a set has a member",
    arity: 3,
    flags: FAST,
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, args| {
        let set = set_of(cx.db.read(cx.key(0)))?;
        cx.out.flag(set.is_some_and(|set| set.contains(args.at(2))));
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const SMISMEMBER: Command = Command {
    name: "smismember",
    summary: "Tells for each of several texts whether it is a member of a set",
    since: "6.2.0",
    complexity: "O(N) where N is the number of elements being checked for membership",
    arity: -3,
    flags: FAST,
    run: Run::Data(|cx, args| {
        let set = set_of(cx.db.read(cx.key(0)))?;
        let texts = args.slice(2..);
        cx.out.array(texts.len());
        for text in texts.iter() {
            cx.out.flag(set.is_some_and(|set| set.contains(text)));
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const SMEMBERS: Command = Command {
    name: "smembers",
    summary: "Returns all members of a set",
    complexity: "O(N) where N is the set cardinality.",
    arity: 2,
    run: Run::Data(|cx, _| {
        let set = set_of(cx.db.read(cx.key(0)))?;
        cx.out.set(set.map_or(0, SetRef::len));
        if let Some(set) = set {
            set.each(|member| cx.out.item(member));
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const SCARD: Command = Command {
    name: "scard",
    summary: "Returns the number of members of a set",
    arity: 2,
    flags: FAST,
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        let len = set_of(cx.db.read(cx.key(0)))?.map_or(0, SetRef::len);
        cx.out.count(len);
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const SSCAN: Command = Command {
    name: "sscan",
    summary: "Iterates over the members of a set",
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection..",
    arity: -3,
    run: Run::Data(|cx, args| {
        let cursor = scan::cursor(args.at(2))?;
        let Some(set) = set_of(cx.db.read(cx.key(0)))? else {
            scan::reply(cx.out, None, &[]);
            return Ok(Done::Read);
        };
        let options = scan::Options::parse(args.slice(3..))?;
        let mut found: Vec<Item<'_>> = Vec::new();
        let mut visit = |member| {
            if options.wants(member) {
                found.push(member);
            }
        };
        let next = match (set, cursor) {
            (SetRef::Large(set), Some(from)) => {
                set.scan(from, options.count, |member| visit(Item::Bytes(member)))
            }
            (SetRef::Large(_), None) => None,
            _ => {
                set.each(visit);
                None
            }
        };
        scan::reply(cx.out, next, &found);
        Ok(Done::Read)
    }),
    ..READ
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::commands::bench::Bench;

    #[test]
    fn a_set_has_the_form_that_its_members_ask_for() {
        let mut bench = Bench::new();
        let long = "x".repeat(65);
        for (key, members, encoding) in [
            ("a", "1 2 70000 -9223372036854775808", "intset"),
            ("b", "1 2 x", "listpack"),
            ("c", "x y z", "listpack"),
            ("d", long.as_str(), "hashtable"),
        ] {
            bench.run(&format!("sadd {key} {members}"));
            assert_eq!(bench.encoding(key), encoding, "{key}");
        }
        bench.run("sadd a 5 03");
        assert_eq!(bench.encoding("a"), "listpack");
        assert_eq!(bench.run("smembers a"), "*6 $20 -9223372036854775808 $1 1 $1 2 $1 5 $5 70000 $2 03 ");
        for number in 0..512 {
            bench.run(&format!("sadd i {number}"));
        }
        assert_eq!(bench.encoding("i"), "intset");
        bench.run("sadd i 7");
        assert_eq!(bench.encoding("i"), "intset");
        bench.run("sadd i 512");
        assert_eq!(bench.encoding("i"), "hashtable");
        for number in 0..128 {
            bench.run(&format!("sadd p m{number}"));
        }
        assert_eq!(bench.encoding("p"), "listpack");
        bench.run("sadd p 128");
        assert_eq!((bench.encoding("p"), bench.run("scard p").as_str()), ("hashtable", ":129 "));
        bench.run("srem p 128 m1");
        assert_eq!(bench.encoding("p"), "hashtable");
    }

    #[test]
    fn members_come_and_go_in_every_form() {
        for (members, encoding) in [
            (["1", "2", "30", "400"], "intset"),
            (["a", "2", "c", "400"], "listpack"),
            (["a", "2", "c", &"d".repeat(70)], "hashtable"),
        ] {
            let (mut primary, mut replica) = (Bench::new(), Bench::new());
            let all = members.join(" ");
            assert_eq!(primary.run(&format!("sadd s {all}")), ":4 ");
            assert_eq!(primary.encoding("s"), encoding);
            assert_eq!(primary.run(&format!("sadd s {} {}", members[1], members[1])), ":0 ");
            assert_eq!(primary.run(&format!("sadd s {}", members[1])), ":0 ");
            assert_eq!(primary.run(&format!("sismember s {}", members[3])), ":1 ");
            assert_eq!(primary.run("sismember s 77"), ":0 ");
            assert_eq!(primary.run(&format!("smismember s {} no 400000", members[0])), "*3 :1 :0 :0 ");
            assert_eq!(primary.run("sadd s 90000"), ":1 ");
            assert_eq!(primary.run(&format!("srem s {} no", members[0])), ":1 ");
            assert_eq!(primary.run("srem s no"), ":0 ");
            assert_eq!(primary.run("scard s"), ":4 ");
            replica.follow(&mut primary);
            assert_eq!(primary.run("smembers s"), replica.run("smembers s"));
            assert_eq!(primary.run(&format!("srem s {all} 90000 1")), ":4 ");
            replica.follow(&mut primary);
            for bench in [primary, replica] {
                let shard = bench.shard();
                assert_eq!((shard.len(0), shard.core.used), (0, 0));
            }
        }
    }

    #[test]
    fn a_move_is_one_effect_for_each_set() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.run("sadd a 1 x");
        primary.run("sadd b x y");
        replica.follow(&mut primary);
        for (command, reply, effects) in [
            ("smove a b z", ":0 ", ""),
            ("smove no b z", ":0 ", ""),
            ("smove a a x", ":1 ", ""),
            ("smove a b x", ":1 ", "SREM a x"),
            ("smove a b 1", ":1 ", "SREM a 1; SADD b 1"),
            ("smove b c 1", ":1 ", "SREM b 1; SADD c 1"),
        ] {
            assert_eq!(primary.run(command), reply, "{command}");
            assert_eq!(primary.effects(), effects, "{command}");
        }
        assert_eq!(primary.run("smembers a"), "*0 ");
        assert_eq!(primary.run("smembers b"), "*2 $1 x $1 y ");
        assert_eq!(primary.encoding("c"), "intset");
        primary.run("smove b c x");
        replica.run("sadd c 1");
        replica.run("srem a 1 x");
        replica.follow(&mut primary);
        assert_eq!(replica.run("smembers c"), "*2 $1 1 $1 x ");
    }

    #[test]
    fn a_scan_sees_all_that_is_there_while_the_set_grows() {
        let mut bench = Bench::new();
        bench.run("sadd i 1 22 3");
        assert_eq!(bench.run("sscan i 0 count 1"), "*2 $1 0 *3 $1 1 $1 3 $2 22 ");
        assert_eq!(bench.run("sscan i 5 match 2*"), "*2 $1 0 *1 $2 22 ");
        for number in 0..300 {
            bench.run(&format!("sadd s m{number}"));
        }
        let (mut cursor, mut seen, mut added) = ("0".to_owned(), BTreeSet::new(), 0);
        loop {
            let reply = bench.run(&format!("sscan s {cursor}"));
            let mut words = reply.split(' ').filter(|word| !word.starts_with(['$', '*']));
            cursor = words.next().unwrap().to_owned();
            seen.extend(words.filter(|word| word.starts_with('m')).map(str::to_owned));
            if cursor == "0" {
                break;
            }
            for _ in 0..30 {
                bench.run(&format!("sadd s g{added}"));
                added += 1;
            }
        }
        assert_eq!(seen.len(), 300);
        assert!(added > 500);
    }

    #[test]
    fn mistakes_and_absent_keys() {
        let mut bench = Bench::new();
        bench.run("append s text");
        bench.run("sadd a 1");
        bench.effects();
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
        for (command, reply) in [
            ("sadd s a", wrong),
            ("srem s a", wrong),
            ("sismember s a", wrong),
            ("smismember s a", wrong),
            ("smembers s", wrong),
            ("scard s", wrong),
            ("smove s a x", wrong),
            ("smove a s x", wrong),
            ("smove no s x", ":0 "),
            ("srem no a", ":0 "),
            ("sismember no a", ":0 "),
            ("smismember no a b", "*2 :0 :0 "),
            ("smembers no", "*0 "),
            ("scard no", ":0 "),
            ("sscan s x", "-ERR invalid cursor "),
            ("sscan s 0 foo", wrong),
            ("sscan no 0 foo", "*2 $1 0 *0 "),
            ("sscan a 0 foo", "-ERR syntax error "),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
        }
        assert_eq!(bench.effects(), "");
        bench.resp = ringfort_protocol::Resp::V3;
        assert_eq!(bench.run("smembers a"), "~1 $1 1 ");
    }
}
