//! Whole councils in one process: logs on disk, a network in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt};
use openraft::{
    StorageError,
    storage::RaftLogStorage,
    testing::log::{StoreBuilder, Suite},
};

use super::{
    file::{KEPT_FOR_VOTES, LogFile, tests::log_id},
    log::Log,
    machine::{Machine, Published},
    types::Types,
    *,
};
use crate::{
    change::{Refused, Verdict, tests::info},
    ids::{ClusterId, Member},
    topology::Address,
};

const CLUSTER: ClusterId = ClusterId([7; 20]);

/// After this long, what a test waits for will not come.
const PATIENCE: Duration = Duration::from_secs(20);

fn spawn(name: &'static str, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn(body).map(drop)
}

const SETTINGS: CouncilSettings = CouncilSettings { log_bytes: LOG_BYTES_LEAST, spawn };

/// Carries requests between the councils of one process; a node is found by its bus port.
#[derive(Clone, Default)]
struct Net(Arc<Mutex<BTreeMap<u16, Arc<Council>>>>);

impl Transport for Net {
    fn call(
        &self,
        _: Option<NodeId>,
        address: &Address,
        request: Vec<u8>,
        _: Duration,
    ) -> BoxFuture<'static, io::Result<Vec<u8>>> {
        let there = self.0.lock().unwrap().get(&address.bus_port).cloned();
        Box::pin(async move {
            let there = there.ok_or(io::ErrorKind::NotConnected)?;
            Ok(there.answer(request).await)
        })
    }
}

fn node_info(node: u8, incarnation: u64) -> NodeInfo {
    let mut info = info(node, incarnation);
    info.address.bus_port = node.into();
    info
}

/// A cluster whose nodes are numbered from 1.
struct Cluster {
    place: tempfile::TempDir,
    net: Net,
    directories: BTreeMap<u8, Directory>,
}

impl Cluster {
    /// A cluster of one node.
    async fn founded() -> Self {
        let mut cluster =
            Self { place: tempfile::tempdir().unwrap(), net: Net::default(), directories: BTreeMap::new() };
        let settings = Settings { shards: 4, ..Settings::default() };
        let first = cluster.start(1).await;
        let outcome = first.found(settings, node_info(1, 1)).await.unwrap();
        assert_eq!(outcome.version, Version(1));
        until(&first, |council| council.is_leader()).await;
        cluster
    }

    /// A cluster of nodes `1..=size`, of which as many vote as should.
    async fn of(size: u8) -> Self {
        let mut cluster = Self::founded().await;
        for node in 2..=size {
            cluster.join(node).await;
        }
        cluster.settled().await;
        cluster
    }

    /// Starts a node that belongs to the cluster already.
    async fn start(&mut self, node: u8) -> Arc<Council> {
        let path = self.place.path().join(node.to_string());
        let directory = Directory::open(&path, NodeId([node; 20])).unwrap();
        directory.enter_cluster(CLUSTER, None).unwrap();
        let council = Council::open(&directory, Arc::new(self.net.clone()), SETTINGS).await.unwrap();
        let council = Arc::new(council);
        self.net.0.lock().unwrap().insert(node.into(), council.clone());
        self.directories.insert(node, directory);
        council
    }

    /// A new node asks node 1 to be admitted, and starts.
    async fn join(&mut self, node: u8) -> Arc<Council> {
        let addresses = [node_info(99, 1).address, node_info(1, 1).address];
        let joined = join(&self.net, &addresses, None, &node_info(node, 1)).await.unwrap();
        assert_eq!(joined.cluster, CLUSTER);
        self.start(node).await
    }

    async fn stop(&mut self, node: u8) {
        let council = self.net.0.lock().unwrap().remove(&node.into()).unwrap();
        council.shutdown().await.unwrap();
        self.directories.remove(&node);
    }

    fn node(&self, node: u8) -> Arc<Council> {
        self.net.0.lock().unwrap()[&node.into()].clone()
    }

    fn all(&self) -> Vec<Arc<Council>> {
        self.net.0.lock().unwrap().values().cloned().collect()
    }

