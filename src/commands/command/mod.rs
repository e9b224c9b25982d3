//! COMMAND: what commands there are, what each is like, and where its keys are. All of it comes from the declarations.

mod describe;
mod facts;

use ringfort_protocol::{Args, glob};

use self::describe::{document, inform};
use super::{
    Begin, Command, CommandError, Flags, Group, KeyFlags, Run, families, find, help, parse::is,
    session::SessionCx,
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[COMMAND];

const COMMAND: Command = Command {
    complexity: "O(N) where N is the total number of commands",
    subcommands: SUBCOMMANDS,
    ..SUB.named("command", "2.8.13", -1, |cx, _| info_of_all(cx), "Describes all commands")
};

/// What it shares with its subcommands.
const SUB: Command = Command {
    group: Group::Server,
    flags: Flags::LOADING.and(Flags::STALE),
    acl: super::Acl::CONNECTION,
    ..Command::BASE
};

const SUBCOMMANDS: &[Command] = &[
    SUB.named("count", "2.8.13", 2, count, "Tells how many commands there are"),
    Command {
        complexity: "O(N) where N is the number of commands to look up",
        ..SUB.named("docs", "7.0.0", -2, docs, "Documents commands")
    },
    Command {
        complexity: "O(N) where N is the number of arguments to the command",
        ..SUB.named("getkeys", "2.8.13", -3, get_keys, "Tells which arguments of a command are keys")
    },
    Command {
        complexity: "O(N) where N is the number of arguments to the command",
        ..SUB.named(
            "getkeysandflags",
            "7.0.0",
            -3,
            get_keys_and_flags,
            "Tells the keys of a command and what it does to each",
        )
    },
    Command {
        complexity: "O(N) where N is the number of commands to look up",
        ..SUB.named("info", "2.8.13", -2, info, "Describes commands")
    },
    Command {
        complexity: "O(N) where N is the total number of commands",
        ..SUB.named("list", "7.0.0", -2, list, "Tells the names of commands")
    },
    Command {
        acl: super::Acl::CONNECTION,
        ..help::help(Group::Server, "5.0.0", |cx, _| {
            help::write(cx, "COMMAND", HELP);
            Ok(())
        })
    },
];

const HELP: &[&str] = &[
    "(no subcommand)",
    "    Describe all commands.",
    "COUNT",
    "    Tell how many commands there are.",
    "DOCS [<command-name> ...]",
    "    Document commands; all of them unless some are named.",
    "GETKEYS <full-command>",
    "    Tell which arguments of a command are keys.",
    "GETKEYSANDFLAGS <full-command>",
    "    Tell the keys of a command and what it does to each.",
    "INFO [<command-name> ...]",
    "    Describe commands; all of them unless some are named.",
    "LIST [FILTERBY (MODULE <module-name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    Tell the names of commands.",
];

/// A command, or a subcommand with its container.
#[derive(Clone, Copy)]
struct Named {
    container: Option<&'static Command>,
    command: &'static Command,
}

impl Named {
    fn full_name(&self) -> String {
        match self.container {
            Some(container) => format!("{}|{}", container.name, self.command.name),
            None => self.command.name.into(),
        }
    }

    /// Its subcommands.
    fn subcommands(self) -> impl ExactSizeIterator<Item = Self> {
        self.command.subcommands.iter().map(move |command| Self { container: Some(self.command), command })
    }

    fn find(name: &[u8], subcommand: Option<&[u8]>) -> Option<Self> {
        let command = find(name)?;
        let this = Self { container: None, command };
        match subcommand {
            None => Some(this),
            Some(name) => {
                this.subcommands().find(|sub| sub.command.name.as_bytes().eq_ignore_ascii_case(name))
            }
        }
    }

    /// Finds one by a name like `get` or `config|get`.
    fn find_full(name: &[u8]) -> Option<Self> {
        match name.iter().position(|byte| *byte == b'|') {
            Some(bar) => Self::find(&name[..bar], Some(&name[bar + 1..])),
            None => Self::find(name, None),
        }
    }
}

/// All commands, without their subcommands.
fn all() -> impl Iterator<Item = Named> {
    families().flatten().map(|command| Named { container: None, command })
}

fn count(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.count(all().count());
    Ok(())
}

fn info_of_all(cx: &mut SessionCx<'_>) -> Result<(), CommandError> {
    cx.out.array(all().count());
    all().for_each(|named| inform(cx.out, named));
    Ok(())
}

fn info(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.len() == 2 {
        return info_of_all(cx);
    }
    cx.out.array(args.len() - 2);
    for name in args.iter().skip(2) {
        match Named::find_full(name) {
            Some(named) => inform(cx.out, named),
            None => cx.out.null(),
        }
    }
    Ok(())
}

fn docs(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let named: Vec<Named> = match args.len() {
        2 => all().collect(),
        _ => args.iter().skip(2).filter_map(Named::find_full).collect(),
    };
    cx.out.map(named.len());
    for named in named {
        cx.out.bulk(named.full_name().as_bytes());
        document(cx.out, named);
    }
    Ok(())
}

fn list(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = all().flat_map(|named| std::iter::once(named).chain(named.subcommands()));
    let named: Vec<Named> = match args.len() {
        2 => all.collect(),
        5 if is(args.at(2), "FILTERBY") => {
            let (filter, text) = (args.at(3), args.at(4));
            let keeps = |named: &Named| {
                if is(filter, "ACLCAT") {
                    let mut categories = named.command.categories().names();
                    categories.any(|category| is(text, &category[1..]))
                } else {
                    is(filter, "PATTERN")
                        && glob::matches(text, named.full_name().as_bytes(), glob::Case::Insensitive)
                }
            };
            if !["MODULE", "ACLCAT", "PATTERN"].iter().any(|known| is(filter, known)) {
                return Err(CommandError::Syntax);
            }
            all.filter(keeps).collect()
        }
        _ => return Err(CommandError::Syntax),
    };
    cx.out.array(named.len());
    named.iter().for_each(|named| cx.out.bulk(named.full_name().as_bytes()));
    Ok(())
}

fn get_keys(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let args = args.slice(2..);
    let keys = keys_of(args)?;
    cx.out.array(keys.len());
    keys.iter().for_each(|(index, _)| cx.out.bulk(args.at(*index)));
    Ok(())
}

fn get_keys_and_flags(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let args = args.slice(2..);
    let keys = keys_of(args)?;
    cx.out.array(keys.len());
    for (index, flags) in keys {
        cx.out.array(2);
        cx.out.bulk(args.at(index));
        cx.out.set(flags.names().count());
        flags.names().for_each(|flag| cx.out.simple(flag));
    }
    Ok(())
}

/// Which arguments of a command are keys, and what it does to each.
fn keys_of(args: Args<'_>) -> Result<Vec<(usize, KeyFlags)>, CommandError> {
    let has_subcommands = |command: &Command| matches!(command.run, Run::Container);
    let named = Named::find(args.at(0), None).and_then(|named| match args.get(1) {
        Some(sub) if has_subcommands(named.command) => Named::find(args.at(0), Some(sub)),
        _ => Some(named),
    });
    let command = named.ok_or(CommandError::other("ERR Invalid command specified"))?.command;
    if command.keys.is_empty() {
        return Err(CommandError::other("ERR The command has no key arguments"));
    }
    if !command.takes(args.len()) {
        return Err(CommandError::other("ERR Invalid number of arguments specified for command"));
    }
    let mut keys = Vec::new();
    for spec in command.keys {
        let before = keys.len();
        let flags =
            if spec.flags.has(KeyFlags::VARIABLE) { settled(command, args, spec.flags) } else { spec.flags };
        keys.extend(spec.indices(args).map(|index| (index, flags)));
        // A word that is not there has no keys behind it; anything else without keys makes no sense.
        if keys.len() == before && matches!(spec.begin, Begin::Index(_)) {
            if command.flags.has(Flags::NO_MANDATORY_KEYS) {
                return Ok(Vec::new());
            }
            return Err(CommandError::other("ERR Invalid arguments specified for command"));
        }
    }
    Ok(keys)
}

/// What SET and BITFIELD do to their key, which depends on their other arguments.
fn settled(command: &Command, args: Args<'_>, flags: KeyFlags) -> KeyFlags {
    const READS: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
    const OVERWRITES: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);
    const CHANGES: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);
    let has = |word: &str, from: usize| args.iter().skip(from).any(|arg| is(arg, word));
    match command.name {
        "set" => {
            if has("GET", 3) {
                CHANGES
            } else {
                OVERWRITES
            }
        }
        "bitfield" => {
            if has("SET", 2) || has("INCRBY", 2) {
                CHANGES
            } else {
                READS
            }
        }
        _ => flags,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
    };

    #[test]
    fn a_command_is_described_as_redis_describes_it() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        let resp2 = "*1 *10 $3 get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $5 flags *2 +RO \
                     +access $12 begin_search *4 $4 type $5 index $4 spec *2 $5 index :1 $9 find_keys *4 $4 type $5 \
                     range $4 spec *6 $7 lastkey :0 $7 keystep :1 $5 limit :0 *0 ";
        assert_eq!(asker.run("COMMAND INFO get"), resp2);
        asker.run("HELLO 3");
        let resp3 = "*1 *10 $3 get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast ~0 ~1 %3 $5 flags ~2 +RO \
                     +access $12 begin_search %2 $4 type $5 index $4 spec %1 $5 index :1 $9 find_keys %2 $4 type $5 \
                     range $4 spec %3 $7 lastkey :0 $7 keystep :1 $5 limit :0 ~0 ";
        assert_eq!(asker.run("COMMAND INFO GET"), resp3);
        assert_eq!(asker.run("COMMAND INFO nosuch config|nosuch"), "*2 _ _ ");
    }

    #[test]
    fn containers_hold_their_subcommands() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        let config = asker.run("COMMAND INFO config");
        assert!(
            config.starts_with("*1 *10 $6 config :-2 *0 :0 :0 :0 *1 +@slow *0 *0 *5 *10 $10 config|get :-3 "),
            "{config}"
        );
        assert!(asker.run("COMMAND INFO config|get").starts_with("*1 *10 $10 config|get :-3 *4 +admin "));
        assert!(asker.run("COMMAND DOCS config|get").starts_with("*2 $10 config|get *8 $7 summary "));
        assert_eq!(asker.run("COMMAND DOCS nosuch"), "*0 ");
    }

    #[test]
    fn all_commands_are_counted_described_and_listed() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        let count = asker.run("COMMAND COUNT")[1..].trim().to_owned();
        for command in ["COMMAND", "COMMAND INFO"] {
            assert!(asker.run(command).starts_with(&format!("*{count} *10 ")));
        }
        let twice = count.parse::<usize>().unwrap() * 2;
        assert!(asker.run("COMMAND DOCS").starts_with(&format!("*{twice} ")));
        let list = asker.run("COMMAND LIST");
        assert!(list.contains("$3 get ") && list.contains("$10 config|get "));
        assert_eq!(asker.run("COMMAND LIST FILTERBY PATTERN HELL*"), "*1 $5 hello ");
        assert!(asker.run("COMMAND LIST FILTERBY ACLCAT string").contains("$3 get "));
        assert!(!asker.run("COMMAND LIST FILTERBY ACLCAT string").contains("$5 hello "));
        assert_eq!(asker.run("COMMAND LIST FILTERBY MODULE x"), "*0 ");
        assert_eq!(asker.run("COMMAND LIST FILTERBY"), "-ERR syntax error ");
    }

    #[test]
    fn keys_are_found_or_the_command_is_refused() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("COMMAND GETKEYS GET k"), "*1 $1 k ");
        assert_eq!(asker.run("COMMAND GETKEYSANDFLAGS GET k"), "*1 *2 $1 k *2 +RO +access ");
        assert_eq!(asker.run("COMMAND GETKEYS MEMORY USAGE k"), "*1 $1 k ");
        for (command, error) in [
            ("PING x", "The command has no key arguments"),
            ("CONFIG GET a", "The command has no key arguments"),
            ("NOSUCH k", "Invalid command specified"),
            ("MEMORY NOSUCH k", "Invalid command specified"),
            ("GET k other", "Invalid number of arguments specified for command"),
        ] {
            assert_eq!(asker.run(&format!("COMMAND GETKEYS {command}")), format!("-ERR {error} "));
        }
    }
}
