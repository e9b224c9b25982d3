//! ZADD and ZINCRBY.

use ringfort_protocol::{
    Args,
    number::{self, parse_i64},
};

use super::{WRITE, change, zset_of};
use crate::commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run, parse};

pub(super) const ZADD: Command = Command {
    name: "zadd",
    summary: "Adds members to a sorted set, or changes their scores",
    since: "1.2.0",
    complexity: "O(log(N)) for each member added, where N is the number of members",
    arity: -4,
    flags: WRITE.flags.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| add(cx, args, false)),
    ..WRITE
};

pub(super) const ZINCRBY: Command = Command {
    name: "zincrby",
    summary: "Adds to the score of a member of a sorted set",
    since: "1.2.0",
    complexity: "O(log(N)) where N is the number of members",
    arity: 4,
    flags: WRITE.flags.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| add(cx, args, true)),
    ..WRITE
};

/// What stands between the key and the first score.
#[derive(Clone, Copy, Default)]
struct Options {
    /// Members that are there keep their scores.
    nx: bool,
    /// Members that are not there are not added.
    xx: bool,
    /// Scores become only greater.
    gt: bool,
    /// Scores become only less.
    lt: bool,
    /// The reply counts changed scores too.
    ch: bool,
    /// The score is added, and the reply is the sum.
    incr: bool,
}

impl Options {
    /// Reads the options; returns where the scores begin.
    fn parse(args: Args<'_>, incr: bool) -> Result<(Self, usize), CommandError> {
        let mut options = Self { incr, ..Self::default() };
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let option = match word.len() {
                2 if parse::is(word, "nx") => &mut options.nx,
                2 if parse::is(word, "xx") => &mut options.xx,
                2 if parse::is(word, "gt") => &mut options.gt,
                2 if parse::is(word, "lt") => &mut options.lt,
                2 if parse::is(word, "ch") => &mut options.ch,
                4 if parse::is(word, "incr") => &mut options.incr,
                _ => break,
            };
            *option = true;
            at += 1;
        }
        let rest = args.len() - at;
        if rest == 0 || !rest.is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        let Self { nx, xx, gt, lt, .. } = options;
        if nx && xx {
            return Err(CommandError::other("ERR XX and NX options at the same time are not compatible"));
        }
        if [nx, gt, lt].into_iter().filter(|given| *given).count() > 1 {
            return Err(CommandError::other(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if options.incr && rest > 2 {
            return Err(CommandError::other("ERR INCR option supports a single increment-element pair"));
        }
        Ok((options, at))
    }

    /// The score that a member gets which has the score `old` or is not there; `None`: it is left as it is.
    fn next(self, old: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else {
            return Ok((!self.xx).then_some(given));
        };
        if self.nx {
            return Ok(None);
        }
        let next = if self.incr { old + given } else { given };
        if next.is_nan() {
            return Err(CommandError::other("ERR resulting score is not a number (NaN)"));
        }
        let refused = (self.gt && next <= old) || (self.lt && next >= old);
        Ok((!refused).then_some(next))
    }
}

/// Reads a score. Most are short whole numbers.
fn parse_score(text: &[u8]) -> Result<f64, CommandError> {
    const EXACT: usize = 15;
    if text.len() <= EXACT
        && let Some(whole) = parse_i64(text)
    {
        return Ok(whole as f64);
    }
    parse::float(text)
}

/// What ZADD does, or ZINCRBY.
pub(in crate::commands) fn add(cx: &mut Cx<'_>, args: Args<'_>, incr: bool) -> Result<Done, CommandError> {
    let (options, first) = Options::parse(args, incr)?;
    // All scores are read before anything is changed; read again, a score costs less than a list of them.
    for at in (first..args.len()).step_by(2) {
        parse_score(args.at(at))?;
    }
    let mut edit = cx.db.edit(cx.keys[0]);
    zset_of(edit.value())?;
    let (mut added, mut updated, mut last) = (0, 0, None);
    for at in (first..args.len()).step_by(2) {
        let (given, member) = (parse_score(args.at(at))?, args.at(at + 1));
        let view = zset_of(edit.value())?;
        let old = view.and_then(|view| view.score(member));
        let next = options.next(old, given)?;
        last = next;
        let Some(next) = next else { continue };
        match old {
            None => added += 1,
            Some(old) if old != next => updated += 1,
            Some(_) => continue,
        }
        change::set_score(&mut edit, cx.limits, member, old, next);
    }
    let changed = added + updated > 0;
    if !options.incr {
        cx.out.count(if options.ch { added + updated } else { added });
        return Ok(if changed { Done::Changed } else { Done::Unchanged });
    }
    match last {
        Some(score) => cx.out.double(score),
        None => cx.out.null(),
    }
    match last {
        Some(score) if changed => {
            let (key, score) = (edit.key().bytes, number::format_double(score));
            edit.log(&[b"ZADD", key, score.as_bytes(), args.at(first + 1)]);
            Ok(Done::Logged)
        }
        _ => Ok(Done::Unchanged),
    }
}
