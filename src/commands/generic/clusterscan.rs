//! CLUSTERSCAN: SCAN in the form of Valkey, for clients that send each call to the owner of the next slot.
//!
//! A cursor is `fingerprint-{tag}-place`. The tag has the slot that comes next, so a cursor is routed as a key is: by
//! cluster-aware clients, by MOVED on the cluster port, by forwarding on the client port. The place is the hash at
//! which to go on within the slot. The fingerprint tells cursors of another cluster, whose order is another: these
//! begin the slot anew. A call goes on to the end of one shard; at the beginning of a shard the fingerprint is 0.

use std::sync::OnceLock;

use ringfort_protocol::{Args, SLOTS, reply, slot};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{
    commands::{
        Acl, Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Run, Spread, scan::Options,
    },
    store::{Point, Value},
};

pub(super) const CLUSTERSCAN: Command = Command {
    name: "clusterscan",
    summary: "Returns some of the keys of the cluster, and a cursor that tells who has more",
    group: Group::Cluster,
    since: "9.1.0",
    complexity: "O(1) for each key that is visited; O(N) for all",
    arity: -2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::at(1, KeyFlags::NOT_KEY)],
    spread: Spread::Cursor,
    run: Run::Data(cluster_scan),
    ..Command::BASE
};

fn cluster_scan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let options = Options::parse_for_slots(args.slice(2..))?;
    let fingerprint = fingerprint(cx.limits.hash_seed);
    if args.at(1) == b"0" {
        let first = Point { slot: options.slot.unwrap_or(0), hash: 0 };
        cx.out.array(2);
        cx.out.bulk(&cursor(first, "0"));
        cx.out.array(0);
        return Ok(Done::Read);
    }
    let from = Point { slot: cx.key(0).slot, hash: place(args.at(1), &fingerprint)? };
    if options.slot.is_some_and(|slot| slot != from.slot) {
        return Err(CommandError::other("ERR the cursor is in another slot than the one that SLOT names"));
    }
    let (mut bytes, mut keys, mut next) = (Vec::new(), 0_usize, None);
    let mut end = from.slot + 1;
    for shard in cx.db.shards() {
        end = shard.slots().end;
        let visit = |key: &[u8], value: Value<'_>| {
            if options.wants_key(key, value.kind()) {
                reply::bulk(&mut bytes, key);
                keys += 1;
            }
        };
        (_, next) = match options.slot {
            Some(_) => shard.scan_slot(cx.db.number, from, options.count, cx.db.now, visit),
            None => shard.scan(cx.db.number, from, options.count, cx.db.now, visit),
        };
    }
    let next = match next {
        Some(next) => cursor(next, &fingerprint),
        None if options.slot.is_none() && end < SLOTS => cursor(Point { slot: end, hash: 0 }, "0"),
        None => b"0".to_vec(),
    };
    cx.out.array(2);
    cx.out.bulk(&next);
    cx.out.array(keys);
    cx.out.bytes.extend_from_slice(&bytes);
    Ok(Done::Read)
}

/// What the cursors of this cluster have in common: from the seed of its hashes, which it does not tell.
fn fingerprint(seed: u64) -> String {
    format!("{:08x}", xxh3_64_with_seed(b"clusterscan", seed) >> 32)
}

fn cursor(at: Point, fingerprint: &str) -> Vec<u8> {
    let tag = &tags()[usize::from(at.slot)];
    [fingerprint.as_bytes(), b"-{", tag, format!("}}-{}", at.hash).as_bytes()].concat()
}

/// Where in its slot a cursor goes on: at the beginning, if it was given by another cluster.
fn place(cursor: &[u8], fingerprint: &str) -> Result<u32, CommandError> {
    let read = || {
        let (given, rest) = std::str::from_utf8(cursor).ok()?.split_once("-{")?;
        let (tag, place) = rest.split_once("}-")?;
        let place: u32 = place.parse().ok()?;
        let is_known = given == "0" || given == fingerprint;
        (!tag.is_empty() && !given.contains('{')).then_some(if is_known { place } else { 0 })
    };
    read().ok_or(CommandError::other("ERR invalid cursor"))
}

