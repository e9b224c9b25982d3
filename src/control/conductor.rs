//! The leader's duties: new primaries for orphaned shards, and the steps that lead to the wanted placement.
//!
//! Only the council's leader conducts, and it decides nothing alone: all it does is ask candidates for their offsets
//! and propose. A leader that is one no more has its proposals refused, or finds them settled by another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use ringfort_cluster::{
    Change, Epoch, Member, NodeId, NodeState, Offset, Shard, ShardChange, ShardId, Step, Topology,
    council::Council,
    placement::{Placement, place},
    planner::{Limits, next_steps},
};

use super::transport::{self, Ask, Calls};
use crate::{node::Node, replication::roles};

/// How long a candidate may take to tell its offsets.
const SEAL_LIMIT: Duration = Duration::from_millis(150);

/// Steps in one proposal: far below its limit in bytes.
pub const STEPS_AT_ONCE: usize = 512;

/// What holders have told: of each copy that is complete, its epoch and how far its log reaches.
type Told = BTreeMap<(ShardId, NodeId), Option<(Epoch, Offset)>>;

/// The conductor of one node; it works while the node leads.
pub struct Conductor {
    node: Arc<Node>,
    council: Arc<Council>,
    calls: Calls,
    /// Since when each dead node is dead, as this leader saw it.
    dead_since: BTreeMap<NodeId, u64>,
    /// Since when each shard has no candidate.
    orphaned_since: BTreeMap<ShardId, u64>,
}

impl Conductor {
    /// A conductor that has not seen anything yet.
    pub fn new(node: Arc<Node>, council: Arc<Council>, calls: Calls) -> Self {
        let (dead_since, orphaned_since) = Default::default();
        Self { node, council, calls, dead_since, orphaned_since }
    }

    /// Does what is to be done now. Returns whether the topology has changed by it.
    pub async fn turn(&mut self) -> bool {
        if !self.council.is_leader() {
            self.dead_since.clear();
            self.orphaned_since.clear();
            return false;
        }
        let topology = self.council.topology().load_full();
        if !topology.is_founded() {
            return false;
        }
        let now = self.node.clock.boot();
        let promotions = self.promotions(&topology, now).await;
        if self.propose(promotions).await {
            return true;
        }
        let gone = self.gone(&topology, now);
        if let Err(error) = self.council.reconcile(&gone).await {
            tracing::debug!(%error, "the council could not be brought in line with the topology");
        }
        let steps = self.placement(&topology, &gone);
        self.propose(steps).await
    }

    async fn propose(&self, steps: Vec<ShardChange>) -> bool {
        let mut changed = false;
        for batch in steps.chunks(STEPS_AT_ONCE) {
            match self.council.propose(Change::Shards(batch.to_vec())).await {
                Ok(outcome) => changed |= outcome.refused.len() < batch.len(),
                Err(error) => tracing::debug!(%error, "steps were not taken; they will be looked at again"),
            }
        }
        changed
    }

    /// The dead nodes whose grace is over: they are not expected back.
    fn gone(&mut self, topology: &Topology, now: u64) -> BTreeSet<NodeId> {
        let dead = |id: &NodeId| topology.nodes.get(id).is_some_and(|node| node.state == NodeState::Dead);
        self.dead_since.retain(|id, _| dead(id));
        for id in topology.nodes.keys().filter(|id| dead(id)) {
            self.dead_since.entry(*id).or_insert(now);
        }
        let grace = u64::from(topology.settings.repair_after_ms) * 1_000_000;
        let over = |(id, since): (&NodeId, &u64)| (now > since + grace).then_some(*id);
        self.dead_since.iter().filter_map(over).collect()
    }

    /// The steps towards the wanted placement, and the handing over of nodes that are about to stop.
    fn placement(&self, topology: &Topology, gone: &BTreeSet<NodeId>) -> Vec<ShardChange> {
        let leaving = |id: &NodeId| topology.nodes.get(id).is_some_and(|node| node.leaving);
        let wanted = place(topology, gone);
        let mut steps = next_steps(topology, &wanted, &Limits::default());
        // What is wanted holds for when it is back.
        steps.retain(|change| {
            let from = topology.shard(change.shard).primary;
            !from.is_some_and(|from| leaving(&from.node))
        });
        for (shard, agreed) in topology.shards() {
            let Some(primary) = agreed.primary.filter(|primary| leaving(&primary.node)) else { continue };
            let other = |member: &&Member| {
                **member != primary && topology.is_alive(**member) && !leaving(&member.node)
            };
            let successor = agreed.in_sync.iter().find(other).map(|member| member.node);
            if successor.is_some() && agreed.successor != successor {
                let step = Step::Place { replicas: agreed.replicas.clone(), successor };
                steps.push(ShardChange { shard, based_on: topology.version, step });
            }
        }
        steps
    }

