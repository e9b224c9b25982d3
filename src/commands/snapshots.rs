//! What Redis does to keep data on disk, and there is nothing of here yet: each command says so.

use super::{Acl, Command, CommandError, Flags, Group, Run, parse::is};

/// The family.
pub(super) const COMMANDS: &[Command] = &[SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE];

const REFUSED: Command = Command {
    group: Group::Server,
    since: "1.0.0",
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING),
    run: Run::Session(|_, _| Err(NO_SNAPSHOTS)),
    ..Command::BASE
};

const SAVE: Command = Command {
    name: "save",
    summary: "Is refused: there are no snapshots yet",
    flags: REFUSED.flags.and(Flags::NO_MULTI),
    ..REFUSED
};

const BGSAVE: Command = Command {
    name: "bgsave",
    summary: "Is refused: there are no snapshots yet",
    arity: -1,
    run: Run::Session(|_, args| match args.get(1) {
        Some(word) if args.len() > 2 || !is(word, "schedule") => Err(CommandError::Syntax),
        _ => Err(NO_SNAPSHOTS),
    }),
    ..REFUSED
};

const BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    summary: "Is refused: there is no append-only file yet",
    run: Run::Session(|_, _| {
        Err(CommandError::other(
            "ERR there is no append-only file yet; what outlives a node is what its replicas have",
        ))
    }),
    ..REFUSED
};

const LASTSAVE: Command = Command {
    name: "lastsave",
    summary: "Tells when the node was started: nothing has been saved since",
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    acl: Acl::ADMIN.and(Acl::DANGEROUS),
    run: Run::Session(|cx, _| {
        let since_start = cx.now.boot.saturating_sub(cx.node.started) / 1_000_000;
        cx.out.int((cx.now.wall.saturating_sub(since_start) / 1_000) as i64);
        Ok(())
    }),
    ..REFUSED
};

/// What is said of everything that would need a snapshot.
pub(super) const NO_SNAPSHOTS: CommandError =
    CommandError::other("ERR there are no snapshots yet; what outlives a node is what its replicas have");

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
    };

    #[test]
    fn nothing_is_saved_and_all_say_so() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        for command in ["SAVE", "BGSAVE", "BGSAVE SCHEDULE"] {
            assert!(asker.run(command).starts_with("-ERR there are no snapshots yet"), "{command}");
        }
        assert!(asker.run("BGREWRITEAOF").starts_with("-ERR there is no append-only file yet"));
        assert_eq!(asker.run("BGSAVE x"), "-ERR syntax error ");
        // The test's node has run for five seconds.
        assert_eq!(asker.run("LASTSAVE"), ":1699999995 ");
    }
}
