//! Whether a node is healthy, and whether it is ready: each with a sentence for whoever asks.
//!
//! *Healthy* means that its threads turn: whoever supervises the process restarts one that is not. *Ready* means that
//! it serves clients now: whoever spreads load leaves one out that is not, and waits.

use ringfort_cluster::{NodeState, Topology};

use super::{Ops, Watched};
use crate::{node::Node, store::Role};

/// Good or bad, and why.
pub type Verdict = Result<String, String>;

/// Whether the process' threads turn. Takes no lock.
pub fn health(ops: &Ops) -> Verdict {
    let Some(watched) = ops.watched.get() else {
        return Ok("starting: the control thread turns, event loops are not started yet".into());
    };
    let now = watched.node.clock.boot();
    if let Some(silence) = watched.beats.hang(now) {
        return Err(format!("the beat thread has not turned for {silence:.1?}"));
    }
    match watched.beats.hanging_loop(now) {
        Some((index, silence)) => Err(format!("event loop {index} has not turned for {silence:.1?}")),
        None => Ok(format!("all {} event loops turn", watched.beats.loops.len())),
    }
}

/// Whether the node serves clients. Locks each shard that the node is to serve for a moment.
pub fn readiness(ops: &Ops) -> Verdict {
    let Some(Watched { node, .. }) = ops.watched.get() else {
        return Err("the cluster does not know this node yet; it founds or joins one".into());
    };
    let topology = node.topology.load();
    takes_part(node, &topology)?;
    if !node.lease.holds(node.clock.boot()) {
        return Err("the node holds no lease: it does not reach enough of the council".into());
    }
    let me = node.member();
    let mut served = 0;
    for (id, _) in topology.shards().filter(|(_, shard)| shard.primary == Some(me)) {
        if !matches!(node.store.lock(id).core.role, Role::Primary | Role::Sealed) {
            return Err(format!("the node is the primary of shard {id}, and does not have it"));
        }
        served += 1;
    }
    Ok(format!("the node serves {served} shards, and reaches the others"))
}

/// Whether the topology names this life of the node as one that stays.
fn takes_part(node: &Node, topology: &Topology) -> Result<(), String> {
    let known = topology.nodes.get(&node.id).ok_or("the cluster has removed this node")?;
    if known.info.member() != node.member() {
        return Err("the cluster has not admitted this life of the node yet".into());
    }
    match known.state {
        NodeState::Dead => Err("the cluster has declared this node dead; it asks to be admitted anew".into()),
        NodeState::Alive if known.leaving => Err("the node is stopping".into()),
        NodeState::Alive => Ok(()),
    }
}
