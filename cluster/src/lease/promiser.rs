//! A council member's side: what it has promised about whom, and whom it has refused.
//!
//! For each node it keeps until when it owes its promise to the incarnation that the topology calls alive. A beat
//! renews it. Once it is over, a probe of the leader is answered by a consent, of which nothing is kept, and an ask by a
//! refusal, which is for ever. The promises are in memory only; so for its first lease after a start the member
//! consents to nothing and refuses nobody. The refusals are on disk: [`Promiser::judge`] hands out those to be written,
//! and only [`Promiser::persisted`] makes them known to others. From the decision on, written or not, the incarnation
//! gets no answer.
//!
//! Two rules are in the shape of this interface. Promises are judged by the time that [`Promiser::turn_began`] was
//! told, never by a later one, so a beat that waited in the socket has been counted before. And what has no entry in
//! the topology gets no promise and no memory: strangers cannot fill the tables.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ids::{Incarnation, Member, NodeId, Version},
    lease::{
        BEAT, BootTime, MAX_LEASE,
        wire::{Ask, Beat, Consent, Probe, Reply},
    },
    topology::{NodeState, Topology},
};

/// How long a probe is kept for a promise to run out: until the next one has come for sure, a datagram lost or not.
pub const HOLD: Duration = Duration::from_millis(100);

/// How often the council is told again of a refusal whose incarnation the topology calls alive.
pub const REPORT: Duration = BEAT;

/// How many leases a fresh incarnation is given for its first beat: it may be admitted by its request to join, long
/// before it has done all that it has to do at a start, on a busy machine above all.
pub const FIRST_BEAT: u32 = 5;

/// Refusals that are remembered at most; a member with so many refuses nobody else. They go when the topology on disk
/// shows that they are settled, so this many unsettled ones mean that something else is wrong.
pub const MAX_REFUSALS: usize = 8192;

/// The book of promises and refusals of one council member.
pub struct Promiser {
    quiet_until: BootTime,
    turn_began: BootTime,
    version: Version,
    nodes: BTreeMap<NodeId, Entry>,
    refusals: BTreeMap<NodeId, Refusal>,
    /// Probes that wait for the promise to run out, by whom they are about.
    held: BTreeMap<NodeId, Held>,
    /// Asks that came since promises were judged last: about which incarnation, and who asked.
    asks: BTreeMap<NodeId, (Incarnation, NodeId)>,
    report_at: BootTime,
}

/// What is known of a node of the topology.
struct Entry {
    /// Its newest incarnation by the topology, and whether that is alive.
    known: Incarnation,
    alive: bool,
    /// Until when the promise to `known` holds, and when it was last given.
    until: BootTime,
    given: BootTime,
    /// The newest incarnation that has beaten here, and the counter of its newest beat.
    seen: Incarnation,
    counter: u64,
    /// The oldest answer that it has not heard.
    unheard: Option<Unheard>,
    /// The newest ask of this node, as leader.
    asked: (Incarnation, u64),
}

/// An answer of which the node has not said that it heard it, nor of any later one.
struct Unheard {
    /// To which beat.
    counter: u64,
    given: BootTime,
    /// Since when it has surely left this process, noticed at a later beat.
    left: Option<BootTime>,
}

/// The newest incarnation of a node that is never answered again, nor any older one.
struct Refusal {
    incarnation: Incarnation,
    durable: bool,
    /// Who asked last: it may be a voter that this member has not heard of yet.
    asker: Option<NodeId>,
}

/// A probe that waits for the promise to run out.
struct Held {
    consent: Consent,
    leader: NodeId,
    until: BootTime,
}

impl Entry {
    /// Whether this incarnation is over for sure, without any promise being judged.
    fn is_over(&self, incarnation: Incarnation) -> bool {
        incarnation < self.known || incarnation < self.seen || (incarnation == self.known && !self.alive)
    }

    /// Whether the sender of this beat has not heard an answer that left a lease ago.
    fn is_deaf(&mut self, now: BootTime, turn_began: BootTime, beat: &Beat, lease: Duration) -> bool {
        let Some(unheard) = &mut self.unheard else {
            return false;
        };
        if beat.heard >= unheard.counter {
            self.unheard = None;
            return false;
        }
        if unheard.left.is_none() && turn_began > unheard.given {
            // Another turn has ended since the one that gave the answer.
            unheard.left = Some(now);
        }
        unheard.left.is_some_and(|left| now.since(left) >= lease)
    }
}

