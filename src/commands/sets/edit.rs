//! Changes to a set, whichever form it has. A set goes from integers to packed to large as its members ask for, and
//! never back.
//!
//! Whoever calls has checked that the key holds a set or nothing.

use crate::store::{
    Edit, Form, Object, Value,
    objects::{
        intset,
        set::{NewSet, Set, SetLimits, SetRef},
    },
    packed::{self, Encoded, HEAD, Item},
};

/// The set.
fn view<'s>(entry: &'s Edit<'_, '_>) -> Option<SetRef<'s>> {
    entry.value().and_then(SetRef::of)
}

/// Changes a large set.
fn large<R: Default>(entry: &mut Edit<'_, '_>, change: impl FnOnce(&mut Set) -> R) -> R {
    entry.object(|object| match object {
        Object::Set(set) => change(set),
        _ => R::default(),
    })
}

/// Adds members; a set that is not there is made. Returns how many are new.
pub(in crate::commands) fn add<'t>(
    entry: &mut Edit<'_, '_>,
    texts: impl ExactSizeIterator<Item = &'t [u8]> + Clone,
    limits: &SetLimits,
) -> usize {
    let first = texts.clone().next().unwrap_or_default();
    if texts.len() == 1
        && let Some(new) = add_in_place(entry, first, limits)
    {
        return new.into();
    }
    let mut set = match view(entry) {
        Some(SetRef::Large(_)) => return large(entry, |set| texts.filter(|text| set.add(text)).count()),
        None => NewSet::expecting(texts.len(), first, limits),
        // Redis takes so many for a sign that the set will be a large one.
        Some(set @ SetRef::Ints(_)) if texts.len() > limits.ints => NewSet::Large(Set::of(set, limits.seed)),
        Some(set @ SetRef::Small(_)) if texts.len() > limits.packed => {
            NewSet::Large(Set::of(set, limits.seed))
        }
        Some(set) => NewSet::of(set, limits),
    };
    let new = texts.filter(|text| set.add(text, limits)).count();
    put(entry, set, entry.deadline());
    new
}

/// Adds one member to a set that is not large, if it keeps its form. Returns whether the member is new.
fn add_in_place(entry: &mut Edit<'_, '_>, text: &[u8], limits: &SetLimits) -> Option<bool> {
    match (entry.value()?, Item::of(text)) {
        (Value::Packed(Form::IntSet, bytes), Item::Int(value)) => {
            let Err(index) = intset::find(bytes, value) else {
                return Some(false);
            };
            let width = intset::width(bytes);
            if intset::len(bytes) >= limits.ints || intset::width_of(value) > width {
                return None;
            }
            let at = intset::range(bytes, index).start;
            entry.splice(at..at, &[&value.to_le_bytes()[..width]]);
        }
        (Value::Packed(Form::Set, run), _) => {
            if packed::find(run, text, 1).is_some() {
                return Some(false);
            }
            let (count, end) = (packed::count(run), run.len());
            if !limits.packed_takes(count, text) {
                return None;
            }
            entry.splice(0..HEAD, &[&packed::head(count + 1)]);
            entry.splice(end..end, &Encoded::new(text).parts());
        }
        _ => return None,
    }
    Some(true)
}

/// Gives the key a set, which has members.
pub(super) fn put(entry: &mut Edit<'_, '_>, set: NewSet, deadline: Option<u64>) {
    match set {
        NewSet::Ints(bytes) => entry.put(Form::IntSet, &[&bytes], deadline),
        NewSet::Small(run) => entry.put(Form::Set, &[&run], deadline),
        NewSet::Large(set) => entry.put_object(Object::Set(set), deadline),
    }
}

/// Takes members out. Returns how many there were. A set without members is removed.
pub(super) fn remove<'t>(entry: &mut Edit<'_, '_>, texts: impl Iterator<Item = &'t [u8]>) -> usize {
    let mut removed = 0;
    if let Some(SetRef::Large(_)) = view(entry) {
        let empty = large(entry, |set| {
            removed = texts.filter(|text| set.remove(text)).count();
            set.is_empty()
        });
        if empty {
            entry.remove();
        }
        return removed;
    }
    for text in texts {
        if remove_small(entry, text) {
            removed += 1;
        }
    }
    removed
}

fn remove_small(entry: &mut Edit<'_, '_>, text: &[u8]) -> bool {
    let Some(set) = view(entry) else {
        return false;
    };
    let len = set.len();
    let range = match (set, Item::of(text)) {
        (SetRef::Ints(bytes), Item::Int(value)) => match intset::find(bytes, value) {
            Ok(index) => intset::range(bytes, index),
            Err(_) => return false,
        },
        (SetRef::Small(run), _) => match packed::find(run, text, 1) {
            Some(found) => found.range,
            None => return false,
        },
        _ => return false,
    };
    let packed = matches!(set, SetRef::Small(_));
    if len == 1 {
        return entry.remove();
    }
    entry.splice(range, &[]);
    if packed {
        entry.splice(0..HEAD, &[&packed::head(len - 1)]);
    }
    true
}
