//! Looking at a list, and changing what lies between its ends.

use ringfort_protocol::Args;

use super::{edit, list_of, node_limit};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run, parse},
    store::{
        objects::list::{End, ListRef},
        packed::Item,
    },
};

const READ: Command = Command {
    group: Group::List,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    ..Command::BASE
};

pub(super) const LLEN: Command = Command {
    name: "llen",
    summary: "Returns the length of a list",
    arity: 2,
    flags: Flags::READONLY.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        let len = list_of(cx.db.read(cx.key(0)))?.map_or(0, ListRef::len);
        cx.out.count(len);
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const LINDEX: Command = Command {
    name: "lindex",
    summary: "Returns the element of a list at an index",
    complexity: "O(N) where N is the number of elements to traverse to get to the element at index. This makes asking for the first or the last element of the list O(1).",
    arity: 3,
    run: Run::Data(|cx, args| {
        let Some(list) = list_of(cx.db.read(cx.key(0)))? else {
            cx.out.null();
            return Ok(Done::Read);
        };
        let index = index(parse::integer(args.at(2))?, list.len());
        match index.and_then(|index| list.get(index)) {
            Some(item) => cx.out.item(item),
            None => cx.out.null(),
        }
        Ok(Done::Read)
    }),
    ..READ
};

/// The position that an index tells; negative ones count from the end.
fn index(index: i64, len: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index).filter(|index| *index < len),
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

pub(super) const LRANGE: Command = Command {
    name: "lrange",
    summary: "Returns the elements of a list between two indices",
    complexity: "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
    arity: 4,
    run: Run::Data(|cx, args| {
        let (start, stop) = (parse::integer(args.at(2))?, parse::integer(args.at(3))?);
        let Some(list) = list_of(cx.db.read(cx.key(0)))? else {
            cx.out.array(0);
            return Ok(Done::Read);
        };
        let range = parse::range(start, stop, list.len());
        cx.out.array(range.len());
        let items = list.iter_from(range.start).take(range.len());
        items.for_each(|item| cx.out.item(item));
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const LPOS: Command = Command {
    name: "lpos",
    summary: "Returns the indices at which a list holds an element",
    since: "6.0.6",
    complexity: "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.",
    arity: -3,
    run: Run::Data(|cx, args| {
        let search = Search::parse(args.slice(3..))?;
        let list = list_of(cx.db.read(cx.key(0)))?;
        let wanted = Item::of(args.at(2));
        let most = search.count.unwrap_or(1);
        let found = list.map_or_else(Vec::new, |list| search.run(list, wanted, most));
        if search.count.is_some() {
            cx.out.array(found.len());
            found.iter().for_each(|index| cx.out.count(*index));
        } else if let Some(index) = found.first() {
            cx.out.count(*index);
        } else {
            cx.out.null();
        }
        Ok(Done::Read)
    }),
    ..READ
};

/// The options of LPOS.
struct Search {
    from: End,
    /// Matches to pass over.
    skip: u64,
    /// Matches to return; 0 for all.
    count: Option<usize>,
    /// Elements to look at; 0 for all.
    max_len: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        const ZERO_RANK: &str = "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
                                 or use negative to start from the end of the list";
        let mut search = Self { from: End::Front, skip: 0, count: None, max_len: 0 };
        let mut rest = args.iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or(CommandError::Syntax)?;
            if parse::is(option, "RANK") {
                let rank = parse::within(value, -i64::MAX..=i64::MAX)?;
                let skip = rank.unsigned_abs().checked_sub(1);
                search.skip = skip.ok_or(CommandError::other(ZERO_RANK))?;
                search.from = if rank < 0 { End::Back } else { End::Front };
            } else if parse::is(option, "COUNT") {
                let negative = CommandError::other("ERR COUNT can't be negative");
                search.count = Some(parse::positive(value).map_err(|_| negative)?);
            } else if parse::is(option, "MAXLEN") {
                let negative = CommandError::other("ERR MAXLEN can't be negative");
                search.max_len = parse::positive(value).map_err(|_| negative)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(search)
    }

    fn run(&self, list: ListRef<'_>, wanted: Item<'_>, most: usize) -> Vec<usize> {
        let all = |limit: usize| if limit == 0 { usize::MAX } else { limit };
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let (len, looked_at, most) = (list.len(), all(self.max_len), all(most));
        let is = |item: Item<'_>| item == wanted;
        match self.from {
            End::Front => {
                let items = list.iter_from(0).take(looked_at).enumerate();
                let found = items.filter(|(_, item)| is(*item)).map(|(index, _)| index);
                found.skip(skip).take(most).collect()
            }
            End::Back => {
                let items = list.iter_back_from(len - 1).take(looked_at).enumerate();
                let found = items.filter(|(_, item)| is(*item)).map(|(index, _)| len - 1 - index);
                found.skip(skip).take(most).collect()
            }
        }
    }
}

const CHANGE: Command = Command { group: Group::List, flags: Flags::WRITE, ..Command::BASE };

pub(super) const LSET: Command = Command {
    name: "lset",
    summary: "Replaces the element of a list at an index",
    complexity: "O(N) where N is the length of the list. Setting either the first or the last element of the list is O(1).",
    arity: 4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let mut entry = cx.db.edit(cx.keys[0]);
        let list = list_of(entry.value())?.ok_or(CommandError::NoSuchKey)?;
        let place = index(parse::integer(args.at(2))?, list.len());
        let place = place.ok_or(CommandError::IndexOutOfRange)?;
        edit::set(&mut entry, place, args.at(3), node_limit(cx.limits));
        cx.out.ok();
        Ok(Done::Changed)
    }),
    ..CHANGE
};

pub(super) const LINSERT: Command = Command {
    name: "linsert",
    summary: "Adds an element before or after the first one of a list that is a given text",
    since: "2.2.0",
    complexity: "O(N) where N is the number of elements to traverse before seeing the value pivot. This means that inserting somewhere on the left end on the list (head) can be considered O(1) and inserting somewhere on the right end (tail) is O(N).",
    arity: 5,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::INSERT))],
    run: Run::Data(|cx, args| {
        let behind = match args.at(2) {
            place if parse::is(place, "BEFORE") => 0,
            place if parse::is(place, "AFTER") => 1,
            _ => return Err(CommandError::Syntax),
        };
        let mut entry = cx.db.edit(cx.keys[0]);
        let Some(list) = list_of(entry.value())? else {
            cx.out.int(0);
            return Ok(Done::Unchanged);
        };
        let pivot = Item::of(args.at(3));
        let Some(place) = list.iter_from(0).position(|item| item == pivot) else {
            cx.out.int(-1);
            return Ok(Done::Unchanged);
        };
        let len = edit::insert(&mut entry, place + behind, args.at(4), node_limit(cx.limits));
        cx.out.count(len);
        Ok(Done::Changed)
    }),
    ..CHANGE
};

