"""Applications that write all the time through redis-py, each through a node of its own, and remember every answer.

What a writer was told is what must be true afterwards: `check` holds the cluster to it.
"""
import contextlib
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

# Replication is asynchronous: what was acknowledged so shortly before a primary was killed may be lost with it.
LAG_SECONDS = 0.5
# The pace, after each reply: several writers and nodes share a small machine.
PAUSE_SECONDS = 0.002
# After so many writes of plain keys comes one increment, and a WAIT.
EVERY = 10


def connect(node):
    """redis-py without retries: the test sees what the server says, and nothing is sent twice."""
    return redis.Redis(*node.address, socket_timeout=20, retry=Retry(NoBackoff(), 0), decode_responses=True)


class Writer(threading.Thread):
    """Writes keys `name:0`, `name:1`, …, and counts up `name:count`, until it is told to stop."""

    def __init__(self, name, node, others=()):
        super().__init__(daemon=True)
        self.name, self.node, self.others = name, node, list(others)
        self.stopping, self.moving = threading.Event(), None
        # By number: (time sent, time acknowledged).
        self.acknowledged = {}
        # Numbers that the next WAIT is about, and those that it found on a replica. Only the next one counts: a later
        # one knows of the newest write to each shard alone.
        self.uncovered, self.covered = [], set()
        self.counted = []
        # Increments of which the outcome is unknown.
        self.uncounted = 0
        self.replies, self.breaks = [], []
        self.failure = None
        self.start()

    def run(self):
        try:
            client = connect(self.node)
            number = 0
            while not self.stopping.is_set():
                try:
                    self.write(client, number)
                except redis.ConnectionError as error:
                    # Its node is gone: the next address of the application's list.
                    self.breaks.append(str(error))
                    if not self.others:
                        raise
                    self.node = self.others.pop(0)
                    client = connect(self.node)
                if self.moving:
                    self.node, self.moving = self.moving, None
                    client.close()
                    client = connect(self.node)
                number += 1
                time.sleep(PAUSE_SECONDS)
            client.close()
        except Exception as error:
            self.failure = error

    def write(self, client, number):
        sent = time.monotonic()
        with self.noting_replies():
            client.set(f"{self.name}:{number}", number)
            self.acknowledged[number] = (sent, time.monotonic())
            self.uncovered.append(number)
        if number % EVERY:
            return
        sent = time.monotonic()
        self.uncounted += 1
        with self.noting_replies():
            client.incr(f"{self.name}:count")
            self.counted.append((sent, time.monotonic()))
            self.uncounted -= 1
        written, self.uncovered = self.uncovered, []
        with self.noting_replies():
            if client.wait(1, 1000) >= 1:
                self.covered.update(written)

    @contextlib.contextmanager
    def noting_replies(self):
        try:
            yield
        except redis.ConnectionError:
            raise
        except redis.ResponseError as error:
            self.replies.append(str(error))

    def move(self, node):
        """Has it go on through another node, and waits until it does. Not after an error: as on any other day."""
        self.moving = node
        while self.moving and self.is_alive():
            time.sleep(PAUSE_SECONDS)

    def stop(self):
        self.stopping.set()
        self.join()


def writes_flow(cluster, writers, count=50):
    """Waits until every writer has had `count` more writes acknowledged."""
    goals = [(writer, len(writer.acknowledged) + count) for writer in writers]
    cluster.until("every writer goes on", lambda: all(
        len(writer.acknowledged) >= goal or not writer.is_alive() for writer, goal in goals))


def stop(writers):
    for writer in writers:
        writer.stop()


def check(writers, node, killed=None):
    """Reads everything back through `node`. `killed`: the times before and after a kill, shortly before which
    acknowledged writes may be lost that no WAIT has covered. Returns how many were checked."""
    def may_be_lost(sent, done):
        return killed is not None and done > killed[0] - LAG_SECONDS and sent < killed[1]

    checked = 0
    with connect(node) as client:
        for writer in writers:
            assert writer.failure is None, f"{writer.name}: {writer.failure!r}"
            numbers = [number for number, times in writer.acknowledged.items()
                       if number in writer.covered or not may_be_lost(*times)]
            values = client.mget([f"{writer.name}:{number}" for number in numbers])
            lost = [number for number, value in zip(numbers, values) if value != str(number)]
            assert not lost, f"{writer.name}: {len(lost)} acknowledged writes of {len(numbers)} are gone: {lost[:20]}"
            # Every increment once: not one twice, and those of unknown outcome at most once.
            count = int(client.get(f"{writer.name}:count") or 0)
            least = sum(not may_be_lost(*times) for times in writer.counted)
            most = len(writer.counted) + writer.uncounted
            assert least <= count <= most, f"{writer.name}: counted {count}, not {least} to {most}"
            checked += len(numbers)
    return checked