    fn leader(&self) -> Option<Arc<Council>> {
        self.all().into_iter().find(|council| council.is_leader())
    }

    /// Has the leader keep house, until everybody who should vote does and all know it.
    async fn settled(&self) {
        let size = match self.all().len() {
            0..3 => 1,
            3..5 => 3,
            _ => 5,
        };
        let leader = self.leader().unwrap();
        while leader.configuration().voters.len() != size {
            leader.reconcile(&BTreeSet::new()).await.unwrap();
        }
        for council in self.all() {
            let newest = leader.topology().load().version;
            until(&council, |council| {
                council.topology().load().version >= newest
                    && council.configuration() == leader.configuration()
            })
            .await;
        }
    }
}

/// Waits until something holds that status or topology tell.
async fn until(council: &Council, holds: impl Fn(&Council) -> bool) {
    let (mut status, mut changes) = (council.status(), council.changes());
    let waiting = async {
        while !holds(council) {
            tokio::select! {
                changed = status.changed() => changed.unwrap(),
                changed = changes.changed() => changed.unwrap(),
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("it never came; {:?}", council.status.borrow()));
}

fn drain(node: u8, draining: bool) -> Change {
    Change::Drain { node: NodeId([node; 20]), draining }
}

/// A change that takes some space in the log.
fn large(node: u8) -> Change {
    let mut info = node_info(node, 1);
    info.zone = "z".repeat(1024);
    Change::Admit(info)
}

fn ids(nodes: &[u8]) -> Vec<NodeId> {
    nodes.iter().map(|node| NodeId([*node; 20])).collect()
}

#[tokio::test]
async fn a_cluster_of_one_grows_to_a_council_of_three_that_decides_through_any_node() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.node(1);
    assert_eq!(leader.configuration().voters, ids(&[1, 2, 3]));
    assert_eq!(leader.configuration().outgoing, None);
    for (through, draining) in [(2, true), (3, false), (1, true)] {
        let outcome = cluster.node(through).propose(drain(2, draining)).await.unwrap();
        for council in cluster.all() {
            until(&council, |council| council.topology().load().version >= outcome.version).await;
            assert_eq!(council.topology().load().nodes[&NodeId([2; 20])].draining, draining);
        }
    }
    let refused = cluster.node(3).propose(Change::Remove(NodeId([9; 20]))).await;
    assert_eq!(refused, Err(ProposeError::Refused(Refused::Unknown)));
}

#[tokio::test]
async fn a_fourth_node_learns_without_a_vote_and_five_nodes_all_vote() {
    let mut cluster = Cluster::of(4).await;
    assert_eq!(cluster.node(4).configuration().voters, ids(&[1, 2, 3]));
    cluster.join(5).await;
    cluster.settled().await;
    assert_eq!(cluster.node(5).configuration().voters, ids(&[1, 2, 3, 4, 5]));
}

#[tokio::test]
async fn when_the_leader_is_gone_another_is_elected_and_nothing_is_lost() {
    let mut cluster = Cluster::of(3).await;
    let outcome = cluster.node(1).propose(drain(3, true)).await.unwrap();
    let term = cluster.node(2).status().borrow().term;
    // Only whoever is told to shall stand for election.
    for node in [2, 3] {
        cluster.node(node).raft.runtime_config().elect(false);
    }
    cluster.stop(1).await;
    let candidate = cluster.node(2);
    let mut status = candidate.status();
    let elected = async {
        while !candidate.is_leader() {
            candidate.elect().await.unwrap();
            // As the lease's keeper does: again after a while, unless something has happened.
            let _ = tokio::time::timeout(Duration::from_millis(20), status.changed()).await;
        }
    };
    tokio::time::timeout(PATIENCE, elected).await.expect("elected");
    let leader = cluster.leader().unwrap();
    assert!(leader.status().borrow().term > term);
    let next = cluster.node(3).propose(drain(3, false)).await.unwrap();
    assert_eq!(next.version, outcome.version.next());
}

#[tokio::test]
async fn a_cluster_that_was_stopped_as_a_whole_comes_back_with_all_that_was_agreed() {
    let mut cluster = Cluster::of(3).await;
    cluster.node(2).propose(drain(3, true)).await.unwrap();
    let agreed = Topology::clone(&cluster.node(1).topology().load());
    for node in 1..=3 {
        cluster.stop(node).await;
    }
    for node in 1..=3 {
        cluster.start(node).await;
    }
    let back = cluster.node(3);
    until(&back, |council| council.leader().is_some()).await;
    // Each proposal is a read too: it comes after all that was agreed.
    let outcome = back.propose(Change::Admit(node_info(3, 2))).await.unwrap();
    assert_eq!(outcome.version, agreed.version.next());
    until(&back, |council| council.topology().load().version == outcome.version).await;
    let topology = back.topology().load_full();
    assert_eq!(topology.nodes[&NodeId([1; 20])], agreed.nodes[&NodeId([1; 20])]);
    assert!(topology.nodes[&NodeId([3; 20])].draining);
    assert_eq!(cluster.directories[&3].incarnation().0, 2);
}

#[tokio::test]
async fn a_lone_node_leads_again_after_a_restart() {
    let mut cluster = Cluster::founded().await;
    cluster.node(1).propose(drain(1, true)).await.unwrap();
    cluster.stop(1).await;
    let council = cluster.start(1).await;
    let outcome = council.propose(drain(1, false)).await.unwrap();
    assert_eq!(outcome.version, Version(3));
    let founded_again = council.found(Settings::default(), node_info(1, 2)).await;
    assert_eq!(founded_again, Err(ProposeError::Refused(Refused::Founding)));
}

#[tokio::test]
async fn snapshots_bound_the_log_and_bring_a_late_node_up_to_date() {
    let mut cluster = Cluster::founded().await;
    let leader = cluster.node(1);
    let mut purged = leader.raft.metrics();
    for _ in 0..200 {
        leader.propose(large(2)).await.unwrap();
    }
    while purged.borrow_watched().purged.is_none() {
        purged.changed().await.unwrap();
    }
    leader.reconcile(&BTreeSet::new()).await.unwrap();
    let late = cluster.start(2).await;
    let newest = leader.topology().load().version;
    until(&late, |council| council.topology().load().version == newest).await;
    assert_eq!(late.topology().load_full(), leader.topology().load_full());
    assert!(late.log.snapshot().is_some(), "not by the entries, which are purged");

    cluster.stop(1).await;
    cluster.stop(2).await;
    let size = |node: &str, file: &str| cluster.place.path().join(node).join(file).metadata().unwrap().len();
    assert_eq!(size("1", "raft-log.0") + size("1", "raft-log.1"), 2 * LOG_BYTES_LEAST);
    let back = cluster.start(1).await;
    assert!(back.topology().load().version > Version(1), "from the snapshot, before anybody leads");
    until(&back, |council| council.topology().load().version == newest).await;
}

#[test]
fn a_member_that_was_away_for_long_hears_of_what_is_new_as_soon_as_it_is_back() {
    let pauses: Vec<Duration> = config().validate().unwrap().build_backoff().take(1_000).collect();
    assert_eq!(pauses, [Duration::from_millis(20); 1_000]);
}

#[tokio::test]
async fn a_node_whose_disk_has_lost_entries_gets_them_again() {
    let mut cluster = Cluster::of(3).await;
    let leader = cluster.node(1);
    let files = |cluster: &Cluster| {
        let place = cluster.place.path().join("3");
        ["raft-log.0", "raft-log.1"].map(|file| place.join(file))
    };
    cluster.stop(3).await;
    let before = files(&cluster).map(|file| std::fs::read(file).unwrap());
    let late = cluster.start(3).await;
    let outcome = leader.propose(drain(2, true)).await.unwrap();
    until(&late, |council| council.topology().load().version == outcome.version).await;
    cluster.stop(3).await;
    for (file, bytes) in files(&cluster).iter().zip(before) {
        std::fs::write(file, bytes).unwrap();
    }
    let late = cluster.start(3).await;
    let outcome = leader.propose(drain(2, false)).await.unwrap();
    until(&late, |council| council.topology().load().version == outcome.version).await;
    assert_eq!(late.topology().load_full(), leader.topology().load_full());
}

#[tokio::test]
async fn a_voter_that_is_gone_for_good_is_replaced() {
    let mut cluster = Cluster::of(4).await;
    let leader = cluster.node(1);
    cluster.stop(3).await;
    let dead = Member { node: NodeId([3; 20]), incarnation: crate::Incarnation(1) };
    leader.propose(Change::End { member: dead, by: Verdict::Itself }).await.unwrap();
    leader.reconcile(&BTreeSet::new()).await.unwrap();
    assert_eq!(leader.configuration().voters, ids(&[1, 2, 3]), "it may come back");
    leader.reconcile(&BTreeSet::from([dead.node])).await.unwrap();
    until(&leader, |council| council.configuration().voters == ids(&[1, 2, 4])).await;
}

#[tokio::test]
async fn a_verdict_of_an_earlier_council_is_refused() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.node(1);
    let (term, index) = leader.configuration().version;
    let end = |index| Change::End { member: node_info(3, 1).member(), by: Verdict::Council { term, index } };
    assert_eq!(leader.propose(end(index - 1)).await, Err(ProposeError::Refused(Refused::Stale)));
    assert!(leader.topology().load().is_alive(node_info(3, 1).member()));
    leader.propose(end(index)).await.unwrap();
    assert!(!leader.topology().load().is_alive(node_info(3, 1).member()));
}

