//! One shard's data: a table for each of its slots and databases, always behind the shard's lock.
//!
//! This is the seam beneath which the layout of memory can change: [`super::db`] is its only caller, and commands
//! reach data only through that. A [`Place`] is valid until the shard is next changed.

use std::ops::Range;

use ringfort_cluster::{Epoch, Member, Offset, ShardId, Version};

use super::{
    copy::{Copies, Position},
    entry::Entry,
    expiry::Rounds,
    key::Key,
    log::Log,
    ordered::{Ordered, Pos},
    outline::Outline,
    value::{Form, Object, Value},
    waiting::Waiting,
};

/// Number of databases, as Redis has by default.
pub const DATABASES: u8 = 16;

/// What an entry costs in its table, in bytes: its place there, and the share of places that stand empty.
pub(super) const PLACE: usize = size_of::<Entry>() * 4 / 3;

/// Who this node is for the shard, as far as it has applied the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds no copy, or one that is being made.
    Absent,
    /// It holds a complete copy, and follows.
    Replica,
    /// It serves the shard while it holds a lease.
    Primary,
    /// It was the primary until a moment ago: it is handing over and serves nobody.
    Sealed,
}

/// What a shard carries beside its data.
#[derive(Debug)]
pub struct Core {
    /// Which shard this is.
    pub id: ShardId,
    /// Who this node is for it.
    pub role: Role,
    /// The epoch of the data: of which epoch's log [`Log::end`] is a position.
    pub epoch: Epoch,
    /// It follows no epoch below this one: what it has promised to the leader that looked for a new primary.
    pub refuses_below: Epoch,
    /// The version of the topology by which a primary made or fed the copy here: an older one, which may not know of
    /// the copy yet, is no reason to drop it.
    pub fed_at: Version,
    /// The version of the topology that gave it its role.
    pub adopted: Version,
    /// Which connection feeds the copy here.
    pub fed_by: u64,
    /// The version of the topology by which it was sealed.
    pub sealed_at: Version,
    /// Its writes.
    pub log: Log,
    /// How far replicas have acknowledged the log.
    pub acked: Vec<(Member, Offset)>,
    /// Copies of it that are being made for other nodes.
    pub copies: Copies,
    /// Bytes that its entries take.
    pub used: usize,
    /// The same, by database.
    used_by: [usize; DATABASES as usize],
    /// Bytes of the log that the store's account knows.
    pub(super) settled_log: usize,
    /// What the store was last told of it.
    pub(super) settled: Outline,
    /// Number of keys, those whose time is over included.
    pub(super) keys: u32,
    /// Who waits for keys of it; none where nobody does.
    pub(super) waiting: Option<Box<Waiting>>,
    /// Changes since the start.
    pub changes: u64,
    /// Keys with a deadline, by database.
    pub deadlines: [u32; DATABASES as usize],
    /// When keys are next to expire.
    pub(super) rounds: Rounds,
    /// Keys that were removed because their time was over, since whoever counts them last took the number.
    pub expired: u32,
    /// The same of fields of hashes.
    pub expired_fields: u32,
    /// Large values that were removed and wait to be dropped where nobody waits for it.
    pub(super) dropped: Vec<Object>,
    /// Tables that were emptied and wait likewise.
    pub(super) cleared: Vec<Cleared>,
}

/// Where an entry is, until the shard is next changed.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub(super) table: u16,
    pub(super) pos: Pos,
}

/// A shard.
#[derive(Debug)]
pub struct Shard {
    /// What it carries beside its data.
    pub core: Core,
    pub(super) first_slot: u16,
    slots: u16,
    /// The tables of a database, one for each slot; `None` for a database that was never used. The first one always has
    /// its tables, so that they are no part of what the first keys of a node cost.
    pub(super) databases: [Option<Box<[Ordered<Entry>]>>; DATABASES as usize],
}

impl Core {
    pub(super) fn charge(&mut self, db: u8, before: usize, after: usize) {
        self.used = self.used + after - before;
        let by = &mut self.used_by[usize::from(db)];
        *by = *by + after - before;
    }

    /// Drops the large values that were removed, here and now.
    pub fn drop_now(&mut self) {
        self.dropped.clear();
    }
}

/// The tables of a database without keys.
fn empty_tables(slots: u16) -> Box<[Ordered<Entry>]> {
    (0..slots).map(|_| Ordered::default()).collect()
}

impl Shard {
    /// A shard without data, of which this node has no copy.
    pub fn new(id: ShardId, slots: u16) -> Self {
        let core = Core {
            id,
            role: Role::Absent,
            epoch: Epoch(0),
            refuses_below: Epoch(0),
            fed_at: Version(0),
            adopted: Version(0),
            fed_by: 0,
            sealed_at: Version(0),
            log: Log::default(),
            acked: Vec::new(),
            copies: Copies::default(),
            used: 0,
            used_by: [0; DATABASES as usize],
            settled_log: 0,
            settled: Outline::default(),
            keys: 0,
            waiting: None,
            changes: 0,
            deadlines: [0; DATABASES as usize],
            rounds: Rounds::default(),
            expired: 0,
            expired_fields: 0,
            dropped: Vec::new(),
            cleared: Vec::new(),
        };
        let mut databases: [_; DATABASES as usize] = Default::default();
        databases[0] = Some(empty_tables(slots));
        Self { core, first_slot: id.0 * slots, slots, databases }
    }

