//! The cluster as one node sees it, for people and programs: a value that becomes JSON.

use std::collections::BTreeSet;

use ringfort_cluster::{NodeState, Topology, council::Council, placement::place, planner::progress};
use serde::{Deserialize, Serialize};

use crate::node::Node;

/// How the cluster is.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub cluster: String,
    /// The version of the topology.
    pub version: u64,
    /// The node that answers.
    pub asked: String,
    /// The node that leads the council, if there is one.
    pub leader: Option<String>,
    /// Number of shards.
    pub shards: usize,
    /// Shards that nobody serves at the moment.
    pub shards_without_primary: usize,
    /// Shards with fewer copies in sync than wanted.
    pub shards_short_of_copies: usize,
    /// Moves of primaries and copies that the wanted placement is away.
    pub moves_left: usize,
    /// The nodes, by id.
    pub nodes: Vec<NodeStatus>,
}

/// How a node is.
#[derive(Debug, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub id: String,
    /// Host and client port.
    pub address: String,
    /// `alive`, `dead`, `draining` or `leaving`.
    pub state: String,
    /// Which of its lives.
    pub incarnation: u64,
    /// Its failure domain; empty: its own.
    pub zone: String,
    /// Its capacity relative to others.
    pub weight: u32,
    /// Whether it votes in the council.
    pub votes: bool,
    /// Shards that it serves.
    pub primary_of: usize,
    /// Shards of which it is to hold a copy.
    pub replica_of: usize,
    /// Of these, how many are in sync.
    pub in_sync: usize,
    /// The longest lag of a copy there behind a primary on the node that answers, in bytes of the log.
    pub lag: u64,
}

/// The cluster as this node sees it, as JSON.
pub fn json(node: &Node, council: &Council) -> String {
    serde_json::to_string(&status(node, council)).expect("plain data")
}

fn status(node: &Node, council: &Council) -> Status {
    let topology = node.topology.load();
    let configuration = council.configuration();
    let wanted = place(&topology, &BTreeSet::new());
    let nodes = topology.nodes.values().map(|known| {
        let info = &known.info;
        let member = info.member();
        let count = |is: &dyn Fn(&ringfort_cluster::Shard) -> bool| {
            topology.shards.iter().filter(|shard| is(shard)).count()
        };
        let replica = |shard: &ringfort_cluster::Shard| shard.replicas.contains(&info.id);
        NodeStatus {
            id: info.id.to_string(),
            address: format!("{}:{}", info.address.host, info.address.client_port),
            state: state(known).into(),
            incarnation: info.incarnation.0,
            zone: info.zone.clone(),
            weight: info.weight,
            votes: configuration.has(&info.id),
            primary_of: count(&|shard| shard.primary == Some(member)),
            replica_of: count(&replica),
            in_sync: count(&|shard| replica(shard) && shard.is_in_sync(member)),
            lag: lag(node, &topology, member),
        }
    });
    let progress = progress(&topology, &wanted);
    Status {
        cluster: topology.cluster.to_string(),
        version: topology.version.0,
        asked: node.id.to_string(),
        leader: council.leader().map(|leader| leader.to_string()),
        shards: topology.shards.len(),
        shards_without_primary: without_primary(&topology),
        shards_short_of_copies: short_of_copies(&topology),
        moves_left: progress.moves_left + progress.switches_left + progress.drops_left,
        nodes: nodes.collect(),
    }
}

/// How a node is, in one word.
pub fn state(node: &ringfort_cluster::topology::Node) -> &'static str {
    match node.state {
        NodeState::Dead => "dead",
        NodeState::Alive if node.leaving => "leaving",
        NodeState::Alive if node.draining => "draining",
        NodeState::Alive => "alive",
    }
}

/// Number of shards that nobody serves at the moment.
pub fn without_primary(topology: &Topology) -> usize {
    topology.shards.iter().filter(|shard| shard.primary.is_none()).count()
}

/// Number of shards with fewer copies in sync than wanted, and than there are nodes for.
pub fn short_of_copies(topology: &Topology) -> usize {
    let copies = 1 + usize::from(topology.settings.replicas);
    let usable = topology.nodes.values().filter(|node| node.info.weight > 0).count();
    topology.shards.iter().filter(|shard| shard.in_sync.len() < copies.min(usable)).count()
}

/// How far a member's copies are behind the primaries on this node.
fn lag(node: &Node, topology: &Topology, member: ringfort_cluster::Member) -> u64 {
    let me = node.member();
    let follows =
        |(_, shard): &(_, &ringfort_cluster::Shard)| shard.primary == Some(me) && shard.is_in_sync(member);
    let behind = topology.shards().filter(follows).map(|(id, _)| {
        let shard = node.store.lock(id);
        let acked = shard.core.acked.iter().find(|acked| acked.0 == member);
        acked.map_or(0, |acked| shard.core.log.end().0.saturating_sub(acked.1.0))
    });
    behind.max().unwrap_or(0)
}
