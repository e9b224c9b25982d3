//! The council: the nodes that agree, by Raft, on how the topology changes; and the others, who learn it.
//!
//! A [`Council`] is this node's part in it, whether it votes or learns. It is given requests to decide on
//! ([`Council::propose`]), what other nodes send ([`Council::answer`]) and the news that somebody has to lead
//! ([`Council::elect`]); it publishes the topology and a [`Status`]. What openraft decides is durable before it counts.
//! Beats and leases are none of its business: they only read its [`Configuration`].
//!
//! ```text
//! propose ──▶ leader's Raft ──▶ log (file, on two voters of three) ──▶ machine ──▶ topology(), changes()
//! answer  ◀── Transport ◀── the other members
//! ```
//!
//! How a server drives it:
//!
//! - *found*: open the [`Directory`], draw a cluster id, [`Directory::enter_cluster`], [`Council::open`],
//!   [`Council::found`], then [`Council::reconcile`] for ever.
//! - *join*: open the directory, [`join`], enter the cluster that it names, open the council. The leader's next
//!   `reconcile` sends it the log; the first of [`Council::changes`] says that it is there.
//! - *restart*: open the directory (a new incarnation), open the council, answer requests, and
//!   [`Council::propose`] the admission of the new incarnation; by [`join`] if there is no leader that can be reached.
//! - *leave*: [`Council::hand_over`], [`Council::shutdown`].
//!
//! It must be opened, and used, within a tokio runtime of one thread that nothing slow runs on.

mod choice;
mod contact;
mod file;
mod log;
mod machine;
mod network;
mod propose;
mod reconcile;
#[cfg(test)]
mod tests;
mod types;

use std::{collections::BTreeMap, io, sync::Arc};

use arc_swap::ArcSwap;
use openraft::{
    Config, RaftMetrics, SnapshotPolicy,
    async_runtime::WatchReceiver,
    errors::{InitializeError, RaftError},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
};

pub use self::{
    choice::{COUNCIL_LIMIT, Standing, choose},
    contact::{JoinError, Joined, join, read_topology},
    network::{MESSAGE_LIMIT, Rejection, Transport},
    propose::{PROPOSAL_SIZE_LIMIT, PROPOSALS_LIMIT, PROPOSE_LIMIT, ProposeError},
};
use self::{
    file::LogFile,
    log::Log,
    machine::{Machine, Published},
    network::{Answer, Envelope, Links, Request, answer_raft},
    types::{Membership, Peer, Raft, Types},
};
use crate::{
    change::{Change, Outcome},
    codec,
    directory::Directory,
    disk::{self, Allocate},
    fatal::Fatal,
    ids::{NodeId, Version},
    topology::{NodeInfo, Settings, Topology},
};

/// Milliseconds between the leader's signs of life.
const HEARTBEAT_MS: u64 = 30;

/// Raft's own election timeout, in milliseconds; the fall-back behind [`Council::elect`]. A follower that heard of its
/// leader within the longest of these votes for nobody else, so it must not pass a lease less a beat.
const ELECTION_MS: std::ops::RangeInclusive<u64> = 100..=150;

/// How long the leader waits before it writes again to a member that did not answer: always as long. A node that comes
/// back is given shards as soon as it has copies, and must hear of that at once: it serves them from then on.
const BACKOFF: &str = "20ms 20ms 20ms";

/// How long the transfer of a snapshot may take, in milliseconds.
const SNAPSHOT_MS: u64 = 5_000;

/// How many entries go into one request, and about how many into one write: with the limit of a proposal's size this
/// keeps both below the limit of a record.
const ENTRIES_AT_ONCE: usize = 32;

/// After how many entries a snapshot is made, if the log's file has not filled before.
const ENTRIES_PER_SNAPSHOT: u64 = 1024;

/// How many entries stay behind a snapshot, for members that are a little late; and how many there must be at least
/// for another snapshot to make room.
const ENTRIES_KEPT: u64 = 32;

/// Size of each of the log's two segments, unless set otherwise: many thousands of entries.
pub const LOG_BYTES: u64 = 8 << 20;

// However large the entries are, half a segment holds those that a snapshot leaves and those that lead to the next.
const _: () = assert!(2 * ENTRIES_KEPT * PROPOSAL_SIZE_LIMIT as u64 <= LOG_BYTES / 2);

/// The least size of a segment.
const LOG_BYTES_LEAST: u64 = 4 * file::KEPT_FOR_VOTES;

/// Starts a thread with a name.
pub type Spawn = fn(name: &'static str, body: Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// What a council needs to know of its process.
#[derive(Clone, Copy, Debug)]
pub struct CouncilSettings {
    /// Size of each of the log's two segments, in bytes, taken when the log is made; usually [`LOG_BYTES`].
    pub log_bytes: u64,
    /// How the thread is started that writes the log.
    pub spawn: Spawn,
}

/// Who votes, as of some entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Term and index of the entry that set it: of two configurations, the one with the higher is newer.
    pub version: (u64, u64),
    /// Those that vote.
    pub voters: Vec<NodeId>,
    /// While one council hands over to the next: the old one, of which a majority is needed too.
    pub outgoing: Option<Vec<NodeId>>,
}

