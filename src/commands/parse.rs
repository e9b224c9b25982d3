//! Arguments as values: numbers, options, times and ranges, read and refused as Redis does.
//!
//! Every family reads its arguments by these, so that the same mistake gets the same words everywhere.

use std::ops::{Range, RangeInclusive};

use ringfort_protocol::{Args, number};

use super::CommandError;

/// Whether an argument is this word, in any case of letters.
#[inline]
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// A whole number.
#[inline]
pub fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    number::parse_i64(arg).ok_or(CommandError::NotInteger)
}

/// A whole number of at least 0; whatever else it is, the error is that it must be positive.
pub fn positive(arg: &[u8]) -> Result<usize, CommandError> {
    number::parse_i64(arg).and_then(|number| usize::try_from(number).ok()).ok_or(CommandError::NotPositive)
}

/// A whole number within bounds, which the error names.
pub fn within(arg: &[u8], bounds: RangeInclusive<i64>) -> Result<i64, CommandError> {
    let value = integer(arg)?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    let (least, most) = bounds.into_inner();
    Err(CommandError::made(format!("ERR value is out of range, value must between {least} and {most}")))
}

/// A floating-point number; infinities are numbers, NaN is not.
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    number::parse_f64(arg).ok_or(CommandError::NotFloat)
}

/// For how long a command waits, given in seconds: the milliseconds, rounded up; 0 is for as long as it takes.
pub fn timeout(arg: &[u8]) -> Result<u64, CommandError> {
    let seconds =
        number::parse_f64(arg).ok_or(CommandError::other("ERR timeout is not a float or out of range"))?;
    let millis = (seconds * 1000.0).ceil();
    // What no integer can tell counts as negative, as in Redis.
    if millis < 0.0 || millis >= i64::MAX as f64 {
        return Err(CommandError::other("ERR timeout is negative"));
    }
    Ok(millis as u64)
}

/// The same, as the last argument of a command that always waits.
pub fn last_timeout(args: Args<'_>) -> Result<Option<u64>, CommandError> {
    timeout(args.at(args.len() - 1)).map(Some)
}

/// Where a command finds its keys behind their number at argument `at`, what follows them, and how many there are.
pub fn numbered_keys(args: Args<'_>, at: usize) -> Result<(usize, Args<'_>), CommandError> {
    let count = positive(args.at(at)).unwrap_or(0);
    if count == 0 {
        return Err(CommandError::other("ERR numkeys should be greater than 0"));
    }
    if count >= args.len() - at {
        return Err(CommandError::Syntax);
    }
    Ok((count, args.slice(at + 1 + count..)))
}

/// Reads `[COUNT count]`, 1 by default, and nothing else.
pub fn count_alone(args: Args<'_>) -> Result<usize, CommandError> {
    let mut count = None;
    let mut rest = args.iter();
    while let Some(option) = rest.next() {
        match (is(option, "COUNT"), count, rest.next()) {
            (true, None, Some(number)) => {
                let number = positive(number).unwrap_or(0);
                if number == 0 {
                    return Err(CommandError::other("ERR count should be greater than 0"));
                }
                count = Some(number);
            }
            _ => return Err(CommandError::Syntax),
        }
    }
    Ok(count.unwrap_or(1))
}

/// How a command tells when a key shall expire: in which unit, and counted from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Seconds from now: `EX`, `EXPIRE`.
    Ex,
    /// Milliseconds from now: `PX`, `PEXPIRE`.
    Px,
    /// A Unix time in seconds: `EXAT`, `EXPIREAT`.
    ExAt,
    /// A Unix time in milliseconds: `PXAT`, `PEXPIREAT`.
    PxAt,
}

impl Expiry {
    /// What an option of this name tells.
    pub fn from_option(arg: &[u8]) -> Option<Self> {
        const OPTIONS: [(&str, Expiry); 4] =
            [("EX", Expiry::Ex), ("PX", Expiry::Px), ("EXAT", Expiry::ExAt), ("PXAT", Expiry::PxAt)];
        let option = OPTIONS.iter().find(|option| is(arg, option.0))?;
        Some(option.1)
    }

