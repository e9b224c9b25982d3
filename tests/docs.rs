//! Documents that are made from the code are fresh: `RINGFORT_BLESS=1 cargo test --test docs` makes them anew.

use std::{collections::BTreeSet, fmt::Write, fs, path::Path};

use ringfort::{
    commands::{Command, Find, Flags, Gather, KeyFlags, KeySpec, Run, Spread, families},
    ops::{exposition, metrics::METRICS},
};

/// The table of commands, as Markdown.
fn commands() -> String {
    let mut text = String::from(
        "# Commands\n\nMade from the declarations in `src/commands/`. On one node every command is atomic. What it guarantees \
         when its keys live on several nodes is in the column *over nodes*.\n",
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
            guarantee(command)
        );
    }
    text
}

const SCANNED: &str = "what is there throughout is returned";

/// What others may see of a command whose keys live on several nodes, and what is left when a node fails in between.
fn guarantee(command: &Command) -> &'static str {
    let writes = command.flags.has(Flags::WRITE);
    let changed = command.keys.iter().filter(|keys| !keys.flags.is_read_only()).count();
    match command.spread {
        _ if matches!(command.run, Run::Session(_) | Run::Control | Run::Wait | Run::Container) => "",
        _ if command.keys.iter().any(|keys| keys.flags.has(KeyFlags::NOT_KEY)) => SCANNED,
        _ if is_single(command) => "one key: atomic",
        Spread::Together if command.keys.is_empty() => "",
        Spread::InTurn => "each key in turn, by its own node: takes from one key, atomic there",
        Spread::Together if changed > 1 => {
            "both keys or neither; a node that fails in between leaves it at both"
        }
        Spread::Together if writes => "reads each key in turn; the one that changes does so in one step",
        Spread::Together => "reads each key in turn: no single instant",
        Spread::Refused => "refused; a common hash tag keeps keys together",
        Spread::Keys(Gather::Streams) => "each stream by its own node: no single instant",
        Spread::Keys(Gather::Deliveries) => {
            "each stream by its own node, if none refuses; if a node fails in between, the answer is what others gave"
        }
        Spread::Keys(_) if writes => "each node its keys: atomic on each, not together",
        Spread::Keys(_) => "each node its keys: no single instant",
        Spread::Everywhere(_) => "each node its shards: atomic on each, not together",
        Spread::Carry => {
            "placed, then removed if it is unchanged; a node that fails in between leaves it at both"
        }
        Spread::Cursor => SCANNED,
    }
}

/// Whether the command takes exactly one key.
fn is_single(command: &Command) -> bool {
    matches!(command.keys, [KeySpec { find: Find::Range { last: 0, .. }, .. }])
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

/// The names of constants in the code that limit how much something may hold.
fn limits(folder: &Path, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            limits(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("the code can be read");
            let names = text.split("const ").skip(1).filter_map(|rest| rest.split_once(": usize ="));
            found.extend(names.map(|(name, _)| name.to_owned()).filter(|name| name.ends_with("_LIMIT")));
        }
    }
}

#[test]
fn the_architecture_lists_every_limit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    ["src", "cluster/src", "protocol/src"].iter().for_each(|folder| limits(&root.join(folder), &mut found));
    assert!(found.contains("HOLES_LIMIT") && found.contains("RECORD_LIMIT"), "{found:?}");
    let text = fs::read_to_string(root.join("docs/architecture.md")).expect("it is there");
    let missing: Vec<_> = found.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "give them a place in its section on limits: {missing:?}");
}
