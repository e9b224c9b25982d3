//! Unions, intersections and differences of sorted sets and sets. The members of a set count as having score 1.

use ringfort_protocol::{Args, number::parse_f64};

use super::{DESTINATION, READ, SOURCE, WRITE, found::Found};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeySpec, Run, parse},
    store::{
        Db, Key,
        objects::{set::SetRef, zset::ZSetRef},
    },
};

const UNION_COMPLEXITY: &str = "O(N log(N)) with N being the sum of the sizes of the sources";
const INTER_COMPLEXITY: &str = "O(N*K)+O(M*log(M)) with N being the size of the smallest source, K the number of sources, M the size of the result";
const DIFF_COMPLEXITY: &str = "O(N*K)+O(M*log(M)) with N being the size of the first source, K the number of sources, M the size of the result";

pub(super) const ZUNION: Command = Command {
    name: "zunion",
    summary: "Returns the members that are in any of several sorted sets",
    since: "6.2.0",
    complexity: UNION_COMPLEXITY,
    arity: -3,
    keys: &[KeySpec::counted(1, SOURCE)],
    run: Run::Data(|cx, args| read(cx, args, Operation::Union, "zunion")),
    ..READ
};

pub(super) const ZINTER: Command = Command {
    name: "zinter",
    summary: "Returns the members that are in all of several sorted sets",
    complexity: INTER_COMPLEXITY,
    run: Run::Data(|cx, args| read(cx, args, Operation::Inter, "zinter")),
    ..ZUNION
};

pub(super) const ZDIFF: Command = Command {
    name: "zdiff",
    summary: "Returns the members of the first of several sorted sets that are in none of the others",
    complexity: DIFF_COMPLEXITY,
    run: Run::Data(|cx, args| read(cx, args, Operation::Diff, "zdiff")),
    ..ZUNION
};

pub(super) const ZINTERCARD: Command = Command {
    name: "zintercard",
    summary: "Counts the members that are in all of several sorted sets",
    since: "7.0.0",
    complexity: "O(N*K) with N being the size of the smallest source and K the number of sources",
    run: Run::Data(|cx, args| {
        let request = Request { operation: Operation::Inter, answer: Answer::Count, name: "zintercard" };
        let (sources, query) = request.parse(&cx.db, cx.keys, args.slice(1..))?;
        let mut count = 0;
        inter(sources, query.aggregate, |_, _| {
            count += 1;
            count != query.limit
        });
        cx.out.count(count);
        Ok(Done::Read)
    }),
    ..ZUNION
};

pub(super) const ZUNIONSTORE: Command = Command {
    name: "zunionstore",
    summary: "Stores the members that are in any of several sorted sets at another key",
    since: "2.0.0",
    complexity: UNION_COMPLEXITY,
    arity: -4,
    flags: WRITE.flags.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, DESTINATION), KeySpec::counted(2, SOURCE)],
    run: Run::Data(|cx, args| store(cx, args, Operation::Union, "zunionstore")),
    ..WRITE
};

pub(super) const ZINTERSTORE: Command = Command {
    name: "zinterstore",
    summary: "Stores the members that are in all of several sorted sets at another key",
    complexity: INTER_COMPLEXITY,
    run: Run::Data(|cx, args| store(cx, args, Operation::Inter, "zinterstore")),
    ..ZUNIONSTORE
};

pub(super) const ZDIFFSTORE: Command = Command {
    name: "zdiffstore",
    summary: "Stores the members of the first of several sorted sets that are in none of the others at another key",
    since: "6.2.0",
    complexity: DIFF_COMPLEXITY,
    run: Run::Data(|cx, args| store(cx, args, Operation::Diff, "zdiffstore")),
    ..ZUNIONSTORE
};

#[derive(Clone, Copy, PartialEq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the result: this decides which options there are.
#[derive(Clone, Copy, PartialEq)]
enum Answer {
    Members,
    Stored,
    Count,
}

/// How scores of one member become one.
#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        match () {
            () if parse::is(word, "sum") => Ok(Self::Sum),
            () if parse::is(word, "min") => Ok(Self::Min),
            () if parse::is(word, "max") => Ok(Self::Max),
            () => Err(CommandError::Syntax),
        }
    }

    fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sum => zero_for_nan(a + b),
            Self::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Self::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

/// Infinities that cancel each other, or one times 0, count as 0.
fn zero_for_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// What a command asks for, whatever its arguments.
#[derive(Clone, Copy)]
struct Request {
    operation: Operation,
    answer: Answer,
    /// The command, for errors.
    name: &'static str,
}

/// What its arguments add.
struct Query {
    aggregate: Aggregate,
    scores: bool,
    /// Members after which an intersection need not be counted on; 0: none.
    limit: usize,
}

/// A key that is read.
#[derive(Clone, Copy)]
struct Source<'s> {
    members: Option<Members<'s>>,
    weight: f64,
}

