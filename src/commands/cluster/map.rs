//! The map of the cluster as Redis Cluster knows it: ranges of slots, each with one primary and its replicas.
//!
//! What clients need of it was measured, and holds always: every range has a primary, every node has a host that is
//! neither empty nor null, exactly one line is `myself`, and no line is empty.
//!
//! A shard without a primary (its node has just died) is shown as served by the node that will most likely be its next
//! one. A gap would be worse in every client: some fail at once for slots that the map lacks, others pick a node at
//! random. The node that is named holds the request until the shard has a primary, and then serves it or says MOVED.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    ops::RangeInclusive,
};

use ringfort_cluster::{NodeId, Shard, Topology};

use super::{highest_epoch, is_alive};

/// The map at one moment, as one client sees it.
pub(super) struct Map<'t> {
    topology: &'t Topology,
    me: NodeId,
    /// The address that the client has dialled.
    dialled: SocketAddr,
}

/// Slots in a row that the same nodes serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) slots: RangeInclusive<u16>,
    pub(super) primary: NodeId,
    /// Sorted.
    pub(super) replicas: Vec<(NodeId, Health)>,
}

/// All slots that the same nodes serve.
pub(super) struct Group {
    pub(super) slots: Vec<RangeInclusive<u16>>,
    pub(super) primary: NodeId,
    pub(super) replicas: Vec<(NodeId, Health)>,
}

/// How a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Health {
    /// It has all data and follows.
    Online,
    /// It is being given the data.
    Loading,
    /// Its node is dead.
    Failed,
}

impl Health {
    /// As CLUSTER SHARDS says it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Loading => "loading",
            Self::Failed => "failed",
        }
    }
}

impl Range {
    /// The replicas that may be read from.
    pub(super) fn readable(&self) -> impl Iterator<Item = NodeId> {
        self.replicas.iter().filter(|replica| replica.1 == Health::Online).map(|replica| replica.0)
    }
}

impl<'t> Map<'t> {
    /// The map of `topology`, as a client of node `me` sees it who has dialled this address.
    pub(super) fn new(topology: &'t Topology, me: NodeId, dialled: SocketAddr) -> Self {
        Self { topology, me, dialled }
    }

