//! Lists.
//!
//! [`edit`] changes a list of either form, [`ends`] has the commands that push and pop, [`blocking`] those that wait for
//! something to pop, [`inside`] those that look at or change what lies between.

mod blocking;
pub(super) mod edit;
mod ends;
mod inside;

use super::{Command, CommandError, Limits, Reply, parse};
use crate::store::{
    Value,
    objects::list::{End, ListRef, NodeLimit},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    ends::LPUSH,
    ends::RPUSH,
    ends::LPUSHX,
    ends::RPUSHX,
    ends::LPOP,
    ends::RPOP,
    ends::LMPOP,
    ends::LMOVE,
    ends::RPOPLPUSH,
    blocking::BLPOP,
    blocking::BRPOP,
    blocking::BLMPOP,
    blocking::BLMOVE,
    blocking::BRPOPLPUSH,
    inside::LLEN,
    inside::LINDEX,
    inside::LRANGE,
    inside::LPOS,
    inside::LSET,
    inside::LINSERT,
    inside::LREM,
    inside::LTRIM,
];

/// The list that a key holds; `None` for one that holds nothing.
fn list_of(value: Option<Value<'_>>) -> Result<Option<ListRef<'_>>, CommandError> {
    value.map(|value| ListRef::of(value).ok_or(CommandError::WrongType)).transpose()
}

/// How large a small list, or a node of a large one, may be.
pub(super) fn node_limit(limits: &Limits) -> NodeLimit {
    NodeLimit::new(limits.list_max_listpack_size)
}

/// `LEFT` or `RIGHT`.
fn end(arg: &[u8]) -> Result<End, CommandError> {
    if parse::is(arg, "LEFT") {
        Ok(End::Front)
    } else if parse::is(arg, "RIGHT") {
        Ok(End::Back)
    } else {
        Err(CommandError::Syntax)
    }
}

/// Writes `count` elements from an end on.
fn write_end(out: &mut Reply, list: ListRef<'_>, end: End, count: usize) {
    match end {
        End::Front => list.iter_from(0).take(count).for_each(|item| out.item(item)),
        End::Back => {
            let last = list.len() - 1;
            list.iter_back_from(last).take(count).for_each(|item| out.item(item));
        }
    }
}