/// What this node knows of the council.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Raft's term.
    pub term: u64,
    /// Who leads, if somebody does in this term.
    pub leader: Option<NodeId>,
    /// The newest configuration in this node's log.
    pub configuration: Configuration,
    /// Whether this node has applied all entries before the configuration that came before `configuration`: until
    /// then a death that an older council decided may be unknown to it. `false` while that is not known.
    pub settled: bool,
    /// Why agreement has stopped on this node: it can only end.
    pub stopped: Option<String>,
}

/// This node's part in the council. See the module's page for the order of calls.
pub struct Council {
    node: NodeId,
    raft: Raft,
    log: Log,
    links: Links,
    status: watch::Receiver<Status>,
    under_way: Semaphore,
    watcher: JoinHandle<()>,
}

impl Council {
    /// Reads the log and takes part, as what the log says: a voter, a learner, or a node that waits to be added.
    ///
    /// The directory must belong to a cluster, and must stay open for as long as the council.
    pub async fn open(
        directory: &Directory,
        transport: Arc<dyn Transport>,
        settings: CouncilSettings,
    ) -> Result<Self, Fatal> {
        Self::open_on(directory, transport, settings, Arc::new(disk::write_zeros)).await
    }

    async fn open_on(
        directory: &Directory,
        transport: Arc<dyn Transport>,
        settings: CouncilSettings,
        allocate: Allocate,
    ) -> Result<Self, Fatal> {
        let cluster =
            directory.cluster().ok_or_else(|| Fatal::NoCluster { path: directory.path().to_owned() })?;
        let size = settings.log_bytes.max(LOG_BYTES_LEAST);
        let file = LogFile::open(directory.path(), size, allocate)?;
        let log = Log::start(file, settings.spawn)?;
        let published = Published::new();
        let links = Links { cluster, transport, published: published.clone() };
        let node = directory.node();
        let config = Arc::new(config().validate().expect("constants that fit together"));
        let machine = Machine::new(log.clone(), published);
        let raft = Raft::new(node.raft_id(), config, links.clone(), log.clone(), machine).await;
        let raft = raft.map_err(|fatal| Fatal::Raft(fatal.to_string()))?;
        let (tell, status) = watch::channel(Status::of(&raft.metrics().borrow_watched()));
        let watcher = tokio::spawn(watch_raft(raft.clone(), log.clone(), tell));
        let council =
            Self { node, raft, log, links, status, under_way: Semaphore::new(PROPOSALS_LIMIT), watcher };
        if council.configuration().voters == [node] {
            // There is nobody to wait for.
            council.elect().await?;
        }
        Ok(council)
    }

    /// Founds the cluster that the directory belongs to, with this node as its first. Can be repeated after a crash;
    /// [`Refused::Founding`](crate::Refused::Founding) then says that it had been done.
    pub async fn found(&self, settings: Settings, first: NodeInfo) -> Result<Outcome, ProposeError> {
        let members = BTreeMap::from([(self.node.raft_id(), Peer::new(&first))]);
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(ProposeError::Stopped(error.to_string())),
        }
        let cluster = self.links.cluster;
        self.propose(Change::Found { cluster, settings, first }).await
    }

    /// The newest topology that this node has applied; not founded before the first one.
    pub fn topology(&self) -> Arc<ArcSwap<Topology>> {
        self.links.published.topology.clone()
    }

    /// Tells of each new version of the topology.
    pub fn changes(&self) -> watch::Receiver<Version> {
        self.links.published.version.subscribe()
    }

    /// Tells of changes of term, leader and configuration. Readable from any thread.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.status.borrow().leader
    }

    /// Whether this node leads, as far as it knows: another may have been elected meanwhile.
    pub fn is_leader(&self) -> bool {
        self.leader() == Some(self.node)
    }

    /// Who votes, by this node's log.
    pub fn configuration(&self) -> Configuration {
        self.status.borrow().configuration.clone()
    }

    /// Tries to be elected, if most voters have not heard of the leader for a while; else nothing happens.
    pub async fn elect(&self) -> Result<(), Fatal> {
        // With a preceding vote that changes nothing: who cannot win must not disturb those who have a leader.
        self.raft.trigger().elect(true).await.map_err(|fatal| Fatal::Raft(fatal.to_string()))
    }

    /// Answers what another node has sent through its [`Transport`]. Never fails: errors are answers too.
    pub async fn answer(&self, request: Vec<u8>) -> Vec<u8> {
        let answer = self.try_answer(&request).await;
        codec::encode(&answer)
    }

    async fn try_answer(&self, request: &[u8]) -> Result<Answer, Rejection> {
        let envelope: Envelope =
            codec::decode(request).map_err(|bad| Rejection::Unreadable(bad.to_string()))?;
        let (cluster, request) = (self.links.cluster, envelope.request);
        let joins = matches!(request, Request::Join(_));
        if envelope.cluster.map_or(!joins, |meant| meant != cluster) {
            return Err(Rejection::OtherCluster(cluster));
        }
        match answer_raft(&self.raft, request).await? {
            Ok(answer) => Ok(answer),
            Err(Request::Propose(change)) => Ok(Answer::Proposed(self.propose_for_other(change).await)),
            Err(Request::Join(info)) => Ok(Answer::Joined(cluster, self.propose(Change::Admit(info)).await)),
            Err(Request::Topology(newer_than)) => {
                let topology = self.links.published.topology.load();
                let newer = (topology.version > newer_than).then(|| Box::new(Topology::clone(&topology)));
                Ok(Answer::Topology(newer))
            }
            Err(_) => Err(Rejection::Unreadable("a request that nobody answers".into())),
        }
    }

    /// Stops taking part. The log is on disk and closed when this returns; the council answers no more.
    pub async fn shutdown(&self) -> Result<(), Fatal> {
        self.watcher.abort();
        let stopped = self.raft.shutdown().await;
        stopped.map_err(|error| Fatal::Raft(error.to_string()))?;
        self.log.close().await.map_err(|error| Fatal::Raft(error.to_string()))
    }
}

