//! The steps by which values go to other nodes and changes come back: what the router sends to the owners of keys.
//!
//! Clients cannot call these. The value travels as the records that rebuild it, under its new name, with its [`Print`],
//! by which the source is removed only if it is still what was carried. Where effects of a command are applied, the
//! value is told by its fingerprint, the hash of the records.

use ringfort_protocol::{Args, Limits, Parsed, Parser, Span};
use xxhash_rust::xxh3::xxh3_64;

use super::{print::Print, rename};
use crate::{
    commands::{
        self, Command, CommandError, Cx, Done, Flags, Handler, KeyFlags, KeySpec, Run, dispatch, rebuild,
    },
    store::{Key, log},
};

/// The longest value that is carried between nodes, in bytes of the records that rebuild it.
pub(crate) const CARRY_LIMIT: usize = 256 << 20;

const TOO_LARGE: CommandError = CommandError::other(
    "ERR The value is too large to be carried to another node; give both keys a common hash tag, as in {tag}key",
);

/// `carry.fetch source destination`: replies with the records that give the value of `source` to `destination`, and its
/// [`Print`], or null.
pub(crate) static FETCH: Command = Command {
    name: "carry.fetch",
    arity: 3,
    flags: Flags::READONLY,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, args| {
        match with_print(cx, args.at(2))? {
            None => cx.out.null(),
            Some((records, print)) => {
                cx.out.array(2);
                cx.out.bulk(&records);
                cx.out.bulk(&print.encode());
            }
        }
        Ok(Done::Read)
    }),
    ..Command::BASE
};

/// `carry.place destination NX|REPLACE records`: gives the destination the value. Replies 1, or 0 if there is
/// something at it and it was not to be replaced. If a record is refused, so are all: the destination is what it was.
pub(crate) static PLACE: Command = PLACE_STEP;

/// The same for a value that there is more of then, so it is refused where memory is short.
pub(crate) static PLACE_IN_BOUNDS: Command =
    Command { name: "carry.place-in-bounds", flags: Flags::WRITE.and(Flags::DENYOOM), ..PLACE_STEP };

const PLACE_STEP: Command = Command {
    name: "carry.place",
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, KeyFlags::OW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let key = cx.key(0);
        each(args.at(3), key, |_, _| Ok(()))?;
        let mut entry = cx.db.edit(key);
        if args.at(2) != b"REPLACE" && entry.value().is_some() {
            cx.out.flag(false);
            return Ok(Done::Unchanged);
        }
        let before = entry.take();
        if before.is_some() {
            entry.log(&[b"DEL", key.bytes]);
        }
        if let Err(error) = replay(cx, key, args.at(3)) {
            remove(cx, key);
            if let Some(before) = before {
                rename::put(&mut cx.db.edit(key), before);
            }
            return Err(error);
        }
        if let Some(before) = before {
            cx.db.edit(key).discard(before);
        }
        cx.out.flag(true);
        Ok(Done::Logged)
    }),
    ..Command::BASE
};

/// `carry.drop source destination print`: removes the source. Replies 1, or 0 if it is no longer what was
/// carried.
pub(crate) static DROP: Command = Command {
    name: "carry.drop",
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, KeyFlags::RM.and(KeyFlags::DELETE))],
    run: Run::Data(|cx, args| {
        let (carried, now) = (Print::decode(args.at(3)), cx.db.now);
        // What is too large by now is not what was carried.
        let unchanged = with_print(cx, args.at(2)).is_ok_and(|is| {
            let is = is.map(|(_, print)| print.at(now));
            is.is_none() || is == carried.map(|print| print.at(now))
        });
        cx.out.flag(unchanged);
        let removed = unchanged && remove(cx, cx.key(0));
        Ok(if removed { Done::Logged } else { Done::Unchanged })
    }),
    ..Command::BASE
};

