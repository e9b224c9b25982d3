//! XADD.

use ringfort_protocol::Args;

use super::{
    WRITE, block_limit, change,
    ids::{self, Wanted},
    stream_of,
    trim::{TrimParser, Trimming},
    write_id,
};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Limits, Run, parse},
    store::{
        Object,
        objects::stream::{StreamId, block::MOST_BYTES},
    },
};

pub(super) const XADD: Command = Command {
    name: "xadd",
    summary: "Adds an entry to a stream; creates it if there is none",
    complexity: "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted",
    arity: -5,
    flags: WRITE.flags.and(Flags::DENYOOM).and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(xadd),
    ..WRITE
};

/// What stands between the key and the first field.
struct Options {
    trimming: Option<Trimming>,
    /// No stream is created.
    existing_only: bool,
    /// `None`: `*`, the server chooses.
    id: Option<Wanted>,
    /// Where the fields begin.
    fields: usize,
}

impl Options {
    fn parse(args: Args<'_>, limits: &Limits) -> Result<Self, CommandError> {
        let mut trim = TrimParser::default();
        let (mut existing_only, mut id, mut at) = (false, None, 2);
        while let Some(word) = args.get(at).filter(|word| *word != b"*") {
            if let Some(next) = trim.option(args, at)? {
                at = next;
            } else if parse::is(word, "nomkstream") {
                existing_only = true;
                at += 1;
            } else {
                id = Some(ids::wanted(word)?);
                break;
            }
        }
        let trimming = trim.end(limits)?;
        let fields = at + 1;
        let texts = args.len().saturating_sub(fields);
        if texts == 0 || !texts.is_multiple_of(2) {
            return Err(CommandError::Arity("xadd".into()));
        }
        if id == Some(Wanted::Full(StreamId::MIN)) {
            return Err(CommandError::other("ERR The ID specified in XADD must be greater than 0-0"));
        }
        Ok(Self { trimming, existing_only, id, fields })
    }
}

fn xadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let options = Options::parse(args, cx.limits)?;
    let (now, limit) = (cx.db.now, block_limit(cx.limits));
    let fields = args.slice(options.fields..);
    let mut edit = cx.db.edit(cx.keys[0]);
    let stream = stream_of(edit.value())?;
    if stream.is_none() && options.existing_only {
        cx.out.null();
        return Ok(Done::Unchanged);
    }
    let last = stream.map_or(StreamId::MIN, |stream| stream.last);
    if last == StreamId::MAX {
        let text = "ERR The stream has exhausted the last possible ID, unable to add more items";
        return Err(CommandError::other(text));
    }
    let id = choose(options.id, last, now).filter(|id| *id > last).ok_or(CommandError::other(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    ))?;
    if fields.iter().map(<[u8]>::len).sum::<usize>() > MOST_BYTES {
        return Err(CommandError::other("ERR Elements are too large to be stored"));
    }
    if stream.is_none() {
        edit.put_object(Object::Stream(Box::default()), None);
    }
    let left = change(&mut edit, |stream| {
        stream.add(id, fields.iter(), limit);
        if let Some(trimming) = options.trimming {
            trimming.apply(stream);
        }
        stream.len()
    });
    write_id(cx.out, id);
    let is_exact = options.trimming.is_none_or(|trimming| !trimming.whole_blocks);
    if is_exact && matches!(options.id, Some(Wanted::Full(_))) {
        return Ok(Done::Changed);
    }
    let (id, mut number) = (id.text(), itoa::Buffer::new());
    let mut effect = vec![&b"XADD"[..], edit.key().bytes];
    if options.trimming.is_some() {
        effect.extend([&b"MAXLEN"[..], b"=", number.format(left.unwrap_or_default()).as_bytes()]);
    }
    effect.push(id.as_bytes());
    effect.extend(fields.iter());
    edit.log(&effect);
    Ok(Done::Logged)
}

/// The id of an entry that comes behind `last`; not always one behind it, where the client has its part in it.
fn choose(wanted: Option<Wanted>, last: StreamId, now: u64) -> Option<StreamId> {
    match wanted {
        Some(Wanted::Full(id)) => Some(id),
        Some(Wanted::Time(ms)) if ms == last.ms => Some(StreamId { ms, seq: last.seq.checked_add(1)? }),
        Some(Wanted::Time(ms)) => Some(StreamId { ms, seq: 0 }),
        None if now > last.ms => Some(StreamId { ms: now, seq: 0 }),
        None => last.next(),
    }
}
