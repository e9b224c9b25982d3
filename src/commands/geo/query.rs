//! What a search is told: where, how far, what to reply, where to store it.
//!
//! The three forms of commands differ in where the centre and the size of the area stand. Their options are read in
//! the order in which they come, and whether a member has a position is seen when it is named: so it is decided which
//! error comes first.

use ringfort_protocol::Args;

use super::{
    area::{Form, Shape},
    hash::{Cell, Position},
    position, unit,
};
use crate::{
    commands::{
        CommandError,
        parse::{self, is},
    },
    store::objects::zset::ZSetRef,
};

/// Which arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    /// `key longitude latitude radius unit …`, as GEORADIUS.
    Point { stores: bool },
    /// `key member radius unit …`, as GEORADIUSBYMEMBER.
    Member { stores: bool },
    /// `key …`, as GEOSEARCH.
    Search,
    /// `destination key …`, as GEOSEARCHSTORE.
    SearchStore,
}

/// What is to be found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Query<'a> {
    /// Where; `None` if there is no sorted set to search.
    pub(super) shape: Option<Shape>,
    /// The greatest number of results.
    pub(super) count: Option<usize>,
    /// Any so many will do, not only the nearest.
    pub(super) any: bool,
    pub(super) order: Option<Order>,
    pub(super) with_distance: bool,
    pub(super) with_score: bool,
    pub(super) with_position: bool,
    /// The key at which the result is stored.
    pub(super) store: Option<&'a [u8]>,
    /// What is stored as scores are distances.
    pub(super) store_distances: bool,
}

/// By distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    NearestFirst,
    FarthestFirst,
}

/// The parts of a shape, while they are read.
#[derive(Default)]
struct Parts {
    centre: Option<Centre>,
    size: Option<(Form, f64)>,
}

/// Where the centre of a shape comes from.
#[derive(Clone, Copy)]
enum Centre {
    Point(Position),
    /// Of a member; there is nothing to search if it has no position, for there is no sorted set.
    Member(Option<Position>),
}

/// Reads the arguments of a command. `zset` is what is searched.
pub(super) fn parse<'a>(
    args: Args<'a>,
    syntax: Syntax,
    zset: Option<ZSetRef<'_>>,
) -> Result<Query<'a>, CommandError> {
    let (mut query, mut parts) = (Query::default(), Parts::default());
    let options = match syntax {
        Syntax::Point { .. } => {
            parts.centre = Some(Centre::Point(position(args.at(2), args.at(3))?));
            parts.size = Some(circle(args.at(4), args.at(5))?);
            6
        }
        Syntax::Member { .. } => {
            parts.centre = Some(Centre::Member(member(zset, args.at(2))?));
            if zset.is_some() {
                parts.size = Some(circle(args.at(3), args.at(4))?);
            }
            5
        }
        Syntax::Search => 2,
        Syntax::SearchStore => {
            query.store = Some(args.at(1));
            3
        }
    };
    query.read_options(args.slice(options..), syntax, zset, &mut parts)?;
    query.check(args.at(0), syntax, &parts)?;
    query.shape = match (parts.centre, parts.size) {
        (Some(Centre::Point(centre) | Centre::Member(Some(centre))), Some((form, unit))) => {
            Some(Shape { centre, form, unit })
        }
        _ => None,
    };
    Ok(query)
}

