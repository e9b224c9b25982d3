//! Values that go from node to node: what is renamed, copied, moved, and brought together.

use super::*;

#[test]
fn a_copy_needs_room_where_it_goes() {
    let mut cluster = Cluster::new(2);
    let (source, copy) = (key_of(0, 0), key_of(1, 0));
    cluster.run(0, &format!("set {source} v"));
    cluster.run(0, &format!("set {} v", key_of(1, 1)));
    cluster.run(1, "config set maxmemory 1");
    assert!(cluster.run(0, &format!("copy {source} {copy}")).starts_with("-OOM "));
    assert_eq!(cluster.run(0, &format!("rename {source} {copy}")), "+OK ");
}

#[test]
fn a_value_is_renamed_and_copied_from_any_node_to_any_other() {
    for fill in ["append FROM v", "rpush FROM a b", "hset FROM f v", "sadd FROM m n"] {
        for (from, to) in [(0, 1), (1, 2), (2, 0), (0, 3), (0, 0)] {
            let mut cluster = Cluster::new(3);
            let (source, target) = (key_of(from, 0), key_of(to, 1));
            let run = |cluster: &mut Cluster, command: &str| {
                cluster.run(0, &command.replace("FROM", &source).replace("TO", &target))
            };
            run(&mut cluster, fill);
            run(&mut cluster, "pexpireat FROM 1800000000000");
            run(&mut cluster, "append TO old");
            assert_eq!(run(&mut cluster, "renamenx FROM TO"), ":0 ");
            assert_eq!(run(&mut cluster, "copy FROM TO"), ":0 ");
            assert_eq!(run(&mut cluster, "copy FROM TO replace"), ":1 ");
            assert_eq!(run(&mut cluster, "exists FROM TO"), ":2 ");
            assert_eq!(run(&mut cluster, "copy FROM TO db 3"), ":1 ");
            cluster.sessions[0].client.db = 3;
            assert_eq!(run(&mut cluster, "pexpiretime TO"), ":1800000000000 ");
            assert_eq!(run(&mut cluster, "flushdb"), "+OK ");
            cluster.sessions[0].client.db = 0;
            assert_eq!(run(&mut cluster, "rename FROM TO"), "+OK ");
            assert_eq!(run(&mut cluster, "exists FROM"), ":0 ");
            assert_eq!(run(&mut cluster, "pexpiretime TO"), ":1800000000000 ");
            assert_eq!(run(&mut cluster, "rename FROM TO"), "-ERR no such key ");
            assert_eq!(run(&mut cluster, "copy FROM TO replace"), ":0 ");
            assert_eq!(run(&mut cluster, "renamenx TO FROM"), ":1 ");
            let renamed = cluster.digest();
            let mut plain = Cluster::new(1);
            plain.run(0, &fill.replace("FROM", &source));
            plain.run(0, &format!("pexpireat {source} 1800000000000"));
            assert_eq!(renamed, plain.digest(), "{fill}: {from} to {to}");
            assert_eq!(cluster.under_way(), 0);
        }
    }
}

