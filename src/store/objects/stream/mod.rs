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
#[derive(Debug, Default)]
pub struct Stream {
    /// By their first ids. Each has an entry that is not deleted; so what is added has a higher id than any block.
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

    /// Adds a block behind all others, as it was somewhere else; one whose entries are all deleted is left out. Returns
    /// whether it belongs there.
    pub fn add_block(&mut self, first: StreamId, block: Block) -> bool {
        if block.live() == 0 {
            return true;
        }
        let mut top = self.top().unwrap_or(StreamId::MIN);
        // A deleted entry may have a higher id than one behind it, after XSETID.
        let is_behind = |entry: Entry<'_>| {
            let is_behind = entry.id > top && entry.id >= first;
            if !entry.is_deleted {
                top = entry.id;
            }
            is_behind
        };
        let ascends = block.entries(first).all(is_behind);
        let begins = block.entries(first).next().is_some_and(|entry| entry.id == first);
        if ascends && begins {
            let is_first = self.is_empty();
            self.len += block.live();
            self.insert(first, block);
            if is_first {
                self.find_first();
            }
        }
        ascends && begins
    }

    fn insert(&mut self, first: StreamId, block: Block) {
        self.bytes += block.heap_bytes() + BLOCK_PLACE;
        self.blocks.insert(first, block);
    }

    /// Removes a block. Returns how many entries went with it.
    fn remove_block(&mut self, first: StreamId) -> u64 {
        let Some(block) = self.blocks.remove(&first) else { return 0 };
        self.bytes -= block.heap_bytes() + BLOCK_PLACE;
        self.len -= block.live();
        block.live()
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
        while let Some((first, whole)) = self.trimmed_next(to, most - removed) {
            removed += match whole {
                true => self.remove_block(first),
                false if whole_blocks => break,
                false => self.trim_block(first, to),
            };
        }
        if removed > 0 {
            self.find_first();
        }
        removed
    }

    /// Whether [`Stream::trim`] would remove anything.
    pub fn trims(&self, to: Trim, whole_blocks: bool, most: u64) -> bool {
        self.trimmed_next(to, most).is_some_and(|(_, whole)| whole || !whole_blocks)
    }

    /// The first block, if entries of it are to be removed and it has no more than `most`; and whether it is removed
    /// as a whole.
    fn trimmed_next(&self, to: Trim, most: u64) -> Option<(StreamId, bool)> {
        let (&first, block) = self.blocks.first_key_value()?;
        let (some, whole) = match to {
            Trim::Length(len) => (self.len > len, self.len - block.live() >= len),
            Trim::Before(id) => (block.first_live(first) < Some(id), block.last_id(first) < id),
        };
        (some && block.live() <= most).then_some((first, whole))
    }

    /// Removes entries from the front of a block, and the block if none is left.
    fn trim_block(&mut self, first: StreamId, to: Trim) -> u64 {
        let Some(block) = self.blocks.get_mut(&first) else { return 0 };
        let doomed = block.entries(first).filter(|entry| !entry.is_deleted);
        let places: Vec<_> = match to {
            Trim::Length(len) => doomed.take((self.len - len) as usize).map(|entry| entry.place).collect(),
            Trim::Before(id) => doomed.take_while(|entry| entry.id < id).map(|entry| entry.place).collect(),
        };
        let removed = places.len() as u64;
        if removed == block.live() {
            return self.remove_block(first);
        }
        places.into_iter().for_each(|place| block.delete(place));
        self.len -= removed;
        removed
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

/// The blocks of a clone have no room for more, so its account is another one.
impl Clone for Stream {
    fn clone(&self) -> Self {
        let (blocks, groups) = (self.blocks.clone(), self.groups.clone());
        let own = |blocks: &BTreeMap<_, Block>| blocks.values().map(Block::heap_bytes).sum::<usize>();
        let bytes = self.bytes - own(&self.blocks) + own(&blocks);
        Self { blocks, groups, bytes, ..*self }
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
