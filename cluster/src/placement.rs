//! Where the copies of each shard shall be, and which of them shall be the primary.
//!
//! [`place`] is a pure function of the topology, so every node that would lead the cluster wants the same. It starts
//! from what is and changes what it must. What it wants of a placement, the most important first:
//!
//! 1. The copies of a shard lie on different nodes, as many as the settings ask for and there are nodes.
//! 2. They lie in different zones; where there are fewer zones than copies, as evenly over zones as can be.
//! 3. No node has more than 5 % over its fair share, in copies or in primaries. Where a node can
//!    not have its share (it cannot hold two copies of a shard, its zone may hold no more), the others share that.
//! 4. As little as possible moves. Copies are costly to move, primaries cheap where the next one has a copy already:
//!    so copies are balanced first, and then primaries among the copies. A new copy goes where the
//!    [ring](crate::ring) prefers it among the nodes that have room.
//!
//! A dead node that is waited for, and one that is about to stop, keep their copies and their share of primaries, but
//! get nothing new; the primaries stay where they are until it is back. A plan that is under way shows in the topology, as a shard with more copies than it should have
//! and as a successor; both are taken into account, so planning again in the midst of a plan goes on with it.

use std::{
    cell::LazyCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    balance::{self, Bounds, Claim, Loads},
    ids::{NodeId, ShardId},
    ring::Ring,
    topology::{Node, NodeState, Shard, Topology},
};

/// Where the copies of a shard shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Who shall serve. Nobody if no node that lives can.
    pub primary: Option<NodeId>,
    /// The nodes that shall hold a copy beside the primary's.
    pub replicas: Vec<NodeId>,
}

impl Placement {
    /// All nodes that shall hold a copy, the primary first.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.primary.into_iter().chain(self.replicas.iter().copied())
    }

    /// Whether this node shall hold a copy.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.nodes().any(|other| other == *node)
    }
}

/// The wanted placement of every shard, by number.
///
/// `gone` are dead nodes that are not waited for any more. They, draining nodes and those of weight 0 get nothing; if
/// no others are left, nothing is wanted of any shard.
pub fn place(topology: &Topology, gone: &BTreeSet<NodeId>) -> Vec<Placement> {
    let mut copies = Copies::now(topology, gone);
    copies.give_up_surplus();
    copies.fill_up();
    let bounds = copies.bounds.clone();
    balance::balance(&mut copies, &bounds);

    let mut primaries = Primaries::now(&copies);
    primaries.choose_missing();
    let bounds = primaries.bounds.clone();
    balance::balance(&mut primaries, &bounds);
    primaries.placements()
}

/// A node that may hold copies.
struct Holder {
    id: NodeId,
    weight: u32,
    /// Index of its zone.
    zone: usize,
    /// It can take new copies and be primary: it lives, and is not about to stop.
    alive: bool,
}

/// How many copies of one shard a zone may hold.
#[derive(Clone, Copy)]
struct Zone {
    least: usize,
    most: usize,
}

/// The copies of all shards as far as they are planned; nodes are indices into `holders`.
struct Copies<'a> {
    topology: &'a Topology,
    /// In order of id.
    holders: Vec<Holder>,
    zones: Vec<Zone>,
    /// Copies that each shard should have.
    wanted: usize,
    bounds: Vec<Bounds>,
    /// Who has a copy of a shard now, among the holders: the primary first.
    now: Vec<Vec<usize>>,
    /// Who shall have one.
    of_shard: Vec<Vec<usize>>,
    /// The same by node.
    of_node: Vec<BTreeSet<usize>>,
}

impl<'a> Copies<'a> {
    fn now(topology: &'a Topology, gone: &BTreeSet<NodeId>) -> Self {
        let held: BTreeSet<NodeId> = topology.shards.iter().flat_map(nodes_of).collect();
        let may_hold = |(id, node): &(&NodeId, &Node)| {
            let stays = takes(node) || (held.contains(id) && !gone.contains(id));
            stays && !node.draining && node.info.weight > 0
        };
        let (holders, zone_sizes) = holders(topology.nodes.iter().filter(may_hold));
        let wanted = holders.len().min(1 + usize::from(topology.settings.replicas));
        let index = |id: NodeId| holders.binary_search_by_key(&id, |holder| holder.id).ok();
        let now: Vec<Vec<usize>> =
            topology.shards.iter().map(|shard| nodes_of(shard).filter_map(index).collect()).collect();
        let mut of_node = vec![BTreeSet::new(); holders.len()];
        for (shard, nodes) in now.iter().enumerate() {
            nodes.iter().for_each(|node| {
                of_node[*node].insert(shard);
            });
        }
        let zones = zones(&zone_sizes, wanted);
        let bounds = copy_bounds(&holders, &zones, wanted, &of_node, now.len());
        Self { topology, holders, zones, wanted, bounds, of_shard: now.clone(), now, of_node }
    }

