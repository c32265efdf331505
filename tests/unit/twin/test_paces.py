"""What whole seconds of task lists tell about lengths."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.twin.paces import USUAL_BYTES_S, Paces

BOOT_S = 1_700_000_000.37


def task(start_s, length_s, *, kind="qmstart", vmid=101, status="OK", node="pve1", ticks=True, boot_s=BOOT_S):
    return {
        "upid": f"{start_s}", "node": node, "type": kind, "id": str(vmid), "status": status, "starttime": int(start_s), "endtime": int(start_s + length_s),
        "pstart": int((start_s - boot_s) * 100) if ticks else 0,
    }  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    length_s=st.floats(0.5, 30),
    starts=st.lists(st.floats(BOOT_S + 100, BOOT_S + 1e6), min_size=12, max_size=30),
    boot_s=st.floats(1.69e9, BOOT_S),
)
def test_a_length_is_known_to_well_under_a_second(length_s, starts, boot_s):
    rows = [task(start_s, length_s, boot_s=boot_s) for start_s in starts]
    pace = Paces(rows, {101: "qemu"}, {}).of(101, "start")
    assert pace.own == len(rows)
    assert abs(pace.value - length_s) <= 1.05  # whatever the fractions: never worse than whole seconds
    spread = sorted(start_s % 1 for start_s in starts)
    gaps = [high - low for low, high in zip(spread, [*spread[1:], spread[0] + 1], strict=True)]
    assert abs(pace.value - length_s) <= max(gaps) + 0.1


def test_evenly_spread_starts_tell_a_length_to_a_tenth():
    rows = [task(BOOT_S + 1000.0 * number + number / 10, 1.17) for number in range(10)]
    assert Paces(rows, {101: "qemu"}, {}).of(101, "start").value == pytest.approx(1.17, abs=0.1)
    assert Paces([task(BOOT_S + 50, 1.17, ticks=False)], {101: "qemu"}, {}).of(101, "start").value == pytest.approx(1.17, abs=1.0)


def test_failures_running_tasks_and_other_guests_do_not_count():
    rows = [
        task(BOOT_S + 10, 90, status="got timeout"),
        task(BOOT_S + 20, 80, vmid=102),
        {**task(BOOT_S, 5), "endtime": None},
        task(BOOT_S + 30, 70, vmid=""),
    ]
    paces = Paces(rows, {101: "qemu", 102: "lxc"}, {})
    assert (paces.of(101, "start").own, paces.of(101, "start").others) == (0, 0)


def test_others_of_its_kind_stand_in_and_warnings_count_as_done():
    rows = [task(BOOT_S + 10 * number, 4.0, vmid=200 + number, status="WARNINGS: 1") for number in range(5)]
    pace = Paces(rows, {101: "qemu", **dict.fromkeys(range(200, 205), "qemu")}, {}).of(101, "start")
    assert (pace.own, pace.others) == (0, 5)
    assert pace.value == pytest.approx(4.0, abs=0.6)


def test_a_reboot_tells_how_long_the_shutdown_takes():
    rows = [task(BOOT_S + 100.0 * number + number / 8, 9.0, kind="qmreboot") for number in range(8)]
    rows += [task(BOOT_S + 9000 + 100.0 * number + number / 8, 2.0) for number in range(8)]
    assert Paces(rows, {101: "qemu"}, {}).of(101, "shutdown").value == pytest.approx(7.0, abs=0.3)


def test_what_the_network_carried_stands_in_logs_of_migrations():
    lines = [
        "starting migration",
        *(f"2026-11-21 12:00:0{number} migration active, transferred {number} GiB of 8.0 GiB VM-state, 1.5 GiB/s" for number in range(4)),
    ]
    paces = Paces(
        [],
        {101: "qemu", 102: "qemu"},
        {"UPID:pve1:1:2:3:qmigrate:101:root@pam:": lines, "UPID:pve1:1:2:4:qmigrate:103:root@pam:": ["no rate"]},
    )
    assert (paces.migration(101).value, paces.migration(101).own) == (1.5 * 1024**3, 1)
    assert (paces.migration(102).value, paces.migration(102).others) == (1.5 * 1024**3, 1)
    assert Paces([], {}, {}).migration(101).value == USUAL_BYTES_S
