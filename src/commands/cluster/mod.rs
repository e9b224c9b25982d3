//! CLUSTER: the cluster as Redis Cluster would describe it, so that cluster-aware clients find the owners of slots.
//!
//! Both doors give the [same map](map): hosts and cluster ports. CLUSTER INFO is for the cluster port only, since some
//! tools take its answer for the proof that the port which gives it is a node of a cluster.

mod by_hand;
mod map;
mod stats;

use ringfort_cluster::{NodeId, NodeState, Topology};
use ringfort_protocol::{Args, slot};

use self::map::{Health, Map};
use super::{Acl, Command, CommandError, Flags, Group, Reply, Run, help, parse::integer, session::SessionCx};
use crate::{
    clients::Door,
    store::{Role, copy::Position},
};

/// The family.
pub(super) const COMMANDS: &[Command] = &[CLUSTER, READONLY, READWRITE, ASKING];

const CLUSTER: Command = Command {
    name: "cluster",
    summary: "Commands about the cluster",
    group: Group::Cluster,
    since: "3.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Command::BASE
};

const ON_CONNECTION: Command = Command {
    group: Group::Cluster,
    since: "3.0.0",
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
    acl: Acl::CONNECTION,
    ..Command::BASE
};

const READONLY: Command = Command {
    name: "readonly",
    summary: "On the cluster port, lets this node answer reads of what it is a replica of",
    run: Run::Session(|cx, _| set_readonly(cx, true)),
    ..ON_CONNECTION
};

const READWRITE: Command = Command {
    name: "readwrite",
    summary: "Ends READONLY",
    run: Run::Session(|cx, _| set_readonly(cx, false)),
    ..ON_CONNECTION
};

const ASKING: Command = Command {
    name: "asking",
    summary: "Does nothing: no slot is ever moved key by key, so no client is told ASK",
    flags: Flags::FAST,
    run: Run::Session(|cx, _| {
        cx.out.ok();
        Ok(())
    }),
    ..ON_CONNECTION
};

const PER_NODE: &str = "O(N) where N is the total number of Cluster nodes";

/// What its subcommands share.
const SUB: Command = Command { group: Group::Cluster, flags: Flags::STALE, ..Command::BASE };

const SUBCOMMANDS: &[Command] = &[
    Command {
        complexity: PER_NODE,
        ..SUB.named("slots", "3.0.0", 2, slots, "Tells which nodes serve which slots")
    },
    Command {
        complexity: PER_NODE,
        ..SUB.named("shards", "7.0.0", 2, shards, "Tells which nodes serve which slots, and their health")
    },
    Command {
        complexity: PER_NODE,
        ..SUB.named("nodes", "3.0.0", 2, nodes, "Tells the nodes of the cluster, one a line")
    },
    SUB.named("info", "3.0.0", 2, info, "On the cluster port, tells the state of the cluster"),
    SUB.named("myid", "3.0.0", 2, my_id, "Tells the id of this node"),
    SUB.named("myshardid", "7.2.0", 2, my_id, "Tells the id of this node: it belongs to many shards"),
    Command {
        complexity: "O(N) where N is the number of bytes in the key",
        ..SUB.named("keyslot", "3.0.0", 3, key_slot, "Tells the slot of a key")
    },
    SUB.named(
        "countkeysinslot",
        "3.0.0",
        3,
        count_keys_in_slot,
        "Tells how many keys of a slot this node has",
    ),
    Command {
        complexity: "O(log(N)) where N is the number of requested keys",
        ..SUB.named("getkeysinslot", "3.0.0", 4, get_keys_in_slot, "Tells keys of a slot that this node has")
    },
    Command {
        complexity: PER_NODE,
        ..SUB.named("links", "7.0.0", 2, links, "Tells nothing: links are not listed")
    },
    Command {
        flags: Flags::ADMIN.and(Flags::STALE),
        ..SUB.named("replicas", "5.0.0", 3, replicas, "Tells the nodes that hold replicas of a node's slots")
    },
    Command {
        flags: Flags::ADMIN.and(Flags::STALE),
        ..SUB.named("slaves", "3.0.0", 3, replicas, "Tells the nodes that hold replicas of a node's slots")
    },
    Command {
        complexity: "O(N) where N is the number of failure reports",
        flags: Flags::ADMIN.and(Flags::STALE),
        ..SUB.named(
            "count-failure-reports",
            "3.0.0",
            3,
            count_failure_reports,
            "Tells 0: the council decides who has failed",
        )
    },
    stats::SLOT_STATS,
    by_hand::ADDSLOTS,
    by_hand::ADDSLOTSRANGE,
    by_hand::DELSLOTS,
    by_hand::DELSLOTSRANGE,
    by_hand::FLUSHSLOTS,
    by_hand::SETSLOT,
    by_hand::MEET,
    by_hand::FORGET,
    by_hand::REPLICATE,
    by_hand::FAILOVER,
    by_hand::RESET,
    by_hand::BUMPEPOCH,
    by_hand::SET_CONFIG_EPOCH,
    by_hand::SAVECONFIG,
    help::help(Group::Cluster, "5.0.0", |cx, _| {
        help::write(cx, "CLUSTER", HELP);
        Ok(())
    }),
];

