//! For unit tests of commands: one shard that holds every slot, and commands as text.

use std::sync::Mutex;

use ringfort_cluster::{Offset, ShardId};
use ringfort_protocol::{Args, OwnedArgs, Parsed, Parser, Resp};

use super::{Command, CommandError, Cx, Limits, Reply, Run, dispatch, find, resolve_effect};
use crate::store::{Access, Db, Edit, Key, Locked, Shard, log};

/// A shard and what a command needs beside it.
pub(crate) struct Bench {
    shard: Mutex<Shard>,
    /// The time, in Unix milliseconds.
    pub(crate) now: u64,
    /// The version that replies are written in.
    pub(crate) resp: Resp,
    /// The selected database.
    pub(crate) db: u8,
    /// Settings.
    pub(crate) limits: Limits,
    random: u64,
}

/// The time of a new bench, in Unix milliseconds.
const NOW: u64 = 1_700_000_000_000;

impl Bench {
    pub(crate) fn new() -> Self {
        let mut shard = Shard::new(ShardId(0), 16384);
        shard.core.log.keep(1 << 30);
        let shard = Mutex::new(shard);
        // Lower than the default, so that tests need few fields to make a hash large.
        let limits = Limits { hash_max_listpack_entries: 128, ..Limits::default() };
        Self { shard, now: NOW, resp: Resp::V2, db: 0, limits, random: 0 }
    }

    /// Makes it as it was when it was new, but for its settings: faster than a new one.
    pub(crate) fn renew(&mut self) {
        (self.now, self.random, self.db, self.resp) = (NOW, 0, 0, Resp::V2);
        let mut shard = self.shard.lock().unwrap();
        if !shard.is_empty() {
            shard.clear(None);
        }
        shard.core.drop_now();
        shard.core.log.restart(Offset(0));
    }

    /// Runs a command that is written as one would type it (quotes as in redis-cli) and returns its reply, with
    /// `\r\n` as spaces: `"*2 $1 a :1 "`.
    pub(crate) fn run(&mut self, command: &str) -> String {
        let mut parser = Parser::new();
        let line = format!("{command}\n");
        let parsed = parser.parse(line.as_bytes(), &mut Vec::new(), &Default::default());
        assert!(matches!(parsed, Ok(Parsed::Inline { .. })), "{command}: {parsed:?}");
        let reply = self.run_args(parser.inline_args().as_args());
        String::from_utf8_lossy(&reply).replace("\r\n", " ")
    }

    /// Runs a command and returns its reply.
    pub(crate) fn run_args(&mut self, args: Args<'_>) -> Vec<u8> {
        self.execute(args, self.db, self.now)
    }

    /// Runs a command that has no name which clients could call.
    pub(crate) fn run_command(&mut self, command: &'static Command, args: Args<'_>) -> Vec<u8> {
        self.execute_command(command, args, self.db, self.now)
    }

    fn execute(&mut self, args: Args<'_>, db: u8, now: u64) -> Vec<u8> {
        let mut command = find(args.at(0)).or_else(|| resolve_effect(args).ok()).expect("a known command");
        if !command.subcommands.is_empty() {
            let name = args.at(1).to_ascii_lowercase();
            command = command.subcommands.iter().find(|sub| sub.name.as_bytes() == name).expect("known");
        }
        self.execute_command(command, args, db, now)
    }

    fn execute_command(&mut self, command: &'static Command, args: Args<'_>, db: u8, now: u64) -> Vec<u8> {
        let mut out = Reply::new(self.resp);
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let random = xxhash_rust::xxh3::xxh3_64(&self.random.to_le_bytes());
        if !command.takes(args.len()) {
            out.error(&CommandError::Arity(command.name.into()));
            return out.into_bytes();
        }
        let handler = match command.run {
            Run::EachShard(handler) => handler,
            run => run.handler().expect("a command of data"),
        };
        let keys = keys_of(command, args, self.limits.hash_seed);
        let mut guard = self.shard.lock().unwrap();
        let mut locked = [&mut *guard];
        let access = Access { now, lfu: self.limits.lfu, ..Access::default() };
        let db = Db::new(Locked::new(&mut locked, 16384), db, now, access);
        let limits = &self.limits;
        let mut cx = Cx { db, keys: &keys, out: &mut out, random, limits, waited: false };
        dispatch::run(handler, &mut cx, args);
        out.into_bytes()
    }

