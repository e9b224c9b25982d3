//! What a primary asks of the council for its shards: who is in sync, and to whom a shard is handed over.
//!
//! *In sync* (in `async` mode) is a replica that has acknowledged, within the last second, all that was in the log a
//! second before; it falls out when it has not. *A planned switch*: when the successor that the planner has named is
//! in sync and close behind, the primary seals the shard, waits until the successor has acknowledged the last offset,
//! and asks for the new epoch. It unseals only when a topology has settled the matter; if that takes too long, it asks
//! the council to take the plan back, which competes with the switch on the same version. *A primary that cannot lead*,
//! since it has not the log with which its epoch began, says so, and another one is looked for.

use std::collections::BTreeMap;

use ringfort_cluster::{Member, Offset, ShardChange, ShardId, Step, Topology, Version};

use crate::{
    node::Node,
    store::{Core, Role},
};

/// A replica that has not acknowledged for so long what there was to acknowledge is not in sync.
const LAG_LIMIT_NS: u64 = 1_000_000_000;

/// A request is repeated after so long if nothing has come of it; at once if the shard has changed by something else,
/// since then it was refused.
const ASK_AGAIN_NS: u64 = 150_000_000;

/// A seal that is not settled after so long is to be taken back.
const SEAL_LIMIT_NS: u64 = 500_000_000;

/// A successor so many bytes behind is close enough to seal.
const CLOSE: u64 = 256 << 10;

/// Shards of a node that may be sealed at a time: each keeps its requests waiting.
const SEALED_AT_ONCE: usize = 32;

/// A primary's dealings with the council.
#[derive(Debug, Default)]
pub struct Handoff {
    behind: BTreeMap<(ShardId, Member), Lag>,
    /// Requests that were made: when, and on which change of the shard they rested.
    asked: BTreeMap<(ShardId, Ask), (u64, Version)>,
    /// Sealed shards: where, and since when.
    sealed: BTreeMap<ShardId, (Offset, u64)>,
}

/// What a replica has to reach.
#[derive(Debug)]
struct Lag {
    /// Since when it has been behind.
    since: u64,
    /// The end of the log at that time.
    goal: Offset,
    /// The log of this node tells of it.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Ask {
    Join(Member),
    Leave(Member),
    Switch,
    Abort,
    Resign,
}

impl Handoff {
    /// Looks at all shards that this node is primary of. Returns the steps to ask for now.
    pub fn look(&mut self, node: &Node, topology: &Topology, now: u64) -> Vec<ShardChange> {
        let me = node.member();
        self.asked.retain(|(id, _), (at, on)| now < *at + ASK_AGAIN_NS && topology.shard(*id).changed == *on);
        let mut steps = Vec::new();
        let mut left_behind: BTreeMap<Member, usize> = BTreeMap::new();
        let mut ask = |asked: &mut BTreeMap<_, _>, shard: ShardId, what: Ask, step: Step| {
            if let std::collections::btree_map::Entry::Vacant(vacant) = asked.entry((shard, what)) {
                vacant.insert((now, topology.shard(shard).changed));
                steps.push(ShardChange { shard, based_on: topology.version, step });
            }
        };
        let primary = |(_, shard): &(ShardId, &ringfort_cluster::Shard)| shard.primary == Some(me);
        let mine: Vec<_> = topology.shards().filter(primary).collect();
        let is_mine = |id: &ShardId| topology.shard(*id).primary == Some(me);
        self.behind.retain(|(id, _), _| is_mine(id));
        self.sealed.retain(|id, _| is_mine(id));
        for (id, agreed) in mine {
            let mut guard = node.store.lock(id);
            let core = &mut guard.core;
            if core.epoch != agreed.epoch || !matches!(core.role, Role::Primary | Role::Sealed) {
                self.sealed.remove(&id);
                // It had the topology that made it primary, and did not take the role.
                if core.epoch <= agreed.epoch && core.adopted == topology.version {
                    ask(&mut self.asked, id, Ask::Resign, Step::Resign(me));
                }
                continue;
            }
            if core.role == Role::Primary {
                self.sealed.remove(&id);
            }
            for replica in agreed.replicas.iter().filter_map(|replica| topology.alive(replica)) {
                let follows = self.follows(id, core, replica, now);
                match (follows, agreed.is_in_sync(replica)) {
                    (Some(true), false) => {
                        ask(&mut self.asked, id, Ask::Join(replica), Step::JoinInSync(replica))
                    }
                    (Some(false), true) => {
                        if self.is_news(id, replica) {
                            *left_behind.entry(replica).or_default() += 1;
                        }
                        ask(&mut self.asked, id, Ask::Leave(replica), Step::LeaveInSync(replica));
                    }
                    _ => {}
                }
            }
            if let Some((at, since)) = self.sealed.get(&id).copied() {
                let to = agreed.successor.and_then(|to| topology.alive(&to));
                if let Some(to) = to
                    && acked(core, to) == Some(at)
                {
                    ask(&mut self.asked, id, Ask::Switch, Step::Switch { to, at });
                }
                if now > since + SEAL_LIMIT_NS {
                    let step = Step::Place { replicas: agreed.replicas.clone(), successor: None };
                    ask(&mut self.asked, id, Ask::Abort, step);
                }
                continue;
            }
            let successor = agreed.successor.and_then(|to| topology.alive(&to));
            if let Some(to) = successor
                && core.role == Role::Primary
                && agreed.is_in_sync(to)
                && acked(core, to).is_some_and(|acked| acked.0 + CLOSE >= core.log.end().0)
                && self.sealed.len() < SEALED_AT_ONCE
                && core.adopted <= topology.version
                && core.copies.0.iter().all(|copy| copy.to != to)
            {
                core.role = Role::Sealed;
                core.sealed_at = topology.version;
                self.sealed.insert(id, (core.log.end(), now));
                if acked(core, to) == Some(core.log.end()) {
                    let at = core.log.end();
                    ask(&mut self.asked, id, Ask::Switch, Step::Switch { to, at });
                }
            }
        }
        for (replica, shards) in left_behind {
            tracing::info!(%replica, shards, "a replica has fallen behind; it is not in sync until it has caught up");
        }
        steps
    }

