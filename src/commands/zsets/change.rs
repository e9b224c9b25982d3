//! Changes of the sorted set at a key, whichever form it has: the small form becomes a large one where Redis' does,
//! and a key whose last member goes is removed.

use std::ops::Range;

use ringfort_protocol::number::{self, DoubleText};

use crate::{
    commands::Limits,
    store::{
        Edit, Form, Object,
        objects::zset::{ZSet, ZSetRef, compare, packed_score},
        packed::{self, Encoded},
    },
};

/// A packed sorted set has at most so many bytes, whatever the settings allow.
const PACKED_LIMIT: usize = 1 << 30;

/// A score as the small form keeps it: a whole number as an integer, another one as Redis prints it.
pub(super) struct ScoreText {
    integer: itoa::Buffer,
    other: Option<DoubleText>,
}

impl ScoreText {
    pub(super) fn new() -> Self {
        Self { integer: itoa::Buffer::new(), other: None }
    }

    /// Writes a score. Half of what an integer can be is the border, as in Redis; -0 becomes 0.
    pub(super) fn write(&mut self, score: f64) -> &[u8] {
        const MOST: f64 = (i64::MAX / 2) as f64;
        let whole = score as i64;
        if score.abs() <= MOST && whole as f64 == score {
            return self.integer.format(whole).as_bytes();
        }
        self.other.insert(number::format_double(score)).as_bytes()
    }
}

/// Whether a sorted set of so many members, the longest of so many bytes, has the small form.
fn is_small(limits: &Limits, members: usize, longest: usize) -> bool {
    members <= limits.zset_max_listpack_entries.min(packed::MOST / 2)
        && longest <= limits.zset_max_listpack_value
}

/// Gives a member, which has the score `old` or is not there, a new score. The key holds a sorted set or nothing.
pub(super) fn set_score(
    edit: &mut Edit<'_, '_>,
    limits: &Limits,
    member: &[u8],
    old: Option<f64>,
    score: f64,
) {
    let mut text = ScoreText::new();
    match edit.value().map(ZSetRef::of) {
        Some(Some(ZSetRef::Small(bytes))) => {
            let count = packed::count(bytes);
            let Some(found) = old.and_then(|_| packed::find(bytes, member, 2)) else {
                let fits = bytes.len() + member.len() < PACKED_LIMIT;
                if !fits || !is_small(limits, count / 2 + 1, member.len()) {
                    let mut zset = unpack(bytes, limits.hash_seed);
                    zset.insert(member, score);
                    return edit.promote(Object::ZSet(zset));
                }
                let at = place(bytes, score, member);
                edit.splice(0..packed::HEAD, &[&packed::head(count + 2)]);
                return insert(edit, at, member, text.write(score));
            };
            let Some(old) = packed::after(bytes, &found) else {
                return;
            };
            let pair = found.range.start..old.range.end;
            match place(bytes, score, member) {
                at if at == pair.start || at == pair.end => {
                    edit.splice(old.range, &Encoded::new(text.write(score)).parts());
                }
                at => {
                    edit.splice(pair.clone(), &[]);
                    let at = if at < pair.start { at } else { at - pair.len() };
                    insert(edit, at, member, text.write(score));
                }
            }
        }
        Some(_) => {
            large(edit, |zset| zset.insert(member, score));
        }
        None if is_small(limits, 1, member.len()) => {
            let (member, score) = (Encoded::new(member), Encoded::new(text.write(score)));
            let ([a, b, c], [d, e, f]) = (member.parts(), score.parts());
            edit.put(Form::ZSet, &[&packed::head(2), a, b, c, d, e, f], None);
        }
        None => {
            let mut zset = ZSet::new(limits.hash_seed);
            zset.insert(member, score);
            edit.put_object(Object::ZSet(zset), None);
        }
    }
}

/// Puts a pair at an offset of the small form.
fn insert(edit: &mut Edit<'_, '_>, at: usize, member: &[u8], score: &[u8]) {
    let (member, score) = (Encoded::new(member), Encoded::new(score));
    let ([a, b, c], [d, e, f]) = (member.parts(), score.parts());
    edit.splice(at..at, &[a, b, c, d, e, f]);
}