/// A hash tag for each slot: the shortest one of digits and letters, and of these the first.
fn tags() -> &'static [Vec<u8>] {
    const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    static TAGS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    TAGS.get_or_init(|| {
        let mut tags = vec![Vec::new(); usize::from(SLOTS)];
        let mut shorter = vec![Vec::new()];
        while tags.iter().any(Vec::is_empty) {
            let longer = shorter.iter().flat_map(|head: &Vec<u8>| {
                LETTERS.iter().map(move |letter| [head.as_slice(), &[*letter]].concat())
            });
            shorter = longer.collect();
            for tag in &shorter {
                let place = &mut tags[usize::from(slot(tag))];
                if place.is_empty() {
                    place.clone_from(tag);
                }
            }
        }
        tags
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::Bench;

    /// Calls until the end, and returns all keys, sorted.
    fn all(bench: &mut Bench, options: &str) -> Vec<String> {
        let (mut keys, mut cursor) = (Vec::new(), "0".to_owned());
        loop {
            let reply = bench.run(&format!("clusterscan {cursor} {options}"));
            let mut words = reply.split(' ').skip(2).map(str::to_owned);
            cursor = words.next().unwrap();
            keys.extend(words.skip(2).step_by(2));
            if cursor == "0" {
                keys.sort();
                return keys;
            }
        }
    }

    #[test]
    fn every_slot_has_a_tag_of_its_own() {
        let texts: Vec<&str> = tags()[..4].iter().map(|tag| std::str::from_utf8(tag).unwrap()).collect();
        assert_eq!(texts, ["06S", "Qi", "5L5", "4Iu"]);
        assert!((0..SLOTS).all(|number| slot(&tags()[usize::from(number)]) == number));
    }

    #[test]
    fn a_scan_returns_every_key_once() {
        let mut bench = Bench::new();
        let mut keys: Vec<String> = (0..95).map(|i| format!("key:{i}")).collect();
        keys.iter().for_each(|key| _ = bench.run(&format!("append {key} v")));
        bench.run("rpush list v");
        assert_eq!(all(&mut bench, "type list"), ["list"]);
        assert_eq!(all(&mut bench, "match key:9*").len(), 6);
        bench.run("del list");
        keys.sort();
        assert_eq!(all(&mut bench, ""), keys);
        assert_eq!(all(&mut bench, "count 1"), keys);
    }

    #[test]
    fn a_scan_of_one_slot_ends_with_it() {
        let mut bench = Bench::new();
        for key in ["{a}1", "{a}2", "{a}3", "b", "c"] {
            bench.run(&format!("append {key} v"));
        }
        // The shortest tag of the slot is the letter itself.
        assert_eq!(bench.run("clusterscan 0 slot 15495"), "*2 $7 0-{a}-0 *0 ");
        for options in ["slot 15495", "slot 15495 count 1", "count 100 slot 15495"] {
            assert_eq!(all(&mut bench, options), ["{a}1", "{a}2", "{a}3"], "{options}");
        }
        let empty = all(&mut bench, "slot 7");
        assert!(empty.is_empty(), "{empty:?}");
    }

    #[test]
    fn a_cursor_of_another_cluster_begins_its_slot_anew() {
        let own = fingerprint(7);
        assert_eq!(place(format!("{own}-{{06S}}-5").as_bytes(), &own), Ok(5));
        assert_eq!(place(b"0-{06S}-5", &own), Ok(5));
        assert_eq!(place(b"other-{06S}-5", &own), Ok(0));
        assert_ne!(own, fingerprint(8));
    }

    #[test]
    fn mistakes_are_refused() {
        let mut bench = Bench::new();
        for (command, error) in [
            ("x", "invalid cursor"),
            ("1", "invalid cursor"),
            ("0-{}-0", "invalid cursor"),
            ("0-{06S}-x", "invalid cursor"),
            ("0-{06S}-4294967296", "invalid cursor"),
            ("0-{06S}", "invalid cursor"),
            ("0 slot 16384", "Invalid or out of range slot"),
            ("0 slot x", "Invalid or out of range slot"),
            ("0 slot 1 slot 1", "syntax error"),
            ("0 slot", "syntax error"),
            ("0 count 0", "syntax error"),
            ("0-{06S}-0 slot 1", "the cursor is in another slot than the one that SLOT names"),
        ] {
            assert_eq!(bench.run(&format!("clusterscan {command}")), format!("-ERR {error} "), "{command}");
        }
        assert_eq!(bench.run("scan 0 slot 1"), "-ERR syntax error ");
    }
}
