//! The control thread: agreement, membership, failover and placement, apart from everything that serves clients.
//!
//! It has a thread and a runtime of its own, on which no command ever runs. It takes connections of the bus in and
//! hands those of event loops on ([`bus`]); it keeps the council, applies each new topology to the node's shards before anybody
//! sees it ([`roles`]), conducts while this node leads ([`conductor`]), and does what the beat thread asks for
//! ([`beats`]).

pub mod admin;
pub mod beats;
pub mod bus;
pub mod conductor;
pub mod status;
pub mod transport;

use std::{
    collections::HashMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ringfort_cluster::{
    Change, Member, NodeId, NodeInfo, NodeState, ShardChange, Topology, Verdict, Version,
    council::Council,
    directory::Directory,
    lease::{
        elector::RaftView,
        voters::{Stamp, Voters},
    },
    refusals::Refusals,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::{
    beats::{Beats, Out},
    conductor::{Conductor, STEPS_AT_ONCE},
    transport::Calls,
};
use crate::{node::Node, replication::roles, stopping::Stop, tasks};

/// How long a node that stops hands its shards over.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(10);

/// How long it waits for the council to note that it has left.
const LEAVE_LIMIT: Duration = Duration::from_secs(2);

/// How often the conductor looks when nothing else makes it.
const CONDUCT: Duration = Duration::from_millis(100);

/// How often a node that is about to stop looks whether anybody hears it.
const CUT_OFF_TICK: Duration = Duration::from_millis(20);

/// A node that has had no lease for so many leases is cut off from the council's majority.
const CUT_OFF_LEASES: u64 = 2;

/// Something that a client asks of the cluster as a whole.
pub struct Command {
    /// What is asked.
    pub what: admin::Admin,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// What the control thread is started with.
pub struct Start {
    /// What all threads share.
    pub node: Arc<Node>,
    /// The node's data directory.
    pub directory: Arc<Directory>,
    /// Its refusals.
    pub refusals: Arc<Refusals>,
    /// What it says of itself.
    pub info: NodeInfo,
    /// Requests to other control threads.
    pub calls: Calls,
    /// Its part in the council.
    pub council: Arc<Council>,
    /// The way to the beat thread.
    pub beats: Arc<Beats>,
    /// What the beat thread asks for.
    pub from_beats: mpsc::UnboundedReceiver<Out>,
    /// Tells the event loops of new versions of the topology.
    pub tell: watch::Sender<Version>,
    /// What replication asks of the council.
    pub from_replication: mpsc::UnboundedReceiver<Vec<ShardChange>>,
    /// What clients ask.
    pub commands: mpsc::UnboundedReceiver<Command>,
}

/// The control thread's state, shared by its tasks.
pub struct Control {
    node: Arc<Node>,
    directory: Arc<Directory>,
    refusals: Arc<Refusals>,
    info: NodeInfo,
    council: Arc<Council>,
    calls: Calls,
    beats: Arc<Beats>,
    tell: watch::Sender<Version>,
    /// Wakes the conductor.
    conduct: Arc<Notify>,
    /// Wakes the task that looks up the names of nodes.
    unresolved: Notify,
    /// Woken when the cluster has removed this node.
    removed: Notify,
}

/// Starts all tasks of the control thread, within its runtime.
pub fn start(start: Start) -> Arc<Control> {
    let control = Arc::new(Control {
        node: start.node,
        directory: start.directory,
        refusals: start.refusals,
        info: start.info,
        council: start.council,
        calls: start.calls,
        beats: start.beats,
        tell: start.tell,
        conduct: Arc::default(),
        unresolved: Notify::new(),
        removed: Notify::new(),
    });
    tasks::control("names", Arc::clone(&control).resolve_forever());
    tasks::control("topology", Arc::clone(&control).follow_topology());
    tasks::control("raft", Arc::clone(&control).follow_raft());
    tasks::control("beats", Arc::clone(&control).serve_beats(start.from_beats));
    tasks::control("asks", Arc::clone(&control).serve_replication(start.from_replication));
    tasks::control("commands", Arc::clone(&control).serve_commands(start.commands));
    tasks::control("conductor", Arc::clone(&control).conduct());
    control
}

impl Control {
    /// Applies each new topology to the shards, then shows it to everybody on the node.
    async fn follow_topology(self: Arc<Self>) {
        let mut changes = self.council.changes();
        loop {
            let topology = self.council.topology().load_full();
            if self.forgets_this_node(&topology) {
                return self.leave_for_good();
            }
            if topology.is_founded() {
                self.adopt(&topology);
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Keeps the beat thread up to date on where nodes receive datagrams. Looking names up may take long, and must not
    /// hold up the next topology.
    async fn resolve_forever(self: Arc<Self>) {
        loop {
            self.unresolved.notified().await;
            let places = resolve(&self.node.topology.load_full()).await;
            self.beats.tell(|inbox| inbox.places.extend(places));
        }
    }

    fn adopt(&self, topology: &Arc<Topology>) {
        roles::adopt(&self.node, topology);
        self.node.topology.store(Arc::clone(topology));
        self.tell.send_replace(topology.version);
        self.conduct.notify_one();
        let agreed = Arc::clone(topology);
        self.beats.tell(|inbox| inbox.topology = Some(agreed));
        self.unresolved.notify_one();
        if let Err(error) = self.refusals.forget(&self.node.topology.load()) {
            tracing::warn!(%error, "old refusals could not be struck off");
        }
    }

    fn forgets_this_node(&self, topology: &Topology) -> bool {
        let knows = |topology: &Topology| topology.nodes.contains_key(&self.node.id);
        knows(&self.node.topology.load()) && !knows(topology)
    }

    /// The cluster has removed this node: it says so on disk, and stops.
    fn leave_for_good(&self) {
        tracing::warn!("this node was removed from its cluster; it stops");
        if let Err(error) = self.directory.mark_removed() {
            tracing::error!(%error, "the data directory could not be marked");
        }
        self.node.lease.retire();
        self.removed.notify_one();
    }

    /// Returns when the cluster has removed this node: it is to stop, and has nothing to hand over.
    pub async fn removed(&self) {
        self.removed.notified().await;
    }

    /// Tells the beat thread what Raft says, as it changes.
    async fn follow_raft(self: Arc<Self>) {
        let mut status = self.council.status();
        loop {
            let (view, stopped) = {
                let status = status.borrow_and_update();
                (view(&status), status.stopped.clone())
            };
            if let Some(why) = stopped {
                tracing::error!(why, "agreement has stopped on this node; the node stops");
                std::process::exit(1);
            }
            self.beats.tell(|inbox| inbox.raft = Some(view));
            self.conduct.notify_one();
            if status.changed().await.is_err() {
                return;
            }
        }
    }

    async fn serve_beats(self: Arc<Self>, mut from: mpsc::UnboundedReceiver<Out>) {
        while let Some(out) = from.recv().await {
            let this = Arc::clone(&self);
            match out {
                Out::Persist(member) => this.persist(member),
                Out::End(end) => tasks::control("end", this.end(end)),
                Out::Elect => {
                    if let Err(error) = self.council.elect().await {
                        tracing::debug!(%error, "no election could be called");
                    }
                }
                // A node that stops has said itself that its incarnation is over.
                Out::Draw if self.node.lease.is_retired() => {}
                Out::Draw => tasks::control("draw", this.draw()),
            }
        }
    }

    /// Writes a refusal to disk, off this thread.
    fn persist(self: Arc<Self>, member: Member) {
        tokio::task::spawn_blocking(move || {
            let version = self.node.topology.load().version;
            match self.refusals.refuse(member, version) {
                Ok(()) => self.beats.tell(|inbox| inbox.persisted.push(member)),
                Err(error) => tracing::error!(%member, %error, "a refusal could not be written"),
            }
        });
    }

    async fn end(self: Arc<Self>, mut end: Change) {
        if let Change::End { by: Verdict::Council { index, .. }, .. } = &mut end {
            *index = index_of(*index);
        }
        match self.council.propose(end.clone()).await {
            Ok(_) => tracing::warn!(%end, "declared dead"),
            Err(error) => tracing::debug!(%end, %error, "a death was not declared"),
        }
        self.conduct.notify_one();
    }

    /// Draws a new incarnation, gives up all roles of the old one, and asks to be admitted anew.
    async fn draw(self: Arc<Self>) {
        let directory = Arc::clone(&self.directory);
        let drawn = tokio::task::spawn_blocking(move || directory.raise_incarnation()).await;
        let incarnation = match drawn {
            Ok(Ok(incarnation)) => incarnation,
            failed => {
                tracing::error!(?failed, "no new incarnation could be drawn; the node stops");
                std::process::exit(1);
            }
        };
        self.node.incarnation.store(incarnation.0, Ordering::Release);
        let topology = self.node.topology.load_full();
        roles::adopt(&self.node, &topology);
        self.tell.send_modify(|_| {});
        let member = self.node.member();
        tracing::warn!(%member, "this node had lost its place; it goes on as a new incarnation");
        self.beats.tell(|inbox| inbox.reborn = Some(member));
        self.be_admitted().await;
    }

    /// Asks until this incarnation is part of the topology, or another one is.
    pub async fn be_admitted(&self) {
        let member = self.node.member();
        let info = NodeInfo { incarnation: member.incarnation, ..self.info.clone() };
        loop {
            let known = self.council.topology().load_full();
            let newest = known.nodes.get(&member.node).map(|node| &node.info);
            if newest == Some(&info) || self.node.member() != member {
                return;
            }
            match self.council.propose(Change::Admit(info.clone())).await {
                Ok(_) => return,
                Err(error) => tracing::debug!(%error, "not admitted yet"),
            }
            if self.ask_around(&info).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Asks other nodes directly, for a node whose own log does not lead to the council any more.
    async fn ask_around(&self, info: &NodeInfo) -> bool {
        let topology = self.council.topology().load_full();
        let others = topology.nodes.values().filter(|node| node.info.id != self.node.id);
        let addresses: Vec<_> = others.map(|node| node.info.address.clone()).collect();
        let cluster = self.directory.cluster();
        match ringfort_cluster::council::join(&self.calls, &addresses, cluster, info).await {
            Ok(_) => true,
            Err(error) => {
                tracing::debug!(%error, "no other node could help");
                false
            }
        }
    }

    async fn serve_replication(self: Arc<Self>, mut from: mpsc::UnboundedReceiver<Vec<ShardChange>>) {
        while let Some(mut steps) = from.recv().await {
            while let Ok(more) = from.try_recv() {
                steps.extend(more);
            }
            for batch in steps.chunks(STEPS_AT_ONCE) {
                let (this, batch) = (Arc::clone(&self), batch.to_vec());
                tasks::control("steps", async move {
                    if let Err(error) = this.council.propose(Change::Shards(batch)).await {
                        tracing::debug!(%error, "steps of shards were not taken");
                    }
                });
            }
        }
    }

    async fn serve_commands(self: Arc<Self>, mut from: mpsc::UnboundedReceiver<Command>) {
        while let Some(Command { what, answer }) = from.recv().await {
            let this = Arc::clone(&self);
            tasks::control("command", async move {
                // The client may have gone.
                let _ = answer.send(this.administer(what).await);
            });
        }
    }

    async fn conduct(self: Arc<Self>) {
        let mut conductor =
            Conductor::new(Arc::clone(&self.node), Arc::clone(&self.council), self.calls.clone());
        loop {
            // Either wakes it; which one does not matter.
            let _ = tokio::time::timeout(CONDUCT, self.conduct.notified()).await;
            while conductor.turn().await {}
        }
    }

    /// Waits until the node is told to stop, and has others take over what it serves. It may be told to go on while that
    /// is under way. When this returns, the node is to give up its lease and then to [leave](Self::leave).
    pub async fn serve_until_stopped(&self) {
        let stopping = &self.node.stopping;
        loop {
            let stop = tokio::select! {
                stop = stopping.asked() => stop,
                never = self.stay() => match never {},
            };
            if stop == Stop::Gracefully {
                tracing::info!("stopping: the shards are handed over first");
                self.hand_over().await;
            }
            if stopping.make_certain() {
                break;
            }
            tracing::info!("the stop was taken back");
        }
    }

    /// Hands all shards over that others can serve, until there are none, it has taken too long, or the node is not to
    /// stop in this way any more.
    async fn hand_over(&self) {
        let member = self.node.member();
        let limit = tokio::time::Instant::now() + HAND_OVER_LIMIT;
        // It is not given up for a change of mind: what is on its way to the council cannot be called back.
        let told = tokio::select! {
            told = tokio::time::timeout_at(limit, self.council.propose(Change::Leave(member))) => told,
            () = self.cut_off() => {
                tracing::warn!("no majority of the council hears this node; it stops without handing over");
                return;
            }
        };
        if !matches!(told, Ok(Ok(_))) {
            tracing::warn!(?told, "the cluster could not be told that this node is about to stop");
            return;
        }
        tokio::select! {
            () = self.without_heirs(member) => {}
            () = self.node.stopping.other_than(Stop::Gracefully) => {}
            () = self.cut_off() => {
                tracing::warn!("no majority of the council hears this node any more; it stops");
            }
            () = tokio::time::sleep_until(limit) => {
                tracing::warn!("not all shards were handed over in time; others take them over when this node has gone");
            }
        }
    }

    /// Waits until no shard is left that this node serves and another one could.
    async fn without_heirs(&self, member: Member) {
        let mut changes = self.council.changes();
        loop {
            let topology = self.council.topology().load_full();
            let stays = |id: &NodeId| topology.nodes.get(id).is_some_and(|node| !node.leaving);
            let other = |candidate: &Member| {
                *candidate != member && topology.is_alive(*candidate) && stays(&candidate.node)
            };
            let has_heir = |shard: &ringfort_cluster::Shard| {
                shard.primary == Some(member) && shard.in_sync.iter().any(other)
            };
            if !topology.shards.iter().any(has_heir) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Tells the cluster that this node stays, whenever it has heard that it leaves: a stop was taken back, and the news of
    /// it may come late. What the node has handed over comes back as placement has it.
    async fn stay(&self) -> Infallible {
        let mut changes = self.council.changes();
        loop {
            let topology = self.council.topology().load_full();
            let member = self.node.member();
            let leaves = |node: &ringfort_cluster::Node| node.leaving && node.info.member() == member;
            if topology.nodes.get(&member.node).is_some_and(leaves) {
                let info = NodeInfo { incarnation: member.incarnation, ..self.info.clone() };
                match self.council.propose(Change::Admit(info)).await {
                    Ok(_) => tracing::info!("the cluster knows that this node stays"),
                    Err(error) => {
                        tracing::debug!(%error, "the cluster does not know yet that this node stays");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            } else if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Says that this incarnation is over, and leads the council no more: for a node that has retired.
    pub async fn leave(&self) {
        let member = self.node.member();
        // A node that is alone has nobody to tell.
        let is_other =
            |node: &ringfort_cluster::Node| node.state == NodeState::Alive && node.info.id != member.node;
        if !self.council.topology().load().nodes.values().any(is_other) {
            return;
        }
        let leaving = async {
            let left = self.council.propose(Change::End { member, by: Verdict::Itself }).await;
            tracing::info!(ok = left.is_ok(), "this node has handed over");
            if self.council.is_leader()
                && let Err(error) = self.council.hand_over().await
            {
                tracing::debug!(%error, "the leadership was not handed over");
            }
        };
        tokio::select! {
            () = leaving => {}
            () = self.cut_off() => {}
            () = tokio::time::sleep(LEAVE_LIMIT) => {
                tracing::warn!("the council did not note in time that this node has left");
            }
        }
    }

    /// Returns when this node has had no lease for a while: no majority of the council hears it, so nothing that it
    /// asks for will be decided.
    async fn cut_off(&self) {
        let mut since = None;
        loop {
            tokio::time::sleep(CUT_OFF_TICK).await;
            let now = self.node.clock.boot();
            let lease = self.node.topology.load().settings.lease().as_nanos() as u64;
            if self.node.lease.confirms(now) {
                since = None;
            } else if now - *since.get_or_insert(now) >= lease * CUT_OFF_LEASES {
                return;
            }
        }
    }
}

/// Where the nodes of a topology receive datagrams.
async fn resolve(topology: &Topology) -> HashMap<NodeId, SocketAddr> {
    let mut places = HashMap::new();
    for node in topology.nodes.values() {
        let address = &node.info.address;
        if let Ok(mut found) = tokio::net::lookup_host((address.host.as_str(), address.bus_port)).await
            && let Some(place) = found.next()
        {
            places.insert(node.info.id, place);
        }
    }
    places
}

/// The index in Raft's log that a stamp's index stands for. A stamp of zeros is older than every configuration, and the
/// first entry of a log has index 0, so stamps count from 1.
fn index_of(stamp: u64) -> u64 {
    stamp.saturating_sub(1)
}

fn view(status: &ringfort_cluster::council::Status) -> RaftView {
    let configuration = &status.configuration;
    let (term, index) = configuration.version;
    let stamp = Stamp { term, index: index + 1 };
    let voters = match &configuration.outgoing {
        None => Voters { stamp, old: configuration.voters.clone(), new: Vec::new() },
        Some(outgoing) => Voters { stamp, old: outgoing.clone(), new: configuration.voters.clone() },
    };
    RaftView { term: status.term, leader: status.leader, voters, settled: status.settled }
}
