//! How one topology becomes the next: the requests that the council decides on, and what each of them does.
//!
//! [`Topology::apply`] is a pure function of topology and request, so every node that applies the same log holds the
//! same topology. A request names the version that it rests on and is refused if what it is about has changed since;
//! the asker then looks at the newer topology and thinks again. Nothing here waits, measures or guesses: whether a
//! node is dead, or a copy complete, was found out before the request was made.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ClusterId, Epoch, Member, NodeId, Offset, SLOTS, ShardId, Version},
    topology::{EPOCHS_REMEMBERED, Node, NodeInfo, NodeState, Settings, Shard, Topology},
};

/// A request to the council.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The first entry of every log: a cluster of one node that serves every shard.
    Found {
        /// The new cluster's name.
        cluster: ClusterId,
        /// Its settings.
        settings: Settings,
        /// Its first node.
        first: NodeInfo,
    },
    /// A node joins, comes back in a newer incarnation, or has changed its addresses, zone or weight. A newer
    /// incarnation is proof that the older one is dead.
    Admit(NodeInfo),
    /// This incarnation is over.
    End {
        /// Which.
        member: Member,
        /// Who says so.
        by: Verdict,
    },
    /// This incarnation is about to stop.
    Leave(Member),
    /// The node shall hand over all that it has (or no longer).
    Drain {
        /// Which node.
        node: NodeId,
        /// Whether it is to be drained from now on.
        draining: bool,
    },
    /// The node is forgotten. It must be dead, or hold nothing.
    Remove(NodeId),
    /// Steps of several shards, each decided by itself.
    Shards(Vec<ShardChange>),
    /// New settings; the number of shards and the hash seed stay.
    Configure(Settings),
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Who says that an incarnation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It does itself: it has stopped serving.
    Itself,
    /// A majority of the council has refused it. The decision holds only while no newer configuration of the council is
    /// in the log, which the council itself checks.
    Council {
        /// The term of the entry that set the configuration by which it was decided.
        term: u64,
        /// The index of that entry.
        index: u64,
    },
}

/// One step of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardChange {
    /// Which shard.
    pub shard: ShardId,
    /// The version of the topology that the step rests on: refused if the shard has changed since.
    pub based_on: Version,
    /// What is to happen.
    pub step: Step,
}

/// What can happen to a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Other nodes shall hold the copies, and one of them, perhaps, shall be the next primary.
    Place {
        /// The nodes that shall hold a copy beside the primary's.
        replicas: Vec<NodeId>,
        /// Which of these the primary shall hand over to.
        successor: Option<NodeId>,
    },
    /// The primary says that this copy is complete and follows.
    JoinInSync(Member),
    /// The primary says that this copy does not follow any more.
    LeaveInSync(Member),
    /// Planned: the primary has sealed the shard at this offset, and the in-sync target has confirmed it.
    Switch {
        /// The next primary.
        to: Member,
        /// Where the new epoch begins.
        at: Offset,
    },
    /// Unplanned: the primary is dead; the candidates have sealed the old epoch, and this one has the most of it.
    Promote {
        /// The next primary.
        to: Member,
        /// Where the new epoch begins: the end of that copy's log.
        at: Offset,
        /// The members of the in-sync set that sealed too, and stay in it.
        in_sync: Vec<Member>,
    },
    /// No copy is left: the shard starts again without data.
    StartEmpty {
        /// The next primary.
        on: Member,
    },
    /// The primary says that it cannot serve: it has not the log with which its epoch began. Another is looked for, as
    /// if it had died.
    Resign(Member),
}

/// Why a request was not applied. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refused {
    /// What the request is about has changed since the version that it rests on.
    #[error("the topology has changed since the version that the request rests on")]
    Stale,
    /// The incarnation was declared dead or replaced by a newer one; a living process must draw a new one.
    #[error("this incarnation is over; draw a new one")]
    IncarnationOver,
    /// There is no such node, shard or member.
    #[error("no such node in the cluster")]
    Unknown,
    /// The request contradicts the topology: it names a member that cannot be what it shall be.
    #[error("the request does not fit the topology")]
    Unfit,
    /// The node holds shards still.
    #[error("the node still holds shards; drain it first")]
    HoldsShards,
    /// The cluster is founded, or is not founded yet.
    #[error("the cluster is founded already, or not yet")]
    Founding,
    /// These settings are fixed for the life of the cluster, or make no sense.
    #[error("the number of shards and the hash seed cannot change, and a lease has a least length")]
    BadSettings,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The version of the topology after it.
    pub version: Version,
    /// Of [`Change::Shards`], the shards whose step was refused, and why.
    pub refused: Vec<(ShardId, Refused)>,
}