#[tokio::test]
async fn a_node_that_is_removed_hears_of_it_and_is_dropped() {
    let cluster = Cluster::of(4).await;
    let (leader, fourth) = (cluster.node(1), cluster.node(4));
    leader.propose(Change::Remove(NodeId([4; 20]))).await.unwrap();
    leader.reconcile(&BTreeSet::new()).await.unwrap();
    until(&fourth, |council| !council.topology().load().nodes.contains_key(&NodeId([4; 20]))).await;
    let members: Vec<u64> =
        leader.raft.metrics().borrow_watched().membership_config.nodes().map(|n| *n.0).collect();
    assert_eq!(members, [1, 2, 3].map(|node| NodeId([node; 20]).raft_id()));
}

/// Has whoever leads keep house until the council is this one.
async fn until_council_is(cluster: &Cluster, voters: &[u8]) {
    let expected = ids(voters);
    let keeping = async {
        loop {
            let leader = cluster.leader();
            if leader.as_ref().is_some_and(|leader| {
                let configuration = leader.configuration();
                configuration.voters == expected && configuration.outgoing.is_none()
            }) {
                return;
            }
            match leader {
                // It may have lost the leadership meanwhile.
                Some(leader) => drop(leader.reconcile(&BTreeSet::new()).await),
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, keeping).await.expect("the council changes");
}

#[tokio::test]
async fn a_leader_that_is_drained_leads_no_more_before_it_leaves_the_council() {
    let cluster = Cluster::of(4).await;
    let first = cluster.node(1);
    first.propose(drain(1, true)).await.unwrap();
    first.reconcile(&BTreeSet::new()).await.unwrap();
    assert_eq!(first.configuration().voters, ids(&[1, 2, 3]), "that is for its successor to change");
    until(&first, |council| council.leader().is_some_and(|leader| leader != NodeId([1; 20]))).await;
    until_council_is(&cluster, &[2, 3, 4]).await;
    cluster.node(1).propose(drain(1, false)).await.unwrap();
}

#[tokio::test]
async fn the_one_voter_of_two_nodes_hands_over_to_a_node_that_did_not_vote() {
    let mut cluster = Cluster::founded().await;
    cluster.join(2).await;
    cluster.node(1).propose(drain(1, true)).await.unwrap();
    until_council_is(&cluster, &[2]).await;
    assert!(cluster.node(2).is_leader());
    cluster.node(1).propose(drain(2, true)).await.unwrap();
}

#[tokio::test]
async fn the_leader_hands_over_before_it_leaves() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.node(1);
    leader.propose(Change::Leave(node_info(1, 1).member())).await.unwrap();
    leader.propose(Change::Leave(node_info(2, 1).member())).await.unwrap();
    leader.hand_over().await.unwrap();
    until(&leader, |council| council.leader() == Some(NodeId([3; 20]))).await;
    leader.propose(drain(1, true)).await.unwrap();
}

#[tokio::test]
async fn a_minority_decides_nothing() {
    let mut cluster = Cluster::of(3).await;
    let before = cluster.node(3).topology().load().version;
    cluster.stop(1).await;
    cluster.stop(2).await;
    let alone = cluster.node(3);
    let error = alone.propose(drain(1, true)).await.unwrap_err();
    assert!(matches!(error, ProposeError::NoLeader | ProposeError::OutcomeUnknown), "{error}");
    assert_eq!(alone.topology().load().version, before);
}

#[tokio::test]
async fn what_is_meant_for_another_cluster_is_refused() {
    let cluster = Cluster::founded().await;
    let (other, here) = (ClusterId([8; 20]), node_info(1, 1).address);
    let refused = join(&cluster.net, std::slice::from_ref(&here), Some(other), &node_info(2, 1)).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(&refused, JoinError::OtherCluster { found, wanted, .. } if (*found, *wanted) == (CLUSTER, other)),
        "{refused}"
    );
    assert!(read_topology(&cluster.net, other, None, &here, Version(0)).await.is_err());
    let envelope = Envelope { cluster: None, request: Request::Propose(drain(1, true)) };
    let answer: Result<Answer, Rejection> =
        codec::decode(&cluster.node(1).answer(codec::encode(&envelope)).await).unwrap();
    assert_eq!(
        answer.err(),
        Some(Rejection::OtherCluster(CLUSTER)),
        "only who joins may not know the cluster"
    );
    assert_eq!(cluster.node(1).topology().load().version, Version(1));
}

