//! What members of a cluster say to each other about agreement, and how openraft says it.
//!
//! Every request names the cluster that it is meant for and is refused by any other. A [`Transport`] carries it; the
//! server's bus is one, which authenticates both ends, so what arrives here comes from a node that has the secret.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use openraft::{
    AsyncRuntime, OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    entry::RaftEntry,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use serde::{Deserialize, Serialize};

use super::{
    machine::Published,
    propose::ProposeError,
    types::{LogId, Peer, Raft, Runtime, Snapshot, SnapshotMeta, Types, Vote},
};
use crate::{
    change::{Change, Outcome},
    codec,
    ids::{ClusterId, NodeId, Version},
    topology::{Address, NodeInfo, Topology},
};

/// No request and no answer is larger than this, in bytes.
pub const MESSAGE_LIMIT: usize = codec::RECORD_LIMIT;

/// Carries requests to other nodes: the server's bus.
///
/// The one who implements it pools connections (openraft asks for a new client at each election), and keeps what
/// is large from holding up what is small.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request to a node and waits for the answer of its [`Council::answer`](super::Council::answer), no
    /// longer than `limit`.
    ///
    /// `to` is `None` when whoever listens at that address is meant; else it must fail if another node does. An error of the kinds `ConnectionRefused`,
    /// `NotConnected` and `HostUnreachable` says that the request was surely not delivered; any other leaves that open.
    fn call(
        &self,
        to: Option<NodeId>,
        address: &Address,
        request: Vec<u8>,
        limit: Duration,
    ) -> BoxFuture<'static, io::Result<Vec<u8>>>;
}

/// A request with the cluster that it is meant for.
#[derive(Serialize, Deserialize)]
pub(super) struct Envelope {
    /// `None`: whichever it is; only to join.
    pub(super) cluster: Option<ClusterId>,
    pub(super) request: Request,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    PreVote(VoteRequest<Types>),
    Snapshot(Vote, SnapshotMeta, Box<Topology>),
    Transfer(TransferLeaderRequest<Types>),
    /// Propose this, if you lead.
    Propose(Change),
    /// Have me admitted.
    Join(NodeInfo),
    /// Your topology, if it is newer than this.
    Topology(Version),
}

#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    Snapshot(SnapshotResponse<Types>),
    Transfer(TransferLeaderResponse<Types>),
    Proposed(Result<Outcome, ProposeError>),
    Joined(ClusterId, Result<Outcome, ProposeError>),
    Topology(Option<Box<Topology>>),
}

/// Why a node did not even look at a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Rejection {
    /// It was meant for another cluster.
    #[error("this node belongs to cluster {0}, for which the request was not meant")]
    OtherCluster(ClusterId),
    /// It is too large, damaged, or of another version.
    #[error("the request cannot be read: {0}")]
    Unreadable(String),
    /// Agreement has stopped on that node.
    #[error("agreement has stopped on this node: {0}")]
    Stopped(String),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Lost(#[from] io::Error),
}

impl NoAnswer {
    /// Whether the request has surely had no effect.
    pub(super) fn is_without_effect(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, HostUnreachable, NotConnected};
        match self {
            Self::Rejected(_) => true,
            Self::Lost(error) => matches!(error.kind(), ConnectionRefused | HostUnreachable | NotConnected),
        }
    }
}

/// Asks whoever it may be; a request of a cluster that the asker does not know yet has none.
pub(super) async fn ask(
    transport: &dyn Transport,
    to: Option<NodeId>,
    address: &Address,
    envelope: &Envelope,
    limit: Duration,
) -> Result<Answer, NoAnswer> {
    let request = codec::encode(envelope);
    if request.len() > MESSAGE_LIMIT {
        return Err(NoAnswer::Lost(io::ErrorKind::InvalidInput.into()));
    }
    let call = transport.call(to, address, request, limit);
    let answer =
        Runtime::timeout(limit, call).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let answer: Result<Answer, Rejection> = codec::decode(&answer).map_err(io::Error::other)?;
    Ok(answer?)
}

/// The way from this node to the others of its cluster.
#[derive(Clone)]
pub(super) struct Links {
    pub(super) cluster: ClusterId,
    pub(super) transport: Arc<dyn Transport>,
    pub(super) published: Published,
}