    /// The effects that were logged since the last call, as text: `"SET k v; DEL k"`.
    pub(crate) fn effects(&mut self) -> String {
        let bytes = self.take_log();
        let texts = log::records(&bytes).map(|(_, command)| {
            let args = parse(command);
            let texts = args.as_args().iter().map(|arg| arg.escape_ascii().to_string()).collect::<Vec<_>>();
            texts.join(" ")
        });
        texts.collect::<Vec<_>>().join("; ")
    }

    /// The effects that were logged since the last call, as records.
    pub(crate) fn take_log(&mut self) -> Vec<u8> {
        let mut shard = self.shard.lock().unwrap();
        let bytes = shard.core.log.read(shard.core.log.start(), usize::MAX).unwrap();
        shard.core.log.restart(Offset(0));
        bytes
    }

    /// Applies the effects that `primary` logged since the last call, as a replica does.
    pub(crate) fn follow(&mut self, primary: &mut Bench) {
        self.apply(&primary.take_log());
    }

    /// Applies effects, as a replica does.
    pub(crate) fn apply(&mut self, effects: &[u8]) {
        for (db, command) in log::records(effects) {
            let args = parse(command);
            let reply = self.execute(args.as_args(), db, 0);
            assert!(!reply.starts_with(b"-"), "{args:?}: {}", reply.escape_ascii());
        }
        self.take_log();
    }

    /// Opens a key as a command does.
    pub(crate) fn with<R>(&mut self, key: &str, work: impl FnOnce(&mut Edit<'_, '_>) -> R) -> R {
        let mut guard = self.shard.lock().unwrap();
        let mut locked = [&mut *guard];
        let mut db = Db::new(Locked::new(&mut locked, 16384), 0, self.now, Access::default());
        work(&mut db.edit(Key::new(key.as_bytes(), self.limits.hash_seed)))
    }

    /// How the value of a key is kept, as OBJECT ENCODING tells; `none` where there is no such key.
    pub(crate) fn encoding(&mut self, key: &str) -> &'static str {
        self.with(key, |entry| entry.value().map_or("none", |value| value.encoding()))
    }

    /// The shard itself.
    pub(crate) fn shard(&self) -> std::sync::MutexGuard<'_, Shard> {
        self.shard.lock().unwrap()
    }
}

fn parse(command: &[u8]) -> OwnedArgs {
    let mut spans = Vec::new();
    let parsed = Parser::new().parse(command, &mut spans, &Default::default());
    assert!(matches!(parsed, Ok(Parsed::Command { .. })), "{parsed:?}");
    OwnedArgs::from(Args::new(command, &spans))
}

fn keys_of<'a>(command: &Command, args: Args<'a>, seed: u64) -> Vec<Key<'a>> {
    command.names(args).map(|name| Key::new(name, seed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_run_and_log_their_effects() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("append k 'a b'"), ":3 ");
        assert_eq!(bench.run("APPEND k c"), ":4 ");
        assert_eq!(bench.run("get k"), "$4 a bc ");
        assert_eq!(bench.run("get"), "-ERR wrong number of arguments for 'get' command ");
        assert_eq!(bench.effects(), "append k a b; APPEND k c");
    }

    #[test]
    fn a_replica_that_follows_has_the_same_data() {
        let (mut primary, mut replica) = (Bench::new(), Bench::new());
        primary.run("append k abc");
        replica.follow(&mut primary);
        assert_eq!(replica.run("get k"), "$3 abc ");
    }
}
