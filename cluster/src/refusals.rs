//! The incarnations that this member of the council has refused: what it must remember for longer than it lives.
//!
//! A member that helps to declare an incarnation dead never answers its beats again, or it would give a lease to
//! somebody who has been replaced. So a refusal is on disk before it is said. It ends when the topology shows a newer
//! incarnation of that node, or that the node was removed; but only a topology at least as new as the one that the
//! refusal rests on, since an older one may not know the node yet.
//!
//! Reading takes no lock: the thread that answers beats never waits for the disk.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use arc_swap::ArcSwap;

use crate::{
    directory::Directory,
    disk::Mirrored,
    fatal::Fatal,
    ids::{Incarnation, Member, NodeId, Version},
    topology::Topology,
};

/// How many nodes can be refused at a time. Each is removed or comes back.
pub const REFUSED_LIMIT: usize = 4096;

/// Room for [`REFUSED_LIMIT`] refusals of at most 38 bytes each, per copy.
const ROOM: u64 = 160 << 10;

/// Of each refused node the newest incarnation that was refused, and the version that the refusal rests on.
type Refused = BTreeMap<NodeId, (Incarnation, Version)>;

/// The durable set of refused incarnations.
pub struct Refusals {
    refused: ArcSwap<Refused>,
    file: Mutex<Mirrored<Refused>>,
}

impl Refusals {
    /// Reads what was refused by earlier lives of this node.
    pub fn open(directory: &Directory) -> Result<Self, Fatal> {
        let path = directory.path().join("refusals");
        let (file, refused) = Mirrored::open(&path, ROOM, Refused::new)?;
        Ok(Self { refused: ArcSwap::from_pointee(refused), file: Mutex::new(file) })
    }

    /// Refuses an incarnation, and with it the older ones of that node, from now on. On disk when this returns; on an
    /// error the refusal must not be said.
    ///
    /// `based_on` is the version of the topology by which the asker knows the member.
    pub fn refuse(&self, member: Member, based_on: Version) -> Result<(), Fatal> {
        self.change(|refused| {
            let entry = refused.entry(member.node).or_insert((member.incarnation, based_on));
            *entry = (*entry).max((member.incarnation, based_on));
        })
    }

    /// Whether this incarnation, or a newer one of its node, was refused.
    pub fn is_refused(&self, member: Member) -> bool {
        let refused = self.refused.load();
        refused.get(&member.node).is_some_and(|(newest, _)| member.incarnation <= *newest)
    }

    /// Everyone who is refused now: of each node the newest such incarnation.
    pub fn all(&self) -> Vec<Member> {
        let refused = self.refused.load();
        let member = |(node, (incarnation, _)): (&NodeId, &(Incarnation, Version))| Member {
            node: *node,
            incarnation: *incarnation,
        };
        refused.iter().map(member).collect()
    }

    /// Forgets the refusals that the topology has settled. Writes only if there are any.
    pub fn forget(&self, topology: &Topology) -> Result<(), Fatal> {
        let settled = |node: &NodeId, (incarnation, based_on): &(Incarnation, Version)| {
            let known = topology.nodes.get(node);
            topology.version >= *based_on && known.is_none_or(|node| node.info.incarnation > *incarnation)
        };
        if self.refused.load().iter().any(|(node, entry)| settled(node, entry)) {
            self.change(|refused| refused.retain(|node, entry| !settled(node, entry)))?;
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Refused)) -> Result<(), Fatal> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.refused.load_full();
        let mut refused = Refused::clone(&before);
        change(&mut refused);
        if refused.len() > REFUSED_LIMIT {
            return Err(Fatal::Raft(format!(
                "more than {REFUSED_LIMIT} nodes are refused; remove dead nodes"
            )));
        }
        if refused != *before {
            file.replace(&refused)?;
            self.refused.store(refused.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Change, Verdict, tests::info},
        ids::ClusterId,
        topology::Settings,
    };

    fn member(node: u8, incarnation: u64) -> Member {
        info(node, incarnation).member()
    }

    fn end(member: Member) -> Change {
        Change::End { member, by: Verdict::Itself }
    }

    fn topology() -> Topology {
        let mut topology = Topology::unfounded();
        let found =
            Change::Found { cluster: ClusterId([7; 20]), settings: Settings::default(), first: info(1, 1) };
        topology.apply(&found).unwrap();
        topology.apply(&Change::Admit(info(2, 4))).unwrap();
        topology
    }

    fn directory(place: &tempfile::TempDir) -> Directory {
        Directory::open(place.path(), NodeId([1; 20])).unwrap()
    }

    #[test]
    fn refusals_survive_a_restart_and_cover_older_incarnations() {
        let place = tempfile::tempdir().unwrap();
        Refusals::open(&directory(&place)).unwrap().refuse(member(2, 4), Version(2)).unwrap();
        let refusals = Refusals::open(&directory(&place)).unwrap();
        assert_eq!(refusals.all(), [member(2, 4)]);
        assert!(refusals.is_refused(member(2, 4)) && refusals.is_refused(member(2, 3)));
        assert!(!refusals.is_refused(member(2, 5)) && !refusals.is_refused(member(3, 1)));
    }

    #[test]
    fn a_refusal_ends_with_a_newer_incarnation_or_the_removal_of_the_node() {
        let place = tempfile::tempdir().unwrap();
        let refusals = Refusals::open(&directory(&place)).unwrap();
        let mut topology = topology();
        refusals.refuse(member(2, 4), topology.version).unwrap();
        topology.apply(&end(member(2, 4))).unwrap();
        refusals.forget(&topology).unwrap();
        assert!(refusals.is_refused(member(2, 4)), "dead is not over: it may still beat");
        topology.apply(&Change::Admit(info(2, 5))).unwrap();
        refusals.forget(&topology).unwrap();
        assert_eq!(refusals.all(), []);

        refusals.refuse(member(2, 5), topology.version).unwrap();
        topology.apply(&end(member(2, 5))).unwrap();
        topology.apply(&Change::Remove(NodeId([2; 20]))).unwrap();
        refusals.forget(&topology).unwrap();
        drop(refusals);
        assert_eq!(Refusals::open(&directory(&place)).unwrap().all(), []);
    }

    #[test]
    fn a_topology_from_before_the_node_was_admitted_forgets_nothing() {
        let place = tempfile::tempdir().unwrap();
        let refusals = Refusals::open(&directory(&place)).unwrap();
        let topology = topology();
        refusals.refuse(member(9, 1), topology.version.next()).unwrap();
        refusals.forget(&topology).unwrap();
        assert!(refusals.is_refused(member(9, 1)));
    }
}
