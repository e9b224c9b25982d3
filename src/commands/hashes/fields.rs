//! Commands that read or write fields and see to their deadlines in one step, and how fields are told: `FIELDS`, their
//! number, and as many fields.

use ringfort_protocol::Args;

use super::{edit, hash_of, open};
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Reply, Run,
        parse::{Expiry, NewDeadline, integer, is},
    },
    store::{
        Edit,
        objects::hash::{HashRef, Lasts},
    },
};

/// The end of a command: options, `FIELDS`, a number, and what it counts.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    /// What stands before `FIELDS`.
    pub(super) options: Args<'a>,
    /// The number; `None` where there is no `FIELDS` that anything follows.
    number: Option<&'a [u8]>,
    rest: Args<'a>,
}

impl<'a> Fields<'a> {
    /// Looks for the word from argument `from` on.
    pub(super) fn find(args: Args<'a>, from: usize) -> Self {
        let is_word = |at: &usize| is(args.at(*at), "FIELDS");
        match (from..args.len() - 1).find(is_word) {
            Some(at) => {
                let number = Some(args.at(at + 1));
                Self { options: args.slice(from..at), number, rest: args.slice(at + 2..) }
            }
            None => Self { options: args.slice(from..from), number: None, rest: args.slice(from..from) },
        }
    }

    /// Expects the word as argument `at`.
    pub(super) fn at(args: Args<'a>, at: usize) -> Option<Self> {
        Some(Self::find(args, at)).filter(|fields| fields.number.is_some() && fields.options.is_empty())
    }

    /// What was counted, of which each has so many parts, if it is as many as the number says.
    pub(super) fn counted(self, parts: i64) -> Result<Args<'a>, CommandError> {
        let number = self.number.map_or(Ok(0), integer)?;
        let fits = number > 0 && number.checked_mul(parts) == i64::try_from(self.rest.len()).ok();
        if fits { Ok(self.rest) } else { Err(MISCOUNTED) }
    }
}

/// What is said of a number that does not fit what follows it.
pub(super) const MISCOUNTED: CommandError =
    CommandError::other("ERR numfields should be greater than 0 and match the provided number of fields");

/// Logs a command with options and these fields, of which each has so many parts.
pub(super) fn log_fields(
    entry: &mut Edit<'_, '_>,
    name: &[u8],
    options: &[&[u8]],
    fields: &[&[u8]],
    parts: usize,
) {
    let mut digits = itoa::Buffer::new();
    let number = digits.format(fields.len() / parts).as_bytes();
    entry.log(&[&[name, entry.key().bytes], options, &[b"FIELDS", number], fields].concat());
}

const BASE: Command = Command {
    group: Group::Hash,
    since: "9.0.0",
    complexity: "O(N) where N is the number of specified fields.",
    arity: -5,
    flags: Flags::WRITE.and(Flags::FAST),
    ..Command::BASE
};

pub(super) const HGETEX: Command = Command {
    name: "hgetex",
    summary: "Returns the values of fields of a hash, and sets or clears their deadlines",
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS))],
    run: Run::Data(get_with),
    ..BASE
};

pub(super) const HSETEX: Command = Command {
    name: "hsetex",
    summary: "Gives fields of a hash values, on conditions, and sets, clears or keeps their deadlines",
    arity: -6,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(set_with),
    ..BASE
};

pub(super) const HGETDEL: Command = Command {
    name: "hgetdel",
    summary: "Returns the values of fields of a hash and removes the fields",
    since: "9.1.0",
    complexity: "O(N) where N is the number of fields to be retrieved and deleted.",
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let names = Fields::at(args, 2).ok_or(CommandError::Syntax)?.counted(1)?;
        let now = cx.db.now;
        let mut entry = open(&mut cx.db, cx.keys[0], names.iter())?;
        let mut removed = Vec::new();
        cx.out.array(names.len());
        for name in names.iter() {
            if reply_field(cx.out, hash_of(entry.value(), now)?, name) {
                edit::remove(&mut entry, std::iter::once(name));
                removed.push(name);
            }
        }
        Ok(log_removal(&mut entry, &removed))
    }),
    ..BASE
};

/// Replies with the value of a field, or null. Returns whether it is there.
fn reply_field(out: &mut Reply, hash: Option<HashRef<'_>>, name: &[u8]) -> bool {
    let value = hash.and_then(|hash| hash.get(name));
    match value {
        Some(value) => out.item(value),
        None => out.null(),
    }
    value.is_some()
}

fn log_removal(entry: &mut Edit<'_, '_>, removed: &[&[u8]]) -> Done {
    if removed.is_empty() {
        return Done::Unchanged;
    }
    entry.log(&[&[b"HDEL", entry.key().bytes], removed].concat());
    Done::Logged
}