    /// Whether it counts from now.
    pub fn is_relative(self) -> bool {
        matches!(self, Self::Ex | Self::Px)
    }

    /// The deadline in Unix milliseconds that `time` tells at `now`, as EXPIRE and its like read it: any time that
    /// has passed will do, and is 0 if it lies before 1970. `command` is named in the error.
    pub fn deadline(self, time: &[u8], now: u64, command: &'static str) -> Result<u64, CommandError> {
        self.checked_deadline(integer(time)?, now)
            .map(|deadline| u64::try_from(deadline).unwrap_or(0))
            .ok_or(CommandError::InvalidExpire(command))
    }

    /// The same, as SET, GETEX and their like read it: a time, or a length of time, that is not positive is refused.
    pub fn positive_deadline(
        self,
        time: &[u8],
        now: u64,
        command: &'static str,
    ) -> Result<u64, CommandError> {
        Some(integer(time)?)
            .filter(|time| *time > 0)
            .and_then(|time| self.checked_deadline(time, now))
            .and_then(|deadline| u64::try_from(deadline).ok())
            .ok_or(CommandError::InvalidExpire(command))
    }

    /// The same, as HEXPIRE, HSETEX and their like read it: a time, or a length of time, that is negative is refused.
    pub fn field_deadline(self, time: &[u8], now: u64, command: &'static str) -> Result<u64, CommandError> {
        Some(integer(time)?)
            .filter(|time| *time >= 0)
            .and_then(|time| self.checked_deadline(time, now))
            .and_then(|deadline| u64::try_from(deadline).ok())
            .ok_or(CommandError::InvalidExpire(command))
    }

    /// `None` where it leaves the range of milliseconds that an `i64` can tell.
    fn checked_deadline(self, time: i64, now: u64) -> Option<i64> {
        let millis = match self {
            Self::Ex | Self::ExAt => time.checked_mul(1000)?,
            Self::Px | Self::PxAt => time,
        };
        let base = if self.is_relative() { now } else { 0 };
        millis.checked_add_unsigned(base)
    }
}

/// What SET, GETEX and their like do to a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewDeadline<'a> {
    /// There is none from now on.
    Never,
    /// It stays as it is.
    Same,
    /// It is the one that this time tells.
    At(Expiry, &'a [u8]),
}

impl<'a> NewDeadline<'a> {
    /// What GETEX and its like are told.
    pub fn of_reading(options: Args<'a>) -> Result<Self, CommandError> {
        let mut deadline = Self::Same;
        let mut options = options.iter();
        while let Some(option) = options.next() {
            if let Some(expiry) = Expiry::from_option(option) {
                deadline.set(&Self::Same, expiry, options.next())?;
            } else if is(option, "PERSIST") && !matches!(deadline, Self::At(..)) {
                deadline = Self::Never;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(deadline)
    }

    /// Takes an option with its time into account. Nothing but `usual` may have come before it, or the same option:
    /// then the last one holds.
    pub fn set(&mut self, usual: &Self, expiry: Expiry, time: Option<&'a [u8]>) -> Result<(), CommandError> {
        let fits = match self {
            Self::At(before, _) => *before == expiry,
            Self::Never | Self::Same => self == usual,
        };
        let time = time.filter(|_| fits).ok_or(CommandError::Syntax)?;
        *self = Self::At(expiry, time);
        Ok(())
    }

    /// The deadline in Unix milliseconds, where it is a new one.
    pub fn instant(&self, now: u64, command: &'static str) -> Result<Option<u64>, CommandError> {
        match self {
            Self::Never | Self::Same => Ok(None),
            Self::At(expiry, time) => expiry.positive_deadline(time, now, command).map(Some),
        }
    }

    /// The same for the deadline of a field, whose time may be 0.
    pub fn field_instant(&self, now: u64, command: &'static str) -> Result<Option<u64>, CommandError> {
        match self {
            Self::Never | Self::Same => Ok(None),
            Self::At(expiry, time) => expiry.field_deadline(time, now, command).map(Some),
        }
    }
}

/// On what condition EXPIRE and its like set a deadline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions {
    /// There is none yet.
    nx: bool,
    /// There is one.
    xx: bool,
    /// The new one is later; no deadline is later than any.
    gt: bool,
    /// The new one is sooner; any is sooner than none.
    lt: bool,
}

impl Conditions {
    /// Reads them.
    pub fn parse(options: Args<'_>) -> Result<Self, CommandError> {
        let mut conditions = Self::default();
        for option in options.iter() {
            let condition = match option {
                _ if is(option, "NX") => &mut conditions.nx,
                _ if is(option, "XX") => &mut conditions.xx,
                _ if is(option, "GT") => &mut conditions.gt,
                _ if is(option, "LT") => &mut conditions.lt,
                _ => return Err(CommandError::quoting("ERR Unsupported option ", option, "")),
            };
            *condition = true;
        }
        let Self { nx, xx, gt, lt } = conditions;
        if nx && (xx || gt || lt) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::other(text));
        }
        if gt && lt {
            let text = "ERR GT and LT options at the same time are not compatible";
            return Err(CommandError::other(text));
        }
        Ok(conditions)
    }

    /// Whether a new deadline may take the place of the old one.
    pub fn hold(self, old: Option<u64>, new: u64) -> bool {
        let excluded = (self.nx && old.is_some())
            || (self.xx && old.is_none())
            || (self.gt && old.is_none_or(|old| new <= old))
            || (self.lt && old.is_some_and(|old| new >= old));
        !excluded
    }
}