#[derive(Clone, Copy)]
enum Members<'s> {
    Scored(ZSetRef<'s>),
    Unscored(SetRef<'s>),
}

impl<'s> Source<'s> {
    fn read(db: &'s Db<'_>, key: Key<'_>) -> Result<Self, CommandError> {
        let members = match db.read(key) {
            None => None,
            Some(value) => {
                let scored = ZSetRef::of(value).map(Members::Scored);
                let members = scored.or_else(|| SetRef::of(value).map(Members::Unscored));
                Some(members.ok_or(CommandError::WrongType)?)
            }
        };
        Ok(Self { members, weight: 1.0 })
    }

    fn len(&self) -> usize {
        match self.members {
            None => 0,
            Some(Members::Scored(members)) => members.len(),
            Some(Members::Unscored(members)) => members.len(),
        }
    }

    /// The weighted score of a member.
    fn score(&self, member: &[u8]) -> Option<f64> {
        let score = match self.members? {
            Members::Scored(members) => members.score(member),
            Members::Unscored(members) => members.contains(member).then_some(1.0),
        };
        score.map(|score| score * self.weight)
    }

    /// Visits all members with their weighted scores.
    fn each(&self, mut visit: impl FnMut(&[u8], f64)) {
        match self.members {
            None => {}
            Some(Members::Scored(members)) => members.each(0..members.len(), false, |member, score| {
                visit(member, zero_for_nan(score * self.weight));
            }),
            Some(Members::Unscored(members)) => {
                let mut buffer = itoa::Buffer::new();
                members.each(|member| visit(member.as_bytes(&mut buffer), self.weight));
            }
        }
    }
}

impl Request {
    /// Reads the arguments from the number of keys on, and opens the keys.
    fn parse<'s>(
        self,
        db: &'s Db<'_>,
        keys: &[Key<'_>],
        args: Args<'_>,
    ) -> Result<(Vec<Source<'s>>, Query), CommandError> {
        let count = parse::integer(args.at(0))?;
        if count < 1 {
            return Err(CommandError::made(format!(
                "ERR at least 1 input key is needed for '{}' command",
                self.name
            )));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count >= args.len() {
            return Err(CommandError::Syntax);
        }
        let sources = keys[keys.len() - count..].iter().map(|key| Source::read(db, *key));
        let mut sources = sources.collect::<Result<Vec<_>, _>>()?;
        let mut query = Query { aggregate: Aggregate::Sum, scores: false, limit: 0 };
        let mut rest = args.slice(count + 1..);
        while let Some(word) = rest.get(0) {
            let weighs = self.operation != Operation::Diff && self.answer != Answer::Count;
            let taken = if weighs && parse::is(word, "weights") && rest.len() > count {
                for (source, weight) in sources.iter_mut().zip(rest.slice(1..).iter()) {
                    let error = CommandError::other("ERR weight value is not a float");
                    source.weight = parse_f64(weight).ok_or(error)?;
                }
                1 + count
            } else if weighs && parse::is(word, "aggregate") && rest.len() > 1 {
                query.aggregate = Aggregate::parse(rest.at(1))?;
                2
            } else if self.answer == Answer::Members && parse::is(word, "withscores") {
                query.scores = true;
                1
            } else if self.answer == Answer::Count && parse::is(word, "limit") && rest.len() > 1 {
                let error = CommandError::other("ERR LIMIT can't be negative");
                query.limit = parse::positive(rest.at(1)).map_err(|_| error)?;
                2
            } else {
                return Err(CommandError::Syntax);
            };
            rest = rest.slice(taken..);
        }
        Ok((sources, query))
    }

    /// Does it all, up to what becomes of the result.
    fn find(self, db: &Db<'_>, keys: &[Key<'_>], args: Args<'_>) -> Result<(Found, Query), CommandError> {
        let (sources, query) = self.parse(db, keys, args)?;
        let mut found = Found::default();
        match self.operation {
            Operation::Union => {
                for source in by_size(sources) {
                    source.each(|member, score| found.push(member, score));
                }
                found.merge(|a, b| query.aggregate.apply(a, b));
            }
            Operation::Inter => inter(sources, query.aggregate, |member, score| {
                found.push(member, score);
                true
            }),
            Operation::Diff => {
                let (first, others) = sources.split_first().ok_or(CommandError::Syntax)?;
                first.each(|member, score| {
                    if others.iter().all(|other| other.score(member).is_none()) {
                        found.push(member, score);
                    }
                });
            }
        }
        found.sort();
        Ok((found, query))
    }
}

/// The smallest first: floating-point sums depend on the order, and this is Redis'.
fn by_size(mut sources: Vec<Source<'_>>) -> Vec<Source<'_>> {
    sources.sort_by_key(Source::len);
    sources
}

/// Visits the members that are in all sources with their scores, until `visit` says that it has enough.
fn inter(sources: Vec<Source<'_>>, aggregate: Aggregate, mut visit: impl FnMut(&[u8], f64) -> bool) {
    let sources = by_size(sources);
    let Some((smallest, others)) = sources.split_first() else {
        return;
    };
    let mut more = true;
    smallest.each(|member, score| {
        if !more {
            return;
        }
        let all =
            others.iter().try_fold(score, |score, other| Some(aggregate.apply(score, other.score(member)?)));
        if let Some(score) = all {
            more = visit(member, score);
        }
    });
}

fn read(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    operation: Operation,
    name: &'static str,
) -> Result<Done, CommandError> {
    let request = Request { operation, answer: Answer::Members, name };
    let (found, query) = request.find(&cx.db, cx.keys, args.slice(1..))?;
    found.reply(cx.out, query.scores);
    Ok(Done::Read)
}

fn store(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    operation: Operation,
    name: &'static str,
) -> Result<Done, CommandError> {
    let request = Request { operation, answer: Answer::Stored, name };
    let (found, _) = request.find(&cx.db, cx.keys, args.slice(2..))?;
    cx.out.count(found.iter().len());
    Ok(found.store(&mut cx.db.edit(cx.keys[0]), cx.limits))
}
