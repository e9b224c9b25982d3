//! The command line: `ringfort server` and `ringfort cluster …`.

mod client;
mod cluster;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A distributed in-memory cache that speaks the Redis protocol.
#[derive(Debug, Parser)]
#[command(name = "ringfort", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Starts a node: founds a cluster, joins one, or comes back to its own
    Server(Box<server::Args>),
    /// Shows and operates a cluster
    Cluster(cluster::Args),
}

/// Runs what the command line asks for.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Server(args) => server::run(&args),
        Command::Cluster(args) => cluster::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("ringfort: {text}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_make_sense_together() {
        Cli::command().debug_assert();
    }
}
