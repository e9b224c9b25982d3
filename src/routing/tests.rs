//! Requests over several nodes, in one thread: routers that pass each other their frames.

mod streams;
mod values;
mod waiting;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use ringfort_cluster::{
    Address, ClusterId, Epoch, Incarnation, Member, NodeId, NodeInfo, NodeState, Offset, Settings, Topology,
    Version,
};
use ringfort_protocol::encode_command;

use super::{Parking, Router, frame};
use crate::{
    clients::{Client, Clients, Door, Unblock},
    commandlog::Kind,
    commands::digest::digest,
    config::Config,
    env::Clock,
    node::Node,
    replication::roles,
    session::Session,
    stats::Stats,
    store::{Role, Store},
};

const SHARDS: u16 = 8;

/// A clock that is moved by hand.
#[derive(Debug, Default)]
struct HandClock(AtomicU64);

impl Clock for HandClock {
    fn boot(&self) -> u64 {
        self.0.load(Ordering::Relaxed) * 1_000_000
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.load(Ordering::Relaxed)
    }
}

/// Nodes of one cluster, each with one router and one client's connection.
struct Cluster {
    clock: Arc<HandClock>,
    routers: Vec<Router>,
    /// The first of each node, and then others.
    sessions: Vec<Session>,
    /// The node of each.
    homes: Vec<usize>,
}

fn id(node: usize) -> NodeId {
    NodeId([node as u8 + 1; 20])
}

fn member(node: usize) -> Member {
    Member { node: id(node), incarnation: Incarnation(1) }
}

/// A topology in which shard `s` is served by node `owner(s)`.
fn topology(nodes: usize, version: u64, owner: impl Fn(u16) -> Option<usize>) -> Topology {
    let node = |node: usize| {
        let (host, client_port) = ("127.0.0.1".to_owned(), 1);
        let address = Address { host, client_port, cluster_port: 2, admin_port: 3, bus_port: 4 };
        let incarnation = Incarnation(1);
        let info = NodeInfo { id: id(node), incarnation, address, zone: String::new(), weight: 1 };
        let node = ringfort_cluster::Node { info, state: NodeState::Alive, draining: false, leaving: false };
        (node.info.id, node)
    };
    let shard = |shard: u16| ringfort_cluster::Shard {
        epoch: Epoch(1),
        began: vec![(Epoch(1), Offset(0))],
        primary: owner(shard).map(member),
        replicas: Vec::new(),
        in_sync: owner(shard).map(member).into_iter().collect(),
        successor: None,
        changed: Version(version),
    };
    Topology {
        cluster: ClusterId([0; 20]),
        version: Version(version),
        settings: Settings { shards: SHARDS, hash_seed: 7, ..Settings::default() },
        nodes: (0..nodes).map(node).collect::<BTreeMap<_, _>>(),
        shards: (0..SHARDS).map(shard).collect(),
    }
}

impl Cluster {
    /// Node `s % nodes` serves shard `s`.
    fn new(nodes: usize) -> Self {
        let clock = Arc::new(HandClock::default());
        let agreed = topology(nodes, 1, |shard| Some(usize::from(shard) % nodes));
        let mut routers = Vec::new();
        let mut sessions = Vec::new();
        for index in 0..nodes {
            let mut settings = crate::config::Settings::default();
            Arc::make_mut(&mut settings.limits).hash_seed = agreed.settings.hash_seed;
            let node = Node {
                id: id(index),
                incarnation: AtomicU64::new(1),
                clock: Arc::clone(&clock) as Arc<dyn Clock>,
                started: 0,
                store: Store::new(SHARDS, 7),
                topology: Arc::new(ArcSwap::from_pointee(agreed.clone())),
                lease: Default::default(),
                config: Config::new(settings),
                clients: Clients::default(),
                stats: Stats::default(),
                tallies: Default::default(),
                memory: crate::memory::Memory::new(),
                commandlog: Default::default(),
                latency: Default::default(),
                expires_by_itself: true.into(),
                stopping: Default::default(),
                sinks: Default::default(),
                parked: Default::default(),
                acks: AtomicU64::new(0),
                acked: Default::default(),
            };
            node.lease.set(u64::MAX);
            roles::adopt(&node, &agreed);
            let any = "127.0.0.1:1".parse().unwrap();
            let client = Client::new(node.clients.enter(any, any, 0, 0, 9).unwrap(), Door::Client, true);
            sessions.push(Session::new(client, index as u64 + 1));
            routers.push(Router::new(Arc::new(node), Arc::new(Parking::new(1)), 0, index as u64));
        }
        let mut cluster = Self { clock, routers, sessions, homes: (0..nodes).collect() };
        for router in &mut cluster.routers {
            (0..router.peers.len()).for_each(|peer| router.link_up(peer as u16));
        }
        cluster.settle();
        cluster
    }

