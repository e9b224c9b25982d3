//! For unit tests: a small node, and clients that ask it without a socket.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use ringfort_cluster::{
    Address, Change, ClusterId, Incarnation, NodeId, NodeInfo, Settings, ShardId, Topology,
};
use ringfort_protocol::{Parsed, Parser, Resp};

use super::Node;
use crate::{
    clients::{Client, Door},
    commands::{
        self, Reply, Run,
        session::{Later, SessionCx},
    },
    config::Config,
    env::{Clock, Now, clock::COARSE_TICK},
    store::Store,
};

/// Shards of the node.
pub(crate) const SHARDS: u16 = 4;

/// A clock that stands until it is set.
#[derive(Debug, Default)]
pub(crate) struct Hands {
    /// Nanoseconds since the machine started.
    pub(crate) boot: AtomicU64,
}

impl Clock for Hands {
    fn boot(&self) -> u64 {
        self.boot.load(Ordering::Relaxed)
    }

    fn coarse(&self) -> u64 {
        self.boot() / COARSE_TICK * COARSE_TICK
    }

    fn wall_ms(&self) -> u64 {
        1_700_000_000_000
    }
}

/// What a node of this number says of itself.
pub(crate) fn info(number: u8) -> NodeInfo {
    let port = 6380 + u16::from(number);
    NodeInfo {
        id: NodeId([number; 20]),
        incarnation: Incarnation(1),
        address: Address {
            host: format!("10.0.0.{number}"),
            client_port: port,
            cluster_port: port + 1_000,
            admin_port: port + 2_000,
            bus_port: port + 10_000,
        },
        zone: String::new(),
        weight: 1,
    }
}

/// A topology of one node, number 1, that serves all shards.
pub(crate) fn topology() -> Topology {
    let mut topology = Topology::unfounded();
    let settings = Settings { shards: SHARDS, ..Settings::default() };
    topology.apply(&Change::Found { cluster: ClusterId([9; 20]), settings, first: info(1) }).unwrap();
    topology
}

/// Node number 1, which serves all shards and holds its lease.
pub(crate) fn node() -> Node {
    node_with(crate::config::Settings::default())
}

/// The same, with these settings.
pub(crate) fn node_with(settings: crate::config::Settings) -> Node {
    let node = Node {
        id: NodeId([1; 20]),
        incarnation: 1.into(),
        clock: Arc::new(Hands { boot: 5_000_000_000.into() }),
        started: 0,
        store: Store::new(SHARDS, 0),
        topology: Arc::new(ArcSwap::from_pointee(Topology::unfounded())),
        lease: Default::default(),
        config: Config::new(settings),
        clients: Default::default(),
        stats: Default::default(),
        tallies: Default::default(),
        memory: crate::memory::Memory::new(),
        commandlog: Default::default(),
        latency: Default::default(),
        expires_by_itself: true.into(),
        stopping: Default::default(),
        sinks: Default::default(),
        parked: Default::default(),
        acks: Default::default(),
        acked: Default::default(),
    };
    adopt(&node, topology());
    node.lease.set(u64::MAX);
    node
}

/// Has the node apply a topology.
pub(crate) fn adopt(node: &Node, topology: Topology) {
    crate::replication::roles::adopt(node, &topology);
    node.topology.store(Arc::new(topology));
}

/// Puts a string of one byte under a key.
pub(crate) fn put(node: &Node, key: &str) {
    let key = crate::store::Key::new(key.as_bytes(), node.store.hash_seed);
    let mut shard = node.store.lock(ShardId(key.slot / node.store.slots_per_shard()));
    let mut locked = [&mut *shard];
    let locked = crate::store::Locked::new(&mut locked, node.store.slots_per_shard());
    let mut db = crate::store::Db::new(locked, 0, 0, Default::default());
    db.edit(key).put(crate::store::Form::Str, &[b"v"], None);
}

/// A client that asks the node.
pub(crate) struct Asker<'n> {
    node: &'n Node,
    /// The client.
    pub(crate) client: Client,
    /// The time at which it asks.
    pub(crate) now: Now,
    /// What it was told to wait for by its last request.
    pub(crate) later: Option<Later>,
    /// Whether the reply to it rests on the node's lease.
    pub(crate) rests_on_lease: bool,
}

impl<'n> Asker<'n> {
    /// A client that has come in by this door.
    pub(crate) fn new(node: &'n Node, door: Door) -> Self {
        Self::of_peer(node, door, ([127, 0, 0, 1], 40_000 + node.clients.len() as u16).into())
    }

    /// The same from this address.
    pub(crate) fn of_peer(node: &'n Node, door: Door, peer: SocketAddr) -> Self {
        let now = Now::of(&*node.clock);
        let local = ([10, 0, 0, 1], 6381).into();
        let shared = node.clients.enter(peer, local, 7, now.boot, usize::MAX).unwrap();
        let client = Client::new(shared, door, node.config.load().requirepass.is_empty());
        Self { node, client, now, later: None, rests_on_lease: false }
    }

    /// Runs a command about the connection or the server that is written as one would type it. Returns its reply with
    /// `\r\n` as spaces.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let mut parser = Parser::new();
        let line = format!("{command}\n");
        let parsed = parser.parse(line.as_bytes(), &mut Vec::new(), &Default::default());
        assert!(matches!(parsed, Ok(Parsed::Inline { .. })), "{command}: {parsed:?}");
        let owned = parser.inline_args();
        let args = owned.as_args();
        let mut out = Reply::new(if self.client.resp3 { Resp::V3 } else { Resp::V2 });
        let result = commands::resolve(args).and_then(|command| {
            let Run::Session(handler) = command.run else { panic!("no command of this kind: {args:?}") };
            self.client.shared.texts().command = commands::full_name(command);
            let (node, client, now) = (self.node, &mut self.client, self.now);
            let mut cx = SessionCx { node, client, out: &mut out, now, later: None, rests_on_lease: false };
            let result = handler(&mut cx, args);
            (self.later, self.rests_on_lease) = (cx.later, cx.rests_on_lease);
            result
        });
        if let Err(error) = result {
            out = Reply::default();
            out.error(&error);
        }
        String::from_utf8_lossy(&out.into_bytes()).replace("\r\n", " ")
    }
}
