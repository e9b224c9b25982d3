//! How openraft is instantiated: over changes of the topology, by 64-bit ids, on one async runtime.
//!
//! Nothing outside `council` names these types, so that the library's generics are compiled in this crate alone. All
//! time inside the council is the [`Runtime`]'s; another runtime (a simulator's) is put in its place here.

use openraft::alias;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::{
    change::{Change, Outcome, Refused},
    ids::NodeId,
    topology::{Address, NodeInfo},
};

/// Timers and tasks.
pub(super) type Runtime = openraft::TokioRuntime;

openraft::declare_raft_types!(
    /// The council's Raft.
    pub(super) Types:
        D = Change,
        R = Reply,
        NodeId = u64,
        Node = Peer,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, u64>,
        AsyncRuntime = Runtime,
);

/// What came of an entry; `None` for entries of Raft's own.
pub(super) type Reply = Option<Result<Outcome, Refused>>;

pub(super) type Raft = openraft::Raft<Types, Machine>;
pub(super) type Entry = alias::EntryOf<Types>;
pub(super) type LogId = alias::LogIdOf<Types>;
pub(super) type Vote = alias::VoteOf<Types>;
pub(super) type Membership = alias::StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(super) type Snapshot =
    alias::SnapshotOf<Types, <Machine as openraft::storage::RaftStateMachine<Types>>::SnapshotData>;

/// A node as Raft's membership names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peer {
    /// The whole id, of which Raft has the first eight bytes.
    pub(super) node: NodeId,
    /// Where it was when it was added. The topology knows better, once there is one.
    pub(super) address: Address,
}

impl Peer {
    pub(super) fn new(info: &NodeInfo) -> Self {
        Self { node: info.id, address: info.address.clone() }
    }
}
