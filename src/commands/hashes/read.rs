//! Commands that look at a hash.

use std::collections::BTreeMap;

use ringfort_protocol::{Args, Resp};

use super::hash_of;
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Reply, Run, parse,
        random::{Dice, MOST_REPEATS},
        reply::Allowance,
        scan,
    },
    store::{Db, Key, objects::hash::HashRef, packed::Item},
};

const READ: Command = Command {
    group: Group::Hash,
    since: "2.0.0",
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    ..Command::BASE
};

const FAST: Flags = Flags::READONLY.and(Flags::FAST);

pub(super) const HGET: Command = Command {
    name: "hget",
    summary: "Returns the value of a field of a hash",
    arity: 3,
    flags: FAST,
    run: Run::Data(|cx, args| {
        match field(&cx.db, cx.keys[0], args.at(2))? {
            Some(value) => cx.out.item(value),
            None => cx.out.null(),
        }
        Ok(Done::Read)
    }),
    ..READ
};

/// The value of a field of the hash at `key`.
fn field<'s>(db: &'s Db<'_>, key: Key<'_>, field: &[u8]) -> Result<Option<Item<'s>>, CommandError> {
    Ok(hash_of(db.read(key), db.now)?.and_then(|hash| hash.get(field)))
}

pub(super) const HMGET: Command = Command {
    name: "hmget",
    summary: "Returns the values of several fields of a hash",
    complexity: "O(N) where N is the number of fields being requested.",
    arity: -3,
    flags: FAST,
    run: Run::Data(|cx, args| {
        let hash = hash_of(cx.db.read(cx.key(0)), cx.db.now)?;
        let fields = args.slice(2..);
        cx.out.array(fields.len());
        for field in fields.iter() {
            match hash.and_then(|hash| hash.get(field)) {
                Some(value) => cx.out.item(value),
                None => cx.out.null(),
            }
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const HGETALL: Command = Command {
    name: "hgetall",
    summary: "Returns all fields of a hash with their values",
    complexity: "O(N) where N is the size of the hash.",
    arity: 2,
    run: Run::Data(|cx, _| {
        let hash = hash_of(cx.db.read(cx.key(0)), cx.db.now)?;
        cx.out.map(hash.map_or(0, HashRef::len));
        if let Some(hash) = hash {
            hash.each(|field, value| {
                cx.out.item(field);
                cx.out.item(value);
            });
        }
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const HKEYS: Command = Command {
    name: "hkeys",
    summary: "Returns all fields of a hash",
    complexity: "O(N) where N is the size of the hash.",
    arity: 2,
    run: Run::Data(|cx, _| write_each(cx, |field, _| field)),
    ..READ
};

pub(super) const HVALS: Command = Command {
    name: "hvals",
    summary: "Returns all values of a hash",
    complexity: "O(N) where N is the size of the hash.",
    arity: 2,
    run: Run::Data(|cx, _| write_each(cx, |_, value| value)),
    ..READ
};

/// Writes an array with one item for each field.
fn write_each(cx: &mut Cx<'_>, of: for<'i> fn(Item<'i>, Item<'i>) -> Item<'i>) -> Result<Done, CommandError> {
    let hash = hash_of(cx.db.read(cx.key(0)), cx.db.now)?;
    cx.out.array(hash.map_or(0, HashRef::len));
    if let Some(hash) = hash {
        hash.each(|field, value| cx.out.item(of(field, value)));
    }
    Ok(Done::Read)
}

pub(super) const HLEN: Command = Command {
    name: "hlen",
    summary: "Returns the number of fields of a hash",
    arity: 2,
    flags: FAST,
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, _| {
        let len = hash_of(cx.db.read(cx.key(0)), cx.db.now)?.map_or(0, HashRef::len);
        cx.out.count(len);
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const HEXISTS: Command = Command {
    name: "hexists",
    summary: "Tells whether a hash has a field",
    arity: 3,
    flags: FAST,
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, args| {
        let found = field(&cx.db, cx.keys[0], args.at(2))?.is_some();
        cx.out.flag(found);
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const HSTRLEN: Command = Command {
    name: "hstrlen",
    summary: "Returns the length of the value of a field of a hash",
    since: "3.2.0",
    arity: 3,
    flags: FAST,
    keys: &[KeySpec::at(1, KeyFlags::RO)],
    run: Run::Data(|cx, args| {
        let len = field(&cx.db, cx.keys[0], args.at(2))?.map_or(0, |value| value.text_len());
        cx.out.count(len);
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const HRANDFIELD: Command = Command {
    name: "hrandfield",
    summary: "Returns fields of a hash chosen at random, with their values if asked",
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned",
    arity: -2,
    run: Run::Data(|cx, args| {
        let draw = Draw::parse(args.slice(2..))?;
        let mut dice = Dice::new(cx.random);
        let hash = hash_of(cx.db.read(cx.key(0)), cx.db.now)?;
        match (draw, hash) {
            (None, None) => cx.out.null(),
            (None, Some(hash)) => match hash.urn(1).draw(|| dice.roll()) {
                Some((field, _)) => cx.out.item(field),
                None => cx.out.null(),
            },
            (Some(_), None) => cx.out.array(0),
            (Some(draw), Some(hash)) => draw.write(cx.out, hash, &mut dice, Allowance::new(cx.limits))?,
        }
        Ok(Done::Read)
    }),
    ..READ
};

/// How many fields HRANDFIELD returns, and how.
struct Draw {
    count: usize,
    /// Whether a field may be returned more than once.
    repeats: bool,
    values: bool,
}

impl Draw {
    /// Reads `[count [WITHVALUES]]`.
    fn parse(args: Args<'_>) -> Result<Option<Self>, CommandError> {
        let Some(count) = args.get(0) else {
            return Ok(None);
        };
        let count = parse::within(count, -i64::MAX..=i64::MAX)?;
        let values = match args.get(1) {
            None => false,
            Some(option) if args.len() == 2 && parse::is(option, "WITHVALUES") => true,
            Some(_) => return Err(CommandError::Syntax),
        };
        let size = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        if values && size > (i64::MAX / 2) as usize {
            return Err(TOO_MANY);
        }
        Ok(Some(Self { count: size, repeats: count < 0, values }))
    }

    fn write(
        &self,
        out: &mut Reply,
        hash: HashRef<'_>,
        dice: &mut Dice,
        mut allowance: Allowance,
    ) -> Result<(), CommandError> {
        if self.repeats {
            if self.count > MOST_REPEATS {
                return Err(TOO_MANY);
            }
            self.head(out, self.count);
            let urn = hash.urn(self.count);
            for _ in 0..self.count {
                if let Some((field, value)) = urn.draw(|| dice.roll()) {
                    allowance.take(field.text_len())?;
                    if self.values {
                        allowance.take(value.text_len())?;
                    }
                    self.one(out, field, value);
                }
            }
        } else if self.count < hash.len() / 3 {
            // Few of many are drawn one by one; what was drawn before is drawn again.
            let (mut chosen, urn) = (BTreeMap::new(), hash.urn(self.count));
            while chosen.len() < self.count {
                if let Some((field, value)) = urn.draw(|| dice.roll()) {
                    chosen.insert(field.to_vec(), value);
                }
            }
            self.head(out, self.count);
            for (field, value) in &chosen {
                self.one(out, Item::Bytes(field), *value);
            }
        } else {
            let chosen = dice.choose(self.count.min(hash.len()), hash.len());
            self.head(out, chosen.len());
            let mut index = 0;
            hash.each(|field, value| {
                if chosen.contains(&index) {
                    self.one(out, field, value);
                }
                index += 1;
            });
        }
        Ok(())
    }

    fn head(&self, out: &mut Reply, count: usize) {
        let flat = self.values && out.resp == Resp::V2;
        out.array(if flat { count * 2 } else { count });
    }

    fn one(&self, out: &mut Reply, field: Item<'_>, value: Item<'_>) {
        if self.values && out.resp == Resp::V3 {
            out.array(2);
        }
        out.item(field);
        if self.values {
            out.item(value);
        }
    }
}

const TOO_MANY: CommandError = CommandError::other("ERR value is out of range");

pub(super) const HSCAN: Command = Command {
    name: "hscan",
    summary: "Iterates over the fields of a hash and their values",
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to \
                 return back to 0. N is the number of elements inside the collection..",
    arity: -3,
    run: Run::Data(|cx, args| {
        let cursor = scan::cursor(args.at(2))?;
        let Some(hash) = hash_of(cx.db.read(cx.key(0)), cx.db.now)? else {
            scan::reply(cx.out, None, &[]);
            return Ok(Done::Read);
        };
        let options = scan::Options::parse(args.slice(3..))?;
        let mut found: Vec<Item<'_>> = Vec::new();
        let visit = |field, value| {
            if options.wants(field) {
                found.extend([field, value]);
            }
        };
        let next = match (hash, cursor) {
            (HashRef::Large(..), None) => None,
            (_, from) => hash.scan(from.unwrap_or_default(), options.count, visit),
        };
        scan::reply(cx.out, next, &found);
        Ok(Done::Read)
    }),
    ..READ
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::commands::bench::Bench;

    /// The same hash in both forms.
    fn benches() -> [Bench; 2] {
        let mut benches = [Bench::new(), Bench::new()];
        benches[1].limits.hash_max_listpack_entries = 1;
        for (bench, encoding) in benches.iter_mut().zip(["listpack", "hashtable"]) {
            bench.run("hset h a 1 b text 77 -5 d ''");
            assert_eq!(bench.encoding("h"), encoding);
            bench.effects();
        }
        benches
    }

    /// The strings of a reply, in order of their text.
    fn sorted(reply: &str) -> Vec<&str> {
        let mut words: Vec<_> =
            reply.split(' ').filter(|word| !word.is_empty() && !word.starts_with(['$', '*', '%'])).collect();
        words.sort_unstable();
        words
    }

    #[test]
    fn reads_see_fields_and_values() {
        for mut bench in benches() {
            for (command, reply) in [
                ("hget h a", "$1 1 "),
                ("hget h 77", "$2 -5 "),
                ("hget h d", "$0  "),
                ("hget h z", "$-1 "),
                ("hmget h b z 77", "*3 $4 text $-1 $2 -5 "),
                ("hlen h", ":4 "),
                ("hexists h b", ":1 "),
                ("hexists h 1", ":0 "),
                ("hstrlen h b", ":4 "),
                ("hstrlen h 77", ":2 "),
                ("hstrlen h z", ":0 "),
            ] {
                assert_eq!(bench.run(command), reply, "{command}");
            }
            assert_eq!(sorted(&bench.run("hgetall h")), ["-5", "1", "77", "a", "b", "d", "text"]);
            assert_eq!(sorted(&bench.run("hkeys h")), ["77", "a", "b", "d"]);
            assert_eq!(sorted(&bench.run("hvals h")), ["-5", "1", "text"]);
            bench.resp = Resp::V3;
            assert!(bench.run("hgetall h").starts_with("%4 "));
            assert_eq!(bench.run("hgetall no"), "%0 ");
            assert_eq!(bench.effects(), "");
        }
    }

    #[test]
    fn random_fields_are_as_many_as_asked() {
        for mut bench in benches() {
            let seen: BTreeSet<String> = (0..100).map(|_| bench.run("hrandfield h")).collect();
            assert_eq!(seen.len(), 4);
            assert_eq!(sorted(&bench.run("hrandfield h 9")), ["77", "a", "b", "d"]);
            assert!(bench.run("hrandfield h -9").starts_with("*9 "));
            assert!(bench.run("hrandfield h -9 withvalues").starts_with("*18 "));
            assert_eq!(bench.run("hrandfield h 0"), "*0 ");
            for _ in 0..20 {
                let two = bench.run("hrandfield h 2");
                let two = sorted(&two);
                assert!(two.len() == 2 && two[0] != two[1], "{two:?}");
            }
            assert!(bench.run("hrandfield h 1 withvalues").starts_with("*2 "));
            bench.resp = Resp::V3;
            assert!(bench.run("hrandfield h 3 withvalues").starts_with("*3 *2 "));
        }
        let mut bench = Bench::new();
        bench.limits.proto_max_bulk_len = 1_000;
        bench.run(&format!("hset h f {}", "v".repeat(80)));
        // 17 bytes and 96 for each, with what stands around them.
        assert!(bench.run("hrandfield h -8 withvalues").starts_with("*16 "));
        assert!(bench.run("hrandfield h -9").starts_with("*9 "));
        assert_eq!(
            bench.run("hrandfield h -9 withvalues"),
            "-ERR the result would have more bytes than proto-max-bulk-len; ask for less at a time "
        );
        let mut bench = Bench::new();
        for number in 0..500 {
            bench.run(&format!("hset h f{number} {number}"));
        }
        let reply = bench.run("hrandfield h 100 withvalues");
        let words: BTreeSet<_> = sorted(&reply).into_iter().collect();
        assert_eq!(words.iter().filter(|word| word.starts_with('f')).count(), 100);
        assert!(words.iter().all(|word| words.contains(word.trim_start_matches('f'))));
    }

    #[test]
    fn a_scan_sees_all_that_is_there_while_the_hash_grows() {
        let mut bench = Bench::new();
        bench.run("hset h a 1 b 2");
        assert_eq!(bench.run("hscan h 0 count 1"), "*2 $1 0 *4 $1 a $1 1 $1 b $1 2 ");
        assert_eq!(bench.run("hscan h 0 match a*"), "*2 $1 0 *2 $1 a $1 1 ");
        for number in 0..300 {
            bench.run(&format!("hset h f{number} {number}"));
        }
        let (mut cursor, mut seen, mut added) = ("0".to_owned(), BTreeSet::new(), 0);
        loop {
            let reply = bench.run(&format!("hscan h {cursor} match f* count 20"));
            let mut words = reply.split(' ').filter(|word| !word.starts_with(['$', '*']));
            cursor = words.next().unwrap().to_owned();
            seen.extend(words.filter(|word| word.starts_with('f')).map(str::to_owned));
            if cursor == "0" {
                break;
            }
            for _ in 0..50 {
                bench.run(&format!("hset h g{added} 1"));
                added += 1;
            }
        }
        assert_eq!(seen.len(), 300);
        assert!(added > 500);
        assert_eq!(bench.run("hscan h 99999999999"), "*2 $1 0 *0 ");
    }

    #[test]
    fn mistakes_and_absent_keys() {
        let mut bench = Bench::new();
        bench.run("append s text");
        bench.run("hset h a 1");
        bench.effects();
        let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value ";
        let number = "-ERR value is not an integer or out of range ";
        let range = "-ERR value is out of range ";
        for (command, reply) in [
            ("hget no a", "$-1 "),
            ("hmget no a b", "*2 $-1 $-1 "),
            ("hgetall no", "*0 "),
            ("hkeys no", "*0 "),
            ("hvals no", "*0 "),
            ("hlen no", ":0 "),
            ("hexists no a", ":0 "),
            ("hstrlen no a", ":0 "),
            ("hrandfield no", "$-1 "),
            ("hrandfield no 3", "*0 "),
            ("hrandfield no 3 withvalues", "*0 "),
            ("hrandfield no x", number),
            ("hrandfield s 1 foo", "-ERR syntax error "),
            ("hrandfield s 1 withvalues foo", "-ERR syntax error "),
            ("hrandfield no -9223372036854775807 withvalues", range),
            ("hrandfield h -9223372036854775807", range),
            (
                "hrandfield no -9223372036854775808",
                "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807 ",
            ),
            ("hscan no x", "-ERR invalid cursor "),
            ("hscan no 0 foo", "*2 $1 0 *0 "),
            ("hscan h 0 foo", "-ERR syntax error "),
            ("hscan h 0 count 0", "-ERR syntax error "),
            ("hscan h 0 count x", number),
            ("hscan h 0 match", "-ERR syntax error "),
            ("hget s a", wrong),
            ("hmget s a", wrong),
            ("hgetall s", wrong),
            ("hkeys s", wrong),
            ("hvals s", wrong),
            ("hlen s", wrong),
            ("hexists s a", wrong),
            ("hstrlen s a", wrong),
            ("hrandfield s", wrong),
            ("hrandfield s 2", wrong),
            ("hscan s 0 foo", wrong),
        ] {
            assert_eq!(bench.run(command), reply, "{command}");
        }
        assert_eq!(bench.effects(), "");
    }
}
