//! `ringfort server`: options from the command line, the environment and a Redis-style file, in this order of weight.

use std::{net::IpAddr, path::PathBuf};

use ringfort_cluster::Settings;

use crate::{
    ops::log,
    server::{self, Options},
};

const NETWORK: &str = "Network";
const CLUSTER: &str = "Cluster";
const FOUNDING: &str = "Founding a cluster (ignored when joining one)";
const NODE: &str = "Node";

/// Options of a node.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Port for any Redis client
    #[arg(long, short, default_value_t = 6379, env = "RINGFORT_PORT", help_heading = NETWORK)]
    port: u16,
    /// Port for cluster-aware clients [default: port + 1000]
    #[arg(long, env = "RINGFORT_CLUSTER_PORT", help_heading = NETWORK)]
    cluster_port: Option<u16>,
    /// Port for metrics and health by HTTP [default: port + 2000]
    #[arg(long, env = "RINGFORT_ADMIN_PORT", help_heading = NETWORK)]
    admin_port: Option<u16>,
    /// Port for other nodes [default: port + 10000]
    #[arg(long, env = "RINGFORT_BUS_PORT", help_heading = NETWORK)]
    bus_port: Option<u16>,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", env = "RINGFORT_BIND", help_heading = NETWORK)]
    bind: IpAddr,
    /// Host by which clients and other nodes reach this one [default: the address it listens on]
    #[arg(long, env = "RINGFORT_ANNOUNCE_HOST", help_heading = NETWORK)]
    announce_host: Option<String>,
    /// Password that clients must give
    #[arg(long, default_value = "", hide_default_value = true, env = "RINGFORT_REQUIREPASS", help_heading = NETWORK)]
    requirepass: String,

    /// Nodes of the cluster to join: HOST:PORT, several with commas between
    #[arg(long, value_delimiter = ',', env = "RINGFORT_JOIN", help_heading = CLUSTER)]
    join: Vec<String>,
    /// Secret that all nodes share; needed where other machines can reach the bus
    #[arg(long, default_value = "", hide_default_value = true, env = "RINGFORT_CLUSTER_SECRET", help_heading = CLUSTER)]
    cluster_secret: String,
    /// Failure domain: copies of a shard are kept in different ones
    #[arg(long, default_value = "", hide_default_value = true, env = "RINGFORT_ZONE", help_heading = CLUSTER)]
    zone: String,
    /// Capacity relative to other nodes; 0 holds no data and only votes
    #[arg(long, default_value_t = 1, env = "RINGFORT_WEIGHT", help_heading = CLUSTER)]
    weight: u32,

    /// Number of shards: a power of two, for the life of the cluster
    #[arg(long, default_value_t = 256, env = "RINGFORT_SHARDS", help_heading = FOUNDING)]
    shards: u16,
    /// Copies of each shard beside its primary
    #[arg(long, default_value_t = 1, env = "RINGFORT_REPLICAS", help_heading = FOUNDING)]
    replicas: u8,
    /// How long a node may be silent before others take its shards over, in milliseconds
    #[arg(long, default_value_t = 200, env = "RINGFORT_LEASE_MS", help_heading = FOUNDING)]
    lease_ms: u32,

    /// Data directory
    #[arg(long, default_value = "ringfort-data", env = "RINGFORT_DATA_DIR", help_heading = NODE)]
    data_dir: PathBuf,
    /// Event loops [default: one for each core but one, which is left to the cluster's own work]
    #[arg(long, env = "RINGFORT_THREADS", help_heading = NODE)]
    threads: Option<usize>,
    /// Memory for data, as in 512mb or 4gb; 0 sets no limit
    #[arg(long, default_value = "0", env = "RINGFORT_MAXMEMORY", help_heading = NODE)]
    maxmemory: String,
    /// What is given up when memory is short
    #[arg(long, default_value = "noeviction", env = "RINGFORT_MAXMEMORY_POLICY", help_heading = NODE)]
    maxmemory_policy: String,
    /// What is logged: error, warn, info, debug, trace, or per module as in info,ringfort::net=debug
    #[arg(long, default_value = "info,openraft=error", env = "RINGFORT_LOG", help_heading = NODE)]
    log: String,
    /// How it is logged
    #[arg(long, value_enum, default_value_t = log::Format::Text, env = "RINGFORT_LOG_FORMAT", help_heading = NODE)]
    log_format: log::Format,
}

/// Starts a node and runs it until it is told to stop.
pub(super) fn run(args: Args) -> Result<(), String> {
    log::init(&args.log, args.log_format).map_err(|error| format!("--log: {error}"))?;
    let options = options(args)?;
    server::run(options).map_err(|error| error.to_string())
}

fn options(args: Args) -> Result<Options, String> {
    let above = |given: Option<u16>, by: u16, option: &str| match given {
        Some(port) => Ok(port),
        None => args.port.checked_add(by).ok_or_else(|| {
            format!("port {} leaves no room for the port {by} above it; give --{option}", args.port)
        }),
    };
    let policy = crate::store::Policy::from_name(&args.maxmemory_policy).ok_or_else(|| {
        let names: Vec<_> = crate::store::Policy::names().collect();
        format!("'{}' is no policy; choose one of {}", args.maxmemory_policy, names.join(", "))
    })?;
    if !args.shards.is_power_of_two() || args.shards > ringfort_cluster::SLOTS {
        return Err(format!("--shards {}: give a power of two, at most 16384", args.shards));
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(cores - 1).max(1);
    Ok(Options {
        bind: args.bind,
        cluster_port: above(args.cluster_port, 1_000, "cluster-port")?,
        admin_port: above(args.admin_port, 2_000, "admin-port")?,
        bus_port: above(args.bus_port, 10_000, "bus-port")?,
        announce_host: args.announce_host,
        port: args.port,
        data_dir: args.data_dir,
        join: args.join,
        cluster_secret: args.cluster_secret,
        threads,
        zone: args.zone,
        weight: args.weight,
        cluster: Settings {
            shards: args.shards,
            replicas: args.replicas,
            lease_ms: args.lease_ms,
            ..Settings::default()
        },
        settings: crate::config::Settings {
            requirepass: args.requirepass,
            maxmemory: bytes(&args.maxmemory)?,
            policy,
            ..Default::default()
        },
    })
}

/// A size as Redis writes it: bytes, or with k, kb, m, mb, g, gb.
fn bytes(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err(format!("'{text}' is no size; write it as 100mb or 4gb")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("'{text}' is no size; write it as 100mb or 4gb"))?;
    number.checked_mul(unit).ok_or_else(|| format!("'{text}' is more than any machine has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_redis_reads_them() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("100MB"), Ok(100 << 20));
        assert_eq!(bytes("2k"), Ok(2_000));
        assert!(bytes("ten").is_err() && bytes("5tb").is_err() && bytes("99999999999999gb").is_err());
    }
}
