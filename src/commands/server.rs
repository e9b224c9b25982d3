//! The server: its clock and its role.

use ringfort_protocol::Args;

use super::{Command, CommandError, Flags, Group, QUOTED, Run, at_most, session::SessionCx};

/// The family.
pub(super) const COMMANDS: &[Command] = &[TIME, ROLE];

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

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
    };

    #[test]
    fn time_and_role_are_told() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("TIME"), "*2 $10 1700000000 $1 0 ");
        assert_eq!(asker.run("ROLE"), "*3 $6 master :0 *0 ");
    }
}