    /// Gives the shards to other nodes, on paper: their data stays where it is.
    fn agree(&mut self, version: u64, owner: impl Fn(u16) -> Option<usize>) {
        let agreed = topology(self.routers.len(), version, owner);
        for router in &mut self.routers {
            router.node.topology.store(Arc::new(agreed.clone()));
            router.refresh();
        }
    }

    /// One more client of a node.
    fn connect(&mut self, node: usize) -> usize {
        let any = "127.0.0.1:1".parse().unwrap();
        let shared = self.routers[node].node.clients.enter(any, any, 0, 0, 9).unwrap();
        let number = self.sessions.len();
        self.sessions.push(Session::new(Client::new(shared, Door::Client, true), number as u64 + 1));
        self.homes.push(node);
        number
    }

    /// Feeds a command to a node, as its first client does (or another one), without waiting for the reply.
    fn feed(&mut self, client: usize, command: &str) {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, command.split(' ').collect::<Vec<_>>().into_iter());
        let (session, router) = (&mut self.sessions[client], &mut self.routers[self.homes[client]]);
        router.turn();
        assert_eq!(session.receive(&bytes, router), bytes.len());
    }

    /// Passes on frames until none is under way; `before` sees each request before its owner does.
    fn settle_with(&mut self, mut before: impl FnMut(&mut Self, &[u8])) {
        loop {
            for from in 0..self.routers.len() {
                for peer in 0..self.routers[from].peers.len() {
                    let queue = &mut self.routers[from].peers[peer];
                    let bytes = queue.out.clone();
                    queue.sent(bytes.len());
                    let to = usize::from(queue.node.0[0]) - 1;
                    let mut rest = &bytes[..];
                    while let Some((body, len)) = frame::split(rest).unwrap() {
                        let request = frame::request(body).unwrap();
                        before(self, request.command);
                        let (conn, mut out) = (100 + from as u64, Vec::new());
                        self.routers[to].turn();
                        self.routers[to].serve_peer(conn, &request, &mut out);
                        self.answer(to, conn, &out);
                        rest = &rest[len..];
                    }
                }
                self.deliver(from);
            }
            if self.rests() {
                return;
            }
        }
    }

    /// Whether nothing is to be passed on.
    fn rests(&self) -> bool {
        let rests = |router: &Router| {
            let sends = router.peers.iter().any(|peer| !peer.out.is_empty());
            !sends && router.completions.is_empty() && router.peer_completions.is_empty()
        };
        self.routers.iter().all(rests)
    }

    fn settle(&mut self) {
        self.settle_with(|_, _| ());
    }

    fn answer(&mut self, from: usize, conn: u64, mut frames: &[u8]) {
        let to = &mut self.routers[conn as usize - 100];
        let peer = to.peers.iter().position(|peer| peer.node == id(from)).unwrap() as u16;
        while let Some((body, len)) = frame::split(frames).unwrap() {
            to.peer_replied(peer, frame::reply(body).unwrap());
            frames = &frames[len..];
        }
    }

    fn deliver(&mut self, node: usize) {
        for completion in std::mem::take(&mut self.routers[node].completions) {
            let session = &mut self.sessions[completion.conn as usize - 1];
            session.complete(&completion, &self.routers[node]);
        }
        for completion in std::mem::take(&mut self.routers[node].peer_completions) {
            self.answer(node, completion.conn, &completion.frame);
        }
    }

    /// What a node owes its client, with `\r\n` as spaces.
    fn replies(&mut self, node: usize) -> String {
        let bytes = self.sessions[node].output.take_ready().into_bytes();
        String::from_utf8(bytes).unwrap().replace("\r\n", " ")
    }

    /// Runs a command at a node and returns its reply.
    fn run(&mut self, node: usize, command: &str) -> String {
        self.feed(node, command);
        self.settle();
        self.replies(node)
    }

    /// The keys of a scan reply, and its cursor.
    fn scan(&mut self, node: usize, command: &str) -> (String, Vec<String>) {
        let reply = self.run(node, command);
        let mut words = reply.split(' ').skip(2).map(str::to_owned);
        (words.next().unwrap(), words.skip(2).step_by(2).collect())
    }

    /// Under way anywhere.
    fn under_way(&self) -> usize {
        let of = |router: &Router| {
            let waits =
                router.awaits.len() + router.blocked.len() + router.deadlines.len() + router.sent.len();
            router.jobs.len() + router.gathers.len() + router.unresolved.len() + waits + router.waiters()
        };
        self.routers.iter().map(of).sum()
    }

    fn digest(&self) -> u64 {
        let primaries = self.routers.iter().flat_map(|router| {
            (0..SHARDS).map(|shard| router.node.store.lock(ringfort_cluster::ShardId(shard)))
        });
        primaries
            .filter(|shard| shard.core.role == Role::Primary)
            .fold(0, |sum, shard| digest(&shard).wrapping_add(sum))
    }
}

