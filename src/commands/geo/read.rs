//! Where members are, and how far from each other.

use super::{
    READ, area,
    hash::{Cell, Position},
    reply_distance, reply_position, unit,
};
use crate::commands::{Command, CommandError, Done, Run, zsets::zset_of};

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
        let zset = zset_of(cx.db.read(cx.keys[0]))?;
        let members = args.slice(2..);
        cx.out.array(members.len());
        for member in members.iter() {
            match zset.and_then(|zset| zset.score(member)) {
                Some(score) => cx.out.bulk(&Cell::of_score(score).text()),
                None => cx.out.null(),
            }
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const GEOPOS: Command = Command {
    name: "geopos",
    summary: "Returns the longitudes and latitudes of members",
    complexity: "O(N) where N is the number of members requested.",
    arity: -2,
    run: Run::Data(|cx, args| {
        let zset = zset_of(cx.db.read(cx.keys[0]))?;
        let members = args.slice(2..);
        cx.out.array(members.len());
        for member in members.iter() {
            let position: Option<Position> =
                zset.and_then(|zset| zset.score(member)).map(|score| Cell::of_score(score).middle());
            match position {
                Some(position) => reply_position(cx.out, position),
                None => cx.out.null_array(),
            }
        }
        Ok(Done::Read)
    }),
    ..READ
};