impl Promiser {
    /// A member that has just started, with the refusals from its disk. It owes promises that it forgot for `quiet`:
    /// the longest lease that may have been in force before.
    pub fn new(now: BootTime, quiet: Duration, refusals: impl IntoIterator<Item = Member>) -> Self {
        let mut newest = BTreeMap::new();
        for member in refusals {
            let refusal = newest.entry(member.node).or_insert(Refusal {
                incarnation: member.incarnation,
                durable: true,
                asker: None,
            });
            refusal.incarnation = refusal.incarnation.max(member.incarnation);
        }
        Self {
            quiet_until: now + quiet,
            turn_began: now,
            version: Version(0),
            nodes: BTreeMap::new(),
            refusals: newest,
            held: BTreeMap::new(),
            asks: BTreeMap::new(),
            report_at: now,
        }
    }

    /// Takes over who is alive, applied not later than `now`. That an incarnation was admitted is a sign of life like a
    /// beat: it is promised [`FIRST_BEAT`] leases, to have the time for its first one. Who was there before this process
    /// started is promised nothing that the quiet time does not cover.
    pub fn adopt(&mut self, now: BootTime, topology: &Topology) {
        let first = self.version == Version(0);
        let promised = if first { BootTime::NEVER } else { now + topology.settings.lease() * FIRST_BEAT };
        self.version = topology.version;
        self.nodes.retain(|node, _| topology.nodes.contains_key(node));
        self.held.retain(|node, _| topology.nodes.contains_key(node));
        self.asks.retain(|node, _| topology.nodes.contains_key(node));
        for (id, node) in &topology.nodes {
            let known = node.info.incarnation;
            let entry = self.nodes.entry(*id).or_insert(Entry {
                known,
                alive: false,
                until: promised,
                given: BootTime::NEVER,
                seen: Incarnation(0),
                counter: 0,
                unheard: None,
                asked: Default::default(),
            });
            if entry.known != known {
                entry.known = known;
                entry.until = promised;
                entry.given = BootTime::NEVER;
            }
            entry.alive = node.state == NodeState::Alive;
        }
    }

    /// Takes a beat that arrived not later than `now` and says what to answer; nothing to one that is not newer than
    /// the last, or whose sender does not hear the answers.
    ///
    /// A sender that hears no answer for a lease holds no part of its lease from this member. Were it answered each
    /// time, the promise would never end and nobody could take over from a node that is cut off on the way back only;
    /// so it is answered once in two leases, which is enough to find out that the way is open again. The time counts
    /// from when an answer has left for sure: this process may have been stopped with the answer in its hands.
    pub fn beat(&mut self, now: BootTime, from: Member, beat: &Beat) -> Option<Reply> {
        let Some(entry) = self.nodes.get_mut(&from.node) else {
            return Some(Reply::Unknown);
        };
        if from.incarnation < entry.seen {
            return Some(Reply::Refused);
        }
        if from.incarnation > entry.seen {
            entry.seen = from.incarnation;
            entry.counter = 0;
            entry.unheard = None;
        }
        if beat.counter <= entry.counter {
            return None;
        }
        entry.counter = beat.counter;
        if from.incarnation > entry.known {
            // It holds the lock of the data directory: the older incarnation is dead.
            entry.until = BootTime::NEVER;
            return Some(Reply::Unknown);
        }
        let refused = self.refusals.get(&from.node).map(|refusal| refusal.incarnation);
        if entry.is_over(from.incarnation) || refused >= Some(from.incarnation) {
            return Some(Reply::Refused);
        }
        let lease = beat.lease.min(MAX_LEASE);
        if entry.is_deaf(now, self.turn_began, beat, lease) && now.since(entry.given) < lease * 2 {
            return None;
        }
        entry.unheard.get_or_insert(Unheard { counter: beat.counter, given: now, left: None });
        entry.given = now;
        entry.until = entry.until.max(now + lease);
        Some(Reply::Promise(lease))
    }

