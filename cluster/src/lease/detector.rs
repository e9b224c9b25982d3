//! The leader's side: whom to ask about, and who is dead.
//!
//! Every member keeps a detector, though only the leader's speaks: refusals that came while another one led are known
//! when leadership comes. The leader suspects an incarnation when its own promise to it is about to be over, or when
//! some member has refused it. It probes the members, itself too, and when a majority has refused or would refuse, it
//! asks those who would to do it, until a majority has. Refusals are final, so it does not matter who had asked for
//! them, nor when; consents bind nobody and count for [`CONSENT`] only.
//!
//! The probes are there because refusals are final. A leader that is cut off finds the promises to all others over.
//! Would it refuse them before a majority does, it could not promise them anything when it comes back, and they would
//! depend on the members that are left.
//!
//! Which majority: that of the leader's configuration of the council (of both halves while joint), and for one lease
//! after it adopted that, also of the configurations before. By then every majority of the old council that could
//! still answer a beat contains a member that tells of the change. A leader that was stopped while the council changed
//! more than once has not seen all of these configurations: it declares nobody dead for that lease.
//!
//! Nobody is declared dead for nothing, see [`worth_declaring`].

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ids::{Incarnation, Member, NodeId},
    lease::{
        BEAT, BootTime,
        promiser::{HOLD, Promiser},
        voters::{MAX_VOTERS, Voters},
        wire::Consent,
    },
    topology::{NodeState, Settings, Topology},
};

/// The leader looks whether promises are over when the next one is about to be, and no later than this after anything
/// has come in; as often while somebody is suspected.
pub const LOOK: Duration = Duration::from_millis(5);

/// How long before its own promise is over the leader begins to probe: the probes wait at the members for theirs to run
/// out, so the consents are there when they can be.
pub const EARLY: Duration = Duration::from_millis(10);

/// How often a member that has not refused is probed or asked again.
pub const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How long a consent counts, from when its probe was sent: as long as a member keeps the probe.
pub const CONSENT: Duration = HOLD;

/// How often a death is reported again while the topology does not show it.
pub const DECLARE_AGAIN: Duration = Duration::from_millis(100);

/// Probes and asks in one turn at most, or a few more; the others wait for the next look.
pub const MAX_ASKS: usize = 512;

/// Configurations of the council within one lease at most; after more, nobody is declared dead for one lease.
const MAX_COUNCILS: usize = 4;

/// Refusals that are kept about one incarnation.
const MAX_REFUSED_BY: usize = 4 * MAX_VOTERS;

/// What one council member knows of the dying.
pub struct Detector {
    /// The longest that was in force since the start: a shorter one is not yet known to all.
    lease: Duration,
    quiet_until: BootTime,
    /// Before this there is no other look.
    look_at: BootTime,
    /// When the next look is due, if `look_at` allows.
    due: BootTime,
    /// The configurations whose majorities are needed, each until when. The last is the member's own.
    councils: Vec<(Voters, BootTime)>,
    suspects: BTreeMap<NodeId, Suspect>,
}

/// What the leader says to a council member about an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Would you refuse it?
    Probe,
    /// Refuse it if your promise to it is over.
    Ask,
}

/// An incarnation that may be dead.
struct Suspect {
    incarnation: Incarnation,
    /// Since when this member's own promise is over, or about to be, and since when it is not.
    over_since: Option<BootTime>,
    well_since: Option<BootTime>,
    refused_by: Vec<NodeId>,
    consents: Vec<Standing>,
    probe_at: BootTime,
    declare_at: BootTime,
}

/// The consent of one council member.
struct Standing {
    by: NodeId,
    until: BootTime,
    /// When this member is to be asked.
    ask_at: BootTime,
}

impl Suspect {
    fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            over_since: None,
            well_since: None,
            refused_by: Vec::new(),
            consents: Vec::new(),
            probe_at: BootTime::NEVER,
            declare_at: BootTime::NEVER,
        }
    }

    fn is_refused_by(&self, node: NodeId) -> bool {
        self.refused_by.contains(&node)
    }

    /// Whether this member has refused it or would.
    fn is_given_up_by(&self, node: NodeId) -> bool {
        self.is_refused_by(node) || self.consents.iter().any(|consent| consent.by == node)
    }
}

