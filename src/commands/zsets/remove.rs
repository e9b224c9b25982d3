//! ZREM, and removal by range.

use super::{WRITE, bounds::Bounds, change, zset_of};
use crate::commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run};

pub(super) const ZREM: Command = Command {
    name: "zrem",
    summary: "Removes members from a sorted set",
    since: "1.2.0",
    complexity: "O(M*log(N)) with N being the number of members and M the number of those removed",
    arity: -3,
    flags: WRITE.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let mut edit = cx.db.edit(cx.keys[0]);
        zset_of(edit.value())?;
        let members = args.slice(2..).iter();
        let removed = members.filter(|member| change::remove(&mut edit, member)).count();
        cx.out.count(removed);
        Ok(done(removed))
    }),
    ..WRITE
};

pub(super) const ZREMRANGEBYRANK: Command = Command {
    name: "zremrangebyrank",
    summary: "Removes the members of a sorted set in a range of positions",
    since: "2.0.0",
    complexity: "O(M*log(N)) with N being the number of members and M the number of those removed",
    arity: 4,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| remove(cx, Bounds::ranks(args.at(2), args.at(3))?)),
    ..WRITE
};

pub(super) const ZREMRANGEBYSCORE: Command = Command {
    name: "zremrangebyscore",
    summary: "Removes the members of a sorted set whose scores are in a range",
    since: "1.2.0",
    run: Run::Data(|cx, args| remove(cx, Bounds::scores(args.at(2), args.at(3))?)),
    ..ZREMRANGEBYRANK
};

pub(super) const ZREMRANGEBYLEX: Command = Command {
    name: "zremrangebylex",
    summary: "Removes the members of a sorted set in a range of names, where all scores are equal",
    since: "2.8.9",
    run: Run::Data(|cx, args| remove(cx, Bounds::members(args.at(2), args.at(3))?)),
    ..ZREMRANGEBYRANK
};

fn remove(cx: &mut Cx<'_>, bounds: Bounds<'_>) -> Result<Done, CommandError> {
    let mut edit = cx.db.edit(cx.keys[0]);
    let ranks = zset_of(edit.value())?.map_or(0..0, |view| bounds.find(view, false));
    let removed = change::remove_ranks(&mut edit, ranks);
    cx.out.count(removed);
    Ok(done(removed))
}

fn done(removed: usize) -> Done {
    if removed > 0 { Done::Changed } else { Done::Unchanged }
}
