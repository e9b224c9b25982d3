//! The leases of a whole cluster in a simulated world, from a seed: what must hold holds under every fault, and each
//! rule is needed, since without it the same checks fail.
//!
//! Checked at every turn of every process: an incarnation that was declared dead holds no lease by its own clock.
//! Checked at the end, after a time of peace: every node that is up holds a lease, every other one is dead.
//!
//! RINGFORT_SEEDS in the environment says how many seeds each plan is run with.

mod world;

use std::ops::Range;

use world::{Fault, Plan, Rules, Story, id, run};

use crate::ids::Member;

/// How many seeds a plan is run with unless the environment says otherwise.
const SEEDS: u64 = 100;

fn anyone() -> Vec<u8> {
    vec![1, 2, 3, 4, 5]
}

fn seeds(plan: &Plan) -> impl Iterator<Item = (u64, Story)> {
    let wanted = std::env::var("RINGFORT_SEEDS").ok().and_then(|count| count.parse().ok());
    (0..wanted.unwrap_or(SEEDS)).map(|seed| (seed, run(seed, plan)))
}

fn assert_safe_and_live(plan: &Plan) {
    for (seed, story) in seeds(plan) {
        assert_eq!(story.unsafe_lease, None, "seed {seed}");
        assert_eq!(story.starved, [], "seed {seed}: {:?}", story.declared);
    }
}

/// The plan holds with all rules, and some seed violates safety without one of them.
fn assert_needed_for_safety(mut plan: Plan, without: fn(&mut Rules)) {
    assert_safe_and_live(&plan);
    without(&mut plan.rules);
    let violated = seeds(&plan).filter(|(_, story)| story.unsafe_lease.is_some()).count();
    assert!(violated > 0, "no seed needs this rule");
}

/// The plan holds with all rules but those switched off already, and some seed starves somebody without one more.
fn assert_needed_for_progress(mut plan: Plan, without: fn(&mut Rules)) {
    assert_safe_and_live(&plan);
    without(&mut plan.rules);
    let starved = seeds(&plan).filter(|(_, story)| !story.starved.is_empty()).count();
    assert!(starved > 0, "no seed needs this rule");
}

#[test]
fn without_faults_everybody_has_a_lease_and_nobody_dies() {
    for (seed, story) in seeds(&Plan::new(Vec::new())) {
        assert_eq!(story.declared, [], "seed {seed}");
        assert_eq!(story.starved, [], "seed {seed}");
        assert_eq!(story.called, 0, "seed {seed}");
    }
}

#[test]
fn under_all_faults_at_once_the_dead_hold_no_lease_and_nobody_starves() {
    let faults =
        [Fault::Crash, Fault::Pause, Fault::Stall, Fault::Cut, Fault::Isolate, Fault::Elect, Fault::Reform];
    assert_safe_and_live(&Plan::new(faults.map(|fault| (fault, anyone())).into()));
}

#[test]
fn a_node_that_is_lost_is_dead_within_a_lease_and_a_half() {
    let mut plan = Plan::new(vec![(Fault::Lose, vec![1, 5])]);
    plan.every = (5_000, 5_001);
    plan.peace = 1_000;
    for (seed, story) in seeds(&plan) {
        assert_eq!(story.starved, [], "seed {seed}");
        assert_eq!(story.declared.len(), 1, "seed {seed}");
        // It was lost after one second.
        let took = story.declared_at[0] - 1_000;
        assert!((150..400).contains(&took), "seed {seed}: {took} ms");
    }
}

