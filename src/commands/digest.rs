//! One number for all data of a shard, by which a primary and its replica are compared.

use xxhash_rust::xxh3::xxh3_64;

use super::rebuild;
use crate::store::{Shard, Value, copy::Position};

/// A hash of all entries: their databases, keys, types, elements and deadlines. Equal data has equal digests, in
/// whatever form and order it is kept; keys whose time is over count like others. O(N) in the size of the data.
pub fn digest(shard: &Shard) -> u64 {
    let start = Position { slot: shard.slots().start, db: 0, hash: 0 };
    let mut sum = 0_u64;
    shard.walk_for_copy(start, usize::MAX, |db, key, value, deadline| {
        let head =
            hash([&[db][..], key, value.kind().name().as_bytes(), &deadline.unwrap_or(0).to_le_bytes()]);
        let (elements, index) = elements(value);
        sum = sum.wrapping_add(xxh3_64(&[head, elements, index].map(u64::to_le_bytes).concat()));
    });
    sum
}

/// A hash of the type and the elements of a value, likewise.
pub fn value(value: Value<'_>) -> u64 {
    let (elements, count) = elements(value);
    let numbers = [elements, count].map(u64::to_le_bytes).concat();
    hash([value.kind().name().as_bytes(), &numbers])
}

/// The sum of the hashes of all elements, and how many there are.
fn elements(value: Value<'_>) -> (u64, u64) {
    let mut elements = 0_u64;
    let mut index = 0_u64;
    rebuild::rebuild(b"", value, &mut |command| {
        // What is true of each of its elements, where these begin, and how many parts each has.
        let (common, first, step, ordered) = match command[0] {
            b"HSET" | b"ZADD" => (None, 2, 2, false),
            b"SADD" => (None, 2, 1, false),
            b"HPEXPIREAT" => (Some(command[2]), 5, 1, false),
            _ => (None, 2, 1, true),
        };
        // When a consumer was last seen is not told whenever it changes.
        let last = if command[0] == b"stream.consumer" { command.len() - 2 } else { command.len() };
        for element in command[first..last].chunks(step) {
            let place = if ordered { index } else { 0 }.to_le_bytes();
            index += 1;
            let of_element = common.iter().chain(element).copied().chain([&place[..]]);
            elements = elements.wrapping_add(hash(of_element));
        }
    });
    (elements, index)
}

/// A hash of several texts, each told from the next.
fn hash<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text);
    }
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::bench::Bench;

    fn digest_of(commands: &[&str]) -> u64 {
        let mut bench = Bench::new();
        commands.iter().for_each(|command| _ = bench.run(command));
        digest(&bench.shard())
    }

    #[test]
    fn equal_data_has_equal_digests_however_it_came_about() {
        let one = digest_of(&["append a 1", "append b 2", "rpush l x y"]);
        let other = digest_of(&["rpush l y", "append b 0", "del b", "append b 2", "append a 1", "lpush l x"]);
        assert_eq!(one, other);
        let small = ["sadd s a b c", "hset h f 1 g 2"];
        let grown: Vec<String> = (0..600).map(|i| format!("sadd s m{i}")).collect();
        let shrunk = grown.iter().map(|command| command.replace("sadd", "srem"));
        let large: Vec<String> = (0..600).map(|i| format!("hset h m{i} v")).collect();
        let small_again = (0..600).map(|i| format!("hdel h m{i}"));
        let other = grown.iter().cloned().chain(shrunk).chain(large).chain(small_again);
        let other: Vec<String> = other.chain(["sadd s c b a", "hset h g 2 f 1"].map(String::from)).collect();
        assert_eq!(digest_of(&small), digest_of(&other.iter().map(String::as_str).collect::<Vec<_>>()));
    }

    #[test]
    fn every_difference_shows() {
        let different = [
            &[][..],
            &["append a 1"],
            &["append a 2"],
            &["append b 1"],
            &["append a 1", "expire a 100"],
            &["append a 1", "expire a 101"],
            &["append a 1", "move a 1"],
            &["rpush a 1"],
            &["rpush a 1 2"],
            &["rpush a 2 1"],
            &["rpush a 12"],
            &["sadd a 1"],
            &["sadd a 1 2"],
            &["hset a 1 2"],
            &["hset a 2 1"],
            &["hset a 1 2", "hpexpireat a 1700000000001 fields 1 1"],
            &["hset a 1 2", "hpexpireat a 1700000000002 fields 1 1"],
            &["hset a 1 2 3 4", "hpexpireat a 1700000000001 fields 1 1"],
            &["hset a 1 2 3 4", "hpexpireat a 1700000000001 fields 1 3"],
            &["hset a 1 2 3 4", "hpexpireat a 1700000000001 fields 2 1 3"],
            &["xadd a 1-1 f v"],
            &["xadd a 1-1 f w"],
            &["xadd a 1-2 f v"],
            &["xadd a 1-1 f v", "xadd a 2-0 f v"],
            &["xadd a 1-1 f v", "xadd a 2-0 f v", "xdel a 2-0"],
            &["xadd a 1-1 f v", "xadd a 2-0 f v", "xtrim a maxlen 1"],
            &["xadd a 1-1 f v", "xsetid a 2-0"],
            &["xadd a 1-1 f v", "xsetid a 1-1 entriesadded 2"],
            &["xadd a 1-1 f v", "xgroup create a g 0"],
            &["xadd a 1-1 f v", "xgroup create a h 0"],
            &["xadd a 1-1 f v", "xgroup create a g 1-1"],
            &["xadd a 1-1 f v", "xgroup create a g 0 entriesread 1"],
            &["xadd a 1-1 f v", "xgroup create a g 0", "xgroup createconsumer a g c"],
            &["xadd a 1-1 f v", "xgroup create a g 0", "xgroup createconsumer a g d"],
            &["xadd a 1-1 f v", "xgroup create a g 0", "xclaim a g c 0 1-1 force"],
            &["xadd a 1-1 f v", "xgroup create a g 0", "xclaim a g c 0 1-1 force retrycount 1"],
            &["xadd a 1-1 f v", "xgroup create a g 0", "xclaim a g c 0 1-1 force idle 1"],
            &["xadd a 1-1 f v", "xgroup create a g 0", "xclaim a g c 0 1-1 force", "xdel a 1-1"],
        ];
        let mut digests: Vec<u64> = different.iter().map(|commands| digest_of(commands)).collect();
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), different.len());
    }
}
