//! Hashes.
//!
//! [`edit`] changes a hash of either form, [`read`] has the commands that only look, [`mod@write`] those that
//! give and take fields, [`expire`] those about the deadlines of fields, and [`fields`] those that do both.
//!
//! A field whose time is over is there for no command: [`hash_of`] hides it from those that look, and [`open`] removes
//! it, and logs that, before a command changes it. So what is logged then means the same to a replica, which lets no
//! field end on its own.

pub(super) mod edit;
mod expire;
mod fields;
mod read;
#[cfg(test)]
mod tests;
mod write;

use super::{Command, CommandError};
use crate::store::{Db, Edit, Key, Value, objects::hash::HashRef};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    write::HSET,
    write::HSETNX,
    write::HMSET,
    write::HDEL,
    write::HINCRBY,
    write::HINCRBYFLOAT,
    read::HGET,
    read::HMGET,
    read::HGETALL,
    read::HKEYS,
    read::HVALS,
    read::HLEN,
    read::HEXISTS,
    read::HSTRLEN,
    read::HRANDFIELD,
    read::HSCAN,
    expire::HEXPIRE,
    expire::HPEXPIRE,
    expire::HEXPIREAT,
    expire::HPEXPIREAT,
    expire::HPERSIST,
    expire::HTTL,
    expire::HPTTL,
    expire::HEXPIRETIME,
    expire::HPEXPIRETIME,
    fields::HGETEX,
    fields::HSETEX,
    fields::HGETDEL,
];

/// The hash that a key holds at `now`; `None` for one that holds nothing.
fn hash_of(value: Option<Value<'_>>, now: u64) -> Result<Option<HashRef<'_>>, CommandError> {
    value.map(|value| HashRef::of(value, now).ok_or(CommandError::WrongType)).transpose()
}

/// Opens a key, which holds a hash or nothing, for a change of these fields: those that are over are removed first.
fn open<'d, 'k, 't>(
    db: &'d mut Db<'_>,
    key: Key<'k>,
    fields: impl Iterator<Item = &'t [u8]>,
) -> Result<Edit<'d, 'k>, CommandError> {
    let now = db.now;
    let mut entry = db.edit(key);
    hash_of(entry.value(), now)?;
    edit::expire(&mut entry, fields, now);
    Ok(entry)
}
