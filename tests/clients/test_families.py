"""benches/families: each of its cases runs and finds something, and what needs more than Redis is seen at once."""
import importlib.machinery
import importlib.util
import pathlib
import sys

import pytest

from nodes import Connection, ErrorReply

BENCHES = pathlib.Path(__file__).resolve().parent.parent.parent / "benches"
sys.path[:0] = [str(BENCHES / "common"), str(BENCHES / "families")]
import load  # noqa: E402
from cases import FAMILIES, Case, Data, scattered  # noqa: E402
from elements import KINDS, element, loads  # noqa: E402
from table import Table  # noqa: E402

# Large sizes are divided by it.
SHARE = 100
ROW = "list", "10", "LPUSH"


class Server:
    """A server whose CPU clock stands still, so that it is idle."""

    name = "server"

    def __init__(self, address):
        self.address, self.port, self.nodes = address, address[1], [self]

    def connect(self, timeout):
        return Connection(self.address, timeout)

    def cpu_seconds(self):
        return 0

    def errors(self):
        return 0


@pytest.fixture
def server(address):
    return Server(address)


@pytest.fixture(scope="module")
def script():
    loader = importlib.machinery.SourceFileLoader("families", str(BENCHES / "families/run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("families", loader))
    loader.exec_module(module)
    return module


def named(name, figures):
    return type("Server", (), {"name": name}), figures


def table(redis, ours, row=ROW, into=None):
    result = into or Table("Title", ("family", "size", "command"), ["redis", "ours"], "{:.1f}")
    for server, figures in (named("redis", redis), named("ours", ours)):
        for figure in figures:
            result.add(row, server, figure)
    return result


@pytest.mark.parametrize("family", FAMILIES)
def test_each_case_finds_something_as_often_as_it_is_asked(server, script, family):
    for data in FAMILIES[family](SHARE):
        try:
            script.prepare(server, data)
            for case in data.cases:
                script.answer(server, case)
                script.measure(server, data, case, case.pipeline * script.TRIAL_REQUESTS)
                script.answer(server, case)
        except script.Unknown as unknown:
            pytest.skip(str(unknown))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_load_writes_as_many_elements_as_it_says(server, script, kind):
    count = {"string": "STRLEN", "list": "LLEN", "hash": "HLEN", "set": "SCARD", "zset": "ZCARD", "stream": "XLEN"}
    for some in loads(kind, SHARE):
        script.write(server, [["FLUSHALL"]])
        try:
            script.write(server, some.commands())
        except script.Unknown as unknown:
            pytest.skip(str(unknown))
        with server.connect(10) as connection:
            assert connection("DBSIZE") == some.keys
            for at, name in enumerate(some.names()):
                if kind.name == "string":
                    assert connection("GET", name) == element(at)
                elif kind.family in count:
                    assert connection(count[kind.family], name) == some.size


def test_elements_have_all_lengths_and_are_not_alike():
    elements = [element(number) for number in range(1_000)]
    assert {len(each) for each in elements} == set(range(8, 65))
    assert len(set(elements)) == len(elements)
    assert sorted(scattered(number, 1_000) for number in range(1_000)) == list(range(1_000))


def test_case_that_finds_nothing_or_fails_ends_the_run(server, script):
    script.prepare(server, Data("", [], lambda: [["SET", "text", "value"]]))
    with pytest.raises(load.Failure, match="finds nothing"):
        script.answer(server, Case("GET", "GET nothing"))
    with pytest.raises(load.Failure, match="finds nothing"):
        script.answer(server, Case("LRANGE", "LRANGE nothing 0 9"))
    with pytest.raises(load.Failure, match="WRONGTYPE"):
        script.answer(server, Case("LPUSH", "LPUSH text element"))


def test_only_a_command_that_a_server_does_not_know_is_left_out(server, script):
    with pytest.raises(script.Unknown, match="server answers `ERR unknown command 'NOSUCH'"):
        script.answer(server, Case("", "NOSUCH key"))
    with pytest.raises(load.Failure, match="ERR syntax"):
        script.checked(server, ErrorReply("ERR syntax error"))


def test_replies_are_alike_but_for_order_and_time(script):
    assert script.shape([b"ab", b"c", 1]) == script.shape([1, b"d", b"ef"])
    assert script.shape([b"ab", b"c"]) != script.shape([b"ab", b"cd"])
    assert script.shape([[b"1-0", [b"f"]]]) == script.shape([[b"2-0", [b"g"]]])
    assert script.shape(1) != script.shape(2)


def test_what_is_over_one_is_marked_and_named_first():
    result = table([1.0, 2.0], [0.5, 1.0])
    assert "None of 1 is over 1.0." in result.markdown()
    table([1.0, 1.0, 1.0], [1.2, 1.5, 0.2], ("list", "10", "LRANGE"), result)
    table([1.0], [3.0], ("hash", "10", "HGET"), result)
    table([1.0], [1.004], ("hash", "10", "HSET"), result)
    assert result.markdown().splitlines() == [
        "**Title**", "",
        "▲ 2 of 4 are over 1.0: hash, 10, HGET **3.00**; list, 10, LRANGE **1.20**.", "",
        "| family | size | command | redis | ours | x |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        "| list | 10 | LPUSH | 1.5 (1.0 to 2.0) | 0.8 (0.5 to 1.0) | 0.50 |",
        "| list | 10 | LRANGE | 1.0 (1.0 to 1.0) | 1.2 (0.2 to 1.5) | **1.20 ▲** |",
        "| hash | 10 | HGET | 1.0 | 3.0 | **3.00 ▲** |",
        "| hash | 10 | HSET | 1.0 | 1.0 | 1.00 |",
    ]


def test_what_was_left_out_is_named_with_its_reason():
    result = table([1.0], [1.0])
    result.leave_out("ours answers `ERR`", "stream", "10")
    assert result.is_left_out("stream", "10") and not result.is_left_out("stream", "100")
    assert result.markdown().endswith("\n\n- Not measured: stream, 10, since ours answers `ERR`.\n")


def test_figures_of_both_sections_have_a_place(script):
    text = (BENCHES / "families/README.md").read_text()
    for section in script.SCRIPT.sections:
        assert "some figures" in script.SCRIPT.put(text, section, "some figures")
