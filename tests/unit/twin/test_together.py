"""Threads that share one clock wake at exactly the moments they waited for, in order, and nobody waits for real."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pveops.base.errors import Unreachable
from pveops.twin.together import SharedTime

START = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Jumper:
    def __init__(self):
        self.passed_s = 0.0
        self.breaks = False

    def now(self):
        return START + timedelta(seconds=self.passed_s)

    def monotonic_s(self):
        return self.passed_s

    def sleep_s(self, seconds):
        if self.breaks:
            raise Unreachable("gone")
        assert seconds > 0
        self.passed_s += seconds

    def wait_s(self, event, seconds):
        raise AssertionError("not asked for")


def run_together(jumper, naps):
    shared, seen, lock = SharedTime(jumper), [], threading.Lock()

    def live(number):
        try:
            for nap in naps[number]:
                shared.sleep_s(nap)
                with lock:
                    seen.append((number, jumper.passed_s))
        except Unreachable:
            with lock:
                seen.append((number, "gone"))
        finally:
            shared.leave()

    shared.join(len(naps))
    threads = [threading.Thread(target=live, args=(number,)) for number in range(len(naps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    return seen


@settings(max_examples=30, deadline=None)
@given(naps=st.lists(st.lists(st.integers(1, 500).map(lambda tenths: tenths / 8), max_size=6), min_size=1, max_size=5))
def test_everybody_wakes_when_it_is_time(naps):
    jumper = Jumper()
    seen = run_together(jumper, naps)
    for number, own in enumerate(naps):
        moments = [moment for other, moment in seen if other == number]
        assert moments == [sum(own[: count + 1]) for count in range(len(own))]
    assert jumper.passed_s == max((sum(own) for own in naps), default=0)


def test_hours_take_no_time():
    began_s = time.monotonic()
    run_together(Jumper(), [[3600.0] * 20, [1800.0] * 40, [60.0] * 100])
    assert time.monotonic() - began_s < 20


def test_a_clock_that_breaks_frees_everybody():
    jumper = Jumper()
    jumper.breaks = True
    assert sorted(run_together(jumper, [[5.0], [7.0], [9.0]])) == [(0, "gone"), (1, "gone"), (2, "gone")]


def test_an_event_that_is_set_is_not_waited_for():
    jumper, done = Jumper(), threading.Event()
    shared = SharedTime(jumper)
    shared.join()
    assert shared.wait_s(done, 2.0) is False
    done.set()
    assert shared.wait_s(done, 99.0) is True
    shared.sleep_s(0)
    assert (jumper.passed_s, shared.members, shared.now()) == (2.0, 1, START + timedelta(seconds=2))
    with pytest.raises(AssertionError):
        jumper.wait_s(done, 1)