    fn shard(&self, shard: usize) -> &'a Shard {
        &self.topology.shards[shard]
    }

    fn has(&self, shard: usize, node: usize) -> bool {
        self.of_shard[shard].contains(&node)
    }

    fn is_in_sync(&self, shard: usize, node: usize) -> bool {
        let id = self.holders[node].id;
        self.shard(shard).in_sync.iter().any(|member| member.node == id)
    }

    /// The node that is, or is to be, the primary, as far as topology and plan have agreed on it.
    fn agreed_primary(&self, shard: usize) -> Option<usize> {
        let now = self.shard(shard);
        let nodes = [now.successor, now.primary.map(|member| member.node)];
        let mut holding = nodes.into_iter().flatten().filter_map(|id| {
            let held = self.of_shard[shard].iter();
            held.copied().find(|node| self.holders[*node].id == id)
        });
        holding.next()
    }

    fn add(&mut self, shard: usize, node: usize) {
        self.of_shard[shard].push(node);
        self.of_node[node].insert(shard);
    }

    fn remove(&mut self, shard: usize, node: usize) {
        self.of_shard[shard].retain(|other| *other != node);
        self.of_node[node].remove(&shard);
    }

    /// Copies of the shard in a zone, not counting one that is about to be moved.
    fn in_zone(&self, shard: usize, zone: usize, without: Option<usize>) -> usize {
        let nodes = self.of_shard[shard].iter();
        nodes.filter(|node| self.holders[**node].zone == zone && Some(**node) != without).count()
    }

    /// Copies that the shard still needs so that every zone has its least, not counting one that is about to be moved.
    fn missing_in_zones(&self, shard: usize, without: Option<usize>) -> usize {
        if self.zones.first().is_none_or(|zone| zone.least == 0) {
            return 0;
        }
        let missing =
            |(index, zone): (usize, &Zone)| zone.least.saturating_sub(self.in_zone(shard, index, without));
        self.zones.iter().enumerate().map(missing).sum()
    }

    /// Tells of each zone whether another copy there leaves every zone its least and its most, not counting a copy
    /// that is about to be moved.
    fn zones_with_room(&self, shard: usize, without: Option<usize>) -> impl Fn(usize) -> bool {
        let copies = self.of_shard[shard].len() - usize::from(without.is_some());
        let to_spare = self.wanted > copies + self.missing_in_zones(shard, without);
        move |zone| {
            let has = self.in_zone(shard, zone, without);
            has < self.zones[zone].least || (to_spare && has < self.zones[zone].most)
        }
    }

    /// Takes copies from shards that have too many, in all or in a zone, where they are most of a burden.
    fn give_up_surplus(&mut self) {
        for shard in 0..self.of_shard.len() {
            while let Some(node) = self.surplus(shard) {
                self.remove(shard, node);
            }
        }
    }

    /// The copy of a shard that goes first, if one has to.
    fn surplus(&self, shard: usize) -> Option<usize> {
        let nodes = &self.of_shard[shard];
        let count = |node: usize| self.in_zone(shard, self.holders[node].zone, None);
        let zone = |node: usize| self.zones[self.holders[node].zone];
        let crowded = |node: &usize| count(*node) > zone(*node).most;
        let spare = |node: &usize| count(*node) > zone(*node).least;
        let worst = |nodes: &mut dyn Iterator<Item = usize>| {
            let primary = self.agreed_primary(shard);
            nodes.max_by(|a, b| {
                let key = |node: usize| (Some(node) != primary, self.load(node) > self.bounds[node].most);
                let relative = |node: usize| self.bounds[node].relative(self.load(node));
                key(*a)
                    .cmp(&key(*b))
                    .then(relative(*a).total_cmp(&relative(*b)))
                    .then(self.is_in_sync(shard, *b).cmp(&self.is_in_sync(shard, *a)))
            })
        };
        if nodes.iter().any(crowded) {
            return worst(&mut nodes.iter().copied().filter(crowded));
        }
        if nodes.len() + self.missing_in_zones(shard, None) > self.wanted {
            return worst(&mut nodes.iter().copied().filter(spare))
                .or_else(|| worst(&mut nodes.iter().copied()));
        }
        None
    }

    /// Gives every shard the copies that it lacks: where the ring prefers them, among the nodes that need some, then
    /// among those that have room.
    fn fill_up(&mut self) {
        let nodes = self.holders.iter().map(|holder| (holder.id, holder.weight));
        let nodes: Vec<_> = nodes.collect();
        let ring = LazyCell::new(|| Ring::new(nodes));
        for shard in 0..self.of_shard.len() {
            while self.of_shard[shard].len() < self.wanted {
                let node = self
                    .by_preference(&ring, shard, |bounds, load| load < bounds.least)
                    .or_else(|| self.by_preference(&ring, shard, |bounds, load| load < bounds.most))
                    .or_else(|| self.by_preference(&ring, shard, |_, _| true))
                    .or_else(|| self.against_zones(shard));
                let Some(node) = node else { break };
                self.add(shard, node);
            }
        }
    }

    /// The preferred node for another copy of a shard among those whose load has `room`.
    fn by_preference(
        &self,
        ring: &LazyCell<Ring, impl FnOnce() -> Ring>,
        shard: usize,
        room: impl Fn(&Bounds, usize) -> bool,
    ) -> Option<usize> {
        let zone_has_room = self.zones_with_room(shard, None);
        let fits = |node: &usize| {
            let holder = &self.holders[*node];
            room(&self.bounds[*node], self.load(*node))
                && holder.alive
                && !self.has(shard, *node)
                && zone_has_room(holder.zone)
        };
        // To walk the ring in vain costs most, and is common when all is well.
        if !(0..self.holders.len()).any(|node| fits(&node)) {
            return None;
        }
        let holder = |id: NodeId| self.holders.binary_search_by_key(&id, |holder| holder.id);
        ring.preference(ShardId(shard as u16)).filter_map(|id| holder(id).ok()).find(fits)
    }

    /// Some node for another copy, zones apart: better two copies in a zone than one too few. A node that has one now
    /// comes first, so that nothing moves back and forth until the zones allow better.
    fn against_zones(&self, shard: usize) -> Option<usize> {
        let fits = |node: &usize| self.holders[*node].alive && !self.has(shard, *node);
        let relative = |node: &usize| self.bounds[*node].relative(self.load(*node));
        self.now[shard].iter().copied().find(fits).or_else(|| {
            (0..self.holders.len()).filter(fits).min_by(|a, b| relative(a).total_cmp(&relative(b)))
        })
    }
}

