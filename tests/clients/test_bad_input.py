"""Whatever reaches a node, by network or from its disk: it says what is wrong, never panics, and others go on."""
import contextlib
import os
import random
import socket
import subprocess

import pytest

from nodes import BUS_DOOR, CLUSTER_DOOR, Cluster

DOORS = {"client": 0, "cluster": CLUSTER_DOOR, "bus": BUS_DOOR}
# The first words of the bus: magic, purpose, name, random bytes.
GREETING = b"RINGFRT1" + bytes([3]) + bytes(36)
BAD_BYTES = {
    "zeros": bytes(1000),
    "noise": random.Random(7).randbytes(100_000),
    "line feeds": b"\r\n" * 5000,
    "a line without an end": b"GET " + b"a" * 200_000,
    "open quotes": b'SET "a \'b\r\n',
    "TLS": bytes.fromhex("160301020001") + bytes(512),
    "HTTP": b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "many arguments": b"*1000000000\r\n",
    "fewer than none": b"*-5\r\n$-7\r\n",
    "a long argument": b"*1\r\n$99999999999\r\nabc",
    "a number too long": b"*1\r\n$" + b"9" * 100 + b"\r\n",
    "half a command": b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhal",
    "a wrong end": b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    "an array within": b"*1\r\n*1\r\n*1\r\n*1\r\n$4\r\nPING\r\n",
    "no name": b"*1\r\n$0\r\n\r\n",
    "no purpose": b"RINGFRT1\xff" + bytes(36),
    "half a greeting": GREETING[:20],
    "no proof": GREETING + bytes(32),
    "more than a proof": GREETING + b"\xff" * 70_000,
}


def send(address, data):
    """Sends all of it and no more, and returns what comes back until the node closes the connection. That it does so is
    checked here: a connection that stays open is a timeout."""
    answer = b""
    with socket.create_connection(address, timeout=10) as connection:
        # It may have closed the connection before it was sent all.
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(1 << 16):
                answer += chunk
    return answer


def serve(cluster):
    """Every node that runs serves every key, and none has panicked."""
    for node in cluster.running():
        with node.connect() as client:
            assert client.pipeline([("SET", f"key:{number}", number) for number in range(100)]) == ["OK"] * 100
    for node in cluster.nodes:
        assert "panicked" not in node.logged(), node.logged()[-3000:]


