//! The world of the simulation: machines with clocks that drift, a network that loses, delays, repeats and cuts,
//! processes that crash and are stopped anywhere, and a Raft that is reduced to what leases see of it.
//!
//! Raft here is one log of topologies that a leader can append to while it reaches a majority, and one chain of
//! configurations of the council. Entries, and who leads, reach the nodes late, and not across cuts. Everything follows
//! from the seed. A rule is switched off by the world around the state machines, never inside them.

mod faults;
mod raft;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    net::SocketAddr,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use crate::{
    change::{Change, Verdict, tests::info},
    ids::{ClusterId, Incarnation, Member, NodeId},
    lease::{
        BootTime,
        agent::{Agent, Reading, To},
        elector::RaftView,
        voters::{Stamp, Voters},
        wire::{Ask, Beat, Body, Datagram, Probe, Wire},
    },
    topology::{NodeState, Settings, Topology},
};

const MS: u64 = 1_000_000;
const LEASE: Duration = Duration::from_millis(200);

/// A stream of numbers that follows from its seed (splitmix64).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.range(0, 100) < percent
    }
}

/// The rules that the world can break.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// A member that has started refuses nobody for one lease.
    pub quiet_start: bool,
    /// Refusals survive a restart.
    pub durable: bool,
    /// A refused connection proves nothing.
    pub no_proof: bool,
    /// Promises are judged by the time at which the turn began, not by that at which it ends.
    pub judge_by_beginning: bool,
    /// Members tell the council of refusals that nobody asked about.
    pub report: bool,
    /// A starved node draws a new incarnation.
    pub give_up: bool,
    /// A dead incarnation is never admitted again.
    pub no_readmission: bool,
    /// The leader needs the old majority too for one lease.
    pub both_majorities: bool,
    /// Answers tell of newer configurations.
    pub told_of_councils: bool,
    /// Nobody counts by a council before it has applied what the council before it decided.
    pub settle_first: bool,
    /// Beats tell which answers their sender has heard.
    pub acknowledge: bool,
    /// Nobody is refused before a majority would refuse it.
    pub consent: bool,
}

const ALL_RULES: Rules = Rules {
    quiet_start: true,
    durable: true,
    no_proof: true,
    judge_by_beginning: true,
    report: true,
    give_up: true,
    no_readmission: true,
    both_majorities: true,
    told_of_councils: true,
    settle_first: true,
    acknowledge: true,
    consent: true,
};

/// What may go wrong in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A process ends and starts again, soon or later.
    Crash,
    /// A process ends and its machine is gone until the end of the faults.
    Lose,
    /// A process is stopped for a while between two turns.
    Pause,
    /// A process is stopped for a while within its next turn.
    Stall,
    /// Nothing passes between two nodes.
    Cut,
    /// Nothing passes from or to a node.
    Isolate,
    /// Nothing reaches a node any more, for the rest of the run.
    Deafen,
    /// Another one leads, for no reason.
    Elect,
    /// The council changes.
    Reform,
    /// Connections to a node that is well are refused.
    Reset,
}

/// One kind of run.
#[derive(Clone)]
pub(super) struct Plan {
    pub nodes: u8,
    pub rules: Rules,
    /// What goes wrong, each kind with the nodes that it may befall.
    pub faults: Vec<(Fault, Vec<u8>)>,
    /// What goes wrong in any case: between which two nodes nothing passes, and when, in milliseconds.
    pub cuts: Vec<(u8, u8, Range<u64>)>,
    /// Milliseconds between two faults, at least and at most.
    pub every: (u64, u64),
    /// Clocks run wrong by up to so many parts in a million.
    pub drift: i64,
    /// Of a hundred datagrams, how many are lost, sent twice, or late by up to a lease.
    pub lost: u64,
    pub twice: u64,
    pub late: u64,
    /// Entries of the log are applied up to so many milliseconds late.
    pub apply_lag: u64,
    /// How long faults go on, and how long the world is left in peace then, in milliseconds.
    pub troubled: u64,
    pub peace: u64,
}

impl Plan {
    pub(super) fn new(faults: Vec<(Fault, Vec<u8>)>) -> Self {
        Self {
            nodes: 5,
            rules: ALL_RULES,
            faults,
            cuts: Vec::new(),
            every: (10, 150),
            drift: 9_900,
            lost: 2,
            twice: 2,
            late: 2,
            apply_lag: 15,
            troubled: 4_000,
            peace: 3_000,
        }
    }
}

