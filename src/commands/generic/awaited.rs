//! The steps by which a command waits for keys of several nodes: each owner says when one of its own can be had.
//!
//! Clients cannot call these. They change nothing: the command itself is tried once more when one of them answers.

use ringfort_protocol::Args;

use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run},
    store::Kind,
};

/// `await.list key [key …]`: waits until one of the keys holds a list, and replies with its name.
pub(crate) static LIST: Command = Command {
    name: "await.list",
    run: Run::waiting_for(Kind::List, |cx, _| name_of(cx, Kind::List), never),
    ..AWAIT
};

/// The same for a sorted set.
pub(crate) static ZSET: Command = Command {
    name: "await.zset",
    run: Run::waiting_for(Kind::ZSet, |cx, _| name_of(cx, Kind::ZSet), never),
    ..AWAIT
};

const AWAIT: Command = Command {
    arity: -2,
    flags: Flags::READONLY.and(Flags::BLOCKING),
    keys: &[KeySpec::range(1, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    ..Command::BASE
};

/// Whoever asks ends the wait.
fn never(_: Args<'_>) -> Result<Option<u64>, CommandError> {
    Ok(Some(0))
}

fn name_of(cx: &mut Cx<'_>, kind: Kind) -> Result<Done, CommandError> {
    let holds = |key: &&_| cx.db.inspect(**key).is_some_and(|entry| entry.value().kind() == kind);
    let Some(key) = cx.keys.iter().find(holds) else {
        cx.out.null_array();
        return Ok(Done::Waits);
    };
    cx.out.bulk(key.bytes);
    Ok(Done::Read)
}

/// The step that waits for a key with a value of this type.
pub(crate) fn step_for(kind: Kind) -> Option<&'static Command> {
    match kind {
        Kind::List => Some(&LIST),
        Kind::ZSet => Some(&ZSET),
        Kind::Str | Kind::Set | Kind::Hash | Kind::Stream => None,
    }
}
