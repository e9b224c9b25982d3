//! A value goes to another key, or a copy of it does.
//!
//! On one node this is atomic, also between shards. [`super::carry`] has what is run where the two keys live on
//! different nodes.

use ringfort_protocol::Args;

use crate::{
    commands::{
        Acl, Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run, Spread,
        parse::{is, within},
        rebuild,
    },
    store::{DATABASES, Edit, Taken},
};

/// Where the keys live on different nodes it is not atomic: for a moment the value is at both. The source is removed
/// only while it is what was carried; if it goes on changing, the command fails and what it has placed is removed.
pub(super) const RENAME: Command = Command {
    name: "rename",
    summary: "Gives a key another name; what had that name is removed",
    complexity: "O(N) where N is the number of elements, which are logged",
    arity: 3,
    flags: Flags::WRITE,
    acl: Acl::KEYSPACE,
    keys: &[
        KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
        KeySpec::at(2, KeyFlags::OW.and(KeyFlags::UPDATE)),
    ],
    spread: Spread::Carry,
    run: Run::Data(|cx, _| {
        let done = rename(cx, true)?;
        cx.out.ok();
        Ok(done)
    }),
    ..Command::BASE
};

/// Between nodes as [`RENAME`].
pub(super) const RENAMENX: Command = Command {
    name: "renamenx",
    summary: "Gives a key another name if none has that name",
    flags: Flags::WRITE.and(Flags::FAST),
    keys: &[
        KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::DELETE)),
        KeySpec::at(2, KeyFlags::OW.and(KeyFlags::INSERT)),
    ],
    run: Run::Data(|cx, _| {
        let done = rename(cx, false)?;
        cx.out.flag(done == Done::Logged);
        Ok(done)
    }),
    ..RENAME
};

/// Where the keys live on different nodes it is not atomic: the copy is of the value as it was a moment before.
pub(super) const COPY: Command = Command {
    name: "copy",
    summary: "Copies a value, with its deadline, to another key",
    since: "6.2.0",
    complexity: "O(N) where N is the number of elements",
    arity: -3,
    flags: Flags::WRITE.and(Flags::DENYOOM),
    acl: Acl::KEYSPACE,
    keys: &[
        KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS)),
        KeySpec::at(2, KeyFlags::OW.and(KeyFlags::UPDATE)),
    ],
    spread: Spread::Carry,
    run: Run::Data(|cx, args| {
        let options = CopyOptions::parse(args, cx.db.number)?;
        let copy = cx.db.copy(cx.key(0));
        let copied = match copy {
            None => false,
            Some(copy) => {
                let mut to = cx.db.edit_in(options.db, cx.keys[1]);
                let free = options.replace || to.value().is_none();
                if free {
                    put(&mut to, copy);
                }
                free
            }
        };
        cx.out.flag(copied);
        Ok(if copied { Done::Logged } else { Done::Unchanged })
    }),
    ..Command::BASE
};

pub(super) const MOVE: Command = Command {
    name: "move",
    summary: "Moves a key to another database",
    complexity: "O(N) where N is the number of elements, which are logged",
    arity: 3,
    flags: Flags::WRITE.and(Flags::FAST),
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::at(1, KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE))],
    run: Run::Data(|cx, args| {
        let (key, to) = (cx.key(0), database(args.at(2))?);
        if to == cx.db.number {
            return Err(SAME_OBJECT);
        }
        let moves = cx.db.edit(key).value().is_some() && cx.db.edit_in(to, key).value().is_none();
        if moves {
            let mut from = cx.db.edit(key);
            let taken = from.take();
            from.log(&[b"DEL", key.bytes]);
            if let Some(taken) = taken {
                put(&mut cx.db.edit_in(to, key), taken);
            }
        }
        cx.out.flag(moves);
        Ok(if moves { Done::Logged } else { Done::Unchanged })
    }),
    ..Command::BASE
};

const SAME_OBJECT: CommandError = CommandError::other("ERR source and destination objects are the same");

/// What COPY is told behind its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyOptions {
    /// The database of the copy.
    pub(crate) db: u8,
    /// Whether the copy takes the place of what is there.
    pub(crate) replace: bool,
}

