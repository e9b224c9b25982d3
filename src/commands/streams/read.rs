//! XREAD and XREADGROUP: what several streams have behind an id, or behind what a group was given.

use ringfort_protocol::{Args, Resp};

use super::{READ, SOURCE, WRITE, deliver::Reader, ids, no_group, stream_of, write_entries};
use crate::{
    commands::{
        Command, CommandError, Cx, Done, Flags, Gather, KeySpec, Reply, Run, Spread,
        keys::OPTIONS_OF_STREAMS, parse,
    },
    store::{Db, Key, objects::stream::StreamId},
};

pub(super) const XREAD: Command = Command {
    name: "xread",
    summary: "Returns what streams have behind an id each",
    complexity: "O(log(N)+M) for each stream, with N the number of its entries and M the number of those returned",
    arity: -4,
    flags: READ.flags.and(Flags::BLOCKING),
    keys: &[KeySpec::streams(1, SOURCE)],
    spread: Spread::Keys(Gather::Streams),
    run: Run::Data(|cx, args| {
        let request = Request::parse(args, false)?;
        let behind = request.ids(cx, args)?;
        serve(cx, &behind, |db, out, key, id| read(db, out, key, id, request.most))?;
        Ok(Done::Read)
    }),
    ..READ
};

pub(super) const XREADGROUP: Command = Command {
    name: "xreadgroup",
    summary: "Returns what a group was not given yet of streams, or what a consumer of it has not acknowledged",
    arity: -7,
    flags: WRITE.flags.and(Flags::BLOCKING),
    keys: &[KeySpec::streams(4, SOURCE)],
    spread: Spread::Keys(Gather::Deliveries),
    run: Run::Data(|cx, args| {
        let request = Request::parse(args, true)?;
        let behind = request.ids(cx, args)?;
        let (group, consumer) = request.group.unwrap_or_default();
        let reader = Reader { group, consumer, no_ack: request.no_ack, most: request.most, now: cx.db.now };
        let served = serve(cx, &behind, |db, out, key, id| {
            let mut edit = db.edit(key);
            Ok(if id == NEW {
                reader.deliver(&mut edit, out)
            } else {
                reader.deliver_again(&mut edit, out, id)
            })
        })?;
        Ok(if served > 0 { Done::Logged } else { Done::Unchanged })
    }),
    ..XREAD
};

/// `stream.check`, with the arguments of [`XREADGROUP`]: fails as that would, and reads nothing. Nodes ask it of each
/// other.
pub static CHECK: Command = Command {
    name: "stream.check",
    arity: XREADGROUP.arity,
    keys: XREADGROUP.keys,
    spread: Spread::Keys(Gather::Streams),
    run: Run::Data(|cx, args| {
        Request::parse(args, true)?.ids(cx, args)?;
        nothing_there(cx.out);
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
        let mut request = Self { most: usize::MAX, no_ack: false, group: None, first: 0, streams: 0 };
        let mut at = 1;
        while let Some(word) = args.get(at) {
            let behind = args.len() - at - 1;
            let option = OPTIONS_OF_STREAMS.iter().find(|(name, _)| parse::is(word, name));
            let Some((name, operands)) = option.filter(|(_, operands)| behind >= *operands) else {
                return Err(CommandError::Syntax);
            };
            match *name {
                "BLOCK" => check_timeout(args.at(at + 1))?,
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
        let mut behind = Vec::with_capacity(self.streams);
        for (n, key) in cx.keys.iter().enumerate() {
            let stream = stream_of(cx.db.read(*key))?;
            if let Some((group, _)) = self.group
                && stream.and_then(|stream| stream.group(group)).is_none()
            {
                return Err(no_group(key.bytes, group, " in XREADGROUP with GROUP option"));
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
}

fn check_timeout(text: &[u8]) -> Result<(), CommandError> {
    let error = CommandError::other("ERR timeout is not an integer or out of range");
    match parse::integer(text) {
        Err(_) => Err(error),
        Ok(..0) => Err(CommandError::other("ERR timeout is negative")),
        Ok(_) => Ok(()),
    }
}

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
