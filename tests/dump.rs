//! Values go from redis-server to this server and back by DUMP and RESTORE: of every type, of every size at which the
//! form in memory changes, compressed and not.

mod support;

use support::{
    connection::Connection,
    notation,
    reply::{Protocol, Reply, Unordered},
    server::{Kind, Server},
};

/// Sizes around those at which collections change their form.
const SIZES: [usize; 10] = [1, 2, 100, 127, 128, 129, 511, 512, 513, 2_000];

/// A value: the commands that make it, without their key, and the one that reads it.
struct Value {
    what: String,
    make: Vec<Vec<Vec<u8>>>,
    read: &'static str,
}

/// Makes a text of so many bytes.
type Maker = fn(usize) -> Vec<u8>;

/// Texts of different kinds: integers of all widths, words, texts around the lengths that packed collections take, and
/// texts that can be compressed.
fn texts() -> Vec<(&'static str, Maker)> {
    vec![
        ("small integers", |n| n.to_string().into()),
        ("integers", |n| {
            let wide = (n as i64 - 50).wrapping_mul(0x0123_4567_89ab_cdef) >> (n % 8 * 8);
            format!("{wide}{:04}", n).into()
        }),
        ("words", |n| format!("word-{n}").into()),
        ("long texts", |n| format!("{n:>0$}", 60 + n % 10).into()),
        ("other bytes", |n| {
            let mut bytes = n.to_le_bytes().to_vec();
            bytes.extend((0..n % 40).map(|i| (i * 37 + n) as u8));
            bytes
        }),
    ]
}

fn values() -> Vec<Value> {
    let command = |name: &str, args: Vec<Vec<u8>>| [vec![name.as_bytes().to_vec()], args].concat();
    let mut values = Vec::new();
    let strings: [&[u8]; 12] = [
        b"",
        b"0",
        b"-1",
        b"127",
        b"-32769",
        b"2147483647",
        b"2147483648",
        b"-9223372036854775808",
        b"007",
        b"a",
        &[b'x'; 63],
        &[b'y'; 64],
    ];
    let long =
        [16_383, 16_384, 100_000].map(|len| (0..len).map(|n: usize| (n * n / 7) as u8).collect::<Vec<_>>());
    let strings = strings.into_iter().map(<[u8]>::to_vec).chain(long).chain([vec![b'z'; 50_000]]);
    for (index, text) in strings.enumerate() {
        let make = vec![command("SET", vec![text])];
        values.push(Value { what: format!("string {index}"), make, read: "GET" });
    }
    for (kind, text) in texts() {
        for size in SIZES {
            let all: Vec<Vec<u8>> = (0..size).map(text).collect();
            let pairs = |with: fn(usize) -> String| -> Vec<Vec<u8>> {
                all.iter().enumerate().flat_map(|(n, text)| [with(n).into(), text.clone()]).collect()
            };
            let what = |name: &str| format!("{name} of {size} {kind}");
            let fields: Vec<Vec<u8>> =
                all.iter().enumerate().flat_map(|(n, field)| [field.clone(), text(n + 7)]).collect();
            values.push(Value {
                what: what("list"),
                make: vec![command("RPUSH", all.clone())],
                read: "LRANGE",
            });
            values.push(Value {
                what: what("set"),
                make: vec![command("SADD", all.clone())],
                read: "SMEMBERS",
            });
            values.push(Value { what: what("hash"), make: vec![command("HSET", fields)], read: "HGETALL" });
            let scores = pairs(|n| match n % 5 {
                0 => format!("{n}"),
                1 => format!("-{n}.25"),
                2 => format!("{n}e{}", n % 300),
                3 => "inf".into(),
                _ => format!("0.{n}"),
            });
            values.push(Value {
                what: what("sorted set"),
                make: vec![command("ZADD", scores)],
                read: "ZRANGE",
            });
        }
    }
    for (kind, text) in texts() {
        for size in SIZES {
            let entry = |n: usize| {
                let fields =
                    if n % 7 == 3 { vec![text(n), text(n + 1)] } else { vec![b"field".to_vec(), text(n)] };
                command("XADD", [vec![format!("{}-{}", n / 3 + 1, n).into_bytes()], fields].concat())
            };
            let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
            let mut make: Vec<_> = (0..size).map(entry).collect();
            make.push(command("XGROUP CREATE", words("g 1 ENTRIESREAD 2")));
            make.push(command("XGROUP CREATE", words("none 0")));
            make.push(command("XGROUP CREATECONSUMER", words("g idle")));
            for (n, consumer) in ["ann", "bob", "ann", "cid"].into_iter().enumerate() {
                let claim = format!(
                    "g {consumer} 0 {}-{} TIME {} RETRYCOUNT {n} FORCE JUSTID",
                    n / 3 + 1,
                    n,
                    1_000 + n
                );
                make.push(command("XCLAIM", words(&claim)));
            }
            make.push(command("XDEL", words("1-1 20-59 40-119")));
            make.push(command("XTRIM", words("MAXLEN 1500")));
            values.push(Value { what: format!("stream of {size} {kind}"), make, read: "XINFO STREAM" });
        }
    }
    // Elements that fill a node of a list alone, and nodes in between that hold many.
    let mixed = [vec![b'a'; 9_000], b"b".to_vec(), vec![b'c'; 8_190], b"1".to_vec(), vec![b'd'; 70_000]];
    values.push(Value {
        what: "mixed list".into(),
        make: vec![command("RPUSH", mixed.to_vec())],
        read: "LRANGE",
    });
    values
}