impl CopyOptions {
    /// Reads the arguments of a COPY that was sent in database `db`.
    pub(crate) fn parse(args: Args<'_>, db: u8) -> Result<Self, CommandError> {
        let mut options = Self { db, replace: false };
        let mut rest = args.slice(3..).iter();
        while let Some(option) = rest.next() {
            if is(option, "REPLACE") {
                options.replace = true;
            } else if is(option, "DB") {
                options.db = database(rest.next().ok_or(CommandError::Syntax)?)?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.db == db && args.at(1) == args.at(2) {
            return Err(SAME_OBJECT);
        }
        Ok(options)
    }
}

fn database(arg: &[u8]) -> Result<u8, CommandError> {
    let index = within(arg, i32::MIN.into()..=i32::MAX.into())?;
    u8::try_from(index).ok().filter(|db| *db < DATABASES).ok_or(CommandError::DbOutOfRange)
}

/// Moves the value of the first key to the second, if `replace` or if that is free.
fn rename(cx: &mut Cx<'_>, replace: bool) -> Result<Done, CommandError> {
    let (from, to) = (cx.key(0), cx.key(1));
    if cx.db.edit(from).value().is_none() {
        return Err(CommandError::NoSuchKey);
    }
    let stays = from.bytes == to.bytes || (!replace && cx.db.edit(to).value().is_some());
    if stays {
        return Ok(Done::Unchanged);
    }
    let mut source = cx.db.edit(from);
    let taken = source.take();
    source.log(&[b"DEL", from.bytes]);
    if let Some(taken) = taken {
        put(&mut cx.db.edit(to), taken);
    }
    Ok(Done::Logged)
}

/// Puts a value at a key, whatever was there, and logs the commands that do so.
pub(super) fn put(to: &mut Edit<'_, '_>, taken: Taken) {
    let key = to.key().bytes;
    if to.value().is_some() {
        to.log(&[b"DEL", key]);
    }
    rebuild::effects(key, taken.value(), taken.deadline(), &mut |effect| to.log(effect));
    to.put_back(taken);
}

#[cfg(test)]
mod tests {
    use crate::commands::{bench::Bench, digest::digest};

    /// A primary and a replica with a value of each form.
    fn pair() -> (Bench, Bench) {
        let (mut bench, mut replica) = (Bench::new(), Bench::new());
        bench.run("append string v");
        bench.run(&format!("append long {}", "x".repeat(40_000)));
        bench.run("rpush packed a 2 c");
        (0..300).for_each(|i| _ = bench.run(&format!("rpush large {i} {}", "x".repeat(60))));
        bench.run("hset hash f 1 g x");
        (0..200).for_each(|i| _ = bench.run(&format!("hset fields {i} v{i}")));
        bench.run("sadd integers 3 -1 2");
        bench.run("sadd set x 1 y");
        (0..200).for_each(|i| _ = bench.run(&format!("sadd members m{i}")));
        replica.follow(&mut bench);
        (bench, replica)
    }

    const KEYS: [&str; 9] =
        ["string", "long", "packed", "large", "hash", "fields", "integers", "set", "members"];

    fn same(bench: &Bench, replica: &Bench) -> bool {
        digest(&bench.shard()) == digest(&replica.shard())
    }

    #[test]
    fn a_renamed_value_is_at_its_new_name_alone_with_its_deadline() {
        for key in KEYS {
            let (mut bench, mut replica) = pair();
            bench.run("append to old");
            bench.run(&format!("expire {key} 100"));
            replica.follow(&mut bench);
            let value = bench.run(&format!("object encoding {key}"));
            assert_eq!(bench.run(&format!("rename {key} to")), "+OK ");
            assert_eq!(bench.run(&format!("exists {key}")), ":0 ");
            assert_eq!(bench.run("object encoding to"), value);
            replica.follow(&mut bench);
            assert!(same(&bench, &replica), "{key}");
            assert_eq!(replica.run("ttl to"), ":100 ");
            assert_eq!(replica.run(&format!("exists {key}")), ":0 ");
        }
    }

    #[test]
    fn effects_of_a_rename_name_one_key_each() {
        let mut bench = Bench::new();
        bench.run("append a v");
        bench.run("append b w");
        bench.run("pexpire a 7");
        bench.effects();
        bench.run("rename a b");
        assert_eq!(bench.effects(), "DEL a; DEL b; SET b v; PEXPIREAT b 1700000000007");
        bench.run("renamenx b c");
        assert_eq!(bench.effects(), "DEL b; SET c v; PEXPIREAT c 1700000000007");
    }

    #[test]
    fn a_rename_of_nothing_fails_and_one_to_itself_changes_nothing() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("rename a a"), "-ERR no such key ");
        assert_eq!(bench.run("renamenx a b"), "-ERR no such key ");
        bench.run("append a v");
        bench.run("append b w");
        bench.effects();
        assert_eq!(bench.run("rename a a"), "+OK ");
        assert_eq!(bench.run("renamenx a a"), ":0 ");
        assert_eq!(bench.run("renamenx a b"), ":0 ");
        assert_eq!(bench.effects(), "");
        assert_eq!(bench.run("get b"), "$1 w ");
    }