/// `carry.apply key fingerprint effects`: changes a key as a command did to a copy of it, if it still has the value
/// with this fingerprint, or none where the fingerprint is empty. Replies 1, or 0 if it has another one. If an effect
/// is refused, so are all: the key has the value that it had.
pub(crate) static APPLY: Command = APPLY_STEP;

/// The same for the first change of a command that is refused where memory is short. What follows a first change is
/// made whatever it needs, or the command would stop half way.
pub(crate) static APPLY_IN_BOUNDS: Command =
    Command { name: "carry.apply-in-bounds", flags: Flags::WRITE.and(Flags::DENYOOM), ..APPLY_STEP };

const APPLY_STEP: Command = Command {
    name: "carry.apply",
    arity: 4,
    flags: Flags::WRITE,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let key = cx.key(0);
        each(args.at(3), key, |_, _| Ok(()))?;
        let print = |records: &Option<Vec<u8>>| {
            records.as_deref().map_or_else(String::new, |records| fingerprint(records).to_string())
        };
        // What is too large by now is not what was fetched.
        let before = records(cx, key.bytes).ok().filter(|before| print(before).as_bytes() == args.at(2));
        let Some(before) = before else {
            cx.out.flag(false);
            return Ok(Done::Unchanged);
        };
        if let Err(error) = replay(cx, key, args.at(3)) {
            remove(cx, key);
            replay(cx, key, &before.unwrap_or_default())?;
            return Err(error);
        }
        cx.out.flag(true);
        Ok(Done::Logged)
    }),
    ..Command::BASE
};

/// What tells one value, with its deadline, from another.
pub(crate) fn fingerprint(records: &[u8]) -> u64 {
    xxh3_64(records)
}

/// The records that give `name` the value and the deadline of the command's first key. Fails if they are longer than
/// [`CARRY_LIMIT`].
pub(crate) fn records(cx: &Cx<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    records_within(CARRY_LIMIT, cx, name)
}

/// The same, and the print of the value.
fn with_print(cx: &Cx<'_>, name: &[u8]) -> Result<Option<(Vec<u8>, Print)>, CommandError> {
    let (Some(records), Some(entry)) = (records(cx, name)?, cx.db.inspect(cx.key(0))) else {
        return Ok(None);
    };
    let print = Print::of(&entry, &records);
    Ok(Some((records, print)))
}

fn records_within(limit: usize, cx: &Cx<'_>, name: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
    let Some(entry) = cx.db.inspect(cx.key(0)) else { return Ok(None) };
    let (mut records, mut fits) = (Vec::new(), true);
    rebuild::effects(name, entry.value(), entry.deadline(), &mut |effect| {
        fits = fits && records.len() + effect.iter().map(|part| part.len()).sum::<usize>() <= limit;
        if fits {
            log::put_record(&mut records, cx.db.number, effect.iter().copied());
        }
    });
    if fits { Ok(Some(records)) } else { Err(TOO_LARGE) }
}

/// Runs the commands in `records`, each of which works on `key` alone, up to the first that is refused: then the key is
/// half changed, which is for the caller to mend.
pub(crate) fn replay(cx: &mut Cx<'_>, key: Key<'_>, records: &[u8]) -> Result<(), CommandError> {
    let mark = cx.out.mark();
    each(records, key, |handler, args| {
        let done = dispatch::attempt(handler, cx, args);
        cx.out.rewind(mark);
        done.map(drop)
    })
}

/// Removes a key. Returns whether there was one.
fn remove(cx: &mut Cx<'_>, key: Key<'_>) -> bool {
    let mut entry = cx.db.edit(key);
    let removed = entry.remove();
    if removed {
        entry.log(&[b"DEL", key.bytes]);
    }
    removed
}

/// The key that a record names.
pub(crate) fn key_of(record: &[u8]) -> Result<Vec<u8>, CommandError> {
    let mut spans = Vec::new();
    let (command, args) = parse(record, &mut spans)?;
    command.names(args).next().map(<[u8]>::to_vec).ok_or_else(broken)
}

