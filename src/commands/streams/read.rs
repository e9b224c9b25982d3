//! XREAD and XREADGROUP: what several streams have behind an id, or behind what a group was given.
//!
//! With `BLOCK` they wait where there is nothing. What then comes to one of the streams is answered as soon as it is
//! there, with that stream alone. A group may go meanwhile, so who reads in one hears of every change of its streams.

use ringfort_protocol::{Args, OwnedArgs, Resp};

use super::{READ, SOURCE, WRITE, deliver::Reader, ids, no_group, stream_of, write_entries};
use crate::{
    commands::{
        Blocking, Command, CommandError, Cx, Done, Flags, Gather, KeySpec, Reply, Run, Spread,
        keys::OPTIONS_OF_STREAMS, parse,
    },
    store::{
        Db, Key, Kind,
        objects::stream::{Stream, StreamId},
    },
};

pub(super) const XREAD: Command = Command {
    name: "xread",
    summary: "Returns what streams have behind an id each",
    complexity: "O(log(N)+M) for each stream, with N the number of its entries and M the number of those returned",
    arity: -4,
    flags: READ.flags.and(Flags::BLOCKING),
    keys: &[KeySpec::streams(1, SOURCE)],
    spread: Spread::Keys(Gather::Streams),
    run: Run::Blocking(Blocking {
        handler: xread,
        kind: Some(Kind::Stream),
        timeout: |args| Request::parse(args, false).map(|request| request.block),
        lasting: settled,
    }),
    ..READ
};

fn xread(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let request = Request::parse(args, false)?;
    let behind = request.ids(cx, args)?;
    request.read(cx, &behind)
}

pub(super) const XREADGROUP: Command = Command {
    name: "xreadgroup",
    summary: "Returns what a group was not given yet of streams, or what a consumer of it has not acknowledged",
    arity: -7,
    flags: WRITE.flags.and(Flags::BLOCKING),
    keys: &[KeySpec::streams(4, SOURCE)],
    spread: Spread::Keys(Gather::Deliveries),
    run: Run::Blocking(Blocking {
        handler: xreadgroup,
        // The stream may go, or its group.
        kind: None,
        timeout: |args| Request::parse(args, true).map(|request| request.block),
        lasting: |_, _| None,
    }),
    ..XREAD
};

fn xreadgroup(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let request = Request::parse(args, true)?;
    let behind = request.ids(cx, args)?;
    request.read_in_group(cx, &behind)
}

/// The arguments of XREAD with ids in place of each `$`, if there is any: what comes later is behind them.
fn settled(cx: &Cx<'_>, args: Args<'_>) -> Option<OwnedArgs> {
    let request = Request::parse(args, false).ok()?;
    let first = request.first + request.streams;
    if !(first..args.len()).any(|index| args.at(index) == b"$") {
        return None;
    }
    let ids = request.ids(cx, args).ok()?;
    let mut settled: OwnedArgs = args.iter().take(first).collect();
    ids.iter().for_each(|id| settled.push(id.to_string().as_bytes()));
    Some(settled)
}

/// `stream.check`, with the arguments of [`XREADGROUP`]: fails as that would, and reads nothing. Nodes ask it of each
/// other.
pub static CHECK: Command = Command {
    name: "stream.check",
    arity: XREADGROUP.arity,
    keys: XREADGROUP.keys,
    spread: Spread::Keys(Gather::Checks),
    run: Run::Data(|cx, args| {
        Request::parse(args, true)?.ids(cx, args)?;
        cx.out.ok();
        Ok(Done::Read)
    }),
    ..READ
};

/// What is answered where no stream has anything.
fn nothing_there(out: &mut Reply) {
    out.null_array();
}

/// The id that stands for "what the group was not given yet".
const NEW: StreamId = StreamId::MAX;

