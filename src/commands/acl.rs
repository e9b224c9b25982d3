//! ACL: there is one user, `default`, who may do everything; its password is the setting `requirepass`.

use ringfort_protocol::Args;

use super::{
    Acl, Command, CommandError, Flags, Group, families, full_name, help,
    parse::{integer, is},
    resolve,
    session::SessionCx,
};
use crate::env::random;

/// The family.
pub(super) const COMMANDS: &[Command] = &[ACL];

const ACL: Command = Command {
    name: "acl",
    summary: "Commands about users and what they may do",
    group: Group::Server,
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        ANY.named("cat", "6.0.0", -2, cat, "Tells the categories of commands, or the commands of one"),
        ANY.named("whoami", "6.0.0", 2, who_am_i, "Tells the user of the connection: `default`"),
        ANY.named("genpass", "6.0.0", -2, generate_password, "Makes up a password that nobody can guess"),
        ADMIN.named("users", "6.0.0", 2, who_am_i_in_a_list, "Tells all users: `default`"),
        ADMIN.named(
            "list",
            "6.0.0",
            2,
            list,
            "Tells what the one user may do, as a line of a configuration file",
        ),
        ADMIN.named("getuser", "6.0.0", 3, get_user, "Tells what a user may do"),
        ADMIN.named(
            "dryrun",
            "6.0.0",
            -4,
            dry_run,
            "Tells whether a user may run a command, without running it",
        ),
        ADMIN.named("setuser", "6.0.0", -3, |_, _| Err(ONE_USER), "Is refused: there is one user"),
        ADMIN.named("deluser", "6.0.0", -3, |_, _| Err(ONE_USER), "Is refused: there is one user"),
        ADMIN.named("load", "6.0.0", 2, |_, _| Err(ONE_USER), "Is refused: there is one user"),
        ADMIN.named("save", "6.0.0", 2, |_, _| Err(ONE_USER), "Is refused: there is one user"),
        ADMIN.named("log", "6.0.0", -2, |_, _| Err(ONE_USER), "Is refused: the one user is denied nothing"),
        help::help(Group::Server, "6.0.0", |cx, _| {
            help::write(cx, "ACL", HELP);
            Ok(())
        }),
    ],
    ..Command::BASE
};

/// What the subcommands share that anybody may use.
const ANY: Command = Command {
    group: Group::Server,
    flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE),
    ..Command::BASE
};

/// The same of those that administer.
const ADMIN: Command = Command { flags: ANY.flags.and(Flags::ADMIN), ..ANY };

const HELP: &[&str] = &[
    "CAT [<category>]",
    "    Tell the categories of commands, or the commands of <category>.",
    "DRYRUN <user> <command> [<arg> ...]",
    "    Tell whether <user> may run <command>, without running it.",
    "GENPASS [<bits>]",
    "    Make up a password of <bits> (default: 256) that nobody can guess.",
    "GETUSER <user>",
    "    Tell what <user> may do.",
    "LIST",
    "    Tell what the one user may do, as a line of a configuration file.",
    "USERS",
    "    Tell the names of all users: there is one, `default`.",
    "WHOAMI",
    "    Tell the user of this connection.",
    "DELUSER, LOAD, LOG, SAVE, SETUSER",
    "    Are refused: there is one user. CONFIG SET requirepass gives it a password.",
];

const ONE_USER: CommandError = CommandError::other(
    "ERR there is one user, 'default', who may do everything; its password is the setting requirepass",
);

const USER: &[u8] = b"default";

/// What stands for the password, which is told to nobody.
const HIDDEN: &str = "(requirepass)";

fn who_am_i(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.bulk(USER);
    Ok(())
}

fn who_am_i_in_a_list(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    cx.out.array(1);
    who_am_i(cx, args)
}

fn has_password(cx: &SessionCx<'_>) -> bool {
    !cx.node.config.load().requirepass.is_empty()
}

fn list(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let password = if has_password(cx) { format!("#{HIDDEN}") } else { "nopass".to_owned() };
    cx.out.array(1);
    cx.out.bulk(format!("user default on {password} ~* &* +@all").as_bytes());
    Ok(())
}

fn get_user(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.at(2) != USER {
        cx.out.null();
        return Ok(());
    }
    let flags: &[&[u8]] = if has_password(cx) { &[b"on"] } else { &[b"on", b"nopass"] };
    let passwords: &[&str] = if has_password(cx) { &[HIDDEN] } else { &[] };
    cx.out.map(6);
    cx.out.bulk(b"flags");
    cx.out.set(flags.len());
    flags.iter().for_each(|flag| cx.out.bulk(flag));
    cx.out.bulk(b"passwords");
    cx.out.array(passwords.len());
    passwords.iter().for_each(|password| cx.out.bulk(password.as_bytes()));
    for (what, allowed) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        cx.out.bulk(what.as_bytes());
        cx.out.bulk(allowed.as_bytes());
    }
    cx.out.bulk(b"selectors");
    cx.out.array(0);
    Ok(())
}

