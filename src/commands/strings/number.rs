//! Strings as numbers: counters.

use ringfort_protocol::{Args, LongDouble, number::parse_i64};

use super::string;
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run, parse::integer},
    store::{Edit, Form},
};

pub(super) const INCR: Command = Command {
    name: "incr",
    summary: "Adds one to the integer of a key",
    group: Group::String,
    arity: 2,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, _| add(cx, 1)),
    ..Command::BASE
};

pub(super) const DECR: Command = Command {
    name: "decr",
    summary: "Subtracts one from the integer of a key",
    run: Run::Data(|cx, _| add(cx, -1)),
    ..INCR
};

pub(super) const INCRBY: Command = Command {
    name: "incrby",
    summary: "Adds to the integer of a key",
    arity: 3,
    run: Run::Data(|cx, args| add(cx, integer(args.at(2))?)),
    ..INCR
};

pub(super) const DECRBY: Command = Command {
    name: "decrby",
    summary: "Subtracts from the integer of a key",
    run: Run::Data(|cx, args| {
        let amount = integer(args.at(2))?.checked_neg();
        add(cx, amount.ok_or(CommandError::other("ERR decrement would overflow"))?)
    }),
    ..INCRBY
};

fn add(cx: &mut Cx<'_>, amount: i64) -> Result<Done, CommandError> {
    let mut entry = cx.db.edit(cx.keys[0]);
    let old = match string(entry.value())? {
        None => 0,
        Some(digits) => parse_i64(digits).ok_or(CommandError::NotInteger)?,
    };
    let sum = old.checked_add(amount).ok_or(CommandError::Overflow)?;
    replace(&mut entry, itoa::Buffer::new().format(sum).as_bytes());
    cx.out.int(sum);
    Ok(Done::Changed)
}

/// Replaces the string of a key in its place; the deadline stays.
fn replace(entry: &mut Edit<'_, '_>, digits: &[u8]) {
    match entry.value().and_then(|value| value.as_string()).map(<[u8]>::len) {
        None => entry.put(Form::Str, &[digits], None),
        Some(len) => entry.splice(0..len, &[digits]),
    }
}

pub(super) const INCRBYFLOAT: Command = Command {
    name: "incrbyfloat",
    summary: "Adds to the floating-point number of a key",
    since: "2.6.0",
    arity: 3,
    run: Run::Data(add_float),
    ..INCR
};

/// The effect is the sum itself, so that replicas need not add alike.
fn add_float(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let mut entry = cx.db.edit(cx.keys[0]);
    let read = |text| LongDouble::parse(text).ok_or(CommandError::NotFloat);
    let old = read(string(entry.value())?.unwrap_or(b"0"))?;
    let sum = old.checked_add(read(args.at(2))?);
    let sum = sum.ok_or(CommandError::other("ERR increment would produce NaN or Infinity"))?;
    let mut digits = Vec::new();
    sum.format(&mut digits);
    replace(&mut entry, &digits);
    entry.log(&[b"SET", entry.key().bytes, &digits, b"KEEPTTL"]);
    cx.out.bulk(&digits);
    Ok(Done::Logged)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{WRONG_TYPE, put_list};
    use crate::commands::bench::Bench;

    const NOT_INTEGER: &str = "-ERR value is not an integer or out of range ";
    const OVERFLOW: &str = "-ERR increment or decrement would overflow ";
    const NOT_FLOAT: &str = "-ERR value is not a valid float ";

    #[test]
    fn counters_count_from_zero_in_both_directions() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("incr k"), ":1 ");
        assert_eq!(bench.run("incrby k 98"), ":99 ");
        assert_eq!(bench.run("incr k"), ":100 ");
        assert_eq!(bench.run("decr k"), ":99 ");
        assert_eq!(bench.run("decrby k 100"), ":-1 ");
        assert_eq!(bench.run("get k"), "$2 -1 ");
        assert_eq!(bench.effects(), "incr k; incrby k 98; incr k; decr k; decrby k 100");
    }

    #[test]
    fn counters_end_at_the_bounds_of_64_bits() {
        let mut bench = Bench::new();
        bench.run("set k 9223372036854775807");
        assert_eq!(bench.run("incr k"), OVERFLOW);
        assert_eq!(bench.run("decrby k -1"), OVERFLOW);
        let error = "-ERR decrement would overflow ";
        assert_eq!(bench.run("decrby k -9223372036854775808"), error);
        bench.run("set k -9223372036854775808");
        assert_eq!(bench.run("decr k"), OVERFLOW);
        assert_eq!(bench.run("incrby k 9223372036854775808"), NOT_INTEGER, "the amount is out of range");
        assert_eq!(bench.run("get k"), "$20 -9223372036854775808 ");
    }

    #[test]
    fn only_numbers_are_counted() {
        let mut bench = Bench::new();
        for value in ["''", "a", "1.0", "' 1'", "+1", "01"] {
            bench.run(&format!("set k {value}"));
            assert_eq!(bench.run("incr k"), NOT_INTEGER, "{value}");
        }
        bench.run("set k ''");
        assert_eq!(bench.run("incrbyfloat k 1"), NOT_FLOAT);
        assert_eq!(bench.run("incrbyfloat no x"), NOT_FLOAT);
        let infinite = "-ERR increment would produce NaN or Infinity ";
        assert_eq!(bench.run("incrbyfloat no inf"), infinite);
        put_list(&mut bench, "l");
        for command in ["incr l", "decrby l 1", "incrbyfloat l 1", "incrbyfloat l x"] {
            assert_eq!(bench.run(command), WRONG_TYPE, "{command}");
        }
        assert_eq!(bench.run("incrby l x"), NOT_INTEGER);
        assert_eq!(bench.run("get no"), "$-1 ");
    }

    #[test]
    fn floats_are_logged_as_their_sum() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        assert_eq!(primary.run("incrbyfloat k 3"), "$1 3 ");
        assert_eq!(primary.run("incrbyfloat k 1.005"), "$5 4.005 ");
        assert_eq!(primary.run("incrbyfloat k -5e3"), "$23 -4995.99500000000000011 ");
        assert_eq!(
            primary.effects(),
            "SET k 3 KEEPTTL; SET k 4.005 KEEPTTL; SET k -4995.99500000000000011 KEEPTTL"
        );
        primary.run("incrbyfloat k 0.5");
        replica.follow(&mut primary);
        assert_eq!(replica.run("get k"), "$23 -4995.49500000000000011 ");
    }

    #[test]
    fn a_counter_keeps_its_deadline_here_and_on_replicas() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.run("set i 9 px 10");
        primary.run("set f 9 px 10");
        primary.run("incr i");
        primary.run("incrbyfloat f 1.5");
        replica.follow(&mut primary);
        for bench in [&mut primary, &mut replica] {
            assert_eq!(bench.run("mget i f"), "*2 $2 10 $4 10.5 ");
            bench.now += 10;
            assert_eq!(bench.run("mget i f"), "*2 $-1 $-1 ");
        }
    }
}
