//! Pushing and popping.

use ringfort_protocol::Args;

use super::{edit, end, list_of, node_limit, write_end};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run, Spread, parse},
    store::objects::list::End,
};

const PUSH: Command = Command {
    group: Group::List,
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    ..Command::BASE
};

pub(super) const LPUSH: Command = Command {
    name: "lpush",
    summary: "Adds elements at the head of a list, one after the other; makes the list if there is none",
    run: Run::Data(|cx, args| push(cx, args, End::Front)),
    ..PUSH
};

pub(super) const RPUSH: Command = Command {
    name: "rpush",
    summary: "Adds elements at the tail of a list; makes the list if there is none",
    run: Run::Data(|cx, args| push(cx, args, End::Back)),
    ..PUSH
};

pub(super) const LPUSHX: Command = Command {
    name: "lpushx",
    summary: "Adds elements at the head of a list that exists",
    since: "2.2.0",
    run: Run::Data(|cx, args| push_existing(cx, args, End::Front)),
    ..PUSH
};

pub(super) const RPUSHX: Command = Command {
    name: "rpushx",
    summary: "Adds elements at the tail of a list that exists",
    since: "2.2.0",
    run: Run::Data(|cx, args| push_existing(cx, args, End::Back)),
    ..PUSH
};

fn push(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Done, CommandError> {
    let mut entry = cx.db.edit(cx.keys[0]);
    list_of(entry.value())?;
    let len = edit::push(&mut entry, end, args.slice(2..).iter(), node_limit(cx.limits));
    cx.out.count(len);
    Ok(Done::Changed)
}

fn push_existing(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<Done, CommandError> {
    if list_of(cx.db.edit(cx.key(0)).value())?.is_some() {
        return push(cx, args, end);
    }
    cx.out.count(0);
    Ok(Done::Unchanged)
}

const POP: Command = Command {
    group: Group::List,
    complexity: "O(N) where N is the number of elements returned",
    arity: -2,
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
    ..Command::BASE
};

pub(super) const LPOP: Command = Command {
    name: "lpop",
    summary: "Removes the first elements of a list and returns them",
    run: Run::Data(|cx, args| pop(cx, args, End::Front, "lpop")),
    ..POP
};

pub(super) const RPOP: Command = Command {
    name: "rpop",
    summary: "Removes the last elements of a list and returns them, the last one first",
    run: Run::Data(|cx, args| pop(cx, args, End::Back, "rpop")),
    ..POP
};

fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End, name: &'static str) -> Result<Done, CommandError> {
    let count = match args.len() {
        2 => None,
        3 => Some(parse::positive(args.at(2))?),
        _ => return Err(CommandError::Arity(name.into())),
    };
    let mut entry = cx.db.edit(cx.keys[0]);
    let Some(list) = list_of(entry.value())? else {
        match count {
            None => cx.out.null(),
            Some(_) => cx.out.null_array(),
        }
        return Ok(Done::Unchanged);
    };
    let most = count.unwrap_or(1).min(list.len());
    if count.is_some() {
        cx.out.array(most);
    }
    if most == 0 {
        return Ok(Done::Unchanged);
    }
    write_end(cx.out, list, end, most);
    edit::take(&mut entry, end, most, node_limit(cx.limits));
    Ok(Done::Changed)
}

pub(super) const LMPOP: Command = Command {
    name: "lmpop",
    summary: "Removes elements at an end of the first of several lists that has any, and returns them",
    group: Group::List,
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
    arity: -4,
    flags: Flags::WRITE.and(Flags::MOVABLEKEYS),
    keys: &[KeySpec::counted(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE))],
    spread: Spread::InTurn,
    run: Run::Data(|cx, args| {
        let (from, most) = parse_lmpop(args, 1)?;
        pop_first(cx, from, Some(most), Done::Unchanged)
    }),
    ..Command::BASE
};

/// Pops from the first of the keys that has elements, and names it: up to so many, in an array of their own, or a
/// single one. Answers `nothing` where there are none.
pub(super) fn pop_first(
    cx: &mut Cx<'_>,
    from: End,
    most: Option<usize>,
    nothing: Done,
) -> Result<Done, CommandError> {
    for &key in cx.keys {
        let mut entry = cx.db.edit(key);
        let Some(list) = list_of(entry.value())? else {
            continue;
        };
        let count = most.unwrap_or(1).min(list.len());
        cx.out.array(2);
        cx.out.bulk(key.bytes);
        if most.is_some() {
            cx.out.array(count);
        }
        write_end(cx.out, list, from, count);
        edit::take(&mut entry, from, count, node_limit(cx.limits));
        let name: &[u8] = if from == End::Front { b"LPOP" } else { b"RPOP" };
        entry.log(&[name, key.bytes, itoa::Buffer::new().format(count).as_bytes()]);
        return Ok(Done::Logged);
    }
    cx.out.null_array();
    Ok(nothing)
}

