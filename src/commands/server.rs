//! The server: its clock, its role, its slow log.

use ringfort_protocol::{Args, number};

use super::{
    Command, CommandError, Flags, Group, QUOTED, Run, at_most, help,
    session::{SessionCx, SessionHandler},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[TIME, ROLE, SLOWLOG];

const TIME: Command = Command {
    name: "time",
    summary: "Tells the time of the server's clock",
    group: Group::Server,
    since: "2.6.0",
    arity: 1,
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    run: Run::Session(time),
    ..Command::BASE
};

const ROLE: Command = Command {
    name: "role",
    summary: "Tells that the server takes writes",
    group: Group::Server,
    since: "2.8.12",
    arity: 1,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::FAST),
    acl: super::Acl::ADMIN.and(super::Acl::DANGEROUS),
    run: Run::Session(role),
    ..Command::BASE
};

pub(super) const ADMIN: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);

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
            ..slowlog("get", -2, slowlog_get, "Tells the latest slow commands")
        },
        slowlog("len", 2, slowlog_len, "Tells how many slow commands are remembered"),
        Command {
            complexity: "O(N) where N is the number of entries in the slowlog",
            ..slowlog("reset", 2, slowlog_reset, "Forgets the slow commands")
        },
        help::help(Group::Server, "6.2.0", |cx, _| {
            help::write(cx, "SLOWLOG", SLOWLOG_HELP);
            Ok(())
        }),
    ],
    ..Command::BASE
};

const fn slowlog(name: &'static str, arity: i8, run: SessionHandler, summary: &'static str) -> Command {
    let (group, since) = (Group::Server, "2.2.12");
    Command { name, summary, group, since, arity, flags: ADMIN, run: Run::Session(run), ..Command::BASE }
}

const SLOWLOG_HELP: &[&str] = &[
    "GET [<count>]",
    "    Tell the <count> latest entries (default: 10, -1: all), each with id, Unix time,",
    "    microseconds, arguments, address of the client and its name.",
    "LEN",
    "    Tell how many entries there are.",
    "RESET",
    "    Forget all entries.",
];

fn time(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let micros = cx.node.clock.wall_micros();
    cx.out.array(2);
    cx.out.bulk_int((micros / 1_000_000) as i64);
    cx.out.bulk_int((micros % 1_000_000) as i64);
    Ok(())
}

/// Every node takes writes, wherever their keys live; the replicas of its shards are not servers of their own.
fn role(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.array(3);
    cx.out.bulk(b"master");
    cx.out.int(0);
    cx.out.array(0);
    Ok(())
}

/// What is said of a subcommand with arguments that it does not take.
pub(super) fn unknown_form(subcommand: &[u8], container: &str) -> CommandError {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    let after = format!("'. Try {container} HELP.");
    CommandError::quoting(before, at_most(subcommand, QUOTED), &after)
}

fn slowlog_get(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let count = match args.len() {
        2 => 10,
        3 => match number::parse_i64(args.at(2)) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => return Err(CommandError::other("ERR count should be greater than or equal to -1")),
        },
        _ => return Err(unknown_form(args.at(1), "SLOWLOG")),
    };
    let entries = cx.node.slowlog.newest(count);
    cx.out.array(entries.len());
    for entry in entries {
        cx.out.array(6);
        cx.out.int(entry.id as i64);
        cx.out.int(entry.time as i64);
        cx.out.int(entry.micros as i64);
        cx.out.array(entry.args.len());
        entry.args.iter().for_each(|arg| cx.out.bulk(arg));
        cx.out.bulk(entry.peer.to_string().as_bytes());
        cx.out.bulk(entry.name.as_bytes());
    }
    Ok(())
}

fn slowlog_len(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.count(cx.node.slowlog.len());
    Ok(())
}

fn slowlog_reset(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.slowlog.clear();
    cx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
        slowlog::{Entry, kept},
    };

    #[test]
    fn slow_commands_are_told_newest_first() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        for command in ["GET a", "GET b"] {
            let args: ringfort_protocol::OwnedArgs = command.split(' ').collect();
            let peer = ([10, 0, 0, 9], 5).into();
            let args = kept(args.as_args());
            let entry = Entry { id: 0, time: 7, micros: 12_000, args, peer, name: "me".into() };
            node.slowlog.note(entry, 128);
        }
        assert_eq!(asker.run("SLOWLOG GET 1"), "*1 *6 :1 :7 :12000 *2 $3 GET $1 b $10 10.0.0.9:5 $2 me ");
        assert!(asker.run("SLOWLOG GET -1").starts_with("*2 "));
        assert_eq!(asker.run("SLOWLOG GET -2"), "-ERR count should be greater than or equal to -1 ");
        assert_eq!(asker.run("SLOWLOG LEN"), ":2 ");
        assert_eq!(asker.run("SLOWLOG RESET"), "+OK ");
        assert_eq!(asker.run("SLOWLOG GET"), "*0 ");
    }

    #[test]
    fn time_and_role_are_told() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("TIME"), "*2 $10 1700000000 $1 0 ");
        assert_eq!(asker.run("ROLE"), "*3 $6 master :0 *0 ");
    }
}
