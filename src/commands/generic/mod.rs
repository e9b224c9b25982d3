//! Keys, whatever they hold: when they end, what they are called, which there are.
//!
//! | file | commands |
//! | --- | --- |
//! | [`expire`] | EXPIRE and its like, TTL and its like, PERSIST |

mod expire;

use super::Command;

/// The family.
pub(super) const COMMANDS: &[Command] = &[
    expire::EXPIRE,
    expire::PEXPIRE,
    expire::EXPIREAT,
    expire::PEXPIREAT,
    expire::TTL,
    expire::PTTL,
    expire::EXPIRETIME,
    expire::PEXPIRETIME,
    expire::PERSIST,
];
