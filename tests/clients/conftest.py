"""What the tests of real clients stand on: one node for all that need no more, and clusters for those that break them.

RINGFORT_TEST_ADDR=host:port names a running server in place of the one node.
"""
import os
import time

import pytest

from nodes import START_SECONDS, Cluster, Node, binary, free_port


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
            deadline = time.monotonic() + START_SECONDS
            while not node.answers():
                assert node.is_running() and time.monotonic() < deadline, node.logged()
                time.sleep(0.02)
            yield node.address
        finally:
            node.kill()


@pytest.fixture
def cluster():
    """Three nodes that have settled. Whatever a test does to them, none may have panicked."""
    with Cluster() as cluster:
        yield cluster
        for node in cluster.nodes:
            assert "panicked" not in node.logged(), node.logged()[-3000:]