/// Whether somebody gains if this incarnation is declared dead: one of its shards has a candidate elsewhere. If none
/// has, its data would be lost for nothing, so it is waited for as long as for any shard without a holder; a lone
/// node that was only paused goes on with its data.
pub fn worth_declaring(topology: &Topology, member: Member) -> bool {
    topology.shards.iter().any(|shard| {
        let holds = shard.primary == Some(member) || shard.is_in_sync(member);
        let candidate = |other: &Member| *other != member && topology.is_alive(*other);
        holds && shard.in_sync.iter().any(candidate)
    })
}

impl Detector {
    /// A member that has just started: it declares nobody dead for `quiet`, the longest lease that may have been in
    /// force before, since it does not know when it adopted its configuration of the council.
    pub fn new(now: BootTime, quiet: Duration) -> Self {
        Self {
            lease: quiet,
            quiet_until: now + quiet,
            look_at: now,
            due: now,
            councils: Vec::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// Something has come in, by which somebody may be suspected sooner.
    pub fn stir(&mut self) {
        self.due = BootTime::NEVER;
    }

    /// The member's own log has this configuration of the council, not later than `now`.
    pub fn adopt_voters(&mut self, now: BootTime, voters: &Voters) {
        self.councils.retain(|(_, until)| *until > now);
        let mut missed = false;
        if let Some((own, until)) = self.councils.last_mut() {
            if own.stamp == voters.stamp {
                return;
            }
            *until = now + self.lease;
            missed = !voters.may_follow(own);
        }
        if missed || self.councils.len() == MAX_COUNCILS {
            self.councils.clear();
            self.quiet_until = self.quiet_until.max(now + self.lease);
        }
        self.councils.push((voters.clone(), BootTime::FOREVER));
    }

    /// Takes over who is alive, and the settings.
    pub fn adopt(&mut self, topology: &Topology) {
        self.stir();
        self.lease = self.lease.max(topology.settings.lease());
        self.suspects.retain(|node, suspect| {
            let member = Member { node: *node, incarnation: suspect.incarnation };
            topology.is_alive(member)
        });
    }

    /// `from` never answers `about` again. Refusals of incarnations that the topology does not call alive are dropped:
    /// they are told again.
    pub fn refusal(&mut self, topology: &Topology, from: NodeId, about: Member) {
        if !topology.is_alive(about) {
            return;
        }
        self.stir();
        let suspect = self.suspects.entry(about.node).or_insert_with(|| Suspect::new(about.incarnation));
        if suspect.refused_by.len() < MAX_REFUSED_BY && !suspect.refused_by.contains(&from) {
            suspect.refused_by.push(from);
            suspect.consents.retain(|consent| consent.by != from);
        }
    }

    /// `from`, a voter, would have refused the incarnation a moment ago. Arrived not later than `now`.
    pub fn consent(&mut self, now: BootTime, from: NodeId, consent: &Consent) {
        let until = consent.sent + CONSENT;
        let votes = self.councils.iter().any(|(voters, _)| voters.contains(from));
        let suspect = self.suspects.get_mut(&consent.about.node);
        let Some(suspect) = suspect.filter(|suspect| suspect.incarnation == consent.about.incarnation) else {
            return;
        };
        if !votes || suspect.is_refused_by(from) || consent.sent > now || until <= now {
            return;
        }
        match suspect.consents.iter_mut().find(|known| known.by == from) {
            Some(known) => known.until = known.until.max(until),
            None => {
                suspect.consents.push(Standing { by: from, until, ask_at: BootTime::NEVER });
                self.look_at = BootTime::NEVER;
                self.stir();
            }
        }
    }

    /// The probes and asks that the leader has to send, given that `promiser` judges by `began`.
    pub fn questions(
        &mut self,
        began: BootTime,
        topology: &Topology,
        promiser: &Promiser,
        mut put: impl FnMut(NodeId, Member, Question),
    ) {
        if began < self.look_at {
            return;
        }
        self.look_at = began + LOOK;
        let calm_until = self.look(began, topology, promiser);
        self.due = if self.suspects.is_empty() { calm_until } else { self.look_at };
        self.councils.retain(|(_, until)| *until > began);
        let orphan_timeout = orphan_timeout(&topology.settings);
        let mut count = 0;
        for (node, suspect) in &mut self.suspects {
            suspect.consents.retain(|consent| consent.until > began);
            let about = Member { node: *node, incarnation: suspect.incarnation };
            let over = suspect.over_since.is_some() && suspect.well_since.is_none();
            let suspected = over || !suspect.refused_by.is_empty();
            let probe = began >= suspect.probe_at;
            let given_up = |node: NodeId| suspect.is_given_up_by(node);
            let ask = suspect.consents.iter().any(|consent| began >= consent.ask_at)
                && self.councils.iter().all(|(voters, _)| voters.majority(given_up));
            if !suspected || !(probe || ask) || count >= MAX_ASKS {
                continue;
            }
            let waited = suspect.over_since.is_some_and(|since| began.since(since) >= orphan_timeout);
            if !waited && !worth_declaring(topology, about) {
                continue;
            }
            if ask {
                for consent in suspect.consents.iter_mut().filter(|consent| began >= consent.ask_at) {
                    consent.ask_at = began + ASK_AGAIN;
                    put(consent.by, about, Question::Ask);
                    count += 1;
                }
            }
            if probe {
                suspect.probe_at = began + ASK_AGAIN;
                let mut probed = Vec::new();
                for voter in self.councils.iter().flat_map(|(voters, _)| voters.nodes()) {
                    if !suspect.is_refused_by(voter) && !probed.contains(&voter) {
                        probed.push(voter);
                        put(voter, about, Question::Probe);
                        count += 1;
                    }
                }
            }
        }
    }

    /// Notes whose promises are over, or about to be. A suspicion is dropped when a promise has held for two leases, for
    /// longer than a node that does not hear its answers is promised anything. Returns when the next promise is about
    /// to be over, one beat ahead at the most.
    fn look(&mut self, began: BootTime, topology: &Topology, promiser: &Promiser) -> BootTime {
        let settled = self.lease * 2;
        let mut calm_for = BEAT;
        for node in topology.nodes.values() {
            let member = node.info.member();
            if node.state != NodeState::Alive {
                continue;
            }
            let over_at = promiser.over_at(member);
            calm_for = over_at.map_or(calm_for, |over_at| calm_for.min(over_at.since(began + EARLY)));
            if over_at.is_some_and(|over_at| over_at <= began + EARLY) {
                let fresh = || Suspect::new(member.incarnation);
                let suspect = self.suspects.entry(member.node).or_insert_with(fresh);
                suspect.over_since.get_or_insert(began);
                suspect.well_since = None;
            } else if let Some(suspect) = self.suspects.get_mut(&member.node) {
                let since = *suspect.well_since.get_or_insert(began);
                if began.since(since) >= settled {
                    suspect.over_since = None;
                }
                if suspect.over_since.is_none() && suspect.refused_by.is_empty() {
                    self.suspects.remove(&member.node);
                }
            }
        }
        began + calm_for
    }

    /// Another one leads: what this member has seen for itself does not count when it leads again.
    pub fn rest(&mut self) {
        self.suspects.retain(|_, suspect| {
            suspect.over_since = None;
            suspect.consents.clear();
            suspect.probe_at = BootTime::NEVER;
            suspect.declare_at = BootTime::NEVER;
            !suspect.refused_by.is_empty()
        });
    }

    /// Adds to `dead` the incarnations that hold no lease and never will: the leader proposes their end.
    pub fn deaths(&mut self, began: BootTime, dead: &mut Vec<Member>) {
        if began < self.quiet_until || self.councils.is_empty() {
            return;
        }
        self.councils.retain(|(_, until)| *until > began);
        for (node, suspect) in &mut self.suspects {
            let refused = |node: NodeId| suspect.is_refused_by(node);
            let by_all = self.councils.iter().all(|(voters, _)| voters.majority(refused));
            if by_all && began >= suspect.declare_at {
                suspect.declare_at = began + DECLARE_AGAIN;
                dead.push(Member { node: *node, incarnation: suspect.incarnation });
            }
        }
    }

    /// When a leader has to look again.
    pub fn deadline(&self) -> BootTime {
        self.look_at.max(self.due)
    }
}

fn orphan_timeout(settings: &Settings) -> Duration {
    Duration::from_millis(settings.orphan_timeout_ms.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Change, tests::info},
        ids::ClusterId,
        lease::{voters::Stamp, wire::Beat},
    };

    const LEASE: Duration = Duration::from_millis(200);

    fn ms(millis: u64) -> BootTime {
        BootTime(1_000_000_000_000 + millis * 1_000_000)
    }

    fn member(node: u8) -> Member {
        Member { node: NodeId([node; 20]), incarnation: Incarnation(1) }
    }

    fn topology() -> Topology {
        let settings = Settings { orphan_timeout_ms: 0, ..Settings::default() };
        let found = Change::Found { cluster: ClusterId([7; 20]), settings, first: info(1, 1) };
        let mut topology = Topology::unfounded();
        topology.apply(&found).unwrap();
        for node in 2..=3 {
            topology.apply(&Change::Admit(info(node, 1))).unwrap();
        }
        topology
    }

    /// The leader, node 1 of three; its promise to node 3 ends at 1,000 ms, the others much later.
    struct Leader {
        topology: Topology,
        promiser: Promiser,
        detector: Detector,
    }

    impl Leader {
        fn new() -> Self {
            let topology = topology();
            let mut promiser = Promiser::new(ms(0), LEASE, []);
            promiser.adopt(ms(0), &topology);
            for (node, until) in [(1, 9_000), (2, 9_000), (3, 1_000)] {
                let beat = Beat {
                    counter: 1,
                    sent: BootTime(1),
                    lease: LEASE,
                    heard: 0,
                    knows: Stamp::default(),
                    wall_ms: 0,
                };
                promiser.beat(ms(until - 200), member(node), &beat);
            }
            let mut detector = Detector::new(ms(0), LEASE);
            let voters = Voters {
                stamp: Stamp { term: 1, index: 1 },
                old: (1..=3).map(|node| member(node).node).collect(),
                new: Vec::new(),
            };
            detector.adopt_voters(ms(0), &voters);
            detector.adopt(&topology);
            Self { topology, promiser, detector }
        }

        /// What it says at this time, to which nodes.
        fn says(&mut self, now: u64) -> Vec<(u8, Question)> {
            self.promiser.turn_began(ms(now));
            let mut said = Vec::new();
            self.detector.questions(ms(now), &self.topology, &self.promiser, |to, about, question| {
                assert_eq!(about, member(3));
                said.push((to.0[0], question));
            });
            said
        }

        fn consents(&mut self, now: u64, from: u8, sent: u64) {
            let consent = Consent { about: member(3), sent: ms(sent) };
            self.detector.consent(ms(now), member(from).node, &consent);
        }
    }

    const PROBES: [(u8, Question); 3] = [(1, Question::Probe), (2, Question::Probe), (3, Question::Probe)];

    #[test]
    fn it_probes_a_little_before_its_own_promise_is_over_and_asks_when_a_majority_consents() {
        let mut leader = Leader::new();
        assert_eq!(leader.says(980), []);
        assert_eq!(leader.says(991), PROBES);
        leader.consents(1_000, 1, 991);
        assert_eq!(leader.says(1_000), []);
        leader.consents(1_001, 2, 991);
        assert_eq!(leader.says(1_001), [(1, Question::Ask), (2, Question::Ask)]);
        assert_eq!(leader.says(1_010), []);
    }

    #[test]
    fn it_looks_again_when_the_next_promise_is_about_to_be_over_or_soon_after_something_has_come_in() {
        let mut leader = Leader::new();
        leader.says(900);
        assert_eq!(leader.detector.deadline(), ms(900) + BEAT);
        leader.says(960);
        assert_eq!(leader.detector.deadline(), ms(1_000 - 10));
        leader.detector.stir();
        assert_eq!(leader.detector.deadline(), ms(960) + LOOK);
        leader.says(966);
        assert_eq!(leader.detector.deadline(), ms(1_000 - 10));
        // While somebody is suspected it looks often.
        assert_eq!(leader.says(990), PROBES);
        assert_eq!(leader.detector.deadline(), ms(990) + LOOK);
        leader.consents(991, 1, 990);
        assert_eq!(leader.detector.deadline(), BootTime::NEVER);
    }

    #[test]
    fn consents_count_only_together_and_only_of_voters() {
        let mut leader = Leader::new();
        assert_eq!(leader.says(991), PROBES);
        leader.consents(1_000, 1, 991);
        leader.consents(1_000, 9, 991);
        assert_eq!(leader.says(1_000), []);
        assert_eq!(leader.says(1_041), PROBES);
        leader.consents(1_091, 2, 1_041);
        // The first one is stale now.
        assert_eq!(leader.says(1_091), PROBES);
        leader.consents(1_100, 1, 991);
        leader.consents(1_100, 1, 1_101);
        assert_eq!(leader.says(1_110), []);
    }

    #[test]
    fn a_refusal_counts_as_a_consent_that_does_not_end() {
        let mut leader = Leader::new();
        leader.detector.refusal(&leader.topology, member(2).node, member(3));
        assert_eq!(leader.says(1_000), [(1, Question::Probe), (3, Question::Probe)]);
        leader.consents(1_010, 1, 1_000);
        assert_eq!(leader.says(1_010), [(1, Question::Ask)]);
        leader.detector.refusal(&leader.topology, member(1).node, member(3));
        let mut dead = Vec::new();
        leader.detector.deaths(ms(1_020), &mut dead);
        assert_eq!(dead, [member(3)]);
    }

    #[test]
    fn after_a_configuration_that_was_missed_nobody_is_declared_dead_for_one_lease() {
        let council = |index, old: &[u8], new: &[u8]| {
            let nodes = |half: &[u8]| half.iter().map(|node| member(*node).node).collect();
            Voters { stamp: Stamp { term: 1, index }, old: nodes(old), new: nodes(new) }
        };
        let deaths = |leader: &mut Leader, now| {
            let mut dead = Vec::new();
            leader.detector.deaths(ms(now), &mut dead);
            dead
        };
        let refused = || {
            let mut leader = Leader::new();
            for node in [1, 2] {
                leader.detector.refusal(&leader.topology, member(node).node, member(3));
            }
            leader
        };
        let mut leader = refused();
        leader.detector.adopt_voters(ms(1_000), &council(2, &[1, 2, 3], &[1, 2, 4]));
        assert_eq!(deaths(&mut leader, 1_001), [member(3)]);
        let mut leader = refused();
        // In between there may have been a council of 4, 5, and 6, by which node 3 has a lease.
        leader.detector.adopt_voters(ms(1_000), &council(6, &[1, 2, 4], &[]));
        assert_eq!(deaths(&mut leader, 1_199), []);
        assert_eq!(deaths(&mut leader, 1_200), [member(3)]);
    }

    #[test]
    fn what_was_heard_under_an_earlier_leadership_is_not_counted_together_with_what_comes_later() {
        let mut leader = Leader::new();
        assert_eq!(leader.says(991), PROBES);
        leader.consents(1_000, 1, 991);
        leader.detector.rest();
        assert_eq!(leader.says(1_006), PROBES);
        leader.consents(1_007, 2, 1_006);
        assert_eq!(leader.says(1_007), []);
    }
}
