//! Commands that choose members at random.

use std::collections::BTreeSet;

use super::{edit, set_of};
use crate::{
    commands::{
        Command, CommandError, Done, Flags, Group, KeyFlags, KeySpec, Run, parse,
        random::{Dice, MOST_REPEATS},
        rebuild::Chunk,
        reply::Allowance,
    },
    store::{objects::set::SetRef, packed::Item},
};

pub(super) const SPOP: Command = Command {
    name: "spop",
    summary: "Removes members of a set chosen at random, and returns them",
    group: Group::Set,
    complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let count = match args.len() {
            2 => None,
            3 => Some(parse::positive(args.at(2))?),
            _ => return Err(CommandError::Syntax),
        };
        let mut dice = Dice::new(cx.random);
        let key = args.at(1);
        let mut entry = cx.db.edit(cx.keys[0]);
        let Some(set) = set_of(entry.value())? else {
            match count {
                None => cx.out.null(),
                Some(_) => cx.out.set(0),
            }
            return Ok(Done::Unchanged);
        };
        let Some(count) = count else {
            let member = set.sample(|| dice.roll()).map(|member| member.to_vec());
            let member = member.unwrap_or_default();
            cx.out.bulk(&member);
            edit::remove(&mut entry, std::iter::once(&member[..]));
            entry.log(&[b"SREM", key, &member]);
            return Ok(Done::Logged);
        };
        if count >= set.len() {
            cx.out.set(set.len());
            set.each(|member| cx.out.item(member));
            entry.remove();
            entry.log(&[b"DEL", key]);
            return Ok(Done::Logged);
        }
        cx.out.set(count);
        if count == 0 {
            return Ok(Done::Unchanged);
        }
        let mut chosen = Vec::with_capacity(count);
        choose(set, count, &mut dice, |member| {
            cx.out.item(member);
            chosen.push(member.to_vec());
        });
        edit::remove(&mut entry, chosen.iter().map(|member| &member[..]));
        let mut log = |effect: &[&[u8]]| entry.log(effect);
        let mut chunk = Chunk::new(b"SREM", key, &mut log);
        chosen.iter().for_each(|member| chunk.add([Item::Bytes(member)]));
        chunk.end();
        Ok(Done::Logged)
    }),
    ..Command::BASE
};

pub(super) const SRANDMEMBER: Command = Command {
    name: "srandmember",
    summary: "Returns members of a set chosen at random",
    group: Group::Set,
    complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
    arity: -2,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, args| {
        let count = match args.len() {
            2 => None,
            3 => Some(parse::within(args.at(2), -i64::MAX..=i64::MAX)?),
            _ => return Err(CommandError::Syntax),
        };
        let mut dice = Dice::new(cx.random);
        let set = set_of(cx.db.read(cx.key(0)))?;
        let Some(count) = count else {
            match set.and_then(|set| set.sample(|| dice.roll())) {
                Some(member) => cx.out.item(member),
                None => cx.out.null(),
            }
            return Ok(Done::Read);
        };
        let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        let Some(set) = set else {
            cx.out.array(0);
            return Ok(Done::Read);
        };
        if count >= 0 {
            let size = size.min(set.len());
            cx.out.array(size);
            choose(set, size, &mut dice, |member| cx.out.item(member));
        } else {
            if size > MOST_REPEATS {
                return Err(CommandError::other("ERR value is out of range"));
            }
            let mut allowance = Allowance::new(cx.limits);
            cx.out.array(size);
            for _ in 0..size {
                if let Some(member) = set.sample(|| dice.roll()) {
                    allowance.take(member.text_len())?;
                    cx.out.item(member);
                }
            }
        }
        Ok(Done::Read)
    }),
    ..Command::BASE
};

