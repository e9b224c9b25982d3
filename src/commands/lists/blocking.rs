//! BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH: pops and moves that wait for an element.

use super::{
    end,
    ends::{self, move_element, parse_lmpop, pop_first},
};
use crate::{
    commands::{Command, Done, Flags, Group, KeyFlags, KeySpec, Run, Spread, parse},
    store::{Kind, objects::list::End},
};

const FLAGS: Flags = Flags::WRITE.and(Flags::BLOCKING);

const POPPED: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE);

pub(super) const BLPOP: Command = Command {
    name: "blpop",
    summary: "Removes the first element of the first of several lists that has any, or waits for one",
    group: Group::List,
    since: "2.0.0",
    complexity: "O(N) where N is the number of provided keys.",
    arity: -3,
    flags: FLAGS,
    keys: &[KeySpec::range(1, -2, 1, POPPED)],
    spread: Spread::InTurn,
    run: Run::waiting_for(
        Kind::List,
        |cx, args| {
            parse::last_timeout(args)?;
            pop_first(cx, End::Front, None, Done::Waits)
        },
        parse::last_timeout,
    ),
    ..Command::BASE
};

pub(super) const BRPOP: Command = Command {
    name: "brpop",
    summary: "Removes the last element of the first of several lists that has any, or waits for one",
    run: Run::waiting_for(
        Kind::List,
        |cx, args| {
            parse::last_timeout(args)?;
            pop_first(cx, End::Back, None, Done::Waits)
        },
        parse::last_timeout,
    ),
    ..BLPOP
};

pub(super) const BLMPOP: Command = Command {
    name: "blmpop",
    summary: "Removes elements at an end of the first of several lists that has any, or waits for one",
    group: Group::List,
    since: "7.0.0",
    complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
    arity: -5,
    flags: FLAGS.and(Flags::MOVABLEKEYS),
    keys: &[KeySpec::counted(2, POPPED)],
    spread: Spread::InTurn,
    run: Run::waiting_for(
        Kind::List,
        |cx, args| {
            let (from, most) = parse_lmpop(args, 2)?;
            parse::timeout(args.at(1))?;
            pop_first(cx, from, Some(most), Done::Waits)
        },
        |args| parse::timeout(args.at(1)).map(Some),
    ),
    ..Command::BASE
};

pub(super) const BLMOVE: Command = Command {
    name: "blmove",
    summary: "Moves an element from an end of a list to an end of another one and returns it, or waits for one",
    since: "6.2.0",
    arity: 6,
    flags: ends::MOVE.flags.and(Flags::BLOCKING),
    run: Run::waiting_for(
        Kind::List,
        |cx, args| {
            let (from, to) = (end(args.at(3))?, end(args.at(4))?);
            parse::last_timeout(args)?;
            move_element(cx, from, to, Done::Waits)
        },
        parse::last_timeout,
    ),
    ..ends::MOVE
};

pub(super) const BRPOPLPUSH: Command = Command {
    name: "brpoplpush",
    summary: "Moves the last element of a list to the head of another one and returns it, or waits for one",
    since: "2.2.0",
    arity: 4,
    run: Run::waiting_for(
        Kind::List,
        |cx, args| {
            parse::last_timeout(args)?;
            move_element(cx, End::Back, End::Front, Done::Waits)
        },
        parse::last_timeout,
    ),
    ..BLMOVE
};

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    #[test]
    fn what_is_there_is_popped_as_by_the_commands_that_do_not_wait() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.run("rpush l 1 2 3 4 5 6");
        replica.follow(&mut primary);
        assert_eq!(primary.run("blpop none l 0"), "*2 $1 l $1 1 ");
        assert_eq!(primary.run("brpop none l 0"), "*2 $1 l $1 6 ");
        assert_eq!(primary.run("blmpop 0 2 none l right count 2"), "*2 $1 l *2 $1 5 $1 4 ");
        assert_eq!(primary.run("blmove l m left left 0"), "$1 2 ");
        assert_eq!(primary.run("blmove l l left left 0"), "$1 3 ");
        assert_eq!(primary.run("brpoplpush m m 0"), "$1 2 ");
        assert_eq!(primary.run("rpush l x"), ":2 ");
        assert_eq!(primary.run("blmove l l left right 0"), "$1 3 ");
        assert_eq!(
            primary.effects(),
            "LPOP l 1; RPOP l 1; RPOP l 2; LPOP l; LPUSH m 2; rpush l x; LMOVE l l LEFT RIGHT"
        );
        assert_eq!(primary.run("blpop none 0"), "*-1 ");
        assert_eq!(primary.run("blmove none l left left 0"), "$-1 ");
    }

    #[test]
    fn mistakes_are_found_in_the_order_of_redis() {
        let mut bench = Bench::new();
        bench.run("append s text");
        let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
        for (command, error) in [
            ("blpop s x", "ERR timeout is not a float or out of range"),
            ("brpop s -1", "ERR timeout is negative"),
            ("blpop none s 0", wrong_type),
            ("blmpop x 0 s up", "ERR numkeys should be greater than 0"),
            ("blmpop x 1 s up", "ERR syntax error"),
            ("blmpop x 1 s left", "ERR timeout is not a float or out of range"),
            ("blmpop 0 1 s left", wrong_type),
            ("blmove s s left up x", "ERR syntax error"),
            ("blmove s s left left x", "ERR timeout is not a float or out of range"),
            ("brpoplpush s s 0", wrong_type),
        ] {
            assert_eq!(bench.run(command), format!("-{error} "), "{command}");
        }
    }
}
