"""Permission expressions: for every method, who lacks what the schema wants is refused, who has exactly that passes."""

import re

import pytest

from pveops.sim.contract.permissions import Asker, compile_method, open_to_world
from pveops.sim.contract.schema import load
from pveops.sim.errors import RefusedError
from pveops.sim.state.access import Access, normalize
from pveops.sim.state.identity import ROOT, Group, Identities, Principal, Role, User

SCHEMA = load()
CHECKED = [method for method in SCHEMA.methods.values() if method.permissions and "user" not in method.permissions]
ROOT_ONLY = [method for method in SCHEMA.methods.values() if method.permissions is None]
PARAMETERS = {
    "node": "pve1",
    "vmid": "100",
    "newid": "900",
    "storage": "local",
    "poolid": "p1",
    "pool": "p1",
    "userid": "eve@pve",
    "path": "/vms/100",
    "realm": "pve",
    "groups": "g1",
    "id": "x1",
}


def identities():
    ids = Identities.fresh()
    ids.users["bob@pve"] = User("bob@pve")
    ids.users["eve@pve"] = User("eve@pve")
    ids.groups["g1"] = Group("g1", members={"eve@pve"})
    return ids


def parameters_of(method):
    names = re.findall(r"\{([\w-]+)\}", repr(method.permissions) + method.path)
    return PARAMETERS | {name: PARAMETERS.get(name, f"{name}1".replace("_", "-")) for name in names}


def needs(expression, parameters):
    """One set of (path, privilege) grants that satisfies the expression."""
    kind, *rest = expression
    if kind == "and":
        return [grant for part in rest for grant in needs(part, parameters)]
    if kind == "or":
        return needs(rest[-1] if rest[0] == ["userid-param", "self"] else rest[0], parameters)
    if kind == "perm":
        path = normalize(re.sub(r"\{([^}]+)\}", lambda match: parameters[match[1]], rest[0]))
        wanted = rest[1][:1] if "any" in rest[2:] else rest[1]
        return [(path, name) for name in wanted]
    if kind == "perm-modify":
        return [(parameters["path"], "Permissions.Modify")]
    if kind == "userid-group":
        return [("/access/groups", rest[0][0])]
    if kind == "userid-param":
        return [(f"/access/realm/{parameters['userid'].split('@')[1]}", rest[0])]
    raise AssertionError(kind)


def asker(method, who, grants=()):
    ids = identities()
    by_path = {}
    for path, name in grants:
        by_path.setdefault(path, set()).add(name)
    for number, (path, names) in enumerate(by_path.items()):
        ids.roles[f"r{number}"] = Role(f"r{number}", frozenset(names))
        ids.grant(path, "user", "bob@pve", f"r{number}", propagate=False)
    return Asker(Access(ids, lambda _: None), ids, who, parameters_of(method))


def status_of(method, who, grants=()):
    """200 when the check passes, else the status of the refusal."""
    try:
        compile_method(method)(asker(method, who, grants))
    except RefusedError as err:
        return err.status
    return 200


def test_exactly_the_wanted_privileges_pass_and_one_less_does_not():
    """Every method of the schema that has an expression: 400 of them."""
    wrong = []
    for method in CHECKED:
        expression = method.permissions["check"]
        grants = needs(expression, parameters_of(method))
        less = [[grant for grant in grants if grant != missing] for missing in grants] if expression[0] != "or" else []
        found = [status_of(method, Principal("bob@pve"), some) for some in (grants, [], *less)]
        if found != [200, 403] + [403] * len(less):
            wrong.append((method.verb, method.path, found))
    assert wrong == []
    assert len(CHECKED) > 400


def test_methods_without_permissions_are_for_root_in_person():
    for method in ROOT_ONLY:
        assert status_of(method, Principal(ROOT)) == 200
        assert status_of(method, Principal(ROOT, "token")) == 403
    with pytest.raises(RefusedError, match=r"user != root@pam"):
        compile_method(ROOT_ONLY[0])(asker(ROOT_ONLY[0], Principal("bob@pve")))


def test_words_of_refusals():
    start = compile_method(SCHEMA.methods["POST", "/nodes/{node}/qemu/{vmid}/status/start"])
    config = compile_method(SCHEMA.methods["PUT", "/nodes/{node}/lxc/{vmid}/config"])
    pools = SCHEMA.methods["POST", "/pools"]
    with pytest.raises(RefusedError, match=r"^Permission check failed \(/vms/100, VM.PowerMgmt\)$"):
        start(asker(SCHEMA.methods["POST", "/nodes/{node}/qemu/{vmid}/status/start"], Principal("bob@pve")))
    with pytest.raises(
        RefusedError, match=r"\(/vms/100, VM.Config.Disk\|VM.Config.CPU\|VM.Config.Memory\|VM.Config.Network\|VM.Config.Options\)"
    ):
        config(asker(SCHEMA.methods["PUT", "/nodes/{node}/lxc/{vmid}/config"], Principal("bob@pve")))
    bad = asker(pools, Principal("bob@pve"))
    bad.parameters["poolid"] = "bad pool"
    with pytest.raises(RefusedError, match=r"^Permission check failed \(, Pool.Allocate\)$"):
        compile_method(pools)(bad)


def test_open_methods():
    assert {f"{method.verb} {method.path}" for method in SCHEMA.methods.values() if open_to_world(method)} >= {
        "GET /access/domains",
        "POST /access/ticket",
    }
    assert not open_to_world(SCHEMA.methods["GET", "/version"])
