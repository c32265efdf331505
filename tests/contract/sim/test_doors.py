"""Each node has an address of its own, which closes when the node is away. What fails over must fail over here."""

import time
from pathlib import Path

import pytest
import requests

from pveops.base.errors import Unreachable
from pveops.base.secret import Secret
from pveops.clients.cluster.read import Reader
from pveops.clients.cluster.wire import Endpoint, Wire
from pveops.sim.faults.client import ControlClient

pytestmark = pytest.mark.slow


@pytest.fixture
def sim(fresh_sim):
    return fresh_sim("--nodes", "3", "--guests", "8", "--per-node", "--speed", "20")


def wire(sim, *urls):
    return Wire([Endpoint(url, ca=Path(sim.info["ca"])) for url in urls], Secret(sim.info["tokens"]["admin"]))


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def answers(sim, url):
    try:
        wire(sim, url).get("/version")
    except Unreachable:
        return False
    return True


def test_each_door_is_that_of_its_node(sim):
    assert len(set(sim.info["urls"])) == 3
    for name, url in zip(sim.info["nodes"], sim.info["urls"], strict=True):
        rows = wire(sim, url).get("/cluster/status").data
        assert [row["name"] for row in rows if row.get("local")] == [name]


def test_the_door_of_a_dead_node_is_closed_and_others_are_asked(sim):
    door = ControlClient(sim.info)
    one, two, _ = sim.info["urls"]
    with requests.Session() as kept:
        kept.trust_env = False
        ask = {"headers": {"Authorization": f"PVEAPIToken={sim.info['tokens']['admin']}"}, "verify": sim.info["ca"], "timeout": 10}
        assert kept.get(f"{two}/api2/json/version", **ask).status_code == 200
        ident = door.add("node-down", {"node": "pve2"})["id"]
        until(lambda: not answers(sim, two))
        with pytest.raises(requests.exceptions.ConnectionError):
            kept.get(f"{two}/api2/json/version", **ask)
    found = Reader(wire(sim, two, one)).nodes()
    assert found.source.startswith(one)
    assert {node.name for node in found.rows} == {"pve1", "pve2", "pve3"}
    wire(sim, one).send_once("POST", "/nodes/pve2/wakeonlan")
    door.advance(100)
    until(lambda: answers(sim, two))
    assert {row["id"]: row["state"] for row in door.faults()} == {ident: "repaired"}


def test_time_passes_while_every_door_is_closed(sim):
    door = ControlClient(sim.info)
    door.add("quorum-lost", {"how": "network"}, lasts_s=30)
    two, three = sim.info["urls"][1:]
    until(lambda: not answers(sim, two))
    assert not answers(sim, three)
    until(lambda: answers(sim, two))
    assert answers(sim, three)
