//! Ids and ranges of ids, as clients write them.

use ringfort_protocol::number::parse_i64;

use crate::{commands::CommandError, store::objects::stream::StreamId};

const INVALID: CommandError =
    CommandError::other("ERR Invalid stream ID specified as stream command argument");

/// Longer texts are no ids.
const LONGEST: usize = 127;

/// An id whose number may be left to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Both numbers: `7-1`.
    Full(StreamId),
    /// The time only: `7-*`.
    Time(u64),
}

/// Reads an id; where only the time is given, the number is `missing`. `-` and `+` are no ids.
pub(super) fn strict(text: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    match split(text)? {
        (b"-" | b"+", None) => Err(INVALID),
        parts => numbers(parts, missing),
    }
}

/// Reads an id; `-` and `+` are the least and the greatest one.
pub(super) fn lenient(text: &[u8], missing: u64) -> Result<StreamId, CommandError> {
    match split(text)? {
        (b"-", None) => Ok(StreamId::MIN),
        (b"+", None) => Ok(StreamId::MAX),
        parts => numbers(parts, missing),
    }
}

/// Reads the id of an entry to come.
pub(super) fn wanted(text: &[u8]) -> Result<Wanted, CommandError> {
    match split(text)? {
        (ms, Some(b"*")) => unsigned(ms).map(Wanted::Time).ok_or(INVALID),
        _ => strict(text, 0).map(Wanted::Full),
    }
}

/// Reads the first id of a range; behind `(` it is the one before the first.
pub(super) fn range_start(text: &[u8]) -> Result<StreamId, CommandError> {
    match open(text) {
        None => lenient(text, 0),
        Some(text) => {
            let error = CommandError::other("ERR invalid start ID for the interval");
            strict(text, 0)?.next().ok_or(error)
        }
    }
}

/// Reads the last id of a range; behind `(` it is the one behind the last.
pub(super) fn range_end(text: &[u8]) -> Result<StreamId, CommandError> {
    match open(text) {
        None => lenient(text, u64::MAX),
        Some(text) => {
            let error = CommandError::other("ERR invalid end ID for the interval");
            strict(text, u64::MAX)?.previous().ok_or(error)
        }
    }
}

fn open(text: &[u8]) -> Option<&[u8]> {
    text.strip_prefix(b"(").filter(|rest| !rest.is_empty())
}

/// Time and number, as far as they are there. The signs `-` and `+` alone are left as they are.
fn split(text: &[u8]) -> Result<(&[u8], Option<&[u8]>), CommandError> {
    if text.len() > LONGEST {
        return Err(INVALID);
    }
    // As a string of C, which ends at its first zero.
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    match text.iter().position(|byte| *byte == b'-') {
        Some(dash) if text.len() > 1 => Ok((&text[..dash], Some(&text[dash + 1..]))),
        _ => Ok((text, None)),
    }
}

fn numbers((ms, seq): (&[u8], Option<&[u8]>), missing: u64) -> Result<StreamId, CommandError> {
    let ms = unsigned(ms).ok_or(INVALID)?;
    let seq = seq.map_or(Some(missing), unsigned).ok_or(INVALID)?;
    Ok(StreamId { ms, seq })
}

/// Reads a number of 64 bits as Redis does: what is no canonical integer is read by C's `strtoull`, which passes over
/// spaces in front, takes a sign, and wraps what is negative.
fn unsigned(text: &[u8]) -> Option<u64> {
    if let Some(number) = parse_i64(text) {
        return u64::try_from(number).ok();
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    let (is_negative, digits) = match text[start..].split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, &text[start..]),
    };
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    });
    let number = number.filter(|_| !digits.is_empty())?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> Result<StreamId, CommandError> {
        Ok(StreamId { ms, seq })
    }

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        assert_eq!(strict(b"7", 9), id(7, 9));
        assert_eq!(strict(b"7-3", 9), id(7, 3));
        assert_eq!(strict(b"18446744073709551615-18446744073709551615", 0), Ok(StreamId::MAX));
        assert_eq!(strict(b" +007-\t1", 0), id(7, 1));
        assert_eq!(strict(b"7--01", 0), id(7, u64::MAX));
        assert_eq!(strict(b"7-3\0x", 0), id(7, 3));
        for text in
            [&b""[..], b"-", b"+", b"x", b"7-", b"-7", b"7-*", b"7--1", b"7 ", b"18446744073709551616"]
        {
            assert_eq!(strict(text, 0), Err(INVALID), "{}", text.escape_ascii());
        }
        assert_eq!(strict(&[b'0'; 127], 0), id(0, 0));
        assert_eq!(strict(&[b'0'; 128], 0), Err(INVALID));
        assert_eq!((lenient(b"-", 0), lenient(b"+", 0)), (Ok(StreamId::MIN), Ok(StreamId::MAX)));
        assert_eq!((wanted(b"7-*"), wanted(b"7")), (Ok(Wanted::Time(7)), id(7, 0).map(Wanted::Full)));
        assert_eq!(wanted(b"-*"), Err(INVALID));
    }

    #[test]
    fn ranges_are_closed_or_open() {
        assert_eq!((range_start(b"7"), range_end(b"7")), (id(7, 0), id(7, u64::MAX)));
        assert_eq!((range_start(b"(7"), range_end(b"(7-0")), (id(7, 1), id(6, u64::MAX)));
        assert_eq!((range_start(b"("), range_start(b"(-")), (Err(INVALID), Err(INVALID)));
        assert!(range_start(b"(18446744073709551615-18446744073709551615").is_err());
        assert!(range_end(b"(0-0").is_err());
    }
}
