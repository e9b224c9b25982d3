//! XREAD and XREADGROUP that wait, for streams of one node and of several.

use super::{
    waiting::{set_role, waiting},
    *,
};

#[test]
fn a_stream_whose_shard_is_on_its_way_is_looked_at_before_another_one_alone_is_answered() {
    let keys = [key_of(0, 0), key_of(1, 0)];
    let found = |keys: &[String]| {
        let entry = |key: &String| format!("*2 ${} {key} *1 *2 $3 1-1 *2 $1 f $1 v ", key.len());
        format!("*{} {}", keys.len(), keys.iter().map(entry).collect::<String>())
    };
    // Until its owner serves it, or can be reached; or until the time is over.
    for (is_reached, in_time) in [(true, true), (false, true), (true, false), (false, false)] {
        let (mut cluster, clients) = waiting(1);
        for key in &keys {
            cluster.run(0, &format!("xadd {key} 1-1 f v"));
        }
        let peer = cluster.link(0, 1).0;
        if is_reached {
            set_role(&cluster, 1, Role::Sealed);
        } else {
            cluster.routers[0].link_down(peer);
        }
        cluster.feed_and_settle(clients[0], &format!("xread block 500 streams {} 0 0", keys.join(" ")));
        cluster.pass(499);
        assert_eq!(cluster.replies(clients[0]), "");
        if in_time {
            set_role(&cluster, 1, Role::Primary);
            cluster.routers[0].link_up(peer);
        }
        cluster.pass(1);
        assert_eq!(cluster.replies(clients[0]), found(&keys[..1 + usize::from(in_time)]));
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn streams_of_several_nodes_are_awaited_together() {
    let (mut cluster, clients) = waiting(1);
    let client = clients[0];
    let keys: Vec<String> = (0..3).map(|node| key_of(node, 0)).collect();
    let (all, at) = (keys.join(" "), ["0", "0", "0"].join(" "));
    let found = |keys: &[&String]| {
        let entry = |key: &&String| format!("*2 ${} {key} *1 *2 $3 1-1 *2 $1 f $1 v ", key.len());
        format!("*{} {}", keys.len(), keys.iter().map(entry).collect::<String>())
    };
    // What is there is answered, in the order of the request.
    for there in [vec![0], vec![1], vec![2, 0], vec![0, 1, 2]] {
        for key in &there {
            cluster.run(1, &format!("xadd {} 1-1 f v", keys[*key]));
        }
        cluster.feed_and_settle(client, &format!("xread block 0 streams {all} {at}"));
        let mut there: Vec<&String> = there.iter().map(|key| &keys[*key]).collect();
        there.sort_by_key(|key| keys.iter().position(|name| name == *key));
        assert_eq!(cluster.replies(client), found(&there));
        cluster.run(0, &format!("del {all}"));
    }
    // What comes later is answered as it comes.
    for key in &keys {
        cluster.feed_and_settle(client, &format!("xread block 0 streams {all} $ $ $"));
        assert_eq!(cluster.replies(client), "");
        cluster.run(1, &format!("xadd {key} 1-1 f v"));
        assert_eq!(cluster.replies(client), found(&[key]));
        cluster.run(0, &format!("del {all}"));
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_wait_for_streams_of_several_nodes_ends_as_any_other() {
    let (mut cluster, clients) = waiting(2);
    let keys: Vec<String> = (0..3).map(|node| key_of(node, 0)).collect();
    let all = keys.join(" ");
    for client in &clients {
        cluster.feed_and_settle(*client, &format!("xread block 20000 streams {all} 0 0 0"));
    }
    cluster.routers[0].unblock(clients[1] as u64 + 1, Unblock::Error);
    cluster.settle();
    cluster.deliver(0);
    assert!(cluster.replies(clients[1]).starts_with("-UNBLOCKED "));
    cluster.pass(19_999);
    assert_eq!(cluster.replies(clients[0]), "");
    cluster.pass(1);
    assert_eq!(cluster.replies(clients[0]), "*-1 ");
    assert_eq!(cluster.under_way(), 0);
    cluster.feed_and_settle(clients[0], &format!("xread block 0 streams {all} 0 0 0"));
    cluster.hang_up(clients[0]);
    cluster.settle();
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_a_group_was_given_on_one_node_is_answered_though_another_stream_goes() {
    let (mut cluster, clients) = waiting(1);
    let client = clients[0];
    let (a, b) = (key_of(1, 0), key_of(2, 0));
    for key in [&a, &b] {
        cluster.run(0, &format!("xgroup create {key} g 0 mkstream"));
    }
    let wait = format!("xreadgroup group g c block 0 streams {a} {b} > >");
    cluster.feed_and_settle(client, &wait);
    cluster.run(0, &format!("xadd {b} 1-1 f v"));
    assert_eq!(cluster.replies(client), format!("*1 *2 ${} {b} *1 *2 $3 1-1 *2 $1 f $1 v ", b.len()));
    cluster.feed_and_settle(client, &wait);
    cluster.run(0, &format!("del {a}"));
    assert_eq!(cluster.replies(client), "-UNBLOCKED the stream key no longer exists ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn the_last_id_is_that_of_the_moment_in_which_the_wait_began() {
    let (mut cluster, clients) = waiting(1);
    let (client, key) = (clients[0], key_of(0, 0));
    cluster.run(0, &format!("xadd {key} 5-1 f v"));
    cluster.feed_and_settle(client, &format!("xread block 0 streams {key} $"));
    // To a node that knows nothing of what was there.
    cluster.hand_over(2, |shard| (shard == 0).then_some(1));
    cluster.run(1, &format!("xadd {key} 5-0 f v"));
    assert_eq!(cluster.replies(client), "");
    cluster.run(1, &format!("xadd {key} 5-2 f v"));
    assert_eq!(cluster.replies(client), format!("*1 *2 ${} {key} *1 *2 $3 5-2 *2 $1 f $1 v ", key.len()));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn who_reads_in_a_group_hears_that_the_stream_is_over_or_was_given_up() {
    for evicts in [false, true] {
        let (mut cluster, clients) = waiting(1);
        let (client, key) = (clients[0], key_of(0, 0));
        cluster.run(0, &format!("xgroup create {key} g 0 mkstream"));
        cluster.feed_and_settle(client, &format!("xreadgroup group g c block 0 streams {key} >"));
        if evicts {
            cluster.run(0, "config set maxmemory 1 maxmemory-policy allkeys-random");
            cluster.routers[0].turn();
            while cluster.routers[0].evict_some() {}
        } else {
            cluster.run(0, &format!("pexpire {key} 10"));
            cluster.pass(10);
            cluster.routers[0].expire_some(ringfort_cluster::ShardId(0));
        }
        cluster.settle();
        assert_eq!(cluster.replies(client), "-UNBLOCKED the stream key no longer exists ", "{evicts}");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn who_reads_in_a_group_hears_that_it_is_gone_wherever_its_shard_has_moved_meanwhile() {
    let stream_is_gone = "-UNBLOCKED the stream key no longer exists ";
    for (keys, moved) in
        [(vec![key_of(0, 0)], 0), (vec![key_of(1, 0)], 1), (vec![key_of(0, 0), key_of(2, 0)], 2)]
    {
        let (mut cluster, clients) = waiting(1);
        for key in &keys {
            cluster.run(0, &format!("xgroup create {key} g 0 mkstream"));
        }
        let ids = vec![">"; keys.len()].join(" ");
        let wait = format!("xreadgroup group g c block 0 streams {} {ids}", keys.join(" "));
        cluster.feed_and_settle(clients[0], &wait);
        // What is in the shard stays behind.
        cluster.hand_over(2, |shard| Some(usize::from((shard % 2 == 1) != (shard == moved))));
        assert_eq!(cluster.replies(clients[0]), stream_is_gone, "{wait}");
        // Who comes only now never had a group.
        assert!(cluster.run(0, &wait).starts_with("-NOGROUP No such key"), "{wait}");
        assert_eq!(cluster.under_way(), 0);
    }
    let (mut cluster, clients) = waiting(1);
    let key = key_of(0, 0);
    cluster.run(0, &format!("xgroup create {key} g 0 mkstream"));
    cluster.feed_and_settle(clients[0], &format!("xreadgroup group g c block 0 streams {key} >"));
    // The next owner has the stream, and another one knows that before the node that it waits at.
    cluster.learn(1, 2, |_| Some(1));
    assert_eq!(cluster.run(1, &format!("xadd {key} 1-1 f v")), "$3 1-1 ");
    cluster.hand_over(2, |_| Some(1));
    let group_is_gone = "-NOGROUP the consumer group this client was blocked on no longer exists ";
    assert_eq!(cluster.replies(clients[0]), group_is_gone);
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_comes_while_a_link_is_down_is_behind_the_last_id_of_before() {
    let (mut cluster, clients) = waiting(1);
    let (client, key) = (clients[0], key_of(1, 0));
    cluster.run(1, &format!("xadd {key} 5-1 f v"));
    cluster.feed_and_settle(client, &format!("xread block 0 streams {key} $"));
    let peer = cluster.routers[0].peers.iter().position(|peer| peer.node == id(1)).unwrap() as u16;
    cluster.routers[0].link_down(peer);
    cluster.routers[1].forget_peer(100);
    cluster.run(1, &format!("xadd {key} 5-2 f v"));
    assert_eq!(cluster.replies(client), "");
    cluster.routers[0].link_up(peer);
    cluster.settle();
    assert_eq!(cluster.replies(client), format!("*1 *2 ${} {key} *1 *2 $3 5-2 *2 $1 f $1 v ", key.len()));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn who_reads_from_copies_waits_where_entries_are_added() {
    let (mut cluster, clients) = waiting(1);
    let (client, key) = (clients[0], key_of(1, 0));
    cluster.routers[0].node.store.lock(ringfort_cluster::ShardId(1)).core.role = Role::Replica;
    cluster.sessions[client].client.readonly = true;
    cluster.feed_and_settle(client, &format!("xread block 0 streams {key} $"));
    cluster.run(1, &format!("xadd {key} 1-1 f v"));
    assert_eq!(cluster.replies(client), format!("*1 *2 ${} {key} *1 *2 $3 1-1 *2 $1 f $1 v ", key.len()));
    assert_eq!(cluster.under_way(), 0);
}

/// A client that waits for streams of both nodes in a group, and is not past the check of them.
fn reading_in_a_group() -> (Cluster, usize, [String; 2]) {
    let (mut cluster, clients) = waiting(1);
    let keys = [key_of(0, 0), key_of(1, 0)];
    for key in &keys {
        cluster.run(0, &format!("xgroup create {key} g $ mkstream"));
    }
    set_role(&cluster, 1, Role::Sealed);
    let [a, b] = &keys;
    cluster.feed(clients[0], &format!("xreadgroup group g c noack block 5000 streams {a} {b} > >"));
    (cluster, clients[0], keys)
}

#[test]
fn nothing_is_given_to_a_client_that_goes_before_it_waits() {
    let (mut cluster, client, keys) = reading_in_a_group();
    cluster.hang_up(client);
    set_role(&cluster, 1, Role::Primary);
    cluster.pass(0);
    for key in &keys {
        cluster.run(0, &format!("xadd {key} 1-1 f v"));
        let left = cluster.run(0, &format!("xreadgroup group g d noack streams {key} >"));
        assert!(left.contains("1-1"), "{key}: {left}");
    }
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_is_refused_of_one_stream_ends_the_wait_for_the_others() {
    let (mut cluster, clients) = waiting(1);
    let keys = [key_of(0, 0), key_of(1, 0)];
    for key in &keys {
        cluster.run(0, &format!("xgroup create {key} g 0 mkstream"));
    }
    cluster
        .feed_and_settle(clients[0], &format!("xreadgroup group g c block 0 streams {} > >", keys.join(" ")));
    // The other one waits for its shard by now, not for data.
    let peer = cluster.link(0, 1).0;
    cluster.routers[0].link_down(peer);
    cluster.routers[1].forget_peer(100);
    cluster.run(0, &format!("xgroup destroy {} g", keys[0]));
    cluster.settle();
    assert!(cluster.replies(clients[0]).starts_with("-NOGROUP"));
    cluster.routers[0].link_up(peer);
    cluster.settle();
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_stream_that_nobody_serves_keeps_no_other_from_being_answered() {
    for peer_holds in [false, true] {
        let (mut cluster, clients) = waiting(1);
        let keys = [key_of(0, 0), key_of(1, 0)];
        cluster.run(0, &format!("xadd {} 1-1 f v", keys[0]));
        let peer = cluster.link(0, 1).0;
        if peer_holds {
            set_role(&cluster, 1, Role::Sealed);
        } else {
            cluster.routers[0].link_down(peer);
        }
        cluster.feed_and_settle(clients[0], &format!("xread block 0 streams {} 0 0", keys.join(" ")));
        cluster.pass(999);
        assert_eq!(cluster.replies(clients[0]), "");
        cluster.pass(1);
        assert!(cluster.replies(clients[0]).ends_with("$1 v "), "{peer_holds}");
        cluster.routers[0].link_up(peer);
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn the_last_look_at_a_stream_does_not_begin_anew_at_its_owner() {
    let (mut cluster, clients) = waiting(1);
    let keys = [key_of(0, 0), key_of(1, 0)];
    cluster.run(0, &format!("xadd {} 1-1 f v", keys[0]));
    let peer = cluster.link(0, 1).0;
    cluster.routers[0].link_down(peer);
    cluster.feed_and_settle(clients[0], &format!("xread block 0 streams {} 0 0", keys.join(" ")));
    cluster.pass(500);
    set_role(&cluster, 1, Role::Sealed);
    cluster.routers[0].link_up(peer);
    cluster.settle();
    cluster.pass(999);
    assert_eq!(cluster.replies(clients[0]), "");
    cluster.pass(1);
    assert!(cluster.replies(clients[0]).ends_with("$1 v "));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn nothing_is_given_of_streams_that_were_not_all_checked_in_time() {
    let (mut cluster, client, keys) = reading_in_a_group();
    cluster.run(0, &format!("xadd {} 1-1 f v", keys[0]));
    cluster.settle();
    cluster.pass(5_000);
    assert_eq!(cluster.replies(client), "*-1 ");
    let left = cluster.run(0, &format!("xreadgroup group g d noack streams {} >", keys[0]));
    assert!(left.contains("1-1"), "{left}");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_wait_ends_in_time_though_a_stream_cannot_be_looked_at() {
    let (mut cluster, client, _) = reading_in_a_group();
    cluster.settle();
    cluster.pass(4_999);
    assert_eq!(cluster.replies(client), "");
    cluster.pass(1);
    assert_eq!(cluster.replies(client), "*-1 ");
    assert_eq!(cluster.under_way(), 0);
}
