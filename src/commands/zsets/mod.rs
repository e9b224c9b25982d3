//! Sorted sets: members, each with a score, in the order of score and member.
//!
//! [`ZSetRef`] reads both forms alike, [`change`] changes both; [`bounds`] turns what a client calls a range into ranks,
//! since everything that has an order is found by rank. [`found`] collects members that are replied or stored.

mod add;
mod algebra;
mod bounds;
pub(super) mod change;
mod found;
mod pop;
mod random;
mod range;
mod read;
mod remove;
mod scan;
#[cfg(test)]
mod tests;

pub(super) use self::{add::add, found::Found};
use super::{Command, CommandError, Flags, Group, KeyFlags};
use crate::store::{Value, objects::zset::ZSetRef};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    add::ZADD,
    add::ZINCRBY,
    read::ZCARD,
    read::ZSCORE,
    read::ZMSCORE,
    read::ZRANK,
    read::ZREVRANK,
    read::ZCOUNT,
    read::ZLEXCOUNT,
    range::ZRANGE,
    range::ZREVRANGE,
    range::ZRANGEBYSCORE,
    range::ZREVRANGEBYSCORE,
    range::ZRANGEBYLEX,
    range::ZREVRANGEBYLEX,
    range::ZRANGESTORE,
    remove::ZREM,
    remove::ZREMRANGEBYRANK,
    remove::ZREMRANGEBYSCORE,
    remove::ZREMRANGEBYLEX,
    pop::ZPOPMIN,
    pop::ZPOPMAX,
    pop::ZMPOP,
    pop::BZPOPMIN,
    pop::BZPOPMAX,
    pop::BZMPOP,
    random::ZRANDMEMBER,
    algebra::ZUNION,
    algebra::ZINTER,
    algebra::ZDIFF,
    algebra::ZINTERCARD,
    algebra::ZUNIONSTORE,
    algebra::ZINTERSTORE,
    algebra::ZDIFFSTORE,
    scan::ZSCAN,
];

/// What reading commands have in common.
const READ: Command = Command { group: Group::SortedSet, flags: Flags::READONLY, ..Command::BASE };

/// What writing commands have in common.
const WRITE: Command = Command { group: Group::SortedSet, flags: Flags::WRITE, ..Command::BASE };

/// A key whose members are read.
const SOURCE: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);

/// A key that a result is stored at.
const DESTINATION: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

/// The sorted set that a key holds; `None` for one that holds nothing.
#[inline]
pub(super) fn zset_of(value: Option<Value<'_>>) -> Result<Option<ZSetRef<'_>>, CommandError> {
    value.map(|value| ZSetRef::of(value).ok_or(CommandError::WrongType)).transpose()
}
