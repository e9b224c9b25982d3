//! The way to the wanted placement: that it is reached, and that nothing is lost on it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringfort_cluster::{Limits, NodeId, Placement, ShardId, next_steps, progress};

use crate::{
    model::{Cluster, Kind, holds, id, plain},
    placing::{assert_few, check, loads, weights},
};

/// More rounds than any plan of these tests may take.
const ROUNDS: usize = 2_000;

/// Which copies are complete in a round: some sooner, some later.
fn at_some_time(round: usize) -> impl Fn(ShardId, NodeId) -> bool {
    move |shard, node| !(round * 5 + usize::from(shard.0) * 7 + usize::from(node.0[19])).is_multiple_of(3)
}

/// What must never get less: each shard's primary, and its copies in sync up to those wanted.
struct Watch(Vec<usize>);

impl Watch {
    fn new(cluster: &Cluster) -> Self {
        Self(cluster.topology.shards.iter().map(|shard| shard.in_sync.len()).collect())
    }

    fn look(&mut self, cluster: &Cluster, wanted: &[Placement]) {
        for ((shard, wanted), before) in cluster.topology.shards.iter().zip(wanted).zip(&mut self.0) {
            assert!(shard.primary.is_some());
            let now = shard.in_sync.len();
            assert!(now >= wanted.nodes().count().min(*before), "{now} of {before} in sync: {shard:?}");
            *before = now;
        }
    }
}

/// One round: the planner proposes, the primaries act. Returns the copies made.
fn round(cluster: &mut Cluster, wanted: &[Placement], watch: &mut Watch, number: usize) -> usize {
    cluster.propose(wanted, &Limits::default());
    watch.look(cluster, wanted);
    let copies = cluster.serve(at_some_time(number));
    watch.look(cluster, wanted);
    copies
}

/// Plans anew in every round, until there is nothing left to do. Returns the copies made.
fn settle(cluster: &mut Cluster) -> usize {
    let mut watch = Watch::new(cluster);
    let mut copies = 0;
    for number in 0..ROUNDS {
        let wanted = cluster.plan();
        if cluster.has_arrived(&wanted) {
            return copies;
        }
        copies += round(cluster, &wanted, &mut watch, number);
    }
    panic!("still {:?} after {ROUNDS} rounds", progress(&cluster.topology, &cluster.plan()));
}

fn nodes(most: usize) -> impl Strategy<Value = Vec<Kind>> {
    let kind = (weights(), 0..6usize).prop_map(|(weight, zone)| match zone {
        0 | 1 => (weight, String::new()),
        _ => (weight, format!("z{zone}")),
    });
    prop::collection::vec(kind, 1..most)
}

