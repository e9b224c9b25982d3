//! Hashes: the large form, and how both forms are read.
//!
//! A large hash keeps its fields in the order of their own hashes, so a position of HSCAN is a hash and keeps its
//! meaning however the value grows, or moves to another node in between. A field and its value lie in one piece of
//! memory: the field's length (one byte, or 255 and four), the field, the value.

use super::place;
use crate::store::{
    entry::allocated,
    key,
    ordered::{self, Ordered},
    packed::{self, Item},
    value::{Form, Object, Value},
};

/// What a field costs in its table, in bytes.
const PLACE: usize = place(size_of::<Field>());

/// A large hash.
#[derive(Clone, Debug)]
pub struct Hash {
    fields: Ordered<Field>,
    seed: u64,
    bytes: usize,
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

    fn new(hash: u32, field: &[u8], value: &[u8]) -> Self {
        let long = field.len() >= Self::LONG;
        let mut body = Vec::with_capacity(if long { 5 } else { 1 } + field.len() + value.len());
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

    fn parts(&self) -> (&[u8], &[u8]) {
        let body = &self.body;
        let (head, len) = match body[0] {
            255 => (5, u32::from_le_bytes([body[1], body[2], body[3], body[4]]) as usize),
            len => (1, usize::from(len)),
        };
        body[head..].split_at(len)
    }

    fn heap_bytes(&self) -> usize {
        allocated(self.body.len()) + PLACE
    }
}

impl Hash {
    /// An empty hash whose fields are ordered by this seed.
    pub fn new(seed: u64) -> Self {
        Self { fields: Ordered::default(), seed, bytes: 0 }
    }

    /// A hash of the fields and values of a packed run.
    pub fn of(run: &[u8], seed: u64) -> Self {
        let mut hash = Self::new(seed);
        let (mut a, mut b) = (itoa::Buffer::new(), itoa::Buffer::new());
        for (field, value) in packed::pairs(run) {
            hash.set(field.as_bytes(&mut a), value.as_bytes(&mut b));
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

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&[u8]> {
        let pos = self.find(key::hash(field, self.seed), field)?;
        Some(self.fields.get(pos).parts().1)
    }

    /// Gives a field a value. Returns whether the field is new.
    pub fn set(&mut self, field: &[u8], value: &[u8]) -> bool {
        let hash = key::hash(field, self.seed);
        let new = Field::new(hash, field, value);
        self.bytes += new.heap_bytes();
        match self.find(hash, field) {
            Some(pos) => {
                let old = std::mem::replace(self.fields.get_mut(pos), new);
                self.bytes -= old.heap_bytes();
                false
            }
            None => {
                self.fields.insert(new);
                true
            }
        }
    }

    /// Takes a field out. Returns whether it was there.
    pub fn remove(&mut self, field: &[u8]) -> bool {
        let Some(pos) = self.find(key::hash(field, self.seed), field) else {
            return false;
        };
        self.bytes -= self.fields.remove(pos).heap_bytes();
        true
    }

    /// The fields with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(Field::parts)
    }

    /// Visits at least `count` fields, if there are so many, from the hash `from` on. Returns where to go on.
    pub fn scan<'a>(
        &'a self,
        from: u32,
        count: usize,
        mut visit: impl FnMut(&'a [u8], &'a [u8]),
    ) -> Option<u32> {
        self.fields.scan(from, count, |field| {
            let (field, value) = field.parts();
            visit(field, value);
        })
    }

    /// A field chosen evenly by `random`, which gives 64 bits at each call.
    pub fn sample(&self, random: impl FnMut() -> u64) -> Option<(&[u8], &[u8])> {
        Some(self.fields.get(self.fields.sample(random)?).parts())
    }

    fn find(&self, hash: u32, field: &[u8]) -> Option<ordered::Pos> {
        self.fields.find(hash, |item| item.parts().0 == field)
    }
}

/// A hash of either form, to read.
///
/// What a large one gives is always [`Item::Bytes`], also where a packed run would hold an integer.
#[derive(Clone, Copy)]
pub enum HashRef<'a> {
    /// A packed run.
    Small(&'a [u8]),
    /// A large hash.
    Large(&'a Hash),
}

impl<'a> HashRef<'a> {
    /// The hash that a value is, if it is one.
    pub fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Packed(Form::Hash, run) => Some(Self::Small(run)),
            Value::Big(Object::Hash(hash)) => Some(Self::Large(hash)),
            _ => None,
        }
    }

    /// Number of fields.
    pub fn len(self) -> usize {
        match self {
            Self::Small(run) => packed::count(run) / 2,
            Self::Large(hash) => hash.len(),
        }
    }

    /// Whether there are none: never, for a hash that a key holds.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of a field.
    #[inline]
    pub fn get(self, field: &[u8]) -> Option<Item<'a>> {
        match self {
            Self::Small(run) => {
                let found = packed::find(run, field, 2)?;
                packed::after(run, &found).map(|value| value.value)
            }
            Self::Large(hash) => hash.get(field).map(Item::Bytes),
        }
    }

    /// Visits all fields with their values.
    pub fn each(self, mut visit: impl FnMut(Item<'a>, Item<'a>)) {
        match self {
            Self::Small(run) => packed::pairs(run).for_each(|(field, value)| visit(field, value)),
            Self::Large(hash) => {
                hash.iter().for_each(|(field, value)| visit(Item::Bytes(field), Item::Bytes(value)))
            }
        }
    }

    /// A field chosen evenly by `random`, which gives 64 bits at each call.
    pub fn sample(self, mut random: impl FnMut() -> u64) -> Option<(Item<'a>, Item<'a>)> {
        match self {
            Self::Small(run) => {
                let index = ((u128::from(random()) * self.len() as u128) >> 64) as usize;
                let field = packed::get(run, index * 2)?;
                Some((field.value, packed::after(run, &field)?.value))
            }
            Self::Large(hash) => {
                let (field, value) = hash.sample(random)?;
                Some((Item::Bytes(field), Item::Bytes(value)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_holds_what_a_map_holds_and_counts_its_bytes() {
        let (mut hash, mut map) = (Hash::new(7), BTreeMap::new());
        let mut state = 1u64;
        for round in 0..20_000u64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round | 1);
            let number = state >> 54;
            let field = vec![b'f'; (number % 400) as usize];
            let field = [&number.to_le_bytes()[..], &field].concat();
            if state >> 20 & 3 == 0 {
                assert_eq!(hash.remove(&field), map.remove(&field).is_some());
            } else {
                let value = vec![b'v'; (state >> 30 & 127) as usize];
                assert_eq!(hash.set(&field, &value), map.insert(field.clone(), value).is_none());
            }
            assert_eq!(hash.get(&field), map.get(&field).map(|value| &value[..]));
            assert_eq!(hash.len(), map.len());
        }
        let all: BTreeMap<_, _> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
        assert_eq!(all, map);
        assert_eq!(hash.heap_bytes(), hash.fields.iter().map(Field::heap_bytes).sum::<usize>());
        all.keys().for_each(|field| assert!(hash.remove(field)));
        assert_eq!((hash.heap_bytes(), hash.is_empty()), (0, true));
    }
}
