//! Who shall vote: the council is chosen from the nodes by rule, not by an operator.
//!
//! One voter below three nodes, three up to four, five from five on. Voters stay for as long as they are not gone for
//! good, since each change of the council costs a moment in which more of it is needed. A place that is free goes to a
//! node that is alive and has the log, in the zone that has the fewest voters. A voter that is gone keeps its place
//! until somebody can take it: a council of two would be no better than one of three with one gone, and the one that
//! comes back votes at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    ids::NodeId,
    topology::{NodeState, Topology},
};

/// The most voters that a council has.
pub const COUNCIL_LIMIT: usize = 5;

/// What the choice rests on, beside the topology.
pub struct Standing<'a> {
    /// Who votes now.
    pub voters: &'a BTreeSet<NodeId>,
    /// Who leads, and shall go on if possible.
    pub leader: NodeId,
    /// The dead nodes that are not expected back.
    pub gone: &'a BTreeSet<NodeId>,
    /// Whether a node has all but the newest entries of the log: adding one that has not could stop the council.
    pub has_log: &'a dyn Fn(&NodeId) -> bool,
}

/// The voters that the council should have. Never empty if it was not.
pub fn choose(topology: &Topology, standing: &Standing<'_>) -> BTreeSet<NodeId> {
    let lasting = || topology.nodes.iter().filter(|(_, node)| !node.draining);
    let present = lasting().filter(|(id, _)| !standing.gone.contains(id)).count();
    let size = match (lasting().count(), present) {
        (0..3, _) => 1,
        (_, 0..5) => 3,
        _ => COUNCIL_LIMIT,
    };
    // In order of preference: voters that stay, others that could, voters that are gone.
    let rank = |id: &NodeId, alive: bool| match (standing.voters.contains(id), standing.gone.contains(id)) {
        (true, false) => Some(0),
        (false, false) if alive && (standing.has_log)(id) => Some(1),
        (true, true) => Some(2),
        _ => None,
    };
    let mut candidates: Vec<_> = lasting()
        .filter_map(|(id, node)| Some((rank(id, node.state == NodeState::Alive)?, id, &node.info.zone)))
        .collect();
    let mut chosen = BTreeSet::new();
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    while chosen.len() < size {
        let best = candidates.iter().enumerate().min_by_key(|(_, (rank, id, zone))| {
            (*rank, **id != standing.leader, taken.get(zone.as_str()).copied().unwrap_or(0), **id)
        });
        let Some((at, _)) = best else { break };
        let (_, id, zone) = candidates.swap_remove(at);
        chosen.insert(*id);
        // Nodes without a zone are each a zone of their own.
        if !zone.is_empty() {
            *taken.entry(zone).or_default() += 1;
        }
    }
    // An even number bears no more deaths than the odd one below it. Who is there stays, though.
    if chosen.len() % 2 == 0
        && let Some(newcomer) = chosen.iter().find(|id| !standing.voters.contains(id)).copied()
    {
        chosen.remove(&newcomer);
    }
    if chosen.is_empty() { standing.voters.clone() } else { chosen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Change, Verdict, tests::info},
        ids::ClusterId,
        topology::Settings,
    };

    fn id(node: u8) -> NodeId {
        NodeId([node; 20])
    }

    fn ids(nodes: &[u8]) -> BTreeSet<NodeId> {
        nodes.iter().map(|node| id(*node)).collect()
    }

    /// Nodes `1..=zones.len()`, each in its zone.
    fn topology(zones: &[&str]) -> Topology {
        let mut topology = Topology::unfounded();
        for (node, zone) in (1..).zip(zones) {
            let mut info = info(node, 1);
            info.zone = (*zone).into();
            let change = match node {
                1 => {
                    Change::Found { cluster: ClusterId([7; 20]), settings: Settings::default(), first: info }
                }
                _ => Change::Admit(info),
            };
            topology.apply(&change).unwrap();
        }
        topology
    }

    fn kill(topology: &mut Topology, node: u8) {
        let end = Change::End { member: info(node, 1).member(), by: Verdict::Itself };
        topology.apply(&end).unwrap();
    }

    fn chosen(topology: &Topology, voters: &[u8], gone: &[u8]) -> BTreeSet<NodeId> {
        let standing =
            Standing { voters: &ids(voters), leader: id(voters[0]), gone: &ids(gone), has_log: &|_| true };
        choose(topology, &standing)
    }

    #[test]
    fn the_council_grows_with_the_cluster() {
        for (nodes, size) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)] {
            let topology = topology(&vec![""; nodes]);
            assert_eq!(chosen(&topology, &[1], &[]).len(), size, "{nodes} nodes");
        }
    }

    #[test]
    fn voters_stay_while_they_live_and_for_a_while_when_they_are_dead() {
        let mut topology = topology(&["", "", "", "", ""]);
        assert_eq!(chosen(&topology, &[5, 4, 3, 2, 1], &[]), ids(&[1, 2, 3, 4, 5]));
        topology.apply(&Change::Drain { node: id(1), draining: true }).unwrap();
        kill(&mut topology, 4);
        assert_eq!(chosen(&topology, &[2, 3, 4], &[]), ids(&[2, 3, 4]));
    }

    #[test]
    fn a_voter_that_is_gone_is_replaced_once_somebody_can_take_its_place() {
        let mut three = topology(&["", "", ""]);
        kill(&mut three, 3);
        assert_eq!(chosen(&three, &[1, 2, 3], &[3]), ids(&[1, 2, 3]));
        let mut four = topology(&["", "", "", ""]);
        kill(&mut four, 3);
        assert_eq!(chosen(&four, &[1, 2, 3], &[3]), ids(&[1, 2, 4]));
        let voters = ids(&[1, 2, 3]);
        let behind =
            Standing { voters: &voters, leader: id(1), gone: &ids(&[3]), has_log: &|node| *node != id(4) };
        assert_eq!(choose(&four, &behind), voters);
    }

    #[test]
    fn the_zones_share_the_council() {
        let topology = topology(&["a", "a", "a", "b", "b", "c"]);
        assert_eq!(chosen(&topology, &[1], &[2, 3]).len(), 3);
        assert_eq!(chosen(&topology, &[1], &[2, 3]), ids(&[1, 4, 6]));
    }

    #[test]
    fn a_council_never_grows_to_an_even_number_and_never_ends() {
        let five = topology(&[""; 5]);
        let standing = Standing {
            voters: &ids(&[1]),
            leader: id(1),
            gone: &BTreeSet::new(),
            has_log: &|node| *node <= id(4),
        };
        assert_eq!(choose(&five, &standing).len(), 3);
        let mut one = topology(&[""]);
        one.apply(&Change::Drain { node: id(1), draining: true }).unwrap();
        assert_eq!(chosen(&one, &[1], &[]), ids(&[1]));
    }

    #[test]
    fn a_node_that_is_drained_or_removed_leaves_the_council() {
        let mut topology = topology(&["", "", "", ""]);
        topology.apply(&Change::Drain { node: id(1), draining: true }).unwrap();
        assert_eq!(chosen(&topology, &[1, 2, 3], &[]), ids(&[2, 3, 4]));
        kill(&mut topology, 2);
        topology.apply(&Change::Remove(id(2))).unwrap();
        assert_eq!(chosen(&topology, &[2, 3, 4], &[]), ids(&[3]), "two are left to choose from");
    }
}
