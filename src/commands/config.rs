//! CONFIG: reads and changes the settings of the node.

use ringfort_protocol::Args;

use super::{
    Command, CommandError, Flags, Group, help,
    server::ADMIN,
    session::{Later, SessionCx},
};
use crate::{config::matching, log};

/// The family.
pub(super) const COMMANDS: &[Command] = &[CONFIG];

const CONFIG: Command = Command {
    name: "config",
    summary: "Commands about the settings of the node",
    group: Group::Server,
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        Command {
            complexity: "O(N) when N is the number of configuration parameters provided",
            ..SUB.named("get", "2.0.0", -3, get, "Tells settings by their names")
        },
        Command {
            complexity: "O(N) when N is the number of configuration parameters provided",
            ..SUB.named("set", "2.0.0", -4, set, "Changes settings: all that are named, or none")
        },
        SUB.named("resetstat", "2.0.0", 2, reset_stat, "Sets the counters of INFO to zero"),
        SUB.named("rewrite", "2.8.0", 2, rewrite, "Writes the settings in force into the configuration file"),
        help::help(Group::Server, "5.0.0", |cx, _| {
            help::write(cx, "CONFIG", HELP);
            Ok(())
        }),
    ],
    ..Command::BASE
};

/// What its subcommands share.
const SUB: Command = Command { group: Group::Server, flags: ADMIN.and(Flags::NOSCRIPT), ..Command::BASE };

const HELP: &[&str] = &[
    "GET <pattern> [<pattern> ...]",
    "    Tell the settings whose names match any <pattern>, with their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Change settings: all of them, or none.",
    "RESETSTAT",
    "    Set the counters of INFO to zero.",
    "REWRITE",
    "    Write the settings in force into the configuration file.",
];

fn get(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let settings = cx.node.config.load();
    let found = matching(args.iter().skip(2));
    cx.out.map(found.len());
    for (name, directive) in found {
        cx.out.bulk(name.as_bytes());
        cx.out.bulk((directive.print)(&settings).as_bytes());
    }
    Ok(())
}

fn set(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    if !args.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let texts: Vec<_> = args.iter().skip(2).map(String::from_utf8_lossy).collect();
    let pairs: Vec<_> = texts.chunks_exact(2).map(|pair| (&*pair[0], &*pair[1])).collect();
    cx.node.config.change(&pairs).map_err(|error| CommandError::made(format!("ERR {error}")))?;
    if pairs.iter().any(|(name, _)| name.eq_ignore_ascii_case("loglevel")) {
        // Even if it is what it was: another filter may have been set on the admin port.
        let level = cx.node.config.load().loglevel;
        if let Err(error) = log::set(level.filter()) {
            tracing::warn!(%error, level = level.name(), "the level of the log was not changed");
        }
    }
    cx.out.ok();
    Ok(())
}

fn reset_stat(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.node.stats.reset();
    cx.node.latency.histograms().clear();
    cx.node.tallies.reset();
    cx.out.ok();
    Ok(())
}

fn rewrite(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    if cx.node.config.file().is_none() {
        return Err(CommandError::other("ERR The server is running without a config file"));
    }
    cx.later = Some(Later::RewriteConfig);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use crate::{
        clients::Door,
        commands::session::Later,
        config::{Config, Settings},
        node::testing::{Asker, node},
    };

    #[test]
    fn settings_are_told_by_pattern_in_both_versions() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("CONFIG GET databases"), "*2 $9 databases $2 16 ");
        assert_eq!(asker.run("CONFIG GET nosuch"), "*0 ");
        assert_eq!(asker.run("CONFIG GET save appendonly"), "*4 $4 save $0  $10 appendonly $2 no ");
        asker.run("HELLO 3");
        assert_eq!(asker.run("CONFIG GET MAXMEMORY maxmemor?"), "%1 $9 maxmemory $1 0 ");
    }

    #[test]
    fn settings_change_at_once() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("CONFIG SET maxmemory 1gb hz 10"), "+OK ");
        assert_eq!(node.config.load().maxmemory, 1 << 30);
        assert_eq!(asker.run("CONFIG SET loglevel VERBOSE"), "+OK ");
        assert_eq!(asker.run("CONFIG GET loglevel"), "*2 $8 loglevel $7 verbose ");
        assert_eq!(asker.run("CONFIG SET maxmemory 1 hz"), "-ERR syntax error ");
        assert_eq!(
            asker.run("CONFIG SET maxmemory"),
            "-ERR wrong number of arguments for 'config|set' command "
        );
        assert_eq!(asker.run("CONFIG OTHER"), "-ERR unknown subcommand 'OTHER'. Try CONFIG HELP. ");
    }

    #[test]
    fn the_file_is_rewritten_off_the_event_loop_if_there_is_one() {
        let mut node = node();
        let error = "-ERR The server is running without a config file ";
        assert_eq!(Asker::new(&node, Door::Client).run("CONFIG REWRITE"), error);
        node.config = Config::new(Settings::default()).with_file(Some(PathBuf::from("ringfort.conf")));
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("CONFIG REWRITE"), "");
        assert_eq!(asker.later, Some(Later::RewriteConfig));
    }

    #[test]
    fn counters_are_reset() {
        let node = node();
        node.stats.errors.add(3);
        node.latency.count([("get", 1)].into_iter());
        node.tallies.join(2).call(1, 5);
        node.tallies.note_error(b"-ERR no\r\n");
        Asker::new(&node, Door::Client).run("CONFIG RESETSTAT");
        assert!(node.latency.histograms().is_empty() && node.tallies.errors().is_empty());
        assert_eq!((node.stats.errors.get(), node.tallies.calls()), (0, 0));
    }
}