/// A key of shard `shard`.
fn key_of(shard: u16, nth: usize) -> String {
    let of_shard = |key: &String| ringfort_protocol::slot(key.as_bytes()) / (16384 / SHARDS) == shard;
    (0..).map(|i| format!("k{i}")).filter(of_shard).nth(nth).unwrap()
}

fn filled(nodes: usize, keys: usize) -> (Cluster, Vec<String>) {
    let mut cluster = Cluster::new(nodes);
    let mut names: Vec<String> = (0..keys).map(|i| format!("key:{i}")).collect();
    for name in &names {
        cluster.feed(0, &format!("append {name} v"));
    }
    cluster.settle();
    cluster.replies(0);
    names.sort();
    (cluster, names)
}

#[test]
fn large_replies_are_noted_wherever_they_come_from() {
    let mut cluster = Cluster::new(3);
    let keys: Vec<String> = (0..3).map(|shard| key_of(shard, 0)).collect();
    for key in &keys {
        assert_eq!(cluster.run(0, &format!("set {key} {}", "x".repeat(300))), "+OK ");
    }
    let node = Arc::clone(&cluster.routers[0].node);
    node.config.change(&[("commandlog-reply-larger-than", "300")]).unwrap();
    // From here, from a peer, from several, in steps, after a wait for the shard, and after one for data.
    let (here, there, third) = (&keys[0], &keys[1], &keys[2]);
    let list = key_of(0, 1);
    let asked = [
        format!("get {here}"),
        format!("get {there}"),
        format!("mget {there} {third}"),
        format!("lcs {there} {third}"),
        format!("getrange {here} 0 -1"),
        format!("blpop {list} 0"),
    ];
    asked[..4].iter().for_each(|command| assert_ne!(cluster.run(0, command), ""));
    cluster.agree(2, |shard| (shard != 0).then_some(usize::from(shard) % 3));
    assert_eq!(cluster.run(0, &asked[4]), "");
    cluster.agree(3, |shard| Some(usize::from(shard) % 3));
    cluster.settle();
    assert!(cluster.replies(0).starts_with("$300 "));
    assert_eq!(cluster.run(0, &asked[5]), "");
    assert_eq!(cluster.run(1, &format!("rpush {list} {}", "x".repeat(300))), ":1 ");
    assert!(cluster.replies(0).starts_with("*2 "));
    assert_eq!(cluster.run(0, &format!("strlen {there}")), ":300 ");
    let noted = node.commandlog.of(Kind::LargeReply).newest(9).into_iter().rev();
    let words = |entry: crate::commandlog::Entry| String::from_utf8(entry.args.join(&b' ')).unwrap();
    assert_eq!(noted.map(words).collect::<Vec<_>>(), asked);
}

