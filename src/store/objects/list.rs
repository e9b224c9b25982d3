//! Lists: the large form, and how both forms are read.
//!
//! A large list is a row of packed runs ("nodes", as in Redis' quicklist). Work at the ends touches one node; a place
//! inside is found by the nodes' counts, from the nearer end. How large a node may become is Redis'
//! `list-max-listpack-size`; a list that fits one node is a small one, and lies in its entry.

use std::{collections::VecDeque, ops::Range};

use crate::store::{
    packed::{self, Encoded, HEAD, Item},
    value::{Form, Object, Value},
};

/// Bytes that a node is given at first, where its first element needs less: it will be filled.
const FIRST_CAPACITY: usize = 512;

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where LPUSH adds.
    Front,
    /// Where RPUSH adds.
    Back,
}

/// How large a node, or a small list, may be.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimit {
    bytes: usize,
    count: usize,
}

impl NodeLimit {
    /// What a listpack has around its elements beyond what a packed run has: Redis counts it.
    const LISTPACK_EXTRA: usize = 5;

    /// The bytes that a node may have if the setting tells a number of elements.
    const SAFE_BYTES: usize = 8192;

    /// What `list-max-listpack-size` says: -1 to -5 for 4 to 64 KiB, else a number of elements.
    pub fn new(setting: i32) -> Self {
        match usize::try_from(setting) {
            Ok(count) => Self { bytes: Self::SAFE_BYTES, count: count.clamp(1, packed::MOST) },
            Err(_) => Self { bytes: 4096 << (setting.unsigned_abs().min(5) - 1), count: packed::MOST },
        }
    }

    /// Whether a run may have so many bytes and elements.
    pub fn allows(self, bytes: usize, count: usize) -> bool {
        bytes + Self::LISTPACK_EXTRA <= self.bytes && count <= self.count
    }

    /// Whether this list, which has become shorter, is to be a small one again: at half of the limit, so that one
    /// at the border does not go to and fro.
    pub fn shrinks(self, list: &List) -> Option<&[u8]> {
        let half = Self { bytes: self.bytes / 2, count: self.count / 2 };
        match list.nodes.front() {
            Some(node) if list.nodes.len() == 1 && half.allows(node.len(), list.len) => Some(node),
            _ => None,
        }
    }
}

/// A large list.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Packed runs, none of them empty.
    nodes: VecDeque<Vec<u8>>,
    len: usize,
    /// Capacity of all nodes.
    bytes: usize,
}

impl List {
    /// A list of what a packed run holds.
    pub fn of(run: &[u8]) -> Self {
        let mut list = Self::default();
        if packed::count(run) > 0 {
            list.add_node(0, run.to_vec());
        }
        list
    }

    /// Bytes of memory that it owns.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + self.nodes.capacity() * size_of::<Vec<u8>>()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds an element at an end.
    pub fn push(&mut self, end: End, text: &[u8], limit: NodeLimit) {
        let element = Encoded::new(text);
        let node = match end {
            End::Front => 0,
            End::Back => self.nodes.len().saturating_sub(1),
        };
        if self.has_room(node, &element, limit) {
            let at = match end {
                End::Front => HEAD,
                End::Back => self.nodes[node].len(),
            };
            self.insert_at(node, at, &element);
        } else {
            self.add_element_node(if end == End::Front { 0 } else { self.nodes.len() }, &element);
        }
    }

    /// Puts an element in front of the one at `index`, or at the end if there is none.
    pub fn insert(&mut self, index: usize, text: &[u8], limit: NodeLimit) {
        if index == 0 || index >= self.len {
            let end = if index == 0 { End::Front } else { End::Back };
            return self.push(end, text, limit);
        }
        let element = Encoded::new(text);
        let (mut node, inside) = self.locate(index);
        let at = packed::range_of(&self.nodes[node], inside, 0).start;
        if self.has_room(node, &element, limit) {
            return self.insert_at(node, at, &element);
        }
        if inside > 0 {
            self.split(node, at, inside);
            node += 1;
        }
        // Now it belongs between two nodes, of which the first exists since `index` is not 0.
        if self.has_room(node - 1, &element, limit) {
            self.insert_at(node - 1, self.nodes[node - 1].len(), &element);
        } else if self.has_room(node, &element, limit) {
            self.insert_at(node, HEAD, &element);
        } else {
            self.add_element_node(node, &element);
        }
    }