impl Loads for Copies<'_> {
    fn load(&self, node: usize) -> usize {
        self.of_node[node].len()
    }

    /// First what it does not have yet, which costs nothing, and last what it is the primary of.
    fn offers(&self, node: usize) -> impl Iterator<Item = usize> {
        let has_now = move |shard: &usize| self.now[*shard].contains(&node);
        let leads = move |shard: &usize| self.agreed_primary(*shard) == Some(node);
        let shards = || self.of_node[node].iter().copied();
        let new = shards().filter(move |shard| !has_now(shard));
        let others = shards().filter(move |shard| has_now(shard) && !leads(shard));
        let led = shards().filter(move |shard| has_now(shard) && leads(shard));
        new.chain(others).chain(led)
    }

    fn may_have(&self, shard: usize, from: usize) -> impl Fn(usize) -> bool {
        let zone = self.holders[from].zone;
        let zone_has_room = self.zones_with_room(shard, Some(from));
        move |to| {
            let holder = &self.holders[to];
            holder.alive && !self.has(shard, to) && (holder.zone == zone || zone_has_room(holder.zone))
        }
    }

    fn make_move(&mut self, shard: usize, from: usize, to: usize) {
        self.remove(shard, from);
        self.add(shard, to);
    }
}

/// Which of its copies is each shard's primary. A dead node can be one here: it will be, once it is back.
struct Primaries<'a> {
    copies: &'a Copies<'a>,
    bounds: Vec<Bounds>,
    of_shard: Vec<Option<usize>>,
    of_node: Vec<BTreeSet<usize>>,
}

impl<'a> Primaries<'a> {
    fn now(copies: &'a Copies<'a>) -> Self {
        let shards = copies.of_shard.len();
        let of_shard: Vec<_> = (0..shards).map(|shard| copies.agreed_primary(shard)).collect();
        let mut of_node = vec![BTreeSet::new(); copies.holders.len()];
        for (shard, primary) in of_shard.iter().enumerate() {
            if let Some(primary) = primary {
                of_node[*primary].insert(shard);
            }
        }
        let claims: Vec<Claim> = (0..copies.holders.len())
            .map(|node| Claim {
                weight: f64::from(copies.holders[node].weight),
                limit: copies.load(node) as f64,
            })
            .collect();
        let shares = balance::shares(&claims, shards as f64);
        Self { copies, bounds: shares.into_iter().map(Bounds::around).collect(), of_shard, of_node }
    }

    /// Chooses a primary where none of the copies is it: one with room, then one in sync, then one with little to do.
    fn choose_missing(&mut self) {
        for shard in 0..self.of_shard.len() {
            if self.of_shard[shard].is_none()
                && let Some(node) = self.best_alive(shard)
            {
                self.of_shard[shard] = Some(node);
                self.of_node[node].insert(shard);
            }
        }
    }

