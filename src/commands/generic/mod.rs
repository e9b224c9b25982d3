//! Keys, whatever they hold: when they end, what they are called, which there are.
//!
//! | file | commands |
//! | --- | --- |
//! | [`presence`] | DEL, UNLINK, EXISTS, TOUCH, TYPE |
//! | [`expire`] | EXPIRE and its like, TTL and its like, PERSIST |
//! | [`rename`] | RENAME, RENAMENX, COPY, MOVE |
//! | [`scan`] | SCAN |
//! | [`clusterscan`] | CLUSTERSCAN |
//! | [`databases`] | KEYS, RANDOMKEY, DBSIZE, FLUSHDB, FLUSHALL, SWAPDB |
//! | [`object`] | OBJECT |
//! | [`dump`] | DUMP, RESTORE, RESTORE-ASKING |
//! | [`sort`] | SORT and SORT_RO, with the [patterns](pattern) by which they find further keys |
//! | [`awaited`] | what commands that wait are made of between nodes |
//! | [`carry`] | what RENAME and COPY are made of between nodes, with the [prints](mod@print) that tell values apart |

pub(crate) mod among;
pub(crate) mod awaited;
pub(crate) mod carry;
mod clusterscan;
mod databases;
mod dump;
mod expire;
mod object;
mod pattern;
mod presence;
pub(crate) mod print;
pub(crate) mod rename;
pub(crate) mod scan;
mod sort;

use super::{Command, follow};

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    presence::DEL,
    presence::UNLINK,
    presence::EXISTS,
    presence::TOUCH,
    presence::TYPE,
    expire::EXPIRE,
    expire::PEXPIRE,
    expire::EXPIREAT,
    expire::PEXPIREAT,
    expire::TTL,
    expire::PTTL,
    expire::EXPIRETIME,
    expire::PEXPIRETIME,
    expire::PERSIST,
    rename::RENAME,
    rename::RENAMENX,
    rename::COPY,
    rename::MOVE,
    scan::SCAN,
    clusterscan::CLUSTERSCAN,
    databases::KEYS,
    databases::RANDOMKEY,
    databases::DBSIZE,
    databases::FLUSHDB,
    databases::FLUSHALL,
    databases::SWAPDB,
    object::OBJECT,
    dump::DUMP,
    dump::RESTORE,
    dump::RESTORE_ASKING,
    sort::SORT,
    sort::SORT_RO,
];

/// Commands that nodes send each other and clients cannot call.
pub(super) static INTERNAL: [&Command; 13] = [
    &among::READ,
    &among::WRITE,
    &scan::PART,
    &carry::FETCH,
    &carry::PLACE,
    &carry::PLACE_IN_BOUNDS,
    &carry::DROP,
    &carry::APPLY,
    &carry::APPLY_IN_BOUNDS,
    &follow::LOOK,
    &awaited::LIST,
    &awaited::ZSET,
    &super::streams::CHECK,
];
