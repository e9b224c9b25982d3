//! XLEN, XRANGE and XREVRANGE.

use ringfort_protocol::Args;

use super::{READ, SOURCE, ids, stream_of, write_entries};
use crate::commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run, parse};

pub(super) const XLEN: Command = Command {
    name: "xlen",
    summary: "Returns the number of entries in a stream",
    arity: 2,
    flags: READ.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        let stream = stream_of(cx.db.read(cx.keys[0]))?;
        cx.out.int(stream.map_or(0, |stream| stream.len().cast_signed()));
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const XRANGE: Command = Command {
    name: "xrange",
    summary: "Returns the entries of a stream whose ids are in a range",
    complexity: "O(log(N)+M) with N the number of entries and M the number of those that are returned",
    arity: -4,
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| range(cx, args, false)),
    ..READ
};

pub(super) const XREVRANGE: Command = Command {
    name: "xrevrange",
    summary: "Returns the entries of a stream whose ids are in a range, the last one first",
    run: Run::Data(|cx, args| range(cx, args, true)),
    ..XRANGE
};

fn range(cx: &mut Cx<'_>, args: Args<'_>, back: bool) -> Result<Done, CommandError> {
    let (start, end) = if back { (args.at(3), args.at(2)) } else { (args.at(2), args.at(3)) };
    let (start, end) = (ids::range_start(start)?, ids::range_end(end)?);
    let mut most = None;
    let mut options = args.slice(4..).iter();
    while let Some(option) = options.next() {
        let number = options.next().filter(|_| parse::is(option, "count")).ok_or(CommandError::Syntax)?;
        most = Some(usize::try_from(parse::integer(number)?).unwrap_or(0));
    }
    match stream_of(cx.db.read(cx.keys[0]))? {
        None => cx.out.array(0),
        Some(_) if most == Some(0) => cx.out.null_array(),
        Some(stream) if back => {
            write_entries(cx.out, stream.range_back(start, end), most.unwrap_or(usize::MAX))
        }
        Some(stream) => write_entries(cx.out, stream.range(start, end), most.unwrap_or(usize::MAX)),
    }
    Ok(Done::Read)
}