/// What is said of records that no node makes.
pub(crate) fn broken() -> CommandError {
    CommandError::other("ERR a value came from another node in a form that makes no sense")
}

/// Passes the commands in `records` to `visit`, if each is one that works on `key` alone, up to its first error.
fn each(
    records: &[u8],
    key: Key<'_>,
    mut visit: impl FnMut(Handler, Args<'_>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let (mut spans, mut read) = (Vec::new(), 0);
    for (_, record) in log::records(records) {
        read += 5 + record.len();
        let (command, args) = parse(record, &mut spans)?;
        let Run::Data(handler) = command.run else { return Err(broken()) };
        if !command.names(args).eq([key.bytes]) {
            return Err(broken());
        }
        visit(handler, args)?;
    }
    if read == records.len() { Ok(()) } else { Err(broken()) }
}

fn parse<'a>(
    record: &'a [u8],
    spans: &'a mut Vec<Span>,
) -> Result<(&'static Command, Args<'a>), CommandError> {
    let parsed = Parser::new().parse(record, spans, &Limits::BETWEEN_NODES);
    let Ok(Parsed::Command { .. }) = parsed else { return Err(broken()) };
    let args = Args::new(record, spans);
    Ok((commands::resolve_effect(args)?, args))
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::{OwnedArgs, elements};

    use super::*;
    use crate::commands::{bench::Bench, digest::digest};

    fn run(bench: &mut Bench, command: &'static Command, args: &[&[u8]]) -> Vec<u8> {
        let name = std::iter::once(command.name.as_bytes());
        let args: OwnedArgs = name.chain(args.iter().copied()).collect();
        bench.run_command(command, args.as_args())
    }

    /// The records of a value, and its print.
    fn fetch(bench: &mut Bench, from: &str, to: &str) -> [Vec<u8>; 2] {
        let reply = run(bench, &FETCH, &[from.as_bytes(), to.as_bytes()]);
        let body = |element: &[u8]| {
            let start = element.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            element[start..element.len() - 2].to_vec()
        };
        elements(&reply).unwrap().map(body).collect::<Vec<_>>().try_into().unwrap()
    }

    #[test]
    fn a_carried_value_equals_a_renamed_one() {
        for fill in
            ["append a v", "rpush a 1 2 3", "hset a f v g 2", "sadd a 1 2", "sadd a x y", "append a 0"]
        {
            let (mut here, mut there, mut replica) = (Bench::new(), Bench::new(), Bench::new());
            here.run(fill);
            here.run("expire a 100");
            there.run("append b old");
            replica.follow(&mut there);
            let [records, print] = fetch(&mut here, "a", "b");
            assert_eq!(run(&mut there, &PLACE, &[b"b", b"NX", &records]), b":0\r\n");
            assert_eq!(run(&mut there, &PLACE, &[b"b", b"REPLACE", &records]), b":1\r\n");
            replica.follow(&mut there);
            assert_eq!(run(&mut here, &DROP, &[b"a", b"b", &print]), b":1\r\n");
            assert_eq!(here.run("exists a"), ":0 ");
            here.run(fill);
            here.run("expire a 100");
            here.run("rename a b");
            assert_eq!(digest(&there.shard()), digest(&here.shard()));
            assert_eq!(digest(&there.shard()), digest(&replica.shard()));
        }
    }

    #[test]
    fn a_source_that_has_changed_stays() {
        let mut bench = Bench::new();
        bench.run("append a v");
        let [_, print] = fetch(&mut bench, "a", "b");
        for change in ["expire a 100", "append a v"] {
            bench.run(change);
            bench.effects();
            assert_eq!(run(&mut bench, &DROP, &[b"a", b"b", &print]), b":0\r\n");
            assert_eq!(bench.effects(), "");
            bench.run("persist a");
        }
        bench.run("del a");
        assert_eq!(run(&mut bench, &DROP, &[b"a", b"b", &print]), b":1\r\n");
    }

    #[test]
    fn an_absent_value_is_null() {
        assert_eq!(run(&mut Bench::new(), &FETCH, &[b"a", b"b"]), b"$-1\r\n");
    }

    /// Tells how long the records of a key are, if they are no longer than a limit.
    static MEASURE: Command = Command {
        name: "measure",
        arity: 3,
        keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
        run: Run::Data(|cx, args| {
            let limit = std::str::from_utf8(args.at(2)).unwrap().parse().unwrap();
            cx.out.count(records_within(limit, cx, args.at(1))?.map_or(0, |records| records.len()));
            Ok(Done::Read)
        }),
        ..Command::BASE
    };

    #[test]
    fn a_value_beyond_the_limit_has_no_records() {
        let mut bench = Bench::new();
        (0..300).for_each(|n| _ = bench.run(&format!("rpush a {n}")));
        let mut measure = |limit: &str| run(&mut bench, &MEASURE, &[b"a", limit.as_bytes()]);
        assert!(measure("100000").starts_with(b":"));
        assert!(measure("1000").starts_with(b"-ERR The value is too large"));
        assert!(measure("0").starts_with(b"-ERR The value is too large"));
    }

    fn effects(effects: &[&str]) -> Vec<u8> {
        let mut records = Vec::new();
        for effect in effects {
            let words: Vec<&[u8]> = effect.split(' ').map(str::as_bytes).collect();
            log::put_record(&mut records, 0, words.into_iter());
        }
        records
    }

    #[test]
    fn a_refused_record_leaves_the_key_as_it_was() {
        for fill in ["set b old", "rpush b 1 2", "xadd b 1-1 f v", "del b"] {
            let (mut bench, mut replica) = (Bench::new(), Bench::new());
            bench.run(fill);
            bench.run("expire b 100");
            let before = digest(&bench.shard());
            let used = bench.shard().core.used;
            let placed = effects(&["RPUSH b x", "PEXPIREAT b 1900000000000", "SADD b x", "RPUSH b y"]);
            let print = match fill {
                "del b" => String::new(),
                _ => fingerprint(&fetch(&mut bench, "b", "b")[0]).to_string(),
            };
            let applied = effects(&["PERSIST b", "DEL b", "SADD b x", "HSET b f v"]);
            for (step, args) in [
                (&PLACE, [&b"b"[..], b"REPLACE", &placed]),
                (&APPLY, [&b"b"[..], print.as_bytes(), &applied]),
            ] {
                let reply = run(&mut bench, step, &args);
                assert!(reply.starts_with(b"-WRONGTYPE "), "{}", reply.escape_ascii());
                replica.follow(&mut bench);
                assert_eq!((digest(&bench.shard()), digest(&replica.shard())), (before, before), "{fill}");
                assert_eq!(bench.shard().core.used, used);
            }
        }
    }

    #[test]
    fn records_that_make_no_sense_change_nothing() {
        let mut bench = Bench::new();
        bench.run("append b old");
        bench.run("append a v");
        let [other, _] = fetch(&mut bench, "a", "c");
        let mut bad = vec![other, b"junk".to_vec()];
        let [mut tail, _] = fetch(&mut bench, "a", "b");
        tail.extend_from_slice(b"tail");
        bad.push(tail);
        let mut two = Vec::new();
        log::put_record(&mut two, 0, [&b"DEL"[..], b"b", b"a"].into_iter());
        bad.push(two);
        let mut unknown = Vec::new();
        log::put_record(&mut unknown, 0, [&b"CARRY.FETCH"[..], b"b", b"a"].into_iter());
        bad.push(unknown);
        bench.effects();
        for records in bad {
            let reply = run(&mut bench, &PLACE, &[b"b", b"REPLACE", &records]);
            assert!(reply.starts_with(b"-ERR"), "{}", reply.escape_ascii());
            assert_eq!(bench.effects(), "");
            assert_eq!(bench.run("get b"), "$3 old ");
        }
    }
}