    /// New primaries for shards that have none.
    async fn promotions(&mut self, topology: &Topology, now: u64) -> Vec<ShardChange> {
        let orphans: Vec<(ShardId, &Shard)> =
            topology.shards().filter(|(_, shard)| shard.primary.is_none()).collect();
        self.orphaned_since.retain(|id, _| orphans.iter().any(|(orphan, _)| orphan == id));
        if orphans.is_empty() {
            return Vec::new();
        }
        let told = self.ask_holders(topology, &orphans).await;
        let wanted = place(topology, &BTreeSet::new());
        let mut steps = Vec::new();
        let mut empty = 0;
        for (id, shard) in orphans {
            let holders: Vec<Member> =
                shard.replicas.iter().filter_map(|node| topology.alive(node)).collect();
            let has_told = |node: &NodeId| told.contains_key(&(id, *node));
            let copy = |member: &Member| copy(&told, id, member);
            let best = |among: &mut dyn Iterator<Item = Member>| {
                among.filter_map(|member| Some((copy(&member)?, member))).max()
            };
            let sealed: Vec<Member> =
                shard.in_sync.iter().copied().filter(|member| reaches(&told, id, shard, member)).collect();
            // One in sync that lives but has not answered: it is asked again, for nothing else has all that it has.
            let silent = shard.in_sync.iter().any(|member| !has_told(&member.node));
            let in_sync = best(&mut sealed.iter().copied());
            let step = if let Some(((_, at), to)) = in_sync {
                Some(Step::Promote { to, at, in_sync: sealed })
            } else if silent {
                None
            } else if let Some(((epoch, at), to)) = best(&mut holders.iter().copied()) {
                tracing::warn!(shard = %id, %to, %epoch, offset = %at,
                    "no copy in sync is left of a shard; the most advanced one takes over");
                Some(Step::Promote { to, at, in_sync: Vec::new() })
            } else {
                let all_known = shard.replicas.iter().all(has_told);
                let since = *self.orphaned_since.entry(id).or_insert(now);
                let patience = u64::from(topology.settings.orphan_timeout_ms) * 1_000_000;
                let waited = all_known || now > since + patience;
                let on = waited.then(|| heir(topology, shard, &wanted[usize::from(id.0)])).flatten();
                if let Some(on) = on {
                    tracing::debug!(shard = %id, %on, "no copy of a shard is left; it starts empty");
                    empty += 1;
                }
                on.map(|on| Step::StartEmpty { on })
            };
            steps.extend(step.map(|step| ShardChange { shard: id, based_on: topology.version, step }));
        }
        if empty > 0 {
            tracing::warn!(shards = empty, "no copy of these shards is left; they start empty");
        }
        steps
    }

    /// Asks living holders of copies to seal and to tell: those in sync, and the others of shards of which none of these
    /// has a copy. Who is not needed is not waited for: a node that has just come back may be long in answering.
    async fn ask_holders(&self, topology: &Topology, orphans: &[(ShardId, &Shard)]) -> Told {
        let mut told = Told::new();
        let is_in_sync = |shard: &Shard, member: Member| shard.is_in_sync(member);
        self.ask(topology, orphans, is_in_sync, &mut told).await;
        let mut left = orphans.to_vec();
        left.retain(|(id, shard)| !shard.in_sync.iter().any(|member| reaches(&told, *id, shard, member)));
        self.ask(topology, &left, |shard, member| !shard.is_in_sync(member), &mut told).await;
        told
    }

    /// Asks the living holders of copies for whom `whom` is true, all at once.
    async fn ask(
        &self,
        topology: &Topology,
        orphans: &[(ShardId, &Shard)],
        whom: impl Fn(&Shard, Member) -> bool,
        told: &mut Told,
    ) {
        let mut asks: BTreeMap<NodeId, Vec<(ShardId, Epoch)>> = BTreeMap::new();
        for (id, shard) in orphans {
            let alive = shard.replicas.iter().filter_map(|node| topology.alive(node));
            for member in alive.filter(|member| whom(shard, *member)) {
                asks.entry(member.node).or_default().push((*id, shard.epoch));
            }
        }
        let answers = join_all(asks.into_iter().map(|(id, ask)| async move {
            if id == self.node.id {
                let seal =
                    |(shard, epoch): &(ShardId, Epoch)| (*shard, roles::seal(&self.node, *shard, *epoch));
                return Some((id, ask.iter().map(seal).collect::<Vec<_>>()));
            }
            let address = &topology.nodes.get(&id)?.info.address;
            match self.calls.ask(Some(id), address, &Ask::Seal(ask), SEAL_LIMIT).await {
                Ok(transport::Told::Sealed(copies)) => Some((id, copies)),
                Ok(transport::Told::Council(_)) => None,
                Err(error) => {
                    tracing::debug!(node = %id, %error, "a candidate did not tell what it has");
                    self.calls.forget(address);
                    None
                }
            }
        }));
        for (node, copies) in answers.await.into_iter().flatten() {
            told.extend(copies.into_iter().map(|(shard, copy)| ((shard, node), copy)));
        }
    }
}

/// The complete copy that a member has told of.
fn copy(told: &Told, id: ShardId, member: &Member) -> Option<(Epoch, Offset)> {
    told.get(&(id, member.node)).copied().flatten()
}

/// Whether a member has told of a copy that has all that was written before the shard's last epoch.
fn reaches(told: &Told, id: ShardId, shard: &Shard, member: &Member) -> bool {
    copy(told, id, member).is_some_and(|(_, offset)| offset >= shard.began_at())
}

/// On whom a shard starts empty: where it is wanted, else on any node that may hold data.
fn heir(topology: &Topology, shard: &Shard, wanted: &Placement) -> Option<Member> {
    let preferred = wanted.primary.iter().chain(&shard.replicas).chain(&wanted.replicas);
    let mut others = topology.nodes.values().filter(|node| node.info.weight > 0).map(|node| &node.info.id);
    preferred.clone().find_map(|id| topology.alive(id)).or_else(|| others.find_map(|id| topology.alive(id)))
}
