//! `keyspace_hits` and `keyspace_misses` of INFO: each command counts what it counts in Redis.
//!
//! The numbers are those of redis-server 7.0: `RINGFORT_TEST_SERVER=redis scripts/test --only lookups` holds them against
//! it.

mod support;

use support::{
    connection::Connection,
    reply::{Protocol, Reply},
    server::Server,
};

/// What there is before each command. `old` has expired by then, `no` and `dst` are not there.
const DATA: &[&str] = &[
    "SET s abc",
    "SET n 5",
    "RPUSH l a b c",
    "HSET h f 1 g 2",
    "SADD t 1 2 3",
    "SADD u 2 3 4",
    "ZADD z 1 a 2 b",
    "XADD x 1-1 f v",
    "XGROUP CREATE x g 0",
    "SET old x PXAT 1",
];

/// Commands, and how many of their look-ups hit and miss.
#[rustfmt::skip]
const COMMANDS: &[(&str, u64, u64)] = &[
    ("GET s", 1, 0),
    ("GET no", 0, 1),
    ("GET old", 0, 1),
    ("GET l", 1, 0),
    ("MGET s no l", 2, 1),
    ("STRLEN s", 1, 0),
    ("STRLEN no", 0, 1),
    ("GETRANGE s 0 1", 1, 0),
    ("SUBSTR no 0 1", 0, 1),
    ("LCS s no", 1, 1),
    ("SET s x", 0, 0),
    ("SET s x GET", 1, 0),
    ("SET no x GET", 0, 1),
    ("SET s x NX GET", 1, 0),
    ("SET l x GET", 1, 0),
    ("SET s x XX", 0, 0),
    ("SETNX s x", 0, 0),
    ("SETEX s 10 x", 0, 0),
    ("MSET s x no x", 0, 0),
    ("MSETNX s x no x", 0, 0),
    ("GETSET s x", 1, 0),
    ("GETDEL s", 1, 0),
    ("GETDEL no", 0, 1),
    ("GETEX s", 1, 0),
    ("GETEX no", 0, 1),
    ("GETEX s EX 100", 1, 0),
    ("APPEND s x", 0, 0),
    ("INCR n", 0, 0),
    ("SETRANGE s 1 x", 0, 0),
    ("GETBIT s 1", 1, 0),
    ("BITCOUNT no", 0, 1),
    ("BITPOS s 1", 1, 0),
    ("SETBIT s 1 1", 0, 0),
    ("BITOP AND dst s no", 1, 1),
    ("BITFIELD s GET u8 0", 1, 0),
    ("BITFIELD no GET u8 0", 0, 1),
    ("BITFIELD s SET u8 0 1", 0, 0),
    ("BITFIELD_RO s GET u8 0", 1, 0),
    ("EXISTS s", 1, 0),
    ("EXISTS s no s", 2, 1),
    ("TYPE s", 1, 0),
    ("TYPE no", 0, 1),
    ("TTL s", 1, 0),
    ("PTTL no", 0, 1),
    ("EXPIRETIME s", 1, 0),
    ("TOUCH s no", 1, 1),
    ("OBJECT ENCODING s", 1, 0),
    ("OBJECT ENCODING no", 0, 1),
    ("OBJECT IDLETIME s", 1, 0),
    ("OBJECT REFCOUNT no", 0, 1),
    ("MEMORY USAGE s", 0, 0),
    ("MEMORY USAGE no", 0, 0),
    ("DEL s no", 0, 0),
    ("UNLINK s", 0, 0),
    ("EXPIRE s 10", 0, 0),
    ("EXPIRE no 10", 0, 0),
    ("PERSIST s", 0, 0),
    ("RENAME s dst", 0, 0),
    ("RENAMENX s l", 0, 0),
    ("COPY s dst", 1, 0),
    ("COPY no dst", 0, 1),
    ("COPY s l", 1, 0),
    ("MOVE s 1", 0, 0),
    ("KEYS *", 0, 0),
    ("RANDOMKEY", 0, 0),
    ("DBSIZE", 0, 0),
    ("SCAN 0", 0, 0),
    ("HGET h f", 1, 0),
    ("HGET no f", 0, 1),
    ("HMGET h f x", 1, 0),
    ("HGETALL h", 1, 0),
    ("HKEYS no", 0, 1),
    ("HLEN h", 1, 0),
    ("HEXISTS h f", 1, 0),
    ("HSTRLEN h f", 1, 0),
    ("HRANDFIELD h", 1, 0),
    ("HSCAN h 0", 1, 0),
    ("HSCAN no 0", 0, 1),
    ("HSET h f 2", 0, 0),
    ("HSETNX h f 2", 0, 0),
    ("HINCRBY h f 1", 0, 0),
    ("HDEL h f", 0, 0),
    ("LLEN l", 1, 0),
    ("LLEN no", 0, 1),
    ("LRANGE l 0 -1", 1, 0),
    ("LINDEX l 0", 1, 0),
    ("LPOS l a", 1, 0),
    ("LPUSH l x", 0, 0),
    ("LPUSHX l x", 0, 0),
    ("LPUSHX no x", 0, 0),
    ("LPOP l", 0, 0),
    ("LPOP no", 0, 0),
    ("LSET l 0 x", 0, 0),
    ("LTRIM l 0 0", 0, 0),
    ("LREM l 0 a", 0, 0),
    ("LINSERT l BEFORE a x", 0, 0),
    ("LMOVE l dst LEFT LEFT", 0, 0),
    ("LMOVE no dst LEFT LEFT", 0, 0),
    ("LMOVE l s LEFT LEFT", 0, 0),
    ("RPOPLPUSH l l", 0, 0),
    ("LMPOP 2 no l LEFT", 0, 0),
    ("SADD t 9", 0, 0),
    ("SCARD t", 1, 0),
    ("SISMEMBER t 1", 1, 0),
    ("SMISMEMBER no 1", 0, 1),
    ("SMEMBERS t", 1, 0),
    ("SRANDMEMBER t", 1, 0),
    ("SPOP t", 0, 0),
    ("SREM t 1", 0, 0),
    ("SMOVE t u 1", 0, 0),
    ("SMOVE no u 1", 0, 0),
    ("SSCAN t 0", 1, 0),
    ("SINTER t u", 2, 0),
    ("SINTER no u", 1, 1),
    ("SINTERCARD 2 t u", 2, 0),
    ("SUNION t no", 1, 1),
    ("SDIFF t u", 2, 0),
    ("SDIFF no u", 1, 1),
    ("SINTERSTORE dst t u", 2, 0),
    ("SINTERSTORE dst no u", 1, 1),
    ("SUNIONSTORE dst t no", 1, 1),
    ("SDIFFSTORE dst t u", 2, 0),
    ("ZADD z 3 c", 0, 0),
    ("ZINCRBY z 1 a", 0, 0),
    ("ZSCORE z a", 1, 0),
    ("ZSCORE no a", 0, 1),
    ("ZMSCORE z a x", 1, 0),
    ("ZCARD z", 1, 0),
    ("ZRANK z a", 1, 0),
    ("ZCOUNT z 0 9", 1, 0),
    ("ZLEXCOUNT z - +", 1, 0),
    ("ZRANGE z 0 -1", 1, 0),
    ("ZRANGEBYSCORE z 0 9", 1, 0),
    ("ZREVRANGE no 0 -1", 0, 1),
    ("ZRANDMEMBER z", 1, 0),
    ("ZSCAN z 0", 1, 0),
    ("ZPOPMIN z", 0, 0),
    ("ZREM z a", 0, 0),
    ("ZREMRANGEBYRANK z 0 0", 0, 0),
    ("ZMPOP 2 no z MIN", 0, 0),
    ("ZUNION 2 z no", 1, 1),
    ("ZINTER 2 z t", 2, 0),
    ("ZINTERCARD 2 z no", 1, 1),
    ("ZDIFF 2 z no", 1, 1),
    ("ZUNIONSTORE dst 2 z t", 2, 0),
    ("ZINTERSTORE dst 2 z no", 1, 1),
    ("ZDIFFSTORE dst 2 z no", 1, 1),
    ("ZRANGESTORE dst z 0 -1", 1, 0),
    ("ZRANGESTORE dst no 0 -1", 0, 1),
    ("XADD x * f v", 0, 0),
    ("XADD no * f v", 0, 0),
    ("XLEN x", 1, 0),
    ("XLEN no", 0, 1),
    ("XRANGE x - +", 1, 0),
    ("XREVRANGE no + -", 0, 1),
    ("XDEL x 1-1", 0, 0),
    ("XTRIM x MAXLEN 0", 0, 0),
    ("XSETID x 5-0", 0, 0),
    ("XREAD STREAMS x no 0 0", 2, 2),
    ("XREAD STREAMS x $", 2, 0),
    ("XGROUP CREATE x h 0", 0, 0),
    ("XGROUP CREATECONSUMER x g ann", 0, 0),
    ("XREADGROUP GROUP g ann STREAMS x >", 2, 0),
    ("XREADGROUP GROUP g ann STREAMS x 0", 2, 0),
    ("XREADGROUP GROUP g ann STREAMS no >", 0, 1),
    ("XACK x g 1-1", 1, 0),
    ("XACK no g 1-1", 0, 1),
    ("XPENDING x g", 1, 0),
    ("XCLAIM x g ann 0 1-1", 1, 0),
    ("XCLAIM no g ann 0 1-1", 0, 1),
    ("XAUTOCLAIM x g ann 0 0", 1, 0),
    ("XAUTOCLAIM no g ann 0 0", 0, 1),
    ("XINFO STREAM x", 1, 0),
    ("XINFO GROUPS no", 0, 1),
];

