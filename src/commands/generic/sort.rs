//! SORT and SORT_RO: the elements of a list, a set or a sorted set in order, or what keys hold that are named after
//! them.
//!
//! Numbers that are equal are ordered by their elements, as in Redis; texts that are equal (by a pattern) stay in the
//! order in which they were.

use std::{cmp::Ordering, ops::Range};

use ringfort_protocol::{
    Args,
    number::{parse_f64, parse_i64},
};
use smallvec::SmallVec;

use super::pattern::{Pattern, Target};
use crate::{
    commands::{
        Acl, Begin, Command, CommandError, Cx, Done, Find, Flags, KeyFlags, KeySpec, Run,
        follow::{Following, Reach, Visitor},
        lists,
        parse::{integer, is},
        rebuild::Chunk,
        reply::Allowance,
    },
    store::{
        Db, Key, Value,
        objects::{
            list::{End, ListRef},
            set::SetRef,
            zset::ZSetRef,
        },
        packed::Item,
    },
};

const READ: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);

/// What its patterns name.
const BY_PATTERNS: KeySpec =
    KeySpec { begin: Begin::InData, find: Find::Range { last: 0, step: 1 }, flags: READ };

/// The options, and how many values each has.
const OPTIONS: &[(&str, u8)] = &[("by", 1), ("get", 1), ("limit", 2), ("store", 1)];

pub(super) const SORT: Command = Command {
    name: "sort",
    summary: "Sorts the elements of a list, a set or a sorted set, or what keys named after them hold; may store them",
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[
        KeySpec::at(1, READ),
        BY_PATTERNS,
        KeySpec {
            begin: Begin::Option("store", OPTIONS),
            find: Find::Range { last: 0, step: 1 },
            flags: KeyFlags::OW.and(KeyFlags::UPDATE),
        },
    ],
    run: Run::Following(Following {
        run: |cx, args| sort(cx, args, true),
        reach,
        find: |cx, args, visit| find(cx, args, true, visit),
    }),
    ..SORT_RO
};

pub(super) const SORT_RO: Command = Command {
    name: "sort_ro",
    summary: "Sorts the elements of a list, a set or a sorted set, or what keys named after them hold",
    since: "7.0.0",
    complexity: "O(N+M*log(M)) where N is the number of elements and M the number of those that are returned",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::SET.and(Acl::SORTED_SET).and(Acl::LIST).and(Acl::DANGEROUS),
    keys: &[KeySpec::at(1, READ), BY_PATTERNS],
    run: Run::Following(Following {
        run: |cx, args| sort(cx, args, false),
        reach,
        find: |cx, args, visit| find(cx, args, false, visit),
    }),
    ..Command::BASE
};

/// What the arguments ask for.
struct Query<'a> {
    /// Whether the elements are sorted at all: not if they are to be sorted `BY` what no element is part of.
    sorts: bool,
    texts: bool,
    descending: bool,
    by: Option<Pattern<'a>>,
    gets: Vec<Pattern<'a>>,
    offset: i64,
    count: i64,
    stores: bool,
}

