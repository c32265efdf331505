"""The room itself: its direction, what it ships, what it counts."""

import ast
import json
import zlib
from importlib import resources
from pathlib import Path

import pytest

from pveops.base.errors import ConfigError, InputError
from pveops.sim import certs
from pveops.sim.contract import coverage
from pveops.sim.contract.compact import compact
from pveops.sim.contract.coverage import entries
from pveops.sim.contract.schema import DATA_FILE, load
from pveops.sim.methods.table import drop_empty
from pveops.sim.props import read_props, size_bytes, size_text, split_list, write_props
from pveops.sim.reqlog import RequestLog
from pveops.sim.seed.describe import describe
from pveops.sim.serve import ServeOptions

ROOM = Path(str(resources.files("pveops.sim")))
MODULES = sorted(path.relative_to(ROOM).as_posix() for path in ROOM.rglob("*.py"))
LAYERS = [
    "errors clock calendar certs listen firewall_words privileges props release",
    "state",
    "physics",
    "tasks",
    "seed",
    "world",
    "methods",
    "contract",
    "faults",
    "control reqlog telemetry",
    "server doors",
    "serve",
    "backfill",
    "__main__",
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}


def imports_of(path):
    for node in ast.walk(ast.parse((ROOM / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pveops"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module in ("pveops.sim", "pveops"))


@pytest.mark.parametrize("path", [path for path in MODULES if path != "__init__.py"])
def test_imports_go_down_only(path):
    own = RANK[path.split("/")[0].removesuffix(".py")]
    for name in imports_of(path):
        if name.startswith("pveops.sim."):
            assert RANK[name.split(".")[2]] <= own, f"{path} imports {name}"
        else:
            assert name.split(".")[1:2] == ["base"] or name == "pveops.sim", f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES)
def test_modules_are_small_and_read_no_recording(path):
    text = (ROOM / path).read_text()
    assert len(text.splitlines()) <= 450
    assert "transcript" not in text
    assert "truth-9" not in text


def test_the_shipped_schema_is_compact_and_whole():
    data = resources.files("pveops.sim").joinpath("data", DATA_FILE).read_bytes()
    assert len(data) < 60_000
    assert compact(zlib.decompress(data)) == data
    assert len(json.loads(zlib.decompress(data))["paths"]) == 444


def test_coverage_counts_every_method_once():
    counts = coverage()
    assert counts.total == 675 == counts.behaves + counts.reads + counts.refused
    assert counts.answered >= 200
    assert sum(sum(area.values()) for area in counts.areas.values()) == 675


def test_every_handler_answers_a_method_that_exists():
    assert entries().keys() <= load().methods.keys()


@pytest.mark.parametrize(("nodes", "guests"), [(1, 3), (3, 40), (12, 300)])
def test_generated_clusters_have_what_demos_need(nodes, guests):
    found = describe(nodes=nodes, guests=guests, seed=5, start_s=1.8e9)
    assert found == describe(nodes=nodes, guests=guests, seed=5, start_s=1.8e9)
    json.dumps(found)
    by_id = {guest["vmid"]: guest for guest in found["guests"]}
    assert len(by_id) == guests
    assert by_id[100]["config"]["name"] == "fw-edge"
    web = by_id[101]
    assert (web["config"]["name"], web["node"], web["running"], web["type"]) == ("web-1", "pve1", True, "qemu")
    assert web["config"]["scsi0"].startswith("ceph-vm:")
    assert by_id[102]["config"]["template"] == 1
    if guests >= 40:
        assert any(guest.get("snapshots") for guest in by_id.values())
        assert any(guest.get("pending") for guest in by_id.values())
        assert sum(not guest["running"] for guest in by_id.values()) >= 3
        names = [guest["config"].get("name") or guest["config"].get("hostname") for guest in by_id.values()]
        assert len(names) == len(set(names))
    for node in found["nodes"]:
        used = sum(int(guest["config"]["memory"]) for guest in found["guests"] if guest["node"] == node["name"] and guest["running"])
        assert used * 1024**2 < node["memory"]


def test_another_seed_is_another_cluster():
    assert describe(nodes=3, guests=20, seed=1, start_s=1.8e9) != describe(nodes=3, guests=20, seed=2, start_s=1.8e9)


@pytest.mark.parametrize(
    ("numbers", "name"),
    [
        ({"nodes": 0}, "--nodes"),
        ({"guests": 2}, "--guests"),
        ({"port": 70000}, "--port"),
        ({"speed": 0}, "--speed"),
        ({"latency_ms": -1}, "--latency-ms"),
    ],
)
def test_numbers_that_cannot_be(tmp_path, numbers, name):
    with pytest.raises(InputError, match=name):
        ServeOptions(info=tmp_path / "info", **numbers).check()


def test_the_request_log_hides_secrets_and_is_there_at_once(tmp_path):
    path = tmp_path / "log"
    log = RequestLog(path)
    seq = log.received("POST", "/access/ticket", {"username": "root@pam", "password": "hunter2"}, "root@pam")
    first = json.loads(path.read_text())
    assert (first["seq"], first["phase"], first["method"], first["user"]) == (seq, "in", "POST", "root@pam")
    assert "hunter2" not in path.read_text()
    log.answered(seq, 200, 1.234)
    assert json.loads(path.read_text().splitlines()[1]) | {"t": ""} == {"seq": seq, "phase": "out", "t": "", "status": 200, "ms": 1.23}
    log.close()


def test_a_request_log_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="Cannot write the request log"):
        RequestLog(tmp_path / "file" / "log")


def test_the_authority_is_used_again(tmp_path):
    first = certs.Desk(tmp_path, ["localhost"], ["127.0.0.1"]).own
    authority = first.ca.read_bytes()
    second = certs.Desk(tmp_path, ["localhost"], ["127.0.0.1"]).own
    assert second.ca.read_bytes() == authority
    assert first.fingerprint != second.fingerprint
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    (tmp_path / "ca.pem").write_text("junk")
    with pytest.raises(ConfigError, match="cannot be read"):
        certs.Desk(tmp_path, ["localhost"], ["127.0.0.1"])


def test_property_strings_and_sizes():
    assert read_props("local:1,format=qcow2", "file") == {"file": "local:1", "format": "qcow2"}
    assert write_props({"file": "local:1", "size": "8G", "format": "raw"}, "file") == "local:1,format=raw,size=8G"
    assert split_list("a, b;c d\0e") == ["a", "b", "c", "d", "e"]
    assert [size_bytes(text) for text in ("32G", "512M", "1.5K", "7")] == [32 * 1024**3, 512 * 1024**2, 1536, 7]
    assert [size_text(size) for size in (32 * 1024**3, 528 * 1024**2, 7)] == ["32G", "528M", "7"]
    with pytest.raises(ValueError, match="no disk size"):
        size_bytes("big")
    assert drop_empty({"a": None, "b": "", "c": 0}) == {"c": 0}
