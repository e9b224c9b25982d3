//! Databases as a whole: how large, emptied, swapped; all keys, and any one.
//!
//! These run once for each shard, with all shards of a node locked. Their effects name no key, and a replica applies
//! them to the one shard in whose log they stand.

use ringfort_protocol::{
    Args,
    glob::{self, Case},
};

use crate::{
    commands::{
        Acl, Command, CommandError, Cx, Done, Flags, Gather, Group, Run, Spread,
        parse::{integer, is},
    },
    env::random::Dice,
    store::{DATABASES, Point},
};

pub(super) const DBSIZE: Command = Command {
    name: "dbsize",
    summary: "Tells how many keys the database has",
    group: Group::Server,
    flags: Flags::READONLY.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    spread: Spread::Everywhere(Gather::Sum),
    run: Run::EachShard(|cx, _| {
        cx.out.count(cx.db.shards().map(|shard| shard.len(cx.db.number)).sum());
        Ok(Done::Read)
    }),
    ..Command::BASE
};

pub(super) const KEYS: Command = Command {
    name: "keys",
    summary: "Returns the names of all keys that match a pattern",
    complexity: "O(N) where N is the number of keys in the database",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    spread: Spread::Everywhere(Gather::Concat),
    run: Run::EachShard(|cx, args| {
        let pattern = args.at(1);
        let (mut found, mut names) = (0, Vec::new());
        for shard in cx.db.shards() {
            let start = Point { slot: shard.slots().start, hash: 0 };
            shard.scan(cx.db.number, start, usize::MAX, cx.db.now, |key, _| {
                if pattern == b"*" || glob::matches(pattern, key, Case::Sensitive) {
                    found += 1;
                    ringfort_protocol::reply::bulk(&mut names, key);
                }
            });
        }
        cx.out.array(found);
        cx.out.bytes.extend_from_slice(&names);
        Ok(Done::Read)
    }),
    ..Command::BASE
};

/// Any key. Within a shard the choice is even. Among the shards of a node it is weighted by their keys, and among
/// nodes by their shards, which have about as many keys each.
pub(super) const RANDOMKEY: Command = Command {
    name: "randomkey",
    summary: "Returns the name of any key",
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE,
    spread: Spread::Everywhere(Gather::AnyOne),
    run: Run::EachShard(|cx, _| {
        let mut dice = Dice::new(cx.random);
        let shard = cx.db.shards().next();
        match shard.and_then(|shard| shard.random_key(cx.db.number, cx.db.now, || dice.roll())) {
            None => cx.out.null(),
            Some(key) => cx.out.bulk(key),
        }
        Ok(Done::Read)
    }),
    ..Command::BASE
};

pub(super) const FLUSHDB: Command = Command {
    name: "flushdb",
    summary: "Removes all keys of the database",
    group: Group::Server,
    complexity: "O(S) where S is the number of slots; memory is freed in the background",
    arity: -1,
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    spread: Spread::Everywhere(Gather::AllOk),
    run: Run::EachShard(|cx, args| flush(cx, args, Some(cx.db.number), b"FLUSHDB")),
    ..Command::BASE
};

pub(super) const FLUSHALL: Command = Command {
    name: "flushall",
    summary: "Removes all keys of all databases",
    run: Run::EachShard(|cx, args| flush(cx, args, None, b"FLUSHALL")),
    ..FLUSHDB
};

/// Each node swaps all of its shards at once: what comes in between may see it done on one node and not yet on another.
pub(super) const SWAPDB: Command = Command {
    name: "swapdb",
    summary: "Lets two databases change places",
    group: Group::Server,
    since: "4.0.0",
    arity: 3,
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    spread: Spread::Everywhere(Gather::AllOk),
    run: Run::EachShard(|cx, args| {
        let first = index(args.at(1), "ERR invalid first DB index")?;
        let second = index(args.at(2), "ERR invalid second DB index")?;
        let known = |index| u8::try_from(index).ok().filter(|db| *db < DATABASES);
        let (Some(first), Some(second)) = (known(first), known(second)) else {
            return Err(CommandError::DbOutOfRange);
        };
        let (mut changed, number) = (false, cx.db.number);
        for shard in cx.db.shards_mut() {
            if shard.swap(first, second) {
                shard.core.log_effect(number, None, args.iter());
                changed = true;
            }
        }
        cx.out.ok();
        Ok(if changed { Done::Logged } else { Done::Unchanged })
    }),
    ..Command::BASE
};

fn index(arg: &[u8], error: &'static str) -> Result<i32, CommandError> {
    let index = integer(arg).ok().and_then(|index| i32::try_from(index).ok());
    index.ok_or(CommandError::other(error))
}

fn flush(cx: &mut Cx<'_>, args: Args<'_>, db: Option<u8>, name: &[u8]) -> Result<Done, CommandError> {
    let plain = match args.len() {
        1 => true,
        2 => is(args.at(1), "SYNC") || is(args.at(1), "ASYNC"),
        _ => false,
    };
    if !plain {
        return Err(CommandError::Syntax);
    }
    let (mut changed, number) = (false, cx.db.number);
    for shard in cx.db.shards_mut() {
        if shard.flush(db) {
            shard.core.log_effect(number, None, [name].into_iter());
            changed = true;
        }
    }
    cx.out.ok();
    Ok(if changed { Done::Logged } else { Done::Unchanged })
}

#[cfg(test)]
mod tests {
    use ringfort_cluster::{Incarnation, Member, NodeId};

