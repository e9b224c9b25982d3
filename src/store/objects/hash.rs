//! Hashes: the large form, and how both forms are read.
//!
//! A large hash keeps its fields in the order of their own hashes, so a position of HSCAN is a hash and keeps its
//! meaning however the value grows, or moves to another node in between. A field and its value lie in one piece of
//! memory: the field's length (one byte, or 255 and four), the field, the value.
//!
//! A field may have a deadline. It then stands before the length, behind a mark: 255 and a length of 0, which no field
//! that is so short is written with. [`deadlines`] has all of them in order. A hash whose fields have none pays nothing
//! for it, and a packed run has none: it becomes large with its first.
//!
//! [`struct@Hash`] knows no time: to it a field is there until it is removed. [`HashRef`] hides what is over.

mod deadlines;

use self::deadlines::Deadlines;
use super::place;
use crate::store::{
    entry::allocated,
    key,
    ordered::{self, Ordered},
    packed::{self, Item},
    value::{Form, Object, Value},
};

/// An effect names no further field that is over when the names have so many bytes.
const EFFECT_BYTES: usize = 64 << 10;

/// What a field costs in its table, in bytes.
const PLACE: usize = place(size_of::<Field>());

/// A large hash.
#[derive(Clone, Debug)]
pub struct Hash {
    fields: Ordered<Field>,
    seed: u64,
    bytes: usize,
    /// `None` where no field has a deadline.
    deadlines: Option<Box<Deadlines>>,
}

/// What becomes of a field's deadline when the field gets a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// It has none.
    Forever,
    /// It stays as it is.
    AsBefore,
    /// It is this one, in Unix milliseconds.
    Until(u64),
}

/// A field as it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Its name.
    pub field: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// When it ends, in Unix milliseconds.
    pub deadline: Option<u64>,
}

impl Parts<'_> {
    fn is_over(&self, now: u64) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= now)
    }
}

#[derive(Clone, Debug)]
struct Field {
    hash: u32,
    body: Box<[u8]>,
}

impl ordered::Item for Field {
    type Note = ();

    fn hash(&self) -> u32 {
        self.hash
    }
}

impl Field {
    /// A field's length from which it takes more than one byte.
    const LONG: usize = 255;

    /// Bytes that a deadline takes, its mark included.
    const DATED: usize = 13;

    fn new(hash: u32, parts: Parts<'_>) -> Self {
        let Parts { field, value, deadline } = parts;
        let long = field.len() >= Self::LONG;
        let head = if long { 5 } else { 1 } + if deadline.is_some() { Self::DATED } else { 0 };
        let mut body = Vec::with_capacity(head + field.len() + value.len());
        if let Some(deadline) = deadline {
            body.extend([Self::LONG as u8, 0, 0, 0, 0]);
            body.extend_from_slice(&deadline.to_le_bytes());
        }
        if long {
            body.push(Self::LONG as u8);
            body.extend_from_slice(&(field.len() as u32).to_le_bytes());
        } else {
            body.push(field.len() as u8);
        }
        body.extend_from_slice(field);
        body.extend_from_slice(value);
        Self { hash, body: body.into_boxed_slice() }
    }

    fn parts(&self) -> Parts<'_> {
        let (body, deadline) = match &self.body[..] {
            [255, 0, 0, 0, 0, a, b, c, d, e, f, g, h, body @ ..] => {
                (body, Some(u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h])))
            }
            body => (body, None),
        };
        let (head, len) = match body[0] {
            255 => (5, u32::from_le_bytes([body[1], body[2], body[3], body[4]]) as usize),
            len => (1, usize::from(len)),
        };
        let (field, value) = body[head..].split_at(len);
        Parts { field, value, deadline }
    }

    fn heap_bytes(&self) -> usize {
        allocated(self.body.len()) + PLACE
    }
}

impl Hash {
    /// An empty hash whose fields are ordered by this seed.
    pub fn new(seed: u64) -> Self {
        Self { fields: Ordered::default(), seed, bytes: 0, deadlines: None }
    }

