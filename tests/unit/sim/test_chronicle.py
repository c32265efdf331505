"""The journal of a node: what it says all the time, what happened, what scheduled and earlier tasks said; each once and in order."""

import pytest

from pveops.sim.state.journal import ERROR, INFO

DAY_S = 86400.0


def events(lab, node="pve1", back_s=14 * DAY_S, ahead_s=0.0):
    now_s = lab.cluster.now_s
    return lab.world.chronicle.events(lab.cluster.nodes[node], now_s - back_s, now_s + ahead_s)


def test_a_task_of_now_writes_its_first_and_last_word_once(lab):
    upid = lab.data("POST", "/nodes/pve1/qemu/101/snapshot", snapname="one")
    lab.finish(upid)
    told = [event for event in events(lab, back_s=600) if upid in event.message]
    assert [event.message.split(" ", 1)[1] for event in told] == [f"starting task {upid}", f"end task {upid} OK"]
    assert told[0].time_s < told[1].time_s
    lines = [row["t"] for row in lab.data("GET", "/nodes/pve1/syslog", limit=0)]
    assert [line for line in lines if upid in line] == [line for line in lab.data("GET", "/nodes/pve1/journal") if upid in line] != []


def test_the_past_is_told_too_and_nothing_twice(lab):
    found = events(lab)
    assert [event.time_s for event in found] == sorted(event.time_s for event in found)
    assert len(set(found)) == len(found)
    for task in lab.data("GET", "/nodes/pve1/tasks", limit=500):
        mine = [event.message for event in found if task["upid"] in event.message]
        assert mine[-1].endswith(f"end task {task['upid']} {task['status']}"), task
        assert len(mine) == 2 or task["starttime"] < lab.cluster.now_s - 13 * DAY_S


@pytest.mark.parametrize("seed", range(4))
def test_nobody_has_started_a_template(make_lab, seed):
    lab = make_lab(guests=8, seed=seed)
    templates = {str(guest.vmid) for guest in lab.cluster.guests.values() if guest.template}
    done = [task for name in lab.cluster.nodes for task in lab.world.engine.on(name)]
    assert len(done) > 20
    assert [task.upid for task in done if task.about in templates] == []


@pytest.mark.slow
def test_backups_say_how_each_guest_went(make_lab):
    lab = make_lab(guests=120)
    found = [event for name in lab.cluster.nodes for event in events(lab, name) if "Backup of VM" in event.message]
    failed = {event.message for event in found if event.severity == ERROR}
    finished = [event for event in found if event.message.startswith("INFO: Finished")]
    assert failed
    assert len(finished) > 20 * len(failed)
    logs = "\n".join(
        row["t"]
        for name in lab.cluster.nodes
        for task in lab.data("GET", f"/nodes/{name}/tasks", typefilter="vzdump", errors=1, limit=100)
        for row in lab.data("GET", f"/nodes/{name}/tasks/{task['upid']}/log", limit=0)
    )
    assert all(text in logs for text in failed)


def test_two_spans_side_by_side_are_one_span(lab):
    now_s, node = lab.cluster.now_s, lab.cluster.nodes["pve2"]
    whole = lab.world.chronicle.events(node, now_s - 2 * DAY_S, now_s)
    parts = [
        event for hour in range(48, 0, -1) for event in lab.world.chronicle.events(node, now_s - hour * 3600, now_s - (hour - 1) * 3600)
    ]
    assert parts == whole
    assert {event.severity for event in whole} >= {INFO}
