//! What one scrape looks at: gathered once, then read by every metric.

use std::{collections::BTreeMap, sync::Arc};

use ringfort_cluster::{NodeId, ShardId, Topology, council};

use super::{Ops, Watched};
use crate::{
    control::beats::Beats,
    env::process::Process,
    node::Node,
    store::{DATABASES, Role, Store},
};

/// What is known at one instant.
pub struct Facts {
    /// Seconds since the process started.
    pub uptime: f64,
    /// What the system says of the process.
    pub process: Process,
    /// The node, once it has its shards.
    pub node: Option<NodeFacts>,
}

/// What is known of a node that has its shards.
pub struct NodeFacts {
    /// What its threads share.
    pub node: Arc<Node>,
    /// The turns of its loops.
    pub beats: Arc<Beats>,
    /// The topology that it has applied.
    pub topology: Arc<Topology>,
    /// What it knows of the council.
    pub council: council::Status,
    /// The instant, by `Clock::boot`.
    pub now: u64,
    /// Its shards.
    pub shards: Shards,
}

/// What the shards of a node add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shards {
    /// How many have each role, in the order of [`ROLES`].
    pub by_role: [u64; ROLES.len()],
    /// Keys by database: of shards that the node serves, and of copies.
    pub keys: [(u64, u64); DATABASES as usize],
    /// The longest lag of each node that follows, in bytes of the log.
    pub lag: BTreeMap<NodeId, u64>,
}

/// All roles, and what they are called.
pub const ROLES: [(Role, &str); 4] = [
    (Role::Primary, "primary"),
    (Role::Replica, "replica"),
    (Role::Absent, "absent"),
    (Role::Sealed, "sealed"),
];

impl Facts {
    /// Looks at everything. Locks each shard for about a microsecond, one after the other.
    pub fn gather(ops: &Ops) -> Self {
        Self {
            uptime: ops.clock.boot().saturating_sub(ops.started) as f64 / 1e9,
            process: Process::now(),
            node: ops.watched.get().map(NodeFacts::gather),
        }
    }
}

impl NodeFacts {
    fn gather(Watched { node, council, beats }: &Watched) -> Self {
        Self {
            topology: node.topology.load_full(),
            council: council.status().borrow().clone(),
            now: node.clock.boot(),
            shards: Shards::gather(&node.store),
            node: Arc::clone(node),
            beats: Arc::clone(beats),
        }
    }
}

impl Shards {
    fn gather(store: &Store) -> Self {
        let mut sum = Self::default();
        for id in (0..store.shards()).map(ShardId) {
            let shard = store.lock(id);
            let core = &shard.core;
            let role = ROLES.iter().position(|(role, _)| *role == core.role);
            sum.by_role[role.expect("all roles are listed")] += 1;
            let serves = matches!(core.role, Role::Primary | Role::Sealed);
            for (db, keys) in (0..).zip(&mut sum.keys) {
                let count = if serves { &mut keys.0 } else { &mut keys.1 };
                *count += shard.len(db) as u64;
            }
            for (member, offset) in core.acked.iter().filter(|_| serves) {
                let lag = core.log.end().0.saturating_sub(offset.0);
                let longest = sum.lag.entry(member.node).or_default();
                *longest = lag.max(*longest);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use ringfort_cluster::{Incarnation, Member, Offset};

    use super::*;
    use crate::store::{Db, Form, Key, Locked};

    fn put(store: &Store, shard: ShardId, db: u8, key: &str) {
        let slot = shard.0 * store.slots_per_shard();
        let mut guard = store.lock(shard);
        let mut locked = [&mut *guard];
        let locked = Locked::new(&mut locked, store.slots_per_shard());
        let key = Key { bytes: key.as_bytes(), hash: 1, slot };
        Db::new(locked, db, 1, Default::default()).edit(key).put(Form::Str, &[b"v"], None);
    }

    #[test]
    fn shards_add_up_by_role_and_database_and_to_the_longest_lag_of_each_peer() {
        let store = Store::new(4, 0);
        let peer = |node| Member { node: NodeId([node; 20]), incarnation: Incarnation(1) };
        for (id, role) in [(0, Role::Primary), (1, Role::Sealed), (2, Role::Replica)] {
            store.lock(ShardId(id)).core.role = role;
            put(&store, ShardId(id), 0, "k");
        }
        put(&store, ShardId(0), 3, "k");
        for (id, acked) in [
            (0, [(peer(1), Offset(90)), (peer(2), Offset(100))]),
            (1, [(peer(1), Offset(40)), (peer(2), Offset(60))]),
        ] {
            let core = &mut store.lock(ShardId(id)).core;
            core.log.restart(Offset(100));
            core.acked = acked.to_vec();
        }
        let sum = Shards::gather(&store);
        assert_eq!(sum.by_role, [1, 1, 1, 1]);
        assert_eq!((sum.keys[0], sum.keys[3], sum.keys[1]), ((2, 1), (1, 0), (0, 0)));
        assert_eq!(sum.lag, BTreeMap::from([(NodeId([1; 20]), 60), (NodeId([2; 20]), 40)]));
    }
}
