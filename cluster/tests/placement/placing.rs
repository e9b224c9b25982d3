//! The wanted placement: its bounds, its zones, and how little it moves.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use ringfort_cluster::{NodeId, Placement, Topology, codec, place};

use crate::model::{Cluster, Kind, holds, id, plain};

/// Nodes that can have something, with weight and zone.
fn takers(cluster: &Cluster) -> BTreeMap<NodeId, Kind> {
    let nodes = cluster.topology.nodes.iter();
    nodes
        .filter(|(id, node)| !node.draining && node.info.weight > 0 && !cluster.gone.contains(id))
        .map(|(id, node)| (*id, (node.info.weight, node.info.zone.clone())))
        .collect()
}

fn zone(id: NodeId, kind: &Kind) -> String {
    if kind.1.is_empty() { id.to_string() } else { kind.1.clone() }
}

pub(crate) fn loads(wanted: &[Placement]) -> (BTreeMap<NodeId, usize>, BTreeMap<NodeId, usize>) {
    let (mut copies, mut primaries) = (BTreeMap::new(), BTreeMap::new());
    for placement in wanted {
        placement.nodes().for_each(|node| *copies.entry(node).or_default() += 1);
        placement.primary.into_iter().for_each(|node| *primaries.entry(node).or_default() += 1);
    }
    (copies, primaries)
}

/// ceil(1.05 × total × weight / weights), in whole numbers.
fn bound(total: usize, weight: u32, weights: u64) -> usize {
    (total as u64 * u64::from(weight) * 105).div_ceil(weights * 100) as usize
}

/// Checks everything that holds of every placement of a cluster whose nodes are all alive.
pub(crate) fn check(cluster: &Cluster, wanted: &[Placement]) {
    let takers = takers(cluster);
    let zones: BTreeSet<_> = takers.iter().map(|(id, kind)| zone(*id, kind)).collect();
    let shards = cluster.topology.shards.len();
    let copies = takers.len().min(1 + usize::from(cluster.topology.settings.replicas));
    assert_eq!(wanted.len(), shards);
    for placement in wanted {
        let nodes: BTreeSet<_> = placement.nodes().collect();
        assert_eq!((placement.nodes().count(), nodes.len()), (copies, copies));
        let used: BTreeSet<_> = nodes.iter().map(|id| zone(*id, &takers[id])).collect();
        assert_eq!(used.len(), copies.min(zones.len()));
    }
    let possible = fair_shares_are_possible(cluster);
    let weights: u64 = takers.values().map(|kind| u64::from(kind.0)).sum();
    let (copies_of, primaries_of) = loads(wanted);
    for (id, (weight, _)) in &takers {
        let has = |loads: &BTreeMap<NodeId, usize>| loads.get(id).copied().unwrap_or(0);
        if possible {
            let most = bound(shards * copies, *weight, weights);
            assert!(has(&copies_of) <= most, "{} copies > {most}", has(&copies_of));
        }
        let most = bound(shards, *weight, weights);
        assert!(!possible || has(&primaries_of) <= most, "{} primaries > {most}", has(&primaries_of));
    }
}

/// Whether neither a node nor a zone would need more than one copy of a shard for its fair share.
fn fair_shares_are_possible(cluster: &Cluster) -> bool {
    let takers = takers(cluster);
    let copies = takers.len().min(1 + usize::from(cluster.topology.settings.replicas)) as u64;
    let mut zones = BTreeMap::<String, u64>::new();
    for (id, kind) in &takers {
        *zones.entry(zone(*id, kind)).or_default() += u64::from(kind.0);
    }
    let all: u64 = zones.values().sum();
    zones.values().all(|weight| weight * copies <= all)
}

fn shards() -> impl Strategy<Value = u16> {
    prop_oneof![Just(256), Just(1024)]
}

pub(crate) fn weights() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1u32), 1..5u32]
}

/// 1 to 100 nodes without zones.
fn zoneless() -> impl Strategy<Value = Vec<Kind>> {
    let kinds = weights().prop_map(|weight| (weight, String::new()));
    prop_oneof![(1..101usize).prop_map(|nodes| vec![plain(); nodes]), prop::collection::vec(kinds, 1..101),]
}

