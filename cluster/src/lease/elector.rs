//! How a dead leader is replaced without waiting for Raft's own timeout.
//!
//! A voter whose promise to the leader's node is over calls an election; by then Raft's own leases have lapsed too,
//! if its greatest election timeout is shorter than a lease less a beat. The voters do it one after the other, by
//! their rank among those that still beat, so that votes are not split. Raft decides as ever: calling an election
//! that was not needed costs a round of Pre-Vote and nothing else.

use std::time::Duration;

use crate::{
    ids::NodeId,
    lease::{BootTime, promiser::Promiser, voters::Voters},
    topology::Topology,
};

/// How much later than the one before it each voter calls.
pub const STAGGER: Duration = Duration::from_millis(25);

/// How often a voter calls again.
pub const CALL_AGAIN: Duration = Duration::from_millis(20);

/// What a node's Raft says: read from its metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RaftView {
    /// The current term.
    pub term: u64,
    /// Who leads it, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The newest configuration in this node's log, committed or not.
    pub voters: Voters,
    /// Whether this node has applied all entries before the configuration that came before `voters`. While it has not,
    /// a death that was decided by an older council may be unknown to it: it gives no promise then, nor does it count
    /// its own lease by `voters`. `false` is always safe; it is over as soon as the node has caught up with its log,
    /// since a configuration is written only when the one before it is committed.
    pub settled: bool,
}

/// When one voter calls elections.
#[derive(Default)]
pub struct Elector {
    /// The term and leader that were found dead, and when the next call is due.
    calling: Option<(u64, NodeId, BootTime)>,
}

impl Elector {
    /// Whether to call an election now, given that `promiser` judges by `began`.
    pub fn calls(
        &mut self,
        began: BootTime,
        me: NodeId,
        raft: &RaftView,
        topology: &Topology,
        promiser: &Promiser,
    ) -> bool {
        let followed = raft.leader.filter(|leader| *leader != me && raft.voters.contains(me));
        let alive = followed.and_then(|leader| topology.alive(&leader));
        let Some(leader) = alive.filter(|member| promiser.may_refuse(*member)) else {
            self.calling = None;
            return false;
        };
        let due = match self.calling {
            Some((term, node, due)) if (term, node) == (raft.term, leader.node) => due,
            _ => {
                let before_me = |node: &NodeId| *node < me && promiser.is_beating(*node);
                let rank = raft.voters.nodes().filter(before_me).count() as u32;
                began + STAGGER * rank
            }
        };
        let call = began >= due;
        let next = if call { began + CALL_AGAIN } else { due };
        self.calling = Some((raft.term, leader.node, next));
        call
    }

    /// When the next call is due.
    pub fn deadline(&self) -> BootTime {
        self.calling.map_or(BootTime::FOREVER, |(_, _, due)| due)
    }
}