fn get_with(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let fields = Fields::find(args, 2);
    let deadline = NewDeadline::of_reading(fields.options)?;
    let names = fields.counted(1)?;
    let now = cx.db.now;
    let mut entry = open(&mut cx.db, cx.keys[0], names.iter())?;
    entry.read();
    let instant = deadline.field_instant(now, "hgetex")?;
    let mut changed = Vec::new();
    cx.out.array(names.len());
    for name in names.iter() {
        let hash = hash_of(entry.value(), now)?;
        let old = hash.and_then(|hash| hash.find(name)).and_then(|found| found.1);
        if !reply_field(cx.out, hash, name) {
            continue;
        }
        match (deadline, instant) {
            (_, Some(instant)) if instant <= now => _ = edit::remove(&mut entry, std::iter::once(name)),
            (_, Some(instant)) => edit::set_deadline(&mut entry, name, Some(instant), cx.limits),
            (NewDeadline::Never, None) if old.is_some() => {
                edit::set_deadline(&mut entry, name, None, cx.limits);
            }
            _ => continue,
        }
        changed.push(name);
    }
    match instant {
        _ if changed.is_empty() => return Ok(Done::Unchanged),
        None => log_fields(&mut entry, b"HPERSIST", &[], &changed, 1),
        Some(instant) if instant <= now => {
            entry.count_expired_fields(changed.len());
            return Ok(log_removal(&mut entry, &changed));
        }
        Some(instant) => {
            let mut digits = itoa::Buffer::new();
            log_fields(&mut entry, b"HPEXPIREAT", &[digits.format(instant).as_bytes()], &changed, 1);
        }
    }
    Ok(Done::Logged)
}

/// On what condition HSETEX sets its fields.
#[derive(Clone, Copy, Default)]
struct Conditions {
    /// Whether there must be a hash, or must be none.
    key: Option<bool>,
    /// Whether each of the fields must be there, or must not.
    fields: Option<bool>,
}

impl Conditions {
    /// Takes an option into account, if it is a condition. What contradicts an earlier one is none.
    fn take(&mut self, option: &[u8]) -> bool {
        let (condition, wanted) = match option {
            _ if is(option, "NX") => (&mut self.key, false),
            _ if is(option, "XX") => (&mut self.key, true),
            _ if is(option, "FNX") => (&mut self.fields, false),
            _ if is(option, "FXX") => (&mut self.fields, true),
            _ => return false,
        };
        *condition.get_or_insert(wanted) == wanted
    }

    fn hold_for_key(self, hash: Option<HashRef<'_>>) -> bool {
        self.key.is_none_or(|wanted| wanted == hash.is_some())
    }

    fn hold_for<'f>(self, hash: Option<HashRef<'_>>, mut names: impl Iterator<Item = &'f [u8]>) -> bool {
        let is_there = |name| hash.is_some_and(|hash| hash.get(name).is_some());
        self.fields.is_none_or(|wanted| names.all(|name| wanted == is_there(name)))
    }
}

fn set_with(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let fields = Fields::find(args, 2);
    let (mut deadline, mut conditions) = (NewDeadline::Never, Conditions::default());
    let mut options = fields.options.iter();
    while let Some(option) = options.next() {
        if let Some(expiry) = Expiry::from_option(option) {
            deadline.set(&NewDeadline::Never, expiry, options.next())?;
        } else if is(option, "KEEPTTL") && !matches!(deadline, NewDeadline::At(..)) {
            deadline = NewDeadline::Same;
        } else if !conditions.take(option) {
            return Err(CommandError::Syntax);
        }
    }
    let texts = fields.counted(2)?;
    let pairs = (0..texts.len() / 2).map(|pair| (texts.at(2 * pair), texts.at(2 * pair + 1)));
    let names = || pairs.clone().map(|pair| pair.0);
    let now = cx.db.now;
    let mut entry = open(&mut cx.db, cx.keys[0], names())?;
    let hash = hash_of(entry.value(), now)?;
    // Where the first condition does not hold, the time is not even looked at.
    let may_hold = conditions.hold_for_key(hash);
    let instant = if may_hold { deadline.field_instant(now, "hsetex")? } else { None };
    if !may_hold || !conditions.hold_for(hash, names()) {
        cx.out.flag(false);
        return Ok(Done::Unchanged);
    }
    let texts: Vec<&[u8]> = texts.iter().collect();
    match (deadline, instant) {
        (_, Some(instant)) if instant <= now => {
            let removed: Vec<&[u8]> =
                names().filter(|name| edit::remove(&mut entry, std::iter::once(*name)) > 0).collect();
            // As in Valkey: a field that was not there has not been changed.
            cx.out.flag(removed.len() == names().len());
            entry.count_expired_fields(removed.len());
            return Ok(log_removal(&mut entry, &removed));
        }
        (_, Some(instant)) => {
            edit::set(&mut entry, pairs.clone(), Lasts::Until(instant), cx.limits);
            let mut digits = itoa::Buffer::new();
            let options = [b"PXAT", digits.format(instant).as_bytes()];
            log_fields(&mut entry, b"HSETEX", &options, &texts, 2);
        }
        (NewDeadline::Same, None) => {
            edit::set(&mut entry, pairs.clone(), Lasts::AsBefore, cx.limits);
            log_fields(&mut entry, b"HSETEX", &[b"KEEPTTL"], &texts, 2);
        }
        (_, None) => {
            edit::set(&mut entry, pairs.clone(), Lasts::Forever, cx.limits);
            entry.log(&[&[b"HSET", entry.key().bytes], &texts[..]].concat());
        }
    }
    cx.out.flag(true);
    Ok(Done::Logged)
}
