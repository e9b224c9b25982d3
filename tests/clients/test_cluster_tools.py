"""redis-cli and redis-benchmark on three nodes, as someone types them."""
import re
import subprocess

import pytest

NODES = 3
SECONDS = 120


def run(*command, typed=None):
    """Exit status and output, both streams together."""
    done = subprocess.run([str(part) for part in command], input=typed, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=SECONDS)
    return done.returncode, done.stdout


def cli(port, *args, typed=None):
    status, output = run("redis-cli", "-p", port, *args, typed=typed)
    assert status == 0, output
    return output


@pytest.mark.parametrize("node", range(NODES))
def test_redis_cli_follows_the_map_from_a_cluster_port(empty, keys, node):
    typed = "".join(f"set {key} {key}\n" for key in keys)
    written = cli(empty.cluster_ports[node], "-c", typed=typed)
    assert re.findall(r"^OK$", written, re.M) == ["OK"] * len(keys), written
    redirected = set(map(int, re.findall(r"Redirected to slot \[\d+\] located at 127\.0\.0\.1:(\d+)$", written, re.M)))
    assert redirected == set(empty.cluster_ports)
    read = cli(empty.client_ports[node], "mget", *keys)
    assert read.split() == keys


@pytest.mark.parametrize("node", range(NODES))
def test_redis_cli_is_never_redirected_on_a_client_port(empty, keys, node):
    typed = "".join(f"set {key} {key}\nget {key}\n" for key in keys)
    assert cli(empty.client_ports[node], "-c", typed=typed).split() == [word for key in keys for word in ("OK", key)]


@pytest.mark.parametrize("node", range(NODES))
def test_cluster_check_passes_on_a_cluster_port(doors, node):
    status, output = run("redis-cli", "--cluster", "check", f"127.0.0.1:{doors.cluster_ports[node]}")
    assert status == 0, output
    assert "[OK] All nodes agree about slots configuration." in output
    assert "[OK] All 16384 slots covered." in output
    assert f"in {NODES} masters." in output
    assert "[ERR]" not in output and "[WARNING]" not in output, output


@pytest.mark.parametrize("node", range(NODES))
def test_cluster_check_is_refused_clearly_on_a_client_port(doors, node):
    port = doors.client_ports[node]
    status, output = run("redis-cli", "--cluster", "check", f"127.0.0.1:{port}")
    assert status == 1
    assert f"[ERR] Node 127.0.0.1:{port} is not configured as a cluster node." in output


def test_cluster_info_counts_the_keys(empty, keys):
    cli(empty.client_ports[0], "mset", *[word for key in keys for word in (key, "v")])
    _, output = run("redis-cli", "--cluster", "info", f"127.0.0.1:{empty.cluster_ports[0]}")
    assert f"[OK] {len(keys)} keys in {NODES} masters." in output


def benchmark(port, *options):
    """Requests per second of each test that was run, by its name."""
    status, output = run("redis-benchmark", "-p", port, "-c", "10", "--csv", *options)
    assert status == 0, output
    # What is on its way is written over itself; errors go between.
    assert not re.search(r"error|warning|moved|crossslot|denied", output, re.I), output
    # A test that is over within a millisecond has a rate of inf.
    return {name: float(rate) for name, rate in re.findall(r'^"([^"]+)","([\d.]+|inf)"', output, re.M)}


# The list that redis-benchmark runs when it is given none.
DEFAULT = ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "LPUSH", "RPUSH", "LPOP", "RPOP", "SADD", "HSET", "SPOP",
           "ZADD", "ZPOPMIN", "LPUSH (needed to benchmark LRANGE)", "LRANGE_100 (first 100 elements)",
           "LRANGE_300 (first 300 elements)", "LRANGE_500 (first 500 elements)", "LRANGE_600 (first 600 elements)",
           "MSET (10 keys)"]


@pytest.mark.parametrize("options", [[], ["-P", "16"], ["-P", "16", "-r", "1000"]], ids=" ".join)
def test_benchmark_runs_its_default_list_on_a_client_port(empty, options):
    rates = benchmark(empty.client_ports[1], "-n", "1000", *options)
    assert list(rates) == DEFAULT
    assert all(rate > 0 for rate in rates.values())


@pytest.mark.parametrize("door", ["client_ports", "cluster_ports"])
def test_benchmark_runs_its_default_list_over_the_cluster(empty, door):
    rates = benchmark(getattr(empty, door)[2], "--cluster", "-n", "1000", "-P", "16", "-r", "1000")
    assert list(rates) == DEFAULT
    assert all(rate > 0 for rate in rates.values())


def test_benchmark_over_the_cluster_writes_to_every_node(empty):
    port = empty.cluster_ports[0]

    def has_reached_all():
        # The clients that connect first may be done with all of it before those of other nodes begin.
        benchmark(port, "--cluster", "-n", "3000", "-P", "16", "-r", "100000", "-t", "set")
        _, output = run("redis-cli", "--cluster", "info", f"127.0.0.1:{port}")
        counts = [int(count) for count in re.findall(r"-> (\d+) keys", output)]
        return len(counts) == NODES and all(counts)

    empty.cluster.until("there are keys on every node", has_reached_all)