/// What is asked for, beside the streams themselves.
struct Request<'a> {
    /// Entries of each stream.
    most: usize,
    /// For how many milliseconds it waits, if it does; 0: for as long as it takes.
    block: Option<u64>,
    /// What is given is not pending.
    no_ack: bool,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    /// Where the first key is.
    first: usize,
    /// How many keys there are; as many ids follow.
    streams: usize,
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>, in_group: bool) -> Result<Self, CommandError> {
        let mut request =
            Self { most: usize::MAX, block: None, no_ack: false, group: None, first: 0, streams: 0 };
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let behind = args.len() - at - 1;
            let option = OPTIONS_OF_STREAMS.iter().find(|(name, _)| parse::is(word, name));
            let Some((name, operands)) = option.filter(|(_, operands)| behind >= *operands) else {
                return Err(CommandError::Syntax);
            };
            match *name {
                "BLOCK" => request.block = Some(timeout(args.at(at + 1))?),
                "COUNT" => {
                    let count = usize::try_from(parse::integer(args.at(at + 1))?).unwrap_or(0);
                    request.most = if count == 0 { usize::MAX } else { count };
                }
                "GROUP" if in_group => request.group = Some((args.at(at + 1), args.at(at + 2))),
                "NOACK" if in_group => request.no_ack = true,
                "STREAMS" => {
                    request.first = at + 1;
                    request.streams = behind / 2;
                    if !behind.is_multiple_of(2) {
                        return Err(UNBALANCED);
                    }
                    break;
                }
                _ => {
                    let text = format!(
                        "ERR The {name} option is only supported by XREADGROUP. You called XREAD instead."
                    );
                    return Err(CommandError::made(text));
                }
            }
            at += 1 + operands;
        }
        if request.first == 0 {
            return Err(CommandError::Syntax);
        }
        if in_group && request.group.is_none() {
            return Err(CommandError::other("ERR Missing GROUP option for XREADGROUP"));
        }
        Ok(request)
    }

    /// Behind which id each stream is read; checks keys and groups, too.
    fn ids(&self, cx: &Cx<'_>, args: Args<'_>) -> Result<Vec<StreamId>, CommandError> {
        let mut behind = Vec::with_capacity(cx.keys.len());
        for (n, key) in cx.keys.iter().enumerate() {
            let n = if cx.keys.len() == self.streams { n } else { self.place_of(key.bytes, args) };
            let value = cx.db.read(*key);
            let stream = if cx.waited { value.and_then(Stream::of) } else { stream_of(value)? };
            if let Some((group, _)) = self.group
                && stream.and_then(|stream| stream.group(group)).is_none()
            {
                return Err(match stream {
                    _ if !cx.waited => no_group(key.bytes, group, " in XREADGROUP with GROUP option"),
                    Some(_) => GROUP_IS_GONE,
                    None => STREAM_IS_GONE,
                });
            }
            behind.push(match (args.at(self.first + self.streams + n), self.group) {
                (b"$", None) => stream.map_or(StreamId::MIN, |stream| stream.last),
                (b"$", Some(_)) => {
                    return Err(CommandError::other(
                        "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of \
                         this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would \
                         just return an empty result set.",
                    ));
                }
                (b">", Some(_)) => NEW,
                (b">", None) => {
                    return Err(CommandError::other(
                        "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> \
                         <consumer> option.",
                    ));
                }
                (id, _) => ids::strict(id, 0)?,
            });
        }
        Ok(behind)
    }

    /// The place of a key among the keys: the first, if it is named more than once.
    fn place_of(&self, name: &[u8], args: Args<'_>) -> usize {
        (0..self.streams).find(|n| args.at(self.first + n) == name).unwrap_or(0)
    }

    /// Writes what the streams have behind these ids.
    fn read(&self, cx: &mut Cx<'_>, behind: &[StreamId]) -> Result<Done, CommandError> {
        let served = serve(cx, behind, |db, out, key, id| read(db, out, key, id, self.most))?;
        Ok(if served > 0 { Done::Read } else { self.nothing(Done::Read) })
    }

    /// Writes what the group was not given yet, or the consumer was given.
    fn read_in_group(&self, cx: &mut Cx<'_>, behind: &[StreamId]) -> Result<Done, CommandError> {
        let (group, consumer) = self.group.unwrap_or_default();
        let reader = Reader { group, consumer, no_ack: self.no_ack, most: self.most, now: cx.db.now };
        let served = serve(cx, behind, |db, out, key, id| {
            let mut edit = db.edit(key);
            Ok(if id == NEW {
                reader.deliver(&mut edit, out)
            } else {
                reader.deliver_again(&mut edit, out, id)
            })
        })?;
        Ok(if served > 0 { Done::Logged } else { self.nothing(Done::Unchanged) })
    }

    /// What comes of it where there is nothing.
    fn nothing(&self, done: Done) -> Done {
        if self.block.is_some() { Done::Waits } else { done }
    }
}

fn timeout(text: &[u8]) -> Result<u64, CommandError> {
    let millis = parse::integer(text)
        .map_err(|_| CommandError::other("ERR timeout is not an integer or out of range"))?;
    u64::try_from(millis).map_err(|_| CommandError::other("ERR timeout is negative"))
}

/// What those hear who have waited.
const STREAM_IS_GONE: CommandError = CommandError::other("UNBLOCKED the stream key no longer exists");
const GROUP_IS_GONE: CommandError =
    CommandError::other("NOGROUP the consumer group this client was blocked on no longer exists");

/// What is said where there is not one id for each key, of XREADGROUP, too.
pub const UNBALANCED: CommandError = CommandError::other(
    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
);

/// Writes what `each` finds in the streams that have something, or that there is nothing. Returns how many have.
fn serve(
    cx: &mut Cx<'_>,
    behind: &[StreamId],
    mut each: impl FnMut(&mut Db<'_>, &mut Reply, Key<'_>, StreamId) -> Result<bool, CommandError>,
) -> Result<usize, CommandError> {
    let Cx { db, out, keys, .. } = cx;
    let mark = out.mark();
    let mut served = Ok(0);
    let all = |out: &mut Reply| {
        served = keys.iter().zip(behind).try_fold(0, |served, (key, id)| {
            let found = each(db, out, *key, *id)?;
            Ok(served + usize::from(found))
        });
        *served.as_ref().unwrap_or(&0)
    };
    match out.resp {
        Resp::V2 => out.array_of(all),
        Resp::V3 => out.map_of(all),
    }
    if served == Ok(0) {
        out.rewind(mark);
        nothing_there(out);
    }
    served
}

/// Begins what is found in one stream.
pub(super) fn write_name(out: &mut Reply, key: Key<'_>) {
    if out.resp == Resp::V2 {
        out.array(2);
    }
    out.bulk(key.bytes);
}

/// Writes what a stream has behind an id, if it has anything.
fn read(db: &Db<'_>, out: &mut Reply, key: Key<'_>, id: StreamId, most: usize) -> Result<bool, CommandError> {
    let Some(stream) = stream_of(db.read(key))? else { return Ok(false) };
    let Some(start) = id.next().filter(|_| stream.top() > Some(id)) else { return Ok(false) };
    write_name(out, key);
    write_entries(out, stream.range(start, StreamId::MAX), most);
    Ok(true)
}
