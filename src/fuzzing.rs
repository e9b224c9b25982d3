//! What the fuzz targets in `fuzz/` call: each function takes any bytes and panics where something is wrong.
//!
//! Compiled with the feature `fuzzing`, and for the unit test that runs the seeds in `fuzz/corpus`. It is the only door
//! by which the targets come in, so nothing else is public for their sake.

use std::cell::RefCell;

use ringfort_protocol::{Args, Limits, OwnedArgs, Parsed, Parser, encode_command, reply_len};

use crate::{
    commands::{Command, Group, bench::Bench, digest, resolve},
    dump,
};

/// Longest string that commands may make, so that no input needs much memory.
const LONGEST: usize = 1 << 16;

/// Requests of a client. Parsed in one piece and in two, they are the same; and what was parsed, written as other nodes
/// are sent it, is parsed to the same again.
pub fn requests(input: &[u8]) {
    let (cut, input) = input.split_first().unwrap_or((&0, &[]));
    let cut = usize::from(*cut).min(input.len());
    let whole = parse_all(&[input]);
    assert_eq!(whole, parse_all(&[&input[..cut], &input[cut..]]), "in two pieces");
    for args in &whole.0 {
        let mut written = Vec::new();
        encode_command(&mut written, args.iter());
        assert_eq!(parse_all(&[&written]).0, std::slice::from_ref(args), "written again");
    }
}

/// The commands in a stream of bytes that comes in pieces, and whether it ends with an error.
fn parse_all(pieces: &[&[u8]]) -> (Vec<Vec<Vec<u8>>>, bool) {
    let (mut parser, mut spans, mut kept) = (Parser::new(), Vec::new(), Vec::new());
    let mut commands = Vec::new();
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let used = match parser.parse(&kept, &mut spans, &Limits::default()) {
                Ok(Parsed::Incomplete { wanted }) => {
                    assert!(wanted > 0);
                    break;
                }
                Ok(Parsed::Command { len }) => {
                    commands.push(owned(Args::new(&kept[..len], &spans)));
                    len
                }
                Ok(Parsed::Inline { len }) => {
                    commands.push(owned(parser.inline_args().as_args()));
                    len
                }
                Ok(Parsed::Nothing { len }) => len,
                Err(_) => return (commands, true),
            };
            assert!(used > 0);
            kept.drain(..used);
            if kept.is_empty() {
                break;
            }
        }
    }
    (commands, false)
}

fn owned(args: Args<'_>) -> Vec<Vec<u8>> {
    args.iter().map(<[u8]>::to_vec).collect()
}

/// What stands in a payload of DUMP before its version and checksum: a byte for the type, and the value.
pub fn payload(body: &[u8]) {
    let mut payload = body.to_vec();
    dump::seal(&mut payload, dump::VERSION);
    Pair::with_new(|pair| use_payload(pair, &payload));
}

fn use_payload(pair: &mut Pair, payload: &[u8]) {
    // First at the beginning of time, when no field of a hash is over yet: those are not written.
    let now = std::mem::take(&mut pair.primary.now);
    if pair.run(&[b"restore", b"k", b"0", payload]).starts_with(b"-") {
        return;
    }
    // What was taken is written so that it is taken again, and is the same then.
    let written = pair.run(&[b"dump", b"k"]);
    if let Some(written) = bulk(&written) {
        assert_eq!(pair.run(&[b"restore", b"l", b"0", written]), b"+OK\r\n", "what DUMP has written");
        let mut value = |key| pair.primary.with(key, |entry| entry.value().map(digest::value));
        assert_eq!(value("k"), value("l"), "what DUMP has written");
    }
    pair.primary.now = now;
    // Whatever it is, each command finds it sound, or says that it is for another type.
    for line in USES {
        pair.run_line(line.as_bytes());
    }
    pair.compare();
    // Whatever was in them, nothing is left of it in the account.
    pair.run_line(b"del k l m p");
    let shard = pair.primary.shard();
    assert_eq!((shard.is_empty(), shard.core.used), (true, 0), "bytes of no key");
}

/// What a stream's payload holds behind its type.
pub fn stream(input: &[u8]) {
    let (kind, rest) = input.split_first().unwrap_or((&0, &[]));
    let kind = STREAMS[usize::from(*kind) % STREAMS.len()];
    payload(&[&[kind][..], rest].concat());
}

/// Elements of a listpack, in a payload of one of the types that are kept in one.
pub fn listpack(input: &[u8]) {
    let (kind, elements) = input.split_first().unwrap_or((&0, &[]));
    // The head says how many bytes there are, and that the elements are to be counted.
    let len = elements.len() + 7;
    let head = [&(len as u32).to_le_bytes()[..], &[0xff, 0xff]].concat();
    let length = [&[0x80][..], &(len as u32).to_be_bytes()].concat();
    let before = LISTPACKS[usize::from(*kind) % LISTPACKS.len()];
    payload(&[before, &length, &head, elements, &[0xff]].concat());
}

/// The types of streams.
const STREAMS: [u8; 3] = [15, 19, 21];

/// What stands before one listpack: the types of a hash, a sorted set and a set; and of a list, which has one packed node.
const LISTPACKS: [&[u8]; 4] = [&[16], &[17], &[20], &[18, 1, 2]];

/// Commands on bitmaps and positions, and those that make such values, a line each or as clients send them.
pub fn arguments(script: &[u8]) {
    Pair::with_new(|pair| run_script(pair, script));
}

