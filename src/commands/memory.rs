//! MEMORY: how much memory keys, the data and the node take, and whether something is wrong with it.

use std::fmt::Write;

use ringfort_cluster::ShardId;
use ringfort_protocol::Args;

use super::{
    Command, CommandError, Cx, Done, Flags, Group, KeyFlags, KeySpec, Reply, Run, help,
    parse::{integer, is},
    session::SessionCx,
};
use crate::store::{DATABASES, Role};

/// The family.
pub(super) const COMMANDS: &[Command] = &[MEMORY];

const MEMORY: Command = Command {
    name: "memory",
    summary: "Commands about memory",
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: &[
        Command {
            name: "usage",
            summary: "Tells how many bytes a key and its value take",
            group: Group::Server,
            since: "4.0.0",
            arity: -3,
            flags: Flags::READONLY,
            keys: &[KeySpec::at(2, KeyFlags::RO)],
            run: Run::Data(usage),
            ..Command::BASE
        },
        SUB.named("doctor", "4.0.0", 2, doctor, "Tells in words whether something is wrong with memory"),
        Command {
            flags: Flags::LOADING,
            ..SUB.named("malloc-stats", "4.0.0", 2, malloc_stats, "Tells what the allocator says")
        },
        Command {
            flags: Flags::LOADING,
            ..SUB.named(
                "purge",
                "4.0.0",
                2,
                purge,
                "Does nothing: pages that are not in use are returned by themselves",
            )
        },
        Command {
            complexity: "O(N) where N is the number of shards",
            ..SUB.named("stats", "4.0.0", 2, stats, "Tells what takes memory")
        },
        help::help(Group::Server, "4.0.0", |cx, _| {
            help::write(cx, "MEMORY", HELP);
            Ok(())
        }),
    ],
    ..Command::BASE
};

/// What its subcommands share.
const SUB: Command = Command { group: Group::Server, ..Command::BASE };

const HELP: &[&str] = &[
    "DOCTOR",
    "    Tell in words whether something is wrong with memory.",
    "MALLOC-STATS",
    "    Tell what the allocator says.",
    "PURGE",
    "    Do nothing: pages that are not in use are returned to the system within a second.",
    "STATS",
    "    Tell what takes memory.",
    "USAGE <key> [SAMPLES <count>]",
    "    Tell how many bytes <key> and its value take. The store keeps count, so no sample is taken.",
];