/// 1 to 100 nodes in up to six zones; now and then one is a zone of its own, or holds no data.
pub(crate) fn zoned() -> impl Strategy<Value = Vec<Kind>> {
    let kind = |zones: usize| {
        (0..20u32, weights(), 0..zones).prop_map(|(chance, weight, zone)| match chance {
            0 => (weight, String::new()),
            1 => (0, format!("z{zone}")),
            _ => (weight, format!("z{zone}")),
        })
    };
    (2..7usize).prop_flat_map(move |zones| prop::collection::vec(kind(zones), 1..100)).prop_map(
        |mut nodes| {
            nodes.insert(0, (1, "z0".into()));
            nodes
        },
    )
}

/// What has to move to bring every node within the bounds around its share: copies that nodes have too many, copies
/// that they have too few, and copies that lie nowhere.
fn needs(cluster: &Cluster) -> (usize, usize, usize) {
    let takers = takers(cluster);
    let weights: u64 = takers.values().map(|kind| u64::from(kind.0)).sum();
    let shards = &cluster.topology.shards;
    let copies = takers.len().min(1 + usize::from(cluster.topology.settings.replicas)) * shards.len();
    let (mut above, mut below, mut kept) = (0, 0, 0);
    for (node, (weight, _)) in &takers {
        let has = shards.iter().filter(|shard| holds(shard, node)).count();
        let least = (copies as u64 * u64::from(*weight) * 100 / (weights * 105)) as usize;
        above += has.saturating_sub(bound(copies, *weight, weights));
        below += least.saturating_sub(has);
        kept += has;
    }
    (above, below, copies.saturating_sub(kept))
}

/// The fewest moves that do this, without zones. A copy goes from who has too much to who has too little, unless that
/// one has the shard already: where a node should have most shards, the two often need a move each.
fn fewest(cluster: &Cluster) -> usize {
    let (above, below, nowhere) = needs(cluster);
    let takers = takers(cluster);
    let weights: u64 = takers.values().map(|kind| u64::from(kind.0)).sum();
    let copies = 1 + u64::from(cluster.topology.settings.replicas);
    if takers.values().any(|kind| u64::from(kind.0) * copies * 2 > weights) {
        above + below + nowhere
    } else {
        below.max(above + nowhere)
    }
}

