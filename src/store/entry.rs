//! One key with its value: a single piece of memory for small values, a box for large ones.
//!
//! Layout of a small entry: one byte of flags (the [`Form`] in the low four bits), the key's length (one byte, or
//! four where it does not fit), the deadline (eight bytes, only where there is one), the key, the value.

use std::{cell::Cell, ops::Range};

use super::{
    objects::hash::Hash,
    ordered::Item,
    value::{Form, Object, Value},
};

const FORM: u8 = 0x0f;
const LONG_KEY: u8 = 0x10;
const DEADLINE: u8 = 0x20;

/// What a piece of memory takes from malloc, roughly: sizes are rounded up to steps of an eighth.
pub(super) fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=8 => 8,
        9..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16)),
    }
}

/// A key and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    hash: u32,
    /// When it was last used, or how often: see [`super::evict`].
    pub(super) clock: Cell<u32>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Small(Box<[u8]>),
    Large(Box<Large>),
}

#[derive(Clone, Debug)]
struct Large {
    key: Box<[u8]>,
    deadline: Option<u64>,
    object: Object,
}

impl Item for Entry {
    /// Nothing in the page is over sooner than this.
    type Note = Soonest;

    fn hash(&self) -> u32 {
        self.hash
    }
}

/// A lower bound of the deadlines in a page of the table, in Unix milliseconds; `u64::MAX` if there are none. Those of
/// fields count, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Soonest(pub(super) u64);

impl Default for Soonest {
    fn default() -> Self {
        Self(u64::MAX)
    }
}

impl Soonest {
    /// Takes one more deadline into account.
    pub(super) fn include(&mut self, deadline: u64) {
        self.0 = self.0.min(deadline);
    }
}

/// Why an entry is there no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// It is.
    No,
    /// Its time is over.
    Key,
    /// It is a hash, and the time of all its fields, of which it has so many, is over.
    Fields(usize),
}

impl Entry {
    pub(super) fn small(
        hash: u32,
        key: &[u8],
        clock: u32,
        deadline: Option<u64>,
        form: Form,
        value: &[&[u8]],
    ) -> Self {
        Self { hash, clock: Cell::new(clock), body: Body::Small(pack(key, deadline, form, value)) }
    }

    pub(super) fn large(hash: u32, key: &[u8], clock: u32, deadline: Option<u64>, object: Object) -> Self {
        let large = Large { key: key.into(), deadline, object };
        Self { hash, clock: Cell::new(clock), body: Body::Large(Box::new(large)) }
    }

    pub(super) fn key(&self) -> &[u8] {
        match &self.body {
            Body::Small(bytes) => &bytes[head(bytes).key],
            Body::Large(large) => &large.key,
        }
    }

