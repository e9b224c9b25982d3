//! Commands that wait, once they have begun to: what is left to try of their keys, and the steps by which they wait for
//! keys of several nodes: each owner says when one of its own can be had.
//!
//! Clients cannot call the steps. They change nothing: the command itself is tried once more when one of them answers.

use ringfort_protocol::Args;
use smallvec::SmallVec;

use crate::{
    commands::{Blocking, Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run},
    store::{Db, Key, Kind},
};

/// The keys that a command is tried with that has waited: one that holds a value of another type counts as one without
/// anything. None, if it waits for nothing else.
pub(crate) fn left_to_try<'a>(
    db: &Db<'_>,
    command: &Command,
    args: Args<'_>,
    keys: &[Key<'a>],
) -> SmallVec<[Key<'a>; 2]> {
    let Run::Blocking(Blocking { kind: Some(kind), .. }) = command.run else { return keys.into() };
    let holds_other = |key: Key<'_>| db.inspect(key).is_some_and(|entry| entry.value().kind() != kind);
    let (mut left, mut is_any_awaited) = (SmallVec::new(), false);
    let mut keys = keys.iter().copied();
    for spec in command.keys {
        let is_awaited = spec.flags.has(KeyFlags::ACCESS);
        for key in keys.by_ref().take(spec.indices(args).count()) {
            if !is_awaited || !holds_other(key) {
                left.push(key);
                is_any_awaited |= is_awaited;
            }
        }
    }
    if is_any_awaited { left } else { SmallVec::new() }
}

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
