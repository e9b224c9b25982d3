//! Who votes: the council as Raft's log configures it, one set of nodes or, while it changes, two.
//!
//! A configuration is named by its place in the log ([`Stamp`]); a later place is the newer configuration. While the
//! council changes it is *joint*: whatever needs a majority needs one of each half. All counting of majorities for
//! leases and deaths is here.

use crate::{ids::NodeId, lease::BootTime};

/// No half of a council has more voters than this; a list that is longer is not from us.
pub const MAX_VOTERS: usize = 9;

/// The place of a configuration in Raft's log. The order is that of configurations: newer is greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The term of the leader that wrote it.
    pub term: u64,
    /// Its index in the log.
    pub index: u64,
}

/// A configuration of the council.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voters {
    /// Which configuration this is. The default, with nobody in it, is older than all others.
    pub stamp: Stamp,
    /// Those who vote; while joint, those who voted before the change.
    pub old: Vec<NodeId>,
    /// While joint, those who will vote; empty otherwise.
    pub new: Vec<NodeId>,
}

impl Voters {
    /// Whether this node votes, in either half.
    pub fn contains(&self, node: NodeId) -> bool {
        self.old.contains(&node) || self.new.contains(&node)
    }

    /// Every node that votes, once.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let joining = self.new.iter().filter(|node| !self.old.contains(node));
        self.old.iter().chain(joining).copied()
    }

    /// Whether the nodes that satisfy `holds` are a majority, of each half while joint. Nobody is no majority.
    pub fn majority(&self, holds: impl Fn(NodeId) -> bool) -> bool {
        self.halves().all(|half| {
            let count = half.iter().filter(|node| holds(**node)).count();
            count > half.len() / 2
        })
    }

    /// Whether this configuration may be the very next one after `earlier`: a change began, ended, or was given up for
    /// another. If not, there was one in between.
    pub fn may_follow(&self, earlier: &Self) -> bool {
        let same = |a: &[NodeId], b: &[NodeId]| a.len() == b.len() && a.iter().all(|node| b.contains(node));
        let ended = self.new.is_empty() && same(&self.old, &earlier.new);
        ended || same(&self.old, &earlier.old)
    }

    /// The latest instant for which a majority still vouches, if each node vouches until `until(node)`; of each half
    /// while joint.
    pub fn majority_until(&self, until: impl Fn(NodeId) -> BootTime) -> BootTime {
        let of_half = |half: &[NodeId]| {
            let mut times = [BootTime::NEVER; MAX_VOTERS];
            let count = half.len().min(MAX_VOTERS);
            for (time, node) in times.iter_mut().zip(half) {
                *time = until(*node);
            }
            let times = &mut times[..count];
            times.sort_unstable();
            // The upper half, the middle included, is the smallest majority.
            times.get(count.saturating_sub(1) / 2).copied().unwrap_or(BootTime::NEVER)
        };
        self.halves().map(|half| of_half(half)).min().unwrap_or(BootTime::NEVER)
    }

    /// The one half, or both while joint.
    fn halves(&self) -> impl Iterator<Item = &Vec<NodeId>> {
        let joint = (!self.new.is_empty()).then_some(&self.new);
        std::iter::once(&self.old).chain(joint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(old: &[u8], new: &[u8]) -> Voters {
        let nodes = |ids: &[u8]| ids.iter().map(|id| NodeId([*id; 20])).collect();
        Voters { stamp: Stamp::default(), old: nodes(old), new: nodes(new) }
    }

    fn holds(voters: &Voters, ids: &[u8]) -> bool {
        voters.majority(|node| ids.contains(&node.0[0]))
    }

    #[test]
    fn a_majority_is_more_than_half_of_each_half() {
        assert!(!holds(&voters(&[], &[]), &[1]));
        assert!(holds(&voters(&[1], &[]), &[1]));
        assert!(!holds(&voters(&[1, 2], &[]), &[1]));
        assert!(holds(&voters(&[1, 2, 3], &[]), &[1, 3]));
        let joint = voters(&[1, 2, 3], &[2, 3, 4]);
        assert!(!holds(&joint, &[1, 2]));
        assert!(holds(&joint, &[2, 3]));
        assert_eq!(joint.nodes().count(), 4);
    }

    #[test]
    fn configurations_follow_each_other_by_one_step_of_a_change() {
        let (three, other) = (voters(&[1, 2, 3], &[]), voters(&[1, 2, 4], &[]));
        let joint = voters(&[1, 2, 3], &[1, 2, 4]);
        for (earlier, later) in [(&three, &three), (&three, &joint), (&joint, &other), (&joint, &three)] {
            assert!(later.may_follow(earlier), "{earlier:?} {later:?}");
        }
        let instead = voters(&[1, 2, 3], &[2, 3, 5]);
        assert!(instead.may_follow(&joint));
        let next = voters(&[1, 2, 4], &[4, 5, 6]);
        for (earlier, later) in [(&three, &other), (&three, &next), (&joint, &next), (&other, &joint)] {
            assert!(!later.may_follow(earlier), "{earlier:?} {later:?}");
        }
    }

    #[test]
    fn a_majority_vouches_until_just_before_it_is_none() {
        let of = |voters: &Voters| voters.majority_until(|node| BootTime(u64::from(node.0[0]) * 10));
        assert_eq!(of(&voters(&[], &[])), BootTime::NEVER);
        assert_eq!(of(&voters(&[7], &[])), BootTime(70));
        assert_eq!(of(&voters(&[1, 2], &[])), BootTime(10));
        assert_eq!(of(&voters(&[1, 2, 3], &[])), BootTime(20));
        assert_eq!(of(&voters(&[1, 2, 3, 4], &[])), BootTime(20));
        assert_eq!(of(&voters(&[5, 1, 4, 2, 3], &[])), BootTime(30));
        assert_eq!(of(&voters(&[7, 8, 9], &[1, 2, 3])), BootTime(20));
    }
}
