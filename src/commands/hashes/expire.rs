//! When fields of a hash end: deadlines are set, told and taken away, field by field.
//!
//! As with keys, whatever unit a command speaks, a deadline is kept and logged as an instant in Unix milliseconds, and
//! one that has passed removes the field at once. One effect tells of all fields of a command.

use ringfort_protocol::Args;

use super::{
    edit,
    fields::{Fields, MISCOUNTED, log_fields},
    hash_of, open,
};
use crate::commands::{
    Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run,
    parse::{Conditions, Expiry, in_seconds},
};

/// What the commands that set deadlines have in common.
const SETS: Command = Command {
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    arity: -6,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    ..Command::BASE
};

/// What the commands that tell deadlines have in common.
const TELLS: Command = Command {
    arity: -5,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    ..SETS
};

pub(super) const HEXPIRE: Command = Command {
    name: "hexpire",
    summary: "Lets fields of a hash end after so many seconds",
    run: Run::Data(|cx, args| set_deadlines(cx, args, Expiry::Ex, "hexpire")),
    ..SETS
};

pub(super) const HPEXPIRE: Command = Command {
    name: "hpexpire",
    summary: "Lets fields of a hash end after so many milliseconds",
    run: Run::Data(|cx, args| set_deadlines(cx, args, Expiry::Px, "hpexpire")),
    ..SETS
};

pub(super) const HEXPIREAT: Command = Command {
    name: "hexpireat",
    summary: "Lets fields of a hash end at a Unix time in seconds",
    run: Run::Data(|cx, args| set_deadlines(cx, args, Expiry::ExAt, "hexpireat")),
    ..SETS
};

pub(super) const HPEXPIREAT: Command = Command {
    name: "hpexpireat",
    summary: "Lets fields of a hash end at a Unix time in milliseconds",
    run: Run::Data(|cx, args| set_deadlines(cx, args, Expiry::PxAt, "hpexpireat")),
    ..SETS
};

pub(super) const HPERSIST: Command = Command {
    name: "hpersist",
    summary: "Takes the deadlines of fields of a hash away",
    arity: -5,
    run: Run::Data(persist),
    ..SETS
};

pub(super) const HTTL: Command = Command {
    name: "httl",
    summary: "Tells how many seconds fields of a hash have left",
    run: Run::Data(|cx, args| tell(cx, args, |deadline, now| in_seconds(deadline.saturating_sub(now)))),
    ..TELLS
};

pub(super) const HPTTL: Command = Command {
    name: "hpttl",
    summary: "Tells how many milliseconds fields of a hash have left",
    run: Run::Data(|cx, args| tell(cx, args, u64::saturating_sub)),
    ..TELLS
};

pub(super) const HEXPIRETIME: Command = Command {
    name: "hexpiretime",
    summary: "Tells the Unix times in seconds at which fields of a hash end",
    run: Run::Data(|cx, args| tell(cx, args, |deadline, _| in_seconds(deadline))),
    ..TELLS
};

pub(super) const HPEXPIRETIME: Command = Command {
    name: "hpexpiretime",
    summary: "Tells the Unix times in milliseconds at which fields of a hash end",
    run: Run::Data(|cx, args| tell(cx, args, |deadline, _| deadline)),
    ..TELLS
};

/// What is said of a field that is not there.
const NO_FIELD: i64 = -2;

/// What is said of a field without a deadline.
const NO_DEADLINE: i64 = -1;

/// What is said of a field whose deadline stays, because a condition does not hold.
const REFUSED: i64 = 0;

/// What is said of a field whose deadline was set, or taken away.
const DONE: i64 = 1;

/// What is said of a field that is removed, because its deadline has passed.
const REMOVED: i64 = 2;

fn set_deadlines(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    unit: Expiry,
    name: &'static str,
) -> Result<Done, CommandError> {
    let fields = Fields::find(args, 3);
    let conditions = Conditions::parse(fields.options)?;
    let names = fields.counted(1)?;
    let now = cx.db.now;
    let deadline = unit.field_deadline(args.at(2), now, name)?;
    let mut entry = open(&mut cx.db, cx.keys[0], names.iter())?;
    let mut changed = Vec::new();
    cx.out.array(names.len());
    for name in names.iter() {
        let found = hash_of(entry.value(), now)?.and_then(|hash| hash.find(name));
        let said = match found {
            None => NO_FIELD,
            Some((_, old)) if !conditions.hold(old, deadline) => REFUSED,
            Some(_) if deadline <= now => {
                edit::remove(&mut entry, std::iter::once(name));
                REMOVED
            }
            Some(_) => {
                edit::set_deadline(&mut entry, name, Some(deadline), cx.limits);
                DONE
            }
        };
        if said > REFUSED {
            changed.push(name);
        }
        cx.out.int(said);
    }
    if changed.is_empty() {
        return Ok(Done::Unchanged);
    }
    if deadline <= now {
        entry.count_expired_fields(changed.len());
        entry.log(&[&[&b"HDEL"[..], entry.key().bytes], &changed[..]].concat());
    } else {
        let mut digits = itoa::Buffer::new();
        log_fields(&mut entry, b"HPEXPIREAT", &[digits.format(deadline).as_bytes()], &changed, 1);
    }
    Ok(Done::Logged)
}

fn persist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let names = Fields::at(args, 2).ok_or(CommandError::Syntax)?.counted(1)?;
    let now = cx.db.now;
    let mut entry = open(&mut cx.db, cx.keys[0], names.iter())?;
    let mut changed = Vec::new();
    cx.out.array(names.len());
    for name in names.iter() {
        let found = hash_of(entry.value(), now)?.and_then(|hash| hash.find(name));
        cx.out.int(match found {
            None => NO_FIELD,
            Some((_, None)) => NO_DEADLINE,
            Some(_) => {
                edit::set_deadline(&mut entry, name, None, cx.limits);
                changed.push(name);
                DONE
            }
        });
    }
    if changed.is_empty() {
        return Ok(Done::Unchanged);
    }
    log_fields(&mut entry, b"HPERSIST", &[], &changed, 1);
    Ok(Done::Logged)
}

/// Replies with what `say` makes of the deadline of each field and the time.
fn tell(cx: &mut Cx<'_>, args: Args<'_>, say: impl Fn(u64, u64) -> u64) -> Result<Done, CommandError> {
    let fields = Fields::at(args, 2).ok_or(CommandError::Syntax)?;
    let of_a_reader = |error| if error == MISCOUNTED { CommandError::Syntax } else { error };
    let names = fields.counted(1).map_err(of_a_reader)?;
    let now = cx.db.now;
    let hash = hash_of(cx.db.read(cx.key(0)), now)?;
    cx.out.array(names.len());
    for name in names.iter() {
        cx.out.int(match hash.and_then(|hash| hash.find(name)) {
            None => NO_FIELD,
            Some((_, None)) => NO_DEADLINE,
            Some((_, Some(deadline))) => say(deadline, now).cast_signed(),
        });
    }
    Ok(Done::Read)
}