pub(super) const LREM: Command = Command {
    name: "lrem",
    summary: "Removes elements of a list that are a given text; removes the list if none is left",
    complexity: "O(N+M) where N is the length of the list and M is the number of elements removed.",
    arity: 4,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let count = parse::integer(args.at(2))?;
        let from = if count < 0 { End::Back } else { End::Front };
        let most = match count {
            0 => usize::MAX,
            count => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
        };
        let mut entry = cx.db.edit(cx.keys[0]);
        let removed = match list_of(entry.value())? {
            None => 0,
            Some(_) => edit::remove_equal(&mut entry, args.at(3), most, from, node_limit(cx.limits)),
        };
        cx.out.count(removed);
        Ok(changed_if(removed > 0))
    }),
    ..CHANGE
};

pub(super) const LTRIM: Command = Command {
    name: "ltrim",
    summary: "Removes the elements of a list that are not between two indices; removes the list if none is left",
    complexity: "O(N) where N is the number of elements to be removed by the operation.",
    arity: 4,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let (start, stop) = (parse::integer(args.at(2))?, parse::integer(args.at(3))?);
        let len = list_of(cx.db.edit(cx.key(0)).value())?.map_or(0, ListRef::len);
        let kept = parse::range(start, stop, len);
        trim(cx, kept.end, len - kept.end);
        trim(cx, 0, kept.start);
        cx.out.ok();
        Ok(changed_if(kept.len() < len))
    }),
    ..CHANGE
};

fn trim(cx: &mut Cx<'_>, from: usize, count: usize) {
    if count > 0 {
        let limit = node_limit(cx.limits);
        edit::remove(&mut cx.db.edit(cx.keys[0]), from, count, limit);
    }
}