#[tokio::test]
async fn a_topology_is_told_to_those_who_have_an_older_one() {
    let cluster = Cluster::founded().await;
    let here = node_info(1, 1).address;
    let read = async |than| read_topology(&cluster.net, CLUSTER, None, &here, than).await.unwrap();
    assert_eq!(read(Version(0)).await.as_ref(), Some(&**cluster.node(1).topology().load()));
    assert_eq!(read(Version(1)).await, None);
}

#[tokio::test]
async fn an_incarnation_that_is_over_is_not_admitted() {
    let mut cluster = Cluster::founded().await;
    cluster.join(2).await;
    cluster.node(1).propose(Change::Admit(node_info(2, 5))).await.unwrap();
    let addresses = [node_info(1, 1).address];
    let refused = join(&cluster.net, &addresses, Some(CLUSTER), &node_info(2, 4)).await;
    assert!(matches!(refused, Err(JoinError::Refused(Refused::IncarnationOver))));
}

#[tokio::test]
async fn nobody_to_join_is_told_with_all_that_were_tried() {
    let addresses = [node_info(98, 1).address, node_info(99, 1).address];
    let error = join(&Net::default(), &addresses, None, &node_info(2, 1)).await.unwrap_err();
    assert!(matches!(&error, JoinError::Nobody(tried) if tried.len() == 2), "{error}");
}