#[test]
fn a_leader_that_is_lost_is_replaced_by_a_call_for_election() {
    let mut plan = Plan::new(vec![(Fault::Lose, vec![1])]);
    plan.every = (5_000, 5_001);
    for (seed, story) in seeds(&plan) {
        assert_eq!(story.called, 1, "seed {seed}");
        assert_eq!(story.starved, [], "seed {seed}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let plan = Plan::new(vec![(Fault::Crash, anyone()), (Fault::Cut, anyone())]);
    let tell = |seed| format!("{:?}", run(seed, &plan));
    assert_eq!(tell(3), tell(3));
    assert_ne!(tell(3), tell(4));
}

#[test]
fn a_member_that_has_started_owes_promises_that_it_forgot() {
    let mut plan = Plan::new(vec![(Fault::Crash, vec![1, 2, 3]), (Fault::Isolate, vec![4, 5])]);
    plan.every = (5, 60);
    assert_needed_for_safety(plan, |rules| rules.quiet_start = false);
}

#[test]
fn a_refusal_outlives_a_restart() {
    let mut plan = Plan::new(vec![
        (Fault::Crash, vec![1, 2, 3]),
        (Fault::Isolate, vec![4, 5]),
        (Fault::Cut, vec![4, 5]),
    ]);
    plan.every = (20, 120);
    // Long after the decision some do not know of the death.
    plan.apply_lag = 400;
    assert_needed_for_safety(plan, |rules| rules.durable = false);
}

#[test]
fn a_refused_connection_proves_nothing() {
    let plan = Plan::new(vec![(Fault::Reset, vec![4, 5]), (Fault::Pause, vec![4, 5])]);
    assert_needed_for_safety(plan, |rules| rules.no_proof = false);
}

#[test]
fn a_dead_incarnation_is_never_admitted_again() {
    let plan = Plan::new(vec![(Fault::Isolate, vec![4, 5]), (Fault::Pause, vec![4, 5])]);
    assert_needed_for_safety(plan, |rules| rules.no_readmission = false);
}

#[test]
fn clocks_may_drift_by_two_percent_and_no_more() {
    let mut plan = Plan::new(vec![(Fault::Isolate, vec![2, 3, 4, 5]), (Fault::Elect, anyone())]);
    assert_safe_and_live(&plan);
    plan.drift = 120_000;
    let violated = seeds(&plan).filter(|(_, story)| story.unsafe_lease.is_some()).count();
    assert!(violated > 0);
}

fn councils() -> Plan {
    let mut plan =
        Plan::new(vec![(Fault::Reform, anyone()), (Fault::Cut, anyone()), (Fault::Isolate, anyone())]);
    plan.every = (10, 60);
    plan
}

#[test]
fn after_a_change_of_council_the_old_majority_is_needed_for_one_lease() {
    assert_needed_for_safety(councils(), |rules| rules.both_majorities = false);
}

#[test]
fn answers_tell_of_a_newer_council() {
    assert_needed_for_safety(councils(), |rules| rules.told_of_councils = false);
}

#[test]
fn members_tell_of_refusals_when_the_leader_that_asked_is_gone() {
    let mut plan = Plan::new(vec![
        (Fault::Isolate, vec![4, 5]),
        (Fault::Elect, vec![1, 2, 3]),
        (Fault::Isolate, vec![1, 2, 3]),
        (Fault::Cut, vec![1, 2, 3, 4, 5]),
    ]);
    plan.every = (10, 60);
    plan.rules.give_up = false;
    assert_needed_for_progress(plan, |rules| rules.report = false);
}

#[test]
fn a_node_that_members_have_refused_gives_its_incarnation_up_if_it_gets_no_lease() {
    let mut plan =
        Plan::new(vec![(Fault::Isolate, vec![4, 5]), (Fault::Cut, vec![4, 5]), (Fault::Lose, vec![2])]);
    plan.every = (20, 120);
    assert_needed_for_progress(plan, |rules| rules.give_up = false);
}

#[test]
fn what_one_council_decided_is_applied_before_the_next_one_counts() {
    let mut plan = Plan::new(vec![(Fault::Reform, anyone()), (Fault::Isolate, vec![4, 5])]);
    plan.every = (100, 400);
    plan.apply_lag = 400;
    assert_needed_for_safety(plan, |rules| rules.settle_first = false);
}

#[test]
fn a_node_that_hears_nobody_is_dead_though_its_beats_arrive() {
    let mut plan = Plan::new(vec![(Fault::Deafen, vec![4, 5])]);
    plan.every = (5_000, 5_001);
    assert_needed_for_progress(plan, |rules| rules.acknowledge = false);
}

#[test]
fn promises_are_judged_by_what_had_arrived() {
    let mut plan = Plan::new(vec![(Fault::Stall, vec![1, 2, 3])]);
    plan.every = (5, 40);
    plan.lost = 0;
    plan.late = 0;
    let innocent = |member: &Member| member.node == id(4) || member.node == id(5);
    let died = |plan: &Plan| {
        let declared = seeds(plan).flat_map(|(_, story)| story.declared);
        declared.filter(innocent).count()
    };
    assert_eq!(died(&plan), 0);
    // With consents nobody would see the difference: what a stalled member consents to late is stale.
    plan.rules.consent = false;
    assert_eq!(died(&plan), 0);
    plan.rules.judge_by_beginning = false;
    assert!(died(&plan) > 0);
}

/// Three nodes on a network that loses nothing.
fn three(cuts: Vec<(u8, u8, Range<u64>)>) -> Plan {
    Plan { nodes: 3, cuts, lost: 0, twice: 0, late: 0, ..Plan::new(Vec::new()) }
}

#[test]
fn a_leader_that_was_cut_off_costs_nobody_a_lease_when_the_next_node_is_cut_off() {
    let mut plan = three(vec![
        (1, 2, 1_000..1_600),
        (1, 3, 1_000..1_600),
        // Everybody has its lease again; the leader is another one.
        (3, 1, 2_500..3_100),
        (3, 2, 2_500..3_100),
    ]);
    let healthy = |(at, node): &(u64, u8)| *node != if *at < 2_500 { 1 } else { 3 };
    for (seed, story) in seeds(&plan) {
        assert!(story.lapsed.iter().any(|lapse| lapse.0 >= 2_500), "seed {seed}");
        assert!(!story.lapsed.iter().any(healthy), "seed {seed}: {:?}", story.lapsed);
        assert_eq!(story.starved, [], "seed {seed}");
    }
    plan.rules.consent = false;
    let hurt = seeds(&plan).filter(|(_, story)| story.lapsed.iter().any(healthy)).count();
    assert!(hurt > 0);
}

#[test]
fn nobody_is_refused_whom_a_majority_hears() {
    let mut plan = three(vec![(1, 2, 1_000..1_900), (1, 3, 2_500..3_400)]);
    for (seed, story) in seeds(&plan) {
        assert_eq!(story.refused, [], "seed {seed}");
        assert_eq!(story.lapsed, [], "seed {seed}");
    }
    plan.rules.consent = false;
    assert!(seeds(&plan).any(|(_, story)| !story.refused.is_empty()));
}
