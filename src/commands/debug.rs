//! DEBUG: what test suites of clients and of Redis ask for.
//!
//! It looks at the data of this node alone; of keys that others serve it says so. `enable-debug-command` says who may
//! use it: nobody, unless the node was started with another value.

use std::{fmt::Write, sync::atomic::Ordering, time::Duration};

use ringfort_cluster::ShardId;
use ringfort_protocol::{Args, Resp, number, reply};

use super::{
    Command, CommandError, Flags, Group, Reply, Run, digest, help,
    parse::integer,
    server::{ADMIN, unknown_form},
    session::{Later, SessionCx},
    snapshots::NO_SNAPSHOTS,
};
use crate::{
    clients::is_local,
    config::Allowed,
    dump,
    store::{Access, DATABASES, Db, Key, Locked, Object, Peek, Role, Value},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[DEBUG];

const DEBUG: Command = Command {
    name: "debug",
    summary: "Helps to test clients: tells what is kept, and how",
    group: Group::Server,
    complexity: "Depends on subcommand.",
    arity: -2,
    flags: ADMIN.and(Flags::NOSCRIPT),
    run: Run::Session(debug),
    ..Command::BASE
};

const HELP: &[&str] = &[
    "CHANGE-REPL-ID | JMAP | QUICKLIST-PACKED-THRESHOLD <size>",
    "    Do nothing.",
    "DIGEST",
    "    Tell a hash of all data that this node serves; equal data has equal hashes.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Tell a hash of each value.",
    "ERROR <text>",
    "    Reply with <text> as an error.",
    "HTSTATS <db>",
    "    Tell how many keys this node serves.",
    "HTSTATS-KEY <key>",
    "    Tell how many elements a large set, hash or sorted set has.",
    "LISTPACK <key>",
    "    Tell whether <key> holds a small collection.",
    "OBJECT <key>",
    "    Tell how the value of <key> is kept.",
    "PROTOCOL <type>",
    "    Reply with a value of this type: string, integer, double, bignum, null, array, set, map, attrib, push,",
    "    verbatim, true, false.",
    "RELOAD",
    "    Is refused: there are no snapshots yet.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Remove keys whose time is over only when they are used (0), or also by themselves (1).",
    "SLEEP <seconds>",
    "    Hold this connection up for <seconds>; others are served meanwhile.",
];

const NOT_ALLOWED: CommandError = CommandError::other(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
     local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

fn may_debug(cx: &SessionCx<'_>) -> bool {
    match cx.node.config.load().enable_debug_command {
        Allowed::No => false,
        Allowed::Local => is_local(cx.client.shared.peer),
        Allowed::Yes => true,
    }
}

/// The forms that tell of data, which the node may do only while it has its lease.
const OF_DATA: [&[u8]; 6] = [b"digest", b"digest-value", b"object", b"listpack", b"htstats", b"htstats-key"];

fn debug(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !may_debug(cx) {
        return Err(NOT_ALLOWED);
    }
    let form = args.at(1).to_ascii_lowercase();
    if OF_DATA.contains(&form.as_slice()) {
        if !cx.node.lease.holds(cx.now.boot) {
            return Err(CommandError::other(
                "CLUSTERDOWN This node has no lease, so it does not tell what it holds",
            ));
        }
        cx.rests_on_lease = true;
    }
    match (form.as_slice(), args.len()) {
        (b"sleep", 3) => sleep(cx, args),
        (b"jmap" | b"change-repl-id", 2) | (b"quicklist-packed-threshold", 3) => cx.out.ok(),
        (b"reload", _) => return Err(NO_SNAPSHOTS),
        (b"error", 3) => reply::error(&mut cx.out.bytes, args.at(2)),
        (b"set-active-expire", 3) => {
            let on = integer(args.at(2)).unwrap_or(0) != 0;
            cx.node.expires_by_itself.store(on, Ordering::Relaxed);
            cx.out.ok();
        }
        (b"protocol", 3) => return protocol(cx.out, args.at(2)),
        (b"digest", 2) => cx.out.simple(&hexadecimal(digest_of_all(cx))),
        (b"digest-value", _) => {
            cx.out.array(args.len() - 2);
            for key in args.slice(2..).iter() {
                let digest = with_value(cx, key, |entry| digest::value(entry.value()))?;
                cx.out.simple(&hexadecimal(digest.unwrap_or(0)));
            }
        }
        (b"object", 3) => {
            let text = with_value(cx, args.at(2), |entry| object(entry, cx.now.wall))?
                .ok_or(CommandError::NoSuchKey)?;
            cx.out.simple(&text);
        }
        (b"listpack", 3) => {
            let packed = |entry: Peek<'_>| matches!(entry.value(), Value::Packed(..));
            if !with_value(cx, args.at(2), packed)?.ok_or(CommandError::NoSuchKey)? {
                return Err(CommandError::other("ERR Not a listpack encoded object."));
            }
            cx.out.simple("It is packed");
        }
        (b"htstats", 3) => return table_stats(cx, args.at(2)),
        (b"htstats-key", 3) => {
            let elements = |entry: Peek<'_>| match entry.value() {
                Value::Big(Object::Hash(hash)) => Some(hash.len()),
                Value::Big(Object::Set(set)) => Some(set.len()),
                Value::Big(Object::ZSet(zset)) => Some(zset.len()),
                _ => None,
            };
            let text = "ERR The value stored at the specified key is not represented using an hash table";
            let elements = with_value(cx, args.at(2), elements)?.ok_or(CommandError::NoSuchKey)?;
            let elements = elements.ok_or(CommandError::other(text))?;
            cx.out.text(&format!("number of elements: {elements}\n"));
        }
        (b"help", 2) => help::write(cx, "DEBUG", HELP),
        _ => return Err(unknown_form(args.at(1), "DEBUG")),
    }
    Ok(())
}

/// The longest DEBUG SLEEP.
const LONGEST_SLEEP: Duration = Duration::from_secs(3_600);

fn sleep(cx: &mut SessionCx<'_>, args: Args<'_>) {
    // Redis takes what begins with a number, and 0 for the rest.
    let seconds = number::parse_f64(args.at(2)).unwrap_or(0.0).max(0.0);
    let time = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP);
    if time.is_zero() {
        cx.out.ok();
    } else {
        cx.later = Some(Later::Sleep(time));
    }
}

