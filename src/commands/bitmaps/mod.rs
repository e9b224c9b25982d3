//! Bitmaps: strings as rows of bits, the most significant bit of each byte first.
//!
//! Single bits, counting, searching and combining are here; integers of any width at any bit are in [`field`].

mod field;

use std::ops::Range;

use ringfort_protocol::{Args, number::parse_i64};

use super::{
    Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Limits, Run,
    parse::{clamped_range, integer, is},
    strings::{string, write_at},
};
use crate::store::{Form, value::INLINE_STRING};

/// The family.
pub(super) const COMMANDS: &[Command] =
    &[BITCOUNT, field::BITFIELD, field::BITFIELD_RO, BITOP, BITPOS, GETBIT, SETBIT];

/// Reads the position of a bit. In units of `unit` bits if it begins with `#`, where that is allowed.
fn bit_offset(arg: &[u8], unit: Option<u32>, limits: &Limits) -> Result<usize, CommandError> {
    let (digits, unit) = match (arg, unit) {
        ([b'#', digits @ ..], Some(unit)) => (digits, unit),
        (digits, _) => (digits, 1),
    };
    parse_i64(digits)
        .and_then(|number| usize::try_from(number).ok()?.checked_mul(unit as usize))
        .filter(|offset| offset / 8 < limits.proto_max_bulk_len)
        .ok_or(CommandError::other("ERR bit offset is not an integer or out of range"))
}

/// Within its byte, the bit at `offset`.
fn mask(offset: usize) -> u8 {
    0x80 >> (offset % 8)
}

const SETBIT: Command = Command {
    name: "setbit",
    summary: "Sets or clears a bit of the string of a key and returns what it was",
    group: Group::Bitmap,
    since: "2.2.0",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(set_bit),
    ..Command::BASE
};

fn set_bit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let offset = bit_offset(args.at(2), None, cx.limits)?;
    let on = match args.at(3) {
        b"0" => false,
        b"1" => true,
        _ => {
            return Err(CommandError::other("ERR bit is not an integer or out of range"));
        }
    };
    let mut entry = cx.db.edit(cx.keys[0]);
    let old = string(entry.value())?.and_then(|bytes| bytes.get(offset / 8).copied());
    let byte = old.unwrap_or(0);
    let was = byte & mask(offset) != 0;
    cx.out.flag(was);
    if old.is_some() && was == on {
        return Ok(Done::Unchanged);
    }
    let byte = if on { byte | mask(offset) } else { byte & !mask(offset) };
    write_at(&mut entry, offset / 8, &[byte]);
    Ok(Done::Changed)
}

const GETBIT: Command = Command {
    name: "getbit",
    summary: "Returns a bit of the string of a key",
    group: Group::Bitmap,
    since: "2.2.0",
    arity: 3,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, args| {
        let offset = bit_offset(args.at(2), None, cx.limits)?;
        let string = string(cx.db.read(cx.keys[0]))?.unwrap_or_default();
        let byte = string.get(offset / 8).copied().unwrap_or(0);
        cx.out.flag(byte & mask(offset) != 0);
        Ok(Done::Read)
    }),
    ..Command::BASE
};

const BITCOUNT: Command = Command {
    name: "bitcount",
    summary: "Counts the bits that are set in the string of a key, or in part of it",
    group: Group::Bitmap,
    since: "2.6.0",
    complexity: "O(N)",
    arity: -2,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(bit_count),
    ..Command::BASE
};

