//! Members and scores that a command has found and will reply or store.

use ringfort_protocol::{Resp, number};

use super::change;
use crate::{
    commands::{Done, Limits, Reply, rebuild::Chunk},
    store::{Edit, objects::zset::compare, packed::Item},
};

/// Members with their scores; all bytes are in one piece of memory.
#[derive(Default)]
pub(in crate::commands) struct Found {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    len: usize,
    score: f64,
}

impl Entry {
    fn member(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start..self.start + self.len]
    }
}

impl Found {
    pub(in crate::commands) fn push(&mut self, member: &[u8], score: f64) {
        self.entries.push(Entry { start: self.bytes.len(), len: member.len(), score });
        self.bytes.extend_from_slice(member);
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], f64)> + Clone {
        self.entries.iter().map(|entry| (entry.member(&self.bytes), entry.score))
    }

    /// Makes one of the entries of each member, by `aggregate` in the order in which they were found.
    pub(super) fn merge(&mut self, aggregate: impl Fn(f64, f64) -> f64) {
        let Self { bytes, entries } = self;
        entries.sort_by(|a, b| a.member(bytes).cmp(b.member(bytes)));
        entries.dedup_by(|next, kept| {
            let same = next.member(bytes) == kept.member(bytes);
            if same {
                kept.score = aggregate(kept.score, next.score);
            }
            same
        });
    }

    /// Brings the entries into the order of a sorted set.
    pub(in crate::commands) fn sort(&mut self) {
        let Self { bytes, entries } = self;
        entries.sort_unstable_by(|a, b| compare((a.score, a.member(bytes)), (b.score, b.member(bytes))));
    }

    /// Writes all of it.
    pub(super) fn reply(&self, out: &mut Reply, scores: bool) {
        head(out, self.entries.len(), scores);
        self.iter().for_each(|(member, score)| element(out, member, score, scores));
    }

    /// Stores all of it, in the order of a sorted set, at a key, logs that, and replies their number.
    pub(in crate::commands) fn store(&self, edit: &mut Edit<'_, '_>, limits: &Limits) -> Done {
        let was = edit.value().is_some();
        change::store(edit, limits, self.iter());
        let key = edit.key().bytes;
        if was {
            edit.log(&[b"DEL", key]);
        }
        let mut emit = |effect: &[&[u8]]| edit.log(effect);
        let mut chunk = Chunk::new(b"ZADD", key, &mut emit);
        for (member, score) in self.iter() {
            let score = number::format_double(score);
            chunk.add([Item::Bytes(score.as_bytes()), Item::Bytes(member)]);
        }
        chunk.end();
        if was || !self.entries.is_empty() { Done::Logged } else { Done::Unchanged }
    }
}

/// The head of a reply of `len` members: with scores, RESP2 has them flat and RESP3 in pairs.
pub(super) fn head(out: &mut Reply, len: usize, scores: bool) {
    let flat = scores && out.resp == Resp::V2;
    out.array(if flat { len * 2 } else { len });
}

/// A member in such a reply.
pub(super) fn element(out: &mut Reply, member: &[u8], score: f64, scores: bool) {
    if scores && out.resp == Resp::V3 {
        out.array(2);
    }
    out.bulk(member);
    if scores {
        out.double(score);
    }
}