#[tokio::test]
async fn a_proposal_that_is_too_large_is_refused_before_it_is_made() {
    let cluster = Cluster::founded().await;
    let mut info = node_info(2, 1);
    info.zone = "z".repeat(PROPOSAL_SIZE_LIMIT);
    let refused = cluster.node(1).propose(Change::Admit(info)).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge(_))));
}

#[tokio::test]
async fn garbage_is_answered() {
    let cluster = Cluster::founded().await;
    let answer = cluster.node(1).answer(vec![0xff; 100]).await;
    let answer: Result<Answer, Rejection> = codec::decode(&answer).unwrap();
    assert!(matches!(answer, Err(Rejection::Unreadable(_))));
}

/// A disk that is full once the log has its two segments.
fn full_disk() -> Allocate {
    Arc::new(|file, range| match range.start {
        0 => disk::write_zeros(file, range),
        _ => Err(io::ErrorKind::StorageFull.into()),
    })
}

async fn founded_on(place: &Path, allocate: Allocate) -> (Directory, Council) {
    let directory = Directory::open(place, NodeId([1; 20])).unwrap();
    directory.enter_cluster(CLUSTER, None).unwrap();
    let council = Council::open_on(&directory, Arc::new(Net::default()), SETTINGS, allocate).await.unwrap();
    council.found(Settings::default(), node_info(1, 1)).await.unwrap();
    (directory, council)
}

