//! DUMP and RESTORE: values as texts that other servers understand.

use ringfort_protocol::Args;

use crate::{
    commands::{
        Acl, Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Limits, Run, hashes, lists,
        parse::{integer, is},
        sets, zsets,
    },
    dump::{self, Decoded, Elements},
    store::{
        Edit, Form, Object,
        objects::{hash::Lasts, list::End, zset::compare},
    },
};

pub(super) const DUMP: Command = Command {
    name: "dump",
    summary: "Returns a value in the format of Redis' files",
    since: "2.6.0",
    complexity: "O(N) where N is the size of the value",
    arity: 2,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))],
    run: Run::Data(|cx, _| {
        match cx.db.read(cx.key(0)).map(|value| dump::encode(value, cx.db.now)) {
            None => cx.out.null(),
            Some(Some(payload)) => cx.out.bulk(&payload),
            Some(None) => return Err(CommandError::other("ERR values of this type have no dump")),
        }
        Ok(Done::Read)
    }),
    ..Command::BASE
};

/// Replicas get it with the instant at which the key expires. Nothing tells them how old or how much used the key is:
/// they give up no keys on their own.
pub(super) const RESTORE: Command = Command {
    name: "restore",
    summary: "Gives a key the value that DUMP returned, here or on another server",
    complexity: "O(N) where N is the size of the value; for sorted sets O(N*log(N))",
    arity: -4,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::KEYSPACE.and(Acl::DANGEROUS),
    keys: &[KeySpec::at(1, KeyFlags::OW.and(KeyFlags::UPDATE))],
    run: Run::Data(restore),
    ..DUMP
};

/// What nodes of Redis send each other while they move a slot.
pub(super) const RESTORE_ASKING: Command = Command {
    name: "restore-asking",
    summary: "Does what RESTORE does: no slot is ever moved key by key, so no client is told ASK",
    since: "3.0.0",
    flags: RESTORE.flags.and(Flags::ASKING),
    ..RESTORE
};

/// What RESTORE is told behind the payload.
#[derive(Default)]
struct Options {
    /// The value takes the place of what is there.
    replace: bool,
    /// The time is an instant.
    absolute: bool,
    age: Option<Age>,
}

/// How the key is to be thought of when memory is short.
enum Age {
    /// Seconds since it was used.
    Idle(u64),
    Frequency(u8),
}

impl Options {
    fn parse(options: Args<'_>) -> Result<Self, CommandError> {
        let mut parsed = Self::default();
        let mut rest = options.iter();
        while let Some(option) = rest.next() {
            if is(option, "replace") {
                parsed.replace = true;
            } else if is(option, "absttl") {
                parsed.absolute = true;
            } else if is(option, "idletime")
                && rest.len() > 0
                && !matches!(parsed.age, Some(Age::Frequency(_)))
            {
                let seconds = integer(rest.next().unwrap_or_default())?;
                let error = CommandError::other("ERR Invalid IDLETIME value, must be >= 0");
                parsed.age = Some(Age::Idle(u64::try_from(seconds).map_err(|_| error)?));
            } else if is(option, "freq") && rest.len() > 0 && !matches!(parsed.age, Some(Age::Idle(_))) {
                let frequency = integer(rest.next().unwrap_or_default())?;
                let error = CommandError::other("ERR Invalid FREQ value, must be >= 0 and <= 255");
                parsed.age = Some(Age::Frequency(u8::try_from(frequency).map_err(|_| error)?));
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(parsed)
    }

    /// The deadline that a time tells; 0 is none.
    fn deadline(&self, time: &[u8], now: u64) -> Result<Option<u64>, CommandError> {
        let time = integer(time)?;
        let time =
            u64::try_from(time).map_err(|_| CommandError::other("ERR Invalid TTL value, must be >= 0"))?;
        let deadline = if self.absolute { time } else { time + now };
        // A sum that no `i64` can tell is negative in Redis, hence over.
        let deadline = if i64::try_from(deadline).is_ok() { deadline } else { 0 };
        Ok((time > 0).then_some(deadline))
    }
}

fn restore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let options = Options::parse(args.slice(4..))?;
    let (now, limits, payload) = (cx.db.now, cx.limits, args.at(3));
    let mut edit = cx.db.edit(cx.keys[0]);
    let was = edit.value().is_some();
    if was && !options.replace {
        return Err(CommandError::other("BUSYKEY Target key name already exists."));
    }
    let deadline = options.deadline(args.at(2), now)?;
    let decoded = dump::decode(payload, limits.proto_max_bulk_len)
        .map_err(|error| CommandError::made(error.to_string()))?;
    let key = edit.key().bytes;
    edit.remove();
    cx.out.ok();
    if deadline.is_some_and(|deadline| deadline <= now) {
        if was {
            edit.log(&[b"DEL", key]);
        }
        return Ok(if was { Done::Logged } else { Done::Unchanged });
    }
    put(&mut edit, decoded, limits);
    edit.set_deadline(deadline);
    match options.age {
        None => {}
        Some(Age::Idle(seconds)) => edit.set_idle(seconds.saturating_mul(1000)),
        Some(Age::Frequency(frequency)) => edit.set_frequency(frequency),
    }
    let mut time = itoa::Buffer::new();
    let time = time.format(deadline.unwrap_or(0)).as_bytes();
    edit.log(&[b"RESTORE", key, time, payload, b"REPLACE", b"ABSTTL"]);
    Ok(Done::Logged)
}

/// Gives a vacant key a value, in the form that its size asks for.
fn put(edit: &mut Edit<'_, '_>, decoded: Decoded, limits: &Limits) {
    match decoded {
        Decoded::Str(bytes) => edit.put(Form::Str, &[&bytes], None),
        Decoded::List(elements) => {
            lists::edit::push(edit, End::Back, elements.iter(), lists::node_limit(limits));
        }
        Decoded::Set(members) => {
            sets::edit::add(edit, members.iter(), &sets::set_limits(limits));
        }
        Decoded::Hash(pairs, deadlines) => {
            hashes::edit::set(edit, pairs.pairs(), Lasts::Forever, limits);
            for ((field, _), deadline) in
                pairs.pairs().zip(deadlines).filter(|(_, deadline)| deadline.is_some())
            {
                hashes::edit::set_deadline(edit, field, deadline, limits);
            }
        }
        Decoded::Stream(stream) => edit.put_object(Object::Stream(stream), None),
        Decoded::ZSet(members, scores) => {
            let sorted = in_order(&members, &scores);
            zsets::change::store(edit, limits, sorted.iter().map(|&(score, member)| (member, score)));
        }
    }
}

/// Members with their scores, in the order of a sorted set.
fn in_order<'e>(members: &'e Elements, scores: &[f64]) -> Vec<(f64, &'e [u8])> {
    let mut all: Vec<_> = scores.iter().copied().zip(members.iter()).collect();
    all.sort_unstable_by(|a, b| compare(*a, *b));
    all
}

