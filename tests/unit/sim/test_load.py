"""Load curves: closed integrals, the same numbers for everybody, RRD from the same curves."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.sim.physics.broadcast import Broadcast
from pveops.sim.physics.crowd import Hold
from pveops.sim.physics.load import Load
from pveops.sim.physics.overlay import Bend
from pveops.sim.physics.rrd import SPANS, guest_rows, node_rows, storage_rows
from pveops.sim.state.guest import Guest

SEED, START_S = 20_261, 1_795_262_400.0
INDEX = np.array([0])


def guest(vmid=101, profile="web"):
    found = Guest(vmid, "qemu", "pve1", {"memory": "4096", "cores": 4, "scsi0": "s:vm-1-disk-0,size=8G"})
    found.profile = profile
    return found


def curve(vmid=101, profile="web"):
    load = Load(SEED, START_S)
    load.add(guest(vmid, profile))
    return load


@settings(max_examples=40)
@given(st.integers(100, 9999), st.sampled_from(["web", "db", "ci", "idle", "net"]), st.floats(0, 30 * 86400))
def test_the_integral_is_the_integral(vmid, profile, offset):
    load = curve(vmid, profile)
    begin = START_S + offset
    moments = np.linspace(begin, begin + 1800, 20_001)
    index = np.zeros(moments.shape, np.int64)
    measured = np.trapezoid(load.shape(index, moments), moments)
    exact = load.integral(INDEX, np.array([begin + 1800.0]))[0] - load.integral(INDEX, np.array([begin]))[0]
    assert exact == pytest.approx(measured, rel=2e-3)


@settings(max_examples=12, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 900), st.floats(0, 900))
def test_the_integral_is_the_integral_of_what_is_left_when_others_take_the_rest(first, second, after_s, lasts_s):
    load = curve()
    begin = START_S + 60
    load.overlay.bends.append(Bend(since_s=begin + 200, until_s=begin + 1300, index=0, factor=0.5, level=2.0, swing=0.5))
    load.overlay.hold({0: Hold(first, 0.4, 1 - first)}, begin + after_s)
    load.overlay.hold({0: Hold(second), 5: Hold(0.1)}, begin + after_s + lasts_s / 2)
    load.overlay.hold({}, begin + after_s + lasts_s)
    moments = np.linspace(begin, begin + 2000, 10_001)
    index = np.zeros(moments.shape, np.int64)
    shape = load.shape(index, moments)
    counted = load.integral(index, moments) - load.integral(INDEX, np.array([begin]))[0]
    assert counted[-1] == pytest.approx(np.trapezoid(shape, moments), rel=4e-3)
    assert np.diff(counted).min() >= -1e-6
    lost, waits = load.overlay.holds(index, moments)
    inside = (moments >= begin + after_s) & (moments < begin + after_s + lasts_s)
    assert not lost[~inside].any()
    assert set(np.unique(waits)) <= {0.0, 0.4}


@settings(max_examples=40)
@given(st.integers(100, 9999), st.floats(0, 400 * 86400))
def test_load_is_never_negative_and_cpu_never_above_all(vmid, offset):
    load = curve(vmid, "ci")
    moments = START_S + offset + np.arange(0, 86400, 97.0)
    index = np.zeros(moments.shape, np.int64)
    shape = load.shape(index, moments)
    assert shape.min() > 0
    assert (shape * load.parameter("cpu", index)).max() <= 1.0


def test_a_curve_depends_on_the_guest_only_not_on_who_else_exists():
    alone = curve(101)
    crowd = Load(SEED, START_S)
    guests = [guest(vmid) for vmid in range(100, 260)]
    for one in guests:
        crowd.add(one)
    crowd.remove(guests[7])
    index = np.array([guests[1].index])
    assert crowd.shape(index, np.array([START_S])) == alone.shape(INDEX, np.array([START_S]))


def test_counters_grow_and_start_at_zero():
    load = Load(SEED, START_S)
    one = guest()
    load.add(one)
    one.start(START_S, 1)
    before = load.samples([one], START_S, [START_S])[0]
    seen = [load.samples([one], START_S + seconds, [START_S])[0] for seconds in (10, 100, 5000)]
    assert (before.netin, before.uptime) == (0, 0)
    assert [sample.netin for sample in seen] == sorted(sample.netin for sample in seen)
    assert seen[0].netin > 0
    assert seen[-1].mem > seen[0].mem


def test_rrd_has_the_steps_of_version_9(lab):
    one, node = lab.cluster.guests[101], lab.cluster.nodes["pve1"]
    for name, rows, step in [
        ("hour", 60, 60),
        ("day", 1440, 60),
        ("week", 336, 1800),
        ("month", 1440, 1800),
        ("year", 1440, 21600),
        ("decade", 570, 604800),
    ]:
        found = guest_rows(lab.world.load, one, node, SPANS[name], lab.cluster.now_s, peak=False)
        times = [row["time"] for row in found]
        assert len(times) == rows
        assert {later - earlier for earlier, later in pairwise(times)} == {step}
        assert times[-1] == lab.cluster.now_s // step * step
    assert set(found[0]) == {"time"}, "nothing is known from before the guest existed"


def test_rrd_averages_add_up_to_the_counters(lab):
    one, node = lab.cluster.guests[101], lab.cluster.nodes["pve1"]
    rows = guest_rows(lab.world.load, one, node, SPANS["hour"], lab.cluster.now_s, peak=False)
    ends = [lab.world.load.samples([one], row["time"], [one.since_s])[0].netin for row in (rows[0], rows[-1])]
    assert sum(row["netin"] * 60 for row in rows[1:]) == pytest.approx(ends[1] - ends[0], rel=1e-6)


def test_peaks_are_not_below_averages(lab):
    one, node = lab.cluster.guests[101], lab.cluster.nodes["pve1"]
    average, peak = (guest_rows(lab.world.load, one, node, SPANS["day"], lab.cluster.now_s, peak=flag) for flag in (False, True))
    higher = sum(high["cpu"] >= low["cpu"] * 0.97 for low, high in zip(average, peak, strict=True))
    assert higher > 1400


def test_a_stopped_guest_shows_only_its_limits(lab):
    one = lab.cluster.guests[101]
    lab.run("POST", "/nodes/pve1/qemu/101/status/stop")
    lab.wait(600)
    last = guest_rows(lab.world.load, one, lab.cluster.nodes["pve1"], SPANS["hour"], lab.cluster.now_s, peak=False)[-1]
    assert set(last) == {"time", "maxcpu", "maxmem", "maxdisk", "disk"}


def test_node_data_follow_a_guest_that_moves(lab):
    lab.run("POST", "/nodes/pve1/qemu/101/migrate", target="pve2", online=1)
    lab.wait(7200)

    def cpu(node, back_s):
        rows = node_rows(
            lab.cluster, lab.world.load, lab.world.space, lab.cluster.nodes[node], SPANS["day"], lab.cluster.now_s - back_s, peak=False
        )
        return rows[-1]["netout"]

    own = guest_rows(lab.world.load, lab.cluster.guests[101], lab.cluster.nodes["pve2"], SPANS["day"], lab.cluster.now_s, peak=False)
    assert cpu("pve2", 0) - cpu("pve2", 7500) == pytest.approx(own[-1]["netout"], rel=0.9)
    assert cpu("pve2", 0) > own[-1]["netout"]


def test_storage_data_grow(lab):
    rows = storage_rows(lab.world.space, lab.cluster.storages["pbs-01"], lab.cluster.nodes["pve1"], SPANS["month"], lab.cluster.now_s)
    assert rows[0]["used"] < rows[-1]["used"] < rows[-1]["total"]


def test_a_broadcast_that_goes_on_from_the_last_one_says_the_same(lab):
    cluster, load = lab.cluster, lab.world.load
    last = Broadcast(cluster, load)
    for change in (
        lambda: None,
        lambda: lab.run("POST", "/nodes/pve1/qemu/101/status/reset"),
        lambda: lab.run("POST", "/nodes/pve1/qemu/101/status/stop"),
    ):
        change()
        lab.wait(25)
        following, fresh = Broadcast(cluster, load, last), Broadcast(cluster, load)
        assert following.samples == fresh.samples
        assert following.nodes == fresh.nodes
        last = following
    assert 101 not in last.samples
