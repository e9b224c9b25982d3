//! XINFO: what a stream, its groups and their consumers are like.

use ringfort_protocol::Args;

use super::{READ, SOURCE, misuse, no_group_of_key, stream_of, write_entries, write_entry, write_id};
use crate::{
    commands::{Command, CommandError, Done, Group as Family, KeySpec, Reply, Run, help, parse},
    store::objects::stream::{Consumer, Entry, Group, Stream, StreamId},
};

pub(super) const XINFO: Command = Command {
    name: "xinfo",
    summary: "Tells what a stream, its groups and their consumers are like",
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[CONSUMERS, GROUPS, HELP, STREAM],
    ..Command::BASE
};

const STREAM: Command = Command {
    name: "stream",
    summary: "Tells what a stream is like",
    complexity: "O(1); with FULL O(N) where N is the number of what is listed",
    arity: -3,
    keys: &[KeySpec::at(2, SOURCE)],
    run: Run::Data(|cx, args| {
        let stream = stream_of(cx.db.read(cx.keys[0]))?.ok_or(CommandError::NoSuchKey)?;
        match parse_full(args)? {
            None => write_stream(cx.out, stream),
            Some(most) => write_full(cx.out, stream, most),
        }
        Ok(Done::Read)
    }),
    ..READ
};

const GROUPS: Command = Command {
    name: "groups",
    summary: "Lists the groups of a stream",
    complexity: "O(N) where N is the number of groups",
    arity: 3,
    run: Run::Data(|cx, _| {
        let stream = stream_of(cx.db.read(cx.keys[0]))?.ok_or(CommandError::NoSuchKey)?;
        cx.out.array(stream.groups().len());
        for (name, group) in stream.groups() {
            cx.out.map(6);
            cx.out.bulk(b"name");
            cx.out.bulk(name);
            number(cx.out, "consumers", group.consumers().len() as i64);
            number(cx.out, "pending", group.pending_len() as i64);
            write_progress(cx.out, stream, group);
        }
        Ok(Done::Read)
    }),
    ..STREAM
};

const CONSUMERS: Command = Command {
    name: "consumers",
    summary: "Lists the consumers of a group",
    complexity: "O(N) where N is the number of consumers",
    arity: 4,
    run: Run::Data(|cx, args| {
        let stream = stream_of(cx.db.read(cx.keys[0]))?.ok_or(CommandError::NoSuchKey)?;
        let group = stream.group(args.at(3)).ok_or_else(|| no_group_of_key(args.at(2), args.at(3)))?;
        let since = |time: u64| cx.db.now.saturating_sub(time).cast_signed();
        cx.out.array(group.consumers().len());
        for consumer in group.consumers() {
            cx.out.map(4);
            cx.out.bulk(b"name");
            cx.out.bulk(consumer.name());
            number(cx.out, "pending", consumer.pending().len() as i64);
            number(cx.out, "idle", since(consumer.seen));
            number(cx.out, "inactive", consumer.active.map_or(-1, since));
        }
        Ok(Done::Read)
    }),
    ..STREAM
};

const HELP: Command = help::help(Family::Stream, "5.0.0", |cx, _| {
    help::write(
        cx,
        "XINFO",
        &[
            "CONSUMERS <key> <groupname>",
            "    Show consumers of <groupname>.",
            "GROUPS <key>",
            "    Show the stream consumer groups.",
            "STREAM <key> [FULL [COUNT <count>]",
            "    Show information about the stream.",
        ],
    );
    Ok(())
});

/// Entries, and pending ones of each group and consumer, that `FULL` lists unless it is told a number.
const FULL_COUNT: usize = 10;

/// Reads `FULL [COUNT count]`: how many of each kind are listed; 0 is all.
fn parse_full(args: Args<'_>) -> Result<Option<usize>, CommandError> {
    let most = match (args.get(3), args.get(4), args.get(5), args.len()) {
        (None, ..) => return Ok(None),
        (Some(full), None, ..) if parse::is(full, "full") => FULL_COUNT,
        (Some(full), Some(count), Some(number), 6)
            if parse::is(full, "full") && parse::is(count, "count") =>
        {
            usize::try_from(parse::integer(number)?).unwrap_or(FULL_COUNT)
        }
        _ => return Err(misuse(args, "XINFO")),
    };
    Ok(Some(if most == 0 { usize::MAX } else { most }))
}

