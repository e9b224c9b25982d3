//! Who waits for keys of a shard, first come first served, and which of these keys have changed.
//!
//! The store knows waiters by number only, in the order in which they came. A change of a key that somebody waits for
//! is noted where all changes are noticed; whoever has changed it serves those who wait, once the locks are released.

use std::collections::{BTreeMap, HashMap};

use super::{shard::Core, value::Kind};

/// Names somebody who waits. Later ones have higher numbers.
pub type WaiterId = u64;

/// Of one shard.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    databases: BTreeMap<u8, HashMap<Box<[u8]>, Queue>>,
    /// Keys that have changed since they were last taken, in the order of their first change.
    changed: Vec<ChangedKey>,
}

/// A key that somebody waits for, and that has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedKey {
    /// Its database.
    pub db: u8,
    /// Its name.
    pub name: Box<[u8]>,
}

/// Who waits for one key, and for a value of which type, or for any change.
#[derive(Debug, Default)]
struct Queue {
    waiters: BTreeMap<WaiterId, Option<Kind>>,
    /// It is among the keys that have changed.
    changed: bool,
}

impl Waiting {
    fn queue(&mut self, db: u8, name: &[u8]) -> Option<&mut Queue> {
        self.databases.get_mut(&db)?.get_mut(name)
    }

    fn note(&mut self, db: u8, name: &[u8]) {
        if let Some(queue) = self.queue(db, name)
            && !queue.changed
        {
            queue.changed = true;
            self.changed.push(ChangedKey { db, name: name.into() });
        }
    }
}

impl Core {
    /// Enters a waiter for a value of this type at a key, or for any change of it, behind those that are there.
    pub fn wait_for(&mut self, db: u8, name: &[u8], kind: Option<Kind>, waiter: WaiterId) {
        let waiting = self.waiting.get_or_insert_default();
        let keys = waiting.databases.entry(db).or_default();
        if let Some(queue) = keys.get_mut(name) {
            queue.waiters.insert(waiter, kind);
        } else {
            keys.entry(name.into()).or_default().waiters.insert(waiter, kind);
        }
    }

    /// Takes a waiter out of a key's queue.
    pub fn stop_waiting(&mut self, db: u8, name: &[u8], waiter: WaiterId) {
        let Some(waiting) = &mut self.waiting else { return };
        let Some(keys) = waiting.databases.get_mut(&db) else { return };
        let Some(queue) = keys.get_mut(name) else { return };
        queue.waiters.remove(&waiter);
        if queue.waiters.is_empty() {
            keys.remove(name);
            if keys.is_empty() {
                waiting.databases.remove(&db);
            }
            if waiting.databases.is_empty() {
                self.waiting = None;
            }
        }
    }

    /// The first who waits for what a key holds, behind waiter `after`.
    pub fn next_waiter(&self, db: u8, name: &[u8], holds: Option<Kind>, after: WaiterId) -> Option<WaiterId> {
        let queue = self.waiting.as_ref()?.databases.get(&db)?.get(name)?;
        let mut later = queue.waiters.range(after + 1..);
        later.find(|(_, wanted)| wanted.is_none() || **wanted == holds).map(|(waiter, _)| *waiter)
    }

    /// Whether anybody waits for a key.
    pub fn has_waiters(&self, db: u8, name: &[u8]) -> bool {
        self.waiting.as_ref().and_then(|waiting| waiting.databases.get(&db)?.get(name)).is_some()
    }

    /// Notes that a key has changed.
    pub(super) fn note_change(&mut self, db: u8, name: &[u8]) {
        if let Some(waiting) = &mut self.waiting {
            waiting.note(db, name);
        }
    }

    /// Notes that any key of a database may have changed.
    pub(super) fn note_change_of_all(&mut self, db: u8) {
        let Some(waiting) = &mut self.waiting else { return };
        let names: Vec<_> = waiting.databases.get(&db).into_iter().flat_map(HashMap::keys).cloned().collect();
        names.iter().for_each(|name| waiting.note(db, name));
    }

    /// The keys that somebody waits for, and that have changed since this was last asked.
    pub fn take_changed(&mut self) -> Vec<ChangedKey> {
        let Some(waiting) = &mut self.waiting else { return Vec::new() };
        let changed = std::mem::take(&mut waiting.changed);
        for key in &changed {
            if let Some(queue) = waiting.queue(key.db, &key.name) {
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

    fn names(core: &mut Core) -> Vec<String> {
        let name = |key: ChangedKey| format!("{} {}", key.db, key.name.escape_ascii());
        core.take_changed().into_iter().map(name).collect()
    }

    #[test]
    fn waiters_of_one_type_come_in_their_order() {
        let mut core = Shard::new(ShardId(0), 16384).core;
        for (waiter, kind) in [(3, Kind::List), (5, Kind::ZSet), (8, Kind::List), (3, Kind::List)] {
            core.wait_for(0, b"k", Some(kind), waiter);
        }
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::List), 0), Some(3));
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::List), 3), Some(8));
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::ZSet), 0), Some(5));
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::Hash), 0), None);
        assert_eq!(core.next_waiter(1, b"k", Some(Kind::List), 0), None);
        core.stop_waiting(0, b"k", 3);
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::List), 0), Some(8));
        core.stop_waiting(0, b"k", 8);
        core.stop_waiting(0, b"k", 5);
        assert!(core.waiting.is_none());
    }

    #[test]
    fn who_waits_for_any_change_comes_in_turn_whatever_is_there() {
        let mut core = Shard::new(ShardId(0), 16384).core;
        core.wait_for(0, b"k", Some(Kind::List), 1);
        core.wait_for(0, b"k", None, 2);
        assert_eq!(core.next_waiter(0, b"k", None, 0), Some(2));
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::Hash), 0), Some(2));
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::List), 0), Some(1));
        assert_eq!(core.next_waiter(0, b"k", Some(Kind::List), 1), Some(2));
    }

    #[test]
    fn changes_are_noted_once_and_of_keys_with_waiters_only() {
        let mut core = Shard::new(ShardId(0), 16384).core;
        core.note_change(0, b"k");
        core.wait_for(0, b"k", Some(Kind::List), 1);
        core.wait_for(2, b"l", Some(Kind::List), 2);
        for name in [b"l", b"k", b"k"] {
            core.note_change(0, name);
        }
        core.note_change_of_all(2);
        assert_eq!(names(&mut core), ["0 k", "2 l"]);
        assert!(names(&mut core).is_empty());
        core.note_change(0, b"k");
        core.stop_waiting(0, b"k", 1);
        core.wait_for(0, b"k", Some(Kind::List), 3);
        core.note_change(0, b"k");
        assert_eq!(names(&mut core), ["0 k", "0 k"]);
    }
}
