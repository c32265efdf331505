"""Privileges through the whole API: for each answered method, who has exactly what the schema wants passes, who has nothing gets 403."""

import re
from urllib.parse import quote

import orjson
import pytest

from pveops.sim.contract.coverage import entries
from pveops.sim.contract.dispatch import Api, Request
from pveops.sim.contract.schema import load
from pveops.sim.errors import RefusedError
from pveops.sim.methods.table import Encoded, Plain, Rows
from pveops.sim.seed.describe import describe
from pveops.sim.state.identity import Role, User
from pveops.sim.world import World
from tests.contract.sim.arguments import KNOWN, required
from tests.unit.sim.test_permissions import needs

START_S = 1_795_262_400.0
METHODS = [load().methods[key] for key in sorted(entries())]
CHECKED = [method for method in METHODS if method.permissions and "user" not in method.permissions]
ROOT_ONLY = [method for method in METHODS if method.permissions is None]
FOR_ALL = [method for method in METHODS if method.permissions and method.permissions.get("user") == "all" and method.verb == "GET"]
FORBIDDEN = 403
MORE = {"/nodes/{node}/qemu/{vmid}/clone": [("/storage/local-lvm", "Datastore.AllocateSpace")]}
"""What a method asks for beside the expression, as its description says: space for the disks of the copy."""

EVE = "eve@pve"


class Cluster:
    """A cluster that is asked directly by users with tickets."""

    def __init__(self):
        description = describe(nodes=3, guests=12, seed=7, start_s=START_S, ha_guests=2)
        self.world = World(description, seed=7, start_s=START_S, secrets=lambda name: name, ticket_key=b"k" * 32)
        self.api = Api(self.world)
        ids = self.world.cluster.identities
        ids.users[EVE] = User(EVE)
        ids.users["mallory@pve"] = User("mallory@pve")
        ids.changed()

    def grant(self, grants):
        ids = self.world.cluster.identities
        by_path = {}
        for path, name in grants:
            by_path.setdefault(path, set()).add(name)
        for number, (path, names) in enumerate(sorted(by_path.items())):
            ids.roles[f"exact{number}"] = Role(f"exact{number}", frozenset(names))
            ids.grant(path, "user", EVE, f"exact{number}", propagate=False)

    def ask(self, method, who, parameters):
        path = re.sub(r"\{([^}]+)\}", lambda match: quote(str(parameters[match[1]]), safe=""), method.path)
        rest = {name: value for name, value in parameters.items() if f"{{{name}}}" not in method.path}
        request = Request(method.verb, path, rest)
        ticket, request.csrf = self.world.gate.issue(who)
        request.cookie = f"PVEAuthCookie={ticket}"
        try:
            found = self.api.answer(request)
        except RefusedError as err:
            return err.status, err.message
        data = found.data if isinstance(found, (Rows, Encoded)) else found.text if isinstance(found, Plain) else found
        return 200, data.decode() if isinstance(data, bytes) else orjson.dumps(data).decode()


def arguments(method):
    """Fitting parameters, and what the permission expression looks at."""
    given = required(method)
    for name in re.findall(r"\{([\w-]+)\}", repr(method.permissions)):
        given.setdefault(name, KNOWN.get(name, ["thing-1"])[0])
    if "require_param" in repr(method.permissions):
        given.setdefault("pool", "production")
    return given


@pytest.fixture(scope="module")
def shared():
    """For requests that are refused: they change nothing."""
    return Cluster()


@pytest.mark.slow
def test_who_has_nothing_is_refused(shared):
    wrong = []
    for method in [*CHECKED, *ROOT_ONLY]:
        status, text = shared.ask(method, "mallory@pve", arguments(method))
        if status != FORBIDDEN:
            wrong.append((method.verb, method.path, status, text[:80]))
    assert wrong == []
    assert len(CHECKED) > 300


@pytest.mark.slow
def test_who_has_exactly_what_the_schema_wants_passes():
    wrong = []
    for method in CHECKED:
        cluster, given = Cluster(), arguments(method)
        parameters = given | {name: given.get(name, "thing-1") for name in ("path", "userid", "groups")}
        cluster.grant(needs(method.permissions["check"], parameters) + MORE.get(method.path, []))
        status, text = cluster.ask(method, EVE, given)
        if status == FORBIDDEN:
            wrong.append((method.verb, method.path, text))
    assert wrong == []


@pytest.mark.slow
def test_nothing_is_shown_to_who_may_see_nothing(shared):
    """Lists that everybody may ask for hold no guest, storage, pool or person of others."""
    wrong = []
    for method in FOR_ALL:
        _, text = shared.ask(method, "mallory@pve", required(method))
        shown = [name for name in ("web-1", "ceph-vm", "production", "operator@pve") if name in text]
        if shown:
            wrong.append((method.path, shown, text[:200]))
    assert wrong == []
    assert len(FOR_ALL) > 60