    pub(super) fn value(&self) -> Value<'_> {
        match &self.body {
            Body::Small(bytes) => {
                let value = &bytes[head(bytes).key.end..];
                match Form::from_bits(bytes[0] & FORM) {
                    Form::Str => Value::Str(value),
                    form => Value::Packed(form, value),
                }
            }
            Body::Large(large) => match &large.object {
                Object::Str(bytes) => Value::Shared(bytes),
                object => Value::Big(object),
            },
        }
    }

    pub(super) fn object_mut(&mut self) -> Option<&mut Object> {
        match &mut self.body {
            Body::Small(_) => None,
            Body::Large(large) => Some(&mut large.object),
        }
    }

    pub(super) fn into_object(self) -> Option<Object> {
        match self.body {
            Body::Small(_) => None,
            Body::Large(large) => Some(large.object),
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        match &self.body {
            Body::Small(bytes) => head(bytes).deadline,
            Body::Large(large) => large.deadline,
        }
    }

    /// When first something of it is over: it as a whole, or a field; `u64::MAX` if nothing ever is.
    pub(super) fn soonest(&self) -> u64 {
        self.deadline().unwrap_or(u64::MAX).min(self.hash_object().map_or(u64::MAX, Hash::soonest))
    }

    /// Whether its time is over at `now`, or that of all its fields.
    pub(super) fn is_over(&self, now: u64) -> bool {
        self.over(now) != Over::No
    }

    /// The same, and of what the time is over.
    pub(super) fn over(&self, now: u64) -> Over {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            return Over::Key;
        }
        match self.hash_object() {
            Some(hash) if hash.is_over(now) => Over::Fields(hash.len()),
            _ => Over::No,
        }
    }

    /// Its value, if that is a large hash: only such have fields with deadlines.
    fn hash_object(&self) -> Option<&Hash> {
        match &self.body {
            Body::Large(large) => match &large.object {
                Object::Hash(hash) => Some(hash),
                _ => None,
            },
            Body::Small(_) => None,
        }
    }

    pub(super) fn set_deadline(&mut self, deadline: Option<u64>) {
        match &mut self.body {
            Body::Large(large) => large.deadline = deadline,
            Body::Small(bytes) => {
                let Head { key, deadline: old } = head(bytes);
                if old == deadline {
                    return;
                }
                if let (Some(_), Some(deadline)) = (old, deadline) {
                    bytes[key.start - 8..key.start].copy_from_slice(&deadline.to_le_bytes());
                } else {
                    let form = Form::from_bits(bytes[0] & FORM);
                    *bytes = pack(&bytes[key.clone()], deadline, form, &[&bytes[key.end..]]);
                }
            }
        }
    }

    /// Replaces the bytes `cut` of a small value.
    ///
    /// # Panics
    /// If the value is large or has no such bytes.
    pub(super) fn splice(&mut self, cut: Range<usize>, with: &[&[u8]]) {
        let Body::Small(bytes) = &mut self.body else { unreachable!("only small values are spliced") };
        let start = head(bytes).key.end;
        let cut = start + cut.start..start + cut.end;
        let added: usize = with.iter().map(|part| part.len()).sum();
        if added == cut.len() {
            let mut at = cut.start;
            for part in with {
                bytes[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
            return;
        }
        let mut next = Vec::with_capacity(bytes.len() - cut.len() + added);
        next.extend_from_slice(&bytes[..cut.start]);
        with.iter().for_each(|part| next.extend_from_slice(part));
        next.extend_from_slice(&bytes[cut.end..]);
        *bytes = next.into_boxed_slice();
    }

    /// Bytes of memory that it takes beside its place in the table.
    pub(super) fn heap_bytes(&self) -> usize {
        match &self.body {
            Body::Small(bytes) => allocated(bytes.len()),
            Body::Large(large) => size_of::<Large>() + allocated(large.key.len()) + large.object.heap_bytes(),
        }
    }
}

struct Head {
    key: Range<usize>,
    deadline: Option<u64>,
}

fn head(bytes: &[u8]) -> Head {
    let flags = bytes[0];
    let (mut at, len) = match flags & LONG_KEY {
        0 => (2, usize::from(bytes[1])),
        _ => (5, u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize),
    };
    let mut deadline = None;
    if flags & DEADLINE != 0 {
        let mut raw = [0; 8];
        raw.copy_from_slice(&bytes[at..at + 8]);
        deadline = Some(u64::from_le_bytes(raw));
        at += 8;
    }
    Head { key: at..at + len, deadline }
}

fn pack(key: &[u8], deadline: Option<u64>, form: Form, value: &[&[u8]]) -> Box<[u8]> {
    let long = key.len() > usize::from(u8::MAX);
    let head = if long { 5 } else { 2 } + if deadline.is_some() { 8 } else { 0 };
    let len: usize = value.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(head + key.len() + len);
    let flags = if long { LONG_KEY } else { 0 } | if deadline.is_some() { DEADLINE } else { 0 };
    bytes.push(flags | form as u8);
    if long {
        bytes.extend_from_slice(&(key.len() as u32).to_le_bytes());
    } else {
        bytes.push(key.len() as u8);
    }
    if let Some(deadline) = deadline {
        bytes.extend_from_slice(&deadline.to_le_bytes());
    }
    bytes.extend_from_slice(key);
    value.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(entry: &Entry) -> &[u8] {
        entry.value().as_string().unwrap()
    }

    #[test]
    fn an_entry_gives_back_what_it_was_made_of() {
        for key in [&b""[..], b"k", &[7; 255], &[8; 256], &[9; 70_000]] {
            for deadline in [None, Some(0), Some(u64::MAX)] {
                let mut entry = Entry::small(1, key, 2, deadline, Form::Str, &[b"va", b"lue"]);
                assert_eq!((entry.key(), string(&entry), entry.deadline()), (key, &b"value"[..], deadline));
                for next in [Some(5), Some(6), None, Some(7)] {
                    entry.set_deadline(next);
                    assert_eq!((entry.key(), string(&entry), entry.deadline()), (key, &b"value"[..], next));
                }
            }
        }
    }

    #[test]
    fn a_splice_replaces_bytes_of_any_length() {
        let mut entry = Entry::small(1, b"k", 2, Some(9), Form::Str, &[b"0123456789"]);
        entry.splice(2..4, &[b"a", b"b"]);
        assert_eq!(string(&entry), b"01ab456789");
        entry.splice(0..1, &[]);
        entry.splice(9..9, &[b"tail", b"s"]);
        assert_eq!((string(&entry), entry.deadline()), (&b"1ab456789tails"[..], Some(9)));
    }

    #[test]
    fn a_place_in_the_table_takes_24_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }
}
