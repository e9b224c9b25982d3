"""ioredis and node-redis on three nodes, by the scripts in node/, which scripts/setup gives their packages."""
import json
import pathlib
import shutil
import subprocess

import pytest

SCRIPTS = pathlib.Path(__file__).resolve().parent / "node"
SECONDS = 120

pytestmark = pytest.mark.skipif(not shutil.which("node") or not (SCRIPTS / "node_modules").is_dir(),
                                reason="Node.js or its packages are missing; scripts/setup says how to get them")


@pytest.mark.parametrize("script", ["ioredis.js", "node_redis.js"])
def test_clients_for_nodejs_reach_every_key_through_any_port(empty, keys, script):
    given = {"clientPorts": empty.client_ports, "clusterPorts": empty.cluster_ports, "keys": keys}
    done = subprocess.run(["node", script], cwd=SCRIPTS, input=json.dumps(given), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    checks = json.loads(done.stdout)["checks"]
    # At least one assertion for each port that a check is made for.
    assert checks["plain"] > len(empty.client_ports) * 100
    assert checks["cluster"] > (len(empty.client_ports) + len(empty.cluster_ports)) * 100
    assert checks["strayed"] == len(empty.cluster_ports)
