"""One Ringfort node for the tests of real clients: the debug build, which scripts/test has made before.

RINGFORT_TEST_ADDR=host:port names a running server instead. Ports are picked as in tests/support/server.rs: a guard
port, bound for as long as the node runs, keeps other tests away from the four that the node needs.
"""
import os
import pathlib
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CLIENT_PORTS = range(10_000, 11_000)
GUARD = 3_000
OTHER_DOORS = (1_000, 2_000, 10_000)
START_SECONDS = 60


def bound(port):
    """A listening socket on `port`, or None where it is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        return listener
    except OSError:
        listener.close()
        return None


def free_port():
    """A client port whose companions are free, and the guard to hold on to."""
    first = os.getpid() * 7 % len(CLIENT_PORTS)
    for port in [*CLIENT_PORTS[first:], *CLIENT_PORTS[:first]]:
        guard = bound(port + GUARD)
        if guard is None:
            continue
        probes = [bound(port + offset) for offset in (0, *OTHER_DOORS)]
        for probe in filter(None, probes):
            probe.close()
        if all(probes):
            return port, guard
        guard.close()
    raise RuntimeError(f"no free ports in {CLIENT_PORTS}")


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """(host, client port) of the server under test."""
    if running := os.environ.get("RINGFORT_TEST_ADDR"):
        host, port = running.rsplit(":", 1)
        yield host, int(port)
        return
    binary = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/ringfort"
    directory = tmp_path_factory.mktemp("node")
    port, guard = free_port()
    with guard, open(directory / "log", "wb") as log:
        node = subprocess.Popen([binary, "server", "--port", str(port), "--data-dir", directory / "data"],
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + START_SECONDS
            while not answers(port):
                ended = node.poll() is not None
                assert not ended and time.monotonic() < deadline, (directory / "log").read_text(errors="replace")
                time.sleep(0.02)
            yield "127.0.0.1", port
        finally:
            node.kill()
            node.wait()
