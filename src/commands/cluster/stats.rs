//! CLUSTER SLOT-STATS: how many keys the slots have that this node serves.

use std::cmp::Reverse;

use ringfort_protocol::Args;

use super::{Command, CommandError, Group, Run, SessionCx, slot_number};
use crate::{
    commands::{
        Flags,
        parse::{integer, is},
    },
    store::Role,
};

pub(super) const SLOT_STATS: Command = Command {
    name: "slot-stats",
    summary: "Tells how many keys the slots have that this node serves",
    group: Group::Cluster,
    since: "8.1.0",
    complexity: "O(N) where N is the total number of slots based on arguments. O(N*log(N)) with ORDERBY subcommand.",
    arity: -4,
    flags: Flags::LOADING.and(Flags::STALE),
    run: Run::Session(slot_stats),
    ..Command::BASE
};

/// The largest number of slots that may be asked for.
const MOST: i64 = ringfort_cluster::SLOTS as i64;

fn slot_stats(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let form = args.at(2);
    let stats = if is(form, "slotsrange") && args.len() == 5 {
        let slot = |index: usize| {
            let invalid = CommandError::other("ERR Invalid or out of range slot");
            integer(args.at(index)).ok().and_then(slot_number).ok_or(invalid)
        };
        let (first, last) = (slot(3)?, slot(4)?);
        if first > last {
            let text = format!("ERR Start slot number {first} is greater than end slot number {last}");
            return Err(CommandError::made(text));
        }
        served(cx, first..=last)
    } else if is(form, "orderby") {
        ordered(cx, args)?
    } else {
        let text = "ERR unknown subcommand or wrong number of arguments for 'SLOT-STATS'. Try CLUSTER HELP.";
        return Err(CommandError::other(text));
    };
    cx.out.array(stats.len());
    for (slot, keys) in stats {
        cx.out.array(2);
        cx.out.int(slot.into());
        cx.out.map(1);
        cx.out.bulk(b"key-count");
        cx.out.count(keys);
    }
    Ok(())
}

fn ordered(cx: &SessionCx<'_>, args: Args<'_>) -> Result<Vec<(u16, usize)>, CommandError> {
    if !is(args.at(3), "key-count") {
        let text = "ERR Unrecognized sort metric for ORDERBY. The supported metric is: key-count.";
        return Err(CommandError::other(text));
    }
    let (mut limit, mut ascending) = (None, None);
    let mut rest = args.slice(4..);
    while let Some(word) = rest.get(0) {
        let (taken, again) = if is(word, "limit") && rest.len() > 1 {
            let text = "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).";
            let count = integer(rest.at(1)).ok().filter(|count| (1..=MOST).contains(count));
            (2, limit.replace(count.ok_or(CommandError::other(text))?).is_some())
        } else if is(word, "asc") || is(word, "desc") {
            (1, ascending.replace(is(word, "asc")).is_some())
        } else {
            return Err(CommandError::Syntax);
        };
        if again {
            return Err(CommandError::other("ERR Multiple filters of the same type are disallowed."));
        }
        rest = rest.slice(taken..);
    }
    let mut stats = served(cx, 0..=ringfort_cluster::SLOTS - 1);
    if ascending == Some(true) {
        stats.sort_by_key(|(_, keys)| *keys);
    } else {
        stats.sort_by_key(|(_, keys)| Reverse(*keys));
    }
    stats.truncate(limit.unwrap_or(MOST) as usize);
    Ok(stats)
}

/// The slots among these that this node is primary of, in order, and how many keys each has.
fn served(cx: &SessionCx<'_>, slots: std::ops::RangeInclusive<u16>) -> Vec<(u16, usize)> {
    let store = &cx.node.store;
    let mut stats = Vec::new();
    let (first, last) = (store.shard_of(*slots.start()), store.shard_of(*slots.end()));
    for id in (first.0..=last.0).map(ringfort_cluster::ShardId) {
        let shard = store.lock(id);
        if matches!(shard.core.role, Role::Primary | Role::Sealed) {
            let wanted = shard.slots().filter(|slot| slots.contains(slot));
            stats.extend(wanted.map(|slot| (slot, shard.slot_len(0, slot))));
        }
    }
    stats
}
