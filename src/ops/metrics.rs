//! The table of all metrics: each is declared here once, with its name, what it means and where its value is.
//!
//! Names are `ringfort_area_thing_unit`; counters end in `_total`. `/metrics` and `docs/metrics.md` follow from the
//! table. What clients do is counted by [`Stats`] and by [`crate::tally`] where it happens, one addition each; all else
//! is looked at only when it is asked for.

use std::{fmt, sync::atomic::Ordering, time::Duration};

use super::{
    exposition::Samples,
    facts::{Facts, NodeFacts, ROLES},
};
use crate::{
    control::status,
    loops::Loop,
    stats::{Counter, Stats},
};

/// What all names begin with.
pub const PREFIX: &str = "ringfort_";

/// A metric.
pub struct Metric {
    /// Its name, without [`PREFIX`].
    pub name: &'static str,
    /// What it means: a sentence or two.
    pub help: &'static str,
    /// Where its value is.
    pub read: Read,
}

/// Where the value of a metric is.
pub enum Read {
    /// A count of what the node has done.
    Count(fn(&Stats) -> &Counter),
    /// A number of the process, if the system tells it.
    Process(Kind, fn(&Facts) -> Option<f64>),
    /// A number of a node that has its shards.
    Node(Kind, fn(&NodeFacts) -> f64),
    /// Several numbers, told apart by these labels.
    Labelled(Kind, &'static [&'static str], fn(&Facts, &mut Samples<'_>)),
}

/// What may become of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, until the process starts anew or it is reset.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        })
    }
}

impl Metric {
    /// What may become of its value.
    pub fn kind(&self) -> Kind {
        match self.read {
            Read::Count(_) => Kind::Counter,
            Read::Process(kind, _) | Read::Node(kind, _) | Read::Labelled(kind, ..) => kind,
        }
    }

    /// What its samples are told apart by.
    pub fn labels(&self) -> &'static [&'static str] {
        match self.read {
            Read::Labelled(_, labels, _) => labels,
            Read::Count(_) | Read::Process(..) | Read::Node(..) => &[],
        }
    }
}

const fn count(name: &'static str, help: &'static str, read: fn(&Stats) -> &Counter) -> Metric {
    Metric { name, help, read: Read::Count(read) }
}

const fn process(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    read: fn(&Facts) -> Option<f64>,
) -> Metric {
    Metric { name, help, read: Read::Process(kind, read) }
}

const fn gauge(name: &'static str, help: &'static str, read: fn(&NodeFacts) -> f64) -> Metric {
    Metric { name, help, read: Read::Node(Kind::Gauge, read) }
}

const fn labelled(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Facts, &mut Samples<'_>),
) -> Metric {
    Metric { name, help, read: Read::Labelled(kind, labels, read) }
}