fn cat(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let all = Acl::NAMES.iter().map(|(category, name)| (*category, name.trim_start_matches('@')));
    match args.get(2) {
        None => {
            cx.out.array(all.len());
            all.for_each(|(_, name)| cx.out.bulk(name.as_bytes()));
        }
        Some(_) if args.len() > 3 => return Err(wrong_form("CAT")),
        Some(wanted) => {
            let found = all.clone().find(|(_, name)| is(wanted, name));
            let unknown = || CommandError::quoting("ERR Unknown category '", wanted, "'");
            let (category, _) = found.ok_or_else(unknown)?;
            let with_subs =
                families().flatten().flat_map(|command| std::iter::once(command).chain(command.subcommands));
            let names: Vec<&str> =
                with_subs.filter(|command| command.categories().has(category)).map(full_name).collect();
            cx.out.array(names.len());
            names.iter().for_each(|name| cx.out.bulk(name.as_bytes()));
        }
    }
    Ok(())
}

/// The longest password that is made up, in bits, and the usual one.
const MOST_BITS: i64 = 4096;
const BITS: i64 = 256;

fn generate_password(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let bits = match args.len() {
        2 => BITS,
        3 => integer(args.at(2))?,
        _ => return Err(wrong_form("GENPASS")),
    };
    if !(1..=MOST_BITS).contains(&bits) {
        return Err(CommandError::other(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
        ));
    }
    let random: [u8; MOST_BITS as usize / 8] = random::bytes();
    let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let digits = digits.map(|digit| b"0123456789abcdef"[usize::from(digit)]);
    let password: Vec<u8> = digits.take((bits as usize).div_ceil(4)).collect();
    cx.out.bulk(&password);
    Ok(())
}

fn dry_run(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if args.at(2) != USER {
        return Err(CommandError::quoting("ERR User '", args.at(2), "' not found"));
    }
    match resolve(args.slice(3..)) {
        Ok(_) => cx.out.ok(),
        Err(error @ CommandError::Arity(_)) => return Err(error),
        Err(_) => return Err(CommandError::quoting("ERR Command '", args.at(3), "' not found")),
    }
    Ok(())
}

fn wrong_form(subcommand: &str) -> CommandError {
    CommandError::made(format!(
        "ERR unknown subcommand or wrong number of arguments for '{subcommand}'. Try ACL HELP."
    ))
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        node::testing::{Asker, node},
    };

    #[test]
    fn the_one_user_may_do_everything() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("ACL WHOAMI"), "$7 default ");
        assert_eq!(asker.run("ACL USERS"), "*1 $7 default ");
        assert_eq!(asker.run("ACL LIST"), "*1 $34 user default on nopass ~* &* +@all ");
        let user = "*12 $5 flags *2 $2 on $6 nopass $9 passwords *0 $8 commands $5 +@all $4 keys $2 ~* $8 channels $2 &* \
                    $9 selectors *0 ";
        assert_eq!(asker.run("ACL GETUSER default"), user);
        assert_eq!(asker.run("ACL GETUSER other"), "$-1 ");
        asker.run("CONFIG SET requirepass secret");
        assert_eq!(asker.run("ACL LIST"), "*1 $42 user default on #(requirepass) ~* &* +@all ");
        let user = asker.run("ACL GETUSER default");
        assert!(user.contains("*1 $2 on ") && !user.contains("secret"), "{user}");
        for command in ["SETUSER me on", "DELUSER default", "LOAD", "SAVE", "LOG"] {
            let reply = asker.run(&format!("ACL {command}"));
            assert!(reply.starts_with("-ERR there is one user, 'default'"), "{command}: {reply}");
        }
    }

    #[test]
    fn a_dry_run_tells_what_the_command_would_be_refused_for() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("ACL DRYRUN default get k"), "+OK ");
        assert_eq!(asker.run("ACL DRYRUN other get k"), "-ERR User 'other' not found ");
        assert_eq!(asker.run("ACL DRYRUN default nosuch"), "-ERR Command 'nosuch' not found ");
        assert_eq!(
            asker.run("ACL DRYRUN default config get"),
            "-ERR wrong number of arguments for 'config|get' command "
        );
    }

    #[test]
    fn commands_are_told_by_category() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert!(asker.run("ACL CAT").contains("$8 keyspace $4 read $5 write $3 set $9 sortedset "));
        let geo = asker.run("ACL CAT GEO");
        assert!(geo.starts_with("*10 ") && geo.contains("$6 geoadd "), "{geo}");
        assert!(asker.run("ACL CAT admin").contains("$10 config|set "));
        assert_eq!(asker.run("ACL CAT nosuch"), "-ERR Unknown category 'nosuch' ");
    }

    #[test]
    fn passwords_have_the_bits_that_are_asked_for() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        let first = asker.run("ACL GENPASS");
        assert!(first.starts_with("$64 ") && first != asker.run("ACL GENPASS"));
        assert!(asker.run("ACL GENPASS 5").starts_with("$2 "));
        assert!(asker.run("ACL GENPASS 4096").starts_with("$1024 "));
        for bits in ["0", "-1", "4097"] {
            assert!(
                asker.run(&format!("ACL GENPASS {bits}")).starts_with("-ERR ACL GENPASS argument must be")
            );
        }
        assert_eq!(asker.run("ACL GENPASS x"), "-ERR value is not an integer or out of range ");
    }
}
