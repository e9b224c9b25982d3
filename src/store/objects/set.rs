//! Sets: the large form, how all three forms are read, and sets that are being made.
//!
//! A set is one of sorted integers ([`intset`]), a packed run, or a large one, as Redis chooses: see
//! [`SetLimits`]. A large set keeps its members in the order of their hashes, so that a position of SSCAN is a hash.

use super::{intset, place};
use crate::store::{
    entry::allocated,
    key,
    ordered::{self, Ordered},
    packed::{self, Item},
    value::{Form, Object, Value},
};

/// What a member costs in its table, in bytes.
const PLACE: usize = place(size_of::<Member>());

/// A large set.
#[derive(Clone, Debug)]
pub struct Set {
    members: Ordered<Member>,
    seed: u64,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Member {
    hash: u32,
    text: Box<[u8]>,
}

impl ordered::Item for Member {
    type Note = ();

    fn hash(&self) -> u32 {
        self.hash
    }
}

impl Member {
    fn heap_bytes(&self) -> usize {
        allocated(self.text.len()) + PLACE
    }
}

impl Set {
    /// An empty set whose members are ordered by this seed.
    pub fn new(seed: u64) -> Self {
        Self { members: Ordered::default(), seed, bytes: 0 }
    }

    /// A set with the members of another one.
    pub fn of(set: SetRef<'_>, seed: u64) -> Self {
        let mut large = Self::new(seed);
        set.each(|member| {
            large.add(member.as_bytes(&mut itoa::Buffer::new()));
        });
        large
    }

    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether it has this member.
    pub fn contains(&self, text: &[u8]) -> bool {
        self.find(key::hash(text, self.seed), text).is_some()
    }

    /// Adds a member. Returns whether it is new.
    pub fn add(&mut self, text: &[u8]) -> bool {
        let hash = key::hash(text, self.seed);
        if self.find(hash, text).is_some() {
            return false;
        }
        let member = Member { hash, text: text.into() };
        self.bytes += member.heap_bytes();
        self.members.insert(member);
        true
    }

    /// Takes a member out. Returns whether it was there.
    pub fn remove(&mut self, text: &[u8]) -> bool {
        let Some(pos) = self.find(key::hash(text, self.seed), text) else {
            return false;
        };
        self.bytes -= self.members.remove(pos).heap_bytes();
        true
    }

    /// The members.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.members.iter().map(|member| &member.text[..])
    }

    /// Visits at least `count` members, if there are so many, from the hash `from` on. Returns where to go on.
    pub fn scan<'a>(&'a self, from: u32, count: usize, mut visit: impl FnMut(&'a [u8])) -> Option<u32> {
        self.members.scan(from, count, |member| visit(&member.text))
    }

    /// A member chosen evenly by `random`, which gives 64 bits at each call.
    pub fn sample(&self, random: impl FnMut() -> u64) -> Option<&[u8]> {
        Some(&self.members.get(self.members.sample(random)?).text)
    }

    fn find(&self, hash: u32, text: &[u8]) -> Option<ordered::Pos> {
        self.members.find(hash, |member| *member.text == *text)
    }
}

