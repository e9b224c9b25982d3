//! The consistent-hash ring: for each shard, all nodes in the order in which they are preferred for it.
//!
//! A node has points on a circle of 2^64 in proportion to its weight, and a shard belongs to the point that follows
//! its hash. The next preference is the point that follows the next hash of the same shard, not the neighbour of
//! the first: so the shards of a node that is full or gone spread over all others. The ring is only a preference.
//! Who holds a shard stands in the topology, and [`crate::placement`] consults the ring where it must choose.
//!
//! The hash is XXH3 with seed 0 over bytes that this module lays out itself, since what the standard library feeds
//! to a hasher may differ between its versions and between machines. A test pins the outcome.

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::{NodeId, ShardId};

/// Points of a node whose weight is a power of two and that no other node exceeds.
///
/// More would even out the first choices, but bounded loads do that better, and at 1,000 nodes the points are what
/// building a ring costs.
const POINTS: u64 = 128;

/// Hashes tried per node before the few nodes that none of them hit are named in order of id. Of nodes of one
/// weight, these are one in some 3,000.
const ATTEMPTS_PER_NODE: usize = 8;

/// The ring of some nodes.
pub struct Ring {
    nodes: Vec<NodeId>,
    points: HashRing<Point, Xxh3>,
}

impl Ring {
    /// A ring of nodes with their weights. Nodes of weight 0 are left out.
    pub fn new(nodes: impl IntoIterator<Item = (NodeId, u32)>) -> Self {
        let mut nodes: Vec<_> = nodes.into_iter().filter(|(_, weight)| *weight > 0).collect();
        nodes.sort_unstable();
        nodes.dedup_by_key(|(id, _)| *id);
        // A power of two as the measure: when a node joins, the points of the others hardly ever change.
        let heaviest = nodes.iter().map(|(_, weight)| *weight).max().unwrap_or(1);
        let measure = u64::from(heaviest).next_power_of_two();
        let mut points = Vec::new();
        for (index, (id, weight)) in nodes.iter().enumerate() {
            let count = (POINTS * u64::from(*weight) / measure).max(1);
            points.extend((0..count as u32).map(|number| Point { id: *id, number, index }));
        }
        let mut ring = HashRing::with_hasher(Xxh3);
        ring.batch_add(points);
        Self { nodes: nodes.into_iter().map(|(id, _)| id).collect(), points: ring }
    }

    /// Every node once, the one that is preferred for the shard first.
    pub fn preference(&self, shard: ShardId) -> impl Iterator<Item = NodeId> {
        let mut named = vec![false; self.nodes.len()];
        let attempts = (self.nodes.len() * ATTEMPTS_PER_NODE) as u32;
        (0..attempts)
            .filter_map(move |attempt| self.points.get(&Probe { shard, attempt }))
            .map(|point| point.index)
            .chain(0..self.nodes.len())
            .filter(move |index| !std::mem::replace(&mut named[*index], true))
            .take(self.nodes.len())
            .map(|index| self.nodes[index])
    }
}

/// A point of a node on the ring.
struct Point {
    id: NodeId,
    number: u32,
    /// Where the node stands in [`Ring::nodes`]; no part of the hash.
    index: usize,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 24];
        bytes[..20].copy_from_slice(&self.id.0);
        bytes[20..].copy_from_slice(&self.number.to_le_bytes());
        state.write(&bytes);
    }
}

/// One of the places on the ring where a shard looks for a node.
struct Probe {
    shard: ShardId,
    attempt: u32,
}

impl Hash for Probe {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [0; 6];
        bytes[..2].copy_from_slice(&self.shard.0.to_le_bytes());
        bytes[2..].copy_from_slice(&self.attempt.to_le_bytes());
        state.write(&bytes);
    }
}

/// XXH3 with seed 0; each further write takes the hash so far as its seed.
struct Xxh3;

struct Xxh3Hasher(u64);

impl BuildHasher for Xxh3 {
    type Hasher = Xxh3Hasher;

    fn build_hasher(&self) -> Xxh3Hasher {
        Xxh3Hasher(0)
    }
}

impl Hasher for Xxh3Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId([number; 20])
    }

    fn ring(weights: &[u32]) -> Ring {
        Ring::new((1..).map(node).zip(weights.iter().copied()))
    }

    fn preferences(ring: &Ring, shard: u16) -> Vec<u8> {
        ring.preference(ShardId(shard)).map(|id| id.0[0]).collect()
    }

    /// If this fails, nodes of different builds plan differently: mend the hash, not the table.
    #[test]
    fn the_ring_is_the_same_in_every_version_and_on_every_machine() {
        let ring = ring(&[1, 1, 2, 4, 1]);
        let first: Vec<_> = (0..8).map(|shard| preferences(&ring, shard)).collect();
        let golden = [
            [4, 5, 2, 3, 1],
            [2, 5, 4, 3, 1],
            [3, 4, 2, 5, 1],
            [2, 4, 5, 3, 1],
            [2, 3, 4, 1, 5],
            [4, 1, 2, 3, 5],
            [4, 2, 3, 5, 1],
            [4, 5, 1, 3, 2],
        ];
        assert_eq!(first, golden);
        let all: Vec<u8> = (0..1024).flat_map(|shard| preferences(&ring, shard)).collect();
        assert_eq!(xxh3_64_with_seed(&all, 0), 8025179405529361505);
    }

    #[test]
    fn every_node_is_named_once_however_light_it_is() {
        let ring = ring(&[1, u32::MAX, 3, 0, 1_000]);
        for shard in 0..64 {
            let mut named = preferences(&ring, shard);
            named.sort_unstable();
            assert_eq!(named, [1, 2, 3, 5]);
        }
        assert_eq!(Ring::new([]).preference(ShardId(0)).count(), 0);
    }

    #[test]
    fn first_choices_follow_the_weights() {
        let ring = ring(&[1, 2, 4, 1]);
        let mut first = [0; 5];
        for shard in 0..8_000 {
            first[usize::from(preferences(&ring, shard)[0])] += 1;
        }
        for (node, share) in [(1, 1_000), (2, 2_000), (3, 4_000), (4, 1_000)] {
            assert!((share * 7 / 10..share * 13 / 10).contains(&first[node]), "{first:?}");
        }
    }

    #[test]
    fn a_new_node_takes_first_choices_and_changes_no_others() {
        let (before, after) = (ring(&[1; 9]), ring(&[1; 10]));
        let mut taken = 0;
        for shard in 0..1_000 {
            let (old, new) = (preferences(&before, shard)[0], preferences(&after, shard)[0]);
            assert!(new == old || new == 10);
            taken += u32::from(new == 10);
        }
        assert!((50..150).contains(&taken), "{taken}");
    }
}
