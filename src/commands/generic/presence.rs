//! Which keys there are: removed, counted, used, and of what type.

use crate::commands::{Acl, Command, CommandError, Cx, Done, Flags, Gather, KeyFlags, KeySpec, Run, Spread};

/// What the commands that take any number of keys, and count some of them, have in common.
const COUNTS: Command = Command {
    arity: -2,
    acl: Acl::KEYSPACE,
    spread: Spread::Keys(Gather::Sum),
    complexity: "O(N) where N is the number of keys",
    ..Command::BASE
};

pub(super) const DEL: Command = Command {
    name: "del",
    summary: "Removes keys, and tells how many there were",
    flags: Flags::WRITE,
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, _| remove(cx)),
    ..COUNTS
};

pub(super) const UNLINK: Command = Command {
    name: "unlink",
    summary: "Removes keys as DEL does, which here never waits for memory to be freed either",
    since: "4.0.0",
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RM.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, _| remove(cx)),
    ..COUNTS
};

pub(super) const EXISTS: Command = Command {
    name: "exists",
    summary: "Tells how many of the keys exist; one that is named twice counts twice",
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        cx.out.count(cx.keys.iter().filter(|key| cx.db.peek(**key).is_some()).count());
        Ok(Done::Read)
    }),
    ..COUNTS
};

pub(super) const TOUCH: Command = Command {
    name: "touch",
    summary: "Marks keys as used now, and tells how many of them exist",
    since: "3.2.1",
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        cx.out.count(cx.keys.iter().filter(|key| cx.db.read(**key).is_some()).count());
        Ok(Done::Read)
    }),
    ..COUNTS
};

pub(super) const TYPE: Command = Command {
    name: "type",
    summary: "Tells the type of a key's value",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        let entry = cx.db.peek(cx.key(0));
        cx.out.simple(entry.map_or("none", |entry| entry.value().kind().name()));
        Ok(Done::Read)
    }),
    ..Command::BASE
};

fn remove(cx: &mut Cx<'_>) -> Result<Done, CommandError> {
    let mut removed = 0;
    for key in cx.keys {
        let mut entry = cx.db.edit(*key);
        if entry.remove() {
            entry.log(&[b"DEL", key.bytes]);
            removed += 1;
        }
    }
    cx.out.count(removed);
    Ok(if removed > 0 { Done::Logged } else { Done::Unchanged })
}

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    #[test]
    fn removed_keys_are_logged_one_by_one() {
        for command in ["del", "unlink"] {
            let (mut bench, mut replica) = (Bench::new(), Bench::new());
            bench.run("append a 1");
            bench.run("append b 1");
            replica.follow(&mut bench);
            assert_eq!(bench.run(&format!("{command} absent")), ":0 ");
            assert_eq!(bench.run(&format!("{command} a absent b a")), ":2 ");
            replica.follow(&mut bench);
            assert_eq!(replica.run("exists a b"), ":0 ");
            bench.run("append a 1");
            bench.run("append b 1");
            bench.effects();
            bench.run(&format!("{command} a absent b a"));
            assert_eq!(bench.effects(), "DEL a; DEL b");
        }
    }

    #[test]
    fn a_key_that_is_named_twice_counts_twice() {
        let mut bench = Bench::new();
        bench.run("append a 1");
        for command in ["exists", "touch"] {
            assert_eq!(bench.run(&format!("{command} a b a")), ":2 ");
            assert_eq!(bench.run(&format!("{command} b")), ":0 ");
        }
    }

    #[test]
    fn a_key_whose_time_is_over_does_not_exist() {
        let mut bench = Bench::new();
        bench.run("append a 1");
        bench.run("pexpire a 5");
        bench.effects();
        bench.now += 5;
        assert_eq!(bench.run("exists a"), ":0 ");
        assert_eq!(bench.run("touch a"), ":0 ");
        assert_eq!(bench.run("type a"), "+none ");
        assert_eq!(bench.effects(), "");
        assert_eq!(bench.run("del a"), ":0 ");
        assert_eq!(bench.effects(), "DEL a");
    }

    #[test]
    fn only_touch_marks_a_key_as_used() {
        let mut bench = Bench::new();
        bench.run("append a 1");
        bench.now += 10_000;
        bench.run("exists a");
        bench.run("type a");
        bench.run("ttl a");
        assert_eq!(bench.run("object idletime a"), ":10 ");
        bench.run("touch a");
        assert_eq!(bench.run("object idletime a"), ":0 ");
    }

    #[test]
    fn types_have_names() {
        let mut bench = Bench::new();
        bench.run("append a 1");
        assert_eq!(bench.run("type a"), "+string ");
        assert_eq!(bench.run("type absent"), "+none ");
    }
}
