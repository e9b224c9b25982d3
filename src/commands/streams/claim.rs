//! XCLAIM and XAUTOCLAIM: pending entries go to another consumer.

use ringfort_protocol::Args;

use super::{
    WRITE, change_group,
    effects::{self, Delivery, counted},
    ids, no_group, stream_of, write_entry, write_id,
};
use crate::{
    commands::{Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Reply, Run, parse},
    store::{
        Edit,
        objects::stream::{Group, Pending, Stream, StreamId},
    },
};

pub(super) const XCLAIM: Command = Command {
    name: "xclaim",
    summary: "Gives pending entries, named by their ids, to a consumer",
    complexity: "O(log(N)) for each id, where N is the number of entries",
    arity: -6,
    flags: WRITE.flags.and(Flags::FAST),
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(xclaim),
    ..WRITE
};

pub(super) const XAUTOCLAIM: Command = Command {
    name: "xautoclaim",
    summary: "Gives entries that are pending for long to a consumer",
    since: "6.2.0",
    complexity: "O(M*log(N)) with N the number of entries and M the number of pending ones that are looked at",
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::DELETE))],
    run: Run::Data(xautoclaim),
    ..XCLAIM
};

/// To whom entries go, and which.
struct Claim<'a> {
    group: &'a [u8],
    consumer: &'a [u8],
    /// Entries that were delivered less than so many milliseconds ago stay where they are.
    min_idle: i64,
    now: u64,
    /// When the entries are said to be delivered.
    time: u64,
    /// How often they are said to be delivered; `None`: once more than before.
    count: Option<u64>,
    /// Entries become pending that are not.
    force: bool,
    /// Ids are replied alone, and being claimed counts as no delivery.
    just_id: bool,
}

/// What has become of entries.
#[derive(Default)]
struct Outcome {
    claimed: Vec<Delivery>,
    /// Pending entries that the stream has no longer.
    gone: Vec<StreamId>,
}

impl Claim<'_> {
    /// Claims one entry, if it may be, and writes it.
    fn claim(&self, edit: &mut Edit<'_, '_>, out: &mut Reply, id: StreamId, outcome: &mut Outcome) {
        let Some((stream, group)) = view(edit, self.group) else { return };
        let pending = group.pending(id);
        let Some(entry) = stream.get(id) else {
            if pending.is_some() {
                outcome.gone.push(id);
                change_group(edit, self.group, |group| group.acknowledge(id));
            }
            return;
        };
        let Some(delivery) = self.deliver(id, pending) else { return };
        if self.just_id {
            write_id(out, id);
        } else {
            write_entry(out, &entry);
        }
        outcome.claimed.push(delivery);
        change_group(edit, self.group, |group| {
            let key = group.find_or_create(self.consumer, self.now).0;
            let consumer = group.consumer_mut(key);
            (consumer.seen, consumer.active) = (self.now, Some(self.now));
            group.assign(id, key, delivery.time, delivery.count);
        });
    }

    /// The entry as it is delivered now; `None`: it stays where it is.
    fn deliver(&self, id: StreamId, pending: Option<Pending>) -> Option<Delivery> {
        let before = match pending {
            Some(pending) => {
                let idle = self.now.cast_signed().wrapping_sub(pending.time.cast_signed());
                if self.min_idle > 0 && idle < self.min_idle {
                    return None;
                }
                pending.count
            }
            None if self.force => 1,
            None => return None,
        };
        let count = self.count.unwrap_or(if self.just_id { before } else { counted(before) });
        Some(Delivery { id, time: self.time, count })
    }

    fn log(&self, edit: &mut Edit<'_, '_>, outcome: &Outcome, last: StreamId) {
        effects::acknowledged(edit, self.group, &outcome.gone);
        effects::claimed(edit, self.group, self.consumer, &outcome.claimed, last);
        if self.time != self.now && !outcome.claimed.is_empty() {
            effects::log_consumer(edit, self.group, self.consumer);
        }
    }
}

/// What may stand behind the ids of XCLAIM.
#[derive(Default)]
struct Options {
    time: Option<i64>,
    count: Option<u64>,
    force: bool,
    just_id: bool,
    last: StreamId,
}

impl Options {
    fn parse(options: Args<'_>, now: u64) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            let number = |value: &[u8], name: &str| {
                let text = || CommandError::made(format!("ERR Invalid {name} option argument for XCLAIM"));
                parse::integer(value).map_err(|_| text())
            };
            if parse::is(option, "force") {
                parsed.force = true;
            } else if parse::is(option, "justid") {
                parsed.just_id = true;
            } else if let Some(value) = rest.clone().next() {
                if parse::is(option, "idle") {
                    parsed.time = Some(now.cast_signed().wrapping_sub(number(value, "IDLE")?));
                } else if parse::is(option, "time") {
                    parsed.time = Some(number(value, "TIME")?);
                } else if parse::is(option, "retrycount") {
                    parsed.count = u64::try_from(number(value, "RETRYCOUNT")?).ok();
                } else if parse::is(option, "lastid") {
                    parsed.last = ids::strict(value, 0)?;
                } else {
                    return Err(unrecognized(option));
                }
                rest.next();
            } else {
                return Err(unrecognized(option));
            }
        }
        Ok(parsed)
    }
}

fn unrecognized(option: &[u8]) -> CommandError {
    CommandError::quoting("ERR Unrecognized XCLAIM option '", option, "'")
}

