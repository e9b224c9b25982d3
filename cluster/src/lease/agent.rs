//! Everything of leases that one node does, joined: what the beat thread drives.
//!
//! Every node has one agent, whether it sits in the council or not: all nodes beat, any node may become a member, any
//! member may lead. The thread that drives it does this, and the order matters:
//!
//! ```text
//! loop {
//!     let began = clock.reading();                      // before the socket is read
//!     take what others left: topology, Raft's view, refusals that are on disk, health
//!     while the socket has datagrams {                  // all of them, else no turn_end
//!         receive them; agent.receive(clock.reading(), source, bytes);
//!     }
//!     agent.turn_end(began);
//!     publish agent.lease_until();                      // before anything is sent
//!     send agent.outbox().datagrams();
//!     hand on what is to be persisted, who is dead, whether to call an election;
//!     agent.outbox_mut().clear();
//!     wait until the socket is readable, agent.deadline() has come, or others have left something
//! }
//! ```
//!
//! If the socket is not empty after a bounded number of datagrams, the thread sends what is in the outbox and goes on
//! reading without a `turn_end`: answers must not wait, judgements must.
//!
//! What a node says to itself, being a member, takes no datagram. So a cluster of one node is a council of one.

use std::{collections::BTreeMap, net::SocketAddr, ops::Range, sync::Arc, time::Duration};

use crate::{
    change::{Change, Verdict},
    ids::{Member, NodeId},
    lease::{
        BootTime,
        detector::{Detector, Question},
        elector::{Elector, RaftView},
        holder::Holder,
        promiser::Promiser,
        voters::Stamp,
        wire::{Answer, Ask, BadDatagram, Beat, Body, Datagram, Probe, Reply, Wire},
    },
    topology::Topology,
};

/// Bytes that an outbox holds at most: the answers to 7,000 beats. What does not fit is lost, like a datagram.
pub const OUTBOX_LIMIT: usize = 1 << 20;

/// Both clocks of a machine, read at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_BOOTTIME.
    pub boot: BootTime,
    /// The wall clock in Unix milliseconds; only skew is measured by it.
    pub wall_ms: u64,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// To the bus port of this node.
    Node(NodeId),
    /// Back to where the beat came from: its sender may not be in the topology yet.
    Back(SocketAddr),
}

/// What the beat thread has to do for the agent.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<(To, Range<usize>)>,
    /// Refusals to write to disk, then to be told to [`Agent::persisted`].
    pub persist: Vec<Member>,
    dead: Vec<Member>,
    council: Stamp,
    /// The leader is dead: call an election in Raft.
    pub elect: bool,
    /// Raise the incarnation on disk and then call [`Agent::reincarnate`]: this one is over, or gets no lease any more.
    pub draw: bool,
}

impl Outbox {
    /// The datagrams to send.
    pub fn datagrams(&self) -> impl Iterator<Item = (To, &[u8])> {
        let bytes = |range: &Range<usize>| &self.bytes[range.clone()];
        self.datagrams.iter().map(move |(to, range)| (*to, bytes(range)))
    }

    /// What this node, which leads, has to propose: the end of every incarnation that a majority has refused. It comes
    /// again until the topology shows it.
    pub fn ends(&self) -> impl Iterator<Item = Change> + '_ {
        let Stamp { term, index } = self.council;
        let by = Verdict::Council { term, index };
        self.dead.iter().map(move |member| Change::End { member: *member, by })
    }

    /// Empties it; the memory is kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.persist.clear();
        self.dead.clear();
        self.elect = false;
        self.draw = false;
    }

    fn push(&mut self, wire: &Wire, to: To, datagram: &Datagram) {
        if self.bytes.len() < OUTBOX_LIMIT {
            let start = self.bytes.len();
            wire.encode(datagram, &mut self.bytes);
            self.datagrams.push((to, start..self.bytes.len()));
        }
    }
}

/// The leases of one node: all its roles.
pub struct Agent {
    wire: Wire,
    holder: Holder,
    promiser: Promiser,
    detector: Detector,
    elector: Elector,
    topology: Arc<Topology>,
    raft: RaftView,
    asks: u64,
    skews: BTreeMap<NodeId, i64>,
    outbox: Outbox,
}

