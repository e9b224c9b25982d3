//! redis-rs on three nodes: the plain client on any client port, the cluster client on either port of any node.

mod support;

use std::collections::HashMap;

use redis::{
    Commands, Connection, ProtocolVersion, RedisResult,
    cluster::{ClusterClientBuilder, ClusterConnection},
};
use ringfort_protocol::slot;
use support::server::{CLUSTER_DOOR, Kind, Server};

/// As many as founders make when they are not told.
const SHARDS: usize = 256;
const SLOTS: usize = 16_384;

/// 300 keys, at least one in each shard.
fn keys() -> Vec<String> {
    let mut of_shard: HashMap<usize, String> = HashMap::new();
    let mut others = Vec::new();
    for key in (0..10_000).map(|i| format!("key:{i}")) {
        let shard = usize::from(slot(key.as_bytes())) * SHARDS / SLOTS;
        match of_shard.contains_key(&shard) {
            true => others.push(key),
            false => drop(of_shard.insert(shard, key)),
        }
    }
    assert_eq!(of_shard.len(), SHARDS);
    of_shard.into_values().chain(others).take(300).collect()
}

struct Doors {
    _server: Server,
    client: Vec<u16>,
    cluster: Vec<u16>,
}

fn three_nodes() -> Doors {
    let server = Server::start(Kind::Cluster).expect("the nodes start");
    let client: Vec<u16> = server.addresses().iter().map(|address| address.port()).collect();
    let cluster = client.iter().map(|port| port + CLUSTER_DOOR).collect();
    Doors { _server: server, client, cluster }
}

fn url(port: u16, protocol: ProtocolVersion) -> String {
    let version = if protocol == ProtocolVersion::RESP3 { "resp3" } else { "resp2" };
    format!("redis://127.0.0.1:{port}/?protocol={version}")
}

fn plain(port: u16, protocol: ProtocolVersion) -> Connection {
    let client = redis::Client::open(url(port, protocol)).expect("an address");
    client.get_connection().expect("the node answers")
}

fn aware(port: u16, protocol: ProtocolVersion) -> ClusterConnection {
    let builder = ClusterClientBuilder::new([url(port, protocol)]).use_protocol(protocol);
    builder.build().expect("an address").get_connection().expect("a map that the client understands")
}

const PROTOCOLS: [ProtocolVersion; 2] = [ProtocolVersion::RESP2, ProtocolVersion::RESP3];

/// What any connection can do with keys of any node, one at a time.
fn use_each_key(connection: &mut impl Commands, keys: &[String]) -> RedisResult<()> {
    for key in keys {
        let () = connection.set(key, format!("value of {key}"))?;
        assert!(connection.expire::<_, bool>(key, 1_000)?);
    }
    for key in keys {
        assert_eq!(connection.get::<_, String>(key)?, format!("value of {key}"));
        assert!((990..=1_000).contains(&connection.ttl::<_, i64>(key)?));
    }
    for key in &keys[..30] {
        let (hash, list, set, zset) =
            (format!("hash:{key}"), format!("list:{key}"), format!("set:{key}"), format!("zset:{key}"));
        let () = connection.hset(&hash, "field", key)?;
        assert_eq!(connection.hgetall::<_, Vec<(String, String)>>(&hash)?, [("field".into(), key.clone())]);
        assert_eq!(connection.rpush::<_, _, usize>(&list, &["x", key])?, 2);
        assert_eq!(connection.lrange::<_, Vec<String>>(&list, 0, -1)?, ["x", key]);
        assert_eq!(connection.sadd::<_, _, usize>(&set, key)?, 1);
        assert!(connection.sismember::<_, _, bool>(&set, key)?);
        assert_eq!(connection.zadd::<_, _, _, usize>(&zset, key, 2.5)?, 1);
        assert_eq!(connection.zscore::<_, _, f64>(&zset, key)?, 2.5);
        assert_eq!(connection.del::<_, usize>(hash)?, 1);
        for left in [list, set, zset] {
            assert_eq!(connection.unlink::<_, usize>(left)?, 1);
        }
    }
    Ok(())
}

fn size(connection: &mut Connection) -> RedisResult<usize> {
    redis::cmd("DBSIZE").query(connection)
}

