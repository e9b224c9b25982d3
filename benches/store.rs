//! What commands take on a store of a million keys: hash the key, lock its shard, run the handler, write the reply.
//!
//! `make bench` runs it. It is the router's way through a command that is served here, without sockets, sessions and
//! leases: the handlers are those that clients reach. Keys come in a random order, so most reads miss the processor's
//! caches, as they do in a server.

use std::{hint::black_box, sync::LazyLock};

use divan::Bencher;
use ringfort::{
    commands::{Cx, Handler, Limits, Reply, Run, dispatch, find},
    store::{Access, Db, Key, Locked, Store},
};
use ringfort_protocol::{Args, OwnedArgs, Resp};

const KEYS: usize = 1_000_000;
const SHARDS: u16 = 256;
const HASH_SEED: u64 = 7;
/// Any time, in Unix milliseconds: no key here has a deadline.
const NOW: u64 = 1_700_000_000_000;
const VALUE: [u8; 64] = [b'v'; 64];
/// Fields of the small hash, elements of the small list.
const ELEMENTS: usize = 20;

/// A million strings, a small hash `hash` and a small list `list`.
static STORE: LazyLock<Store> = LazyLock::new(|| {
    let store = Store::new(SHARDS, HASH_SEED);
    let (mut reply, set) = (Reply::new(Resp::V2), Command::new("set"));
    for key in shuffled() {
        let args = OwnedArgs::from_iter([&b"SET"[..], &key, &VALUE]);
        set.run(&store, args.as_args(), &mut reply);
    }
    let (hset, rpush) = (Command::new("hset"), Command::new("rpush"));
    for n in 0..ELEMENTS {
        let args = OwnedArgs::from_iter(["HSET", "hash", &format!("field:{n:04}"), "a value"]);
        hset.run(&store, args.as_args(), &mut reply);
        for list in ["list", "queue"] {
            let args = OwnedArgs::from_iter(["RPUSH", list, &format!("element:{n:04}")]);
            rpush.run(&store, args.as_args(), &mut reply);
        }
    }
    store
});

fn main() {
    divan::main();
}

/// A command by its name, ready to be run on its one key.
struct Command {
    handler: Handler,
    limits: Limits,
}

impl Command {
    fn new(name: &str) -> Self {
        let command = find(name.as_bytes()).expect("a known command");
        let Run::Data(handler) = command.run else { panic!("{name} does not run on data") };
        Self { handler, limits: Limits { hash_seed: HASH_SEED, ..Limits::default() } }
    }

    /// Runs it; `reply` has its reply alone.
    fn run(&self, store: &Store, args: Args<'_>, reply: &mut Reply) {
        reply.bytes.clear();
        let key = Key::new(args.at(1), HASH_SEED);
        let mut shard = store.lock(store.shard_of(key.slot));
        let mut locked = [&mut *shard];
        let access = Access { now: NOW, ..Access::default() };
        let db = Db::new(Locked::new(&mut locked, store.slots_per_shard()), 0, NOW, access);
        let mut cx = Cx { db, keys: &[key], out: reply, random: 0, limits: &self.limits, waited: false };
        dispatch::run(self.handler, &mut cx, args);
        store.settle(&mut shard);
    }
}

/// The name of each key, in a random order that is always the same.
fn shuffled() -> Vec<[u8; 16]> {
    let name = |n: usize| -> [u8; 16] { format!("key:{n:012}").into_bytes().try_into().expect("16 bytes") };
    let mut keys: Vec<_> = (0..KEYS).map(name).collect();
    fastrand::Rng::with_seed(HASH_SEED).shuffle(&mut keys);
    keys
}

/// Runs a command on one key after the other. `expected` is each of its replies.
fn on_every_key(bencher: Bencher<'_, '_>, name: &str, value: Option<&[u8]>, expected: &[u8]) {
    let (store, command, mut reply) = (&*STORE, Command::new(name), Reply::new(Resp::V2));
    let keys = shuffled();
    // One command whose key is replaced in place: its bytes lie as in a connection's buffer.
    let mut bytes = [name.as_bytes(), &keys[0], value.unwrap_or_default()].concat();
    let key_at = name.len()..name.len() + keys[0].len();
    let span = |start: usize, end: usize| ringfort_protocol::Span { start: start as u32, end: end as u32 };
    let mut spans = vec![span(0, key_at.start), span(key_at.start, key_at.end)];
    spans.extend(value.map(|_| span(key_at.end, bytes.len())));
    let mut keys = keys.iter().cycle();
    bencher.bench_local(|| {
        bytes[key_at.clone()].copy_from_slice(keys.next().expect("endless"));
        command.run(store, Args::new(black_box(&bytes[..]), &spans), &mut reply);
    });
    assert_eq!(reply.bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

/// Runs the same commands again and again, one after the other. `expected` is the reply of the last one.
fn on_one_key(bencher: Bencher<'_, '_>, commands: &[&[&str]], expected: &[u8]) {
    let (store, mut reply) = (&*STORE, Reply::new(Resp::V2));
    let commands: Vec<_> = commands
        .iter()
        .map(|words| (Command::new(&words[0].to_lowercase()), words.iter().collect::<OwnedArgs>()))
        .collect();
    bencher.bench_local(|| {
        for (command, args) in black_box(&commands) {
            command.run(store, args.as_args(), &mut reply);
        }
    });
    assert_eq!(reply.bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[divan::bench]
fn get(bencher: Bencher<'_, '_>) {
    let expected = [&b"$64\r\n"[..], &VALUE, b"\r\n"].concat();
    on_every_key(bencher, "get", None, &expected);
}

#[divan::bench]
fn set(bencher: Bencher<'_, '_>) {
    on_every_key(bencher, "set", Some(&VALUE), b"+OK\r\n");
}

#[divan::bench]
fn hget_small(bencher: Bencher<'_, '_>) {
    on_one_key(bencher, &[&["HGET", "hash", "field:0010"]], b"$7\r\na value\r\n");
}

#[divan::bench]
fn hset_small(bencher: Bencher<'_, '_>) {
    on_one_key(bencher, &[&["HSET", "hash", "field:0010", "a value"]], b":0\r\n");
}

/// Two commands: the list is as long after them as before.
#[divan::bench]
fn rpush_and_lpop_small(bencher: Bencher<'_, '_>) {
    on_one_key(
        bencher,
        &[&["RPUSH", "queue", "element:0000"], &["LPOP", "queue"]],
        b"$12\r\nelement:0000\r\n",
    );
}

#[divan::bench]
fn lrange_small(bencher: Bencher<'_, '_>) {
    on_one_key(bencher, &[&["LRANGE", "list", "0", "0"]], b"*1\r\n$12\r\nelement:0000\r\n");
}
