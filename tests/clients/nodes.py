"""Clusters of real node processes, for tests, scripts/failover and benches. Python's own library only.

A `Cluster` starts nodes as a user would, one process each, and asks them how they are by RINGFORT STATUS: whoever
waits, waits for a state that the nodes report. Whatever happens, `close` ends every process that was started.

RINGFORT names the binary; without it the debug build is taken, which scripts/test has made before. Ports are picked as
in tests/support/server.rs: a guard port, bound for as long as the node is wanted, keeps other tests away from the four
that the node needs.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CLIENT_PORTS = range(10_000, 11_000)
CLUSTER_DOOR, ADMIN_DOOR, GUARD, BUS_DOOR = 1_000, 2_000, 3_000, 10_000
START_SECONDS = 60
# How long a state may take to come about before a test gives up. Nothing is measured by it.
PATIENCE = 30


def binary(profile="debug"):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return pathlib.Path(os.environ.get("RINGFORT") or target / profile / "ringfort")


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
        probes = [bound(port + offset) for offset in (0, CLUSTER_DOOR, ADMIN_DOOR, BUS_DOOR)]
        for probe in filter(None, probes):
            probe.close()
        if all(probes):
            return port, guard
        guard.close()
    raise RuntimeError(f"no free ports in {CLIENT_PORTS}")


class ErrorReply(Exception):
    """An error that a node replied with. Returned, not raised."""


class Connection:
    """A blocking RESP2 connection."""

    def __init__(self, address, timeout=10, password=None):
        self.socket = socket.create_connection(address, timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")
        if password:
            self("AUTH", password)

    def __call__(self, *command):
        """Sends a command and returns its reply; an error reply comes back as an ErrorReply."""
        return self.pipeline([command])[0]

    def pipeline(self, commands):
        self.send(*commands)
        return [self.read() for _ in commands]

    def send(self, *commands):
        """Sends commands whose replies are read later."""
        out = bytearray()
        for command in commands:
            words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
            out += b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self.socket.sendall(out)

    def read(self):
        line = self.replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed in mid reply")
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == b"-1" else self.replies.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        return ErrorReply(rest.decode()) if kind == b"-" else rest.decode()

    def close(self):
        self.replies.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Node:
    """A place for a node: address, data directory and log, and the process while one runs."""

    def __init__(self, directory, host, port, prefix=(), arguments=(), password=None):
        self.address = (host, port)
        self.password = password
        self.data = directory / "data"
        self.log = directory / "log"
        self.prefix, self.arguments = list(prefix), list(arguments)
        self.process = None
        directory.mkdir()

    @property
    def name(self):
        return "%s:%d" % self.address

    def door(self, offset):
        return self.address[0], self.address[1] + offset

    def connect(self, timeout=10):
        return Connection(self.address, timeout, self.password)

    def command(self, executable):
        """What starts it, without the arguments that were given."""
        password = ["--requirepass", self.password] if self.password else []
        return [executable, "server", "--bind", self.address[0], "--port", str(self.address[1]),
                "--data-dir", self.data, *password]

    def run(self, executable, *arguments):
        """Starts the process; it may end at once."""
        command = [*self.prefix, *self.command(executable), *self.arguments, *arguments]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def answers(self):
        with contextlib.suppress(OSError), self.connect(timeout=2) as connection:
            return connection("PING") == "PONG"
        return False

    def until_answers(self):
        """Waits until the process that was started answers."""
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self.is_running():
                raise RuntimeError(f"{self.name} ended with status {self.process.returncode}:\n{self.logged()[-2000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {START_SECONDS} s until {self.name} answers:\n{self.logged()[-2000:]}")
            time.sleep(0.02)

    def logged(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def status(self):
        """How this node sees the cluster."""
        with self.connect(timeout=5) as connection:
            reply = connection("RINGFORT", "STATUS")
        if isinstance(reply, ErrorReply):
            raise ConnectionError(str(reply))
        return json.loads(reply)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        if self.is_running():
            # A stopped process dies of SIGKILL all the same.
            self.kill()

    def wait(self):
        """The exit code, once the process has ended."""
        return self.process.wait(PATIENCE)


class Cluster:
    """Nodes on 127.0.0.1, or wherever `place` puts them. The first one founds the cluster, the others join it.

    `place(number)` gives host, port, and what to put before the command.
    """

    def __init__(self, count=3, place=None, arguments=(), executable=None, password=None):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ringfort-"))
        self.executable = executable or binary()
        self.place, self.arguments, self.password = place or self.on_this_machine, arguments, password
        self.nodes, self.guards = [], []
        try:
            for _ in range(count):
                self.add()
            self.until_settled(count)
        except BaseException:
            self.close()
            raise

    def on_this_machine(self, _number):
        port, guard = free_port()
        self.guards.append(guard)
        return "127.0.0.1", port, ()

    def new(self):
        """A place for one more node, which is not started."""
        number = len(self.nodes)
        host, port, prefix = self.place(number)
        node = Node(self.directory / str(number), host, port, prefix, self.arguments, self.password)
        self.nodes.append(node)
        return node

    def add(self, *arguments):
        """Starts one more node, and waits until it answers."""
        node = self.new()
        self.start(node, *arguments)
        return node

    def start(self, *nodes):
        """Starts nodes that do not run, all at once, and waits until they answer."""
        for node in nodes:
            others = [other.name for other in self.nodes if other is not node]
            node.run(self.executable, *(["--join", ",".join(others)] if others else []))
        for node in nodes:
            node.until_answers()

    def running(self):
        return [node for node in self.nodes if node.is_running()]

    def until(self, what, condition, seconds=PATIENCE):
        """Waits until the condition is true. A node that does not answer counts as: not yet."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(OSError):
                if condition():
                    return
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds} s until {what}\n{self.picture()}")
            time.sleep(0.02)

    def until_settled(self, count, via=None, seconds=PATIENCE):
        """Waits until `count` nodes are alive and serve, each shard has its copies, and nothing is left to move, in
        the eyes of every one of them, or of `via` alone."""
        def settled():
            for node in [via] if via else self.running():
                status = node.status()
                alive = [known for known in status["nodes"] if known["state"] == "alive"]
                if (len(alive) != count or status["leader"] is None or status["shards_without_primary"]
                        or status["shards_short_of_copies"] or status["moves_left"]
                        or not all(known["primary_of"] for known in alive)):
                    return False
            return True
        self.until(f"{count} nodes have settled", settled, seconds)

    def seen(self, node, via):
        """How `via` sees a node: its newest entry under that address, or None."""
        known = [known for known in via.status()["nodes"] if known["address"] == node.name]
        return max(known, key=lambda known: known["state"] != "dead", default=None)

    def until_dead(self, node, via):
        """Waits until the others have taken over all that a node served."""
        def over():
            seen = self.seen(node, via)
            return seen and seen["state"] == "dead" and via.status()["shards_without_primary"] == 0
        self.until(f"{node.name} is declared dead and its shards are served", over)

    def operate(self, via, *arguments):
        """`ringfort cluster … --json`: what it prints."""
        done = subprocess.run([*via.prefix, self.executable, "cluster", "--node", via.name, "--json", *arguments],
                              capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode != 0:
            raise RuntimeError(f"ringfort cluster {' '.join(arguments)}: {done.stderr}\n{self.picture()}")
        return json.loads(done.stdout)

    def picture(self):
        """All that the nodes say, for the report of a failure."""
        parts = []
        for node in self.nodes:
            try:
                status = json.dumps(node.status())
            except (OSError, ValueError) as error:
                status = f"no status ({error})"
            parts.append(f"--- {node.name}, {'running' if node.is_running() else 'ended'}: {status}\n"
                         f"{node.logged()[-3000:]}")
        return "\n".join(parts)

    def close(self):
        for node in self.nodes:
            node.close()
        for guard in self.guards:
            guard.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