fn changed_if(changed: bool) -> Done {
    if changed { Done::Changed } else { Done::Unchanged }
}

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    /// The same list in both forms.
    fn benches() -> [Bench; 2] {
        let mut benches = [Bench::new(), Bench::new()];
        benches[1].limits.list_max_listpack_size = 2;
        for (bench, encoding) in benches.iter_mut().zip(["listpack", "quicklist"]) {
            bench.run("rpush l a b 3 a -1000 c a");
            assert_eq!(bench.encoding("l"), encoding);
            bench.effects();
        }
        benches
    }

    const ALL: &str = "*7 $1 a $1 b $1 3 $1 a $5 -1000 $1 c $1 a ";

    #[test]
    fn reads_see_elements_by_index() {
        for mut bench in benches() {
            for (command, reply) in [
                ("llen l", ":7 "),
                ("lrange l 0 -1", ALL),
                ("lrange l 2 4", "*3 $1 3 $1 a $5 -1000 "),
                ("lrange l -2 99", "*2 $1 c $1 a "),
                ("lrange l 5 2", "*0 "),
                ("lindex l 0", "$1 a "),
                ("lindex l -1", "$1 a "),
                ("lindex l 4", "$5 -1000 "),
                ("lindex l -7", "$1 a "),
                ("lindex l 7", "$-1 "),
                ("lindex l -8", "$-1 "),
                ("lindex l -9223372036854775808", "$-1 "),
                ("lpos l a", ":0 "),
                ("lpos l -1000", ":4 "),
                ("lpos l a rank 2", ":3 "),
                ("lpos l a rank -1", ":6 "),
                ("lpos l a rank 4", "$-1 "),
                ("lpos l a count 0", "*3 :0 :3 :6 "),
                ("lpos l a count 2 rank -1", "*2 :6 :3 "),
                ("lpos l a count 0 maxlen 4", "*2 :0 :3 "),
                ("lpos l a rank -1 maxlen 1 count 0", "*1 :6 "),
                ("lpos l zz count 1", "*0 "),
            ] {
                assert_eq!(bench.run(command), reply, "{command}");
            }
            assert_eq!(bench.effects(), "");
        }
    }

    #[test]
    fn changes_inside_are_followed() {
        for mut bench in benches() {
            let mut replica = Bench::new();
            replica.run("rpush l a b 3 a -1000 c a");
            let big = "x".repeat(9_000);
            for (command, reply) in [
                ("lset l 1 B", "+OK "),
                ("lset l -1 77", "+OK "),
                ("linsert l before 3 2", ":8 "),
                ("linsert l after 77 end", ":9 "),
                ("linsert l after zz end", ":-1 "),
                ("lrem l -1 a", ":1 "),
                ("lrem l 0 zz", ":0 "),
                ("lrem l 1 a", ":1 "),
                (&format!("lset l 0 {big}"), "+OK "),
                (&format!("linsert l before 2 {big}"), ":8 "),
                (&format!("lrem l 2 {big}"), ":2 "),
                ("ltrim l 1 -2", "+OK "),
                ("ltrim l 0 -1", "+OK "),
            ] {
                assert_eq!(bench.run(command), reply, "{command:.40}");
            }
            replica.follow(&mut bench);
            for bench in [&mut bench, &mut replica] {
                assert_eq!(bench.run("lrange l 0 -1"), "*4 $1 3 $5 -1000 $1 c $2 77 ");
            }
            bench.run("rpush l 3");
            assert_eq!(bench.run("lrem l 0 3"), ":2 ");
            assert_eq!(bench.run("ltrim l 5 9"), "+OK ");
            replica.follow(&mut bench);
            assert_eq!((bench.shard().len(0), replica.shard().len(0)), (0, 0));
            bench.run("rpush l a a a");
            assert_eq!(bench.run("lrem l -9223372036854775808 a"), ":3 ");
            assert_eq!(bench.shard().len(0), 0);
        }
    }

    #[test]
    fn mistakes_and_absent_keys() {
        let mut bench = Bench::new();
        bench.run("append s text");
        bench.run("rpush l a");
        bench.effects();
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
        let number = "-ERR value is not an integer or out of range ";
        for (command, reply) in [
            ("llen s", wrong),
            ("lindex s x", wrong),
            ("lindex no x", "$-1 "),
            ("lindex l x", number),
            ("lrange s x 0", number),
            ("lrange s 0 0", wrong),
            ("lrange no 0 0", "*0 "),
            ("lpos s a", wrong),
            ("lpos no a", "$-1 "),
            ("lpos no a count 0", "*0 "),
            ("lpos l a rank", "-ERR syntax error "),
            ("lpos l a foo 1", "-ERR syntax error "),
            ("lpos l a count -1", "-ERR COUNT can't be negative "),
            ("lpos l a maxlen x", "-ERR MAXLEN can't be negative "),
            (
                "lpos l a rank -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807 ",
            ),
            (
                "lpos l a rank 0",
                "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative \
                 to start from the end of the list ",
            ),
            ("lset no x a", "-ERR no such key "),
            ("lset s x a", wrong),
            ("lset l x a", number),
            ("lset l 1 a", "-ERR index out of range "),
            ("lset l -2 a", "-ERR index out of range "),
            ("linsert no foo a b", "-ERR syntax error "),
            ("linsert no before a b", ":0 "),
            ("linsert s before a b", wrong),
            ("lrem no x a", number),
            ("lrem no 0 a", ":0 "),
            ("lrem s 0 a", wrong),
            ("ltrim s 0 x", number),
            ("ltrim s 0 1", wrong),
            ("ltrim no 0 1", "+OK "),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
        }
        assert_eq!(bench.effects(), "");
    }
}
