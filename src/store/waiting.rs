//! Who waits for keys of a shard, first come first served, and which of these keys have changed.
//!
//! The store knows waiters by their names only, which tell when they came. A change of a key that somebody waits for
//! is noted where all changes are noticed; whoever has changed it serves those who wait, once the locks are released.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::{key::Key, shard::Core, value::Kind};

/// Names somebody who waits. In ascending order they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaiterId {
    /// When it came to the cluster, by the clock since this machine started, in nanoseconds: below 0, if another machine
    /// knew it before.
    pub since: i64,
    /// Tells those apart who came at the same time.
    pub number: u64,
}

impl WaiterId {
    /// Before all others.
    pub const FIRST: Self = Self { since: i64::MIN, number: 0 };
}

/// Of one shard.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By database and hash: whoever changes a key knows its hash already.
    queues: HashMap<(u8, u32), SameHash, FxBuildHasher>,
    /// Keys that have changed since they were last taken, in the order of their first change.
    changed: Vec<ChangedKey>,
}

/// The keys of one hash: nearly always one.
type SameHash = SmallVec<[Queue; 1]>;

/// A key that somebody waits for, and that has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedKey {
    /// Its database.
    pub db: u8,
    hash: u32,
    /// Its name.
    pub name: Box<[u8]>,
}

/// Who waits for one key, and for a value of which type, or for any change.
#[derive(Debug)]
struct Queue {
    name: Box<[u8]>,
    waiters: BTreeMap<WaiterId, Option<Kind>>,
    /// It is among the keys that have changed.
    changed: bool,
}

impl Waiting {
    fn queue(&self, db: u8, key: Key<'_>) -> Option<&Queue> {
        self.queues.get(&(db, key.hash))?.iter().find(|queue| *queue.name == *key.bytes)
    }

    fn queue_mut(&mut self, db: u8, hash: u32, name: &[u8]) -> Option<&mut Queue> {
        self.queues.get_mut(&(db, hash))?.iter_mut().find(|queue| *queue.name == *name)
    }
}

impl Queue {
    /// What is to be told of it, if it has not been yet.
    fn note(&mut self, db: u8, hash: u32) -> Option<ChangedKey> {
        let was_changed = std::mem::replace(&mut self.changed, true);
        (!was_changed).then(|| ChangedKey { db, hash, name: self.name.clone() })
    }
}

impl Core {
    /// Enters a waiter for a value of this type at a key, or for any change of it, behind those who came before.
    pub fn wait_for(&mut self, db: u8, key: Key<'_>, kind: Option<Kind>, waiter: WaiterId) {
        let waiting = self.waiting.get_or_insert_default();
        if let Some(queue) = waiting.queue_mut(db, key.hash, key.bytes) {
            queue.waiters.insert(waiter, kind);
        } else {
            let waiters = BTreeMap::from([(waiter, kind)]);
            let queue = Queue { name: key.bytes.into(), waiters, changed: false };
            waiting.queues.entry((db, key.hash)).or_default().push(queue);
        }
    }

    /// Takes a waiter out of a key's queue.
    pub fn stop_waiting(&mut self, db: u8, key: Key<'_>, waiter: WaiterId) {
        let Some(waiting) = &mut self.waiting else { return };
        let Some(queue) = waiting.queue_mut(db, key.hash, key.bytes) else { return };
        queue.waiters.remove(&waiter);
        if !queue.waiters.is_empty() {
            return;
        }
        if let Some(queues) = waiting.queues.get_mut(&(db, key.hash)) {
            queues.retain(|queue| !queue.waiters.is_empty());
            if queues.is_empty() {
                waiting.queues.remove(&(db, key.hash));
            }
        }
        if waiting.queues.is_empty() {
            self.waiting = None;
        }
    }

    /// The first who waits for what a key holds, behind waiter `after`.
    pub fn next_waiter(
        &self,
        db: u8,
        key: Key<'_>,
        holds: Option<Kind>,
        after: WaiterId,
    ) -> Option<WaiterId> {
        let queue = self.waiting.as_ref()?.queue(db, key)?;
        let mut later = queue.waiters.range((Bound::Excluded(after), Bound::Unbounded));
        later.find(|(_, wanted)| wanted.is_none() || **wanted == holds).map(|(waiter, _)| *waiter)
    }

    /// Whether anybody waits for a key.
    pub fn has_waiters(&self, db: u8, key: Key<'_>) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.queue(db, key).is_some())
    }

    /// Notes that a key has changed.
    pub(super) fn note_change(&mut self, db: u8, key: Key<'_>) {
        let Some(waiting) = &mut self.waiting else { return };
        let queue = waiting.queue_mut(db, key.hash, key.bytes);
        let changed = queue.and_then(|queue| queue.note(db, key.hash));
        waiting.changed.extend(changed);
    }