const HELP: &[&str] = &[
    "COUNT-FAILURE-REPORTS <node-id>",
    "    Tell 0: nodes do not report failures, the council decides on them.",
    "COUNTKEYSINSLOT <slot>",
    "    Tell how many keys of <slot> this node has.",
    "GETKEYSINSLOT <slot> <count>",
    "    Tell up to <count> keys of <slot> that this node has.",
    "INFO",
    "    Tell the state of the cluster (on the cluster port).",
    "KEYSLOT <key>",
    "    Tell the slot of <key>.",
    "LINKS",
    "    Tell the links between nodes; none is listed.",
    "MYID",
    "    Tell the id of this node.",
    "MYSHARDID",
    "    Tell the id of this node.",
    "NODES",
    "    Tell the nodes, one a line:",
    "    <id> <ip:port@bus-port> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>",
    "    Tell the nodes that hold replicas of the slots of <node-id>.",
    "SLOT-STATS SLOTSRANGE <first> <last> | ORDERBY KEY-COUNT [LIMIT <count>] [ASC | DESC]",
    "    Tell how many keys the slots have that this node serves.",
    "SHARDS",
    "    Tell which nodes serve which slots, and their health.",
    "SLOTS",
    "    Tell which nodes serve which slots: first slot, last slot, primary, replicas.",
    "ADDSLOTS, ADDSLOTSRANGE, BUMPEPOCH, DELSLOTS, DELSLOTSRANGE, FAILOVER, FLUSHSLOTS, FORGET, MEET, REPLICATE, RESET,",
    "SAVECONFIG, SET-CONFIG-EPOCH, SETSLOT",
    "    Are refused with what to do instead: the cluster does this by itself, or `ringfort cluster` does.",
];

fn set_readonly(cx: &mut SessionCx<'_>, readonly: bool) -> Result<(), CommandError> {
    cx.client.readonly = readonly && cx.client.door == Door::Cluster;
    cx.out.ok();
    Ok(())
}

/// Has `tell` write the reply from the map of this moment.
fn with_map(cx: &mut SessionCx<'_>, tell: impl FnOnce(&Map<'_>, &mut Reply)) {
    let topology = cx.node.topology.load();
    let map = Map::new(&topology, cx.node.id, cx.client.shared.local);
    tell(&map, cx.out);
}

fn slots(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    with_map(cx, |map, out| {
        let ranges = map.ranges_primaries_first();
        out.array(ranges.len());
        for range in ranges {
            let replicas: Vec<NodeId> = range.readable().collect();
            out.array(3 + replicas.len());
            out.int((*range.slots.start()).into());
            out.int((*range.slots.end()).into());
            for node in std::iter::once(range.primary).chain(replicas) {
                let (host, port) = map.endpoint(&node);
                out.array(4);
                out.bulk(host.as_bytes());
                out.int(port.into());
                out.bulk(node.to_string().as_bytes());
                out.map(0);
            }
        }
    });
    Ok(())
}

fn shards(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    with_map(cx, |map, out| {
        let groups = map.groups();
        out.array(groups.len());
        for group in groups {
            out.map(2);
            out.bulk(b"slots");
            out.array(group.slots.len() * 2);
            for slots in &group.slots {
                out.int((*slots.start()).into());
                out.int((*slots.end()).into());
            }
            out.bulk(b"nodes");
            out.array(1 + group.replicas.len());
            let primary = (group.primary, Health::Online);
            for (index, (node, health)) in std::iter::once(&primary).chain(&group.replicas).enumerate() {
                shard_node(map, out, node, if index == 0 { "master" } else { "replica" }, *health);
            }
        }
    });
    Ok(())
}