/// Visits `count` of the members of a set, which has as many, each as likely.
fn choose<'a>(set: SetRef<'a>, count: usize, dice: &mut Dice, mut visit: impl FnMut(Item<'a>)) {
    if let SetRef::Large(large) = set
        && count < large.len() / 3
    {
        // Few of many are drawn one by one; what was drawn before is drawn again.
        let mut chosen = BTreeSet::new();
        while chosen.len() < count {
            if let Some(member) = large.sample(|| dice.roll())
                && chosen.insert(member)
            {
                visit(Item::Bytes(member));
            }
        }
        return;
    }
    let chosen = dice.choose(count, set.len());
    let mut index = 0;
    set.each(|member| {
        if chosen.contains(&index) {
            visit(member);
        }
        index += 1;
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::commands::bench::Bench;

    fn members(reply: &str) -> BTreeSet<String> {
        let words = reply.split(' ').skip(1).filter(|word| !word.is_empty());
        words.filter(|word| !word.starts_with('$')).map(str::to_owned).collect()
    }

    /// Sets of 200 members in each form.
    fn benches() -> [Bench; 3] {
        let mut benches = [Bench::new(), Bench::new(), Bench::new()];
        benches[1].limits.set_max_listpack_entries = 200;
        let prefixes = ["", "m", "m"];
        for ((bench, prefix), encoding) in
            benches.iter_mut().zip(prefixes).zip(["intset", "listpack", "hashtable"])
        {
            for number in 0..200 {
                bench.run(&format!("sadd s {prefix}{number}"));
            }
            assert_eq!(bench.encoding("s"), encoding);
        }
        benches
    }

    #[test]
    fn what_is_popped_is_gone_and_the_replica_knows() {
        for mut primary in benches() {
            let mut replica = Bench::new();
            let all = members(&primary.run("smembers s"));
            let one = members(&primary.run("spop s"));
            let more = members(&primary.run("spop s 10"));
            let many = members(&primary.run("spop s 150"));
            assert_eq!((one.len(), more.len(), many.len()), (1, 10, 150));
            assert_eq!(primary.run("spop s 0"), "*0 ");
            replica.follow(&mut primary);
            let left = members(&primary.run("smembers s"));
            assert_eq!(left, members(&replica.run("smembers s")));
            let popped: BTreeSet<_> = [&one, &more, &many, &left].into_iter().flatten().cloned().collect();
            assert_eq!((left.len(), popped), (39, all));
            assert_eq!(members(&primary.run("spop s 99")), left);
            assert_eq!(primary.effects(), "DEL s");
            primary.run("sadd s last");
            assert_eq!(primary.run("spop s"), "$4 last ");
            assert_eq!(primary.effects(), "sadd s last; SREM s last");
            assert_eq!(primary.shard().core.used, 0);
        }
    }

    #[test]
    fn random_members_are_as_many_as_asked_and_each_as_likely() {
        for mut bench in benches() {
            bench.effects();
            let all = members(&bench.run("smembers s"));
            let seen: BTreeSet<_> = (0..3_000).map(|_| bench.run("srandmember s")).collect();
            assert_eq!(seen.len(), 200);
            for count in [1, 20, 150, 200, 999] {
                let some = members(&bench.run(&format!("srandmember s {count}")));
                assert_eq!(some.len(), count.min(200));
                assert!(some.is_subset(&all));
            }
            let repeated = bench.run("srandmember s -500");
            assert!(repeated.starts_with("*500 ") && members(&repeated).is_subset(&all));
            assert_eq!(bench.run("srandmember s 0"), "*0 ");
            bench.limits.proto_max_bulk_len = 500 * 16;
            let error =
                "-ERR the result would have more bytes than proto-max-bulk-len; ask for less at a time ";
            assert_eq!(bench.run("srandmember s -500"), error);
            assert!(bench.run("srandmember s -300").starts_with("*300 "));
            assert_eq!((bench.run("scard s").as_str(), bench.effects().as_str()), (":200 ", ""));
        }
    }

    #[test]
    fn mistakes_and_absent_keys() {
        let mut bench = Bench::new();
        bench.run("append s text");
        bench.run("sadd a 1");
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
        for (command, reply) in [
            ("spop no", "$-1 "),
            ("spop no 3", "*0 "),
            ("spop s", wrong),
            ("spop s 1", wrong),
            ("spop s -1", "-ERR value is out of range, must be positive "),
            ("spop s 1 2", "-ERR syntax error "),
            ("srandmember no", "$-1 "),
            ("srandmember no 3", "*0 "),
            ("srandmember s", wrong),
            ("srandmember s 1", wrong),
            ("srandmember s x", "-ERR value is not an integer or out of range "),
            ("srandmember s 1 2", "-ERR syntax error "),
            ("srandmember a -9223372036854775807", "-ERR value is out of range "),
            (
                "srandmember no -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807 ",
            ),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
        }
        bench.resp = ringfort_protocol::Resp::V3;
        assert_eq!(bench.run("spop no 3"), "~0 ");
        assert_eq!(bench.run("srandmember a 3"), "*1 $1 1 ");
        assert_eq!(bench.run("spop a 1"), "~1 $1 1 ");
    }
}