#[test]
fn how_long_a_command_takes_is_told_where_it_runs() {
    let mut cluster = Cluster::new(2);
    for router in &cluster.routers {
        router.node.config.change(&[("slowlog-log-slower-than", "0"), ("latency-tracking", "yes")]).unwrap();
    }
    let (here, there) = (key_of(0, 0), key_of(1, 0));
    for command in [format!("append {here} v"), format!("append {there} v"), "dbsize".into()] {
        assert_ne!(cluster.run(0, &command), "");
    }
    let told = |node: usize| {
        let router = &cluster.routers[node];
        let entries = router.node.commandlog.of(Kind::Slow).newest(9).into_iter().rev();
        let words = |args: Vec<Vec<u8>>| String::from_utf8(args.join(&b' ')).unwrap();
        let entries: Vec<_> = entries.map(|entry| (words(entry.args), entry.peer, entry.name)).collect();
        (entries, router.tracked.iter().map(|(name, _)| *name).collect::<Vec<_>>())
    };
    let client = |command: String| (command, "127.0.0.1:1".to_owned(), String::new());
    let commands = vec![client(format!("append {here} v")), client("dbsize".into())];
    assert_eq!(told(0), (commands, vec!["append", "dbsize"]));
    let node = |command: String| (command, "127.0.0.1:1".to_owned(), id(0).to_string());
    let commands = vec![node(format!("append {there} v")), node("dbsize".into())];
    assert_eq!(told(1), (commands, vec!["append", "dbsize"]));
}