/// All metrics, in the order in which they are shown.
pub const METRICS: &[Metric] = &[
    labelled(
        "build_info",
        Kind::Gauge,
        &["version"],
        "Always 1; the label tells the version of the server.",
        |_, out| out.put(&[env!("CARGO_PKG_VERSION")], 1.0),
    ),
    labelled(
        "node_info",
        Kind::Gauge,
        &["node", "cluster", "zone"],
        "Always 1; the labels tell the node's id, the cluster's, and the node's failure domain.",
        node_info,
    ),
    process("process_uptime_seconds", Kind::Gauge, "Time since the process started.", |facts| {
        Some(facts.uptime)
    }),
    process(
        "process_cpu_seconds_total",
        Kind::Counter,
        "CPU time that the process has used, in all its threads.",
        |facts| Some(facts.process.cpu_user + facts.process.cpu_system).filter(|seconds| *seconds > 0.0),
    ),
    process(
        "process_memory_resident_bytes",
        Kind::Gauge,
        "Memory that the process holds in RAM, as the system counts it.",
        |facts| told(facts.process.resident),
    ),
    process(
        "machine_memory_bytes",
        Kind::Gauge,
        "Memory of the machine, or of the container if that may have less.",
        |facts| told(facts.process.memory_limit),
    ),
    labelled(
        "loop_turns_total",
        Kind::Counter,
        &["loop"],
        "How often an event loop has run out of work and waited for more.",
        |facts, out| each_loop(facts, out, |one, _| one.turns() as f64),
    ),
    labelled(
        "loop_busy_seconds_total",
        Kind::Counter,
        &["loop"],
        "Time that an event loop has worked; the rest of the time it waited for work.",
        |facts, out| each_loop(facts, out, |one, _| one.busy().as_secs_f64()),
    ),
    labelled(
        "loop_silence_seconds",
        Kind::Gauge,
        &["loop"],
        "Time since an event loop last showed that it turns; some tenths are normal, and at one second it hangs.",
        |facts, out| each_loop(facts, out, |one, now| one.pulse.silence(now).as_secs_f64()),
    ),
    gauge("clients_connections", "Connections of clients that are open.", |facts| {
        facts.node.clients.len() as f64
    }),
    gauge("clients_blocked", "Clients whose command waits for data.", |facts| {
        facts.node.clients.blocked() as f64
    }),
    count("clients_accepted_total", "Connections that were accepted.", |stats| &stats.connections),
    count("clients_refused_total", "Connections that were refused.", |stats| &stats.connections_refused),
    count("clients_received_bytes_total", "Bytes that clients sent.", |stats| &stats.bytes_in),
    count("clients_sent_bytes_total", "Bytes that were sent to clients.", |stats| &stats.bytes_out),
    Metric {
        name: "server_commands_total",
        help: "Commands of this node's clients, wherever they were run.",
        read: Read::Node(Kind::Counter, |facts| facts.node.tallies.calls() as f64),
    },
    count("server_errors_total", "Errors that clients of this node were told.", |stats| &stats.errors),
    count("keyspace_hits_total", "Reads that found their key.", |stats| &stats.hits),
    count("keyspace_misses_total", "Reads that did not find their key.", |stats| &stats.misses),
    count("keyspace_expired_keys_total", "Keys that were removed because their time was over.", |stats| {
        &stats.expired
    }),
    count(
        "keyspace_expired_fields_total",
        "Fields of hashes that were removed because their time was over.",
        |stats| &stats.expired_fields,
    ),
    count("keyspace_evicted_keys_total", "Keys that were given up for want of memory.", |stats| {
        &stats.evicted
    }),
    labelled(
        "keyspace_keys",
        Kind::Gauge,
        &["db", "role"],
        "Keys in each database that has some: of shards that this node serves (`primary`), and in copies of others \
         (`replica`).",
        keys,
    ),
    gauge("memory_used_bytes", "Memory in use: what `maxmemory` limits.", |facts| {
        facts.node.memory.used(&facts.node.store) as f64
    }),
    gauge(
        "memory_peak_bytes",
        "The most memory that was in use since the start, as far as was measured.",
        |facts| facts.node.memory.peak() as f64,
    ),
    gauge("memory_limit_bytes", "Memory that may be in use: `maxmemory`; 0 is no limit.", |facts| {
        facts.node.config.load().maxmemory as f64
    }),
    gauge("memory_data_bytes", "Of the memory in use, what keys and values take.", |facts| {
        facts.node.store.used() as f64
    }),
    gauge(
        "memory_copy_bytes",
        "Of what keys and values take, the part in copies of other nodes' shards.",
        |facts| facts.node.store.used_by_copies() as f64,
    ),
    gauge("memory_log_bytes", "Of the memory in use, what the logs of all shards take.", |facts| {
        facts.node.store.log_bytes() as f64
    }),
    gauge("memory_dropped_bytes", "Memory of removed values that is about to be given back.", |facts| {
        facts.node.store.dropping() as f64
    }),
    gauge(
        "memory_allocated_bytes",
        "Memory that the allocator has given out, caches of threads included.",
        |facts| facts.node.memory.allocator().allocated as f64,
    ),
    gauge(
        "memory_active_bytes",
        "Memory in pages of which something was given out; more is fragmentation.",
        |facts| facts.node.memory.allocator().active as f64,
    ),
    gauge(
        "memory_held_bytes",
        "Memory in pages that the allocator holds, whether or not something is in them.",
        |facts| facts.node.memory.allocator().resident as f64,
    ),
    count(
        "routing_forwarded_requests_total",
        "Requests that were sent on to the node that owns their keys.",
        |stats| &stats.forwarded,
    ),
    count("routing_served_requests_total", "Requests of other nodes' clients that were run here.", |stats| {
        &stats.served_for_peers
    }),
    count(
        "routing_held_requests_total",
        "Requests that had to wait because nobody served their shard.",
        |stats| &stats.held,
    ),
    gauge(
        "routing_parked_requests",
        "Requests that wait now for data that this node serves, of clients of any node.",
        |facts| facts.node.parked.load(Ordering::Relaxed) as f64,
    ),
    labelled(
        "routing_waiting_requests",
        Kind::Gauge,
        &["loop"],
        "Requests that wait now because nobody serves their shard.",
        |facts, out| each_loop(facts, out, |one, _| one.waiting().0 as f64),
    ),
    labelled(
        "routing_waiting_bytes",
        Kind::Gauge,
        &["loop"],
        "Bytes of the requests that wait now because nobody serves their shard.",
        |facts, out| each_loop(facts, out, |one, _| one.waiting().1 as f64),
    ),
    labelled(
        "node_shards",
        Kind::Gauge,
        &["role"],
        "Shards by what this node is for them: it serves (`primary`), holds a complete copy (`replica`), holds none or \
         one in the making (`absent`), or is handing over (`sealed`).",
        roles,
    ),
    labelled(
        "replication_lag_bytes",
        Kind::Gauge,
        &["peer"],
        "Bytes of the log by which a node's copies are behind the shards that this node serves; of all its copies the \
         furthest.",
        lags,
    ),
    gauge(
        "replication_lag_max_bytes",
        "Bytes of the log by which the furthest of all copies is behind the shards that this node serves.",
        |facts| facts.shards.lag.values().max().map_or(0.0, |lag| *lag as f64),
    ),
    count("replication_copies_total", "Copies of shards that were made for other nodes.", |stats| {
        &stats.copies
    }),
    count("replication_copied_bytes_total", "Bytes that were sent in copies of shards.", |stats| {
        &stats.copied_bytes
    }),
    gauge(
        "lease_remaining_seconds",
        "Time for which the node may serve without being heard of again; 0 when it holds no lease.",
        |facts| Duration::from_nanos(facts.node.lease.until().saturating_sub(facts.now)).as_secs_f64(),
    ),
    gauge("topology_version", "Version of the topology that the node has applied.", |facts| {
        facts.topology.version.0 as f64
    }),
    labelled(
        "topology_nodes",
        Kind::Gauge,
        &["state"],
        "Nodes of the cluster by their state: `alive`, `draining`, `leaving` or `dead`.",
        nodes,
    ),
    gauge("topology_shards", "Shards of the cluster.", |facts| facts.topology.shards.len() as f64),
    gauge("topology_shards_without_primary", "Shards that nobody serves at the moment.", |facts| {
        status::without_primary(&facts.topology) as f64
    }),
    gauge(
        "topology_shards_short_of_copies",
        "Shards with fewer copies in sync than the cluster wants and has nodes for.",
        |facts| status::short_of_copies(&facts.topology) as f64,
    ),
    gauge("council_term", "Raft's term.", |facts| facts.council.term as f64),
    gauge("council_is_leader", "Whether this node leads the council: 1 or 0.", |facts| {
        flag(facts.council.leader == Some(facts.node.id))
    }),
    gauge("council_has_leader", "Whether this node knows a leader of the council: 1 or 0.", |facts| {
        flag(facts.council.leader.is_some())
    }),
    gauge("council_is_voter", "Whether this node votes in the council: 1 or 0.", |facts| {
        flag(facts.council.configuration.voters.contains(&facts.node.id))
    }),
    gauge("council_voters", "Nodes that vote in the council.", |facts| {
        facts.council.configuration.voters.len() as f64
    }),
];

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