fn shard_node(map: &Map<'_>, out: &mut Reply, node: &NodeId, role: &str, health: Health) {
    let (host, port) = map.endpoint(node);
    let pair = |out: &mut Reply, name: &str, value: &str| {
        out.bulk(name.as_bytes());
        out.bulk(value.as_bytes());
    };
    out.map(7);
    pair(out, "id", &node.to_string());
    out.bulk(b"port");
    out.int(port.into());
    pair(out, "ip", &host);
    pair(out, "endpoint", &host);
    pair(out, "role", role);
    // Each shard has offsets of its own: there is none that would stand for a node.
    out.bulk(b"replication-offset");
    out.int(0);
    pair(out, "health", health.name());
}

fn nodes(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    with_map(cx, |map, out| {
        let lines: String = map.node_lines().concat();
        out.text(&lines);
    });
    Ok(())
}

fn replicas(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let topology = cx.node.topology.load();
    let node = known_node(&topology, args.at(2))?;
    let map = Map::new(&topology, cx.node.id, cx.client.shared.local);
    let lines = map.replica_lines(node);
    cx.out.array(lines.len());
    lines.iter().for_each(|line| cx.out.bulk(line.as_bytes()));
    Ok(())
}

fn known_node(topology: &Topology, name: &[u8]) -> Result<NodeId, CommandError> {
    let node = String::from_utf8_lossy(name).parse().ok().filter(|id| topology.nodes.contains_key(id));
    node.ok_or_else(|| CommandError::quoting("ERR Unknown node ", name, ""))
}

fn count_failure_reports(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    known_node(&cx.node.topology.load(), args.at(2))?;
    cx.out.int(0);
    Ok(())
}

fn info(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    let topology = cx.node.topology.load();
    if cx.client.door == Door::Client {
        let port = topology.nodes.get(&cx.node.id).map_or(0, |node| node.info.address.cluster_port);
        return Err(CommandError::made(format!(
            "ERR this port serves any client and is no node of a Redis Cluster; ask the cluster port, {port}"
        )));
    }
    // A failover in progress is no failure: requests wait for it. Without a quorum there is no lease.
    let state = if cx.node.lease.holds(cx.now.boot) { "ok" } else { "fail" };
    let masters = topology.shards.iter().filter_map(|shard| shard.primary);
    let mut masters: Vec<NodeId> = masters.map(|member| member.node).collect();
    masters.sort_unstable();
    masters.dedup();
    let text = format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{known}\r\ncluster_size:{size}\r\n\
         cluster_current_epoch:{current}\r\ncluster_my_epoch:{mine}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n",
        known = topology.nodes.len(),
        size = masters.len().max(1),
        current = highest_epoch(&topology, |_| true),
        mine = highest_epoch(&topology, |node| node == cx.node.id),
    );
    cx.out.text(&text);
    Ok(())
}

/// The highest epoch of the shards whose primaries are of interest.
fn highest_epoch(topology: &Topology, of: impl Fn(NodeId) -> bool) -> u64 {
    let shards = topology.shards.iter();
    let epochs = shards.filter(|shard| shard.primary.is_some_and(|member| of(member.node)));
    epochs.map(|shard| shard.epoch.0).max().unwrap_or(0)
}

fn my_id(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.bulk(cx.node.id.to_string().as_bytes());
    Ok(())
}

fn key_slot(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    cx.out.int(slot(args.at(2)).into());
    Ok(())
}

fn slot_number(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < ringfort_cluster::SLOTS)
}

fn count_keys_in_slot(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let slot = slot_number(integer(args.at(2))?).ok_or(CommandError::other("ERR Invalid slot"))?;
    let store = &cx.node.store;
    let shard = store.lock(store.shard_of(slot));
    cx.out.count(if shard.core.role == Role::Absent { 0 } else { shard.slot_len(0, slot) });
    Ok(())
}

fn get_keys_in_slot(cx: &mut SessionCx<'_>, args: Args<'_>) -> Result<(), CommandError> {
    let (number, count) = (integer(args.at(2))?, integer(args.at(3))?);
    let invalid = CommandError::other("ERR Invalid slot or number of keys");
    let (Some(wanted), Ok(count)) = (slot_number(number), usize::try_from(count)) else {
        return Err(invalid);
    };
    let store = &cx.node.store;
    let shard = store.lock(store.shard_of(wanted));
    let there = if shard.core.role == Role::Absent { 0 } else { shard.slot_len(0, wanted) };
    let count = count.min(there);
    let mut keys: Vec<Vec<u8>> = Vec::with_capacity(count);
    if count > 0 {
        shard.walk_for_copy(Position { slot: wanted, db: 0, hash: 0 }, count, |db, key, _, _| {
            if keys.len() < count && db == 0 && slot(key) == wanted {
                keys.push(key.to_vec());
            }
        });
    }
    drop(shard);
    cx.out.array(keys.len());
    keys.iter().for_each(|key| cx.out.bulk(key));
    Ok(())
}