#[cfg(test)]
mod tests {
    use ringfort_protocol::OwnedArgs;

    use crate::commands::{bench::Bench, digest::digest};

    fn run(bench: &mut Bench, args: &[&[u8]]) -> Vec<u8> {
        bench.run_args(args.iter().collect::<OwnedArgs>().as_args())
    }

    /// The payload of a key.
    fn dump(bench: &mut Bench, key: &str) -> Vec<u8> {
        let reply = run(bench, &[b"DUMP", key.as_bytes()]);
        let start = reply.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        reply[start..reply.len() - 2].to_vec()
    }

    /// A value of each form, by commands that fill `k`.
    fn fillings() -> Vec<Vec<String>> {
        let many = |command: &str, most: usize| -> Vec<String> {
            (0..most).map(|n| command.replace('#', &n.to_string())).collect()
        };
        let long = "x".repeat(70);
        vec![
            vec!["set k ''".into()],
            vec!["set k 12345".into()],
            vec![format!("set k {}", "long ".repeat(4_000).replace(' ', "-"))],
            vec!["rpush k a 1 '' -7 b".into()],
            many("rpush k element-# #", 1_000),
            vec![format!("rpush k {}", "y".repeat(20_000)), "rpush k z".into()],
            vec!["sadd k 1 -2 300000".into()],
            vec!["sadd k a 1 2".into()],
            many("sadd k #", 600),
            many("sadd k m#", 600),
            vec!["hset k f v g 1 1 2".into()],
            many("hset k f# #", 600),
            vec![format!("hset k f {long}")],
            vec!["zadd k 1 a 2.5 b -inf c 2.5 aa 1e300 d".into()],
            many("zadd k #.5 m#", 200),
            vec![format!("zadd k 3 {long} 0.1 b")],
            many("xadd k * f #", 250),
            many("xadd k * f# #", 250),
            many("xadd k #-1 f #", 250)
                .into_iter()
                .chain(["xdel k 100-1 7-1", "xtrim k maxlen 200"].map(String::from))
                .collect(),
            vec![
                "xadd k 1-1 f v".into(),
                "xadd k 1-2 f w".into(),
                "xgroup create k g 0".into(),
                "xgroup create k h 1 entriesread 7".into(),
                "xreadgroup group g ann count 1 streams k >".into(),
                "xreadgroup group g bob streams k >".into(),
                "xgroup createconsumer k g cid".into(),
                "xdel k 1-2".into(),
            ],
            vec!["xgroup create k g $ mkstream".into()],
        ]
    }

    #[test]
    fn values_of_every_form_come_back_and_replicas_get_them() {
        for filling in fillings() {
            let (mut bench, mut other, mut replica) = (Bench::new(), Bench::new(), Bench::new());
            filling.iter().for_each(|command| _ = bench.run(command));
            let payload = dump(&mut bench, "k");
            assert_eq!(run(&mut other, &[b"RESTORE", b"k", b"0", &payload]), b"+OK\r\n");
            assert_eq!(digest(&bench.shard()), digest(&other.shard()), "{filling:?}");
            assert_eq!(bench.encoding("k"), other.encoding("k"));
            replica.follow(&mut other);
            assert_eq!(digest(&bench.shard()), digest(&replica.shard()), "{filling:?}");
        }
    }

