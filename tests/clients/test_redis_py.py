"""redis-py, as an application uses it, in RESP2 and in RESP3."""
import pytest
import redis


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def client(address, request):
    host, port = address
    with redis.Redis(host, port, protocol=request.param, decode_responses=True) as client:
        client.flushall()
        yield client


def test_strings_have_values_and_deadlines(client):
    assert client.set("k", "v", ex=100) is True
    assert client.set("k", "w", nx=True) is None
    assert client.get("k") == "v"
    assert 90 <= client.ttl("k") <= 100
    assert client.getdel("k") == "v"
    assert client.get("k") is None
    assert client.incrby("n", 5) == 5
    assert client.incrbyfloat("f", 1.5) == 1.5


def test_bytes_come_back_as_they_went(address):
    host, port = address
    value = bytes(range(256)) * 100
    with redis.Redis(host, port) as client:
        client.set(b"\x00\r\n\xff", value)
        assert client.get(b"\x00\r\n\xff") == value


def test_pipeline_replies_in_order(client):
    pipeline = client.pipeline(transaction=False)
    for i in range(500):
        pipeline.set(f"key:{i}", i)
        pipeline.get(f"key:{i}")
    replies = pipeline.execute()
    assert replies == [reply for i in range(500) for reply in (True, str(i))]
    assert client.dbsize() == 500


def test_keys_of_any_shard_go_into_one_command(client):
    values = {f"key:{i}": str(i) for i in range(100)}
    assert client.mset(values) is True
    assert client.mget(list(values)) == list(values.values())
    assert client.exists(*values) == 100
    assert sorted(client.scan_iter(match="key:*", count=10)) == sorted(values)
    assert client.delete(*values) == 100


def test_collections_come_back_as_python_values(client):
    client.hset("hash", mapping={"a": "1", "b": "2"})
    assert client.hgetall("hash") == {"a": "1", "b": "2"}
    client.rpush("list", "a", "b", "c")
    assert client.lrange("list", 0, -1) == ["a", "b", "c"]
    client.sadd("set", "a", "b")
    assert set(client.smembers("set")) == {"a", "b"}
    client.zadd("zset", {"a": 1, "b": 2.5})
    assert [tuple(pair) for pair in client.zrange("zset", 0, -1, withscores=True)] == [("a", 1.0), ("b", 2.5)]
    assert client.zscore("zset", "b") == 2.5
    assert dict(client.hscan_iter("hash")) == {"a": "1", "b": "2"}


def test_error_leaves_the_connection_usable(client):
    client.rpush("list", "a")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.get("list")
    with pytest.raises(redis.ResponseError, match="unknown command"):
        client.execute_command("NO-SUCH-COMMAND")
    assert client.ping() is True
