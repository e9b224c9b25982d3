//! Where members are, and how far from each other.

use ringfort_protocol::Args;

use super::{READ, area, hash::Cell, reply_distance, reply_position, unit};
use crate::commands::{Command, CommandError, Cx, Done, Reply, Run, zsets::zset_of};

pub(super) const GEODIST: Command = Command {
    name: "geodist",
    summary: "Returns the distance between two members",
    complexity: "O(log(N))",
    arity: -4,
    run: Run::Data(|cx, args| {
        if args.len() > 5 {
            return Err(CommandError::Syntax);
        }
        let unit = args.get(4).map_or(Ok(1.0), unit)?;
        let zset = zset_of(cx.db.read(cx.keys[0]))?;
        let position = |member| zset?.score(member).map(|score| Cell::of_score(score).middle());
        match position(args.at(2)).zip(position(args.at(3))) {
            Some((from, to)) => reply_distance(cx.out, area::distance(from, to) / unit),
            None => cx.out.null(),
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const GEOHASH: Command = Command {
    name: "geohash",
    summary: "Returns the positions of members as standard geohashes",
    complexity: "O(log(N)) for each member requested, where N is the number of elements in the sorted set.",
    arity: -2,
    run: Run::Data(|cx, args| {
        reply_cells(cx, args, |out, cell| match cell {
            Some(cell) => out.bulk(&cell.text()),
            None => out.null(),
        })
    }),
    ..READ
};

pub(super) const GEOPOS: Command = Command {
    name: "geopos",
    summary: "Returns the longitudes and latitudes of members",
    complexity: "O(N) where N is the number of members requested.",
    arity: -2,
    run: Run::Data(|cx, args| {
        reply_cells(cx, args, |out, cell| match cell {
            Some(cell) => reply_position(out, cell.middle()),
            None => out.null_array(),
        })
    }),
    ..READ
};

/// Replies with an array of what `reply` writes of the cell of each member that is asked for.
fn reply_cells(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    reply: impl Fn(&mut Reply, Option<Cell>),
) -> Result<Done, CommandError> {
    let zset = zset_of(cx.db.read(cx.keys[0]))?;
    let members = args.slice(2..);
    cx.out.array(members.len());
    for member in members.iter() {
        let score = zset.and_then(|zset| zset.score(member));
        reply(cx.out, score.map(Cell::of_score));
    }
    Ok(Done::Read)
}
