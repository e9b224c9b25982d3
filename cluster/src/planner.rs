//! The way from the topology that is to the placement that is wanted: which steps to propose now.
//!
//! The planner proposes [`Step::Place`] only. The primaries do the rest: they copy to new replicas, propose
//! [`Step::JoinInSync`] when a copy follows, and [`Step::Switch`] to the successor once that is in sync. The planner
//! then looks at the newer topology and proposes what comes next. Nothing is remembered from one time to the next, so
//! a new leader goes on where the last one was cut off, and a plan may change at any time.
//!
//! A move is make before break: a wanted copy is added first, and nothing in sync is given up before all wanted copies
//! are in sync. So a plan never lowers the number of copies that could be promoted, but for copies that are not wanted
//! at all. A dead node that is wanted counts as not in sync until it is back; a dead node that is not wanted keeps
//! its place until all wanted copies are in sync, since what it has on disk or in memory may be the last copy if the
//! others die meanwhile. Only an unfinished copy that is not wanted any more is given up at once: it protects
//! nothing, and would hold one of the few places for copies in progress for as long as it does not finish.

use std::collections::BTreeMap;

use crate::{
    change::{ShardChange, Step},
    ids::{NodeId, ShardId},
    placement::Placement,
    topology::{Shard, Topology},
};

/// Copies in progress per node, to it and from it, unless set otherwise.
pub const COPIES_PER_NODE: usize = 8;

/// Steps proposed at a time, unless set otherwise.
pub const STEPS: usize = 256;

/// How much may happen at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// No copy is begun that would give its source more copies in progress than this, or its target. Copies that are
    /// in progress for other reasons (a node that came back) count, and may exceed it.
    pub copies_per_node: usize,
    /// No more steps are proposed at once.
    pub steps: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { copies_per_node: COPIES_PER_NODE, steps: STEPS }
    }
}

/// The steps to propose now, those first whose shards have the fewest copies; none if there is nothing to do but wait.
///
/// A shard without a primary is left alone, since failover decides on it, and so is one of which nothing is wanted,
/// or a node that this topology does not know.
pub fn next_steps(topology: &Topology, wanted: &[Placement], limits: &Limits) -> Vec<ShardChange> {
    let mut plans: Vec<Plan> = topology
        .shards()
        .zip(wanted)
        .filter_map(|((id, shard), wanted)| Plan::new(topology, id, shard, wanted))
        .collect();
    let mut places = Places::new(limits.copies_per_node);
    for plan in &plans {
        for target in plan.in_progress() {
            places.take(plan.source, target);
        }
    }
    plans.sort_by_key(|plan| (plan.shard.in_sync.len(), plan.id));
    for plan in &mut plans {
        plan.join(&mut places);
    }
    plans.iter().filter_map(Plan::step).take(limits.steps).collect()
}

/// What is to happen to one shard.
struct Plan<'a> {
    topology: &'a Topology,
    id: ShardId,
    shard: &'a Shard,
    wanted: &'a Placement,
    /// The primary's node: where copies come from.
    source: NodeId,
    /// The replicas that it shall have next.
    replicas: Vec<NodeId>,
}

impl<'a> Plan<'a> {
    /// Keeps what must be kept, and adds nothing yet.
    fn new(topology: &'a Topology, id: ShardId, shard: &'a Shard, wanted: &'a Placement) -> Option<Self> {
        let source = shard.primary?.node;
        wanted.primary?;
        if !wanted.nodes().all(|node| topology.nodes.contains_key(&node)) {
            return None;
        }
        let settled = wanted.nodes().all(|node| has_in_sync(shard, &node));
        let mut replicas = shard.replicas.clone();
        replicas.retain(|node| wanted.contains(node) || (!settled && !is_in_progress(topology, shard, node)));
        Some(Self { topology, id, shard, wanted, source, replicas })
    }

    fn in_progress(&self) -> impl Iterator<Item = NodeId> {
        let replicas = self.replicas.iter().copied();
        replicas.filter(|node| is_in_progress(self.topology, self.shard, node))
    }

