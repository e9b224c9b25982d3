//! Consumer groups: who has been given which entries and has not acknowledged them yet.
//!
//! A group has each pending entry once, by id, with the consumer that owns it; a consumer has the ids of its own. The
//! two are changed together, here alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeBounds,
    sync::Arc,
};

use slab::Slab;

use super::id::StreamId;

/// What a place in an ordered tree costs beyond its size, since its nodes are never full: half as much again.
pub(super) const fn tree_place(bytes: usize) -> usize {
    bytes * 3 / 2
}

/// An entry that was delivered and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    consumer: ConsumerKey,
    /// When it was delivered, in Unix milliseconds.
    pub time: u64,
    /// How often it was delivered.
    pub count: u64,
}

/// Names a consumer of one group for as long as it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerKey(u32);

/// Who is given entries.
#[derive(Clone, Debug)]
pub struct Consumer {
    name: Arc<[u8]>,
    /// When it last asked for something, in Unix milliseconds.
    pub seen: u64,
    /// When it was last given something; `None`: never.
    pub active: Option<u64>,
    pending: BTreeSet<StreamId>,
}

impl Consumer {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The ids of its pending entries, in order.
    pub fn pending(&self) -> &BTreeSet<StreamId> {
        &self.pending
    }
}

/// A consumer group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// The last entry that was delivered.
    pub last: StreamId,
    /// How many entries of the stream come up to it, deleted ones too; `None`: that is not known.
    pub read: Option<i64>,
    pending: BTreeMap<StreamId, Pending>,
    consumers: BTreeMap<Arc<[u8]>, ConsumerKey>,
    slots: Slab<Consumer>,
    /// Bytes of all names.
    names: usize,
}

impl Group {
    /// A group without consumers.
    pub fn new(last: StreamId, read: Option<i64>) -> Self {
        Self { last, read, ..Self::default() }
    }

    /// Bytes of memory that it owns.
    pub(super) fn heap_bytes(&self) -> usize {
        const PENDING: usize =
            tree_place(size_of::<(StreamId, Pending)>()) + tree_place(size_of::<StreamId>());
        const CONSUMER: usize = size_of::<Consumer>() + tree_place(size_of::<(Arc<[u8]>, ConsumerKey)>());
        self.pending.len() * PENDING + self.consumers.len() * CONSUMER + self.names
    }

    /// The consumer of this name.
    pub fn find(&self, name: &[u8]) -> Option<ConsumerKey> {
        self.consumers.get(name).copied()
    }

    /// The consumer of this name, which is created if there is none; and whether it was.
    pub fn find_or_create(&mut self, name: &[u8], now: u64) -> (ConsumerKey, bool) {
        if let Some(key) = self.find(name) {
            return (key, false);
        }
        let name: Arc<[u8]> = name.into();
        self.names += name.len();
        let consumer =
            Consumer { name: Arc::clone(&name), seen: now, active: None, pending: BTreeSet::new() };
        let key = ConsumerKey(self.slots.insert(consumer) as u32);
        self.consumers.insert(name, key);
        (key, true)
    }

    /// A consumer.
    pub fn consumer(&self, key: ConsumerKey) -> &Consumer {
        &self.slots[key.0 as usize]
    }

    /// A consumer, to set its times.
    pub fn consumer_mut(&mut self, key: ConsumerKey) -> &mut Consumer {
        &mut self.slots[key.0 as usize]
    }

    /// The consumers, in the order of their names.
    pub fn consumers(&self) -> impl ExactSizeIterator<Item = &Consumer> {
        self.consumers.values().map(|key| self.consumer(*key))
    }

