//! A value as the commands that rebuild it.
//!
//! Where a whole value goes from one key to another, or to another node, its effects are made here: RENAME, COPY,
//! the `…STORE` commands, copies of shards. The commands name one key, and are short enough that neither the log nor
//! a lock is held up by one of them. They expect that the key does not exist, and leave it without a deadline; those of
//! the fields of a hash are part of the value. What is over is rebuilt like the rest: to remove it is an effect, too.

use ringfort_protocol::number;

use super::streams;
use crate::store::{
    Value,
    log::put_record,
    objects::{hash::HashRef, list::ListRef, set::SetRef, stream::Stream, zset::ZSetRef},
    packed::Item,
};

/// Elements (fields with their values, members with their scores) in one command.
const CHUNK_ELEMENTS: usize = 64;

/// A command is not made longer when its elements have so many bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Passes the commands that give `key` this value to `emit`, one by one.
pub fn rebuild(key: &[u8], value: Value<'_>, emit: &mut dyn FnMut(&[&[u8]])) {
    if let Some(bytes) = value.as_string() {
        return emit(&[b"SET", key, bytes]);
    }
    if let Some(list) = ListRef::of(value) {
        let mut chunk = Chunk::new(b"RPUSH", key, emit);
        list.iter_from(0).for_each(|item| chunk.add([item]));
        chunk.end();
    } else if let Some(hash) = HashRef::of(value, 0) {
        let mut chunk = Chunk::new(b"HSET", key, emit);
        hash.each(|field, value| chunk.add([field, value]));
        chunk.end();
        field_deadlines(key, hash, emit);
    } else if let Some(set) = SetRef::of(value) {
        let mut chunk = Chunk::new(b"SADD", key, emit);
        set.each(|member| chunk.add([member]));
        chunk.end();
    } else if let Some(zset) = ZSetRef::of(value) {
        let mut chunk = Chunk::new(b"ZADD", key, emit);
        zset.each(0..zset.len(), false, |member, score| {
            chunk.add([Item::Bytes(number::format_double(score).as_bytes()), Item::Bytes(member)]);
        });
        chunk.end();
    } else if let Some(stream) = Stream::of(value) {
        streams::restore::rebuild(key, stream, emit);
    }
}

/// Passes on the commands that give fields their deadlines: one for each deadline, or for a part of its fields.
fn field_deadlines(key: &[u8], hash: HashRef<'_>, emit: &mut dyn FnMut(&[&[u8]])) {
    let mut emit_some = |deadline: u64, fields: &mut Vec<&[u8]>| {
        let (mut at, mut number) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (at, number) = (at.format(deadline).as_bytes(), number.format(fields.len()).as_bytes());
        emit(&[&[b"HPEXPIREAT", key, at, b"FIELDS", number], &fields[..]].concat());
        fields.clear();
    };
    let (mut deadline, mut fields, mut bytes) = (0, Vec::new(), 0);
    hash.each_deadline(|field, at| {
        let is_full = fields.len() == CHUNK_ELEMENTS || bytes >= CHUNK_BYTES;
        if !fields.is_empty() && (is_full || at != deadline) {
            emit_some(deadline, &mut fields);
            bytes = 0;
        }
        (deadline, bytes) = (at, bytes + field.len());
        fields.push(field);
    });
    if !fields.is_empty() {
        emit_some(deadline, &mut fields);
    }
}

/// Appends the records, as a log has them, that give `key` this value and deadline.
pub fn records(db: u8, key: &[u8], value: Value<'_>, deadline: Option<u64>, out: &mut Vec<u8>) {
    effects(key, value, deadline, &mut |effect| put_record(out, db, effect.iter().copied()));
}

/// Passes the commands that give `key` this value and deadline to `emit`.
pub fn effects(key: &[u8], value: Value<'_>, deadline: Option<u64>, emit: &mut dyn FnMut(&[&[u8]])) {
    rebuild(key, value, emit);
    if let Some(deadline) = deadline {
        let mut number = itoa::Buffer::new();
        emit(&[b"PEXPIREAT", key, number.format(deadline).as_bytes()]);
    }
}

