//! What a key can hold, as commands see it.
//!
//! A value is small and lies inside its entry ([`Value::Str`], [`Value::Packed`]), or has memory of its own
//! ([`Value::Shared`], [`Value::Big`]). Commands match on these four; where the bytes lie is the store's affair.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use ringfort_protocol::number::parse_i64;

use super::objects::{hash::Hash, list::List, set::Set, stream::Stream, zset::ZSet};

/// Strings up to this many bytes lie in their entry; longer ones are shared with the output instead of copied.
pub const INLINE_STRING: usize = 16 << 10;

/// The type of a value, as `TYPE` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Str,
    /// A list.
    List,
    /// A set.
    Set,
    /// A hash.
    Hash,
    /// A sorted set.
    ZSet,
    /// A stream.
    Stream,
}

impl Kind {
    /// The name that `TYPE` and `SCAN … TYPE` use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Str => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::ZSet => "zset",
            Self::Stream => "stream",
        }
    }
}

/// How the bytes of a small value are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Form {
    /// The string itself.
    Str = 0,
    /// A [`super::packed`] sequence of the elements.
    List = 1,
    /// Sorted integers of one width: see [`super::objects::intset`].
    IntSet = 2,
    /// A packed sequence of the members.
    Set = 3,
    /// A packed sequence of field, value, field, value…
    Hash = 4,
    /// A packed sequence of member, score, member, score… ordered by score and member.
    ZSet = 5,
}

impl Form {
    /// The type of a value of this form.
    pub fn kind(self) -> Kind {
        match self {
            Self::Str => Kind::Str,
            Self::List => Kind::List,
            Self::IntSet | Self::Set => Kind::Set,
            Self::Hash => Kind::Hash,
            Self::ZSet => Kind::ZSet,
        }
    }

    pub(super) fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::Str,
            1 => Self::List,
            2 => Self::IntSet,
            3 => Self::Set,
            4 => Self::Hash,
            _ => Self::ZSet,
        }
    }
}

/// A view of a live value. It borrows the locked shard, so it cannot outlive the lock.
#[derive(Clone, Copy)]
pub enum Value<'s> {
    /// A short string.
    Str(&'s [u8]),
    /// A long string, which the output may share.
    Shared(&'s Bytes),
    /// A small collection, packed; never [`Form::Str`].
    Packed(Form, &'s [u8]),
    /// A large collection; never [`Object::Str`].
    Big(&'s Object),
}

impl<'s> Value<'s> {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Str(_) | Self::Shared(_) => Kind::Str,
            Self::Packed(form, _) => form.kind(),
            Self::Big(object) => object.kind(),
        }
    }

    /// How it is kept, in the words of Redis 7.2 that `OBJECT ENCODING` replies with.
    pub fn encoding(&self) -> &'static str {
        /// The longest string that Redis keeps in one piece with its header.
        const EMBEDDED: usize = 44;
        match self {
            Self::Str(bytes) if parse_i64(bytes).is_some() => "int",
            Self::Str(bytes) if bytes.len() <= EMBEDDED => "embstr",
            Self::Str(_) | Self::Shared(_) => "raw",
            Self::Packed(Form::IntSet, _) => "intset",
            Self::Packed(..) => "listpack",
            Self::Big(object) => match object {
                Object::Str(_) => "raw",
                Object::List(_) => "quicklist",
                Object::Set(_) | Object::Hash(_) => "hashtable",
                Object::ZSet(_) => "skiplist",
                Object::Stream(_) => "stream",
            },
        }
    }

    /// The bytes, if it is a string.
    pub fn as_string(&self) -> Option<&'s [u8]> {
        match self {
            Self::Str(bytes) => Some(bytes),
            Self::Shared(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// A value with memory of its own.
#[derive(Clone, Debug)]
pub enum Object {
    /// A string longer than [`INLINE_STRING`].
    Str(Bytes),
    /// A large list.
    List(List),
    /// A large set.
    Set(Set),
    /// A large hash.
    Hash(Hash),
    /// A large sorted set.
    ZSet(ZSet),
    /// A stream, which has this form only.
    Stream(Box<Stream>),
}

impl Object {
    /// Its type.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Str(_) => Kind::Str,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Hash(_) => Kind::Hash,
            Self::ZSet(_) => Kind::ZSet,
            Self::Stream(_) => Kind::Stream,
        }
    }

    /// Bytes of memory that it owns. Constant time: every type keeps a running count.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Str(bytes) => bytes.len(),
            Self::List(list) => list.heap_bytes(),
            Self::Set(set) => set.heap_bytes(),
            Self::Hash(hash) => hash.heap_bytes(),
            Self::ZSet(zset) => zset.heap_bytes(),
            Self::Stream(stream) => stream.heap_bytes(),
        }
    }
}

/// Replaces the bytes `cut` of a long string: in its place, unless a reply still shares it. A string that grows gets
/// an eighth more than it needs, so that appending to it is cheap.
pub(super) fn splice_shared(bytes: &mut Bytes, cut: Range<usize>, with: &[&[u8]]) {
    let mut owned = std::mem::take(bytes).try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    let added: usize = with.iter().map(|part| part.len()).sum();
    if added == cut.len() {
        let mut rest = &mut owned[cut];
        for part in with {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
    } else {
        let tail = owned[cut.end..].to_vec();
        owned.truncate(cut.start);
        let len = cut.start + added + tail.len();
        if len > owned.capacity() {
            let mut larger = BytesMut::with_capacity(len + len / 8);
            larger.extend_from_slice(&owned);
            owned = larger;
        }
        with.iter().for_each(|part| owned.extend_from_slice(part));
        owned.extend_from_slice(&tail);
    }
    *bytes = owned.freeze();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_string_is_spliced_without_moving_unless_it_is_shared() {
        let mut bytes = Bytes::from(vec![b'.'; 100]);
        let at = bytes.as_ptr();
        splice_shared(&mut bytes, 10..13, &[b"a", b"bc"]);
        assert_eq!((&bytes[9..14], bytes.as_ptr()), (&b".abc."[..], at));

        let reply = bytes.clone();
        splice_shared(&mut bytes, 10..13, &[b"xyz"]);
        assert_eq!((&bytes[9..14], &reply[9..14]), (&b".xyz."[..], &b".abc."[..]));

        splice_shared(&mut bytes, 100..100, &[b"tail"]);
        let at = bytes.as_ptr();
        splice_shared(&mut bytes, 102..104, &[b"ILS"]);
        assert_eq!((&bytes[98..], bytes.as_ptr()), (&b"..taILS"[..], at));
        splice_shared(&mut bytes, 1..103, &[]);
        assert_eq!(&bytes[..], b".LS");
    }
}
