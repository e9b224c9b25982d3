//! MONITOR: shows a client what the clients of this node run.
//!
//! Each node shows the commands of its own clients, wherever they are run, and none that other nodes send it for
//! theirs: who watches all nodes sees each command once.

use std::borrow::Cow;

use ringfort_protocol::Args;

use super::{Command, CommandError, Flags, Group, Run, secrets, server::ADMIN, session::SessionCx};
use crate::{
    clients::{Client, monitor},
    node::Node,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[MONITOR];

const MONITOR: Command = Command {
    name: "monitor",
    summary: "Shows what the clients of this node run, as it is run",
    group: Group::Server,
    arity: 1,
    flags: ADMIN.and(Flags::NOSCRIPT),
    run: Run::Session(watch),
    ..Command::BASE
};

fn watch(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    // Who watches already gets no reply, as in Redis.
    if cx.client.monitor.is_none() {
        cx.client.monitor = Some(cx.node.clients.watch(&cx.client.shared));
        cx.out.ok();
    }
    Ok(())
}

/// Whether a command is one that who watches may not run: all that reads or changes data.
pub fn is_denied(command: &Command) -> bool {
    [Flags::WRITE, Flags::READONLY, Flags::MAY_REPLICATE].iter().any(|flag| command.flags.has(*flag))
}

/// Shows a command that a client has run to those who watch, without passwords. What administers the server is not
/// shown.
pub fn show(node: &Node, client: &Client, command: &'static Command, args: Args<'_>) {
    if [Flags::ADMIN, Flags::SKIP_MONITOR].iter().any(|flag| command.flags.has(*flag)) {
        return;
    }
    let mut shown: Vec<Cow<'_, [u8]>> = args.iter().map(Cow::Borrowed).collect();
    secrets::redact(command, &mut shown);
    let shown = shown.iter().map(|arg| &**arg);
    let line = monitor::line(node.clock.wall_micros(), client.db, client.shared.peer, shown);
    node.clients.show(line.as_deref());
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
    };

    #[test]
    fn a_client_watches_until_it_is_as_new_or_has_gone() {
        let node = node();
        let [mut one, mut two] = [(); 2].map(|()| Asker::new(&node, Door::Client));
        assert_eq!(one.run("MONITOR"), "+OK ");
        assert_eq!(one.run("MONITOR"), "", "it does already");
        assert!(node.clients.are_watched() && one.run("CLIENT INFO").contains(" flags=O "));
        assert_eq!(two.run("MONITOR"), "+OK ");
        assert_eq!(one.run("RESET"), "+RESET ");
        assert!(node.clients.are_watched() && one.run("CLIENT INFO").contains(" flags=N "));
        node.clients.leave(two.client.shared.id);
        assert!(!node.clients.are_watched());
    }
}
