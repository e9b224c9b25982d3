//! Random commands, reproducible from a seed, for comparing two servers.
//!
//! Keys come from a small set, so that commands meet each other's results; batches are large enough to push
//! collections over the sizes at which their form in memory changes; about one command in twenty has the wrong type,
//! a bad number or an option too many. What a server may answer freely is left out (random members) or marked
//! ([`Compare`]). Deadlines are so far away that nothing expires while the comparison runs; where a command's effect
//! depends on which of two deadlines is the later, both are instants, not durations. Ranges of names are asked only of
//! sorted sets whose scores are all equal, since Redis promises nothing for others.

mod sketches;
mod sorting;
mod streams;
mod waiting;

use std::fmt::Display;

use super::reply::Unordered;

/// How replies to a command are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Compare {
    Exactly,
    InAnyOrder(Unordered),
    /// Integers may differ by so much, since the servers' clocks are read one after the other.
    Within(i64),
    /// Without times, and without what Redis tells in later versions only: for what tells of streams.
    Timed,
}

#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) args: Vec<Vec<u8>>,
    pub(crate) compare: Compare,
}

impl Command {
    fn new(name: &str) -> Self {
        Self {
            args: name.split(' ').map(|word| word.as_bytes().to_vec()).collect(),
            compare: Compare::Exactly,
        }
    }

    fn arg(mut self, arg: impl Into<Vec<u8>>) -> Self {
        self.args.push(arg.into());
        self
    }

    fn number(self, number: impl Display) -> Self {
        self.arg(number.to_string())
    }

    fn args<A: Into<Vec<u8>>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Words that are all there or all not, such as an option with its value.
    fn option(self, words: &str) -> Self {
        self.args(words.split_whitespace())
    }

    fn unordered(mut self) -> Self {
        self.compare = Compare::InAnyOrder(Unordered { pairs: false, element: None });
        self
    }

    /// Names and values, flat in RESP2 and a map in RESP3.
    fn unordered_pairs(mut self) -> Self {
        self.compare = Compare::InAnyOrder(Unordered { pairs: true, element: None });
        self
    }

    fn scanned(mut self, pairs: bool) -> Self {
        self.compare = Compare::InAnyOrder(Unordered { pairs, element: Some(1) });
        self
    }

    fn within(mut self, tolerance: i64) -> Self {
        self.compare = Compare::Within(tolerance);
        self
    }
}

/// Keys of each type; `x` are written by commands that store results, `e` are sorted sets of equal scores.
const KEYS_PER_TYPE: usize = 4;
/// A batch of so many elements takes a collection over one of the sizes at which its form changes.
const BATCHES: [usize; 3] = [20, 140, 560];
/// Unix seconds, far from now.
const FAR: i64 = 33_000_000_000;