fn flush(connection: &mut Connection) -> RedisResult<()> {
    let () = redis::cmd("FLUSHALL").query(connection)?;
    assert_eq!(size(connection)?, 0);
    Ok(())
}

/// One cluster for all of it: starting one costs more than the rest.
#[test]
fn redis_rs_reaches_every_key_through_any_port() -> RedisResult<()> {
    let doors = three_nodes();
    let keys = keys();
    let values: Vec<String> = keys.iter().map(|key| format!("value of {key}")).collect();
    for protocol in PROTOCOLS {
        for port in &doors.client {
            plain_client_uses_the_whole_keyspace(*port, protocol, &doors, &keys, &values)?;
        }
        for port in doors.client.iter().chain(&doors.cluster) {
            cluster_client_finds_the_owners(*port, protocol, &doors, &keys, &values)?;
        }
    }
    plain_client_on_a_cluster_port_is_told_the_owner(&doors, &keys);
    Ok(())
}

fn plain_client_uses_the_whole_keyspace(
    port: u16,
    protocol: ProtocolVersion,
    doors: &Doors,
    keys: &[String],
    values: &[String],
) -> RedisResult<()> {
    let mut connection = plain(port, protocol);
    flush(&mut connection)?;
    use_each_key(&mut connection, keys)?;
    for other in &doors.client {
        let mut other = plain(*other, protocol);
        assert_eq!(other.mget::<_, Vec<String>>(keys)?, values);
        assert_eq!(size(&mut other)?, keys.len());
        let mut scanned: Vec<String> = other.scan()?.collect::<RedisResult<_>>()?;
        scanned.sort_unstable();
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        assert_eq!(scanned, sorted);
    }
    let mut pipeline = redis::pipe();
    for key in keys {
        pipeline.set(key, "p").ignore().get(key);
    }
    assert_eq!(pipeline.query::<Vec<String>>(&mut connection)?, vec!["p"; keys.len()]);
    assert_eq!(connection.del::<_, usize>(keys)?, keys.len());
    Ok(())
}

fn cluster_client_finds_the_owners(
    port: u16,
    protocol: ProtocolVersion,
    doors: &Doors,
    keys: &[String],
    values: &[String],
) -> RedisResult<()> {
    let mut whole = plain(doors.client[0], protocol);
    flush(&mut whole)?;
    let mut connection = aware(port, protocol);
    use_each_key(&mut connection, keys)?;
    assert_eq!(whole.mget::<_, Vec<String>>(keys)?, values);
    // The client splits it by slot, and adds up DBSIZE of all primaries.
    assert_eq!(connection.mget::<_, Vec<String>>(keys)?, values);
    assert_eq!(redis::cmd("DBSIZE").query::<usize>(&mut connection)?, keys.len());
    let mut pipeline = redis::cluster::cluster_pipe();
    for key in keys {
        pipeline.set(key, "p").ignore().get(key);
    }
    assert_eq!(pipeline.query::<Vec<String>>(&mut connection)?, vec!["p"; keys.len()]);
    let () = redis::cmd("FLUSHALL").query(&mut connection)?;
    assert_eq!(size(&mut whole)?, 0);
    Ok(())
}

fn plain_client_on_a_cluster_port_is_told_the_owner(doors: &Doors, keys: &[String]) {
    let address = |port: &u16| format!("127.0.0.1:{port}");
    let mut first = plain(doors.cluster[0], ProtocolVersion::RESP2);
    let mut owners: Vec<String> = Vec::new();
    for key in keys {
        let owner = match first.get::<_, Option<String>>(key) {
            Ok(value) => {
                assert_eq!(value, None);
                address(&doors.cluster[0])
            }
            Err(error) => {
                let (owner, of) = error.redirect_node().expect("MOVED");
                assert_eq!(of, slot(key.as_bytes()));
                owner.to_owned()
            }
        };
        owners.push(owner);
    }
    owners.sort_unstable();
    owners.dedup();
    let mut expected: Vec<String> = doors.cluster.iter().map(address).collect();
    expected.sort_unstable();
    assert_eq!(owners, expected);
}
