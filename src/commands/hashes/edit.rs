//! Changes to a hash, whichever form it has. A small one becomes large when it has too many fields or one that is too
//! long, and stays so.
//!
//! Whoever calls has checked that the key holds a hash or nothing.

use crate::{
    commands::Limits,
    store::{
        Edit, Form, Object, Value,
        objects::hash::{Hash, Lasts},
        packed::{self, Encoded, HEAD},
    },
};

/// What `hash-max-listpack-entries` may be at most, so that a small hash and as many new fields fit one packed run.
const MOST_ENTRIES: usize = packed::MOST / 4;

/// The packed run of a small hash, empty for a vacant key; `None` for a large one.
fn small<'s>(entry: &'s Edit<'_, '_>) -> Option<&'s [u8]> {
    match entry.value() {
        None => Some(&packed::EMPTY),
        Some(Value::Packed(_, run)) => Some(run),
        Some(_) => None,
    }
}

/// Changes a large hash.
fn large<R: Default>(entry: &mut Edit<'_, '_>, change: impl FnOnce(&mut Hash) -> R) -> R {
    entry.object(|object| match object {
        Object::Hash(hash) => change(hash),
        _ => R::default(),
    })
}

/// Gives fields values, in order; a hash that is not there is made. Returns how many fields are new.
pub(in crate::commands) fn set<'t>(
    entry: &mut Edit<'_, '_>,
    pairs: impl ExactSizeIterator<Item = (&'t [u8], &'t [u8])> + Clone,
    lasts: Lasts,
    limits: &Limits,
) -> usize {
    let Some(run) = small(entry) else {
        return large(entry, |hash| set_all(hash, pairs, lasts));
    };
    let entries = limits.hash_max_listpack_entries.min(MOST_ENTRIES);
    let long = |text: &[u8]| text.len() > limits.hash_max_listpack_value;
    let dated = matches!(lasts, Lasts::Until(_));
    if dated || pairs.len() > entries || pairs.clone().any(|(field, value)| long(field) || long(value)) {
        let mut hash = Hash::of(run, limits.hash_seed);
        let new = set_all(&mut hash, pairs, lasts);
        entry.promote(Object::Hash(hash));
        return new;
    }
    let fields = packed::count(run) / 2;
    if pairs.len() == 1 && fields < entries {
        return pairs.map(|(field, value)| set_small(entry, field, value)).sum();
    }
    let mut all = run.to_vec();
    for (field, value) in pairs {
        match packed::find(&all, field, 2).and_then(|found| packed::after(&all, &found)) {
            Some(old) => {
                let place = old.range;
                packed::replace(&mut all, place, value);
            }
            None => {
                packed::push(&mut all, field);
                packed::push(&mut all, value);
            }
        }
    }
    let now = packed::count(&all) / 2;
    if now > entries {
        entry.promote(Object::Hash(Hash::of(&all, limits.hash_seed)));
    } else {
        entry.put(Form::Hash, &[&all], entry.deadline());
    }
    now - fields
}

/// The usual case: one field of a small hash that has room.
fn set_small(entry: &mut Edit<'_, '_>, field: &[u8], value: &[u8]) -> usize {
    let value = Encoded::new(value);
    let run = small(entry).unwrap_or(&packed::EMPTY);
    if let Some(old) = packed::find(run, field, 2).and_then(|found| packed::after(run, &found)) {
        let place = old.range;
        entry.splice(place, &value.parts());
        return 0;
    }
    let (end, head) = (run.len(), packed::head(packed::count(run) + 2));
    let field = Encoded::new(field);
    let ([a, b, c], [d, e, f]) = (field.parts(), value.parts());
    if end == HEAD {
        entry.put(Form::Hash, &[&head, a, b, c, d, e, f], None);
    } else {
        entry.splice(0..HEAD, &[&head]);
        entry.splice(end..end, &[a, b, c, d, e, f]);
    }
    1
}

fn set_all<'t>(hash: &mut Hash, pairs: impl Iterator<Item = (&'t [u8], &'t [u8])>, lasts: Lasts) -> usize {
    pairs.filter(|(field, value)| hash.set(field, value, lasts)).count()
}

/// Gives a field that is there a deadline, or takes it away.
pub(in crate::commands) fn set_deadline(
    entry: &mut Edit<'_, '_>,
    field: &[u8],
    deadline: Option<u64>,
    limits: &Limits,
) {
    if let Some(run) = small(entry) {
        if deadline.is_none() {
            return;
        }
        let hash = Hash::of(run, limits.hash_seed);
        entry.promote(Object::Hash(hash));
    }
    large(entry, |hash| hash.set_deadline(field, deadline));
}

/// Removes those of the fields that are over at `now`, and logs it. There must be others that are not.
pub(super) fn expire<'t>(entry: &mut Edit<'_, '_>, fields: impl Iterator<Item = &'t [u8]>, now: u64) {
    let Some(Value::Big(Object::Hash(hash))) = entry.value() else { return };
    if hash.soonest() > now {
        return;
    }
    let is_over = |field: &&[u8]| {
        hash.get(field).and_then(|parts| parts.deadline).is_some_and(|deadline| deadline <= now)
    };
    let over: Vec<&[u8]> = fields.filter(is_over).collect();
    if over.is_empty() {
        return;
    }
    let removed = remove(entry, over.iter().copied());
    entry.count_expired_fields(removed);
    let effect = [&[b"HDEL", entry.key().bytes], &over[..]].concat();
    entry.log(&effect);
}

/// Takes fields out. Returns how many there were. A hash without fields is removed.
pub(super) fn remove<'t>(entry: &mut Edit<'_, '_>, fields: impl Iterator<Item = &'t [u8]>) -> usize {
    let mut removed = 0;
    if small(entry).is_none() {
        let empty = large(entry, |hash| {
            removed = fields.filter(|field| hash.remove(field)).count();
            hash.is_empty()
        });
        if empty {
            entry.remove();
        }
        return removed;
    }
    for field in fields {
        let run = small(entry).unwrap_or(&packed::EMPTY);
        let Some(found) = packed::find(run, field, 2) else {
            continue;
        };
        removed += 1;
        let start = found.range.start;
        let end = packed::after(run, &found).map_or(found.range.end, |value| value.range.end);
        let left = packed::count(run) - 2;
        if left == 0 {
            entry.remove();
            break;
        }
        entry.splice(start..end, &[]);
        entry.splice(0..HEAD, &[&packed::head(left)]);
    }
    removed
}
