//! A sorted set as it is read, whichever form it has.

use std::ops::Range;

use super::ZSet;
use crate::store::{
    Form, Object, Value,
    packed::{self, Item},
};

/// A sorted set.
#[derive(Clone, Copy)]
pub enum ZSetRef<'s> {
    /// A packed one: member, score, member, score…
    Small(&'s [u8]),
    /// A large one.
    Large(&'s ZSet),
}

/// The score that an element of a packed sorted set holds.
#[inline]
pub fn packed_score(item: Item<'_>) -> f64 {
    match item {
        Item::Int(whole) => whole as f64,
        // What is no whole number was written by `printf`, or is infinite; `parse` reads all that.
        Item::Bytes(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(0.0),
    }
}

impl<'s> ZSetRef<'s> {
    /// The sorted set that a value is, if it is one.
    #[inline]
    pub fn of(value: Value<'s>) -> Option<Self> {
        match value {
            Value::Packed(Form::ZSet, bytes) => Some(Self::Small(bytes)),
            Value::Big(Object::ZSet(zset)) => Some(Self::Large(zset)),
            _ => None,
        }
    }

    /// Number of members.
    #[expect(clippy::len_without_is_empty, reason = "a key holds no empty sorted set")]
    pub fn len(self) -> usize {
        match self {
            Self::Small(bytes) => packed::count(bytes) / 2,
            Self::Large(zset) => zset.len(),
        }
    }

    /// The score of a member.
    pub fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Small(bytes) => {
                let found = packed::find(bytes, member, 2)?;
                Some(packed_score(packed::after(bytes, &found)?.value))
            }
            Self::Large(zset) => zset.score(member),
        }
    }

    /// The rank of a member, from 0, and its score.
    pub fn rank(self, member: &[u8]) -> Option<(usize, f64)> {
        match self {
            Self::Small(bytes) => {
                let wanted = Item::of(member);
                let mut pairs = packed::pairs(bytes).enumerate();
                let (rank, (_, score)) = pairs.find(|(_, (member, _))| *member == wanted)?;
                Some((rank, packed_score(score)))
            }
            Self::Large(zset) => zset.rank(member),
        }
    }

    /// How many members from the first on have a score that is `before` a bound.
    pub fn count_scores_while(self, before: impl Fn(f64) -> bool) -> usize {
        match self {
            Self::Small(bytes) => {
                packed::pairs(bytes).take_while(|(_, score)| before(packed_score(*score))).count()
            }
            Self::Large(zset) => zset.count_scores_while(before),
        }
    }

    /// How many members from the first on are `before` a bound.
    pub fn count_members_while(self, before: impl Fn(&[u8]) -> bool) -> usize {
        match self {
            Self::Small(bytes) => packed::pairs(bytes)
                .take_while(|(member, _)| before(member.as_bytes(&mut itoa::Buffer::new())))
                .count(),
            Self::Large(zset) => zset.count_while(|_, member| before(member)),
        }
    }

    /// Visits the members with these ranks, which there must be, with their scores: the last first if `reverse`.
    pub fn each(self, ranks: Range<usize>, reverse: bool, mut visit: impl FnMut(&[u8], f64)) {
        match self {
            Self::Small(bytes) => {
                let part = packed::range_of(bytes, ranks.start * 2, ranks.len() * 2);
                let mut elements = packed::iter_in(bytes, part);
                let mut buffer = itoa::Buffer::new();
                loop {
                    let pair = if reverse {
                        let score = elements.next_back();
                        elements.next_back().zip(score)
                    } else {
                        elements.next().zip(elements.next())
                    };
                    let Some((member, score)) = pair else { return };
                    visit(member.value.as_bytes(&mut buffer), packed_score(score.value));
                }
            }
            Self::Large(zset) if reverse => {
                zset.range(ranks).rev().for_each(|(member, score)| visit(member, score))
            }
            Self::Large(zset) => zset.range(ranks).for_each(|(member, score)| visit(member, score)),
        }
    }
}