/// Each event loop has links of its own to each node; Redis' form has no room for that.
fn links(cx: &mut SessionCx<'_>, _: Args<'_>) -> Result<(), CommandError> {
    cx.out.array(0);
    Ok(())
}

/// Whether a node takes part.
fn is_alive(topology: &Topology, node: &NodeId) -> bool {
    topology.nodes.get(node).is_some_and(|node| node.state == NodeState::Alive)
}

#[cfg(test)]
mod tests {
    use crate::{
        clients::Door,
        node::testing::{Asker, node, put},
    };

    #[test]
    fn a_lone_node_describes_itself_as_redis_does() {
        let node = node();
        let id = "01".repeat(20);
        for door in [Door::Client, Door::Cluster] {
            let mut asker = Asker::new(&node, door);
            let slots = format!("*1 *3 :0 :16383 *4 $8 10.0.0.1 :7381 $40 {id} *0 ");
            assert_eq!(asker.run("CLUSTER SLOTS"), slots);
            let line = format!("{id} 10.0.0.1:7381@16381 myself,master - 0 0 1 connected 0-16383\n");
            assert_eq!(asker.run("CLUSTER NODES"), format!("${} {line} ", line.len()));
            assert_eq!(asker.run("CLUSTER MYID"), format!("$40 {id} "));
            assert_eq!(asker.run("CLUSTER LINKS"), "*0 ");
        }
        let mut asker = Asker::new(&node, Door::Cluster);
        asker.run("HELLO 3");
        let shards = format!(
            "*1 %2 $5 slots *2 :0 :16383 $5 nodes *1 %7 $2 id $40 {id} $4 port :7381 $2 ip $8 10.0.0.1 $8 endpoint \
             $8 10.0.0.1 $4 role $6 master $18 replication-offset :0 $6 health $6 online "
        );
        assert_eq!(asker.run("CLUSTER SHARDS"), shards);
        assert!(asker.run("CLUSTER SLOTS").ends_with("%0 "));
    }

    #[test]
    fn the_client_port_refuses_cluster_info_by_naming_the_cluster_port() {
        let node = node();
        let reply = Asker::new(&node, Door::Client).run("CLUSTER INFO");
        assert!(reply.starts_with("-ERR ") && reply.contains("7381"), "{reply}");
        let mut asker = Asker::new(&node, Door::Cluster);
        assert!(asker.run("CLUSTER INFO").contains("cluster_state:ok cluster_slots_assigned:16384 "));
        node.lease.set(0);
        assert!(asker.run("CLUSTER INFO").contains("cluster_state:fail "));
    }

    #[test]
    fn keys_of_a_slot_are_counted_and_listed() {
        let node = node();
        for key in ["{a}1", "{a}2", "{a}3", "b"] {
            put(&node, key);
        }
        let mut asker = Asker::new(&node, Door::Cluster);
        assert_eq!(asker.run("CLUSTER KEYSLOT {a}1"), ":15495 ");
        assert_eq!(asker.run("CLUSTER COUNTKEYSINSLOT 15495"), ":3 ");
        assert!(asker.run("CLUSTER GETKEYSINSLOT 15495 2").starts_with("*2 $4 {a}"));
        assert!(asker.run("CLUSTER GETKEYSINSLOT 15495 100").starts_with("*3 "));
        assert_eq!(asker.run("CLUSTER GETKEYSINSLOT 1 100"), "*0 ");
        assert_eq!(asker.run("CLUSTER COUNTKEYSINSLOT 16384"), "-ERR Invalid slot ");
        assert_eq!(asker.run("CLUSTER COUNTKEYSINSLOT x"), "-ERR value is not an integer or out of range ");
        let invalid = "-ERR Invalid slot or number of keys ";
        assert_eq!(asker.run("CLUSTER GETKEYSINSLOT 1 -1"), invalid);
        assert_eq!(asker.run("CLUSTER GETKEYSINSLOT -1 1"), invalid);
    }

