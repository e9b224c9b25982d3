//! XTRIM, and how much of a stream is to be removed from its front.

use ringfort_protocol::Args;

use super::{WRITE, change, stream_of};
use crate::{
    commands::{Command, CommandError, Cx, Done, KeyFlags, KeySpec, Limits, Run, parse, streams::ids},
    store::objects::stream::{Stream, Trim},
};

pub(super) const XTRIM: Command = Command {
    name: "xtrim",
    summary: "Removes entries from the front of a stream, until it is short enough or begins late enough",
    complexity: "O(N), with N being the number of evicted entries",
    arity: -4,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(xtrim),
    ..WRITE
};

/// What is to be removed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trimming {
    to: Trim,
    /// Whole blocks only: `~`.
    pub whole_blocks: bool,
    /// No more entries than this.
    most: u64,
}

impl Trimming {
    pub(super) fn apply(self, stream: &mut Stream) -> u64 {
        stream.trim(self.to, self.whole_blocks, self.most)
    }

    /// Whether that would remove anything.
    fn removes_from(self, stream: &Stream) -> bool {
        stream.trims(self.to, self.whole_blocks, self.most)
    }
}

/// Reads the options of trimming, in any order.
#[derive(Debug, Default)]
pub(super) struct TrimParser {
    to: Option<Trim>,
    whole_blocks: bool,
    limit: Option<u64>,
}

/// Work is bounded, unless the client says otherwise: the entries of so many full blocks.
const BLOCKS: u64 = 100;

/// The bound where blocks are not bounded by their entries.
const DEFAULT_LIMIT: u64 = 10_000;

/// The greatest bound.
const MOST_LIMIT: u64 = 1_000_000;

impl TrimParser {
    /// Reads the option at `at`, if it is one; returns where the next one begins.
    pub(super) fn option(&mut self, args: Args<'_>, at: usize) -> Result<Option<usize>, CommandError> {
        let (word, Some(next)) = (args.at(at), args.get(at + 1)) else { return Ok(None) };
        let by_length = parse::is(word, "maxlen");
        if by_length || parse::is(word, "minid") {
            if self.to.is_some() {
                let text = "ERR syntax error, MAXLEN and MINID options at the same time are not compatible";
                return Err(CommandError::other(text));
            }
            let is_mark = matches!(next, b"~" | b"=") && at + 2 < args.len();
            self.whole_blocks = is_mark && next == b"~";
            let value_at = at + 1 + usize::from(is_mark);
            self.to = Some(if by_length {
                let error = CommandError::other("ERR The MAXLEN argument must be >= 0.");
                Trim::Length(u64::try_from(parse::integer(args.at(value_at))?).map_err(|_| error)?)
            } else {
                Trim::Before(ids::strict(args.at(value_at), 0)?)
            });
            return Ok(Some(value_at + 1));
        }
        if parse::is(word, "limit") {
            let error = CommandError::other("ERR The LIMIT argument must be >= 0.");
            self.limit = Some(u64::try_from(parse::integer(next)?).map_err(|_| error)?);
            return Ok(Some(at + 2));
        }
        Ok(None)
    }

    /// What was read.
    pub(super) fn end(self, limits: &Limits) -> Result<Option<Trimming>, CommandError> {
        if self.to.is_none() && self.limit.is_some_and(|limit| limit > 0) {
            let text = "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy";
            return Err(CommandError::other(text));
        }
        if self.limit.is_some() && !self.whole_blocks {
            let text = "ERR syntax error, LIMIT cannot be used without the special ~ option";
            return Err(CommandError::other(text));
        }
        let most = match self.limit {
            _ if !self.whole_blocks => u64::MAX,
            Some(0) => u64::MAX,
            Some(limit) => limit,
            None => match (limits.stream_node_max_entries as u64).saturating_mul(BLOCKS) {
                0 => DEFAULT_LIMIT,
                limit => limit.min(MOST_LIMIT),
            },
        };
        Ok(self.to.map(|to| Trimming { to, whole_blocks: self.whole_blocks, most }))
    }

    /// Whether it was told what to remove.
    pub(super) fn has_goal(&self) -> bool {
        self.to.is_some()
    }

    /// Whether a limit was told that has a meaning.
    pub(super) fn has_limit(&self) -> bool {
        self.limit.is_some_and(|limit| limit > 0)
    }
}

fn xtrim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let mut parser = TrimParser::default();
    let mut at = 2;
    while at < args.len() {
        at = parser.option(args, at)?.ok_or(CommandError::Syntax)?;
    }
    if !parser.has_goal() && !parser.has_limit() {
        let text = "ERR syntax error, XTRIM must be called with a trimming strategy";
        return Err(CommandError::other(text));
    }
    let trimming = parser.end(cx.limits)?;
    let mut edit = cx.db.edit(cx.keys[0]);
    let stream = stream_of(edit.value())?;
    let Some(trimming) =
        trimming.filter(|trimming| stream.is_some_and(|stream| trimming.removes_from(stream)))
    else {
        cx.out.int(0);
        return Ok(Done::Unchanged);
    };
    let (removed, left) =
        change(&mut edit, |stream| (trimming.apply(stream), stream.len())).unwrap_or_default();
    cx.out.int(removed.cast_signed());
    if !trimming.whole_blocks {
        return Ok(Done::Changed);
    }
    // Elsewhere blocks may be others; that the first ones go is the same everywhere.
    let key = edit.key().bytes;
    edit.log(&[b"XTRIM", key, b"MAXLEN", b"=", itoa::Buffer::new().format(left).as_bytes()]);
    Ok(Done::Logged)
}
