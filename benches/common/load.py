"""Runs redis-benchmark and tells what each of its tests took: requests per second, and CPU time of the servers.

redis-benchmark prints a line when a test is over; at that moment the servers' CPU clocks are read. So one run of its
list, as anyone types it, gives both figures for each test. Its output is a terminal, since it would keep its lines back
until the end otherwise.

No error goes unseen. redis-benchmark prints `Error from server: ...` and ends with status 1 at the first error reply,
except that with --cluster it silently follows MOVED and ASK; so the servers are asked as well for how many errors they
replied with. Any other line that is not a figure fails too.
"""
import dataclasses
import errno
import os
import pty
import re
import select
import subprocess
import time

# A list of tests that takes longer is stuck.
RUN_SECONDS = 600
CLIENTS = 50
FIGURE = re.compile(r'"([^"]+)","([\d.]+)",')
HEADING = '"test",'
# What --cluster prints before the first test.
PREAMBLE = re.compile(r"Cluster has \d+ master nodes:|Master \d+: .*|")


class Failure(Exception):
    """A run that gives no figures, and why."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """One test of one run."""

    test: str
    # Requests per second.
    rate: float
    # Microseconds of CPU time per request, all servers together.
    cpu: float


def run(server, requests, *arguments, clients=CLIENTS):
    """Runs redis-benchmark against a server; a list of samples."""
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-c", str(clients), "-n", str(requests),
               "--csv", *arguments]
    samples, errors, before = [], server.errors(), None
    for line in output(command):
        now = server.cpu_seconds()
        if figure := before is not None and FIGURE.match(line):
            samples.append(Sample(figure[1], float(figure[2]), (now - before) / requests * 1e6))
            before = now
        elif line.startswith(HEADING):
            before = now
        elif before is not None or not PREAMBLE.fullmatch(line):
            raise Failure(f"{server.name}: {' '.join(command)}: {line}")
    if replied := server.errors() - errors:
        raise Failure(f"{server.name}: {' '.join(command)}: {replied} error replies")
    if not samples:
        raise Failure(f"{server.name}: {' '.join(command)}: no figures")
    return samples


def output(command):
    """The lines that a command prints, as they come."""
    terminal, its_end = pty.openpty()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=its_end, stderr=its_end)
    os.close(its_end)
    deadline = time.monotonic() + RUN_SECONDS
    rest = b""
    try:
        while chunk := read(terminal, deadline):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace").strip() for line in lines)
        if rest:
            yield rest.decode(errors="replace").strip()
        if process.wait() != 0:
            raise Failure(f"{' '.join(command)} ended with status {process.returncode}")
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def read(terminal, deadline):
    """The next bytes; none at the end."""
    if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        raise Failure(f"redis-benchmark is not done after {RUN_SECONDS} s")
    try:
        return os.read(terminal, 1 << 16)
    except OSError as error:
        # How Linux says that nobody holds the other end any more.
        if error.errno == errno.EIO:
            return b""
        raise