/// What a run came to.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Incarnations that were declared dead, in order.
    pub declared: Vec<Member>,
    /// The time of each declaration, in real ms.
    pub declared_at: Vec<u64>,
    /// An incarnation that was declared dead held a lease.
    pub unsafe_lease: Option<String>,
    /// At the end, who is up without a lease, or down and alive by the topology.
    pub starved: Vec<Member>,
    /// How many leaders were made by a call for election.
    pub called: u32,
    /// Which nodes had a lease and have it no more, each with when, in real ms.
    pub lapsed: Vec<(u64, u8)>,
    /// Which members have refused whom, in order.
    pub refused: Vec<(u8, Member)>,
}

enum Event {
    Deliver { to: u8, from: u8, bytes: Vec<u8> },
    Begin { node: u8, life: u64 },
    Read { node: u8, life: u64 },
    End { node: u8, life: u64 },
    Persisted { node: u8, life: u64, member: Member },
    Start { node: u8 },
    Apply { node: u8 },
    Hear { node: u8 },
    Advance,
    Admit { node: u8 },
    Lead { node: u8, term: u64 },
    Propose { term: u64, change: Change },
    Fault,
    Cut { a: u8, b: u8, until: u64 },
}

/// A machine, its disk, and the process on it.
struct Machine {
    offset: u64,
    ppm: i64,
    incarnation: u64,
    refusals: Vec<Member>,
    /// How much of the log it has applied, durably, and what its Raft says.
    applied: usize,
    applying: bool,
    raft: RaftView,
    /// Counts processes, so that events for an earlier one are told apart.
    life: u64,
    process: Option<Agent>,
    paused_until: u64,
    stall: u64,
    /// Whether it had a lease when that was looked at last.
    leased: bool,
    socket: VecDeque<(u8, Vec<u8>)>,
    began: Option<Reading>,
    begin_at: u64,
}

impl Machine {
    fn reading(&self, now: u64) -> Reading {
        let drift = (now as i128 * i128::from(self.ppm) / 1_000_000) as i64;
        Reading { boot: BootTime((self.offset + now).wrapping_add_signed(drift)), wall_ms: now / MS }
    }

    /// When this machine's clock shows `time`, or a little later.
    fn real(&self, time: BootTime) -> u64 {
        let local = i128::from(time.0.saturating_sub(self.offset));
        u64::try_from(local * 1_000_000 / (1_000_000 + i128::from(self.ppm)) + 2).unwrap_or(u64::MAX)
    }
}

pub(super) struct World {
    plan: Plan,
    rng: Rng,
    now: u64,
    sequence: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Event>,
    machines: Vec<Machine>,
    /// (from, to) -> until when nothing passes.
    cuts: BTreeMap<(u8, u8), u64>,
    log: Vec<Arc<Topology>>,
    term: u64,
    leader: Option<u8>,
    /// The configurations in the leader's log, oldest first, each with the length of `log` before it, and how many of
    /// them are committed.
    councils: Vec<(Voters, usize)>,
    committed: usize,
    wire: Wire,
    dead: BTreeSet<Member>,
    /// Who was asked by whom, to tell reports from answers.
    asked: BTreeSet<(u8, Member)>,
    story: Story,
}

pub(super) fn id(node: u8) -> NodeId {
    NodeId([node; 20])
}

fn index(node: NodeId) -> u8 {
    node.0[0]
}

fn address(node: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, node], 1))
}

/// Runs one world from its seed to the end.
pub(super) fn run(seed: u64, plan: &Plan) -> Story {
    let mut world = World::new(seed, plan.clone());
    let end = (plan.troubled + plan.peace) * MS;
    while world.story.unsafe_lease.is_none() {
        let Some(Reverse((time, sequence))) = world.events.pop() else {
            break;
        };
        if time > end {
            break;
        }
        world.now = time;
        if let Some(event) = world.what.remove(&sequence) {
            world.happen(event);
        }
    }
    world.now = end;
    world.judge_the_end();
    world.story
}

