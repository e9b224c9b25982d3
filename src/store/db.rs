//! The data as commands see it: read a key, or edit it.
//!
//! A command gets a [`Db`] with the shards of its keys locked. [`Db::read`] lends a view; [`Db::edit`] is the only
//! way to change anything. An edit alone removes what has expired, keeps the account of memory, counts the change
//! and passes effects on to the log and to copies in the making, so no command can forget them. A key is moved to
//! another one by [`Edit::take`] and [`Edit::put_back`], never by two edits at once.
//!
//! A view cannot outlive the lock it was taken under:
//!
//! ```compile_fail,E0505
//! use ringfort::store::{Access, Db, Key, Locked, Shard};
//! use ringfort_cluster::ShardId;
//! let shard = std::sync::Mutex::new(Shard::new(ShardId(0), 16384));
//! let mut guard = shard.lock().expect("not poisoned");
//! let mut locked = [&mut *guard];
//! let db = Db::new(Locked::new(&mut locked, 16384), 0, 0, Access::default());
//! let view = db.read(Key::new(b"k", 0));
//! drop(guard);
//! drop(view);
//! ```

use std::{cell::Cell, ops::Range};

use super::{
    copy::Position,
    entry::{Entry, Over},
    evict::Access,
    key::Key,
    log::put_record,
    shard::{Core, Place, Role, Shard, entry_of},
    value::{Form, Kind, Object, Value, splice_shared},
};

/// The locked shards of one command, in ascending order.
pub struct Locked<'a> {
    shards: &'a mut [&'a mut Shard],
    slots_per_shard: u16,
}

impl<'a> Locked<'a> {
    /// Takes shards that are sorted by their number.
    pub fn new(shards: &'a mut [&'a mut Shard], slots_per_shard: u16) -> Self {
        Self { shards, slots_per_shard }
    }

    fn index(&self, slot: u16) -> usize {
        if self.shards.len() == 1 {
            return 0;
        }
        let id = slot / self.slots_per_shard;
        let index = self.shards.binary_search_by_key(&id, |shard| shard.core.id.0);
        index.expect("the shards of all keys of a command are locked")
    }
}

/// The locked data of one command, in one database.
pub struct Db<'a> {
    locked: Locked<'a>,
    /// The number of the database.
    pub number: u8,
    /// The time, in Unix milliseconds; 0 where effects are applied, so that nothing expires by this node's clock.
    pub now: u64,
    access: Access,
    lookups: Lookups,
}

/// How many look-ups of reads have found their key, and how many have not: INFO's `keyspace_hits` and
/// `keyspace_misses`. What opens a key to change it does not count, unless it also returns what was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    hits: Cell<u64>,
    misses: Cell<u64>,
}

impl Lookups {
    fn count(&self, found: bool) {
        let counter = if found { &self.hits } else { &self.misses };
        counter.set(counter.get() + 1);
    }

    /// Counts what others have counted, too.
    pub fn add(&self, other: &Self) {
        self.hits.set(self.hits.get() + other.hits.get());
        self.misses.set(self.misses.get() + other.misses.get());
    }

    /// Hits and misses since this was last asked.
    pub fn take(&self) -> (u64, u64) {
        (self.hits.take(), self.misses.take())
    }
}

impl<'a> Db<'a> {
    /// Opens database `number` of the locked shards.
    pub fn new(locked: Locked<'a>, number: u8, now: u64, access: Access) -> Self {
        Self { locked, number, now, access, lookups: Lookups::default() }
    }

    /// What the look-ups so far have found.
    pub fn lookups(&self) -> &Lookups {
        &self.lookups
    }

