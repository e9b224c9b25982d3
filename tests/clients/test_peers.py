"""benches/peers: its figures are of all tests that ran, and an error reply is never taken for a fast answer."""
import importlib.machinery
import importlib.util
import pathlib
import sys

import pytest

from nodes import Connection

BENCHES = pathlib.Path(__file__).resolve().parent.parent.parent / "benches"
PEERS = BENCHES / "peers"
sys.path.insert(0, str(BENCHES / "common"))
import load  # noqa: E402


class Server:
    """A server whose CPU clock goes a millisecond further whenever it is read."""

    name = "server"

    def __init__(self, address):
        self.address, self.port = address, address[1]
        self.clock = 0

    def cpu_seconds(self):
        self.clock += 0.001
        return self.clock

    def errors(self):
        return 0


@pytest.fixture
def server(address):
    with Connection(address) as connection:
        assert connection("FLUSHALL") == "OK"
    return Server(address)


@pytest.fixture(scope="module")
def script():
    loader = importlib.machinery.SourceFileLoader("peers", str(PEERS / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("peers", loader))
    loader.exec_module(module)
    return module


def test_each_test_has_a_sample_with_its_share_of_cpu_time(server):
    samples = load.run(server, 1000, "-t", "set,get,lpush", "-P", "10")
    assert [sample.test for sample in samples] == ["SET", "GET", "LPUSH"]
    assert [sample.cpu for sample in samples] == pytest.approx([1.0, 1.0, 1.0])
    assert all(sample.rate > 0 for sample in samples)


def test_error_reply_that_a_client_sees_fails(server, address):
    with Connection(address) as connection:
        assert connection("SET", "mylist", "no list") == "OK"
    with pytest.raises(load.Failure, match="WRONGTYPE"):
        load.run(server, 1000, "-t", "set,lpush,get")


def test_error_reply_that_only_the_server_counts_fails(server, monkeypatch):
    counts = iter([7, 9])
    monkeypatch.setattr(server, "errors", lambda: next(counts))
    with pytest.raises(load.Failure, match="2 error replies"):
        load.run(server, 1000, "-t", "set")


def test_server_that_is_not_there_fails(server, monkeypatch):
    monkeypatch.setattr(server, "port", 1)
    with pytest.raises(load.Failure, match="(?i)could not connect"):
        load.run(server, 1000, "-t", "set")


def test_figures_are_medians_beside_the_first_server(script):
    names = ["redis", "ringfort"]
    table = script.Table("Title", names)
    for name, rates in (("redis", [100, 200, 300]), ("ringfort", [200, 100, 900])):
        for rate in rates:
            server = type("Server", (), {"name": name})
            table.add(server, [load.Sample("SET", rate, 1 / rate), load.Sample("LPUSH (needed to ...)", 1, 1)])
    assert table.markdown().splitlines()[:5] == [
        "**Title**", "",
        "| requests/s | redis | ringfort |",
        "| --- | ---: | ---: |",
        "| SET | 200 (100 to 300) | 200 (100 to 900) **x 2.00** |",
    ]


def test_figures_take_the_place_of_the_old_ones_of_their_section(script):
    text = (PEERS / "README.md").read_text()
    once = script.SCRIPT.put(text, "one", "figures of one run\n")
    twice = script.SCRIPT.put(once, "one", "figures of another\n")
    assert "of one run" in once and "of one run" not in twice and "of another" in twice
    assert script.SCRIPT.put(twice, "three", "third\n").count("written by") == 2
    with pytest.raises(load.Failure, match="has no place"):
        script.SCRIPT.put(text, "two", "")