impl Links {
    /// Asks a member of the same cluster, where the topology says that it is.
    pub(super) async fn ask(&self, to: &Peer, request: Request, limit: Duration) -> Result<Answer, NoAnswer> {
        let envelope = Envelope { cluster: Some(self.cluster), request };
        let topology = self.published.topology.load_full();
        let address = topology.nodes.get(&to.node).map_or(&to.address, |node| &node.info.address);
        ask(&*self.transport, Some(to.node), address, &envelope, limit).await
    }
}

impl RaftNetworkFactory<Types> for Links {
    type Network = Link;

    async fn new_client(&mut self, _: u64, peer: &Peer) -> Link {
        Link { links: self.clone(), peer: peer.clone(), confirmed: None }
    }
}

/// The way to one other node.
pub(super) struct Link {
    links: Links,
    peer: Peer,
    /// Up to where the node has said, on this link, that it has the log.
    confirmed: Option<LogId>,
}

impl Link {
    async fn rpc<T>(
        &self,
        request: Request,
        option: &RPCOption,
        expected: fn(Answer) -> Option<T>,
    ) -> Result<T, Unreachable<Types>> {
        let answer = self.links.ask(&self.peer, request, option.soft_ttl()).await;
        let answer = answer.map_err(|error| Unreachable::new(&error))?;
        expected(answer).ok_or_else(|| Unreachable::new(&io::Error::other("an answer to another question")))
    }

    /// Notes how far the node has the log, from its answer to entries from `prev` to `last`. Returns whether it has lost
    /// some that it had confirmed: they were durable there, so its disk has forgotten them.
    fn note_confirmed(
        &mut self,
        prev: Option<LogId>,
        last: Option<LogId>,
        answer: &AppendEntriesResponse<Types>,
    ) -> bool {
        match answer {
            AppendEntriesResponse::Success => self.confirmed = self.confirmed.max(last),
            AppendEntriesResponse::Conflict if prev <= self.confirmed => {
                // It is given them anew, and then has them.
                self.confirmed = None;
                return true;
            }
            _ => {}
        }
        false
    }
}

/// Takes the content out of the expected kind of answer.
macro_rules! take {
    ($kind:ident) => {
        |answer| match answer {
            Answer::$kind(content) => Some(content),
            _ => None,
        }
    };
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Topology;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let prev = request.prev_log_id;
        let last = request.entries.last().map(RaftEntry::log_id).or(prev);
        let answer = self.rpc(Request::Append(request), &option, take!(Append)).await?;
        if self.note_confirmed(prev, last, &answer) {
            tracing::error!(
                node = %self.peer.node,
                "the node has lost entries of the council's log that were on its disk, and is given them anew; what \
                 else its disk has lost is not known: drain it, remove it, and let it join with an empty data directory"
            );
        }
        Ok(answer)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.rpc(Request::Vote(request), &option, take!(Vote)).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Ok(self.rpc(Request::PreVote(request), &option, take!(Vote)).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let request = Request::Snapshot(vote, snapshot.meta, Box::new(snapshot.snapshot));
        let sent = self.rpc(request, &option, take!(Snapshot));
        match Runtime::select2(sent, cancel).await {
            openraft::async_runtime::Select2::First(answer) => Ok(answer?),
            openraft::async_runtime::Select2::Second(closed) => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        Ok(self.rpc(Request::Transfer(request), &option, take!(Transfer)).await?)
    }
}

/// Answers the requests that Raft makes to Raft, or hands back one that is not.
pub(super) async fn answer_raft(raft: &Raft, request: Request) -> Result<Result<Answer, Request>, Rejection> {
    let stopped = |error: openraft::errors::RaftError<Types>| Rejection::Stopped(error.to_string());
    Ok(Ok(match request {
        Request::Append(request) => Answer::Append(raft.append_entries(request).await.map_err(stopped)?),
        Request::Vote(request) => Answer::Vote(raft.vote(request).await.map_err(stopped)?),
        Request::PreVote(request) => Answer::Vote(raft.pre_vote(request).await.map_err(stopped)?),
        Request::Snapshot(vote, meta, topology) => {
            let snapshot = Snapshot { meta, snapshot: *topology };
            let installed = raft.install_full_snapshot(vote, snapshot).await;
            Answer::Snapshot(installed.map_err(|fatal| Rejection::Stopped(fatal.to_string()))?)
        }
        Request::Transfer(request) => {
            let taken = raft.handle_transfer_leader(request).await;
            Answer::Transfer(taken.map_err(|fatal| Rejection::Stopped(fatal.to_string()))?)
        }
        other => return Ok(Err(other)),
    }))
}
