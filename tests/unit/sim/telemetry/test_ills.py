"""What goes wrong is seen by whoever watches metrics, as the API shows it at the same moment."""

import pytest

from pveops.sim.telemetry.web import answers
from tests.unit.sim.faults.conftest import Ill


@pytest.fixture
def ill(lab, tmp_path):
    return Ill(lab, tmp_path)


def test_a_node_that_dies_cannot_be_scraped_and_its_guests_become_unknown(ill, pve_told):
    ill.add("node-down", node="pve2")
    ill.lab.wait(320)
    assert not answers(ill.lab.cluster.nodes["pve2"])
    told, rows = pve_told(ill.lab), {row["id"]: row for row in ill.resources("vm")}
    assert told.one("pve_up", id="node/pve2") == 0
    lost = [ident for ident, row in rows.items() if row["node"] == "pve2"]
    assert lost
    assert all(told.one("pve_up", id=ident) == 0 for ident in lost)
    assert not told.all("pve_cpu_usage_ratio", id="node/pve2")


def test_a_wrong_clock_a_waiting_kernel_a_flapping_card_and_a_failing_disk(ill, node_told):
    for kind in ("clock-skew", "pending-reboot", "flapping-nic", "failing-disk"):
        ill.add(kind, node="pve1")
    ill.lab.wait(24 * 3600 + 50)
    told, node = node_told(ill.lab), ill.lab.cluster.nodes["pve1"]
    assert told.one("node_timex_offset_seconds") == node.skew_s != 0
    assert told.one("node_reboot_required") == 1
    assert told.one("node_network_carrier_changes_total", device=node.flaps[0].iface) > 1000
    disk = node.wears[0].path
    shown = {row["name"]: row["raw"] for row in ill.lab.data("GET", "/nodes/pve1/disks/smart", disk=disk)["attributes"]}
    assert told.one("smartmon_reallocated_sector_ct_raw_value", disk=disk) == float(shown["Reallocated_Sector_Ct"]) > 0


def test_a_full_and_a_lost_storage(ill, pve_told):
    ill.add("storage-full", storage="local", node="pve1")
    ill.add("storage-offline", storage="pbs-01")
    ill.lab.wait(20)
    told, rows = pve_told(ill.lab), {row["id"]: row for row in ill.resources("storage")}
    assert told.one("pve_disk_usage_bytes", id="storage/pve1/local") == rows["storage/pve1/local"]["disk"]
    assert rows["storage/pve1/local"]["disk"] > 0.98 * rows["storage/pve1/local"]["maxdisk"]
    assert told.one("pve_up", id="storage/pve1/pbs-01") == 0
    assert told.one("pve_up", id="storage/pve1/local") == 1


def test_a_leak_and_a_noisy_guest_are_in_guests_and_nodes(ill, pve_told, node_told):
    before, cpu = pve_told(ill.lab), node_told(ill.lab)
    leak = ill.add("memory-leak", vmid=101, mib_per_hour=1024)
    noisy = ill.add("noisy-neighbour", vmid=100)
    assert leak.ident != noisy.ident
    ill.lab.wait(3600)
    after, later = pve_told(ill.lab), node_told(ill.lab)
    grown = after.one("pve_memory_usage_bytes", id="qemu/101") - before.one("pve_memory_usage_bytes", id="qemu/101")
    assert grown > 0.5 * 1024**3
    assert after.one("pve_cpu_usage_ratio", id="qemu/100") > 0.9
    busy_s = 3600 - sum(
        later.one("node_cpu_seconds_total", cpu="0", mode=mode) - cpu.one("node_cpu_seconds_total", cpu="0", mode=mode)
        for mode in ("idle", "iowait")
    )
    rows = ill.lab.data("GET", "/nodes/pve1/rrddata", timeframe="hour")
    assert busy_s / 3600 == pytest.approx(sum(row["cpu"] for row in rows) / len(rows), rel=0.02)