/// Writes a value of each type that RESP has.
fn protocol(out: &mut Reply, kind: &[u8]) -> Result<(), CommandError> {
    let resp = out.resp;
    let integers = |out: &mut Reply| (0..3).for_each(|number| out.int(number));
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => out.bulk(b"Hello World"),
        b"integer" => out.int(12_345),
        b"double" if resp == Resp::V2 => out.bulk(b"3.141"),
        b"double" => out.bytes.extend_from_slice(b",3.141\r\n"),
        b"null" => out.null(),
        b"array" => {
            out.array(3);
            integers(out);
        }
        b"set" => {
            out.set(3);
            integers(out);
        }
        b"map" => {
            out.map(3);
            for number in 0..3 {
                out.int(number);
                reply::bool(&mut out.bytes, resp, number == 1);
            }
        }
        b"attrib" => {
            if resp == Resp::V3 {
                out.bytes.extend_from_slice(b"|1\r\n");
                out.bulk(b"key-popularity");
                out.array(2);
                out.bulk(b"key:123");
                out.int(90);
            }
            out.bulk(b"Some real reply following the attribute");
        }
        b"push" if resp == Resp::V2 => {
            return Err(CommandError::other("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply::push(&mut out.bytes, resp, 2);
            out.bulk(b"server-cpu-usage");
            out.int(42);
            out.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply::bool(&mut out.bytes, resp, true),
        b"false" => reply::bool(&mut out.bytes, resp, false),
        b"verbatim" => out.text("This is a verbatim\nstring"),
        b"bignum" => reply::big_number(&mut out.bytes, resp, "1234567999999999999999999999999999999"),
        _ => {
            return Err(CommandError::other(
                "ERR Wrong protocol type name. Please use one of the following: \
                 string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

/// Looks at the value of a key that this node serves.
fn with_value<R>(
    cx: &SessionCx<'_>,
    name: &[u8],
    look: impl FnOnce(Peek<'_>) -> R,
) -> Result<Option<R>, CommandError> {
    let store = &cx.node.store;
    let key = Key::new(name, store.hash_seed);
    let mut shard = store.lock(store.shard_of(key.slot));
    if shard.core.role != Role::Primary {
        return Err(CommandError::other(
            "ERR another node serves this key; DEBUG looks at the data of one node",
        ));
    }
    let mut locked = [&mut *shard];
    let access = Access { now: cx.now.wall, ..Access::default() };
    let db = Db::new(Locked::new(&mut locked, store.slots_per_shard()), cx.client.db, cx.now.wall, access);
    Ok(db.inspect(key).map(look))
}

fn object(entry: Peek<'_>, now: u64) -> String {
    let value = entry.value();
    let length = dump::encode(value, now).map_or(0, |payload| payload.len());
    // Where in memory it lies is told to nobody.
    format!(
        "Value at:0x0 refcount:1 encoding:{} serializedlength:{length} lru:0 lru_seconds_idle:{}",
        value.encoding(),
        entry.idle_ms() / 1_000
    )
}

fn digest_of_all(cx: &SessionCx<'_>) -> u64 {
    let shards = (0..cx.node.store.shards()).map(|id| cx.node.store.lock(ShardId(id)));
    let served = shards.filter(|shard| shard.core.role == Role::Primary);
    served.fold(0, |sum, shard| sum.wrapping_add(digest::digest(&shard)))
}

/// As long as a digest of Redis.
fn hexadecimal(digest: u64) -> String {
    format!("{digest:040x}")
}

fn table_stats(cx: &mut SessionCx<'_>, number: &[u8]) -> Result<(), CommandError> {
    let db = u8::try_from(integer(number)?).ok().filter(|db| *db < DATABASES);
    let db = db.ok_or(CommandError::other("ERR Out of range database"))?;
    let (mut keys, mut expires) = (0, 0);
    for id in (0..cx.node.store.shards()).map(ShardId) {
        let shard = cx.node.store.lock(id);
        if shard.core.role == Role::Primary {
            keys += shard.len(db);
            expires += shard.core.deadlines[usize::from(db)];
        }
    }
    let mut text = String::new();
    let _ = write!(
        text,
        "[Dictionary HT]\nnumber of elements: {keys}\n[Expires HT]\nnumber of elements: {expires}\n"
    );
    cx.out.text(&text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clients::Door,
        config::Settings,
        node::{
            Node,
            testing::{Asker, node_with, put},
        },
    };

    /// A node whose clients may use DEBUG.
    fn node() -> Node {
        node_for(Allowed::Yes)
    }

    fn node_for(allowed: Allowed) -> Node {
        node_with(Settings { enable_debug_command: allowed, ..Settings::default() })
    }

    #[test]
    fn it_is_for_those_for_whom_the_node_was_started_with_it() {
        let remote = ([10, 0, 0, 9], 40_000).into();
        for (allowed, here, elsewhere) in
            [(Allowed::No, false, false), (Allowed::Local, true, false), (Allowed::Yes, true, true)]
        {
            let node = node_for(allowed);
            for (mut asker, may) in [
                (Asker::new(&node, Door::Client), here),
                (Asker::of_peer(&node, Door::Client, remote), elsewhere),
            ] {
                for command in ["DEBUG JMAP", "DEBUG DIGEST-VALUE", "DEBUG HELP", "DEBUG NOSUCH"] {
                    let refused = asker.run(command).starts_with("-ERR DEBUG command not allowed. If the");
                    assert_eq!(refused, !may, "{allowed:?} {command}");
                }
            }
        }
        assert_eq!(Settings::default().enable_debug_command, Allowed::No);
    }

    #[test]
    fn without_a_lease_no_data_is_told_of() {
        let node = node();
        put(&node, "a");
        let mut asker = Asker::new(&node, Door::Client);
        let forms = ["DIGEST", "DIGEST-VALUE a", "OBJECT a", "LISTPACK a", "HTSTATS 0", "HTSTATS-KEY a"];
        for form in forms {
            assert!(!asker.run(&format!("DEBUG {form}")).starts_with("-CLUSTERDOWN"), "{form}");
            assert!(asker.rests_on_lease, "{form}");
        }
        node.lease.set(0);
        for form in forms {
            assert!(asker.run(&format!("DEBUG {form}")).starts_with("-CLUSTERDOWN"), "{form}");
        }
        assert_eq!(asker.run("DEBUG JMAP"), "+OK ");
        assert!(!asker.rests_on_lease);
    }

    #[test]
    fn a_sleep_holds_up_its_own_connection_only() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("DEBUG SLEEP 0"), "+OK ");
        assert_eq!(asker.run("DEBUG SLEEP 0.5"), "");
        assert_eq!(asker.later, Some(Later::Sleep(Duration::from_millis(500))));
        asker.run("DEBUG SLEEP inf");
        assert_eq!(asker.later, Some(Later::Sleep(LONGEST_SLEEP)));
        assert_eq!(
            asker.run("DEBUG SEGFAULT"),
            "-ERR unknown subcommand or wrong number of arguments for 'SEGFAULT'. Try DEBUG HELP. "
        );
    }

    #[test]
    fn values_are_told_of_by_key() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        let zeros = "0".repeat(40);
        assert_eq!(asker.run("DEBUG DIGEST"), format!("+{zeros} "));
        put(&node, "a");
        put(&node, "b");
        let digest = asker.run("DEBUG DIGEST");
        assert_ne!(digest, format!("+{zeros} "));
        let values = asker.run("DEBUG DIGEST-VALUE a b none");
        let values: Vec<&str> = values.split(' ').collect();
        assert_eq!((values[0], values[1], values[3]), ("*3", values[2], &*format!("+{zeros}")));
        let object = asker.run("DEBUG OBJECT a");
        let begin = "+Value at:0x0 refcount:1 encoding:embstr serializedlength:";
        assert!(object.starts_with(begin), "{object}");
        assert_eq!(asker.run("DEBUG OBJECT none"), "-ERR no such key ");
        assert_eq!(asker.run("DEBUG LISTPACK a"), "-ERR Not a listpack encoded object. ");
        assert!(
            asker.run("DEBUG HTSTATS-KEY a").starts_with("-ERR The value stored at the specified key is not")
        );
        assert!(asker.run("DEBUG HTSTATS 0").contains("number of elements: 2\n[Expires HT]"));
        assert_eq!(asker.run("DEBUG HTSTATS 99"), "-ERR Out of range database ");
        node.store.lock(ShardId(0)).core.role = Role::Replica;
        let elsewhere = (0..)
            .map(|i| format!("k{i}"))
            .find(|name| node.store.shard_of(Key::new(name.as_bytes(), 0).slot) == ShardId(0));
        let reply = asker.run(&format!("DEBUG OBJECT {}", elsewhere.unwrap()));
        assert!(reply.starts_with("-ERR another node serves this key"), "{reply}");
    }

    #[test]
    fn a_value_of_each_type_is_sent() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("DEBUG PROTOCOL double"), "$5 3.141 ");
        assert_eq!(asker.run("DEBUG PROTOCOL map"), "*6 :0 :0 :1 :1 :2 :0 ");
        assert_eq!(asker.run("DEBUG PROTOCOL push"), "-ERR RESP2 is not supported by this command ");
        asker.run("HELLO 3");
        assert_eq!(asker.run("DEBUG PROTOCOL double"), ",3.141 ");
        assert_eq!(asker.run("DEBUG PROTOCOL map"), "%3 :0 #f :1 #t :2 #f ");
        assert_eq!(
            asker.run("DEBUG PROTOCOL attrib"),
            "|1 $14 key-popularity *2 $7 key:123 :90 $39 Some real reply following the attribute "
        );
        assert!(asker.run("DEBUG PROTOCOL x").starts_with("-ERR Wrong protocol type name."));
    }

    #[test]
    fn the_rest_is_accepted_or_refused() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        for command in ["JMAP", "CHANGE-REPL-ID", "QUICKLIST-PACKED-THRESHOLD 100b"] {
            assert_eq!(asker.run(&format!("DEBUG {command}")), "+OK ");
        }
        assert_eq!(asker.run("DEBUG ERROR hello"), "-hello ");
        assert!(asker.run("DEBUG RELOAD NOSAVE").starts_with("-ERR there are no snapshots yet"));
        asker.run("DEBUG SET-ACTIVE-EXPIRE 0");
        assert!(!node.expires_by_itself.load(Ordering::Relaxed));
        asker.run("DEBUG SET-ACTIVE-EXPIRE 1");
        assert!(node.expires_by_itself.load(Ordering::Relaxed));
    }
}
