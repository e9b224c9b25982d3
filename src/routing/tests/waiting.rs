//! Commands that wait for data.

use super::{
    super::{ConnKey, PeerQueue, blocked},
    *,
};

/// Two nodes of which node `s % 2` serves shard `s`, with so many clients at node 0 beside its first.
pub(super) fn waiting(clients: usize) -> (Cluster, Vec<usize>) {
    let mut cluster = Cluster::new(2);
    let clients = (0..clients).map(|_| cluster.connect(0)).collect();
    (cluster, clients)
}

impl Cluster {
    pub(super) fn feed_and_settle(&mut self, client: usize, command: &str) {
        self.feed(client, command);
        self.settle();
    }

    /// Lets time pass, and every node look at what is over.
    pub(super) fn pass(&mut self, millis: u64) {
        self.clock.0.fetch_add(millis, Ordering::Relaxed);
        for router in &mut self.routers {
            router.turn();
            router.end_overdue();
            router.retry_held();
        }
        self.settle();
    }

    /// Gives the shards to other nodes, which have nothing in them yet.
    pub(super) fn hand_over(&mut self, version: u64, owner: impl Fn(u16) -> Option<usize>) {
        let agreed = topology(self.routers.len(), version, &owner);
        for router in &self.routers {
            roles::adopt(&router.node, &agreed);
        }
        self.agree(version, owner);
        self.settle();
        self.pass(0);
    }

    /// A node comes to know, before others do, that the shards were given to other nodes.
    pub(super) fn learn(&mut self, at: usize, version: u64, owner: impl Fn(u16) -> Option<usize>) {
        let agreed = topology(self.routers.len(), version, owner);
        roles::adopt(&self.routers[at].node, &agreed);
        self.routers[at].node.topology.store(Arc::new(agreed));
        self.routers[at].refresh();
        self.settle();
    }

    pub(super) fn link(&mut self, from: usize, to: usize) -> (u16, &mut PeerQueue) {
        let peers = self.routers[from].peers.iter_mut().enumerate();
        let (peer, queue) = peers.into_iter().find(|(_, queue)| queue.node == id(to)).unwrap();
        (peer as u16, queue)
    }

    /// The link from a node to another one breaks, with all that is on it, and is up again.
    fn break_link(&mut self, from: usize, to: usize) {
        let peer = self.link(from, to).0;
        self.routers[from].link_down(peer);
        self.routers[to].forget_peer(100 + from as u64);
        self.routers[to].peer_completions.retain(|completion| completion.conn != 100 + from as u64);
        self.routers[from].link_up(peer);
    }

    /// The same, when all that was sent on it has been run, and nothing of what came of that is on its way.
    fn run_and_break_link(&mut self, from: usize, to: usize) {
        let queue = self.link(from, to).1;
        let bytes = queue.out.clone();
        queue.sent(bytes.len());
        let mut rest = &bytes[..];
        while let Some((body, len)) = frame::split(rest).unwrap() {
            self.routers[to].serve_peer(100 + from as u64, &frame::request(body).unwrap(), &mut Vec::new());
            rest = &rest[len..];
        }
        self.break_link(from, to);
    }

    /// What a node has come to know of another one that is gone: it has died, or left in order.
    fn declare_gone(&mut self, at: usize, gone: usize, leaving: bool) {
        let mut agreed = topology(self.routers.len(), 2, |_| Some(at));
        let entry = agreed.nodes.get_mut(&id(gone)).unwrap();
        (entry.state, entry.leaving) = (NodeState::Dead, leaving);
        roles::adopt(&self.routers[at].node, &agreed);
        self.routers[at].node.topology.store(Arc::new(agreed));
        self.routers[at].refresh();
    }

    pub(super) fn hang_up(&mut self, client: usize) {
        self.routers[self.homes[client]].forget(client as u64 + 1);
        self.settle();
    }
}

