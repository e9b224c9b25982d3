"""Clients wait for data through one node, while others push, die, are drained and go."""
import contextlib
import signal

import pytest

from nodes import PATIENCE, ErrorReply

# Enough to have some on each node.
COUNT = 24
# Seconds, for those who are to wait in vain.
SHORT = 3


def blocked(node):
    """How many clients wait at a node."""
    with node.connect() as connection:
        lines = connection("INFO", "clients").decode().splitlines()
    return next(int(line.split(":")[1]) for line in lines if line.startswith("blocked_clients:"))


@pytest.fixture
def wait(request):
    """Has new clients of a node send commands that wait, one each, and returns them once all do."""
    open_ones = contextlib.ExitStack()
    request.addfinalizer(open_ones.close)

    def wait(cluster, node, commands):
        before = blocked(node)
        clients = [open_ones.enter_context(node.connect(timeout=PATIENCE)) for _ in commands]
        for client, command in zip(clients, commands):
            client.send(command)
        cluster.until("they wait", lambda: blocked(node) == before + len(clients))
        return clients

    return wait


def pops(name):
    """Commands that wait, each with the key that is to be pushed to, and what it brings then."""
    commands = []
    for number in range(COUNT):
        key, other = f"{name}:{number}", f"{name}:other:{number}"
        value = str(number).encode()
        popped = [key.encode(), value]
        commands += [
            (("BLPOP", key, 0), key, popped),
            (("BRPOP", f"{other}:a", f"{key}:several", f"{other}:b", 0), f"{key}:several",
             [f"{key}:several".encode(), value]),
            (("BLMOVE", f"{key}:from", f"{other}:to", "LEFT", "RIGHT", 0), f"{key}:from", value),
        ]
    return commands


def push(node, expected):
    with node.connect() as connection:
        for _, key, brings in expected:
            value = brings[1] if isinstance(brings, list) else brings
            assert connection("RPUSH", key, value) == 1


def replies(clients):
    return [client.read() for client in clients]


def test_who_waits_for_keys_of_a_node_that_is_killed_is_served_by_its_heirs(cluster, wait):
    healthy, victim, other = cluster.nodes
    expected = pops("killed")
    clients = wait(cluster, healthy, [command for command, _, _ in expected])
    in_vain = wait(cluster, healthy, [("BLPOP", f"vain:{number}", SHORT) for number in range(COUNT)])
    victim.kill()
    cluster.until_dead(victim, via=healthy)
    assert replies(in_vain) == [None] * COUNT
    assert blocked(healthy) == len(expected)
    push(other, expected)
    assert replies(clients) == [brings for _, _, brings in expected]
    cluster.until("nobody waits", lambda: blocked(healthy) == 0)


def reads(name):
    """Commands that wait for entries of streams, each with the stream that is to be added to, and what it brings then."""
    commands = []
    for number in range(COUNT):
        one, several, group = (f"{name}:{kind}:{number}" for kind in ("one", "several", "group"))
        brings = {key: [[key.encode(), [[b"5-2", [b"f", b"new"]]]]] for key in (one, several, group)}
        commands += [
            (("XREAD", "BLOCK", 0, "STREAMS", one, "$"), one, brings[one]),
            (("XREAD", "BLOCK", 0, "STREAMS", f"{several}:a", several, f"{several}:b", "$", "$", "$"), several,
             brings[several]),
            (("XREADGROUP", "GROUP", "g", "c", "BLOCK", 0, "STREAMS", group, ">"), group, brings[group]),
        ]
    return commands


def test_who_waits_for_entries_of_a_node_that_is_killed_is_served_by_its_heirs(cluster, wait):
    healthy, victim, other = cluster.nodes
    expected = reads("killed")
    with other.connect() as connection:
        for _, key, _ in expected:
            assert connection("XADD", key, "5-1", "f", "old") == b"5-1"
            assert connection("XGROUP", "CREATE", key, "g", "$") == "OK"
        assert connection("WAIT", 1, 1000 * PATIENCE) >= 1
    clients = wait(cluster, healthy, [command for command, _, _ in expected])
    victim.kill()
    cluster.until_dead(victim, via=healthy)
    assert blocked(healthy) == len(expected)
    with other.connect() as connection:
        for _, key, _ in expected:
            assert connection("XADD", key, "5-2", "f", "new") == b"5-2"
    assert replies(clients) == [brings for _, _, brings in expected]
    cluster.until("nobody waits", lambda: blocked(healthy) == 0)