fn usage(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Done, CommandError> {
    let mut at = 3;
    while let Some(option) = args.get(at) {
        let Some(value) = args.get(at + 1).filter(|_| is(option, "SAMPLES")) else {
            return Err(CommandError::Syntax);
        };
        if integer(value)? < 0 {
            return Err(CommandError::Syntax);
        }
        at += 2;
    }
    match cx.db.inspect(cx.key(0)) {
        Some(entry) => cx.out.count(entry.heap_bytes()),
        None => cx.out.null(),
    }
    Ok(Done::Read)
}

/// What is measured of a node.
struct Figures {
    used: u64,
    peak: u64,
    startup: u64,
    logs: u64,
    keys: usize,
    data: u64,
}

impl Figures {
    fn of(cx: &SessionCx<'_>) -> Self {
        let (store, memory) = (&cx.node.store, &cx.node.memory);
        let keys = (0..store.shards()).map(|id| {
            let shard = store.lock(ShardId(id));
            let counts = shard.core.role != Role::Absent;
            if counts { (0..DATABASES).map(|db| shard.len(db)).sum() } else { 0 }
        });
        let keys = keys.sum();
        let used = memory.used(store);
        let peak = memory.peak().max(used);
        let (logs, data) = (store.log_bytes() as u64, store.used() as u64);
        Self { used, peak, startup: memory.startup(), logs, keys, data }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// The facts that Redis tells and there are here, by its names.
fn stats(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let figures = Figures::of(cx);
    let allocator = cx.node.memory.allocator();
    let (fragmentation, fragmentation_ratio) = allocator.fragmentation();
    let (overhead, overhead_ratio) = allocator.overhead();
    let per_key = figures.data.checked_div(figures.keys as u64).unwrap_or(0);
    let bytes = |out: &mut Reply, name: &str, value: u64| {
        out.bulk(name.as_bytes());
        out.int(i64::try_from(value).unwrap_or(i64::MAX));
    };
    let ratio = |out: &mut Reply, name: &str, value: f64| {
        out.bulk(name.as_bytes());
        out.double(value);
    };
    let out = &mut *cx.out;
    out.map(16);
    bytes(out, "peak.allocated", figures.peak);
    bytes(out, "total.allocated", figures.used);
    bytes(out, "startup.allocated", figures.startup);
    bytes(out, "replication.backlog", figures.logs);
    bytes(out, "keys.count", figures.keys as u64);
    bytes(out, "keys.bytes-per-key", per_key);
    bytes(out, "dataset.bytes", figures.data);
    ratio(out, "dataset.percentage", share(figures.data, figures.used).min(100.0));
    ratio(out, "peak.percentage", share(figures.used, figures.peak));
    bytes(out, "allocator.allocated", allocator.allocated);
    bytes(out, "allocator.active", allocator.active);
    bytes(out, "allocator.resident", allocator.resident);
    ratio(out, "allocator-fragmentation.ratio", fragmentation_ratio);
    bytes(out, "allocator-fragmentation.bytes", fragmentation);
    ratio(out, "allocator-rss.ratio", overhead_ratio);
    bytes(out, "allocator-rss.bytes", overhead);
    Ok(())
}

/// Below this, what is wasted is not worth a word.
const LITTLE: u64 = 64 << 20;

fn doctor(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let figures = Figures::of(cx);
    let allocator = cx.node.memory.allocator();
    let (fragmentation, fragmentation_ratio) = allocator.fragmentation();
    let (overhead, overhead_ratio) = allocator.overhead();
    let limit = cx.node.config.load().maxmemory;
    let mut found = Vec::new();
    if limit > 0 && figures.used > limit {
        found.push(format!("{} bytes are in use, more than maxmemory allows ({limit}).", figures.used));
    }
    if cx.node.memory.is_crowded_by_copies() {
        let text =
            "Copies of other nodes' shards take the memory that data needs: raise maxmemory, or add a node.";
        found.push(text.into());
    }
    if figures.peak > LITTLE && figures.used.saturating_mul(2) < figures.peak {
        found.push(format!(
            "At its peak the node used {} bytes, now it uses {}; pages may stay with the allocator.",
            figures.peak, figures.used
        ));
    }
    if fragmentation > LITTLE && fragmentation_ratio > 1.4 {
        found.push(format!("{fragmentation} bytes are lost to gaps between what is allocated."));
    }
    if overhead > LITTLE && overhead_ratio > 1.4 {
        found.push(format!("The allocator keeps {overhead} bytes of pages that are not in use."));
    }
    let text = if found.is_empty() { "Nothing is wrong with memory.".to_owned() } else { found.join("\n") };
    cx.out.text(&format!("{text}\n"));
    Ok(())
}

fn malloc_stats(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let (memory, mut text) = (&cx.node.memory, String::new());
    let allocator = memory.allocator();
    let _ = writeln!(text, "allocator: {}", memory.allocator_name());
    let _ = writeln!(text, "allocated: {}", allocator.allocated);
    let _ = writeln!(text, "active: {}", allocator.active);
    let _ = writeln!(text, "resident: {}", allocator.resident);
    cx.out.text(&text);
    Ok(())
}

fn purge(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        commands::bench::Bench,
        node::{
            Node,
            testing::{Asker, node, put},
        },
    };

    /// Brings the node's account of memory up to date.
    fn settle(node: &Node) {
        for id in (0..node.store.shards()).map(ringfort_cluster::ShardId) {
            node.store.settle(&mut node.store.lock(id));
        }
    }

    #[test]
    fn memory_usage_tells_the_bytes_of_a_key() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("memory usage k"), "$-1 ");
        bench.run("append k abc");
        let small: usize = bench.run("memory usage k")[1..].trim().parse().unwrap();
        bench.run(&format!("append k {}", "x".repeat(1_000)));
        let large: usize = bench.run("memory usage k samples 0")[1..].trim().parse().unwrap();
        assert!(large >= small + 1_000);
        assert_eq!(bench.run("memory usage k samples"), "-ERR syntax error ");
        assert_eq!(bench.run("memory usage k samples x"), "-ERR value is not an integer or out of range ");
        assert_eq!(bench.run("memory usage k samples -1"), "-ERR syntax error ");
    }

    #[test]
    fn what_takes_memory_is_told_by_redis_names() {
        let node = node();
        put(&node, "a");
        put(&node, "b");
        settle(&node);
        let mut asker = Asker::new(&node, Door::Client);
        let stats = asker.run("MEMORY STATS");
        assert!(stats.starts_with("*32 $14 peak.allocated :"), "{stats}");
        assert!(stats.contains("$10 keys.count :2 $18 keys.bytes-per-key :"), "{stats}");
        asker.run("HELLO 3");
        let stats = asker.run("MEMORY STATS");
        assert!(stats.starts_with("%16 ") && stats.contains("$15 peak.percentage ,100 "), "{stats}");
        assert!(asker.run("MEMORY MALLOC-STATS").contains("resident: "));
        assert_eq!(asker.run("MEMORY PURGE"), "+OK ");
    }

    #[test]
    fn the_doctor_says_what_is_wrong() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Client);
        assert_eq!(asker.run("MEMORY DOCTOR"), "$30 Nothing is wrong with memory.\n ");
        put(&node, "a");
        settle(&node);
        asker.run("CONFIG SET maxmemory 1");
        assert!(asker.run("MEMORY DOCTOR").contains("more than maxmemory allows (1)."));
    }
}