impl Topology {
    /// The topology before anything was agreed.
    pub fn unfounded() -> Self {
        Self {
            cluster: ClusterId([0; 20]),
            version: Version(0),
            settings: Settings::default(),
            nodes: Default::default(),
            shards: Vec::new(),
        }
    }

    /// Whether the cluster exists.
    pub fn is_founded(&self) -> bool {
        self.version > Version(0)
    }

    /// Makes the change, or refuses it and changes nothing.
    ///
    /// [`Change::Shards`] is a batch: each step stands alone, and the outcome names those that were refused. The
    /// version is raised if anything changed.
    pub fn apply(&mut self, change: &Change) -> Result<Outcome, Refused> {
        if self.is_founded() == matches!(change, Change::Found { .. }) {
            return Err(Refused::Founding);
        }
        let version = self.version.next();
        let mut refused = Vec::new();
        match change {
            Change::Found { cluster, settings, first } => {
                let sound = settings.shards.is_power_of_two() && settings.shards <= SLOTS;
                if !sound || settings.lease_ms == 0 {
                    return Err(Refused::BadSettings);
                }
                *self = founded(*cluster, settings.clone(), first.clone(), version);
            }
            Change::Admit(info) => self.admit(info, version)?,
            Change::Leave(member) => {
                if !self.is_alive(*member) {
                    return Err(Refused::IncarnationOver);
                }
                self.nodes.get_mut(&member.node).ok_or(Refused::Unknown)?.leaving = true;
            }
            Change::End { member, by: _ } => {
                if !self.is_alive(*member) {
                    return Err(Refused::IncarnationOver);
                }
                self.end(*member, version);
            }
            Change::Drain { node, draining } => {
                self.nodes.get_mut(node).ok_or(Refused::Unknown)?.draining = *draining;
            }
            Change::Remove(node) => self.remove(node, version)?,
            Change::Shards(changes) => {
                for change in changes {
                    if let Err(why) = self.step(change, version) {
                        refused.push((change.shard, why));
                    }
                }
                if refused.len() == changes.len() {
                    return Ok(Outcome { version: self.version, refused });
                }
            }
            Change::Configure(settings) => {
                let fixed = |s: &Settings| (s.shards, s.hash_seed);
                if fixed(settings) != fixed(&self.settings) || settings.lease_ms == 0 {
                    return Err(Refused::BadSettings);
                }
                self.settings = settings.clone();
            }
        }
        self.version = version;
        Ok(Outcome { version, refused })
    }

    fn admit(&mut self, info: &NodeInfo, version: Version) -> Result<(), Refused> {
        let mut draining = false;
        if let Some(known) = self.nodes.get(&info.id) {
            let (old, state) = (known.info.incarnation, known.state);
            if info.incarnation < old || (info.incarnation == old && state == NodeState::Dead) {
                return Err(Refused::IncarnationOver);
            }
            draining = known.draining;
            if info.incarnation > old {
                self.end(Member { node: info.id, incarnation: old }, version);
            }
        }
        self.nodes
            .insert(info.id, Node { info: info.clone(), state: NodeState::Alive, draining, leaving: false });
        Ok(())
    }

    /// Takes everything from an incarnation that is no more. Its node keeps its place among the holders of copies.
    fn end(&mut self, member: Member, version: Version) {
        if let Some(node) = self.nodes.get_mut(&member.node) {
            node.state = NodeState::Dead;
        }
        for shard in &mut self.shards {
            if shard.primary == Some(member) || shard.is_in_sync(member) {
                shard.lose(member);
                shard.changed = version;
            }
        }
    }

    fn remove(&mut self, id: &NodeId, version: Version) -> Result<(), Refused> {
        let node = self.nodes.get(id).ok_or(Refused::Unknown)?;
        if node.state == NodeState::Alive && self.shards.iter().any(|shard| shard.is_held_by(id)) {
            return Err(Refused::HoldsShards);
        }
        self.nodes.remove(id);
        for shard in self.shards.iter_mut().filter(|shard| shard.replicas.contains(id)) {
            shard.replicas.retain(|replica| replica != id);
            if shard.successor == Some(*id) {
                shard.successor = None;
            }
            shard.changed = version;
        }
        Ok(())
    }