    /// Its slots.
    pub fn slots(&self) -> Range<u16> {
        self.first_slot..self.first_slot + self.slots
    }

    pub(super) fn table(&self, db: u8, slot: u16) -> Option<&Ordered<Entry>> {
        Some(&self.databases[usize::from(db)].as_ref()?[usize::from(slot - self.first_slot)])
    }

    fn table_at(&self, db: u8, table: u16) -> &Ordered<Entry> {
        let tables = self.databases[usize::from(db)].as_ref().expect("a place is in a table");
        &tables[usize::from(table)]
    }

    fn table_mut(&mut self, db: u8, table: u16) -> &mut Ordered<Entry> {
        let slots = self.slots;
        let tables = self.databases[usize::from(db)].get_or_insert_with(|| empty_tables(slots));
        &mut tables[usize::from(table)]
    }

    /// Finds a key, whether its time is over or not.
    pub(super) fn lookup(&self, db: u8, key: Key<'_>) -> Option<Place> {
        let table = key.slot - self.first_slot;
        let tables = self.databases[usize::from(db)].as_ref()?;
        let pos = tables[usize::from(table)].find(key.hash, |entry| entry.key() == key.bytes)?;
        Some(Place { table, pos })
    }

    /// Adds a key that is not there.
    pub(super) fn insert(&mut self, db: u8, key: Key<'_>, entry: Entry) -> Place {
        let deadline = entry.deadline();
        self.core.charge(db, 0, entry.heap_bytes() + PLACE);
        self.core.keys += 1;
        let table = key.slot - self.first_slot;
        let pos = self.table_mut(db, table).insert(entry);
        let place = Place { table, pos };
        self.count_deadline(db, None, deadline);
        self.note_soonest(db, place);
        place
    }

    /// Takes a key out.
    pub(super) fn remove(&mut self, db: u8, place: Place) -> Entry {
        let entry = self.table_mut(db, place.table).remove(place.pos);
        self.core.charge(db, entry.heap_bytes() + PLACE, 0);
        self.core.keys -= 1;
        if entry.deadline().is_some() {
            self.core.deadlines[usize::from(db)] -= 1;
        }
        entry
    }

    pub(super) fn entry(&self, db: u8, place: Place) -> &Entry {
        self.table_at(db, place.table).get(place.pos)
    }