    /// A hash of the fields and values of a packed run.
    pub fn of(run: &[u8], seed: u64) -> Self {
        let mut hash = Self::new(seed);
        let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
        for (field, value) in packed::pairs(run) {
            hash.set(field.as_bytes(&mut a), value.as_bytes(&mut b), Lasts::Forever);
        }
        hash
    }

    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A field with its value.
    pub fn get(&self, field: &[u8]) -> Option<Parts<'_>> {
        let pos = self.find(key::hash(field, self.seed), field)?;
        Some(self.fields.get(pos).parts())
    }

    /// Gives a field a value. Returns whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8], lasts: Lasts) -> bool {
        let hash = key::hash(field, self.seed);
        let pos = self.find(hash, field);
        let old = pos.and_then(|pos| self.fields.get(pos).parts().deadline);
        let deadline = match lasts {
            Lasts::Forever => None,
            Lasts::AsBefore => old,
            Lasts::Until(deadline) => Some(deadline),
        };
        let new = Field::new(hash, Parts { field, value, deadline });
        match pos {
            Some(pos) => self.replace(pos, new, old, deadline),
            None => {
                self.bytes += new.heap_bytes();
                self.fields.insert(new);
                self.move_deadline(hash, None, deadline);
            }
        }
        pos.is_none()
    }

    /// Gives a field a deadline, or takes it away. Returns whether there is such a field.
    pub fn set_deadline(&mut self, field: &[u8], deadline: Option<u64>) -> bool {
        let hash = key::hash(field, self.seed);
        let Some(pos) = self.find(hash, field) else { return false };
        let parts = self.fields.get(pos).parts();
        let old = parts.deadline;
        if old != deadline {
            let new = Field::new(hash, Parts { deadline, ..parts });
            self.replace(pos, new, old, deadline);
        }
        true
    }

    fn replace(&mut self, pos: ordered::Pos, field: Field, old: Option<u64>, new: Option<u64>) {
        let hash = field.hash;
        self.bytes += field.heap_bytes();
        let before = std::mem::replace(self.fields.get_mut(pos), field);
        self.bytes -= before.heap_bytes();
        self.move_deadline(hash, old, new);
    }

    /// Takes a field out. Returns whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let hash = key::hash(field, self.seed);
        let Some(pos) = self.find(hash, field) else { return false };
        let field = self.fields.remove(pos);
        self.bytes -= field.heap_bytes();
        self.move_deadline(hash, field.parts().deadline, None);
        true
    }

    /// A field with this hash has another deadline than before.
    fn move_deadline(&mut self, hash: u32, old: Option<u64>, new: Option<u64>) {
        if old == new {
            return;
        }
        let deadlines = self.deadlines.get_or_insert_with(|| {
            self.bytes += size_of::<Deadlines>();
            Box::new(Deadlines::new())
        });
        if let Some(old) = old {
            deadlines.remove(old, hash);
            self.bytes -= Deadlines::COST;
        }
        if let Some(new) = new {
            deadlines.add(new, hash);
            self.bytes += Deadlines::COST;
        }
        if deadlines.len() == 0 {
            self.deadlines = None;
            self.bytes -= size_of::<Deadlines>();
        }
    }

    /// The soonest deadline of a field; `u64::MAX` if none has one.
    pub fn soonest(&self) -> u64 {
        self.deadlines.as_ref().map_or(u64::MAX, |deadlines| deadlines.soonest())
    }

    /// How many fields have a deadline.
    fn dated_len(&self) -> usize {
        self.deadlines.as_ref().map_or(0, |deadlines| deadlines.len())
    }

    /// How many fields are over at `now`. O(1), and once O(1) for each that is.
    pub fn due(&self, now: u64) -> usize {
        self.deadlines.as_ref().map_or(0, |deadlines| deadlines.due(now))
    }

    /// Whether all fields are over at `now`.
    pub fn is_over(&self, now: u64) -> bool {
        self.deadlines.as_ref().is_some_and(|deadlines| {
            deadlines.soonest() <= now
                && deadlines.len() == self.len()
                && deadlines.last().is_some_and(|last| last <= now)
        })
    }

    /// Takes out up to `most` of the fields that are over at `now`, but no more than one effect is to name, and returns
    /// their names: none only if none is over.
    pub fn take_due(&mut self, now: u64, most: usize) -> Vec<Vec<u8>> {
        let due = self.dated().take_while(|parts| parts.is_over(now)).take(most);
        let mut bytes = 0;
        let named = due.take_while(|parts| {
            let has_room = bytes < EFFECT_BYTES;
            bytes += parts.field.len();
            has_room
        });
        let names: Vec<Vec<u8>> = named.map(|parts| parts.field.to_vec()).collect();
        names.iter().for_each(|name| _ = self.remove(name));
        names
    }

    /// The fields with a deadline, the soonest first.
    pub fn dated(&self) -> impl Iterator<Item = Parts<'_>> {
        let points = self.deadlines.iter().flat_map(|deadlines| deadlines.iter());
        points.filter_map(|&(deadline, hash, number)| {
            let same_hash = self.fields.iter_from(hash).take_while(move |field| field.hash == hash);
            let mut alike = same_hash.map(Field::parts).filter(|parts| parts.deadline == Some(deadline));
            alike.nth(number as usize)
        })
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = Parts<'_>> {
        self.fields.iter().map(Field::parts)
    }

    /// Visits at least `count` fields, if there are so many, from the hash `from` on. Returns where to go on.
    pub fn scan<'a>(&'a self, from: u32, count: usize, mut visit: impl FnMut(Parts<'a>)) -> Option<u32> {
        self.fields.scan(from, count, |field| visit(field.parts()))
    }

    /// A field chosen evenly by `random`, which gives 64 bits at each call.
    fn sample(&self, random: impl FnMut() -> u64) -> Option<Parts<'_>> {
        Some(self.fields.get(self.fields.sample(random)?).parts())
    }

    fn find(&self, hash: u32, field: &[u8]) -> Option<ordered::Pos> {
        self.fields.find(hash, |item| item.parts().field == field)
    }
}

