//! What the cluster has agreed on, as one value that is replaced as a whole.
//!
//! Every node holds the newest [`Topology`] that it has applied. All decisions rest on it: where a request goes,
//! who may serve it, who copies what. It says nothing of keys, and nothing that changes more than some tens of times
//! a second: no beats, no offsets, no load. How one topology becomes the next is in [`crate::change`].

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use crate::ids::{ClusterId, Epoch, Incarnation, Member, NodeId, Offset, SLOTS, ShardId, Version};

/// How many beginnings of epochs a shard remembers. A copy from before the oldest one is made afresh.
pub const EPOCHS_REMEMBERED: usize = 8;

/// The agreed state of the whole cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Which cluster this is.
    pub cluster: ClusterId,
    /// Counts the changes since the cluster was founded; 0 only before the founding is applied.
    pub version: Version,
    /// What holds for all nodes.
    pub settings: Settings,
    /// Every node that was admitted and not removed, the dead ones included.
    pub nodes: BTreeMap<NodeId, Node>,
    /// The shards, by number.
    pub shards: Vec<Shard>,
}

/// Settings that all nodes share, fixed or changed by agreement only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Number of shards: a power of two, at most [`SLOTS`]; fixed when the cluster is founded.
    pub shards: u16,
    /// Copies of each shard beside its primary.
    pub replicas: u8,
    /// How long a promise about a node holds, in milliseconds.
    pub lease_ms: u32,
    /// How long a shard that lost all its copies waits for a holder to come back, in milliseconds.
    pub orphan_timeout_ms: u32,
    /// How long a dead node keeps its place before its copies are made anew elsewhere, in milliseconds.
    pub repair_after_ms: u32,
    /// The secret seed of the hash by which keys are ordered: the same on all nodes, so that a cursor of SCAN means
    /// the same everywhere.
    pub hash_seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            shards: 256,
            replicas: 1,
            lease_ms: 200,
            orphan_timeout_ms: 5_000,
            repair_after_ms: 10_000,
            hash_seed: 0,
        }
    }
}

impl Settings {
    /// The lease as a duration.
    pub fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms.into())
    }
}

/// What a node says of itself when it asks to be admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name for life.
    pub id: NodeId,
    /// Which of its lives speaks.
    pub incarnation: Incarnation,
    /// Where it is reached.
    pub address: Address,
    /// Failure domain; nodes of one zone are expected to fail together. Empty: a zone of its own.
    pub zone: String,
    /// Capacity relative to the other nodes; 0 holds no data (a witness).
    pub weight: u32,
}

impl NodeInfo {
    /// The life that speaks.
    pub fn member(&self) -> Member {
        Member { node: self.id, incarnation: self.incarnation }
    }
}

/// Host and ports of a node, as other nodes and clients reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// A name or an IP address; never empty.
    pub host: String,
    /// Any client, every key.
    pub client_port: u16,
    /// Cluster-aware clients.
    pub cluster_port: u16,
    /// HTTP: metrics and health.
    pub admin_port: u16,
    /// Other nodes: stream and datagrams.
    pub bus_port: u16,
}

/// A node as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it said of itself when it was last admitted.
    pub info: NodeInfo,
    /// Whether its newest incarnation is served by and voted for.
    pub state: NodeState,
    /// It takes no new shards, and hands over those that it has.
    pub draining: bool,
    /// This life of it is about to stop: it serves no shard that another node can serve, and keeps its copies.
    pub leaving: bool,
}

/// Whether a node takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Its newest incarnation is admitted and was not declared dead.
    Alive,
    /// Its newest incarnation was declared dead, or has left.
    Dead,
}

/// A shard: who serves it and who copies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Raised each time the primary changes.
    pub epoch: Epoch,
    /// Where the remembered epochs began in the log, oldest first; the last is that of `epoch`. Never empty.
    pub began: Vec<(Epoch, Offset)>,
    /// Who serves; nobody while the last primary is dead and the next one not yet chosen.
    pub primary: Option<Member>,
    /// The nodes that shall hold a copy, beside the primary's.
    pub replicas: Vec<NodeId>,
    /// The incarnations whose copies are complete and follow, the primary's included: the candidates for promotion.
    pub in_sync: Vec<Member>,
    /// To whom the primary shall hand over once that node is in sync.
    pub successor: Option<NodeId>,
    /// The version of the topology that last changed this shard: what a request about it must rest on.
    pub changed: Version,
}

impl Topology {
    /// The number of the shard that a slot belongs to.
    pub fn shard_of(&self, slot: u16) -> ShardId {
        ShardId(slot / self.slots_per_shard())
    }

    /// How many slots each shard has.
    pub fn slots_per_shard(&self) -> u16 {
        SLOTS / self.settings.shards
    }

    /// The slots of a shard.
    pub fn slots_of(&self, shard: ShardId) -> RangeInclusive<u16> {
        let width = self.slots_per_shard();
        shard.0 * width..=shard.0 * width + (width - 1)
    }

    /// A shard by its number.
    ///
    /// # Panics
    /// If there is no such shard; numbers come from [`Topology::shard_of`].
    pub fn shard(&self, shard: ShardId) -> &Shard {
        &self.shards[usize::from(shard.0)]
    }

    /// All shards with their numbers.
    pub fn shards(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        (0..).map(ShardId).zip(&self.shards)
    }

    /// A node's newest incarnation, if it is alive.
    pub fn alive(&self, node: &NodeId) -> Option<Member> {
        let node = self.nodes.get(node)?;
        (node.state == NodeState::Alive).then(|| node.info.member())
    }

    /// Whether this very incarnation is alive.
    pub fn is_alive(&self, member: Member) -> bool {
        self.alive(&member.node) == Some(member)
    }
}

impl Shard {
    /// The offset at which the current epoch began.
    pub fn began_at(&self) -> Offset {
        self.began.last().map_or(Offset(0), |began| began.1)
    }

    /// Whether this incarnation is in the in-sync set.
    pub fn is_in_sync(&self, member: Member) -> bool {
        self.in_sync.contains(&member)
    }

    /// Whether a node is the primary, or is to hold a copy.
    pub fn is_held_by(&self, node: &NodeId) -> bool {
        self.primary.is_some_and(|primary| primary.node == *node) || self.replicas.contains(node)
    }

    /// Whether a copy that holds the log of `epoch` up to `offset` can go on with the current epoch's log, or may hold
    /// bytes that the current history has not and must be made afresh.
    pub fn continues(&self, epoch: Epoch, offset: Offset) -> bool {
        let Some(known) = self.began.iter().position(|began| began.0 == epoch) else {
            return false;
        };
        let from = self.began[known].1;
        // The log of `epoch` is ours only up to where the next epoch began.
        let until = self.began.get(known + 1).map_or(Offset(u64::MAX), |next| next.1);
        (from..=until).contains(&offset)
    }
}
