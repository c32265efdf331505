"""How fast a cluster is asked, without one: lanes that widen and narrow, and a budget that no minute exceeds."""

from hypothesis import given
from hypothesis import strategies as st

from pveops.clients.cluster.pace import WIDEST, Budget, Cap, Lane


def lane(*asks, began_s=0.0):
    made = Lane("pve1", began_s)
    made.queue.extend(asks or range(100))
    return made


def test_a_lane_begins_with_one_request_and_widens_as_answers_come():
    one = lane()
    assert one.free(0)
    one.busy = 1
    assert not one.free(0)
    for number in range(10):
        one.good(float(number))
    assert one.width == WIDEST
    one.busy = WIDEST - 1
    assert one.free(11)


def test_trouble_narrows_it_and_makes_it_rest_longer_each_time():
    one = lane()
    for number in range(10):
        one.good(float(number))
    rests = []
    for _ in range(4):
        one.bad("busy", "503", 10.0)
        rests.append(one.rest_until_s - 10.0)
    assert one.width == 1
    assert rests == [0.25, 0.5, 1.0, 2.0]
    assert not one.over
    assert not one.free(10.1)
    one.good(13.0)
    one.bad("busy", "503", 13.0)
    assert one.rest_until_s == 13.25


def test_a_node_that_is_not_reached_twice_is_left_alone():
    one = lane()
    one.bad("dead", "595", 1.0)
    assert not one.over
    one.bad("dead", "no route", 2.0)
    assert one.over == "no route"
    assert not one.free(99)
    assert not one.again(1)


def test_silence_ends_a_lane_only_when_nothing_good_came_for_a_while():
    one = lane(began_s=100.0)
    one.bad("silent", "late", 105.0)
    one.bad("silent", "late", 110.0)
    assert not one.over
    one.good(112.0)
    one.bad("silent", "late", 120.0)
    one.bad("silent", "late", 126.0)
    assert not one.over
    one.bad("silent", "late", 127.0)
    assert one.over == "late"


def test_an_overloaded_address_halves_what_is_under_way_and_gets_it_back_slowly():
    cap = Cap(32)
    cap.overloaded()
    assert cap.now == 16
    for _ in range(10):
        cap.overloaded()
    assert cap.now == 2
    for _ in range(20):
        cap.good()
    assert round(cap.now, 6) == 3


@given(
    per_min=st.integers(6, 600),
    waits_s=st.lists(st.floats(0, 40, allow_nan=False), max_size=60),
    greed=st.lists(st.integers(0, 50), min_size=60, max_size=60),
)
def test_no_minute_sees_more_requests_than_the_budget(per_min, waits_s, greed):
    budget, now_s, left = Budget(per_min), 0.0, []
    for wait_s, wanted in zip(waits_s, greed, strict=False):
        now_s += wait_s
        sent = min(wanted, max(0, budget.left("pve1", now_s)))
        budget.spend("pve1", sent, now_s)
        left += [now_s] * sent
    for start_s in left:
        assert sum(start_s <= at_s < start_s + 60 for at_s in left) <= per_min


def test_the_budget_of_one_node_is_not_that_of_another():
    budget = Budget(60)
    budget.spend("pve1", budget.left("pve1", 0.0), 0.0)
    assert budget.left("pve1", 0.0) == 0
    assert budget.left("pve2", 0.0) == 10
    assert budget.left("pve1", 6.0) == 5
