"""The map of the cluster: what clients were seen to need of it, asked of every node at both of its doors.

A null or empty host sends some clients to localhost and others into a loop; a NODES without `myself`, or with a blank
line, ends tools. The map's ports are those of the cluster door, whichever door was asked.
"""
import pytest

from nodes import Connection, ErrorReply

NODES, SLOTS = 3, 16384
DOORS = [(door, node) for door in ("client_ports", "cluster_ports") for node in range(NODES)]


@pytest.fixture(params=DOORS, ids=[f"{door[:-6]}-{node}" for door, node in DOORS])
def port(doors, request):
    door, node = request.param
    return getattr(doors, door)[node]


def ask(port, *command):
    """A RESP2 reply with nothing that a client's library might mend."""
    with Connection(("127.0.0.1", port)) as connection:
        return decoded(connection(*command))


def decoded(reply):
    if isinstance(reply, list):
        return [decoded(part) for part in reply]
    return reply.decode() if isinstance(reply, bytes) else reply


def pairs(flat):
    """A map as RESP2 writes it."""
    return dict(zip(flat[::2], flat[1::2]))


def assert_each_slot_once(ranges):
    covered = [slot for first, last in ranges for slot in range(first, last + 1)]
    assert sorted(covered) == list(range(SLOTS))


def test_slots_name_a_primary_for_each_slot_once(doors, port):
    reply = ask(port, "CLUSTER", "SLOTS")
    assert_each_slot_once((first, last) for first, last, *_ in reply)
    nodes = [node for _, _, *nodes in reply for node in nodes]
    assert {host for host, *_ in nodes} == {"127.0.0.1"}
    assert {port for _, port, *_ in nodes} == set(doors.cluster_ports)
    assert len({id for _, _, id, *_ in nodes}) == NODES
    assert {primary[1] for _, _, primary, *_ in reply} == set(doors.cluster_ports)
    for first, last, *nodes in reply:
        # One slot of each node comes first, and names no other node yet.
        assert len({id for _, _, id, *_ in nodes}) == (1 if first == last else len(nodes))


def test_slots_mention_each_node_as_a_primary_first(port):
    mentioned = set()
    for _, _, primary, *replicas in ask(port, "CLUSTER", "SLOTS"):
        mentioned.add(primary[2])
        assert {replica[2] for replica in replicas} <= mentioned


def test_slots_name_two_places_to_read_from_for_every_slot(port):
    ranges = ask(port, "CLUSTER", "SLOTS")
    assert [len(nodes) for _, _, *nodes in ranges] == [2] * len(ranges)
    assert sum(last - first + 1 for first, last, one, other in ranges if one != other) == SLOTS - NODES


def test_shards_cover_each_slot_once(doors, port):
    groups = [pairs(group) for group in ask(port, "CLUSTER", "SHARDS")]
    assert_each_slot_once(range for group in groups for range in zip(group["slots"][::2], group["slots"][1::2]))
    for group in groups:
        nodes = [pairs(node) for node in group["nodes"]]
        assert [node["role"] for node in nodes] == ["master", "replica"]
        for node in nodes:
            assert node["ip"] == node["endpoint"] == "127.0.0.1"
            assert node["port"] in doors.cluster_ports
            assert node["health"] == "online"


def test_nodes_are_one_line_each_and_one_is_myself(doors, port):
    reply = ask(port, "CLUSTER", "NODES")
    assert reply.endswith("\n")
    lines = reply[:-1].split("\n")
    assert len(lines) == NODES and all(lines), reply
    ranges, ports = [], []
    for line in lines:
        id, address, flags, primary, _, _, _, link, *slots = line.split(" ")
        assert len(id) == 40
        assert flags in ("master", "myself,master") and (primary, link) == ("-", "connected")
        host, at_port = address.split(":")
        assert host == "127.0.0.1"
        ports.append(int(at_port.split("@")[0]))
        assert int(at_port.split("@")[1]) > 0
        for first, _, last in (range.partition("-") for range in slots):
            ranges.append((int(first), int(last or first)))
    assert sorted(ports) == sorted(doors.cluster_ports)
    assert_each_slot_once(ranges)
    myself = [line.split(" ")[0] for line in lines if "myself" in line]
    assert myself == [ask(port, "CLUSTER", "MYID")]


def test_three_forms_of_the_map_agree(port):
    owner = {}
    for first, last, primary, *_ in ask(port, "CLUSTER", "SLOTS"):
        owner.update(dict.fromkeys(range(first, last + 1), primary[2]))
    for group in map(pairs, ask(port, "CLUSTER", "SHARDS")):
        primary = pairs(group["nodes"][0])["id"]
        for first, last in zip(group["slots"][::2], group["slots"][1::2]):
            assert {owner[slot] for slot in range(first, last + 1)} == {primary}
    for line in ask(port, "CLUSTER", "NODES").splitlines():
        id, *rest = line.split(" ")
        for first, _, last in (range.partition("-") for range in rest[7:]):
            assert {owner[slot] for slot in range(int(first), int(last or first) + 1)} == {id}


def test_only_the_cluster_door_says_that_it_is_a_cluster(doors):
    for client, door in zip(doors.client_ports, doors.cluster_ports):
        assert "cluster_state:ok" in ask(door, "CLUSTER", "INFO").splitlines()
        refusal = ask(client, "CLUSTER", "INFO")
        assert isinstance(refusal, ErrorReply) and f"cluster port, {door}" in str(refusal)
        assert "cluster_enabled:1" in ask(door, "INFO", "cluster").splitlines()
        assert "cluster_enabled:0" in ask(client, "INFO", "cluster").splitlines()
        assert "redis_mode:standalone" in ask(client, "INFO", "server").splitlines()
        assert "redis_mode:cluster" in ask(door, "INFO", "server").splitlines()
