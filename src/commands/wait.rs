//! WAIT: the declaration; the router runs it.

use super::{Acl, Command, Flags, Group, Run};

/// The family.
pub(super) const COMMANDS: &[Command] = &[WAIT];

const WAIT: Command = Command {
    name: "wait",
    summary: "Waits until as many replicas have all writes of this connection, and tells how many have",
    group: Group::Generic,
    since: "3.0.0",
    arity: 3,
    flags: Flags::NOSCRIPT.and(Flags::BLOCKING),
    acl: Acl::CONNECTION,
    run: Run::Wait,
    ..Command::BASE
};