fn bit_count(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let Some(bytes) = string(cx.db.read(cx.keys[0]))? else {
        // An absent key has no bits, whatever the range.
        cx.out.int(0);
        return Ok(Done::Read);
    };
    let bits = match args.len() {
        2 => 0..bytes.len() * 8,
        4 | 5 => {
            let (start, stop) = (integer(args.at(2))?, integer(args.at(3))?);
            if start < 0 && stop < 0 && start > stop {
                // Redis does not look at the unit then.
                cx.out.int(0);
                return Ok(Done::Read);
            }
            match Unit::parse(args.get(4))? {
                Unit::Byte => in_bits(clamped_range(start, stop, bytes.len())),
                Unit::Bit => clamped_range(start, stop, bytes.len() * 8),
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    cx.out.count(count(bytes, bits));
    Ok(Done::Read)
}

/// What a range counts.
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(arg: Option<&[u8]>) -> Result<Self, CommandError> {
        match arg {
            None => Ok(Self::Byte),
            Some(unit) if is(unit, "BYTE") => Ok(Self::Byte),
            Some(unit) if is(unit, "BIT") => Ok(Self::Bit),
            Some(_) => Err(CommandError::Syntax),
        }
    }
}

fn in_bits(bytes: Range<usize>) -> Range<usize> {
    bytes.start * 8..bytes.end * 8
}

/// Number of bits that are set in part of a string.
fn count(bytes: &[u8], bits: Range<usize>) -> usize {
    if bits.is_empty() {
        return 0;
    }
    let bytes = &bytes[bits.start / 8..bits.end.div_ceil(8)];
    let (words, rest) = bytes.as_chunks::<8>();
    let ones = |byte: &u8| byte.count_ones() as usize;
    let word_ones = |word: &[u8; 8]| u64::from_ne_bytes(*word).count_ones() as usize;
    let all = words.iter().map(word_ones).sum::<usize>() + rest.iter().map(ones).sum::<usize>();
    // What the first and the last byte have beyond the range.
    let before = bytes[0] & !(0xff >> (bits.start % 8));
    let last = bytes[bytes.len() - 1];
    let after = match bits.end % 8 {
        0 => 0,
        kept => last & (0xff >> kept),
    };
    all - ones(&before) - ones(&after)
}

const BITPOS: Command = Command {
    name: "bitpos",
    summary: "Finds the first bit of the string of a key that is set, or clear",
    group: Group::Bitmap,
    since: "2.8.7",
    complexity: "O(N)",
    arity: -3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(bit_pos),
    ..Command::BASE
};

fn bit_pos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let wanted = match integer(args.at(2))? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::other("ERR The bit argument must be 1 or 0.")),
    };
    let Some(bytes) = string(cx.db.read(cx.keys[0]))? else {
        // An absent key is an endless row of zeros, whatever the range.
        cx.out.int(if wanted { -1 } else { 0 });
        return Ok(Done::Read);
    };
    let bits = match args.len() {
        3 => 0..bytes.len() * 8,
        4..=6 => {
            let start = integer(args.at(3))?;
            let unit = Unit::parse(args.get(5))?;
            let stop = args.get(4).map_or(Ok(-1), integer)?;
            match unit {
                Unit::Byte => in_bits(clamped_range(start, stop, bytes.len())),
                Unit::Bit => clamped_range(start, stop, bytes.len() * 8),
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    // A string whose end was not named goes on with zeros.
    let open = args.len() < 5 && !wanted && !bits.is_empty();
    let end = bits.end;
    let found = find(bytes, bits, wanted).or(open.then_some(end));
    cx.out.int(found.map_or(-1, |found| found as i64));
    Ok(Done::Read)
}

/// The first bit within part of a string that is as `wanted`.
fn find(bytes: &[u8], bits: Range<usize>, wanted: bool) -> Option<usize> {
    if bits.is_empty() {
        return None;
    }
    let flip = if wanted { 0 } else { 0xff };
    let first = bits.start / 8;
    let head = (bytes[first] ^ flip) & (0xff >> (bits.start % 8));
    let (byte, index) = if head != 0 {
        (head, first)
    } else {
        let rest = &bytes[first + 1..bits.end.div_ceil(8)];
        let (words, _) = rest.as_chunks::<8>();
        let passed = words.iter().take_while(|word| **word == [flip; 8]).count() * 8;
        let index = rest[passed..].iter().position(|&byte| byte != flip)?;
        let index = first + 1 + passed + index;
        (bytes[index] ^ flip, index)
    };
    let found = index * 8 + byte.leading_zeros() as usize;
    (found < bits.end).then_some(found)
}

const BITOP: Command = Command {
    name: "bitop",
    summary: "Combines the strings of several keys bit by bit and stores the result",
    group: Group::Bitmap,
    since: "2.6.0",
    complexity: "O(N)",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[
        KeySpec::at(2, KeyFlags::OW.and(KeyFlags::UPDATE)),
        KeySpec::range(3, -1, 1, KeyFlags::RO.and(KeyFlags::ACCESS)),
    ],
    run: Run::Data(bit_op),
    ..Command::BASE
};

/// The effect is the result, set as a string.
fn bit_op(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let name = args.at(1);
    let [and, or, xor, not] = ["AND", "OR", "XOR", "NOT"].map(|word| is(name, word));
    if !(and || or || xor || not) {
        return Err(CommandError::Syntax);
    }
    let (target, sources) = cx.keys.split_first().ok_or(CommandError::Syntax)?;
    if not && sources.len() != 1 {
        return Err(CommandError::other("ERR BITOP NOT must be called with a single source key."));
    }
    let read = |&key| Ok(string(cx.db.read(key))?.unwrap_or_default());
    let sources = sources.iter().map(read).collect::<Result<Vec<_>, CommandError>>()?;
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let result = if and {
        combined(&sources, len, |all, one| all & one)
    } else if or {
        combined(&sources, len, |all, one| all | one)
    } else if xor {
        combined(&sources, len, |all, one| all ^ one)
    } else {
        // Of one string, the inverse.
        sources.concat().iter().map(|byte| !byte).collect()
    };
    let mut entry = cx.db.edit(*target);
    cx.out.count(len);
    if len == 0 {
        if !entry.remove() {
            return Ok(Done::Unchanged);
        }
        entry.log(&[b"DEL", target.bytes]);
        return Ok(Done::Logged);
    }
    entry.log(&[b"SET", target.bytes, &result]);
    if len > INLINE_STRING {
        entry.put_object(crate::store::Object::Str(result.into()), None);
    } else {
        entry.put(Form::Str, &[&result], None);
    }
    Ok(Done::Logged)
}

/// The strings combined byte by byte, the shorter ones continued with zeros.
fn combined(sources: &[&[u8]], len: usize, combine: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let Some((first, others)) = sources.split_first() else {
        return Vec::new();
    };
    let mut result = Vec::with_capacity(len);
    result.extend_from_slice(first);
    result.resize(len, 0);
    for other in others {
        let (head, tail) = result.split_at_mut(other.len());
        let pairs = head.iter_mut().zip(*other);
        pairs.for_each(|(all, one)| *all = combine(*all, *one));
        tail.iter_mut().for_each(|all| *all = combine(*all, 0));
    }
    result
}

#[cfg(test)]
mod tests;