/// Milliseconds to the nearest second.
pub fn in_seconds(ms: u64) -> u64 {
    (ms + 500) / 1000
}

/// The positions among `len` elements that `start` and `stop` enclose: both are included, negative ones count from
/// the end, and what lies outside is cut off, as LRANGE and ZRANGE do. Always within `0..len`; empty if it is nothing.
pub fn range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let from_start = |index: i64| if index < 0 { index + len } else { index };
    let start = from_start(start).max(0);
    let stop = from_start(stop).min(len - 1);
    if start > stop {
        return 0..0;
    }
    start as usize..stop as usize + 1
}

/// The positions of a string that `start` and `stop` enclose, as GETRANGE does: a `stop` that lies before the string is
/// its first position, unless both count from the end and in the wrong order.
pub fn string_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    if start < 0 && stop < 0 && start > stop {
        return 0..0;
    }
    clamped_range(start, stop, len)
}

/// The same without that exception, as BITPOS does.
pub fn clamped_range(start: i64, stop: i64, len: usize) -> Range<usize> {
    let before = i64::try_from(len).is_ok_and(|len| stop < -len);
    range(start, if before { 0 } else { stop }, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_refused_by_the_words_of_their_kind() {
        assert_eq!(integer(b"-7"), Ok(-7));
        assert_eq!(integer(b" 7"), Err(CommandError::NotInteger));
        assert_eq!(positive(b"0"), Ok(0));
        assert_eq!(positive(b"-1"), Err(CommandError::NotPositive));
        assert_eq!(positive(b"x"), Err(CommandError::NotPositive));
        assert_eq!(within(b"3", 1..=3), Ok(3));
        let error = within(b"4", 1..=3).unwrap_err();
        assert_eq!(error.to_string(), "ERR value is out of range, value must between 1 and 3");
        assert_eq!(float(b"-inf"), Ok(f64::NEG_INFINITY));
        assert_eq!(float(b"nan"), Err(CommandError::NotFloat));
    }

    #[test]
    fn timeouts_are_seconds_with_any_fraction() {
        let error = |text| Err(CommandError::other(text));
        for (text, millis) in
            [("0", 0), ("1", 1_000), ("0.0001", 1), ("-0.0001", 0), ("9e15", 9_000_000_000_000_000_000)]
        {
            assert_eq!(timeout(text.as_bytes()), Ok(millis), "{text}");
        }
        for text in ["", "x", " 1", "nan"] {
            assert_eq!(
                timeout(text.as_bytes()),
                error("ERR timeout is not a float or out of range"),
                "{text}"
            );
        }
        for text in ["-1", "inf", "-inf", "9.3e15", "9223372036854775807"] {
            assert_eq!(timeout(text.as_bytes()), error("ERR timeout is negative"), "{text}");
        }
    }

    #[test]
    fn deadlines_are_in_unix_milliseconds() {
        let at = |name: &str, time: &str| {
            let expiry = Expiry::from_option(name.as_bytes()).unwrap();
            expiry.positive_deadline(time.as_bytes(), 1_000_000, "set")
        };
        assert_eq!(at("ex", "7"), Ok(1_007_000));
        assert_eq!(at("PX", "7"), Ok(1_000_007));
        assert_eq!(at("ExAt", "7"), Ok(7_000));
        assert_eq!(at("pxat", "7"), Ok(7));
        assert_eq!(Expiry::from_option(b"exa"), None);
        let invalid = Err(CommandError::InvalidExpire("set"));
        for (name, time) in [
            ("EX", "0"),
            ("PXAT", "-1"),
            ("EX", "9223372036854775"),
            ("EXAT", "9223372036854776"),
            ("PX", "9223372036854775807"),
        ] {
            assert_eq!(at(name, time), invalid, "{name} {time}");
        }
        assert_eq!(at("PXAT", "9223372036854775807"), Ok(i64::MAX as u64));
        assert_eq!(at("EX", "1.5"), Err(CommandError::NotInteger));
    }

    #[test]
    fn deadlines_of_fields_may_be_now_but_not_negative() {
        let at = |expiry: Expiry, time: &str| expiry.field_deadline(time.as_bytes(), 1_000_000, "hexpire");
        assert_eq!(at(Expiry::Ex, "0"), Ok(1_000_000));
        assert_eq!(at(Expiry::PxAt, "0"), Ok(0));
        assert_eq!(at(Expiry::Px, "x"), Err(CommandError::NotInteger));
        let invalid = Err(CommandError::InvalidExpire("hexpire"));
        for (expiry, time) in [
            (Expiry::Ex, "-1"),
            (Expiry::PxAt, "-1"),
            (Expiry::Ex, "9223372036854776"),
            (Expiry::Px, "9223372036854775807"),
        ] {
            assert_eq!(at(expiry, time), invalid, "{time}");
        }
    }

    #[test]
    fn expire_takes_times_that_have_passed() {
        let at = |expiry: Expiry, time: &str| expiry.deadline(time.as_bytes(), 1_000_000, "expire");
        assert_eq!(at(Expiry::Ex, "-7"), Ok(993_000));
        assert_eq!(at(Expiry::Px, "-9223372036854775808"), Ok(0));
        assert_eq!(at(Expiry::ExAt, "-1"), Ok(0));
        let invalid = Err(CommandError::InvalidExpire("expire"));
        assert_eq!(at(Expiry::Ex, "-9223372036854776"), invalid);
        assert_eq!(at(Expiry::Px, "9223372036854775807"), invalid);
    }

    #[test]
    fn ranges_count_negatives_from_the_end_and_stay_within() {
        assert_eq!(range(0, -1, 5), 0..5);
        assert_eq!(range(-2, -1, 5), 3..5);
        assert_eq!(range(-9, 9, 5), 0..5);
        assert_eq!(range(1, 3, 5), 1..4);
        for (start, stop, len) in [(3, 1, 5), (5, 9, 5), (0, -9, 5), (0, -1, 0), (i64::MIN, i64::MIN, 5)] {
            assert!(range(start, stop, len).is_empty(), "{start} {stop} {len}");
        }
        assert_eq!(range(i64::MIN, i64::MAX, 5), 0..5);
    }

    #[test]
    fn a_stop_before_a_string_is_its_first_position() {
        assert_eq!(string_range(1, 3, 5), 1..4);
        assert_eq!(string_range(0, -6, 5), 0..1);
        assert_eq!(string_range(-9, -6, 5), 0..1);
        assert_eq!(clamped_range(-6, -9, 5), 0..1);
        assert!(string_range(-6, -9, 5).is_empty());
        assert!(string_range(1, -6, 5).is_empty());
        assert!(string_range(0, -6, 0).is_empty());
        assert!(clamped_range(0, i64::MIN, 0).is_empty());
    }
}
