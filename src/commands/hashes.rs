//! Hashes.
//!
//! [`edit`] changes a hash of either form, [`read`] has the commands that only look, [`write`](self::write) the
//! others.

pub(super) mod edit;
mod read;
mod write;

use super::{Command, CommandError};
use crate::store::{Value, objects::hash::HashRef};

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
];

/// The hash that a key holds; `None` for one that holds nothing.
fn hash_of(value: Option<Value<'_>>) -> Result<Option<HashRef<'_>>, CommandError> {
    value.map(|value| HashRef::of(value).ok_or(CommandError::WrongType)).transpose()
}
