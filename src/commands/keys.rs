//! Where the keys of a command are among its arguments, and what it does to them: Redis' key specifications.

use ringfort_protocol::Args;

/// One group of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Where the search begins.
    pub begin: Begin,
    /// How keys are found from there.
    pub find: Find,
    /// What is done to them.
    pub flags: KeyFlags,
}

/// Where the search for keys begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At this argument; the command's name is argument 0.
    Index(u8),
    /// Behind this word, which is looked for from this argument on (negative: from the end, backwards).
    Keyword(&'static str, i8),
    /// Behind this option, which stands from argument 2 on among others that have so many values; the last one counts.
    Option(&'static str, &'static [(&'static str, u8)]),
    /// Not among the arguments: names are made of what other keys hold.
    InData,
}

/// How keys are found from where the search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Find {
    /// Up to `last` (relative to the beginning; negative: from the end of the arguments), every `step`th.
    Range {
        /// The last key.
        last: i8,
        /// Distance from one key to the next.
        step: u8,
    },
    /// The beginning holds the number of keys; they follow.
    Count {
        /// Distance from one key to the next.
        step: u8,
    },
    /// The first half of what follows. The beginning is `STREAMS` behind options that may have that word for an operand.
    Half,
}

/// The words that may stand in front of streams' keys, and the operands that each has.
pub(super) const OPTIONS_OF_STREAMS: [(&str, usize); 5] =
    [("BLOCK", 1), ("COUNT", 1), ("STREAMS", 1), ("GROUP", 2), ("NOACK", 0)];

/// What a command does to keys, as Redis' key specifications name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFlags(u16);

impl KeyFlags {
    /// Reads the value and changes nothing.
    pub const RO: Self = Self(1);
    /// Reads and changes the value.
    pub const RW: Self = Self(1 << 1);
    /// Overwrites the value, whatever it is.
    pub const OW: Self = Self(1 << 2);
    /// Removes the key.
    pub const RM: Self = Self(1 << 3);
    /// Returns, copies or uses user data of the value.
    pub const ACCESS: Self = Self(1 << 4);
    /// Changes user data that is there.
    pub const UPDATE: Self = Self(1 << 5);
    /// Adds user data.
    pub const INSERT: Self = Self(1 << 6);
    /// Removes user data.
    pub const DELETE: Self = Self(1 << 7);
    /// It is no key, but is routed as one.
    pub const NOT_KEY: Self = Self(1 << 8);
    /// Whether it reads or writes depends on other arguments.
    pub const VARIABLE: Self = Self(1 << 10);

    const NAMES: [(Self, &str); 10] = [
        (Self::RO, "RO"),
        (Self::RW, "RW"),
        (Self::OW, "OW"),
        (Self::RM, "RM"),
        (Self::ACCESS, "access"),
        (Self::UPDATE, "update"),
        (Self::INSERT, "insert"),
        (Self::DELETE, "delete"),
        (Self::NOT_KEY, "not_key"),
        (Self::VARIABLE, "variable_flags"),
    ];

    /// These and those.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are among these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the key is only read.
    pub const fn is_read_only(self) -> bool {
        self.has(Self::RO)
    }

    /// Their names, as `COMMAND INFO` prints them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |named| self.has(named.0)).map(|named| named.1)
    }
}

impl KeySpec {
    /// One key at argument `index`.
    pub const fn at(index: u8, flags: KeyFlags) -> Self {
        Self::range(index, 0, 1, flags)
    }

    /// Keys from argument `first` on: up to `last` beyond it (negative: from the end), every `step`th.
    pub const fn range(first: u8, last: i8, step: u8, flags: KeyFlags) -> Self {
        Self { begin: Begin::Index(first), find: Find::Range { last, step }, flags }
    }

    /// Argument `at` says how many keys follow it.
    pub const fn counted(at: u8, flags: KeyFlags) -> Self {
        Self::counted_by(at, 1, flags)
    }

    /// Argument `at` says how many keys follow it, every `step`th.
    pub const fn counted_by(at: u8, step: u8, flags: KeyFlags) -> Self {
        Self { begin: Begin::Index(at), find: Find::Count { step }, flags }
    }

    /// The first half of what stands behind `STREAMS`, which is said to be looked for from argument `from` on.
    pub const fn streams(from: i8, flags: KeyFlags) -> Self {
        Self { begin: Begin::Keyword("STREAMS", from), find: Find::Half, flags }
    }

    /// Where its key is if, whatever the arguments, it has exactly one.
    pub fn only(&self) -> Option<usize> {
        match (self.begin, self.find) {
            (Begin::Index(index), Find::Range { last: 0, .. }) => Some(index.into()),
            _ => None,
        }
    }

    /// The indices of its keys among the arguments. Nothing for arguments that make no sense: their command will
    /// refuse them.
    pub fn indices(&self, args: Args<'_>) -> impl Iterator<Item = usize> + use<> {
        let (first, last, step) = self.bounds(args).unwrap_or((1, 0, 1));
        (first..=last).step_by(step)
    }

    fn bounds(&self, args: Args<'_>) -> Option<(usize, usize, usize)> {
        let begin = match self.begin {
            Begin::Keyword(word, _) if self.find == Find::Half => 1 + behind_options(args, word)?,
            Begin::Index(index) => usize::from(index),
            Begin::Keyword(word, from) => {
                let is = |index: &usize| args[*index].eq_ignore_ascii_case(word.as_bytes());
                1 + match usize::try_from(from) {
                    Ok(from) => (from..args.len()).find(is)?,
                    Err(_) => {
                        let last = args.len().checked_sub(usize::from(from.unsigned_abs()))?;
                        (1..=last).rev().find(is)?
                    }
                }
            }
            Begin::Option(word, options) => option(args, word, options)?,
            Begin::InData => return None,
        };
        let (first, last, step) = match self.find {
            Find::Range { last, step } => {
                let last = match usize::try_from(last) {
                    Ok(beyond) => begin + beyond,
                    Err(_) => args.len().checked_sub(usize::from(last.unsigned_abs()))?,
                };
                (begin, last, usize::from(step))
            }
            Find::Half => (begin, begin + ((args.len() - begin) / 2).checked_sub(1)?, 1),
            Find::Count { step } => {
                let number = std::str::from_utf8(args.get(begin)?).ok()?;
                let count = number.parse::<usize>().ok().filter(|count| (1..args.len()).contains(count))?;
                (begin + 1, begin + 1 + (count - 1) * usize::from(step), usize::from(step))
            }
        };
        (first <= last && last < args.len()).then_some((first, last, step))
    }
}

/// Where the value of the last option of this name is.
fn option(args: Args<'_>, word: &str, options: &[(&str, u8)]) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while let Some(arg) = args.get(at) {
        let option = options.iter().find(|option| arg.eq_ignore_ascii_case(option.0.as_bytes()));
        if option.is_some_and(|option| option.0 == word) && at + 1 < args.len() {
            found = Some(at + 1);
        }
        at += 1 + option.map_or(0, |option| usize::from(option.1));
    }
    found
}