/// A set of any form, to read.
///
/// What a large one gives is always [`Item::Bytes`], also where a packed run would hold an integer.
#[derive(Clone, Copy)]
pub enum SetRef<'a> {
    /// Sorted integers.
    Ints(&'a [u8]),
    /// A packed run.
    Small(&'a [u8]),
    /// A large set.
    Large(&'a Set),
}

impl<'a> SetRef<'a> {
    /// The set that a value is, if it is one.
    pub fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Packed(Form::IntSet, bytes) => Some(Self::Ints(bytes)),
            Value::Packed(Form::Set, run) => Some(Self::Small(run)),
            Value::Big(Object::Set(set)) => Some(Self::Large(set)),
            _ => None,
        }
    }

    /// Number of members.
    pub fn len(self) -> usize {
        match self {
            Self::Ints(bytes) => intset::len(bytes),
            Self::Small(run) => packed::count(run),
            Self::Large(set) => set.len(),
        }
    }

    /// Whether there are none: never, for a set that a key holds.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it has this member.
    pub fn contains(self, text: &[u8]) -> bool {
        match self {
            Self::Ints(bytes) => match Item::of(text) {
                Item::Int(value) => intset::find(bytes, value).is_ok(),
                Item::Bytes(_) => false,
            },
            Self::Small(run) => packed::find(run, text, 1).is_some(),
            Self::Large(set) => set.contains(text),
        }
    }

    /// Whether it has the member that another set gave.
    pub fn contains_item(self, member: Item<'_>) -> bool {
        match (self, member) {
            (Self::Ints(bytes), Item::Int(value)) => intset::find(bytes, value).is_ok(),
            _ => self.contains(member.as_bytes(&mut itoa::Buffer::new())),
        }
    }

    /// Visits members while `visit` says so.
    pub fn each_while(self, mut visit: impl FnMut(Item<'a>) -> bool) {
        match self {
            Self::Ints(bytes) => intset::iter(bytes).all(|value| visit(Item::Int(value))),
            Self::Small(run) => packed::items(run).all(visit),
            Self::Large(set) => set.iter().all(|text| visit(Item::Bytes(text))),
        };
    }

    /// Visits all members.
    pub fn each(self, mut visit: impl FnMut(Item<'a>)) {
        self.each_while(|member| {
            visit(member);
            true
        });
    }

    /// A member chosen evenly by `random`, which gives 64 bits at each call.
    pub fn sample(self, mut random: impl FnMut() -> u64) -> Option<Item<'a>> {
        let len = self.len();
        let mut index = || ((u128::from(random()) * len as u128) >> 64) as usize;
        match self {
            Self::Ints(_) | Self::Small(_) if len == 0 => None,
            Self::Ints(bytes) => Some(Item::Int(intset::get(bytes, index()))),
            Self::Small(run) => packed::get(run, index()).map(|member| member.value),
            Self::Large(set) => set.sample(random).map(Item::Bytes),
        }
    }
}

/// Up to which size a set has which form, and the seed of large ones.
#[derive(Clone, Copy, Debug)]
pub struct SetLimits {
    /// Members of a set of integers.
    pub ints: usize,
    /// Members of a packed set.
    pub packed: usize,
    /// Bytes of a member of a packed set.
    pub text: usize,
    /// By which members of a large set are ordered.
    pub seed: u64,
}

impl SetLimits {
    /// Whether a packed set of `len` members takes one more, `text`.
    pub fn packed_takes(&self, len: usize, text: &[u8]) -> bool {
        len < self.packed.min(packed::MOST) && text.len() <= self.text
    }
}

/// A set that is being made, in the form that its members ask for.
#[derive(Debug)]
pub enum NewSet {
    /// Sorted integers.
    Ints(Vec<u8>),
    /// A packed run.
    Small(Vec<u8>),
    /// A large set.
    Large(Set),
}

impl Default for NewSet {
    fn default() -> Self {
        Self::Ints(intset::EMPTY.to_vec())
    }
}

impl NewSet {
    /// A set with the members of another one.
    pub fn of(set: SetRef<'_>, limits: &SetLimits) -> Self {
        match set {
            SetRef::Ints(bytes) => Self::Ints(bytes.to_vec()),
            SetRef::Small(run) => Self::Small(run.to_vec()),
            SetRef::Large(_) => Self::Large(Set::of(set, limits.seed)),
        }
    }

    /// An empty set for about `expected` members, of which `first` is one.
    pub fn expecting(expected: usize, first: &[u8], limits: &SetLimits) -> Self {
        match Item::of(first) {
            Item::Int(_) if expected <= limits.ints => Self::default(),
            _ if expected <= limits.packed => Self::Small(packed::EMPTY.to_vec()),
            _ => Self::Large(Set::new(limits.seed)),
        }
    }

    /// The set as any other.
    pub fn as_ref(&self) -> SetRef<'_> {
        match self {
            Self::Ints(bytes) => SetRef::Ints(bytes),
            Self::Small(run) => SetRef::Small(run),
            Self::Large(set) => SetRef::Large(set),
        }
    }

    /// Adds a member. Returns whether it is new.
    pub fn add(&mut self, text: &[u8], limits: &SetLimits) -> bool {
        match (&mut *self, Item::of(text)) {
            (Self::Large(set), _) => return set.add(text),
            (Self::Ints(bytes), Item::Int(value)) => {
                let new = intset::insert(bytes, value);
                if new && intset::len(bytes) > limits.ints {
                    self.enlarge(limits);
                }
                return new;
            }
            (Self::Ints(bytes), Item::Bytes(_)) => {
                if limits.packed_takes(intset::len(bytes), text) && longest(bytes) <= limits.text {
                    let mut run = packed::EMPTY.to_vec();
                    let mut number = itoa::Buffer::new();
                    intset::iter(bytes)
                        .for_each(|value| packed::push(&mut run, number.format(value).as_bytes()));
                    packed::push(&mut run, text);
                    *self = Self::Small(run);
                    return true;
                }
            }
            (Self::Small(run), _) => {
                if packed::find(run, text, 1).is_some() {
                    return false;
                }
                if limits.packed_takes(packed::count(run), text) {
                    packed::push(run, text);
                    return true;
                }
            }
        }
        self.enlarge(limits).add(text)
    }

    fn enlarge(&mut self, limits: &SetLimits) -> &mut Set {
        if !matches!(self, Self::Large(_)) {
            *self = Self::Large(Set::of(self.as_ref(), limits.seed));
        }
        match self {
            Self::Large(set) => set,
            _ => unreachable!("it was made large above"),
        }
    }
}

