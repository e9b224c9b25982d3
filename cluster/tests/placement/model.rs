//! A cluster without its machines: a topology, and the part that primaries and failover play in changing it.

use std::collections::BTreeSet;

use ringfort_cluster::{
    Address, Change, ClusterId, Incarnation, Limits, Member, NodeId, NodeInfo, NodeState, Offset, Placement,
    Settings, Shard, ShardChange, ShardId, Step, Topology, Verdict, next_steps, place, progress,
};

/// Weight and zone of a node.
pub(crate) type Kind = (u32, String);

/// A node of weight 1 that is a zone of its own.
pub(crate) fn plain() -> Kind {
    (1, String::new())
}

/// The name of the n-th node: in no particular order.
pub(crate) fn id(number: usize) -> NodeId {
    let mut id = NodeId([number as u8; 20]);
    let scattered = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    id.0[..8].copy_from_slice(&scattered.to_be_bytes());
    id
}

pub(crate) struct Cluster {
    pub(crate) topology: Topology,
    pub(crate) gone: BTreeSet<NodeId>,
    nodes: usize,
}

impl Cluster {
    /// All shards lie on the first of these nodes; the others have nothing yet.
    pub(crate) fn founded(shards: u16, replicas: u8, nodes: &[Kind]) -> Self {
        let mut cluster = Self { topology: Topology::unfounded(), gone: BTreeSet::new(), nodes: 1 };
        let settings = Settings { shards, replicas, ..Settings::default() };
        cluster.apply(Change::Found { cluster: ClusterId([9; 20]), settings, first: info(0, 1, &nodes[0]) });
        for kind in &nodes[1..] {
            cluster.add(kind);
        }
        cluster
    }

    /// The same, and all copies lie where they are wanted.
    pub(crate) fn settled(shards: u16, replicas: u8, nodes: &[Kind]) -> Self {
        let mut cluster = Self::founded(shards, replicas, nodes);
        cluster.adopt(&cluster.plan());
        cluster
    }

    pub(crate) fn add(&mut self, kind: &Kind) -> NodeId {
        self.apply(Change::Admit(info(self.nodes, 1, kind)));
        self.nodes += 1;
        id(self.nodes - 1)
    }

    pub(crate) fn drain(&mut self, node: NodeId, draining: bool) {
        self.apply(Change::Drain { node, draining });
    }

    /// The node says that it is about to stop.
    pub(crate) fn leave(&mut self, node: NodeId) {
        let member = self.topology.nodes[&node].info.member();
        self.apply(Change::Leave(member));
    }

    /// The node dies, and what is left in sync takes over; without that, `heir` starts the shard empty.
    pub(crate) fn kill(&mut self, node: NodeId, heir: NodeId) {
        let member = self.topology.nodes[&node].info.member();
        self.apply(Change::End { member, by: Verdict::Itself });
        let heir = self.topology.nodes[&heir].info.member();
        self.steps(|_, shard| {
            if shard.primary.is_some() {
                return None;
            }
            let at = shard.began_at();
            Some(match shard.in_sync.first() {
                Some(to) => Step::Promote { to: *to, at, in_sync: shard.in_sync.clone() },
                None => Step::StartEmpty { on: heir },
            })
        });
    }

    pub(crate) fn restart(&mut self, node: NodeId) {
        let mut info = self.topology.nodes[&node].info.clone();
        info.incarnation = info.incarnation.next();
        self.apply(Change::Admit(info));
        self.gone.remove(&node);
    }

    pub(crate) fn alive(&self) -> Vec<NodeId> {
        let nodes = self.topology.nodes.iter();
        nodes.filter(|(_, node)| node.state == NodeState::Alive).map(|(id, _)| *id).collect()
    }

    pub(crate) fn plan(&self) -> Vec<Placement> {
        place(&self.topology, &self.gone)
    }

    /// Proposes what the planner wants now. Returns how many steps that were.
    pub(crate) fn propose(&mut self, wanted: &[Placement], limits: &Limits) -> usize {
        let steps = next_steps(&self.topology, wanted, limits);
        let count = steps.len();
        if count > 0 {
            self.apply_steps(steps);
        }
        count
    }