    /// Whether shards are sealed and wait for acknowledgements: then [`Handoff::look`] is due at each of them.
    pub fn is_sealing(&self) -> bool {
        !self.sealed.is_empty()
    }

    /// Whether a replica keeps up: `None` where that is not yet clear.
    fn follows(&mut self, id: ShardId, core: &Core, replica: Member, now: u64) -> Option<bool> {
        let have = acked(core, replica);
        let end = core.log.end();
        if have == Some(end) {
            self.behind.remove(&(id, replica));
            return Some(true);
        }
        let new = || Lag { since: now, goal: end, told: false };
        let lag = self.behind.entry((id, replica)).or_insert_with(new);
        if have.is_some_and(|have| have >= lag.goal) {
            // It has reached what there was; what has come since is the next goal.
            *lag = new();
            return Some(true);
        }
        (now > lag.since + LAG_LIMIT_NS).then_some(false)
    }

    /// Whether it was not told yet that this replica is behind: until the council agrees, it is seen again and again.
    fn is_news(&mut self, id: ShardId, replica: Member) -> bool {
        self.behind.get_mut(&(id, replica)).is_some_and(|lag| !std::mem::replace(&mut lag.told, true))
    }
}

fn acked(core: &Core, replica: Member) -> Option<Offset> {
    core.acked.iter().find(|acked| acked.0 == replica).map(|acked| acked.1)
}

#[cfg(test)]
mod tests {
    use ringfort_cluster::{Change, Epoch, NodeId};

    use super::*;
    use crate::{node::testing, replication::roles};

    const SHARD: ShardId = ShardId(0);

    /// What the node asks for now.
    fn asks(node: &Node) -> Vec<Step> {
        let topology = node.topology.load_full();
        let steps = Handoff::default().look(node, &topology, node.clock.boot());
        steps.into_iter().map(|change| change.step).collect()
    }

    fn apply(topology: &mut Topology, step: Step) {
        let change = ShardChange { shard: SHARD, based_on: topology.version, step };
        assert_eq!(topology.apply(&Change::Shards(vec![change])).unwrap().refused, []);
    }

    #[test]
    fn what_another_change_of_the_shard_has_forestalled_is_asked_for_again_at_once() {
        let node = testing::node();
        let other = testing::info(2).member();
        let mut topology = testing::topology();
        topology.apply(&Change::Admit(testing::info(2))).unwrap();
        topology.apply(&Change::Admit(testing::info(3))).unwrap();
        let place = |successor| Step::Place { replicas: vec![other.node], successor };
        apply(&mut topology, place(None));
        testing::adopt(&node, topology.clone());
        let end = node.store.lock(SHARD).core.log.end();
        node.store.lock(SHARD).core.acked.push((other, end));
        let mut handoff = Handoff::default();
        let mut asks = |topology: &Topology| {
            let steps = handoff.look(&node, topology, node.clock.boot());
            steps.into_iter().map(|change| change.step).collect::<Vec<_>>()
        };
        assert_eq!(asks(&topology), [Step::JoinInSync(other)]);
        assert_eq!(asks(&topology), [], "it is under way");
        // Elsewhere: it is under way still.
        topology.apply(&Change::Drain { node: NodeId([3; 20]), draining: true }).unwrap();
        assert_eq!(asks(&topology), []);
        apply(&mut topology, place(Some(other.node)));
        assert_eq!(asks(&topology), [Step::JoinInSync(other)]);
    }

    #[test]
    fn a_primary_that_has_not_the_log_of_its_epoch_resigns() {
        let node = testing::node();
        assert_eq!(asks(&node), []);
        let (me, other) = (node.member(), testing::info(2).member());
        let mut topology = testing::topology();
        topology.apply(&Change::Admit(testing::info(2))).unwrap();
        apply(&mut topology, Step::Place { replicas: vec![NodeId([2; 20])], successor: None });
        apply(&mut topology, Step::JoinInSync(other));
        apply(&mut topology, Step::Switch { to: other, at: Offset(0) });
        testing::adopt(&node, topology.clone());
        // The other wrote, and this node, in sync by the topology, has nothing of it.
        apply(&mut topology, Step::Switch { to: me, at: Offset(90) });
        testing::adopt(&node, topology.clone());
        assert_eq!(asks(&node), [Step::Resign(me)]);

        // What it has is told to the leader; where that is the most that is left, it leads with it.
        apply(&mut topology, Step::Resign(me));
        testing::adopt(&node, topology.clone());
        assert_eq!(asks(&node), []);
        let (_, at) = roles::seal(&node, SHARD, Epoch(3)).unwrap();
        assert_eq!(at, Offset(0));
        topology.apply(&Change::End { member: other, by: ringfort_cluster::Verdict::Itself }).unwrap();
        apply(&mut topology, Step::Promote { to: me, at, in_sync: Vec::new() });
        testing::adopt(&node, topology);
        assert_eq!(node.store.lock(SHARD).core.role, Role::Primary);
        assert_eq!(asks(&node), []);
    }
}
