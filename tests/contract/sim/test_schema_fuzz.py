"""Random parameters, right and wrong, for every method that is answered: the answer is one of Proxmox VE's kinds, never a crash."""

import re
from urllib.parse import quote

import orjson
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from pveops.sim.contract.coverage import entries
from pveops.sim.contract.dispatch import Api, Request
from pveops.sim.contract.schema import load
from pveops.sim.errors import RefusedError
from pveops.sim.methods.table import Encoded, Plain, Rows
from pveops.sim.seed.describe import describe
from pveops.sim.world import World
from tests.contract.sim.arguments import requests

START_S = 1_795_262_400.0
METHODS = [load().methods[key] for key in sorted(entries())]
STATUSES = {200, 400, 401, 403, 404, 424, 500, 501, 595, 596}
"""404 comes from notifications alone, 424 from a join on a node that is no cluster."""

EXAMPLES = 12


class Cluster:
    """A cluster that is asked directly; after every answer a little time passes, so that tasks run too."""

    def __init__(self):
        description = describe(nodes=3, guests=12, seed=7, start_s=START_S, ha_guests=2)
        self.world = World(description, seed=7, start_s=START_S, secrets=lambda name: name, ticket_key=b"k" * 32)
        self.api = Api(self.world)

    def ask(self, method, parameters, who):
        path = re.sub(r"\{([^}]+)\}", lambda match: quote(str(parameters[match[1]]), safe=""), method.path)
        given_ones = {name: value for name, value in parameters.items() if f"{{{name}}}" not in method.path}
        request = Request(method.verb, path, given_ones)
        ticket, request.csrf = self.world.gate.issue(who)
        request.cookie = f"PVEAuthCookie={ticket}"
        try:
            found = self.api.answer(request)
        except RefusedError as err:
            return err.status
        finally:
            self.world.advance(self.world.cluster.now_s + 3)
        data = found.data if isinstance(found, (Rows, Encoded)) else found.text if isinstance(found, Plain) else found
        assert isinstance(data, bytes) or orjson.dumps(data) is not None
        return 200


@pytest.fixture
def cluster():
    return Cluster()


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.verb} {method.path}")
def test_the_answer_is_one_of_proxmox_ve(cluster, method):
    @seed(1)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(parameters=requests(method), who=st.sampled_from(["root@pam", "admin@pve"]))
    def run(parameters, who):
        assert cluster.ask(method, parameters, who) in STATUSES

    run()
