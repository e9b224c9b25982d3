//! SCAN: the keys of a database in the order of (slot, hash), some at a time.
//!
//! The cursor is the point at which to go on, `slot << 32 | hash`, so it is below 2^46 and keeps its meaning while
//! keys come and go, shards move and nodes fail: a key that is there throughout is returned. 0 is the start and the
//! end. The handler here goes to the end of the one shard that is locked; the router makes one scan of the whole
//! cluster of it, by the same [`Scan`].

use ringfort_protocol::{Args, reply};

use crate::{
    commands::{
        Acl, Command, CommandError, Done, Flags, Reply, Run, Spread,
        scan::{self, Options},
    },
    store::{Point, Shard},
};

/// Number of slots: the slot behind the last one.
const SLOTS: u16 = 16384;

pub(super) const SCAN: Command = Command {
    name: "scan",
    summary: "Returns some of the keys, and a cursor by which to get more",
    since: "2.8.0",
    complexity: "O(1) for each key that is visited; O(N) for all",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE,
    spread: Spread::Cursor,
    run: Run::Data(|cx, args| {
        let scan = Scan::parse(args)?;
        let mut found = Found::new(scan.count());
        let mut next = scan.from;
        for shard in cx.db.shards() {
            next = scan.visit(shard, cx.db.number, cx.db.now, next, &mut found);
        }
        found.reply(next, cx.out);
        Ok(Done::Read)
    }),
    ..Command::BASE
};

/// The part of a SCAN that another node does: as SCAN, from a node that puts the parts together. The reply tells in
/// addition how many keys were visited.
pub(crate) static PART: Command = Command { name: "scan.part", ..SCAN };

/// What SCAN is told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scan<'a> {
    /// Where it begins.
    pub(crate) from: Point,
    options: Options<'a>,
}

/// What a scan has found so far.
#[derive(Debug)]
pub(crate) struct Found {
    /// How many more keys it visits.
    pub(crate) left: usize,
    /// How many were visited.
    pub(crate) visited: usize,
    /// The keys, each as an element of the reply.
    pub(crate) bytes: Vec<u8>,
    /// Their number.
    pub(crate) keys: usize,
}

impl<'a> Scan<'a> {
    /// Reads the arguments.
    pub(crate) fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let from = point(args.at(1))?;
        Ok(Self { from, options: Options::parse_for_keys(args.slice(2..))? })
    }

    /// How many keys it visits.
    pub(crate) fn count(&self) -> usize {
        self.options.count
    }

    /// Visits keys of a shard from a point on, until as many were visited as are left. Returns where to go on: within
    /// the shard, or at the first slot behind it.
    pub(crate) fn visit(&self, shard: &Shard, db: u8, now: u64, from: Point, found: &mut Found) -> Point {
        let Found { left, visited, bytes, keys } = found;
        let (count, next) = shard.scan(db, from, *left, now, |key, value| {
            if self.options.wants_key(key, value.kind()) {
                reply::bulk(bytes, key);
                *keys += 1;
            }
        });
        *left = left.saturating_sub(count);
        *visited += count;
        next.unwrap_or(Point { slot: shard.slots().end, hash: 0 })
    }
}

impl Found {
    /// Nothing yet, and so many keys to visit.
    pub(crate) fn new(left: usize) -> Self {
        Self { left, visited: 0, bytes: Vec::new(), keys: 0 }
    }

    /// Writes the reply of a scan that goes on at `next`.
    pub(crate) fn reply(&self, next: Point, out: &mut Reply) {
        out.array(2);
        self.cursor_and_keys(next, out);
    }

    /// The same as the reply to a [`PART`].
    pub(crate) fn reply_part(&self, next: Point, out: &mut Reply) {
        out.array(3);
        self.cursor_and_keys(next, out);
        out.count(self.visited);
    }

    fn cursor_and_keys(&self, next: Point, out: &mut Reply) {
        out.bulk_int(cursor(next).cast_signed());
        out.array(self.keys);
        out.bytes.extend_from_slice(&self.bytes);
    }
}

