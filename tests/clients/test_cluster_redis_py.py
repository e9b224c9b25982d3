"""redis-py on three nodes: the plain client on any client port, the cluster client on either port of any node."""
import contextlib

import pytest
import redis
from redis.cluster import RedisCluster

NODES = 3
# Each door is tried at every node, in RESP2 and in RESP3.
PLAIN = [(0, 2), (1, 3), (2, 2)]
AWARE = [("client", 0, 2), ("client", 1, 3), ("client", 2, 2), ("cluster", 0, 3), ("cluster", 1, 2), ("cluster", 2, 3)]


@pytest.fixture(params=PLAIN, ids=[f"node{node}-resp{protocol}" for node, protocol in PLAIN])
def plain(empty, request):
    node, protocol = request.param
    with redis.Redis("127.0.0.1", empty.client_ports[node], protocol=protocol, decode_responses=True) as client:
        yield client


@pytest.fixture
def others(doors, plain):
    """Plain clients of the other nodes."""
    mine = plain.connection_pool.connection_kwargs["port"]
    with contextlib.ExitStack() as clients:
        yield [clients.enter_context(redis.Redis("127.0.0.1", port, decode_responses=True))
               for port in doors.client_ports if port != mine]


@pytest.fixture(params=AWARE, ids=[f"{door}{node}-resp{protocol}" for door, node, protocol in AWARE])
def aware(empty, request):
    """A cluster client that was given one port."""
    door, node, protocol = request.param
    port = getattr(empty, f"{door}_ports")[node]
    with RedisCluster("127.0.0.1", port, protocol=protocol, decode_responses=True) as client:
        yield client


def check_collections(client, keys):
    """Every data type under many keys, so that every node holds some of each."""
    for key in keys[:30]:
        client.hset(f"hash:{key}", mapping={"a": "1", "b": key})
        client.rpush(f"list:{key}", "x", key)
        client.sadd(f"set:{key}", "x", key)
        client.zadd(f"zset:{key}", {"x": 1, key: 2.5})
    for key in keys[:30]:
        assert client.hgetall(f"hash:{key}") == {"a": "1", "b": key}
        assert client.hincrby(f"hash:{key}", "a", 4) == 5
        assert client.lrange(f"list:{key}", 0, -1) == ["x", key]
        assert client.lpop(f"list:{key}") == "x"
        assert set(client.smembers(f"set:{key}")) == {"x", key}
        assert [tuple(pair) for pair in client.zrange(f"zset:{key}", 0, -1, withscores=True)] == [("x", 1.0), (key, 2.5)]
        assert client.zrank(f"zset:{key}", key) == 1


def check_deadlines(client, keys):
    for key in keys:
        client.set(key, "v", ex=1000)
    assert all(990 <= client.ttl(key) <= 1000 for key in keys)
    assert all(client.persist(key) for key in keys)
    assert {client.ttl(key) for key in keys} == {-1}
    assert all(client.expire(key, 500) for key in keys)
    assert all(490 <= client.ttl(key) <= 500 for key in keys)


def test_plain_client_reaches_every_key_through_any_node(plain, others, keys):
    for key in keys:
        assert plain.set(key, f"value of {key}") is True
    for client in [plain, *others]:
        assert [client.get(key) for key in keys] == [f"value of {key}" for key in keys]
        assert client.mget(keys) == [f"value of {key}" for key in keys]
        assert client.dbsize() == len(keys)
        assert sorted(client.scan_iter(count=50)) == sorted(keys)
        assert sorted(client.keys("key:*")) == sorted(keys)
    assert others[0].delete(*keys) == len(keys)
    assert plain.exists(*keys) == 0


def test_plain_pipeline_replies_in_order(plain, keys):
    pipeline = plain.pipeline(transaction=False)
    for key in keys:
        pipeline.set(key, key)
        pipeline.get(key)
        pipeline.incr(f"count:{key}")
    assert pipeline.execute() == [reply for key in keys for reply in (True, key, 1)]


def test_plain_mset_and_mget_take_keys_of_all_nodes(plain, others, keys):
    assert plain.mset({key: key for key in keys}) is True
    assert others[1].mget([*keys, "none"]) == [*keys, None]
    assert others[0].touch(*keys) == plain.unlink(*keys) == len(keys)


def test_plain_flushall_empties_all_nodes(plain, others, keys):
    plain.mset({key: key for key in keys})
    assert others[0].flushall() is True
    assert [client.dbsize() for client in [plain, *others]] == [0] * NODES


def test_plain_collections_and_deadlines(plain, keys):
    check_collections(plain, keys)
    check_deadlines(plain, keys)


def test_plain_client_may_rename_and_copy_across_nodes(plain, others, keys):
    source = keys[0]
    plain.zadd(source, {"a": 1, "b": 2})
    plain.expire(source, 1000)
    # Sixty targets lie on all nodes.
    for target in keys[1:60]:
        assert plain.rename(source, target) is True
        assert others[0].exists(source) == 0
        assert others[1].zrange(target, 0, -1) == ["a", "b"]
        assert 900 <= plain.ttl(target) <= 1000
        assert plain.copy(target, source) is True
        assert plain.copy(target, source) is False
        assert others[0].zscore(source, "b") == 2
    assert plain.dbsize() == 60