/// What can befall a cluster.
#[derive(Clone, Debug)]
enum Event {
    Add(Kind),
    Drain(prop::sample::Index),
    Kill(prop::sample::Index),
    Restart(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Rounds(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let kind = (weights(), 0..4usize).prop_map(|(weight, zone)| (weight, format!("z{zone}")));
    prop_oneof![
        2 => kind.prop_map(Event::Add),
        1 => any::<prop::sample::Index>().prop_map(Event::Drain),
        3 => any::<prop::sample::Index>().prop_map(Event::Kill),
        2 => any::<prop::sample::Index>().prop_map(Event::Restart),
        1 => any::<prop::sample::Index>().prop_map(Event::GiveUp),
        6 => (1..12usize).prop_map(Event::Rounds),
    ]
}

fn befall(cluster: &mut Cluster, event: &Event) {
    let alive = cluster.alive();
    let nodes = cluster.topology.nodes.keys();
    let dead: Vec<NodeId> = nodes.filter(|id| !alive.contains(id)).copied().collect();
    match event {
        Event::Add(kind) => {
            cluster.add(kind);
        }
        Event::Drain(which) => cluster.drain(*which.get(&alive), true),
        Event::Kill(which) if alive.len() > 1 => {
            let node = *which.get(&alive);
            let heir = if alive[0] == node { alive[1] } else { alive[0] };
            cluster.kill(node, heir);
        }
        Event::Restart(which) if !dead.is_empty() => cluster.restart(*which.get(&dead)),
        Event::GiveUp(which) if !dead.is_empty() => {
            cluster.gone.insert(*which.get(&dead));
        }
        Event::Kill(_) | Event::Restart(_) | Event::GiveUp(_) => {}
        Event::Rounds(count) => {
            let mut watch = Watch::new(cluster);
            for number in 0..*count {
                let wanted = cluster.plan();
                round(cluster, &wanted, &mut watch, number);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_plan_is_reached_step_by_step(replicas in 0..3u8, nodes in nodes(30)) {
        let mut cluster = Cluster::founded(256, replicas, &nodes);
        let wanted = cluster.plan();
        let moves = cluster.moves(&wanted);
        let mut watch = Watch::new(&cluster);
        let (mut copies, mut rounds) = (0, 0);
        while !cluster.has_arrived(&wanted) {
            copies += round(&mut cluster, &wanted, &mut watch, rounds);
            rounds += 1;
            prop_assert!(rounds < ROUNDS);
        }
        prop_assert_eq!(copies, moves);
    }

    #[test]
    fn planning_anew_at_each_step_costs_no_more_copies_and_few_more_switches(replicas in 0..3u8, nodes in nodes(30), kind in weights()) {
        let mut cluster = Cluster::settled(256, replicas, &nodes);
        cluster.add(&(kind, String::new()));
        let planned = cluster.plan();
        let epochs = |cluster: &Cluster| cluster.topology.shards.iter().map(|shard| shard.epoch.0 as usize).sum::<usize>();
        let (moves, switches, before) = (
            cluster.moves(&planned),
            progress(&cluster.topology, &planned).switches_left,
            epochs(&cluster),
        );
        assert_few(settle(&mut cluster), moves);
        // Switches are cheap, and which copies move first may make some more of them better.
        let switched = epochs(&cluster) - before;
        prop_assert!(2 * switched <= 3 * switches + 4, "{} switches, {} planned", switched, switches);
        check(&cluster, &cluster.plan());
    }

    #[test]
    fn whatever_befalls_it_a_cluster_settles(
        replicas in 0..3u8, nodes in nodes(12), events in prop::collection::vec(event(), 1..20)
    ) {
        let mut cluster = Cluster::settled(256, replicas, &nodes);
        for event in &events {
            befall(&mut cluster, event);
        }
        cluster.add(&plain());
        let alive = cluster.alive();
        let dead: Vec<_> = cluster.topology.nodes.keys().filter(|id| !alive.contains(id)).copied().collect();
        for (number, node) in dead.into_iter().enumerate() {
            if number % 2 == 0 {
                cluster.restart(node);
            } else {
                cluster.gone.insert(node);
            }
        }
        settle(&mut cluster);
        check(&cluster, &cluster.plan());
    }
}

#[test]
fn no_node_has_more_copies_in_progress_than_the_limit() {
    let mut cluster = Cluster::founded(256, 1, &vec![plain(); 6]);
    let limits = Limits { copies_per_node: 3, ..Limits::default() };
    let mut busiest = 0;
    for number in 0..ROUNDS {
        let wanted = cluster.plan();
        cluster.propose(&wanted, &limits);
        let mut in_progress = BTreeMap::<_, usize>::new();
        for shard in &cluster.topology.shards {
            let source = shard.primary.unwrap().node;
            let is_made = |node: &&NodeId| !shard.in_sync.iter().any(|member| member.node == **node);
            for target in shard.replicas.iter().filter(is_made) {
                *in_progress.entry(("from", source)).or_default() += 1;
                *in_progress.entry(("to", *target)).or_default() += 1;
            }
        }
        let most = in_progress.into_values().max().unwrap_or(0);
        assert!(most <= limits.copies_per_node, "{most}");
        assert_eq!(most > 0, progress(&cluster.topology, &wanted).copies_in_progress > 0);
        busiest = busiest.max(most);
        if cluster.has_arrived(&wanted) {
            assert_eq!(busiest, limits.copies_per_node);
            return;
        }
        cluster.serve(at_some_time(number));
    }
    panic!("not settled");
}

#[test]
fn no_more_steps_are_proposed_than_the_limit() {
    let cluster = Cluster::founded(256, 1, &vec![plain(); 40]);
    let limits = Limits { copies_per_node: 100, steps: 7 };
    let steps = next_steps(&cluster.topology, &cluster.plan(), &limits);
    assert_eq!(steps.len(), 7);
    assert!(steps.iter().all(|step| step.based_on == cluster.topology.version));
}

#[test]
fn a_drained_node_ends_with_nothing_and_can_be_removed() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 4]);
    cluster.drain(id(2), true);
    let wanted = cluster.plan();
    let before = progress(&cluster.topology, &wanted);
    assert!(before.moves_left > 0 && before.switches_left > 0 && before.drops_left > 0);
    settle(&mut cluster);
    assert!(!cluster.topology.shards.iter().any(|shard| holds(shard, &id(2))));
    assert!(progress(&cluster.topology, &cluster.plan()).is_done());
}

#[test]
fn two_nodes_of_which_one_drains_end_on_the_other() {
    let mut cluster = Cluster::settled(256, 1, &[plain(), plain()]);
    cluster.drain(id(0), true);
    assert_eq!(settle(&mut cluster), 0);
    assert!(cluster.topology.shards.iter().all(|shard| shard.in_sync.len() == 1));
}

#[test]
fn a_node_that_returns_is_primary_of_its_share_again() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 3]);
    cluster.kill(id(1), id(0));
    // While it is away nothing is done but to wait for it.
    assert_eq!(cluster.propose(&cluster.plan(), &Limits::default()), 0);
    let away = progress(&cluster.topology, &cluster.plan());
    assert!(away.moves_left > 0 && away.switches_left == 0);
    cluster.restart(id(1));
    settle(&mut cluster);
    let wanted = cluster.plan();
    check(&cluster, &wanted);
    assert!(loads(&wanted).1[&id(1)] >= 256 / 3 * 100 / 105);
}

