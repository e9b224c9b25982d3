//! The leader's side: whom to ask about, and who is dead.
//!
//! Every member keeps a detector, though only the leader's speaks: refusals that came while another one led are known
//! when leadership comes. The leader suspects an incarnation when its own promise to it is over, or when some member
//! has refused it; it asks the members until a majority has refused. Refusals are final, so it does not matter who had
//! asked for them, nor when.
//!
//! Which majority: that of the leader's configuration of the council (of both halves while joint), and for one lease
//! after it adopted that, also of the configurations before. By then every majority of the old council that could
//! still answer a beat contains a member that tells of the change.
//!
//! Nobody is declared dead for nothing, see [`worth_declaring`].

use std::{collections::BTreeMap, time::Duration};

use crate::{
    ids::{Incarnation, Member, NodeId},
    lease::{
        BootTime,
        promiser::Promiser,
        voters::{MAX_VOTERS, Voters},
    },
    topology::{NodeState, Settings, Topology},
};

/// How often the leader looks whether promises are over.
pub const LOOK: Duration = Duration::from_millis(5);

/// How often a member that has not refused is asked again.
pub const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How often a death is reported again while the topology does not show it.
pub const DECLARE_AGAIN: Duration = Duration::from_millis(100);

/// Asks in one turn at most; the others wait for the next look.
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
    look_at: BootTime,
    /// The configurations whose majorities are needed, each until when. The last is the member's own.
    councils: Vec<(Voters, BootTime)>,
    suspects: BTreeMap<NodeId, Suspect>,
}

/// An incarnation that may be dead.
struct Suspect {
    incarnation: Incarnation,
    /// Since when this member's own promise is over, and since when it is not.
    over_since: Option<BootTime>,
    well_since: Option<BootTime>,
    refused_by: Vec<NodeId>,
    ask_at: BootTime,
    declare_at: BootTime,
}

impl Suspect {
    fn new(incarnation: Incarnation) -> Self {
        Self {
            incarnation,
            over_since: None,
            well_since: None,
            refused_by: Vec::new(),
            ask_at: BootTime::NEVER,
            declare_at: BootTime::NEVER,
        }
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
            councils: Vec::new(),
            suspects: BTreeMap::new(),
        }
    }

    /// The member's own log has this configuration of the council, not later than `now`.
    pub fn adopt_voters(&mut self, now: BootTime, voters: &Voters) {
        self.councils.retain(|(_, until)| *until > now);
        if let Some((own, until)) = self.councils.last_mut() {
            if own.stamp == voters.stamp {
                return;
            }
            *until = now + self.lease;
        }
        if self.councils.len() == MAX_COUNCILS {
            self.councils.clear();
            self.quiet_until = self.quiet_until.max(now + self.lease);
        }
        self.councils.push((voters.clone(), BootTime::FOREVER));
    }

    /// Takes over who is alive, and the settings.
    pub fn adopt(&mut self, topology: &Topology) {
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
        let suspect = self.suspects.entry(about.node).or_insert_with(|| Suspect::new(about.incarnation));
        if suspect.refused_by.len() < MAX_REFUSED_BY && !suspect.refused_by.contains(&from) {
            suspect.refused_by.push(from);
        }
    }

    /// The asks that the leader has to send, given that `promiser` judges by `began`.
    pub fn asks(
        &mut self,
        began: BootTime,
        topology: &Topology,
        promiser: &Promiser,
        mut ask: impl FnMut(NodeId, Member),
    ) {
        if began < self.look_at {
            return;
        }
        self.look_at = began + LOOK;
        self.look(began, topology, promiser);
        self.councils.retain(|(_, until)| *until > began);
        let orphan_timeout = orphan_timeout(&topology.settings);
        let mut asked = 0;
        for (node, suspect) in &mut self.suspects {
            let about = Member { node: *node, incarnation: suspect.incarnation };
            let over = suspect.over_since.is_some() && suspect.well_since.is_none();
            let suspected = over || !suspect.refused_by.is_empty();
            if !suspected || began < suspect.ask_at || asked >= MAX_ASKS {
                continue;
            }
            let waited = suspect.over_since.is_some_and(|since| began.since(since) >= orphan_timeout);
            if !waited && !worth_declaring(topology, about) {
                continue;
            }
            suspect.ask_at = began + ASK_AGAIN;
            let mut told = Vec::new();
            for voter in self.councils.iter().flat_map(|(voters, _)| voters.nodes()) {
                if !suspect.refused_by.contains(&voter) && !told.contains(&voter) {
                    told.push(voter);
                    ask(voter, about);
                    asked += 1;
                }
            }
        }
    }

    /// Notes whose promises are over. A suspicion is dropped when a promise has held for two leases, for longer than a
    /// node that does not hear its answers is promised anything.
    fn look(&mut self, began: BootTime, topology: &Topology, promiser: &Promiser) {
        let settled = self.lease * 2;
        for node in topology.nodes.values() {
            let member = node.info.member();
            if node.state != NodeState::Alive {
                continue;
            }
            if promiser.may_refuse(member) {
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
    }

    /// Another one leads: what this member has seen for itself does not count when it leads again.
    pub fn rest(&mut self) {
        self.suspects.retain(|_, suspect| {
            suspect.over_since = None;
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
            let refused = |node: NodeId| suspect.refused_by.contains(&node);
            let by_all = self.councils.iter().all(|(voters, _)| voters.majority(refused));
            if by_all && began >= suspect.declare_at {
                suspect.declare_at = began + DECLARE_AGAIN;
                dead.push(Member { node: *node, incarnation: suspect.incarnation });
            }
        }
    }

    /// When a leader has to look again.
    pub fn deadline(&self) -> BootTime {
        self.look_at
    }
}

fn orphan_timeout(settings: &Settings) -> Duration {
    Duration::from_millis(settings.orphan_timeout_ms.into())
}