    /// Takes a consumer out, with its pending entries. Returns how many these were.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let key = self.consumers.remove(name)?;
        let consumer = self.slots.remove(key.0 as usize);
        self.names -= consumer.name.len();
        consumer.pending.iter().for_each(|id| _ = self.pending.remove(id));
        Some(consumer.pending.len())
    }

    /// Number of pending entries.
    pub fn pending_len(&self) -> usize {
        self.pending.len()
    }

    /// A pending entry.
    pub fn pending(&self, id: StreamId) -> Option<Pending> {
        self.pending.get(&id).copied()
    }

    /// The consumer that owns a pending entry.
    pub fn owner(&self, pending: &Pending) -> &Consumer {
        self.consumer(pending.consumer)
    }

    /// Whether a pending entry is this consumer's.
    pub fn is_owned_by(&self, pending: &Pending, consumer: ConsumerKey) -> bool {
        pending.consumer == consumer
    }

    /// The pending entries of a range, in order.
    pub fn pending_in(
        &self,
        range: impl RangeBounds<StreamId>,
    ) -> impl DoubleEndedIterator<Item = (StreamId, &Pending)> {
        self.pending.range(range).map(|(id, pending)| (*id, pending))
    }

    /// The last pending entry.
    pub fn last_pending(&self) -> Option<StreamId> {
        self.pending.last_key_value().map(|(id, _)| *id)
    }

    /// Lets an entry be pending at a consumer, whoever owned it before.
    pub fn assign(&mut self, id: StreamId, consumer: ConsumerKey, time: u64, count: u64) {
        let before = self.pending.insert(id, Pending { consumer, time, count });
        match before {
            Some(before) if before.consumer == consumer => {}
            Some(before) => {
                self.slots[before.consumer.0 as usize].pending.remove(&id);
                self.slots[consumer.0 as usize].pending.insert(id);
            }
            None => _ = self.slots[consumer.0 as usize].pending.insert(id),
        }
    }

    /// Takes a pending entry out. Returns whether there was one.
    pub fn acknowledge(&mut self, id: StreamId) -> bool {
        let Some(pending) = self.pending.remove(&id) else { return false };
        self.slots[pending.consumer.0 as usize].pending.remove(&id);
        true
    }
}

/// How places are given to consumers does not matter.
impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        fn pending(group: &Group) -> impl Iterator<Item = (StreamId, u64, u64, &[u8])> {
            group.pending.iter().map(|(id, entry)| (*id, entry.time, entry.count, group.owner(entry).name()))
        }
        fn consumers(group: &Group) -> impl Iterator<Item = (&[u8], u64, Option<u64>)> {
            group.consumers().map(|consumer| (consumer.name(), consumer.seen, consumer.active))
        }
        let same_place = (self.last, self.read) == (other.last, other.read);
        same_place && pending(self).eq(pending(other)) && consumers(self).eq(consumers(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> StreamId {
        StreamId { ms, seq: 0 }
    }

    #[test]
    fn the_ids_of_consumers_are_those_of_the_group() {
        let mut group = Group::new(StreamId::MIN, None);
        let ann = group.find_or_create(b"ann", 1).0;
        let bob = group.find_or_create(b"bob", 1).0;
        (1..=4).for_each(|ms| group.assign(id(ms), ann, 5, 1));
        group.assign(id(2), bob, 6, 2);
        assert!(group.acknowledge(id(3)) && !group.acknowledge(id(3)));
        let ids = |key| group.consumer(key).pending().iter().map(|id| id.ms).collect::<Vec<_>>();
        assert_eq!((ids(ann), ids(bob)), (vec![1, 4], vec![2]));
        assert_eq!(group.owner(&group.pending(id(2)).unwrap()).name(), b"bob");
        assert_eq!(group.remove_consumer(b"ann"), Some(2));
        assert_eq!(group.pending_in(..).map(|(id, _)| id.ms).collect::<Vec<_>>(), [2]);
        assert_eq!(group.find_or_create(b"cid", 1), (ann, true), "places are used again");
    }

    #[test]
    fn memory_is_given_back() {
        let mut group = Group::new(StreamId::MIN, None);
        let ann = group.find_or_create(b"ann", 1).0;
        (1..=4).for_each(|ms| group.assign(id(ms), ann, 5, 1));
        assert!(group.heap_bytes() > 200);
        group.remove_consumer(b"ann");
        assert_eq!(group.heap_bytes(), 0);
    }
}
