//! COMMANDLOG: the commands that stood out, as in Valkey; SLOWLOG: those that took long, as Redis has it.

use ringfort_protocol::{Args, number};

use super::{
    Command, CommandError, Group, help, parse,
    server::{ADMIN, unknown_form},
    session::SessionCx,
};
use crate::commandlog::{Kind, Log};

/// The family.
pub(super) const COMMANDS: &[Command] = &[COMMANDLOG, SLOWLOG];

const COMMANDLOG: Command = Command {
    name: "commandlog",
    summary: "Commands about commands that stood out: slow ones, large ones, and those with large replies",
    group: Group::Server,
    since: "8.1.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        Command {
            complexity: "O(N) where N is the number of entries returned",
            ..SUB.named("get", "8.1.0", 4, get, "Tells the latest commands of a log")
        },
        SUB.named("len", "8.1.0", 3, len, "Tells how many commands of a log are remembered"),
        Command {
            complexity: "O(N) where N is the number of entries in the log",
            ..SUB.named("reset", "8.1.0", 3, reset, "Forgets the commands of a log")
        },
        help::help(Group::Server, "8.1.0", |cx, _| {
            help::write(cx, "COMMANDLOG", HELP);
            Ok(())
        }),
    ],
    ..Command::BASE
};

const SLOWLOG: Command = Command {
    name: "slowlog",
    summary: "Commands about the slow log",
    group: Group::Server,
    since: "2.2.12",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        Command {
            complexity: "O(N) where N is the number of entries returned",
            ..SUB.named("get", "2.2.12", -2, slowlog_get, "Tells the latest slow commands")
        },
        SUB.named("len", "2.2.12", 2, slowlog_len, "Tells how many slow commands are remembered"),
        Command {
            complexity: "O(N) where N is the number of entries in the slowlog",
            ..SUB.named("reset", "2.2.12", 2, slowlog_reset, "Forgets the slow commands")
        },
        help::help(Group::Server, "6.2.0", |cx, _| {
            help::write(cx, "SLOWLOG", SLOWLOG_HELP);
            Ok(())
        }),
    ],
    ..Command::BASE
};

/// What the subcommands of both share.
const SUB: Command = Command { group: Group::Server, flags: ADMIN, ..Command::BASE };

const HELP: &[&str] = &[
    "GET <count> <type>",
    "    Tell the <count> latest entries (-1: all) of the log of <type>, each with id, Unix time, a measure,",
    "    arguments, address of the client and its name. Types, and their measures:",
    "    slow (microseconds), large-request (bytes), large-reply (bytes).",
    "LEN <type>",
    "    Tell how many entries there are.",
    "RESET <type>",
    "    Forget all entries.",
];

const SLOWLOG_HELP: &[&str] = &[
    "GET [<count>]",
    "    Tell the <count> latest entries (default: 10, -1: all), each with id, Unix time,",
    "    microseconds, arguments, address of the client and its name.",
    "LEN",
    "    Tell how many entries there are.",
    "RESET",
    "    Forget all entries.",
];

/// The log that an argument names.
fn log<'a>(cx: &SessionCx<'a>, name: &[u8]) -> Result<&'a Log, CommandError> {
    let kind = Kind::NAMES.iter().find(|(known, _)| parse::is(name, known));
    let text = "ERR type should be one of the following: slow, large-request, large-reply";
    kind.map(|(_, kind)| cx.node.commandlog.of(*kind)).ok_or(CommandError::other(text))
}

/// How many entries are asked for.
fn count(text: &[u8]) -> Result<usize, CommandError> {
    match number::parse_i64(text) {
        Some(-1) => Ok(usize::MAX),
        Some(count) if count >= 0 => Ok(count as usize),
        _ => Err(CommandError::other("ERR count should be greater than or equal to -1")),
    }
}

