//! Documents that are made from the code are fresh: `RINGFORT_BLESS=1 cargo test --test docs` makes them anew.

use std::{fmt::Write, fs, path::Path};

use ringfort::{
    commands::{Command, Flags, Gather, Run, Spread, families},
    ops::{exposition, metrics::METRICS},
};

/// The table of commands, as Markdown.
fn commands() -> String {
    let mut text = String::from(
        "# Commands\n\nMade from the declarations in `src/commands/`. *Over nodes* says what a command does when its keys \
         live on several nodes; on one node every command is atomic.\n",
    );
    let mut all: Vec<(String, &Command)> = Vec::new();
    for command in families().flatten() {
        if command.subcommands.is_empty() {
            all.push((command.name.to_uppercase(), command));
        }
        for sub in command.subcommands {
            all.push((format!("{} {}", command.name, sub.name).to_uppercase(), sub));
        }
    }
    all.sort_by_key(|(name, command)| (command.group.name(), name.clone()));
    let mut group = "";
    for (name, command) in all {
        if command.group.name() != group {
            group = command.group.name();
            let _ = write!(
                text,
                "\n## {group}\n\n| command | what it does | since | cost | over nodes |\n| --- | --- | --- | --- | --- |\n"
            );
        }
        let summary = command.summary.replace('|', "\\|");
        let complexity = command.complexity.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{name}` | {summary} | {} | {complexity} | {} |",
            command.since,
            over_nodes(command)
        );
    }
    text
}

fn over_nodes(command: &Command) -> &'static str {
    match command.spread {
        _ if matches!(command.run, Run::Blocking(_)) => "its keys one after the other, waiting for any",
        _ if command.keys.is_empty() && matches!(command.spread, Spread::Together) => "",
        Spread::Together if command.keys.len() == 1 && is_single(command) => "one key",
        Spread::Together if command.flags.has(Flags::WRITE) => "run on copies, changed where unchanged",
        Spread::Together => "run on copies, not atomic",
        Spread::Refused => "refused; use a hash tag",
        Spread::Keys(
            Gather::PerKey | Gather::Sum | Gather::Min | Gather::AllOk | Gather::Concat | Gather::AnyOne,
        ) => "each node its keys, not atomic",
        Spread::Everywhere(_) => "every node its shards",
        Spread::Carry => "carried over, not atomic",
        Spread::Cursor => "one cursor for all nodes",
    }
}

/// Whether the command takes exactly one key.
fn is_single(command: &Command) -> bool {
    matches!(command.keys[0].find, ringfort::commands::Find::Range { last: 0, .. })
}

/// Holds a document against what the code makes of it, or writes it.
fn check_or_bless(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    if std::env::var_os("RINGFORT_BLESS").is_some() {
        fs::write(&path, made).expect("the document can be written");
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == made, "docs/{name} is stale; make it anew by RINGFORT_BLESS=1 cargo test --test docs");
}

#[test]
fn the_table_of_commands_is_fresh() {
    check_or_bless("commands.md", &commands());
}

#[test]
fn the_table_of_metrics_is_fresh() {
    check_or_bless("metrics.md", &exposition::reference(METRICS));
}