    use crate::{
        commands::bench::Bench,
        store::{
            copy::{Copy, Position},
            log,
        },
    };

    fn bench_with(keys: &[&str]) -> Bench {
        let mut bench = Bench::new();
        keys.iter().for_each(|key| _ = bench.run(&format!("append {key} v")));
        bench
    }

    /// The elements of a reply that is an array of strings, sorted.
    fn sorted(reply: &str) -> Vec<&str> {
        let mut names: Vec<&str> = reply.split(' ').skip(2).step_by(2).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn keys_are_those_that_match_and_live() {
        let mut bench = bench_with(&["ab", "ac", "b", "''", "over"]);
        bench.run("pexpire over 5");
        bench.now += 5;
        assert_eq!(sorted(&bench.run("keys a*")), ["ab", "ac"]);
        assert_eq!(sorted(&bench.run("keys a[^b]")), ["ac"]);
        assert_eq!(bench.run("keys x"), "*0 ");
        assert_eq!(sorted(&bench.run("keys *")), ["", "ab", "ac", "b"]);
        assert_eq!(sorted(&bench.run("keys **")), ["ab", "ac", "b"]);
        assert_eq!(bench.run("dbsize"), ":5 ");
    }

    #[test]
    fn a_random_key_is_one_that_lives() {
        let mut bench = bench_with(&["a", "over"]);
        bench.run("pexpire over 5");
        bench.now += 5;
        for _ in 0..20 {
            assert_eq!(bench.run("randomkey"), "$1 a ");
        }
        assert_eq!(Bench::new().run("randomkey"), "$-1 ");
    }

    #[test]
    fn a_flush_empties_one_database_or_all() {
        for (flush, left) in [("flushdb", ":1 "), ("FLUSHDB async", ":1 "), ("flushall sync", ":0 ")] {
            let (mut bench, mut replica) = (bench_with(&["a", "b"]), Bench::new());
            bench.run("move b 1");
            bench.run("expire a 100");
            replica.follow(&mut bench);
            assert_eq!(bench.run(flush), "+OK ");
            replica.follow(&mut bench);
            for bench in [&mut bench, &mut replica] {
                assert_eq!(bench.run("dbsize"), ":0 ");
                bench.db = 1;
                assert_eq!(bench.run("dbsize"), left);
                bench.db = 0;
            }
            assert_eq!(bench.shard().core.deadlines, [0; 16]);
        }
    }

    #[test]
    fn a_flush_of_nothing_is_not_logged() {
        let mut bench = bench_with(&["a"]);
        bench.run("flushdb");
        assert_eq!(bench.effects(), "append a v; FLUSHDB");
        bench.run("flushdb");
        bench.run("flushall");
        assert_eq!(bench.effects(), "");
        bench.run("append a v");
        bench.run("flushall");
        assert_eq!(bench.effects(), "append a v; FLUSHALL");
        assert_eq!(bench.shard().core.used, 0);
        assert_eq!(bench.run("flushall now"), "-ERR syntax error ");
        assert_eq!(bench.run("flushdb sync async"), "-ERR syntax error ");
    }

    #[test]
    fn swapped_databases_have_each_others_keys() {
        let (mut bench, mut replica) = (bench_with(&["a", "b"]), Bench::new());
        bench.run("expire a 100");
        bench.run("move b 3");
        assert_eq!(bench.run("swapdb 0 3"), "+OK ");
        replica.follow(&mut bench);
        for bench in [&mut bench, &mut replica] {
            assert_eq!(bench.run("keys *"), "*1 $1 b ");
            bench.db = 3;
            assert_eq!(bench.run("keys *"), "*1 $1 a ");
            assert_eq!(bench.run("ttl a"), ":100 ");
            assert_eq!(bench.shard().core.deadlines[3], 1);
            bench.run("flushdb");
            bench.db = 0;
            bench.run("flushdb");
            assert_eq!(bench.shard().core.used, 0);
        }
    }

    #[test]
    fn copies_in_the_making_begin_anew_at_a_swap_and_go_on_at_a_flush() {
        let mut bench = bench_with(&["a"]);
        let to = Member { node: NodeId([1; 20]), incarnation: Incarnation(1) };
        let at = Some(Position { slot: 0, db: 0, hash: 0 });
        bench.shard().core.copies.0.push(Copy { to, at, backlog: Vec::new(), overrun: false });
        bench.run("swapdb 3 4");
        bench.run("flushdb");
        let seen = |bench: &Bench| {
            let shard = bench.shard();
            let copy = &shard.core.copies.0[0];
            (copy.overrun, log::records(&copy.backlog).count())
        };
        assert_eq!(seen(&bench), (false, 1));
        bench.run("append a v");
        bench.run("swapdb 0 4");
        assert_eq!(seen(&bench), (true, 0));
    }

    #[test]
    fn a_swap_of_nothing_is_not_logged_and_a_wrong_one_refused() {
        let mut bench = bench_with(&["a"]);
        bench.effects();
        assert_eq!(bench.run("swapdb 0 0"), "+OK ");
        assert_eq!(bench.run("swapdb 1 2"), "+OK ");
        assert_eq!(bench.effects(), "");
        assert_eq!(bench.run("swapdb x y"), "-ERR invalid first DB index ");
        assert_eq!(bench.run("swapdb 99 4294967296"), "-ERR invalid second DB index ");
        assert_eq!(bench.run("swapdb 0 16"), "-ERR DB index is out of range ");
        assert_eq!(bench.run("swapdb -1 0"), "-ERR DB index is out of range ");
    }
}