    #[test]
    fn the_deadline_is_an_instant_for_replicas() {
        let (mut bench, mut replica) = (Bench::new(), Bench::new());
        bench.run("set k v");
        let payload = dump(&mut bench, "k");
        assert_eq!(bench.run("dump absent"), "$-1 ");
        for (time, absolute, expected) in [
            ("1000", false, ":1000 "),
            ("0", true, ":-1 "),
            ("1700000005000", true, ":5000 "),
            ("5", false, ":5 "),
        ] {
            let mut args = vec![&b"RESTORE"[..], b"k", time.as_bytes(), &payload, b"REPLACE"];
            args.extend(absolute.then_some(&b"ABSTTL"[..]));
            assert_eq!(run(&mut bench, &args), b"+OK\r\n");
            replica.follow(&mut bench);
            assert_eq!(bench.run("pttl k"), expected);
            assert_eq!(replica.run("pttl k"), expected);
        }
        assert_eq!(run(&mut bench, &[b"RESTORE", b"k", b"1", &payload, b"ABSTTL", b"REPLACE"]), b"+OK\r\n");
        assert_eq!(bench.run("exists k"), ":0 ");
        replica.follow(&mut bench);
        assert_eq!(digest(&bench.shard()), digest(&replica.shard()));
        assert_eq!(run(&mut bench, &[b"RESTORE", b"k", b"1", &payload, b"ABSTTL"]), b"+OK\r\n");
        assert_eq!(bench.effects(), "");
        let most = i64::MAX.to_string();
        assert_eq!(run(&mut bench, &[b"RESTORE", b"k", most.as_bytes(), &payload]), b"+OK\r\n");
        assert_eq!(bench.run("exists k"), ":0 ");
    }

    #[test]
    fn the_first_mistake_is_told_and_nothing_changes() {
        let mut bench = Bench::new();
        bench.run("set k v");
        let payload = dump(&mut bench, "k");
        bench.effects();
        let mut damaged = payload.clone();
        damaged[2] ^= 1;
        let cases: [(&[&[u8]], &str); 12] = [
            (&[b"k", b"x", b"junk"], "BUSYKEY Target key name already exists."),
            (&[b"k", b"x", b"junk", b"replace", b"none"], "ERR syntax error"),
            (&[b"k", b"x", b"junk", b"replace"], "ERR value is not an integer or out of range"),
            (&[b"k", b"-1", b"junk", b"replace"], "ERR Invalid TTL value, must be >= 0"),
            (&[b"k", b"0", b"junk", b"replace"], "ERR DUMP payload version or checksum are wrong"),
            (&[b"k", b"0", &damaged, b"replace"], "ERR DUMP payload version or checksum are wrong"),
            (&[b"l", b"0", &payload, b"idletime"], "ERR syntax error"),
            (&[b"l", b"0", &payload, b"idletime", b"x"], "ERR value is not an integer or out of range"),
            (&[b"l", b"0", &payload, b"idletime", b"-1"], "ERR Invalid IDLETIME value, must be >= 0"),
            (&[b"l", b"0", &payload, b"freq", b"256"], "ERR Invalid FREQ value, must be >= 0 and <= 255"),
            (&[b"l", b"0", &payload, b"freq", b"1", b"idletime", b"1"], "ERR syntax error"),
            (&[b"l", b"0", &payload, b"idletime", b"1", b"freq", b"1"], "ERR syntax error"),
        ];
        for (args, error) in cases {
            let reply = run(&mut bench, &[&[&b"RESTORE"[..]][..], args].concat());
            assert_eq!(String::from_utf8_lossy(&reply), format!("-{error}\r\n"), "{args:?}");
        }
        assert_eq!(bench.effects(), "");
        assert_eq!(bench.run("get k"), "$1 v ");
    }

    #[test]
    fn age_and_frequency_are_kept_as_the_policy_counts() {
        let mut bench = Bench::new();
        bench.run("set k v");
        let payload = dump(&mut bench, "k");
        let args = |option: &'static [u8], value: &'static [u8]| {
            [&b"RESTORE"[..], b"k", b"0", &payload, b"replace", option, value]
        };
        run(&mut bench, &args(b"idletime", b"1000"));
        assert_eq!(bench.run("object idletime k"), ":1000 ");
        run(&mut bench, &args(b"freq", b"100"));
        assert_eq!(bench.run("object idletime k"), ":0 ");
        bench.limits.lfu = true;
        run(&mut bench, &args(b"freq", b"100"));
        assert_eq!(bench.run("object freq k"), ":100 ");
        run(&mut bench, &args(b"idletime", b"1000"));
        assert_eq!(bench.run("object freq k"), ":5 ");
    }
}
