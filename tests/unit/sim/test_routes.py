"""Routes: every template finds itself, fixed parts win, encoded slashes part nothing."""

import re

import pytest

from pveops.sim.contract.routes import Routes
from pveops.sim.contract.schema import load

SCHEMA = load()
ROUTES = Routes(SCHEMA.paths)


def test_schema_is_whole():
    assert (len(SCHEMA.paths), len(SCHEMA.methods)) == (444, 675)


def test_every_template_finds_itself():
    for template in SCHEMA.paths:
        filled = re.sub(r"\{([^}]+)\}", lambda match: f"x-{match[1]}", template)
        assert ROUTES.match(filled) == (template, {name: f"x-{name}" for name in re.findall(r"\{([^}]+)\}", template)})


@pytest.mark.parametrize("path", ["/nodes/pve1/foo", "/versionx", "/pools/p2/child", "/nodes/pve1/qemu/101/../../pve2", ""])
def test_unknown_paths_find_nothing(path):
    assert ROUTES.match(path) is None


def test_slashes_at_the_end_and_twice_do_not_count():
    assert ROUTES.match("/nodes//pve1/qemu/100/") == ("/nodes/{node}/qemu/{vmid}", {"node": "pve1", "vmid": "100"})


def test_volume_ids_take_the_rest():
    template, values = ROUTES.match("/nodes/pve1/storage/local/content/local:backup/vzdump-qemu-100.vma.zst")
    assert (template, values["volume"]) == ("/nodes/{node}/storage/{storage}/content/{volume}", "local:backup/vzdump-qemu-100.vma.zst")


def test_an_encoded_slash_stays_inside_its_part():
    assert ROUTES.match("/cluster/firewall/ipset/ip1/10.0.0.0%2F24")[1] == {"name": "ip1", "cidr": "10.0.0.0/24"}
