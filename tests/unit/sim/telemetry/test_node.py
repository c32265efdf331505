"""A node in the names of the node exporter: real names, and the truth of the API at the same moment."""

from pathlib import Path

import numpy as np
import pytest

from pveops.sim.state.ills import Flap, Wear
from pveops.sim.telemetry.figures import Fleet, through_time

NAMES = dict(line.split() for line in Path("tests/data/telemetry/node-names.txt").read_text().splitlines() if not line.startswith("#"))


def test_every_name_is_one_of_the_real_exporters_with_its_kind(lab, node_told):
    told = node_told(lab)
    assert {name: kind for name, kind in told.kinds.items() if NAMES.get(name) != kind} == {}
    assert len(told.kinds) > 70


def test_load_memory_and_root_are_those_of_the_node_status(lab, node_told):
    for name in lab.cluster.nodes:
        told, status = node_told(lab, name), lab.data("GET", f"/nodes/{name}/status")
        assert told.one("node_memory_MemTotal_bytes") - told.one("node_memory_MemAvailable_bytes") == status["memory"]["used"]
        assert [f"{told.one(f'node_load{minutes}'):.2f}" for minutes in (1, 5, 15)] == status["loadavg"]
        assert told.one("node_filesystem_size_bytes", mountpoint="/") == status["rootfs"]["total"]
        assert told.one("node_filesystem_avail_bytes", mountpoint="/") == status["rootfs"]["avail"]
        assert told.one("node_memory_SwapTotal_bytes") - told.one("node_memory_SwapFree_bytes") == status["swap"]["used"]
        assert told.one("node_time_seconds") - told.one("node_boot_time_seconds") == pytest.approx(status["uptime"], abs=1)
        assert told.one("node_uname_info", nodename=name, release=status["current-kernel"]["release"]) == 1


def test_counters_grow_by_what_round_robin_data_say(lab, node_told):
    lab.wait(-lab.cluster.now_s % 60)
    before = node_told(lab)
    lab.wait(60)
    after = node_told(lab)
    row = lab.data("GET", "/nodes/pve1/rrddata", timeframe="hour")[-1]
    assert row["time"] == lab.cluster.now_s

    def grown(name, **labels):
        return sum(after.all(name, **labels)) - sum(before.all(name, **labels))

    cpus = lab.cluster.nodes["pve1"].cpus
    idle, waiting = grown("node_cpu_seconds_total", mode="idle"), grown("node_cpu_seconds_total", mode="iowait")
    total = grown("node_cpu_seconds_total")
    assert total == pytest.approx(60 * cpus)
    assert (total - idle - waiting) / total == pytest.approx(row["cpu"], rel=1e-6)
    assert waiting / total == pytest.approx(row["iowait"], rel=1e-6)
    assert grown("node_network_receive_bytes_total", device="bond0") == pytest.approx(row["netin"] * 60, abs=2)
    assert grown("node_network_transmit_bytes_total", device="eno1") == pytest.approx(row["netout"] * 30, abs=2)


def test_counters_never_go_back_whatever_happens_to_guests(lab, node_told):
    before = node_told(lab)
    lab.run("POST", "/nodes/pve1/qemu/101/migrate", target="pve2", online=1)
    lab.run("POST", "/nodes/pve1/qemu/100/status/stop")
    after = node_told(lab)
    later = {(sample.name, str(sample.labels)): sample.value for sample in after.samples}
    back = [sample for sample in before.samples if sample.name.endswith("_total") and later[sample.name, str(sample.labels)] < sample.value]
    assert back == []


def test_history_ends_where_the_present_begins(lab):
    now_s = lab.cluster.now_s
    present = Fleet(lab.world).now()
    for name, node in lab.cluster.nodes.items():
        past = through_time(lab.cluster, lab.world.load, node, np.array([now_s - 7200, now_s - 60, now_s]))
        for field in present[name]._fields:
            now, then = getattr(present[name], field), getattr(past, field)
            if field == "load":
                now, then = np.array(now)[:, -1], np.array(then)[:, -1]
            assert np.ravel(then)[-1] == pytest.approx(np.ravel(now)[-1], rel=1e-9), field


def test_one_node_alone_is_what_it_is_among_all(lab):
    fleet = Fleet(lab.world)
    everybody = fleet.now()
    for name in lab.cluster.nodes:
        (alone,) = fleet.now(name).values()
        assert [np.ravel(value).tolist() for value in alone] == [np.ravel(value).tolist() for value in everybody[name]]


def test_smart_says_what_the_api_says(lab, node_told):
    node = lab.cluster.nodes["pve1"]
    node.wears.append(Wear(since_s=lab.cluster.now_s, path="/dev/sdb", per_hour=50))
    lab.wait(7200)
    told = node_told(lab)
    rows = {row["name"]: row for row in lab.data("GET", "/nodes/pve1/disks/smart", disk="/dev/sdb")["attributes"]}
    for name, row in rows.items():
        assert told.one(f"smartmon_{name.lower()}_raw_value", disk="/dev/sdb") == float(row["raw"])
        assert told.one(f"smartmon_{name.lower()}_value", disk="/dev/sdb") == row["value"]
    assert told.one("smartmon_reallocated_sector_ct_raw_value", disk="/dev/sdb") == 100
    assert told.one("smartmon_reallocated_sector_ct_raw_value", disk="/dev/sda") == 0
    assert set(told.all("smartmon_device_smart_healthy")) == {1}


def test_a_card_that_flaps_and_a_clock_that_is_ahead_are_seen(lab, node_told):
    node = lab.cluster.nodes["pve1"]
    node.flaps.append(Flap(since_s=lab.cluster.now_s, iface="eno2", period_s=20.0))
    node.skew_s = 3.5
    lab.wait(55)
    told = node_told(lab)
    assert told.one("node_network_carrier", device="eno2") == 0
    assert told.one("node_network_up", device="eno1") == 1
    assert told.one("node_network_carrier_changes_total", device="eno2") == 2 + node.flaps[0].changes(lab.cluster.now_s)
    assert told.one("node_network_carrier_changes_total", device="eno1") == 2
    assert told.one("node_time_seconds") == pytest.approx(lab.cluster.now_s + 3.5, abs=0.01)
    assert told.one("node_timex_offset_seconds") == 3.5
    assert told.one("node_timex_sync_status") == 0


def test_a_busy_node_is_warmer_turns_its_fans_faster_and_takes_more_power(lab):
    from pveops.sim.telemetry.machines import families

    node, figures = lab.cluster.nodes["pve1"], Fleet(lab.world).now()["pve1"]

    def read(warm):
        found = families(lab.cluster, node, figures._replace(warm=np.array([warm])))
        return {family.name: [float(np.ravel(value)[-1]) for _, value in family.samples] for family in found}

    quiet, busy = read(0.05), read(0.95)
    for name in ("node_hwmon_temp_celsius", "node_hwmon_fan_rpm", "node_hwmon_power_watt"):
        assert busy[name][0] > quiet[name][0] * 1.1, name
    assert busy["node_hwmon_temp_crit_celsius"] == quiet["node_hwmon_temp_crit_celsius"]