def test_who_waits_for_shards_that_move_is_served_where_they_go(cluster, wait):
    stays, leaves, other = cluster.nodes
    expected, mine = pops("moved"), pops("mine")
    clients = wait(cluster, stays, [command for command, _, _ in expected])
    clients += wait(cluster, leaves, [command for command, _, _ in mine])
    in_vain = wait(cluster, leaves, [("BZPOPMIN", f"vain:{number}", SHORT) for number in range(COUNT)])
    status = cluster.operate(stays, "drain", leaves.name)
    drained = next(node for node in status["nodes"] if node["address"] == leaves.name)
    assert (drained["state"], drained["primary_of"]) == ("draining", 0)
    assert replies(in_vain) == [None] * COUNT
    assert (blocked(stays), blocked(leaves)) == (len(expected), len(mine))
    push(other, expected + mine)
    assert replies(clients) == [brings for _, _, brings in expected + mine]


def test_who_waits_is_unblocked_by_others_wherever_the_key_is(empty, wait):
    node = empty.cluster.nodes[0]
    keys = [f"key:{number}" for number in range(COUNT)]
    clients = wait(empty.cluster, node, [("BLPOP", key, f"{key}:other", 0) for key in keys])
    with node.connect() as connection:
        ids = [line.split()[0].split("=")[1] for line in connection("CLIENT", "LIST").decode().splitlines()
               if " flags=b " in line]
        assert len(ids) == COUNT
        for number, client in enumerate(ids):
            how = "ERROR" if number % 2 else "TIMEOUT"
            assert connection("CLIENT", "UNBLOCK", client, how) == 1
            assert connection("CLIENT", "UNBLOCK", client, how) == 0
        assert blocked(node) == 0
        assert [connection("RPUSH", key, "v") for key in keys] == [1] * COUNT
    answers = [str(reply) if isinstance(reply, ErrorReply) else reply for reply in replies(clients)]
    assert answers.count(None) == COUNT // 2
    assert answers.count("UNBLOCKED client unblocked via CLIENT UNBLOCK") == COUNT // 2


def test_nothing_is_taken_out_for_a_client_that_has_gone(empty, wait):
    node = empty.cluster.nodes[0]
    keys = [f"key:{number}" for number in range(COUNT)]
    clients = wait(empty.cluster, node, [("BLPOP", key, 0) for key in keys])
    killed, gone = clients[:COUNT // 2], clients[COUNT // 2:]
    for client in gone:
        client.close()
    empty.cluster.until("those who left are forgotten", lambda: blocked(node) == len(killed))
    with node.connect() as connection:
        connection("CLIENT", "KILL", "TYPE", "normal")
        empty.cluster.until("those who were killed are forgotten", lambda: blocked(node) == 0)
        assert [connection("RPUSH", key, "v") for key in keys] == [1] * COUNT
        assert [connection("LLEN", key) for key in keys] == [1] * COUNT


def test_who_waits_through_a_node_that_stops_is_told_so_and_nothing_is_taken_out(cluster, wait):
    stays, leaves, _ = cluster.nodes
    expected = pops("stopped")
    clients = wait(cluster, leaves, [command for command, _, _ in expected])
    leaves.signal(signal.SIGTERM)
    assert [str(reply).split()[0] for reply in replies(clients)] == ["UNBLOCKED"] * len(expected)
    assert leaves.wait() == 0
    push(stays, expected)
    with stays.connect() as connection:
        assert [connection("LLEN", key) for _, key, _ in expected] == [1] * len(expected)


def ahead(client, commands):
    """Sends so many thousand commands behind one that waits."""
    for _ in range(commands):
        client.send(*[("ECHO", "x" * 100)] * 1000)


def test_a_client_that_has_sent_much_ahead_is_seen_to_go(empty, wait):
    node = empty.cluster.nodes[0]
    client, = wait(empty.cluster, node, [("BLPOP", "key", 0)])
    ahead(client, 30)
    client.close()
    empty.cluster.until("it is forgotten", lambda: blocked(node) == 0)
    with node.connect() as connection:
        assert (connection("RPUSH", "key", "v"), connection("LLEN", "key")) == (1, 1)


def test_a_client_that_sends_more_ahead_than_it_may_is_closed(empty, wait):
    node, setting = empty.cluster.nodes[0], "client-query-buffer-limit"
    with node.connect() as connection:
        before = connection("CONFIG", "GET", setting)[1]
        assert connection("CONFIG", "SET", setting, "1mb") == "OK"
        try:
            client, = wait(empty.cluster, node, [("BLPOP", "key", 0)])
            with pytest.raises(ConnectionError):
                ahead(client, 1000)
            empty.cluster.until("it is forgotten", lambda: blocked(node) == 0)
            assert (connection("RPUSH", "key", "v"), connection("LLEN", "key")) == (1, 1)
        finally:
            assert connection("CONFIG", "SET", setting, before) == "OK"