    /// The value of a key, if it has one and its time is not over. Marks it as used.
    pub fn read(&self, key: Key<'_>) -> Option<Value<'_>> {
        let entry = self.looked_up(key)?;
        self.access.touch(&entry.clock);
        Some(entry.value())
    }

    /// The same without marking it as used: what OBJECT, TYPE and TTL do.
    pub fn peek(&self, key: Key<'_>) -> Option<Peek<'_>> {
        Some(Peek { entry: self.looked_up(key)?, access: self.access })
    }

    /// The same without being counted as a look-up either: what MEMORY USAGE does, and nodes among themselves.
    pub fn inspect(&self, key: Key<'_>) -> Option<Peek<'_>> {
        Some(Peek { entry: self.entry(key)?, access: self.access })
    }

    /// A copy of a value of its own, to be [put](Edit::put_back) elsewhere.
    pub fn copy(&self, key: Key<'_>) -> Option<Taken> {
        let entry = self.looked_up(key)?;
        self.access.touch(&entry.clock);
        let entry = entry.clone();
        entry.clock.set(self.access.fresh());
        Some(Taken { entry })
    }

    fn looked_up(&self, key: Key<'_>) -> Option<&Entry> {
        let entry = self.entry(key);
        self.lookups.count(entry.is_some());
        entry
    }

    fn entry(&self, key: Key<'_>) -> Option<&Entry> {
        let shard = &self.locked.shards[self.locked.index(key.slot)];
        let entry = shard.entry(self.number, shard.lookup(self.number, key)?);
        (!entry.is_over(self.now)).then_some(entry)
    }

    /// Whether any of the locked shards is a copy of another node's: what only reads must leave nothing in it then.
    pub fn is_copy(&self) -> bool {
        self.locked.shards.iter().any(|shard| shard.core.role == Role::Replica)
    }

    /// Opens a key for change. A key whose time is over is removed first.
    pub fn edit<'k>(&mut self, key: Key<'k>) -> Edit<'_, 'k> {
        self.edit_in(self.number, key)
    }

    /// Opens a key of another database for change: for MOVE and COPY.
    pub fn edit_in<'k>(&mut self, db: u8, key: Key<'k>) -> Edit<'_, 'k> {
        let index = self.locked.index(key.slot);
        let shard = &mut *self.locked.shards[index];
        let (place, access, lookups) = (shard.lookup(db, key), self.access, &self.lookups);
        let over = place.map_or(Over::No, |place| shard.entry(db, place).over(self.now));
        let mut edit = Edit { shard, db, key, place, access, lookups, noted: false };
        if over != Over::No && edit.remove() {
            edit.log(&[b"DEL", key.bytes]);
            edit.shard.core.count_expired(over);
        }
        edit
    }

    /// The locked shards, in ascending order: for commands that work on all keys of each.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.locked.shards.iter().map(|shard| &**shard)
    }

    /// The locked shards, to change as a whole.
    pub fn shards_mut(&mut self) -> impl Iterator<Item = &mut Shard> {
        self.locked.shards.iter_mut().map(|shard| &mut **shard)
    }

    /// Notes an effect on one key in its shard's log.
    pub fn log(&mut self, key: Key<'_>, effect: &[&[u8]]) {
        let index = self.locked.index(key.slot);
        let db = self.number;
        self.locked.shards[index].core.log_effect(db, Some(key), effect.iter().copied());
    }

    /// Notes a command, as it came, as the effect on its one key.
    pub fn log_command<'c>(
        &mut self,
        key: Key<'_>,
        command: impl ExactSizeIterator<Item = &'c [u8]> + Clone,
    ) {
        let index = self.locked.index(key.slot);
        let db = self.number;
        self.locked.shards[index].core.log_effect(db, Some(key), command);
    }
}

impl Core {
    /// Appends an effect on one key (`None`: on all keys of the database) to the log, and passes it on to copies.
    pub fn log_effect<'c>(
        &mut self,
        db: u8,
        key: Option<Key<'_>>,
        effect: impl ExactSizeIterator<Item = &'c [u8]> + Clone,
    ) {
        if !self.copies.is_empty() {
            let mut record = Vec::new();
            put_record(&mut record, db, effect.clone());
            let at = key.map(|key| Position { slot: key.slot, db, hash: key.hash });
            self.copies.pass(at, &record);
        }
        self.log.append(db, effect);
    }
}

/// A live entry, seen without being used.
pub struct Peek<'s> {
    entry: &'s Entry,
    access: Access,
}

impl<'s> Peek<'s> {
    /// Its value.
    pub fn value(&self) -> Value<'s> {
        self.entry.value()
    }

    /// Its deadline in Unix milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.entry.deadline()
    }

    /// Milliseconds since it was last used; meaningless under an LFU policy.
    pub fn idle_ms(&self) -> u64 {
        self.access.idle_ms(self.entry.clock.get())
    }

    /// How often it is used, on a logarithmic scale of 0 to 255; meaningless unless the policy is an LFU one.
    pub fn frequency(&self) -> u8 {
        self.access.frequency(self.entry.clock.get())
    }

    /// Bytes of memory that the key and its value take.
    pub fn heap_bytes(&self) -> usize {
        self.entry.heap_bytes() + size_of::<Entry>()
    }

    /// Marks it as used now: for TOUCH.
    pub fn touch(&self) {
        self.access.touch(&self.entry.clock);
    }
}

