//! Drives this server and redis-server with the same random commands and compares what they reply, byte for byte.
//!
//! `RINGFORT_STEPS` is how many commands each test sends, `RINGFORT_SEED` where the random numbers begin. The keyspace
//! is emptied every [`EPISODE`] commands; when replies differ, the episode is replayed in ever shorter forms, and the
//! shortest that still differs is printed. `support/server.rs` tells what chooses the server that is compared.

mod support;

use std::fmt::Write;

use support::connection::Connection;
use support::generator::{Command, Compare, Generator};
use support::notation;
use support::reply::{Protocol, Reply};
use support::server::{Kind, Server};

/// Commands between two FLUSHALLs. Short enough for a quick search of the shortest form.
const EPISODE: usize = 1_000;
const DEFAULT_STEPS: u64 = 20_000;

#[test]
fn replies_are_those_of_redis_in_resp2() {
    compare(Protocol::Resp2);
}

#[test]
fn replies_are_those_of_redis_in_resp3() {
    compare(Protocol::Resp3);
}

fn compare(protocol: Protocol) {
    let steps = number_from("RINGFORT_STEPS", DEFAULT_STEPS);
    let seed = number_from("RINGFORT_SEED", 1);
    let redis = Server::start(Kind::Redis).expect("redis-server starts");
    let ours = Server::from_environment().expect("the server starts");
    let mut pair = Pair {
        redis: redis.connect(protocol).expect("redis-server answers"),
        ours: ours.connect(protocol).expect("the server answers"),
    };

    let mut generator = Generator::new(seed);
    let mut step = 0;
    while step < steps {
        let episode: Vec<Command> = (0..EPISODE).map(|_| generator.command()).collect();
        if let Some(difference) = pair.first_difference(&episode) {
            let at = step + u64::try_from(difference.index).unwrap_or_default();
            let shortest = pair.shortest(episode[..=difference.index].to_vec());
            let difference = pair.first_difference(&shortest).unwrap_or(difference);
            panic!(
                "replies differ in {protocol:?} with seed {seed} at step {at}. On an empty keyspace:\n\n{}\n  redis: {}\n  ours:  {}\n",
                listing(&shortest),
                notation::write(&difference.redis),
                notation::write(&difference.ours),
            );
        }
        step += u64::try_from(EPISODE).unwrap_or(u64::MAX);
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// The commands as a reply script has them.
fn listing(commands: &[Command]) -> String {
    let mut out = String::new();
    for command in commands {
        out.push('>');
        for arg in &command.args {
            out.push(' ');
            if !arg.is_empty()
                && arg.iter().all(|byte| (b'!'..=b'~').contains(byte) && !b"\"'\\{".contains(byte))
            {
                let _ = write!(out, "{}", String::from_utf8_lossy(arg));
            } else {
                notation::write_quoted(&mut out, arg);
            }
        }
        out.push('\n');
    }
    out
}

struct Difference {
    index: usize,
    redis: Reply,
    ours: Reply,
}

/// Connections to both servers.
struct Pair {
    redis: Connection,
    ours: Connection,
}

impl Pair {
    /// Sends `commands` to both, on empty keyspaces, up to the first one that they answer differently.
    fn first_difference(&mut self, commands: &[Command]) -> Option<Difference> {
        for connection in [&mut self.redis, &mut self.ours] {
            let flushed = connection.call(&["FLUSHALL"]).expect("FLUSHALL is answered");
            assert_eq!(flushed, Reply::Simple(b"OK".to_vec()), "FLUSHALL");
        }
        commands.iter().enumerate().find_map(|(index, command)| {
            let mut redis = self.ask_redis(command);
            let mut ours = match self.ours.call(&command.args) {
                Ok(reply) => reply,
                Err(error) => panic!("no answer: {error}, after:\n\n{}", listing(&commands[..=index])),
            };
            (!are_equal(command.compare, &mut redis, &mut ours)).then_some(Difference { index, redis, ours })
        })
    }

    /// SORT fails in Redis where a number is in order, too, if one of an earlier command was out of range (`errno` is
    /// not reset): then it is asked again behind a command that does reset it.
    fn ask_redis(&mut self, command: &Command) -> Reply {
        let mut ask = |args: &[Vec<u8>]| self.redis.call(args).expect("redis-server answers");
        let reply = ask(&command.args);
        if reply != Reply::Error(b"ERR One or more scores can't be converted into double".to_vec()) {
            return reply;
        }
        ask(&["GEORADIUS_RO", "none", "1.5", "1.5", "1", "m"].map(|word| word.as_bytes().to_vec()));
        ask(&command.args)
    }

    /// Leaves out ever smaller runs of commands for as long as the replies still differ.
    fn shortest(&mut self, mut commands: Vec<Command>) -> Vec<Command> {
        let mut run = commands.len() / 2;
        while run > 0 {
            let mut start = 0;
            while start < commands.len() {
                let end = (start + run).min(commands.len());
                let shorter = [&commands[..start], &commands[end..]].concat();
                match self.first_difference(&shorter) {
                    Some(difference) => commands = shorter[..=difference.index].to_vec(),
                    None => start = end,
                }
            }
            run /= 2;
        }
        commands
    }
}

/// Replies that differ by intention: groups of names of encodings, each with the reason why one may stand for another.
const INTENDED: [&[&[u8]]; 3] = [
    // Redis remembers that a string was changed in place; here its bytes alone tell the encoding.
    &[b"int", b"embstr", b"raw"],
    // Redis packs small sets, and names small lists so, from 7.2 on: the version that this server says it has.
    &[b"listpack", b"hashtable"],
    &[b"listpack", b"quicklist"],
];

fn is_intended(redis: &Reply, ours: &Reply) -> bool {
    // Errors are texts: where Redis repeats bytes that are no text, each stands for the same sign here.
    if let (Reply::Error(redis), Reply::Error(ours)) = (redis, ours) {
        // ZRANK and ZREVRANK take WITHSCORE from 7.2 on, so here one argument more is a matter of syntax.
        let rank = |name| redis == format!("ERR wrong number of arguments for '{name}' command").as_bytes();
        let newer = ours == b"ERR syntax error" && (rank("zrank") || rank("zrevrank"));
        return newer || String::from_utf8_lossy(redis) == String::from_utf8_lossy(ours);
    }
    let (Reply::Bulk(redis), Reply::Bulk(ours)) = (redis, ours) else { return false };
    INTENDED.iter().any(|group| group.contains(&redis.as_slice()) && group.contains(&ours.as_slice()))
}

/// Here a score of -0 becomes 0 in sorted sets of any size: in Redis only in small ones, so that it depends on how a set
/// has grown.
fn are_equal(compare: Compare, redis: &mut Reply, ours: &mut Reply) -> bool {
    if are_alike(compare, redis, ours) {
        return true;
    }
    redis.forget_signs_of_zero();
    ours.forget_signs_of_zero();
    are_alike(compare, redis, ours)
}

fn are_alike(compare: Compare, redis: &mut Reply, ours: &mut Reply) -> bool {
    if is_intended(redis, ours) {
        return true;
    }
    match (compare, &*redis, &*ours) {
        (Compare::Within(tolerance), Reply::Integer(a), Reply::Integer(b)) => {
            a.signum() == b.signum() && a.abs_diff(*b) <= tolerance.unsigned_abs() || a == b
        }
        (Compare::Timed, ..) => {
            redis.forget_times();
            ours.forget_times();
            redis == ours
        }
        (Compare::InAnyOrder(unordered), ..) => {
            redis.sort(unordered);
            ours.sort(unordered);
            redis == ours
        }
        _ => redis == ours,
    }
}