impl Agent {
    /// The agent of a process that has just started as `me`, with the refusals from its disk. `quiet` is the longest
    /// lease that may have been in force before it started.
    pub fn new(
        now: BootTime,
        me: Member,
        wire: Wire,
        quiet: Duration,
        refusals: impl IntoIterator<Item = Member>,
    ) -> Self {
        Self {
            wire,
            holder: Holder::new(now, me, quiet),
            promiser: Promiser::new(now, quiet, refusals),
            detector: Detector::new(now, quiet),
            elector: Elector::default(),
            topology: Arc::new(Topology::unfounded()),
            raft: RaftView::default(),
            asks: 0,
            skews: BTreeMap::new(),
            outbox: Outbox::default(),
        }
    }

    /// The node has applied this topology, not later than `now`.
    pub fn adopt(&mut self, now: BootTime, topology: Arc<Topology>) {
        if topology.version <= self.topology.version {
            return;
        }
        self.promiser.adopt(now, &topology);
        self.detector.adopt(&topology);
        self.holder.set_lease(topology.settings.lease());
        self.skews.retain(|node, _| topology.nodes.contains_key(node));
        let me = self.holder.me();
        let is_over =
            |known: Member| known.incarnation > me.incarnation || (known == me && !topology.is_alive(me));
        if topology.nodes.get(&me.node).is_some_and(|node| is_over(node.info.member())) {
            self.holder.end();
        }
        self.topology = topology;
    }

    /// What the node's Raft says, read from it before `now`.
    pub fn see_raft(&mut self, now: BootTime, raft: &RaftView) {
        if *raft == self.raft {
            return;
        }
        self.raft.clone_from(raft);
        if raft.settled {
            self.holder.hear_of(&raft.voters);
        }
        self.detector.adopt_voters(now, &raft.voters);
        if raft.leader != Some(self.holder.me().node) {
            self.detector.rest();
        }
    }

    /// Whether every event loop of the node turns.
    pub fn set_healthy(&mut self, healthy: bool) {
        self.holder.set_healthy(healthy);
    }

    /// The refusal is on disk.
    pub fn persisted(&mut self, member: Member) {
        self.promiser.persisted(member);
    }

    /// The process goes on as a newer incarnation of its node, which is on disk. The older one holds no lease any more;
    /// the promises that this node has made to others stay.
    pub fn reincarnate(&mut self, now: BootTime, me: Member) {
        let mut holder = Holder::new(now, me, self.topology.settings.lease());
        holder.hear_of(self.holder.voters());
        self.holder = holder;
    }

    /// The incarnation that holds or seeks the lease.
    pub fn me(&self) -> Member {
        self.holder.me()
    }

    /// The node may serve while its clock shows less than this.
    pub fn lease_until(&self) -> BootTime {
        self.holder.lease_until()
    }