/// Bytes, where the system tells them.
fn told(bytes: u64) -> Option<f64> {
    Some(bytes as f64).filter(|bytes| *bytes > 0.0)
}

fn node_info(facts: &Facts, out: &mut Samples<'_>) {
    let Some(facts) = &facts.node else { return };
    let (id, cluster) = (facts.node.id.to_string(), facts.topology.cluster.to_string());
    let known = facts.topology.nodes.get(&facts.node.id);
    out.put(&[&id, &cluster, known.map_or("", |node| &node.info.zone)], 1.0);
}

/// A sample for each event loop: what `read` makes of it and the instant.
fn each_loop(facts: &Facts, out: &mut Samples<'_>, read: fn(&Loop, u64) -> f64) {
    let Some(facts) = &facts.node else { return };
    for (index, one) in facts.beats.loops.iter().enumerate() {
        out.put(&[&index.to_string()], read(one, facts.now));
    }
}

fn keys(facts: &Facts, out: &mut Samples<'_>) {
    let Some(facts) = &facts.node else { return };
    for (db, (served, copied)) in facts.shards.keys.iter().enumerate() {
        // The first is always shown, so that an empty node is told from one that is not seen.
        if db == 0 || (served, copied) != (&0, &0) {
            let db = db.to_string();
            out.put(&[&db, "primary"], *served as f64);
            out.put(&[&db, "replica"], *copied as f64);
        }
    }
}