impl World {
    fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = Rng(seed);
        let mut topology = Topology::unfounded();
        let settings = Settings { shards: 1, orphan_timeout_ms: 0, ..Settings::default() };
        let found = Change::Found { cluster: ClusterId([7; 20]), settings, first: info(1, 1) };
        topology.apply(&found).unwrap();
        for node in 2..=plan.nodes {
            topology.apply(&Change::Admit(info(node, 1))).unwrap();
        }
        let voters = Voters {
            stamp: Stamp { term: 1, index: 1 },
            old: (1..=plan.nodes.min(3)).map(id).collect(),
            new: Vec::new(),
        };
        let raft = RaftView { term: 1, leader: Some(id(1)), voters: voters.clone(), settled: true };
        let machines = (0..=plan.nodes)
            .map(|_| Machine {
                offset: rng.range(1 << 30, 1 << 40),
                ppm: rng.range(0, 2 * plan.drift as u64 + 1) as i64 - plan.drift,
                incarnation: 0,
                refusals: Vec::new(),
                applied: 0,
                applying: false,
                raft: raft.clone(),
                life: 0,
                process: None,
                paused_until: 0,
                stall: 0,
                leased: false,
                socket: VecDeque::new(),
                began: None,
                begin_at: u64::MAX,
            })
            .collect();
        let mut world = Self {
            rng,
            now: 0,
            sequence: 0,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            machines,
            cuts: BTreeMap::new(),
            log: vec![Arc::new(topology)],
            term: 1,
            leader: Some(1),
            councils: vec![(voters, 0)],
            committed: 1,
            wire: Wire::new(ClusterId([7; 20]), b"secret"),
            dead: BTreeSet::new(),
            asked: BTreeSet::new(),
            story: Story::default(),
            plan,
        };
        for node in 1..=world.plan.nodes {
            world.start(node);
        }
        for (a, b, time) in world.plan.cuts.clone() {
            world.at(time.start * MS, Event::Cut { a, b, until: time.end * MS });
        }
        // A second of peace, for everybody to get a lease.
        world.after(1_000 * MS, Event::Fault);
        world
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time.max(self.now), self.sequence)));
        self.what.insert(self.sequence, event);
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    fn machine(&mut self, node: u8) -> &mut Machine {
        &mut self.machines[usize::from(node)]
    }

    fn troubled(&self) -> bool {
        self.now < self.plan.troubled * MS
    }

    fn passes(&self, from: u8, to: u8) -> bool {
        self.cuts.get(&(from, to)).is_none_or(|until| *until <= self.now)
    }

    /// Whether two processes run and can talk to each other.
    fn reaches(&self, a: u8, b: u8) -> bool {
        let runs = |node: u8| {
            let machine = &self.machines[usize::from(node)];
            machine.process.is_some() && machine.paused_until <= self.now
        };
        runs(a) && runs(b) && (a == b || (self.passes(a, b) && self.passes(b, a)))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { to, from, bytes } => {
                let machine = self.machine(to);
                if machine.process.is_some() {
                    machine.socket.push_back((from, bytes));
                    self.wake(to);
                }
            }
            Event::Begin { node, life } => self.begin(node, life),
            Event::Read { node, life } => self.read(node, life),
            Event::End { node, life } => self.end(node, life),
            Event::Persisted { node, life, member } => {
                let machine = self.machine(node);
                if machine.life == life
                    && let Some(agent) = &mut machine.process
                {
                    machine.refusals.push(member);
                    agent.persisted(member);
                    self.story.refused.push((node, member));
                    self.wake(node);
                }
            }
            Event::Start { node } => self.start(node),
            Event::Apply { node } => self.apply(node),
            Event::Hear { node } => self.hear(node),
            Event::Advance => self.advance(),
            Event::Admit { node } => self.admit(node),
            Event::Lead { node, term } => self.lead(node, term),
            Event::Propose { term, change } => self.propose(term, &change),
            Event::Fault => self.fault(),
            Event::Cut { a, b, until } => {
                self.cut(a, b, until);
                self.cut(b, a, until);
            }
        }
    }

    // ---- Processes

    fn start(&mut self, node: u8) {
        let (now, rules) = (self.now, self.plan.rules);
        let wire = self.wire.clone();
        let topology = self.log[self.machines[usize::from(node)].applied].clone();
        let machine = self.machine(node);
        if machine.process.is_some() {
            return;
        }
        machine.incarnation += 1;
        machine.life += 1;
        machine.began = None;
        machine.begin_at = u64::MAX;
        machine.socket.clear();
        machine.paused_until = 0;
        machine.raft.leader = None;
        let me = Member { node: id(node), incarnation: Incarnation(machine.incarnation) };
        let quiet = if rules.quiet_start { LEASE } else { Duration::ZERO };
        if !rules.durable {
            machine.refusals.clear();
        }
        let mut agent = Agent::new(machine.reading(now).boot, me, wire, quiet, machine.refusals.clone());
        agent.adopt(machine.reading(now).boot, topology);
        machine.process = Some(agent);
        self.wake(node);
        self.after(0, Event::Admit { node });
        self.apply_later(node);
        self.after(MS, Event::Hear { node });
    }

    fn crash(&mut self, node: u8) {
        let machine = self.machine(node);
        machine.process = None;
        machine.life += 1;
        machine.leased = false;
        if self.leader == Some(node) {
            self.leader = None;
        }
    }

    fn wake(&mut self, node: u8) {
        let soon = self.now + self.rng.range(5_000, 200_000);
        self.wake_at(node, soon);
    }

    fn wake_at(&mut self, node: u8, time: u64) {
        let machine = self.machine(node);
        let time = time.max(machine.paused_until);
        if machine.process.is_some() && machine.began.is_none() && time < machine.begin_at {
            machine.begin_at = time;
            let life = machine.life;
            self.at(time, Event::Begin { node, life });
        }
    }

    fn begin(&mut self, node: u8, life: u64) {
        let now = self.now;
        let topology = self.log[self.machines[usize::from(node)].applied].clone();
        let backdate = !self.plan.rules.both_majorities;
        let settled = self.settled(node) || !self.plan.rules.settle_first;
        let machine = self.machine(node);
        if machine.life != life || machine.began.is_some() || machine.begin_at > now {
            return;
        }
        machine.begin_at = u64::MAX;
        if machine.paused_until > now {
            self.wake(node);
            return;
        }
        let began = machine.reading(now);
        machine.began = Some(began);
        let stall = std::mem::take(&mut machine.stall);
        let Some(agent) = &mut machine.process else { return };
        let adopted =
            if backdate { BootTime(began.boot.0 - 2 * LEASE.as_nanos() as u64) } else { began.boot };
        machine.raft.settled = settled;
        agent.see_raft(adopted, &machine.raft);
        agent.adopt(began.boot, topology);
        // A stall comes before or after the socket is read.
        let first = if stall.is_multiple_of(2) { stall } else { 0 };
        self.after(first, Event::Read { node, life });
        self.after(stall + 1_000, Event::End { node, life });
    }

    fn read(&mut self, node: u8, life: u64) {
        let now = self.now;
        if self.machines[usize::from(node)].life != life {
            return;
        }
        self.watch(node);
        let machine = self.machine(node);
        let reading = machine.reading(now);
        let Some(agent) = &mut machine.process else { return };
        for (from, bytes) in machine.socket.drain(..) {
            agent.receive(reading, address(from), &bytes).unwrap();
        }
    }

    fn end(&mut self, node: u8, life: u64) {
        let (now, rules) = (self.now, self.plan.rules);
        let machine = self.machine(node);
        let reading = machine.reading(now);
        if machine.life != life {
            return;
        }
        let Some(began) = machine.began.take() else { return };
        let Some(agent) = &mut machine.process else { return };
        agent.turn_end(if rules.judge_by_beginning { began } else { reading });
        let outbox = agent.outbox_mut();
        let datagrams: Vec<_> = outbox.datagrams().map(|(to, bytes)| (to, bytes.to_vec())).collect();
        let persist = std::mem::take(&mut outbox.persist);
        let ends: Vec<Change> = outbox.ends().collect();
        let (elect, draw) = (outbox.elect, outbox.draw);
        outbox.clear();
        let deadline = agent.deadline();
        let deadline = machine.real(deadline);
        let term = machine.raft.term;
        self.check(node);
        self.watch(node);
        for (to, bytes) in datagrams {
            let to = match to {
                To::Node(to) => index(to),
                To::Back(address) => match address {
                    SocketAddr::V4(v4) => v4.ip().octets()[3],
                    SocketAddr::V6(_) => unreachable!("the world has v4 only"),
                },
            };
            self.send(node, to, bytes);
        }
        for member in persist {
            let delay = self.rng.range(MS / 2, 20 * MS);
            self.after(delay, Event::Persisted { node, life, member });
        }
        for change in ends {
            let delay = self.rng.range(MS, 10 * MS);
            self.after(delay, Event::Propose { term, change });
        }
        if elect {
            self.after(5 * MS, Event::Lead { node, term });
        }
        if draw {
            self.draw(node);
        }
        self.wake_at(node, deadline);
    }

    /// The process goes on as a newer incarnation.
    fn draw(&mut self, node: u8) {
        let (now, give_up) = (self.now, self.plan.rules.give_up);
        let known_alive =
            |member: Member, log: &[Arc<Topology>], applied: usize| log[applied].is_alive(member);
        let machine = &mut self.machines[usize::from(node)];
        let boot = machine.reading(now).boot;
        let Some(agent) = &mut machine.process else { return };
        let starved = known_alive(agent.me(), &self.log, machine.applied);
        if starved && !give_up {
            return;
        }
        machine.incarnation += 1;
        let me = Member { node: id(node), incarnation: Incarnation(machine.incarnation) };
        agent.reincarnate(boot, me);
        self.after(MS, Event::Admit { node });
    }

    fn send(&mut self, from: u8, to: u8, bytes: Vec<u8>) {
        let bytes = match self.tamper(from, to, bytes) {
            Some(bytes) if self.passes(from, to) => bytes,
            _ => return,
        };
        let copies = 1 + u64::from(self.rng.percent(self.plan.twice));
        for _ in 0..copies {
            if self.rng.percent(self.plan.lost) {
                continue;
            }
            let most = if self.rng.percent(self.plan.late) { 200 * MS } else { 2 * MS };
            let delay = self.rng.range(50_000, most);
            let bytes = bytes.clone();
            self.after(delay, Event::Deliver { to, from, bytes });
        }
    }

    /// Breaks the rules that are about what datagrams say.
    fn tamper(&mut self, from: u8, to: u8, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let rules = self.plan.rules;
        if rules.report && rules.told_of_councils && rules.acknowledge && rules.consent {
            return Some(bytes);
        }
        let mut datagram = self.wire.decode(&bytes).unwrap();
        match &mut datagram.body {
            Body::Beat(beat) if !rules.acknowledge => beat.heard = beat.counter,
            Body::Answer(answer) if !rules.told_of_councils => answer.voters = None,
            Body::Ask(Ask { about, .. }) | Body::Probe(Probe { about, .. }) if rules.consent => {
                self.asked.insert((from, *about));
            }
            Body::Probe(probe) => {
                // Every probe is an ask, and the leader, who was there first, asks itself first.
                let ask = Ask { counter: self.sequence, about: probe.about, council: probe.council };
                datagram.body = Body::Ask(ask);
                let mut to_itself = Vec::new();
                let own = Datagram { to: id(from), ..datagram.clone() };
                self.wire.encode(&own, &mut to_itself);
                self.after(0, Event::Deliver { to: from, from, bytes: to_itself });
            }
            Body::Refusal(about) if !rules.report && !self.asked.contains(&(to, *about)) => return None,
            _ => {}
        }
        let mut tampered = Vec::new();
        self.wire.encode(&datagram, &mut tampered);
        Some(tampered)
    }

    // ---- What must hold

    fn declare(&mut self, member: Member) {
        if self.dead.insert(member) {
            self.story.declared.push(member);
            self.story.declared_at.push(self.now / MS);
            self.check(index(member.node));
        }
    }

    /// An incarnation that was declared dead holds no lease.
    fn check(&mut self, node: u8) {
        let machine = &self.machines[usize::from(node)];
        let Some(agent) = &machine.process else { return };
        let (me, clock) = (agent.me(), machine.reading(self.now).boot);
        if self.dead.contains(&me) && agent.lease_until() > clock {
            let left = agent.lease_until().since(clock);
            let when = self.now / MS;
            self.story.unsafe_lease =
                Some(format!("at {when} ms {me} was declared dead and has a lease for {left:?}"));
        }
    }

    /// Notes whether the node has lost its lease.
    fn watch(&mut self, node: u8) {
        let now = self.now;
        let machine = self.machine(node);
        let clock = machine.reading(now).boot;
        let leased = machine.process.as_ref().is_some_and(|agent| agent.lease_until() > clock);
        if std::mem::replace(&mut machine.leased, leased) && !leased {
            self.story.lapsed.push((now / MS, node));
        }
    }

    fn judge_the_end(&mut self) {
        let newest = self.log.last().unwrap();
        for node in 1..=self.plan.nodes {
            let machine = &self.machines[usize::from(node)];
            let clock = machine.reading(self.now).boot;
            let me = Member { node: id(node), incarnation: Incarnation(machine.incarnation) };
            let deaf = self.cuts.iter().any(|((_, to), until)| *to == node && *until > self.now);
            let known = &newest.nodes[&id(node)];
            let settled = match &machine.process {
                // A node that hears nobody has no lease; then it must be dead.
                Some(_) if deaf => known.state == NodeState::Dead,
                Some(agent) => newest.is_alive(me) && agent.lease_until() > clock,
                None => known.state == NodeState::Dead,
            };
            if !settled {
                self.story.starved.push(known.info.member());
            }
        }
    }

    // ---- Raft
}