    /// By how many milliseconds the wall clocks of other nodes are ahead of this one: of the council members, and on
    /// these of all nodes, less exactly.
    pub fn skews(&self) -> impl Iterator<Item = (NodeId, i64)> + '_ {
        self.skews.iter().map(|(node, skew)| (*node, *skew))
    }

    /// The refusals on disk that still matter, given the topology that is on disk.
    pub fn prune(&mut self, durable: &Topology) -> impl Iterator<Item = Member> + '_ {
        self.promiser.prune(durable);
        self.promiser.refusals()
    }

    /// Takes a datagram that arrived from `source` not later than `now`.
    pub fn receive(&mut self, now: Reading, source: SocketAddr, bytes: &[u8]) -> Result<(), BadDatagram> {
        let Datagram { from, to, body } = self.wire.decode(bytes)?;
        if to != self.holder.me().node {
            return Ok(());
        }
        self.detector.stir();
        match body {
            Body::Beat(beat) => {
                if let Some(answer) = self.answer(now, from, &beat) {
                    let datagram =
                        Datagram { from: self.holder.me(), to: from.node, body: Body::Answer(answer) };
                    self.outbox.push(&self.wire, To::Back(source), &datagram);
                }
            }
            Body::Answer(answer) => {
                // Half of the way there and back: the answer's clock was read in the middle.
                let half_way = now.boot.since(answer.sent).as_millis() as i64 / 2;
                self.measure_skew(from.node, answer.wall_ms, now.wall_ms, half_way);
                self.holder.answer(now.boot, from.node, &answer);
            }
            Body::Probe(probe) => self.probe(now.boot, from, &probe),
            Body::Consent(consent) => self.detector.consent(now.boot, from.node, &consent),
            Body::Ask(ask) => self.ask(from, &ask),
            Body::Refusal(about) => self.detector.refusal(&self.topology, from.node, about),
        }
        Ok(())
    }

    /// All datagrams that had arrived by `began` were received: promises are judged, and what is due is put into the
    /// outbox.
    pub fn turn_end(&mut self, began: Reading) {
        let now = began.boot;
        self.promiser.turn_began(now);
        self.beat(began);
        let leads = self.raft.leader == Some(self.holder.me().node);
        if leads {
            self.question(now);
        }
        self.judge(now);
        self.report();
        if leads {
            self.detector.deaths(now, &mut self.outbox.dead);
            self.outbox.council = self.raft.voters.stamp;
        }
        let me = self.holder.me().node;
        self.outbox.elect = self.elector.calls(now, me, &self.raft, &self.topology, &self.promiser);
        self.outbox.draw = self.holder.is_over() || self.holder.is_starved(now);
    }

    /// When the next turn is due if nothing arrives.
    pub fn deadline(&self) -> BootTime {
        let leads = self.raft.leader == Some(self.holder.me().node);
        let look = if leads { self.detector.deadline() } else { BootTime::FOREVER };
        self.holder.deadline().min(self.promiser.deadline()).min(self.elector.deadline()).min(look)
    }

    /// What is to be done.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The same, to be emptied.
    pub fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    fn answer(&mut self, now: Reading, from: Member, beat: &Beat) -> Option<Answer> {
        if !self.raft.voters.contains(from.node) {
            self.measure_skew(from.node, beat.wall_ms, now.wall_ms, 0);
        }
        let settled = self.raft.settled;
        let reply = match settled {
            true => self.promiser.beat(now.boot, from, beat)?,
            false => Reply::Unknown,
        };
        let newer = settled && self.raft.voters.stamp > beat.knows;
        Some(Answer {
            about: from.incarnation,
            counter: beat.counter,
            sent: beat.sent,
            reply,
            voters: newer.then(|| self.raft.voters.clone()),
            wall_ms: now.wall_ms,
        })
    }

    /// A leader with an older configuration than this member's is not heard: it leads no more.
    fn probe(&mut self, now: BootTime, from: Member, probe: &Probe) {
        if probe.council >= self.raft.voters.stamp {
            self.promiser.probe(now, from, probe);
        }
    }

    /// The same holds of its asks.
    fn ask(&mut self, from: Member, ask: &Ask) {
        if ask.council >= self.raft.voters.stamp {
            self.promiser.ask(from, ask);
        }
    }

    fn beat(&mut self, began: Reading) {
        let me = self.holder.me();
        let mut to_myself = None;
        self.holder.beats(began.boot, began.wall_ms, |node, beat| {
            if node == me.node {
                to_myself = Some(beat);
                return;
            }
            let datagram = Datagram { from: me, to: node, body: Body::Beat(beat) };
            self.outbox.push(&self.wire, To::Node(node), &datagram);
        });
        if let Some(answer) = to_myself.and_then(|beat| self.answer(began, me, &beat)) {
            self.holder.answer(began.boot, me.node, &answer);
        }
    }

    /// Probes and asks the council, this member too, about those that may be dead.
    fn question(&mut self, began: BootTime) {
        let me = self.holder.me();
        let council = self.raft.voters.stamp;
        let mut to_myself = Vec::new();
        self.detector.questions(began, &self.topology, &self.promiser, |node, about, question| {
            if node == me.node {
                to_myself.push((about, question));
                return;
            }
            let body = match question {
                Question::Probe => Body::Probe(Probe { sent: began, about, council }),
                Question::Ask => Body::Ask(next_ask(&mut self.asks, about, council)),
            };
            self.outbox.push(&self.wire, To::Node(node), &Datagram { from: me, to: node, body });
        });
        for (about, question) in to_myself {
            match question {
                Question::Probe => self.promiser.probe(began, me, &Probe { sent: began, about, council }),
                Question::Ask => self.promiser.ask(me, &next_ask(&mut self.asks, about, council)),
            }
        }
    }

    /// Decides on what this member was probed and asked about.
    fn judge(&mut self, began: BootTime) {
        let me = self.holder.me();
        let mut consents = Vec::new();
        self.promiser.judge(&mut self.outbox.persist, &mut consents);
        for (leader, consent) in consents {
            if leader == me.node {
                self.detector.consent(began, leader, &consent);
                continue;
            }
            let datagram = Datagram { from: me, to: leader, body: Body::Consent(consent) };
            self.outbox.push(&self.wire, To::Node(leader), &datagram);
        }
    }

    /// Tells the council, and whoever asked, whom this member has refused.
    fn report(&mut self) {
        let me = self.holder.me();
        let voters = &self.raft.voters;
        self.promiser.reports(|about, asker| {
            let stranger = asker.filter(|node| !voters.contains(*node));
            for node in voters.nodes().chain(stranger) {
                if node == me.node {
                    self.detector.refusal(&self.topology, node, about);
                    continue;
                }
                let datagram = Datagram { from: me, to: node, body: Body::Refusal(about) };
                self.outbox.push(&self.wire, To::Node(node), &datagram);
            }
        });
    }

    fn measure_skew(&mut self, node: NodeId, theirs: u64, mine: u64, age: i64) {
        if self.topology.nodes.contains_key(&node) {
            let skew = (theirs as i64).saturating_sub(mine as i64).saturating_add(age);
            self.skews.insert(node, skew);
        }
    }
}