/// A hash of either form at one instant, to read: what is over by then is not there.
///
/// What a large one gives is always [`Item::Bytes`], also where a packed run would hold an integer.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    /// A packed run.
    Small(&'a [u8]),
    /// A large hash, and the time in Unix milliseconds.
    Large(&'a Hash, u64),
}

impl<'a> HashRef<'a> {
    /// The hash that a value is at `now`, if it is one; at 0 with all its fields.
    pub fn of(value: Value<'a>, now: u64) -> Option<Self> {
        match value {
            Value::Packed(Form::Hash, run) => Some(Self::Small(run)),
            Value::Big(Object::Hash(hash)) => Some(Self::Large(hash, now)),
            _ => None,
        }
    }

    /// Number of fields.
    pub fn len(self) -> usize {
        match self {
            Self::Small(run) => packed::count(run) / 2,
            Self::Large(hash, now) => hash.len() - hash.due(now),
        }
    }

    /// Whether there are none: never, for a hash that a key holds.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    #[inline]
    pub fn get(self, field: &[u8]) -> Option<Item<'a>> {
        Some(self.find(field)?.0)
    }

    /// The value of a field, and its deadline in Unix milliseconds.
    #[inline]
    pub fn find(self, field: &[u8]) -> Option<(Item<'a>, Option<u64>)> {
        match self {
            Self::Small(run) => {
                let found = packed::find(run, field, 2)?;
                Some((packed::after(run, &found)?.value, None))
            }
            Self::Large(hash, now) => {
                let parts = hash.get(field).filter(|parts| !parts.is_over(now))?;
                Some((Item::Bytes(parts.value), parts.deadline))
            }
        }
    }

    /// Visits all fields with their values.
    pub fn each(self, mut visit: impl FnMut(Item<'a>, Item<'a>)) {
        self.each_dated(|field, value, _| visit(field, value));
    }

    /// Visits all fields with their values and deadlines.
    pub fn each_dated(self, mut visit: impl FnMut(Item<'a>, Item<'a>, Option<u64>)) {
        match self {
            Self::Small(run) => packed::pairs(run).for_each(|(field, value)| visit(field, value, None)),
            Self::Large(hash, now) => {
                let live = hash.iter().filter(|parts| !parts.is_over(now));
                live.for_each(|parts| {
                    visit(Item::Bytes(parts.field), Item::Bytes(parts.value), parts.deadline)
                });
            }
        }
    }

    /// Whether any field has a deadline.
    pub fn is_dated(self) -> bool {
        match self {
            Self::Small(_) => false,
            Self::Large(hash, now) => hash.due(now) < hash.dated_len(),
        }
    }

    /// Visits the fields that have a deadline, with it, the soonest first.
    pub fn each_deadline(self, mut visit: impl FnMut(&'a [u8], u64)) {
        if let Self::Large(hash, now) = self {
            for Parts { field, deadline, .. } in hash.dated() {
                deadline.into_iter().filter(|deadline| *deadline > now).for_each(|at| visit(field, at));
            }
        }
    }

    /// Visits at least `count` fields, if there are so many, from the hash `from` on; what is over is counted and not
    /// shown, and a packed run is visited as a whole. Returns where to go on.
    pub fn scan(self, from: u32, count: usize, mut visit: impl FnMut(Item<'a>, Item<'a>)) -> Option<u32> {
        match self {
            Self::Small(_) => {
                self.each(visit);
                None
            }
            Self::Large(hash, now) => hash.scan(from, count, |parts| {
                if !parts.is_over(now) {
                    visit(Item::Bytes(parts.field), Item::Bytes(parts.value));
                }
            }),
        }
    }

    /// Something to draw fields from so often. A draw of what is over is in vain, so each costs the more draws the fewer
    /// fields are left, until what is over is removed; where all would cost more than to look at every field, those that
    /// are left are listed.
    pub fn urn(self, draws: usize) -> Urn<'a> {
        match self {
            Self::Large(hash, now) if hash.due(now) > hash.len() / 2 && draws >= self.len() => self.listed(),
            _ => Urn::Whole(self),
        }
    }

    fn listed(self) -> Urn<'a> {
        let mut fields = Vec::with_capacity(self.len());
        self.each(|field, value| fields.push((field, value)));
        Urn::Listed(fields)
    }
}