impl<'a> Query<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut query = Self {
            sorts: true,
            texts: false,
            descending: false,
            by: None,
            gets: Vec::new(),
            offset: 0,
            count: -1,
            stores: false,
        };
        let mut rest = args.slice(2..);
        while let Some(word) = rest.get(0) {
            let values = rest.len() - 1;
            let taken = if is(word, "asc") {
                query.descending = false;
                1
            } else if is(word, "desc") {
                query.descending = true;
                1
            } else if is(word, "alpha") {
                query.texts = true;
                1
            } else if is(word, "limit") && values >= 2 {
                (query.offset, query.count) = (integer(rest.at(1))?, integer(rest.at(2))?);
                3
            } else if may_store && is(word, "store") && values >= 1 {
                query.stores = true;
                2
            } else if is(word, "by") && values >= 1 {
                let pattern = Pattern::of(rest.at(1));
                query.sorts &= matches!(pattern, Pattern::Named { .. });
                query.by = Some(pattern);
                2
            } else if is(word, "get") && values >= 1 {
                query.gets.push(Pattern::of(rest.at(1)));
                2
            } else {
                return Err(CommandError::Syntax);
            };
            rest = rest.slice(taken..);
        }
        Ok(query)
    }

    /// Which of `len` elements in order are wanted.
    fn window(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset).unwrap_or(0).min(len);
        let count = usize::try_from(self.count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }

    /// Reads the elements: those that are wanted if they are in order already, else all. A set that is stored without
    /// an order is sorted nevertheless, so that the result does not depend on where its members lie.
    fn read(&mut self, db: &Db<'_>, key: Key<'_>) -> Result<Elements, CommandError> {
        let Some(value) = db.read(key) else { return Ok(Elements::default()) };
        let source = Source::of(value).ok_or(CommandError::WrongType)?;
        let mut elements = Elements::with_capacity(if self.sorts { source.len() } else { 0 });
        let len = match source {
            Source::List(list) if self.sorts => {
                list.iter_from(0).for_each(|item| elements.push(item));
                list.len()
            }
            Source::List(list) => {
                let (wanted, last) = (self.window(list.len()), list.len() - 1);
                if self.descending && !wanted.is_empty() {
                    let backwards = list.iter_back_from(last - wanted.start);
                    backwards.take(wanted.len()).for_each(|item| elements.push(item));
                } else {
                    list.iter_from(wanted.start).take(wanted.len()).for_each(|item| elements.push(item));
                }
                elements.wanted = 0..wanted.len();
                return Ok(elements);
            }
            Source::SortedSet(members) if self.sorts => {
                members.each(0..members.len(), false, |member, _| elements.push(Item::Bytes(member)));
                members.len()
            }
            Source::SortedSet(members) => {
                let (wanted, len) = (self.window(members.len()), members.len());
                let ranks =
                    if self.descending { len - wanted.end..len - wanted.start } else { wanted.clone() };
                members.each(ranks, self.descending, |member, _| elements.push(Item::Bytes(member)));
                elements.wanted = 0..wanted.len();
                return Ok(elements);
            }
            Source::Set(members) => {
                if !self.sorts && self.stores {
                    (self.sorts, self.texts, self.by) = (true, true, None);
                }
                members.each(|member| elements.push(member));
                members.len()
            }
        };
        elements.wanted = self.window(len);
        Ok(elements)
    }

    /// What counts of a text when texts are compared: as in Redis, all of it where the result is stored, else what C
    /// takes for it.
    fn compared<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        if self.stores { text } else { before_zero(text) }
    }

    /// What is found for an element that it is to be sorted by.
    fn weight<'s>(
        &self,
        element: &'s [u8],
        db: &'s Db<'_>,
        seed: u64,
        name: &mut Vec<u8>,
    ) -> Option<Target<'s>> {
        match self.by {
            None => Some(Target::Item(Item::Bytes(element))),
            Some(pattern) => pattern.look_up(db, seed, element, name),
        }
    }

    /// Finds the order that is asked for, as far as it is wanted.
    fn sort(&self, elements: &mut Elements, db: &Db<'_>, seed: u64) -> Result<(), CommandError> {
        elements.order =
            if self.texts { self.by_text(elements, db, seed) } else { self.by_number(elements, db, seed)? };
        Ok(())
    }

    /// What has no text comes first; equal ones stay in the order in which they are.
    fn by_text(&self, elements: &Elements, db: &Db<'_>, seed: u64) -> Vec<usize> {
        let mut name = Vec::new();
        // What the elements are sorted by stays where it is: many of them may have the same long text.
        let mut find = |element| self.weight(element, db, seed, &mut name).map(Weight::of);
        let found: Option<Vec<_>> = self.by.map(|_| elements.all().map(&mut find).collect());
        let texts = elements.all().enumerate().map(|(at, element)| match &found {
            Some(found) => found[at].as_ref().map(|weight| self.compared(weight.text())),
            None => Some(self.compared(element)),
        });
        let shared = shared_start(texts.clone().flatten());
        // The eight bytes behind what all have in common decide nearly always.
        let key =
            |(at, text): (usize, Option<_>)| (text.map(|text: &[u8]| (head(&text[shared..]), text)), at);
        let mut keys: Vec<_> = texts.enumerate().map(key).collect();
        first_in_order(&mut keys, elements.wanted.end, |a, b| {
            let order = if self.descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
            order.then(a.1.cmp(&b.1))
        });
        keys.into_iter().map(|(_, at)| at).collect()
    }

    /// Equal numbers are ordered by their elements.
    fn by_number(&self, elements: &Elements, db: &Db<'_>, seed: u64) -> Result<Vec<usize>, CommandError> {
        let mut name = Vec::new();
        let mut keys = Vec::with_capacity(elements.places.len());
        for (at, element) in elements.all().enumerate() {
            let weight = self.weight(element, db, seed, &mut name);
            let found = weight.map_or(Some(0.0), |weight| number(weight.text(&mut itoa::Buffer::new())));
            let number =
                found.ok_or(CommandError::other("ERR One or more scores can't be converted into double"))?;
            keys.push((number, at));
        }
        first_in_order(&mut keys, elements.wanted.end, |a, b| {
            let order = a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal);
            let order = order.then_with(|| elements.at(a.1).cmp(elements.at(b.1)));
            if self.descending { order.reverse() } else { order }
        });
        Ok(keys.into_iter().map(|(_, at)| at).collect())
    }
}