/// Makes the value at `k`.
fn make(connection: &mut Connection, value: &Value) {
    connection.call(&["DEL", "k"]).expect("a reply");
    for command in &value.make {
        let (name, args) = command.split_first().expect("a name");
        let name = name.split(|byte| *byte == b' ');
        let args: Vec<&[u8]> = name.chain([&b"k"[..]]).chain(args.iter().map(Vec::as_slice)).collect();
        let reply = connection.call(&args).expect("a reply");
        assert!(!matches!(reply, Reply::Error(_)), "{}: {}", value.what, notation::write(&reply));
    }
}

/// Reads the value at `k`, with its elements in order.
fn read(connection: &mut Connection, value: &Value) -> Reply {
    let args: &[&str] = match value.read {
        "LRANGE" => &["LRANGE", "k", "0", "-1"],
        "ZRANGE" => &["ZRANGE", "k", "0", "-1", "WITHSCORES"],
        "XINFO STREAM" => &["XINFO", "STREAM", "k", "FULL", "COUNT", "0"],
        name => &[name, "k"],
    };
    let mut reply = connection.call(args).expect("a reply");
    reply.forget_times();
    if matches!(value.read, "SMEMBERS" | "HGETALL") {
        reply.sort(Unordered { pairs: value.read == "HGETALL", element: None });
    }
    reply
}

/// Takes each value from one server to the other, and compares what both read.
fn carry(from: &mut Connection, to: &mut Connection, way: &str) {
    for value in values() {
        make(from, &value);
        let Ok(Reply::Bulk(payload)) = from.call(&["DUMP", "k"]) else {
            panic!("no payload: {}", value.what)
        };
        let restored = to.call(&[&b"RESTORE"[..], b"k", b"0", &payload, b"REPLACE"]).expect("a reply");
        assert_eq!(restored, Reply::Simple(b"OK".to_vec()), "{way}: {}", value.what);
        assert_eq!(read(from, &value), read(to, &value), "{way}: {}", value.what);
    }
}

fn servers() -> (Server, Server) {
    let redis = Server::start(Kind::Redis).expect("redis-server starts");
    (redis, Server::start(Kind::Ringfort).expect("the server starts"))
}

#[test]
fn redis_reads_what_this_server_writes() {
    let (redis, ours) = servers();
    let (mut redis, mut ours) = (
        redis.connect(Protocol::Resp2).expect("redis-server answers"),
        ours.connect(Protocol::Resp2).expect("the server answers"),
    );
    // Redis shall look at every element.
    let looks = redis.call(&["CONFIG", "SET", "sanitize-dump-payload", "yes"]).expect("a reply");
    assert_eq!(looks, Reply::Simple(b"OK".to_vec()));
    carry(&mut ours, &mut redis, "to redis");
}

#[test]
fn this_server_reads_what_redis_writes() {
    let (redis, ours) = servers();
    let (mut redis, mut ours) = (
        redis.connect(Protocol::Resp2).expect("redis-server answers"),
        ours.connect(Protocol::Resp2).expect("the server answers"),
    );
    for compression in ["yes", "no"] {
        redis.call(&["CONFIG", "SET", "rdbcompression", compression]).expect("a reply");
        carry(&mut redis, &mut ours, compression);
    }
}

/// Both have the same bytes, hence the same payload, whatever was shown in whatever order.
#[test]
fn hyperloglogs_are_equal_byte_for_byte() {
    let (redis, ours) = servers();
    let mut both = [
        redis.connect(Protocol::Resp2).expect("redis-server answers"),
        ours.connect(Protocol::Resp2).expect("the server answers"),
    ];
    let mut all = |args: &[&[u8]]| {
        let [redis, ours] = &mut both;
        let (redis, ours) = (redis.call(args).expect("a reply"), ours.call(args).expect("a reply"));
        assert_eq!(redis, ours, "{}", String::from_utf8_lossy(&args.join(&b" "[..])));
    };
    for step in 0..6_000_u32 {
        let element = step.wrapping_mul(0x9e37_79b9).to_le_bytes();
        let key = [b'a' + (step % 3) as u8];
        all(&[b"PFADD", &key, &element[..1 + step as usize % 4], step.to_string().as_bytes()]);
        if step % 97 == 0 {
            for key in [b"a", b"b", b"c", b"m"] {
                all(&[b"GET", key]);
                all(&[b"PFCOUNT", key]);
                all(&[b"GET", key]);
            }
            all(&[b"PFCOUNT", b"a", b"b", b"c"]);
            all(&[b"PFMERGE", b"m", &key]);
            all(&[b"GET", b"m"]);
        }
    }
}