fn roles(facts: &Facts, out: &mut Samples<'_>) {
    let Some(facts) = &facts.node else { return };
    for ((_, role), shards) in ROLES.iter().zip(facts.shards.by_role) {
        out.put(&[role], shards as f64);
    }
}

fn lags(facts: &Facts, out: &mut Samples<'_>) {
    let Some(facts) = &facts.node else { return };
    for (peer, lag) in &facts.shards.lag {
        out.put(&[&peer.to_string()], *lag as f64);
    }
}

fn nodes(facts: &Facts, out: &mut Samples<'_>) {
    let Some(facts) = &facts.node else { return };
    for state in ["alive", "draining", "leaving", "dead"] {
        let number = facts.topology.nodes.values().filter(|node| status::state(node) == state).count();
        out.put(&[state], number as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_is_there_twice() {
        let mut names = HashSet::new();
        for metric in METRICS {
            assert!(names.insert(metric.name), "{} is declared twice", metric.name);
        }
    }

    #[test]
    fn names_say_area_and_thing_and_counters_end_in_total() {
        for Metric { name, .. } in METRICS {
            let words: Vec<&str> = name.split('_').collect();
            let is_word =
                |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
            assert!(words.len() >= 2 && words.iter().all(is_word), "{name}");
        }
        for metric in METRICS {
            assert_eq!(metric.name.ends_with("_total"), metric.kind() == Kind::Counter, "{}", metric.name);
        }
    }

    #[test]
    fn meanings_are_sentences_that_fit_into_a_table() {
        for Metric { name, help, .. } in METRICS {
            assert!(help.ends_with('.') && !help.contains(['\n', '|']), "{name}: {help}");
        }
    }

    #[test]
    fn every_counter_is_shown_once() {
        let stats = Stats::default();
        for (name, counter) in stats.all() {
            let shows = |metric: &&Metric| matches!(metric.read, Read::Count(read) if std::ptr::eq(read(&stats), counter));
            assert_eq!(METRICS.iter().filter(shows).count(), 1, "{name}");
        }
    }
}
