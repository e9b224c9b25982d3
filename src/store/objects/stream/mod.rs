//! Streams: entries in the order of their ids, and groups of consumers that share them.
//!
//! Entries lie in [blocks](block), packed as in Redis' listpacks and filled by the same rule, so that what removes whole
//! blocks only (`XTRIM ~`) removes the same. Blocks are ordered by their first id: a place inside is found in
//! logarithmic time. Whether an entry has ever been deleted out of the middle, and how many were ever added, is kept
//! for the groups: from these comes how far behind each is ([`Stream::lag`]).

pub mod block;
pub mod group;
mod id;

use std::collections::BTreeMap;

use self::group::tree_place;
pub use self::{
    block::{Block, BlockLimit, Entry},
    group::{Consumer, ConsumerKey, Group, Pending},
    id::{IdText, StreamId},
};
use crate::store::value::{Object, Value};

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// By their first ids. None is empty, but the first one may have deleted entries only.
    blocks: BTreeMap<StreamId, Block>,
    len: u64,
    /// The first entry that is not deleted; [`StreamId::MIN`] if there is none.
    first: StreamId,
    /// The last id that was given to an entry.
    pub last: StreamId,
    /// The greatest id of an entry that was deleted one by one; [`StreamId::MIN`] if none was.
    pub max_deleted: StreamId,
    /// How many entries were ever added.
    pub added: i64,
    groups: BTreeMap<Box<[u8]>, Group>,
    /// Bytes of blocks and groups.
    bytes: usize,
}

/// Which entries are removed from the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// All but so many.
    Length(u64),
    /// Those before this id.
    Before(StreamId),
}

impl Stream {
    /// The stream that a value is.
    pub fn of(value: Value<'_>) -> Option<&Self> {
        match value {
            Value::Big(Object::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Bytes of memory that it owns, and its own.
    pub fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first id, [`StreamId::MIN`] if there is none.
    pub fn first(&self) -> StreamId {
        self.first
    }

    /// The blocks by their first ids.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = (StreamId, &Block)> {
        self.blocks.iter().map(|(first, block)| (*first, block))
    }

    /// The id of the last entry that is not deleted.
    pub fn top(&self) -> Option<StreamId> {
        self.range_back(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id)
    }

    /// The id of the last entry, deleted or not.
    pub fn newest(&self) -> StreamId {
        self.blocks.last_key_value().map_or(StreamId::MIN, |(first, block)| block.last_id(*first))
    }

    /// Adds an entry with fields (names and values in turn) behind all others.
    pub fn add<'f>(
        &mut self,
        id: StreamId,
        fields: impl ExactSizeIterator<Item = &'f [u8]> + Clone,
        limit: BlockLimit,
    ) {
        let texts = fields.clone().map(<[u8]>::len).sum();
        match self.blocks.last_entry() {
            Some(mut last) if last.get().has_room(texts, limit) => {
                let first = *last.key();
                let before = last.get().heap_bytes();
                last.get_mut().push(first, id, fields);
                self.bytes += last.get().heap_bytes() - before;
            }
            last => {
                if let Some(mut last) = last {
                    self.bytes -= last.get().heap_bytes();
                    last.get_mut().close();
                    self.bytes += last.get().heap_bytes();
                }
                let mut block = Block::new(fields.clone());
                block.push(id, id, fields);
                self.insert(id, block);
            }
        }
        self.len += 1;
        self.added = self.added.saturating_add(1);
        self.last = id;
        if self.len == 1 {
            self.first = id;
        }
    }

    /// Adds a block behind all others, as it was somewhere else. Returns whether it belongs there.
    pub fn add_block(&mut self, first: StreamId, block: Block) -> bool {
        let mut before = self.newest();
        let ascends = block.entries(first).all(|entry| std::mem::replace(&mut before, entry.id) < entry.id);
        let begins = block.entries(first).next().is_some_and(|entry| entry.id == first);
        if ascends && begins {
            self.len += block.live();
            self.insert(first, block);
            self.find_first();
        }
        ascends && begins
    }

    fn insert(&mut self, first: StreamId, block: Block) {
        self.bytes += block.heap_bytes() + BLOCK_PLACE;
        self.blocks.insert(first, block);
    }

    fn remove_block(&mut self, first: StreamId) {
        if let Some(block) = self.blocks.remove(&first) {
            self.bytes -= block.heap_bytes() + BLOCK_PLACE;
            self.len -= block.live();
        }
    }

    /// Deletes an entry. Returns whether there was one.
    pub fn delete(&mut self, id: StreamId) -> bool {
        let Some((&first, block)) = self.blocks.range_mut(..=id).next_back() else { return false };
        let Some(entry) = block.entries(first).find(|entry| entry.id == id && !entry.is_deleted) else {
            return false;
        };
        if block.live() == 1 {
            self.remove_block(first);
        } else {
            let place = entry.place;
            block.delete(place);
            self.len -= 1;
        }
        self.max_deleted = self.max_deleted.max(id);
        if id == self.first {
            self.find_first();
        }
        true
    }

    /// Removes entries from the front: whole blocks only, if `whole_blocks` says so, and no more than `most`. Returns
    /// how many.
    pub fn trim(&mut self, to: Trim, whole_blocks: bool, most: u64) -> u64 {
        let mut removed = 0;
        while let Some((&first, block)) = self.blocks.first_key_value() {
            let entries = block.live();
            if matches!(to, Trim::Length(len) if self.len <= len) || removed + entries > most {
                break;
            }
            let whole = match to {
                Trim::Length(len) => self.len - entries >= len,
                Trim::Before(id) => block.last_id(first) < id,
            };
            if whole {
                self.remove_block(first);
                removed += entries;
                continue;
            }
            if !whole_blocks {
                removed += self.trim_first_block(to);
            }
            break;
        }
        if removed > 0 {
            self.find_first();
        }
        removed
    }

    fn trim_first_block(&mut self, to: Trim) -> u64 {
        let Some(mut block) = self.blocks.first_entry() else { return 0 };
        let first = *block.key();
        let doomed = block.get().entries(first).filter(|entry| !entry.is_deleted);
        let places: Vec<_> = match to {
            Trim::Length(len) => doomed.take((self.len - len) as usize).map(|entry| entry.place).collect(),
            Trim::Before(id) => doomed.take_while(|entry| entry.id < id).map(|entry| entry.place).collect(),
        };
        places.iter().for_each(|place| block.get_mut().delete(*place));
        self.len -= places.len() as u64;
        places.len() as u64
    }

    fn find_first(&mut self) {
        let first = self.range(StreamId::MIN, StreamId::MAX).next().map(|entry| entry.id);
        self.first = first.unwrap_or(StreamId::MIN);
    }

    /// The entries from `start` to `end`, both included.
    pub fn range(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let from = self.blocks.range(..=start).next_back().map_or(start, |(first, _)| *first);
        let blocks = self.blocks.range(from..).take_while(move |(first, _)| **first <= end);
        let entries = blocks.flat_map(|(first, block)| block.entries(*first));
        // A deleted entry may have a higher id than one behind it, after XSETID, and must not end the walk.
        let there = entries.filter(|entry| !entry.is_deleted);
        there.skip_while(move |entry| entry.id < start).take_while(move |entry| entry.id <= end)
    }

    /// The same, from the last to the first.
    pub fn range_back(&self, start: StreamId, end: StreamId) -> impl Iterator<Item = Entry<'_>> {
        let blocks = self.blocks.range(..=end).rev();
        let entries = blocks.flat_map(|(first, block)| block.entries(*first).rev());
        let there = entries.filter(|entry| !entry.is_deleted);
        there.skip_while(move |entry| entry.id > end).take_while(move |entry| entry.id >= start)
    }