/// Brings the first `most` keys into order, and leaves the others behind them.
fn first_in_order<K>(keys: &mut [K], most: usize, compare: impl Fn(&K, &K) -> Ordering) {
    let mut first = keys;
    if most == 0 {
        return;
    }
    if most < first.len() {
        first = first.select_nth_unstable_by(most, &compare).0;
    }
    first.sort_unstable_by(compare);
}

/// With how many bytes all texts begin alike.
fn shared_start<'t>(mut texts: impl Iterator<Item = &'t [u8]>) -> usize {
    let first = texts.next().unwrap_or_default();
    let alike = |text: &[u8], most| first[..most].iter().zip(text).take_while(|(a, b)| a == b).count();
    texts.fold(first.len(), |most, text| alike(text, most))
}

/// The first eight bytes, as a number that is ordered as they are.
fn head(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => text.iter().chain(&[0; 8]).take(8).fold(0, |head, byte| head << 8 | u64::from(*byte)),
    }
}

/// What an element is sorted by, as text.
enum Weight<'s> {
    Text(&'s [u8]),
    Number(SmallVec<[u8; 20]>),
}

impl<'s> Weight<'s> {
    fn of(target: Target<'s>) -> Self {
        match target {
            Target::Item(Item::Bytes(text)) => Self::Text(text),
            Target::Shared(text) => Self::Text(text),
            Target::Item(Item::Int(number)) => {
                Self::Number(itoa::Buffer::new().format(number).as_bytes().into())
            }
        }
    }

    fn text(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Number(digits) => digits,
        }
    }
}

/// C's texts end before the first byte that is zero.
fn before_zero(text: &[u8]) -> &[u8] {
    text.iter().position(|byte| *byte == 0).map_or(text, |end| &text[..end])
}

/// A number as C's `strtod` reads a whole text: nothing counts as 0, and space may stand before it.
fn number(text: &[u8]) -> Option<f64> {
    if let Some(integer) = parse_i64(text) {
        return Some(integer as f64);
    }
    let text = before_zero(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let space = text.iter().take_while(|byte| matches!(byte, b' ' | b'\t'..=b'\r')).count();
    parse_f64(&text[space..]).filter(|number| !number.is_subnormal())
}

/// What can be sorted.
enum Source<'s> {
    List(ListRef<'s>),
    Set(SetRef<'s>),
    SortedSet(ZSetRef<'s>),
}

impl<'s> Source<'s> {
    fn of(value: Value<'s>) -> Option<Self> {
        let list = ListRef::of(value).map(Self::List);
        list.or_else(|| SetRef::of(value).map(Self::Set)).or_else(|| ZSetRef::of(value).map(Self::SortedSet))
    }

    fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Set(members) => members.len(),
            Self::SortedSet(members) => members.len(),
        }
    }
}

/// Copies of the elements, all in one piece of memory.
#[derive(Default)]
struct Elements {
    bytes: Vec<u8>,
    places: Vec<Range<usize>>,
    /// Their order, as far as it is wanted; empty: as they are.
    order: Vec<usize>,
    /// Which of them are wanted, once they are in order.
    wanted: Range<usize>,
}

impl Elements {
    fn with_capacity(elements: usize) -> Self {
        let bytes = Vec::with_capacity(elements * 8);
        Self { bytes, places: Vec::with_capacity(elements), ..Self::default() }
    }

    fn push(&mut self, item: Item<'_>) {
        let start = self.bytes.len();
        item.write(&mut self.bytes);
        self.places.push(start..self.bytes.len());
    }

    fn at(&self, place: usize) -> &[u8] {
        &self.bytes[self.places[place].clone()]
    }

    /// All of them, as they are.
    fn all(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.places.iter().map(|place| &self.bytes[place.clone()])
    }

    /// Those that are wanted, in order.
    fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.wanted.clone().map(|nth| self.at(self.order.get(nth).copied().unwrap_or(nth)))
    }
}

fn reach(args: Args<'_>) -> Reach {
    // What cannot be read will be refused.
    let Ok(query) = Query::parse(args, true) else { return Reach::Slots(Vec::new()) };
    let by = query.by.filter(|_| query.sorts);
    let names = by.iter().chain(&query.gets).filter(|pattern| matches!(pattern, Pattern::Named { .. }));
    let slots: Option<Vec<u16>> = names.map(Pattern::slot).collect();
    slots.map_or(Reach::Everything, Reach::Slots)
}

