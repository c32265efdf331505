"""The past as telemetry would have told it: it ends where the present begins, and is the same each time."""

import json

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read

from pveops.base.errors import InputError
from pveops.sim.backfill import BackfillOptions, run
from pveops.sim.telemetry.figures import Fleet
from pveops.sim.telemetry.history import days, events, metrics
from pveops.sim.telemetry.web import node_families
from tests.unit.sim.telemetry.conftest import Told

DAY_S = 86400.0
HERE = {"job": "pve", "instance": "simulated"}


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items())), float(sample.timestamp)): sample.value
        for family in read(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def past(make_lab):
    lab = make_lab()
    now_s = lab.cluster.now_s
    (day,) = days(now_s, 1800 / DAY_S, 600)
    return lab, now_s, samples("".join(metrics(lab.world, day, all_cpus=False)))


def test_days_have_all_moments_once_and_end_at_midnight():
    end_s = 1_795_262_400.0
    found = list(days(end_s, 2.5, 300))
    assert [day.name for day in found] == ["2026-11-19", "2026-11-20", "2026-11-21"]
    times = np.concatenate([day.times for day in found])
    assert (np.diff(times) == 300).all()
    assert times[-1] == end_s
    assert len(times) == 2.5 * 288
    assert all(day.times[0] // DAY_S == day.times[-1] // DAY_S for day in found)


def test_the_past_of_guests_and_storages_ends_where_the_present_begins(past, pve_told):
    lab, now_s, found = past
    live = {(sample.name, tuple(sorted({**sample.labels, **HERE}.items()))): sample.value for sample in pve_told(lab).samples}
    then = {key[:2]: value for key, value in found.items() if key[2] == now_s and key[0].startswith("pve_")}
    assert len(then) > 20 * 13
    different = {
        key: (value, live[key])
        for key, value in then.items()
        if value != pytest.approx(live[key], abs=5 if "memory" in key[0] else 1e-6, rel=1e-12)
    }
    assert different == {}
    missing = {name for name, labels in live.keys() - then.keys() if dict(labels).get("id", "").startswith(("qemu", "lxc"))}
    deprecated = {"pve_network_transmit_bytes", "pve_network_receive_bytes", "pve_disk_write_bytes", "pve_disk_read_bytes"}
    assert missing <= deprecated | {"pve_lock_state", "pve_ha_state", "pve_onboot_status", "pve_not_backed_up_info"}


def test_the_past_of_nodes_ends_where_the_present_begins(past):
    lab, now_s, found = past
    for name, node in lab.cluster.nodes.items():
        told = Told(node_families(lab.world, node, Fleet(lab.world).now()[name]))
        place = {"job": "node", "instance": f"{name}:9100"}
        for sample in told.samples:
            if sample.labels.get("cpu", "0") != "0":
                continue
            if sample.name.startswith("smartmon_") and not sample.name.endswith(
                ("raw_value", "healthy", "info", "active", "enabled", "available")
            ):
                continue
            key = (sample.name, tuple(sorted({**sample.labels, **place}.items())), now_s)
            assert found[key] == pytest.approx(sample.value, rel=1e-9, abs=1e-6), key


def test_counters_only_grow_while_nothing_starts(past):
    _, _, found = past
    series = {}
    for (name, labels, moment), value in found.items():
        if name.endswith("_total"):
            series.setdefault((name, labels), []).append((moment, value))
    assert len(series) > 200
    for key, points in series.items():
        values = [value for _, value in sorted(points)]
        assert values == sorted(values), key


def test_the_same_seed_writes_the_same_bytes(tmp_path, capsys):
    for name in ("a", "b", "c"):
        options = BackfillOptions(
            out=tmp_path / name, days=0.05, end_s=1_795_262_400.0, guests=6, nodes=2, bulk=True, seed=7 if name == "c" else 20_261
        )
        assert run(options) == 0
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["bulk-2026-11-21.ndjson", "logs-2026-11-21.jsonl", "metrics-2026-11-21.om"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()
    assert (tmp_path / "a" / "metrics-2026-11-21.om").read_text().endswith("# EOF\n")
    said = [json.loads(line) for line in (tmp_path / "a" / "logs-2026-11-21.jsonl").read_text().splitlines()]
    assert [row["@timestamp"] for row in said] == sorted(row["@timestamp"] for row in said)
    assert f"{len(said):,} log lines" in capsys.readouterr().err


def test_log_lines_of_days_are_those_of_the_journal(lab):
    now_s = lab.cluster.now_s
    since_s, told = now_s - 1.5 * DAY_S, []
    for day in days(now_s, 1.5, 300):
        told += events(lab.world, day, since_s)
        since_s = float(day.times[-1])
    whole = [event for node in lab.cluster.nodes.values() for event in lab.world.chronicle.events(node, now_s - 1.5 * DAY_S, now_s)]
    assert sorted(told) == sorted(whole)


def test_what_cannot_be_is_a_clear_error(tmp_path, capsys):
    for options, text in (
        ({"days": 0.0}, "--days is 0 and must be from 0.01 to 90."),
        ({"step_s": 5}, "--step-s is 5 and must be from 10 to 3600."),
        ({"guests": 20_000}, "--guests is 20000 and must be from 3 to 10000."),
    ):
        with pytest.raises(InputError):
            BackfillOptions(out=tmp_path, **options).check()
        assert run(BackfillOptions(out=tmp_path, **options)) == 2
        assert capsys.readouterr().err.startswith(text)
    (tmp_path / "file").write_text("")
    assert run(BackfillOptions(out=tmp_path / "file", days=0.02, guests=3)) == 3
    assert "Cannot write into" in capsys.readouterr().err
