//! Sets.
//!
//! [`edit`] changes a set of any form, [`members`] has the commands about members of one set, [`random`] those that
//! choose some, [`algebra`] those that combine sets.

mod algebra;
pub(super) mod edit;
mod members;
mod random;

use super::{Command, CommandError, Limits};
use crate::store::{
    Value,
    objects::set::{SetLimits, SetRef},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    members::SADD,
    members::SREM,
    members::SMOVE,
    members::SISMEMBER,
    members::SMISMEMBER,
    members::SMEMBERS,
    members::SCARD,
    members::SSCAN,
    random::SPOP,
    random::SRANDMEMBER,
    algebra::SINTER,
    algebra::SUNION,
    algebra::SDIFF,
    algebra::SINTERSTORE,
    algebra::SUNIONSTORE,
    algebra::SDIFFSTORE,
    algebra::SINTERCARD,
];

/// The set that a key holds; `None` for one that holds nothing.
fn set_of(value: Option<Value<'_>>) -> Result<Option<SetRef<'_>>, CommandError> {
    value.map(|value| SetRef::of(value).ok_or(CommandError::WrongType)).transpose()
}

/// The settings that decide which form a set has.
pub(super) fn set_limits(limits: &Limits) -> SetLimits {
    SetLimits {
        ints: limits.set_max_intset_entries,
        packed: limits.set_max_listpack_entries,
        text: limits.set_max_listpack_value,
        seed: limits.hash_seed,
    }
}