fn xclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let clock = cx.db.now;
    let mut edit = cx.db.edit(cx.keys[0]);
    let stream = stream_of(edit.read())?;
    let group = stream.and_then(|stream| stream.group(args.at(2)));
    let group = group.ok_or_else(|| no_group(args.at(1), args.at(2), ""))?;
    let min_idle = parse_min_idle(args, "XCLAIM")?;
    let ids: Vec<_> = args.slice(5..).iter().map_while(|id| ids::strict(id, 0).ok()).collect();
    let options = Options::parse(args.slice(5 + ids.len()..), clock)?;
    // Where effects are applied there is no clock: it is then, when the entries were delivered.
    let told = options.time.and_then(|time| u64::try_from(time).ok());
    let now = if clock == 0 { told.unwrap_or(0) } else { clock };
    let claim = Claim {
        group: args.at(2),
        consumer: args.at(3),
        min_idle,
        now,
        time: told.filter(|time| *time <= now).unwrap_or(now),
        count: options.count,
        force: options.force,
        just_id: options.just_id,
    };
    let (last, read) = (group.last.max(options.last), group.read);
    let has_moved = last > group.last;
    if has_moved {
        change_group(&mut edit, claim.group, |group| group.last = last);
    }
    let mut outcome = Outcome::default();
    cx.out.array_of(|out| {
        ids.iter().for_each(|id| claim.claim(&mut edit, out, *id, &mut outcome));
        outcome.claimed.len()
    });
    claim.log(&mut edit, &outcome, last);
    if has_moved && outcome.claimed.is_empty() {
        effects::read(&mut edit, claim.group, last, read);
    }
    let has_changed = has_moved || !outcome.claimed.is_empty() || !outcome.gone.is_empty();
    Ok(if has_changed { Done::Logged } else { Done::Unchanged })
}

fn xautoclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    /// Entries that are looked at for each that may be claimed.
    const ATTEMPTS: usize = 10;
    let now = cx.db.now;
    let mut edit = cx.db.edit(cx.keys[0]);
    let kind = stream_of(edit.read()).map(|_| ());
    let min_idle = parse_min_idle(args, "XAUTOCLAIM")?;
    let start = ids::range_start(args.at(5))?;
    let (count, just_id) = parse_count(args.slice(6..))?;
    kind?;
    let (_, group) = view(&edit, args.at(2)).ok_or_else(|| no_group(args.at(1), args.at(2), ""))?;
    let claim = Claim {
        group: args.at(2),
        consumer: args.at(3),
        min_idle,
        now,
        time: now,
        count: None,
        force: false,
        just_id,
    };
    let last = group.last;
    let (mut outcome, mut attempts, mut from) =
        (Outcome::default(), count.saturating_mul(ATTEMPTS), Some(start));
    let mut entries = Reply::new(cx.out.resp);
    entries.array_of(|out| {
        while attempts > 0 && outcome.claimed.len() + outcome.gone.len() < count {
            attempts -= 1;
            let Some(id) = next_pending(&edit, claim.group, from) else { break };
            claim.claim(&mut edit, out, id, &mut outcome);
            from = id.next();
        }
        outcome.claimed.len()
    });
    let out = &mut *cx.out;
    out.array(3);
    write_id(out, next_pending(&edit, claim.group, from).unwrap_or(StreamId::MIN));
    out.bytes.extend_from_slice(&entries.bytes);
    out.array(outcome.gone.len());
    outcome.gone.iter().for_each(|id| write_id(out, *id));
    claim.log(&mut edit, &outcome, last);
    let has_changed = !outcome.claimed.is_empty() || !outcome.gone.is_empty();
    Ok(if has_changed { Done::Logged } else { Done::Unchanged })
}

/// Reads how many entries are claimed at most, and whether their ids alone are replied.
fn parse_count(options: Args<'_>) -> Result<(usize, bool), CommandError> {
    /// As many ids as there could be in memory.
    const MOST: usize = i64::MAX as usize / size_of::<StreamId>();
    let (mut count, mut just_id, mut rest) = (100, false, options.iter());
    while let Some(option) = rest.next() {
        if parse::is(option, "justid") {
            just_id = true;
        } else if let Some(number) = rest.next().filter(|_| parse::is(option, "count")) {
            let told = parse::positive(number).ok().filter(|count| (1..=MOST).contains(count));
            count = told.ok_or(CommandError::other("ERR COUNT must be > 0"))?;
        } else {
            return Err(CommandError::Syntax);
        }
    }
    Ok((count, just_id))
}

fn parse_min_idle(args: Args<'_>, command: &str) -> Result<i64, CommandError> {
    let error = || CommandError::made(format!("ERR Invalid min-idle-time argument for {command}"));
    parse::integer(args.at(4)).map_err(|_| error())
}

/// The stream, and a group of it.
fn view<'e>(edit: &'e Edit<'_, '_>, group: &[u8]) -> Option<(&'e Stream, &'e Group)> {
    let stream = edit.value().and_then(Stream::of)?;
    Some((stream, stream.group(group)?))
}

/// The first pending entry from an id on.
fn next_pending(edit: &Edit<'_, '_>, group: &[u8], from: Option<StreamId>) -> Option<StreamId> {
    view(edit, group)?.1.pending_in(from?..).next().map(|(id, _)| id)
}