    #[test]
    fn a_copy_is_a_value_of_its_own() {
        for key in KEYS {
            let (mut bench, mut replica) = pair();
            bench.run(&format!("expire {key} 100"));
            assert_eq!(bench.run(&format!("copy {key} to")), ":1 ");
            assert_eq!(bench.run("ttl to"), ":100 ");
            let encoding = bench.run(&format!("object encoding {key}"));
            assert_eq!(bench.run("object encoding to"), encoding);
            replica.follow(&mut bench);
            assert!(same(&bench, &replica), "{key}");
            let before = digest(&replica.shard());
            bench.run("append to more");
            bench.run("rpush to more");
            bench.run("hset to more 1");
            bench.run("sadd to more");
            bench.run("del to");
            replica.run("del to");
            assert!(same(&bench, &replica), "{key}: a change of the copy is none of the original");
            assert_ne!(digest(&replica.shard()), before);
        }
    }

    #[test]
    fn a_copy_takes_another_ones_place_only_if_told() {
        let (mut bench, mut replica) = pair();
        bench.run("append to old");
        replica.follow(&mut bench);
        assert_eq!(bench.run("copy string to"), ":0 ");
        assert_eq!(bench.run("copy absent to replace"), ":0 ");
        assert_eq!(bench.effects(), "");
        assert_eq!(bench.run("copy string to REPLACE"), ":1 ");
        replica.follow(&mut bench);
        assert_eq!(replica.run("get to"), "$1 v ");
        assert_eq!(bench.run("copy string string db 3"), ":1 ");
        replica.follow(&mut bench);
        assert!(same(&bench, &replica));
        replica.db = 3;
        assert_eq!(replica.run("get string"), "$1 v ");
    }

    #[test]
    fn options_of_copy_are_checked_in_order() {
        let mut bench = Bench::new();
        for (command, error) in [
            ("copy a a", "ERR source and destination objects are the same"),
            ("copy a a db 0", "ERR source and destination objects are the same"),
            ("copy a b db", "ERR syntax error"),
            ("copy a b db x foo", "ERR value is not an integer or out of range"),
            ("copy a b db 16 foo", "ERR DB index is out of range"),
            ("copy a b db -1", "ERR DB index is out of range"),
            (
                "copy a b db 4294967296",
                "ERR value is out of range, value must between -2147483648 and 2147483647",
            ),
            ("copy a a foo", "ERR syntax error"),
        ] {
            assert_eq!(bench.run(command), format!("-{error} "), "{command}");
        }
    }

    #[test]
    fn a_moved_key_is_in_its_new_database_alone() {
        let (mut bench, mut replica) = pair();
        bench.run("expire packed 100");
        for key in KEYS {
            assert_eq!(bench.run(&format!("move {key} 2")), ":1 ");
        }
        replica.follow(&mut bench);
        assert!(same(&bench, &replica));
        assert_eq!(replica.run("dbsize"), ":0 ");
        replica.db = 2;
        assert_eq!(replica.run("dbsize"), ":9 ");
        assert_eq!(replica.run("ttl packed"), ":100 ");
    }

    #[test]
    fn a_key_is_not_moved_onto_another_one() {
        let mut bench = Bench::new();
        bench.run("append a v");
        bench.run("copy a a db 1");
        bench.effects();
        assert_eq!(bench.run("move a 1"), ":0 ");
        assert_eq!(bench.run("move absent 1"), ":0 ");
        assert_eq!(bench.run("move a 0"), "-ERR source and destination objects are the same ");
        assert_eq!(bench.run("move a 16"), "-ERR DB index is out of range ");
        assert_eq!(bench.run("move a x"), "-ERR value is not an integer or out of range ");
        assert_eq!(bench.effects(), "");
    }
}