#[test]
fn who_comes_first_is_served_first_wherever_the_key_is() {
    for shard in [0, 1] {
        let (mut cluster, clients) = waiting(3);
        let key = key_of(shard, 0);
        for client in &clients {
            cluster.feed_and_settle(*client, &format!("blpop {key} 0"));
        }
        assert_eq!(cluster.run(0, &format!("rpush {key} a b")), ":2 ");
        assert_eq!(cluster.run(0, &format!("llen {key}")), ":0 ");
        let reply = |value| format!("*2 ${} {key} $1 {value} ", key.len());
        assert_eq!(
            clients.iter().map(|client| cluster.replies(*client)).collect::<Vec<_>>(),
            [reply("a"), reply("b"), String::new(),]
        );
        assert_eq!(cluster.run(1, &format!("rpush {key} c")), ":1 ");
        assert_eq!(cluster.replies(clients[2]), reply("c"));
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn what_is_moved_for_one_who_waited_serves_the_next() {
    let (mut cluster, clients) = waiting(3);
    let (one, two, three) = (key_of(1, 0), key_of(3, 0), key_of(5, 0));
    cluster.feed_and_settle(clients[0], &format!("blmove {two} {three} left left 0"));
    cluster.feed_and_settle(clients[1], &format!("blmove {one} {two} left left 0"));
    cluster.feed_and_settle(clients[2], &format!("brpop {three} 0"));
    assert_eq!(cluster.run(0, &format!("rpush {one} v")), ":1 ");
    let replies: Vec<String> = clients.iter().map(|client| cluster.replies(*client)).collect();
    assert_eq!(replies, ["$1 v ".to_owned(), "$1 v ".into(), format!("*2 ${} {three} $1 v ", three.len())]);
    assert_eq!(cluster.run(0, &format!("exists {one} {two} {three}")), ":0 ");
    // In a circle it goes once around.
    cluster.feed_and_settle(clients[0], &format!("blmove {one} {two} left left 0"));
    cluster.feed_and_settle(clients[1], &format!("blmove {two} {one} left left 0"));
    cluster.feed_and_settle(clients[2], &format!("blmove {one} {one} left right 0"));
    assert_eq!(cluster.run(0, &format!("rpush {one} v")), ":1 ");
    assert_eq!(clients.iter().map(|client| cluster.replies(*client)).collect::<String>(), "$1 v $1 v $1 v ");
    assert_eq!(cluster.run(0, &format!("llen {one}")), ":1 ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_wait_ends_when_its_time_is_over_wherever_it_waits() {
    let (here, there, nobody) = (key_of(0, 0), key_of(1, 0), key_of(2, 0));
    for keys in [here.clone(), there.clone(), format!("{here} {there}"), nobody, format!("{here} {here}")] {
        let (mut cluster, clients) = waiting(1);
        cluster.agree(2, |shard| (shard != 2).then_some(usize::from(shard) % 2));
        cluster.feed_and_settle(clients[0], &format!("blpop {keys} 20"));
        cluster.pass(19_999);
        assert_eq!(cluster.replies(clients[0]), "", "{keys}");
        cluster.pass(1);
        assert_eq!(cluster.replies(clients[0]), "*-1 ", "{keys}");
        assert_eq!(cluster.run(0, &format!("rpush {here} x")), ":1 ");
        assert_eq!(cluster.run(0, &format!("rpush {there} x")), ":1 ");
        assert_eq!(
            (cluster.run(0, &format!("exists {here} {there}")), cluster.under_way()),
            (":2 ".into(), 0)
        );
    }
}

#[test]
fn a_wait_is_ended_by_others() {
    for keys in [key_of(0, 0), key_of(1, 0), format!("{} {}", key_of(0, 0), key_of(1, 0))] {
        let (mut cluster, clients) = waiting(2);
        for (client, how) in clients.iter().zip([Unblock::Timeout, Unblock::Error]) {
            cluster.feed_and_settle(*client, &format!("bzpopmin {keys} 7"));
            cluster.routers[0].unblock(*client as u64 + 1, how);
            cluster.settle();
        }
        assert_eq!(cluster.replies(clients[0]), "*-1 ");
        assert_eq!(cluster.replies(clients[1]), "-UNBLOCKED client unblocked via CLIENT UNBLOCK ");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_reply_that_crosses_the_end_of_the_wait_counts() {
    let (mut cluster, clients) = waiting(1);
    let key = key_of(1, 0);
    cluster.feed_and_settle(clients[0], &format!("blpop {key} 1"));
    // It is served, and the reply is on its way when its time is over.
    cluster.feed(1, &format!("rpush {key} v"));
    cluster.clock.0.store(1_000, Ordering::Relaxed);
    cluster.routers[0].turn();
    cluster.routers[0].end_overdue();
    cluster.settle();
    assert_eq!(cluster.replies(clients[0]), format!("*2 ${} {key} $1 v ", key.len()));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn nothing_is_taken_out_for_a_client_that_has_gone() {
    for keys in [key_of(0, 0), key_of(1, 0), format!("{} {}", key_of(0, 0), key_of(1, 0))] {
        let (mut cluster, clients) = waiting(1);
        cluster.feed_and_settle(clients[0], &format!("blpop {keys} 0"));
        cluster.hang_up(clients[0]);
        for key in keys.split(' ') {
            assert_eq!(cluster.run(0, &format!("rpush {key} v")), ":1 ");
            assert_eq!(cluster.run(0, &format!("llen {key}")), ":1 ");
        }
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_link_that_breaks_lets_nobody_lose_his_wait() {
    let (mut cluster, clients) = waiting(2);
    let key = key_of(1, 0);
    for client in &clients {
        cluster.feed_and_settle(*client, &format!("blpop {key} 5"));
    }
    cluster.pass(3_000);
    cluster.break_link(0, 1);
    cluster.settle();
    assert_eq!(cluster.run(0, &format!("rpush {key} v")), ":1 ");
    assert_eq!(cluster.replies(clients[0]), format!("*2 ${} {key} $1 v ", key.len()));
    // The other one's time counts from when it came.
    cluster.pass(2_000);
    assert_eq!(cluster.replies(clients[1]), "*-1 ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_a_peer_has_run_is_not_run_again_when_its_link_breaks() {
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    // It is asked as one that may wait, and then only tried.
    for keys in [there.clone(), format!("{here} {there}")] {
        let (mut cluster, clients) = waiting(1);
        cluster.run(1, &format!("rpush {there} a b"));
        cluster.feed(clients[0], &format!("blpop {keys} 0"));
        cluster.run_and_break_link(0, 1);
        cluster.settle();
        assert!(cluster.replies(clients[0]).starts_with("-UNKNOWN "), "{keys}");
        assert_eq!(cluster.run(1, &format!("llen {there}")), ":1 ", "{keys}");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn only_what_a_peer_has_said_to_wait_is_sent_again_when_its_link_breaks() {
    let (mut cluster, clients) = waiting(2);
    let key = key_of(1, 0);
    cluster.feed(clients[0], &format!("blpop {key} 0"));
    cluster.run_and_break_link(0, 1);
    cluster.settle();
    assert!(cluster.replies(clients[0]).starts_with("-UNKNOWN "));
    // There it waits for its shard.
    set_role(&cluster, 1, Role::Sealed);
    cluster.feed_and_settle(clients[1], &format!("blpop {key} 0"));
    cluster.break_link(0, 1);
    cluster.settle();
    set_role(&cluster, 1, Role::Primary);
    cluster.pass(0);
    assert_eq!(cluster.run(0, &format!("rpush {key} v")), ":1 ");
    assert_eq!(cluster.replies(clients[1]), format!("*2 ${} {key} $1 v ", key.len()));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_client_counts_as_blocked_once_its_command_is_known_to_wait() {
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    for (keys, at_once) in [(here.clone(), true), (there.clone(), false), (format!("{here} {there}"), false)]
    {
        let (mut cluster, clients) = waiting(1);
        cluster.feed(clients[0], &format!("blpop {keys} 0"));
        assert_eq!(!cluster.routers[0].waiting.is_empty(), at_once, "{keys}");
        cluster.settle();
        assert_eq!(cluster.routers[0].waiting, [clients[0] as ConnKey + 1], "{keys}");
    }
}

#[test]
fn a_wait_over_several_nodes_goes_on_when_its_parts_end_otherwise_than_told() {
    let (mut cluster, clients) = waiting(1);
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    cluster.feed_and_settle(clients[0], &format!("blpop {here} {there} 0"));
    // The part at the peer is to end, and the link breaks before that is sent.
    cluster.feed(0, &format!("rpush {here} v"));
    cluster.break_link(0, 1);
    cluster.settle();
    assert_eq!(cluster.replies(clients[0]), format!("*2 ${} {here} $1 v ", here.len()));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn each_part_of_a_wait_over_several_nodes_is_ended_once() {
    let mut cluster = Cluster::new(4);
    let client = cluster.connect(0);
    let keys: Vec<String> = (0..4).map(|shard| key_of(shard, 0)).collect();
    cluster.feed_and_settle(client, &format!("blpop {} 0", keys.join(" ")));
    cluster.feed(0, &format!("rpush {} v", keys[0]));
    let mut ended = 0;
    cluster.settle_with(|_, command| {
        ended += i32::from(command.windows(12).any(|word| word == b"await.cancel"))
    });
    assert_eq!(cluster.replies(client), format!("*2 ${} {} $1 v ", keys[0].len(), keys[0]));
    assert_eq!(ended, 3);
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_try_that_nobody_can_run_does_not_outlast_other_requests() {
    let (mut cluster, clients) = waiting(1);
    set_role(&cluster, 1, Role::Sealed);
    cluster.feed_and_settle(clients[0], &format!("blpop {} {} 0", key_of(0, 0), key_of(1, 0)));
    cluster.pass(9_999);
    assert_eq!(cluster.replies(clients[0]), "");
    cluster.pass(1);
    assert!(cluster.replies(clients[0]).starts_with("-CLUSTERDOWN "));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_node_that_stops_ends_the_waits_of_its_clients() {
    let (here, there, nobody) = (key_of(0, 0), key_of(1, 0), key_of(2, 0));
    for keys in [here.clone(), there.clone(), format!("{here} {there}"), nobody] {
        let (mut cluster, clients) = waiting(1);
        cluster.agree(2, |shard| (shard != 2).then_some(usize::from(shard) % 2));
        cluster.feed_and_settle(clients[0], &format!("blpop {keys} 0"));
        cluster.routers[0].end_all_waits();
        cluster.settle();
        assert!(cluster.replies(clients[0]).starts_with("-UNBLOCKED The node stops"), "{keys}");
        for key in [&here, &there] {
            assert_eq!(cluster.run(1, &format!("rpush {key} v")), ":1 ");
            assert_eq!(cluster.run(1, &format!("llen {key}")), ":1 ");
        }
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn nothing_is_taken_out_for_clients_of_a_node_that_has_died() {
    for leaving in [false, true] {
        let (mut cluster, clients) = waiting(1);
        let key = key_of(1, 0);
        cluster.feed_and_settle(clients[0], &format!("blpop {key} 0"));
        // Nothing has come by the connection yet that says so.
        cluster.declare_gone(1, 0, leaving);
        assert_eq!(cluster.routers[1].dead.is_empty(), leaving);
        assert_eq!(cluster.run(1, &format!("rpush {key} v")), ":1 ");
        assert_eq!(cluster.run(1, &format!("llen {key}")), if leaving { ":0 " } else { ":1 " });
    }
}

#[test]
fn who_is_dead_when_it_says_who_it_is_is_not_served() {
    for (state, leaving, incarnation, served) in [
        (NodeState::Alive, false, 1, true),
        (NodeState::Dead, true, 1, true),
        (NodeState::Dead, false, 1, false),
        (NodeState::Alive, false, 2, false),
    ] {
        let mut cluster = Cluster::new(2);
        cluster.routers[1].callers.clear();
        let mut agreed = topology(2, 2, |_| Some(1));
        let node = agreed.nodes.get_mut(&id(0)).unwrap();
        (node.state, node.leaving, node.info.incarnation) = (state, leaving, Incarnation(incarnation));
        cluster.routers[1].node.topology.store(Arc::new(agreed));
        cluster.routers[1].refresh();
        cluster.break_link(0, 1);
        cluster.settle();
        let router = &cluster.routers[1];
        assert_eq!(
            (router.callers.contains_key(&100), router.dead.is_empty()),
            (served, served),
            "{state:?}"
        );
    }
}

#[test]
fn a_node_that_begins_another_life_is_known_by_that_to_those_that_it_asks() {
    let mut cluster = Cluster::new(2);
    let incarnation = |cluster: &Cluster| cluster.routers[1].callers[&100].incarnation.0;
    assert_eq!(incarnation(&cluster), 1);
    cluster.routers[0].node.incarnation.store(2, Ordering::Relaxed);
    cluster.agree(2, |_| None);
    cluster.settle();
    assert_eq!(incarnation(&cluster), 2);
}

#[test]
fn a_long_wait_is_no_reason_for_a_node_that_is_cut_off_to_give_a_link_up() {
    let (mut cluster, clients) = waiting(1);
    cluster.feed_and_settle(clients[0], &format!("blpop {} 0", key_of(1, 0)));
    let router = &mut cluster.routers[0];
    router.watch_lease();
    router.node.lease.set(0);
    router.watch_lease();
    cluster.clock.0.store(1_000, Ordering::Relaxed);
    let router = &mut cluster.routers[0];
    router.turn();
    router.watch_lease();
    assert!(!router.peers[0].close);
}

#[test]
fn who_waits_for_a_shard_that_moves_waits_where_it_is_served() {
    // From here to there, from there to here, and two at once.
    for keys in [key_of(0, 0), key_of(1, 0), format!("{} {}", key_of(0, 0), key_of(2, 0))] {
        let (mut cluster, clients) = waiting(2);
        for client in &clients {
            cluster.feed_and_settle(*client, &format!("blpop {keys} 0"));
        }
        cluster.hand_over(2, |shard| (shard > 2).then_some(0));
        assert_eq!(cluster.replies(clients[0]), "");
        cluster.hand_over(3, |shard| Some(1 - usize::from(shard) % 2));
        for (client, key) in clients.iter().zip(keys.split(' ').rev().cycle()) {
            assert_eq!(cluster.run(0, &format!("rpush {key} v")), ":1 ");
            assert_eq!(cluster.replies(*client), format!("*2 ${} {key} $1 v ", key.len()), "{keys}");
        }
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn who_waited_longest_is_served_first_though_others_have_come_to_the_next_owner_before() {
    let mut cluster = Cluster::new(3);
    let [first, second, third] = [0, 1, 0].map(|node| cluster.connect(node));
    let key = key_of(1, 0);
    let wait = format!("blpop {key} 0");
    for client in [first, second] {
        cluster.feed_and_settle(client, &wait);
        cluster.pass(1);
    }
    let moved = |shard: u16| Some(if shard == 1 { 2 } else { usize::from(shard) % 3 });
    cluster.learn(2, 2, moved);
    cluster.learn(0, 2, moved);
    cluster.feed_and_settle(third, &wait);
    cluster.pass(1);
    cluster.learn(1, 2, moved);
    cluster.pass(0);
    for (client, value) in [first, second, third].into_iter().zip(["a", "b", "c"]) {
        assert_eq!(cluster.run(2, &format!("rpush {key} {value}")), ":1 ");
        assert_eq!(cluster.replies(client), format!("*2 ${} {key} $1 {value} ", key.len()));
    }
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn what_is_of_another_type_where_the_shard_has_gone_does_not_end_a_wait() {
    let (one, two, parted, other) = (key_of(1, 0), key_of(1, 1), key_of(4, 0), key_of(0, 0));
    for (wait, fill) in [
        (format!("blpop {one} 0"), format!("rpush {one} v")),
        (format!("blmpop 0 2 {one} {two} left"), format!("rpush {two} v")),
        (format!("blmpop 0 2 {one} {other} left"), format!("rpush {other} v")),
        (format!("blmove {one} {two} left left 0"), format!("rpush {one} v")),
        (format!("blmove {one} {parted} left left 0"), format!("rpush {one} v")),
        (format!("bzpopmin {one} {two} 0"), format!("zadd {two} 1 v")),
        (format!("xread block 0 streams {one} {two} 0 $"), format!("xadd {two} 1-1 f v")),
        (format!("xread block 0 streams {one} {other} $ 0"), format!("xadd {other} 1-1 f v")),
    ] {
        let mut cluster = Cluster::new(3);
        let client = cluster.connect(0);
        cluster.feed_and_settle(client, &wait);
        let moved = |shard: u16| Some(if shard == 1 { 2 } else { usize::from(shard) % 3 });
        cluster.learn(2, 2, moved);
        assert_eq!(cluster.run(2, &format!("set {one} text")), "+OK ");
        cluster.hand_over(2, moved);
        assert_eq!(cluster.replies(client), "", "{wait}");
        if fill.contains(&one) {
            assert_eq!(cluster.run(2, &format!("del {one}")), ":1 ");
        }
        cluster.run(2, &fill);
        assert!(cluster.replies(client).contains("$1 v "), "{wait}");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_cluster_aware_client_is_told_where_the_shard_has_gone() {
    let (mut cluster, clients) = waiting(1);
    let key = key_of(0, 0);
    cluster.sessions[clients[0]].client.door = Door::Cluster;
    cluster.feed_and_settle(clients[0], &format!("blpop {key} 0"));
    cluster.hand_over(2, |_| Some(1));
    assert!(cluster.replies(clients[0]).starts_with("-MOVED "));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn the_first_of_keys_on_several_nodes_that_has_something_is_taken() {
    let (mut cluster, clients) = waiting(1);
    let client = clients[0];
    let (a, b, c) = (key_of(0, 0), key_of(1, 0), key_of(2, 0));
    let all = format!("{a} {b} {c}");
    let reply = |key: &str, value: &str| format!("*2 ${} {key} $1 {value} ", key.len());
    for (key, value) in [(&c, "3"), (&b, "2")] {
        cluster.run(0, &format!("rpush {key} {value}"));
    }
    for (key, value) in [(&b, "2"), (&c, "3")] {
        cluster.feed_and_settle(client, &format!("blpop {all} 0"));
        assert_eq!(cluster.replies(client), reply(key, value));
    }
    for (key, at) in [(&a, 0), (&b, 0), (&c, 1)] {
        cluster.feed_and_settle(client, &format!("brpop {all} 0"));
        assert_eq!(cluster.replies(client), "");
        // What is of another type while it waits counts as nothing.
        cluster.run(1, &format!("set {} x", if key == &a { &b } else { &a }));
        cluster.run(at, &format!("rpush {key} v"));
        assert_eq!(cluster.replies(client), reply(key, "v"));
        cluster.run(0, &format!("del {all}"));
    }
    cluster.run(0, &format!("set {b} x"));
    cluster.feed_and_settle(client, &format!("blpop {all} 0"));
    assert!(cluster.replies(client).starts_with("-WRONGTYPE "));
    cluster.run(0, &format!("del {b}"));
    cluster.feed_and_settle(client, &format!("bzmpop 0 3 {all} max count 2"));
    cluster.run(0, &format!("zadd {b} 1 m 2 n 3 o"));
    assert_eq!(cluster.replies(client), format!("*2 ${} {b} *2 *2 $1 o $1 3 *2 $1 n $1 2 ", b.len()));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn each_of_keys_on_several_nodes_is_tried_however_short_the_time() {
    let keys = [1, 2].map(|node| key_of(node, 0));
    for (fill, wait, element) in [
        ("rpush {} v", "blpop {} 0.001", "lpop {}"),
        ("zadd {} 1 v", "bzmpop 0.001 2 {} min", "zpopmin {}"),
        ("xadd {} 1-1 f v", "xreadgroup group g c block 1 streams {} > >", "xpending {} g"),
    ] {
        for goes in [false, true] {
            let mut cluster = Cluster::new(3);
            let client = cluster.connect(0);
            if fill.starts_with("xadd") {
                for key in &keys {
                    cluster.run(0, &format!("xgroup create {key} g 0 mkstream"));
                }
            }
            cluster.run(0, &fill.replace("{}", &keys[1]));
            cluster.feed(client, &wait.replace("{}", &keys.join(" ")));
            cluster.clock.0.fetch_add(1, Ordering::Relaxed);
            cluster.routers[0].turn();
            cluster.routers[0].end_overdue();
            if goes {
                cluster.routers[0].forget(client as u64 + 1);
            }
            cluster.settle();
            cluster.pass(0);
            assert_eq!(cluster.replies(client).contains("v "), !goes, "{wait}");
            let left = cluster.run(2, &element.replace("{}", &keys[1]));
            assert_eq!(left.contains("$1 v ") || left.starts_with("*4 :0 "), goes, "{wait}: {left}");
            assert_eq!(cluster.under_way(), 0);
        }
    }
}

#[test]
fn a_pop_that_does_not_wait_tries_each_key_where_it_lives() {
    let mut cluster = Cluster::new(3);
    let (a, b, c) = (key_of(0, 0), key_of(1, 0), key_of(2, 0));
    let pop = format!("lmpop 3 {a} {b} {c} left count 2");
    assert_eq!(cluster.run(0, &pop), "*-1 ");
    cluster.run(0, &format!("rpush {c} 1 2 3"));
    cluster.run(0, &format!("rpush {b} x"));
    for (key, popped) in [(&b, "*1 $1 x "), (&c, "*2 $1 1 $1 2 "), (&c, "*1 $1 3 ")] {
        assert_eq!(cluster.run(0, &pop), format!("*2 ${} {key} {popped}", key.len()));
    }
    cluster.run(0, &format!("set {b} text"));
    assert!(cluster.run(0, &pop).starts_with("-WRONGTYPE "));
    cluster.run(0, &format!("zadd {c} 1 m"));
    assert!(cluster.run(0, &format!("zmpop 2 {a} {c} max")).starts_with(&format!("*2 ${} {c} *1 ", c.len())));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn an_element_is_awaited_and_moved_between_nodes() {
    for (from, to) in [(0, 1), (1, 0), (1, 2)] {
        let mut cluster = Cluster::new(3);
        let client = cluster.connect(0);
        let (source, target) = (key_of(from, 0), key_of(to, 0));
        cluster.feed_and_settle(client, &format!("blmove {source} {target} left right 0"));
        assert_eq!(cluster.run(2, &format!("rpush {source} a b")), ":2 ");
        assert_eq!(cluster.replies(client), "$1 a ");
        assert_eq!(cluster.run(1, &format!("lrange {target} 0 -1")), "*1 $1 a ");
        assert_eq!(cluster.run(1, &format!("lrange {source} 0 -1")), "*1 $1 b ");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_job_of_many_steps_is_no_deep_recursion() {
    let mut cluster = Cluster::new(2);
    let client = cluster.connect(0);
    let keys: Vec<String> = (0..20_000).map(|i| format!("key:{i}")).collect();
    let keys = keys.join(" ");
    assert_eq!(cluster.run(0, &format!("sunion {keys}")), "*0 ");
    cluster.feed_and_settle(client, &format!("blpop {keys} 0"));
    cluster.run(1, "rpush key:19999 v");
    assert_eq!(cluster.replies(client), "*2 $9 key:19999 $1 v ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn another_loop_of_the_node_serves_those_of_this_one() {
    let mut cluster = Cluster::new(1);
    let (node, parking) = (Arc::clone(&cluster.routers[0].node), Arc::new(Parking::new(2)));
    node.config.change(&[("commandlog-reply-larger-than", "10")]).unwrap();
    let mut loops = [0, 1].map(|index| Router::new(Arc::clone(&node), Arc::clone(&parking), index, 5));
    std::mem::swap(&mut cluster.routers[0], &mut loops[0]);
    let (first, second) = (cluster.connect(0), cluster.connect(0));
    for client in [first, second] {
        cluster.feed(client, "blpop k 0");
    }
    std::mem::swap(&mut cluster.routers[0], &mut loops[1]);
    assert_eq!(cluster.run(0, "rpush k v"), ":1 ");
    assert_eq!(cluster.run(0, "exists k"), ":0 ");
    std::mem::swap(&mut cluster.routers[0], &mut loops[1]);
    // Its time is over when it was served already.
    cluster.routers[0].unblock(first as u64 + 1, Unblock::Timeout);
    cluster.deliver(0);
    assert_eq!(cluster.replies(first), "");
    cluster.routers[0].take_served();
    cluster.deliver(0);
    assert_eq!((cluster.replies(first), cluster.replies(second)), ("*2 $1 k $1 v ".into(), String::new()));
    let large = node.commandlog.of(Kind::LargeReply).newest(9);
    assert_eq!(large.iter().map(|entry| entry.args.join(&b' ')).collect::<Vec<_>>(), [b"blpop k 0"]);
    cluster.hang_up(second);
    assert_eq!(cluster.under_way(), 0);
}

pub(super) fn set_role(cluster: &Cluster, shard: u16, role: Role) {
    cluster.routers[1].node.store.lock(ringfort_cluster::ShardId(shard)).core.role = role;
}

#[test]
fn a_wait_that_its_owner_cannot_take_up_ends_when_its_time_is_over() {
    let (mut cluster, clients) = waiting(1);
    set_role(&cluster, 1, Role::Sealed);
    cluster.feed_and_settle(clients[0], &format!("blpop {} 20", key_of(1, 0)));
    cluster.pass(19_999);
    assert_eq!(cluster.replies(clients[0]), "");
    cluster.pass(1);
    assert_eq!(cluster.replies(clients[0]), "*-1 ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn who_cannot_be_served_at_once_is_served_as_soon_as_that_is_possible() {
    let (mut cluster, clients) = waiting(1);
    let (source, target) = (key_of(1, 0), key_of(3, 0));
    cluster.feed_and_settle(clients[0], &format!("blmove {source} {target} left left 0"));
    set_role(&cluster, 3, Role::Sealed);
    assert_eq!(cluster.run(0, &format!("rpush {source} v")), ":1 ");
    assert_eq!(cluster.replies(clients[0]), "");
    assert!(cluster.routers[1].has_waiting());
    // Commands do not try that again and again.
    assert_eq!((cluster.routers[1].ready.len(), cluster.routers[1].put_off.len()), (0, 1));
    set_role(&cluster, 3, Role::Primary);
    cluster.pass(0);
    assert_eq!(cluster.replies(clients[0]), "$1 v ");
    assert!(!cluster.routers[1].has_waiting());
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_wait_ends_in_time_though_none_of_its_keys_can_be_tried() {
    let mut cluster = Cluster::new(3);
    let client = cluster.connect(0);
    let keys = [1, 2].map(|node| key_of(node, 0));
    for node in [1, 2] {
        let store = &cluster.routers[node].node.store;
        store.lock(ringfort_cluster::ShardId(node as u16)).core.role = Role::Sealed;
    }
    cluster.feed_and_settle(client, &format!("blpop {} 5", keys.join(" ")));
    cluster.pass(4_999);
    assert_eq!(cluster.replies(client), "");
    cluster.pass(1);
    assert_eq!(cluster.replies(client), "*-1 ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn an_element_is_not_moved_between_nodes_for_one_who_waits_no_more() {
    // Its source, or its destination, is on its way when the time is over, or the client goes.
    for (sealed, goes) in [(1, false), (2, false), (1, true), (2, true)] {
        let mut cluster = Cluster::new(3);
        let client = cluster.connect(0);
        let (source, target) = (key_of(1, 0), key_of(2, 0));
        assert_eq!(cluster.run(1, &format!("rpush {source} v")), ":1 ");
        let seal = |cluster: &Cluster, role| {
            let store = &cluster.routers[sealed].node.store;
            store.lock(ringfort_cluster::ShardId(sealed as u16)).core.role = role;
        };
        seal(&cluster, Role::Sealed);
        cluster.feed_and_settle(client, &format!("blmove {source} {target} left left 5"));
        cluster.pass(4_999);
        assert_eq!(cluster.replies(client), "");
        if goes {
            cluster.hang_up(client);
        } else {
            cluster.pass(1);
            assert_eq!(cluster.replies(client), "*-1 ", "{sealed}");
        }
        seal(&cluster, Role::Primary);
        cluster.pass(0);
        assert_eq!(cluster.run(1, &format!("llen {source}")), ":1 ", "{sealed} {goes}");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn what_came_in_time_is_taken_though_the_time_is_over_before_the_other_nodes_know() {
    let mut cluster = Cluster::new(3);
    let client = cluster.connect(0);
    let keys = [1, 2].map(|node| key_of(node, 0));
    cluster.feed_and_settle(client, &format!("blpop {} 5", keys.join(" ")));
    cluster.feed(2, &format!("rpush {} v", keys[1]));
    cluster.settle_with(|cluster, command| {
        if command.windows(blocked::CANCEL.len()).any(|word| word == blocked::CANCEL) {
            cluster.clock.0.store(5_000, Ordering::Relaxed);
            cluster.routers[0].turn();
            cluster.routers[0].end_overdue();
        }
    });
    assert_eq!(cluster.clock.0.load(Ordering::Relaxed), 5_000);
    assert!(cluster.replies(client).ends_with("$1 v "));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn keys_that_part_while_they_are_tried_are_tried_each_where_it_is() {
    for goes in [false, true] {
        let mut cluster = Cluster::new(3);
        let client = cluster.connect(0);
        let keys = [key_of(1, 0), key_of(4, 0), key_of(2, 0)];
        let seal = |cluster: &Cluster, role| {
            cluster.routers[1].node.store.lock(ringfort_cluster::ShardId(1)).core.role = role;
        };
        seal(&cluster, Role::Sealed);
        cluster.feed_and_settle(client, &format!("blpop {} 5", keys.join(" ")));
        let parted = |shard: u16| Some(if shard == 4 { 2 } else { usize::from(shard) % 3 });
        for node in [2, 1] {
            cluster.learn(node, 2, parted);
        }
        seal(&cluster, Role::Sealed);
        assert_eq!(cluster.run(2, &format!("rpush {} v", keys[1])), ":1 ");
        cluster.learn(0, 2, parted);
        cluster.pass(0);
        if goes {
            cluster.hang_up(client);
        }
        seal(&cluster, Role::Primary);
        cluster.pass(0);
        assert_eq!(cluster.replies(client).ends_with("$1 v "), !goes);
        assert_eq!(cluster.run(2, &format!("llen {}", keys[1])), if goes { ":1 " } else { ":0 " });
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_command_before_the_one_that_waits_is_not_taken_for_it() {
    let (mut cluster, clients) = waiting(1);
    let keys = [key_of(1, 0), key_of(0, 0), key_of(2, 0)];
    let peer = cluster.link(0, 1).0;
    // The first finds its keys on one node, but no way to it; when there is one, they are on two.
    cluster.routers[0].link_down(peer);
    cluster.agree(2, |_| Some(1));
    cluster.feed(clients[0], &format!("lmpop 2 {} {} left", keys[0], keys[1]));
    cluster.agree(3, |shard| Some(usize::from(shard != 2)));
    cluster.feed(clients[0], &format!("blpop {} 1", keys[2]));
    cluster.agree(4, |shard| Some(usize::from(shard) % 2));
    cluster.pass(0);
    cluster.routers[0].link_up(peer);
    cluster.settle();
    cluster.hang_up(clients[0]);
    cluster.pass(0);
    assert_eq!(cluster.run(0, &format!("rpush {} v", keys[2])), ":1 ");
    assert_eq!(cluster.run(0, &format!("llen {}", keys[2])), ":1 ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_move_between_nodes_ends_in_time_though_its_step_comes_back_just_then() {
    for goes in [false, true] {
        let mut cluster = Cluster::new(3);
        let client = cluster.connect(0);
        let (source, target) = (key_of(1, 0), key_of(2, 0));
        assert_eq!(cluster.run(1, &format!("rpush {source} v")), ":1 ");
        cluster.feed(client, &format!("blmove {source} {target} left left 5"));
        // What was sent is lost with its link, when the time is over, or the client has gone.
        cluster.clock.0.store(5_000, Ordering::Relaxed);
        cluster.routers[0].turn();
        let peer = cluster.link(0, 1).0;
        if goes {
            cluster.routers[0].forget(client as u64 + 1);
        } else {
            cluster.routers[0].end_overdue();
        }
        cluster.routers[0].link_down(peer);
        cluster.pass(0);
        assert_eq!(cluster.replies(client), "*-1 ");
        cluster.routers[0].link_up(peer);
        cluster.settle();
        assert_eq!(cluster.run(1, &format!("llen {source}")), ":1 ");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn who_waits_for_replicas_is_forgotten_when_it_goes() {
    for shard in [0, 1] {
        let (mut cluster, clients) = waiting(1);
        let (client, key) = (clients[0], key_of(shard, 0));
        cluster.feed_and_settle(client, &format!("append {key} v"));
        cluster.replies(client);
        cluster.feed_and_settle(client, "wait 9 0");
        assert_eq!(cluster.replies(client), "");
        assert_eq!(cluster.routers[usize::from(shard)].waits.len(), 1);
        cluster.hang_up(client);
        assert!(cluster.routers.iter().all(|router| router.waits.is_empty()));
        assert_eq!(cluster.under_way(), 0);
    }
}
