//! Questions about single members and about how many there are.

use ringfort_protocol::Args;

use super::{READ, SOURCE, bounds::Bounds, zset_of};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run, parse},
    store::objects::zset::ZSetRef,
};

pub(super) const ZCARD: Command = Command {
    name: "zcard",
    summary: "Returns the number of members of a sorted set",
    since: "1.2.0",
    arity: 2,
    flags: READ.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        let view = zset_of(cx.db.read(cx.keys[0]))?;
        cx.out.count(view.map_or(0, ZSetRef::len));
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const ZSCORE: Command = Command {
    name: "zscore",
    summary: "Returns the score of a member of a sorted set",
    since: "1.2.0",
    arity: 3,
    flags: READ.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| {
        let view = zset_of(cx.db.read(cx.keys[0]))?;
        match view.and_then(|view| view.score(args.at(2))) {
            Some(score) => cx.out.double(score),
            None => cx.out.null(),
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const ZMSCORE: Command = Command {
    name: "zmscore",
    summary: "Returns the scores of several members of a sorted set",
    since: "6.2.0",
    complexity: "O(N) where N is the number of members asked for",
    arity: -3,
    flags: READ.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| {
        let view = zset_of(cx.db.read(cx.keys[0]))?;
        cx.out.array(args.len() - 2);
        for member in args.slice(2..).iter() {
            match view.and_then(|view| view.score(member)) {
                Some(score) => cx.out.double(score),
                None => cx.out.null(),
            }
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const ZRANK: Command = Command {
    name: "zrank",
    summary: "Returns the position of a member, counted from the lowest score",
    since: "2.0.0",
    complexity: "O(log(N))",
    arity: -3,
    flags: READ.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| rank(cx, args, "zrank", false)),
    ..READ
};

pub(super) const ZREVRANK: Command = Command {
    name: "zrevrank",
    summary: "Returns the position of a member, counted from the highest score",
    run: Run::Data(|cx, args| rank(cx, args, "zrevrank", true)),
    ..ZRANK
};

fn rank(cx: &mut Cx<'_>, args: Args<'_>, name: &'static str, reverse: bool) -> Result<Done, CommandError> {
    let with_score = match args.get(3) {
        _ if args.len() > 4 => return Err(CommandError::Arity(name.into())),
        None => false,
        Some(word) if parse::is(word, "withscore") => true,
        Some(_) => return Err(CommandError::Syntax),
    };
    let view = zset_of(cx.db.read(cx.keys[0]))?;
    let found = view.and_then(|view| Some((view.len(), view.rank(args.at(2))?)));
    match found {
        None if with_score => cx.out.null_array(),
        None => cx.out.null(),
        Some((len, (rank, score))) => {
            if with_score {
                cx.out.array(2);
            }
            cx.out.count(if reverse { len - 1 - rank } else { rank });
            if with_score {
                cx.out.double(score);
            }
        }
    }
    Ok(Done::Read)
}

pub(super) const ZCOUNT: Command = Command {
    name: "zcount",
    summary: "Counts the members whose scores are in a range",
    since: "2.0.0",
    complexity: "O(log(N)) with N being the number of members",
    arity: 4,
    flags: READ.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| count(cx, Bounds::scores(args.at(2), args.at(3))?)),
    ..READ
};

pub(super) const ZLEXCOUNT: Command = Command {
    name: "zlexcount",
    summary: "Counts the members in a range of names, where all scores are equal",
    since: "2.8.9",
    run: Run::Data(|cx, args| count(cx, Bounds::members(args.at(2), args.at(3))?)),
    ..ZCOUNT
};

fn count(cx: &mut Cx<'_>, bounds: Bounds<'_>) -> Result<Done, CommandError> {
    let view = zset_of(cx.db.read(cx.keys[0]))?;
    cx.out.count(view.map_or(0, |view| bounds.find(view, false).len()));
    Ok(Done::Read)
}
