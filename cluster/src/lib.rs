//! What the nodes of a cluster agree on, and how.
//!
//! This crate knows nothing of keys, values or clients. It decides who is a member, who serves which shard, and who
//! is dead; the server acts on it. Read it in this order:
//!
//! - [`ids`]: the words.
//! - [`topology`]: the value that is agreed on; [`change`]: how it changes.
//! - [`ring`]: which nodes a shard prefers; [`placement`]: where its copies shall be, by bounded loads (`balance`);
//!   [`planner`]: the steps that lead there.
//! - [`lease`]: who may serve, and who is surely dead.
//! - [`council`]: how the nodes agree on a change, by Raft.
//! - [`directory`]: who a node is, on disk; [`refusals`]: whom it has helped to declare dead.
//! - [`codec`]: how records become bytes; `disk`: how they lie on disk; [`fatal`]: what stops a node.

#![forbid(unsafe_code)]

mod balance;
pub mod change;
pub mod codec;
pub mod council;
pub mod directory;
mod disk;
pub mod fatal;
pub mod ids;
pub mod lease;
pub mod placement;
pub mod planner;
pub mod refusals;
pub mod ring;
pub mod topology;

pub use change::{Change, Outcome, Refused, ShardChange, Step, Verdict};
pub use council::{Configuration, Council, CouncilSettings, ProposeError, Transport};
pub use directory::{Directory, Secret};
pub use fatal::Fatal;
pub use ids::{ClusterId, Epoch, Incarnation, Member, NodeId, Offset, SLOTS, ShardId, Version};
pub use placement::{Placement, place};
pub use planner::{Limits, Progress, next_steps, progress};
pub use refusals::Refusals;
pub use ring::Ring;
pub use topology::{Address, Node, NodeInfo, NodeState, Settings, Shard, Topology};