/// A command that grows element by element, and is passed on when it is long enough.
pub(super) struct Chunk<'a> {
    name: &'static [u8],
    key: &'a [u8],
    emit: &'a mut dyn FnMut(&[&[u8]]),
    texts: Vec<u8>,
    /// Where each text ends in `texts`.
    ends: Vec<usize>,
    elements: usize,
}

impl<'a> Chunk<'a> {
    /// Begins with the command `name` on `key`.
    pub(super) fn new(name: &'static [u8], key: &'a [u8], emit: &'a mut dyn FnMut(&[&[u8]])) -> Self {
        Self { name, key, emit, texts: Vec::new(), ends: Vec::new(), elements: 0 }
    }

    /// Adds an element, which may be of several parts.
    pub(super) fn add<const N: usize>(&mut self, parts: [Item<'_>; N]) {
        for part in parts {
            part.write(&mut self.texts);
            self.ends.push(self.texts.len());
        }
        self.elements += 1;
        if self.elements == CHUNK_ELEMENTS || self.texts.len() >= CHUNK_BYTES {
            self.flush();
        }
    }

    /// Passes on what is left.
    pub(super) fn end(mut self) {
        self.flush();
    }

    fn flush(&mut self) {
        if self.elements == 0 {
            return;
        }
        let mut command = Vec::with_capacity(2 + self.ends.len());
        command.extend([self.name, self.key]);
        let mut start = 0;
        for &end in &self.ends {
            command.push(&self.texts[start..end]);
            start = end;
        }
        (self.emit)(&command);
        self.texts.clear();
        self.ends.clear();
        self.elements = 0;
    }
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::OwnedArgs;

    use super::*;
    use crate::commands::bench::Bench;

    /// Rebuilds the value of `key` elsewhere, and returns how many commands that took.
    fn move_over(from: &mut Bench, to: &mut Bench, key: &str) -> usize {
        let mut commands = Vec::new();
        from.with(key, |entry| {
            let mut emit = |command: &[&[u8]]| commands.push(OwnedArgs::from_iter(command));
            rebuild(key.as_bytes(), entry.value().unwrap(), &mut emit);
        });
        for command in &commands {
            let reply = to.run_args(command.as_args());
            assert!(!reply.starts_with(b"-"), "{command:?}");
        }
        commands.len()
    }

    #[test]
    fn a_value_of_any_form_is_the_same_elsewhere() {
        let (mut from, mut to) = (Bench::new(), Bench::new());
        let long = "x".repeat(9_000);
        for number in 0..150 {
            from.run(&format!("rpush list {number}"));
            from.run(&format!("hset hash {number} v{number}"));
            from.run(&format!("sadd ints {number}"));
            from.run(&format!("sadd set m{number}"));
            from.run(&format!("rpush long {number}{long}"));
        }
        from.run("rpush short a 1 b");
        from.run("hset small a 1 2 b");
        from.run("sadd few a 1 2");
        from.run("hset dated a 1 b 2 c 3 d 4");
        from.run("hpexpireat dated 1700000000001 fields 2 a b");
        from.run("hpexpireat dated 1700000000002 fields 1 c");
        for number in 0..150 {
            from.run(&format!("hsetex ends pxat 1700000000001 fields 1 {number} v"));
        }
        for (key, encoding, read, commands) in [
            ("list", "listpack", "lrange list 0 -1", 3),
            ("long", "quicklist", "lrange long 0 -1", 19),
            ("short", "listpack", "lrange short 0 -1", 1),
            ("hash", "hashtable", "hgetall hash", 3),
            ("small", "listpack", "hgetall small", 1),
            ("ints", "intset", "smembers ints", 3),
            ("set", "hashtable", "smembers set", 3),
            ("few", "listpack", "smembers few", 1),
            ("dated", "hashtable", "hpexpiretime dated fields 5 a b c d e", 3),
            ("ends", "hashtable", "hpexpiretime ends fields 3 0 63 149", 6),
        ] {
            assert_eq!(move_over(&mut from, &mut to, key), commands, "{key}");
            assert_eq!((from.encoding(key), to.encoding(key)), (encoding, encoding), "{key}");
            assert_eq!(from.run(read), to.run(read), "{key}");
        }
    }
}
