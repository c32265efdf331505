"""What is known of a guest that no list has: a silent node hides nobody, a token without privileges may."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pveops.base.secret import Secret
from pveops.clients.cluster.facts import read_facts
from pveops.clients.cluster.read import Reader
from pveops.clients.cluster.wire import Endpoint, Wire
from pveops.sim.faults.client import ControlClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sim(start_sim, tmp_path_factory):
    running = start_sim(tmp_path_factory.mktemp("facts"), "--nodes", "3", "--guests", "8")
    ControlClient(running.info).add("status-daemon-hangs", {"node": "pve2"})
    running.advance(400)
    yield running
    running.stop()


@pytest.fixture
def facts_of(sim):
    def read(token, *subjects):
        reader = Reader(Wire([Endpoint(sim.info["url"], ca=Path(sim.info["ca"]))], Secret(sim.info["tokens"][token])))
        return read_facts(reader, subjects, read_at=datetime.now(UTC)), reader.resources()[1]

    return read


def test_a_silent_node_hides_no_guest(facts_of):
    facts, guests = facts_of("reader", "guest/9999", "node/pve2")
    assert guests.partial
    assert facts.missing == {"guest/9999"}
    assert facts.unknown == {}
    assert facts.values["node/pve2.guests"] == tuple(str(guest.vmid) for guest in guests.rows if guest.node == "pve2") != ()


def test_a_token_that_may_not_see_all_guests_knows_of_none_that_is_missing(facts_of):
    facts, guests = facts_of("noperm", "guest/9999", "node/pve2")
    assert [gap.needs for gap in guests.gaps] == ["VM.Audit on /vms"]
    assert facts.missing == frozenset()
    assert facts.unknown == {"guest/9999": "the token may not see all guests"}
    assert "node/pve2.guests" not in facts.values
