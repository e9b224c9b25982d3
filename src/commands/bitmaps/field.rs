//! BITFIELD: integers of 1 to 64 bits, at any bit of a string.
//!
//! All operations are read and checked before the first one runs; they are read again when they run, which saves a
//! list of them. A field lies within nine bytes, since it begins within the first and has 64 bits at most.

use ringfort_protocol::Args;

use super::bit_offset;
use crate::commands::{
    Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Limits, Run,
    parse::{integer, is},
    strings::{string, write_at},
};

pub(super) const BITFIELD: Command = Command {
    name: "bitfield",
    summary: "Reads, sets and adds to integers at any bit of the string of a key",
    group: Group::Bitmap,
    since: "3.2.0",
    complexity: "O(1) for each subcommand specified",
    arity: -2,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE).and(KeyFlags::VARIABLE))],
    run: Run::Data(|cx, args| {
        let plan = Plan::of(args, cx.limits)?;
        if plan.bytes == 0 {
            return get_fields(cx, args, plan.count);
        }
        change_fields(cx, args, &plan)
    }),
    ..Command::BASE
};

pub(super) const BITFIELD_RO: Command = Command {
    name: "bitfield_ro",
    summary: "Reads integers at any bit of the string of a key",
    group: Group::Bitmap,
    since: "6.0.0",
    complexity: "O(1) for each subcommand specified",
    arity: -2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, args| {
        let plan = Plan::of(args, cx.limits)?;
        if plan.bytes > 0 {
            return Err(CommandError::other("ERR BITFIELD_RO only supports the GET subcommand"));
        }
        get_fields(cx, args, plan.count)
    }),
    ..Command::BASE
};

/// An integer's place in a string.
#[derive(Clone, Copy)]
struct Field {
    signed: bool,
    /// 1 to 64 if signed, else 1 to 63.
    bits: u32,
    /// The position of its first bit.
    offset: usize,
}

/// What happens to a result that does not fit.
#[derive(Clone, Copy)]
enum Overflow {
    /// The lowest bits of it stay.
    Wrap,
    /// It becomes the nearest that fits.
    Saturate,
    /// The operation is not done.
    Fail,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

struct Operation {
    field: Field,
    action: Action,
    overflow: Overflow,
}

/// Reads operations from arguments.
struct Operations<'a> {
    args: Args<'a>,
    limits: &'a Limits,
    overflow: Overflow,
}

impl<'a> Operations<'a> {
    fn new(args: Args<'a>, limits: &'a Limits) -> Self {
        Self { args: args.slice(2..), limits, overflow: Overflow::Wrap }
    }

    /// The next operation, or `None` at the end.
    fn next(&mut self) -> Result<Option<Operation>, CommandError> {
        while let Some(name) = self.args.get(0) {
            let left = self.args.len() - 1;
            if is(name, "OVERFLOW") && left >= 1 {
                self.overflow = overflow(self.args.at(1))?;
                self.args = self.args.slice(2..);
                continue;
            }
            let (used, action): (_, fn(i64) -> Action) = if is(name, "GET") && left >= 2 {
                (3, |_| Action::Get)
            } else if is(name, "SET") && left >= 3 {
                (4, Action::Set)
            } else if is(name, "INCRBY") && left >= 3 {
                (4, Action::Add)
            } else {
                return Err(CommandError::Syntax);
            };
            let field = Field::parse(self.args.at(1), self.args.at(2), self.limits)?;
            let number = if used == 4 { integer(self.args.at(3))? } else { 0 };
            self.args = self.args.slice(used..);
            return Ok(Some(Operation { field, action: action(number), overflow: self.overflow }));
        }
        Ok(None)
    }
}

fn overflow(arg: &[u8]) -> Result<Overflow, CommandError> {
    if is(arg, "WRAP") {
        Ok(Overflow::Wrap)
    } else if is(arg, "SAT") {
        Ok(Overflow::Saturate)
    } else if is(arg, "FAIL") {
        Ok(Overflow::Fail)
    } else {
        Err(CommandError::other("ERR Invalid OVERFLOW type specified"))
    }
}

/// What all operations of a command come to.
struct Plan {
    count: usize,
    /// How long the string must be for all that is written; 0 if nothing is.
    bytes: usize,
}

impl Plan {
    fn of(args: Args<'_>, limits: &Limits) -> Result<Self, CommandError> {
        let mut plan = Self { count: 0, bytes: 0 };
        let mut operations = Operations::new(args, limits);
        while let Some(Operation { field, action, .. }) = operations.next()? {
            plan.count += 1;
            if !matches!(action, Action::Get) {
                plan.bytes = plan.bytes.max(field.end());
            }
        }
        Ok(plan)
    }
}

