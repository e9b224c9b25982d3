//! A value as the commands that rebuild it.
//!
//! Where a whole value goes from one key to another, or to another node, its effects are made here: RENAME, COPY,
//! the `…STORE` commands, copies of shards. The commands name one key, and are short enough that neither the log nor
//! a lock is held up by one of them. They expect that the key does not exist, and leave it without a deadline.

use crate::store::{Value, log::put_record, objects::list::ListRef, packed::Item};

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
