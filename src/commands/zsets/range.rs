//! ZRANGE in all its forms, and ZRANGESTORE.

use ringfort_protocol::Args;

use super::{
    DESTINATION, READ, SOURCE, WRITE,
    bounds::{self, Bounds},
    found::{self, Found},
    zset_of,
};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeySpec, Run, parse},
    store::objects::zset::ZSetRef,
};

const COMPLEXITY: &str = "O(log(N)+M) with N being the number of members and M the number of those returned";

pub(super) const ZRANGE: Command = Command {
    name: "zrange",
    summary: "Returns the members of a sorted set in a range",
    since: "1.2.0",
    complexity: COMPLEXITY,
    arity: -4,
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| range(cx, args, Form::default())),
    ..READ
};

pub(super) const ZREVRANGE: Command = Command {
    name: "zrevrange",
    summary: "Returns the members in a range of positions, the highest score first",
    run: Run::Data(|cx, args| range(cx, args, Form::new(By::Rank, true))),
    ..ZRANGE
};

pub(super) const ZRANGEBYSCORE: Command = Command {
    name: "zrangebyscore",
    summary: "Returns the members whose scores are in a range",
    since: "1.0.5",
    run: Run::Data(|cx, args| range(cx, args, Form::new(By::Score, false))),
    ..ZRANGE
};

pub(super) const ZREVRANGEBYSCORE: Command = Command {
    name: "zrevrangebyscore",
    summary: "Returns the members whose scores are in a range, the highest score first",
    since: "2.2.0",
    run: Run::Data(|cx, args| range(cx, args, Form::new(By::Score, true))),
    ..ZRANGE
};

pub(super) const ZRANGEBYLEX: Command = Command {
    name: "zrangebylex",
    summary: "Returns the members in a range of names, where all scores are equal",
    since: "2.8.9",
    run: Run::Data(|cx, args| range(cx, args, Form::new(By::Member, false))),
    ..ZRANGE
};

pub(super) const ZREVRANGEBYLEX: Command = Command {
    name: "zrevrangebylex",
    summary: "Returns the members in a range of names, the last first, where all scores are equal",
    since: "2.8.9",
    run: Run::Data(|cx, args| range(cx, args, Form::new(By::Member, true))),
    ..ZRANGE
};

pub(super) const ZRANGESTORE: Command = Command {
    name: "zrangestore",
    summary: "Stores the members of a sorted set in a range at another key",
    since: "6.2.0",
    complexity: "O(log(N)+M) with N being the number of members and M the number of those stored",
    arity: -5,
    flags: WRITE.flags.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, DESTINATION), KeySpec::at(2, SOURCE)],
    run: Run::Data(store),
    ..WRITE
};

/// What a range is counted in.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Rank,
    Score,
    Member,
}

/// What the name of a command settles; the rest is told by options.
#[derive(Clone, Copy, Default)]
struct Form {
    by: Option<By>,
    reverse: Option<bool>,
    /// The result is stored, hence always with scores.
    store: bool,
}

impl Form {
    fn new(by: By, reverse: bool) -> Self {
        Self { by: Some(by), reverse: Some(reverse), store: false }
    }
}

/// A range as it was asked for.
struct Query<'a> {
    bounds: Bounds<'a>,
    reverse: bool,
    scores: bool,
    /// Offset and count; by rank there is none.
    limit: Option<(i64, i64)>,
}

impl<'a> Query<'a> {
    /// Reads the bounds, which begin at argument `at`, and the options behind them.
    fn parse(args: Args<'a>, at: usize, form: Form) -> Result<Self, CommandError> {
        let (mut by, mut reverse, mut scores) = (form.by, form.reverse, false);
        let (mut offset, mut count) = (0, -1);
        let mut next = at + 2;
        while let Some(word) = args.get(next) {
            let is = |option| parse::is(word, option);
            if !form.store && is("withscores") {
                scores = true;
            } else if is("limit") && next + 2 < args.len() {
                offset = parse::integer(args.at(next + 1))?;
                count = parse::integer(args.at(next + 2))?;
                next += 2;
            } else if form.reverse.is_none() && is("rev") {
                reverse = Some(true);
            } else if by.is_none() && is("bylex") {
                by = Some(By::Member);
            } else if by.is_none() && is("byscore") {
                by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
            next += 1;
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        if count != -1 && by == By::Rank {
            return Err(CommandError::other(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if scores && by == By::Member {
            return Err(CommandError::other(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        let (mut min, mut max) = (args.at(at), args.at(at + 1));
        if reverse && by != By::Rank {
            std::mem::swap(&mut min, &mut max);
        }
        let bounds = match by {
            By::Rank => Bounds::ranks(min, max)?,
            By::Score => Bounds::scores(min, max)?,
            By::Member => Bounds::members(min, max)?,
        };
        let limit = (by != By::Rank).then_some((offset, count));
        Ok(Self { bounds, reverse, scores, limit })
    }

    /// The ranks that it asks for.
    fn find(&self, view: ZSetRef<'_>) -> std::ops::Range<usize> {
        let ranks = self.bounds.find(view, self.reverse);
        match self.limit {
            None => ranks,
            Some((offset, count)) => bounds::limit(ranks, offset, count, self.reverse),
        }
    }
}

fn range(cx: &mut Cx<'_>, args: Args<'_>, form: Form) -> Result<Done, CommandError> {
    let query = Query::parse(args, 2, form)?;
    let Some(view) = zset_of(cx.db.read(cx.keys[0]))? else {
        cx.out.array(0);
        return Ok(Done::Read);
    };
    let ranks = query.find(view);
    found::head(cx.out, ranks.len(), query.scores);
    view.each(ranks, query.reverse, |member, score| {
        found::element(cx.out, member, score, query.scores);
    });
    Ok(Done::Read)
}

fn store(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let form = Form { store: true, ..Form::default() };
    let query = Query::parse(args, 3, form)?;
    let mut found = Found::default();
    if let Some(view) = zset_of(cx.db.read(cx.keys[1]))? {
        view.each(query.find(view), false, |member, score| found.push(member, score));
    }
    cx.out.count(found.iter().len());
    Ok(found.store(&mut cx.db.edit(cx.keys[0]), cx.limits))
}
