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


def test_a_noisy_guest_keeps_the_disks_of_its_node_busy(make_lab, node_told, pve_told, tmp_path):
    quiet, ill = make_lab(), Ill(make_lab(), tmp_path)
    noisy = next(
        guest for guest in ill.lab.cluster.guests.values() if guest.running and "local-lvm" in str(guest.config) and guest.kind == "qemu"
    )
    ill.add("noisy-neighbour", vmid=noisy.vmid)
    labs = (quiet, ill.lab)
    before = [node_told(lab, noisy.node) for lab in labs]
    for lab in labs:
        lab.wait(600)
    after = [node_told(lab, noisy.node) for lab in labs]

    def grown(name, **labels):
        return [later.one(name, **labels) - told.one(name, **labels) for told, later in zip(before, after, strict=True)]

    def latency_s(verb):
        spent, done = grown(f"node_disk_{verb}_time_seconds_total", device="sda"), grown(f"node_disk_{verb}s_completed_total", device="sda")
        return [seconds / requests for seconds, requests in zip(spent, done, strict=True)]

    for verb in ("read", "write"):
        usual, now = latency_s(verb)
        assert now > 3 * usual
    usual, now = grown("node_pressure_io_waiting_seconds_total")
    assert now > usual + 150
    usual, now = grown("node_cpu_seconds_total", cpu="0", mode="iowait")
    rows = [lab.data("GET", f"/nodes/{noisy.node}/rrddata", timeframe="hour")[-10:] for lab in labs]
    live = [lab.data("GET", f"/nodes/{noisy.node}/status")["wait"] for lab in labs]
    assert now / 600 == pytest.approx(sum(row["iowait"] for row in rows[1]) / 10, rel=0.05)
    assert now > usual + 30
    assert live[1] > live[0] + 0.05
    kept = 1 - ill.lab.cluster.ills.noises[0].lost_fraction
    told = [pve_told(lab) for lab in labs]
    for guest in ill.lab.cluster.guests_on(noisy.node):
        if guest.running and guest is not noisy:
            usual, now = (one.one("pve_cpu_usage_ratio", id=guest.ident) for one in told)
            assert now == pytest.approx(kept * usual), guest.ident
