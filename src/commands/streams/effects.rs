//! What came of reading in a group, as effects: deterministic, and of one key.

use crate::store::{
    Edit,
    objects::stream::{Stream, StreamId},
};

/// Ids in one effect.
const CHUNK: usize = 64;

/// An entry that a consumer was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub id: StreamId,
    pub time: u64,
    pub count: u64,
}

/// How often an entry was delivered, once more: no higher than what a command can say.
pub(super) fn counted(before: u64) -> u64 {
    before.saturating_add(1).min(i64::MAX as u64)
}

/// Logs that entries, which the stream has, are pending at a consumer, and the last id that the group was given.
pub(super) fn claimed(
    edit: &mut Edit<'_, '_>,
    group: &[u8],
    consumer: &[u8],
    entries: &[Delivery],
    last: StreamId,
) {
    let last = last.text();
    for alike in entries.chunk_by(|a, b| (a.time, a.count) == (b.time, b.count)) {
        let (mut time, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (time, count) = (time.format(alike[0].time), count.format(alike[0].count));
        for chunk in alike.chunks(CHUNK) {
            let ids: Vec<_> = chunk.iter().map(|entry| entry.id.text()).collect();
            let mut effect = vec![&b"XCLAIM"[..], edit.key().bytes, group, consumer, b"0"];
            effect.extend(ids.iter().map(|id| id.as_bytes()));
            effect.extend([b"TIME", time.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"FORCE", b"JUSTID"]);
            effect.extend([b"LASTID", last.as_bytes()]);
            edit.log(&effect);
        }
    }
}

/// Logs how far a group has read.
pub(super) fn read(edit: &mut Edit<'_, '_>, group: &[u8], last: StreamId, read: Option<i64>) {
    let (key, mut number) = (edit.key().bytes, itoa::Buffer::new());
    let read = number.format(read.unwrap_or(-1)).as_bytes();
    edit.log(&[b"XGROUP", b"SETID", key, group, last.text().as_bytes(), b"ENTRIESREAD", read]);
}

/// Logs that entries are not pending any more.
pub(super) fn acknowledged(edit: &mut Edit<'_, '_>, group: &[u8], ids: &[StreamId]) {
    for chunk in ids.chunks(CHUNK) {
        let ids: Vec<_> = chunk.iter().map(|id| id.text()).collect();
        let mut effect = vec![&b"XACK"[..], edit.key().bytes, group];
        effect.extend(ids.iter().map(|id| id.as_bytes()));
        edit.log(&effect);
    }
}

/// Logs a consumer with its times.
pub(super) fn log_consumer(edit: &mut Edit<'_, '_>, group: &[u8], name: &[u8]) {
    let key = edit.key().bytes;
    let state = edit.value().and_then(Stream::of).and_then(|stream| stream.group(group));
    let found = state.and_then(|state| Some(state.consumer(state.find(name)?)));
    if let Some((seen, active)) = found.map(|consumer| (consumer.seen, consumer.active)) {
        consumer(key, group, name, (seen, active), &mut |effect| edit.log(effect));
    }
}

/// The effect by which a group has a consumer that was seen and active at these times.
pub(super) fn consumer(
    key: &[u8],
    group: &[u8],
    name: &[u8],
    (seen, active): (u64, Option<u64>),
    emit: &mut dyn FnMut(&[&[u8]]),
) {
    let (mut seen_text, mut active_text) = (itoa::Buffer::new(), itoa::Buffer::new());
    let seen = seen_text.format(seen).as_bytes();
    let active = active.map_or("-1", |time| active_text.format(time)).as_bytes();
    emit(&[super::restore::CONSUMER.name.as_bytes(), key, group, name, seen, active]);
}