#[test]
fn one_scan_goes_through_all_nodes() {
    for nodes in [1, 2, 3] {
        let (mut cluster, names) = filled(nodes, 100);
        for node in 0..nodes {
            let (cursor, mut keys) = cluster.scan(node, "scan 0 count 1000");
            keys.sort();
            assert_eq!((cursor.as_str(), &keys), ("0", &names));
        }
        let (mut all, mut cursor, mut calls) = (Vec::new(), "0".to_owned(), 0);
        loop {
            // Each call at another node: the cursor means the same everywhere.
            let (next, keys) = cluster.scan(calls % nodes, &format!("scan {cursor} count 7"));
            assert!(keys.len() >= 7 || next == "0", "{keys:?}");
            all.extend(keys);
            (cursor, calls) = (next, calls + 1);
            if cursor == "0" {
                break;
            }
        }
        all.sort();
        assert_eq!(all, names);
        assert_eq!(calls, 15);
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_scan_of_several_nodes_filters_and_refuses_as_one_of_one_node() {
    let (mut cluster, _) = filled(3, 30);
    let rpush = cluster.run(0, "rpush list a");
    assert_eq!(rpush, ":1 ");
    assert_eq!(cluster.scan(1, "scan 0 count 1000 type list").1, ["list"]);
    let (_, mut keys) = cluster.scan(2, "scan 0 match key:1? count 1000");
    keys.sort();
    assert_eq!(keys.len(), 10);
    assert_eq!(cluster.run(0, "scan x"), "-ERR invalid cursor ");
    assert_eq!(cluster.run(0, "scan 0 count 0"), "-ERR syntax error ");
    assert_eq!(cluster.run(0, "scan 0 foo"), "-ERR syntax error ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_scan_returns_what_it_has_where_nobody_serves_the_next_shard() {
    let (mut cluster, _) = filled(2, 100);
    let served = |shard: u16| (shard != 5).then_some(usize::from(shard) % 2);
    cluster.agree(2, served);
    let (cursor, keys) = cluster.scan(0, "scan 0 count 1000");
    let slot = cursor.parse::<u64>().unwrap() >> 32;
    assert_eq!(slot, 5 * 16384 / u64::from(SHARDS));
    assert!(!keys.is_empty());
    // Of the rest there is nothing yet: it waits, and goes on once the shard is served again.
    assert_eq!(cluster.run(0, &format!("scan {cursor} count 1000")), "");
    cluster.agree(3, |shard| Some(usize::from(shard) % 2));
    cluster.settle();
    assert!(cluster.replies(0).starts_with("*2 $1 0 "));
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn the_cluster_port_scans_and_counts_what_the_node_has() {
    let (mut cluster, names) = filled(3, 90);
    let mut all = Vec::new();
    let mut sum = 0;
    for node in 0..3 {
        cluster.sessions[node].client.door = Door::Cluster;
        let (cursor, keys) = cluster.scan(node, "scan 0 count 1000");
        assert_eq!(cursor, "0");
        assert_eq!(cluster.run(node, "dbsize"), format!(":{} ", keys.len()));
        sum += keys.len();
        all.extend(keys);
    }
    all.sort();
    assert_eq!((all, sum), (names, 90));
}

#[test]
fn commands_of_all_keys_reach_all_nodes() {
    let (mut cluster, names) = filled(3, 50);
    assert_eq!(cluster.run(1, "dbsize"), ":50 ");
    let reply = cluster.run(2, "keys *");
    let mut keys: Vec<&str> = reply.split(' ').skip(2).step_by(2).collect();
    keys.sort_unstable();
    assert_eq!(keys, names);
    assert!(cluster.run(0, "randomkey").contains("key:"));
    assert_eq!(cluster.run(0, "exists key:1 key:2 key:3 key:99 key:1"), ":4 ");
    assert_eq!(cluster.run(0, "del key:1 key:2 key:3 key:99"), ":3 ");
    assert_eq!(cluster.run(1, "swapdb 0 5"), "+OK ");
    assert_eq!(cluster.run(2, "dbsize"), ":0 ");
    cluster.sessions[0].client.db = 5;
    assert_eq!(cluster.run(0, "dbsize"), ":47 ");
    assert_eq!(cluster.run(1, "flushall"), "+OK ");
    assert_eq!(cluster.run(0, "dbsize"), ":0 ");
}

#[test]
fn commands_and_what_came_of_them_are_counted_where_their_client_is() {
    let mut cluster = Cluster::new(2);
    let [here, there] = [key_of(0, 0), key_of(1, 0)];
    for key in [&here, &there] {
        cluster.run(0, &format!("set {key} v"));
        assert!(cluster.run(0, &format!("lpush {key} x")).starts_with("-WRONGTYPE "));
        assert!(cluster.run(0, &format!("lmove {here} {there} left {key}")).starts_with("-ERR "));
    }
    let counted = |node: usize| {
        let node = &cluster.routers[node].node;
        let failed: u64 = node.tallies.sums().iter().map(|sum| sum.failed).sum();
        (node.tallies.calls(), failed, node.tallies.errors().into_iter().collect::<Vec<_>>())
    };
    assert_eq!(counted(0), (6, 4, vec![("ERR".to_owned(), 2), ("WRONGTYPE".to_owned(), 2)]));
    assert_eq!(counted(1), (0, 0, Vec::new()));
}

#[test]
fn each_shard_is_asked_once_however_shards_move_meanwhile() {
    for (command, reply, empties) in [
        ("dbsize", "", false),
        ("keys none", "*0 ", false),
        ("flushall", "+OK ", true),
        ("swapdb 0 5", "+OK ", true),
    ] {
        let (mut cluster, _) = filled(2, 50);
        // What node 1 has is about to part.
        waiting::set_role(&cluster, 1, Role::Sealed);
        cluster.feed(0, command);
        cluster.settle();
        assert_eq!(cluster.replies(0), "", "{command}");
        let moved = cluster.routers[1].node.store.lock(ringfort_cluster::ShardId(1)).len(0);
        cluster.hand_over(2, |shard| Some(if shard == 1 { 0 } else { usize::from(shard) % 2 }));
        // Here what was in it is lost.
        assert_eq!(
            cluster.replies(0),
            if command == "dbsize" { format!(":{} ", 50 - moved) } else { reply.into() }
        );
        assert_eq!(
            cluster.run(0, "dbsize"),
            format!(":{} ", if empties { 0 } else { 50 - moved }),
            "{command}"
        );
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn what_a_connection_writes_behind_flushall_stays() {
    let mut cluster = Cluster::new(2);
    let (before, behind) = (key_of(1, 0), key_of(3, 0));
    let mut input = Vec::new();
    // The part of node 1 has to wait, for the sake of one of its shards.
    for (role, command) in [
        (Role::Primary, format!("set {before} v")),
        (Role::Sealed, "flushall".into()),
        (Role::Sealed, format!("set {behind} v")),
        (Role::Primary, "ping".into()),
        (Role::Primary, "ping".into()),
    ] {
        waiting::set_role(&cluster, 1, role);
        cluster.routers[1].retry_held();
        cluster.settle();
        encode_command(&mut input, command.split(' ').collect::<Vec<_>>().into_iter());
        let (session, router) = (&mut cluster.sessions[0], &mut cluster.routers[0]);
        router.turn();
        let used = session.receive(&input, router);
        input.drain(..used);
        cluster.settle();
    }
    assert!(input.is_empty());
    assert_eq!(cluster.replies(0), "+OK +OK +OK +PONG +PONG ");
    assert_eq!(cluster.run(0, &format!("mget {before} {behind}")), "*2 $-1 $1 v ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_node_that_is_cut_off_soon_refuses_what_waits_and_gives_up_what_others_owe() {
    let mut cluster = Cluster::new(3);
    let (mine, theirs) = (key_of(0, 0), key_of(1, 0));
    cluster.feed(0, &format!("set {theirs} v"));
    let router = &mut cluster.routers[0];
    router.watch_lease();
    router.node.lease.set(0);
    router.watch_lease();
    cluster.feed(0, &format!("set {mine} v"));
    cluster.clock.0.store(999, Ordering::Relaxed);
    for (reply, closed) in [("", false), ("-CLUSTERDOWN ", true)] {
        let router = &mut cluster.routers[0];
        router.turn();
        router.watch_lease();
        router.retry_held();
        assert_eq!(router.peers.iter().any(|peer| peer.close), closed);
        cluster.clock.0.store(1_000, Ordering::Relaxed);
        let replies: Vec<u8> = router.completions.drain(..).flat_map(|done| done.reply).collect();
        let replies = String::from_utf8_lossy(&replies);
        assert!(replies.starts_with(reply) && replies.is_empty() == reply.is_empty(), "{replies}");
    }
}

#[test]
fn a_node_that_is_no_longer_cut_off_refuses_nothing_though_it_was_not_looked_at_since() {
    let mut cluster = Cluster::new(2);
    let peer = cluster.routers[0].peers.iter().position(|peer| peer.node == id(1)).unwrap() as u16;
    let router = &mut cluster.routers[0];
    router.watch_lease();
    router.node.lease.set(0);
    router.watch_lease();
    router.link_down(peer);
    cluster.clock.0.store(1_000, Ordering::Relaxed);
    cluster.routers[0].turn();
    cluster.routers[0].watch_lease();
    cluster.routers[0].node.lease.set(u64::MAX);
    cluster.feed(0, &format!("set {} v", key_of(1, 0)));
    cluster.routers[0].retry_held();
    cluster.routers[0].link_up(peer);
    cluster.settle();
    assert_eq!(cluster.replies(0), "+OK ");
    assert_eq!(cluster.under_way(), 0);
}

/// Two nodes, of which the second has hung up: it was sent a write, and has handed its shards over to the first.
fn with_one_that_is_gone(leaving: bool) -> Cluster {
    let mut cluster = Cluster::new(2);
    cluster.feed(0, &format!("set {} v", key_of(1, 0)));
    let mut agreed = topology(2, 2, |_| Some(0));
    let gone = agreed.nodes.get_mut(&id(1)).unwrap();
    (gone.state, gone.leaving) = (NodeState::Dead, leaving);
    roles::adopt(&cluster.routers[0].node, &agreed);
    for router in &mut cluster.routers {
        router.node.topology.store(Arc::new(agreed.clone()));
        router.refresh();
    }
    cluster
}

fn closes(cluster: &Cluster) -> bool {
    cluster.routers[0].peers[0].close
}

#[test]
fn a_node_that_has_left_in_order_answers_what_it_was_sent_before_its_link_is_closed() {
    let mut cluster = with_one_that_is_gone(true);
    assert!(!closes(&cluster));
    cluster.settle();
    assert!(closes(&cluster), "it owes nothing more");
    cluster.routers[0].link_down(0);
    cluster.deliver(0);
    assert_eq!(cluster.replies(0), "+OK ", "it had not run it, so the next owner did");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_write_that_a_node_leaves_unanswered_when_it_stops_is_run_by_the_next_owner() {
    let mut cluster = Cluster::new(2);
    cluster.feed(0, &format!("set {} v", key_of(1, 0)));
    let sent = cluster.routers[0].peers[0].out.len();
    cluster.routers[0].peers[0].sent(sent);
    let mut frames = Vec::new();
    frame::put_farewell(&mut frames, Version(1));
    cluster.answer(1, 100, &frames);
    assert!(closes(&cluster));
    cluster.routers[0].link_down(0);
    let agreed = topology(2, 2, |_| Some(0));
    roles::adopt(&cluster.routers[0].node, &agreed);
    cluster.routers[0].node.topology.store(Arc::new(agreed));
    cluster.routers[0].refresh();
    cluster.deliver(0);
    assert_eq!(cluster.replies(0), "+OK ");
    assert_eq!(cluster.under_way(), 0);
}

#[test]
fn a_link_to_a_node_that_has_left_and_does_not_answer_is_not_kept_for_long() {
    let mut cluster = with_one_that_is_gone(true);
    for (millis, closed) in [(999, false), (1_000, true)] {
        cluster.clock.0.store(millis, Ordering::Relaxed);
        cluster.routers[0].turn();
        cluster.routers[0].drop_left_links();
        assert_eq!(closes(&cluster), closed);
    }
    assert!(closes(&with_one_that_is_gone(false)), "nothing is to be expected of a node that died");
}

#[test]
fn a_node_that_is_about_to_stop_lets_nobody_wait_for_replicas() {
    let mut cluster = Cluster::new(2);
    for key in [key_of(0, 0), key_of(1, 0)] {
        cluster.run(0, &format!("set {key} v"));
    }
    assert_eq!(cluster.run(0, "wait 1 0"), "");
    for router in &mut cluster.routers {
        router.node.lease.retire();
        router.check_waits();
    }
    cluster.deliver(1);
    cluster.deliver(0);
    assert_eq!(cluster.replies(0), ":0 ");
}

#[test]
fn clients_that_take_replicas_answers_get_none_of_a_primary_without_a_lease() {
    let mut cluster = Cluster::new(1);
    let key = key_of(0, 0);
    cluster.run(0, &format!("set {key} v"));
    cluster.routers[0].node.lease.set(0);
    cluster.sessions[0].client.readonly = true;
    for command in [format!("get {key}"), "dbsize".to_owned()] {
        assert_eq!(cluster.run(0, &command), "", "{command}");
    }
}

#[test]
fn clients_cannot_call_what_nodes_say_to_each_other() {
    let mut cluster = Cluster::new(1);
    for command in [
        "scan.part 0",
        "carry.fetch a b",
        "carry.place a NX x",
        "carry.drop a b 1",
        "stream.check group g ann streams a >",
    ] {
        let reply = cluster.run(0, command);
        assert!(reply.starts_with("-ERR unknown command"), "{reply}");
    }
}

#[test]
fn what_patterns_name_is_read_wherever_it_lives() {
    let (mut cluster, mut plain) = (Cluster::new(3), Cluster::new(1));
    let mut fill = vec!["rpush source x".to_owned(), "set {tag}w:a 1".to_owned()];
    for number in 0..40 {
        fill.push(format!("rpush source m{number}"));
        fill.push(format!("set w:m{number} {}", (number * 7) % 40));
        fill.push(format!("hset h:m{number} f v{number} g {}", (number * 11) % 40));
    }
    for command in &fill {
        assert_eq!(cluster.run(0, command), plain.run(0, command));
    }
    for command in [
        "sort source by w:*",
        "sort source by h:*->g desc get # get h:*->f get w:* get none:*",
        "sort_ro source by nosort get h:*->f limit 3 4",
        "sort source by w:* get h:*->f store result",
        "lrange result 0 -1",
        "sort source by {tag}w:* get {tag}w:*",
        "sort source by h:*->f",
        "sort none by w:* get #",
        "sort w:m1 by w:*",
        "sort source by w:* store w:m3",
        "lrange w:m3 0 -1",
        "sort source by w:* limit x",
    ] {
        for node in [0, 1, 2] {
            assert_eq!(cluster.run(node, command), plain.run(0, command), "{command} at {node}");
            assert_eq!(cluster.under_way(), 0);
        }
    }
    assert_eq!(cluster.digest(), plain.digest());
}

#[test]
fn patterns_of_one_slot_keep_a_sort_where_its_keys_are() {
    let mut cluster = Cluster::new(3);
    for (command, node) in [("rpush {t}source b a", 0), ("mset {t}w:a 1 {t}w:b 2", 1)] {
        cluster.run(node, command);
    }
    for node in [0, 1, 2] {
        cluster.feed(node, "sort {t}source by {t}w:* get # get {t}w:*");
        cluster.settle_with(|_, command| {
            assert!(command.windows(4).any(|part| part == b"sort"), "{}", command.escape_ascii());
        });
        assert_eq!(cluster.replies(node), "*4 $1 a $1 1 $1 b $1 2 ");
    }
}

#[test]
fn nothing_overtakes_a_sort_that_is_on_its_way() {
    let mut cluster = Cluster::new(3);
    let key = key_of(1, 0);
    cluster.run(0, &format!("rpush source {key}"));
    cluster.run(0, &format!("set {key} before"));
    let mut bytes = Vec::new();
    for command in ["sort source by nosort get *".to_owned(), format!("set {key} after")] {
        encode_command(&mut bytes, command.split(' ').collect::<Vec<_>>().into_iter());
    }
    let used = cluster.sessions[0].receive(&bytes, &mut cluster.routers[0]);
    assert!(used < bytes.len());
    cluster.settle();
    let rest = cluster.sessions[0].receive(&bytes[used..], &mut cluster.routers[0]);
    assert_eq!(used + rest, bytes.len());
    cluster.settle();
    assert_eq!(cluster.replies(0), "*1 $6 before +OK ");
}

#[test]
fn a_sort_overtakes_no_earlier_request_for_what_it_may_read() {
    let mut cluster = Cluster::new(3);
    let (list, weight) = (key_of(0, 0), key_of(1, 0));
    cluster.run(0, &format!("rpush {list} {weight}"));
    cluster.run(0, &format!("set {weight} before"));
    for sort in [format!("sort {list} by nosort get *"), format!("sort_ro {list} by nosort get *")] {
        cluster.feed(0, &format!("append {weight} -x"));
        cluster.feed(0, &sort);
        assert_eq!(cluster.routers[0].held().0, 1, "it waits for the reply to the earlier one");
        cluster.settle();
        cluster.routers[0].retry_held();
        cluster.settle();
        let replies = cluster.replies(0);
        let value = cluster.run(0, &format!("get {weight}"));
        assert!(replies.ends_with(&format!(" *1 {value}")), "{replies}");
        assert_eq!(cluster.under_way(), 0);
    }
}

#[test]
fn a_replica_that_lacks_what_a_pattern_names_sends_the_client_on_at_once() {
    let mut cluster = Cluster::new(2);
    let list = key_of(1, 0);
    cluster.sessions[0].client.readonly = true;
    cluster.sessions[0].client.door = Door::Cluster;
    for shard in (0..SHARDS).filter(|shard| shard % 2 == 1) {
        cluster.routers[0].node.store.lock(ringfort_cluster::ShardId(shard)).core.role = Role::Replica;
    }
    // This one has copies of all that may be named.
    cluster.feed(0, &format!("sort_ro {list} by w:*"));
    assert_eq!(cluster.replies(0), "*0 ");
    cluster.routers[0].node.store.lock(ringfort_cluster::ShardId(3)).core.role = Role::Absent;
    cluster.feed(0, &format!("sort_ro {list} by w:*"));
    cluster.deliver(0);
    let reply = cluster.replies(0);
    assert!(reply.starts_with("-MOVED "), "{reply}");
    cluster.feed(0, &format!("sort_ro {list}"));
    assert_eq!(cluster.replies(0), "*0 ");
    assert_eq!(cluster.routers[0].node.stats.held.get(), 0);
}