    fn step(&mut self, change: &ShardChange, version: Version) -> Result<(), Refused> {
        let shard = self.shards.get(usize::from(change.shard.0)).ok_or(Refused::Unknown)?;
        if shard.changed > change.based_on {
            return Err(Refused::Stale);
        }
        let mut next = shard.clone();
        self.try_step(&mut next, &change.step)?;
        next.changed = version;
        self.shards[usize::from(change.shard.0)] = next;
        Ok(())
    }

    fn try_step(&self, shard: &mut Shard, step: &Step) -> Result<(), Refused> {
        let fit = |condition: bool| if condition { Ok(()) } else { Err(Refused::Unfit) };
        match step {
            Step::Place { replicas, successor } => {
                let primary = shard.primary.map(|member| member.node);
                let distinct = (1..replicas.len()).all(|i| !replicas[..i].contains(&replicas[i]));
                fit(distinct && replicas.iter().all(|node| self.nodes.contains_key(node)))?;
                fit(replicas.iter().all(|node| Some(*node) != primary))?;
                fit(successor.is_none_or(|node| replicas.contains(&node)))?;
                shard.in_sync.retain(|m| Some(m.node) == primary || replicas.contains(&m.node));
                shard.replicas.clone_from(replicas);
                shard.successor = *successor;
            }
            Step::JoinInSync(member) => {
                fit(shard.primary.is_some() && self.is_alive(*member))?;
                fit(shard.replicas.contains(&member.node) && !shard.is_in_sync(*member))?;
                shard.in_sync.push(*member);
            }
            Step::LeaveInSync(member) => {
                fit(shard.primary != Some(*member) && shard.is_in_sync(*member))?;
                shard.in_sync.retain(|other| other != member);
            }
            Step::Switch { to, at } => {
                let old = shard.primary.ok_or(Refused::Unfit)?;
                fit(old != *to && shard.is_in_sync(*to) && self.is_alive(*to))?;
                fit(*at >= shard.began_at())?;
                shard.replicas.push(old.node);
                shard.begin_epoch(*to, *at);
            }
            Step::Promote { to, at, in_sync } => {
                fit(shard.primary.is_none() && self.is_alive(*to) && shard.replicas.contains(&to.node))?;
                fit(in_sync.iter().all(|member| shard.is_in_sync(*member)))?;
                fit(*at >= shard.began_at() || !shard.is_in_sync(*to))?;
                if !shard.is_in_sync(*to) {
                    // Equal offsets of this copy and of any other mean equal data no more: all others are made anew.
                    shard.began.clear();
                }
                shard.in_sync.retain(|member| in_sync.contains(member));
                shard.begin_epoch(*to, *at);
            }
            Step::StartEmpty { on } => {
                fit(shard.primary.is_none() && self.is_alive(*on))?;
                shard.in_sync.clear();
                shard.began.clear();
                shard.begin_epoch(*on, Offset(0));
            }
            Step::Resign(member) => {
                fit(shard.primary == Some(*member))?;
                shard.lose(*member);
            }
        }
        Ok(())
    }
}

impl Shard {
    /// Takes the shard from an incarnation. Its node keeps its place among the holders of copies.
    fn lose(&mut self, member: Member) {
        if self.primary == Some(member) {
            self.primary = None;
            self.replicas.push(member.node);
        }
        self.in_sync.retain(|other| *other != member);
    }

    /// Makes `primary` the primary of a new epoch that begins at `at`.
    fn begin_epoch(&mut self, primary: Member, at: Offset) {
        self.epoch = self.epoch.next();
        self.began.push((self.epoch, at));
        let forgotten = self.began.len().saturating_sub(EPOCHS_REMEMBERED);
        self.began.drain(..forgotten);
        self.primary = Some(primary);
        self.replicas.retain(|node| *node != primary.node);
        if !self.is_in_sync(primary) {
            self.in_sync.push(primary);
        }
        self.successor = None;
    }
}

