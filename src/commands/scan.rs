//! What the scans (SCAN, HSCAN, SSCAN, ZSCAN) have in common: cursor and options; and the shape of the reply of those
//! that scan collections.
//!
//! A small collection is returned at once. In a large one the cursor is the hash at which to go on, 0 at the
//! beginning and at the end.

use ringfort_protocol::{
    Args,
    glob::{self, Case},
};

use super::{CommandError, Reply, parse};
use crate::store::{Kind, packed::Item};

/// Elements that a call looks at, unless it says otherwise.
const COUNT: usize = 10;

/// The options behind the cursor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
    /// How many elements to look at.
    pub(super) count: usize,
    /// The one slot whose keys are wanted.
    pub(super) slot: Option<u16>,
}

/// What is scanned: this decides which options there are.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Elements,
    Keys,
    Slots,
}

impl<'a> Options<'a> {
    /// Reads `[MATCH pattern] [COUNT count]`.
    pub(super) fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        Self::read(args, What::Elements)
    }

    /// Reads `[MATCH pattern] [COUNT count] [TYPE type]`.
    pub(super) fn parse_for_keys(args: Args<'a>) -> Result<Self, CommandError> {
        Self::read(args, What::Keys)
    }

    /// Reads `[MATCH pattern] [COUNT count] [TYPE type] [SLOT slot]`.
    pub(super) fn parse_for_slots(args: Args<'a>) -> Result<Self, CommandError> {
        Self::read(args, What::Slots)
    }

    fn read(args: Args<'a>, what: What) -> Result<Self, CommandError> {
        let mut options = Self { pattern: None, kind: None, count: COUNT, slot: None };
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
            } else if what != What::Elements && parse::is(option, "TYPE") {
                options.kind = Some(value);
            } else if what == What::Slots && options.slot.is_none() && parse::is(option, "SLOT") {
                options.slot = Some(slot_number(value)?);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether an element of this name is returned.
    pub(super) fn wants(&self, name: Item<'_>) -> bool {
        self.pattern.is_none() || self.matches(name.as_bytes(&mut itoa::Buffer::new()))
    }

    /// Whether a key of this name and type is returned.
    pub(super) fn wants_key(&self, name: &[u8], kind: Kind) -> bool {
        self.kind.is_none_or(|wanted| parse::is(wanted, kind.name())) && self.matches(name)
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive))
    }
}

fn slot_number(arg: &[u8]) -> Result<u16, CommandError> {
    let slot = parse::integer(arg).ok().and_then(|number| u16::try_from(number).ok());
    let invalid = CommandError::other("ERR Invalid or out of range slot");
    slot.filter(|slot| *slot < ringfort_protocol::SLOTS).ok_or(invalid)
}

/// Reads a cursor of a collection. `None` if it is none that was ever given: it stands behind the last element.
pub(super) fn cursor(arg: &[u8]) -> Result<Option<u32>, CommandError> {
    Ok(u32::try_from(number(arg)?).ok())
}

/// Reads a cursor as C's `strtoul` does, but without leading spaces.
pub(super) fn number(arg: &[u8]) -> Result<u64, CommandError> {
    let invalid = || CommandError::other("ERR invalid cursor");
    let text = arg.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let digits = std::str::from_utf8(digits).map_err(|_| invalid())?;
    let value = digits.parse::<u64>().map_err(|_| invalid())?;
    Ok(if negative { value.wrapping_neg() } else { value })
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
            ("5\0x", Ok(Some(5))),
            ("0000000000000000000000000", Ok(Some(0))),
            ("4294967295", Ok(Some(u32::MAX))),
            ("4294967296", Ok(None)),
            ("-1", Ok(None)),
            ("18446744073709551616", invalid.clone()),
            ("1 ", invalid.clone()),
            (" 1", invalid.clone()),
            ("-", invalid.clone()),
            ("+-1", invalid.clone()),
            ("0x1", invalid.clone()),
            ("x", invalid),
        ] {
            assert_eq!(cursor(text.as_bytes()), expected, "{text}");
        }
    }
}
