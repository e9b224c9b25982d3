"""What the tests of real clients stand on: one node for all that need no more, a cluster that those share which leave
it whole, and clusters for those that break them.

RINGFORT_TEST_ADDR=host:port names a running server in place of the one node.
"""
import dataclasses
import os

import pytest
from redis.crc import key_slot

from nodes import CLUSTER_DOOR, Cluster, Node, binary, free_port

SLOTS = 16384
SHARDS = 256
# Clients are tested on the shared cluster, not failovers: a machine that is busy with other tests shall not cause one.
LEASE_MS = "5000"


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """(host, client port) of the server under test."""
    if running := os.environ.get("RINGFORT_TEST_ADDR"):
        host, port = running.rsplit(":", 1)
        yield host, int(port)
        return
    port, guard = free_port()
    node = Node(tmp_path_factory.mktemp("node") / "0", "127.0.0.1", port)
    with guard:
        node.run(binary())
        try:
            node.until_answers()
            yield node.address
        finally:
            node.close()


@pytest.fixture
def cluster():
    """Three nodes that have settled. Whatever a test does to them, none may have panicked."""
    with Cluster() as cluster:
        yield cluster
        for node in cluster.nodes:
            assert "panicked" not in node.logged(), node.logged()[-3000:]


@dataclasses.dataclass
class Doors:
    """Where clients connect to a cluster; the i-th ports of both lists are of the same node."""

    cluster: Cluster
    client_ports: list
    cluster_ports: list


@pytest.fixture(scope="session")
def doors():
    """Three nodes that have settled, for all tests that leave them so."""
    with Cluster(arguments=("--lease-ms", LEASE_MS)) as cluster:
        client_ports = [node.address[1] for node in cluster.nodes]
        yield Doors(cluster, client_ports, [port + CLUSTER_DOOR for port in client_ports])
        for node in cluster.nodes:
            assert "panicked" not in node.logged(), node.logged()[-3000:]


@pytest.fixture
def empty(doors):
    """The same, without a key."""
    with doors.cluster.nodes[0].connect() as connection:
        assert connection("FLUSHALL") == "OK"
    return doors


@pytest.fixture(scope="session")
def keys():
    """300 keys, at least one in each shard."""
    first_of_shard, others = {}, []
    for key in (f"key:{i}" for i in range(10_000)):
        shard = key_slot(key.encode()) * SHARDS // SLOTS
        if first_of_shard.setdefault(shard, key) != key:
            others.append(key)
    assert len(first_of_shard) == SHARDS
    return [*first_of_shard.values(), *others][:300]