    /// Each primary takes in one copy of those that `complete` says are complete, or hands over to its successor if
    /// that is in sync. Returns how many copies were completed.
    pub(crate) fn serve(&mut self, complete: impl Fn(ShardId, NodeId) -> bool) -> usize {
        let topology = self.topology.clone();
        let joined = self.steps(|id, shard| {
            shard.primary?;
            let alive = shard.replicas.iter().filter_map(|node| topology.alive(node));
            alive
                .filter(|member| !shard.is_in_sync(*member) && complete(id, member.node))
                .map(Step::JoinInSync)
                .next()
        });
        self.steps(|_, shard| {
            let to = topology.alive(&shard.successor?)?;
            shard.is_in_sync(to).then(|| Step::Switch { to, at: Offset(shard.began_at().0 + 1) })
        });
        joined
    }

    /// Makes the topology what a plan wants, at once.
    pub(crate) fn adopt(&mut self, wanted: &[Placement]) {
        let member = |node: NodeId| self.topology.nodes[&node].info.member();
        let members: Vec<Vec<Member>> =
            wanted.iter().map(|want| want.nodes().map(member).collect()).collect();
        for ((shard, wanted), members) in self.topology.shards.iter_mut().zip(wanted).zip(members) {
            shard.primary = members.first().copied();
            shard.replicas.clone_from(&wanted.replicas);
            shard.in_sync = members;
            shard.successor = None;
        }
    }

    /// Copies that a plan makes anew.
    pub(crate) fn moves(&self, wanted: &[Placement]) -> usize {
        let shards = self.topology.shards.iter().zip(wanted);
        shards.map(|(shard, wanted)| wanted.nodes().filter(|node| !holds(shard, node)).count()).sum()
    }

    /// Whether the topology is what is wanted, and the planner has nothing more to propose.
    pub(crate) fn has_arrived(&self, wanted: &[Placement]) -> bool {
        let same = self.topology.shards.iter().zip(wanted).all(|(shard, wanted)| {
            let replicas: BTreeSet<_> = shard.replicas.iter().collect();
            shard.primary.map(|member| member.node) == wanted.primary
                && replicas == wanted.replicas.iter().collect()
                && shard.in_sync.len() == 1 + replicas.len()
        });
        let idle = next_steps(&self.topology, wanted, &Limits::default()).is_empty();
        let done = progress(&self.topology, wanted).is_done();
        assert_eq!(same, done, "progress tells the truth");
        assert!(idle || !done, "nothing is proposed where nothing is to do");
        done
    }

    fn steps(&mut self, of: impl Fn(ShardId, &Shard) -> Option<Step>) -> usize {
        let based_on = self.topology.version;
        let steps: Vec<_> = self
            .topology
            .shards()
            .filter_map(|(shard, now)| of(shard, now).map(|step| ShardChange { shard, based_on, step }))
            .collect();
        let count = steps.len();
        if count > 0 {
            self.apply_steps(steps);
        }
        count
    }

    fn apply_steps(&mut self, steps: Vec<ShardChange>) {
        let outcome = self.topology.apply(&Change::Shards(steps)).expect("a batch is never refused");
        assert_eq!(outcome.refused, []);
    }

    fn apply(&mut self, change: Change) {
        self.topology.apply(&change).expect("tests ask for what is possible");
    }
}

pub(crate) fn holds(shard: &Shard, node: &NodeId) -> bool {
    shard.primary.is_some_and(|member| member.node == *node) || shard.replicas.contains(node)
}

fn info(number: usize, incarnation: u64, (weight, zone): &Kind) -> NodeInfo {
    NodeInfo {
        id: id(number),
        incarnation: Incarnation(incarnation),
        address: Address {
            host: "127.0.0.1".into(),
            client_port: 6379,
            cluster_port: 7379,
            admin_port: 8379,
            bus_port: 16379,
        },
        zone: zone.clone(),
        weight: *weight,
    }
}
