//! Ranges of sorted sets as they are asked for, and which ranks they are.

use std::ops::Range;

use ringfort_protocol::number::parse_f64;

use crate::{
    commands::{CommandError, parse},
    store::objects::zset::ZSetRef,
};

const NO_FLOAT: CommandError = CommandError::other("ERR min or max is not a float");
const NO_MEMBER: CommandError = CommandError::other("ERR min or max not valid string range item");

/// A range of members.
#[derive(Clone, Copy)]
pub(super) enum Bounds<'a> {
    /// From one rank to another, both included; negative: from the end.
    Ranks(i64, i64),
    /// From one score to another.
    Scores(Score, Score),
    /// From one member to another, where all scores are equal.
    Members(Member<'a>, Member<'a>),
}

/// A bound among scores.
#[derive(Clone, Copy)]
pub(super) struct Score {
    value: f64,
    open: bool,
}

/// A bound among members.
#[derive(Clone, Copy)]
pub(super) enum Member<'a> {
    First,
    Last,
    Closed(&'a [u8]),
    Open(&'a [u8]),
}

impl<'a> Bounds<'a> {
    /// From `min` to `max`, by rank.
    pub(super) fn ranks(min: &[u8], max: &[u8]) -> Result<Self, CommandError> {
        Ok(Self::Ranks(parse::integer(min)?, parse::integer(max)?))
    }

    /// From `min` to `max`, by score.
    pub(super) fn scores(min: &[u8], max: &[u8]) -> Result<Self, CommandError> {
        let score = |text| Score::parse(text).ok_or(NO_FLOAT);
        Ok(Self::Scores(score(min)?, score(max)?))
    }

    /// From `min` to `max`, by member.
    pub(super) fn members(min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        let member = |text| Member::parse(text).ok_or(NO_MEMBER);
        Ok(Self::Members(member(min)?, member(max)?))
    }

    /// The ranks of the members in the range; `reverse`: ranks given as such count from the end.
    pub(super) fn find(self, view: ZSetRef<'_>, reverse: bool) -> Range<usize> {
        let (start, end) = match self {
            Self::Ranks(start, end) => {
                let ranks = parse::range(start, end, view.len());
                return match reverse {
                    true => view.len() - ranks.end..view.len() - ranks.start,
                    false => ranks,
                };
            }
            Self::Scores(min, max) => {
                let below = |other| other < min.value || min.open && other == min.value;
                let within = |other| other < max.value || !max.open && other == max.value;
                (view.count_scores_while(below), view.count_scores_while(within))
            }
            Self::Members(min, max) => (min.rank(view, false), max.rank(view, true)),
        };
        start..end.max(start)
    }
}

impl Score {
    /// Reads a number as C's `strtod` does, which Redis uses here as it is: it skips spaces, takes nothing for 0, and
    /// stops at a zero byte.
    fn parse(text: &[u8]) -> Option<Self> {
        let (open, text) = match text {
            [b'(', rest @ ..] => (true, rest),
            text => (false, text),
        };
        let text = &text[..text.iter().position(|byte| *byte == 0).unwrap_or(text.len())];
        if text.is_empty() {
            return Some(Self { value: 0.0, open });
        }
        let spaces = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'))?;
        let text = &text[spaces..];
        // Numbers that are too large or too small are taken for what is next to them.
        let value = match parse_f64(text) {
            Some(value) => value,
            None => std::str::from_utf8(text).ok()?.parse().ok()?,
        };
        (!value.is_nan()).then_some(Self { value, open })
    }
}

impl<'a> Member<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        match text {
            b"-" => Some(Self::First),
            b"+" => Some(Self::Last),
            [b'[', member @ ..] => Some(Self::Closed(member)),
            [b'(', member @ ..] => Some(Self::Open(member)),
            _ => None,
        }
    }

    /// How many members come before the bound, those that equal it included where `upper` says that they are within.
    fn rank(self, view: ZSetRef<'_>, upper: bool) -> usize {
        match (self, upper) {
            (Self::First, _) => 0,
            (Self::Last, _) => view.len(),
            (Self::Closed(bound), false) | (Self::Open(bound), true) => {
                view.count_members_while(|member| member < bound)
            }
            (Self::Closed(bound), true) | (Self::Open(bound), false) => {
                view.count_members_while(|member| member <= bound)
            }
        }
    }
}

/// Part of a range: what LIMIT leaves of it. A negative count leaves all, a negative offset nothing.
pub(super) fn limit(ranks: Range<usize>, offset: i64, count: i64, reverse: bool) -> Range<usize> {
    let Ok(offset) = usize::try_from(offset) else {
        return 0..0;
    };
    let left = ranks.len().saturating_sub(offset);
    let count = usize::try_from(count).map_or(left, |count| count.min(left));
    let start = match reverse {
        false => ranks.end - left,
        true => ranks.start + left - count,
    };
    start..start + count
}