    /// Takes a probe of a leader. A consent answers it when promises are judged next and the promise is over, or when
    /// it runs out within [`HOLD`].
    pub fn probe(&mut self, now: BootTime, from: Member, probe: &Probe) {
        let Probe { sent, about, .. } = *probe;
        let knows_both = self.nodes.contains_key(&from.node) && self.nodes.contains_key(&about.node);
        let newer = |held: &Held| held.leader == from.node && held.consent.sent > sent;
        if knows_both && !self.has_refused(about, from.node) && !self.held.get(&about.node).is_some_and(newer)
        {
            let held = Held { consent: Consent { about, sent }, leader: from.node, until: now + HOLD };
            self.held.insert(about.node, held);
        }
    }

    /// Takes an ask of a leader. If the promise is over when promises are judged next, the incarnation is refused.
    pub fn ask(&mut self, from: Member, ask: &Ask) {
        let Some(asker) = self.nodes.get_mut(&from.node) else {
            return;
        };
        if (from.incarnation, ask.counter) <= asker.asked {
            return;
        }
        asker.asked = (from.incarnation, ask.counter);
        if !self.has_refused(ask.about, from.node) && self.nodes.contains_key(&ask.about.node) {
            self.asks.insert(ask.about.node, (ask.about.incarnation, from.node));
        }
    }

    /// Whether this member has refused the incarnation before; then whoever asks is told soon.
    fn has_refused(&mut self, about: Member, asker: NodeId) -> bool {
        let refusal = self.refusals.get_mut(&about.node);
        let Some(refusal) = refusal.filter(|refusal| refusal.incarnation >= about.incarnation) else {
            return false;
        };
        refusal.asker = Some(asker);
        self.report_at = BootTime::NEVER;
        true
    }

    /// All datagrams that had arrived by `began` have been fed. Promises are judged by this time from here on.
    pub fn turn_began(&mut self, began: BootTime) {
        self.turn_began = self.turn_began.max(began);
    }

    /// Whether this member would refuse the incarnation if it were asked: its promise is over, and it owes none that
    /// it forgot.
    pub fn may_refuse(&self, member: Member) -> bool {
        self.over_at(member).is_some_and(|over_at| over_at <= self.turn_began)
    }

    /// From when on this member would refuse the incarnation if no other beat came. Nothing of one that the topology
    /// does not know yet.
    pub fn over_at(&self, member: Member) -> Option<BootTime> {
        let entry = self.nodes.get(&member.node)?;
        if entry.is_over(member.incarnation) {
            return Some(self.quiet_until);
        }
        (member.incarnation == entry.known).then(|| entry.until.max(self.quiet_until))
    }

    /// Whether the node's living incarnation has a promise of this member now.
    pub fn is_beating(&self, node: NodeId) -> bool {
        let beats = |entry: &Entry| entry.alive && entry.until > self.turn_began;
        self.nodes.get(&node).is_some_and(beats)
    }

    /// Decides on asks and probes. Adds to `persist` what must be written to disk and then be told to
    /// [`Promiser::persisted`], and to `consents` what must be sent to that leader.
    pub fn judge(&mut self, persist: &mut Vec<Member>, consents: &mut Vec<(NodeId, Consent)>) {
        for (node, (incarnation, asker)) in std::mem::take(&mut self.asks) {
            let about = Member { node, incarnation };
            let has_room = self.refusals.len() < MAX_REFUSALS || self.refusals.contains_key(&node);
            if self.may_refuse(about) && has_room {
                self.refusals.insert(node, Refusal { incarnation, durable: false, asker: Some(asker) });
                persist.push(about);
            }
        }
        let mut held = std::mem::take(&mut self.held);
        held.retain(|_, probe| {
            let consents_now = self.may_refuse(probe.consent.about);
            if consents_now {
                consents.push((probe.leader, probe.consent));
            }
            !consents_now && probe.until > self.turn_began
        });
        self.held = held;
    }