/// Fields of a hash, to be drawn by chance.
pub enum Urn<'a> {
    /// Straight from the hash.
    Whole(HashRef<'a>),
    /// From a list of those that are there.
    Listed(Vec<(Item<'a>, Item<'a>)>),
}

impl<'a> Urn<'a> {
    /// A field chosen evenly by `random`, which gives 64 bits at each call; `None` if there are none.
    pub fn draw(&self, mut random: impl FnMut() -> u64) -> Option<(Item<'a>, Item<'a>)> {
        let mut below = |len: usize| ((u128::from(random()) * len as u128) >> 64) as usize;
        match self {
            Self::Whole(HashRef::Small(run)) => {
                let field = packed::get(run, below(packed::count(run) / 2) * 2)?;
                Some((field.value, packed::after(run, &field)?.value))
            }
            Self::Whole(HashRef::Large(hash, now)) => loop {
                let parts = hash.sample(&mut random)?;
                if !parts.is_over(*now) {
                    return Some((Item::Bytes(parts.field), Item::Bytes(parts.value)));
                }
            },
            Self::Listed(fields) => fields.get(below(fields.len())).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>;

    fn bytes_of(hash: &Hash) -> usize {
        let dated = hash.iter().filter(|parts| parts.deadline.is_some()).count();
        let index = if dated == 0 { 0 } else { size_of::<Deadlines>() };
        hash.fields.iter().map(Field::heap_bytes).sum::<usize>() + index + dated * Deadlines::COST
    }

    fn assert_same(hash: &Hash, model: &Model) {
        let all: Model = hash.iter().map(|p| (p.field.to_vec(), (p.value.to_vec(), p.deadline))).collect();
        assert_eq!(&all, model);
        let dated: Vec<u64> = hash.dated().map(|parts| parts.deadline.unwrap()).collect();
        assert!(dated.is_sorted());
        let named: std::collections::BTreeSet<_> = hash.dated().map(|parts| parts.field).collect();
        assert!(named.into_iter().eq(model.iter().filter(|(_, v)| v.1.is_some()).map(|(field, _)| field)));
        assert_eq!(hash.soonest(), dated.first().copied().unwrap_or(u64::MAX));
        assert_eq!(hash.heap_bytes(), bytes_of(hash));
    }

    #[test]
    fn it_holds_what_a_map_holds_and_counts_its_bytes() {
        let (mut hash, mut model) = (Hash::new(7), Model::new());
        let mut state = 1u64;
        for round in 0..20_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round | 1);
            let number = state >> 54;
            let field = vec![b'f'; (number % 400) as usize];
            let field = [&number.to_le_bytes()[..], &field].concat();
            // Few deadlines, so that many fields share one.
            let deadline = state >> 40 & 15;
            match state >> 20 & 7 {
                0 => assert_eq!(hash.remove(&field), model.remove(&field).is_some()),
                1 | 2 => {
                    let deadline = (deadline > 3).then_some(deadline);
                    let found = model.get_mut(&field).map(|entry| entry.1 = deadline).is_some();
                    assert_eq!(hash.set_deadline(&field, deadline), found);
                }
                3 if deadline == 0 => {
                    let most = (state >> 30 & 31) as usize;
                    let gone = hash.take_due(5, most);
                    let due = model.values().filter(|entry| entry.1.is_some_and(|at| at <= 5)).count();
                    assert_eq!(gone.len(), due.min(most));
                    assert!(gone.iter().all(|name| model.remove(name).unwrap().1.unwrap() <= 5));
                }
                _ => {
                    let value = vec![b'v'; (state >> 30 & 127) as usize];
                    let before = model.get(&field).and_then(|entry| entry.1);
                    let (lasts, after) = match deadline {
                        0..6 => (Lasts::Forever, None),
                        6..11 => (Lasts::AsBefore, before),
                        _ => (Lasts::Until(deadline), Some(deadline)),
                    };
                    let new = model.insert(field.clone(), (value.clone(), after)).is_none();
                    assert_eq!(hash.set(&field, &value, lasts), new);
                }
            }
            let found = hash.get(&field).map(|parts| (parts.value.to_vec(), parts.deadline));
            assert_eq!(found.as_ref(), model.get(&field));
            assert_eq!(hash.len(), model.len());
            if round % 500 == 0 {
                assert_same(&hash, &model);
                let due =
                    |now: u64| move |entry: &&(Vec<u8>, Option<u64>)| entry.1.is_some_and(|at| at <= now);
                for now in 0..16 {
                    assert_eq!(hash.due(now), model.values().filter(due(now)).count());
                }
            }
        }
        assert_same(&hash, &model);
        model.keys().for_each(|field| assert!(hash.remove(field)));
        assert_eq!((hash.heap_bytes(), hash.is_empty(), hash.soonest()), (0, true, u64::MAX));
    }