    /// Replaces the element at `index`, which exists.
    pub fn set(&mut self, index: usize, text: &[u8], limit: NodeLimit) {
        let (node, inside) = self.locate(index);
        let run = &self.nodes[node];
        let range = packed::range_of(run, inside, 1);
        if limit.allows(run.len() - range.len() + packed::encoded_len(text), packed::count(run)) {
            self.change(node, |run| packed::replace(run, range, text));
        } else {
            self.remove(index, 1);
            self.insert(index, text, limit);
        }
    }

    /// Takes out `count` elements from the one at `from` on, or as many as there are.
    pub fn remove(&mut self, from: usize, count: usize) {
        let mut left = count.min(self.len.saturating_sub(from));
        if left == 0 {
            return;
        }
        let (mut node, inside) = self.locate(from);
        self.len -= left;
        if inside > 0 {
            left -= self.cut(node, inside, left);
            node += 1;
        }
        let mut whole = node;
        while left > 0 && packed::count(&self.nodes[whole]) <= left {
            left -= packed::count(&self.nodes[whole]);
            self.bytes -= self.nodes[whole].capacity();
            whole += 1;
        }
        self.nodes.drain(node..whole);
        if left > 0 {
            self.cut(node, 0, left);
        }
        if self.nodes.len() * 4 < self.nodes.capacity() {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
    }

    /// Takes out up to `most` elements that are `text`, the ones nearest to `from` first. Returns how many.
    pub fn remove_equal(&mut self, text: &[u8], most: usize, from: End, limit: NodeLimit) -> usize {
        let mut left = most;
        let count = self.nodes.len();
        for step in 0..count {
            let node = match from {
                End::Front => step,
                End::Back => count - 1 - step,
            };
            if left == 0 {
                break;
            }
            if let Some((run, removed)) = without(&self.nodes[node], text, left, from) {
                self.nodes[node] = run;
                left -= removed;
            }
        }
        if left < most {
            self.len -= most - left;
            self.merge(limit);
        }
        most - left
    }

    /// Puts neighbours that fit one node together, and drops empty nodes.
    fn merge(&mut self, limit: NodeLimit) {
        for node in std::mem::take(&mut self.nodes) {
            let added = packed::count(&node);
            match self.nodes.back_mut() {
                _ if added == 0 => {}
                Some(last) if limit.allows(last.len() + node.len() - HEAD, packed::count(last) + added) => {
                    let head = packed::head(packed::count(last) + added);
                    last[..HEAD].copy_from_slice(&head);
                    last.extend_from_slice(&node[HEAD..]);
                }
                _ => self.nodes.push_back(node),
            }
        }
        self.bytes = self.nodes.iter().map(Vec::capacity).sum();
    }

    /// The node that holds the element at `index`, which exists, and the element's index in it.
    fn locate(&self, index: usize) -> (usize, usize) {
        let mut node = 0;
        if index <= self.len / 2 {
            let mut before = 0;
            while index >= before + packed::count(&self.nodes[node]) {
                before += packed::count(&self.nodes[node]);
                node += 1;
            }
            return (node, index - before);
        }
        let mut before = self.len;
        node = self.nodes.len();
        while before > index {
            node -= 1;
            before -= packed::count(&self.nodes[node]);
        }
        (node, index - before)
    }

    fn has_room(&self, node: usize, element: &Encoded<'_>, limit: NodeLimit) -> bool {
        let room = |run: &Vec<u8>| limit.allows(run.len() + element.len(), packed::count(run) + 1);
        self.nodes.get(node).is_some_and(room)
    }

    fn insert_at(&mut self, node: usize, at: usize, element: &Encoded<'_>) {
        self.change(node, |run| packed::insert_encoded(run, at, element));
        self.len += 1;
    }

    fn add_element_node(&mut self, node: usize, element: &Encoded<'_>) {
        let mut run = Vec::with_capacity((HEAD + element.len()).max(FIRST_CAPACITY));
        run.extend_from_slice(&packed::head(1));
        element.parts().iter().for_each(|part| run.extend_from_slice(part));
        self.add_node(node, run);
    }

    fn add_node(&mut self, node: usize, run: Vec<u8>) {
        self.len += packed::count(&run);
        self.bytes += run.capacity();
        self.nodes.insert(node, run);
    }

    /// Moves what is behind byte `at`, element `inside`, into a node of its own.
    fn split(&mut self, node: usize, at: usize, inside: usize) {
        let run = &self.nodes[node];
        let behind = packed::count(run) - inside;
        let tail = [&packed::head(behind), &run[at..]].concat();
        let end = run.len();
        self.change(node, |run| {
            packed::cut(run, at..end, behind);
            run.shrink_to_fit();
        });
        self.len -= behind;
        self.add_node(node + 1, tail);
    }

    /// Takes up to `most` elements out of a node, but not all of them; returns how many.
    fn cut(&mut self, node: usize, inside: usize, most: usize) -> usize {
        let run = &self.nodes[node];
        let removed = most.min(packed::count(run) - inside);
        let range = packed::range_of(run, inside, removed);
        self.change(node, |run| {
            packed::cut(run, range, removed);
            if run.len() * 4 < run.capacity() {
                run.shrink_to((run.len() * 2).max(FIRST_CAPACITY));
            }
        });
        removed
    }

    fn change(&mut self, node: usize, change: impl FnOnce(&mut Vec<u8>)) {
        let run = &mut self.nodes[node];
        self.bytes -= run.capacity();
        change(run);
        self.bytes += run.capacity();
    }
}

/// A packed run without up to `most` elements that are `text`, the ones nearest to `from` first, and how many those
/// were; `None` if there are none.
pub fn without(run: &[u8], text: &[u8], most: usize, from: End) -> Option<(Vec<u8>, usize)> {
    let wanted = Item::of(text);
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut take = |element: packed::Element<'_>| {
        if element.value == wanted {
            found.push(element.range);
        }
        found.len() < most
    };
    match from {
        End::Front => packed::iter(run).all(&mut take),
        End::Back => packed::iter(run).rev().all(&mut take),
    };
    if found.is_empty() {
        return None;
    }
    if from == End::Back {
        found.reverse();
    }
    let removed: usize = found.iter().map(|range| range.len()).sum();
    let mut kept = Vec::with_capacity(run.len() - removed);
    kept.extend_from_slice(&packed::head(packed::count(run) - found.len()));
    let mut at = HEAD;
    for range in &found {
        kept.extend_from_slice(&run[at..range.start]);
        at = range.end;
    }
    kept.extend_from_slice(&run[at..]);
    Some((kept, found.len()))
}