fn write_stream(out: &mut Reply, stream: &Stream) {
    out.map(10);
    write_head(out, stream);
    number(out, "groups", stream.groups().len() as i64);
    let edge = |out: &mut Reply, name: &str, entry: Option<Entry<'_>>| {
        out.bulk(name.as_bytes());
        match entry {
            Some(entry) => write_entry(out, &entry),
            None => out.null(),
        }
    };
    edge(out, "first-entry", stream.range(StreamId::MIN, StreamId::MAX).next());
    edge(out, "last-entry", stream.range_back(StreamId::MIN, StreamId::MAX).next());
}

fn write_full(out: &mut Reply, stream: &Stream, most: usize) {
    out.map(9);
    write_head(out, stream);
    out.bulk(b"entries");
    write_entries(out, stream.range(StreamId::MIN, StreamId::MAX), most);
    out.bulk(b"groups");
    out.array(stream.groups().len());
    for (name, group) in stream.groups() {
        out.map(7);
        out.bulk(b"name");
        out.bulk(name);
        write_progress(out, stream, group);
        number(out, "pel-count", group.pending_len() as i64);
        out.bulk(b"pending");
        out.array(group.pending_len().min(most));
        for (id, pending) in group.pending_in(..).take(most) {
            out.array(4);
            write_id(out, id);
            out.bulk(group.owner(pending).name());
            out.int(pending.time.cast_signed());
            out.int(pending.count.cast_signed());
        }
        out.bulk(b"consumers");
        out.array(group.consumers().len());
        group.consumers().for_each(|consumer| write_consumer(out, group, consumer, most));
    }
}

fn write_consumer(out: &mut Reply, group: &Group, consumer: &Consumer, most: usize) {
    out.map(5);
    out.bulk(b"name");
    out.bulk(consumer.name());
    number(out, "seen-time", consumer.seen.cast_signed());
    number(out, "active-time", consumer.active.map_or(-1, u64::cast_signed));
    number(out, "pel-count", consumer.pending().len() as i64);
    out.bulk(b"pending");
    out.array(consumer.pending().len().min(most));
    for id in consumer.pending().iter().take(most) {
        let (time, count) = group.pending(*id).map_or((0, 0), |pending| (pending.time, pending.count));
        out.array(3);
        write_id(out, *id);
        out.int(time.cast_signed());
        out.int(count.cast_signed());
    }
}

/// What both forms of XINFO STREAM begin with. Blocks are what the leaves of Redis' radix tree are; of its inner nodes
/// there is here one, since the tree is another.
fn write_head(out: &mut Reply, stream: &Stream) {
    let blocks = stream.blocks().len() as i64;
    number(out, "length", stream.len().cast_signed());
    number(out, "radix-tree-keys", blocks);
    number(out, "radix-tree-nodes", blocks + 1);
    id(out, "last-generated-id", stream.last);
    id(out, "max-deleted-entry-id", stream.max_deleted);
    number(out, "entries-added", stream.added);
    id(out, "recorded-first-entry-id", stream.first());
}

/// How far a group has come.
fn write_progress(out: &mut Reply, stream: &Stream, group: &Group) {
    id(out, "last-delivered-id", group.last);
    for (name, count) in [("entries-read", group.read), ("lag", stream.lag(group))] {
        match count {
            Some(count) => number(out, name, count),
            None => {
                out.bulk(name.as_bytes());
                out.null();
            }
        }
    }
}

fn number(out: &mut Reply, name: &str, value: i64) {
    out.bulk(name.as_bytes());
    out.int(value);
}

fn id(out: &mut Reply, name: &str, id: StreamId) {
    out.bulk(name.as_bytes());
    write_id(out, id);
}
