//! A stream as the effects that rebuild it, and the two among them that clients cannot call.
//!
//! Entries, and what a stream knows of those that it had, are said by XADD and XSETID, groups by XGROUP CREATE. No
//! command of Redis tells a consumer's times, or that an entry is pending which was deleted since.

use ringfort_protocol::{Args, number::parse_i64};

use super::{WRITE, change_group, effects};
use crate::{
    commands::{Command, CommandError, Cx, Done, KeyFlags, KeySpec, Run, parse, streams::ids},
    store::objects::stream::{Group, Stream, StreamId},
};

/// The effects that clients cannot call.
pub(in crate::commands) static EFFECTS: [&Command; 2] = [&CONSUMER, &PENDING];

/// `stream.consumer key group consumer seen active`: the group has this consumer, with these times (-1: never).
pub(super) static CONSUMER: Command = Command {
    name: "stream.consumer",
    arity: 6,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let (seen, active) = (time(args.at(4)).unwrap_or(0), time(args.at(5)));
        put(cx, args, |group| {
            let consumer = group.find_or_create(args.at(3), seen).0;
            let consumer = group.consumer_mut(consumer);
            (consumer.seen, consumer.active) = (seen, active);
        })
    }),
    ..WRITE
};

/// `stream.pending key group consumer (id time count)…`: these entries are pending at the consumer, whether the stream
/// has them or not.
pub(super) static PENDING: Command = Command {
    name: "stream.pending",
    arity: -7,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let mut entries = Vec::new();
        let mut rest = args.slice(4..).iter();
        while let (Some(id), Some(time), Some(count)) = (rest.next(), rest.next(), rest.next()) {
            entries.push((
                ids::strict(id, 0)?,
                parse::positive(time)? as u64,
                parse::positive(count)? as u64,
            ));
        }
        put(cx, args, |group| {
            let consumer = group.find_or_create(args.at(3), 0).0;
            entries.iter().for_each(|(id, time, count)| group.assign(*id, consumer, *time, *count));
        })
    }),
    ..WRITE
};

fn time(text: &[u8]) -> Option<u64> {
    parse_i64(text).and_then(|time| u64::try_from(time).ok())
}

fn put(cx: &mut Cx<'_>, args: Args<'_>, work: impl FnOnce(&mut Group)) -> Result<Done, CommandError> {
    let mut edit = cx.db.edit(cx.keys[0]);
    change_group(&mut edit, args.at(2), work)
        .ok_or_else(|| super::no_group_of_key(args.at(1), args.at(2)))?;
    cx.out.ok();
    Ok(Done::Changed)
}

/// Pending entries in one effect.
const CHUNK: usize = 64;

/// Passes the commands that rebuild a stream to `emit`.
pub(in crate::commands) fn rebuild(key: &[u8], stream: &Stream, emit: &mut dyn FnMut(&[&[u8]])) {
    let (mut texts, mut ends) = (Vec::new(), Vec::new());
    for entry in stream.range(StreamId::MIN, StreamId::MAX) {
        texts.clear();
        ends.clear();
        entry.each(|name, value| {
            for item in [name, value] {
                item.write(&mut texts);
                ends.push(texts.len());
            }
        });
        let id = entry.id.text();
        let mut command = vec![&b"XADD"[..], key, id.as_bytes()];
        let mut start = 0;
        for end in &ends {
            command.push(&texts[start..*end]);
            start = *end;
        }
        emit(&command);
    }
    if stream.is_empty() {
        let id = stream.last.max(StreamId { ms: 0, seq: 1 });
        emit(&[b"XADD", key, b"MAXLEN", b"0", id.text().as_bytes(), b"", b""]);
    }
    // The greatest id that was deleted can be told only with one that is not less, but can be greater than the last one.
    let least = stream.last.max(stream.max_deleted);
    let (mut added, max_deleted) = (itoa::Buffer::new(), stream.max_deleted.text());
    let (added, max_deleted) = (added.format(stream.added).as_bytes(), max_deleted.as_bytes());
    emit(&[b"XSETID", key, least.text().as_bytes(), b"ENTRIESADDED", added, b"MAXDELETEDID", max_deleted]);
    if least != stream.last {
        emit(&[b"XSETID", key, stream.last.text().as_bytes()]);
    }
    stream.groups().for_each(|(name, group)| rebuild_group(key, name, group, emit));
}

fn rebuild_group(key: &[u8], name: &[u8], group: &Group, emit: &mut dyn FnMut(&[&[u8]])) {
    let mut read = itoa::Buffer::new();
    let read = read.format(group.read.unwrap_or(-1)).as_bytes();
    emit(&[b"XGROUP", b"CREATE", key, name, group.last.text().as_bytes(), b"ENTRIESREAD", read]);
    for consumer in group.consumers() {
        effects::consumer(key, name, consumer.name(), (consumer.seen, consumer.active), emit);
        let mut pending =
            consumer.pending().iter().filter_map(|id| Some((*id, group.pending(*id)?))).peekable();
        while pending.peek().is_some() {
            let parts: Vec<String> = pending
                .by_ref()
                .take(CHUNK)
                .flat_map(|(id, pending)| {
                    [id.to_string(), pending.time.to_string(), pending.count.to_string()]
                })
                .collect();
            let mut command = vec![PENDING.name.as_bytes(), key, name, consumer.name()];
            command.extend(parts.iter().map(String::as_bytes));
            emit(&command);
        }
    }
}