fn run_script(pair: &mut Pair, script: &[u8]) {
    let (mut parser, mut spans, mut rest) = (Parser::new(), Vec::new(), script);
    while !rest.is_empty() {
        let (args, len) = match parser.parse(rest, &mut spans, &Limits::default()) {
            Ok(Parsed::Command { len }) => (OwnedArgs::from(Args::new(&rest[..len], &spans)), len),
            Ok(Parsed::Inline { len }) => (parser.inline_args(), len),
            Ok(Parsed::Nothing { len }) => (OwnedArgs::default(), len),
            Ok(Parsed::Incomplete { .. }) | Err(_) => break,
        };
        rest = &rest[len..];
        let args = args.as_args();
        let is_meant = |command: &Command| {
            matches!(command.group, Group::Bitmap | Group::Geo)
                || ["append", "del", "set", "setrange", "zadd"].contains(&command.name)
        };
        if !args.is_empty() && resolve(args).is_ok_and(is_meant) {
            pair.run_args(args);
        }
    }
    pair.compare();
}

/// A primary, and a replica that follows it.
struct Pair {
    primary: Bench,
    replica: Bench,
}

impl Pair {
    /// Lends a pair that is as new.
    fn with_new(work: impl FnOnce(&mut Self)) {
        // A shard has thousands of tables, which take longer to make than most inputs to try.
        thread_local!(static PAIR: RefCell<Pair> = RefCell::new(Pair::new()));
        PAIR.with_borrow_mut(|pair| {
            pair.primary.renew();
            pair.replica.renew();
            work(pair);
        });
    }

    fn new() -> Self {
        let bench = || {
            let mut bench = Bench::new();
            bench.limits.proto_max_bulk_len = LONGEST;
            bench
        };
        Self { primary: bench(), replica: bench() }
    }

    fn run(&mut self, args: &[&[u8]]) -> Vec<u8> {
        self.run_args(args.iter().collect::<OwnedArgs>().as_args())
    }

    fn run_line(&mut self, line: &[u8]) -> Vec<u8> {
        self.run(&line.split(|byte| *byte == b' ').collect::<Vec<_>>())
    }

    /// Runs a command, whose reply must be one reply.
    fn run_args(&mut self, args: Args<'_>) -> Vec<u8> {
        let reply = self.primary.run_args(args);
        assert_eq!(reply_len(&reply).ok().flatten(), Some(reply.len()), "{}", reply.escape_ascii());
        self.replica.follow(&mut self.primary);
        reply
    }

    /// The replica has the same data.
    fn compare(&self) {
        let [primary, replica] = [&self.primary, &self.replica].map(|bench| digest::digest(&bench.shard()));
        assert_eq!(primary, replica, "the replica has other data");
    }
}

/// The bytes of a reply that is a string.
fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let end = reply.iter().position(|byte| *byte == b'\n')? + 1;
    reply.strip_suffix(b"\r\n")?.get(end..).filter(|_| reply.starts_with(b"$") && !reply.starts_with(b"$-"))
}

/// Commands for a value of any type at the key `k`, those that read it first.
const USES: &[&str] = &[
    "object encoding k",
    "memory usage k",
    "getrange k 0 -1",
    "bitcount k",
    "pfcount k",
    "lrange k 0 -1",
    "lpos k a RANK -1",
    "lindex k -1",
    "smembers k",
    "srandmember k -3",
    "sscan k 0",
    "hgetall k",
    "hrandfield k 3 withvalues",
    "httl k fields 1 f",
    "hscan k 0",
    "zrange k 0 -1 withscores",
    "zrangebyscore k -inf (3 limit 1 2",
    "zrangebylex k - [m",
    "zrank k m withscore",
    "zscan k 0",
    "geosearch k fromlonlat 1 1 byradius 100 km withdist withcoord withhash",
    "xinfo stream k full",
    "xinfo groups k",
    "xinfo consumers k g",
    "xrange k - +",
    "xrevrange k + - count 2",
    "xpending k g - + 10",
    "sort k by nosort alpha",
    "copy k m",
    "append k x",
    "setrange k 3 xy",
    "setbit k 9 1",
    "bitfield k set u8 0 7 incrby i5 100 1",
    "incr k",
    "pfadd k a b c",
    "pfmerge p k",
    "linsert k before a b",
    "lset k 0 x",
    "lrem k 0 a",
    "lpop k",
    "rpoplpush k k",
    "ltrim k 1 -2",
    "rpush k 1 2 3",
    "sadd k 1 2 x",
    "spop k",
    "srem k 1 x",
    "hset k f v f2 7",
    "hincrby k f2 1",
    "hexpire k 100 fields 1 f",
    "hdel k f2",
    "zadd k 1 m 2 n",
    "zincrby k 1.5 m",
    "zremrangebyrank k 0 0",
    "zpopmax k",
    "xadd k * f v",
    "xadd k maxlen 3 * f v g w",
    "xgroup create k g2 0",
    "xreadgroup group g2 c streams k >",
    "xautoclaim k g c2 0 0 count 5",
    "xclaim k g c3 0 1-1 2-2 force",
    "xack k g 1-1",
    "xdel k 1-1 2-2",
    "xtrim k maxlen 1",
    "xgroup delconsumer k g c",
    "xgroup destroy k g",
    "rename k l",
    "pexpireat l 1",
];

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    type Target = (&'static str, fn(&[u8]));

    #[test]
    fn seeds_find_nothing_wrong() {
        let targets: [Target; 5] = [
            ("requests", requests),
            ("payload", payload),
            ("stream", stream),
            ("listpack", listpack),
            ("arguments", arguments),
        ];
        for (name, target) in targets {
            let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let seeds: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "{name} has seeds");
            for seed in seeds {
                println!("{}", seed.display());
                target(&fs::read(seed).unwrap());
            }
        }
    }
}