def test_msetnx_over_nodes_is_refused_and_says_why(plain, keys):
    with pytest.raises(redis.ResponseError, match="different nodes.*common hash tag"):
        plain.msetnx({key: "v" for key in keys})
    assert plain.dbsize() == 0
    assert plain.msetnx({f"{{tag}}{i}": "v" for i in range(10)}) is True
    assert plain.msetnx({f"{{tag}}{i}": "w" for i in range(5, 15)}) is False
    assert plain.dbsize() == 10


def test_wait_counts_the_replica_of_what_was_written(plain, keys):
    for key in keys[:30]:
        plain.set(key, "v")
        assert plain.wait(1, 10_000) == 1


def test_hello_tells_the_door_and_changes_the_protocol(doors):
    for port, mode in [(doors.client_ports[1], "standalone"), (doors.cluster_ports[1], "cluster")]:
        with redis.Redis("127.0.0.1", port, protocol=3, decode_responses=True) as client:
            hello = client.execute_command("HELLO", 3)
            assert (hello["mode"], hello["role"], hello["proto"]) == (mode, "master", 3)
            hello = client.execute_command("HELLO", 2)
            assert dict(zip(hello[::2], hello[1::2]))["proto"] == 2


def test_plain_client_on_a_cluster_port_is_told_the_owner(empty, keys):
    with contextlib.ExitStack() as stack:
        clients = {port: stack.enter_context(redis.Redis("127.0.0.1", port, decode_responses=True))
                   for port in empty.cluster_ports}
        first, *_ = clients.values()
        asked = set()
        for key in keys:
            try:
                first.set(key, key)
                asked.add(empty.cluster_ports[0])
            except redis.exceptions.MovedError as moved:
                assert moved.host == "127.0.0.1"
                assert clients[moved.port].set(key, key) is True
                asked.add(moved.port)
        assert asked == set(empty.cluster_ports)
    with redis.Redis("127.0.0.1", empty.client_ports[0], decode_responses=True) as plain:
        assert plain.mget(keys) == keys


def test_cluster_client_reaches_every_key(aware, doors, keys):
    assert {node.port for node in aware.get_primaries()} == set(doors.cluster_ports)
    for key in keys:
        assert aware.set(key, f"value of {key}") is True
    assert [aware.get(key) for key in keys] == [f"value of {key}" for key in keys]
    assert aware.mget_nonatomic(keys) == [f"value of {key}" for key in keys]
    # Without a target, redis-py asks one node.
    assert aware.dbsize(target_nodes=RedisCluster.PRIMARIES) == len(keys)
    assert sorted(aware.scan_iter(count=50)) == sorted(keys)
    assert sorted(aware.keys("key:*", target_nodes=RedisCluster.PRIMARIES)) == sorted(keys)
    for port in doors.client_ports:
        with redis.Redis("127.0.0.1", port, decode_responses=True) as plain:
            assert plain.mget(keys) == [f"value of {key}" for key in keys]
    assert aware.delete(*keys) == len(keys)


def test_cluster_flushall_empties_all_nodes(aware, doors, keys):
    assert all(aware.mset_nonatomic({key: key for key in keys}))
    assert all(aware.flushall().values())
    assert aware.dbsize(target_nodes=RedisCluster.PRIMARIES) == 0
    with redis.Redis("127.0.0.1", doors.client_ports[0]) as plain:
        assert plain.dbsize() == 0


def test_cluster_pipeline_replies_in_order(aware, keys):
    pipeline = aware.pipeline()
    for key in keys:
        pipeline.set(key, key)
        pipeline.get(key)
    assert pipeline.execute() == [reply for key in keys for reply in (True, key)]


def test_cluster_collections_and_deadlines(aware, keys):
    check_collections(aware, keys)
    check_deadlines(aware, keys)


def test_cluster_client_is_told_of_keys_in_different_slots(aware):
    node = aware.get_default_node()
    with pytest.raises(redis.ResponseError, match="Keys in request don't hash to the same slot"):
        aware.execute_command("MGET", "a", "b", target_nodes=node)
    assert aware.mset({"{tag}a": "1", "{tag}b": "2"}) is True
    assert aware.rename("{tag}a", "{tag}c") is True
    assert aware.mget("{tag}a", "{tag}b", "{tag}c") == [None, "2", "1"]


def test_cluster_wait_counts_the_replica_of_what_was_written(aware, keys):
    for key in keys[:30]:
        aware.set(key, "v")
        owner = aware.get_node_from_key(key)
        assert aware.execute_command("WAIT", 1, 10_000, target_nodes=owner) == 1


def test_replicas_of_the_map_answer_reads(empty, keys):
    port = empty.cluster_ports[0]
    with RedisCluster("127.0.0.1", port, decode_responses=True,
                      load_balancing_strategy=redis.cluster.LoadBalancingStrategy.ROUND_ROBIN_REPLICAS) as client:
        for key in keys:
            client.set(key, key)
            owner = client.get_node_from_key(key)
            assert client.execute_command("WAIT", 1, 10_000, target_nodes=owner) == 1
        assert [client.get(key) for key in keys] == keys