#[tokio::test]
async fn a_full_disk_stops_no_decision() {
    let place = tempfile::tempdir().unwrap();
    let (_directory, council) = founded_on(place.path(), full_disk()).await;
    for _ in 0..600 {
        council.propose(large(1)).await.unwrap();
    }
    assert!(council.raft.metrics().borrow_watched().purged.is_some(), "the log has been round");
    assert_eq!(council.topology().load().version, Version(601));
    council.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_log_that_cannot_grow_stops_the_node_and_says_why() {
    let place = tempfile::tempdir().unwrap();
    let (_directory, council) = founded_on(place.path(), full_disk()).await;
    let mut info = node_info(1, 1);
    info.zone = "z".repeat(PROPOSAL_SIZE_LIMIT - 200);
    while council.propose(Change::Admit(info.clone())).await.is_ok() {}
    until(&council, |council| council.status.borrow().stopped.is_some()).await;
    let why = council.status().borrow().stopped.clone().unwrap();
    assert!(why.contains("no space left for"), "{why}");
}

#[tokio::test]
async fn a_directory_without_a_cluster_has_no_council() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path(), NodeId([1; 20])).unwrap();
    let refused = Council::open(&directory, Arc::new(Net::default()), SETTINGS).await;
    assert!(matches!(refused, Err(Fatal::NoCluster { .. })));
}

fn log_in(place: &Path) -> Log {
    let file = LogFile::open(place, 2 * KEPT_FOR_VOTES, Arc::new(disk::write_zeros)).unwrap();
    Log::start(file, spawn).unwrap()
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_before_the_log_is_closed() {
    let place = tempfile::tempdir().unwrap();
    let mut log = log_in(place.path());
    log.save_vote(&types::Vote::new(3, 7)).await.unwrap();
    let committed = log_id(9);
    log.save_committed(Some(committed)).await.unwrap();
    log.close().await.unwrap();
    let file = LogFile::open(place.path(), 2 * KEPT_FOR_VOTES, Arc::new(disk::write_zeros)).unwrap();
    assert_eq!(file.image().committed, Some(committed));
    assert_eq!(file.image().vote, Some(types::Vote::new(3, 7)));
}

impl Default for Peer {
    fn default() -> Self {
        Self::new(&node_info(1, 1))
    }
}

/// The library's own tests of a log and a state machine.
struct Stores;

impl StoreBuilder<Types, Log, Machine, tempfile::TempDir> for Stores {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, Machine), StorageError<Types>> {
        let place = tempfile::tempdir().unwrap();
        let log = log_in(place.path());
        Ok((place, log.clone(), Machine::new(log, Published::new())))
    }
}

#[tokio::test]
async fn log_and_machine_keep_what_openraft_asks_of_them() {
    Suite::test_all(Stores).await.unwrap();
}

#[tokio::test]
async fn idle_council_is_at_rest() {
    let cluster = Cluster::of(3).await;
    let leader = cluster.leader().expect("it is settled");
    let mut metrics = leader.raft.metrics();
    let mut changes = 0;
    // Each turn lets every task that is ready run once. A few heartbeats may fall into them.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
        changes += usize::from(metrics.changed().now_or_never().is_some());
    }
    assert!(changes < 1_000, "{changes} changes in 10,000 turns");
}