    /// An entry.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The groups, in the order of their names.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = (&[u8], &Group)> {
        self.groups.iter().map(|(name, group)| (&**name, group))
    }

    /// A group.
    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// Changes a group, if it is there.
    pub fn change_group<R>(&mut self, name: &[u8], change: impl FnOnce(&mut Group) -> R) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        self.bytes -= group.heap_bytes();
        let result = change(group);
        self.bytes += group.heap_bytes();
        Some(result)
    }

    /// Adds a group. Returns whether there was none of its name.
    pub fn add_group(&mut self, name: &[u8], group: Group) -> bool {
        if self.groups.contains_key(name) {
            return false;
        }
        self.bytes += group.heap_bytes() + name.len() + GROUP_PLACE;
        self.groups.insert(name.into(), group);
        true
    }

    /// Removes a group. Returns whether there was one.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(group) = self.groups.remove(name) else { return false };
        self.bytes -= group.heap_bytes() + name.len() + GROUP_PLACE;
        true
    }

    /// Whether an entry may have been deleted between others at `from` or later.
    pub fn has_gaps_from(&self, from: StreamId) -> bool {
        // What was deleted in front of the first entry leaves no gap.
        !self.is_empty() && self.max_deleted >= self.first && from <= self.max_deleted
    }

    /// How many entries were ever added up to this id, itself included, if that can be told.
    pub fn distance(&self, id: StreamId) -> Option<i64> {
        let added = self.added;
        if self.added == 0 || id == self.last || (self.is_empty() && id < self.last) {
            return Some(added);
        }
        let is_whole = self.max_deleted == StreamId::MIN || self.max_deleted < self.first;
        if id > self.last || !is_whole || id > self.first {
            return None;
        }
        let before = added.wrapping_sub(self.len.cast_signed());
        Some(before + i64::from(id == self.first))
    }

    /// How many entries are still to be delivered to a group, if that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        if self.added == 0 {
            return Some(0);
        }
        let read = group.read.filter(|_| !self.has_gaps_from(group.last));
        let read = read.or_else(|| self.distance(group.last))?;
        Some(self.added.wrapping_sub(read))
    }
}

/// How much memory it has does not matter.
impl PartialEq for Stream {
    fn eq(&self, other: &Self) -> bool {
        let state = |stream: &Self| (stream.last, stream.max_deleted, stream.added);
        state(self) == state(other) && self.blocks == other.blocks && self.groups == other.groups
    }
}

/// What a block takes beside its bytes.
const BLOCK_PLACE: usize = tree_place(size_of::<(StreamId, Block)>());

/// What a group takes beside its name, its consumers and its pending entries.
const GROUP_PLACE: usize = tree_place(size_of::<(Box<[u8]>, Group)>());

#[cfg(test)]
mod tests;