/// The cursor of a point.
pub(crate) fn cursor(at: Point) -> u64 {
    if at.slot >= SLOTS { 0 } else { u64::from(at.slot) << 32 | u64::from(at.hash) }
}

/// The point of a cursor. One that was never given stands behind the last key.
pub(crate) fn point(arg: &[u8]) -> Result<Point, CommandError> {
    let number = scan::number(arg)?;
    Ok(match u16::try_from(number >> 32) {
        Ok(slot) if slot < SLOTS => Point { slot, hash: number as u32 },
        _ => Point { slot: SLOTS - 1, hash: u32::MAX },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::Bench;

    /// Scans to the end, and returns all keys, sorted, and how many calls it took.
    fn all(bench: &mut Bench, options: &str) -> (Vec<String>, usize) {
        let (mut keys, mut calls, mut cursor) = (Vec::new(), 0, "0".to_owned());
        loop {
            let reply = bench.run(&format!("scan {cursor} {options}"));
            let mut words = reply.split(' ').skip(2).map(str::to_owned);
            cursor = words.next().unwrap();
            keys.extend(words.skip(2).step_by(2));
            calls += 1;
            if cursor == "0" {
                keys.sort();
                return (keys, calls);
            }
            assert!(cursor.parse::<u64>().unwrap() < 1 << 53);
        }
    }

    #[test]
    fn a_scan_returns_every_key_once() {
        let mut bench = Bench::new();
        let mut keys: Vec<String> = (0..95).map(|i| format!("key:{i}")).collect();
        keys.iter().for_each(|key| _ = bench.run(&format!("append {key} v")));
        keys.sort();
        assert_eq!(all(&mut bench, ""), (keys.clone(), 10));
        assert_eq!(all(&mut bench, "count 1"), (keys.clone(), 95));
        assert_eq!(all(&mut bench, "count 1000"), (keys, 1));
    }

    #[test]
    fn filters_apply_to_what_is_returned() {
        let mut bench = Bench::new();
        for key in ["a1", "a2", "b1", "over"] {
            bench.run(&format!("append {key} v"));
        }
        bench.run("rpush a3 v");
        bench.run("pexpire over 5");
        bench.now += 5;
        assert_eq!(all(&mut bench, "match a*").0, ["a1", "a2", "a3"]);
        assert_eq!(all(&mut bench, "match a* type STRING").0, ["a1", "a2"]);
        assert_eq!(all(&mut bench, "type list match *").0, ["a3"]);
        assert_eq!(all(&mut bench, "count 2").0, ["a1", "a2", "a3", "b1"]);
        assert_eq!(bench.run("scan 0 type none"), "*2 $1 0 *0 ");
    }

    #[test]
    fn cursors_are_points_and_back() {
        for at in
            [Point { slot: 0, hash: 0 }, Point { slot: 16383, hash: u32::MAX }, Point { slot: 1, hash: 7 }]
        {
            assert_eq!(point(cursor(at).to_string().as_bytes()), Ok(at));
        }
        assert_eq!(cursor(Point { slot: SLOTS, hash: 0 }), 0);
    }

    #[test]
    fn a_cursor_that_was_never_given_stands_behind_the_last_key() {
        let end = Point { slot: 16383, hash: u32::MAX };
        for text in ["-1", "70368744177664", "18446744073709551615"] {
            assert_eq!(point(text.as_bytes()), Ok(end), "{text}");
        }
        let mut bench = Bench::new();
        bench.run("append a v");
        assert_eq!(bench.run("scan -1"), "*2 $1 0 *0 ");
    }

    #[test]
    fn options_are_checked_in_order() {
        let mut bench = Bench::new();
        for (command, error) in [
            ("scan x foo", "ERR invalid cursor"),
            ("scan 0 foo", "ERR syntax error"),
            ("scan 0 count", "ERR syntax error"),
            ("scan 0 count 0", "ERR syntax error"),
            ("scan 0 count -5", "ERR syntax error"),
            ("scan 0 count x foo", "ERR value is not an integer or out of range"),
            ("scan 0 foo bar count x", "ERR syntax error"),
        ] {
            assert_eq!(bench.run(command), format!("-{error} "), "{command}");
        }
    }
}