/// Where a word stands that is no operand of an option before it.
fn behind_options(args: Args<'_>, word: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        let arg = args.get(at)?;
        if arg.eq_ignore_ascii_case(word.as_bytes()) {
            return Some(at);
        }
        let is = |option: &&(&str, usize)| arg.eq_ignore_ascii_case(option.0.as_bytes());
        at += 1 + OPTIONS_OF_STREAMS.iter().find(is).map_or(0, |(_, operands)| *operands);
    }
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::OwnedArgs;

    use super::*;

    #[test]
    fn the_keys_of_streams_are_half_of_what_follows() {
        let spec = KeySpec::streams(1, KeyFlags::RO);
        let keys = |text: &str| {
            let args: OwnedArgs = text.split(' ').map(str::as_bytes).collect();
            spec.indices(args.as_args()).collect::<Vec<_>>()
        };
        assert_eq!(keys("XREAD COUNT 2 streams a b 0 0"), [4, 5]);
        assert_eq!(keys("XREADGROUP GROUP streams count STREAMS a >"), [5]);
        assert_eq!(keys("XREADGROUP NOACK GROUP g STREAMS STREAMS STREAMS >"), [6]);
        assert_eq!(keys("XREAD STREAMS a b 0"), [2]);
        for none in ["XREAD STREAMS", "XREAD STREAMS a", "XREAD COUNT STREAMS a 0", "XREAD a 0"] {
            assert!(keys(none).is_empty(), "{none}");
        }
    }
}
