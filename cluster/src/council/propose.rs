//! Proposals: from whichever node they are made on to the leader, and the answer back.
//!
//! An answer says one of three things: made, surely not made, or nobody knows. Only what is surely not made is tried
//! again here, until [`PROPOSE_LIMIT`] is over. What nobody knows is for the asker to find out from the topology; a
//! change names what it rests on, so making it twice does no harm.

use std::time::Duration;

use openraft::{
    AsyncRuntime, Instant,
    errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError},
};
use serde::{Deserialize, Serialize};

use super::{
    Council,
    network::{Answer, Request},
    types::{Peer, Runtime, Types},
};
use crate::{
    change::{Change, Outcome, Refused},
    codec,
};

/// How long a proposal is tried for.
pub const PROPOSE_LIMIT: Duration = Duration::from_secs(2);

/// No change is larger than this, in bytes; split [`Change::Shards`] before. (A step takes some 30 bytes.)
pub const PROPOSAL_SIZE_LIMIT: usize = 64 << 10;

/// How many proposals may be under way on a node at a time, its own and those that others send to it as the leader.
pub const PROPOSALS_LIMIT: usize = 256;

/// A leader that was just elected takes no writes until its followers have confirmed it: a round trip.
const LEASE_PAUSE: Duration = Duration::from_millis(1);

/// How long to wait for news of a leader before asking again.
const LEADER_PAUSE: Duration = Duration::from_millis(5);

/// Why a proposal was not made, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ProposeError {
    /// Not made: the topology does not allow it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Not made: there is no leader, or it cannot be reached.
    #[error("the council has no leader that can be reached: are most of its members up?")]
    NoLeader,
    /// It may be made, now or later, or not at all: the topology will tell.
    #[error("the outcome is not known: the leader was lost, or too slow, after it was asked")]
    OutcomeUnknown,
    /// Not made: [`PROPOSALS_LIMIT`] others are under way.
    #[error("too many proposals are under way")]
    Busy,
    /// Not made: it has more than [`PROPOSAL_SIZE_LIMIT`] bytes.
    #[error("a proposal of {0} bytes, and the limit is {PROPOSAL_SIZE_LIMIT}")]
    TooLarge(usize),
    /// Agreement has stopped on this node; what was under way is not known.
    #[error("agreement has stopped on this node: {0}")]
    Stopped(String),
}

/// A proposal that this node could not make itself.
enum NotHere {
    /// This node does not lead; perhaps that one does.
    Leader(Option<Peer>),
    Failed(ProposeError),
}

type Deadline = <Runtime as AsyncRuntime>::Instant;

impl Council {
    /// Has the council decide on a change, whoever leads it. On the leader, the outcome is in
    /// [`Council::topology`] when this returns; elsewhere it arrives a little later.
    pub async fn propose(&self, change: Change) -> Result<Outcome, ProposeError> {
        let Ok(_permit) = self.under_way.try_acquire() else {
            return Err(ProposeError::Busy);
        };
        let size = codec::encode(&change).len();
        if size > PROPOSAL_SIZE_LIMIT {
            return Err(ProposeError::TooLarge(size));
        }
        let deadline = Deadline::now() + PROPOSE_LIMIT;
        let mut status = self.status();
        while Deadline::now() < deadline {
            let leader = match self.propose_here(change.clone(), deadline).await {
                Ok(outcome) => return Ok(outcome),
                Err(NotHere::Failed(error)) => return Err(error),
                Err(NotHere::Leader(leader)) => leader,
            };
            if let Some(leader) = leader {
                match self
                    .links
                    .ask(&leader, Request::Propose(change.clone()), deadline - Deadline::now())
                    .await
                {
                    Ok(Answer::Proposed(Err(ProposeError::NoLeader))) => {}
                    Ok(Answer::Proposed(Err(ProposeError::Stopped(_)))) => {
                        return Err(ProposeError::OutcomeUnknown);
                    }
                    Ok(Answer::Proposed(decided)) => return decided,
                    Err(error) if error.is_without_effect() => {}
                    _ => return Err(ProposeError::OutcomeUnknown),
                }
            }
            // Whether the status changes or the time is over: a leader may come back without a change of the status.
            let _ = Runtime::timeout(LEADER_PAUSE, status.changed()).await;
        }
        Err(ProposeError::NoLeader)
    }

    /// As the answer to another node that takes this one for the leader.
    pub(super) async fn propose_for_other(&self, change: Change) -> Result<Outcome, ProposeError> {
        let Ok(_permit) = self.under_way.try_acquire() else {
            return Err(ProposeError::Busy);
        };
        match self.propose_here(change, Deadline::now() + PROPOSE_LIMIT).await {
            Ok(outcome) => Ok(outcome),
            Err(NotHere::Leader(_)) => Err(ProposeError::NoLeader),
            Err(NotHere::Failed(error)) => Err(error),
        }
    }

    async fn propose_here(&self, change: Change, deadline: Deadline) -> Result<Outcome, NotHere> {
        loop {
            let written = Runtime::timeout_at(deadline, self.raft.client_write(change.clone())).await;
            return match written {
                Err(_) => Err(NotHere::Failed(ProposeError::OutcomeUnknown)),
                Ok(Ok(written)) => match written.data {
                    Some(Ok(outcome)) => Ok(outcome),
                    Some(Err(refused)) => Err(NotHere::Failed(refused.into())),
                    None => Err(NotHere::Failed(ProposeError::OutcomeUnknown)),
                },
                Ok(Err(error)) => match not_written(error) {
                    Ok(forward)
                        if forward.reason == ForwardReason::LeaseExpired && Deadline::now() < deadline =>
                    {
                        Runtime::sleep(LEASE_PAUSE).await;
                        continue;
                    }
                    Ok(forward) => Err(NotHere::Leader(forward.leader_node)),
                    Err(error) => Err(NotHere::Failed(error)),
                },
            };
        }
    }
}

/// What openraft's error means: surely not written, and who leads; or something else.
pub(super) fn not_written(
    error: RaftError<Types, ClientWriteError<Types>>,
) -> Result<ForwardToLeader<Types>, ProposeError> {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => Ok(forward),
        RaftError::APIError(_) => Err(ProposeError::OutcomeUnknown),
        RaftError::Fatal(fatal) => Err(ProposeError::Stopped(fatal.to_string())),
    }
}
