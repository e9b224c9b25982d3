//! What a new topology makes of this node's shards: their roles change here, under each shard's lock, before the
//! topology is shown to anybody else on the node.

use ringfort_cluster::{Epoch, Offset, ShardId, Topology, Version};

use crate::{
    memory,
    node::Node,
    store::{Role, Shard},
};

/// Gives every shard the role that the topology has for this node.
pub fn adopt(node: &Node, topology: &Topology) {
    let me = node.member();
    let keeps_logs = topology.nodes.len() > 1 && topology.settings.replicas > 0;
    let budget = memory::log_budget(&node.config.load());
    node.store.set_log_budget(budget);
    let limit = if keeps_logs { budget / topology.shards.len() } else { 0 };
    for (id, agreed) in topology.shards() {
        let mut shard = node.store.lock(id);
        shard.core.adopted = topology.version;
        if agreed.primary == Some(me) {
            lead(node, &mut shard, agreed);
        } else {
            follow(node, &mut shard, agreed, topology.version);
        }
        if (shard.core.log.is_kept()) != (limit > 0) {
            shard.core.log.keep(limit);
        }
        node.store.settle(&mut shard);
    }
}

/// Holds the logs to their budget after a change of settings.
pub fn limit_logs(node: &Node) {
    let budget = memory::log_budget(&node.config.load());
    node.store.set_log_budget(budget);
    for id in (0..node.store.shards()).map(ShardId) {
        let mut shard = node.store.lock(id);
        shard.core.log.limit(budget / usize::from(node.store.shards()));
        node.store.settle(&mut shard);
    }
}

/// The topology names this life of this node as the shard's primary.
fn lead(node: &Node, shard: &mut Shard, agreed: &ringfort_cluster::Shard) {
    let core = &mut shard.core;
    if core.epoch == agreed.epoch {
        // Sealed for a switch that was settled the other way, by whatever has changed the shard since.
        let settled = core.role == Role::Sealed && agreed.changed > core.sealed_at;
        if settled {
            core.role = Role::Primary;
        }
        return;
    }
    if agreed.epoch < core.epoch {
        return;
    }
    let begins_empty = agreed.began.len() == 1 && agreed.began_at() == Offset(0);
    if begins_empty {
        node.store.drop_later(shard.clear(None));
        shard.core.log.restart(Offset(0));
    } else if core.log.end() != agreed.began_at() || core.role == Role::Absent {
        tracing::error!(
            shard = %core.id, epoch = %agreed.epoch, have = %core.log.end(), began = %agreed.began_at(),
            "this node was made primary of a shard whose log it does not have; it asks for another primary"
        );
        return;
    }
    tracing::debug!(shard = %shard.core.id, epoch = %agreed.epoch, "primary of the shard");
    shard.core.epoch = agreed.epoch;
    shard.core.role = Role::Primary;
}

/// Somebody else is the shard's primary, or nobody.
fn follow(node: &Node, shard: &mut Shard, agreed: &ringfort_cluster::Shard, version: Version) {
    if matches!(shard.core.role, Role::Primary | Role::Sealed) {
        shard.core.role = Role::Replica;
        shard.core.copies.0.clear();
    }
    // Under an older name of its own it is not: that life is over, and this process keeps the copy of it.
    let elsewhere = agreed.primary.is_some_and(|primary| primary.node != node.id);
    let served_elsewhere = elsewhere && version >= shard.core.fed_at;
    let holds = shard.core.role == Role::Replica || !shard.is_empty();
    if served_elsewhere && holds && !agreed.replicas.contains(&node.id) {
        node.store.drop_later(shard.clear(None));
        shard.core.role = Role::Absent;
        shard.core.log.restart(Offset(0));
        shard.core.epoch = Epoch(0);
    }
}

/// A candidate's word to the leader: it takes nothing more of epochs up to `epoch`, and has the log of the returned
/// epoch up to the returned offset. `None`: it has no complete copy.
pub fn seal(node: &Node, shard: ShardId, epoch: Epoch) -> Option<(Epoch, Offset)> {
    if shard.0 >= node.store.shards() {
        return None;
    }
    let mut shard = node.store.lock(shard);
    let core = &mut shard.core;
    if core.epoch > epoch {
        // A late word: the shard has moved on.
        return None;
    }
    core.refuses_below = core.refuses_below.max(epoch.next());
    match core.role {
        // Its own lease must be over, else the leader would not ask.
        Role::Primary | Role::Sealed => {
            core.role = Role::Replica;
            Some((core.epoch, core.log.end()))
        }
        Role::Replica => Some((core.epoch, core.log.end())),
        Role::Absent => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::node::testing;

    #[test]
    fn a_process_that_draws_a_new_incarnation_keeps_what_it_was_primary_of() {
        let node = testing::node();
        testing::put(&node, "k");
        let id = (0..testing::SHARDS).map(ShardId).find(|id| !node.store.lock(*id).is_empty()).unwrap();
        let end = node.store.lock(id).core.log.end();
        node.incarnation.store(2, Ordering::Relaxed);
        // The topology names the life before as primary still: nobody has heard of the new one.
        testing::adopt(&node, testing::topology());
        assert_eq!(seal(&node, id, Epoch(1)), Some((Epoch(1), end)));
        assert!(!node.store.lock(id).is_empty());
    }
}
