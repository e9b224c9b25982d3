"""Nodes die, hang, stop and come back, and the cluster goes on. Assertions are on replies and states alone."""
import shutil
import signal

import redis

from writers import Writer, check, connect, stop, writes_flow

KEYS = 2_000


def fill(node, value, copies=1):
    """Gives all keys a value, and waits until replicas have it."""
    with connect(node) as client:
        assert client.mset({f"key:{number}": value for number in range(KEYS)}) is True
        assert client.wait(copies, 10_000) >= copies


def read(node):
    with connect(node) as client:
        return set(client.mget([f"key:{number}" for number in range(KEYS)]))


def test_a_killed_node_loses_nothing_and_comes_back(cluster):
    healthy, victim, other = cluster.nodes
    fill(victim, "before")
    victim.kill()
    assert read(healthy) == {"before"}, "reads wait for the new primaries"
    cluster.until_dead(victim, via=healthy)
    # Its place among the replicas is kept for it for a while.
    fill(healthy, "after", copies=0)
    cluster.start(victim)
    cluster.until_settled(3)
    assert read(victim) == read(other) == {"after"}


def test_a_node_that_hung_serves_nothing_stale(cluster):
    healthy, victim, other = cluster.nodes
    fill(victim, "before")
    first = cluster.seen(victim, via=healthy)["incarnation"]
    with connect(victim) as old:
        old.ping()
        victim.signal(signal.SIGSTOP)
        cluster.until_dead(victim, via=healthy)
        fill(healthy, "after", copies=0)
        victim.signal(signal.SIGCONT)
        # On a connection from before, the moment that it wakes up.
        stale = set()
        for number in range(KEYS):
            value = old.get(f"key:{number}")
            if value != "after":
                stale.add(value)
        assert not stale
    cluster.until_settled(3)
    assert cluster.seen(victim, via=healthy)["incarnation"] > first
    assert read(victim) == read(other) == {"after"}


def test_a_node_that_is_back_before_anybody_noticed_serves_no_empty_shards(cluster):
    healthy, victim, other = cluster.nodes
    fill(healthy, "before")
    victim.kill()
    cluster.start(victim)
    assert read(victim) == {"before"}
    cluster.until_settled(3)
    assert read(healthy) == read(other) == {"before"}


def test_a_node_that_is_back_with_an_empty_directory_is_a_new_node(cluster):
    healthy, victim, other = cluster.nodes
    fill(healthy, "before")
    name = cluster.seen(victim, via=healthy)["id"]
    victim.kill()
    shutil.rmtree(victim.data)
    cluster.start(victim)
    cluster.until_settled(3)
    assert cluster.seen(victim, via=healthy)["id"] != name
    assert read(victim) == read(other) == {"before"}
    # What is left of it is a dead node, which the operator can have forgotten.
    status = cluster.operate(healthy, "remove", name)
    assert sorted(node["address"] for node in status["nodes"]) == sorted(node.name for node in cluster.nodes)


def test_a_node_that_is_told_to_stop_hands_over_and_no_client_notices(cluster):
    healthy, victim, other = cluster.nodes
    fill(victim, "before")
    writers = [Writer("one", healthy), Writer("two", other)]
    writes_flow(cluster, writers)
    victim.signal(signal.SIGTERM)
    assert victim.wait() == 0
    writes_flow(cluster, writers)
    assert read(healthy) == {"before"}
    cluster.start(victim)
    cluster.until_settled(3)
    writes_flow(cluster, writers)
    stop(writers)
    assert [(writer.replies, writer.breaks) for writer in writers] == [([], [])] * 2, cluster.picture()
    check(writers, victim)


def test_a_client_of_a_node_that_is_told_to_stop_gets_answers_until_it_is_cut_off(cluster):
    healthy, victim, _ = cluster.nodes
    writer = Writer("mine", victim, [healthy])
    writes_flow(cluster, [writer])
    victim.signal(signal.SIGTERM)
    assert victim.wait() == 0
    writes_flow(cluster, [writer])
    writer.stop()
    assert writer.replies == [] and len(writer.breaks) == 1
    check([writer], healthy)


def test_nodes_are_restarted_one_after_the_other_and_no_client_notices(cluster):
    for victim in cluster.nodes:
        others = [node for node in cluster.nodes if node is not victim]
        writers = [Writer(f"{victim.name} goes, {node.name}, {number}", node) for node in others for number in range(3)]
        mine = [Writer(f"{victim.name} goes, mine, {number}", victim, others) for number in range(3)]
        writes_flow(cluster, writers + mine)
        victim.signal(signal.SIGTERM)
        assert victim.wait() == 0
        writes_flow(cluster, writers + mine)
        cluster.start(victim)
        cluster.until_settled(3)
        stop(writers + mine)
        assert [(writer.replies, writer.breaks) for writer in writers] == [([], [])] * len(writers), cluster.picture()
        # Its own clients are cut off between two requests.
        assert [(writer.replies, len(writer.breaks)) for writer in mine] == [([], 1)] * len(mine), cluster.picture()
        check(writers + mine, victim)


def test_a_node_that_nobody_hears_is_told_to_stop_and_does_not_wait_for_an_heir(cluster):
    alone, *others = cluster.nodes
    for node in others:
        node.kill()
    alone.signal(signal.SIGTERM)
    assert alone.wait() == 0
    assert "no majority of the council hears this node" in alone.logged()


def test_a_cluster_whose_nodes_were_all_killed_comes_back(cluster):
    fill(cluster.nodes[0], "before")
    for node in cluster.nodes:
        node.kill()
    cluster.start(*cluster.nodes)
    cluster.until_settled(3)
    # It lived in memory: what was there is gone, as a whole.
    assert read(cluster.nodes[1]) == {None}
    fill(cluster.nodes[2], "after")
    assert read(cluster.nodes[0]) == read(cluster.nodes[1]) == {"after"}


def test_a_cluster_whose_nodes_are_all_told_to_stop_ends_and_comes_back(cluster):
    for node in cluster.nodes:
        node.signal(signal.SIGTERM)
    assert [node.wait() for node in cluster.nodes] == [0, 0, 0]
    for node in cluster.nodes:
        assert "not all shards were handed over in time" not in node.logged(), node.logged()
    cluster.start(*cluster.nodes)
    cluster.until_settled(3)
    fill(cluster.nodes[2], "after")
    assert read(cluster.nodes[0]) == {"after"}


def test_without_a_majority_writes_are_refused_until_it_is_back(cluster):
    alone, *others = cluster.nodes
    fill(alone, "before")
    for node in others:
        node.kill()

    def is_refused():
        with connect(alone) as client:
            try:
                client.set("key:0", "alone")
            except redis.exceptions.ClusterDownError:
                return True
            except redis.ResponseError as error:
                # It was on its way to a node that was killed.
                assert str(error).startswith("UNKNOWN"), error
        return False

    cluster.until("writes are refused", is_refused)
    cluster.start(*others)
    cluster.until_settled(3)
    # The council has its majority again; a moment later the node may serve.
    cluster.until("writes are taken again", lambda: not is_refused())
    fill(alone, "after")
    assert read(others[0]) == read(others[1]) == {"after"}
