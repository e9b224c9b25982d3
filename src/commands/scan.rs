//! What the scans of collections (HSCAN, SSCAN, ZSCAN) have in common: cursor, options, and the shape of the reply.
//!
//! A small collection is returned at once. In a large one the cursor is the hash at which to go on, 0 at the
//! beginning and at the end.

use ringfort_protocol::{
    Args,
    glob::{self, Case},
};

use super::{CommandError, Reply, parse};
use crate::store::packed::Item;

/// Elements that a call looks at, unless it says otherwise.
const COUNT: usize = 10;

/// The options behind the cursor.
#[derive(Clone, Copy)]
pub(super) struct Options<'a> {
    pattern: Option<&'a [u8]>,
    /// How many elements to look at.
    pub(super) count: usize,
}

impl<'a> Options<'a> {
    /// Reads `[MATCH pattern] [COUNT count]`.
    pub(super) fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, count: COUNT };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or(CommandError::Syntax)?;
            if parse::is(option, "COUNT") {
                let count = parse::integer(value)?;
                options.count = usize::try_from(count).unwrap_or(0);
                if options.count == 0 {
                    return Err(CommandError::Syntax);
                }
            } else if parse::is(option, "MATCH") {
                options.pattern = Some(value).filter(|pattern| *pattern != b"*");
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether an element of this name is returned.
    pub(super) fn wants(&self, name: Item<'_>) -> bool {
        self.pattern.is_none_or(|pattern| {
            glob::matches(pattern, name.as_bytes(&mut itoa::Buffer::new()), Case::Sensitive)
        })
    }
}

/// Reads a cursor, as C's `strtoul` does but without leading spaces. `None` if it is none that was ever given: it
/// stands behind the last element.
pub(super) fn cursor(arg: &[u8]) -> Result<Option<u32>, CommandError> {
    let (negative, digits) = match arg {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let invalid = CommandError::other("ERR invalid cursor");
    let text = std::str::from_utf8(digits).ok();
    let value = match text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit())) {
        Some("") if arg.is_empty() => 0,
        Some(digits) => digits.parse::<u64>().map_err(|_| invalid)?,
        None => return Err(invalid),
    };
    let value = if negative { value.wrapping_neg() } else { value };
    Ok(u32::try_from(value).ok())
}

/// Writes where to go on, and what was found.
pub(super) fn reply(out: &mut Reply, next: Option<u32>, found: &[Item<'_>]) {
    out.array(2);
    out.bulk_int(next.unwrap_or(0).into());
    out.array(found.len());
    found.iter().for_each(|item| out.item(*item));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_redis_reads_them() {
        let invalid = Err(CommandError::other("ERR invalid cursor"));
        for (text, expected) in [
            ("0", Ok(Some(0))),
            ("+7", Ok(Some(7))),
            ("", Ok(Some(0))),
            ("4294967295", Ok(Some(u32::MAX))),
            ("4294967296", Ok(None)),
            ("-1", Ok(None)),
            ("18446744073709551616", invalid.clone()),
            ("1 ", invalid.clone()),
            (" 1", invalid.clone()),
            ("-", invalid.clone()),
            ("x", invalid),
        ] {
            assert_eq!(cursor(text.as_bytes()), expected, "{text}");
        }
    }
}