    /// The refusal is on disk. Whoever must know is told at the next [`Promiser::reports`].
    pub fn persisted(&mut self, member: Member) {
        if let Some(refusal) = self.refusals.get_mut(&member.node)
            && refusal.incarnation == member.incarnation
        {
            refusal.durable = true;
            self.report_at = BootTime::NEVER;
        }
    }

    /// The refusals to tell now, each with who asked last: those on disk whose incarnation the topology still calls
    /// alive, again and again, since whoever asked may have died.
    pub fn reports(&mut self, mut tell: impl FnMut(Member, Option<NodeId>)) {
        if self.turn_began < self.report_at {
            return;
        }
        self.report_at = BootTime::FOREVER;
        for (node, refusal) in self.refusals.iter().filter(|(_, refusal)| refusal.durable) {
            let alive = |entry: &&Entry| entry.alive && entry.known <= refusal.incarnation;
            if self.nodes.get(node).filter(alive).is_some() {
                self.report_at = self.turn_began + REPORT;
                let member = Member { node: *node, incarnation: refusal.incarnation };
                tell(member, refusal.asker);
            }
        }
    }

    /// When there is something to judge or to tell even if nothing arrives.
    pub fn deadline(&self) -> BootTime {
        // What is about an incarnation that is not known yet waits for the topology.
        let of_held = |held: &Held| held.until.min(self.over_at(held.consent.about).unwrap_or(held.until));
        let held = self.held.values().map(of_held).min();
        held.unwrap_or(BootTime::FOREVER).min(self.report_at)
    }