fn founded(cluster: ClusterId, settings: Settings, first: NodeInfo, version: Version) -> Topology {
    let primary = first.member();
    let shard = Shard {
        epoch: Epoch(1),
        began: vec![(Epoch(1), Offset(0))],
        primary: Some(primary),
        replicas: Vec::new(),
        in_sync: vec![primary],
        successor: None,
        changed: version,
    };
    Topology {
        cluster,
        version,
        shards: vec![shard; usize::from(settings.shards)],
        settings,
        nodes: [(first.id, Node { info: first, state: NodeState::Alive, draining: false, leaving: false })]
            .into(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{ids::Incarnation, topology::Address};

    pub(crate) fn info(node: u8, incarnation: u64) -> NodeInfo {
        NodeInfo {
            id: NodeId([node; 20]),
            incarnation: Incarnation(incarnation),
            address: Address {
                host: "127.0.0.1".into(),
                client_port: 6379,
                cluster_port: 7379,
                admin_port: 8379,
                bus_port: 16379,
            },
            zone: String::new(),
            weight: 1,
        }
    }

    fn end(member: Member) -> Change {
        Change::End { member, by: Verdict::Itself }
    }

    fn two_nodes() -> Topology {
        let mut topology = Topology::unfounded();
        let settings = Settings { shards: 4, ..Settings::default() };
        let found = Change::Found { cluster: ClusterId([7; 20]), settings, first: info(1, 1) };
        topology.apply(&found).unwrap();
        topology.apply(&Change::Admit(info(2, 1))).unwrap();
        topology
    }

    fn step(topology: &mut Topology, step: Step) -> Result<(), Refused> {
        let change = ShardChange { shard: ShardId(0), based_on: topology.version, step };
        match topology.apply(&Change::Shards(vec![change])).unwrap().refused.first() {
            None => Ok(()),
            Some((_, why)) => Err(*why),
        }
    }

    fn with_replica() -> Topology {
        let mut topology = two_nodes();
        let replicas = vec![NodeId([2; 20])];
        step(&mut topology, Step::Place { replicas, successor: None }).unwrap();
        step(&mut topology, Step::JoinInSync(info(2, 1).member())).unwrap();
        topology
    }

    #[test]
    fn a_founded_cluster_serves_every_shard_from_its_first_node() {
        let topology = two_nodes();
        assert_eq!(topology.version, Version(2));
        assert!(topology.shards.iter().all(|shard| shard.primary == Some(info(1, 1).member())));
        assert_eq!(topology.slots_of(ShardId(3)), 12288..=16383);
        assert_eq!(topology.shard_of(16383), ShardId(3));
    }

    #[test]
    fn a_step_that_rests_on_an_older_version_is_refused() {
        let mut topology = with_replica();
        let stale = ShardChange {
            shard: ShardId(0),
            based_on: Version(topology.version.0 - 1),
            step: Step::LeaveInSync(info(2, 1).member()),
        };
        let before = topology.clone();
        let outcome = topology.apply(&Change::Shards(vec![stale])).unwrap();
        assert_eq!(outcome.refused, [(ShardId(0), Refused::Stale)]);
        assert_eq!(topology, before);
    }

    #[test]
    fn a_switch_raises_the_epoch_and_keeps_the_old_primary_as_a_replica() {
        let mut topology = with_replica();
        step(&mut topology, Step::Switch { to: info(2, 1).member(), at: Offset(90) }).unwrap();
        let shard = topology.shard(ShardId(0));
        assert_eq!((shard.epoch, shard.began_at()), (Epoch(2), Offset(90)));
        assert_eq!(shard.primary, Some(info(2, 1).member()));
        assert_eq!(shard.replicas, [NodeId([1; 20])]);
        assert!(shard.is_in_sync(info(1, 1).member()));
        assert!(shard.continues(Epoch(1), Offset(90)) && !shard.continues(Epoch(1), Offset(91)));
    }

    #[test]
    fn a_newer_incarnation_takes_nothing_over_from_the_older_one() {
        let mut topology = with_replica();
        topology.apply(&Change::Admit(info(1, 2))).unwrap();
        let shard = topology.shard(ShardId(0));
        assert_eq!((shard.primary, shard.in_sync.len()), (None, 1));
        assert_eq!(shard.replicas, [NodeId([2; 20]), NodeId([1; 20])]);
        assert_eq!(topology.apply(&Change::Admit(info(1, 1))), Err(Refused::IncarnationOver));
    }

    #[test]
    fn an_incarnation_that_was_declared_dead_is_never_admitted_again() {
        let mut topology = with_replica();
        topology.apply(&end(info(1, 1).member())).unwrap();
        assert_eq!(topology.apply(&Change::Admit(info(1, 1))), Err(Refused::IncarnationOver));
        assert_eq!(topology.apply(&end(info(1, 1).member())), Err(Refused::IncarnationOver));
        topology.apply(&Change::Admit(info(1, 2))).unwrap();
        assert!(topology.is_alive(info(1, 2).member()));
    }

    #[test]
    fn only_a_dead_primary_is_replaced_unasked() {
        let mut topology = with_replica();
        let to = info(2, 1).member();
        let promote = Step::Promote { to, at: Offset(5), in_sync: vec![to] };
        assert_eq!(step(&mut topology, promote.clone()), Err(Refused::Unfit));
        topology.apply(&end(info(1, 1).member())).unwrap();
        step(&mut topology, promote).unwrap();
        assert_eq!(topology.shard(ShardId(0)).in_sync, [to]);
        assert_eq!(step(&mut topology, Step::StartEmpty { on: to }), Err(Refused::Unfit));
    }

    #[test]
    fn a_primary_that_resigns_is_replaced_and_lives_on() {
        let mut topology = with_replica();
        let (old, next) = (info(1, 1).member(), info(2, 1).member());
        assert_eq!(step(&mut topology, Step::Resign(next)), Err(Refused::Unfit));
        step(&mut topology, Step::Resign(old)).unwrap();
        assert!(topology.is_alive(old));
        let shard = topology.shard(ShardId(0));
        assert_eq!((shard.primary, &shard.in_sync[..]), (None, &[next][..]));
        assert_eq!(shard.replicas, [next.node, old.node]);
        step(&mut topology, Step::Promote { to: next, at: Offset(5), in_sync: vec![next] }).unwrap();
        assert_eq!(topology.shard(ShardId(0)).primary, Some(next));
        assert_eq!(topology.shard(ShardId(1)).primary, Some(old));
    }

    #[test]
    fn nobody_continues_the_log_of_a_copy_that_was_not_in_sync() {
        let mut topology = two_nodes();
        let replicas = vec![NodeId([2; 20])];
        step(&mut topology, Step::Place { replicas, successor: None }).unwrap();
        topology.apply(&end(info(1, 1).member())).unwrap();
        let to = info(2, 1).member();
        step(&mut topology, Step::Promote { to, at: Offset(70), in_sync: Vec::new() }).unwrap();
        let shard = topology.shard(ShardId(0));
        assert_eq!(shard.began, [(Epoch(2), Offset(70))]);
        assert!(!shard.continues(Epoch(1), Offset(70)) && !shard.continues(Epoch(1), Offset(60)));
    }

    #[test]
    fn a_shard_that_starts_empty_continues_nobodys_log() {
        let mut topology = two_nodes();
        topology.apply(&Change::Admit(info(1, 2))).unwrap();
        step(&mut topology, Step::StartEmpty { on: info(1, 2).member() }).unwrap();
        let shard = topology.shard(ShardId(0));
        assert_eq!(shard.epoch, Epoch(2));
        assert!(!shard.continues(Epoch(1), Offset(0)) && shard.continues(Epoch(2), Offset(0)));
    }

    #[test]
    fn a_node_that_holds_shards_is_not_removed_unless_it_is_dead() {
        let mut topology = with_replica();
        assert_eq!(topology.apply(&Change::Remove(NodeId([2; 20]))), Err(Refused::HoldsShards));
        topology.apply(&end(info(2, 1).member())).unwrap();
        topology.apply(&Change::Remove(NodeId([2; 20]))).unwrap();
        assert!(topology.shards.iter().all(|shard| shard.replicas.is_empty()));
    }

    #[test]
    fn epochs_are_remembered_up_to_the_limit() {
        let mut topology = with_replica();
        for round in 0..20u64 {
            let to = info(if round % 2 == 0 { 2 } else { 1 }, 1).member();
            step(&mut topology, Step::Switch { to, at: Offset(round) }).unwrap();
        }
        let shard = topology.shard(ShardId(0));
        assert_eq!((shard.epoch, shard.began.len()), (Epoch(21), EPOCHS_REMEMBERED));
        assert!(!shard.continues(Epoch(2), Offset(1)));
    }
}