/// A list of either form, to read.
#[derive(Clone, Copy)]
pub enum ListRef<'a> {
    /// A packed run.
    Small(&'a [u8]),
    /// A large list.
    Large(&'a List),
}

impl<'a> ListRef<'a> {
    /// The list that a value is, if it is one.
    pub fn of(value: Value<'a>) -> Option<Self> {
        match value {
            Value::Packed(Form::List, run) => Some(Self::Small(run)),
            Value::Big(Object::List(list)) => Some(Self::Large(list)),
            _ => None,
        }
    }

    /// Number of elements.
    pub fn len(self) -> usize {
        match self {
            Self::Small(run) => packed::count(run),
            Self::Large(list) => list.len,
        }
    }

    /// Whether there are none: never, for a list that a key holds.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The element at `index`.
    pub fn get(self, index: usize) -> Option<Item<'a>> {
        if index >= self.len() {
            return None;
        }
        let (run, inside, _) = self.locate(index);
        packed::get(run, inside).map(|element| element.value)
    }

    /// The elements from the one at `index` on.
    pub fn iter_from(self, index: usize) -> impl Iterator<Item = Item<'a>> {
        let (run, part, rest) = match index < self.len() {
            false => (&packed::EMPTY[..], HEAD..HEAD, None),
            true => {
                let (run, inside, rest) = self.locate(index);
                (run, packed::range_of(run, inside, 0).start..run.len(), rest)
            }
        };
        let rest = rest.into_iter().flat_map(|(list, node)| list.nodes.range(node + 1..));
        packed::iter_in(run, part).chain(rest.flat_map(|run| packed::iter(run))).map(|element| element.value)
    }

    /// The element at `index`, the one before it, and so on to the first.
    pub fn iter_back_from(self, index: usize) -> impl Iterator<Item = Item<'a>> {
        let (run, part, rest) = match index < self.len() {
            false => (&packed::EMPTY[..], HEAD..HEAD, None),
            true => {
                let (run, inside, rest) = self.locate(index);
                (run, HEAD..packed::range_of(run, inside, 1).end, rest)
            }
        };
        let rest = rest.into_iter().flat_map(|(list, node)| list.nodes.range(..node).rev());
        packed::iter_in(run, part)
            .rev()
            .chain(rest.flat_map(|run| packed::iter(run).rev()))
            .map(|element| element.value)
    }

    /// The packed runs that it is made of, in order.
    pub fn runs(self) -> impl Iterator<Item = &'a [u8]> {
        let (small, large) = match self {
            Self::Small(run) => (Some(run), None),
            Self::Large(list) => (None, Some(list)),
        };
        small.into_iter().chain(large.into_iter().flat_map(|list| list.nodes.iter().map(Vec::as_slice)))
    }

    /// The run that holds the element at `index`, its index there, and the node of a large list that it is.
    fn locate(self, index: usize) -> (&'a [u8], usize, Option<(&'a List, usize)>) {
        match self {
            Self::Small(run) => (run, index, None),
            Self::Large(list) => {
                let (node, inside) = list.locate(index);
                (&list.nodes[node], inside, Some((list, node)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(bool, Vec<u8>),
        Insert(usize, Vec<u8>),
        Set(usize, Vec<u8>),
        Remove(usize, usize),
        RemoveEqual(Vec<u8>, usize, bool),
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => (0..20u32).prop_map(|number| number.to_string().into_bytes()),
            2 => (0..9u8, 20..40usize).prop_map(|(byte, len)| vec![b'a' + byte; len]),
            1 => (9_000..9_010usize).prop_map(|len| vec![b'z'; len]),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = 0..400usize;
        prop_oneof![
            6 => (any::<bool>(), text()).prop_map(|(front, text)| Step::Push(front, text)),
            3 => (index.clone(), text()).prop_map(|(at, text)| Step::Insert(at, text)),
            3 => (index.clone(), text()).prop_map(|(at, text)| Step::Set(at, text)),
            1 => (index, 0..20usize).prop_map(|(at, count)| Step::Remove(at, count)),
            1 => (text(), 1..9usize, any::<bool>()).prop_map(|(text, most, front)| {
                Step::RemoveEqual(text, most, front)
            }),
        ]
    }

    fn end(front: bool) -> End {
        if front { End::Front } else { End::Back }
    }

    fn apply(list: &mut List, model: &mut Vec<Vec<u8>>, step: Step, limit: NodeLimit) {
        match step {
            Step::Push(front, text) => {
                list.push(end(front), &text, limit);
                model.insert(if front { 0 } else { model.len() }, text);
            }
            Step::Insert(at, text) => {
                list.insert(at, &text, limit);
                model.insert(at.min(model.len()), text);
            }
            Step::Set(at, text) => {
                if at < model.len() {
                    list.set(at, &text, limit);
                    model[at] = text;
                }
            }
            Step::Remove(at, count) => {
                list.remove(at, count);
                let at = at.min(model.len());
                model.drain(at..(at + count).min(model.len()));
            }
            Step::RemoveEqual(text, most, front) => {
                let mut places: Vec<usize> = (0..model.len()).filter(|&at| model[at] == text).collect();
                if !front {
                    places.reverse();
                }
                places.truncate(most);
                places.sort_unstable();
                let removed = list.remove_equal(&text, most, end(front), limit);
                assert_eq!(removed, places.len());
                places.iter().rev().for_each(|&at| drop(model.remove(at)));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_is_a_list_after_any_changes(steps in prop::collection::vec(step(), 1..300), setting in -5..40i32) {
            let limit = NodeLimit::new(setting);
            let (mut list, mut model) = (List::default(), Vec::new());
            for step in steps {
                apply(&mut list, &mut model, step, limit);
                prop_assert_eq!(list.len(), model.len());
                let bytes: usize = list.nodes.iter().map(Vec::capacity).sum();
                prop_assert_eq!(list.bytes, bytes);
            }
            prop_assert!(list.nodes.iter().all(|node| packed::count(node) > 0));
            let view = ListRef::Large(&list);
            let all: Vec<_> = view.iter_from(0).map(|item| item.to_vec()).collect();
            prop_assert_eq!(&all, &model);
            for at in 0..model.len() {
                prop_assert!(view.get(at).unwrap() == *model[at]);
                prop_assert!(view.iter_from(at).map(|item| item.to_vec()).eq(model[at..].iter().cloned()));
                let back = view.iter_back_from(at).map(|item| item.to_vec());
                prop_assert!(back.eq(model[..=at].iter().rev().cloned()));
            }
            prop_assert_eq!(view.get(model.len()), None);
            prop_assert_eq!(view.iter_from(model.len()).count() + view.iter_back_from(model.len()).count(), 0);
        }
    }

    #[test]
    fn nodes_keep_within_their_limit() {
        let limit = NodeLimit::new(-1);
        let mut list = List::default();
        for number in 0..20_000u32 {
            list.insert(number as usize / 2, format!("value {number}").as_bytes(), limit);
        }
        assert!(list.nodes.iter().all(|node| limit.allows(node.len(), packed::count(node))));
        assert!(list.nodes.len() < 150, "{}", list.nodes.len());
        list.remove(100, 19_800);
        assert!(list.heap_bytes() < 10_000, "{}", list.heap_bytes());
        assert_eq!(limit.shrinks(&list), None);
    }
}