    pub(super) fn value(&self, db: u8, place: Place) -> Value<'_> {
        self.entry(db, place).value()
    }

    /// Changes an entry by `change` and accounts for what it grew or shrank by.
    fn change<R>(&mut self, db: u8, place: Place, change: impl FnOnce(&mut Entry) -> R) -> R {
        let entry = self.table_mut(db, place.table).get_mut(place.pos);
        let before = entry.heap_bytes();
        let result = change(entry);
        let after = entry.heap_bytes();
        self.core.charge(db, before, after);
        result
    }

    /// Replaces an entry by another one of the same key.
    pub(super) fn replace(&mut self, db: u8, place: Place, entry: Entry) -> Entry {
        let (old, new) = (self.entry(db, place).deadline(), entry.deadline());
        let before = self.change(db, place, |place| std::mem::replace(place, entry));
        self.count_deadline(db, old, new);
        self.note_soonest(db, place);
        before
    }

    /// Replaces bytes of a small value.
    pub(super) fn splice(&mut self, db: u8, place: Place, cut: Range<usize>, with: &[&[u8]]) {
        self.change(db, place, |entry| entry.splice(cut, with));
    }

    /// Changes a large value; `None` if the value is a small one.
    pub(super) fn object<R>(
        &mut self,
        db: u8,
        place: Place,
        change: impl FnOnce(&mut Object) -> R,
    ) -> Option<R> {
        let soonest = self.entry(db, place).soonest();
        let result = self.change(db, place, |entry| entry.object_mut().map(change));
        if self.entry(db, place).soonest() < soonest {
            self.note_soonest(db, place);
        }
        result
    }

    pub(super) fn set_deadline(&mut self, db: u8, place: Place, deadline: Option<u64>) {
        let old = self.entry(db, place).deadline();
        self.change(db, place, |entry| entry.set_deadline(deadline));
        self.count_deadline(db, old, deadline);
        self.note_soonest(db, place);
    }

    fn count_deadline(&mut self, db: u8, old: Option<u64>, new: Option<u64>) {
        let count = &mut self.core.deadlines[usize::from(db)];
        *count = *count + u32::from(new.is_some()) - u32::from(old.is_some());
    }

    /// Lets expiry know when first something of an entry is over.
    fn note_soonest(&mut self, db: u8, place: Place) {
        let soonest = self.entry(db, place).soonest();
        if soonest < u64::MAX {
            self.core.rounds.note(soonest);
            self.table_mut(db, place.table).note_mut(place.pos).include(soonest);
        }
    }

    /// Number of keys in a database, those whose time is over included.
    pub fn len(&self, db: u8) -> usize {
        self.slots().map(|slot| self.slot_len(db, slot)).sum()
    }

    /// Number of keys of a slot in a database.
    pub fn slot_len(&self, db: u8, slot: u16) -> usize {
        self.table(db, slot).map_or(0, Ordered::len)
    }

    /// Whether it has no keys at all.
    pub fn is_empty(&self) -> bool {
        (0..DATABASES).all(|db| self.len(db) == 0)
    }

    /// Takes out all keys of a database, or of all, and returns their tables to be dropped elsewhere.
    pub fn clear(&mut self, db: Option<u8>) -> Vec<Cleared> {
        let range = db.map_or(0..DATABASES, |db| db..db + 1);
        let mut cleared = Vec::new();
        for db in range {
            let fresh = (db == 0).then(|| empty_tables(self.slots));
            let Some(tables) = std::mem::replace(&mut self.databases[usize::from(db)], fresh) else {
                continue;
            };
            self.core.deadlines[usize::from(db)] = 0;
            self.core.keys -= tables.iter().map(|table| table.len() as u32).sum::<u32>();
            let bytes = self.core.used_by[usize::from(db)];
            self.core.charge(db, bytes, 0);
            cleared.push(Cleared { bytes, tables });
        }
        cleared
    }

    /// Empties a database, or all; what was in it is dropped when the shard is [settled](super::Store::settle).
    /// Returns whether there were any keys.
    pub fn flush(&mut self, db: Option<u8>) -> bool {
        if db.map_or_else(|| self.is_empty(), |db| self.len(db) == 0) {
            return false;
        }
        let databases = db.map_or(0..DATABASES, |db| db..db + 1);
        databases.for_each(|db| self.core.note_change_of_all(db));
        let cleared = self.clear(db);
        self.core.cleared.extend(cleared);
        self.core.changes += 1;
        true
    }

    /// Lets two databases change places. Returns whether there were any keys in them.
    ///
    /// Copies that are being made begin anew: their walk goes through the databases one by one, so it would miss what
    /// moves to one that it has passed.
    pub fn swap(&mut self, a: u8, b: u8) -> bool {
        if a == b || self.len(a) + self.len(b) == 0 {
            return false;
        }
        [a, b].into_iter().for_each(|db| self.core.note_change_of_all(db));
        let (a, b) = (usize::from(a), usize::from(b));
        self.databases.swap(a, b);
        self.core.used_by.swap(a, b);
        self.core.deadlines.swap(a, b);
        self.core.changes += 1;
        self.core.copies.begin_anew();
        self.core.rounds.begin_anew();
        true
    }

    /// Visits live and dead entries alike for a copy: database, key, value and deadline of each. See [`Shard::walk`].
    pub fn walk_for_copy(
        &self,
        from: Position,
        count: usize,
        mut visit: impl FnMut(u8, &[u8], Value<'_>, Option<u64>),
    ) -> Option<Position> {
        self.walk(from, count, |db, entry| visit(db, entry.key(), entry.value(), entry.deadline()))
    }

    /// Visits entries from a position on, in the order of (slot, database, hash), at least `count` of them if there
    /// are so many. Returns where to go on, or `None` at the end.
    pub(super) fn walk(
        &self,
        from: Position,
        count: usize,
        mut visit: impl FnMut(u8, &Entry),
    ) -> Option<Position> {
        let mut left = count;
        let mut from = from;
        for slot in from.slot..self.slots().end {
            for db in from.db..DATABASES {
                if let Some(table) = self.table(db, slot) {
                    let next = table.scan(from.hash, left, |entry| {
                        left = left.saturating_sub(1);
                        visit(db, entry);
                    });
                    if let Some(hash) = next {
                        return Some(Position { slot, db, hash });
                    }
                }
                from.hash = 0;
            }
            from.db = 0;
        }
        None
    }
}

/// The tables of a database that was emptied: dropping it takes time.
#[derive(Debug)]
pub struct Cleared {
    /// Bytes that its entries take.
    pub(super) bytes: usize,
    #[expect(dead_code, reason = "held to be dropped")]
    tables: Box<[Ordered<Entry>]>,
}

/// Builds an entry of `key`: a string that is too long for it becomes shared.
pub(super) fn entry_of(
    key: Key<'_>,
    clock: u32,
    deadline: Option<u64>,
    form: Form,
    value: &[&[u8]],
) -> Entry {
    let len: usize = value.iter().map(|part| part.len()).sum();
    if form == Form::Str && len > super::value::INLINE_STRING {
        let object = Object::Str(value.concat().into());
        return Entry::large(key.hash, key.bytes, clock, deadline, object);
    }
    Entry::small(key.hash, key.bytes, clock, deadline, form, value)
}
