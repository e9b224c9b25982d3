//! What XREADGROUP does to one stream: entries are given to a consumer, and pending until it acknowledges them.

use super::{
    change_group,
    effects::{self, Delivery, counted},
    read::write_name,
    write_entry, write_id,
};
use crate::{
    commands::Reply,
    store::{
        Edit,
        objects::stream::{Group, Stream, StreamId},
    },
};

/// Who reads, and how.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub group: &'a [u8],
    pub consumer: &'a [u8],
    /// What is given is not pending.
    pub no_ack: bool,
    /// Entries of each stream.
    pub most: usize,
    pub now: u64,
}

impl Reader<'_> {
    /// Writes what the group was not given yet. Returns whether there is anything.
    pub(super) fn deliver(self, edit: &mut Edit<'_, '_>, out: &mut Reply) -> bool {
        let key = edit.key();
        let Some((stream, group)) = self.find(edit) else { return false };
        let Some(start) = group.last.next().filter(|_| stream.top() > Some(group.last)) else { return false };
        let (mut given, mut last, mut read) = (Vec::new(), group.last, group.read);
        write_name(out, key);
        out.array_of(|out| {
            for entry in stream.range(start, StreamId::MAX).take(self.most) {
                read = match read {
                    Some(read) if !stream.has_gaps_from(entry.id) => Some(read.saturating_add(1)),
                    read if stream.added == 0 => read,
                    _ => stream.distance(entry.id),
                };
                last = entry.id;
                given.push(Delivery { id: entry.id, time: self.now, count: 1 });
                write_entry(out, &entry);
            }
            given.len()
        });
        let pending = if self.no_ack { &[] } else { given.as_slice() };
        let is_new = self.give(edit, pending, !pending.is_empty());
        change_group(edit, self.group, |group| (group.last, group.read) = (last, read));
        if pending.is_empty() && is_new {
            self.log_consumer(edit);
        }
        effects::claimed(edit, self.group, self.consumer, pending, last);
        effects::read(edit, self.group, last, read);
        true
    }

    /// Writes what the consumer was given and has not acknowledged, behind an id.
    pub(super) fn deliver_again(self, edit: &mut Edit<'_, '_>, out: &mut Reply, behind: StreamId) -> bool {
        let key = edit.key();
        let Some((stream, group)) = self.find(edit) else { return false };
        let consumer = group.find(self.consumer).map(|key| group.consumer(key));
        let ids = behind
            .next()
            .into_iter()
            .flat_map(|start| consumer.map(|consumer| consumer.pending().range(start..)));
        let (mut again, last) = (Vec::new(), group.last);
        write_name(out, key);
        out.array_of(|out| {
            let write = |id: &StreamId| match (stream.get(*id), group.pending(*id)) {
                (Some(entry), Some(pending)) => {
                    again.push(Delivery { id: *id, time: self.now, count: counted(pending.count) });
                    write_entry(out, &entry);
                }
                _ => {
                    out.array(2);
                    write_id(out, *id);
                    out.null_array();
                }
            };
            ids.flatten().take(self.most).map(write).count()
        });
        let is_new = self.give(edit, &again, false);
        effects::claimed(edit, self.group, self.consumer, &again, last);
        if is_new || !again.is_empty() {
            self.log_consumer(edit);
        }
        true
    }

    fn find<'e>(&self, edit: &'e Edit<'_, '_>) -> Option<(&'e Stream, &'e Group)> {
        let stream = edit.read().and_then(Stream::of)?;
        Some((stream, stream.group(self.group)?))
    }

    /// Lets entries be pending at the consumer, which is created if it is not there. Returns whether it was.
    fn give(&self, edit: &mut Edit<'_, '_>, entries: &[Delivery], are_new: bool) -> bool {
        let created = change_group(edit, self.group, |group| {
            let (key, created) = group.find_or_create(self.consumer, self.now);
            let consumer = group.consumer_mut(key);
            consumer.seen = self.now;
            if are_new {
                consumer.active = Some(self.now);
            }
            entries.iter().for_each(|entry| group.assign(entry.id, key, entry.time, entry.count));
            created
        });
        created.unwrap_or(false)
    }

    fn log_consumer(&self, edit: &mut Edit<'_, '_>) {
        effects::log_consumer(edit, self.group, self.consumer);
    }
}