    #[test]
    fn readonly_holds_on_the_cluster_port_only() {
        let node = node();
        for (door, readonly) in [(Door::Client, false), (Door::Cluster, true)] {
            let mut asker = Asker::new(&node, door);
            assert_eq!(asker.run("READONLY"), "+OK ");
            assert_eq!(asker.client.readonly, readonly);
            assert_eq!(asker.run("READWRITE"), "+OK ");
            assert!(!asker.client.readonly);
        }
        let mut asker = Asker::new(&node, Door::Cluster);
        assert_eq!(asker.run("CLUSTER REPLICAS x"), "-ERR Unknown node x ");
        assert_eq!(asker.run("CLUSTER NOSUCH a"), "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP. ");
    }

    #[test]
    fn what_is_done_by_hand_elsewhere_is_refused_by_what_to_do_instead() {
        let node = node();
        let mut asker = Asker::new(&node, Door::Cluster);
        for (command, instead) in [
            ("ADDSLOTS 1", "ringfort cluster rebalance"),
            ("ADDSLOTSRANGE 1 2", "ringfort cluster rebalance"),
            ("DELSLOTS 1", "ringfort cluster rebalance"),
            ("DELSLOTSRANGE 1 2", "ringfort cluster rebalance"),
            ("FLUSHSLOTS", "ringfort cluster rebalance"),
            ("SETSLOT 1 STABLE", "ringfort cluster rebalance"),
            ("MEET 10.0.0.2 7382", "ringfort server --join"),
            ("FORGET x", "ringfort cluster remove"),
            ("REPLICATE x", "nothing has to be done"),
            ("FAILOVER TAKEOVER", "ringfort cluster drain"),
            ("RESET HARD", "ringfort cluster remove"),
            ("BUMPEPOCH", "nothing has to be done"),
            ("SET-CONFIG-EPOCH 1", "nothing has to be done"),
            ("SAVECONFIG", "nothing has to be done"),
        ] {
            let reply = asker.run(&format!("CLUSTER {command}"));
            assert!(reply.starts_with("-ERR ") && reply.contains(instead), "{command}: {reply}");
        }
        let id = "01".repeat(20);
        assert_eq!(asker.run(&format!("CLUSTER COUNT-FAILURE-REPORTS {id}")), ":0 ");
        assert_eq!(asker.run("CLUSTER COUNT-FAILURE-REPORTS x"), "-ERR Unknown node x ");
    }

    #[test]
    fn slots_are_told_by_their_number_of_keys() {
        let node = node();
        for key in ["{a}1", "{a}2", "{a}3", "b"] {
            put(&node, key);
        }
        let mut asker = Asker::new(&node, Door::Cluster);
        let stats =
            |command: &str, asker: &mut Asker<'_>| asker.run(&format!("CLUSTER SLOT-STATS {command}"));
        let (a, b) = ("*2 :15495 *2 $9 key-count :3 ", "*2 :3300 *2 $9 key-count :1 ");
        assert_eq!(stats("SLOTSRANGE 15495 15495", &mut asker), format!("*1 {a}"));
        assert_eq!(stats("ORDERBY KEY-COUNT LIMIT 2", &mut asker), format!("*2 {a}{b}"));
        assert_eq!(stats("orderby key-count asc limit 1", &mut asker), "*1 *2 :0 *2 $9 key-count :0 ");
        assert!(stats("ORDERBY KEY-COUNT DESC", &mut asker).starts_with("*16384 "));
        for (command, error) in [
            ("SLOTSRANGE 1 16384", "Invalid or out of range slot"),
            ("SLOTSRANGE 2 1", "Start slot number 2 is greater than end slot number 1"),
            (
                "ORDERBY KEY-COUNT LIMIT 0",
                "Limit has to lie in between 1 and 16384 (maximum number of slots).",
            ),
            ("ORDERBY KEY-COUNT ASC DESC", "Multiple filters of the same type are disallowed."),
            ("ORDERBY KEY-COUNT x", "syntax error"),
            ("ORDERBY cpu-usec", "Unrecognized sort metric for ORDERBY. The supported metric is: key-count."),
            (
                "SLOTSRANGE 1 2 3",
                "unknown subcommand or wrong number of arguments for 'SLOT-STATS'. Try CLUSTER HELP.",
            ),
        ] {
            assert_eq!(stats(command, &mut asker), format!("-ERR {error} "), "{command}");
        }
    }
}
