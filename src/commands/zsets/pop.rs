//! ZPOPMIN, ZPOPMAX, ZMPOP, and the same with a B in front: they wait for a member.

use ringfort_protocol::{Args, Resp};

use super::{WRITE, change, zset_of};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Reply, Run, Spread, parse},
    store::{Edit, Kind, objects::zset::ZSetRef},
};

const POPPED: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);

pub(super) const ZPOPMIN: Command = Command {
    name: "zpopmin",
    summary: "Removes the members with the lowest scores and returns them",
    since: "5.0.0",
    complexity: "O(log(N)*M) with N being the number of members and M the number of those popped",
    arity: -2,
    flags: WRITE.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, POPPED)],
    run: Run::Data(|cx, args| pop_one_key(cx, args, End::Min)),
    ..WRITE
};

pub(super) const ZPOPMAX: Command = Command {
    name: "zpopmax",
    summary: "Removes the members with the highest scores and returns them",
    run: Run::Data(|cx, args| pop_one_key(cx, args, End::Max)),
    ..ZPOPMIN
};

pub(super) const ZMPOP: Command = Command {
    name: "zmpop",
    summary: "Removes members at either end of the first sorted set that has any and returns them",
    since: "7.0.0",
    complexity: "O(K) + O(M*log(N)) where K is the number of keys, N that of members and M that of those popped",
    arity: -4,
    keys: &[KeySpec::counted(1, POPPED)],
    spread: Spread::InTurn,
    run: Run::Data(|cx, args| {
        let (end, count) = parse_zmpop(args, 1)?;
        pop_first_key(cx, end, Some(count), Done::Unchanged)
    }),
    ..WRITE
};

pub(super) const BZPOPMIN: Command = Command {
    name: "bzpopmin",
    summary: "Removes the member with the lowest score of the first sorted set that has any, or waits for one",
    since: "5.0.0",
    complexity: "O(log(N)) with N being the number of elements in the sorted set.",
    arity: -3,
    flags: WRITE.flags.and(Flags::BLOCKING).and(Flags::FAST),
    keys: &[KeySpec::range(1, -2, 1, POPPED)],
    spread: Spread::InTurn,
    run: Run::waiting_for(Kind::ZSet, |cx, args| pop_or_wait(cx, args, End::Min), parse::last_timeout),
    ..WRITE
};

pub(super) const BZPOPMAX: Command = Command {
    name: "bzpopmax",
    summary: "Removes the member with the highest score of the first sorted set that has any, or waits for one",
    run: Run::waiting_for(Kind::ZSet, |cx, args| pop_or_wait(cx, args, End::Max), parse::last_timeout),
    ..BZPOPMIN
};

pub(super) const BZMPOP: Command = Command {
    name: "bzmpop",
    summary: "Removes members at either end of the first sorted set that has any, or waits for one",
    arity: -5,
    flags: WRITE.flags.and(Flags::BLOCKING),
    keys: &[KeySpec::counted(2, POPPED)],
    run: Run::waiting_for(
        Kind::ZSet,
        |cx, args| {
            let (end, count) = parse_zmpop(args, 2)?;
            parse::timeout(args.at(1))?;
            pop_first_key(cx, end, Some(count), Done::Waits)
        },
        |args| parse::timeout(args.at(1)).map(Some),
    ),
    ..ZMPOP
};

fn pop_or_wait(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Done, CommandError> {
    parse::last_timeout(args)?;
    pop_first_key(cx, end, None, Done::Waits)
}

/// Which end is popped.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Min,
    Max,
}

fn pop_one_key(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Done, CommandError> {
    if args.len() > 3 {
        return Err(CommandError::Syntax);
    }
    let count = args.get(2).map(parse::positive).transpose()?;
    let mut edit = cx.db.edit(cx.keys[0]);
    let len = zset_of(edit.value())?.map_or(0, ZSetRef::len);
    let popped = count.unwrap_or(1).min(len);
    // Only with a count does RESP3 get pairs; a single member comes flat in both versions.
    let pairs = count.is_some() && cx.out.resp == Resp::V3;
    cx.out.array(if pairs { popped } else { popped * 2 });
    if popped == 0 {
        return Ok(Done::Unchanged);
    }
    pop(&mut edit, cx.out, popped, end, pairs)?;
    Ok(Done::Changed)
}

/// Reads `numkeys key [key …] MIN|MAX [COUNT count]` from argument `at` on.
fn parse_zmpop(args: Args<'_>, at: usize) -> Result<(End, usize), CommandError> {
    let (_, rest) = parse::numbered_keys(args, at)?;
    let end = match rest.get(0) {
        Some(word) if parse::is(word, "min") => End::Min,
        Some(word) if parse::is(word, "max") => End::Max,
        _ => return Err(CommandError::Syntax),
    };
    Ok((end, parse::count_alone(rest.slice(1..))?))
}

/// Pops from the first of the keys that has members, and names it: up to so many, in an array of their own, or a single
/// one. Answers `nothing` where there are none.
fn pop_first_key(
    cx: &mut Cx<'_>,
    end: End,
    most: Option<usize>,
    nothing: Done,
) -> Result<Done, CommandError> {
    for key in cx.keys {
        let mut edit = cx.db.edit(*key);
        let Some(view) = zset_of(edit.value())? else {
            continue;
        };
        let popped = most.unwrap_or(1).min(view.len());
        let pairs = most.is_some();
        cx.out.array(if pairs { 2 } else { 3 });
        cx.out.bulk(key.bytes);
        if pairs {
            cx.out.array(popped);
        }
        pop(&mut edit, cx.out, popped, end, pairs)?;
        let name: &[u8] = match end {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        };
        edit.log(&[name, key.bytes, itoa::Buffer::new().format(popped).as_bytes()]);
        return Ok(Done::Logged);
    }
    cx.out.null_array();
    Ok(nothing)
}

/// Writes `count` members with their scores and takes them out; there must be so many.
fn pop(
    edit: &mut Edit<'_, '_>,
    out: &mut Reply,
    count: usize,
    end: End,
    pairs: bool,
) -> Result<(), CommandError> {
    let Some(view) = zset_of(edit.value())? else {
        return Ok(());
    };
    let ranks = match end {
        End::Min => 0..count,
        End::Max => view.len() - count..view.len(),
    };
    view.each(ranks.clone(), end == End::Max, |member, score| {
        if pairs {
            out.array(2);
        }
        out.bulk(member);
        out.double(score);
    });
    change::remove_ranks(edit, ranks);
    Ok(())
}
