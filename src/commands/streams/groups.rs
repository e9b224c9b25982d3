//! XGROUP: makes, moves and removes consumer groups and their consumers.

use ringfort_protocol::Args;

use super::{WRITE, change, change_group, effects, ids, misuse, no_group_of_key, stream_of};
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Group as Family, KeyFlags, KeySpec, Run, help, parse,
    },
    store::{
        Edit, Object,
        objects::stream::{Group, Stream, StreamId},
    },
};

pub(super) const XGROUP: Command = Command {
    name: "xgroup",
    summary: "Manages the consumer groups of a stream",
    since: "5.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[CREATE, CREATECONSUMER, DELCONSUMER, DESTROY, HELP, SETID],
    ..Command::BASE
};

const CREATE: Command = Command {
    name: "create",
    summary: "Creates a consumer group",
    arity: -5,
    flags: WRITE.flags.and(Flags::DENYOOM),
    keys: &[KeySpec::at(2, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(create),
    ..WRITE
};

const SETID: Command = Command {
    name: "setid",
    summary: "Sets up to which entry a group was given entries",
    arity: -5,
    keys: &[KeySpec::at(2, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let options = Options::parse(args, false)?;
        let mut edit = cx.db.edit(cx.keys[0]);
        let last = existing(&edit, args, true)?.last;
        // MKSTREAM is none of its options; more than one counter is refused.
        if args.len() > 7 {
            return Err(misuse(args, "XGROUP"));
        }
        let id = if args.at(4) == b"$" { last } else { ids::lenient(args.at(4), 0)? };
        change_group(&mut edit, args.at(3), |group| (group.last, group.read) = (id, options.read));
        cx.out.ok();
        Ok(Done::Changed)
    }),
    ..WRITE
};

const DESTROY: Command = Command {
    name: "destroy",
    summary: "Removes a consumer group",
    complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
    arity: 4,
    keys: &[KeySpec::at(2, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let mut edit = cx.db.edit(cx.keys[0]);
        let there = existing(&edit, args, false)?.group(args.at(3)).is_some();
        cx.out.flag(there);
        if !there {
            return Ok(Done::Unchanged);
        }
        change(&mut edit, |stream| stream.remove_group(args.at(3)));
        Ok(Done::Changed)
    }),
    ..WRITE
};

const CREATECONSUMER: Command = Command {
    name: "createconsumer",
    summary: "Creates a consumer in a group",
    since: "6.2.0",
    arity: 5,
    flags: WRITE.flags.and(Flags::DENYOOM),
    keys: &[KeySpec::at(2, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let now = cx.db.now;
        let mut edit = cx.db.edit(cx.keys[0]);
        let (group, consumer) = (args.at(3), args.at(4));
        let there = has_consumer(existing(&edit, args, true)?, args);
        cx.out.flag(!there);
        if there {
            return Ok(Done::Unchanged);
        }
        change_group(&mut edit, group, |group| _ = group.find_or_create(consumer, now));
        effects::log_consumer(&mut edit, group, consumer);
        Ok(Done::Logged)
    }),
    ..WRITE
};

const DELCONSUMER: Command = Command {
    name: "delconsumer",
    summary: "Removes a consumer from a group, with what is pending at it",
    complexity: "O(N*log(M)) where N is the number of its pending entries and M that of the group",
    arity: 5,
    keys: &[KeySpec::at(2, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let mut edit = cx.db.edit(cx.keys[0]);
        if !has_consumer(existing(&edit, args, true)?, args) {
            cx.out.int(0);
            return Ok(Done::Unchanged);
        }
        let pending = change_group(&mut edit, args.at(3), |group| group.remove_consumer(args.at(4)));
        cx.out.count(pending.flatten().unwrap_or(0));
        Ok(Done::Changed)
    }),
    ..WRITE
};

const HELP: Command = help::help(Family::Stream, "5.0.0", |cx, _| {
    help::write(
        cx,
        "XGROUP",
        &[
            "CREATE <key> <groupname> <id|$> [option]",
            "    Create a new consumer group. Options are:",
            "    * MKSTREAM",
            "      Create the empty stream if it does not exist.",
            "    * ENTRIESREAD entries_read",
            "      Set the group's entries_read counter (internal use).",
            "CREATECONSUMER <key> <groupname> <consumer>",
            "    Create a new consumer in the specified group.",
            "DELCONSUMER <key> <groupname> <consumer>",
            "    Remove the specified consumer.",
            "DESTROY <key> <groupname>",
            "    Remove the specified group.",
            "SETID <key> <groupname> <id|$> [ENTRIESREAD entries_read]",
            "    Set the current group ID and entries_read counter.",
        ],
    );
    Ok(())
});

/// What may stand behind the id.
struct Options {
    /// A stream is created if there is none.
    make_stream: bool,
    /// How many entries the group has read; `None`: that is not known.
    read: Option<i64>,
}

impl Options {
    fn parse(args: Args<'_>, creates: bool) -> Result<Self, CommandError> {
        let mut options = Self { make_stream: false, read: None };
        let mut rest = args.slice(5..).iter();
        while let Some(option) = rest.next() {
            if creates && parse::is(option, "mkstream") {
                options.make_stream = true;
            } else if parse::is(option, "entriesread") && rest.len() > 0 {
                let read = parse::integer(rest.next().unwrap_or_default())?;
                if read < -1 {
                    return Err(CommandError::other("ERR value for ENTRIESREAD must be positive or -1"));
                }
                options.read = Some(read).filter(|read| *read >= 0);
            } else {
                return Err(misuse(args, "XGROUP"));
            }
        }
        Ok(options)
    }
}

fn create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let options = Options::parse(args, true)?;
    let mut edit = cx.db.edit(cx.keys[0]);
    let (last, is_taken) = match stream_of(edit.value())? {
        Some(stream) => (stream.last, stream.group(args.at(3)).is_some()),
        None if options.make_stream => (StreamId::MIN, false),
        None => return Err(no_stream()),
    };
    if args.len() > 8 {
        return Err(misuse(args, "XGROUP"));
    }
    let id = if args.at(4) == b"$" { last } else { ids::strict(args.at(4), 0)? };
    if is_taken {
        return Err(CommandError::other("BUSYGROUP Consumer Group name already exists"));
    }
    if edit.value().is_none() {
        edit.put_object(Object::Stream(Box::default()), None);
    }
    change(&mut edit, |stream| stream.add_group(args.at(3), Group::new(id, options.read)));
    cx.out.ok();
    Ok(Done::Changed)
}

/// The stream that there must be, and its group, if there must be one, too.
fn existing<'e>(edit: &'e Edit<'_, '_>, args: Args<'_>, and_group: bool) -> Result<&'e Stream, CommandError> {
    let stream = stream_of(edit.value())?.ok_or_else(no_stream)?;
    if and_group && stream.group(args.at(3)).is_none() {
        return Err(no_group_of_key(args.at(2), args.at(3)));
    }
    Ok(stream)
}

/// Whether the group that there is has the consumer.
fn has_consumer(stream: &Stream, args: Args<'_>) -> bool {
    stream.group(args.at(3)).is_some_and(|group| group.find(args.at(4)).is_some())
}

fn no_stream() -> CommandError {
    CommandError::other(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM \
         option to create an empty stream automatically.",
    )
}