pub(crate) fn assert_few(moves: usize, fewest: usize) {
    assert!(moves * 10 <= fewest * 11 + 20, "{moves} moves, {fewest} would do");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn copies_lie_apart_and_loads_are_bounded(shards in shards(), replicas in 0..3u8, nodes in zoneless()) {
        let cluster = Cluster::settled(shards, replicas, &nodes);
        check(&cluster, &cluster.plan());
    }

    #[test]
    fn zones_are_kept_apart_and_loads_are_bounded(shards in shards(), replicas in 0..4u8, nodes in zoned()) {
        let cluster = Cluster::settled(shards, replicas, &nodes);
        check(&cluster, &cluster.plan());
    }

    #[test]
    fn what_is_as_wanted_stays(shards in shards(), replicas in 0..3u8, nodes in zoned()) {
        let cluster = Cluster::settled(shards, replicas, &nodes);
        prop_assert!(cluster.has_arrived(&cluster.plan()));
    }

    #[test]
    fn every_node_wants_the_same(shards in shards(), replicas in 0..3u8, nodes in zoned()) {
        let cluster = Cluster::founded(shards, replicas, &nodes);
        let received: Topology = codec::decode(&codec::encode(&cluster.topology)).unwrap();
        prop_assert_eq!(cluster.plan(), place(&received, &BTreeSet::new()));
    }

    #[test]
    fn a_new_node_is_given_its_share_and_nothing_else_moves(
        shards in shards(), replicas in 0..3u8, nodes in zoneless(), weight in weights()
    ) {
        let mut cluster = Cluster::settled(shards, replicas, &nodes);
        let new = cluster.add(&(weight, String::new()));
        let wanted = cluster.plan();
        check(&cluster, &wanted);
        assert_few(cluster.moves(&wanted), fewest(&cluster));
        let weights: u64 = takers(&cluster).values().map(|kind| u64::from(kind.0)).sum();
        let least = (u64::from(shards) * u64::from(weight) * 100 / (weights * 105)) as usize;
        let primaries = loads(&wanted).1.get(&new).copied().unwrap_or(0);
        prop_assert!(primaries >= least, "{} primaries, {} at least", primaries, least);
    }

    #[test]
    fn only_what_a_leaving_node_had_moves(
        shards in shards(), replicas in 0..3u8, nodes in zoneless(), leaving in any::<prop::sample::Index>()
    ) {
        let mut cluster = Cluster::settled(shards, replicas, &nodes);
        cluster.drain(id(leaving.index(nodes.len())), true);
        let wanted = cluster.plan();
        if nodes.len() > 1 {
            check(&cluster, &wanted);
            assert_few(cluster.moves(&wanted), fewest(&cluster));
        }
    }

    /// With zones, one move cannot always serve both the node that has too much and the one that has too little, and now
    /// and then a third node must stand between the two.
    #[test]
    fn where_zones_are_in_the_way_each_need_costs_two_moves_at_most(
        shards in shards(), replicas in 0..3u8, nodes in zoned(), leaving in any::<prop::sample::Index>()
    ) {
        let mut cluster = Cluster::settled(shards, replicas, &nodes);
        let node = id(leaving.index(nodes.len()));
        for draining in [true, false] {
            let possible_before = fair_shares_are_possible(&cluster);
            cluster.drain(node, draining);
            let wanted = cluster.plan();
            if takers(&cluster).is_empty() {
                prop_assert!(wanted.iter().all(|placement| *placement == Placement::default()));
                continue;
            }
            check(&cluster, &wanted);
            if possible_before && fair_shares_are_possible(&cluster) {
                let (above, below, nowhere) = needs(&cluster);
                assert!(cluster.moves(&wanted) <= 2 * (above + below + nowhere));
            }
            cluster.adopt(&wanted);
        }
    }
}

/// Copies and primaries of the n-th node.
fn load(wanted: &[Placement], number: usize) -> (usize, usize) {
    let (copies, primaries) = loads(wanted);
    let of = |loads: &BTreeMap<NodeId, usize>| loads.get(&id(number)).copied().unwrap_or(0);
    (of(&copies), of(&primaries))
}

#[test]
fn where_zones_forbid_fair_shares_the_others_share_what_is_left() {
    // One zone of one node, which must have a copy of everything, and one of nine.
    let mut nodes = vec![(1, "east".to_string())];
    nodes.extend(vec![(1, "west".to_string()); 9]);
    let cluster = Cluster::settled(1024, 1, &nodes);
    let wanted = cluster.plan();
    check(&cluster, &wanted);
    let (copies, primaries) = load(&wanted, 0);
    assert!(copies == 1024 && primaries <= bound(1024, 1, 10));
    for node in 1..10 {
        let (copies, primaries) = load(&wanted, node);
        assert!(copies <= bound(1024, 1, 9), "{copies}");
        assert!(primaries <= bound(1024, 1, 10), "{primaries}");
    }
}

#[test]
fn a_node_that_outweighs_all_others_has_one_copy_of_each_shard() {
    let cluster = Cluster::settled(256, 1, &[(1, String::new()), (100, String::new()), (1, String::new())]);
    let wanted = cluster.plan();
    check(&cluster, &wanted);
    let (copies, primaries) = load(&wanted, 1);
    assert!(copies >= 256 * 100 / 105 && primaries >= 256 * 100 / 102 * 100 / 105);
    assert!(load(&wanted, 0).0 <= bound(128, 1, 1) && load(&wanted, 2).0 <= bound(128, 1, 1));
}

#[test]
fn more_copies_than_zones_are_spread_evenly() {
    let nodes: Vec<Kind> = (0..12).map(|node| (1, format!("z{}", node % 2))).collect();
    let cluster = Cluster::settled(256, 3, &nodes);
    for placement in cluster.plan() {
        let even = placement.nodes().filter(|id| cluster.topology.nodes[id].info.zone == "z0");
        assert_eq!((even.count(), placement.nodes().count()), (2, 4));
    }
}

