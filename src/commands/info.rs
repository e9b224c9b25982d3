//! INFO: the state of the node, as lines of `name:value` in sections.
//!
//! The names are Redis', so that what reads Redis' INFO reads this one. A figure that has no meaning here is left out
//! rather than made up. Figures are those of this node: its clients, its memory, the keys of the shards that it serves.

use std::{fmt::Write as _, sync::atomic::Ordering};

use ringfort_cluster::{NodeState, ShardId};
use ringfort_protocol::Args;

use super::{
    Acl, Command, CommandError, Flags, Group, Run, connection::REDIS_VERSION, names, session::SessionCx,
};
use crate::{
    clients::{Door, Pause},
    commandlog::Kind,
    config::percentile,
    env::process::Process,
    store::{DATABASES, Role},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[INFO];

const INFO: Command = Command {
    name: "info",
    summary: "Tells the state of the server",
    group: Group::Server,
    arity: -1,
    flags: Flags::LOADING.and(Flags::STALE),
    acl: Acl::DANGEROUS,
    run: Run::Session(info),
    ..Command::BASE
};

/// Writes the lines of a section.
type Section = fn(&mut String, &SessionCx<'_>, &Process) -> std::fmt::Result;

/// Sections that are not told unless they are asked for, or all are.
const ON_DEMAND: [&str; 2] = ["Commandstats", "Latencystats"];

const SECTIONS: &[(&str, Section)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    (ON_DEMAND[0], commands),
    ("Errorstats", errors),
    (ON_DEMAND[1], latency),
    ("Cluster", cluster),
    ("Keyspace", keyspace),
    ("Ringfort", ringfort),
];

fn info(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let wanted = |section: &str| {
        let is = |arg: &[u8], word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        let everything = |arg: &[u8]| ["all", "everything"].iter().any(|word| is(arg, word));
        let is_usual = !ON_DEMAND.contains(&section);
        let default = |arg: &[u8]| is(arg, "default") && is_usual;
        let names = |arg: &[u8]| everything(arg) || default(arg) || is(arg, section);
        if args.len() == 1 { is_usual } else { args.iter().skip(1).any(names) }
    };
    let process = Process::now();
    let mut text = String::new();
    for (name, section) in SECTIONS.iter().filter(|section| wanted(section.0)) {
        if !text.is_empty() {
            text.push_str("\r\n");
        }
        let written = write!(text, "# {name}\r\n").and_then(|()| section(&mut text, cx, &process));
        written.expect("a string takes all that is written to it");
    }
    cx.out.text(&text);
    Ok(())
}

macro_rules! lines {
    ($out:ident, $($name:literal: $value:expr),* $(,)?) => {{
        $(write!($out, concat!($name, ":{}\r\n"), $value)?;)*
        Ok(())
    }};
}

fn server(out: &mut String, cx: &SessionCx<'_>, process: &Process) -> std::fmt::Result {
    let mode = match cx.client.door {
        Door::Client => "standalone",
        Door::Cluster => "cluster",
    };
    let uptime = cx.now.boot.saturating_sub(cx.node.started) / 1_000_000_000;
    let config_file = cx.node.config.file().map_or(String::new(), |path| path.display().to_string());
    lines!(out,
        "redis_version": REDIS_VERSION,
        "server_name": "ringfort",
        "ringfort_version": env!("CARGO_PKG_VERSION"),
        "redis_mode": mode,
        "os": process.os,
        "arch_bits": usize::BITS,
        "monotonic_clock": "POSIX clock_gettime",
        "multiplexing_api": "epoll",
        "process_id": process.id,
        "process_supervised": "no",
        "run_id": run_id(cx),
        "tcp_port": cx.client.shared.local.port(),
        "server_time_usec": cx.node.clock.wall_micros(),
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
        "hz": 10,
        "configured_hz": 10,
        "lru_clock": (cx.now.wall / 1_000) & 0xff_ffff,
        "executable": process.executable,
        "config_file": config_file,
    )
}

/// 40 hexadecimal digits that no other life of any node has.
fn run_id(cx: &SessionCx<'_>) -> String {
    let member = cx.node.member();
    let hash = blake3::hash(format!("{} {}", member.node, member.incarnation).as_bytes());
    hash.to_hex()[..40].to_owned()
}

fn clients(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    let paused = match cx.node.clients.pause(cx.now.boot) {
        Pause::Nothing => "none",
        Pause::Writes => "write",
        Pause::All => "all",
    };
    lines!(out,
        "connected_clients": cx.node.clients.len(),
        "maxclients": cx.node.config.load().maxclients,
        "blocked_clients": cx.node.clients.blocked(),
        "tracking_clients": 0,
        "pubsub_clients": 0,
        "paused_actions": paused,
    )
}

fn memory(out: &mut String, cx: &SessionCx<'_>, process: &Process) -> std::fmt::Result {
    let settings = cx.node.config.load();
    let (memory, store) = (&cx.node.memory, &cx.node.store);
    memory.refresh(store);
    let (used, peak, dataset) = (memory.used(store), memory.peak(), store.used() as u64);
    let allocator = memory.allocator();
    let (fragmentation_bytes, fragmentation) = allocator.fragmentation();
    let (overhead_bytes, overhead) = allocator.overhead();
    let ratio = process.resident as f64 / used.max(1) as f64;
    lines!(out,
        "used_memory": used,
        "used_memory_human": human(used),
        "used_memory_rss": process.resident,
        "used_memory_rss_human": human(process.resident),
        "used_memory_peak": peak,
        "used_memory_peak_human": human(peak),
        "used_memory_startup": memory.startup(),
        "used_memory_overhead": used.saturating_sub(dataset),
        "used_memory_dataset": dataset,
        "used_memory_copies": store.used_by_copies(),
        "allocator_allocated": allocator.allocated,
        "allocator_active": allocator.active,
        "allocator_resident": allocator.resident,
        "allocator_frag_ratio": format!("{fragmentation:.2}"),
        "allocator_frag_bytes": fragmentation_bytes,
        "allocator_rss_ratio": format!("{overhead:.2}"),
        "allocator_rss_bytes": overhead_bytes,
        "total_system_memory": process.total_memory,
        "total_system_memory_human": human(process.total_memory),
        "maxmemory": settings.maxmemory,
        "maxmemory_human": human(settings.maxmemory),
        "maxmemory_policy": settings.policy.name(),
        "mem_fragmentation_ratio": format!("{ratio:.2}"),
        "mem_crowded_by_copies": u8::from(memory.is_crowded_by_copies()),
        "mem_replication_backlog": store.log_bytes(),
        "mem_allocator": memory.allocator_name(),
        "lazyfree_pending_bytes": store.dropping(),
        "mem_fragmentation_bytes": process.resident as i64 - used as i64,
    )
}

/// A number of bytes as Redis writes it for people.
fn human(bytes: u64) -> String {
    let units = [(1u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
    match units.iter().find(|unit| bytes >= unit.0) {
        None => format!("{bytes}B"),
        Some((unit, name)) => format!("{:.2}{name}", bytes as f64 / *unit as f64),
    }
}

fn persistence(out: &mut String, _: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    lines!(out,
        "loading": 0,
        "async_loading": 0,
        "rdb_bgsave_in_progress": 0,
        "aof_enabled": 0,
        "aof_rewrite_in_progress": 0,
    )
}

fn stats(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    let stats = &cx.node.stats;
    let lately = stats.per_second();
    lines!(out,
        "total_connections_received": stats.connections.get(),
        "total_commands_processed": cx.node.tallies.calls(),
        "instantaneous_ops_per_sec": lately.commands.round(),
        "total_net_input_bytes": stats.bytes_in.get(),
        "total_net_output_bytes": stats.bytes_out.get(),
        "instantaneous_input_kbps": format!("{:.2}", lately.bytes_in / 1024.0),
        "instantaneous_output_kbps": format!("{:.2}", lately.bytes_out / 1024.0),
        "rejected_connections": stats.connections_refused.get(),
        "sync_full": stats.copies.get(),
        "expired_keys": stats.expired.get(),
        "expired_fields": stats.expired_fields.get(),
        "evicted_keys": stats.evicted.get(),
        "keyspace_hits": stats.hits.get(),
        "keyspace_misses": stats.misses.get(),
        "pubsub_channels": 0,
        "pubsub_patterns": 0,
        "total_error_replies": stats.errors.get(),
    )
}

/// Towards clients every node is a primary without replicas: what follows it is not reached as a server of its own, and
/// each shard has offsets of its own.
fn replication(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    lines!(out,
        "role": "master",
        "connected_slaves": 0,
        "master_failover_state": "no-failover",
        "master_replid": run_id(cx),
        "master_replid2": "0".repeat(40),
        "master_repl_offset": 0,
        "second_repl_offset": -1,
        "repl_backlog_active": u8::from(cx.node.topology.load().nodes.len() > 1),
        "repl_backlog_size": cx.node.config.load().log_budget,
    )
}

fn cpu(out: &mut String, _: &SessionCx<'_>, process: &Process) -> std::fmt::Result {
    lines!(out,
        "used_cpu_sys": format!("{:.6}", process.cpu_system),
        "used_cpu_user": format!("{:.6}", process.cpu_user),
    )
}

/// How often clients of this node called each command, how long that kept event loops busy, and what came of it.
fn commands(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    let sums = cx.node.tallies.sums();
    let mut called: Vec<_> =
        names().iter().zip(sums).filter(|(_, sum)| sum.calls + sum.refused > 0).collect();
    called.sort_unstable_by_key(|(name, _)| *name);
    for (name, sum) in called {
        let micros = sum.nanos / 1_000;
        let each = micros as f64 / sum.calls.max(1) as f64;
        write!(
            out,
            "cmdstat_{name}:calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},failed_calls={}\r\n",
            sum.calls, sum.refused, sum.failed
        )?;
    }
    Ok(())
}

/// How many errors of each code clients of this node were told.
fn errors(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    cx.node
        .tallies
        .errors()
        .iter()
        .try_for_each(|(code, count)| write!(out, "errorstat_{code}:count={count}\r\n"))
}

/// Percentiles of how many microseconds each command took.
fn latency(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    let settings = cx.node.config.load();
    if !settings.latency_tracking {
        return Ok(());
    }
    for (name, histogram) in cx.node.latency.histograms().iter() {
        write!(out, "latency_percentiles_usec_{name}:")?;
        for (index, share) in settings.latency_tracking_info_percentiles.iter().enumerate() {
            let micros = histogram.value_at_percentile(*share) as f64 / 1_000.0;
            let comma = if index == 0 { "" } else { "," };
            write!(out, "{comma}p{}={micros:.3}", percentile(*share))?;
        }
        write!(out, "\r\n")?;
    }
    Ok(())
}

fn cluster(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    lines!(out, "cluster_enabled": u8::from(cx.client.door == Door::Cluster))
}

/// The keys of the shards that this node serves.
fn keyspace(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    let mut databases = [(0usize, 0u64); DATABASES as usize];
    for id in (0..cx.node.store.shards()).map(ShardId) {
        let shard = cx.node.store.lock(id);
        if matches!(shard.core.role, Role::Primary | Role::Sealed) {
            for (db, (keys, expires)) in (0..).zip(&mut databases) {
                *keys += shard.len(db);
                *expires += u64::from(shard.core.deadlines[usize::from(db)]);
            }
        }
    }
    for (db, (keys, expires)) in databases.iter().enumerate().filter(|database| database.1.0 > 0) {
        write!(out, "db{db}:keys={keys},expires={expires},avg_ttl=0\r\n")?;
    }
    Ok(())
}

fn ringfort(out: &mut String, cx: &SessionCx<'_>, _: &Process) -> std::fmt::Result {
    let (stats, topology, me) = (&cx.node.stats, cx.node.topology.load(), cx.node.member());
    let alive = topology.nodes.values().filter(|node| node.state == NodeState::Alive);
    let shards = |wanted: &dyn Fn(&ringfort_cluster::Shard) -> bool| {
        topology.shards.iter().filter(|shard| wanted(shard)).count()
    };
    lines!(out,
        "node_id": me.node,
        "node_incarnation": me.incarnation,
        "cluster_id": topology.cluster,
        "topology_version": topology.version,
        "nodes": topology.nodes.len(),
        "nodes_alive": alive.count(),
        "lease_held": u8::from(cx.node.lease.holds(cx.now.boot)),
        "shards": topology.shards.len(),
        "shards_primary": shards(&|shard| shard.primary == Some(me)),
        "shards_replica": shards(&|shard| shard.primary != Some(me) && shard.replicas.contains(&me.node)),
        "shards_without_primary": shards(&|shard| shard.primary.is_none()),
        "requests_forwarded": stats.forwarded.get(),
        "requests_served_for_peers": stats.served_for_peers.get(),
        "requests_held": stats.held.get(),
        "requests_parked": cx.node.parked.load(Ordering::Relaxed),
        "copied_bytes": stats.copied_bytes.get(),
        "slow_commands": cx.node.commandlog.of(Kind::Slow).len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::testing::{Asker, node, put};

    #[test]
    fn each_door_says_what_it_is() {
        let node = node();
        for (door, mode, enabled) in [(Door::Client, "standalone", "0"), (Door::Cluster, "cluster", "1")] {
            let text = Asker::new(&node, door).run("INFO");
            for line in [
                format!("redis_mode:{mode} "),
                format!("# Cluster cluster_enabled:{enabled} "),
                "redis_version:7.2.4 server_name:ringfort ringfort_version:".into(),
                "role:master ".into(),
                "maxmemory_policy:noeviction ".into(),
                "shards_primary:4 ".into(),
            ] {
                assert!(text.contains(&line), "{line} in {text}");
            }
            assert!(!text.contains("valkey_version"));
        }
    }

    #[test]
    fn sections_are_chosen_by_name_in_the_order_of_the_list() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        put(&node, "k");
        assert_eq!(asker.run("INFO nosuch"), "$0  ");
        assert_eq!(asker.run("INFO keyspace"), "$44 # Keyspace db0:keys=1,expires=0,avg_ttl=0  ");
        let text = asker.run("INFO KEYSPACE cluster");
        assert!(text.find("# Cluster").unwrap() < text.find(" # Keyspace").unwrap(), "{text}");
        assert_eq!(text.matches("# ").count(), 2);
        assert_eq!(asker.run("INFO everything").matches("# ").count(), SECTIONS.len());
        asker.run("HELLO 3");
        assert!(asker.run("INFO cluster").starts_with("=34 txt:# Cluster "));
    }

    #[test]
    fn percentiles_are_told_on_demand_while_commands_are_tracked() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        node.latency.count([("get", 3_000), ("get", 5_000), ("config|get", 9)].into_iter());
        assert_eq!(asker.run("INFO latencystats"), "$16 # Latencystats  ");
        node.config.change(&[("latency-tracking", "yes")]).unwrap();
        assert!(
            !asker.run("INFO").contains("Latencystats")
                && !asker.run("INFO default").contains("Latencystats")
        );
        let text = asker.run("INFO latencystats");
        assert!(
            text.contains(" latency_percentiles_usec_config|get:p50=0.009,p99=0.009,p99.9=0.009 "),
            "{text}"
        );
        assert!(text.contains(" latency_percentiles_usec_get:p50=3.007,p99=5.023,p99.9=5.023 "), "{text}");
        node.config.change(&[("latency-tracking-info-percentiles", "")]).unwrap();
        assert!(asker.run("INFO all").contains(" latency_percentiles_usec_get: "));
    }

    #[test]
    fn sizes_for_people_are_those_of_redis() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(916_368), "894.89K");
        assert_eq!(human(25_276_510_208), "23.54G");
    }
}
