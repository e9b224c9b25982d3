//! The forms of CLUSTER by which the nodes of a Redis Cluster are joined and their slots moved by hand. Here the cluster
//! does that by itself; each form answers what to do instead.

use super::{Command, CommandError, Flags, Group, Run};
use crate::commands::session::SessionHandler;

/// A form that is refused. All are older than Redis 7, but for those by ranges.
const fn refused(name: &'static str, since: &'static str, arity: i8, run: SessionHandler) -> Command {
    Command {
        name,
        summary: "Is refused: the cluster does this by itself, or `ringfort cluster` does",
        group: Group::Cluster,
        since,
        arity,
        flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NO_ASYNC_LOADING),
        run: Run::Session(run),
        ..Command::BASE
    }
}

pub(super) const ADDSLOTS: Command = refused("addslots", "3.0.0", -3, |_, _| slots());
pub(super) const ADDSLOTSRANGE: Command = refused("addslotsrange", "7.0.0", -4, |_, _| slots());
pub(super) const DELSLOTS: Command = refused("delslots", "3.0.0", -3, |_, _| slots());
pub(super) const DELSLOTSRANGE: Command = refused("delslotsrange", "7.0.0", -4, |_, _| slots());
pub(super) const FLUSHSLOTS: Command = refused("flushslots", "3.0.0", 2, |_, _| slots());
pub(super) const SETSLOT: Command = refused("setslot", "3.0.0", -4, |_, _| slots());

pub(super) const BUMPEPOCH: Command = refused("bumpepoch", "3.0.0", 2, |_, _| epochs());
pub(super) const SET_CONFIG_EPOCH: Command = refused("set-config-epoch", "3.0.0", 3, |_, _| epochs());

pub(super) const MEET: Command = refused("meet", "3.0.0", -4, |_, _| {
    Err(CommandError::other(
        "ERR a node joins by itself: start it with `ringfort server --join HOST:PORT` of any node of the cluster",
    ))
});

pub(super) const FORGET: Command = refused("forget", "3.0.0", 3, |_, _| {
    Err(CommandError::other(
        "ERR use `ringfort cluster remove NODE` to forget a node that is drained or dead",
    ))
});

pub(super) const REPLICATE: Command = refused("replicate", "3.0.0", 3, |_, _| {
    Err(CommandError::other(
        "ERR nothing has to be done: the cluster places the replicas of every shard by itself",
    ))
});

pub(super) const FAILOVER: Command = refused("failover", "3.0.0", -2, |_, _| {
    Err(CommandError::other(
        "ERR nothing has to be done when a node fails; use `ringfort cluster drain NODE` to have one hand over all that \
         it has",
    ))
});

pub(super) const RESET: Command = Command {
    flags: Flags::ADMIN.and(Flags::STALE).and(Flags::NOSCRIPT),
    ..refused("reset", "3.0.0", -2, |_, _| {
        Err(CommandError::other(
            "ERR use `ringfort cluster drain NODE` and then `ringfort cluster remove NODE` to take a node out of the \
             cluster",
        ))
    })
};

pub(super) const SAVECONFIG: Command = refused("saveconfig", "3.0.0", 2, |_, _| {
    Err(CommandError::other("ERR nothing has to be done: what the nodes agree on is on their disks by then"))
});

fn slots() -> Result<(), CommandError> {
    Err(CommandError::other(
        "ERR the cluster places slots by itself; use `ringfort cluster rebalance` to bring each to where it belongs, or \
         `ringfort cluster drain NODE` to empty a node",
    ))
}

fn epochs() -> Result<(), CommandError> {
    Err(CommandError::other("ERR nothing has to be done: epochs are raised when a shard changes its primary"))
}