/// Where the first pair lies that comes after one of this member and score.
fn place(bytes: &[u8], score: f64, member: &[u8]) -> usize {
    let mut elements = packed::iter(bytes);
    let mut buffer = itoa::Buffer::new();
    while let (Some(other), Some(other_score)) = (elements.next(), elements.next()) {
        let pair = (packed_score(other_score.value), other.value.as_bytes(&mut buffer));
        if compare(pair, (score, member)).is_gt() {
            return other.range.start;
        }
    }
    bytes.len()
}

fn unpack(bytes: &[u8], seed: u64) -> ZSet {
    let mut zset = ZSet::new(seed);
    let all = ZSetRef::Small(bytes);
    all.each(0..all.len(), false, |member, score| {
        zset.insert(member, score);
    });
    zset
}

/// Changes the large form.
fn large<R>(edit: &mut Edit<'_, '_>, change: impl FnOnce(&mut ZSet) -> R) -> Option<R> {
    edit.object(|object| match object {
        Object::ZSet(zset) => Some(change(zset)),
        _ => None,
    })
}

/// Takes a member out, if the key holds a sorted set that has it. Returns whether it had.
pub(super) fn remove(edit: &mut Edit<'_, '_>, member: &[u8]) -> bool {
    let Some(view) = edit.value().and_then(ZSetRef::of) else {
        return false;
    };
    match view {
        ZSetRef::Small(bytes) => {
            let Some(found) = packed::find(bytes, member, 2) else {
                return false;
            };
            let end = packed::after(bytes, &found).map_or(bytes.len(), |score| score.range.end);
            let count = packed::count(bytes);
            cut(edit, found.range.start..end, count, 2);
        }
        ZSetRef::Large(zset) => {
            if zset.score(member).is_none() {
                return false;
            }
            if zset.len() == 1 {
                return edit.remove();
            }
            large(edit, |zset| zset.remove(member));
        }
    }
    true
}

/// Takes out the members with these ranks, as far as there are such. Returns how many there were.
pub(super) fn remove_ranks(edit: &mut Edit<'_, '_>, ranks: Range<usize>) -> usize {
    let Some(view) = edit.value().and_then(ZSetRef::of) else {
        return 0;
    };
    let end = ranks.end.min(view.len());
    let count = end.saturating_sub(ranks.start);
    if count == 0 {
        return 0;
    }
    if count == view.len() {
        edit.remove();
        return count;
    }
    match view {
        ZSetRef::Small(bytes) => {
            let part = packed::range_of(bytes, ranks.start * 2, count * 2);
            let elements = packed::count(bytes);
            cut(edit, part, elements, count * 2);
        }
        ZSetRef::Large(_) => {
            large(edit, |zset| zset.remove_range(ranks.start..end));
        }
    }
    count
}

/// Takes `gone` of `count` elements out of the small form.
fn cut(edit: &mut Edit<'_, '_>, part: Range<usize>, count: usize, gone: usize) {
    if gone >= count {
        edit.remove();
        return;
    }
    edit.splice(0..packed::HEAD, &[&packed::head(count - gone)]);
    edit.splice(part, &[]);
}

/// Makes the key hold these members and nothing else, without a deadline; without members, no key. They come in the
/// order of a sorted set.
pub(in crate::commands) fn store<'m>(
    edit: &mut Edit<'_, '_>,
    limits: &Limits,
    members: impl ExactSizeIterator<Item = (&'m [u8], f64)> + Clone,
) {
    if members.len() == 0 {
        edit.remove();
        return;
    }
    let lengths = members.clone().map(|(member, _)| member.len());
    let longest = lengths.clone().max().unwrap_or(0);
    if is_small(limits, members.len(), longest) && lengths.sum::<usize>() < PACKED_LIMIT {
        let mut bytes = packed::head(members.len() * 2).to_vec();
        let mut text = ScoreText::new();
        for (member, score) in members {
            packed::encode(&mut bytes, member);
            packed::encode(&mut bytes, text.write(score));
        }
        edit.put(Form::ZSet, &[&bytes], None);
    } else {
        let mut zset = ZSet::new(limits.hash_seed);
        for (member, score) in members {
            zset.insert(member, score);
        }
        edit.put_object(Object::ZSet(zset), None);
    }
}
