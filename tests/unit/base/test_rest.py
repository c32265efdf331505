import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from pveops.base.clock import SystemClock, from_epoch_s, from_iso, iso
from pveops.base.errors import Denied, Unreachable
from pveops.base.ids import is_id, new_id
from pveops.base.retry import backoff_s, retry


class Steps:
    """A clock that never waits, and remembers that it was asked to."""

    def __init__(self):
        self.waits = []

    def now(self):
        return datetime(2026, 11, 21, tzinfo=UTC)

    def monotonic_s(self):
        return sum(self.waits)

    def wait_s(self, event, seconds):
        return event.is_set()

    def sleep_s(self, seconds):
        self.waits.append(seconds)


def test_times_are_written_in_utc_and_read_back():
    moment = datetime(2026, 11, 21, 15, 32, 7, 120_000, tzinfo=timezone(timedelta(hours=1)))
    assert iso(moment) == "2026-11-21T14:32:07.120Z"
    assert from_iso(iso(moment)) == moment
    assert from_epoch_s(0).isoformat() == "1970-01-01T00:00:00+00:00"
    for bad in (lambda: iso(datetime(2026, 1, 1)), lambda: from_iso("2026-01-01T00:00:00")):  # noqa: DTZ001
        with pytest.raises(ValueError, match="zone"):
            bad()


def test_the_system_clock_moves_forward():
    clock = SystemClock()
    before, started = clock.now(), clock.monotonic_s()
    clock.sleep_s(0.001)
    assert not clock.wait_s(threading.Event(), 0.001)
    assert clock.now() >= before
    assert clock.monotonic_s() > started


@pytest.mark.parametrize("kind", ["c", "p", "r", "a", "x"])
def test_ids_have_their_form(kind):
    assert is_id(new_id(kind), kind)
    assert not is_id(new_id(kind), "q")
    assert not is_id(new_id(kind) + "0", kind)


def test_only_passing_faults_are_tried_again_and_not_for_ever():
    clock, calls = Steps(), []

    def fails(err):
        def act():
            calls.append(1)
            raise err

        return act

    with pytest.raises(Unreachable):
        retry(fails(Unreachable("x")), tries=3, clock=clock)
    assert (len(calls), clock.waits) == (3, [0.2, 0.4])
    with pytest.raises(Denied):
        retry(fails(Denied("x")), tries=3, clock=clock)
    assert len(calls) == 4
    assert retry(lambda: 7, tries=1, clock=clock) == 7
    with pytest.raises(ValueError, match="at least one"):
        retry(lambda: 7, tries=0, clock=clock)


def test_waits_grow_to_a_limit():
    waits = backoff_s(first_s=1, factor=3, most_s=5)
    assert [next(waits) for _ in range(4)] == [1, 3, 5, 5]
