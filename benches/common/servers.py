"""What is measured: processes that serve together, their CPU clocks, and their own count of errors.

Ringfort's nodes are started by tests/clients/nodes.py, as scripts/failover and the tests do. redis-server is started
beside them in the same way: default settings but for `save ''`, since neither of the two writes snapshots here.
"""
import contextlib
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/clients"))
from nodes import CLUSTER_DOOR, Cluster, Node, binary, free_port  # noqa: E402,F401

SETTLE_SECONDS = 60
FILL_BATCH = 1_000


class RedisServer(Node):
    def command(self, executable):
        self.data.mkdir()
        return [executable, "--bind", self.address[0], "--port", str(self.address[1]), "--dir", self.data,
                "--save", "", "--appendonly", "no"]


class Server:
    """Nodes that serve together, and the port that load goes to."""

    def __init__(self, name, nodes, port=None):
        self.name, self.nodes = name, nodes
        self.port = port or nodes[0].address[1]

    def cpu_seconds(self):
        """User and system time of all threads of all processes, ended threads included.

        It is utime + stime of /proc/PID/stat, by the clock of clock_getcpuclockid(3), which is exact to the nanosecond
        where the file counts hundredths of a second.
        """
        return sum(time.clock_gettime(~node.process.pid << 3 | 2) for node in self.nodes)

    def errors(self):
        """Error replies since the start, as the nodes count them."""
        return sum(self.error_replies(node) for node in self.nodes)

    @staticmethod
    def error_replies(node):
        with node.connect() as connection:
            lines = connection("INFO", "stats").decode().splitlines()
        return next(int(line.split(":")[1]) for line in lines if line.startswith("total_error_replies:"))

    def fill(self, keys, size):
        """Writes the keys that `redis-benchmark -r` asks for."""
        value = b"v" * size
        with self.nodes[0].connect(timeout=60) as connection:
            for first in range(0, keys, FILL_BATCH):
                names = [b"key:%012d" % key for key in range(first, min(first + FILL_BATCH, keys))]
                if connection("MSET", *(word for name in names for word in (name, value))) != "OK":
                    raise RuntimeError(f"{self.name} refuses MSET")


@contextlib.contextmanager
def ringfort(name, count, executable, *arguments):
    """Nodes of a cluster that has settled."""
    with Cluster(count, arguments=arguments, executable=executable) as cluster:
        yield Server(name, cluster.nodes)


@contextlib.contextmanager
def redis_servers(name, count, *arguments):
    """Servers that do not know of each other."""
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ringfort-redis-")))
        nodes = []
        for number in range(count):
            port, guard = free_port()
            stack.enter_context(guard)
            node = RedisServer(directory / str(number), "127.0.0.1", port, arguments=arguments)
            stack.callback(node.close)
            node.run("redis-server")
            nodes.append(node)
        for node in nodes:
            node.until_answers()
        yield Server(name, nodes)


@contextlib.contextmanager
def redis_cluster(name, primaries):
    """Redis Cluster: so many primaries, each with one replica that has its data."""
    with redis_servers(name, primaries * 2, "--cluster-enabled", "yes") as server:
        create = ["redis-cli", "--cluster", "create", *(node.name for node in server.nodes),
                  "--cluster-replicas", "1", "--cluster-yes"]
        done = subprocess.run(create, capture_output=True, text=True, timeout=SETTLE_SECONDS)
        if done.returncode != 0:
            raise RuntimeError(f"redis-cli --cluster create: {done.stdout}{done.stderr}")
        deadline = time.monotonic() + SETTLE_SECONDS
        while not has_replicas(server, primaries):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {SETTLE_SECONDS} s until the replicas of Redis Cluster are in sync")
            time.sleep(0.05)
        yield server


def has_replicas(server, primaries):
    synced = 0
    for node in server.nodes:
        with node.connect() as connection:
            if b"cluster_state:ok" not in connection("CLUSTER", "INFO"):
                return False
            synced += b"master_link_status:up" in connection("INFO", "replication")
    return synced == len(server.nodes) - primaries
