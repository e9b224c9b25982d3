//! Streams: entries under ascending ids, and groups of consumers that share them.
//!
//! [`ids`] reads what clients call an id or a range; [`trim`] reads how much is to be removed. Consumer groups change
//! by reading, so their effects are told as what came of it: which entries are pending now, at whom and since when
//! ([`effects`]). That goes by the commands that Redis uses for it, and by two of [`restore`] that clients cannot call,
//! where those cannot say it.

mod add;
mod claim;
mod delete;
mod deliver;
mod effects;
mod groups;
mod ids;
mod info;
mod pending;
mod range;
mod read;
pub(super) mod restore;
#[cfg(test)]
mod tests;
mod trim;

use ringfort_protocol::Args;

pub use self::read::{CHECK, UNBALANCED};

use super::{Command, CommandError, Flags, Group, KeyFlags, Reply};
use crate::{
    commands::Limits,
    store::{
        Edit, Object, Value,
        objects::stream::{self, BlockLimit, Entry, Stream, StreamId},
    },
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    add::XADD,
    range::XLEN,
    range::XRANGE,
    range::XREVRANGE,
    delete::XDEL,
    trim::XTRIM,
    delete::XSETID,
    read::XREAD,
    read::XREADGROUP,
    groups::XGROUP,
    pending::XACK,
    pending::XPENDING,
    claim::XCLAIM,
    claim::XAUTOCLAIM,
    info::XINFO,
];

/// What reading commands have in common.
const READ: Command =
    Command { group: Group::Stream, since: "5.0.0", flags: Flags::READONLY, ..Command::BASE };

/// What writing commands have in common.
const WRITE: Command = Command { group: Group::Stream, since: "5.0.0", flags: Flags::WRITE, ..Command::BASE };

/// A key whose entries are read.
const SOURCE: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);

/// The stream that a key holds; `None` for one that holds nothing.
fn stream_of(value: Option<Value<'_>>) -> Result<Option<&Stream>, CommandError> {
    value.map(|value| Stream::of(value).ok_or(CommandError::WrongType)).transpose()
}

/// Changes the stream that a key holds.
fn change<R>(edit: &mut Edit<'_, '_>, change: impl FnOnce(&mut Stream) -> R) -> Option<R> {
    edit.value().and_then(Stream::of)?;
    edit.object(|object| match object {
        Object::Stream(stream) => Some(change(stream)),
        _ => None,
    })
}

/// Changes a group of the stream that a key holds.
fn change_group<R>(
    edit: &mut Edit<'_, '_>,
    name: &[u8],
    work: impl FnOnce(&mut stream::Group) -> R,
) -> Option<R> {
    change(edit, |stream| stream.change_group(name, work)).flatten()
}

fn block_limit(limits: &Limits) -> BlockLimit {
    BlockLimit { bytes: limits.stream_node_max_bytes, entries: limits.stream_node_max_entries }
}

fn write_id(out: &mut Reply, id: StreamId) {
    out.bulk(id.text().as_bytes());
}

/// Writes an entry: its id, and its names and values in a row.
fn write_entry(out: &mut Reply, entry: &Entry<'_>) {
    out.array(2);
    write_id(out, entry.id);
    out.array(2 * entry.len);
    entry.each(|name, value| {
        out.item(name);
        out.item(value);
    });
}

/// Writes at most so many entries as an array.
fn write_entries<'s>(out: &mut Reply, entries: impl Iterator<Item = Entry<'s>>, most: usize) {
    out.array_of(|out| entries.take(most).map(|entry| write_entry(out, &entry)).count());
}

/// What is said where a group is asked for that is not there.
fn no_group(key: &[u8], group: &[u8], after: &str) -> CommandError {
    let (key, group) = (super::error::quoted(key), super::error::quoted(group));
    let text =
        [b"NOGROUP No such key '", key, b"' or consumer group '", group, b"'", after.as_bytes()].concat();
    CommandError::Quoting(text)
}

/// The same, where the key is there in any case.
fn no_group_of_key(key: &[u8], group: &[u8]) -> CommandError {
    let (key, group) = (super::error::quoted(key), super::error::quoted(group));
    let text = [b"NOGROUP No such consumer group '", group, b"' for key name '", key, b"'"].concat();
    CommandError::Quoting(text)
}

/// What is said of a subcommand with words that it does not know.
fn misuse(args: Args<'_>, container: &str) -> CommandError {
    let after = format!("'. Try {container} HELP.");
    CommandError::quoting("ERR unknown subcommand or wrong number of arguments for '", args.at(1), &after)
}