    /// The whole of the slots, in order, without a gap.
    pub(super) fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for (id, shard) in self.topology.shards() {
            let slots = self.topology.slots_of(id);
            let primary = self.presumed_primary(shard);
            let replicas = self.replicas(shard, primary);
            match ranges.last_mut() {
                Some(last) if last.primary == primary && last.replicas == replicas => {
                    last.slots = *last.slots.start()..=*slots.end();
                }
                _ => ranges.push(Range { slots, primary, replicas }),
            }
        }
        ranges
    }

    /// The same, in an order in which no node is named as a replica before it has been named as a primary.
    ///
    /// A node here is primary of some slots and replica of others, which no node of Redis Cluster is. redis-py keeps
    /// one role for each node, the first that it reads: its FLUSHALL and its SCAN would then pass over a node that it
    /// has read of as a replica. So one slot of each such node comes first. Where that slot has replicas, they cannot be
    /// named yet; the node itself takes their place, for it answers reads too, and no slot seems to lack a copy.
    pub(super) fn ranges_primaries_first(&self) -> Vec<Range> {
        let mut ranges = self.ranges();
        let replicas: BTreeSet<NodeId> = ranges.iter().flat_map(Range::readable).collect();
        let mut first: Vec<Range> = Vec::new();
        for range in &mut ranges {
            let is_named = first.iter().any(|other| other.primary == range.primary);
            if !is_named && replicas.contains(&range.primary) {
                let (start, end) = (*range.slots.start(), *range.slots.end());
                let itself = range.readable().next().map(|_| (range.primary, Health::Online));
                let replicas = itself.into_iter().collect();
                first.push(Range { slots: start..=start, primary: range.primary, replicas });
                range.slots = start + 1..=end;
            }
        }
        first.extend(ranges.into_iter().filter(|range| !range.slots.is_empty()));
        first
    }

    /// The ranges, with all slots of the same nodes together.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for Range { slots, primary, replicas } in self.ranges() {
            groups.entry((primary, replicas)).or_default().push(slots);
        }
        let group = |((primary, replicas), slots)| Group { slots, primary, replicas };
        groups.into_iter().map(group).collect()
    }

    /// Who serves a shard, or will most likely do so next: a copy in sync, else any living holder, else this node.
    fn presumed_primary(&self, shard: &Shard) -> NodeId {
        if let Some(primary) = shard.primary {
            return primary.node;
        }
        let in_sync = shard.in_sync.iter().filter(|member| self.topology.is_alive(**member));
        let holders = shard.replicas.iter().filter(|node| is_alive(self.topology, node));
        in_sync.map(|member| member.node).chain(holders.copied()).next().unwrap_or(self.me)
    }

    fn replicas(&self, shard: &Shard, primary: NodeId) -> Vec<(NodeId, Health)> {
        let health = |node: &NodeId| match self.topology.alive(node) {
            None => Health::Failed,
            Some(member) if shard.is_in_sync(member) => Health::Online,
            Some(_) => Health::Loading,
        };
        let known = |node: &&NodeId| **node != primary && self.topology.nodes.contains_key(node);
        let replicas = shard.replicas.iter().filter(known);
        let mut replicas: Vec<_> = replicas.map(|node| (*node, health(node))).collect();
        replicas.sort_unstable();
        replicas
    }

    /// Host and cluster port of a node. The host of this node is what the client has dialled, where the node itself
    /// only knows that it listens everywhere.
    pub(super) fn endpoint(&self, node: &NodeId) -> (String, u16) {
        let address = self.topology.nodes.get(node).map(|node| &node.info.address);
        let dialled = || self.dialled.ip().to_canonical().to_string();
        match address {
            None => (dialled(), self.dialled.port()),
            Some(address) => {
                let is_real = !matches!(address.host.as_str(), "" | "0.0.0.0" | "::" | "*");
                let host = if is_real { address.host.clone() } else { dialled() };
                (host, address.cluster_port)
            }
        }
    }

    /// The lines of CLUSTER NODES.
    pub(super) fn node_lines(&self) -> Vec<String> {
        let mut slots: BTreeMap<NodeId, Vec<RangeInclusive<u16>>> = BTreeMap::new();
        for range in self.ranges() {
            let of_node = slots.entry(range.primary).or_default();
            match of_node.last_mut() {
                // Ranges that differ in their replicas only are one here.
                Some(last) if *last.end() + 1 == *range.slots.start() => {
                    *last = *last.start()..=*range.slots.end();
                }
                _ => of_node.push(range.slots),
            }
        }
        // A node that was removed while a client is connected to it still has to say which one it is.
        let stranger = (!self.topology.nodes.contains_key(&self.me)).then_some(self.me);
        let nodes = self.topology.nodes.keys().copied().chain(stranger);
        nodes.map(|node| self.line(&node, None, slots.get(&node).map_or(&[], Vec::as_slice))).collect()
    }

    /// The lines of CLUSTER REPLICAS.
    pub(super) fn replica_lines(&self, primary: NodeId) -> Vec<String> {
        let ranges = self.ranges();
        let of_primary = ranges.iter().filter(|range| range.primary == primary);
        let mut replicas: Vec<NodeId> =
            of_primary.flat_map(|range| range.replicas.iter().map(|replica| replica.0)).collect();
        replicas.sort_unstable();
        replicas.dedup();
        let line = |node: &NodeId| self.line(node, Some(primary), &[]).trim_end().to_owned();
        replicas.iter().map(line).collect()
    }

    fn line(&self, node: &NodeId, primary: Option<NodeId>, slots: &[RangeInclusive<u16>]) -> String {
        let (host, port) = self.endpoint(node);
        let bus_port = self.topology.nodes.get(node).map_or(0, |node| node.info.address.bus_port);
        let myself = if *node == self.me { "myself," } else { "" };
        let role = if primary.is_some() { "slave" } else { "master" };
        let alive = *node == self.me || is_alive(self.topology, node);
        let (fail, link) = if alive { ("", "connected") } else { (",fail", "disconnected") };
        let primary = primary.map_or("-".into(), |primary| primary.to_string());
        let epoch = highest_epoch(self.topology, |other| other == *node);
        let mut line =
            format!("{node} {host}:{port}@{bus_port} {myself}{role}{fail} {primary} 0 0 {epoch} {link}");
        for range in slots {
            match (range.start(), range.end()) {
                (start, end) if start == end => line.push_str(&format!(" {start}")),
                (start, end) => line.push_str(&format!(" {start}-{end}")),
            }
        }
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use ringfort_cluster::{Change, Offset, ShardChange, ShardId, Step, Verdict};

    use super::*;
    use crate::node::testing::{SHARDS, info, topology};

    fn step(topology: &mut Topology, shard: u16, step: Step) {
        let change = ShardChange { shard: ShardId(shard), based_on: topology.version, step };
        let outcome = topology.apply(&Change::Shards(vec![change])).unwrap();
        assert!(outcome.refused.is_empty(), "{outcome:?}");
    }

    /// Three nodes. Node 1 serves shards 0, 1 and 3, node 2 shard 2; each shard has a replica on node 2 or 1, and the
    /// last one is still being copied to node 3.
    fn three_nodes() -> Topology {
        let mut topology = topology();
        topology.apply(&Change::Admit(info(2))).unwrap();
        topology.apply(&Change::Admit(info(3))).unwrap();
        let node = |number| info(number).id;
        for shard in 0..SHARDS {
            let replicas = if shard == 3 { vec![node(3), node(2)] } else { vec![node(2)] };
            step(&mut topology, shard, Step::Place { replicas, successor: None });
            step(&mut topology, shard, Step::JoinInSync(info(2).member()));
        }
        step(&mut topology, 2, Step::Switch { to: info(2).member(), at: Offset(1) });
        topology
    }

    fn map(topology: &Topology, me: u8) -> Map<'_> {
        Map::new(topology, info(me).id, ([127, 0, 0, 1], 6381).into())
    }

    /// What holds of every map.
    fn check(map: &Map<'_>) {
        let ranges = map.ranges();
        assert_eq!(*ranges[0].slots.start(), 0);
        assert!(ranges.windows(2).all(|pair| pair[0].slots.end() + 1 == *pair[1].slots.start()));
        assert_eq!(ranges.last().map(|range| *range.slots.end()), Some(16383));
        for range in &ranges {
            for node in std::iter::once(range.primary).chain(range.readable()) {
                assert!(!map.endpoint(&node).0.is_empty() && map.endpoint(&node).1 > 0);
                assert!(node == map.me || is_alive(map.topology, &node), "{node:?} is dead");
            }
        }
        let lines = map.node_lines();
        assert_eq!(lines.iter().filter(|line| line.contains("myself")).count(), 1);
        for line in &lines {
            let fields: Vec<_> = line.trim_end().split(' ').collect();
            assert!(
                fields.len() >= 8 && line.ends_with('\n') && line.trim_end().lines().count() == 1,
                "{line}"
            );
            assert!(
                fields[1].split_once('@').is_some_and(|at| at.0.len() > 5 && !at.0.starts_with(':')),
                "{line}"
            );
        }
    }

    #[test]
    fn neighbours_with_the_same_nodes_are_one_range() {
        let topology = three_nodes();
        let map = map(&topology, 1);
        check(&map);
        let (one, two, three) = (info(1).id, info(2).id, info(3).id);
        let online = |node| (node, Health::Online);
        assert_eq!(
            map.ranges(),
            [
                Range { slots: 0..=8191, primary: one, replicas: vec![online(two)] },
                Range { slots: 8192..=12287, primary: two, replicas: vec![online(one)] },
                Range {
                    slots: 12288..=16383,
                    primary: one,
                    replicas: vec![online(two), (three, Health::Loading)]
                },
            ]
        );
        assert_eq!(map.ranges()[2].readable().collect::<Vec<_>>(), [two]);
        assert_eq!(map.groups().len(), 3);
        let lines = map.node_lines();
        assert!(
            lines[0].ends_with("10.0.0.1:7381@16381 myself,master - 0 0 1 connected 0-8191 12288-16383\n")
        );
        assert!(lines[1].ends_with("10.0.0.2:7382@16382 master - 0 0 2 connected 8192-12287\n"));
        assert!(lines[2].ends_with("10.0.0.3:7383@16383 master - 0 0 0 connected\n"));
        let replicas = map.replica_lines(two);
        assert_eq!(replicas.len(), 1);
        assert!(replicas[0].contains(&format!("myself,slave {two} ")) && !replicas[0].ends_with('\n'));
    }

    #[test]
    fn slots_name_no_node_as_a_replica_before_it_was_named_as_a_primary() {
        let topology = three_nodes();
        let map = map(&topology, 1);
        let (one, two, three) = (info(1).id, info(2).id, info(3).id);
        let online = |node| (node, Health::Online);
        assert_eq!(
            map.ranges_primaries_first(),
            [
                Range { slots: 0..=0, primary: one, replicas: vec![online(one)] },
                Range { slots: 8192..=8192, primary: two, replicas: vec![online(two)] },
                Range { slots: 1..=8191, primary: one, replicas: vec![online(two)] },
                Range { slots: 8193..=12287, primary: two, replicas: vec![online(one)] },
                Range {
                    slots: 12288..=16383,
                    primary: one,
                    replicas: vec![online(two), (three, Health::Loading)]
                },
            ]
        );
    }

    #[test]
    fn slots_of_nodes_that_are_no_replicas_stay_together() {
        let topology = topology();
        let map = map(&topology, 1);
        assert_eq!(map.ranges_primaries_first(), map.ranges());
    }

    #[test]
    fn a_shard_without_a_primary_is_shown_where_it_will_be_served() {
        let mut topology = three_nodes();
        topology.apply(&Change::End { member: info(1).member(), by: Verdict::Itself }).unwrap();
        assert!(topology.shards[0].primary.is_none());
        let map = map(&topology, 3);
        check(&map);
        assert!(map.ranges().iter().all(|range| range.primary == info(2).id));
        assert!(map.node_lines()[0].contains(" master,fail - 0 0 0 disconnected\n"));
        assert_eq!(map.ranges()[0].replicas, [(info(1).id, Health::Failed)]);
    }

    #[test]
    fn a_shard_that_nobody_holds_is_shown_on_the_node_that_is_asked() {
        let mut topology = topology();
        topology.apply(&Change::Admit(info(2))).unwrap();
        topology.apply(&Change::End { member: info(1).member(), by: Verdict::Itself }).unwrap();
        let map = map(&topology, 2);
        check(&map);
        assert_eq!(map.ranges()[0].primary, info(2).id);
    }

    #[test]
    fn a_node_that_listens_everywhere_is_shown_as_it_was_dialled() {
        let mut topology = topology();
        let mut everywhere = info(1);
        everywhere.address.host = "0.0.0.0".into();
        everywhere.incarnation = everywhere.incarnation.next();
        topology.apply(&Change::Admit(everywhere)).unwrap();
        let map = map(&topology, 1);
        check(&map);
        assert_eq!(map.endpoint(&info(1).id), ("127.0.0.1".into(), 7381));
        let map = Map::new(&topology, info(9).id, ([127, 0, 0, 1], 6381).into());
        assert_eq!(map.node_lines().iter().filter(|line| line.contains("myself")).count(), 1);
    }
}
