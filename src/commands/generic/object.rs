//! OBJECT: how a value is kept.

use crate::{
    commands::{Acl, Command, CommandError, Cx, Done, Flags, KeyFlags, KeySpec, Run},
    store::Peek,
};

pub(super) const OBJECT: Command = Command {
    name: "object",
    summary: "Tells how a value is kept",
    since: "2.2.3",
    complexity: "Depends on the subcommand",
    arity: -2,
    subcommands: &[ENCODING, FREQ, HELP, IDLETIME, REFCOUNT],
    ..Command::BASE
};

/// What the subcommands that look at a key have in common.
const LOOKS: Command = Command {
    since: "2.2.3",
    arity: 3,
    flags: Flags::READONLY,
    acl: Acl::KEYSPACE,
    keys: &[KeySpec::at(2, KeyFlags::RO)],
    ..Command::BASE
};

const ENCODING: Command = Command {
    name: "encoding",
    summary: "Tells the form in which a value is kept",
    run: Run::Data(|cx, _| {
        match cx.db.peek(cx.key(0)) {
            None => cx.out.null(),
            Some(entry) => cx.out.bulk(entry.value().encoding().as_bytes()),
        }
        Ok(Done::Read)
    }),
    ..LOOKS
};

const FREQ: Command = Command {
    name: "freq",
    summary: "Tells how often a key is used, on a logarithmic scale",
    since: "4.0.0",
    run: Run::Data(|cx, _| {
        let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that \
                    when switching between policies at runtime LRU and LFU data will take some time to adjust.";
        tell(cx, true, text, |entry| entry.frequency().into())
    }),
    ..LOOKS
};

const IDLETIME: Command = Command {
    name: "idletime",
    summary: "Tells for how many seconds a key was not used",
    run: Run::Data(|cx, _| {
        let text = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                    between policies at runtime LRU and LFU data will take some time to adjust.";
        tell(cx, false, text, |entry| (entry.idle_ms() / 1000).cast_signed())
    }),
    ..LOOKS
};

const REFCOUNT: Command = Command {
    name: "refcount",
    summary: "Tells how many keys share a value, which is always one",
    run: Run::Data(|cx, _| {
        match cx.db.peek(cx.key(0)) {
            None => cx.out.null(),
            Some(_) => cx.out.int(1),
        }
        Ok(Done::Read)
    }),
    ..LOOKS
};

const HELP: Command = Command {
    name: "help",
    summary: "Explains the subcommands",
    since: "6.2.0",
    arity: 2,
    flags: Flags::LOADING.and(Flags::STALE),
    acl: Acl::KEYSPACE,
    run: Run::Session(|cx, _| {
        cx.out.array(HELP_LINES.len());
        HELP_LINES.iter().for_each(|line| cx.out.simple(line));
        Ok(())
    }),
    ..Command::BASE
};

const HELP_LINES: [&str; 15] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the kind of internal representation used in order to store the value",
    "    associated with a <key>.",
    "FREQ <key>",
    "    Return the access frequency index of the <key>. The returned integer is",
    "    proportional to the logarithm of the recent access frequency of the key.",
    "IDLETIME <key>",
    "    Return the idle time of the <key>, that is the approximated number of",
    "    seconds elapsed since the last access to the key.",
    "REFCOUNT <key>",
    "    Return the number of references of the value associated with the specified",
    "    <key>.",
    "HELP",
    "    Prints this help.",
];

/// Replies with a number that is kept under LFU policies only, or under the others only.
fn tell(
    cx: &mut Cx<'_>,
    needs_lfu: bool,
    otherwise: &'static str,
    number: impl FnOnce(&Peek<'_>) -> i64,
) -> Result<Done, CommandError> {
    match cx.db.peek(cx.key(0)) {
        None => cx.out.null(),
        Some(_) if cx.limits.lfu != needs_lfu => return Err(CommandError::other(otherwise)),
        Some(entry) => cx.out.int(number(&entry)),
    }
    Ok(Done::Read)
}

#[cfg(test)]
mod tests {
    use crate::commands::bench::Bench;

    #[test]
    fn encodings_of_strings_are_told() {
        let mut bench = Bench::new();
        bench.run("append int 12");
        bench.run("append short x");
        bench.run(&format!("append long {}", "x".repeat(45)));
        assert_eq!(bench.run("object encoding int"), "$3 int ");
        assert_eq!(bench.run("object encoding short"), "$6 embstr ");
        assert_eq!(bench.run("object encoding long"), "$3 raw ");
        assert_eq!(bench.run("object refcount long"), ":1 ");
    }

    #[test]
    fn use_is_told_as_the_policy_counts_it() {
        let mut bench = Bench::new();
        bench.run("append k v");
        assert!(
            bench.run("object freq k").starts_with("-ERR An LFU maxmemory policy is not selected, access")
        );
        bench.now += 7_999;
        assert_eq!(bench.run("object idletime k"), ":7 ");
        bench.limits.lfu = true;
        bench.run("append counted v");
        assert_eq!(bench.run("object freq counted"), ":5 ");
        assert!(
            bench.run("object idletime k").starts_with("-ERR An LFU maxmemory policy is selected, idle time")
        );
    }

    #[test]
    fn an_absent_key_is_null_whatever_the_policy() {
        let mut bench = Bench::new();
        for name in ["encoding", "refcount", "idletime", "freq"] {
            assert_eq!(bench.run(&format!("object {name} absent")), "$-1 ");
        }
    }
}
