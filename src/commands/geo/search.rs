//! GEOSEARCH and GEORADIUS in all their forms.

use ringfort_protocol::Args;

use super::{
    DESTINATION, READ, SOURCE,
    area::Shape,
    hash::{Cell, Position},
    query::{self, Order, Query, Syntax},
    reply_distance, reply_position,
};
use crate::{
    commands::{
        Begin, Command, CommandError, Cx, Done, Find, Flags, KeySpec, Reply, Run,
        zsets::{Found, zset_of},
    },
    store::objects::zset::ZSetRef,
};

const RADIUS_COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular \
                                 area delimited by center and radius and M is the number of items inside the index.";
const SEARCH_COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area \
                                 around the shape provided as the filter and M is the number of items inside the shape";

const fn behind(word: &'static str, from: i8) -> KeySpec {
    KeySpec { begin: Begin::Keyword(word, from), find: Find::Range { last: 0, step: 1 }, flags: DESTINATION }
}

pub(super) const GEORADIUS: Command = Command {
    name: "georadius",
    summary: "Finds members within a distance of a point; may store them",
    complexity: RADIUS_COMPLEXITY,
    arity: -6,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, SOURCE), behind("STORE", 6), behind("STOREDIST", 6)],
    run: Run::Data(|cx, args| search(cx, args, Syntax::Point { stores: true })),
    ..READ
};

pub(super) const GEORADIUS_RO: Command = Command {
    name: "georadius_ro",
    summary: "Finds members within a distance of a point",
    since: "3.2.10",
    complexity: RADIUS_COMPLEXITY,
    arity: -6,
    run: Run::Data(|cx, args| search(cx, args, Syntax::Point { stores: false })),
    ..READ
};

pub(super) const GEORADIUSBYMEMBER: Command = Command {
    name: "georadiusbymember",
    summary: "Finds members within a distance of a member; may store them",
    arity: -5,
    keys: &[KeySpec::at(1, SOURCE), behind("STORE", 5), behind("STOREDIST", 5)],
    run: Run::Data(|cx, args| search(cx, args, Syntax::Member { stores: true })),
    ..GEORADIUS
};

pub(super) const GEORADIUSBYMEMBER_RO: Command = Command {
    name: "georadiusbymember_ro",
    summary: "Finds members within a distance of a member",
    arity: -5,
    run: Run::Data(|cx, args| search(cx, args, Syntax::Member { stores: false })),
    ..GEORADIUS_RO
};

pub(super) const GEOSEARCH: Command = Command {
    name: "geosearch",
    summary: "Finds members within a circle or a box",
    since: "6.2.0",
    complexity: SEARCH_COMPLEXITY,
    arity: -7,
    run: Run::Data(|cx, args| search(cx, args, Syntax::Search)),
    ..READ
};

pub(super) const GEOSEARCHSTORE: Command = Command {
    name: "geosearchstore",
    summary: "Stores the members within a circle or a box at another key",
    arity: -8,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, DESTINATION), KeySpec::at(2, SOURCE)],
    run: Run::Data(|cx, args| search(cx, args, Syntax::SearchStore)),
    ..GEOSEARCH
};

fn search(cx: &mut Cx<'_>, args: Args<'_>, syntax: Syntax) -> Result<Done, CommandError> {
    let source = cx.keys[usize::from(syntax == Syntax::SearchStore)];
    let zset = zset_of(cx.db.read(source))?;
    let query = query::parse(args, syntax, zset)?;
    let points = match (zset, query.shape) {
        (Some(zset), Some(shape)) => Points::find(zset, &shape, &query),
        _ => Points::default(),
    };
    let Some(destination) = query.store else {
        points.reply(cx.out, &query);
        return Ok(Done::Read);
    };
    // The first word STORE and the first STOREDIST name keys; if there are several, the last one counts.
    let key = cx.keys.iter().find(|key| key.bytes == destination).ok_or(CommandError::Syntax)?;
    cx.out.count(points.points.len());
    let found = points.into_found(query.store_distances);
    Ok(found.store(&mut cx.db.edit(*key), cx.limits))
}

/// Members that were found; all their bytes are in one piece of memory.
#[derive(Default)]
struct Points {
    bytes: Vec<u8>,
    points: Vec<Point>,
}

#[derive(Clone, Copy)]
struct Point {
    start: usize,
    len: usize,
    position: Position,
    /// In the unit of the query.
    distance: f64,
    score: f64,
}

impl Points {
    fn find(zset: ZSetRef<'_>, shape: &Shape, query: &Query<'_>) -> Self {
        let mut points = Self::default();
        let enough = if query.any { query.count } else { None };
        for cell in shape.cells() {
            points.add_cell(zset, cell, shape, enough);
        }
        // The nearest are those that were found first only where they were looked for.
        let order = query.order.or((query.count.is_some() && !query.any).then_some(Order::NearestFirst));
        let by_distance = |a: &Point, b: &Point| a.distance.total_cmp(&b.distance);
        match order {
            None => {}
            Some(Order::NearestFirst) => points.points.sort_by(by_distance),
            Some(Order::FarthestFirst) => points.points.sort_by(|a, b| by_distance(b, a)),
        }
        points.points.truncate(query.count.unwrap_or(usize::MAX));
        points.points.iter_mut().for_each(|point| point.distance /= shape.unit);
        points
    }

    /// Adds the members in a cell that lie within the shape, up to `enough` in all.
    fn add_cell(&mut self, zset: ZSetRef<'_>, cell: Cell, shape: &Shape, enough: Option<usize>) {
        /// Members that are looked at at once, where it may end at any.
        const STRIDE: usize = 64;
        let below = |bound: u64| zset.count_scores_while(|score| score < bound as f64);
        let (mut start, end) = (below(cell.score()), below(cell.end()));
        while start < end && enough.is_none_or(|enough| self.points.len() < enough) {
            let stop = if enough.is_some() { end.min(start + STRIDE) } else { end };
            zset.each(start..stop, false, |member, score| {
                let position = Cell::of_score(score).middle();
                if let Some(distance) = shape.distance(position) {
                    let (start, len) = (self.bytes.len(), member.len());
                    self.bytes.extend_from_slice(member);
                    self.points.push(Point { start, len, position, distance, score });
                }
            });
            start = stop;
        }
        self.points.truncate(enough.unwrap_or(usize::MAX));
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &Point)> {
        self.points.iter().map(|point| (&self.bytes[point.start..point.start + point.len], point))
    }

    fn reply(&self, out: &mut Reply, query: &Query<'_>) {
        out.array(self.points.len());
        let more = [query.with_distance, query.with_score, query.with_position];
        let more = more.into_iter().filter(|with| *with).count();
        for (member, point) in self.iter() {
            if more > 0 {
                out.array(1 + more);
            }
            out.bulk(member);
            if query.with_distance {
                reply_distance(out, point.distance);
            }
            if query.with_score {
                out.int(point.score as i64);
            }
            if query.with_position {
                reply_position(out, point.position);
            }
        }
    }

    /// The members with their scores, or with their distances as scores, in the order of a sorted set.
    fn into_found(self, distances: bool) -> Found {
        let mut found = Found::default();
        for (member, point) in self.iter() {
            // What is no number is no score.
            let distance = if point.distance.is_nan() { 0.0 } else { point.distance };
            found.push(member, if distances { distance } else { point.score });
        }
        found.sort();
        found
    }
}
