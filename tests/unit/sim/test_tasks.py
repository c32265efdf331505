"""The task engine: steps happen at their moment, in order, whenever somebody looks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.sim.errors import RefusedError, failed
from pveops.sim.state.cluster import Cluster
from pveops.sim.state.identity import Principal
from pveops.sim.state.node import Node
from pveops.sim.tasks.engine import Engine
from pveops.sim.tasks.task import Task, check_upid

WHO = Principal("bob@pve", "tk")


def engine():
    cluster = Cluster("lab", 1, 1000.0)
    cluster.nodes["pve1"] = Node("pve1", 1, "192.0.2.1", boot_s=0.0)
    return cluster, Engine(cluster)


def steps(*waits, end=None):
    def work(task):
        for wait in waits:
            task.say(f"waiting {wait}")
            yield wait
        if end:
            raise end

    return work


def test_a_task_runs_through_time_and_ends_ok():
    cluster, runner = engine()
    task = runner.spawn("pve1", "qmstart", "101", WHO, steps(2.0, 3.0))
    assert task.running
    assert task.upid == f"UPID:pve1:{task.pid:08X}:{100000:08X}:{1000:08X}:qmstart:101:bob@pve!tk:"
    cluster.advance(1004.9)
    assert task.running
    cluster.advance(1010.0)
    assert (task.status, task.end_s) == ("OK", pytest.approx(1005.04))
    assert task.log() == ["waiting 2.0", "waiting 3.0", "TASK OK"]


def test_refusals_end_a_task_with_their_words():
    cluster, runner = engine()
    task = runner.spawn("pve1", "qmstart", "101", WHO, steps(1.0, end=failed("VM 101 already running")))
    cluster.advance(2000.0)
    assert task.status == "VM 101 already running"
    assert task.log()[-1] == "TASK ERROR: VM 101 already running"
    assert task.verdict == "error"


def test_warnings_are_no_failure():
    cluster, runner = engine()

    def work(task):
        task.warn("odd")
        yield 1.0

    task = runner.spawn("pve1", "vzdump", "", WHO, work)
    cluster.advance(2000.0)
    assert (task.status, task.verdict, task.log()[-1]) == ("WARNINGS: 1", "warning", "TASK WARNINGS: 1")


def test_stopping_runs_the_clean_up_and_nothing_after_it():
    cluster, runner = engine()
    done = []

    def work(task):
        try:
            yield 50.0
            done.append("work")
        finally:
            done.append("clean")

    task = runner.spawn("pve1", "qmigrate", "101", WHO, work)
    cluster.advance(1010.0)
    runner.stop(task)
    cluster.advance(2000.0)
    assert done == ["clean"]
    assert task.status == "interrupted by signal"
    runner.stop(task)
    assert task.end_s == 1010.0


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 50), st.lists(st.floats(0.1, 20), min_size=1, max_size=4)), min_size=1, max_size=5),
    st.lists(st.floats(1000, 1200), max_size=12),
)
def test_it_does_not_matter_when_somebody_looks(tasks, looks):
    def history(moments):
        cluster, runner = engine()
        events = []

        def work(name, waits):
            def body(task):
                for wait in waits:
                    events.append((name, round(cluster.now_s, 6)))
                    yield wait

            return body

        for number, (start, waits) in enumerate(tasks):
            cluster.agenda.add(
                1000 + start, lambda number=number, waits=waits: runner.spawn("pve1", "x", str(number), WHO, work(number, waits))
            )
        for moment in sorted(moments):
            cluster.advance(moment)
        cluster.advance(2000.0)
        return events, [(task.status, task.end_s) for task in runner.on("pve1")]

    assert history(looks) == history([])


@pytest.mark.parametrize(
    "text", ["garbage", "UPID:pve1:x:y:z:qmstart:101:admin@pve:", "UPID:pve1:00000001:00000001:6B010000:qmstart:101:admin@pve", ""]
)
def test_texts_that_are_no_task_id(text):
    with pytest.raises(RefusedError) as caught:
        check_upid(text)
    assert caught.value.errors == {"upid": "unable to parse worker upid"}


@given(st.integers(1, 4_000_000), st.integers(1, 2**33), st.integers(1, 2**32 - 1), st.sampled_from(["", "101", "300@local"]))
def test_every_task_has_an_id_that_reads_back(pid, pstart, start, about):
    task = Task("pve1", pid, pstart, float(start), "imgdel", about, "admin@pve!t1")
    assert check_upid(task.upid) == task.upid
    row = task.identity()
    assert (row["user"], row["tokenid"], row["id"], row["pid"]) == ("admin@pve", "t1", about, pid)