#[test]
fn what_is_sent_behind_a_rename_is_run_behind_it() {
    let mut cluster = Cluster::new(3);
    let (source, target, other) = (key_of(1, 0), key_of(2, 0), key_of(0, 0));
    cluster.run(0, &format!("append {source} v"));
    for command in ["rename S T", "get T", "append S x", "get S", "append O y", "get T"] {
        let command = command.replace('S', &source).replace('T', &target).replace('O', &other);
        cluster.feed(0, &command);
    }
    // What waits is tried again and again, in between the steps of the rename too.
    for _ in 0..4 {
        cluster.settle_with(|cluster, _| cluster.routers[0].retry_held());
        cluster.routers[0].retry_held();
    }
    assert_eq!(cluster.replies(0), "+OK $1 v :1 $1 x :1 $1 v ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_write_to_the_source_of_a_rename_is_not_lost() {
    let mut cluster = Cluster::new(3);
    let (source, target) = (key_of(1, 0), key_of(2, 0));
    cluster.run(0, &format!("append {source} v"));
    cluster.feed(0, &format!("rename {source} {target}"));
    let mut writes = 0;
    cluster.settle_with(|cluster, command| {
        let drops = command.windows(10).any(|part| part == b"carry.drop");
        if drops && writes < 3 {
            writes += 1;
            cluster.feed(1, &format!("append {source} w"));
        }
    });
    assert_eq!(writes, 3);
    assert_eq!(cluster.replies(0), "+OK ");
    assert_eq!(cluster.run(0, &format!("get {target}")), "$4 vwww ");
    assert_eq!(cluster.run(0, &format!("exists {source}")), ":0 ");
}

/// Renames a key of node 1 to one of node 2, while the source changes each time before it would be removed. `last` is
/// called, with the name of the destination, before what was placed is removed again.
fn rename_what_changes(verb: &str, last: impl Fn(&mut Cluster, &str)) -> (Cluster, [String; 2], String) {
    let mut cluster = Cluster::new(3);
    let (source, target) = (key_of(1, 0), key_of(2, 0));
    cluster.run(0, &format!("append {source} v"));
    cluster.feed(0, &format!("{verb} {source} {target}"));
    cluster.settle_with(|cluster, command| {
        if command.windows(10).any(|part| part == b"carry.drop") {
            if command.windows(source.len() + 2).any(|part| part == format!("{source}\r\n").as_bytes()) {
                cluster.feed(1, &format!("append {source} w"));
            } else {
                last(cluster, &target);
            }
        }
    });
    let reply = cluster.replies(0);
    assert_eq!(cluster.run(0, &format!("get {source}")), "$9 vwwwwwwww ");
    assert_eq!(cluster.under_way(), 0);
    (cluster, [source, target], reply)
}

#[test]
fn a_rename_of_what_never_rests_ends_and_leaves_nothing_behind() {
    let error = "-ERR The key goes on changing while it is carried to another node";
    let removed = "; the source is as it was, and the destination is removed";
    for (verb, told) in [("rename", removed), ("renamenx", "")] {
        let (mut cluster, [_, target], reply) = rename_what_changes(verb, |_, _| ());
        assert_eq!(reply, format!("{error}{told} "));
        assert_eq!(cluster.routers[0].node.stats.errors.get(), 1);
        assert_eq!(cluster.run(0, &format!("exists {target}")), ":0 ");
    }
    // What others have made of it meanwhile is theirs.
    let (mut cluster, [_, target], reply) = rename_what_changes("rename", |cluster, target| {
        cluster.feed(2, &format!("append {target} x"));
    });
    assert_eq!(reply, format!("{error}; a value that the source had is at both names "));
    assert_eq!(cluster.run(0, &format!("get {target}")), "$9 vwwwwwwwx ");
}

#[test]
fn a_rename_says_so_where_a_node_that_fails_leaves_the_value_at_both() {
    let mut cluster = Cluster::new(3);
    let (source, target) = (key_of(1, 0), key_of(2, 0));
    cluster.run(0, &format!("append {source} v"));
    cluster.feed(0, &format!("rename {source} {target}"));
    let served = |shard: u16| Some(usize::from(shard) % 3);
    cluster.settle_with(|cluster, command| {
        if command.windows(10).any(|part| part == b"carry.drop") {
            cluster.feed(1, &format!("append {source} w"));
            // The owner of the destination goes away before the value is placed once more.
            cluster.agree(2, |shard| served(shard).filter(|node| *node != 2));
        }
    });
    assert_eq!(cluster.replies(0), "");
    cluster.clock.0.store(60_000, Ordering::Relaxed);
    cluster.routers[0].turn();
    cluster.routers[0].retry_held();
    cluster.settle();
    let reply = cluster.replies(0);
    assert!(reply.starts_with("-CLUSTERDOWN "), "{reply}");
    assert!(reply.ends_with("; a value that the source had is at both names "), "{reply}");
    cluster.agree(3, served);
    assert_eq!(cluster.run(0, &format!("mget {source} {target}")), "*2 $2 vw $1 v ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_step_that_nobody_can_run_ends_the_job_with_its_error() {
    let mut cluster = Cluster::new(3);
    let (source, target) = (key_of(1, 0), key_of(2, 0));
    cluster.run(0, &format!("append {source} v"));
    cluster.feed(0, &format!("rename {source} {target}"));
    // The owner of the destination goes away before the value is placed.
    cluster.agree(2, |shard| (shard % 3 != 2).then_some(usize::from(shard) % 3));
    cluster.settle();
    assert_eq!(cluster.replies(0), "");
    cluster.clock.0.store(60_000, Ordering::Relaxed);
    cluster.routers[0].turn();
    cluster.routers[0].retry_held();
    cluster.settle();
    assert!(cluster.replies(0).starts_with("-CLUSTERDOWN "));
    assert_eq!(cluster.run(0, &format!("get {source}")), "$1 v ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn values_of_several_nodes_are_brought_together() {
    let mut cluster = Cluster::new(3);
    let (a, b, c) = (key_of(0, 0), key_of(1, 0), key_of(2, 0));
    for (node, fill) in
        [(0, format!("sadd {a} x y z")), (1, format!("sadd {b} y z")), (2, format!("append {c} z"))]
    {
        cluster.run(node, &fill);
    }
    assert!(cluster.run(1, &format!("sunion {a} {c}")).starts_with("-WRONGTYPE "));
    for node in 0..3 {
        assert_eq!(cluster.run(node, &format!("sintercard 2 {a} {b}")), ":2 ");
        assert_eq!(cluster.run(node, &format!("sdiff {a} {b}")), "*1 $1 x ");
        assert_eq!(cluster.run(node, &format!("sdiffstore {c} {a} {b}")), ":1 ");
        assert_eq!(cluster.run(node, &format!("smembers {c}")), "*1 $1 x ");
        assert_eq!(cluster.run(node, &format!("smove {a} {c} y")), ":1 ");
        assert_eq!(cluster.run(node, &format!("smismember {a} y x")), "*2 :0 :1 ");
        assert_eq!(cluster.run(node, &format!("smove {c} {a} y")), ":1 ");
        assert_eq!(cluster.run(node, &format!("scard {c}")), ":1 ");
        assert!(cluster.run(node, &format!("msetnx {a} 1 {b} 2")).starts_with("-CROSSSLOT "));
        assert_eq!(cluster.run(node, &format!("lmove {}1 {}1 left right", a, b)), "$-1 ");
    }
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_changes_while_values_are_brought_together_is_seen() {
    let mut cluster = Cluster::new(3);
    let (source, target) = (key_of(1, 0), key_of(2, 0));
    cluster.run(0, &format!("rpush {source} a b"));
    cluster.run(0, &format!("rpush {target} z"));
    // The source changes when the element is at the target already; then the target, before it is there.
    for (change, owner, at, from, to) in [
        ("lpush S c", 1, 2, "*2 $1 a $1 b ", "*2 $1 z $1 c "),
        ("rpush T d", 2, 1, "*1 $1 b ", "*4 $1 z $1 c $1 d $1 a "),
    ] {
        cluster.feed(0, &format!("lmove {source} {target} left right"));
        let mut applied = 0;
        cluster.settle_with(|cluster, command| {
            applied += i32::from(command.windows(11).any(|part| part == b"carry.apply"));
            if applied == at {
                applied = 100;
                cluster.feed(owner, &change.replace('S', &source).replace('T', &target));
            }
        });
        assert!(cluster.replies(0).starts_with("$1 "));
        assert_eq!(cluster.run(0, &format!("lrange {source} 0 -1")), from);
        assert_eq!(cluster.run(0, &format!("lrange {target} 0 -1")), to);
    }
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_the_second_key_refuses_is_taken_back_from_the_first() {
    let mut cluster = Cluster::new(3);
    let (source, target) = (key_of(1, 0), key_of(2, 0));
    cluster.run(0, &format!("rpush {source} a b"));
    cluster.run(0, &format!("rpush {target} z"));
    cluster.feed(0, &format!("lmove {source} {target} left right"));
    let mut applied = 0;
    cluster.settle_with(|cluster, command| {
        applied += i32::from(command.windows(11).any(|part| part == b"carry.apply"));
        if applied == 2 {
            applied = 100;
            // The owner of the source goes away when the element is at the target.
            cluster.agree(2, |shard| (shard % 3 != 1).then_some(usize::from(shard) % 3));
        }
    });
    assert_eq!(cluster.replies(0), "");
    cluster.clock.0.store(60_000, Ordering::Relaxed);
    for router in &mut cluster.routers {
        router.turn();
        router.retry_held();
    }
    cluster.settle();
    assert!(cluster.replies(0).starts_with("-CLUSTERDOWN "));
    assert_eq!(cluster.run(0, &format!("lrange {target} 0 -1")), "*1 $1 z ");
    assert_eq!(cluster.under_way(), 0);
}

/// Three streams with a group and an entry each, each at another node, and a string at the last one.
fn streams() -> (Cluster, [String; 3], String) {
    let mut cluster = Cluster::new(3);
    let (keys, other) = ([0, 1, 2].map(|shard| key_of(shard, 0)), key_of(2, 1));
    for key in &keys {
        cluster.run(0, &format!("xadd {key} 1-1 f v"));
        assert_eq!(cluster.run(0, &format!("xgroup create {key} g 0")), "+OK ");
    }
    cluster.run(0, &format!("set {other} v"));
    (cluster, keys, other)
}

#[test]
fn a_group_is_given_nothing_where_one_of_its_streams_refuses() {
    let (mut cluster, [a, b, c], other) = streams();
    for node in 0..3 {
        let read = |rest: &str| format!("xreadgroup group g ann noack streams {rest}");
        for (rest, error) in [
            (format!("{a} {b} {other} > > >"), "-WRONGTYPE "),
            (format!("{a} {b} none > > >"), "-NOGROUP "),
            (format!("{a} {b} {c} > > x"), "-ERR Invalid stream ID"),
            (format!("{a} {b} {c} > >"), "-ERR Unbalanced"),
        ] {
            let reply = cluster.run(node, &read(&rest));
            assert!(reply.starts_with(error), "{rest}: {reply}");
        }
    }
    let all = cluster.run(0, &format!("xreadgroup group g ann streams {c} {a} {b} > > >"));
    let one = |key: &str| format!("*2 ${} {key} *1 *2 $3 1-1 *2 $1 f $1 v ", key.len());
    assert_eq!(all, format!("*3 {}{}{}", one(&c), one(&a), one(&b)));
    assert_eq!(cluster.run(1, &format!("xreadgroup group g ann streams {c} {a} > >")), "*-1 ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_a_group_was_given_is_answered_if_another_stream_refuses_after_all() {
    let (mut cluster, [a, b, _], _) = streams();
    cluster.feed(0, &format!("xreadgroup group g ann noack streams {a} {b} > >"));
    let mut destroyed = false;
    cluster.settle_with(|cluster, command| {
        if command.windows(10).any(|part| part == b"xreadgroup") && !destroyed {
            destroyed = true;
            cluster.feed(1, &format!("xgroup destroy {b} g"));
        }
    });
    let given = format!("*1 *2 ${} {a} *1 *2 $3 1-1 *2 $1 f $1 v ", a.len());
    assert_eq!((destroyed, cluster.replies(0)), (true, given));
    assert!(cluster.run(0, &format!("xreadgroup group g ann streams {a} {b} > >")).starts_with("-NOGROUP "));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn memory_that_is_short_refuses_a_move_before_its_first_change_only() {
    let mut cluster = Cluster::new(3);
    let (source, target) = (key_of(1, 0), key_of(2, 0));
    cluster.run(0, &format!("rpush {source} a b"));
    cluster.run(0, &format!("rpush {target} z"));
    cluster.run(1, "config set maxmemory 1");
    assert_eq!(cluster.run(0, &format!("lmove {source} {target} left right")), "$1 a ");
    cluster.run(2, "config set maxmemory 1");
    assert!(cluster.run(0, &format!("lmove {source} {target} left right")).starts_with("-OOM "));
    assert_eq!(cluster.run(0, &format!("lrange {source} 0 -1")), "*1 $1 b ");
    assert_eq!(cluster.run(0, &format!("lrange {target} 0 -1")), "*2 $1 z $1 a ");
    assert_eq!(cluster.under_way(), 0);
}
