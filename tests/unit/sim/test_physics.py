"""Physics as functions of time: heat, fans, power, disks, how long things take, how storages fill."""

import itertools

import pytest

from pveops.sim.physics import hardware, machine, transfer
from pveops.sim.physics.journal import usual
from pveops.sim.tasks import node_life

GIB = 1024**3
HOUR_S = 3600


@pytest.fixture
def node(lab):
    return lab.cluster.nodes["pve1"]


def test_busier_nodes_are_warmer_louder_and_take_more_power(lab, node):
    seed, now_s = lab.cluster.seed, lab.cluster.now_s
    found = [machine.heat(seed, node, cpu, now_s) for cpu in (0.0, 0.3, 0.6, 1.0)]
    for calm, busy in itertools.pairwise(found):
        assert calm.inlet == busy.inlet
        assert max(calm.packages) < max(busy.packages)
        assert max(calm.fans) <= max(busy.fans)
        assert calm.watt < busy.watt
    assert found[0].fans < found[-1].fans
    assert max(found[-1].packages) < machine.CRITICAL_CELSIUS
    assert len(found[0].packages) == node.sockets


def test_energy_is_the_sum_of_power(node):
    watt = machine.watts(node, 0.5) - machine.watts(node, 0.0)
    assert machine.joules(node, 0.5 * node.cpus * 60, 60) - machine.joules(node, 0.0, 60) == pytest.approx(watt * 60)


def test_the_air_follows_the_day_and_stays_within_reason(lab, node):
    day = [machine.inlet_celsius(lab.cluster.seed, node, lab.cluster.now_s + hour * HOUR_S) for hour in range(24)]
    assert 15 < min(day) < max(day) < 28
    assert max(day) - min(day) > 1


def test_counters_of_disks_grow_and_never_go_back(lab, node):
    disk = hardware.disks(lab.cluster.seed, node)[2]
    seen = [hardware.counters(lab.cluster.seed, node, disk, lab.cluster.now_s + day * 86400) for day in range(0, 400, 40)]
    for before, after in itertools.pairwise(seen):
        assert after.hours == before.hours + 40 * 24
        assert after.lbas_written > before.lbas_written
        assert after.wearout <= before.wearout
        assert after.reallocated == before.reallocated == 0


def test_migrations_take_as_long_as_memory_and_network_say():
    def seconds(memory=8 * GIB, busy=0.1, bandwidth=1e9):
        return transfer.live_migration(memory, busy, bandwidth, 1, 101).seconds

    assert seconds(memory=16 * GIB) == pytest.approx(2 * seconds(), rel=0.15)
    assert seconds(bandwidth=2.5e8) == pytest.approx(4 * seconds(), rel=0.25)
    assert seconds(busy=0.9) > seconds(busy=0.0)


def test_backups_take_as_long_as_there_is_to_read():
    whole = transfer.backup_seconds(100 * GIB, incremental=False)
    assert whole == pytest.approx(2 * transfer.backup_seconds(50 * GIB, incremental=False), rel=0.05)
    assert transfer.backup_seconds(100 * GIB, incremental=True) < whole / 5


def test_storages_fill_with_time_and_with_what_is_put_there(lab):
    def used(name):
        return lab.data("GET", f"/nodes/pve1/storage/{name}/status")["used"]

    first = {name: used(name) for name in ("local", "ceph-vm", "pbs-01")}
    guest = next(guest for guest in lab.cluster.guests_on("pve1") if guest.running)
    assert lab.run("POST", "/nodes/pve1/vzdump", vmid=guest.vmid, storage="local") == "OK"
    assert used("local") > first["local"] + GIB // 8
    lab.wait(7 * 86400)
    assert used("ceph-vm") > first["ceph-vm"]
    assert used("pbs-01") > first["pbs-01"]


def test_views_of_the_whole_cluster_are_up_to_ten_seconds_old(lab):
    guest = next(guest for guest in lab.cluster.guests_on("pve1") if guest.running and guest.kind == "qemu")

    def shown():
        return next(row for row in lab.data("GET", "/cluster/resources", type="vm") if row["vmid"] == guest.vmid)

    lab.wait(10 - lab.cluster.now_s % 10 + 1)
    assert lab.run("POST", f"/nodes/pve1/qemu/{guest.vmid}/status/stop") == "OK"
    assert (guest.running, shown()["status"]) == (False, "running")
    lab.wait(10)
    assert shown()["status"] == "stopped"


def test_a_node_without_power_writes_no_line(lab):
    node = lab.cluster.nodes["pve2"]
    down_s = lab.cluster.now_s
    node_life.lose_power(lab.world.room, node)
    lab.wait(1200)
    node_life.boot(lab.world.room, node)
    lab.wait(1200)
    assert not usual(lab.cluster, node, down_s, down_s + 1200)
    assert usual(lab.cluster, node, down_s + 1400, down_s + 2400)
    assert usual(lab.cluster, node, down_s - 1200, down_s)