    /// Notes that any key of a database may have changed.
    pub(super) fn note_change_of_all(&mut self, db: u8) {
        let Some(waiting) = &mut self.waiting else { return };
        for ((of, hash), queues) in waiting.queues.iter_mut().filter(|((of, _), _)| *of == db) {
            waiting.changed.extend(queues.iter_mut().filter_map(|queue| queue.note(*of, *hash)));
        }
    }

    /// Whether there is anything for [`Core::take_changed`].
    pub fn has_changed(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| !waiting.changed.is_empty())
    }

    /// The keys that somebody waits for, and that have changed since this was last asked.
    pub fn take_changed(&mut self) -> Vec<ChangedKey> {
        let Some(waiting) = &mut self.waiting else { return Vec::new() };
        let changed = std::mem::take(&mut waiting.changed);
        for key in &changed {
            if let Some(queue) = waiting.queue_mut(key.db, key.hash, &key.name) {
                queue.changed = false;
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use ringfort_cluster::ShardId;

    use super::*;
    use crate::store::Shard;

    const K: Key<'_> = Key { bytes: b"k", hash: 7, slot: 0 };
    /// Of the same hash.
    const L: Key<'_> = Key { bytes: b"l", ..K };

    /// Who came at this time.
    fn at(since: i64) -> WaiterId {
        WaiterId { since, number: 0 }
    }

    fn names(core: &mut Core) -> Vec<String> {
        let name = |key: ChangedKey| format!("{} {}", key.db, key.name.escape_ascii());
        core.take_changed().into_iter().map(name).collect()
    }

    #[test]
    fn waiters_of_one_type_come_in_their_order() {
        let mut core = Shard::new(ShardId(0), 16384).core;
        for (waiter, kind) in [(3, Kind::List), (5, Kind::ZSet), (8, Kind::List), (3, Kind::List)] {
            core.wait_for(0, K, Some(kind), at(waiter));
        }
        assert_eq!(core.next_waiter(0, K, Some(Kind::List), at(0)), Some(at(3)));
        assert_eq!(core.next_waiter(0, K, Some(Kind::List), at(3)), Some(at(8)));
        assert_eq!(core.next_waiter(0, K, Some(Kind::ZSet), at(0)), Some(at(5)));
        assert_eq!(core.next_waiter(0, K, Some(Kind::Hash), at(0)), None);
        assert_eq!(core.next_waiter(1, K, Some(Kind::List), at(0)), None);
        core.stop_waiting(0, K, at(3));
        assert_eq!(core.next_waiter(0, K, Some(Kind::List), at(0)), Some(at(8)));
        core.wait_for(0, L, Some(Kind::List), at(9));
        core.stop_waiting(0, K, at(8));
        core.stop_waiting(0, K, at(5));
        assert_eq!(
            (core.has_waiters(0, K), core.next_waiter(0, L, Some(Kind::List), at(0))),
            (false, Some(at(9)))
        );
        core.stop_waiting(0, L, at(9));
        assert!(core.waiting.is_none());
    }

    #[test]
    fn who_waits_for_any_change_comes_in_turn_whatever_is_there() {
        let mut core = Shard::new(ShardId(0), 16384).core;
        core.wait_for(0, K, Some(Kind::List), at(1));
        core.wait_for(0, K, None, at(2));
        assert_eq!(core.next_waiter(0, K, None, at(0)), Some(at(2)));
        assert_eq!(core.next_waiter(0, K, Some(Kind::Hash), at(0)), Some(at(2)));
        assert_eq!(core.next_waiter(0, K, Some(Kind::List), at(0)), Some(at(1)));
        assert_eq!(core.next_waiter(0, K, Some(Kind::List), at(1)), Some(at(2)));
    }

    #[test]
    fn changes_are_noted_once_and_of_keys_with_waiters_only() {
        let mut core = Shard::new(ShardId(0), 16384).core;
        core.note_change(0, K);
        core.wait_for(0, K, Some(Kind::List), at(1));
        core.wait_for(2, L, Some(Kind::List), at(2));
        for name in [L, K, K] {
            core.note_change(0, name);
        }
        core.note_change_of_all(2);
        assert_eq!(names(&mut core), ["0 k", "2 l"]);
        assert!(names(&mut core).is_empty());
        core.note_change(0, K);
        core.stop_waiting(0, K, at(1));
        core.wait_for(0, K, Some(Kind::List), at(3));
        core.note_change(0, K);
        assert_eq!(names(&mut core), ["0 k", "0 k"]);
    }
}
