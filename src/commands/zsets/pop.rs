//! ZPOPMIN, ZPOPMAX, ZMPOP.

use ringfort_protocol::{Args, Resp};

use super::{WRITE, change, zset_of};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Reply, Run, parse},
    store::{Edit, objects::zset::ZSetRef},
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
    run: Run::Data(pop_first_key),
    ..WRITE
};

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

fn pop_first_key(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let positive = |text, error| {
        let number = parse::positive(text).ok().filter(|number| *number > 0);
        number.ok_or(CommandError::other(error))
    };
    let keys = positive(args.at(1), "ERR numkeys should be greater than 0")?;
    let at = keys.saturating_add(2);
    let end = match args.get(at) {
        Some(word) if parse::is(word, "min") => End::Min,
        Some(word) if parse::is(word, "max") => End::Max,
        _ => return Err(CommandError::Syntax),
    };
    let options = args.slice(at + 1..);
    let count = match (options.get(0), options.get(1)) {
        (None, _) => 1,
        (Some(word), Some(count)) if parse::is(word, "count") => {
            positive(count, "ERR count should be greater than 0")?
        }
        _ => return Err(CommandError::Syntax),
    };
    if options.len() > 2 {
        return Err(CommandError::Syntax);
    }
    for key in cx.keys {
        let mut edit = cx.db.edit(*key);
        let Some(view) = zset_of(edit.value())? else {
            continue;
        };
        let popped = count.min(view.len());
        cx.out.array(2);
        cx.out.bulk(key.bytes);
        cx.out.array(popped);
        pop(&mut edit, cx.out, popped, end, true)?;
        let name: &[u8] = match end {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        };
        edit.log(&[name, key.bytes, itoa::Buffer::new().format(popped).as_bytes()]);
        return Ok(Done::Logged);
    }
    cx.out.null_array();
    Ok(Done::Unchanged)
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
