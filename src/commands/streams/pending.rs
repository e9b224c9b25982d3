//! XACK and XPENDING: what consumers were given and have not acknowledged.

use ringfort_protocol::Args;

use super::{READ, SOURCE, WRITE, change_group, ids, no_group, stream_of, write_id};
use crate::{
    commands::{Command, CommandError, Done, Flags, KeyFlags, KeySpec, Reply, Run, parse},
    store::objects::stream::{Consumer, Group, Pending, StreamId},
};

pub(super) const XACK: Command = Command {
    name: "xack",
    summary: "Acknowledges entries that a consumer was given: they are pending no more",
    complexity: "O(log(N)) for each id, where N is the number of pending entries",
    arity: -4,
    flags: WRITE.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let mut edit = cx.db.edit(cx.keys[0]);
        let group = args.at(2);
        let Some(state) = stream_of(edit.read())?.and_then(|stream| stream.group(group)) else {
            cx.out.int(0);
            return Ok(Done::Unchanged);
        };
        let ids = args.slice(3..).iter().map(|id| ids::strict(id, 0)).collect::<Result<Vec<_>, _>>()?;
        if ids.iter().all(|id| state.pending(*id).is_none()) {
            cx.out.int(0);
            return Ok(Done::Unchanged);
        }
        let acknowledge = |group: &mut Group| ids.iter().filter(|id| group.acknowledge(**id)).count();
        cx.out.count(change_group(&mut edit, group, acknowledge).unwrap_or(0));
        Ok(Done::Changed)
    }),
    ..WRITE
};

pub(super) const XPENDING: Command = Command {
    name: "xpending",
    summary: "Tells which entries consumers of a group were given and have not acknowledged",
    complexity: "O(log(N)+M) with N the number of pending entries and M the number of those looked at, or of consumers",
    arity: -3,
    keys: &[KeySpec::at(1, SOURCE)],
    run: Run::Data(|cx, args| {
        let list = List::parse(args)?;
        let stream = stream_of(cx.db.read(cx.keys[0]))?;
        let group = stream.and_then(|stream| stream.group(args.at(2)));
        let group = group.ok_or_else(|| no_group(args.at(1), args.at(2), ""))?;
        match list {
            None => summarize(cx.out, group),
            Some(list) => list.write(cx.out, group, cx.db.now),
        }
        Ok(Done::Read)
    }),
    ..READ
};

/// Writes how many entries are pending, the first and the last of them, and how many each consumer has.
fn summarize(out: &mut Reply, group: &Group) {
    out.array(4);
    out.count(group.pending_len());
    let first = group.pending_in(..).next().map(|(id, _)| id);
    let (Some(first), Some(last)) = (first, group.last_pending()) else {
        out.null();
        out.null();
        return out.null_array();
    };
    write_id(out, first);
    write_id(out, last);
    let busy = group.consumers().filter(|consumer| !consumer.pending().is_empty());
    out.array_of(|out| {
        let write = |consumer: &Consumer| {
            out.array(2);
            out.bulk(consumer.name());
            out.bulk_int(consumer.pending().len() as i64);
        };
        busy.map(write).count()
    });
}

/// Which pending entries are to be told one by one.
struct List<'a> {
    /// Those only that were delivered so many milliseconds ago.
    idle: i64,
    start: StreamId,
    end: StreamId,
    most: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> List<'a> {
    fn parse(args: Args<'a>) -> Result<Option<Self>, CommandError> {
        if args.len() == 3 {
            return Ok(None);
        }
        if !(6..=9).contains(&args.len()) {
            return Err(CommandError::Syntax);
        }
        let (mut idle, mut at) = (0, 3);
        if parse::is(args.at(3), "idle") {
            idle = parse::integer(args.at(4))?;
            if args.len() < 8 {
                return Err(CommandError::Syntax);
            }
            at = 5;
        }
        let most = usize::try_from(parse::integer(args.at(at + 2))?).unwrap_or(0);
        let (start, end) = (ids::range_start(args.at(at))?, ids::range_end(args.at(at + 1))?);
        Ok(Some(Self { idle, start, end, most, consumer: args.get(at + 3) }))
    }

    fn write(&self, out: &mut Reply, group: &Group, now: u64) {
        if self.start > self.end {
            return out.array(0);
        }
        let range = self.start..=self.end;
        match self.consumer.map(|name| group.find(name)) {
            None => {
                self.write_some(out, group, now, group.pending_in(range).map(|(id, pending)| (id, *pending)))
            }
            Some(None) => out.array(0),
            Some(Some(consumer)) => {
                let ids = group.consumer(consumer).pending().range(range);
                self.write_some(out, group, now, ids.filter_map(|id| Some((*id, group.pending(*id)?))));
            }
        }
    }

    fn write_some(
        &self,
        out: &mut Reply,
        group: &Group,
        now: u64,
        pending: impl Iterator<Item = (StreamId, Pending)>,
    ) {
        let idle = |pending: &Pending| now.cast_signed().wrapping_sub(pending.time.cast_signed());
        let told =
            pending.filter(|(_, pending)| self.idle == 0 || idle(pending) >= self.idle).take(self.most);
        out.array_of(|out| {
            let write = |(id, pending): (StreamId, Pending)| {
                out.array(4);
                write_id(out, id);
                out.bulk(group.owner(&pending).name());
                out.int(idle(&pending).max(0));
                out.int(pending.count.cast_signed());
            };
            told.map(write).count()
        });
    }
}