    fn best_alive(&self, shard: usize) -> Option<usize> {
        let load = |node: usize| self.load(node);
        let alive = |node: &usize| self.copies.holders[*node].alive;
        let copies = self.copies.of_shard[shard].iter().copied();
        copies.filter(alive).min_by(|a, b| {
            let key = |node: usize| {
                let full = load(node) >= self.bounds[node].most;
                (full, Reverse(self.copies.is_in_sync(shard, node)))
            };
            let relative = |node: usize| self.bounds[node].relative(load(node));
            key(*a).cmp(&key(*b)).then(relative(*a).total_cmp(&relative(*b)))
        })
    }

    fn placements(&self) -> Vec<Placement> {
        (0..self.of_shard.len()).map(|shard| self.placement(shard)).collect()
    }

    fn placement(&self, shard: usize) -> Placement {
        let holders = &self.copies.holders;
        let copies = self.copies.of_shard[shard].iter().map(|node| holders[*node].id);
        let primary = match self.of_shard[shard] {
            Some(node) if holders[node].alive => Some(holders[node].id),
            // Until the node that is waited for is back, the primary stays where it is.
            _ => {
                let now = self.copies.shard(shard).primary.map(|member| member.node);
                let stays = now.filter(|id| copies.clone().any(|copy| copy == *id));
                let other = || self.best_alive(shard).map(|node| holders[node].id);
                stays.or_else(other).or(now.filter(|_| !holders.is_empty()))
            }
        };
        Placement { primary, replicas: copies.filter(|id| Some(*id) != primary).collect() }
    }
}

impl Loads for Primaries<'_> {
    fn load(&self, node: usize) -> usize {
        self.of_node[node].len()
    }

    fn offers(&self, node: usize) -> impl Iterator<Item = usize> {
        self.of_node[node].iter().copied()
    }

    fn may_have(&self, shard: usize, _: usize) -> impl Fn(usize) -> bool {
        move |to| self.copies.has(shard, to)
    }

    fn make_move(&mut self, shard: usize, from: usize, to: usize) {
        self.of_shard[shard] = Some(to);
        self.of_node[from].remove(&shard);
        self.of_node[to].insert(shard);
    }
}

/// All nodes that hold a copy of a shard, complete or not, the primary first.
fn nodes_of(shard: &Shard) -> impl Iterator<Item = NodeId> {
    let primary = shard.primary.map(|member| member.node);
    primary.into_iter().chain(shard.replicas.iter().copied())
}

/// Whether a node can take anything new.
fn takes(node: &Node) -> bool {
    node.state == NodeState::Alive && !node.leaving
}

/// The holders, and how many of them each zone has. A node without a zone is a zone of its own.
fn holders<'n>(nodes: impl Iterator<Item = (&'n NodeId, &'n Node)>) -> (Vec<Holder>, Vec<usize>) {
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut sizes: Vec<usize> = Vec::new();
    let holders = nodes
        .map(|(id, node)| {
            let zone = match node.info.zone.as_str() {
                "" => sizes.len(),
                name => *names.entry(name).or_insert(sizes.len()),
            };
            sizes.resize(sizes.len().max(zone + 1), 0);
            sizes[zone] += 1;
            Holder { id: *id, weight: node.info.weight, zone, alive: takes(node) }
        })
        .collect();
    (holders, sizes)
}

/// How many of a shard's copies each zone may hold, if they are spread over the zones as evenly as the zones' sizes
/// allow: all have `even` or all their nodes, and some one more.
fn zones(sizes: &[usize], wanted: usize) -> Vec<Zone> {
    let room = |each: usize| -> usize { sizes.iter().map(|size| each.min(*size)).sum() };
    let even = (0..wanted).take_while(|each| room(each + 1) <= wanted).count();
    sizes.iter().map(|size| Zone { least: even.min(*size), most: (even + 1).min(*size) }).collect()
}

fn copy_bounds(
    holders: &[Holder],
    zones: &[Zone],
    wanted: usize,
    of_node: &[BTreeSet<usize>],
    shards: usize,
) -> Vec<Bounds> {
    let claims: Vec<Claim> = holders
        .iter()
        .zip(of_node)
        .map(|(holder, held)| Claim {
            weight: f64::from(holder.weight),
            // A dead node keeps what it has, and gets no more.
            limit: if holder.alive { shards } else { held.len() } as f64,
        })
        .collect();
    let zone_of: Vec<usize> = holders.iter().map(|holder| holder.zone).collect();
    let of_all = |copies: usize| (copies * shards) as f64;
    let zones: Vec<(f64, f64)> = zones.iter().map(|zone| (of_all(zone.least), of_all(zone.most))).collect();
    balance::zoned_shares(&claims, &zone_of, &zones, of_all(wanted)).into_iter().map(Bounds::around).collect()
}