/// Reads `numkeys key [key …] LEFT|RIGHT [COUNT count]` from argument `at` on.
pub(super) fn parse_lmpop(args: Args<'_>, at: usize) -> Result<(End, usize), CommandError> {
    let (_, rest) = parse::numbered_keys(args, at)?;
    let from = end(rest.get(0).ok_or(CommandError::Syntax)?)?;
    Ok((from, parse::count_alone(rest.slice(1..))?))
}

pub(super) const MOVE: Command = Command {
    group: Group::List,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[
        KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
        KeySpec::at(2, KeyFlags::RW.and(KeyFlags::INSERT)),
    ],
    ..Command::BASE
};

pub(super) const LMOVE: Command = Command {
    name: "lmove",
    summary: "Removes an element at an end of a list, adds it at an end of another one, and returns it",
    since: "6.2.0",
    arity: 5,
    run: Run::Data(|cx, args| {
        let (from, to) = (end(args.at(3))?, end(args.at(4))?);
        move_element(cx, from, to, Done::Unchanged)
    }),
    ..MOVE
};

pub(super) const RPOPLPUSH: Command = Command {
    name: "rpoplpush",
    summary: "Removes the last element of a list, adds it at the head of another one, and returns it",
    since: "1.2.0",
    arity: 3,
    run: Run::Data(|cx, _| move_element(cx, End::Back, End::Front, Done::Unchanged)),
    ..MOVE
};

/// Moves an element. Answers `nothing` where there is none.
pub(super) fn move_element(cx: &mut Cx<'_>, from: End, to: End, nothing: Done) -> Result<Done, CommandError> {
    let [source, target] = [cx.key(0), cx.key(1)];
    let limit = node_limit(cx.limits);
    let entry = cx.db.edit(source);
    let Some(list) = list_of(entry.value())? else {
        cx.out.null();
        return Ok(nothing);
    };
    let len = list.len();
    let index = if from == End::Front { 0 } else { len - 1 };
    let element = list.get(index).map(|item| item.to_vec()).unwrap_or_default();
    if source.bytes == target.bytes {
        cx.out.bulk(&element);
        if len == 1 || from == to {
            return Ok(Done::Unchanged);
        }
        // First the push, then the pop, so that the list is never without elements and its deadline stays.
        let mut entry = cx.db.edit(source);
        edit::push(&mut entry, to, std::iter::once(&element[..]), limit);
        edit::take(&mut entry, from, 1, limit);
        entry.log(&[b"LMOVE", source.bytes, source.bytes, word(from), word(to)]);
        return Ok(Done::Logged);
    }
    list_of(cx.db.edit(target).value())?;
    let [pop, push]: [&[u8]; 2] = [
        if from == End::Front { b"LPOP" } else { b"RPOP" },
        if to == End::Front { b"LPUSH" } else { b"RPUSH" },
    ];
    let mut entry = cx.db.edit(source);
    edit::take(&mut entry, from, 1, limit);
    entry.log(&[pop, source.bytes]);
    let mut entry = cx.db.edit(target);
    edit::push(&mut entry, to, std::iter::once(&element[..]), limit);
    entry.log(&[push, target.bytes, &element]);
    cx.out.bulk(&element);
    Ok(Done::Logged)
}