fn next_ask(asks: &mut u64, about: Member, council: Stamp) -> Ask {
    *asks += 1;
    Ask { counter: *asks, about, council }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::tests::info,
        ids::ClusterId,
        lease::{less_drift, voters::Voters},
        topology::Settings,
    };

    const LEASE: Duration = Duration::from_millis(200);

    fn at(millis: u64) -> Reading {
        Reading { boot: BootTime(1_000_000_000_000 + millis * 1_000_000), wall_ms: millis }
    }

    #[test]
    fn a_cluster_of_one_node_is_a_council_of_one_and_holds_its_lease_at_once() {
        let mut topology = Topology::unfounded();
        let found =
            Change::Found { cluster: ClusterId([7; 20]), settings: Settings::default(), first: info(1, 1) };
        topology.apply(&found).unwrap();
        let wire = Wire::new(ClusterId([7; 20]), b"secret");
        let mut agent = Agent::new(at(0).boot, info(1, 1).member(), wire, LEASE, []);
        agent.adopt(at(0).boot, Arc::new(topology.clone()));
        let raft = RaftView {
            term: 1,
            leader: Some(info(1, 1).id),
            voters: Voters { stamp: Stamp { term: 1, index: 1 }, old: vec![info(1, 1).id], new: Vec::new() },
            settled: true,
        };
        agent.see_raft(at(0).boot, &raft);
        agent.turn_end(at(5));
        assert_eq!(agent.lease_until(), at(5).boot + less_drift(LEASE));
        assert_eq!(agent.outbox().datagrams().count(), 0);
        // Its death, however it came about, ends the lease and asks for a new incarnation.
        topology.apply(&Change::End { member: info(1, 1).member(), by: Verdict::Itself }).unwrap();
        agent.adopt(at(6).boot, Arc::new(topology));
        agent.turn_end(at(6));
        assert_eq!(agent.lease_until(), BootTime::NEVER);
        assert!(agent.outbox().draw);
    }
}