/// A value that was taken out of its key: see [`Edit::take`].
pub struct Taken {
    entry: Entry,
}

impl Taken {
    /// The value.
    pub fn value(&self) -> Value<'_> {
        self.entry.value()
    }

    /// Its deadline in Unix milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.entry.deadline()
    }
}

/// One key under change: vacant or occupied.
pub struct Edit<'s, 'k> {
    shard: &'s mut Shard,
    db: u8,
    key: Key<'k>,
    place: Option<Place>,
    access: Access,
    lookups: &'s Lookups,
    /// Those who wait for the key have been told.
    noted: bool,
}

impl<'k> Edit<'_, 'k> {
    /// Its value, for a command that also returns it: counted as a look-up of a read.
    pub fn read(&self) -> Option<Value<'_>> {
        self.lookups.count(self.place.is_some());
        self.value()
    }

    /// Its value, or `None` where there is no such key.
    pub fn value(&self) -> Option<Value<'_>> {
        Some(self.shard.value(self.db, self.place?))
    }

    /// The type of its value.
    pub fn kind(&self) -> Option<Kind> {
        self.value().map(|value| value.kind())
    }

    /// Its deadline in Unix milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        self.shard.entry(self.db, self.place?).deadline()
    }

    /// Gives the key a small value (or a string of any length), with this deadline, whatever it held before.
    pub fn put(&mut self, form: Form, value: &[&[u8]], deadline: Option<u64>) {
        self.put_entry(entry_of(self.key, self.clock(), deadline, form, value));
    }

    /// Gives the key a large value, with this deadline, whatever it held before.
    pub fn put_object(&mut self, object: Object, deadline: Option<u64>) {
        let (hash, clock) = (self.key.hash, self.clock());
        self.put_entry(Entry::large(hash, self.key.bytes, clock, deadline, object));
    }

    /// Gives the key a value that was taken from another one, with its deadline.
    pub fn put_back(&mut self, taken: Taken) {
        let deadline = taken.entry.deadline();
        let entry = match taken.entry.value() {
            Value::Str(bytes) => entry_of(self.key, taken.entry.clock.get(), deadline, Form::Str, &[bytes]),
            Value::Packed(form, bytes) => {
                entry_of(self.key, taken.entry.clock.get(), deadline, form, &[bytes])
            }
            Value::Shared(_) | Value::Big(_) => {
                let clock = taken.entry.clock.get();
                let object = taken.entry.into_object().expect("a value of its own");
                Entry::large(self.key.hash, self.key.bytes, clock, deadline, object)
            }
        };
        self.put_entry(entry);
    }

    fn put_entry(&mut self, entry: Entry) {
        self.mark();
        match self.place {
            None => self.place = Some(self.shard.insert(self.db, self.key, entry)),
            Some(place) => {
                let old = self.shard.replace(self.db, place, entry);
                self.shard.core.drop_later(old);
            }
        }
    }

    /// Replaces bytes of a small value, or of a string of any length.
    ///
    /// # Panics
    /// If the key is vacant, holds a large collection, or has no such bytes.
    pub fn splice(&mut self, cut: Range<usize>, with: &[&[u8]]) {
        self.mark();
        let place = self.occupied();
        let len = |bytes: &[u8]| bytes.len() - cut.len() + with.iter().map(|part| part.len()).sum::<usize>();
        let entry = self.shard.entry(self.db, place);
        match entry.value() {
            Value::Str(bytes) if len(bytes) > super::value::INLINE_STRING => {
                self.splice_string(bytes.to_vec(), cut, with);
            }
            Value::Shared(bytes) if len(bytes) > super::value::INLINE_STRING => {
                self.access.touch(&entry.clock);
                self.shard.object(self.db, place, |object| {
                    if let Object::Str(bytes) = object {
                        splice_shared(bytes, cut, with);
                    }
                });
            }
            Value::Shared(bytes) => self.splice_string(bytes.to_vec(), cut, with),
            _ => {
                self.access.touch(&entry.clock);
                self.shard.splice(self.db, place, cut, with);
            }
        }
    }

    fn splice_string(&mut self, mut bytes: Vec<u8>, cut: Range<usize>, with: &[&[u8]]) {
        bytes.splice(cut, with.iter().flat_map(|part| part.iter().copied()));
        let deadline = self.deadline();
        let clock = self.clock();
        let entry = if bytes.len() > super::value::INLINE_STRING {
            Entry::large(self.key.hash, self.key.bytes, clock, deadline, Object::Str(bytes.into()))
        } else {
            entry_of(self.key, clock, deadline, Form::Str, &[&bytes])
        };
        let place = self.occupied();
        let old = self.shard.replace(self.db, place, entry);
        self.shard.core.drop_later(old);
    }

    /// Makes a large value of a small one, or replaces the value by this one; the deadline stays.
    pub fn promote(&mut self, object: Object) {
        self.put_object(object, self.deadline());
    }

    /// Changes a large collection. The account of memory follows.
    ///
    /// # Panics
    /// If the key is vacant or holds a small value.
    pub fn object<R>(&mut self, change: impl FnOnce(&mut Object) -> R) -> R {
        self.mark();
        let place = self.occupied();
        self.access.touch(&self.shard.entry(self.db, place).clock);
        self.shard.object(self.db, place, change).expect("only large values are changed as objects")
    }

    /// Sets or clears the deadline of an occupied key.
    pub fn set_deadline(&mut self, deadline: Option<u64>) {
        if let Some(place) = self.place {
            self.mark();
            self.shard.set_deadline(self.db, place, deadline);
        }
    }

    /// Lets an occupied key be one that was last used so many milliseconds ago. Under an LFU policy that is not kept.
    pub fn set_idle(&mut self, ms: u64) {
        if !self.access.lfu {
            self.set_clock(self.access.idle_since(ms));
        }
    }

    /// Lets an occupied key be one that is so much in use, on a logarithmic scale. That is kept under LFU policies only.
    pub fn set_frequency(&mut self, frequency: u8) {
        if self.access.lfu {
            self.set_clock(self.access.used(frequency));
        }
    }

    fn set_clock(&self, clock: u32) {
        if let Some(place) = self.place {
            self.shard.entry(self.db, place).clock.set(clock);
        }
    }

    /// Removes the key. Returns whether there was one.
    pub fn remove(&mut self) -> bool {
        let Some(place) = self.place.take() else {
            return false;
        };
        self.mark();
        let entry = self.shard.remove(self.db, place);
        self.shard.core.drop_later(entry);
        true
    }

    /// Removes the key and hands its value over.
    pub fn take(&mut self) -> Option<Taken> {
        let place = self.place.take()?;
        self.mark();
        Some(Taken { entry: self.shard.remove(self.db, place) })
    }

    /// Drops a value that was taken, off the request path if it is large.
    pub fn discard(&mut self, taken: Taken) {
        self.shard.core.drop_later(taken.entry);
    }

    /// Notes that so many fields were removed because their time was over.
    pub fn count_expired_fields(&mut self, fields: usize) {
        self.shard.core.count_expired(Over::Fields(fields));
    }

    /// Notes an effect on this key in its shard's log. The command answers [`super::super::commands::Done::Logged`].
    pub fn log(&mut self, effect: &[&[u8]]) {
        self.shard.core.log_effect(self.db, Some(self.key), effect.iter().copied());
    }

    /// The key.
    pub fn key(&self) -> Key<'k> {
        self.key
    }

    /// The clock of the entry that is to come: a key that gets another value goes on being as old, or as much in use,
    /// as it was.
    fn clock(&self) -> u32 {
        match self.place {
            None => self.access.fresh(),
            Some(place) => {
                let clock = &self.shard.entry(self.db, place).clock;
                self.access.touch(clock);
                clock.get()
            }
        }
    }

    fn occupied(&self) -> Place {
        self.place.expect("only occupied keys are changed in place")
    }

    /// The one place where a change is noticed.
    fn mark(&mut self) {
        self.shard.core.changes += 1;
        if !std::mem::replace(&mut self.noted, true) {
            self.shard.core.note_change(self.db, self.key);
        }
    }
}

impl Core {
    /// Values that own at least this many bytes are dropped off the request path.
    const DROP_LATER: usize = 64 << 10;

    pub(super) fn drop_later(&mut self, entry: Entry) {
        if let Some(object) = entry.into_object()
            && object.heap_bytes() >= Self::DROP_LATER
        {
            self.dropped.push(object);
        }
    }
}