fn find(cx: &Cx<'_>, args: Args<'_>, may_store: bool, visit: &mut Visitor<'_>) -> Result<(), CommandError> {
    let mut query = Query::parse(args, may_store)?;
    let elements = query.read(&cx.db, cx.key(0))?;
    let by = query.by.filter(|_| query.sorts);
    let mut name = Vec::new();
    // What an element is sorted by decides on whether it is wanted, so all are asked for.
    for element in elements.all() {
        for pattern in by.iter().chain(&query.gets) {
            if let Some(wanted) = pattern.wanted(element, &mut name)
                && !visit(wanted)
            {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn sort(cx: &mut Cx<'_>, args: Args<'_>, may_store: bool) -> Result<Done, CommandError> {
    let mut query = Query::parse(args, may_store)?;
    let mut elements = query.read(&cx.db, cx.key(0))?;
    let seed = cx.limits.hash_seed;
    if query.sorts {
        query.sort(&mut elements, &cx.db, seed)?;
    }
    if query.stores {
        return store(cx, &query, &elements);
    }
    let (mut name, mut allowance) = (Vec::new(), Allowance::new(cx.limits));
    cx.out.array(elements.wanted.len() * query.gets.len().max(1));
    for element in elements.iter() {
        if query.gets.is_empty() {
            cx.out.bulk(element);
        }
        for pattern in &query.gets {
            let target = pattern.look_up(&cx.db, seed, element, &mut name);
            allowance.take(target.map_or(0, Target::len))?;
            match target {
                None => cx.out.null(),
                Some(Target::Item(item)) => cx.out.item(item),
                Some(Target::Shared(bytes)) => cx.out.bulk_shared(bytes),
            }
        }
    }
    Ok(Done::Read)
}

/// Stores the result as a list, with an empty text for what a pattern has not found.
fn store(cx: &mut Cx<'_>, query: &Query<'_>, elements: &Elements) -> Result<Done, CommandError> {
    let destination = cx.key(1);
    let (mut bytes, mut ends, mut name) = (Vec::new(), Vec::new(), Vec::new());
    let mut allowance = Allowance::new(cx.limits);
    for element in elements.iter() {
        if query.gets.is_empty() {
            bytes.extend_from_slice(element);
            ends.push(bytes.len());
        }
        for pattern in &query.gets {
            let target = pattern.look_up(&cx.db, cx.limits.hash_seed, element, &mut name);
            allowance.take(target.map_or(0, Target::len))?;
            if let Some(target) = target {
                target.write(&mut bytes);
            }
            ends.push(bytes.len());
        }
    }
    cx.out.count(ends.len());
    let text = |index: usize| &bytes[index.checked_sub(1).map_or(0, |last| ends[last])..ends[index]];
    let mut entry = cx.db.edit(destination);
    let was = entry.remove();
    if was {
        entry.log(&[b"DEL", destination.bytes]);
    }
    if ends.is_empty() {
        return Ok(if was { Done::Logged } else { Done::Unchanged });
    }
    lists::edit::push(&mut entry, End::Back, (0..ends.len()).map(text), lists::node_limit(cx.limits));
    let mut emit = |effect: &[&[u8]]| entry.log(effect);
    let mut chunk = Chunk::new(b"RPUSH", destination.bytes, &mut emit);
    (0..ends.len()).for_each(|index| chunk.add([Item::Bytes(text(index))]));
    chunk.end();
    Ok(Done::Logged)
}

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    #[test]
    fn what_patterns_get_is_not_repeated_without_end() {
        let mut bench = Bench::new();
        bench.limits.proto_max_bulk_len = 1_000;
        bench.run("rpush source 1 1 1");
        bench.run(&format!("set w1 {}", "v".repeat(300)));
        let error = "-ERR the result would have more bytes than proto-max-bulk-len; ask for less at a time ";
        for (command, refused) in [
            ("sort source by w* alpha", false),
            ("sort source get w*", false),
            ("sort source get w* get #", false),
            ("sort source get w* get # get none*", true),
            ("sort source get w* get w*", true),
            ("sort source get w* store to", false),
            ("sort source get w* get w* store to", true),
        ] {
            let reply = bench.run(command);
            assert_eq!(reply == error, refused, "{command}: {reply}");
        }
        assert_eq!(bench.run("llen to"), ":3 ");
    }
}
