//! The leader's housekeeping: Raft's membership follows the topology.
//!
//! Every node of the topology learns the log; of these, [`choose`] says who votes; a node that the topology has
//! forgotten is dropped. Each step is a change of Raft's membership by itself and may fail or be repeated: the next
//! call goes on from what it finds.
//!
//! A leader that is not to vote any more hands the leadership over first, and its successor takes the step: so whoever
//! proposes something never asks a leader that is on its way out, and a node that is removed leads nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{AsyncRuntime, ChangeMembers, RaftMetrics, async_runtime::WatchReceiver};

use super::{
    Council, ENTRIES_KEPT,
    choice::{Standing, choose},
    propose::{PROPOSE_LIMIT, ProposeError, not_written},
    types::{Peer, Runtime, Types},
};
use crate::{ids::NodeId, topology::NodeState};

/// How long to wait for learners to get the log, before the next step is taken without them.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(1);

/// How long to wait for another leader after the leadership was handed over. Longer than an election takes, which is
/// what follows where the chosen one did not take it.
const HAND_OVER_LIMIT: Duration = Duration::from_millis(500);

impl Council {
    /// Makes Raft's membership what the topology asks for, if this node leads; else does nothing.
    ///
    /// To be called after each change of the topology or of the leader, and once a second beside: one call at a time.
    /// `gone` are the dead nodes that are not expected back: their place in the council goes to others.
    pub async fn reconcile(&self, gone: &BTreeSet<NodeId>) -> Result<(), ProposeError> {
        let topology = self.topology().load_full();
        if !self.is_leader() || !topology.is_founded() {
            return Ok(());
        }
        let members = self.members();
        let new: BTreeMap<u64, Peer> = (topology.nodes.values())
            .filter(|node| node.state == NodeState::Alive && !members.contains_key(&node.info.id.raft_id()))
            .map(|node| (node.info.id.raft_id(), Peer::new(&node.info)))
            .collect();
        if !new.is_empty() {
            let ids: Vec<u64> = new.keys().copied().collect();
            self.change_members(ChangeMembers::AddNodes(new)).await?;
            self.let_catch_up(&ids, ENTRIES_KEPT).await;
        }

        let configuration = self.configuration();
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters = configuration.voters.iter().copied().collect();
        let chosen = {
            let has_log = |node: &NodeId| has_log(&metrics, node.raft_id(), ENTRIES_KEPT);
            choose(&topology, &Standing { voters: &voters, leader: self.node, gone, has_log: &has_log })
        };
        let leaves = !chosen.contains(&self.node);
        if leaves && chosen.iter().any(|node| voters.contains(node)) {
            return self.hand_over_to(|node| chosen.contains(node)).await;
        }
        if chosen != voters || configuration.outgoing.is_some() {
            // Where nobody who shall vote does so yet, this node votes, and leads, until somebody does.
            let next = chosen.iter().copied().chain(leaves.then_some(self.node));
            let next: BTreeSet<NodeId> = next.collect();
            tracing::info!(from = ?voters, to = ?next, "the council changes");
            let ids = next.iter().map(NodeId::raft_id).collect();
            self.change_members(ChangeMembers::ReplaceAllVoters(ids)).await?;
        }

        let voting: BTreeSet<u64> = chosen.iter().map(NodeId::raft_id).collect();
        let forgotten: BTreeSet<u64> = (self.members().into_iter())
            .filter(|(id, peer)| !voting.contains(id) && !topology.nodes.contains_key(&peer.node))
            .map(|(id, _)| id)
            .collect();
        if !forgotten.is_empty() && self.is_leader() {
            // A node that is up should hear that it was removed.
            self.let_catch_up(&Vec::from_iter(forgotten.iter().copied()), 0).await;
            self.change_members(ChangeMembers::RemoveNodes(forgotten)).await?;
        }
        Ok(())
    }

    /// Hands the leadership over, if this node has it, to a voter that stays: before this node stops. Returns when
    /// somebody else leads, or after a while without.
    pub async fn hand_over(&self) -> Result<(), ProposeError> {
        let topology = self.topology().load_full();
        let stays = |node: &NodeId| topology.nodes.get(node).is_some_and(|node| !node.leaving);
        self.hand_over_to(stays).await
    }

    /// Hands the leadership to the voter that has most of the log, among those that are alive and that `may` lead.
    async fn hand_over_to(&self, may: impl Fn(&NodeId) -> bool) -> Result<(), ProposeError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let topology = self.topology().load_full();
        let heirs: BTreeSet<u64> = (self.configuration().voters.iter())
            .filter(|node| **node != self.node && may(node) && topology.alive(node).is_some())
            .map(NodeId::raft_id)
            .collect();
        let best = (metrics.replication.iter().flatten())
            .filter(|(id, _)| heirs.contains(id))
            .max_by_key(|(_, matched)| **matched);
        let Some((best, _)) = best else { return Ok(()) };
        tracing::info!("this node hands the leadership of the council over");
        let asked = self.raft.trigger().transfer_leader(*best).await;
        asked.map_err(|fatal| ProposeError::Stopped(fatal.to_string()))?;
        let me = self.node.raft_id();
        let another =
            |metrics: &RaftMetrics<Types>| metrics.current_leader.is_some_and(|leader| leader != me);
        // Who has not got it in time is found out by the next call.
        let _ = self.raft.wait(Some(HAND_OVER_LIMIT)).metrics(another, "another node leads").await;
        Ok(())
    }

    /// Whom Raft counts as a voter or a learner.
    fn members(&self) -> BTreeMap<u64, Peer> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().map(|(id, peer)| (*id, peer.clone())).collect()
    }

    async fn change_members(&self, change: ChangeMembers<u64, Peer>) -> Result<(), ProposeError> {
        // Voters that are replaced stay as learners, for as long as the topology has them.
        let changed = Runtime::timeout(PROPOSE_LIMIT, self.raft.change_membership(change, true)).await;
        match changed {
            Err(_) => Err(ProposeError::OutcomeUnknown),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(not_written(error).map_or_else(|error| error, |_| ProposeError::NoLeader)),
        }
    }

    async fn let_catch_up(&self, ids: &[u64], nearly: u64) {
        let caught_up = |metrics: &RaftMetrics<Types>| ids.iter().all(|id| has_log(metrics, *id, nearly));
        // Who has not got it in time is looked at again in the next call.
        let _ = self.raft.wait(Some(CATCH_UP_LIMIT)).metrics(caught_up, "learners have the log").await;
    }
}

/// Whether a member has all but the newest `nearly` entries, as far as the leader knows.
fn has_log(metrics: &RaftMetrics<Types>, id: u64, nearly: u64) -> bool {
    let matched =
        metrics.replication.as_ref().and_then(|replication| (*replication.get(&id)?).map(|id| id.index));
    matched.is_some_and(|matched| matched + nearly >= metrics.last_log_index.unwrap_or(0))
}