/// Length of the longest text among sorted integers.
fn longest(bytes: &[u8]) -> usize {
    let text = |value: i64| Item::Int(value).text_len();
    let (first, last) = (intset::iter(bytes).next(), intset::iter(bytes).next_back());
    first.map_or(0, text).max(last.map_or(0, text))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const LIMITS: SetLimits = SetLimits { ints: 8, packed: 6, text: 10, seed: 3 };

    fn texts(set: SetRef<'_>) -> BTreeSet<Vec<u8>> {
        let mut all = BTreeSet::new();
        set.each(|member| assert!(all.insert(member.to_vec()), "twice"));
        all
    }

    fn form(set: &NewSet) -> &'static str {
        match set {
            NewSet::Ints(_) => "ints",
            NewSet::Small(_) => "small",
            NewSet::Large(_) => "large",
        }
    }

    #[test]
    fn members_choose_the_form() {
        for (members, expected) in [
            (vec!["1", "-70000", "5000000000"], "ints"),
            (vec!["1", "2", "3", "4", "5", "6", "7", "8"], "ints"),
            (vec!["1", "2", "3", "4", "5", "6", "7", "8", "9"], "large"),
            (vec!["1", "2", "x"], "small"),
            (vec!["x", "1", "2", "3", "4", "5"], "small"),
            (vec!["x", "1", "2", "3", "4", "5", "6"], "large"),
            (vec!["1", "2", "3", "4", "5", "6", "x"], "large"),
            (vec!["x", "12345678901"], "large"),
            (vec!["12345678901", "x"], "large"),
        ] {
            let mut set = NewSet::default();
            let mut model = BTreeSet::new();
            for member in members.iter().chain(&members) {
                let new = model.insert(member.as_bytes().to_vec());
                assert_eq!(set.add(member.as_bytes(), &LIMITS), new, "{member}");
            }
            assert_eq!(form(&set), expected, "{members:?}");
            assert_eq!(texts(set.as_ref()), model);
            assert_eq!(set.as_ref().len(), model.len());
            for member in &model {
                assert!(set.as_ref().contains(member));
                assert!(set.as_ref().contains_item(Item::of(member)));
                assert!(set.as_ref().contains_item(Item::Bytes(member)));
            }
            assert!(!set.as_ref().contains(b"none") && !set.as_ref().contains(b"77"));
        }
    }

    #[test]
    fn a_large_set_counts_its_bytes() {
        let mut set = Set::new(1);
        for number in 0..5_000u32 {
            assert!(set.add(format!("{number}:{}", "x".repeat(number as usize % 99)).as_bytes()));
        }
        let counted: usize = set.members.iter().map(Member::heap_bytes).sum();
        assert_eq!(set.heap_bytes(), counted);
        for text in texts(SetRef::Large(&set)) {
            assert!(set.remove(&text) && !set.remove(&text));
        }
        assert_eq!((set.heap_bytes(), set.len()), (0, 0));
    }
}