    #[test]
    fn a_hash_without_deadlines_pays_nothing_for_them() {
        assert_eq!(size_of::<Object>(), size_of::<crate::store::objects::zset::ZSet>(), "the largest of all");
        let mut hash = Hash::new(0);
        for len in [0, 1, 254, 255, 70_000] {
            let (before, field) = (hash.heap_bytes(), vec![b'f'; len]);
            hash.set(&field, b"value", Lasts::Forever);
            let head = if len < 255 { 1 } else { 5 };
            assert_eq!(hash.heap_bytes() - before, allocated(head + len + 5) + PLACE);
            let plain = hash.heap_bytes();
            hash.set_deadline(&field, Some(1));
            assert_eq!(hash.get(&field), Some(Parts { field: &field, value: b"value", deadline: Some(1) }));
            assert!(hash.heap_bytes() > plain);
            hash.set_deadline(&field, None);
            assert_eq!(hash.heap_bytes(), plain);
        }
    }

    #[test]
    fn fields_of_one_hash_and_deadline_are_all_found() {
        let mut hash = Hash::new(0);
        for number in 0..3u8 {
            // As if all three had the same hash.
            let parts = Parts { field: &[number], value: b"", deadline: Some(9) };
            hash.fields.insert(Field::new(77, parts));
            hash.move_deadline(77, None, Some(9));
        }
        let found: Vec<_> = hash.dated().map(|parts| parts.field[0]).collect();
        assert_eq!((found.len(), hash.due(9), hash.due(8)), (3, 3, 0));
        hash.move_deadline(77, Some(9), Some(5));
        assert_eq!((hash.soonest(), hash.due(8)), (5, 1));
    }

    #[test]
    fn what_is_over_is_hidden() {
        let mut hash = Hash::new(0);
        for number in 0..100u8 {
            hash.set(&[number], b"v", Lasts::Until(u64::from(number) + 1));
        }
        for (now, left) in [(0, 100), (1, 99), (30, 70), (90, 10), (99, 1)] {
            let object = Object::Hash(hash.clone());
            let view = HashRef::of(Value::Big(&object), now).unwrap();
            let mut shown = 0;
            view.each(|_, _| shown += 1);
            let mut scanned = 0;
            assert_eq!(view.scan(0, 1_000, |_, _| scanned += 1), None);
            let mut dated = 0;
            view.each_deadline(|field, at| {
                assert_eq!(u64::from(field[0]) + 1, at);
                dated += 1;
            });
            assert_eq!((view.len(), shown, scanned, dated), (left, left, left, left), "{now}");
            let last_over = now.checked_sub(1).map(|last| last as u8);
            assert!(last_over.is_none_or(|field| view.find(&[field]).is_none()));
            assert_eq!(view.find(&[now as u8]), Some((Item::Bytes(b"v"), Some(now + 1))));
            let (mut seen, mut random) = (std::collections::BTreeSet::new(), 1u64);
            let urn = view.urn(2_000);
            assert_eq!(matches!(urn, Urn::Listed(_)), left < 50);
            assert!(matches!(view.urn(left - 1), Urn::Whole(_)));
            for _ in 0..2_000 {
                let (field, _) = urn
                    .draw(|| {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        xxhash_rust::xxh3::xxh3_64(&random.to_le_bytes())
                    })
                    .unwrap();
                seen.insert(field.to_vec());
            }
            assert_eq!(seen.len(), left, "{now}");
            assert!(!hash.is_over(now));
        }
        assert!(hash.is_over(100));
        hash.set(b"stays", b"v", Lasts::Forever);
        assert!(!hash.is_over(100));
    }
}