/// What an end is called.
fn word(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LEFT",
        End::Back => b"RIGHT",
    }
}

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    #[test]
    fn pushes_and_pops_keep_the_order() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("lpush l a b c"), ":3 ");
        assert_eq!(bench.run("rpush l d 17"), ":5 ");
        assert_eq!(bench.run("lpush l -5"), ":6 ");
        assert_eq!(bench.run("lrange l 0 -1"), "*6 $2 -5 $1 c $1 b $1 a $1 d $2 17 ");
        assert_eq!(bench.run("lpop l"), "$2 -5 ");
        assert_eq!(bench.run("rpop l 2"), "*2 $2 17 $1 d ");
        assert_eq!(bench.run("lpop l 0"), "*0 ");
        assert_eq!(bench.run("lpop l 99"), "*3 $1 c $1 b $1 a ");
        assert_eq!(bench.run("lpop l"), "$-1 ");
        assert_eq!(bench.run("rpop l 2"), "*-1 ");
        assert_eq!(bench.shard().len(0), 0);
        assert_eq!(bench.run("lpushx l a"), ":0 ");
        assert_eq!(bench.run("rpush l a"), ":1 ");
        assert_eq!(bench.run("rpushx l b"), ":2 ");
        assert_eq!(
            bench.effects(),
            "lpush l a b c; rpush l d 17; lpush l -5; lpop l; rpop l 2; lpop l 99; rpush l a; rpushx l b"
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let mut bench = Bench::new();
        bench.run("append s text");
        bench.run("rpush l a");
        bench.effects();
        for command in [
            "lpush s a",
            "rpush s a",
            "lpushx s a",
            "rpushx s a",
            "lpop s",
            "rpop s 1",
            "lmpop 1 s left",
            "lmove s l left left",
            "lmove l s left left",
            "rpoplpush s s",
        ] {
            assert_eq!(
                bench.run(command),
                "-WRONGTYPE Operation against a key holding the wrong kind of value ",
                "{command}"
            );
        }
        assert_eq!(bench.run("lrange l 0 -1"), "*1 $1 a ");
        assert_eq!(bench.effects(), "");
    }

    #[test]
    fn mistakes_are_named_in_the_words_of_redis() {
        let mut bench = Bench::new();
        bench.run("rpush l a");
        for (command, error) in [
            ("lpop l -1", "ERR value is out of range, must be positive"),
            ("lpop l x", "ERR value is out of range, must be positive"),
            ("rpop l 1 2", "ERR wrong number of arguments for 'rpop' command"),
            ("lmove l l left up", "ERR syntax error"),
            ("lmpop 0 l left", "ERR numkeys should be greater than 0"),
            ("lmpop 9223372036854775807 l left", "ERR syntax error"),
            ("lmpop 2 l left", "ERR syntax error"),
            ("lmpop 1 l left count 0", "ERR count should be greater than 0"),
            ("lmpop 1 l left count 1 count 1", "ERR syntax error"),
            ("lmpop 1 l left count", "ERR syntax error"),
        ] {
            assert_eq!(bench.run(command), format!("-{error} "), "{command}");
        }
    }

    #[test]
    fn a_move_is_one_effect_for_each_key() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.run("rpush a 1 2 3");
        primary.run("rpush b x");
        replica.follow(&mut primary);
        assert_eq!(primary.run("lmove a b right left"), "$1 3 ");
        assert_eq!(primary.run("rpoplpush a b"), "$1 2 ");
        assert_eq!(primary.run("lmove a c left right"), "$1 1 ");
        assert_eq!(primary.run("lmove a c left right"), "$-1 ");
        assert_eq!(primary.run("lmove b b left right"), "$1 2 ");
        assert_eq!(primary.run("lmove c c left right"), "$1 1 ");
        assert_eq!(primary.run("lmpop 2 a b right count 2"), "*2 $1 b *2 $1 2 $1 x ");
        assert_eq!(primary.run("lmpop 1 a left"), "*-1 ");
        replica.follow(&mut primary);
        for bench in [&mut primary, &mut replica] {
            assert_eq!(bench.run("lrange a 0 -1"), "*0 ");
            assert_eq!(bench.run("lrange b 0 -1"), "*1 $1 3 ");
            assert_eq!(bench.run("lrange c 0 -1"), "*1 $1 1 ");
        }
        primary.run("rpush b 4");
        primary.effects();
        primary.run("lmove b c left left");
        primary.run("lmpop 1 c left");
        assert_eq!(primary.effects(), "LPOP b; LPUSH c 3; LPOP c 1");
    }

    #[test]
    fn a_list_grows_large_and_small_again() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.limits.list_max_listpack_size = 8;
        primary.run("rpush l 1 2 3 4 5 6 7 8");
        assert_eq!(primary.encoding("l"), "listpack");
        primary.run("lpush l 0");
        assert_eq!(primary.encoding("l"), "quicklist");
        primary.run("rpush l 9 10");
        primary.run("lpop l 6");
        assert_eq!(primary.run("rpop l"), "$2 10 ");
        assert_eq!(primary.encoding("l"), "quicklist");
        assert_eq!(primary.run("rpop l"), "$1 9 ");
        assert_eq!(primary.encoding("l"), "listpack");
        primary.run("rpush l 9");
        assert_eq!(primary.run("rpush l a b c d e"), ":9 ");
        assert_eq!(primary.run("rpop l 3"), "*3 $1 e $1 d $1 c ");
        assert_eq!(primary.encoding("l"), "quicklist");
        replica.follow(&mut primary);
        for bench in [&mut primary, &mut replica] {
            assert_eq!(bench.run("lrange l 0 -1"), "*6 $1 6 $1 7 $1 8 $1 9 $1 a $1 b ");
        }
        assert_eq!(primary.run("lpop l 99"), "*6 $1 6 $1 7 $1 8 $1 9 $1 a $1 b ");
        assert_eq!(primary.shard().len(0), 0);
        assert_eq!(primary.shard().core.used, 0);
    }

    #[test]
    fn the_deadline_stays_as_long_as_there_are_elements() {
        let mut bench = Bench::new();
        bench.run("rpush l a");
        let deadline = Some(bench.now + 5_000);
        bench.with("l", |entry| entry.set_deadline(deadline));
        bench.run("lmove l l left right");
        bench.run("lpush l b");
        bench.limits.list_max_listpack_size = 2;
        bench.run("rpush l c d");
        bench.run("lpop l 3");
        assert_eq!(bench.encoding("l"), "listpack");
        assert_eq!(bench.with("l", |entry| entry.deadline()), deadline);
        bench.run("lpop l");
        bench.run("lpush l a");
        assert_eq!(bench.with("l", |entry| entry.deadline()), None);
    }
}
