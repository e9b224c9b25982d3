//! Changes to a list, whichever form it has: small ones grow into large ones and shrink back.
//!
//! Whoever calls has checked that the key holds a list (and, except for [`push`], that it holds one).

use crate::store::{
    Edit, Form, Object, Value,
    objects::list::{self, End, List, NodeLimit},
    packed::{self, Encoded, HEAD},
};

/// Number of elements and of bytes of a small list; `None` for a large one.
fn small(entry: &Edit<'_, '_>) -> Option<(usize, usize)> {
    match entry.value() {
        None => Some((0, HEAD)),
        Some(Value::Packed(_, run)) => Some((packed::count(run), run.len())),
        Some(_) => None,
    }
}

/// The packed run of a small list.
fn run<'s>(entry: &'s Edit<'_, '_>) -> &'s [u8] {
    match entry.value() {
        Some(Value::Packed(_, run)) => run,
        _ => &packed::EMPTY,
    }
}

/// Changes a large list.
fn large<R: Default>(entry: &mut Edit<'_, '_>, change: impl FnOnce(&mut List) -> R) -> R {
    entry.object(|object| match object {
        Object::List(list) => change(list),
        _ => R::default(),
    })
}

/// Makes a large list of a small one.
fn promote(entry: &mut Edit<'_, '_>, change: impl FnOnce(&mut List)) {
    let mut list = List::of(run(entry));
    change(&mut list);
    entry.promote(Object::List(list));
}

/// Adds elements at an end, one after the other; a list that is not there is made. Returns its length.
pub(in crate::commands) fn push<'t>(
    entry: &mut Edit<'_, '_>,
    end: End,
    texts: impl ExactSizeIterator<Item = &'t [u8]> + DoubleEndedIterator + Clone,
    limit: NodeLimit,
) -> usize {
    let Some((count, len)) = small(entry) else {
        return large(entry, |list| {
            texts.for_each(|text| list.push(end, text, limit));
            list.len()
        });
    };
    let total = count + texts.len();
    let added: usize = texts.clone().map(<[u8]>::len).sum();
    if !limit.allows(len + added, total) {
        promote(entry, |list| {
            texts.for_each(|text| list.push(end, text, limit));
        });
    } else if texts.len() == 1 {
        let encoded = texts.map(Encoded::new).next();
        let [a, b, c] = encoded.as_ref().map_or([&[][..]; 3], Encoded::parts);
        add(entry, end, count, len, &[&packed::head(total), a, b, c]);
    } else {
        let mut elements = Vec::with_capacity(added + 4 * texts.len());
        match end {
            End::Front => texts.rev().for_each(|text| packed::encode(&mut elements, text)),
            End::Back => texts.for_each(|text| packed::encode(&mut elements, text)),
        }
        add(entry, end, count, len, &[&packed::head(total), &elements]);
    }
    total
}

/// Adds encoded elements to a small list of `count` elements and `len` bytes; its new head comes first in `parts`.
fn add(entry: &mut Edit<'_, '_>, end: End, count: usize, len: usize, parts: &[&[u8]]) {
    if count == 0 {
        entry.put(Form::List, parts, None);
    } else if end == End::Front {
        entry.splice(0..HEAD, parts);
    } else {
        entry.splice(0..HEAD, &parts[..1]);
        entry.splice(len..len, &parts[1..]);
    }
}

/// Takes out `count` elements from the one at `from` on. A list without elements is removed.
pub(super) fn remove(entry: &mut Edit<'_, '_>, from: usize, count: usize, limit: NodeLimit) {
    if count == 0 {
        return;
    }
    match small(entry) {
        None => {
            large(entry, |list| list.remove(from, count));
            settle(entry, limit);
        }
        Some((all, _)) if from == 0 && count >= all => {
            entry.remove();
        }
        Some((all, _)) => {
            let range = packed::range_of(run(entry), from, count);
            let head = packed::head(all - count.min(all - from));
            if from == 0 {
                entry.splice(0..range.end, &[&head]);
            } else {
                entry.splice(range, &[]);
                entry.splice(0..HEAD, &[&head]);
            }
        }
    }
}

/// Takes out `count` elements at an end.
pub(super) fn take(entry: &mut Edit<'_, '_>, end: End, count: usize, limit: NodeLimit) {
    let from = match (end, entry.value().and_then(list::ListRef::of)) {
        (End::Back, Some(list)) => list.len().saturating_sub(count),
        _ => 0,
    };
    remove(entry, from, count, limit);
}

/// Replaces the element at `index`, which exists.
pub(super) fn set(entry: &mut Edit<'_, '_>, index: usize, text: &[u8], limit: NodeLimit) {
    match small(entry) {
        Some((count, len)) if limit.allows(len + text.len(), count) => {
            let range = packed::range_of(run(entry), index, 1);
            entry.splice(range, &Encoded::new(text).parts());
            return;
        }
        Some(_) => promote(entry, |list| list.set(index, text, limit)),
        None => large(entry, |list| list.set(index, text, limit)),
    }
    settle(entry, limit);
}

/// Puts an element in front of the one at `index`, or at the end of a list of `index` elements. Returns the length.
pub(super) fn insert(entry: &mut Edit<'_, '_>, index: usize, text: &[u8], limit: NodeLimit) -> usize {
    match small(entry) {
        Some((count, len)) => {
            if limit.allows(len + text.len(), count + 1) {
                let at = packed::range_of(run(entry), index, 0).start;
                entry.splice(at..at, &Encoded::new(text).parts());
                entry.splice(0..HEAD, &[&packed::head(count + 1)]);
            } else {
                promote(entry, |list| list.insert(index, text, limit));
            }
            count + 1
        }
        None => large(entry, |list| {
            list.insert(index, text, limit);
            list.len()
        }),
    }
}

/// Takes out up to `most` elements that are `text`, the ones nearest to `from` first. Returns how many. A list
/// without elements is removed.
pub(super) fn remove_equal(
    entry: &mut Edit<'_, '_>,
    text: &[u8],
    most: usize,
    from: End,
    limit: NodeLimit,
) -> usize {
    let Some((count, len)) = small(entry) else {
        let removed = large(entry, |list| list.remove_equal(text, most, from, limit));
        settle(entry, limit);
        return removed;
    };
    let Some((kept, removed)) = list::without(run(entry), text, most, from) else {
        return 0;
    };
    if removed == count {
        entry.remove();
    } else {
        entry.splice(0..len, &[&kept]);
    }
    removed
}

/// After a large list has shrunk: removes it if it is empty, makes it a small one if it has become short.
fn settle(entry: &mut Edit<'_, '_>, limit: NodeLimit) {
    let Some(Value::Big(Object::List(list))) = entry.value() else {
        return;
    };
    if list.is_empty() {
        entry.remove();
    } else if let Some(run) = limit.shrinks(list).map(<[u8]>::to_vec) {
        entry.put(Form::List, &[&run], entry.deadline());
    }
}