    /// Adds the wanted nodes that are missing, as far as there are places.
    fn join(&mut self, places: &mut Places) {
        for node in self.wanted.nodes() {
            let missing = node != self.source && !self.replicas.contains(&node);
            if missing && self.topology.alive(&node).is_some() && places.are_free(self.source, node) {
                places.take(self.source, node);
                self.replicas.push(node);
            }
        }
    }

    fn successor(&self) -> Option<NodeId> {
        let is_replica = |node: &NodeId| self.replicas.contains(node);
        let is_alive = |node: &NodeId| self.topology.alive(node).is_some();
        self.wanted.primary.filter(is_replica).filter(is_alive)
    }

    /// The step, if it would change anything; the order of replicas means nothing.
    fn step(&self) -> Option<ShardChange> {
        let (replicas, successor) = (&self.replicas, self.successor());
        let same = replicas.len() == self.shard.replicas.len()
            && replicas.iter().all(|node| self.shard.replicas.contains(node));
        if same && successor == self.shard.successor {
            return None;
        }
        Some(ShardChange {
            shard: self.id,
            based_on: self.topology.version,
            step: Step::Place { replicas: replicas.clone(), successor },
        })
    }
}

fn has_in_sync(shard: &Shard, node: &NodeId) -> bool {
    shard.in_sync.iter().any(|member| member.node == *node)
}

/// Whether a replica is alive and its copy not yet complete.
fn is_in_progress(topology: &Topology, shard: &Shard, node: &NodeId) -> bool {
    topology.alive(node).is_some() && !has_in_sync(shard, node)
}

/// The copies in progress of each node.
struct Places {
    limit: usize,
    from: BTreeMap<NodeId, usize>,
    to: BTreeMap<NodeId, usize>,
}

impl Places {
    fn new(limit: usize) -> Self {
        Self { limit, from: BTreeMap::new(), to: BTreeMap::new() }
    }

    fn are_free(&self, source: NodeId, target: NodeId) -> bool {
        let below = |taken: Option<&usize>| taken.copied().unwrap_or(0) < self.limit;
        below(self.from.get(&source)) && below(self.to.get(&target))
    }

    fn take(&mut self, source: NodeId, target: NodeId) {
        *self.from.entry(source).or_default() += 1;
        *self.to.entry(target).or_default() += 1;
    }
}

/// How far the cluster is from a wanted placement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Wanted copies that are not in sync yet, begun or not: what takes the time.
    pub moves_left: usize,
    /// Copies that are being made, wanted or not.
    pub copies_in_progress: usize,
    /// Shards that are served by another node than the wanted one.
    pub switches_left: usize,
    /// Copies that are still to be given up.
    pub drops_left: usize,
    /// Shards that nobody serves.
    pub without_primary: usize,
}

impl Progress {
    /// Whether the wanted placement is reached.
    pub fn is_done(&self) -> bool {
        *self == Self::default()
    }
}

/// Compares the topology with a wanted placement. Shards of which nothing is wanted count only if nobody serves them.
pub fn progress(topology: &Topology, wanted: &[Placement]) -> Progress {
    let mut progress = Progress::default();
    for (shard, wanted) in topology.shards.iter().zip(wanted) {
        let primary = shard.primary.map(|member| member.node);
        progress.without_primary += usize::from(primary.is_none());
        let being_made = |node: &&NodeId| is_in_progress(topology, shard, node);
        progress.copies_in_progress += shard.replicas.iter().filter(being_made).count();
        if wanted.primary.is_none() {
            continue;
        }
        progress.moves_left += wanted.nodes().filter(|node| !has_in_sync(shard, node)).count();
        progress.switches_left += usize::from(primary.is_some() && primary != wanted.primary);
        let holders = primary.iter().chain(&shard.replicas);
        progress.drops_left += holders.filter(|node| !wanted.contains(node)).count();
    }
    progress
}
