//! `RINGFORT`: what `ringfort cluster …` asks of the node that it connects to.

use super::{Acl, Command, Flags, Group, Run};

/// The family.
pub(super) const COMMANDS: &[Command] = &[RINGFORT];

const RINGFORT: Command = Command {
    name: "ringfort",
    summary: "Operates the cluster: STATUS, DRAIN node, UNDRAIN node, REMOVE node, REBALANCE",
    group: Group::Cluster,
    since: "0.1.0",
    arity: -2,
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    acl: Acl::NONE,
    run: Run::Control,
    ..Command::BASE
};