fn tell(cx: &mut SessionCx<'_>, log: &Log, count: usize) {
    let entries = log.newest(count);
    cx.out.array(entries.len());
    for entry in entries {
        cx.out.array(6);
        cx.out.int(entry.id as i64);
        cx.out.int(entry.time as i64);
        cx.out.int(i64::try_from(entry.value).unwrap_or(i64::MAX));
        cx.out.array(entry.args.len());
        entry.args.iter().for_each(|arg| cx.out.bulk(arg));
        cx.out.bulk(entry.peer.as_bytes());
        cx.out.bulk(entry.name.as_bytes());
    }
}

fn get(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let count = count(args.at(2))?;
    let log = log(cx, args.at(3))?;
    tell(cx, log, count);
    Ok(())
}

fn len(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let log = log(cx, args.at(2))?;
    cx.out.count(log.len());
    Ok(())
}

fn reset(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    log(cx, args.at(2))?.clear();
    cx.out.ok();
    Ok(())
}

fn slowlog_get(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let count = match args.len() {
        2 => 10,
        3 => count(args.at(2))?,
        _ => return Err(unknown_form(args.at(1), "SLOWLOG")),
    };
    let log = cx.node.commandlog.of(Kind::Slow);
    tell(cx, log, count);
    Ok(())
}

fn slowlog_len(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.count(cx.node.commandlog.of(Kind::Slow).len());
    Ok(())
}

fn slowlog_reset(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.commandlog.of(Kind::Slow).clear();
    cx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clients::Door,
        commandlog::{Entry, kept},
        node::{
            Node,
            testing::{Asker, node},
        },
    };

    fn note(node: &Node, kind: Kind, command: &str, value: u64) {
        let args: ringfort_protocol::OwnedArgs = command.split(' ').collect();
        let (args, peer) = (kept(args.as_args()), "10.0.0.9:5".into());
        node.commandlog.of(kind).note(Entry { id: 0, time: 7, value, args, peer, name: "me".into() }, 128);
    }

    #[test]
    fn slow_commands_are_told_newest_first() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        ["GET a", "GET b"].iter().for_each(|command| note(&node, Kind::Slow, command, 12_000));
        let newest = "*1 *6 :1 :7 :12000 *2 $3 GET $1 b $10 10.0.0.9:5 $2 me ";
        assert_eq!(asker.run("SLOWLOG GET 1"), newest);
        assert_eq!(asker.run("COMMANDLOG GET 1 SLOW"), newest);
        assert!(asker.run("SLOWLOG GET -1").starts_with("*2 "));
        assert_eq!(asker.run("SLOWLOG GET -2"), "-ERR count should be greater than or equal to -1 ");
        assert_eq!(asker.run("SLOWLOG LEN"), ":2 ");
        assert_eq!(asker.run("COMMANDLOG LEN slow"), ":2 ");
        assert_eq!(asker.run("SLOWLOG RESET"), "+OK ");
        assert_eq!(asker.run("SLOWLOG GET"), "*0 ");
    }

    #[test]
    fn each_log_has_its_own_entries() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        note(&node, Kind::LargeRequest, "SET a b", 9);
        note(&node, Kind::LargeReply, "GET a", 8);
        note(&node, Kind::LargeReply, "GET b", 7);
        let lens =
            ["slow", "large-request", "Large-Reply"].map(|kind| asker.run(&format!("COMMANDLOG LEN {kind}")));
        assert_eq!(lens, [":0 ", ":1 ", ":2 "]);
        assert!(asker.run("COMMANDLOG GET -1 large-request").starts_with("*1 *6 :0 :7 :9 *3 $3 SET "));
        assert_eq!(asker.run("COMMANDLOG RESET large-reply"), "+OK ");
        assert_eq!(asker.run("COMMANDLOG LEN large-request"), ":1 ");
        assert_eq!(asker.run("COMMANDLOG GET -1 large-reply"), "*0 ");
        let error = "-ERR type should be one of the following: slow, large-request, large-reply ";
        assert_eq!(asker.run("COMMANDLOG LEN fast"), error);
        assert_eq!(asker.run("COMMANDLOG GET x fast"), "-ERR count should be greater than or equal to -1 ");
    }
}