fn get_fields(cx: &mut Cx<'_>, args: Args<'_>, count: usize) -> Result<Done, CommandError> {
    let bytes = string(cx.db.read(cx.keys[0]))?.unwrap_or_default();
    cx.out.array(count);
    let mut operations = Operations::new(args, cx.limits);
    while let Some(Operation { field, .. }) = operations.next()? {
        cx.out.int(field.get(bytes) as i64);
    }
    Ok(Done::Read)
}

fn change_fields(cx: &mut Cx<'_>, args: Args<'_>, plan: &Plan) -> Result<Done, CommandError> {
    let mut entry = cx.db.edit(cx.keys[0]);
    let len = string(entry.value())?.map_or(0, <[u8]>::len);
    // The string grows even if in the end nothing is written, as in Redis.
    let mut changed = len < plan.bytes;
    if changed {
        write_at(&mut entry, plan.bytes - 1, &[0]);
    }
    cx.out.array(plan.count);
    let mut operations = Operations::new(args, cx.limits);
    while let Some(Operation { field, action, overflow }) = operations.next()? {
        let bytes = string(entry.value())?.unwrap_or_default();
        let old = field.get(bytes);
        let wanted = match action {
            Action::Get => {
                cx.out.int(old as i64);
                continue;
            }
            Action::Set(number) if field.signed => i128::from(number),
            // A negative number is a large one here.
            Action::Set(number) => i128::from(number as u64),
            Action::Add(number) => old + i128::from(number),
        };
        let Some(new) = field.fit(wanted, overflow) else {
            cx.out.null();
            continue;
        };
        cx.out.int(if matches!(action, Action::Set(_)) { old } else { new } as i64);
        if new != old {
            let (window, used) = field.with(bytes, new);
            write_at(&mut entry, field.offset / 8, &window[..used]);
            changed = true;
        }
    }
    Ok(if changed { Done::Changed } else { Done::Unchanged })
}

impl Field {
    /// Reads a type such as `i16` or `u8`, and a position.
    fn parse(kind: &[u8], offset: &[u8], limits: &Limits) -> Result<Self, CommandError> {
        let invalid = CommandError::other(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (signed, digits) = match kind {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(invalid),
        };
        let most = if signed { 64 } else { 63 };
        let bits = ringfort_protocol::number::parse_i64(digits)
            .and_then(|bits| u32::try_from(bits).ok())
            .filter(|bits| (1..=most).contains(bits))
            .ok_or(invalid)?;
        Ok(Self { signed, bits, offset: bit_offset(offset, Some(bits), limits)? })
    }

    /// The length that a string must have to hold all of it.
    fn end(self) -> usize {
        (self.offset + self.bits as usize).div_ceil(8)
    }

    /// The bytes from its first one on, as the high bytes of a number; zeros where the string has ended.
    fn window(self, bytes: &[u8]) -> u128 {
        let rest = bytes.get(self.offset / 8..).unwrap_or_default();
        let mut window = [0; 16];
        let len = rest.len().min(9);
        window[..len].copy_from_slice(&rest[..len]);
        u128::from_be_bytes(window)
    }

    /// How far it is from the low end of its window.
    fn shift(self) -> u32 {
        128 - (self.offset % 8) as u32 - self.bits
    }

    fn mask(self) -> u128 {
        (1 << self.bits) - 1
    }

    fn get(self, bytes: &[u8]) -> i128 {
        let raw = (self.window(bytes) >> self.shift()) & self.mask();
        self.of_raw(raw)
    }

    fn of_raw(self, raw: u128) -> i128 {
        let negative = self.signed && raw >> (self.bits - 1) == 1;
        raw as i128 - if negative { 1 << self.bits } else { 0 }
    }

    /// The bytes that it lies in once it holds `value`, and how many they are.
    fn with(self, bytes: &[u8], value: i128) -> ([u8; 16], usize) {
        let others = self.window(bytes) & !(self.mask() << self.shift());
        let window = others | (value as u128 & self.mask()) << self.shift();
        (window.to_be_bytes(), self.end() - self.offset / 8)
    }

    /// What is stored for `value`; `None` if it does not fit and must. (Redis 7.0 overflows itself where a signed field
    /// of less than 64 bits saturates at a number near -2^63, and stores the most instead of the least.)
    fn fit(self, value: i128, overflow: Overflow) -> Option<i128> {
        let (least, most) = match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        };
        if (least..=most).contains(&value) {
            return Some(value);
        }
        match overflow {
            Overflow::Wrap => Some(self.of_raw(value as u128 & self.mask())),
            Overflow::Saturate => Some(value.clamp(least, most)),
            Overflow::Fail => None,
        }
    }
}