fn call(connection: &mut Connection, command: &str) -> Reply {
    let words: Vec<&str> = command.split(' ').collect();
    connection.call(&words).expect("a reply")
}

fn counters(connection: &mut Connection) -> (u64, u64) {
    let Reply::Bulk(text) = call(connection, "INFO stats") else { panic!("INFO is text") };
    let text = String::from_utf8_lossy(&text).into_owned();
    let counter = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
    };
    (counter("keyspace_hits"), counter("keyspace_misses"))
}

#[test]
fn commands_count_the_look_ups_that_they_count_in_redis() {
    let server = Server::from_environment().expect("the server starts");
    let mut connection = server.connect(Protocol::Resp2).expect("the server answers");
    let mut wrong = Vec::new();
    for (command, hits, misses) in COMMANDS {
        call(&mut connection, "FLUSHALL");
        DATA.iter().for_each(|command| drop(call(&mut connection, command)));
        let before = counters(&mut connection);
        call(&mut connection, command);
        let after = counters(&mut connection);
        let counted = (after.0 - before.0, after.1 - before.1);
        if counted != (*hits, *misses) {
            wrong.push(format!("{command}: {counted:?}, not {:?}", (hits, misses)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    assert_ne!(counters(&mut connection), (0, 0));
    call(&mut connection, "CONFIG RESETSTAT");
    assert_eq!(counters(&mut connection), (0, 0));
}
