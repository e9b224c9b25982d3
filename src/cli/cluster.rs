//! `ringfort cluster …`: shows and operates a cluster through any of its nodes.

use std::{thread::sleep, time::Duration};

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::client::Client;
use crate::control::status::Status;

/// How often the cluster is asked how far it is.
const POLL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A node of the cluster: HOST:PORT
    #[arg(long, short, global = true, default_value = "127.0.0.1:6379", env = "RINGFORT_NODE")]
    node: String,
    /// The nodes' password
    #[arg(long, global = true, env = "RINGFORT_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Prints JSON and no progress
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows nodes, roles, shards, lag, and who leads
    Status,
    /// Has a node hand over all that it has, so that it can be removed
    Drain {
        /// Its id, the first digits of it, or HOST:PORT
        target: String,
        /// Takes it back: the node gets shards again
        #[arg(long)]
        undo: bool,
    },
    /// Forgets a node that is drained or dead
    Remove {
        /// Its id, the first digits of it, or HOST:PORT
        target: String,
    },
    /// Brings the shards to where they belong, and waits for it
    Rebalance,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let mut client = Client::connect(&args.node, args.password.as_deref())?;
    match &args.action {
        Action::Status => show(&mut client, args.json),
        Action::Drain { target, undo: true } => {
            client.call(&["RINGFORT", "UNDRAIN", target])?;
            done(&mut client, args.json, "The node gets shards again.")
        }
        Action::Drain { target, undo: false } => {
            client.call(&["RINGFORT", "DRAIN", target])?;
            wait(&mut client, args.json, "draining", |status| held_by(status, target))?;
            done(&mut client, args.json, "The node holds nothing any more and can be removed.")
        }
        Action::Remove { target } => {
            client.call(&["RINGFORT", "REMOVE", target])?;
            done(&mut client, args.json, "The node is forgotten.")
        }
        Action::Rebalance => {
            client.call(&["RINGFORT", "REBALANCE"])?;
            wait(&mut client, args.json, "moving", |status| status.moves_left)?;
            done(&mut client, args.json, "Every shard is where it belongs.")
        }
    }
}

fn find<'a>(status: &'a Status, target: &str) -> Option<&'a crate::control::status::NodeStatus> {
    status.nodes.iter().find(|node| node.id.starts_with(target) || node.address == target)
}

/// What a node that is drained has still: shards, copies, its vote, the leadership.
fn held_by(status: &Status, target: &str) -> usize {
    let Some(node) = find(status, target) else { return 0 };
    let leads = status.leader.as_ref() == Some(&node.id);
    node.primary_of + node.replica_of + usize::from(node.votes) + usize::from(leads)
}

fn status(client: &mut Client) -> Result<Status, String> {
    let text = client.call(&["RINGFORT", "STATUS"])?;
    serde_json::from_str(&text).map_err(|error| format!("the node's status cannot be read: {error}"))
}

fn done(client: &mut Client, json: bool, text: &str) -> Result<(), String> {
    if json {
        return show(client, true);
    }
    println!("{text}");
    Ok(())
}

/// Waits until nothing is left to do, with a bar that shows how far it is.
fn wait(
    client: &mut Client,
    json: bool,
    what: &'static str,
    left: impl Fn(&Status) -> usize,
) -> Result<(), String> {
    let most = left(&status(client)?) as u64;
    let bar = if json { ProgressBar::hidden() } else { ProgressBar::new(most) };
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} shards, {elapsed}");
    bar.set_style(style.expect("a constant template").progress_chars("=> "));
    bar.set_message(what);
    loop {
        let now = left(&status(client)?) as u64;
        bar.set_position(most.saturating_sub(now));
        if now == 0 {
            bar.finish();
            return Ok(());
        }
        sleep(POLL);
    }
}

fn show(client: &mut Client, json: bool) -> Result<(), String> {
    if json {
        println!("{}", client.call(&["RINGFORT", "STATUS"])?);
        return Ok(());
    }
    print!("{}", table(&status(client)?));
    Ok(())
}

/// The status as a table of at most 100 columns.
fn table(status: &Status) -> String {
    let mut text = format!(
        "cluster {}  version {}  {} shards: {} without primary, {} short of copies, {} moves left\n\n",
        &status.cluster[..8],
        status.version,
        status.shards,
        status.shards_without_primary,
        status.shards_short_of_copies,
        status.moves_left,
    );
    text.push_str(&format!(
        "{:<10}{:<24}{:<10}{:>5}  {:<8}{:>8}{:>9}{:>9}{:>10}\n",
        "node", "address", "state", "life", "council", "primary", "replica", "in sync", "lag"
    ));
    for node in &status.nodes {
        let council = match (status.leader.as_deref() == Some(&node.id), node.votes) {
            (true, _) => "leads",
            (false, true) => "votes",
            (false, false) => "learns",
        };
        text.push_str(&format!(
            "{:<10}{:<24}{:<10}{:>5}  {:<8}{:>8}{:>9}{:>9}{:>10}\n",
            &node.id[..8],
            shorten(&node.address, 23),
            node.state,
            node.incarnation,
            council,
            node.primary_of,
            node.replica_of,
            node.in_sync,
            lag(node.lag),
        ));
    }
    text
}

fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().rev().nth(most.saturating_sub(2)) {
        Some((start, _)) if text.chars().count() > most => format!("…{}", &text[start..]),
        _ => text.to_owned(),
    }
}

fn lag(bytes: u64) -> String {
    match bytes {
        0 => "-".into(),
        1..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{} KB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::NodeStatus;

    fn crowded() -> Status {
        let node = NodeStatus {
            id: "ab".repeat(20),
            address: "a-host-with-a-rather-long-name.example.org:65535".into(),
            state: "draining".into(),
            incarnation: 99_999,
            zone: String::new(),
            weight: 1,
            votes: true,
            primary_of: 16_384,
            replica_of: 16_384,
            in_sync: 16_384,
            lag: u64::MAX / 1_000_000_000,
        };
        Status {
            cluster: "cd".repeat(20),
            version: 1_000_000,
            asked: node.id.clone(),
            leader: Some(node.id.clone()),
            shards: 16_384,
            shards_without_primary: 0,
            shards_short_of_copies: 0,
            moves_left: 0,
            nodes: vec![node],
        }
    }

    #[test]
    fn a_node_is_drained_when_it_neither_holds_nor_votes_nor_leads() {
        let mut status = crowded();
        assert!(held_by(&status, "abab") > 2);
        (status.nodes[0].primary_of, status.nodes[0].replica_of) = (0, 0);
        assert_eq!(held_by(&status, "abab"), 2);
        status.nodes[0].votes = false;
        assert_eq!(held_by(&status, "abab"), 1);
        status.leader = None;
        assert_eq!(held_by(&status, "abab"), 0);
    }

    #[test]
    fn the_table_fits_100_columns() {
        let text = table(&crowded());
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.contains("leads") && text.contains(":65535"));
    }
}
