//! XDEL and XSETID.

use ringfort_protocol::Args;

use super::{WRITE, change, ids, stream_of};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run, parse},
    store::objects::stream::{Stream, StreamId},
};

pub(super) const XDEL: Command = Command {
    name: "xdel",
    summary: "Deletes entries of a stream",
    complexity: "O(log(N)) for each entry, where N is the number of entries",
    arity: -3,
    flags: WRITE.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let mut edit = cx.db.edit(cx.keys[0]);
        let ids = args.slice(2..);
        let Some(stream) = stream_of(edit.value())? else {
            cx.out.int(0);
            return Ok(Done::Unchanged);
        };
        let ids = ids.iter().map(|id| ids::strict(id, 0)).collect::<Result<Vec<_>, _>>()?;
        if ids.iter().all(|id| stream.get(*id).is_none()) {
            cx.out.int(0);
            return Ok(Done::Unchanged);
        }
        let delete = |stream: &mut Stream| ids.iter().filter(|id| stream.delete(**id)).count();
        cx.out.count(change(&mut edit, delete).unwrap_or(0));
        Ok(Done::Changed)
    }),
    ..WRITE
};

pub(super) const XSETID: Command = Command {
    name: "xsetid",
    summary: "Sets what a stream knows of entries that it had: for copies of streams",
    arity: -3,
    flags: WRITE.flags.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(xsetid),
    ..WRITE
};

fn xsetid(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let last = ids::strict(args.at(2), 0)?;
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    let mut options = args.slice(3..).iter();
    while let Some(option) = options.next() {
        let value = options.next().ok_or(CommandError::Syntax)?;
        if parse::is(option, "entriesadded") {
            added = Some(parse::integer(value)?);
            if added < Some(0) {
                return Err(CommandError::other("ERR entries_added must be positive"));
            }
        } else if parse::is(option, "maxdeletedid") {
            max_deleted = ids::strict(value, 0)?;
            if last < max_deleted {
                let text = "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id";
                return Err(CommandError::other(text));
            }
        } else {
            return Err(CommandError::Syntax);
        }
    }
    let mut edit = cx.db.edit(cx.keys[0]);
    let stream = stream_of(edit.value())?.ok_or(CommandError::NoSuchKey)?;
    if stream.top().is_some_and(|top| last < top) {
        let text = "ERR The ID specified in XSETID is smaller than the target stream top item";
        return Err(CommandError::other(text));
    }
    if added.is_some_and(|added| stream.len() > added.cast_unsigned()) {
        let text = "ERR The entries_added specified in XSETID is smaller than the target stream length";
        return Err(CommandError::other(text));
    }
    change(&mut edit, |stream| {
        stream.last = last;
        stream.added = added.unwrap_or(stream.added);
        if max_deleted != StreamId::MIN {
            stream.max_deleted = max_deleted;
        }
    });
    cx.out.ok();
    Ok(Done::Changed)
}