impl Drop for Council {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn config() -> Config {
    Config {
        cluster_name: "ringfort".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: *ELECTION_MS.start(),
        election_timeout_max: *ELECTION_MS.end(),
        install_snapshot_timeout: SNAPSHOT_MS,
        backoff: BACKOFF.into(),
        max_payload_entries: ENTRIES_AT_ONCE as u64,
        max_append_entries: Some(ENTRIES_AT_ONCE as u64),
        api_batch_capacity: ENTRIES_AT_ONCE as u64,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(ENTRIES_PER_SNAPSHOT),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT,
        enable_pre_vote: Some(true),
        // A member whose disk has lost entries is told of by the leader, and gets them again: it would stay behind for
        // ever, and its vote counts all the same.
        allow_log_reversion: Some(true),
        // What was agreed on is written lazily, so after a restart a leader has to be elected.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
}

impl Status {
    fn of(metrics: &RaftMetrics<Types>) -> Self {
        let membership = &metrics.membership_config;
        let name = |id: &u64| Some(membership.get_node(id)?.node);
        Self {
            term: metrics.current_term,
            leader: metrics.current_leader.as_ref().and_then(name),
            configuration: Configuration::of(membership),
            settled: is_settled(metrics),
            stopped: metrics.running_state.as_ref().err().map(ToString::to_string),
        }
    }
}

/// Whether this node is the only one that the council knows, and leads: no heartbeat is due, and no election. Its clock
/// wakes the process a hundred times a second otherwise.
fn leads_nobody(metrics: &RaftMetrics<Types>) -> bool {
    let members = metrics.membership_config.membership().nodes().map(|(id, _)| *id);
    metrics.current_leader == Some(metrics.id) && members.eq([metrics.id])
}

/// Whether what this node has applied reaches the configuration before its newest one. A configuration is written only
/// when the one before it is committed.
fn is_settled(metrics: &RaftMetrics<Types>) -> bool {
    let committed = metrics.committed_membership_config.log_id();
    committed.is_some_and(|id| metrics.last_applied.map(|id| id.index) >= Some(id.index))
}

impl Configuration {
    /// Whether a node votes, be it only until the council that is on its way out is gone.
    pub fn has(&self, node: &NodeId) -> bool {
        self.voters.contains(node) || self.outgoing.iter().flatten().any(|outgoing| outgoing == node)
    }

    fn of(membership: &Membership) -> Self {
        let names = |ids: &std::collections::BTreeSet<u64>| {
            let names = ids.iter().filter_map(|id| Some(membership.get_node(id)?.node));
            Vec::from_iter(names)
        };
        let configs = membership.get_joint_config();
        let (voters, outgoing) = match configs.as_slice() {
            [] => (Vec::new(), None),
            [voters] => (names(voters), None),
            [outgoing, .., voters] => (names(voters), Some(names(outgoing))),
        };
        let version = membership.log_id().map_or((0, 0), |id| (id.leader_id.term, id.index));
        Self { version, voters, outgoing }
    }
}

/// Publishes what Raft says of itself, has a snapshot made when the log's file fills up, and lets Raft's clock stand
/// still while there is nobody to hear it.
///
/// It must not ask Raft anything each time: Raft publishes its metrics anew after each question, so the two would keep
/// each other busy for ever.
async fn watch_raft(raft: Raft, log: Log, tell: watch::Sender<Status>) {
    let mut metrics = raft.metrics();
    loop {
        let (seen, behind, alone) = {
            let metrics = metrics.borrow_watched();
            let index = |id: &Option<types::LogId>| id.map_or(0, |id| id.index);
            let behind = index(&metrics.last_applied).saturating_sub(index(&metrics.snapshot));
            (Status::of(&metrics), behind, leads_nobody(&metrics))
        };
        raft.runtime_config().tick(!alone);
        tell.send_if_modified(|status| {
            let changed = *status != seen;
            *status = seen;
            changed
        });
        // If Raft has stopped, there is no snapshot to be had; the status says so.
        if log.is_crowded() && behind >= ENTRIES_KEPT {
            let _ = raft.trigger().snapshot().await;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