#[test]
fn nothing_in_sync_is_given_up_for_copies_that_are_not() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 3]);
    cluster.drain(id(1), true);
    for _ in 0..10 {
        cluster.propose(&cluster.plan(), &Limits::default());
        cluster.serve(|_, _| false);
        assert!(cluster.topology.shards.iter().all(|shard| shard.in_sync.len() == 2));
    }
}

#[test]
fn a_copy_that_never_completes_does_not_stop_the_rest() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 3]);
    let limits = Limits { copies_per_node: 1, ..Limits::default() };
    // The new node takes over from one that drains, and is broken.
    let broken = cluster.add(&plain());
    cluster.drain(id(1), true);
    cluster.propose(&cluster.plan(), &limits);
    assert_eq!(progress(&cluster.topology, &cluster.plan()).copies_in_progress, 1);
    cluster.drain(broken, true);
    for _ in 0..ROUNDS {
        cluster.propose(&cluster.plan(), &limits);
        cluster.serve(|_, node| node != broken);
    }
    assert!(cluster.has_arrived(&cluster.plan()));
    assert!(!cluster.topology.shards.iter().any(|shard| holds(shard, &broken)));
}

#[test]
fn the_shard_with_the_fewest_copies_comes_first() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 3]);
    cluster.drain(id(1), true);
    let shard = &mut cluster.topology.shards[200];
    shard.replicas.clear();
    shard.in_sync.truncate(1);
    let limits = Limits { steps: 1, ..Limits::default() };
    let steps = next_steps(&cluster.topology, &cluster.plan(), &limits);
    let shards: Vec<_> = steps.iter().map(|step| step.shard).collect();
    assert_eq!(shards, [ShardId(200)]);
}

#[test]
fn a_shard_without_a_primary_is_left_alone() {
    let mut cluster = Cluster::settled(256, 1, &vec![plain(); 3]);
    cluster.gone.insert(id(1));
    let wanted = cluster.plan();
    for shard in &mut cluster.topology.shards {
        shard.primary = None;
    }
    assert_eq!(next_steps(&cluster.topology, &wanted, &Limits::default()), []);
    assert_eq!(progress(&cluster.topology, &wanted).without_primary, 256);
}

#[test]
fn a_plan_that_names_an_unknown_node_is_not_followed() {
    let cluster = Cluster::settled(256, 1, &vec![plain(); 2]);
    let mut wanted = cluster.plan();
    for placement in &mut wanted {
        placement.replicas = vec![id(50)];
    }
    assert_eq!(next_steps(&cluster.topology, &wanted, &Limits::default()), []);
}