def resident(node):
    for line in open(f"/proc/{node.process.pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10


@contextlib.contextmanager
def one_node(*arguments):
    with Cluster(1, arguments=arguments) as cluster:
        yield cluster


def start_in_vain(cluster, node, *arguments):
    """Starts a node that cannot start. Returns what it says."""
    before = len(node.logged())
    node.run(cluster.executable, *arguments)
    assert node.wait() == 1
    said = node.logged()[before:]
    assert "panicked" not in said, said
    return said


def test_bad_bytes_on_any_port_are_refused_and_the_node_serves_on(cluster):
    victim = cluster.nodes[1]
    for door in DOORS.values():
        for data in BAD_BYTES.values():
            # The end of the connection is what it waits for: nothing may hang.
            send(victim.door(door), data)
    assert victim.is_running()
    serve(cluster)
    cluster.until_settled(3)


def test_errors_of_the_protocol_are_those_of_redis(address):
    assert send(address, b"*1\r\n$99999999999\r\nabc") == b"-ERR Protocol error: invalid bulk length\r\n"
    assert send(address, b"*1000000000000\r\n") == b"-ERR Protocol error: invalid multibulk length\r\n"
    assert send(address, b"*1\r\n*1\r\n") == b"-ERR Protocol error: expected '$', got '*'\r\n"
    assert send(address, b"PING\r\n*1\r\n$x\r\n") == b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n"


def test_bad_datagrams_are_ignored(cluster):
    victim, dice = cluster.nodes[1], random.Random(8)
    life = cluster.seen(victim, via=cluster.nodes[0])["incarnation"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for length in [0, 1, 8, 40, 64, 100, 200, 1400, 9000, 60_000] * 50:
            sender.sendto(dice.randbytes(length), victim.door(BUS_DOOR))
    serve(cluster)
    cluster.until_settled(3)
    assert cluster.seen(victim, via=cluster.nodes[0])["incarnation"] == life


def test_lengths_that_are_only_announced_take_no_memory():
    with one_node() as cluster, contextlib.ExitStack() as stack:
        node, = cluster.nodes
        before = resident(node)
        for _ in range(100):
            for door in (0, CLUSTER_DOOR):
                connection = stack.enter_context(socket.create_connection(node.door(door)))
                connection.sendall(b"*1000000\r\n$3\r\nSET\r\n$536870912\r\n" + bytes(1000))
            connection = stack.enter_context(socket.create_connection(node.door(BUS_DOOR)))
            connection.sendall(b"RINGFRT1" + b"\xff" * 30)
        serve(cluster)
        # Announced were 100 GB.
        assert resident(node) - before < 64 << 20


def test_a_node_with_a_wrong_secret_stays_outside_and_says_why():
    with one_node("--cluster-secret", "right") as cluster:
        member, = cluster.nodes
        stranger = cluster.new()
        stranger.arguments = ["--cluster-secret", "wrong"]
        stranger.run(cluster.executable, "--join", member.name)
        for node in (stranger, member):
            cluster.until("the log says why", lambda: "do not share a cluster secret" in node.logged())
        assert [node["address"] for node in member.status()["nodes"]] == [member.name]
        stranger.kill()
        serve(cluster)
        # With the right one it is let in.
        stranger.arguments = cluster.arguments
        cluster.start(stranger)
        cluster.until_settled(2)


def test_a_directory_of_another_cluster_is_refused():
    with one_node() as cluster, one_node() as other:
        stranger, = other.nodes
        stranger.kill()
        said = start_in_vain(other, stranger, "--join", cluster.nodes[0].name)
        assert "belongs to cluster" in said and "an empty data directory" in said, said
        assert len(cluster.nodes[0].status()["nodes"]) == 1
        serve(cluster)


def test_a_directory_in_use_is_refused():
    with one_node() as cluster:
        node, = cluster.nodes
        second = cluster.new()
        second.data = node.data
        said = start_in_vain(cluster, second)
        assert "in use by another process" in said, said
        serve(cluster)


def live_log(node):
    """The segment of the Raft log that is in use, and where its records end, or a few bytes behind that."""
    for name in ("raft-log.0", "raft-log.1"):
        data = (node.data / name).read_bytes()
        if any(data[:64]):
            return node.data / name, len(data.rstrip(b"\0")) + 16
    raise AssertionError("no segment is in use")


def test_a_flipped_bit_within_the_raft_log_is_found_and_a_torn_end_is_not_minded(cluster):
    healthy, victim, _ = cluster.nodes
    victim.kill()
    log, end = live_log(victim)
    whole = log.read_bytes()

    middle = (64 + end) // 2
    log.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1:])
    said = start_in_vain(cluster, victim, "--join", healthy.name)
    assert f"{log} is damaged" in said and "join again" in said, said
    serve(cluster)

    # As after a crash in the midst of a write, which nobody was told of yet.
    torn = random.Random(9).randbytes(300)
    log.write_bytes(whole[:end] + torn + whole[end + len(torn):])
    cluster.start(victim)
    cluster.until_settled(3)
    serve(cluster)


def test_a_raft_log_that_was_cut_behind_its_records_starts(cluster):
    victim = cluster.nodes[2]
    victim.kill()
    log, end = live_log(victim)
    os.truncate(log, end)
    cluster.start(victim)
    cluster.until_settled(3)
    serve(cluster)


def test_a_damaged_identity_is_refused():
    with one_node() as cluster:
        node, = cluster.nodes
        node.kill()
        identity = node.data / "node"
        identity.write_bytes(bytes(byte ^ 0x55 for byte in identity.read_bytes()))
        said = start_in_vain(cluster, node)
        assert f"{identity} is damaged" in said, said


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for the files of one node and little more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk]
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        # Lazily: a node that a failed test left behind must not keep it.
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill_up(disk):
    with contextlib.suppress(OSError), open(disk / "ballast", "ab", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(size))


def test_a_full_disk_stops_no_node_that_runs_and_one_that_starts_says_so(small_disk):
    with Cluster(2) as cluster:
        healthy, other = cluster.nodes
        node = cluster.new()
        node.data = small_disk / "data"
        cluster.start(node)
        cluster.until_settled(3)
        fill_up(small_disk)

        # A member of the council has to write: refusals, entries, and its own next incarnation.
        other.kill()
        cluster.until_dead(other, via=node)
        serve(cluster)
        cluster.start(other)
        cluster.until_settled(3)
        node.kill()
        cluster.start(node)
        cluster.until_settled(3)
        serve(cluster)

        newcomer = cluster.new()
        newcomer.data = small_disk / "second"
        said = start_in_vain(cluster, newcomer, "--join", healthy.name)
        assert "no space left for" in said and "free some" in said, said
        assert len(healthy.status()["nodes"]) == 3
        serve(cluster)