pub(crate) struct Generator {
    rng: fastrand::Rng,
    /// Near which the ids of streams are.
    time: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), time: 0 }
    }

    pub(crate) fn command(&mut self) -> Command {
        let command = match self.rng.usize(..11) {
            0 => self.string(),
            1 => self.key_command(),
            2 => self.list(),
            3 => self.set(),
            4 => self.hash(),
            5 => self.sketch(),
            6 => self.geo(),
            7 => return self.sort(),
            8 | 9 => self.stream(),
            _ => self.sorted_set(),
        };
        if self.rng.usize(..60) == 0 { self.damaged(command) } else { command }
    }

    /// One word too many, one too few, or another in its place.
    fn damaged(&mut self, mut command: Command) -> Command {
        // With another count or cursor, these reply what they like; with other scores, so do ranges of names.
        let name = String::from_utf8_lossy(&command.args[0]).into_owned();
        let is_free =
            name == "SPOP" || ["SCAN", "RANDMEMBER", "RANDFIELD"].iter().any(|end| name.ends_with(end));
        // These would wait for longer.
        let waits = ["BL", "BR", "BZ"].iter().any(|start| name.starts_with(start));
        if is_free || waits || command.args.iter().any(|arg| arg.starts_with(b"e") && arg.len() == 2) {
            return command;
        }
        match self.rng.usize(..3) {
            0 => command.args.push(self.value()),
            1 if command.args.len() > 1 => drop(command.args.pop()),
            _ => {
                let at = self.rng.usize(..command.args.len());
                command.args[at] = self.one(&["", "abc", "-1", "1.5", "nan", "99999999999999999999"]).into();
            }
        }
        command
    }

    fn one<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.rng.usize(..words.len())]
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.rng.usize(..one_in) == 0
    }

    /// A key of the type that `prefix` stands for; now and then of another.
    fn key(&mut self, prefix: char) -> String {
        let prefix = if self.chance(30) {
            self.one(&["s", "l", "t", "h", "z", "x", "m"]).to_owned()
        } else {
            prefix.into()
        };
        format!("{prefix}{}", self.rng.usize(..KEYS_PER_TYPE))
    }

    fn any_key(&mut self) -> String {
        let prefix = self.one(&["s", "l", "t", "h", "z", "x", "m"]);
        format!("{prefix}{}", self.rng.usize(..KEYS_PER_TYPE))
    }

    fn keys(&mut self, prefix: char) -> Vec<String> {
        (0..self.rng.usize(1..4)).map(|_| self.key(prefix)).collect()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.rng.usize(..8) {
            0 | 1 => self.integer().to_string().into(),
            2 => self.decimal().into(),
            3 => Vec::new(),
            4 => (0..self.rng.usize(1..80)).map(|_| self.rng.u8(..)).collect(),
            5 => "long ".repeat(self.rng.usize(8..60)).into(),
            _ => self.member(),
        }
    }

    /// From a set small enough that members are met again.
    fn member(&mut self) -> Vec<u8> {
        match self.rng.usize(..4) {
            0 => self.rng.i64(-20..200).to_string().into(),
            1 => format!("member-{}", self.rng.usize(..800)).into(),
            2 => self.one(&["a", "b", "aa", "ab", "B", "", "\x01", "0", "00", "-0", "1.0"]).into(),
            _ => format!("m{}", self.rng.usize(..100)).into(),
        }
    }

    fn members(&mut self) -> Vec<Vec<u8>> {
        if self.chance(25) {
            let (first, count) = (self.rng.i64(0..1000), BATCHES[self.rng.usize(..BATCHES.len())]);
            let prefix = self.one(&["", "", "m", "member-"]);
            return (first..).take(count).map(|n| format!("{prefix}{n}").into_bytes()).collect();
        }
        (0..self.rng.usize(1..5)).map(|_| self.member()).collect()
    }

    fn integer(&mut self) -> i64 {
        match self.rng.usize(..12) {
            0 => i64::MAX - self.rng.i64(0..3),
            1 => i64::MIN + self.rng.i64(0..3),
            2 => self.rng.i64(..),
            3 => 0,
            _ => self.rng.i64(-100..100),
        }
    }

    /// A decimal of few digits, so that sums stay exact in decimal.
    fn decimal(&mut self) -> String {
        let (whole, digits) = (self.rng.i64(-1000..1000), self.rng.usize(..5));
        if digits == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{:0digits$}", self.rng.u64(0..10_u64.pow(digits as u32)))
        }
    }

    /// Never -0, whose sign Redis keeps in large sorted sets and loses in small ones; here it has none.
    fn score(&mut self) -> String {
        match self.rng.usize(..8) {
            0 => {
                self.one(&["inf", "-inf", "0", "0.0", "1e20", "1e-7", "3.0", "17976931348623157e292"]).into()
            }
            1 | 2 => self.decimal(),
            _ => self.rng.i64(-50..500).to_string(),
        }
    }

    fn position(&mut self) -> i64 {
        if self.chance(10) { self.integer() } else { self.rng.i64(-12..12) }
    }

    fn score_bound(&mut self) -> String {
        let bound = if self.chance(4) { self.one(&["-inf", "+inf"]).to_owned() } else { self.score() };
        if self.chance(3) { format!("({bound}") } else { bound }
    }

    fn name_bound(&mut self) -> Vec<u8> {
        match self.rng.usize(..4) {
            0 => self.one(&["-", "+"]).into(),
            n => [if n == 1 { b"(" } else { b"[" }, self.member().as_slice()].concat(),
        }
    }

    fn limit(&mut self, command: Command) -> Command {
        if self.chance(3) {
            let (offset, count) = (self.rng.i64(-1..5), self.rng.i64(-1..10));
            command.arg("LIMIT").number(offset).number(count)
        } else {
            command
        }
    }

    fn equal_key(&mut self) -> String {
        format!("e{}", self.rng.usize(..KEYS_PER_TYPE))
    }

    fn far_seconds(&mut self) -> i64 {
        FAR + self.rng.i64(0..1000)
    }

    fn string(&mut self) -> Command {
        let key = self.key('s');
        match self.rng.usize(..32) {
            0..4 => {
                let mut command = Command::new("SET").arg(key).arg(self.value());
                command = command.option(self.one(&["", "", "", "NX", "XX", "NX XX"]));
                command = command.option(self.one(&["", "", "GET"]));
                match self.rng.usize(..8) {
                    0 => command.option("KEEPTTL"),
                    1 => command.arg("EX").number(100_000 + self.rng.i64(0..1000)),
                    2 => command.arg("PXAT").number(self.far_seconds() * 1000 + self.rng.i64(0..1000)),
                    3 => command.arg("EXAT").number(self.far_seconds()),
                    4 if self.chance(4) => command.arg("PX").number(self.rng.i64(-5..1)),
                    _ => command,
                }
            }
            4 | 5 => Command::new("GET").arg(key),
            6 => Command::new(self.one(&["SETNX", "GETSET"])).arg(key).arg(self.value()),
            7 => Command::new("SETEX").arg(key).number(100_000).arg(self.value()),
            8 => Command::new("GETDEL").arg(key),
            9 => {
                let option = self.one(&["", "PERSIST", "EX 100000", "PXAT 33000000000123", "EX 0", "NX"]);
                Command::new("GETEX").arg(key).option(option)
            }
            10 => Command::new("MGET").args(self.keys('s')),
            11 => {
                let mut command = Command::new(self.one(&["MSET", "MSETNX"]));
                for key in self.keys('s') {
                    command = command.arg(key).arg(self.value());
                }
                command
            }
            12 | 13 => Command::new("APPEND").arg(key).arg(self.value()),
            14 => Command::new("STRLEN").arg(key),
            15 => {
                let (from, to) = (self.position(), self.position());
                Command::new(self.one(&["GETRANGE", "SUBSTR"])).arg(key).number(from).number(to)
            }
            16 => {
                let offset = self.rng.usize(..2000);
                Command::new("SETRANGE").arg(key).number(offset).arg(self.value())
            }
            17..19 => Command::new(self.one(&["INCR", "DECR"])).arg(key),
            19 => Command::new(self.one(&["INCRBY", "DECRBY"])).arg(key).number(self.integer()),
            20 => Command::new("INCRBYFLOAT").arg(key).arg(self.decimal()),
            21 => {
                let option =
                    self.one(&["", "LEN", "IDX", "IDX WITHMATCHLEN", "IDX MINMATCHLEN 3", "LEN IDX"]);
                // Two long values would cost their product.
                Command::new("LCS").arg("short0").arg("short1").option(option)
            }
            22 => {
                let short = self.one(&["short0", "short1"]);
                Command::new("SET").arg(short).arg(self.one(&[
                    "ohmytext",
                    "mynewtext",
                    "",
                    "abcabcabc",
                    "xaxbxc",
                ]))
            }
            23 => Command::new("SETBIT").arg(key).number(self.rng.usize(..5000)).number(self.rng.u8(..2)),
            24 => Command::new("GETBIT").arg(key).number(self.rng.usize(..6000)),
            25 => {
                let command = Command::new("BITCOUNT").arg(key);
                self.bit_range(command)
            }
            26 => {
                let command = Command::new("BITPOS").arg(key).number(self.rng.u8(..2));
                self.bit_range(command)
            }
            27 => {
                let operation = self.one(&["AND", "OR", "XOR", "NOT"]);
                let destination = self.one(&["s0", "x0", "x1"]);
                Command::new("BITOP").arg(operation).arg(destination).args(self.keys('s'))
            }
            28..30 => self.bitfield(key),
            30 => Command::new("COPY").arg(key).arg(self.key('s')).option(self.one(&[
                "",
                "REPLACE",
                "DB 1",
                "DB 1 REPLACE",
            ])),
            _ => Command::new("OBJECT ENCODING").arg(key),
        }
    }

    fn bit_range(&mut self, command: Command) -> Command {
        match self.rng.usize(..4) {
            0 => command,
            1 => command.number(self.position()),
            _ => {
                let (from, to) = (self.position(), self.position());
                command.number(from).number(to).option(self.one(&["", "BYTE", "BIT"]))
            }
        }
    }

    fn bitfield(&mut self, key: String) -> Command {
        let mut command = Command::new("BITFIELD").arg(key);
        for _ in 0..self.rng.usize(1..4) {
            command = command.option(self.one(&["", "", "OVERFLOW WRAP", "OVERFLOW SAT", "OVERFLOW FAIL"]));
            let kind = format!("{}{}", self.one(&["u", "i"]), self.rng.usize(1..66));
            let offset = format!("{}{}", self.one(&["", "#"]), self.rng.usize(..100));
            command = match self.rng.usize(..3) {
                0 => command.arg("GET").arg(kind).arg(offset),
                n => command
                    .arg(if n == 1 { "SET" } else { "INCRBY" })
                    .arg(kind)
                    .arg(offset)
                    // Near the least integer Redis overflows itself where it looks for an overflow, and saturates
                    // at the wrong end.
                    .number(self.integer() / 4),
            };
        }
        command
    }

    fn key_command(&mut self) -> Command {
        let key = self.any_key();
        match self.rng.usize(..24) {
            0 | 1 => Command::new(self.one(&["DEL", "UNLINK"])).arg(key),
            2 => Command::new(self.one(&["EXISTS", "TOUCH"])).args([key, self.any_key()]),
            3 => Command::new("TYPE").arg(key),
            4 => Command::new("EXPIRE").arg(key).number(100_000 + self.rng.i64(0..1000)),
            5 => Command::new("PEXPIRE").arg(key).number(100_000_000 + self.rng.i64(0..1000)),
            6 | 7 => {
                let condition = self.one(&["", "NX", "XX", "GT", "LT", "XX GT", "NX GT", "XX LT"]);
                Command::new("EXPIREAT").arg(key).number(self.far_seconds()).option(condition)
            }
            8 => {
                let condition = self.one(&["", "NX", "XX", "GT", "LT"]);
                Command::new("PEXPIREAT").arg(key).number(self.far_seconds() * 1000 + 123).option(condition)
            }
            9 => Command::new(self.one(&["TTL", "EXPIRETIME"])).arg(key).within(5),
            10 => Command::new(self.one(&["PTTL", "PEXPIRETIME"])).arg(key).within(5000),
            11 => Command::new("PERSIST").arg(key),
            12 => Command::new(self.one(&["RENAME", "RENAMENX"])).arg(key).arg(self.any_key()),
            13 => Command::new("COPY").arg(key).arg(self.any_key()).option(self.one(&["", "REPLACE"])),
            14 => Command::new("MOVE").arg(key).number(1),
            15 => {
                Command::new("KEYS").arg(self.one(&["*", "s*", "?0", "[a-m]1", "[^s]*", "x\\1"])).unordered()
            }
            16 => Command::new("DBSIZE"),
            17 => Command::new("EXPIRE").arg(key).number(self.rng.i64(-2..1)),
            18 if self.chance(10) => Command::new("SWAPDB 0 1"),
            19 => Command::new("SCAN 0 COUNT 1000000")
                .option(self.one(&["", "MATCH h*", "TYPE list", "TYPE zset"]))
                .scanned(false),
            // Lists and sets have other names from Redis 7.2 on.
            _ => {
                let prefix = self.one(&["s", "h", "z"]);
                let key = format!("{prefix}{}", self.rng.usize(..KEYS_PER_TYPE));
                Command::new("TYPE").arg(key)
            }
        }
    }

    fn list(&mut self) -> Command {
        let key = self.key('l');
        match self.rng.usize(..26) {
            0..5 => Command::new(self.one(&["LPUSH", "RPUSH"])).arg(key).args(self.members()),
            5 => Command::new(self.one(&["LPUSHX", "RPUSHX"])).arg(key).args(self.members()),
            6 | 7 => {
                let command = Command::new(self.one(&["LPOP", "RPOP"])).arg(key);
                if self.chance(2) { command } else { command.number(self.rng.i64(-1..300)) }
            }
            8 => Command::new("LLEN").arg(key),
            9..11 => {
                let (from, to) = (self.position(), self.position());
                Command::new("LRANGE").arg(key).number(from).number(to)
            }
            11 => Command::new("LRANGE").arg(key).number(0).number(-1),
            12 => Command::new("LINDEX").arg(key).number(self.position()),
            13 => {
                let at = self.position();
                Command::new("LSET").arg(key).number(at).arg(self.value())
            }
            14 => {
                let (side, pivot) = (self.one(&["BEFORE", "AFTER"]), self.member());
                Command::new("LINSERT").arg(key).arg(side).arg(pivot).arg(self.value())
            }
            15 => {
                let count = self.rng.i64(-3..4);
                Command::new("LREM").arg(key).number(count).arg(self.member())
            }
            16 => {
                let (from, to) = (self.rng.i64(-300..20), self.rng.i64(-20..300));
                Command::new("LTRIM").arg(key).number(from).number(to)
            }
            17..19 => {
                let mut command = Command::new("LPOS").arg(key).arg(self.member());
                command = command.option(self.one(&["", "RANK 2", "RANK -1", "RANK -2", "RANK 0"]));
                command = command.option(self.one(&["", "COUNT 0", "COUNT 2", "COUNT -1"]));
                command.option(self.one(&["", "", "MAXLEN 3", "MAXLEN 0"]))
            }
            19 | 20 => {
                let (from, to) = (self.one(&["LEFT", "RIGHT"]), self.one(&["LEFT", "RIGHT"]));
                Command::new("LMOVE").arg(key).arg(self.key('l')).arg(from).arg(to)
            }
            21 => Command::new("RPOPLPUSH").arg(key).arg(self.key('l')),
            22 => {
                let keys = self.keys('l');
                let command =
                    Command::new("LMPOP").number(keys.len()).args(keys).arg(self.one(&["LEFT", "RIGHT"]));
                command.option(self.one(&["", "COUNT 2", "COUNT 200", "COUNT 0"]))
            }
            23 | 24 => self.waiting_for_list(),
            _ => Command::new("DEL").arg(key),
        }
    }

    fn set(&mut self) -> Command {
        let key = self.key('t');
        match self.rng.usize(..20) {
            0..5 => Command::new("SADD").arg(key).args(self.members()),
            5..7 => Command::new("SREM").arg(key).args(self.members()),
            7 => Command::new("SISMEMBER").arg(key).arg(self.member()),
            8 => Command::new("SMISMEMBER").arg(key).args(self.members()),
            9 => Command::new("SMEMBERS").arg(key).unordered(),
            10 => Command::new("SCARD").arg(key),
            11 => Command::new("SPOP").arg(key).number(100_000).unordered(),
            12 => Command::new("SMOVE").arg(key).arg(self.key('t')).arg(self.member()),
            13..15 => Command::new(self.one(&["SINTER", "SUNION", "SDIFF"])).args(self.keys('t')).unordered(),
            15..17 => {
                let destination = self.one(&["t0", "x0", "x1", "s1"]);
                let name = self.one(&["SINTERSTORE", "SUNIONSTORE", "SDIFFSTORE"]);
                Command::new(name).arg(destination).args(self.keys('t'))
            }
            17 => {
                let keys = self.keys('t');
                let limit = self.one(&["", "LIMIT 2", "LIMIT 0", "LIMIT -1"]);
                Command::new("SINTERCARD").number(keys.len()).args(keys).option(limit)
            }
            18 => Command::new("SSCAN").arg(key).option("0 COUNT 1000000").scanned(false),
            _ => Command::new("SRANDMEMBER").arg(key).number(100_000).unordered(),
        }
    }

    fn hash(&mut self) -> Command {
        let key = self.key('h');
        match self.rng.usize(..20) {
            0..5 => {
                let mut command = Command::new(self.one(&["HSET", "HSET", "HMSET"])).arg(key);
                let long = self.chance(40);
                for field in self.members() {
                    command = command.arg(field).arg(if long { self.value() } else { self.member() });
                }
                command
            }
            5 => Command::new("HSETNX").arg(key).arg(self.member()).arg(self.value()),
            6 => Command::new("HGET").arg(key).arg(self.member()),
            7 => Command::new("HMGET").arg(key).args(self.members()),
            8 => Command::new("HGETALL").arg(key).unordered_pairs(),
            9..11 => Command::new("HDEL").arg(key).args(self.members()),
            11 => Command::new("HLEN").arg(key),
            12 => Command::new(self.one(&["HEXISTS", "HSTRLEN"])).arg(key).arg(self.member()),
            13 => Command::new(self.one(&["HKEYS", "HVALS"])).arg(key).unordered(),
            14 | 15 => Command::new("HINCRBY").arg(key).arg(self.member()).number(self.integer()),
            16 => Command::new("HINCRBYFLOAT").arg(key).arg(self.member()).arg(self.decimal()),
            17 => Command::new("HSCAN").arg(key).option("0 COUNT 1000000").scanned(true),
            18 => Command::new("HRANDFIELD").arg(key).number(100_000).unordered(),
            _ => Command::new("OBJECT ENCODING").arg(key),
        }
    }

    fn sorted_set(&mut self) -> Command {
        let key = self.key('z');
        match self.rng.usize(..36) {
            0..6 => self.zadd(key),
            6 | 7 => {
                let score = self.score();
                Command::new("ZINCRBY").arg(key).arg(score).arg(self.member())
            }
            8 => Command::new("ZSCORE").arg(key).arg(self.member()),
            9 => Command::new("ZMSCORE").arg(key).args(self.members()),
            10 => Command::new("ZCARD").arg(key),
            11 => {
                let (low, high) = (self.score_bound(), self.score_bound());
                Command::new(self.one(&["ZCOUNT", "ZREMRANGEBYSCORE"])).arg(key).arg(low).arg(high)
            }
            12 => Command::new(self.one(&["ZRANK", "ZREVRANK"])).arg(key).arg(self.member()),
            13..18 => {
                let command = Command::new("ZRANGE");
                let command = self.zrange(command, key);
                command.option(self.one(&["", "WITHSCORES"]))
            }
            18 => {
                let (from, to) = (self.position(), self.position());
                Command::new("ZREVRANGE")
                    .arg(key)
                    .number(from)
                    .number(to)
                    .option(self.one(&["", "WITHSCORES"]))
            }
            19 | 20 => {
                let (low, high) = (self.score_bound(), self.score_bound());
                let command = Command::new(self.one(&["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]))
                    .arg(key)
                    .arg(low)
                    .arg(high);
                let command = command.option(self.one(&["", "WITHSCORES"]));
                self.limit(command)
            }
            21 => {
                let (low, high) = (self.name_bound(), self.name_bound());
                let name = self.one(&["ZRANGEBYLEX", "ZREVRANGEBYLEX"]);
                let command = Command::new(name).arg(self.equal_key()).arg(low).arg(high);
                self.limit(command)
            }
            22 if self.chance(2) => {
                let mut command = Command::new("ZADD").arg(self.equal_key());
                for member in self.members() {
                    command = command.arg("0").arg(member);
                }
                command
            }
            22 => {
                let (low, high) = (self.name_bound(), self.name_bound());
                Command::new(self.one(&["ZLEXCOUNT", "ZREMRANGEBYLEX"]))
                    .arg(self.equal_key())
                    .arg(low)
                    .arg(high)
            }
            23 | 24 => Command::new("ZREM").arg(key).args(self.members()),
            25 => {
                let (from, to) = (self.position(), self.position());
                Command::new("ZREMRANGEBYRANK").arg(key).number(from).number(to)
            }
            26 => {
                let command = Command::new(self.one(&["ZPOPMIN", "ZPOPMAX"])).arg(key);
                if self.chance(2) { command } else { command.number(self.rng.i64(-1..10)) }
            }
            27 if self.chance(2) => self.waiting_for_sorted_set(),
            27 => {
                let keys = self.keys('z');
                let command =
                    Command::new("ZMPOP").number(keys.len()).args(keys).arg(self.one(&["MIN", "MAX"]));
                command.option(self.one(&["", "COUNT 2", "COUNT 0"]))
            }
            28..31 => {
                let name =
                    self.one(&["ZUNION", "ZINTER", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFF", "ZDIFFSTORE"]);
                self.zset_algebra(name)
            }
            31 => {
                let keys = self.keys('z');
                Command::new("ZINTERCARD")
                    .number(keys.len())
                    .args(keys)
                    .option(self.one(&["", "LIMIT 2", "LIMIT -1"]))
            }
            32 => {
                let command = Command::new("ZRANGESTORE").arg(self.one(&["z0", "x2", "x3"]));
                self.zrange(command, key)
            }
            33 => Command::new("ZSCAN").arg(key).option("0 COUNT 1000000").scanned(true),
            34 => Command::new("ZRANDMEMBER").arg(key).number(100_000).unordered(),
            _ => Command::new("OBJECT ENCODING").arg(key),
        }
    }

    fn zadd(&mut self, key: String) -> Command {
        let mut command = Command::new("ZADD").arg(key);
        command = command.option(self.one(&["", "", "", "NX", "XX", "GT", "LT", "XX GT", "NX LT"]));
        command = command.option(self.one(&["", "", "CH"]));
        let increment = self.chance(10);
        let members = if increment { vec![self.member()] } else { self.members() };
        command = command.option(if increment { "INCR" } else { "" });
        // Equal scores put members in the order of their names.
        let fixed = self.chance(3).then(|| self.one(&["0", "1", "2.5"]));
        for member in members {
            let score = fixed.map_or_else(|| self.score(), str::to_owned);
            command = command.arg(score).arg(member);
        }
        command
    }

    fn zrange(&mut self, command: Command, key: String) -> Command {
        let command = match self.rng.usize(..3) {
            0 => {
                let (from, to) = (self.position(), self.position());
                command.arg(key).number(from).number(to)
            }
            1 => {
                let (low, high) = (self.score_bound(), self.score_bound());
                let command = command.arg(key).arg(low).arg(high).arg("BYSCORE");
                self.limit(command)
            }
            _ => {
                let (low, high) = (self.name_bound(), self.name_bound());
                let command = command.arg(self.equal_key()).arg(low).arg(high).arg("BYLEX");
                self.limit(command)
            }
        };
        command.option(self.one(&["", "REV"]))
    }

    fn zset_algebra(&mut self, name: &str) -> Command {
        let mut command = Command::new(name);
        let stores = name.ends_with("STORE");
        if stores {
            command = command.arg(self.one(&["z1", "x2", "x3"]));
        }
        // Plain sets count as sorted sets of scores 1.
        let mut keys = self.keys('z');
        if self.chance(4) {
            keys.push(self.key('t'));
        }
        let count = keys.len();
        command = command.number(count).args(keys);
        if !name.starts_with("ZDIFF") {
            if self.chance(3) {
                let weights: Vec<&str> =
                    (0..count).map(|_| self.one(&["1", "2", "-1", "0.5", "0"])).collect();
                command = command.arg("WEIGHTS").args(weights);
            }
            command = command.option(self.one(&["", "", "AGGREGATE MIN", "AGGREGATE MAX", "AGGREGATE SUM"]));
        }
        if stores { command } else { command.option(self.one(&["", "WITHSCORES"])) }
    }
}
