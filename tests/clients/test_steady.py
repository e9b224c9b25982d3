"""Nodes come and go under applications that write steadily, and the applications do not notice."""
import time

from nodes import PATIENCE
from writers import Writer, check, stop, writes_flow


def test_writers_do_not_notice_that_nodes_come_and_go(cluster, capsys):
    stays, dies, leaves = cluster.nodes
    writers = [Writer("stays", stays), Writer("dies", dies, [stays]), Writer("leaves", leaves)]
    writes_flow(cluster, writers, 300)

    before = time.monotonic()
    dies.kill()
    killed = before, time.monotonic()
    cluster.until_dead(dies, via=stays)
    writes_flow(cluster, writers)
    cluster.start(dies)
    cluster.until_settled(3)
    # All that errors may come from has happened: what was in flight to the killed node.
    at_kill = {writer.name: (list(writer.replies), list(writer.breaks)) for writer in writers}

    joins = cluster.add()
    cluster.until_settled(4)
    writers.append(Writer("joins", joins))
    writes_flow(cluster, writers)

    status = cluster.operate(stays, "drain", leaves.name)
    drained = next(node for node in status["nodes"] if node["address"] == leaves.name)
    assert (drained["state"], drained["primary_of"], drained["replica_of"]) == ("draining", 0, 0)
    # A drained node still takes requests for the others. Its clients are moved before it goes.
    writes_flow(cluster, writers)
    writers[2].move(joins)
    status = cluster.operate(stays, "remove", leaves.name)
    assert leaves.name not in [node["address"] for node in status["nodes"]]
    assert leaves.process.wait(PATIENCE) == 0, "a removed node stops by itself"
    cluster.until_settled(3)
    writes_flow(cluster, writers)
    stop(writers)

    checked = check(writers, stays, killed)
    for writer in writers:
        replies, breaks = at_kill.get(writer.name, ([], []))
        assert (writer.replies, writer.breaks) == (replies, breaks), "an error in a planned change"
        assert all(reply.startswith("UNKNOWN") for reply in replies), replies
        # One request is in flight at a time.
        assert len(replies) <= 1 and len(breaks) == (1 if writer.name == "dies" else 0), (writer.name, replies, breaks)
    with capsys.disabled():
        total = sum(len(writer.acknowledged) for writer in writers)
        unknown = sum(len(writer.replies) for writer in writers)
        print(f"\nsteady writers: {total} writes acknowledged, {checked} had to be there and were, "
              f"{unknown} of unknown outcome, 1 connection lost with its node")