#[test]
fn primaries_move_between_copies_before_copies_move() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 4]);
    // All primaries that node 0 can have.
    for shard in &mut cluster.topology.shards {
        let first = id(0);
        if let Some(member) = shard.in_sync.iter().copied().find(|member| member.node == first) {
            let nodes: Vec<_> = shard.in_sync.iter().map(|member| member.node).collect();
            shard.primary = Some(member);
            shard.replicas = nodes.into_iter().filter(|node| *node != first).collect();
        }
    }
    let wanted = cluster.plan();
    check(&cluster, &wanted);
    assert_eq!(cluster.moves(&wanted), 0);
}

#[test]
fn a_dead_node_keeps_its_copies_until_it_is_gone() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 5]);
    let (node, before) = (id(3), cluster.plan());
    cluster.kill(node, id(0));
    let waiting = cluster.plan();
    assert_eq!(cluster.moves(&waiting), 0);
    for ((shard, waiting), before) in cluster.topology.shards.iter().zip(&waiting).zip(&before) {
        assert_eq!(waiting.contains(&node), before.contains(&node));
        assert_eq!(waiting.primary, shard.primary.map(|member| member.node), "primaries stay");
    }
    cluster.gone.insert(node);
    let without = cluster.plan();
    assert!(!without.iter().any(|placement| placement.contains(&node)));
    check(&cluster, &without);
    assert_few(cluster.moves(&without), load(&before, 3).0);
}

#[test]
fn a_node_that_comes_back_is_given_its_share_of_primaries() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 5]);
    cluster.kill(id(3), id(0));
    cluster.restart(id(3));
    let wanted = cluster.plan();
    check(&cluster, &wanted);
    assert_eq!(cluster.moves(&wanted), 0);
    assert!(load(&wanted, 3).1 >= 256 * 100 / 5 / 105);
}

#[test]
fn growing_from_3_to_20_nodes_and_back_moves_little() {
    for (shards, replicas) in [(256, 1), (1024, 0), (1024, 1), (1024, 2)] {
        let mut cluster = Cluster::settled(shards, replicas, &[plain(), plain(), plain()]);
        let copies = usize::from(shards) * (1 + usize::from(replicas));
        let (mut moved, mut shares) = (0, 0);
        for nodes in 4..=20 {
            cluster.add(&plain());
            let wanted = cluster.plan();
            check(&cluster, &wanted);
            moved += cluster.moves(&wanted);
            shares += copies / nodes;
            cluster.adopt(&wanted);
        }
        assert_few(moved, shares);
        let (mut moved, mut orphans) = (0, 0);
        for node in (3..20).rev() {
            let (copies_of, _) = loads(&cluster.plan());
            orphans += copies_of[&id(node)];
            cluster.drain(id(node), true);
            let wanted = cluster.plan();
            check(&cluster, &wanted);
            moved += cluster.moves(&wanted);
            cluster.adopt(&wanted);
        }
        assert_few(moved, orphans);
    }
}

#[test]
fn a_node_that_is_about_to_stop_gets_nothing_new_and_keeps_its_copies() {
    let mut cluster = Cluster::settled(256, 1, &[plain(), plain(), plain()]);
    let (leaves, dies) = (id(1), id(2));
    let before = cluster.plan();
    cluster.leave(leaves);
    assert_eq!(cluster.plan(), before, "nothing moves for a restart");
    cluster.kill(dies, id(0));
    cluster.gone.insert(dies);
    cluster.add(&plain());
    let wanted = cluster.plan();
    for (shard, placement) in cluster.topology.shards.iter().zip(&wanted) {
        assert!(!placement.contains(&leaves) || holds(shard, &leaves), "{placement:?} of {shard:?}");
        let leads = shard.primary.is_some_and(|primary| primary.node == leaves);
        assert!(placement.primary != Some(leaves) || leads, "{placement:?} of {shard:?}");
    }
}