    /// The refusals that must be on disk: what a file of them may be rewritten to.
    pub fn refusals(&self) -> impl Iterator<Item = Member> + '_ {
        self.refusals.iter().map(|(node, refusal)| Member { node: *node, incarnation: refusal.incarnation })
    }

    /// Forgets the refusals that the topology on this member's disk has settled: after a restart it begins with that
    /// topology at least, and those incarnations get no answer by it.
    pub fn prune(&mut self, durable: &Topology) {
        let removed = durable.version >= self.version;
        self.refusals.retain(|node, refusal| match durable.nodes.get(node) {
            Some(known) if known.state == NodeState::Alive => known.info.incarnation <= refusal.incarnation,
            Some(known) => known.info.incarnation < refusal.incarnation,
            None => !removed,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Change, tests::info},
        ids::ClusterId,
        lease::voters::Stamp,
        topology::Settings,
    };

    const LEASE: Duration = Duration::from_millis(200);

    fn ms(millis: u64) -> BootTime {
        BootTime(1_000_000_000_000 + millis * 1_000_000)
    }

    fn member(node: u8, incarnation: u64) -> Member {
        Member { node: NodeId([node; 20]), incarnation: Incarnation(incarnation) }
    }

    fn topology(members: &[Member]) -> Topology {
        let mut topology = Topology::unfounded();
        let found = Change::Found {
            cluster: ClusterId([7; 20]),
            settings: Settings::default(),
            first: info(members[0].node.0[0], members[0].incarnation.0),
        };
        topology.apply(&found).unwrap();
        for member in &members[1..] {
            topology.apply(&Change::Admit(info(member.node.0[0], member.incarnation.0))).unwrap();
        }
        topology
    }

    /// A member that knows of nodes 1 and 2 and has been quiet for long enough.
    fn promiser() -> Promiser {
        let mut promiser = Promiser::new(ms(0), LEASE, []);
        promiser.adopt(ms(0), &topology(&[member(1, 1), member(2, 1)]));
        promiser.turn_began(ms(1_000));
        promiser.reports(|_, _| {});
        promiser
    }

    fn beat(counter: u64) -> Beat {
        Beat { counter, sent: BootTime(1), lease: LEASE, heard: counter, knows: Stamp::default(), wall_ms: 0 }
    }

    fn ask(promiser: &mut Promiser, counter: u64, about: Member) -> Vec<Member> {
        let ask = Ask { counter, about, council: Stamp::default() };
        promiser.ask(member(1, 1), &ask);
        let mut persist = Vec::new();
        promiser.judge(&mut persist, &mut Vec::new());
        persist
    }

    /// What is answered to node 1, which sent a probe at the time `sent` of its own.
    fn probe(promiser: &mut Promiser, now: BootTime, sent: u64, about: Member) -> Vec<u64> {
        let probe = Probe { sent: BootTime(sent), about, council: Stamp::default() };
        promiser.probe(now, member(1, 1), &probe);
        consents(promiser, about)
    }

    fn consents(promiser: &mut Promiser, about: Member) -> Vec<u64> {
        let mut consents = Vec::new();
        promiser.judge(&mut Vec::new(), &mut consents);
        let expected = |(leader, consent): (NodeId, Consent)| {
            assert_eq!((leader, consent.about), (member(1, 1).node, about));
            consent.sent.0
        };
        consents.into_iter().map(expected).collect()
    }

    fn told(promiser: &mut Promiser) -> Vec<Member> {
        let mut told = Vec::new();
        promiser.reports(|about, _| told.push(about));
        told
    }

    #[test]
    fn a_beat_that_waited_in_the_socket_counts_before_its_promise_is_judged() {
        let mut promiser = promiser();
        let promise = Some(Reply::Promise(LEASE));
        assert_eq!(promiser.beat(ms(1_000), member(2, 1), &beat(1)), promise);
        // The turn began while the promise held; the process was stopped and reads the next beat much later.
        promiser.turn_began(ms(1_199));
        assert!(!promiser.may_refuse(member(2, 1)));
        assert_eq!(promiser.beat(ms(5_000), member(2, 1), &beat(2)), promise);
        promiser.turn_began(ms(5_199));
        assert!(!promiser.may_refuse(member(2, 1)));
        promiser.turn_began(ms(5_200));
        assert!(promiser.may_refuse(member(2, 1)));
    }

    #[test]
    fn a_refusal_is_told_only_when_it_is_on_disk_and_binds_from_the_decision_on() {
        let mut promiser = promiser();
        assert_eq!(ask(&mut promiser, 1, member(2, 1)), [member(2, 1)]);
        assert_eq!(told(&mut promiser), []);
        assert_eq!(promiser.beat(ms(1_001), member(2, 1), &beat(1)), Some(Reply::Refused));
        promiser.persisted(member(2, 1));
        assert_eq!(told(&mut promiser), [member(2, 1)]);
        let mut restarted = Promiser::new(ms(2_000), LEASE, promiser.refusals());
        restarted.adopt(ms(2_000), &topology(&[member(1, 1), member(2, 1)]));
        assert_eq!(restarted.beat(ms(2_001), member(2, 1), &beat(2)), Some(Reply::Refused));
    }

    #[test]
    fn a_probe_waits_for_the_promise_to_run_out_but_not_for_long() {
        let waiting = || {
            let mut promiser = promiser();
            promiser.beat(ms(1_000), member(2, 1), &beat(1));
            promiser
        };
        let mut promiser = waiting();
        assert_eq!(probe(&mut promiser, ms(1_150), 7, member(2, 1)), []);
        assert_eq!(promiser.deadline(), ms(1_200));
        promiser.turn_began(ms(1_200));
        assert_eq!(consents(&mut promiser, member(2, 1)), [7]);
        assert_eq!(consents(&mut promiser, member(2, 1)), []);

        let mut promiser = waiting();
        assert_eq!(probe(&mut promiser, ms(1_050), 7, member(2, 1)), []);
        promiser.turn_began(ms(1_150));
        assert_eq!(consents(&mut promiser, member(2, 1)), []);
        promiser.turn_began(ms(1_300));
        assert_eq!(consents(&mut promiser, member(2, 1)), []);
    }

    #[test]
    fn the_newest_probe_of_a_leader_is_the_one_that_waits() {
        let mut promiser = promiser();
        promiser.beat(ms(1_000), member(2, 1), &beat(1));
        probe(&mut promiser, ms(1_150), 8, member(2, 1));
        probe(&mut promiser, ms(1_160), 7, member(2, 1));
        promiser.turn_began(ms(1_200));
        assert_eq!(consents(&mut promiser, member(2, 1)), [8]);
    }

    #[test]
    fn a_consent_refuses_nobody() {
        let mut promiser = promiser();
        assert_eq!(probe(&mut promiser, ms(1_000), 7, member(2, 1)), [7]);
        assert_eq!(promiser.refusals().count(), 0);
        assert_eq!(promiser.beat(ms(1_001), member(2, 1), &beat(1)), Some(Reply::Promise(LEASE)));
        // The beat came before the ask.
        promiser.turn_began(ms(1_002));
        assert_eq!(ask(&mut promiser, 1, member(2, 1)), []);
        promiser.turn_began(ms(1_300));
        assert_eq!(ask(&mut promiser, 2, member(2, 1)), [member(2, 1)]);
        assert_eq!(probe(&mut promiser, ms(1_300), 8, member(2, 1)), []);
    }

    #[test]
    fn a_member_that_has_just_started_consents_to_nothing() {
        let mut promiser = Promiser::new(ms(0), LEASE, []);
        promiser.adopt(ms(0), &topology(&[member(1, 1), member(2, 1)]));
        promiser.turn_began(ms(199));
        assert_eq!(probe(&mut promiser, ms(199), 7, member(2, 1)), []);
        promiser.turn_began(ms(200));
        assert_eq!(consents(&mut promiser, member(2, 1)), [7]);
    }

    #[test]
    fn a_probe_about_an_incarnation_that_is_not_known_yet_does_not_keep_the_thread_busy() {
        let mut promiser = promiser();
        assert_eq!(probe(&mut promiser, ms(1_000), 7, member(2, 5)), []);
        assert_eq!(promiser.deadline(), ms(1_000) + HOLD);
    }

    #[test]
    fn beats_and_asks_that_are_not_newer_change_nothing() {
        let mut promiser = promiser();
        promiser.beat(ms(1_000), member(2, 1), &beat(7));
        assert_eq!(promiser.beat(ms(1_100), member(2, 1), &beat(7)), None);
        assert_eq!(promiser.beat(ms(1_100), member(2, 1), &beat(6)), None);
        promiser.turn_began(ms(1_200));
        assert!(promiser.may_refuse(member(2, 1)));
        assert_eq!(ask(&mut promiser, 3, member(1, 1)).len(), 1);
        assert_eq!(ask(&mut promiser, 3, member(2, 1)), []);
    }

    #[test]
    fn a_newer_incarnation_ends_the_promise_to_the_older_one_at_once() {
        let mut promiser = promiser();
        promiser.beat(ms(1_000), member(2, 1), &beat(1));
        assert!(!promiser.may_refuse(member(2, 1)));
        assert_eq!(promiser.beat(ms(1_001), member(2, 2), &beat(1)), Some(Reply::Unknown));
        assert!(promiser.may_refuse(member(2, 1)));
        assert_eq!(promiser.beat(ms(1_002), member(2, 1), &beat(2)), Some(Reply::Refused));
    }

    #[test]
    fn an_incarnation_that_was_just_admitted_has_some_leases_of_time_for_its_first_beat() {
        let mut promiser = promiser();
        promiser.adopt(ms(1_100), &topology(&[member(1, 1), member(2, 1), member(3, 1)]));
        promiser.turn_began(ms(2_099));
        assert!(!promiser.may_refuse(member(3, 1)));
        promiser.turn_began(ms(2_100));
        assert!(promiser.may_refuse(member(3, 1)));
    }

    #[test]
    fn strangers_get_no_promise_and_no_memory() {
        let mut promiser = promiser();
        assert_eq!(promiser.beat(ms(1_000), member(9, 1), &beat(1)), Some(Reply::Unknown));
        assert_eq!(ask(&mut promiser, 1, member(9, 1)), []);
        assert_eq!(promiser.nodes.len(), 2);
    }

    #[test]
    fn refusals_go_only_when_the_topology_on_disk_has_settled_them() {
        let mut promiser = promiser();
        ask(&mut promiser, 1, member(2, 1));
        promiser.prune(&topology(&[member(1, 1), member(2, 1)]));
        assert_eq!(promiser.refusals().count(), 1);
        // An older topology that does not know the node yet says nothing.
        promiser.prune(&topology(&[member(1, 1)]));
        assert_eq!(promiser.refusals().count(), 1);
        promiser.prune(&topology(&[member(1, 1), member(2, 1), member(2, 2)]));
        assert_eq!(promiser.refusals().count(), 0);
    }
}