impl<'a> Query<'a> {
    fn read_options(
        &mut self,
        options: Args<'a>,
        syntax: Syntax,
        zset: Option<ZSetRef<'_>>,
        parts: &mut Parts,
    ) -> Result<(), CommandError> {
        let searches = matches!(syntax, Syntax::Search | Syntax::SearchStore);
        let stores = matches!(syntax, Syntax::Point { stores: true } | Syntax::Member { stores: true });
        let mut rest = options;
        while let Some(word) = rest.get(0) {
            let has = |values: usize| rest.len() > values;
            let taken = if is(word, "withdist") {
                self.with_distance = true;
                1
            } else if is(word, "withhash") {
                self.with_score = true;
                1
            } else if is(word, "withcoord") {
                self.with_position = true;
                1
            } else if is(word, "any") {
                self.any = true;
                1
            } else if is(word, "asc") {
                self.order = Some(Order::NearestFirst);
                1
            } else if is(word, "desc") {
                self.order = Some(Order::FarthestFirst);
                1
            } else if is(word, "count") && has(1) {
                self.count = Some(count(rest.at(1))?);
                2
            } else if stores && has(1) && (is(word, "store") || is(word, "storedist")) {
                self.store = Some(rest.at(1));
                self.store_distances = is(word, "storedist");
                2
            } else if syntax == Syntax::SearchStore && is(word, "storedist") {
                self.store_distances = true;
                1
            } else if searches && is(word, "frommember") && has(1) && !parts.is_at_a_point() {
                parts.centre = Some(Centre::Member(member(zset, rest.at(1))?));
                2
            } else if searches && is(word, "fromlonlat") && has(2) && !parts.is_at_a_member() {
                parts.centre = Some(Centre::Point(position(rest.at(1), rest.at(2))?));
                3
            } else if searches && is(word, "byradius") && has(2) && !parts.is_a_box() {
                parts.size = Some(circle(rest.at(1), rest.at(2))?);
                3
            } else if searches && is(word, "bybox") && has(3) && !parts.is_a_circle() {
                parts.size = Some(rectangle(rest.at(1), rest.at(2), rest.at(3))?);
                4
            } else {
                return Err(CommandError::Syntax);
            };
            rest = rest.slice(taken..);
        }
        Ok(())
    }

    /// What does not go together, and what is missing. `name` is the command's, as it was written.
    fn check(&self, name: &[u8], syntax: Syntax, parts: &Parts) -> Result<(), CommandError> {
        if self.store.is_some() && (self.with_distance || self.with_score || self.with_position) {
            let what = match syntax {
                Syntax::SearchStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(CommandError::made(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let searches = matches!(syntax, Syntax::Search | Syntax::SearchStore);
        let name = String::from_utf8_lossy(name);
        if searches && parts.centre.is_none() {
            return Err(CommandError::made(format!(
                "ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"
            )));
        }
        if searches && parts.size.is_none() {
            return Err(CommandError::made(format!(
                "ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"
            )));
        }
        if self.any && self.count.is_none() {
            return Err(CommandError::other("ERR the ANY argument requires COUNT argument"));
        }
        Ok(())
    }
}

impl Parts {
    fn is_at_a_point(&self) -> bool {
        matches!(self.centre, Some(Centre::Point(_)))
    }

    fn is_at_a_member(&self) -> bool {
        matches!(self.centre, Some(Centre::Member(_)))
    }

    fn is_a_circle(&self) -> bool {
        matches!(self.size, Some((Form::Circle { .. }, _)))
    }

    fn is_a_box(&self) -> bool {
        matches!(self.size, Some((Form::Box { .. }, _)))
    }
}

/// The position of a member, which must be there if there is a sorted set.
fn member(zset: Option<ZSetRef<'_>>, member: &[u8]) -> Result<Option<Position>, CommandError> {
    let Some(zset) = zset else { return Ok(None) };
    let score =
        zset.score(member).ok_or(CommandError::other("ERR could not decode requested zset member"))?;
    Ok(Some(Cell::of_score(score).middle()))
}

fn count(text: &[u8]) -> Result<usize, CommandError> {
    let count = parse::integer(text)?;
    let count = usize::try_from(count).ok().filter(|count| *count > 0);
    count.ok_or(CommandError::other("ERR COUNT must be > 0"))
}

fn number(text: &[u8], what: &'static str) -> Result<f64, CommandError> {
    parse::float(text).map_err(|_| CommandError::other(what))
}

fn circle(radius: &[u8], name: &[u8]) -> Result<(Form, f64), CommandError> {
    let radius = number(radius, "ERR need numeric radius")?;
    if radius < 0.0 {
        return Err(CommandError::other("ERR radius cannot be negative"));
    }
    Ok((Form::Circle { radius }, unit(name)?))
}

fn rectangle(width: &[u8], height: &[u8], name: &[u8]) -> Result<(Form, f64), CommandError> {
    let width = number(width, "ERR need numeric width")?;
    let height = number(height, "ERR need numeric height")?;
    if width < 0.0 || height < 0.0 {
        return Err(CommandError::other("ERR height or width cannot be negative"));
    }
    Ok((Form::Box { width, height }, unit(name)?))
}
